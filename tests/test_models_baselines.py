"""Every baseline trains, costs what it says, and the graph ones agree with what they should equal."""

import numpy as np
import pytest
import torch
from test_training import world

from lczlib.models import InstanceGCN, ResNet3D11, baselines
from lczlib.models.baselines import GRAPH_NETWORKS, PATCH_NETWORKS, make_baseline
from lczlib.models.resnet3d import count_numbers
from lczlib.training import Recipe, train_stream


@pytest.mark.parametrize("name", PATCH_NETWORKS)
def test_patch_networks_give_logits_and_gradients(name):
    model = make_baseline(name, 8, 10)
    logits = model(torch.rand(2, 10, 32, 32))
    assert logits.shape == (2, 17)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", [*GRAPH_NETWORKS, "gcn-nearest", "gat-distance"])
def test_graph_networks_ignore_padding(name):
    torch.manual_seed(0)
    model = make_baseline(name, 32, 5).eval()
    x, nodes = torch.rand(4, 50, 5), torch.tensor([1, 7, 50, 20])
    logits = model(x, nodes)
    assert logits.shape == (4, 17)
    padding = torch.arange(50)[None, :, None] >= nodes[:, None, None]
    assert torch.allclose(model(torch.where(padding, 9.0, x), nodes), logits, atol=1e-5)
    assert torch.allclose(model(x[1:2, :7], nodes[1:2]), logits[1:2], atol=1e-5)


def test_gcn_on_complete_graphs_is_the_papers():
    torch.manual_seed(0)
    ours, dense = InstanceGCN(), make_baseline("gcn", 32, 5)
    dense.load_state_dict(ours.state_dict())
    x, nodes = torch.rand(4, 50, 5), torch.tensor([1, 7, 50, 20])
    assert torch.allclose(dense(x, nodes), ours.forward_padded(x, nodes), atol=2e-6)


def test_edges_matter_where_there_are_any():
    torch.manual_seed(0)
    near, complete = make_baseline("sage-nearest", 32, 5), make_baseline("sage", 32, 5)
    complete.load_state_dict(near.state_dict())
    x, nodes = torch.rand(2, 50, 5), torch.tensor([40, 5])
    apart = (near(x, nodes) - complete(x, nodes)).abs().amax(1)
    assert apart[0] > 1e-3
    assert apart[1] < 1e-5  # five nodes: the eight nearest are all


def test_costs_are_counted():
    patch = torch.rand(3, 10, 32, 32)
    threed = baselines.costs(ResNet3D11(), patch)
    assert threed["parameters"] == 3_538_961
    assert threed["multiply_adds"] == pytest.approx(0.92e9, rel=0.01)  # the unread positions left out
    assert baselines.costs(make_baseline("resnet2d11", 64, 10), patch)["multiply_adds"] < threed["multiply_adds"]
    graph = baselines.costs(InstanceGCN(), torch.rand(2, 50, 5), torch.tensor([50, 50]))
    assert graph == {"parameters": 5073, "multiply_adds": (50 + 1) * (5 + 32 + 32) * 32 + 50 * (5 + 3 * 32) + 32 * 17}


def test_published_sizes_of_torchvisions_networks():
    counts = {name: sum(p.numel() for p in make_baseline(name, 64, 10).parameters()) for name in PATCH_NETWORKS}
    assert 23e6 < counts["resnet50"] < 24e6
    assert 6.5e6 < counts["densenet"] < 7.5e6
    assert counts["resnet2d11"] < counts["densenet"] < counts["resnet50"]


def test_layers_are_listed_in_the_order_of_computation_with_their_shapes():
    table = baselines.layer_shapes(ResNet3D11(width=4), torch.zeros(1, 10, 32, 32))
    assert (len(table), table["layer"].iloc[0], table["layer"].iloc[-1]) == (14, "stem", "head")
    assert table["output"].iloc[0] == (4, 32, 32, 10)
    assert table["output"].iloc[-2] == (64, 8, 8, 3)
    assert table["numbers"].sum() == count_numbers(ResNet3D11(width=4))


@pytest.mark.parametrize("name", ["resnet2d11", "sage-nearest", "deepsets"])
def test_baselines_train_in_the_same_loop(name, tmp_path):
    s2, graphs, index, split = world()
    stream = "s2" if name in PATCH_NETWORKS else "ge"
    recipe = Recipe.of("published", stream, epochs=4, batch_size=16, width=8, batch_norm_momentum=0.8)
    result = train_stream(stream, name, s2 if stream == "s2" else graphs, index, split, recipe, 0, tmp_path)
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]


def test_random_forest_on_band_statistics():
    s2, _, index, _ = world(200)
    statistics = baselines.band_statistics(s2)
    assert (statistics.shape, statistics.dtype) == ((200, 40), np.float32)
    np.testing.assert_allclose(statistics[:, 10:20], s2.std((1, 2)), rtol=1e-3)
    labels = index["label"].to_numpy()
    p = baselines.random_forest(statistics[:120], labels[:120], statistics[120:], trees=30)
    assert (p.argmax(1) + 1 == labels[120:]).mean() > 0.9
    assert not p[:, 4].any()
    np.testing.assert_allclose(p.sum(1), 1)


@pytest.mark.parametrize("name", ["alexnet", "gcn-ring", "resnet50-nearest"])
def test_unknown_names_list_the_known(name):
    with pytest.raises(ValueError, match=f"unknown network '{name}'.*resnet3d11.*deepsets"):
        make_baseline(name, 8, 10)
