"""The synthetic world: places drawn from their zone, seen by two sensors, with everything about them known."""

from .canvas import COVER
from .cities import CITIES, FACTORS, City, mix
from .dataset import make_dataset, open_or_make, read_fractions
from .scene import PAIRS_PER_POLYGON, Scene, generate_scene, measure
from .town import CityScene, generate_city

__all__ = [
    "CITIES",
    "COVER",
    "FACTORS",
    "PAIRS_PER_POLYGON",
    "City",
    "CityScene",
    "Scene",
    "generate_city",
    "generate_scene",
    "make_dataset",
    "measure",
    "mix",
    "open_or_make",
    "read_fractions",
]
