"""The trained streams that a map needs, and the precision that is fastest here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lczlib.data.layout import BANDS
from lczlib.errors import InputError
from lczlib.models import RunStream, load_stream

PAYS = 1.2  # times faster from which bf16 is chosen


def open_streams(
    runs: Sequence[str | Path], s2: bool, rgb: bool, masks: str | None = None, precision: str = "fp32"
) -> tuple[RunStream | None, RunStream | None]:
    """The streams of the images given, from trained runs.

    Args:
        runs: folders of runs, "demo-s2", "demo-ge".
        masks: a model for instance masks, with the paper's settings; None: those that the run was trained on.
        precision: of the Sentinel-2 stream: "fp32", "bf16", or "auto": whichever is faster here.

    Returns:
        Sentinel-2 stream or None, RGB stream or None.

    Raises:
        InputError: no run, a run that is none, of the wrong stream, or missing for one of the images.
    """
    wanted = ["s2"] * s2 + ["ge"] * rgb
    if not runs:
        names = " and ".join(wanted)
        remedy = "make one with `python -m lczlib train DATA --stream s2`, or try --run demo-s2"
        raise InputError(f"--run: a map needs a trained run ({names}); {remedy}")
    found = {stream.stream: stream for stream in map(load_stream, runs)}
    for name in wanted:
        if name not in found:
            known = ", ".join(map(str, runs))
            raise InputError(f"--run: no run of stream {name} among {known}; give one, or leave its image out")
    one, other = found["s2"] if s2 else None, found["ge"] if rgb else None
    if one:
        one = replace(one, precision=pick_precision(one) if precision == "auto" else precision)
    if other and masks:
        from lczlib.sam import MaskSettings

        other = replace(other, sam=masks, settings=MaskSettings.named("paper", sam=masks))
    return one, other


def pick_precision(stream: RunStream, patches: int = 32) -> str:
    """ "bf16" where it computes patches at least 1.2 times faster than fp32 here, else "fp32"; a second or two."""
    inputs = np.random.default_rng(0).random((patches, 32, 32, len(BANDS)), np.float32) * 0.4
    seconds = dict.fromkeys(("fp32", "bf16"), np.inf)
    for _ in range(3):  # turns; the best counts, the first also loads the kernels
        for precision in seconds:
            start = time.perf_counter()
            replace(stream, precision=precision)(inputs)
            seconds[precision] = min(seconds[precision], time.perf_counter() - start)
    return "bf16" if seconds["fp32"] > PAYS * seconds["bf16"] else "fp32"
