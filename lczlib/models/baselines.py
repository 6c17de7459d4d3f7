"""What the two streams are compared with, each with its parameters and multiply-adds (`costs`).

Sentinel-2 patches: "resnet2d11"; torchvision's "resnet50" and "densenet" (121 layers, growth 32 at width 64), both with
a 3x3 stem of stride 1 for 32 pixels ("assumed"); a random forest on band statistics.
Graphs: "deepsets", and "gcn", "sage", "gin", "gat" on complete graphs or, by a suffix, on others: "gcn-nearest",
"sage-distance" (torch_geometric's dense layers: a graph here has 50 nodes at most).
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lczlib.graphs import EDGES, adjacency
from lczlib.models.gcn import normalised
from lczlib.models.resnet3d import KERAS_EPS, KERAS_MOMENTUM, ConvNorm, count_numbers, glorot
from lczlib.zones import K

PATCH_NETWORKS = ("resnet2d11", "resnet50", "densenet")
GRAPH_NETWORKS = ("deepsets", "gcn", "sage", "gin", "gat")


def make_baseline(name: str, width: int, features: int) -> nn.Module:
    """A baseline by name; ValueError where there is none.

    width: filters of the first stage (resnet50 has its own) or units of a graph layer. features: bands, or of a node.
    """
    kind, _, edges = name.partition("-")
    if kind in GRAPH_NETWORKS and edges in ("", *EDGES):
        return GraphNetwork(kind, features, width, edges or "complete")
    if name not in PATCH_NETWORKS:
        known = ", ".join(("resnet3d11", *PATCH_NETWORKS, *GRAPH_NETWORKS))
        raise ValueError(f"unknown network {name!r}; expected one of {known} (graphs: -nearest, -distance)")
    if name == "resnet2d11":
        return ResNet2D11(width, features)
    from lczlib.sam._torchvision_ops import import_torchvision

    import_torchvision()
    from torchvision import models

    if name == "resnet50":
        model = models.resnet50(num_classes=K)
        model.conv1 = nn.Conv2d(features, 64, 3, padding=1, bias=False)
    else:
        model = models.DenseNet(max(width // 2, 4), (6, 12, 24, 16), width, num_classes=K)
        model.features.conv0 = nn.Conv2d(features, width, 3, padding=1, bias=False)
    return model


def costs(model: nn.Module, *example: Tensor) -> dict[str, int]:
    """Trainable parameters, and multiply-adds of evaluating the first pair of `example` (convolutions, products)."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(*(argument[:1] for argument in example))
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}


def layer_shapes(model: nn.Module, *example: Tensor) -> pd.DataFrame:
    """The weighted layers in the order of computation: layer, output (shape without the batch), numbers.

    The model computes `example`, a batch, as in training (every position), and its batch statistics move.
    """
    rows, hooks = [], []
    for name, module in model.named_modules():
        if isinstance(module, (ConvNorm, ConvNorm2d, nn.Linear)):

            def note(module, _, y, name=name):
                rows.append((name, tuple(y.shape[1:]), count_numbers(module)))

            hooks.append(module.register_forward_hook(note))
    with torch.no_grad():
        model.train()(*example)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows, columns=["layer", "output", "numbers"])


class ConvNorm2d(nn.Sequential):
    """Convolution with `same` padding, then batch normalisation with Keras's constants."""

    def __init__(self, inputs: int, filters: int, kernel: int, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, filters, kernel, stride, padding=kernel // 2),
            nn.BatchNorm2d(filters, eps=KERAS_EPS, momentum=1 - KERAS_MOMENTUM),
        )


