"""Pairs of patches on disk: layout (read, write), checks, pairs (open, pack), splits, fetch."""

from lczlib.data.checks import Fault, check
from lczlib.data.layout import BANDS, read_index, write_index, write_pair
from lczlib.data.pairs import Pairs, open_pairs, pack
from lczlib.data.splits import STRATEGIES, Split, make_split, read_published_split, split_pairs

__all__ = ["BANDS", "STRATEGIES", "Fault", "Pairs", "Split", "check", "make_split", "open_pairs", "pack", "read_index",
           "read_published_split", "split_pairs", "write_index", "write_pair"]  # fmt: skip
