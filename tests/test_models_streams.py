"""The two networks are the paper's: shapes, counts, equal to Keras and Spektral, all forms equal to each other."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from lczlib.models import InstanceGCN, ResNet3D11, load_keras
from lczlib.models.resnet3d import Bottleneck, ConvNorm, count_numbers, set_batch_norm_momentum

DATA = Path(__file__).parent / "data"
COUNTS = {1: 1 * 64 * 27 + 64, 2: 64 * 64 + 64, 3: 64 * 64 * 27 + 64, 4: 64 * 256 + 256}


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """Statistics and biases away from their initial values."""
    torch.manual_seed(0)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value += 0.1 * (torch.rand_like(value) if name.endswith("var") else torch.randn_like(value))
    return model


def every_position(model: ResNet3D11, x: torch.Tensor) -> torch.Tensor:
    """The network written out, all positions computed."""
    x = model.stem(x.permute(0, 2, 3, 1).unsqueeze(1)).relu()
    for block in model.blocks:
        y = block.expand(block.spatial(block.reduce(x, block.stride).relu()).relu())
        x = (y + block.shortcut(x, block.stride)).relu()
    return model.head(x.mean((2, 3, 4)))


def test_resnet_has_the_papers_numbers_and_shapes():
    model = ResNet3D11().train()
    assert count_numbers(model) == 3_548_049
    assert sum(p.numel() for p in model.parameters()) == 3_538_961
    shapes = []
    for layer in [model.stem, *model.blocks]:
        layer.register_forward_hook(lambda layer, args, out: shapes.append(tuple(out.shape[1:])))
    assert model(torch.zeros(2, 10, 32, 32)).shape == (2, 17)
    assert shapes == [(64, 32, 32, 10), (256, 32, 32, 10), (512, 16, 16, 5), (1024, 8, 8, 3)]
    first = [model.stem[0], model.blocks[0].reduce[0], model.blocks[0].spatial[0], model.blocks[0].expand[0]]
    assert [sum(p.numel() for p in layer.parameters()) for layer in first] == list(COUNTS.values())
    assert sum(isinstance(m, torch.nn.Conv3d) for m in model.modules()) == 13
    assert [b.stride for b in model.modules() if isinstance(b, Bottleneck)] == [1, 2, 2]


@pytest.mark.parametrize("bands", [10, 9, 4])
def test_unread_positions_and_folding_change_nothing(bands):
    model = lively(ResNet3D11(width=8, bands=bands)).eval()
    x = torch.rand(3, bands, 32, 32)
    with torch.no_grad():
        expected = every_position(model, x).softmax(1)
        assert torch.allclose(model(x).softmax(1), expected, atol=1e-6)
        assert torch.allclose(model.folded()(x).softmax(1), expected, atol=1e-6)


def test_training_sees_every_position_unless_asked():
    x = torch.rand(4, 10, 32, 32)
    faithful = lively(ResNet3D11(width=4)).train()
    written_out = copy.deepcopy(faithful)
    assert torch.allclose(faithful(x), every_position(written_out, x), atol=1e-5)
    thin = copy.deepcopy(written_out)
    thin.thin_training = True
    assert not torch.allclose(thin(x), faithful(x), atol=1e-4)
    assert torch.allclose(thin.eval()(x), thin.folded()(x), atol=1e-5)


def test_resnet_refuses_another_axis_order():
    with pytest.raises(ValueError, match="band axis"):
        ResNet3D11(width=4)(torch.zeros(2, 32, 32, 10))


def test_batch_norm_momentum_is_kerass():
    model = ResNet3D11(width=4)
    norm = model.blocks[2].expand[1]
    assert (norm.momentum, norm.eps) == (pytest.approx(0.01), 1e-3)
    set_batch_norm_momentum(model, 0.9)
    assert norm.momentum == pytest.approx(0.1)


def test_resnet_equals_keras():
    fixture = np.load(DATA / "keras_resnet3d11_width4.npz")
    model = ResNet3D11(width=4).eval()
    load_keras(DATA / "keras_resnet3d11_width4.hdf5", model)
    x = torch.from_numpy(fixture["x"].astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        for form in (model(x), every_position(model, x), model.folded()(x)):
            assert np.abs(form.softmax(1).numpy() - fixture["p"]).max() < 1e-6


def joined(x: torch.Tensor) -> torch.Tensor:
    return (x[:, None, 3:5] != x[None, :, 3:5]).any(-1)


def edges(x: torch.Tensor) -> torch.Tensor:
    return joined(x).nonzero().T


def batch_of(x: torch.Tensor, nodes: torch.Tensor) -> Batch:
    return Batch.from_data_list([Data(x=g[:n], edge_index=edges(g[:n])) for g, n in zip(x, nodes)])


def dense(model: InstanceGCN, x: torch.Tensor) -> torch.Tensor:
    """The published form: D^-1/2 A D^-1/2 written out for one graph (N, F)."""
    a = joined(x).float()
    r = torch.where(a.sum(1) > 0, a.sum(1).clamp(min=1) ** -0.5, 0)
    a = r[:, None] * a * r
    for layer in model.layers:
        x = (a @ x @ layer.lin_rel.weight.T + x @ layer.lin_root.weight.T + layer.lin_rel.bias).relu()
    return model.head(x.mean(0))


def random_graphs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Graphs of 1 to 50 nodes; in every second one some or all centres coincide; rubbish in the padding."""
    rng = torch.Generator().manual_seed(seed)
    nodes = torch.tensor([1, 2, 3, 50, 17, 49, 4, 30])
    x = torch.rand(len(nodes), 50, 5, generator=rng)
    x[::2, :, 3:5] = (x[::2, :, 3:5] * 3).round() / 3
    x[6, :, 3:5] = 0.5
    return x, nodes