class Bottleneck2d(nn.Module):
    """The 3D network's block without its spectral axis."""

    def __init__(self, inputs: int, filters: int, stride: int):
        super().__init__()
        self.path = nn.Sequential(
            *(ConvNorm2d(inputs, filters, 1, stride), nn.ReLU(), ConvNorm2d(filters, filters, 3), nn.ReLU()),
            ConvNorm2d(filters, 4 * filters, 1),
        )
        self.shortcut = ConvNorm2d(inputs, 4 * filters, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 filters, H / stride, W / stride)."""
        return torch.relu(self.path(x) + self.shortcut(x))


class ResNet2D11(nn.Sequential):
    """ResNet3D11 with 2D convolutions: bands are channels of the stem. (B, bands, 32, 32) -> logits (B, K)."""

    def __init__(self, width: int = 64, bands: int = 10):
        inputs = (width, 4 * width, 8 * width)
        blocks = [Bottleneck2d(inputs[k], width * 2**k, (1, 2, 2)[k]) for k in range(3)]
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16 * width, K))
        super().__init__(ConvNorm2d(bands, width, 3), nn.ReLU(), *blocks, *head)
        self.apply(glorot)


class GraphNetwork(nn.Module):
    """Three layers of a kind, mean over the nodes, dense; the same frame for every kind.

    Args:
        kind: one of `GRAPH_NETWORKS`; `deepsets` has no edges: what a graph network adds is measured against it.
        features: per node. hidden: units. edges: `lczlib.graphs.EDGES`.
    """

    def __init__(self, kind: str, features: int = 5, hidden: int = 32, edges: str = "complete"):
        super().__init__()
        self.kind, self.edges = kind, edges
        widths = [features, hidden, hidden, hidden]
        self.layers = nn.ModuleList(_graph_layer(kind, widths[k], widths[k + 1]) for k in range(3))
        self.head = nn.Linear(hidden, K)

    def forward(self, x: Tensor, nodes: Tensor) -> Tensor:
        """x (B, M, F) padded, nodes (B,) -> logits (B, K)."""
        valid = torch.arange(x.shape[1], device=x.device) < nodes[:, None]
        mask = valid.unsqueeze(-1).to(x.dtype)
        joined = None if self.kind == "deepsets" else adjacency(x, nodes, self.edges).to(x.dtype)
        if self.kind == "gcn":
            joined = normalised(joined)
        for layer in self.layers:
            x = (layer(x) if joined is None else layer(x, joined, valid)).relu() * mask
        return self.head(x.sum(1) / nodes.clamp(min=1)[:, None])


def _graph_layer(kind: str, inputs: int, units: int) -> nn.Module:
    from torch_geometric.nn import dense

    if kind == "deepsets":
        return nn.Linear(inputs, units)
    if kind == "gin":
        return dense.DenseGINConv(nn.Sequential(nn.Linear(inputs, units), nn.ReLU(), nn.Linear(units, units)))
    if kind == "gat":
        return dense.DenseGATConv(inputs, units // 4, heads=4)
    return {"gcn": dense.DenseGraphConv, "sage": dense.DenseSAGEConv}[kind](inputs, units)


def band_statistics(s2: np.ndarray) -> np.ndarray:
    """Mean, standard deviation, 10th and 90th percentile of each band: (N, H, W, C) reflectance -> (N, 4 C) float32."""
    found = []
    for start in range(0, len(s2), 1024):  # so2sat's patches are more than memory holds
        some = np.asarray(s2[start : start + 1024], dtype=np.float32)
        flat = some.reshape(len(some), -1, some.shape[-1])
        low, high = np.percentile(flat, [10, 90], axis=1)
        found.append(np.concatenate([flat.mean(1), flat.std(1), low, high], axis=1).astype(np.float32))
    return np.concatenate(found)


def random_forest(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int = 0, trees: int = 200
) -> np.ndarray:
    """Probabilities (len(test), K) by a random forest on statistics (N, F), the LCZ Generator's kind of classifier."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(trees, random_state=seed, n_jobs=1).fit(train, labels)
    p = np.zeros((len(test), K))
    p[:, forest.classes_ - 1] = forest.predict_proba(test)
    return p
