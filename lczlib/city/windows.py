"""Windows of a scene: what a map is made of, how they lie, and what the streams say about a chunk of them.

Source: paper and LCZ.md (320 m window slid by 100 m). Assumed: windows with up to a tenth of no-data are used, the
missing pixels filled with the window's own mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from scipy import sparse

from lczlib.city.patches import PATCH, require_overlap
from lczlib.city.rasters import RGB, S2_PIXEL, Sentinel2, apply_affine, metric, utm_of
from lczlib.data.layout import BANDS
from lczlib.errors import InputError
from lczlib.zones import K

Predict = Callable[[np.ndarray], np.ndarray]  # patches (n, 32, 32, 10) or images (n, 320, 320, 3) -> (n, 17)
ALPHA = 0.6  # of the published script
MOST_VOID = 0.1  # largest share of no-data in a window that is used


@dataclass(frozen=True)
class Job:
    """All that is needed to compute a chunk anywhere: sources, streams and grid; picklable.

    Attributes:
        s2, rgb: absolute paths, "" where not given. units: "dn" or "reflectance". stretch: of the RGB image.
        predict_s2, predict_ge: the streams, None where not given. alpha: weight of the Sentinel-2 stream.
        step: m between windows. crs: WKT. corner: left, top. size: rows and columns of 10 m.
    """

    s2: str
    rgb: str
    bands: tuple[str, ...] | None
    offset: float
    units: str
    rgb_bands: tuple[int, ...] | None
    stretch: tuple[float, float] | None
    predict_s2: Predict | None
    predict_ge: Predict | None
    alpha: float
    step: float
    crs: str
    corner: tuple[float, float]
    size: tuple[int, int]

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Rows and columns."""
        return tuple(Axis(length, self.step / S2_PIXEL) for length in self.size)

    @property
    def height(self) -> int:
        """Rows of the map."""
        return self.axes[0].pixels

    @property
    def width(self) -> int:
        """Columns of the map."""
        return self.axes[1].pixels

    @property
    def transform(self) -> Affine:
        """Of the map."""
        return Affine(self.step, 0, self.corner[0], 0, -self.step, self.corner[1])


class Axis:
    """Windows and map pixels along one axis, in pixels of 10 m.

    Attributes: `pixels` of the map; `starts` (n,) of the distinct windows; `own` (pixels,) the window of each map
    pixel; `centered` (pixels,) bool, False where the scene's edge moved that window.
    """

    def __init__(self, length: int, step: float):
        self.pixels = int(length / step + 0.5)
        self.centers = (np.arange(self.pixels) + 0.5) * step
        wanted = np.rint(self.centers - PATCH / 2).astype(int)
        self.starts, self.own = np.unique(np.clip(wanted, 0, length - PATCH), return_inverse=True)
        self.centered = self.starts[self.own] == wanted

    def weights(self, pixels: slice) -> sparse.csr_matrix:
        """(pixels, windows) tent weights: 1 at a window's centre, 0 at its edge."""
        centers = self.centers[pixels]
        first = np.searchsorted(self.starts, centers - PATCH, "right")
        count = np.searchsorted(self.starts, centers, "left") - first
        ends = np.cumsum(count)
        windows = np.arange(ends[-1]) - np.repeat(ends - count - first, count)
        distance = np.abs(np.repeat(centers, count) - self.starts[windows] - PATCH / 2)
        tent = (1 - distance / (PATCH / 2)).astype(np.float32)
        return sparse.csr_matrix((tent, windows, np.concatenate([[0], ends])), (len(centers), len(self.starts)))


