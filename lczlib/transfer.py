"""A city nobody trained on: how far accuracy drops, what differs, and what helps without its labels.

Every remedy starts from the one model that was trained with the city held out, and returns either adapted inputs
(alignment) or an adapted copy of the model. The city's labels are used by `fine_tune` alone, where it is said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lczlib import metrics
from lczlib.data.layout import BANDS
from lczlib.data.splits import make_split
from lczlib.graphs import GraphSet
from lczlib.inference import Inputs, Source, predict
from lczlib.predictions import Predictions
from lczlib.recipe import Recipe
from lczlib.training import Result, augment_patches, train_stream
from lczlib.zones import K, to_index

MICROMETRES = np.array([0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.833, 0.865, 1.61, 2.19])  # of BANDS, for spectral tilt
assert len(MICROMETRES) == len(BANDS)


def leave_one_city_out(
    stream: str, model_name: str, inputs: Inputs, index: pd.DataFrame, recipe: Recipe, seed: int, work_dir
) -> dict[str, Result]:
    """One training for each city, with that city as its test part; found again when done before.

    Returns:
        {city held out: Result}; `Result.predictions` of split "test" are of pairs of that city only.
    """
    cities = sorted(index["city"].unique())
    splits = {city: make_split(index, "city", seed, city) for city in cities}
    return {
        city: train_stream(stream, model_name, inputs, index, split, recipe, seed, work_dir)
        for city, split in splits.items()
    }


def held_out(results: dict[str, Result]) -> Predictions:
    """What each model says of the city it never saw, all cities together."""
    parts = [r.predictions.select(split="test") for r in results.values()]
    return Predictions(pd.concat([p.frame for p in parts], ignore_index=True), np.concatenate([p.p for p in parts]))


def drop(inside: Predictions, outside: Predictions, groups: str = "city", draws: int = 1000, seed: int = 0) -> dict:
    """Accuracy with the city seen and held out, on the same pairs.

    Args:
        inside: predictions of a model that saw other polygons of each city; its test part counts.
        outside: of `held_out`; rows for the same pairs are looked up. groups: column to resample, "city" or "polygon".

    Returns:
        {"in", "out", "drop": Interval (in - out, paired); "in_city", "out_city" {city: accuracy}; "n"}.
    """
    inside = inside.select(split="test")
    outside = look_up(outside, inside.frame["id"])
    t, g = inside.labels, inside.frame[groups]
    a, b = inside.predicted, outside.predicted
    city = inside.frame["city"].to_numpy(str)
    return {
        "in": metrics.bootstrap(t, a, g, draws=draws, seed=seed),
        "out": metrics.bootstrap(t, b, g, draws=draws, seed=seed),
        "drop": metrics.bootstrap_difference(t, a, b, g, draws=draws, seed=seed),
        "in_city": {c: float((a == t)[city == c].mean()) for c in np.unique(city)},
        "out_city": {c: float((b == t)[city == c].mean()) for c in np.unique(city)},
        "n": len(t),
    }


def look_up(predictions: Predictions, ids) -> Predictions:
    """The rows of these ids, in their order; ValueError when one is missing."""
    rows = pd.Index(predictions.frame["id"]).get_indexer(ids)
    if (rows < 0).any():
        raise ValueError(
            f"pair {np.asarray(ids)[rows < 0][0]}: no prediction; predict every pair of the held-out cities"
        )
    return Predictions(predictions.frame.iloc[rows], predictions.p[rows])


def recovered(labels, inside, outside, remedy, groups, draws: int = 1000, seed: int = 0) -> metrics.Interval:
    """Share of the drop that a remedy gives back, (remedy - outside) / (inside - outside), paired over groups.

    Args:
        labels, inside, outside, remedy: (N,) labels 1..17 of the same pairs. groups: (N,).
    """
    t = np.asarray(labels)
    member, counts = metrics.resample(groups, draws, seed)
    hits = [np.bincount(member, np.asarray(p) == t) for p in (inside, outside, remedy)]
    i, o, r = (counts @ h for h in hits)
    i0, o0, r0 = (h.sum() for h in hits)
    share = np.divide(r - o, i - o, out=np.full(draws, np.nan), where=i > o)
    low, high = np.nanquantile(share, [0.025, 0.975]) if np.isfinite(share).any() else (np.nan, np.nan)
    return metrics.Interval(float((r0 - o0) / (i0 - o0)) if i0 != o0 else float("nan"), float(low), float(high))


# --- what differs ---------------------------------------------------------------------------------------------------


def shift(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Difference of means in units of the source's spread, per feature: (n, F) and (m, F) -> (F,)."""
    return np.abs(target.mean(0) - source.mean(0)) / (source.std(0) + 1e-9)


