"""What helps in a city nobody trained on: remedies without its labels, and one with a few of them.

Every remedy starts from the one model that was trained with the city held out, and returns either adapted inputs
(alignment) or an adapted copy of the model. Only `fine_tune` is ever given labels of the city, where it is said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from skimage.exposure import match_histograms
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lczlib import metrics
from lczlib.compute import parallel
from lczlib.data import Pairs
from lczlib.data.layout import BANDS
from lczlib.fusion import fuse
from lczlib.graphs import GraphSet
from lczlib.models.inference import Inputs, Source, predict, reestimate_batch_norm, take
from lczlib.training import Result, augment_patches
from lczlib.transfer import chosen_elsewhere, labelled_share, node_colors, recovered, skewed
from lczlib.zones import K, to_index

Cured = dict[str, dict[str, np.ndarray]]  # city -> remedy -> (n, 17), rows as in the index
MICROMETRES = np.array([0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.833, 0.865, 1.61, 2.19])  # of BANDS, for spectral tilt
assert len(MICROMETRES) == len(BANDS)


# --- remedies on the inputs -------------------------------------------------------------------------------------------


def align_moments(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Each band of the target's patches brought to the source's mean and spread; both (.., bands)."""
    axes = tuple(range(x.ndim - 1))
    scale = source.std(tuple(range(source.ndim - 1))) / (x.std(axes) + 1e-9)
    return ((x - x.mean(axes)) * scale + source.mean(tuple(range(source.ndim - 1)))).astype(np.float32)