def open_job(
    s2: str | Path | None,
    rgb: str | Path | None,
    predict_s2: Predict | None,
    predict_ge: Predict | None,
    *,
    alpha: float | None = None,
    step: float = 100.0,
    bands: list[str] | None = None,
    offset: float = 0.0,
    units: str = "auto",
    rgb_bands: list[int] | None = None,
) -> tuple[Job, list[str]]:
    """Open and check the sources; returns the job and warnings. Raises ValueError, FileNotFoundError in one line."""
    if not (s2 or rgb):
        raise InputError("nothing to map: no image given; give --s2, --rgb or both")
    if step % S2_PIXEL or step <= 0:
        raise InputError(f"--step {step:g}: not a multiple of 10 m; choose 100")
    scene = Sentinel2(s2, bands, offset, units) if s2 else None
    image = RGB(rgb, rgb_bands) if rgb else None
    if scene and image:
        require_overlap(scene, image)
    grid = (scene.crs, scene.transform, (scene.height, scene.width)) if scene else _grid_of(image)
    if min(grid[2]) < PATCH:
        raise InputError(f"{s2 or rgb}: smaller than one window of 320 m; give a larger scene")
    if step > 2 * S2_PIXEL * min(grid[2]):
        raise InputError(f"--step {step:g}: larger than the scene; choose 100")
    alpha = 1.0 if not image else 0.0 if not scene else ALPHA if alpha is None else alpha
    if not 0 <= alpha <= 1:
        raise InputError(f"--alpha {alpha:g}: not between 0 and 1; the published value is {ALPHA}")
    job = Job(
        str(Path(s2).resolve()) if s2 else "", str(Path(rgb).resolve()) if rgb else "", tuple(bands) if bands else None,
        offset, "dn" if scene and scene.dn else "reflectance", tuple(image.indexes) if image else None,
        image.stretch if image else None, predict_s2 if scene else None, predict_ge if image else None, alpha, step,
        grid[0].to_wkt(), (grid[1].c, grid[1].f), grid[2],
    )  # fmt: skip
    return job, [f"{s2}: {warning}" for warning in (scene.warnings if scene else [])]


def _grid_of(image: RGB) -> tuple[CRS, Affine, tuple[int, int]]:
    """A 10 m grid over an RGB image, in its own CRS where that is metric, else in UTM."""
    crs = image.data.crs if metric(image.data) else utm_of(image.data.crs, image.data.bounds)
    left, bottom, right, top = transform_bounds(image.data.crs, crs, *image.data.bounds)
    return crs, Affine(10, 0, left, 0, -10, top), (int((top - bottom) // 10), int((right - left) // 10))


def compute_chunk(job: Job, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Probabilities (len(rows), len(cols), 17) float32 of the windows that start there; NaN where refused."""
    p = np.full((len(rows) * len(cols), K), np.nan, np.float32)
    used = np.ones(len(p), bool)
    if job.predict_s2:
        patches, used = _patches(job, rows, cols)
    if job.predict_ge:
        images, used = _images(job, rows, cols, used)
    if used.any():
        parts = [job.alpha * job.predict_s2(patches[used])] if job.predict_s2 else []
        parts += [(1 - job.alpha) * job.predict_ge(images)] if job.predict_ge else []
        p[used] = sum(parts)
    return p.reshape(len(rows), len(cols), K)


def _patches(job: Job, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sentinel-2 patches (n, 32, 32, 10), and which of them have data enough; no-data filled with the patch's mean."""
    scene = Sentinel2(job.s2, job.bands, job.offset, job.units, check=False)
    block = scene.read(rows[0], cols[0], rows[-1] - rows[0] + PATCH, cols[-1] - cols[0] + PATCH)
    view = np.lib.stride_tricks.sliding_window_view(block, (PATCH, PATCH), axis=(0, 1))
    patches = np.moveaxis(view[np.ix_(rows - rows[0], cols - cols[0])], 2, -1).reshape(-1, PATCH, PATCH, len(BANDS))
    void = np.isnan(patches[..., 0])
    used = void.mean(axis=(1, 2)) <= MOST_VOID
    for place in np.flatnonzero(used & void.any(axis=(1, 2))):
        patches[place][void[place]] = patches[place][~void[place]].mean(axis=0)
    return patches, used


def _images(job: Job, rows: np.ndarray, cols: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB images (m, 320, 320, 3) of the wanted windows that have data enough, and which (n,) those are."""
    source, crs = RGB(job.rgb, job.rgb_bands, job.stretch), CRS.from_wkt(job.crs)
    images, used = [], np.zeros(len(wanted), bool)
    for place in np.flatnonzero(wanted):
        row, col = rows[place // len(cols)], cols[place % len(cols)]
        left, top = apply_affine(Affine(S2_PIXEL, 0, job.corner[0], 0, -S2_PIXEL, job.corner[1]), col, row)
        image, valid = source.read(crs, left, top)
        used[place] = (~valid).mean() <= MOST_VOID
        if used[place]:
            image[~valid] = image[valid].mean(axis=0)
            images.append(image)
    return np.array(images, np.uint8), used
