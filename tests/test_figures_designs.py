"""Figures of designs and of instance masks are drawn from numbers alone."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from lczlib.figures import evaluation, streams
from lczlib.metrics import Interval
from lczlib.sam import MaskSettings


def test_panels_share_one_range_and_the_papers_design_is_bold():
    row = {"oa": 0.5, "difference": Interval(0.1, 0.05, 0.2), "per_seed": {"0": 0.1, "1": 0.12}, "agree": 2, "seeds": 2}
    answers = {"A?": {"paper": {"oa": 0.4}, "rival": row}, "B?": {"paper": {"oa": 0.4}, "other": row, "more": row}}
    fig = evaluation.differences(answers, "title")
    left, right = fig.axes[:2]
    assert left.get_xlim() == right.get_xlim()
    assert left.get_xlim()[0] <= 0 < 20 <= left.get_xlim()[1]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["paper  40 %", "rival  50 %"]
    assert [tick.get_fontweight() for tick in right.get_yticklabels()] == ["bold", "normal", "normal"]
    plt.close(fig)


def test_costs_are_one_axis():
    table = pd.DataFrame({"name": ["SAM", "GCN"], "stream": ["", "ge"], "multiply_adds": [1.5e13, 4e5]})
    fig = evaluation.costs(table, "title")
    assert {text.get_text().strip() for text in fig.axes[0].texts} == {"15.0 T", "400.0 k"}
    plt.close(fig)


def test_every_prompt_is_drawn():
    fig = streams.prompts(np.zeros((320, 320, 3), np.uint8), MaskSettings())
    points = [sum(len(line.get_xdata()) for line in ax.lines) for ax in fig.axes]
    assert points == [12**2, 4 * 6**2]
    plt.close(fig)
