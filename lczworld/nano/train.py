"""Train, calibrate and evaluate `nano`, the small Segment Anything that ships with lczlib, in one run.

    python -m lczworld.nano.train --work build/nano --out build/nano/nano.safetensors --device cuda

Stopped and called again it goes on from its last checkpoint. First the encoder learns to group (`encoder`), then, with
that as it is, the decoder to answer prompts (`decoder`), then the IoU of its masks. It is calibrated on scenes it was
not trained on and evaluated on cities it never saw; the figures are written beside the weights, as JSON.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lczlib.compute import cpu_count, prepare_cpu
from lczlib.options import at_least
from lczlib.runs import write_json
from lczlib.sam.masks import generate_masks
from lczlib.sam.models import build_sam, load_sam

from . import decoder, encoder
from .evaluation import calibrate, reachable, score, with_calibration
from .learning import Scenes, export, scenes_of
from .start import look_up

WANTED = 0.75  # mean best IoU of the masks kept
TRAINING_SEEDS = 10_000_000  # seeds of scenes to train on begin here, above those of every data set
PLANS = {"cpu": encoder.GroupingPlan(), "cuda": encoder.GroupingPlan(windows=64, asked=32, rate=2.5e-3)}


def finish(
    sam: Any, plan: decoder.Plan, scenes: Scenes, work: Path, out: Path, counts: dict[str, int], workers: int
) -> dict[str, Any]:
    """Learn the predicted IoU, calibrate on new seeds of the training cities, write weights, evaluate on cities 6, 7.

    Args:
        counts: scenes to "calibrate" and to "test" on.

    Returns:
        `test`: `score` of the masks; `calibration`: what was chosen, and why.
    """
    sam = with_calibration(sam, plan.factor, 0.0)
    error = decoder.learn_score(sam, plan, scenes, workers, np.random.default_rng(0))
    sam, chosen = calibrate(sam, *scenes_of(work / "tuning", counts["calibrate"], range(6), seed=500_000), WANTED)
    export(sam, out)
    rgb, ids = scenes_of(work / "test", counts["test"], (6, 7), seed=900_000)
    test = {"scenes": len(rgb), "cities": [6, 7], **score(generate_masks(load_sam("nano", out), rgb), ids)}
    return {"test": test | {"reachable": reachable(ids)}, "calibration": {"score_error": error, **chosen}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m lczworld.nano.train", description="Train and evaluate nano.")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="folder for scenes and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("build/nano/nano.safetensors"), help="weights to write")
    parser.add_argument("--encoder-steps", type=int, default=3489)
    parser.add_argument("--decoder-steps", type=int, default=6000)
    parser.add_argument("--train", type=int, default=6120, help="scenes to train on")
    parser.add_argument("--calibrate", type=int, default=68, help="scenes to calibrate on")
    parser.add_argument("--test", type=int, default=200, help="scenes to evaluate on")
    parser.add_argument("--workers", type=at_least(1), default=cpu_count(), help="processes")
    parser.add_argument("--device", choices=tuple(PLANS), default="cpu", help="of the encoder's training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    prepare_cpu()
    work, seed, device = options.work, options.seed, options.device
    scenes = on_device = scenes_of(work / "train", options.train, range(6), TRAINING_SEEDS + seed, options.workers)
    if device != "cpu":
        on_device = tuple(torch.from_numpy(np.array(one, kind)).to(device) for one, kind in zip(scenes, ("u1", "i4")))
    torch.manual_seed(seed)
    sam = build_sam("nano")
    look_up(sam)
    sam.to(device)
    grouping, plan = PLANS[device], decoder.Plan()
    steps = options.encoder_steps
    first = encoder.learn_to_group(sam, on_device, grouping, work / "encoder.pt", steps, seed, options.workers)
    sam.cpu()
    second = decoder.train(sam, scenes, work / "decoder.pt", plan, options.decoder_steps, seed)
    counts = {"calibrate": options.calibrate, "test": options.test}
    report = finish(sam, plan, scenes, work, options.out, counts, options.workers)
    report["training"] = {
        "encoder": {**first, "device": device, **vars(grouping)}, "decoder": {**second, **vars(plan)},
        "scenes": options.train, "seed": seed, "parameters": sum(p.numel() for p in sam.parameters()),
    }  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    print(report["test"])


if __name__ == "__main__":
    main()
