"""How long steps are and when they happen, for sentences: spans in their units, months and hours of filling."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from tallycell.trace.times import step_seconds, times_of

LOSSLESS = 10_000.0  # steps: what keeps longer is hardly said to forget
UNITS = (("year", 365.25 * 86_400), ("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0))
FILLS = 0.25  # of the largest mean change of a month (or hour): with less it neither fills nor empties
MOST_STRETCHES = 2  # of the year (the day), in which something fills: more is no season
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip

HOURS = tuple(f"{hour}:00" for hour in range(24))


def say_number(value: float) -> str:
    """Say a number in two digits; a large one in whole numbers, never with an exponent.

    Examples
    --------
    >>> [say_number(value) for value in (0.5, 2.34, 365.5, 12345)]
    ['0.5', '2.3', '366', '12,345']
    """
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:,.0f}"


@dataclass(frozen=True, eq=False)
class Clock:
    """When the steps of one direction happen, in the order in which a cell reads them.

    Attributes
    ----------
    step_seconds
        How long a step is; None where that is not known, or differs.
    dates
        The date of each step, or None where steps have none.
    """

    step_seconds: float | None = None
    dates: np.ndarray | None = None

    def say(self, steps: float) -> str:
        """Say a number of steps in its own unit where the length of a step is known.

        Examples
        --------
        >>> [Clock(86_400.0).say(15), Clock(3_600.0).say(36), Clock(0.032).say(72), Clock().say(1)]
        ['15 days', '36 hours', '2.3 s', '1 step']
        """
        if self.step_seconds is None:
            return counted(steps, "step")
        seconds = steps * self.step_seconds
        own = next((k for k, (_, length) in enumerate(UNITS) if self.step_seconds >= length * 0.99), len(UNITS))
        # In a larger unit from two of it on, else in that of the step ("15 days"), or in seconds where it has none.
        for name, length in UNITS[: own + 1]:
            if seconds >= 2 * length or (own < len(UNITS) and name == UNITS[own][0]):
                return counted(seconds / length, name)
        return f"{say_number(seconds)} s"

    @property
    def seasons(self) -> tuple[str, ...]:
        """Names of months, for more than a year of dates; of hours, for more than two days; else none."""
        if self.dates is None or len(self.dates) < 2:
            return ()
        span = float((self.dates.max() - self.dates.min()) / np.timedelta64(1, "s"))
        if span >= 365 * 86_400:
            return MONTHS
        if span >= 2 * 86_400 and self.step_seconds is not None and self.step_seconds <= 3 * 3_600:
            return HOURS
        return ()

    def seasons_of_steps(self, names: tuple[str, ...]) -> Int[np.ndarray, " step"]:
        """Give the month, or the hour, of each step, by its place among their names."""
        assert self.dates is not None  # where there are names there are dates
        unit = "M" if len(names) == len(MONTHS) else "h"
        places: np.ndarray = self.dates.astype(f"datetime64[{unit}]").astype(np.int64) % len(names)
        return places


def say_filling(names: tuple[str, ...], steps: Int[np.ndarray, " season"], change: Float[np.ndarray, " season"]) -> str:
    """Say in which months (or hours of the day) something grows and in which it shrinks; empty if in none.

    Parameters
    ----------
    names
        Of the seasons.
    steps, change
        How many steps there are in each, and by how much it grows in all of them.

    Examples
    --------
    >>> say_filling(MONTHS, np.full(12, 90), np.where(np.arange(12) >= 10, 90, np.where(np.arange(12) == 3, -180, 0)))
    'fills in November and December, empties in April'
    """
    if not names or (steps == 0).any():
        return ""
    mean = change / steps
    most = float(np.abs(mean).max())
    if most == 0:
        return ""
    stretches = [_stretches(names, (sign * mean) > FILLS * most) for sign in (1, -1)]
    if not all(1 <= len(some) <= MOST_STRETCHES for some in stretches):
        return ""  # a season is one stretch of the year, or two
    return ", ".join(f"{verb} {' and '.join(some)}" for verb, some in zip(("fills", "empties"), stretches, strict=True))


def clock_of(trace: xr.Dataset, sequence: np.ndarray, position: np.ndarray) -> Clock:
    """Find out when the steps of a trace happen, at the steps given by sequence and position in time."""
    times = times_of(trace)
    if times is None:
        return Clock()
    dates = None
    if times.dtype.kind == "M":
        values = times.to_numpy()
        dates = values[position] if values.ndim == 1 else values[sequence, position]
    return Clock(step_seconds(trace), dates)


def counted(value: float, name: str) -> str:
    """Say a number of things: "1 step", "2.3 steps"."""
    said = say_number(value)
    return f"{said} {name}" if said == "1" else f"{said} {name}s"


def _stretches(names: tuple[str, ...], chosen: Bool[np.ndarray, " name"]) -> list[str]:
    """Say which months (hours) are chosen: neighbours as a stretch, around the turn of the year too."""
    size = len(names)
    begins = [k for k in range(size) if chosen[k] and not chosen[k - 1]]
    lengths = [next(n for n in range(1, size) if not chosen[(begin + n) % size]) for begin in begins]
    # A stretch around the turn begins late in the year and is said first.
    order = sorted(range(len(begins)), key=lambda k: begins[k] - (size if begins[k] + lengths[k] > size else 0))
    return [
        f"from {names[begins[k]]} to {names[(begins[k] + lengths[k] - 1) % size]}"
        if lengths[k] > 2
        else f"in {' and '.join(names[(begins[k] + n) % size] for n in range(lengths[k]))}"
        for k in order
    ]
