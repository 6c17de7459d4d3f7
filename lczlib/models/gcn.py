"""The Google Earth stream: three GCSConv layers on the graph of instances (PAPER.md, "GCN").

One layer is `relu(A_n X W1 + X W2 + b)` with `A_n = D^-1/2 A D^-1/2`, in two forms that agree to 2e-7:

- `forward(batch)`: any graph, its edges listed, by torch_geometric's `GraphConv`, entries of A_n as edge weights;
- `forward_padded(x, nodes)`: the paper's complete graph without listing its edges. Every node has degree n - 1, so
  `(A_n X)_i = (sum_j x_j - x_i) / (n - 1)`: O(N) instead of O(N^2). Nodes of one and the same centre are not
  joined; then `(A_n X)_i = r_i (sum_j r_j x_j - sum of r_j x_j over j at i's centre)`, `r = degree^-1/2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.nn import GraphConv, global_mean_pool
from torch_geometric.utils import degree

if TYPE_CHECKING:
    from torch_geometric.data import Batch

CENTRE = slice(3, 5)  # columns of the box centre among the node features
PAPER_NUMBERS = 5_073

__all__ = ["CENTRE", "PAPER_NUMBERS", "InstanceGCN", "normalised_edges"]


def normalised_edges(edge_index: Tensor, nodes: int) -> Tensor:
    """Entries of `D^-1/2 A D^-1/2` for binary edges (2, E): (E,) float32."""
    source, target = edge_index
    r = degree(target, nodes).clamp(min=1).rsqrt()
    return r[source] * r[target]


class InstanceGCN(nn.Module):
    """The paper's graph network: three GCSConv layers, mean over the nodes, dense; logits.

    Args:
        features: per node; columns 3 and 4 are the box centre. The paper's: R, G, B, x, y.
        hidden: units of each layer; 32 in the paper.
        zones: classes.

    A graph without nodes gives the bias of the dense layer.

    Source: PAPER.md; Glorot uniform weights and zero biases as in Keras.
    """

    def __init__(self, features: int = 5, hidden: int = 32, zones: int = 17):
        super().__init__()
        self.features, self.hidden, self.zones = features, hidden, zones
        widths = [features, hidden, hidden, hidden]
        self.layers = nn.ModuleList(GraphConv(widths[k], widths[k + 1], aggr="add") for k in range(3))
        self.head = nn.Linear(hidden, zones)
        for linear in (m for m in self.modules() if hasattr(m, "weight")):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        if (features, hidden, zones) == (5, 32, 17):
            assert sum(p.numel() for p in self.parameters()) == PAPER_NUMBERS

    def forward(self, batch: Batch | Tensor, nodes: Tensor | None = None) -> Tensor:
        """Logits (B, zones) of a torch_geometric Batch: `x` (N, F), `edge_index` (2, E) without self loops, `batch`.

        With `nodes` given, `batch` is the padded tensor of `forward_padded` (for DistributedDataParallel).
        """
        if nodes is not None:
            return self.forward_padded(batch, nodes)
        x, weights = batch.x, normalised_edges(batch.edge_index, batch.x.shape[0]).to(batch.x.dtype)
        for layer in self.layers:
            x = layer(x, batch.edge_index, weights).relu()
        graphs = batch.batch if batch.batch is not None else x.new_zeros(len(x), dtype=torch.long)
        return self.head(global_mean_pool(x, graphs, getattr(batch, "num_graphs", 1)))

    def forward_padded(self, x: Tensor, nodes: Tensor) -> Tensor:
        """The same on complete graphs: x (B, N, F), the first `nodes` (B,) rows of each count."""
        valid = torch.arange(x.shape[1], device=x.device) < nodes[:, None]  # (B, N)
        mask = valid.unsqueeze(-1).to(x.dtype)
        neighbours = _coincident(x, valid) if _any_coincident(x, valid) else _distinct(nodes, x.dtype)
        for layer in self.layers:
            both = torch.cat([layer.lin_rel.weight, layer.lin_root.weight])  # W1 and W2 in one product
            y, root = ((x * mask) @ both.T).split(self.hidden, dim=-1)
            x = (neighbours(y) + root + layer.lin_rel.bias).relu()
        return self.head((x * mask).sum(1) / nodes.clamp(min=1)[:, None])


def _distinct(nodes: Tensor, dtype: torch.dtype):
    """A_n y of complete graphs whose centres all differ: y (B, N, F) -> (B, N, F)."""
    share = (1 / (nodes - 1).clamp(min=1).to(dtype))[:, None, None]
    return lambda y: (y.sum(1, keepdim=True) - y) * share


def _any_coincident(x: Tensor, valid: Tensor) -> bool:
    """Whether nodes of one graph share a centre (compared by a hash: yes too often at worst, never too seldom)."""
    if x.shape[1] < 2 or x.shape[-1] < CENTRE.stop:
        return False
    centre = x[..., CENTRE].double()
    key = torch.where(valid, centre[..., 0] + torch.pi * centre[..., 1], torch.nan).sort(1).values
    return bool((key[:, 1:] == key[:, :-1]).any())


def _coincident(x: Tensor, valid: Tensor):
    """A_n y where centres coincide, O(N log N): nodes are grouped by graph and centre."""
    batch, most, _ = x.shape
    graph = torch.arange(batch, device=x.device).repeat_interleave(most)
    keys = torch.cat([graph[:, None].to(x.dtype), x[..., CENTRE].reshape(-1, 2)], dim=1)
    keys[~valid.reshape(-1), 1] = torch.inf  # padded rows: a group of their own
    group = torch.unique(keys, dim=0, return_inverse=True)[1]  # (B * N,)

    def group_sums(y: Tensor) -> Tensor:
        flat = y.reshape(batch * most, -1)
        return torch.zeros_like(flat).index_add(0, group, flat)[group].view_as(y)

    count = valid.unsqueeze(-1).to(x.dtype)
    others = count.sum(1, keepdim=True) - group_sums(count)
    r = torch.where(others > 0, others.clamp(min=1).rsqrt(), 0) * count

    def neighbours(y: Tensor) -> Tensor:
        weighted = r * y
        return r * (weighted.sum(1, keepdim=True) - group_sums(weighted))

    return neighbours
