"""The Google Earth stream: three GCSConv layers on the graph of instances (docs/paper.md, "Graph stream").

One layer is `relu(A_n X W1 + X W2 + b)` with `A_n = D^-1/2 A D^-1/2`. Two forms agree to 2e-7:

- `forward(batch)`: any graph, its edges listed, by torch_geometric's message passing, entries of A_n as edge weights;
- `forward_padded(x, nodes)`: the paper's graph without listing its edges. Where it is complete every node has degree
  n - 1 and `(A_n X)_i = (sum_j x_j - x_i) / (n - 1)`, so a layer is one product with weights of each graph's own,
  `X (W2 - W1 / (n - 1)) + (sum_j x_j) W1 / (n - 1) + b`: O(N) instead of O(N^2). Nodes of one and the same centre are
  not joined: the few graphs that have such nodes are not complete and take the product with their A_n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lczlib.graphs import CENTRE, adjacency
from lczlib.models.resnet3d import glorot

if TYPE_CHECKING:
    from torch_geometric.data import Batch


class InstanceGCN(nn.Module):
    """The paper's graph network: three GCSConv layers, mean over the nodes, dense; logits.

    Args:
        features: per node; columns 3 and 4 are the box centre. The paper's: R, G, B, x, y.
        hidden: units of each layer; 32 in the paper.

    A graph without nodes gives the bias of the dense layer.

    Source: docs/paper.md, "Graph stream"; Glorot uniform weights and zero biases as in Keras.
    """

    def __init__(self, features: int = 5, hidden: int = 32, zones: int = 17):
        super().__init__()
        self.features, self.hidden, self.zones = features, hidden, zones
        self.layers = nn.ModuleList()
        for inputs in (features, hidden, hidden):  # named as torch_geometric's GraphConv: lin_rel W1 and b, lin_root W2
            layer = {"lin_rel": nn.Linear(inputs, hidden), "lin_root": nn.Linear(inputs, hidden, bias=False)}
            for linear in layer.values():
                linear.reset_parameters()  # drawn twice, as GraphConv does: a seed goes on giving the same weights
            self.layers.append(nn.ModuleDict(layer))
        self.head = nn.Linear(hidden, zones)
        self.apply(glorot)
        if (features, hidden, zones) == (5, 32, 17):
            assert sum(p.numel() for p in self.parameters()) == 5_073  # docs/paper.md

    def forward(self, batch: Batch | Tensor, nodes: Tensor | None = None) -> Tensor:
        """Logits (B, zones) of a torch_geometric Batch: `x` (N, F), `edge_index` (2, E) without self loops, `batch`.

        With `nodes` given, `batch` is the padded tensor of `forward_padded`.
        """
        if nodes is not None:
            return self.forward_padded(batch, nodes)
        from torch_geometric.nn import SimpleConv, global_mean_pool  # 3 s of a core, which padded graphs do not need
        from torch_geometric.utils import degree

        x, (source, target) = batch.x, batch.edge_index
        r = degree(target, len(x), x.dtype).clamp(min=1).rsqrt()
        for layer in self.layers:
            received = SimpleConv(aggr="sum")(x, batch.edge_index, r[source] * r[target])
            x = (layer.lin_rel(received) + layer.lin_root(x)).relu()
        graphs = batch.batch if batch.batch is not None else x.new_zeros(len(x), dtype=torch.long)
        return self.head(global_mean_pool(x, graphs, getattr(batch, "num_graphs", 1)))

    def forward_padded(self, x: Tensor, nodes: Tensor) -> Tensor:
        """The same of graphs whose edges follow from their centres: x (B, N, F), `nodes` (B,) rows of each count."""
        valid = torch.arange(x.shape[1], device=x.device) < nodes[:, None]  # (B, N)
        some = _coincident(x, valid)
        if not some.any():
            return self.head(self._complete(x, nodes, valid))
        pooled = x.new_empty(len(x), self.hidden)
        pooled[~some] = self._complete(x[~some], nodes[~some], valid[~some])
        pooled[some] = self._joined(x[some], nodes[some], valid[some])
        return self.head(pooled)

    def _complete(self, x: Tensor, nodes: Tensor, valid: Tensor) -> Tensor:
        """Mean over the nodes (B, hidden) of complete graphs."""
        valid = valid.to(x.dtype).unsqueeze(1)  # (B, 1, N): a product with it sums over the nodes
        share = (1 / (nodes - 1).clamp(min=1).to(x.dtype))[:, None, None]
        for layer in self.layers:
            w1, w2 = layer.lin_rel.weight.T, layer.lin_root.weight.T
            total = (valid @ x * share) @ w1 + layer.lin_rel.bias
            x = torch.baddbmm(total, x, w2 - w1 * share).relu()
        return (valid @ x).squeeze(1) / nodes.clamp(min=1)[:, None]

    def _joined(self, x: Tensor, nodes: Tensor, valid: Tensor) -> Tensor:
        """The same where some centres coincide, from A_n written out."""
        a = normalised(adjacency(x, nodes).to(x.dtype))
        for layer in self.layers:
            x = (layer.lin_rel(a @ x) + layer.lin_root(x)).relu()
        return (valid.to(x.dtype).unsqueeze(1) @ x).squeeze(1) / nodes.clamp(min=1)[:, None]


def normalised(a: Tensor) -> Tensor:
    """`D^-1/2 A D^-1/2` of binary adjacencies (B, N, N); a node without edges keeps none."""
    r = a.sum(2).clamp(min=1).rsqrt()
    return a * r[:, :, None] * r[:, None]


def _coincident(x: Tensor, valid: Tensor) -> Tensor:
    """Graphs (B,) in which nodes share a centre (compared by a hash: one too many at worst, never one too few)."""
    if x.shape[-1] < CENTRE.stop:
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    centre = x[..., CENTRE].double()
    hashed = torch.where(valid, centre[..., 0] + torch.pi * centre[..., 1], torch.nan).sort(1).values
    return (hashed[:, 1:] == hashed[:, :-1]).any(1)
