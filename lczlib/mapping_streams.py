"""Trained streams as functions of patches, and the small one that serves where no run is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pooch

from lczlib.runs import read_json

if TYPE_CHECKING:
    from lczlib.graphs import GraphSet
    from lczlib.sam import MaskSettings


@dataclass(frozen=True)
class RunStream:
    """A trained run as a function: patches (n, 32, 32, 10) or images (n, 320, 320, 3) -> (n, 17) probabilities.

    Attributes:
        folder: of the run (`model.safetensors`, `run.json`).
        sam, settings: what makes instance masks, as for the pairs that the run was trained on; None: the paper's.
        precision: "fp32", or "bf16": 2.5 times faster where the processor has it, probabilities differ by 1 %.
    """

    folder: Path
    sam: str = "nano"
    precision: str = "fp32"
    settings: MaskSettings | None = None

    @cached_property
    def params(self) -> dict:
        """What the run was made with: stream, model, features, recipe, seed."""
        for name in ("run.json", "model.safetensors"):
            if not (self.folder / name).exists():
                raise FileNotFoundError(f"{self.folder}: no {name}; give the folder of a finished run")
        return read_json(self.folder / "run.json")["params"]

    @cached_property
    def key(self) -> str:
        """Changes with the weights."""
        digest = pooch.file_hash(str(self.folder / "model.safetensors"))[:12]
        how = f"{self.sam} {self.settings}" if self.params["stream"] == "ge" else self.precision
        return f"{self.params['stream']} {self.params['model']} {digest} {how}"

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        from lczlib.inference import predict

        s2 = self.params["stream"] == "s2"
        return predict(
            _model(self.folder), inputs if s2 else self._graphs(inputs), 16, self.precision if s2 else "fp32"
        )

    def _graphs(self, images: np.ndarray) -> GraphSet:
        """GraphSet of the instances that SAM finds."""
        from lczlib.graphs import FEATURES, graph_set
        from lczlib.sam import MaskSettings, generate_masks

        found = generate_masks(_sam(self.sam), list(images), self.settings or MaskSettings())
        return graph_set(np.arange(len(images)), images, found, self.params["features"] > len(FEATURES))


@lru_cache(maxsize=4)
def _model(folder: Path):
    from lczlib.compute import pick_device
    from lczlib.inference import load_model

    return load_model(folder).to(pick_device())


@lru_cache(maxsize=1)
def _sam(name: str):
    from lczlib.compute import pick_device
    from lczlib.sam import load_sam

    return load_sam(name).to(pick_device())


def open_streams(
    runs: Sequence[str | Path], s2: bool, rgb: bool, masks: str = "nano", precision: str = "fp32"
) -> tuple[tuple[RunStream | None, RunStream | None], str]:
    """The streams of the images given: from the runs, or small ones trained on synthetic data where there is no run.

    Args:
        masks: a model for instance masks with the paper's settings, or the folder `DATA/masks/KEY` of the masks that
            the run was trained on: the same model and settings again.

    Returns:
        (Sentinel-2 stream or None, RGB stream or None), and "synthetic" where the small ones serve, else "".

    Raises:
        FileNotFoundError, ValueError: a run that is none, of the wrong stream, or missing for one of the images.
    """
    wanted = ["s2"] * s2 + ["ge"] * rgb
    if runs:
        sam, settings = read_masks(masks)
        streams = [RunStream(Path(run).resolve(), sam, precision, settings) for run in runs]
    else:
        streams = [replace(small_stream(name), precision=precision) for name in wanted]
    found = {stream.params["stream"]: stream for stream in streams}
    for name in wanted:
        if name not in found:
            known = ", ".join(map(str, runs))
            raise ValueError(f"--run: no run of stream {name} among {known}; give one, or leave its image out")
    return (found.get("s2") if s2 else None, found.get("ge") if rgb else None), "" if runs else "synthetic"


def read_masks(masks: str) -> tuple[str, MaskSettings | None]:
    """Model and settings of a mask folder, or the name itself with the paper's settings."""
    from lczlib.sam import MaskSettings

    if not (Path(masks) / "settings.json").exists():
        return masks, None
    kept = read_json(Path(masks) / "settings.json")
    return kept["sam"], MaskSettings(**kept["settings"])


def small_stream(name: str, pairs: int = 816, work_dir: str | Path | None = None) -> RunStream:
    """A narrow model trained on the synthetic world, made on first use and kept in the cache folder.

    It shows that everything works; it knows no real city. Train on one's own pairs for a map to rely on.
    """
    from lczlib.compute import cpu_count
    from lczlib.data import make_split
    from lczlib.graphs import graphs_of
    from lczlib.sam import MaskSettings
    from lczlib.sam.models import cache_dir
    from lczlib.synthetic import open_or_make
    from lczlib.training import Recipe, train_stream

    work_dir = Path(work_dir) if work_dir else cache_dir() / f"small-{pairs}"
    data = open_or_make(work_dir / "data", pairs=pairs, seed=0)
    split = make_split(data.index, "polygon_pool", seed=0)
    settings = MaskSettings(crop_n_layers=0, pred_iou_thresh=0.7)
    inputs = data.s2 if name == "s2" else graphs_of(data, "nano", settings, min(cpu_count(), 8))
    model = "resnet3d11" if name == "s2" else "gcn"
    result = train_stream(name, model, inputs, data.index, split, Recipe.demo(name), 0, work_dir)
    return RunStream(result.run.path.resolve(), settings=settings)