def node_colors(graphs: GraphSet) -> np.ndarray:
    """Red, green, blue 0..1 of all nodes of all graphs, (sum of nodes, 3)."""
    valid = np.arange(graphs.x.shape[1]) < graphs.nodes[:, None]
    return graphs.x[..., :3][valid]


def skewed(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows of a subset with uneven zone frequencies, ~ 1 / rank in a random order of zones."""
    rng = np.random.default_rng(seed)
    present = rng.permutation(np.unique(labels))
    counts = [np.sum(labels == z) for z in present]
    return np.sort(
        np.concatenate(
            [
                rng.permutation(np.flatnonzero(labels == z))[: max(1, round(n / (rank + 1)))]
                for rank, (z, n) in enumerate(zip(present, counts, strict=True))
            ]
        )
    )


# --- remedies on the inputs -------------------------------------------------------------------------------------------


def align_moments(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Each band of the target's patches brought to the source's mean and spread; both (.., bands)."""
    axes = tuple(range(x.ndim - 1))
    scale = source.std(tuple(range(source.ndim - 1))) / (x.std(axes) + 1e-9)
    return ((x - x.mean(axes)) * scale + source.mean(tuple(range(source.ndim - 1)))).astype(np.float32)


def align_histogram(x: np.ndarray, source: np.ndarray, levels: int = 101) -> np.ndarray:
    """Each band of the target mapped to the source's distribution, quantile by quantile."""
    q = np.linspace(0, 1, levels)
    out = np.empty(x.shape, np.float32)
    for band in range(x.shape[-1]):
        out[..., band] = np.interp(x[..., band], np.quantile(x[..., band], q), np.quantile(source[..., band], q))
    return out


def align_coral(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Pixels of the target with the mean and the covariance between bands of the source (CORAL, Sun et al. 2016)."""
    a, b = x.reshape(-1, x.shape[-1]).astype(float), source.reshape(-1, x.shape[-1]).astype(float)
    whiten, color = _power(np.cov(a.T), -0.5), _power(np.cov(b.T), 0.5)
    return ((a - a.mean(0)) @ whiten @ color + b.mean(0)).reshape(x.shape).astype(np.float32)


def _power(c: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(c + 1e-7 * np.trace(c) / len(c) * np.eye(len(c)))
    return (vectors * values**exponent) @ vectors.T


def align_nodes(graphs: GraphSet, source: GraphSet, how: Callable = align_moments) -> GraphSet:
    """Node colours of the target aligned with the source's; positions stay."""
    valid = np.arange(graphs.x.shape[1]) < graphs.nodes[:, None]
    x = graphs.x.copy()
    colors = x[..., :3]
    colors[valid] = how(colors[valid], node_colors(source))
    return replace(graphs, x=x)


# --- remedies on the model --------------------------------------------------------------------------------------------


def batch_norm_target(model: nn.Module, inputs: Inputs, share: float = 1.0, batch_size: int = 64) -> nn.Module:
    """A copy whose batch norms hold the target's statistics (AdaBN, Li et al. 2017).

    Args:
        inputs: the target's patches or graphs, without labels.
        share: 1 takes the target's statistics alone, less mixes them with the source's.
    """
    adapted = copy.deepcopy(model)
    norms = [m for m in adapted.modules() if isinstance(m, _BatchNorm)]
    old = [(m.running_mean.clone(), m.running_var.clone(), m.momentum) for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # plain mean over batches
    source, rows = Source(inputs, next(adapted.parameters()).device), np.random.default_rng(0).permutation(len(inputs))
    adapted.train()
    with torch.no_grad():
        for part in np.array_split(rows, max(1, round(len(rows) / batch_size))):
            adapted(*source(part))
    for m, (mean, var, momentum) in zip(norms, old, strict=True):
        m.running_mean.lerp_(mean, 1 - share)
        m.running_var.lerp_(var, 1 - share)
        m.momentum = momentum
    return adapted.eval()


def jitter(x: Tensor, rng: torch.Generator) -> Tensor:
    """Patches (B, bands, H, W) under another light: gain, spectral tilt, haze that grows towards blue.

    Source: assumed; gain within about 20 %, tilt 10 %, haze up to 0.03 reflectance in blue.
    """

    def draw() -> Tensor:
        return torch.randn(len(x), 1, 1, 1, generator=rng)

    um = torch.tensor(MICROMETRES, dtype=x.dtype)[None, :, None, None]
    gain = torch.exp(
        0.12 * draw() + 0.08 * draw() * (um - 1.0) + 0.04 * torch.randn(len(x), x.shape[1], 1, 1, generator=rng)
    )
    haze = 0.03 * torch.rand(len(x), 1, 1, 1, generator=rng) * (0.49 / um) ** 2
    return x * gain + haze * torch.sign(draw())


def fine_tune(
    model: nn.Module,
    inputs: Inputs,
    labels: np.ndarray,
    epochs: int = 3,
    learning_rate: float = 5e-4,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    freeze_norm: bool = True,
    batch_size: int = 32,
    seed: int = 0,
    precision: str = "bf16",
) -> nn.Module:
    """A copy trained on for a few epochs (Adam, cross-entropy; patches are flipped and turned as in training).

    Args:
        inputs: patches (n, 32, 32, 10) or graphs with labels (n,) 1..17.
        augment: a further change of the patches, e.g. `jitter`.
        freeze_norm: batch-norm statistics stay as they are.
    """
    tuned = copy.deepcopy(model).train()
    if freeze_norm:
        for m in tuned.modules():
            if isinstance(m, _BatchNorm):
                m.eval()
    rng, source = torch.Generator().manual_seed(seed), Source(inputs, torch.device("cpu"))
    target = torch.from_numpy(to_index(labels))
    optimizer = torch.optim.Adam(tuned.parameters(), learning_rate)
    for rows in _batches(len(target), batch_size, epochs, rng):
        x, *rest = source(rows.numpy())
        if not rest:
            x = augment_patches(
                x, torch.rand(len(x), 2, generator=rng) < 0.5, (torch.rand(len(x), generator=rng) - 0.5) * torch.pi
            )
            x = augment(x, rng) if augment else x
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = tuned(x, *rest).float()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(logits, target[rows]).backward()
        optimizer.step()
    return tuned.eval()


def _batches(n: int, size: int, epochs: int, rng: torch.Generator):
    """Shuffled rows, `epochs` times over, batches of nearly equal size."""
    for _ in range(epochs):
        yield from torch.randperm(n, generator=rng).tensor_split(max(1, round(n / size)))


def pseudo_labels(model: nn.Module, inputs: Inputs, rounds: int = 2, keep: float = 0.5, **tuning) -> nn.Module:
    """Source-free self-training: the surest `keep` of each predicted zone become labels, `rounds` times.

    Args:
        tuning: passed on to `fine_tune`.
    """
    for _ in range(rounds):
        p = predict(model, inputs)
        rows, zones = surest(p, keep)
        part = inputs.take(rows) if isinstance(inputs, GraphSet) else inputs[rows]
        model = fine_tune(model, part, zones, **tuning)
    return model


def surest(p: np.ndarray, keep: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the most confident share `keep` of each predicted zone, and their labels 1..17."""
    zone, top = p.argmax(1), p.max(1)
    chosen = []
    for z in range(K):
        rows = np.flatnonzero(zone == z)
        chosen.append(rows[np.argsort(-top[rows], kind="stable")][: int(np.ceil(keep * len(rows)))])
    rows = np.sort(np.concatenate(chosen))
    return rows, zone[rows] + 1


def labelled_share(index: pd.DataFrame, per_zone: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one city to label and rows to test on (one polygon of each zone), never of the same polygon.

    Args:
        index: rows of one city. per_zone: pairs to label in each zone, at most those outside the test polygon.

    Returns:
        (rows to label, rows to test on); the latter are the same for every `per_zone`.
    """
    rng = np.random.default_rng(seed)
    label, test = [], []
    for _, part in index.reset_index(drop=True).groupby("label"):
        polygons = rng.permutation(np.sort(part["polygon"].unique()))
        order = part["polygon"].map({name: i for i, name in enumerate(polygons)}).sort_values(kind="stable")
        if len(polygons) < 2:
            continue
        test.append(order.index[order == len(polygons) - 1])
        label.append(order.index[order < len(polygons) - 1][:per_zone])
    return np.sort(np.concatenate(label)), np.sort(np.concatenate(test))
