"""lczworld.nano.train: one command from scenes to weights and their evaluation."""

import json
from dataclasses import replace

from scenes import rectangles

from lczlib.sam import load_sam
from lczworld.nano import decoder, encoder, evaluation, train


def test_one_command_trains_calibrates_evaluates_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "scenes_of", lambda *_, **__: rectangles(2))
    monkeypatch.setattr(evaluation, "HALVINGS", 1)
    monkeypatch.setitem(
        train.PLANS, "cpu", encoder.GroupingPlan(windows=1, asked=1, quality_windows=1, quality_steps=2)
    )
    small = replace(decoder.Plan(), windows=1, prompts=2, scored=1, score_steps=2)
    monkeypatch.setattr(decoder, "Plan", lambda: small)
    out = tmp_path / "own.safetensors"
    sizes = ["--encoder-steps", "1", "--decoder-steps", "1", "--train", "2", "--workers", "1"]
    train.main(["--work", str(tmp_path), "--out", str(out), *sizes])
    load_sam("nano", out)
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["training"]["encoder"]["steps"] == report["training"]["decoder"]["steps"] == 1
    assert 0 <= report["test"]["mask_iou"] <= 1
    assert report["test"]["reachable"]["found"] > 0.5
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    assert set(before) == {"encoder.pt", "decoder.pt"}
