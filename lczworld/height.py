"""A third source: building height at 10 m, as open height products have it, with their errors.

Made from the truth of synthetic pairs, so only they have it. What stands in the way elsewhere: open products at 10 m
exist for few regions, are a yearly composite, flatten tall buildings, and miss small ones.
"""

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from lczlib.data import Pairs
from lczlib.zones import K, to_index
from lczworld.canvas import C

CELLS = 32  # 10 m cells of a patch
BUILDING = C["building"]


def building_height(height: np.ndarray, built: np.ndarray, seed: int = 0, rmse: float = 5.0) -> np.ndarray:
    """Building height as a 10 m product would report it.

    Args:
        height: (320, 320) m above ground. built: (320, 320) bool, where buildings stand.
        rmse: error in m of the built cells, of which half varies over some 50 m and half from cell to cell.

    Returns:
        (32, 32) float32 m: mean over a cell and its neighbourhood (the product's true resolution is about 20 m), tall
        buildings drawn towards 40 m, error added, cells under 2 m reported as 0.

    Source: assumed, after published errors of 3 to 6 m for such products.
    """
    rng = np.random.default_rng(seed)
    side = len(height) // CELLS
    cells = np.where(built, height, 0.0).astype(float).reshape(CELLS, side, CELLS, side).mean((1, 3))
    cells = gaussian_filter(cells, 0.8)
    cells = np.where(cells > 40, 40 + 0.5 * (cells - 40), cells)
    broad = gaussian_filter(rng.normal(size=(CELLS, CELLS)), 2.5)
    error = rmse * (0.7 * broad / broad.std() + 0.7 * rng.normal(size=(CELLS, CELLS)))
    noisy = cells + error * np.clip(cells / 10, 0.15, 1)
    return np.where(noisy < 2, 0, noisy).astype(np.float32)


def height_features(cells: np.ndarray) -> np.ndarray:
    """(12,) of one (32, 32) height patch: share built, mean, spread, quantiles, roughness at 10 m and at 40 m."""
    coarse = cells.reshape(8, 4, 8, 4).mean((1, 3))
    steps = [np.abs(np.diff(a, axis=0)).mean() for a in (cells, coarse)]
    built = cells[cells > 0]
    inside = [built.mean(), built.std()] if built.size else [0.0, 0.0]
    return np.array([(cells > 0).mean(), cells.mean(), cells.std(), coarse.std(), *inside,
                     *np.quantile(cells, [0.25, 0.5, 0.75, 0.95]), *steps])  # fmt: skip


def height_source(pairs: Pairs, frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Probabilities (N, 17) from building height for the pairs of `frame` (id, split, label), in its order.

    Args:
        pairs: synthetic ones, with truth. frame: of the streams' `Predictions`; its "train" rows are trained on.
    """
    features = []
    for i in frame["id"]:
        truth = pairs.truth(int(i))
        built = truth["cover"] == BUILDING
        features.append(height_features(building_height(truth["height"], built, seed * 1_000_003 + int(i))))
    train = np.flatnonzero(frame["split"] == "train")
    return height_stream(np.array(features), frame["label"].to_numpy(), train, seed)


def height_stream(features: np.ndarray, labels: np.ndarray, train: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probabilities (N, 17) from height features (N, 12) by a random forest trained on the rows `train`.

    The rows trained on are predicted out of bag, so that they do not seem better than they are.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(300, min_samples_leaf=3, oob_score=True, random_state=seed, n_jobs=1)
    forest.fit(features[train], to_index(labels[train]))
    p = np.full((len(features), K), 1e-6)
    p[:, forest.classes_] += forest.predict_proba(features)
    p[np.ix_(train, forest.classes_)] = np.nan_to_num(forest.oob_decision_function_, nan=1 / K) + 1e-6
    return p / p.sum(1, keepdims=True)
