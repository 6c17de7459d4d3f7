"""One thread or more: masks, maps and predictions are the same (a training says how many it had: its summary)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from geodata import reflectance, write_s2

ROOT = Path(__file__).parents[1]
KEPT = """
import hashlib, json, sys, torch, numpy as np
from lczlib.city.map import map_scene
from lczlib.city.map import open_streams
from lczlib.models import load_stream
from lczlib.sam import MaskSettings, generate_masks, load_sam
from lczworld import generate_scene
scenes = [generate_scene(label, seed=label) for label in (2, 6)]
images, patches = (np.stack([getattr(s, name) for s in scenes]) for name in ("rgb", "s2"))
torch.set_num_threads(int(sys.argv[3]))
kept = {"threads": torch.get_num_threads()}
digest = lambda *arrays: hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
for n, (masks, boxes) in enumerate(generate_masks(load_sam("nano"), images, MaskSettings.named("smoke", sam="nano"))):
    kept[f"masks {n}"] = digest(masks, boxes)
kept["predictions s2"] = digest(load_stream("demo-s2")(patches))
kept["predictions ge"] = digest(load_stream("demo-ge")(images))
for precision in ("fp32", "bf16"):
    stream = open_streams(["demo-s2"], True, False, precision=precision)[0]
    found = map_scene(sys.argv[1] + f"/{precision}.tif", sys.argv[2], predict_s2=stream)
    kept[f"map {precision}"] = hashlib.sha256(found.path.read_bytes()).hexdigest()
print(json.dumps(kept))
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict[int, dict]:
    """Digests of masks, maps and predictions, made by processes of 1 and 2 threads."""
    folder, found = tmp_path_factory.mktemp("kept"), {}
    scene = write_s2(folder / "scene.tif", reflectance(100, 100))
    for threads in (1, 2):
        (folder / str(threads)).mkdir()
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-W", "ignore", "-c", KEPT, str(folder / str(threads)), str(scene), str(threads)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found[threads] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_masks_maps_and_predictions_do_not_depend_on_the_number_of_threads(kept):
    assert [kept[n].pop("threads") for n in (1, 2)] == [1, 2]
    assert kept[1] == kept[2]
    assert len(kept[1]) == 6
