"""What the 19,088 pairs of the paper take, as a Markdown table: `python benchmarks/whole_set.py`.

Nothing is measured here. Two cores: the times of one image, patch or epoch in `sam.json` and `streams.json` times their
number; `vit_h` by its arithmetic from `vit_b`. A GPU: arithmetic alone, at an assumed rate. Energy: time times an
assumed power. REPRODUCING.md holds the table, which a test compares with this one.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAIRS, TRAINED, EPOCHS = 19_088, 13_355, 56  # figures/published.json: dataset, s2_training_log
CORES, WATTS = 2, 65  # of a laptop, assumed
GPU = 1e14  # operations a second that a large GPU keeps up, assumed


def _read(path: str) -> dict:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def of_image(what: str, model: str) -> float:
    """Seconds of an image on all cores: of the first such row of sam.json, ours; features are taken by one thread."""
    rows = _read("benchmarks/sam.json")["rows"]
    row = next(row for row in rows if what in row["what"] and row["model"] == model)
    return row["seconds"][row["ours"]] * row["threads"] / CORES


def hours() -> dict[str, tuple[float, float | None]]:
    """{what: hours on two cores, hours of a GPU or None where its arithmetic is nothing}."""
    streams, masks = _read("benchmarks/streams.json"), _read("figures/07_costs.json")["numbers"]["masks"]
    s2 = _read("figures/published.json")["networks"]["resnet3d11_gmac"]["value"] * 1e9
    training, inference = (
        streams["s2"][name] / streams["options"]["batch"] / CORES for name in ("training", "inference")
    )
    epoch = streams["graph_epoch"] / streams["options"]["graphs"] * TRAINED
    vit_b, ratio = (
        of_image("the paper's settings", "vit_b"),
        masks["vit_h"]["multiply_adds"] / masks["vit_b"]["multiply_adds"],
    )

    def on_gpu(multiply_adds: float) -> float:
        return 2 * multiply_adds / GPU / 3600

    return {
        "masks, SAM `vit_h`": (PAIRS * vit_b * ratio / 3600, on_gpu(PAIRS * masks["vit_h"]["multiply_adds"])),
        "masks, SAM `vit_b`": (PAIRS * vit_b / 3600, on_gpu(PAIRS * masks["vit_b"]["multiply_adds"])),
        "masks, SAM `nano`": (PAIRS * of_image("the paper's settings", "nano") / 3600, None),
        "graphs": (PAIRS * of_image("node features", "nano") / 3600, None),
        f"Sentinel-2 training, {EPOCHS} epochs (the published log)": (
            EPOCHS * TRAINED * training / 3600,
            on_gpu(3 * EPOCHS * TRAINED * s2),
        ),
        "graph training, 100 epochs": (100 * epoch / 3600, None),
        "Sentinel-2 probabilities of all pairs": (PAIRS * inference / 3600, on_gpu(PAIRS * s2)),
    }


def in_words(value: float | None) -> str:
    """Hours as days, hours, minutes or seconds, two digits; "-" for None."""
    if value is None:
        return "-"
    unit, size = next((u, s) for u, s in (("days", 24), ("h", 1), ("min", 1 / 60), ("s", 0)) if value >= 2 * s)
    return f"{float(f'{value / (size or 1 / 3600):.2g}'):g} {unit}"


def table() -> str:
    """The rows of `hours` with energy."""
    rows = [f"| {what} | {in_words(cpu)} | {float(f'{cpu * WATTS / 1000:.2g}'):g} | {in_words(gpu)} |"
            for what, (cpu, gpu) in hours().items()]  # fmt: skip
    head = "| part, 19,088 pairs | two cores | kWh there | a GPU, arithmetic alone |\n|---|---|---|---|\n"
    return head + "\n".join(rows)


if __name__ == "__main__":
    print(table())
