"""Instance masks -> node features -> graphs (PAPER.md, "Google Earth stream", step 2).

Graphs are kept padded: x (N, 50, F) with the number of nodes of each. The paper's graph is complete, its edges follow
from the centres and are never stored; `to_batch` lists them where a torch_geometric layer wants them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

from lczlib.errors import InputError
from lczlib.runs import atomic_path, content_key, make_if_missing

if TYPE_CHECKING:
    from torch_geometric.data import Batch

    from lczlib.data import Pairs
    from lczlib.sam import MaskSettings

FEATURES = ("red", "green", "blue", "x", "y")  # the paper's five
EXTRA_FEATURES = ("area", "elongation", "texture")  # an addition of ours, never a default
COLOUR, CENTRE = slice(0, 3), slice(3, 5)  # columns of the mean colour and of the box centre
MOST_NODES = 50
WHOLE = (slice(None), slice(None))
NO_GRAPHS = "neither RGB patches (google_img_320) nor shipped graphs (gg_nodes_refine); cut pairs with --rgb"
EDGES = ("complete", "nearest", "distance")

__all__ = ["CENTRE", "COLOUR", "EXTRA_FEATURES", "FEATURES", "GraphSet", "adjacency", "build_graphs", "extra_features",
           "graph_set", "graphs_of", "node_features", "read_published_graphs", "to_batch"]  # fmt: skip


@dataclass(frozen=True)
class GraphSet:
    """Graphs of many pairs.

    Attributes:
        ids: (N,) int64 pair ids.
        x: (N, M, F) float32 node features, rows beyond `nodes` are zero.
        nodes: (N,) int64 nodes of each graph, 0..M.
    """

    ids: np.ndarray
    x: np.ndarray
    nodes: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> GraphSet:
        """The graphs in these rows, in this order."""
        return GraphSet(self.ids[rows], self.x[rows], self.nodes[rows])

    def features(self, count: int) -> GraphSet:
        """The same graphs with the first `count` features only (5: the paper's)."""
        return GraphSet(self.ids, self.x[..., :count], self.nodes)


def node_features(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray, *, boxes_hold: bool = False) -> np.ndarray:
    """The paper's five features of each instance: mean R, G, B over the mask, then the centre of its box.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (n, H, W) bool.
        boxes: (n, 4) pixels, x, y, width, height; SAM's boxes are inclusive (width = largest x - smallest x).
        boxes_hold: it is known that no mask reaches beyond its box. Otherwise that is counted, for which every mask is
            read as a whole: two thirds of the time.

    Returns:
        (n, 5) float32: colours 0..1, centre x / W and y / H (both 320 in the paper).

    Raises:
        ValueError: shapes or types that do not fit each other.

    Source: PAPER.md. A mask is summed within its box's window, or over the whole image where it reaches beyond.
    """
    masks, boxes = _checked(image, masks, boxes)
    opaque = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # the fourth channel, 255 everywhere, counts pixels
    windows = _windows(boxes, image.shape)
    sums = _sums(opaque, masks, windows)
    if not boxes_hold and sums[:, 3].sum() != 255 * _count(masks):
        sums = _sums(opaque, masks, [WHOLE] * len(masks))
    x = np.empty((len(masks), len(FEATURES)), dtype=np.float64)
    x[:, COLOUR] = sums[:, :3] / np.maximum(sums[:, 3:], 1)
    x[:, CENTRE] = (boxes[:, :2] + boxes[:, 2:] / 2) / image.shape[1::-1]
    return x.astype(np.float32)


def _sums(image: np.ndarray, masks: np.ndarray, windows: list[tuple[slice, slice]]) -> np.ndarray:
    """Sum of each of four channels over each mask in its window: (n, 4). Copying, then summing takes a third of the
    time of OpenCV's masked mean.
    """
    sums = [cv2.sumElems(cv2.copyTo(image[window], mask[window])) for mask, window in zip(masks, windows)]
    return np.array(sums).reshape(-1, 4)


def extra_features(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Three more features: what the paper's five leave out of an instance (arguments as `node_features`).

    Returns:
        (n, 3) float32: area (square root of its share of the image), elongation (1 - minor / major axis of the
        ellipse of equal moments), texture (standard deviation of grey over the mask, 0..0.5).

    Source: ours, not the paper's.
    """
    masks, boxes = _checked(image, masks, boxes)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    x = np.zeros((len(masks), len(EXTRA_FEATURES)), dtype=np.float32)
    windows = _windows(boxes, image.shape)
    if sum(_count(mask[window]) for mask, window in zip(masks, windows)) != _count(masks):
        windows = [WHOLE] * len(masks)
    for k, (mask, window) in enumerate(zip(masks, windows)):
        moments = cv2.moments(np.ascontiguousarray(mask[window]), binaryImage=True)
        texture = cv2.meanStdDev(grey[window], mask=mask[window])[1].item() / 255
        x[k] = np.sqrt(moments["m00"] / mask.size), _elongation(moments), texture
    return x


def _elongation(moments: Mapping[str, float]) -> float:
    area = max(moments["m00"], 1)
    a, b, c = (moments[name] / area for name in ("mu20", "mu11", "mu02"))
    spread = np.hypot(2 * b, a - c)
    return 1 - float(np.sqrt(max(a + c - spread, 0) / max(a + c + spread, 1e-9)))


def _windows(boxes: np.ndarray, shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Rows and columns of each box, one at least."""
    last = (shape[1] - 1, shape[0] - 1)
    start = np.clip(np.floor(boxes[:, :2]), 0, last)
    end = np.maximum(np.ceil(boxes[:, :2] + boxes[:, 2:]), start) + 1
    corners = np.concatenate([start, end], 1).astype(int).tolist()
    return [(slice(y0, y1), slice(x0, x1)) for x0, y0, x1, y1 in corners]


def _count(masks: np.ndarray) -> int:
    """Pixels of masks (..., H, W)."""
    return cv2.countNonZero(masks.reshape(-1, masks.shape[-1])) if masks.size else 0


def _checked(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}; scale to 0..255 first")
    masks, boxes = np.asarray(masks), np.asarray(boxes, dtype=np.float64)
    if len(masks) and masks.shape[1:] != image.shape[:2]:
        raise InputError(f"masks: expected (n, {image.shape[0]}, {image.shape[1]}), got {masks.shape}")
    if boxes.size != 4 * len(masks):
        raise InputError(f"boxes: expected ({len(masks)}, 4) x, y, width, height, got {boxes.shape}")
    return np.ascontiguousarray(masks, dtype=bool).view(np.uint8), boxes.reshape(-1, 4)


def graphs_of(pairs: Pairs, sam: str = "nano", settings: MaskSettings | None = None, workers: int = 1) -> GraphSet:
    """Graphs of all pairs of a data set: of instance masks, made where they are missing, or those the published set
    ships where there are no RGB patches.

    Args:
        sam, settings, workers: of `make_masks`; settings None: the paper's.

    Raises:
        FileNotFoundError, ValueError: of `make_masks` and `read_published_graphs`.
    """
    if not pairs.has_graphs:
        raise FileNotFoundError(f"{pairs.data_dir}: {NO_GRAPHS}")
    if not pairs.has_rgb:
        return read_published_graphs(pairs.data_dir, pairs.ids)
    from lczlib.sam import MaskSettings, make_masks

    return build_graphs(pairs, make_masks(pairs.data_dir, sam, settings or MaskSettings(), pairs.ids, workers))


def build_graphs(pairs: Pairs, store: Mapping, extra: bool = False, most: int = MOST_NODES) -> GraphSet:
    """Graphs of all pairs from their stored masks, kept beside the masks and found again.

    Args:
        pairs: with RGB patches.
        store: `store[id] -> (masks, boxes)`; its `path`, if it has one, is where the result is kept; `boxes_hold`, if
            it has that: of `node_features`.
        extra: append `EXTRA_FEATURES` to the paper's five.
        most: nodes at most; masks come largest first.
    """
    cache = _cache_path(pairs, store, extra, most)
    if cache is None:
        return _graphs_of(pairs, store, extra, most)

    def write() -> None:
        graphs = _graphs_of(pairs, store, extra, most)
        with atomic_path(cache) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, ids=graphs.ids, x=graphs.x, nodes=graphs.nodes)

    make_if_missing(cache, cache.exists, write)
    with np.load(cache, allow_pickle=False) as kept:
        return GraphSet(kept["ids"], kept["x"], kept["nodes"])


def _graphs_of(pairs: Pairs, store: Mapping, extra: bool, most: int) -> GraphSet:
    found = (store[int(i)] for i in tqdm(pairs.ids, desc="graphs", disable=len(pairs) < 5000))
    return graph_set(pairs.ids, pairs.rgb, found, extra, most, getattr(store, "boxes_hold", False))


def graph_set(
    ids: np.ndarray,
    images: Sequence[np.ndarray],
    found: Iterable[tuple[np.ndarray, np.ndarray]],
    extra: bool = False,
    most: int = MOST_NODES,
    boxes_hold: bool = False,
) -> GraphSet:
    """Graphs of images (H, W, 3) uint8 from the masks and boxes found in each; the rest as `build_graphs`."""
    width = len(FEATURES) + len(EXTRA_FEATURES) * extra
    graphs = GraphSet(ids, np.zeros((len(ids), most, width), np.float32), np.zeros(len(ids), np.int64))
    for row, (image, (masks, boxes)) in enumerate(zip(images, found)):
        x = node_features(image, masks, boxes, boxes_hold=boxes_hold)
        if extra:
            x = np.concatenate([x, extra_features(image, masks, boxes)], axis=1)
        x = x[:most]
        graphs.x[row, : len(x)], graphs.nodes[row] = x, len(x)
    return graphs


def _cache_path(pairs: Pairs, store: Mapping, extra: bool, most: int) -> Path | None:
    folder = getattr(store, "path", None)
    if folder is None:
        return None
    sample = hashlib.sha256(np.ascontiguousarray(pairs.rgb[:, ::64, ::64])).hexdigest()  # other images, other graphs
    return Path(folder) / f"graphs-{content_key({'ids': pairs.ids, 'rgb': sample, 'extra': extra, 'most': most})}.npz"


def read_published_graphs(data_dir: str | Path, ids: np.ndarray | None = None) -> GraphSet:
    """The graphs that LCZC-GES2 ships (`gg_nodes_refine`), for users without the Google patches.

    Only node features are read: the adjacency follows from the centres, and the pickled `e` is never touched.

    Args:
        data_dir: a clone of the published repository.
        ids: pairs wanted; None: all there are.

    Raises:
        FileNotFoundError: no such folder, or a wanted graph is missing. ValueError: a damaged file, by name.
    """
    folder = Path(data_dir) / "gg_nodes_refine"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no shipped graphs there; give the folder of a clone of LCZC-GES2")
    if ids is None:
        ids = np.sort([int(path.stem.split("_")[1]) for path in folder.glob("graph_*.npz")])
    nodes = [_read_published(folder / f"graph_{i}.npz") for i in tqdm(ids, desc="graphs", disable=len(ids) < 5000)]
    most = max([MOST_NODES, *map(len, nodes)])
    x = np.stack([np.pad(n, ((0, most - len(n)), (0, 0))) for n in nodes])
    return GraphSet(np.asarray(ids, np.int64), x, np.array([len(n) for n in nodes], np.int64))


def _read_published(path: Path) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing; download the data set again")
    try:
        with np.load(path, allow_pickle=False) as stored:
            x = stored["x"].astype(np.float32)
    except Exception as fault:
        raise InputError(f"{path}: not a graph file ({fault}); download it again") from None
    if x.ndim != 2 or x.shape[1] != len(FEATURES) or not np.isfinite(x).all():
        raise InputError(f"{path}: x has shape {x.shape}, expected (n, 5) of finite numbers; download it again")
    return x


def adjacency(x: torch.Tensor, nodes: torch.Tensor, edges: str = "complete", k: int = 8, distance: float = 0.25):
    """Which nodes are joined: (B, M, M) bool, symmetric, no self loops.

    Args:
        x: (B, M, F >= 5) padded node features. nodes: (B,).
        edges: `complete` joins all nodes whose centres differ (the paper); `nearest` joins each with its `k` nearest
            and those with it; `distance` joins centres at most `distance` image widths apart.

    Raises:
        ValueError: unknown kind of edges.
    """
    if edges not in EDGES:
        raise InputError(f"unknown edges {edges!r}; expected one of {', '.join(EDGES)}")
    centres = x[..., CENTRE]
    valid = torch.arange(x.shape[1], device=x.device) < nodes[:, None]
    # compared exactly: torch.cdist, faster for many rows, gives tiny distances between equal centres
    allowed = (centres[:, :, None] != centres[:, None]).any(-1) & valid[:, :, None] & valid[:, None]
    if edges == "complete":
        return allowed
    far = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist").masked_fill(~allowed, torch.inf)
    if edges == "distance":
        return far <= distance
    near = torch.zeros_like(allowed).scatter_(2, far.topk(min(k, x.shape[1]), largest=False).indices, True) & allowed
    return near | near.transpose(1, 2)


def to_batch(
    x: torch.Tensor, nodes: torch.Tensor, edges: str = "complete", k: int = 8, distance: float = 0.25
) -> Batch:
    """Padded graphs (B, M, F) as one torch_geometric Batch with listed edges (arguments as `adjacency`)."""
    from torch_geometric.data import Batch

    valid = torch.arange(x.shape[1], device=x.device) < nodes[:, None]
    number = torch.full(valid.shape, -1, dtype=torch.long, device=x.device)
    number[valid] = torch.arange(int(valid.sum()), device=x.device)
    graph, one, other = adjacency(x, nodes, edges, k, distance).nonzero(as_tuple=True)
    batch = Batch(x=x[valid], edge_index=torch.stack([number[graph, other], number[graph, one]]))
    batch.batch = torch.arange(len(x), device=x.device).repeat_interleave(nodes)
    batch._num_graphs = len(x)
    return batch
