"""Networks by name, trained runs as functions of patches or images, and probabilities of pairs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pooch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from lczlib.compute import pick_device
from lczlib.data.layout import BANDS
from lczlib.data.so2sat import Patches
from lczlib.errors import InputError
from lczlib.graphs import EXTRA_FEATURES, FEATURES, GraphSet
from lczlib.models.baselines import make_baseline
from lczlib.models.gcn import InstanceGCN
from lczlib.models.resnet3d import ResNet3D11, set_batch_norm_momentum
from lczlib.recipe import Recipe
from lczlib.runs import read_json
from lczlib.zones import K

if TYPE_CHECKING:
    from lczlib.sam import MaskSettings

Inputs = np.ndarray | Patches | GraphSet
DEMO = Path(__file__).parent / "demo"  # the shipped runs, `demo-s2` and `demo-ge`
CLOSE = 0.02  # difference of the two best zones below which a patch in bf16 is computed again in fp32


def make_model(name: str, recipe: Recipe, features: int) -> nn.Module:
    """A network by name: "resnet3d11", "gcn" or one of `lczlib.models.baselines`; `features`: bands, or of a node."""
    if name == "resnet3d11":
        model = ResNet3D11(recipe.width, features, thin_training=recipe.thin_training)
    elif name == "gcn":
        model = InstanceGCN(features, recipe.width)
    else:
        model = make_baseline(name, recipe.width, features)
    set_batch_norm_momentum(model, recipe.batch_norm_momentum)
    return model


def load_model(path: str | Path) -> nn.Module:
    """The network of the finished run in the folder `path`, on the CPU, evaluating.

    Raises InputError where there is none, or one that is damaged or of another version.
    """
    params = _read_params(Path(path))
    try:
        with torch.random.fork_rng([]):  # initial weights, overwritten at once, shall not move the caller's generator
            model = make_model(params["model"], Recipe(**params["recipe"]), params["features"])
        model.load_state_dict(load_file(Path(path) / "model.safetensors"))
    except (SafetensorError, RuntimeError, TypeError, ValueError) as fault:
        reason = str(fault).splitlines()[0][:120]
        what = f"model.safetensors and run.json do not fit ({reason})"
        raise InputError(f"{path}: {what}; delete that folder and train again") from fault
    return model.eval()


def _read_params(folder: Path) -> dict:
    for name in ("run.json", "model.safetensors"):
        if not (folder / name).exists():
            remedy = "make one with `python -m lczlib train DATA --stream s2` or notebooks 02 and 03"
            raise InputError(f"{folder}: no finished run there, {name} is missing; {remedy}")
    params = read_json(folder / "run.json").get("params")
    kinds = {"stream": str, "model": str, "features": int, "recipe": dict}
    if not isinstance(params, dict) or not all(isinstance(params.get(name), kind) for name, kind in kinds.items()):
        raise InputError(f"{folder}: run.json does not say how the run was made; delete that folder and train again")
    return params


def load_stream(run: str | Path) -> RunStream:
    """A trained stream as a function of patches or images; InputError where there is no finished run.

    Args:
        run: the folder of a run, or one of the shipped runs "demo-s2" (Sentinel-2) and "demo-ge" (RGB). Those were
            trained on synthetic pairs and do not map real cities.
    """
    folder = (DEMO / run if str(run) in ("demo-s2", "demo-ge") else Path(run)).resolve()
    note, params = folder / "about.json", _read_params(folder)
    known = {"s2": (len(BANDS),), "ge": (len(FEATURES), len(FEATURES) + len(EXTRA_FEATURES))}
    if params["features"] not in known.get(params["stream"], ()):
        what = f"run.json names a stream {params['stream']!r} of {params['features']} features"
        raise InputError(f"{folder}: {what}; give a run of s2 (10 bands) or ge (5 or 8 features)")
    return RunStream(folder, params, read_json(note) if note.exists() else {})


def load_streams(runs: Sequence[str | Path]) -> dict[str, RunStream]:
    """{"s2", "ge": `load_stream`} of trained runs; InputError where two are of one stream."""
    streams = {stream.stream: stream for stream in map(load_stream, runs)}
    if len(streams) < len(runs):
        raise InputError(f"--run: {len(runs)} runs of one stream; give one of s2 and one of ge")
    return streams


@dataclass(frozen=True)
class RunStream:
    """A trained run as a function: patches (n, 32, 32, 10) or images (n, 320, 320, 3) -> (n, 17) probabilities.

    Attributes:
        folder: of the run. params: what it was made with: stream, model, features, recipe, seed.
        about: what it was trained on, as `Run.publish` noted it: data, sam, masks, settings; {} where it did not.
        precision: "fp32" or "bf16" (faster where the processor has it; 99.8 % of zones the same), for "s2".
        sam, settings: make the instance masks of stream "ge"; None: those that the run was trained on.
    """

    folder: Path
    params: dict
    about: dict
    precision: str = "fp32"
    sam: str | None = None
    settings: MaskSettings | None = None

    @property
    def stream(self) -> str:
        """ "s2" or "ge"."""
        return self.params["stream"]

    @property
    def trained_on(self) -> str:
        """One phrase for maps and figures: "synthetic pairs"."""
        return f"{self.about['data']} pairs" if self.about.get("data") else "pairs of unknown origin"

    @property
    def masks(self) -> tuple[str, MaskSettings]:
        """Model and settings that make instance masks from images."""
        from lczlib.sam import MaskSettings

        sam = (self.sam or self.about.get("sam", "nano")).replace("truth", "nano")
        return sam, self.settings or MaskSettings.named(self.about.get("masks", "paper"), sam)

    @cached_property
    def weights(self) -> str:
        """Changes with the weights."""
        return pooch.file_hash(str(self.folder / "model.safetensors"))[:12]

    @property
    def key(self) -> str:
        """Changes with the weights and with how they are applied."""
        how = self.masks if self.stream == "ge" else self.precision
        return f"{self.stream} {self.params['model']} {self.weights} {how}"

    @property
    def model(self) -> nn.Module:
        """The network, evaluating."""
        return _on_device(load_model, self.folder, self.weights)

    def instance_masks(self, images: np.ndarray) -> list:
        """Masks and boxes of each image (n, 320, 320, 3), as those that stream "ge" was trained on."""
        from lczlib.sam import generate_masks, load_sam

        sam, settings = self.masks
        return list(generate_masks(_on_device(load_sam, sam), list(images), settings))

    def __call__(self, inputs: np.ndarray, found: list | None = None) -> np.ndarray:
        """Probabilities (n, 17) float64; `found`: the instance masks of the images, where they are known already."""
        if self.stream == "s2":
            p = predict(self.model, inputs, 16, self.precision)
            close = np.diff(np.sort(p, axis=1)[:, -2:]).ravel() < CLOSE
            if self.precision == "bf16" and close.any():  # rounding shall not decide between two zones
                p[close] = predict(self.model, inputs[close], 16)
            return p
        found = self.instance_masks(inputs) if found is None else found
        extra = self.params["features"] > len(FEATURES)
        return predict(self.model, GraphSet.from_masks(np.arange(len(inputs)), inputs, found, extra), 16)


@lru_cache(maxsize=4)
def _on_device(load: Callable[[object], nn.Module], name: object, weights: str = "") -> nn.Module:
    """`load(name)`; `weights` tells a network from an earlier one of that name."""
    return load(name).to(pick_device())


def arguments(inputs: Inputs, device: torch.device | str) -> tuple[Tensor, ...]:
    """Inputs as a network takes them, on the device: patches (B, bands, H, W), or graphs (B, M, F) and (B,)."""

    def tensor(array: np.ndarray, dtype: type | None = None) -> Tensor:
        # copied only where the array is no whole block or cannot be written to (a memory map), which torch warns of
        return torch.from_numpy(np.require(array, dtype, ["C", "W", "E"])).to(device)

    if isinstance(inputs, GraphSet):
        most = max(int(inputs.nodes.max(initial=1)), 1)  # no padding beyond the largest graph of the batch
        return tensor(inputs.x[:, :most]), tensor(inputs.nodes)
    return (tensor(inputs, np.float32).permute(0, 3, 1, 2).contiguous(),)


def predict(
    model: nn.Module, inputs: Inputs, batch_size: int = 128, precision: str = "fp32", rows: np.ndarray | None = None
) -> np.ndarray:
    """Probabilities (N, K) float64 of patches (N, H, W, C) or of a GraphSet, or of some of their rows.

    A ResNet3D11 computes with folded batch norms and without its unread positions (exact), in bf16 if asked.
    """
    device, low = next(model.parameters()).device, precision == "bf16"
    network = (model.folded() if isinstance(model, ResNet3D11) else model).eval()
    rows = np.arange(len(inputs)) if rows is None else rows
    p = np.empty((len(rows), K), dtype=np.float64)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=low):
        for start in range(0, len(rows), batch_size):
            batch = slice(start, start + batch_size)
            p[batch] = network(*arguments(inputs[rows[batch]], device)).double().softmax(1).cpu().numpy()
    return p


def reestimate_batch_norm(
    model: nn.Module, inputs: Inputs, share: float = 1.0, batch_size: int = 64, rows: np.ndarray | None = None
) -> nn.Module:
    """A copy whose batch norms hold the statistics of `inputs`, or of some rows; no label is used, no weight changes.

    On the training pairs this mends what a short training's running means lag behind (Wu and Johnson 2021, "precise
    batch norm"); on another city's pairs it adapts the network to them (AdaBN, Li et al. 2017).

    Args:
        share: 1 takes their statistics only (means over batches of about `batch_size`), less mixes them with the old.
    """
    adapted = copy.deepcopy(model)
    device, rows = next(adapted.parameters()).device, np.arange(len(inputs)) if rows is None else rows
    rows = np.random.default_rng(0).permutation(rows)
    parts = np.array_split(rows, max(1, round(len(rows) / batch_size)))
    update_bn((arguments(inputs[part], device)[0] for part in parts), adapted)
    before = model.state_dict()
    for name, value in adapted.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.lerp_(before[name], 1 - share)
    return adapted.eval()
