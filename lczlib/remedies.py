"""What helps in a city nobody trained on: adapted inputs or statistics, without its labels, or a few labels of it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.linalg import fractional_matrix_power
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lczlib import fusion
from lczlib.compute import parallel
from lczlib.graphs import COLOUR, GraphSet
from lczlib.metrics import Interval
from lczlib.models.inference import Inputs, arguments, predict, reestimate_batch_norm
from lczlib.predictions import Predictions
from lczlib.training import augment_patches
from lczlib.transfer import Study, concat, score_remedies
from lczlib.zones import to_index

MOST_SOURCE = 500  # training pairs that alignment takes its moments from (assumed; moments need no more)


def align_moments(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Each band of the target's pixels brought to the source's mean and spread; both (.., bands)."""
    axes, of_source = tuple(range(x.ndim - 1)), tuple(range(source.ndim - 1))
    scale = source.std(of_source) / (x.std(axes) + 1e-9)
    return ((x - x.mean(axes)) * scale + source.mean(of_source)).astype(np.float32)


def align_coral(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Pixels of the target with the mean and the covariance between bands of the source (CORAL, Sun et al. 2016)."""
    a, b = x.reshape(-1, x.shape[-1]).astype(float), source.reshape(-1, x.shape[-1]).astype(float)

    def power(covariance: np.ndarray, exponent: float) -> np.ndarray:
        ridge = 1e-7 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        return fractional_matrix_power(covariance + ridge, exponent)

    turned = (a - a.mean(0)) @ power(np.cov(a.T), -0.5) @ power(np.cov(b.T), 0.5)
    return (turned + b.mean(0)).reshape(x.shape).astype(np.float32)


def align(target: Inputs, source: Inputs, how: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Inputs:
    """Patches aligned with the source's by their bands; graphs by the colours of their nodes, positions stay."""
    if not isinstance(target, GraphSet):
        return how(target, source)
    x = target.x.copy()
    x[target.valid, COLOUR] = how(x[target.valid, COLOUR], source.x[source.valid, COLOUR])
    return replace(target, x=x)


def adapt(model: nn.Module, target: Inputs, source: Inputs) -> dict[str, np.ndarray]:
    """Probabilities (N, 17) of all pairs of a city with each remedy that needs no label of it.

    "none"; "batch-norm" (the target's own statistics, patches only); "moments"; "CORAL".

    Args:
        model: trained without that city. target: its patches (N, 32, 32, 10) or graphs. source: some of the training's.
    """
    p = {"none": predict(model, target)}
    if not isinstance(target, GraphSet):
        p["batch-norm"] = predict(reestimate_batch_norm(model, target), target)
    for name, how in (("moments", align_moments), ("CORAL", align_coral)):
        p[name] = predict(model, align(target, source, how))
    return p


def adapt_cities(study: Study, stream: str) -> dict[str, Predictions]:
    """{remedy: predictions}: `adapt` in every city with the models that never saw it, rows as in `Study.crossed`."""
    runs: dict[int, dict[str, Predictions]] = {}
    index, inputs = study.index, study.inputs[stream]
    for seed in study.seeds:
        rng, parts = np.random.default_rng(seed), []
        for fold, result in study.results(stream, seed).items():
            known = index["id"].isin(result.predictions.select(split="train").frame["id"])
            source = inputs[np.sort(rng.permutation(np.flatnonzero(known))[:MOST_SOURCE])]
            for city in fold:
                here = np.flatnonzero(index["city"] == city)
                p = adapt(result.model, inputs[here], source)
                parts.append({name: Predictions(index.iloc[here].assign(split="test"), q) for name, q in p.items()})
        runs[seed] = {name: concat([part[name] for part in parts]) for name in parts[0]}
    return {name: fusion.pool({seed: run[name] for seed, run in runs.items()})[0] for name in runs[study.seeds[0]]}


def fine_tune(
    model: nn.Module,
    inputs: Inputs,
    labels: np.ndarray,
    epochs: int = 3,
    learning_rate: float = 5e-4,
    batch_size: int = 32,
    seed: int = 0,
) -> nn.Module:
    """A copy trained on for a few epochs (Adam, cross-entropy; patches flipped and turned), batch norms frozen."""
    tuned = copy.deepcopy(model).train()
    for module in tuned.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    rng = torch.Generator().manual_seed(seed)
    target, optimizer = torch.from_numpy(to_index(labels)), torch.optim.Adam(tuned.parameters(), learning_rate)
    batches = max(1, round(len(target) / batch_size))
    for _ in range(epochs):
        for rows in torch.randperm(len(target), generator=rng).tensor_split(batches):
            x, *rest = arguments(inputs[rows.numpy()], "cpu")
            if not rest:
                flips, turns = torch.rand(len(x), 2, generator=rng) < 0.5, torch.rand(len(x), generator=rng) - 0.5
                x = augment_patches(x, flips, turns * torch.pi)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(tuned(x, *rest), target[rows]).backward()
            optimizer.step()
    return tuned.eval()


def few_labels(model: nn.Module, inputs: Inputs, index: pd.DataFrame, per_zone: int, seed: int = 0, **tuning):
    """Predictions in a new city after training on with a few labelled pairs of it.

    They are of the pairs kept for testing, the same for every `per_zone`; none where no zone has two polygons.

    Args:
        model: never saw the city. inputs, index: all pairs of the city. tuning: of `fine_tune`.
        per_zone: labelled pairs in each zone (`labelled_share`); 0: none, the model as it is.
    """
    label, test = labelled_share(index, max(per_zone, 1), seed)
    if per_zone and len(label):
        model = fine_tune(model, inputs[label], index["label"].to_numpy()[label], seed=seed, **tuning)
    return Predictions(index.iloc[test].assign(split="test"), predict(model, inputs[test]))


def few_labels_in_each(study: Study, counts: Sequence[int], seed: int, epochs: int) -> dict[int, Predictions]:
    """{labels a zone: `few_labels` of Sentinel-2 in every city}, with the models of `seed` that never saw it."""
    blind, x, cities = study.blind_models("s2", seed), study.inputs["s2"], study.index["city"].to_numpy()
    here = {city: np.flatnonzero(cities == city) for city in sorted(blind)}
    jobs = [{"model": blind[c], "inputs": x[rows], "index": study.index.iloc[rows]} for c, rows in here.items()]
    jobs = [job | {"per_zone": n, "seed": seed, "epochs": epochs} for n in counts for job in jobs]
    tests = list(parallel(few_labels, jobs, study.workers))
    return {n: concat(tests[k * len(here) : (k + 1) * len(here)]) for k, n in enumerate(counts)}


def gains(study: Study, labels: int, epochs: int, counts: Sequence[int], draws: int = 1000) -> dict[str, Interval]:
    """What each remedy adds to the accuracy of Sentinel-2 in new cities, in points, over cities.

    Without labels (`adapt`), and with `labels` of each zone of the city (`few_labels`): over the network as it is, on
    the same pairs. With more cities to train on (`Study.more_cities` of `counts`): over the first of the counts.
    """
    seed, (fewest, *more) = study.seeds[0], counts
    labelled, known = few_labels_in_each(study, (0, labels), seed, epochs), study.more_cities(counts)
    rivals = [adapt_cities(study, "s2"), {"none": labelled[0], f"{labels} labels a zone": labelled[labels]}]
    rivals.append({"none": known[fewest]} | {f"{n} cities for {fewest}": known[n] for n in more})
    of_rows = [np.repeat(list(study.seeds), len(study.index)), None, None]
    scored = [score_remedies(p, draws, seed, rows) for p, rows in zip(rivals, of_rows)]
    return {name: row["gain"] for table in scored for name, row in table.items() if name != "none"}


def labelled_share(index: pd.DataFrame, per_zone: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one city to label and rows to test on (one polygon of each zone), never of the same polygon.

    Those to test on are the same for every `per_zone`; at most the pairs outside the test polygon are labelled.
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
