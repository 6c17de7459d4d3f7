"""The synthetic world: places drawn from their zone, seen by two sensors, with everything about them known."""

from .canvas import COVER
from .cities import CITIES, HABITS, City, get_city, mix
from .dataset import make_dataset, open_or_make, read_fractions
from .render import sky_view
from .scene import PAIRS_PER_POLYGON, Scene, fractions, generate_scene
from .town import CityScene, generate_city

__all__ = [
    "CITIES", "COVER", "HABITS", "PAIRS_PER_POLYGON", "City", "CityScene", "Scene", "fractions", "generate_city",
    "generate_scene", "get_city", "make_dataset", "mix", "open_or_make", "read_fractions", "sky_view",
]  # fmt: skip
