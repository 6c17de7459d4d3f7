"""Networks by name, finished runs as networks, and what a network says of pairs."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lczlib.graphs import GraphSet
from lczlib.models import InstanceGCN, ResNet3D11
from lczlib.models.resnet3d import set_batch_norm_momentum
from lczlib.recipe import Recipe
from lczlib.runs import read_json
from lczlib.zones import K

Inputs = np.ndarray | GraphSet

__all__ = ["Inputs", "Source", "load_model", "make_model", "predict", "reestimate_batch_norm", "take"]


def make_model(name: str, recipe: Recipe, features: int) -> nn.Module:
    """A network by name: "resnet3d11", "gcn", or one of `lczlib.models.baselines`.

    Args:
        features: bands of a patch, or features of a node.
    """
    if name == "resnet3d11":
        model = ResNet3D11(recipe.width, features, thin_training=recipe.thin_training)
    elif name == "gcn":
        model = InstanceGCN(features, recipe.width)
    else:
        from lczlib.models.baselines import make_baseline

        model = make_baseline(name, recipe.width, features)
    set_batch_norm_momentum(model, recipe.batch_norm_momentum)
    return model


def load_model(path: str | Path) -> nn.Module:
    """The network of a finished run, on the CPU, evaluating.

    Args:
        path: the run's folder.

    Raises:
        FileNotFoundError: no finished run there.
    """
    path = Path(path)
    if not (path / "run.json").exists():
        raise FileNotFoundError(f"{path}: no finished training there; run notebooks 02 and 03, or train_stream, first")
    params = read_json(path / "params.json")
    model = make_model(params["model"], Recipe(**params["recipe"]), params["features"])
    model.load_state_dict(load_file(path / "model.safetensors"))
    return model.eval()


def take(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """These rows of patches or graphs."""
    return inputs.take(rows) if isinstance(inputs, GraphSet) else inputs[rows]


class Source:
    """Rows of the inputs as the arguments of a network, on the device."""

    def __init__(self, inputs: Inputs, device: torch.device):
        self.inputs, self.device = inputs, device

    def __call__(self, rows: np.ndarray | slice) -> tuple[Tensor, ...]:
        """(B, bands, H, W), or (B, M, F) and (B,)."""
        if isinstance(self.inputs, GraphSet):
            nodes = self.inputs.nodes[rows]
            most = max(int(nodes.max(initial=1)), 1)  # no padding beyond the largest graph of the batch
            return self._tensor(self.inputs.x[rows, :most]), self._tensor(nodes)
        return (self._tensor(self.inputs[rows], np.float32).permute(0, 3, 1, 2).contiguous(),)

    def _tensor(self, array: np.ndarray, dtype: type | None = None) -> Tensor:
        """On the device; copied only where the array cannot be written to (a memory map), which torch warns of."""
        return torch.from_numpy(np.require(array, dtype, ["W", "E"])).to(self.device)


def predict(
    model: nn.Module, inputs: Inputs, batch_size: int = 128, precision: str = "fp32", device: str | None = None
) -> np.ndarray:
    """Probabilities (N, K) float64 of patches (N, H, W, C) or of a GraphSet.

    A ResNet3D11 computes with folded batch norms and without its unread positions (exact), in bf16 if asked.
    """
    where = torch.device(device) if device else next(model.parameters()).device
    network = (model.folded() if isinstance(model, ResNet3D11) else model).to(where).eval()
    source, low = Source(inputs, where), precision == "bf16"
    p = np.empty((len(inputs), K), dtype=np.float64)
    with torch.inference_mode(), torch.autocast(where.type, torch.bfloat16, enabled=low):
        for start in range(0, len(inputs), batch_size):
            rows = slice(start, start + batch_size)
            p[rows] = network(*source(rows)).double().softmax(1).cpu().numpy()
    return p


def reestimate_batch_norm(model: nn.Module, inputs: Inputs, share: float = 1.0, batch_size: int = 64) -> nn.Module:
    """A copy whose batch norms hold the statistics of `inputs`; no label is used, no weight changes.

    On the training pairs this mends what a short training's running means lag behind (Wu and Johnson 2021, "precise
    batch norm"); on another city's pairs it adapts the network to them (AdaBN, Li et al. 2017).

    Args:
        inputs: patches or graphs.
        share: 1 takes their statistics alone, less mixes them with those the model had.
        batch_size: the statistics are plain means over batches of about this size.
    """
    adapted = copy.deepcopy(model)
    norms = [m for m in adapted.modules() if isinstance(m, _BatchNorm)]
    old = [(m.running_mean.clone(), m.running_var.clone(), m.momentum) for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # plain mean over batches
    source, rows = Source(inputs, next(adapted.parameters()).device), np.random.default_rng(0).permutation(len(inputs))
    adapted.train()
    with torch.no_grad():
        for part in np.array_split(rows, max(1, round(len(rows) / batch_size))):
            adapted(*source(part))
    for m, (mean, var, momentum) in zip(norms, old, strict=True):
        m.running_mean.lerp_(mean, 1 - share)
        m.running_var.lerp_(var, 1 - share)
        m.momentum = momentum
    return adapted.eval()
