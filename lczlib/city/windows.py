"""Windows of a scene: one of 320 m for every pixel of the map, and the zones that the streams find in a chunk of them.

Source: paper, section on LCZ maps (320 m window slid by 100 m). Assumed: at the scene's edge the window moves inwards,
so that every pixel has a whole one; windows with at most half of no-data are used, the missing pixels filled with the
window's mean; a pixel of the map whose own ground is mostly no-data stays no-data.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from lczlib.city.patches import PATCH, SceneOptions
from lczlib.city.rasters import RGB, Sentinel2
from lczlib.city.source import S2_PIXEL
from lczlib.errors import InputError
from lczlib.fusion import PUBLISHED_ALPHA, fuse

Predict = Callable[[np.ndarray], np.ndarray]  # patches (n, 32, 32, 10) or images (n, 320, 320, 3) -> (n, 17)
MOST_VOID = 0.5  # largest share of no-data in a window that is used, and in the ground of a pixel that gets a zone
CHUNK = {"s2": 16, "ge": 6}  # pixels along each side of a chunk


@dataclass(frozen=True)
class MapJob:
    """All that is needed to compute a chunk anywhere: sources, streams and grid; picklable."""

    s2: tuple | None  # arguments that open the image again
    rgb: tuple | None
    files: tuple  # path, size and time of each, so that a changed file is another job
    predict_s2: Predict | None
    predict_ge: Predict | None
    alpha: float  # weight of the Sentinel-2 stream
    step: float  # m between windows, size of a pixel
    crs: str  # WKT
    corner: tuple[float, float]  # left, top
    size: tuple[int, int]  # rows and columns of 10 m

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map: the pixels whose centre lies in the scene."""
        return tuple(int(length * S2_PIXEL / self.step + 0.5) for length in self.size)

    @property
    def transform(self) -> Affine:
        """Of the map."""
        return Affine(self.step, 0, self.corner[0], 0, -self.step, self.corner[1])

    def chunks(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each chunk of the map."""
        side = CHUNK["ge" if self.rgb else "s2"]
        rows, cols = ([slice(i, min(i + side, n)) for i in range(0, n, side)] for n in self.shape)
        return [(row, col) for row in rows for col in cols]

    def windows(self, axis: int, pixels: slice) -> tuple[np.ndarray, np.ndarray]:
        """First 10 m pixel of the window of each map pixel, and which of its 32 (n, 32) are the pixel's own ground."""
        cell = self.step / S2_PIXEL
        centers = (np.arange(pixels.start, pixels.stop) + 0.5) * cell
        starts = np.clip(np.floor(centers - PATCH / 2 + 0.5).astype(int), 0, self.size[axis] - PATCH)
        return starts, np.abs(starts[:, None] + np.arange(PATCH) + 0.5 - centers[:, None]) <= cell / 2


@dataclass(frozen=True)
class MapOptions(SceneOptions):
    """How to read the images and how to map."""

    alpha: float | None = None  # weight of the Sentinel-2 stream where both are used; None: the published value
    step: float = 100.0  # m between windows


def open_job(
    s2: str | Path | None, rgb: str | Path | None, predict_s2: Predict | None, predict_ge: Predict | None,
    how: MapOptions,
) -> tuple[MapJob, list[str]]:  # fmt: skip
    """The job, and notes and warnings about the input, one line each; InputError where it cannot be mapped."""
    step, alpha = how.step, PUBLISHED_ALPHA if how.alpha is None else how.alpha
    if not (s2 or rgb):
        raise InputError("nothing to map: no image given; give --s2, --rgb or both")
    if step % S2_PIXEL or step <= 0:
        raise InputError(f"--step {step:g}: not a multiple of 10 m; choose 100")
    scene, image = how.open(s2, rgb)
    crs, corner, *size = (scene or image).source.ten_metre_grid()
    if min(size) < PATCH:
        raise InputError(f"{s2 or rgb}: smaller than one window of 320 m; give a larger scene")
    if step > 2 * S2_PIXEL * min(size):
        raise InputError(f"--step {step:g}: larger than the scene; choose 100")
    if not 0 <= alpha <= 1:
        raise InputError(f"--alpha {alpha:g}: not between 0 and 1; the published value is {PUBLISHED_ALPHA}")
    paths = [Path(path).resolve() for path in (s2, rgb) if path]
    job = MapJob(
        s2=scene.arguments if scene else None,
        rgb=(str(Path(rgb).resolve()), tuple(image.indexes), tuple(image.stretch)) if image else None,
        files=tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths),
        predict_s2=predict_s2 if scene else None, predict_ge=predict_ge if image else None,
        alpha=alpha, step=step, crs=crs.to_wkt(), corner=(corner.c, corner.f), size=tuple(size),
    )  # fmt: skip
    opened = [one for one in (scene, image) if one]
    remarks = [f"note: {one.path}: {note}" for one in opened for note in one.notes]
    return job, remarks + [f"warning: {one.path}: {text}" for one in opened for text in one.warnings]


