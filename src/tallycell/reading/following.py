"""Which known quantity a cell goes along with: chosen on one half of the steps, quoted on the other.

A quantity may have gaps (NaN). Each comparison is over the pairs that are there; one with too few of them is left out,
and that is said.
"""

import itertools
import math
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Float

from tallycell.reading.cells import Cell
from tallycell.reading.roles import Follows
from tallycell.wording import shown

FOLLOWS = 0.5  # correlation from which a cell is said to follow a quantity
MOVEMENT = 8  # steps over which a cell must move along with it too
ABOVE_CHANCE = 2.0  # standard deviations by which it does
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
    movements = values_within(values[:, MOVEMENT:] - values[:, :-MOVEMENT], np.maximum(lengths - MOVEMENT, 0))
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


def find_followed(cell: Cell, quantities: Mapping[str, np.ndarray]) -> Follows | None:
    """Choose the quantity on the first half of the steps; quote its correlation on the second."""
    chosen_on, quoted_on = cell.halves
    seen = {name: _correlation(cell.c[chosen_on], steps[chosen_on]) for name, steps in quantities.items()}
    if not seen:
        return None
    name = max(seen, key=lambda name: abs(seen[name]))
    correlation = _correlation(cell.c[quoted_on], quantities[name][quoted_on])
    if abs(correlation) < FOLLOWS or correlation * seen[name] <= 0:
        return None
    return Follows(name, correlation) if _moves_along(cell, quantities[name], correlation) else None


def _moves_along(cell: Cell, quantity: Float[np.ndarray, " step"], correlation: float) -> bool:
    """Whether the movements of a cell over some steps go the way in which it follows a quantity, above chance.

    Two random walks are correlated by 0.5 in four of ten pairs, their movements are not. Movements that overlap do not
    count as independent.
    """
    late = np.concatenate([np.arange(begin + MOVEMENT, end) for begin, end in itertools.pairwise(cell.start.tolist())])
    moved = [values[late] - values[late - MOVEMENT] for values in (cell.c, quantity)]
    chance = math.sqrt(MOVEMENT / max(int(np.isfinite(moved[1]).sum()), 1))
    return math.copysign(1, correlation) * _correlation(*moved) > ABOVE_CHANCE * chance


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation over the pairs in which both have a value; 0 where one of the two does not vary."""
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    spread = float(np.std(a) * np.std(b)) if a.size else 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 0 else 0.0
