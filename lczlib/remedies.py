"""What helps in a city nobody trained on: adapted inputs or statistics, without its labels, or a few labels of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.linalg import fractional_matrix_power
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lczlib import fusion
from lczlib.graphs import GraphSet
from lczlib.models.inference import Inputs, Source, predict, reestimate_batch_norm, take
from lczlib.predictions import Predictions
from lczlib.training import augment_patches
from lczlib.transfer import Study, concat, node_colours
from lczlib.zones import to_index

MOST_SOURCE = 500  # training pairs that alignment takes its moments from (assumed; moments need no more)
AdaptedProbabilities = dict[str, np.ndarray]  # remedy -> (N, 17), rows as in the inputs


def align_moments(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Each band of the target's patches brought to the source's mean and spread; both (.., bands)."""
    axes = tuple(range(x.ndim - 1))
    scale = source.std(tuple(range(source.ndim - 1))) / (x.std(axes) + 1e-9)
    return ((x - x.mean(axes)) * scale + source.mean(tuple(range(source.ndim - 1)))).astype(np.float32)


def align_coral(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Pixels of the target with the mean and the covariance between bands of the source (CORAL, Sun et al. 2016)."""
    a, b = x.reshape(-1, x.shape[-1]).astype(float), source.reshape(-1, x.shape[-1]).astype(float)
    whiten, color = (
        fractional_matrix_power(c + 1e-7 * np.trace(c) / len(c) * np.eye(len(c)), power)
        for c, power in ((np.cov(a.T), -0.5), (np.cov(b.T), 0.5))
    )
    return ((a - a.mean(0)) @ whiten @ color + b.mean(0)).reshape(x.shape).astype(np.float32)


def align_nodes(graphs: GraphSet, source: GraphSet, how: Callable = align_moments) -> GraphSet:
    """Node colours of the target aligned with the source's; positions stay."""
    valid = np.arange(graphs.x.shape[1]) < graphs.nodes[:, None]
    x = graphs.x.copy()
    colors = x[..., :3]
    colors[valid] = how(colors[valid], node_colours(source))
    return replace(graphs, x=x)


def adapt(model: nn.Module, target: Inputs, source: Inputs) -> AdaptedProbabilities:
    """Probabilities of all pairs of a city with each remedy that needs no label of it.

    Args:
        model: trained without that city. target: its patches (N, 32, 32, 10) or graphs. source: some of those that the
            model was trained on.

    Returns:
        "none"; "batch-norm" (the target's own statistics, patches only); "moments"; "CORAL".
    """
    if isinstance(target, GraphSet):
        aligned = {"moments": align_nodes(target, source), "CORAL": align_nodes(target, source, align_coral)}
        own = {}
    else:
        aligned = {"moments": align_moments(target, source), "CORAL": align_coral(target, source)}
        own = {"batch-norm": predict(reestimate_batch_norm(model, target), target)}
    return {"none": predict(model, target)} | own | {name: predict(model, x) for name, x in aligned.items()}


def adapt_cities(study: Study, stream: str) -> dict[str, Predictions]:
    """`adapt` in every city, each with the models that never saw it.

    Returns:
        remedy -> predictions of all pairs, rows as in `Study.crossed`.
    """
    runs = {seed: _adapt_folds(study, stream, seed) for seed in study.seeds}
    return {name: fusion.pool({seed: run[name] for seed, run in runs.items()})[0] for name in runs[study.seeds[0]]}


def _adapt_folds(study: Study, stream: str, seed: int) -> dict[str, Predictions]:
    rng, parts, index, inputs = np.random.default_rng(seed), [], study.index, study.inputs[stream]
    for fold, result in study.results(stream, seed).items():
        known = index["id"].isin(result.predictions.select(split="train").frame["id"])
        source = take(inputs, np.sort(rng.permutation(np.flatnonzero(known))[:MOST_SOURCE]))
        for city in fold:
            here = np.flatnonzero(index["city"] == city)
            p = adapt(result.model, take(inputs, here), source)
            parts.append({name: Predictions(index.iloc[here].assign(split="test"), q) for name, q in p.items()})
    return {name: concat([part[name] for part in parts]) for name in parts[0]}


def fine_tune(
    model: nn.Module,
    inputs: Inputs,
    labels: np.ndarray,
    epochs: int = 3,
    learning_rate: float = 5e-4,
    batch_size: int = 32,
    seed: int = 0,
) -> nn.Module:
    """A copy trained on for a few epochs (Adam, cross-entropy; patches flipped and turned), batch norms frozen.

    Args:
        inputs: patches (n, 32, 32, 10) or graphs with labels (n,) 1..17.
    """
    tuned = copy.deepcopy(model).train()
    for m in tuned.modules():
        if isinstance(m, _BatchNorm):
            m.eval()
    rng, source = torch.Generator().manual_seed(seed), Source(inputs, torch.device("cpu"))
    target = torch.from_numpy(to_index(labels))
    optimizer = torch.optim.Adam(tuned.parameters(), learning_rate)
    for rows in _batches(len(target), batch_size, epochs, rng):
        x, *rest = source(rows.numpy())
        if not rest:
            flips, turns = torch.rand(len(x), 2, generator=rng) < 0.5, torch.rand(len(x), generator=rng) - 0.5
            x = augment_patches(x, flips, turns * torch.pi)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(tuned(x, *rest), target[rows]).backward()
        optimizer.step()
    return tuned.eval()


def _batches(n: int, size: int, epochs: int, rng: torch.Generator):
    """Shuffled rows, `epochs` times over, batches of nearly equal size."""
    for _ in range(epochs):
        yield from torch.randperm(n, generator=rng).tensor_split(max(1, round(n / size)))


def few_labels(model: nn.Module, inputs: Inputs, index: pd.DataFrame, per_zone: int, seed: int = 0, **tuning):
    """Predictions in a new city after training on with a few labelled pairs of it.

    Args:
        model: never saw the city. inputs, index: all pairs of the city.
        per_zone: labelled pairs in each zone (`labelled_share`); 0: none, the model as it is.
        tuning: of `fine_tune`.

    Returns:
        Predictions of the pairs kept for testing, the same for every `per_zone`; none where no zone has two polygons.
    """
    label, test = labelled_share(index, max(per_zone, 1), seed)
    if per_zone and len(label):
        model = fine_tune(model, take(inputs, label), index["label"].to_numpy()[label], seed=seed, **tuning)
    return Predictions(index.iloc[test].assign(split="test"), predict(model, take(inputs, test)))


def labelled_share(index: pd.DataFrame, per_zone: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one city to label and rows to test on (one polygon of each zone), never of the same polygon.

    Args:
        index: rows of one city. per_zone: pairs to label in each zone, at most those outside the test polygon.

    Returns:
        (rows to label, rows to test on); the latter are the same for every `per_zone`.
    """
    rng = np.random.default_rng(seed)
    label, test = [np.empty(0, int)], [np.empty(0, int)]
    for _, part in index.reset_index(drop=True).groupby("label"):
        rows = part.groupby("polygon").groups
        *lent, kept = (rows[name] for name in rng.permutation(sorted(rows)))
        if lent:
            label.append(np.concatenate(lent)[:per_zone])
            test.append(kept)
    return np.sort(np.concatenate(label)), np.sort(np.concatenate(test))
