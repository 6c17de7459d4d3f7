"""The paper profile to its end on a few pairs of the published layout, with `LCZ_PAPER=1`: ten minutes on two cores.

Widths, epochs and mask settings are the published ones. Not the paper's: the number of pairs, one seed, a small SAM
instead of `vit_h` (the pairs come with graphs; masks are made of the city alone), and the size of that city.
"""

import json
import os

import pytest
import yaml
from published_layout import make_published
from whole_project import copy_project, run_all

CITY = {"city_m": 640, "city": 0, "step": 100, "fused_step": 320, "alpha": 0.6}

pytestmark = pytest.mark.skipif(not os.environ.get("LCZ_PAPER"), reason="ten minutes; set LCZ_PAPER=1")


def test_it_ends_and_leaves_the_figures_of_every_notebook(tmp_path):
    project, data = copy_project(tmp_path / "project"), tmp_path / "LCZC-GES2"
    sizes = project / "notebooks" / "params" / "paper.yaml"
    sizes.write_text(yaml.safe_dump(yaml.safe_load(sizes.read_text()) | {"08_map_a_city": CITY}))
    make_published(data, int(os.environ.get("LCZ_PAPER_PAIRS", "20")), tmp_path / "executed")
    output = run_all(project, "--profile", "paper", "--data", str(data), "--sam", "nano", "--seeds", "1")
    assert "01_sam_instances" in output.split("skipped: ")[0]
    assert not (tmp_path / "executed").exists()
    (build,) = (project / "build").glob("paper-*")
    entries = {path.stem: json.loads(path.read_text()) for path in (build / "figures").glob("*.json")}
    assert {stem[:2] for stem in entries} == {"00", "02", "03", "04", "05", "07", "08", "09", "de"}
    recipe = entries["02_training"]["parameters"]["recipe"]
    assert (recipe["width"], recipe["epochs"], recipe["batch_size"]) == (64, 100, 64)
    assert entries["09_weights"]["data"] == "LCZC-GES2"
