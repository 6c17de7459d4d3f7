"""Eight synthetic cities: five groups of habits each, which together make a real domain shift between them."""

# ruff: noqa: E501 (tables, one row per city)

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lczlib.errors import InputError

FACTORS = ("materials", "vegetation", "streets", "sun", "haze")


@dataclass(frozen=True)
class Materials:
    """Shares of roof materials on pitched and flat roofs, `age` of pavements (0 new and dark .. 1 bright), `soil` 0..1."""

    pitched: tuple[tuple[str, float], ...]
    flat: tuple[tuple[str, float], ...]
    paving: tuple[tuple[str, float], ...]
    age: float
    soil: float


@dataclass(frozen=True)
class Vegetation:
    """`green` 0..1 mean state of plants, `leafless` chance of a leaf-off date, `conifer` share, `lush` tree density."""

    green: float
    leafless: float
    conifer: float
    lush: float


@dataclass(frozen=True)
class Streets:
    """Chances of street patterns, `scale` of blocks, `turbid` 0..1 of waters, `hip` share of hipped roofs."""

    grid: float
    organic: float
    closes: float
    scale: float
    hip: float
    turbid: float


@dataclass(frozen=True)
class Sun:
    """Range of sun elevation over the dates of overpass, and azimuth, in degrees (azimuth clockwise from north)."""

    elevation: tuple[float, float]
    azimuth: tuple[float, float]


@dataclass(frozen=True)
class Haze:
    """`amount` 0..0.3 of haze in both sensors; `cast` of the RGB camera (R, G, B gains); `blur` of the RGB patch in m."""

    amount: float
    cast: tuple[float, float, float]
    blur: float


@dataclass(frozen=True)
class City:
    """A synthetic city. `number` 0..7 seeds its scenes, so that mixing factors leaves the places where they are."""

    number: int
    materials: Materials
    vegetation: Vegetation
    streets: Streets
    sun: Sun
    haze: Haze

    @property
    def name(self) -> str:
        """`synthetic-1` .. `synthetic-8`."""
        return f"synthetic-{self.number + 1}"


def _shares(text: str) -> tuple[tuple[str, float], ...]:
    pairs = (item.split(":") for item in text.split())
    return tuple((name, float(share)) for name, share in pairs)


def _city(number: int, pitched: str, flat: str, paving: str, age: float, soil: float, rest: tuple) -> City:
    vegetation, streets, sun, haze = rest
    materials = Materials(_shares(pitched), _shares(flat), _shares(paving), age, soil)
    return City(number, materials, Vegetation(*vegetation), Streets(*streets), Sun(*sun), Haze(*haze))


CITIES: tuple[City, ...] = (
    _city(0, "tile:6 slate:3 metal:1", "roofgravel:4 bitumen:5 membrane:.5 metal:1", "asphalt:6 paving:3 concrete:1", 0.45,
          0.45, ((0.72, 0.10, 0.25, 1.0), (0.3, 0.5, 0.2, 1.0, 0.4, 0.35), ((27, 58), (140, 175)), (0.05, (1.0, 1.0, 1.0), 0.55))),
    _city(1, "slate:6 tile:2 metal:2", "bitumen:6 roofgravel:3 membrane:1", "asphalt:8 concrete:2", 0.30,
          0.30, ((0.80, 0.20, 0.45, 1.15), (0.2, 0.35, 0.45, 1.15, 0.6, 0.2), ((20, 44), (160, 195)), (0.03, (0.97, 1.0, 1.05), 0.6))),
    _city(2, "bluemetal:3 tile:3 rust:2 slate:2", "concrete:4 bluemetal:2 roofgravel:3 bitumen:1", "concrete:6 asphalt:4", 0.60,
          0.60, ((0.66, 0.04, 0.15, 0.9), (0.55, 0.3, 0.15, 0.95, 0.3, 0.7), ((38, 68), (125, 165)), (0.16, (1.04, 1.0, 0.94), 0.75))),
    _city(3, "tile:8 rust:1 concrete:1", "concrete:4 roofgravel:4 membrane:1.5", "paving:5 asphalt:3 concrete:2", 0.70,
          0.75, ((0.45, 0.04, 0.40, 0.75), (0.2, 0.7, 0.1, 0.85, 0.5, 0.3), ((34, 66), (130, 170)), (0.06, (1.06, 1.0, 0.92), 0.5))),
    _city(4, "slate:4 metal:3 tile:2 bluemetal:1", "membrane:2 metal:3 roofgravel:3 bitumen:2", "asphalt:5 concrete:5", 0.50,
          0.50, ((0.60, 0.12, 0.30, 1.0), (0.75, 0.1, 0.15, 1.2, 0.7, 0.25), ((28, 62), (145, 190)), (0.04, (1.0, 1.02, 1.0), 0.45))),
    _city(5, "rust:4 metal:3 tile:3", "concrete:5 rust:2 bitumen:2 membrane:.5", "asphalt:4 concrete:3 paving:3", 0.55,
          0.85, ((0.58, 0.06, 0.10, 0.8), (0.35, 0.5, 0.15, 0.85, 0.3, 0.8), ((44, 70), (110, 160)), (0.12, (1.05, 0.98, 0.93), 0.7))),
    _city(6, "slate:5 tile:4 concrete:1", "bitumen:4 roofgravel:4 concrete:2", "asphalt:6 paving:4", 0.38,
          0.35, ((0.68, 0.30, 0.35, 1.1), (0.15, 0.65, 0.2, 1.05, 0.4, 0.3), ((18, 42), (155, 200)), (0.08, (0.98, 1.0, 1.03), 0.65))),
    _city(7, "bluemetal:2 slate:3 tile:3 concrete:2", "roofgravel:4 concrete:4 membrane:1 bluemetal:1", "concrete:4 asphalt:6",
          0.50, 0.50, ((0.78, 0.03, 0.20, 1.05), (0.5, 0.3, 0.2, 1.05, 0.4, 0.55), ((34, 64), (120, 165)), (0.20, (1.0, 1.0, 1.0), 0.8))),
)  # fmt: skip


def get_city(city: int | City) -> City:
    """The city of a number 0..7, or the city itself. Raises ValueError for another number."""
    if isinstance(city, City):
        return city
    if not 0 <= int(city) < len(CITIES):
        raise InputError(f"city {city}: no such synthetic city; expected 0..{len(CITIES) - 1}")
    return CITIES[int(city)]


def mix(base: int | City, other: int | City, factors: Iterable[str]) -> City:
    """`base` with only `factors` (names of FACTORS) taken from `other`; places (seeds) stay those of `base`.

    Raises:
        ValueError: a factor is none of FACTORS.
    """
    base, other, factors = get_city(base), get_city(other), tuple(factors)
    strange = [factor for factor in factors if factor not in FACTORS]
    if strange:
        raise InputError(f"factors {strange}: unknown; expected among {', '.join(FACTORS)}")
    return replace(base, **{factor: getattr(other, factor) for factor in factors})
