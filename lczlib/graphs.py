"""Instance masks -> node features -> graphs (the Google Earth stream; docs/paper.md).

Graphs are kept padded: x (N, 50, F) with the number of nodes of each. The paper's graph is complete, its edges follow
from the centres and are never stored; `to_batch` lists them where a torch_geometric layer wants them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

from lczlib.data.layout import GRAPH_FOLDER, read_npz, write_npz
from lczlib.data.pairs import fingerprint
from lczlib.errors import InputError
from lczlib.runs import content_key, make_if_missing

if TYPE_CHECKING:
    from torch_geometric.data import Batch

    from lczlib.data import Pairs
    from lczlib.sam import MaskSettings

FEATURES = ("red", "green", "blue", "x", "y")  # the paper's five
EXTRA_FEATURES = ("area", "elongation", "texture")  # an addition of ours, never a default
COLOUR, CENTRE = slice(0, 3), slice(3, 5)  # columns of the mean colour and of the box centre
MOST_NODES = 50
EDGES = ("complete", "nearest", "distance")
REGIONS = ("slic", "felzenszwalb", "grid")


@dataclass(frozen=True)
class GraphSet:
    """Graphs of many pairs.

    Attributes:
        ids: (N,) int64. x: (N, M, F) float32 node features, rows beyond `nodes` are zero. nodes: (N,) int64, 0..M.
    """

    ids: np.ndarray
    x: np.ndarray
    nodes: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_masks(
        cls, ids: np.ndarray, images: Sequence[np.ndarray], found: Iterable[tuple], extra: bool = False
    ) -> GraphSet:
        """Graphs of images (H, W, 3) uint8 from the masks and boxes found in each; `extra` appends `EXTRA_FEATURES`."""
        width = len(FEATURES) + len(EXTRA_FEATURES) * extra
        graphs = cls(ids, np.zeros((len(ids), MOST_NODES, width), np.float32), np.zeros(len(ids), np.int64))
        for row, (image, (masks, boxes)) in enumerate(zip(images, found)):
            masks, boxes = masks[:MOST_NODES], boxes[:MOST_NODES]
            x = node_features(image, masks, boxes, masks_within_boxes=True)
            more = [extra_features(image, masks, boxes)] if extra else []
            graphs.x[row, : len(x)], graphs.nodes[row] = np.concatenate([x, *more], axis=1), len(x)
        return graphs

    @property
    def valid(self) -> np.ndarray:
        """Which rows of `x` are nodes: (N, M) bool."""
        return np.arange(self.x.shape[1]) < self.nodes[:, None]

    def __getitem__(self, rows: np.ndarray) -> GraphSet:
        """The graphs in these rows, in this order."""
        return GraphSet(self.ids[rows], self.x[rows], self.nodes[rows])

    def features(self, count: int) -> GraphSet:
        """The same graphs with the first `count` features only (5: the paper's)."""
        return GraphSet(self.ids, self.x[..., :count], self.nodes)


def node_features(
    image: np.ndarray, masks: np.ndarray, boxes: np.ndarray, *, masks_within_boxes: bool = False
) -> np.ndarray:
    """The paper's five features of each instance: mean R, G, B over the mask, then the centre of its box.

    Args:
        image: (H, W, 3) uint8 RGB. masks: (n, H, W) bool.
        boxes: (n, 4) pixels, x, y, width, height; SAM's boxes are inclusive (width = largest x - smallest x).
        masks_within_boxes: promises that no mask reaches beyond its box: checking it takes two thirds of the time.

    Returns:
        (n, 5) float32: colours 0..1, centre x / W and y / H (both 320 in the paper).

    Raises InputError where shapes or types do not fit each other. Source: published script.
    """
    masks, boxes = _checked(image, masks, boxes)
    opaque = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # the fourth channel, 255 everywhere, counts pixels
    sums = _sums(opaque, masks, _windows(boxes, image.shape))
    if not masks_within_boxes and sums[:, 3].sum() != 255.0 * np.count_nonzero(masks):
        sums = _sums(opaque, masks, [np.s_[:, :]] * len(masks))
    x = np.empty((len(masks), len(FEATURES)), dtype=np.float64)
    x[:, COLOUR] = sums[:, :3] / np.maximum(sums[:, 3:], 1)
    x[:, CENTRE] = (boxes[:, :2] + boxes[:, 2:] / 2) / image.shape[1::-1]
    return x.astype(np.float32)


def _sums(image: np.ndarray, masks: np.ndarray, windows: list[tuple[slice, slice]]) -> np.ndarray:
    """Sum of each of four channels over each mask in its window: (n, 4). Three times faster than `cv2.mean`."""
    sums = [cv2.sumElems(cv2.copyTo(image[window], mask[window])) for mask, window in zip(masks, windows)]
    return np.array(sums).reshape(-1, 4)


def extra_features(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Three more features of instances (arguments of `node_features`); no mask may reach beyond its box.

    Returns:
        (n, 3) float32: area (square root of its share of the image), elongation (1 - minor / major axis of the
        ellipse of equal moments), texture (standard deviation of grey over the mask, 0..0.5). Source: assumed.
    """
    masks, boxes = _checked(image, masks, boxes)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    x = np.zeros((len(masks), len(EXTRA_FEATURES)), dtype=np.float32)
    for k, (mask, window) in enumerate(zip(masks, _windows(boxes, image.shape))):
        moments = cv2.moments(np.ascontiguousarray(mask[window]), binaryImage=True)
        a, b, c = (moments[name] / max(moments["m00"], 1) for name in ("mu20", "mu11", "mu02"))
        spread = np.hypot(2 * b, a - c)
        elongation = 1 - float(np.sqrt(max(a + c - spread, 0) / max(a + c + spread, 1e-9)))
        texture = cv2.meanStdDev(grey[window], mask=mask[window])[1].item() / 255
        x[k] = np.sqrt(moments["m00"] / mask.size), elongation, texture
    return x


def _windows(boxes: np.ndarray, shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Rows and columns of each box, one at least."""
    last = (shape[1] - 1, shape[0] - 1)
    start = np.clip(np.floor(boxes[:, :2]), 0, last)
    end = np.maximum(np.ceil(boxes[:, :2] + boxes[:, 2:]), start) + 1
    corners = np.concatenate([start, end], 1).astype(int).tolist()
    return [(slice(y0, y1), slice(x0, x1)) for x0, y0, x1, y1 in corners]


def _checked(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}; scale to 0..255 first")
    masks, boxes = np.asarray(masks), np.asarray(boxes, dtype=np.float64)
    if len(masks) and masks.shape[1:] != image.shape[:2]:
        raise InputError(f"masks: expected (n, {image.shape[0]}, {image.shape[1]}), got {masks.shape}")
    if boxes.size != 4 * len(masks):
        raise InputError(f"boxes: expected ({len(masks)}, 4) x, y, width, height, got {boxes.shape}")
    return np.ascontiguousarray(masks, dtype=bool).view(np.uint8), boxes.reshape(-1, 4)


def load_graphs(
    pairs: Pairs,
    masks: Mapping | str = "nano",
    settings: MaskSettings | None = None,
    workers: int = 1,
    extra: bool = False,
) -> GraphSet:
    """Graphs of all pairs, kept beside their masks and found again while neither patches nor masks change.

    Args:
        pairs: without RGB patches the graphs that the published set ships are read.
        masks: a store, `store[id] -> (masks, boxes)` with `path` and `digest(ids)`; or a model's name for `make_masks`.
        settings, workers: of `make_masks`; settings None: the paper's.
        extra: append `EXTRA_FEATURES` to the paper's five.

    Raises FileNotFoundError where neither RGB patches nor shipped graphs are there, and what `make_masks` raises.
    """
    if not pairs.has_graphs:
        lacking = "neither RGB patches (google_img_320) nor shipped graphs (gg_nodes_refine)"
        raise FileNotFoundError(f"{pairs.data_dir}: {lacking}; cut pairs with --rgb")
    if not pairs.has_rgb:
        return read_published_graphs(pairs.data_dir, pairs.ids)
    if isinstance(masks, str):
        from lczlib.sam import PAPER, make_masks

        masks = make_masks(pairs.data_dir, masks, settings or PAPER, pairs.ids, workers)
    made_of = {"rgb": fingerprint(pairs.data_dir, "rgb", pairs.ids), "masks": masks.digest(pairs.ids), "extra": extra}
    path = Path(masks.path) / f"graphs-{content_key(made_of)}.npz"

    def write() -> None:
        found = (masks[int(i)] for i in tqdm(pairs.ids, desc="graphs", disable=len(pairs) < 5000))
        graphs = GraphSet.from_masks(pairs.ids, pairs.rgb, found, extra)
        write_npz(path, ids=graphs.ids, x=graphs.x, nodes=graphs.nodes)

    make_if_missing(path, path.exists, write)
    return GraphSet(*read_npz(path, "ids", "x", "nodes"))


def read_published_graphs(data_dir: str | Path, ids: np.ndarray | None = None) -> GraphSet:
    """The graphs that LCZC-GES2 ships (`gg_nodes_refine`), for users without the Google patches.

    Only node features are read: the adjacency follows from the centres, and the pickled `e` is never touched. Raises
    FileNotFoundError where the folder or a wanted graph is missing, InputError where one is damaged.

    Args:
        data_dir: a clone of the published repository. ids: pairs wanted; None: all there are.
    """
    folder = Path(data_dir) / GRAPH_FOLDER
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no shipped graphs there; give the folder of a clone of LCZC-GES2")
    if ids is None:
        ids = np.sort([int(path.stem.split("_")[1]) for path in folder.glob("graph_*.npz")])
    nodes = []
    for i in tqdm(ids, desc="graphs", disable=len(ids) < 5000):
        path = folder / f"graph_{i}.npz"
        (x,) = read_npz(path, "x")
        if x.dtype.kind not in "fiu" or x.shape[1:] != (len(FEATURES),) or not np.isfinite(x).all():
            fault = f"x is {x.dtype} {x.shape}, expected (n, 5) of finite numbers"
            raise InputError(f"{path}: {fault}; download it again")
        nodes.append(x.astype(np.float32))
    most = max([MOST_NODES, *map(len, nodes)])
    x = np.stack([np.pad(n, ((0, most - len(n)), (0, 0))) for n in nodes])
    return GraphSet(np.asarray(ids, np.int64), x, np.array([len(n) for n in nodes], np.int64))


def regions(image: np.ndarray, method: str) -> np.ndarray:
    """Divide an image (H, W, 3) uint8 RGB into regions: (H, W) integer ids from 1. Assumed, not in the paper.

    Args:
        method: `slic`, 50 superpixels; `felzenszwalb`, graph-based regions (both scikit-image's, at half the
            resolution); `grid`, 7 x 7 equal rectangles; InputError otherwise.
    """
    from skimage import segmentation

    if method not in REGIONS:
        raise InputError(f"unknown segmentation {method!r}; expected one of {', '.join(REGIONS)}")
    height, width = image.shape[:2]
    if method == "grid":
        rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
        return rows[:, None] * 7 + columns + 1
    small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    if method == "slic":
        found = segmentation.slic(small, n_segments=50, compactness=10, start_label=1)
    else:
        found = segmentation.felzenszwalb(small, scale=150, sigma=0.8, min_size=13) + 1
    return cv2.resize(found.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class RegionStore:
    """Masks without SAM, made on demand, read like a MaskStore: `store[id] -> (masks, boxes)`.

    Regions become masks by the paper's area rule (at least 50 px, the 50 largest); their graphs are kept in `path`.
    """

    pairs: Pairs
    method: str

    @property
    def path(self) -> Path:
        """Folder of their graphs."""
        return Path(self.pairs.data_dir) / "masks" / content_key({"regions": self.method})

    def digest(self, ids: np.ndarray) -> str:
        """Regions follow from the patches and the method."""
        return self.method

    def __getitem__(self, sample_id: int) -> tuple[np.ndarray, np.ndarray]:
        from lczlib.sam import truth_masks

        row = np.searchsorted(self.pairs.ids, sample_id)
        return truth_masks(regions(self.pairs.rgb[row], self.method))


def adjacency(x: torch.Tensor, nodes: torch.Tensor, edges: str = "complete", k: int = 8, distance: float = 0.25):
    """Which nodes are joined: (B, M, M) bool, symmetric, no self loops.

    Args:
        x: (B, M, F >= 5) padded node features. nodes: (B,).
        edges: `complete` joins all nodes whose centres differ (the paper); `nearest` joins each with its `k` nearest
            and those with it; `distance` joins centres at most `distance` image widths apart; InputError otherwise.
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


def to_batch(x: torch.Tensor, nodes: torch.Tensor) -> Batch:
    """Padded graphs x (B, M, F), nodes (B,) as one torch_geometric Batch with the listed edges of complete graphs."""
    from torch_geometric.data import Batch

    valid = torch.arange(x.shape[1], device=x.device) < nodes[:, None]
    number = torch.full(valid.shape, -1, dtype=torch.long, device=x.device)
    number[valid] = torch.arange(int(valid.sum()), device=x.device)
    graph, one, other = adjacency(x, nodes).nonzero(as_tuple=True)
    batch = Batch(x=x[valid], edge_index=torch.stack([number[graph, other], number[graph, one]]))
    batch.batch = torch.arange(len(x), device=x.device).repeat_interleave(nodes)
    batch._num_graphs = len(x)
    return batch
