"""Figures: `base` (style, widths, saving) is re-exported here; one module of plot functions per topic beside it.

Plot functions take data and return a matplotlib Figure.
"""

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS, Gallery, use_style

__all__ = ["ONE_COLUMN", "STREAM_COLORS", "STREAM_NAMES", "TWO_COLUMNS", "Gallery", "use_style"]
