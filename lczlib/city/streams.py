"""Trained streams as functions of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pooch

from lczlib.errors import InputError
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
        from lczlib.models.inference import predict

        s2 = self.params["stream"] == "s2"
        return predict(
            _model(self.folder), inputs if s2 else self._graphs(inputs), 16, self.precision if s2 else "fp32"
        )

    def _graphs(self, images: np.ndarray) -> GraphSet:
        """GraphSet of the instances that SAM finds."""
        from lczlib.graphs import FEATURES, GraphSet
        from lczlib.sam import MaskSettings, generate_masks

        found = generate_masks(_sam(self.sam), list(images), self.settings or MaskSettings())
        return GraphSet.from_masks(np.arange(len(images)), images, found, self.params["features"] > len(FEATURES))


@lru_cache(maxsize=4)
def _model(folder: Path):
    from lczlib.compute import pick_device
    from lczlib.models.inference import load_model

    return load_model(folder).to(pick_device())


@lru_cache(maxsize=1)
def _sam(name: str):
    from lczlib.compute import pick_device
    from lczlib.sam import load_sam

    return load_sam(name).to(pick_device())


def open_streams(
    runs: Sequence[str | Path], s2: bool, rgb: bool, masks: str = "nano", precision: str = "fp32"
) -> tuple[RunStream | None, RunStream | None]:
    """The streams of the images given, from trained runs.

    Args:
        masks: a model for instance masks with the paper's settings, or the folder `DATA/masks/KEY` of the masks that
            the run was trained on: the same model and settings again.

    Returns:
        Sentinel-2 stream or None, RGB stream or None.

    Raises:
        InputError: no run, a run that is none, of the wrong stream, or missing for one of the images.
    """
    wanted = ["s2"] * s2 + ["ge"] * rgb
    if not runs:
        names = " and ".join(wanted)
        remedy = "make one with `python -m lczlib train DATA --stream s2`"
        raise InputError(f"--run: a map needs a trained run ({names}); {remedy}")
    sam, settings = read_masks(masks)
    streams = [RunStream(Path(run).resolve(), sam, precision, settings) for run in runs]
    found = {stream.params["stream"]: stream for stream in streams}
    for name in wanted:
        if name not in found:
            known = ", ".join(map(str, runs))
            raise InputError(f"--run: no run of stream {name} among {known}; give one, or leave its image out")
    return (found.get("s2") if s2 else None, found.get("ge") if rgb else None)


def read_masks(masks: str) -> tuple[str, MaskSettings | None]:
    """Model and settings of a mask folder, or the name itself with the paper's settings."""
    from lczlib.sam import MaskSettings

    if not (Path(masks) / "settings.json").exists():
        return masks, None
    kept = read_json(Path(masks) / "settings.json")
    return kept["sam"], MaskSettings(**kept["settings"])
