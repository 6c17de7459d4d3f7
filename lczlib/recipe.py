"""How a stream is trained: the published settings, the demo's, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from lczlib.compute import bf16_pays, pick_device
from lczlib.errors import InputError

MEANING = {  # what a departure means, for the tables of the notebooks
    "epochs": "epochs at most",
    "batch_size": "pairs per step",
    "learning_rate": "first learning rate",
    "halve_every": "epochs between two halvings of the learning rate (0: constant)",
    "patience": "epochs without a lower validation loss before stopping",
    "augment": "flips and rotations of the patches, or flips and quarter turns of the nodes' places",
    "light": "spread (of the logarithm) of a random factor on the colours of a graph's nodes",
    "loss": "loss of a batch: mean or sum over its pairs",
    "width": "filters of the first block, or units of a graph layer",
    "batch_norm_momentum": "share of the old batch statistics kept at each step",
    "precise_batch_norm": "batch statistics computed again over the training pairs with the final weights",
    "thin_training": "positions that the next block never reads are left out in training too",
    "precision": "arithmetic of the training step",
}


@dataclass(frozen=True)
class Recipe:
    """Settings of one training; every departure from the paper is a field.

    Attributes:
        stream: "s2" or "ge". The other fields: `MEANING`.

    Both streams: Nadam as Keras has it, cross-entropy, the weights of the best validation accuracy are kept.

    Source: published training scripts; patience watches the validation loss in both streams ("assumed" for s2).
    """

    stream: str
    epochs: int
    batch_size: int
    learning_rate: float
    halve_every: int
    patience: int
    augment: bool
    loss: str
    width: int
    batch_norm_momentum: float = 0.99
    precise_batch_norm: bool = False
    thin_training: bool = False
    precision: str = "fp32"
    light: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in (("stream", ("s2", "ge")), ("precision", ("fp32", "bf16")), ("loss", ("mean", "sum"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(allowed)}")
        if self.light and self.stream != "ge":
            raise InputError(f"light: {self.light} is for graphs; leave it 0 in stream {self.stream}")
        for name in ("epochs", "batch_size", "learning_rate", "patience", "width"):
            if not getattr(self, name) > 0:  # nor NaN
                raise InputError(f"{name}: {getattr(self, name)} must be above 0")

    @classmethod
    def of(cls, name: str, stream: str, **changes: object) -> Recipe:
        """A recipe by name: "published", the paper's, or "demo", with `changes` (which `departures` lists).

        "demo" is small enough for a laptop: narrower, shorter, with the departures that make a short training work, and
        Sentinel-2 in bf16 where the processor is fast at it.
        """
        if name not in ("published", "demo"):
            raise InputError(f"unknown recipe {name!r}; expected published or demo")
        if stream not in _PUBLISHED:
            raise InputError(f"unknown stream {stream!r}; expected s2 or ge")
        demo = _DEMO[stream] if name == "demo" else {}
        if demo and stream == "s2" and bf16_pays(pick_device()):
            demo = demo | {"precision": "bf16"}
        return replace(_PUBLISHED[stream], **(demo | changes))

    def changed(self, items: Sequence[str]) -> Recipe:
        """With fields as written on a command line: `epochs=3 augment=false learning_rate=3e-4`; not the stream."""
        read = {int: int, float: float, str: str, bool: {"true": True, "false": False}.__getitem__}
        kinds = {name: type(value) for name, value in asdict(self).items() if name != "stream"}
        try:
            given = dict(item.split("=", 1) for item in items)
            new = {name: read[kinds[name]](text) for name, text in given.items()}
        except (KeyError, ValueError):
            known = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items())
            raise InputError(f"--set {' '.join(items)}: give FIELD=VALUE, fields from {known}") from None
        return replace(self, **new)

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.learning_rate * 0.5 ** (epoch // self.halve_every) if self.halve_every else self.learning_rate

    def departures(self) -> dict[str, dict[str, object]]:
        """What differs from the paper: {field: {"meaning", "here", "paper"}}."""
        here, paper = asdict(self), asdict(_PUBLISHED[self.stream])
        return {
            name: {"meaning": MEANING[name], "here": here[name], "paper": paper[name]}
            for name in MEANING
            if here[name] != paper[name]
        }


_PUBLISHED = {
    "s2": Recipe("s2", 100, 64, 0.002, halve_every=5, patience=15, augment=True, loss="mean", width=64),
    "ge": Recipe("ge", 100, 32, 0.01, halve_every=0, patience=20, augment=False, loss="sum", width=32),
}

_DEMO: dict[str, dict[str, object]] = {
    "s2": {"epochs": 10, "batch_size": 32, "halve_every": 3, "width": 16, "batch_norm_momentum": 0.9,
           "precise_batch_norm": True, "thin_training": True},
    "ge": {"epochs": 200, "batch_size": 32, "halve_every": 40, "patience": 200, "augment": True, "light": 0.1},
}  # fmt: skip