@lru_cache(maxsize=4)
def _opened(kind: type, arguments: tuple, files: tuple, thread: int) -> Sentinel2 | RGB:
    """An image, opened once a thread (GDAL shares no dataset between threads), anew where its file changed."""
    return kind(*arguments)


def classify_chunk(job: MapJob, rows: slice, cols: slice) -> np.ndarray:
    """(2, rows, cols) uint8 of a chunk: label 1..17 of the most probable zone, its probability in per cent; or 0."""
    (tops, own_rows), (lefts, own_cols) = job.windows(0, rows), job.windows(1, cols)
    (top, row_of), (left, col_of) = (np.unique(starts, return_inverse=True) for starts in (tops, lefts))
    used = np.ones((len(top), len(left)), bool)
    void = np.zeros((len(tops), len(lefts)), bool)
    if job.s2:
        patches, missing = _patches(job, top, left)
        used = missing.mean(axis=(2, 3)) <= MOST_VOID
        ground = missing[np.ix_(row_of, col_of)].astype(np.float32)
        share = np.einsum("rcij,ri,cj->rc", ground, own_rows.astype(np.float32), own_cols.astype(np.float32))
        void = share > MOST_VOID * own_rows.sum(1)[:, None] * own_cols.sum(1)
    if job.rgb:
        images, used = _images(job, top, left, used)
    found = np.zeros((2, *used.shape), np.uint8)
    if used.any():
        p_s2 = job.predict_s2(patches[used]) if job.s2 else None
        p_ge = job.predict_ge(images) if job.rgb else None
        p = p_ge if p_s2 is None else p_s2 if p_ge is None else fuse(p_s2, p_ge, job.alpha)
        found[:, used] = p.argmax(1) + 1, np.rint(100 * p.max(1)).clip(1, 100)
    return np.where(void, np.uint8(0), found[:, row_of][:, :, col_of])


def _patches(job: MapJob, top: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sentinel-2 patches (rows, cols, 32, 32, 10), no-data filled with the mean, and where (rows, cols, 32, 32)."""
    scene = _opened(Sentinel2, job.s2, job.files, threading.get_ident())
    block = scene.read(int(top[0]), int(left[0]), int(top[-1] - top[0]) + PATCH, int(left[-1] - left[0]) + PATCH)
    view = np.lib.stride_tricks.sliding_window_view(block, (PATCH, PATCH), axis=(0, 1))
    patches = np.moveaxis(view[np.ix_(top - top[0], left - left[0])], 2, -1)
    missing = np.isnan(patches[..., 0])
    for place in zip(*np.nonzero(missing.any(axis=(2, 3)) & ~missing.all(axis=(2, 3))), strict=True):
        patches[place][missing[place]] = patches[place][~missing[place]].mean(axis=0)
    return patches, missing


def _images(job: MapJob, top: np.ndarray, left: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB images (m, 320, 320, 3) of the used windows that have data enough, and which (rows, cols) those are."""
    source, crs = _opened(RGB, job.rgb, job.files, threading.get_ident()), CRS.from_wkt(job.crs)
    grid, images, used = Affine(S2_PIXEL, 0, job.corner[0], 0, -S2_PIXEL, job.corner[1]), [], used.copy()
    for row, col in np.argwhere(used):
        image, valid = source.read(crs, *grid @ (left[col], top[row]))
        used[row, col] = (~valid).mean() <= MOST_VOID
        if used[row, col]:
            image[~valid] = image[valid].mean(axis=0)
            images.append(image)
    return np.array(images, np.uint8), used
