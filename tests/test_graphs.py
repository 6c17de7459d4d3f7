"""Node features as the paper has them, edges by every rule, shipped graphs read without executing anything."""

import pickle
import shutil

import numpy as np
import pytest
import torch

from lczlib import graphs
from lczlib.data import layout, open_pairs
from lczlib.errors import InputError


def place(seed: int, n: int, size: tuple[int, int] = (320, 320)):
    """An image, n overlapping masks of every shape, their inclusive boxes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    masks = np.zeros((n, *size), bool)
    boxes = np.zeros((n, 4))
    for k in range(n):
        x, y = rng.integers(0, size[1] - 60), rng.integers(0, size[0] - 60)
        masks[k, y : y + rng.integers(1, 60), x : x + rng.integers(1, 60)] = True
        masks[k] &= rng.random(size) < 0.8
        masks[k, y, x] = True
        rows, columns = masks[k].nonzero()
        boxes[k] = columns.min(), rows.min(), np.ptp(columns), np.ptp(rows)
    return image, masks, boxes


def written_out(image, masks, boxes):
    """The published loop: whole images, float64."""
    colours = [image[mask].mean(0) / 255 for mask in masks]
    centres = [((x + w / 2) / image.shape[1], (y + h / 2) / image.shape[0]) for x, y, w, h in boxes]
    return np.concatenate([colours, centres], axis=1)


@pytest.mark.parametrize("size", [(320, 320), (200, 320)])
def test_node_features_equal_the_published_loop(size):
    image, masks, boxes = place(0, 20, size)
    x = graphs.node_features(image, masks, boxes)
    assert (x.shape, x.dtype) == ((20, 5), np.float32)
    np.testing.assert_allclose(x, written_out(image, masks, boxes), atol=1e-6)


def test_masks_that_reach_beyond_their_boxes_count_whole():
    image, masks, boxes = place(1, 6)
    x = graphs.node_features(image, masks, np.add(boxes, [5, 5, -4, -4]))
    np.testing.assert_allclose(x[:, :3], written_out(image, masks, boxes)[:, :3], atol=1e-6)
    x = graphs.node_features(image, masks, np.add(boxes, [400, 0, 0, 0]))  # outside the image
    np.testing.assert_allclose(x[:, :3], written_out(image, masks, boxes)[:, :3], atol=1e-6)


def test_boxes_known_to_hold_are_not_counted_again():
    image, masks, boxes = place(1, 6)
    np.testing.assert_array_equal(
        graphs.node_features(image, masks, boxes, masks_within_boxes=True), graphs.node_features(image, masks, boxes)
    )
    less = graphs.node_features(image, masks, boxes - [0, 0, 1, 1], masks_within_boxes=True)
    assert (less[:, :3] != graphs.node_features(image, masks, boxes)[:, :3]).any()


def test_no_mask_one_mask_and_a_mask_on_the_edge():
    image, masks, boxes = place(2, 1)
    assert graphs.node_features(image, masks[:0], boxes[:0]).shape == (0, 5)
    assert graphs.node_features(image, masks, boxes).shape == (1, 5)
    whole = np.ones((1, 320, 320), bool)
    x = graphs.node_features(image, whole, np.array([[0, 0, 319, 319]]))
    np.testing.assert_allclose(x[0], [*(image.mean((0, 1)) / 255), 159.5 / 320, 159.5 / 320], atol=1e-6)


def test_wrong_input_is_refused():
    image, masks, boxes = place(3, 2)
    with pytest.raises(ValueError, match="uint8"):
        graphs.node_features(image / 255, masks, boxes)
    with pytest.raises(ValueError, match="masks"):
        graphs.node_features(image, masks[:, :100], boxes)
    with pytest.raises(ValueError, match="boxes"):
        graphs.node_features(image, masks, boxes[:1])


def test_extra_features_of_known_shapes():
    image = np.full((320, 320, 3), 100, np.uint8)
    image[:, 200:] = np.where(np.arange(120) % 2, 255, 0).astype(np.uint8)[None, :, None]
    masks = np.zeros((3, 320, 320), bool)
    masks[0, 10:42, 10:42] = True  # a square of 1 % of the image
    masks[1, 60:64, 10:90] = True  # a strip 4 x 80
    masks[2, 100:140, 220:260] = True  # stripes 0, 255
    boxes = np.array([[10, 10, 31, 31], [10, 60, 79, 3], [220, 100, 39, 39]])
    area, elongation, texture = graphs.extra_features(image, masks, boxes).T
    np.testing.assert_allclose(area, [0.1, np.sqrt(320) / 320, 0.125], atol=1e-6)
    np.testing.assert_allclose(elongation, [0, 0.95, 0], atol=0.01)
    np.testing.assert_allclose(texture, [0, 0, 0.5], atol=1e-3)


def test_graphs_are_padded_and_counted():
    places = [place(5, 3), place(9, 0), place(4, 60)]
    ids, images, found = np.array([5, 9, 4]), [p[0] for p in places], [p[1:] for p in places]
    built = graphs.GraphSet.from_masks(ids, images, found)
    assert (built.x.shape, built.nodes.tolist(), built.ids.tolist()) == ((3, 50, 5), [3, 0, 50], [5, 9, 4])
    np.testing.assert_array_equal(built.x[0, :3], graphs.node_features(*places[0]))
    assert not built.x[0, 3:].any()
    more = graphs.GraphSet.from_masks(ids, images, found, extra=True)
    assert more.x.shape == (3, 50, 8)
    np.testing.assert_array_equal(more.features(5).x, built.x)


@pytest.fixture
def data_dir(tmp_path):
    """Two pairs of noise."""
    for i in (0, 1):
        rgb = np.random.default_rng(i).integers(0, 256, (320, 320, 3), dtype=np.uint8)
        layout.write_pair(tmp_path, i, np.full((32, 32, 10), 0.1, np.float32), rgb, 1)
    return tmp_path


class Store(dict):
    """Masks of pairs in a folder, counting how often they are read."""

    def __init__(self, path):
        super().__init__({i: place(i, 3)[1:] for i in (0, 1)})
        self.path, self.reads = path, 0

    def digest(self, ids):
        return str([self[i][0].sum() for i in ids])

    def __getitem__(self, i):
        self.reads += 1
        return super().__getitem__(int(i))


def test_kept_graphs_are_found_until_any_pixel_of_a_patch_or_a_mask_changes(data_dir):
    store = Store(data_dir / "masks")
    first = graphs.load_graphs(open_pairs(data_dir), store)
    reads = store.reads
    np.testing.assert_array_equal(graphs.load_graphs(open_pairs(data_dir), store).x, first.x)
    assert store.reads == reads + 2  # for the digest alone
    rgb = layout.read_rgb(layout.rgb_path(data_dir, 1))[0]
    y, x = store[1][0][0].nonzero()
    rgb[y[0], x[0]] ^= 255
    layout.write_pair(data_dir, 1, np.full((32, 32, 10), 0.1, np.float32), rgb, 1)
    second = graphs.load_graphs(open_pairs(data_dir), store)
    np.testing.assert_array_equal(second.x[0], first.x[0])
    assert (second.x[1, 0, :3] != first.x[1, 0, :3]).all()
    store[1][0][1][:] = False
    assert not graphs.load_graphs(open_pairs(data_dir), store).x[1, 1, :3].any()


def test_graphs_of_regions_need_no_sam(data_dir):
    grid = graphs.load_graphs(open_pairs(data_dir), graphs.RegionStore(open_pairs(data_dir), "grid"))
    assert grid.nodes.tolist() == [49, 49]


def test_pairs_without_graphs_are_refused(data_dir):
    shutil.rmtree(data_dir / layout.RGB_FOLDER)
    with pytest.raises(FileNotFoundError, match=r"neither RGB patches .* nor shipped graphs"):
        graphs.load_graphs(open_pairs(data_dir))


def test_take_keeps_rows_together():
    some = graphs.GraphSet(np.arange(4), np.arange(4)[:, None, None] * np.ones((4, 50, 5)), np.arange(4))
    taken = some[np.array([2, 0])]
    assert taken.ids.tolist() == taken.nodes.tolist() == taken.x[:, 0, 0].tolist() == [2, 0]


def line_of(centres: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.zeros(1, 6, 5)
    x[0, : len(centres), 3] = torch.tensor(centres)
    return x, torch.tensor([len(centres)])


def test_edges_of_a_graph_drawn_by_hand():
    x, nodes = line_of([0.0, 0.1, 0.4, 0.4])
    complete = graphs.adjacency(x, nodes)[0]
    assert complete.sum() == 10  # all but the two at one place
    assert not complete[2, 3]
    assert not complete[4:].any()
    near = graphs.adjacency(x, nodes, "nearest", k=1)[0]
    assert near.nonzero().tolist() == [[0, 1], [1, 0], [1, 2], [1, 3], [2, 1], [3, 1]]
    close = graphs.adjacency(x, nodes, "distance", distance=0.35)[0]
    assert close.nonzero().tolist() == [[0, 1], [1, 0], [1, 2], [1, 3], [2, 1], [3, 1]]
    with pytest.raises(ValueError, match="complete, nearest, distance"):
        graphs.adjacency(x, nodes, "ring")


def test_equal_centres_are_never_joined_however_many_nodes():
    """torch.cdist with matrix products gives small distances between equal points from 26 rows on."""
    x = torch.rand(1, 50, 5)
    joined = graphs.adjacency(x, torch.tensor([50]))[0]
    assert int(joined.sum()) == 50 * 49
    x[:, :, 3:5] = 0.3
    assert not graphs.adjacency(x, torch.tensor([50])).any()


def test_to_batch_numbers_nodes_graph_by_graph():
    x = torch.rand(3, 6, 5)
    batch = graphs.to_batch(x, torch.tensor([2, 0, 3]))
    assert batch.num_graphs == 3
    assert batch.batch.tolist() == [0, 0, 2, 2, 2]
    assert torch.equal(batch.x, torch.cat([x[0, :2], x[2, :3]]))
    assert {tuple(e) for e in batch.edge_index.T.tolist()} == {
        *((0, 1), (1, 0)), *((2, 3), (3, 2), (2, 4), (4, 2), (3, 4), (4, 3))}  # fmt: skip


def test_published_graphs_are_read_and_nothing_is_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    folder = tmp_path / "gg_nodes_refine"
    folder.mkdir()
    for i, n in ((0, 3), (2, 1)):
        e = np.frombuffer(pickle.dumps(Bomb()), np.uint8) if i else np.array(Bomb(), dtype=object)
        np.savez(folder / f"graph_{i}.npz", x=np.full((n, 5), i / 4), a=np.zeros((n, n)), e=e, y=np.eye(17)[i])
    read = graphs.read_published_graphs(tmp_path)
    assert (read.ids.tolist(), read.nodes.tolist(), read.x.shape) == ([0, 2], [3, 1], (2, 50, 5))
    assert read.x[1, 0, 0] == 0.5
    with pytest.raises(FileNotFoundError, match="graph_1"):
        graphs.read_published_graphs(tmp_path, np.array([1]))
    (folder / "graph_1.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="graph_1"):
        graphs.read_published_graphs(tmp_path)
    np.savez(folder / "graph_1.npz", x=np.full((3, 5), "text"))
    with pytest.raises(InputError, match=r"graph_1\.npz: x is <U4 \(3, 5\), expected"):
        graphs.read_published_graphs(tmp_path)
    with pytest.raises(FileNotFoundError, match="gg_nodes_refine"):
        graphs.read_published_graphs(tmp_path / "elsewhere")
