"""torchvision beside a torch that its compiled operators were not built for.

Where torchvision's compiled library does not load (a CPU build of torch beside the package index's torchvision is the
common case) `import torchvision`, and with it segment_anything, fails with "operator torchvision::nms does not exist".
The two operators defined here in Python are all that is needed. Where the compiled ones load, nothing is defined.
"""

import importlib.util
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import library as operators


@lru_cache(maxsize=1)
def define_missing_operators() -> operators.Library | None:
    """Give torch the operators without which torchvision cannot be imported; None where the compiled ones load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision: not installed; run: pip install torchvision")
    for path in Path(spec.origin).parent.glob("_C*"):
        with suppress(ImportError, OSError):
            torch.ops.load_library(path)
            if hasattr(torch.ops.torchvision, "nms"):
                return None
    library = operators.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, nms, "CPU")
    return library


def import_torchvision() -> ModuleType:
    """The module `torchvision`, with an `ops.nms` that works: the compiled one, or where it is missing that of here."""
    missing = define_missing_operators()
    import torchvision.ops.boxes

    if missing:
        torchvision.ops.boxes._assert_has_ops = lambda: None  # it refuses to call operators that are not compiled
    return torchvision


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression, the same decisions as torchvision's compiled operator.

    A box (n, 4) XYXY is dropped when its IoU with a kept one of better score (n,) is *above* the threshold; equal
    scores keep their order. Returns (k,) int64 indices of the kept boxes, best first.
    """
    b = boxes.detach().numpy()
    order = torch.sort(scores.detach(), stable=True, descending=True).indices.numpy()
    x0, y0, x1, y1 = b[order].T
    area = (x1 - x0) * (y1 - y0)
    alive, kept = np.ones(len(order), bool), []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(order[i])
        width = np.minimum(x1[i], x1[i + 1 :]) - np.maximum(x0[i], x0[i + 1 :])
        height = np.minimum(y1[i], y1[i + 1 :]) - np.maximum(y0[i], y0[i + 1 :])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        with np.errstate(invalid="ignore"):  # two empty boxes: 0 / 0 is not above any threshold
            alive[i + 1 :] &= ~(overlap / (area[i] + area[i + 1 :] - overlap) > iou_threshold)
    return torch.as_tensor(np.array(kept, np.int64))