def align_histogram(x: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Each band of the target mapped to the source's distribution, quantile by quantile; both (.., bands)."""
    return match_histograms(x, source, channel_axis=-1).astype(np.float32)


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
    precision: str = "fp32",
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
        model = fine_tune(model, take(inputs, rows), zones, **tuning)
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


# --- all of them, on one city -----------------------------------------------------------------------------------------


def remedies_s2(model: nn.Module, target: np.ndarray, source: np.ndarray, tune: dict, labels: np.ndarray) -> dict:
    """Probabilities of the target's patches after each label-free remedy.

    Args:
        model: trained with the city held out. target: its patches (N, 32, 32, 10), all of them, without labels.
        source, labels: patches of the other cities that the model was trained on, and their labels 1..17.
        tune: settings of the further training that augmentation and pseudo labels need (`fine_tune`).

    Returns:
        {remedy: (N, 17)}; "nothing" first. CONTROLS do the same work without what the remedy claims to help by.
    """
    adapted = reestimate_batch_norm(model, target)
    moments = align_moments(target, source)
    jittered = fine_tune(model, source, labels, augment=jitter, freeze_norm=False, **tune)
    return {
        "nothing": predict(model, target),
        "batch-norm statistics": predict(adapted, target),
        "batch-norm, half": predict(reestimate_batch_norm(model, target, 0.5), target),
        "mean and spread": predict(model, moments),
        "histogram": predict(model, align_histogram(target, source)),
        "CORAL": predict(model, align_coral(target, source)),
        "trained on, no augmentation": predict(fine_tune(model, source, labels, freeze_norm=False, **tune), target),
        "augmentation": predict(jittered, target),
        "augmentation + batch-norm": predict(reestimate_batch_norm(jittered, target), target),
        "pseudo labels": predict(pseudo_labels(adapted, target, **tune), target),
    }


def remedies_ge(model: nn.Module, target: GraphSet, source: GraphSet, tune: dict) -> dict:
    """Probabilities of the target's graphs after each label-free remedy; arguments as `remedies_s2`."""
    aligned = align_nodes(target, source)
    return {
        "nothing": predict(model, target),
        "mean and spread": predict(model, aligned),
        "histogram": predict(model, align_nodes(target, source, align_histogram)),
        "CORAL": predict(model, align_nodes(target, source, align_coral)),
        "pseudo labels": predict(pseudo_labels(model, target, **tune), target),
        "mean and spread + pseudo labels": predict(pseudo_labels(model, aligned, **tune), aligned),
    }


def remedies_everywhere(
    results: dict[str, dict[str, Result]],
    pairs: Pairs,
    graphs: GraphSet,
    tune: dict[str, dict],
    tune_pairs: int,
    workers: int = 1,
    seed: int = 0,
) -> dict[str, Cured]:
    """Every remedy in every city, each with the models that never saw it.

    Args:
        results: "s2" and "ge" -> {city held out: training}. graphs: of `pairs`, row by row.
        tune: "s2" and "ge" -> settings of `fine_tune`. tune_pairs: training pairs of each model that augmentation and
            its control train on again. workers: cities at a time.

    Returns:
        "s2" and "ge" -> city -> remedy -> (n, 17), rows as in the index.
    """
    rng, jobs = np.random.default_rng(seed), {"s2": [], "ge": []}
    for city in results["s2"]:
        s2, ge = (results[s][city] for s in ("s2", "ge"))
        here = np.flatnonzero(pairs.cities == city)
        known = np.flatnonzero(pairs.index["id"].isin(s2.predictions.select(split="train").frame["id"]))
        some = np.sort(rng.permutation(known)[:tune_pairs])
        x, source = np.asarray(pairs.s2[here]), np.asarray(pairs.s2[some])
        jobs["s2"].append({"model": s2.model, "target": x, "source": source, "labels": pairs.labels[some]})
        jobs["ge"].append({"model": ge.model, "target": graphs.take(here), "source": graphs.take(known)})
    cures = {"s2": remedies_s2, "ge": remedies_ge}
    return {
        s: dict(zip(results[s], list(parallel(cures[s], [job | {"tune": tune[s]} for job in jobs[s]], workers))))
        for s in cures
    }


CHOSEN = "chosen in the other cities"
CONTROLS = ("trained on, no augmentation",)  # never chosen


def judge(
    cured: Cured, index: pd.DataFrame, inside: dict[str, float], draws: int = 1000, seed: int = 0
) -> dict[str, dict]:
    """Every remedy, and the one that was `chosen_elsewhere`, on all pairs of the held-out cities.

    Args:
        cured: of `remedies_s2` or `remedies_ge`, city by city.
        inside: accuracy of each city's model on cities it saw (`transfer.accuracy_at_home`).

    Returns:
        remedy -> {"oa", "gain" (over "nothing", paired), "recovered" (share of the drop)}: Interval over cities; the
        chosen one also has "names" {city: remedy}.
    """
    t, cities = index["label"].to_numpy(), index["city"].to_numpy(str)
    rows = {c: np.flatnonzero(cities == c) for c in cured}
    said = {name: np.zeros(len(t), int) for name in next(iter(cured.values()))}
    for c, of_city in cured.items():
        for name, p in of_city.items():
            said[name][rows[c]] = p.argmax(1) + 1
    names = chosen_elsewhere({name: y == t for name, y in said.items() if name not in CONTROLS}, cities)
    said[CHOSEN] = np.select([cities == c for c in cured], [said[names[c]] for c in cured])
    per_city = {name: [float((y == t)[rows[c]].mean()) for c in cured] for name, y in said.items()}
    out = {}
    for name, y in said.items():
        back = [inside[c] for c in cured], per_city["nothing"], per_city[name]
        out[name] = {
            "oa": metrics.bootstrap(t, y, cities, "oa", draws, seed),
            "gain": metrics.bootstrap_difference(t, y, said["nothing"], cities, "oa", draws, seed),
            "recovered": recovered(*back, draws, seed),
        }
    out[CHOSEN]["names"] = names
    return out


def fuse_chosen(cured: dict[str, Cured], judged: dict[str, dict], alphas: dict[str, float]) -> Cured:
    """Fusion of both streams as they are, and with the remedy chosen for each: city -> {"nothing", "both streams"}."""
    names = {s: judged[s][CHOSEN]["names"] for s in ("s2", "ge")}
    return {
        c: {
            "nothing": fuse(cured["s2"][c]["nothing"], cured["ge"][c]["nothing"], a),
            "both streams": fuse(cured["s2"][c][names["s2"][c]], cured["ge"][c][names["ge"][c]], a),
        }
        for c, a in alphas.items()
    }


def uneven_frequencies(models: dict[str, nn.Module], pairs: Pairs, workers: int = 1, seed: int = 0) -> dict[str, float]:
    """Accuracy of S2 remedies where the zones of the new city have `skewed` frequencies, all cities together."""
    jobs = []
    for k, (city, model) in enumerate(models.items()):
        here = np.flatnonzero(pairs.cities == city)
        here = here[skewed(pairs.labels[here], seed + k)]
        others = np.flatnonzero(pairs.cities != city)
        x, source = np.asarray(pairs.s2[here]), np.asarray(pairs.s2[others[:: max(1, len(others) // 2000)]])
        jobs.append({"model": model, "x": x, "labels": pairs.labels[here], "source": source})
    hits = list(parallel(_hits_of_city, jobs, workers))
    return {name: float(np.concatenate([of_city[name] for of_city in hits]).mean()) for name in hits[0]}


def _hits_of_city(model: nn.Module, x: np.ndarray, labels: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
    said = {
        "nothing": predict(model, x),
        "batch-norm statistics": predict(reestimate_batch_norm(model, x), x),
        "batch-norm, half": predict(reestimate_batch_norm(model, x, 0.5), x),
        "mean and spread": predict(model, align_moments(x, source)),
    }
    return {name: p.argmax(1) + 1 == labels for name, p in said.items()}


def few_labels(
    models: dict[str, nn.Module], pairs: Pairs, counts, tune: dict, draws=1000, workers: int = 1, seed: int = 0
) -> dict:
    """Accuracy of the S2 stream with 0 and with each of `counts` labelled pairs per zone of the new city.

    Returns:
        {"0", "0, batch-norm", and each count}: {"oa", "gain" over "0": Interval over polygons}; {} where the cities
        have too few polygons.
    """
    jobs, rows = [], []
    for city, model in models.items():
        here = np.flatnonzero(pairs.cities == city)
        index = pairs.index.iloc[here]
        test = labelled_share(index, 1, seed)[1]
        lent = {k: labelled_share(index, k, seed)[0] for k in counts}
        rows.append(here[test])
        jobs.append({"model": model, "x": np.asarray(pairs.s2[here]), "labels": pairs.labels[here], "test": test})
        jobs[-1] |= {"lent": lent, "tune": tune}
    at = np.concatenate(rows)
    if not len(at):
        return {}
    said = list(parallel(_tuned_in_city, [job for job in jobs if len(job["test"])], workers))
    y = {k: np.concatenate([of_city[k] for of_city in said]) for k in said[0]}
    t, g = pairs.labels[at], pairs.polygons[at]
    return {
        k: {
            "oa": metrics.bootstrap(t, v, g, "oa", draws, seed),
            "gain": metrics.bootstrap_difference(t, v, y["0"], g, "oa", draws, seed),
        }
        for k, v in y.items()
    }


def _tuned_in_city(
    model: nn.Module, x: np.ndarray, labels: np.ndarray, test: np.ndarray, lent: dict[int, np.ndarray], tune: dict
) -> dict[str, np.ndarray]:
    """Zones said of the rows `test` without labels, with the city's statistics, and with those of the rows `lent`."""
    start = reestimate_batch_norm(model, x)
    tuned = {str(k): fine_tune(start, x[rows], labels[rows], **tune) for k, rows in lent.items()}
    return {k: predict(m, x[test]).argmax(1) + 1 for k, m in ({"0": model, "0, batch-norm": start} | tuned).items()}
