"""Which known quantity a cell goes along with: chosen on one half of the steps, quoted on the other.

A quantity may have gaps (NaN). Each comparison is over the pairs that are there; one with too few of them is left out,
and that is said. A cell may go along with a quantity some steps later, or earlier; at which lag is chosen on the first
half too.
"""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tallycell.reading.cells import Cell
from tallycell.wording import shown

FOLLOWS = 0.5  # correlation from which a cell is said to follow a quantity
MOVEMENT = 8  # steps over which a cell must move along with it too
ABOVE_CHANCE = 2.0  # standard deviations by which it does
LAGS = (1, 2, 3, 5, 7, 10, 15, 20, 30)  # steps, later and earlier, at which a cell is compared too
WORTH_A_LAG = 0.02  # of |r|, by which a lag must go along better than none
FEWEST_PAIRS = 30  # steps at which a quantity has a value: with fewer no cell is compared with it

BySequence = Float[np.ndarray, "sequence time"]


def values_within(values: BySequence, lengths: np.ndarray) -> int:
    """At how many steps a quantity has a value."""
    within = np.arange(values.shape[1]) < lengths[:, np.newaxis]
    return int((np.isfinite(values) & within).sum())


def is_comparable(values: BySequence, pairs: int, lengths: np.ndarray) -> bool:
    """Whether a quantity has as many values, in both halves, and as many movements, as a comparison takes."""
    sequences = len(lengths)
    first = values[: (sequences + 1) // 2] if sequences > 1 else values[:, : lengths[0] // 2]
    in_first = values_within(first, lengths[: len(first)])
    known = np.isfinite(values) & (np.arange(values.shape[1]) < lengths[:, np.newaxis])
    movements = sum(len(movement_of(np.flatnonzero(row))[0]) for row in known)
    return (
        pairs >= FEWEST_PAIRS
        and min(in_first, pairs - in_first) >= FEWEST_PAIRS // 2  # chosen on one half, quoted on the other
        and movements > ABOVE_CHANCE**2 * MOVEMENT  # with fewer, chance alone gives 1
    )


def notes_on(pairs: Mapping[str, int], known: Collection[str], steps: int) -> tuple[str, ...]:
    """Say what is missing of the known quantities, and which are compared with no unit."""
    if pairs and steps < FEWEST_PAIRS + MOVEMENT:
        return (f"{steps} steps are too few to compare units with known quantities",)
    notes = []
    for name, count in pairs.items():
        said = (
            f"{shown(name)} has {'no value at any step' if not count else f'a value at {count:,} of {steps:,} steps'}"
        )
        if name not in known:
            notes.append(f"{said}, too few to compare units with it")
        elif count < steps:
            notes.append(said)
    return tuple(notes)


@dataclass(frozen=True)
class Follows:
    """A known quantity that a cell goes along with.

    Attributes
    ----------
    quantity
        Its name.
    correlation
        Pearson's r with the cell, at the lag.
    lag
        Steps by which the cell is behind the quantity; below 0 it is ahead.
    per_unit
        How much of the quantity one unit of the cell stands for, by least squares of the quantity on the cell.
    units
        What the quantity is measured in, as its attribute ``units`` says; empty if it does not.
    """

    quantity: str
    correlation: float
    lag: int = 0
    per_unit: float = math.nan
    units: str = ""


def movement_of(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair each step at which a quantity is known with the next one that is at least ``MOVEMENT`` steps later.

    Returns
    -------
    tuple
        The later steps, and the earlier ones.

    Examples
    --------
    >>> [steps.tolist() for steps in movement_of(np.array([0, 5, 10, 20]))]
    [[10, 20, 20], [0, 5, 10]]
    """
    after = np.searchsorted(known, known + MOVEMENT)
    there = after < len(known)
    return known[after[there]], known[there]


def find_followed(
    cell: Cell, quantities: Mapping[str, np.ndarray], units: Mapping[str, str] | None = None
) -> Follows | None:
    """Choose the quantity, and then its lag, on the first half of the steps; quote both on the second.

    Examples
    --------
    >>> from tallycell.parameters import Activations
    >>> draw = np.random.default_rng(0)
    >>> rain = draw.exponential(size=400) * (draw.random(400) < 0.3)
    >>> stored = np.cumsum(rain - 0.3) / 6
    >>> cell = Cell(0, "forward", 0, *np.ones((3, 400)), stored, np.array([0, 400]), np.zeros(1), Activations())
    >>> found = find_followed(cell, {"store": np.cumsum(rain - 0.3)}, {"store": "mm"})
    >>> f"{found.quantity}: r = {found.correlation:.2f}, {found.per_unit:.1f} {found.units}"
    'store: r = 1.00, 6.0 mm'
    """
    chosen_on, quoted_on = cell.halves
    at_once = {name: _at_lag(cell, steps, 0, chosen_on)[0] for name, steps in quantities.items()}
    if not at_once:
        return None
    name = max(at_once, key=lambda name: abs(at_once[name]))
    quantity = quantities[name]
    by_lag = {lag: _at_lag(cell, quantity, lag, chosen_on)[0] for lag in (*LAGS, *(-lag for lag in LAGS))}
    lag = max(by_lag, key=lambda lag: abs(by_lag[lag]))
    if abs(by_lag[lag]) < abs(at_once[name]) + WORTH_A_LAG:
        lag = 0
    correlation, per_unit = _at_lag(cell, quantity, lag, quoted_on)
    without = _at_lag(cell, quantity, 0, quoted_on)
    if lag and abs(correlation) < abs(without[0]) + WORTH_A_LAG:  # the lag was chance
        lag, (correlation, per_unit) = 0, without
    if abs(correlation) < FOLLOWS or correlation * at_once[name] <= 0:
        return None
    if not _moves_along(cell, quantity, lag, correlation):
        return None
    return Follows(name, correlation, lag, per_unit, (units or {}).get(name, ""))


def _pairs_at(cell: Cell, lag: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Pair the steps of a cell within a part with those of a quantity so many before, in the same sequences."""
    begin, end = part.start or 0, len(cell.c) if part.stop is None else part.stop
    if lag == 0:
        return np.arange(begin, end), np.arange(begin, end)
    pieces = []
    for first, last in itertools.pairwise(cell.start.tolist()):
        low, high = max(first, begin), min(last, end)
        pieces.append(np.arange(max(low, low + lag), min(high, high + lag)))
    cells = np.concatenate(pieces)
    return cells, cells - lag


def _at_lag(cell: Cell, quantity: Float[np.ndarray, " step"], lag: int, part: slice) -> tuple[float, float]:
    """Correlation of cell and quantity at a lag over a part of the steps, and the quantity for one unit of the cell."""
    cells, steps = _pairs_at(cell, lag, part)
    if np.isfinite(quantity[steps]).sum() < FEWEST_PAIRS // 2:
        return 0.0, math.nan
    return _regression(cell.c[cells], quantity[steps])


def _moves_along(cell: Cell, quantity: Float[np.ndarray, " step"], lag: int, correlation: float) -> bool:
    """Whether the movements of a cell over some steps go the way in which it follows a quantity, above chance.

    Two random walks are correlated by 0.5 in four of ten pairs, their movements are not. Movements that overlap do not
    count as independent.
    """
    late, early = [], []
    for begin, end in itertools.pairwise(cell.start.tolist()):
        ends, begins = movement_of(begin + np.flatnonzero(np.isfinite(quantity[begin:end])))
        within = (begins + lag >= begin) & (ends + lag < end)
        late.append(ends[within])
        early.append(begins[within])
    ends, begins = np.concatenate(late), np.concatenate(early)
    moved = [cell.c[ends + lag] - cell.c[begins + lag], quantity[ends] - quantity[begins]]
    chance = math.sqrt(MOVEMENT / max(len(ends), 1))
    return math.copysign(1, correlation) * _regression(*moved)[0] > ABOVE_CHANCE * chance


def _regression(cell: np.ndarray, quantity: np.ndarray) -> tuple[float, float]:
    """Pearson's correlation over the pairs in which both have a value, 0 where one does not vary; and the slope."""
    both = np.isfinite(cell) & np.isfinite(quantity)
    a, b = cell[both], quantity[both]
    if not a.size or not (np.std(a) > 0 and np.std(b) > 0):
        return 0.0, math.nan
    a, b = a - a.mean(), b - b.mean()
    covariance = float(np.mean(a * b))
    return covariance / float(np.std(a) * np.std(b)), covariance / float(np.mean(a * a))
