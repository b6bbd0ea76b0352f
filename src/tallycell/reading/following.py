"""Which known quantity a cell goes along with: chosen on one half of the steps, quoted on the other.

A quantity may have gaps (NaN). Each comparison is over the pairs that are there; one with too few of them is left out,
and that is said. A cell may go along with a quantity some steps later, or earlier; at which lag is chosen on the first
half too.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from tallycell.wording import shown

FOLLOWS = 0.5  # correlation from which a cell is said to follow a quantity
MOVEMENT = 8  # steps over which a cell must move along with it too
ABOVE_CHANCE = 2.0  # standard deviations by which it does
LAGS = (1, 2, 3, 5, 7, 10, 15, 20, 30)  # steps, later and earlier, at which a cell is compared too
WORTH_A_LAG = 0.02  # of |r|, by which a lag must go along better than none
ALL_LAGS = (0, *LAGS, *(-lag for lag in LAGS))
ROUNDING = 1e-13  # share of a mean square below which a variance is none
AT_ONCE = 4_096  # steps whose products are taken together
FEWEST_PAIRS = 30  # steps at which a quantity has a value: with fewer no cell is compared with it

BySequence = Float[np.ndarray, "sequence time"]


def comparable_names(quantities: Mapping[str, BySequence], lengths: np.ndarray) -> frozenset[str]:
    """Names of the quantities that have values enough for a comparison."""
    sequences = len(lengths)
    within = np.arange(max(lengths, default=0)) < lengths[:, np.newaxis]
    found = []
    for name, values in quantities.items():
        known = np.isfinite(values[:, : within.shape[1]]) & within
        first = known[: (sequences + 1) // 2] if sequences > 1 else known[:, : lengths[0] // 2]
        movements = sum(len(movement_of(np.flatnonzero(row))[0]) for row in known)
        if is_comparable((int(first.sum()), int(known.sum() - first.sum())), movements):
            found.append(name)
    return frozenset(found)


def is_comparable(known: Sequence[int], movements: int) -> bool:
    """Whether a quantity has as many values in both halves, and as many movements, as a comparison takes."""
    return (
        sum(known) >= FEWEST_PAIRS
        and min(known) >= FEWEST_PAIRS // 2  # chosen on one half, quoted on the other
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


def pair_sums(
    cells: Float[np.ndarray, "step unit"],
    quantities: Float[np.ndarray, "step quantity"],
    edges: Sequence[int],
    *,
    counted: int = 0,
) -> Float[np.ndarray, "unit quantity lag sum"]:
    """Sum over pairs of a cell and a quantity so many steps before, in the same stretch, by lag.

    Parameters
    ----------
    cells, quantities
        By step; NaN where nothing is known of a quantity.
    edges
        First step of each stretch, and the step after the last.
    counted
        Pairs count that end at this step or later: earlier ones have been counted before.

    Returns
    -------
    array
        n, Σa, Σa², Σb, Σb², Σab over the pairs (a of the cell, b of the quantity), by :data:`ALL_LAGS`.
    """
    units, names = cells.shape[1], quantities.shape[1]
    lags = np.array(ALL_LAGS)
    sums = np.zeros((units, names, len(lags), 6))
    if not names:
        return sums
    begins, ends = np.array(edges[:-1]), np.array(edges[1:])
    stretch = np.repeat(np.arange(len(begins)), ends - begins)
    # Most quantities are known at every step, and so count the same cells.
    known = [column.tobytes() for column in np.isfinite(quantities).T]
    ways = list(dict.fromkeys(known))
    columns, way = [known.index(one) for one in ways], [ways.index(one) for one in known]
    for first in range(edges[0], edges[-1], AT_ONCE):
        steps = np.arange(first, min(first + AT_ONCE, edges[-1]))
        of = stretch[steps - edges[0]]
        source = steps[:, np.newaxis] - lags
        inside = (source >= begins[of, np.newaxis]) & (source < ends[of, np.newaxis])
        inside &= np.maximum(source, steps[:, np.newaxis]) >= counted
        b = quantities[np.where(inside, source, first)]  # (step, lag, quantity)
        there = np.isfinite(b) & inside[:, :, np.newaxis]
        b = np.where(there, b, 0.0)
        a = cells[steps]
        of_cells = there[..., columns].reshape(len(steps), -1).astype(np.float64)
        shape = (units, len(lags), len(ways))
        by_way = [(values.T @ of_cells).reshape(shape)[:, :, way] for values in (a, a * a)]
        product = (a.T @ b.reshape(len(steps), -1)).reshape(units, len(lags), names)
        alone = [there.sum(axis=0, dtype=np.float64), b.sum(axis=0), (b * b).sum(axis=0)]
        pairs, *of_b = [np.broadcast_to(one, product.shape) for one in alone]
        sums += np.moveaxis(np.stack([pairs, *by_way, *of_b, product], axis=-1), 1, 2)
    return sums


def movement_sums(
    cells: Float[np.ndarray, "step unit"],
    quantities: Float[np.ndarray, "step quantity"],
    edges: Sequence[int],
    *,
    counted: int = 0,
) -> Float[np.ndarray, "unit quantity lag sum"]:
    """Sum the same over movements: of a quantity to the next step at which it is known, and of a cell meanwhile."""
    sums = np.zeros((cells.shape[1], quantities.shape[1], len(ALL_LAGS), 6))
    whole = np.isfinite(quantities).all(axis=0)
    if whole.any():
        of_cells, of_quantities = (
            np.concatenate([one[a + MOVEMENT : b] - one[a : max(a, b - MOVEMENT)] for a, b in pairwise(edges)])
            for one in (cells, quantities[:, whole])
        )
        within = np.concatenate([[0], np.cumsum(np.maximum(np.diff(edges) - MOVEMENT, 0))]).tolist()
        sums[:, whole] = pair_sums(of_cells, of_quantities, within, counted=counted - MOVEMENT)
    for k in np.flatnonzero(~whole).tolist():
        sums[:, k] = _sums_of_gaps(cells, quantities[:, k], edges)
    return sums


def _sums_of_gaps(
    cells: Float[np.ndarray, "step unit"], quantity: Float[np.ndarray, " step"], edges: Sequence[int]
) -> Float[np.ndarray, "unit lag sum"]:
    """Movements of a quantity with gaps: each has a length of its own."""
    sums = np.zeros((cells.shape[1], len(ALL_LAGS), 6))
    for begin, end in pairwise(edges):
        late, early = movement_of(begin + np.flatnonzero(np.isfinite(quantity[begin:end])))
        for k, lag in enumerate(ALL_LAGS):
            within = (early + lag >= begin) & (late + lag < end)
            for first in range(0, int(within.sum()), AT_ONCE):
                to, at = late[within][first : first + AT_ONCE], early[within][first : first + AT_ONCE]
                a, b = cells[to + lag] - cells[at + lag], quantity[to] - quantity[at]
                one = np.ones(cells.shape[1])
                sums[:, k] += np.stack(
                    [len(b) * one, a.sum(axis=0), (a * a).sum(axis=0), b.sum() * one, (b @ b) * one, b @ a], axis=1
                )
    return sums


def find_followed(
    names: Sequence[str],
    units: Sequence[str],
    halves: Float[np.ndarray, "half quantity lag sum"],
    movements: Float[np.ndarray, "quantity lag sum"],
) -> Follows | None:
    """Choose the quantity, and then its lag, on the first half of the steps; quote both on the second.

    Parameters
    ----------
    names, units
        Of the quantities, and what they are measured in.
    halves, movements
        As :func:`pair_sums` and :func:`movement_sums` give them, for one unit.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> store = np.cumsum(draw.normal(size=400))[:, np.newaxis]
    >>> halves = np.stack([pair_sums(store / 6, store, edges)[0] for edges in ((0, 200), (200, 400))])
    >>> found = find_followed(["store"], ["mm"], halves, movement_sums(store / 6, store, (0, 400))[0])
    >>> f"{found.quantity}: r = {found.correlation:.2f}, {found.per_unit:.1f} {found.units}"
    'store: r = 1.00, 6.0 mm'
    """
    if not names:
        return None
    chosen_on, quoted_on = halves
    at_once = [_at_lag(sums[0])[0] for sums in chosen_on]
    which = max(range(len(names)), key=lambda k: abs(at_once[k]))
    by_lag = {lag: _at_lag(chosen_on[which, k])[0] for k, lag in enumerate(ALL_LAGS) if lag}
    lag = max(by_lag, key=lambda lag: abs(by_lag[lag]))
    if abs(by_lag[lag]) < abs(at_once[which]) + WORTH_A_LAG:
        lag = 0
    correlation, per_unit = _at_lag(quoted_on[which, ALL_LAGS.index(lag)])
    without = _at_lag(quoted_on[which, 0])
    if lag and abs(correlation) < abs(without[0]) + WORTH_A_LAG:  # the lag was chance
        lag, (correlation, per_unit) = 0, without
    if abs(correlation) < FOLLOWS or correlation * at_once[which] <= 0:
        return None
    # Whether movements go the way in which it follows, above chance: two random walks are correlated by 0.5 in four of
    # ten pairs, their movements are not. Movements that overlap do not count as independent.
    along = movements[which, ALL_LAGS.index(lag)]
    chance = math.sqrt(MOVEMENT / max(float(along[0]), 1))
    if math.copysign(1, correlation) * _regression(along)[0] <= ABOVE_CHANCE * chance:
        return None
    return Follows(names[which], correlation, lag, per_unit, units[which])


def _at_lag(sums: Float[np.ndarray, " sum"]) -> tuple[float, float]:
    """Correlation of cell and quantity, and the quantity for one unit of the cell; 0 and NaN of too few pairs."""
    return (0.0, math.nan) if sums[0] < FEWEST_PAIRS // 2 else _regression(sums)


def _regression(sums: Float[np.ndarray, " sum"]) -> tuple[float, float]:
    """Pearson's correlation, 0 where one of both does not vary; and the slope of the quantity on the cell."""
    n, a, a2, b, b2, ab = sums.tolist()
    if not n:
        return 0.0, math.nan
    of_a, of_b, both = a2 / n - (a / n) ** 2, b2 / n - (b / n) ** 2, ab / n - a / n * (b / n)
    if not (of_a > ROUNDING * a2 / n and of_b > ROUNDING * b2 / n):
        return 0.0, math.nan
    return both / math.sqrt(of_a * of_b), both / of_a
