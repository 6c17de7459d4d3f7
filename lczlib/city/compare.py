"""Agreement of a map with another LCZ map of the same place, whatever its notation, type, no-data and CRS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from scipy.ndimage import uniform_filter

from lczlib.city.rasters import one_line, open_raster
from lczlib.errors import InputError
from lczlib.metrics import confusion, scores
from lczlib.runs import atomic_path, write_json
from lczlib.zones import CODES, to_labels


@dataclass(frozen=True)
class Comparison:
    """Agreement with another map, which is taken as the reference.

    Attributes:
        scores: names of `lczlib.metrics.scores`. matrix: (17, 17), rows = the other map. pixels: compared.
        agreement: path of the raster: 1 differs, 2 agrees, 0 no data in either.
    """

    scores: dict
    matrix: np.ndarray
    pixels: int
    agreement: Path

    def __str__(self) -> str:
        s = self.scores
        head = f"{self.pixels} pixels compared (nearest neighbour)"
        head += "".join(f", {name} {s[name]:.3f}" for name in ("oa", "kappa", "oa_w"))
        rows = [
            f"LCZ {code}: {n} there, {m} here, F1 {s['f1'][label]:.3f}"
            for label, (code, n, m) in enumerate(
                zip(CODES, self.matrix.sum(1), self.matrix.sum(0), strict=True), start=1
            )
            if n or m
        ]
        return "\n".join([head, *rows, str(self.agreement)])


def compare_maps(here: str | Path, other: str | Path, band: int = 1, own_band: int = 2) -> Comparison:
    """Compare a map with another one on the first one's grid; writes `_agreement.tif` and `_agreement.json`.

    The other map is brought to this grid by nearest neighbour: zones are not averaged.

    Args:
        here: map of `map_scene` (band `own_band`: 2, filtered) or any LCZ raster. band: of the other map.

    Raises:
        FileNotFoundError, ValueError: unreadable, no CRS, no overlap, or a code that is no LCZ.
    """
    here = Path(here)
    one, two = open_raster(here), open_raster(other)
    if not 1 <= band <= two.count:
        raise InputError(f"{other}: has {two.count} band(s), no number {band}; give another --compare-band")
    grid = {"crs": one.crs, "transform": one.transform, "width": one.width, "height": one.height}
    target = here.with_name(f"{here.stem}_agreement.tif")
    matrix = np.zeros((17, 17), np.int64)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 0, "compress": "deflate"} | grid
    with (
        WarpedVRT(
            two, **grid, resampling=Resampling.nearest, nodata=two.nodata if two.nodata is not None else 0
        ) as warped,
        atomic_path(target) as temporary,
        rasterio.open(temporary, "w", **profile, photometric="palette") as file,
    ):
        file.write_colormap(1, {0: (255, 255, 255, 0), 1: (178, 24, 43, 255), 2: (77, 146, 33, 255)})
        for _, window in one.block_windows(1):
            mine = _labels(one, min(own_band, one.count), window, here)
            theirs = _labels(warped, band, window, other)
            both = (mine > 0) & (theirs > 0)
            matrix += confusion(theirs[both], mine[both])
            file.write(np.where(both, 1 + (mine == theirs), 0).astype(np.uint8), 1, window=window)
        if not matrix.sum():
            raise InputError(f"{other}: no pixel in common with {here}; give a map of the same place")
    rows, cols = np.indices((17, 17)).reshape(2, -1) + 1
    result = Comparison(
        scores(rows.repeat(matrix.ravel()), cols.repeat(matrix.ravel())), matrix, int(matrix.sum()), target
    )
    facts = {"here": str(here), "other": str(other), "resampling": "nearest", "pixels": result.pixels}
    write_json(target.with_suffix(".json"), facts | {"scores": result.scores, "confusion": matrix})
    return result


def majority(labels: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """The commonest zone of each cell x cell block of labels (H, W) 1..17, and its share 0..1; rests are cut off."""
    height, width = (length // cell for length in labels.shape)
    blocks = labels[: height * cell, : width * cell].reshape(height, cell, width, cell)
    counts = np.stack([(blocks == label).sum(axis=(1, 3)) for label in range(1, 18)], axis=-1)
    return (counts.argmax(-1) + 1).astype(np.uint8), counts.max(-1) / cell**2


def window_purity(labels: np.ndarray, cell: int, side: int = 32) -> np.ndarray:
    """Share 0..1 of the side x side window around each cell x cell block that has the block's commonest zone.

    Args:
        labels: (H, W) 1..17 at 10 m; windows at the edge are mirrored.
    """
    commonest, _ = majority(labels, cell)
    rows, cols = ((np.arange(length) * cell + cell // 2) for length in commonest.shape)
    purity = np.zeros(commonest.shape)
    for label in np.unique(commonest):
        share = uniform_filter((labels == label).astype(np.float32), side)[np.ix_(rows, cols)]
        purity[commonest == label] = share[commonest == label]
    return purity


def score_polygons(path: str | Path, polygons: gpd.GeoDataFrame, band: int = 2) -> dict[str, object]:
    """Scores of a map inside labelled polygons (pixels whose centre lies in one).

    Returns:
        n (pixels), oa, oa_w, kappa, and `found`: for each zone of the polygons, the share of each zone mapped there.
    """
    with rasterio.open(path) as data:
        shapes = zip(polygons.to_crs(data.crs).geometry, polygons["label"], strict=True)
        truth = rasterize(shapes, data.shape, transform=data.transform, dtype="uint8")
        mapped = np.where(truth > 0, data.read(band), 0)
    both = mapped > 0
    if not both.any():
        raise InputError(f"{path}: no polygon lies on this map; give polygons of the same place")
    cm = confusion(truth[both], mapped[both])
    found = {
        CODES[row]: {CODES[col]: float(cm[row, col] / cm[row].sum()) for col in np.flatnonzero(cm[row])}
        for row in np.flatnonzero(cm.sum(axis=1))
    }
    measured = scores(truth[both], mapped[both])
    return {name: measured[name] for name in ("n", "oa", "oa_w", "kappa")} | {"found": found}


def _labels(data: rasterio.DatasetReader | WarpedVRT, band: int, window, path: str | Path) -> np.ndarray:
    """Labels 1..17, 0 = no data (tagged, negative, 255, 65535 or NaN), of any notation and type."""
    with one_line(path):
        values = data.read(band, window=window)
    unlabelled = (values < 0) | np.isin(values, (255, 65535))  # what maps without a tag use for no data
    values = np.where(unlabelled | (values == data.nodata), 0, values)
    try:
        return to_labels(values)
    except ValueError as fault:
        raise InputError(f"{path}: {fault}; give the right band (--compare-band) or recode it") from None