@pytest.mark.parametrize("seed", range(4))
def test_closed_form_equals_dense_and_listed_edges(seed):
    x, nodes = random_graphs(seed)
    model = lively(InstanceGCN())
    padded = model.forward_padded(x, nodes)
    assert torch.allclose(model(batch_of(x, nodes)), padded, atol=2e-6)
    assert torch.allclose(torch.stack([dense(model, g[:n]) for g, n in zip(x, nodes)]), padded, atol=2e-6)
    assert torch.equal(model(x, nodes), padded)


def test_closed_form_has_the_same_gradients():
    x, nodes = random_graphs(0)
    model = lively(InstanceGCN())
    gradients = []
    for logits in (model.forward_padded(x, nodes), model(batch_of(x, nodes))):
        model.zero_grad()
        logits.square().sum().backward()
        gradients.append(torch.cat([p.grad.ravel() for p in model.parameters()]))
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4)


def test_graph_drawn_by_hand():
    """Two joined nodes: each receives the other's features whole (degree 1)."""
    model = InstanceGCN(features=5, hidden=1, zones=1)
    with torch.no_grad():
        for k, layer in enumerate(model.layers):
            layer.lin_rel.weight.fill_(1.0 if k == 0 else 0.0)
            layer.lin_root.weight.fill_(0.0 if k == 0 else 1.0)
        model.head.weight.fill_(1.0)
    x = torch.tensor([[[1.0, 0, 0, 0, 0], [0, 2, 0, 0.5, 0.5]]])
    assert model.forward_padded(x, torch.tensor([2])).item() == pytest.approx((3 + 1) / 2)
    assert model.forward_padded(x, torch.tensor([1])).item() == 0


def test_graph_without_nodes_gives_the_bias():
    model = lively(InstanceGCN())
    logits = model.forward_padded(torch.rand(1, 50, 5), torch.tensor([0]))
    assert torch.allclose(logits[0], model.head.bias)
    empty = Batch.from_data_list([Data(x=torch.zeros(0, 5), edge_index=torch.zeros(2, 0, dtype=torch.long))])
    assert torch.allclose(model(empty)[0], model.head.bias)


def test_gcn_equals_spektral():
    """One node, coincident centres, all centres coincident are among the fixture's graphs."""
    fixture = np.load(DATA / "keras_gcn.npz")
    model = InstanceGCN()
    load_keras(DATA / "keras_gcn.hdf5", model)
    x, nodes = torch.from_numpy(fixture["x"]), torch.from_numpy(fixture["nodes"])
    with torch.no_grad():
        for logits in (model.forward_padded(x, nodes), model(batch_of(x, nodes))):
            assert np.abs(logits.softmax(1).numpy() - fixture["p"]).max() < 1e-5


def test_single_data_object_is_a_batch_of_one():
    x, nodes = random_graphs(1)
    model = InstanceGCN()
    data = Data(x=x[3], edge_index=edges(x[3]))
    assert torch.allclose(model(data), model.forward_padded(x[3:4], nodes[3:4]), atol=2e-6)


def test_a_strided_layer_reads_every_second_position_and_its_gradient_keeps_the_layout():
    x = torch.rand(2, 3, 5, 4, 7).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    layer = ConvNorm(3, 6, 1).eval()
    by_slice, ours = layer(x[:, :, ::2, ::2, ::2]), layer(x, stride=2)
    assert torch.allclose(ours, by_slice, atol=1e-6)  # threads may share the sums out differently
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, by_slice)]
    assert torch.allclose(*gradients)
    assert gradients[0].is_contiguous(memory_format=torch.channels_last_3d)
