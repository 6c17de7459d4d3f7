"""A city nobody trained on: how far accuracy drops, what differs there, and how much a remedy gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from lczlib import fusion, metrics
from lczlib.data import Pairs, split_pairs
from lczlib.data.splits import Fold, Split, city_folds, make_split, split_of_cities
from lczlib.graphs import COLOUR, GraphSet
from lczlib.models.inference import Inputs
from lczlib.predictions import Predictions, join
from lczlib.recipe import Recipe
from lczlib.runs import content_key, find_run, read_json
from lczlib.training import Result, train_many

Crossed = dict[str, Predictions]  # PARTS: every pair once in each, sorted by id
PARTS = ("seen", "unseen")
MODELS = {"s2": "resnet3d11", "ge": "gcn"}


@dataclass(frozen=True)
class Study:
    """Trainings of both streams that each leave some cities out, found again where they were done.

    Attributes:
        index: `Pairs.index`. inputs: {"s2": patches, "ge": graphs}, row by row. recipes: the same names.
        seeds: of splits and trainings. folds: of `city_folds`. work_dir: of runs and predictions.
        name: tells the predictions of one data set from another's in the same `work_dir`.
    """

    index: pd.DataFrame
    inputs: Mapping[str, Inputs]
    recipes: Mapping[str, Recipe]
    seeds: Sequence[int]
    folds: int
    work_dir: str | Path
    name: str = ""
    workers: int = 1

    def job(self, stream: str, seed: int, split: Split) -> dict:
        """Arguments of one `train_stream`."""
        network = {"model_name": MODELS[stream], "inputs": self.inputs[stream], "recipe": self.recipes[stream]}
        rest = {"stream": stream, "index": self.index, "split": split, "seed": seed, "work_dir": self.work_dir}
        return network | rest

    def results(self, stream: str, seed: int) -> dict[Fold, Result]:
        """One training for each fold."""
        splits = city_folds(self.index, self.folds, seed)
        jobs = [self.job(stream, seed, split) for split in splits.values()]
        return dict(zip(splits, train_many(jobs, self.workers), strict=True))

    def blind_models(self, stream: str, seed: int) -> dict[str, nn.Module]:
        """For each city a model that never saw it."""
        return {city: result.model for fold, result in self.results(stream, seed).items() for city in fold}

    def path(self, part: str, stream: str, seed: int) -> Path:
        """File of named predictions, `{part}_{stream}_{seed}-{key}.npz`; the key is of data, recipe and folds."""
        recipe = asdict(self.recipes[stream]) | {"precision": ""}  # which differs between processors
        key = content_key([self.index.to_dict("list"), recipe, self.folds])[:6]
        return Path(self.work_dir) / "predictions" / f"{part}{self.name}_{stream}_{seed}-{key}.npz"

    def crossed(self) -> tuple[dict[str, Crossed], np.ndarray]:
        """Every pair with its city seen and unseen, by both streams and fused; trained where files are missing.

        Returns:
            {"s2", "ge", "fused": `Crossed`}, all seeds below each other; the seed of each row.
        """
        out = {}
        for stream in MODELS:
            for seed in self.seeds:
                if not all(self.path(part, stream, seed).exists() for part in PARTS):
                    for part, kept in crossed_predictions(self.results(stream, seed)).items():
                        kept.save(self.path(part, stream, seed))
            runs = {part: {k: Predictions.load(self.path(part, stream, k)) for k in self.seeds} for part in PARTS}
            out[stream] = {part: fusion.pool(runs[part])[0] for part in PARTS}
        seeds = np.repeat(list(self.seeds), len(self.index))
        return out | {"fused": {part: fuse_elsewhere(out["s2"][part], out["ge"][part]) for part in PARTS}}, seeds

    def random_split(self) -> tuple[dict[str, Predictions], dict[str, Predictions], np.ndarray]:
        """A random split as large as the folds' against polygons kept apart, both on the random split's test pairs.

        Returns:
            {"s2", "ge"} -> predictions of the trainings on the random split; of those of `crossed` that saw the city
            but not the polygon; the seed of each row.
        """
        todo = [(s, k) for s in MODELS for k in self.seeds if not self.path("random", s, k).exists()]
        jobs = []
        for stream, seed in todo:
            split = make_split(self.index, "sample_pool", seed)
            size = min(len(s.train) for s in city_folds(self.index, self.folds, seed).values())
            train = np.sort(np.random.default_rng(seed).permutation(split.train)[:size])
            jobs.append(self.job(stream, seed, replace(split, train=train)))
        for (stream, seed), result in zip(todo, train_many(jobs, self.workers), strict=True):
            result.predictions.save(self.path("random", stream, seed))
        random, apart = {}, {}
        for stream in MODELS:
            tests = {k: Predictions.load(self.path("random", stream, k)).select(split="test") for k in self.seeds}
            seen = {k: Predictions.load(self.path("seen", stream, k)).look_up(t.frame["id"]) for k, t in tests.items()}
            (random[stream], seeds), apart[stream] = fusion.pool(tests), fusion.pool(seen)[0]
        return random, apart, seeds

    def more_cities(self, counts: Sequence[int]) -> dict[int, Predictions]:
        """{number of cities trained on: predictions of Sentinel-2 in another one}; each seed takes the next city.

        All train on about as many pairs (`split_of_cities`), for as many steps as if on all other cities.
        """
        cities, short, found = sorted(self.index["city"].unique()), self.recipes["s2"], {}
        pace = len(cities) - 1
        longer = {name: pace * getattr(short, name) for name in ("epochs", "halve_every", "patience")}
        for n in counts:
            jobs = []
            for seed in self.seeds:
                new, *others = np.roll(cities, -seed)
                known = np.random.default_rng(seed).permutation(others)[:n]
                split = split_of_cities(self.index, new, known, seed)
                jobs.append(self.job("s2", seed, split) | {"recipe": replace(short, **longer)})
            tests = [result.predictions.select(split="test") for result in train_many(jobs, self.workers)]
            found[n] = fusion.pool(dict(zip(self.seeds, tests, strict=True)))[0]
        return found


def train_seeds(
    work_dir: str | Path, name: str, like: str, inputs: Inputs, pairs: Pairs, seeds: Sequence[int], workers: int = 1
) -> None:
    """Predictions of one design with several seeds, each with a split of its own, trained where their file is missing.

    Args:
        name: files are `{name}_{seed}.npz`; ends in the split strategy, "ge8_polygon_pool". inputs: of all pairs.
        like: published run whose network and recipe are repeated, "ge_polygon_pool_0".
    """
    known, strategy = read_json(find_run(work_dir, like) / "run.json")["params"], name.split("_", 1)[1]
    paths = {seed: Path(work_dir) / "predictions" / f"{name}_{seed}.npz" for seed in seeds}
    missing = [seed for seed, path in paths.items() if not path.exists()]
    job = {"stream": known["stream"], "model_name": known["model"], "recipe": Recipe(**known["recipe"])}
    job |= {"inputs": inputs, "index": pairs.index, "work_dir": work_dir}
    jobs = [job | {"seed": seed, "split": split_pairs(pairs, strategy, seed)} for seed in missing]
    for seed, result in zip(missing, train_many(jobs, workers), strict=True):
        result.predictions.save(paths[seed])


def crossed_predictions(results: Mapping[Fold, Result]) -> Crossed:
    """Every pair predicted with its city seen (other polygons of it were trained on), and with its city unseen."""
    tests = {fold: r.predictions.select(split="test") for fold, r in results.items()}
    new = {fold: p.frame["city"].isin(fold).to_numpy() for fold, p in tests.items()}
    return {
        "seen": concat([Predictions(p.frame[~new[f]], p.p[~new[f]]) for f, p in tests.items()]),
        "unseen": concat([Predictions(p.frame[new[f]], p.p[new[f]]) for f, p in tests.items()]),
    }


def concat(parts: list[Predictions]) -> Predictions:
    """Predictions of several models below each other, sorted by id."""
    frame, p = pd.concat([q.frame for q in parts], ignore_index=True), np.concatenate([q.p for q in parts])
    order = np.argsort(frame["id"].to_numpy(), kind="stable")
    return Predictions(frame.iloc[order], p[order])


def fuse_elsewhere(s2: Predictions, ge: Predictions) -> Predictions:
    """Fusion where the alpha of each city is chosen in all other cities: no label of a city decides its own alpha."""
    s2, ge = join(s2, ge)
    city, p = s2.frame["city"].to_numpy(str), np.empty_like(s2.p)
    for c in np.unique(city):
        here, there = city == c, city != c
        p[here] = fusion.fuse(s2.p[here], ge.p[here], fusion.best_alpha(s2.p[there], ge.p[there], s2.labels[there]))
    return Predictions(s2.frame, p)


def accuracy_drop(crossed: Crossed, draws: int = 1000, seed: int = 0, seeds=None) -> dict:
    """Accuracy of one stream with the city seen and unseen, on the same pairs; a positive drop is a loss.

    Returns:
        {"seen", "unseen", "drop": Interval over cities (seen - unseen, paired); "by_city" {city: {"seen", "unseen",
        "drop", "n"}}; "n" pairs}.
    """
    t, a, b = crossed["seen"].labels, crossed["seen"].predicted, crossed["unseen"].predicted
    city = crossed["seen"].frame["city"].to_numpy(str)
    how = {"groups": city, "draws": draws, "seed": seed, "seeds": seeds}
    hits = pd.DataFrame({"seen": a == t, "unseen": b == t}).groupby(city).mean()
    by_city = hits.assign(drop=hits["seen"] - hits["unseen"], n=pd.Series(city).value_counts())
    return {
        "seen": metrics.bootstrap(t, a, **how),
        "unseen": metrics.bootstrap(t, b, **how),
        "drop": metrics.bootstrap_difference(t, a, b, **how),
        "by_city": by_city.to_dict("index"),
        "n": len(t),
    }


def choose_elsewhere(remedies: Mapping[str, Predictions]) -> tuple[Predictions, dict[str, str]]:
    """Predictions where each city has the remedy that helped most in the *others*, and {city: its remedy}."""
    first = next(iter(remedies.values()))
    city, p, names = first.frame["city"].to_numpy(str), first.p.copy(), {}
    for c in np.unique(city):
        right = {name: (r.predicted == r.labels)[city != c].mean() for name, r in remedies.items()}
        names[str(c)] = max(right, key=right.get)
        p[city == c] = remedies[names[str(c)]].p[city == c]
    return Predictions(first.frame, p), names


def score_remedies(remedies: Mapping[str, Predictions], draws: int = 1000, seed: int = 0, seeds=None) -> dict:
    """{remedy: {"oa", "gain" (over "none", paired): Interval over cities}} of predictions of the same pairs."""
    frame = remedies["none"].frame
    hits = {name: (p.predicted == frame["label"].to_numpy()).astype(float) for name, p in remedies.items()}
    how = frame["city"].to_numpy(str), draws, seed, seeds
    gains = {name: metrics.bootstrap_mean(h - hits["none"], *how) for name, h in hits.items()}
    return {name: {"oa": metrics.bootstrap_mean(h, *how), "gain": gains[name]} for name, h in hits.items()}


def standardised_shift(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Distance of the means in units of the source's spread, per feature: (n, F) and (m, F) -> (F,)."""
    return np.abs(target.mean(0) - source.mean(0)) / (source.std(0) + 1e-9)


def correlation(x, y) -> metrics.Interval:
    """Pearson's r with its 95 % interval (Fisher's z); NaN ends for fewer than four points."""
    from scipy.stats import pearsonr  # half a second that only this needs

    found = pearsonr(x, y)
    low, high = found.confidence_interval() if len(x) > 3 else (np.nan, np.nan)
    return metrics.Interval(float(found.statistic), float(low), float(high))


def domain_shift(pairs: Pairs, graphs: GraphSet) -> pd.DataFrame:
    """How far each city's inputs lie from those of all others, in spreads: mean over bands, and over node colours.

    Returns:
        Index city; columns "spectra" (mean spectrum of each patch), "node colours", "pairs".
    """
    spectra, rows = np.asarray(pairs.s2).mean((1, 2)), {}
    for city in np.unique(pairs.cities.astype(str)):
        here = pairs.cities == city
        nodes = [graphs.x[graphs.valid & part[:, None], COLOUR] for part in (here, ~here)]
        shifts = standardised_shift(spectra[here], spectra[~here]), standardised_shift(*nodes)
        rows[city] = {"spectra": shifts[0].mean(), "node colours": shifts[1].mean(), "pairs": int(here.sum())}
    return pd.DataFrame(rows).T
