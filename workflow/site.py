"""The report: a small static site of one build, readable from disk and on a phone: python -m workflow.site FOLDER.

index.html holds ledger and gallery, notebooks/*.html the executed notebooks. Nothing is fetched from elsewhere.
"""

import html
import json
import re
import shutil
import sys
from pathlib import Path

import mistune
import nbformat
from latex2mathml.converter import convert
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

from lczlib.runs import read_json, write_text
from workflow.build import ROOT
from workflow.results import environment, ledger, read_figures, title

REPOSITORY = "https://github.com/lczlib/lczlib"
_MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+?)\$", re.DOTALL)
_PICTURE_ELSEWHERE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)")  # a badge: its words serve without a network
_LINK = re.compile(r'href="(?!https?:|#|mailto:|data:)(?P<target>[^"#]*)(?P<place>#[^"]*)?"')


def write_site(folder: Path, skipped: dict[str, str] | None = None) -> Path:
    """Write `site/` of a build from its executed notebooks and figures; returns index.html.

    Args:
        folder: of the build; `executed/*.json` are the rows of the notebooks that ran.
        skipped: notebook -> why it was not run.
    """
    site, made = folder / "site", environment()
    rows = sorted((read_json(path) for path in (folder / "executed").glob("*.json")), key=lambda row: row["notebook"])
    names = [row["notebook"] for row in rows]
    titles = {name: title(folder / "executed" / f"{name}.ipynb") for name in names}
    shutil.rmtree(site, ignore_errors=True)
    if (folder / "figures").exists():
        shutil.copytree(folder / "figures", site / "figures")
    shared = {"titles": titles, "code_style": Markup(HtmlFormatter().get_style_defs(".highlight"))}
    for name in names:
        body = notebook_body(folder / "executed" / f"{name}.ipynb", names)
        page = made.get_template("notebook.html.j2").render(shared, name=name, body=Markup(body), up="../")
        write_text(site / "notebooks" / f"{name}.html", page)
    figures = read_figures(site / "figures", folder.resolve().name.split("-")[0])
    facts = {"rows": rows, "skipped": skipped or {}, "figures": figures, "name": folder.resolve().name, "up": ""}
    facts["ledger"] = ledger(figures, read_json(ROOT / "figures" / "published.json"))
    facts["origins"] = sorted({entry["data"] for entry in figures.values()} - {"none"})
    facts["explorer"] = (folder / "explorer.html").exists()
    if facts["explorer"]:
        shutil.copy(folder / "explorer.html", site)
    made.filters["inline"] = _inline
    return write_text(site / "index.html", made.get_template("index.html.j2").render(shared, **facts))


def _inline(text: str) -> Markup:
    """A caption in Markdown as HTML without its paragraph."""
    return Markup(mistune.html(with_mathml(text or "")).strip().removeprefix("<p>").removesuffix("</p>"))


def notebook_body(executed: Path, pages: list[str]) -> str:
    """Cells and outputs of an executed notebook as HTML: equations as MathML, links to where the site has a page."""
    from nbconvert import HTMLExporter

    content = nbformat.read(executed, as_version=4)
    content.cells = [cell for cell in content.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(_PICTURE_ELSEWHERE.sub(r"\1", cell.source))
        if any(output.output_type == "error" for output in cell.get("outputs", [])):  # it ended early, without a fault
            cell.outputs = [output for output in cell.outputs if output.get("name") == "stdout" or "data" in output]
        for output in cell.get("outputs", []):  # a widget needs a server; its static twin stands beside it
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    body, _ = exporter.from_notebook_node(content)
    return _LINK.sub(lambda found: f'href="{_target(found["target"], pages)}{found["place"] or ""}"', body)


def _target(link: str, pages: list[str]) -> str:
    name = Path(link).name.removesuffix(".ipynb")
    if not link or name in pages:
        return f"{name}.html" if link else ""
    inside = (ROOT / "notebooks" / link).resolve()
    return f"{REPOSITORY}/blob/main/{inside.relative_to(ROOT)}" if inside.is_relative_to(ROOT) else link


def with_mathml(markdown: str) -> str:
    """Markdown with its LaTeX replaced by MathML, which browsers draw without a script; code stays as it is."""
    return _MATH.sub(_mathml, markdown)


def _mathml(found: re.Match) -> str:
    if found["code"]:
        return found["code"]
    source = (found["block"] or found["inline"]).strip()
    mathml = convert(source, display="block" if found["block"] else "inline")
    return mathml.replace("<math ", f'<math alttext="{html.escape(source, quote=True)}" ', 1).replace("\n", " ")


if __name__ == "__main__":
    write_site(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else None)
