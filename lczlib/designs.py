"""Designs compared in pairs: the same pairs, splits and seeds, only the design differs (notebook 07)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lczlib.compute import cpu_count, parallel, pick_device
from lczlib.data import Pairs, Split, split_pairs
from lczlib.data.splits import polygon_groups
from lczlib.graphs import GraphSet
from lczlib.metrics import Interval, compare_seeds
from lczlib.models.baselines import costs, random_forest
from lczlib.recipe import Recipe
from lczlib.sam import MaskSettings, build_sam
from lczlib.training import train_stream

Questions = Mapping[str, Mapping[str, str]]  # {question: {label: name of a design}}, the paper's design first


@dataclass(frozen=True)
class Design:
    """A network, what it reads, and how it is trained.

    Attributes:
        model: of `make_model`; or "forest", a random forest on inputs (N, F).
        inputs: a GraphSet, or patches (N, 32, 32, 10), with the rows of the pairs.
        recipe: settings of the training; its stream is the design's.
    """

    model: str
    inputs: GraphSet | np.ndarray
    recipe: Recipe


def train_and_predict(
    design: Design, pairs: Pairs, split: Split, seed: int, work_dir: str | Path, part: str = "test"
) -> pd.DataFrame:
    """Train with a seed, predict the pairs of a part of the split: id, label, polygon (its group), seed, predicted."""
    parts = split.of(pairs.ids)
    asked, train = parts == part, parts == "train"
    if design.model == "forest":
        x = design.inputs
        predicted = random_forest(x[train], pairs.labels[train], x[asked], seed=seed).argmax(1) + 1
    else:
        network = design.recipe.stream, design.model, design.inputs
        result = train_stream(*network, pairs.index, split, design.recipe, seed, work_dir)
        predicted = result.predictions.look_up(pairs.ids[asked]).predicted
    rows = pairs.index.assign(polygon=polygon_groups(pairs.index), seed=seed)[asked]
    return rows[["id", "label", "polygon", "seed"]].assign(predicted=predicted)


def run_until_narrow(
    designs: Mapping[str, Design],
    questions: Questions,
    pairs: Pairs,
    seeds: tuple[int, int, int],
    work_dir: str | Path,
) -> tuple[dict[str, pd.DataFrame], dict[str, object]]:
    """Train and test the designs with seed after seed, until the comparisons are sure enough.

    The rule is fixed before the run: a design gets seeds, each with a split of its own, until the 95 % intervals of its
    differences to the first of its questions are narrower than 2 points, or the most are used.

    Args:
        pairs: the data, split by polygons. seeds: the first, how many at least, how many at most.
        work_dir: trainings are kept there and found again.

    Returns:
        {name: rows of all seeds' test pairs}, the same for every design of as many seeds; and what the rule gave.

    Source: assumed.
    """
    first, least, most = seeds
    workers = cpu_count() if pick_device().type == "cpu" else 1
    references = {next(iter(question.values())) for question in questions.values()}
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in designs}
    wanted, begin, count = set(designs), first, least
    while True:
        splits = {seed: split_pairs(pairs, "polygon_pool", seed=seed) for seed in range(begin, first + count)}
        cells = [(name, seed) for seed in splits for name in designs if name in wanted]
        jobs = [{"design": designs[n], "split": splits[s], "seed": s} for n, s in cells]
        jobs = (job | {"pairs": pairs, "work_dir": work_dir} for job in jobs)
        for (name, _), frame in zip(cells, parallel(train_and_predict, jobs, workers)):
            rows[name].append(frame)
        tested = {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items()}
        widths = dict.fromkeys(designs, 0.0)
        for question in questions.values():
            for label, row in compare(tested, question).items():
                low, high = row["difference"][1:] if "difference" in row else (0, 0)
                widths[question[label]] = max(widths[question[label]], high - low)
        begin, count = first + count, min(count + 4, most)
        wanted = {name for name, width in widths.items() if width >= 0.02} | references
        if wanted == references or begin - first >= most:
            rule = f"a design gets seeds until its intervals are narrower than 2 points, at most {most}"
            return tested, {"rule": rule, "seeds": begin - first, "widest": max(widths.values())}


def compare(tested: Mapping[str, pd.DataFrame], question: Mapping[str, str], draws: int = 1000) -> dict[str, dict]:
    """Each design's accuracy, and its difference to the first, paired by seed and pair; by the seeds that it has.

    Returns:
        {label: {"design" (its name), "oa", "oa_per_seed": {seed: OA}}} and but for the first what `compare_seeds`
        gives: "difference" with its interval over polygons crossed with seeds, "per_seed", "agree" and "seeds".
    """
    reference, answers = tested[next(iter(question.values()))], {}
    for label, name in question.items():
        rows = tested[name]
        right = (rows["predicted"] == rows["label"]).groupby(rows["seed"]).mean()
        answers[label] = {"design": name, "oa": float(right.mean()), "oa_per_seed": right.to_dict()}
        if rows is not reference:
            predicted = rows["predicted"], reference["predicted"][reference["seed"].isin(rows["seed"])]
            answers[label] |= compare_seeds(rows["label"], *predicted, rows["polygon"], rows["seed"], draws=draws)
    return answers


def in_words(question: Mapping[str, Mapping]) -> str:
    """A Markdown list of what `compare` gives (or the JSON of a figure): differences, seeds, what that decides."""
    (first, reference), *others = question.items()
    lines = [f"- *{first}* (the paper's choice): {100 * reference['oa']:.1f} %."]
    for label, row in others:
        found = Interval(*row["difference"])
        word = "more accurate" if found.value > 0 else "less accurate"
        if not found.excludes_zero:
            word = "no different by more than 2 points" if max(-found.low, found.high) < 0.02 else "undecided"
        lines.append(f"- *{label}*: {100 * row['oa']:.1f} %, {found.text()} points, the same sign in {row['agree']} of "
                     f"{row['seeds']} seeds: **{word}**.")  # fmt: skip
    return "\n".join(lines)


def sam_costs(name: str, settings: MaskSettings, size: int = 320) -> dict[str, int]:
    """Encoder passes, prompts, parameters, multiply-adds: what the masks of an image of `size` px a side cost."""
    with torch.device("meta" if name.startswith("vit") else "cpu"):
        sam = build_sam(name)
        side, (h, w) = sam.image_encoder.img_size, sam.prompt_encoder.image_embedding_size
        channels = sam.prompt_encoder.embed_dim
        image, prompt = torch.zeros(1, channels, h, w), torch.zeros(1, 2, channels)
        encoder = costs(sam.image_encoder, torch.zeros(1, 3, side, side))
        decoder = costs(sam.mask_decoder, image, image, prompt, image, (True,))
    crops = settings.crops((size, size))
    prompts = sum(len(grid) for _, grid in crops)
    return {
        "encoder_passes": len(crops),
        "prompts": prompts,
        "parameters": encoder["parameters"] + decoder["parameters"],
        "multiply_adds": len(crops) * encoder["multiply_adds"] + prompts * decoder["multiply_adds"],
    }
