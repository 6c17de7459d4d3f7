"""The notebooks as committed (anatomy, links) and as executed: every one of them in the smoke profile, once."""

import ast
import dataclasses
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser import errors, open_browser
from whole_project import FILES, FOLDERS, ROOT, copy_project, figures_that_say_all, run_all

from workflow.build import Build
from workflow.check import check
from workflow.publish import publish

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def _cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def _code(path: Path) -> list[str]:
    """Code cells without the lines that only IPython understands."""
    return [re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE) for cell in _cells(path, "code")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestAnatomy:
    def test_one_title_one_parameters_cell_no_outputs(self, path):
        cells = nbformat.read(path, as_version=4).cells
        titles = [
            line for cell in _cells(path, "markdown") for line in cell.source.splitlines() if line.startswith("# ")
        ]
        assert cells[0].source.startswith("# ")
        assert len(titles) == 1
        assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
        assert all(not cell.outputs and cell.execution_count is None for cell in _cells(path, "code"))

    def test_cells_and_functions_are_short_and_define_no_class(self, path):
        long = [source for source in _code(path) if len(source.strip().splitlines()) > 12]
        assert not long, f"{len(long)} cells of more than 12 lines, the first begins {long[0][:60]!r}"
        nodes = [node for source in _code(path) for node in ast.walk(ast.parse(source))]
        assert not [node.name for node in nodes if isinstance(node, ast.ClassDef)]
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        assert not [node.name for node in functions if node.end_lineno - node.lineno + 1 > 5]

    def test_nothing_reaches_around_the_packages(self, path):
        source = "\n".join(_code(path))
        for word in ("sys.path", "filterwarnings", "tolerance", "/home/"):
            assert word not in source

    def test_links_and_badges_lead_somewhere(self, path):
        text = "\n".join(cell.source for cell in _cells(path, "markdown"))
        links = re.findall(r"\]\(([^)\s]+)\)", text)
        local = [link.split("#")[0] for link in links if not re.match(r"https?:|mailto:|#", link)]
        assert not [link for link in local if not (path.parent / link).exists()]
        badges = [link for link in links if "mybinder.org" in link or "colab.research" in link]
        assert all(path.name in link.replace("%2F", "/") for link in badges if ".ipynb" in link)
        code = "".join(_code(path))
        reads_runs = any(word in code for word in ("find_run(", "Predictions.load(")) and "train_stream(" not in code
        assert not (badges and reads_runs), "a badge opens a fresh machine, where there is no run of another notebook"


def test_one_address_of_the_repository():
    citation = (ROOT / "CITATION.cff").read_text()
    address = re.search(r'repository-code: "https://github.com/(.+)"', citation)[1]
    for path in (ROOT / "README.md", *NOTEBOOKS):
        text = path.read_text(encoding="utf-8")
        ours = re.findall(r"mybinder\.org/v2/gh/([\w.-]+/[\w.-]+)/", text)
        ours += re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/", text)
        ours += re.findall(r"git clone --depth 1 https://github\.com/([\w./-]+)", text)
        assert set(ours) <= {address}, path.name


def fill_published(path: Path) -> None:
    """As somebody does who has the paper: Fig. 8 of two streams, the alpha curve, a table, the transfer drop."""
    published = json.loads(path.read_text())
    for stream in ("s2", "fused"):
        published["confusion"][stream]["value"] = (np.eye(17) * 9 + 1).tolist()
    published["alpha_curve"]["value"] = {"alpha": [0, 0.5, 1], "oa": [0.6, 0.9, 0.8]}
    published["scores"]["polygon"]["fused"]["value"]["oa"] = 0.875
    published["transfer"]["value"] = {"oa_inside": 0.75, "oa_outside": 0.5, "region": "elsewhere"}
    path.write_text(json.dumps(published))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of this project after every notebook was executed in the smoke profile, the paper's values filled in."""
    copy = copy_project(tmp_path_factory.mktemp("project"))
    fill_published(copy / "figures" / "published.json")
    run_all(copy, "--profile", "smoke")
    return copy


@pytest.mark.notebooks
def test_every_notebook_runs_and_leaves_figures_that_say_all(project):
    figures = project / "build" / "smoke" / "figures"
    entries = figures_that_say_all(figures)
    of_published_data = {"09"}  # needs a clone; see test_published_artefacts
    assert {stem.split("_")[0] for stem in entries} == {
        path.stem.split("_")[0] for path in NOTEBOOKS
    } - of_published_data
    page = (figures.parent / "site" / "notebooks" / "09_published_artefacts.html").read_text()
    assert "fetch lczc-ges2" in page.split("<strong>Skipped")[1]
    assert "SystemExit: " not in page
    assert sum(path.stat().st_size for path in figures.iterdir() if path.suffix in (".png", ".pdf")) < 9e6
    assert {path.name for path in project.iterdir()} == {*FOLDERS, *FILES, "build"}
    committed = {path.relative_to(ROOT / "figures") for path in (ROOT / "figures").rglob("*")}
    assert {path.relative_to(project / "figures") for path in (project / "figures").rglob("*")} == committed


@pytest.mark.notebooks
def test_values_of_the_paper_that_were_filled_in_stand_beside_ours(project):
    build = project / "build" / "smoke"
    numbers = {stem: json.loads((build / "figures" / f"{stem}.json").read_text())["numbers"]
               for stem in ("04_alpha", "05_confusion", "06_transfer")}  # fmt: skip
    assert list(numbers["05_confusion"]["published"]) == ["s2", "fused"]
    assert numbers["06_transfer"]["published"]["oa_outside"] == 0.5
    assert numbers["04_alpha"]["published"]["oa"] == [0.6, 0.9, 0.8]
    told = {"05": ["s2 38.5% right", "0.875"], "06": ["75.0% inside, 50.0% outside (elsewhere)"]}
    for name, texts in told.items():
        (page,) = build.rglob(f"{name}_*.html")
        assert not [text for text in texts if text not in page.read_text()]


@pytest.mark.notebooks
def test_the_report_of_every_notebook_has_no_dead_link_and_fits_a_phone(project):
    pages = sorted((project / "build" / "smoke" / "site").rglob("*.html"))
    assert {path.stem for path in NOTEBOOKS} <= {page.stem for page in pages}
    for page in pages:
        text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
        targets = re.findall(r'(?:href|src)="(?!https?:|data:|#|mailto:)([^"#]+)', text)
        local = [target for target in targets if "${" not in target]  # of a page within the page, filled by its script
        assert not [target for target in local if not (page.parent / target).exists()], page
    with open_browser(390) as driver:
        for page in pages:
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= 390, page
            assert not errors(driver), page


@pytest.mark.notebooks
def test_what_follows_from_predictions_is_computed_again_from_them(project):
    (project / "build" / "demo").symlink_to("smoke")
    build = dataclasses.replace(Build.of("smoke", root=project), profile="demo")  # as if this were the committed run
    publish(build, build.chosen())
    outcome = check(build, ["04", "05", "06"])
    assert outcome.lines == []
    assert outcome.exact > 500
