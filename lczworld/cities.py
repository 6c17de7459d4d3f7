"""Eight synthetic cities: what each does in its own way, as numbers that `shift` moves away from the mean city.

The mean city has the mean of every number (on its scale: plain, logarithms or log-odds). A city at `shift` s has the
mean plus s times its own deviation: at 0 the eight are one city drawn eight times, at 1 they are as in the table, at 3
three times as far apart. Habits (groups of numbers) can be shifted singly. Nothing here depends on the zone.

Source: assumed; spans of one number between the cities follow what real cities and scenes differ by (roof materials,
leaf-on and leaf-off dates, sun 25 to 65 degrees high, haze, corrections of the air, calibration within some per cent).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lczlib.errors import InputError

HABITS = ("materials", "streets", "vegetation", "season", "haze", "sensor")
Shift = float | Mapping[str, float]  # of all habits, or of the named ones alone (the others 0)

_TABLE = """
materials  pitched:tile       log   8    2    1.5  9    1    2    4    1.5
materials  pitched:slate      log   1.5  7    1    .3   4    .3   6    2
materials  pitched:metal      log   .5   1    .5   .3   4    3    .3   1
materials  pitched:bluemetal  log   .2   .3   5    .2   1    .3   .2   4
materials  pitched:rust       log   .2   .3   1.5  .5   .3   5    .3   .3
materials  pitched:concrete   log   .3   .3   .5   1    .5   1    .5   3
materials  flat:roofgravel    log   4    2    3    4    2    1    5    3
materials  flat:bitumen       log   4    8    1    .5   1.5  1.5  6    1
materials  flat:membrane      log   .4   .6   .4   1.5  4    .4   .3   1
materials  flat:metal         log   .6   .5   .5   .4   3    1    .4   .7
materials  flat:concrete      log   .8   .5   4    5    1    5    .8   5
materials  flat:bluemetal     log   .2   .2   2    .2   .4   .3   .2   1.5
materials  flat:rust          log   .2   .2   .3   .2   .2   2    .2   .3
materials  paving:asphalt     log   6    8    3    2    4    3    6    5
materials  paving:paving      log   3    1    1    7    1    3    3    1
materials  paving:concrete    log   1    1    6    2    6    4    .6   5
materials  roof_state         odds  .45  .32  .55  .68  .62  .58  .34  .48
materials  age                odds  .42  .22  .62  .78  .52  .60  .28  .48
materials  soil               odds  .45  .22  .60  .82  .48  .88  .26  .50
streets    pattern:grid       log   3    1.5  6    1.5  8    3    1    5
streets    pattern:organic    log   5    3    3    8    1    5    7    3
streets    pattern:closes     log   2    5    1.5  1    1.5  1.5  2    2
streets    block              log   1    1.18 .95  .82  1.22 .85  1.05 1.05
streets    hip                odds  .4   .6   .3   .5   .7   .3   .4   .4
streets    cars               odds  .55  .6   .5   .4   .75  .3   .6   .55
vegetation conifer            odds  .25  .55  .08  .45  .3   .05  .4   .2
vegetation lush               log   1    1.25 .9   .65  1    .75  1.2  1.05
vegetation hedge              odds  .45  .6   .25  .2   .35  .25  .7   .45
vegetation bare               odds  .12  .06  .2   .3   .12  .34  .07  .15
season     green              odds  .72  .93  .66  .28  .5   .42  .82  .9
season     leafless           odds  .06  .2   .02  .03  .1   .04  .5   .02
season     turbid             odds  .35  .15  .75  .3   .22  .85  .25  .55
season     elevation          -     46   31   56   53   44   63   27   51
season     azimuth            -     157  172  140  148  165  130  178  142
season     moisture           -     0    .07  .03  -.08 -.01 -.06 .07  -.02
haze       haze               log   .05  .02  .15  .05  .03  .12  .07  .20
haze       corrected          odds  .9   .95  .3   .92  .97  .15  .85  .08
sensor     gain               -     .02  -.05 .03  .06  -.01 -.04 -.06 .05
sensor     tilt               -     -.01 .07  -.08 -.04 .09  -.07 .05  .0
sensor     sharpness          log   1    .92  1.1  1.06 .95  .9   1.08 1
sensor     cast_red           -     0    -.05 .05  .08  0    .06  -.04 -.02
sensor     cast_blue          -     0    .06  -.06 -.09 .01  -.07 .05  .03
sensor     blur               log   .55  .62  .78  .48  .42  .7   .66  .85
sensor     contrast           log   1    1.04 .94  1.06 1.08 .96  .98  .92
""".strip()

_ROWS = [line.split() for line in _TABLE.splitlines()]
NAMES = tuple(row[1] for row in _ROWS)
_HABIT = np.array([row[0] for row in _ROWS])
_SCALE = {"log": (np.log, np.exp), "odds": (lambda p: np.log(p / (1 - p)), lambda x: 1 / (1 + np.exp(-x))),
          "-": (np.array, float)}  # fmt: skip
_INVERSE = {row[1]: _SCALE[row[2]][1] for row in _ROWS}
_VALUES = np.stack([_SCALE[row[2]][0](np.array(row[3:], float)) for row in _ROWS], 1)  # (8, numbers), on their scales
_MEAN = _VALUES.mean(0)


@dataclass(frozen=True)
class City:
    """A synthetic city. `number` 0..7 seeds its places, so that other habits leave them where they are.

    `values` are its numbers in the order of NAMES, on their scales; `city[name]` is one of them in its unit.
    """

    number: int
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """`synthetic-1` .. `synthetic-8`."""
        return f"synthetic-{self.number + 1}"

    def __getitem__(self, name: str) -> float:
        """The number `name` in its unit: a share or chance 0..1, a factor, degrees."""
        return float(_INVERSE[name](self.values[NAMES.index(name)]))

    def shares(self, group: str) -> tuple[tuple[str, float], ...]:
        """(kind, weight) of everything named `group:kind`, such as the materials of pitched roofs."""
        return tuple((name.split(":")[1], self[name]) for name in NAMES if name.startswith(f"{group}:"))


CITIES = tuple(City(number, tuple(values)) for number, values in enumerate(_VALUES.tolist()))


def get_city(city: int | City, shift: Shift = 1.0) -> City:
    """A city, given or by number 0..7, with its deviations from the mean city multiplied by `shift` (0..3).

    Raises:
        InputError: another number, a shift out of range or of an unknown habit.
    """
    if not isinstance(city, City):
        if not 0 <= int(city) < len(CITIES):
            raise InputError(f"city {city}: no such synthetic city; expected 0..{len(CITIES) - 1}")
        city = CITIES[int(city)]
    shifts = dict(shift) if isinstance(shift, Mapping) else dict.fromkeys(HABITS, float(shift))
    if strange := set(shifts) - set(HABITS):
        raise InputError(f"shift of {', '.join(sorted(strange))}: unknown; expected among {', '.join(HABITS)}")
    if not all(0 <= value <= 3 for value in shifts.values()):
        raise InputError(f"shift {shift}: expected 0 (one city drawn eight times) to 3")
    factor = np.array([shifts.get(habit, 0.0) for habit in _HABIT])
    own = np.array(city.values)
    return replace(city, values=tuple(np.where(factor == 1, own, _MEAN + factor * (own - _MEAN)).tolist()))


def mix(base: int | City, other: int | City, habits: Iterable[str], shift: Shift = 1.0) -> City:
    """`base` with only `habits` (names of HABITS) taken from `other`; places (seeds) stay those of `base`.

    Raises:
        InputError: a habit is none of HABITS.
    """
    base, other, habits = get_city(base, shift), get_city(other, shift), tuple(habits)
    if strange := [habit for habit in habits if habit not in HABITS]:
        raise InputError(f"habits {strange}: unknown; expected among {', '.join(HABITS)}")
    taken = np.isin(_HABIT, habits)
    return replace(base, values=tuple(np.where(taken, other.values, base.values).tolist()))
