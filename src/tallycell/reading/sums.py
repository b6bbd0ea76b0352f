"""What a reading is made of: sums over steps, so that those of parts add up to those of the whole.

With its levels fixed (:mod:`tallycell.reading.levels`), a freely running tally is independent between sequences. So
everything that a reading quotes is a sum over sequences: read in one block, in many, or on many machines.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tallycell.reading.adding import Carry, Steps, rows_of, stretches_of, sum_cells
from tallycell.reading.arrays import ArrayFields, read_texts
from tallycell.reading.cells import Cells, iterate_cells, middle_step
from tallycell.reading.counting import BY_STIMULUS, COUNTED, OVERALL
from tallycell.reading.following import MOVEMENT, movement_of
from tallycell.reading.known import Known, read_known

if TYPE_CHECKING:
    from tallycell.reading.levels import Levels

GROUPS_AT_ONCE = 8  # vectors of units that a thread reads together
COUNTS = tuple(name for name in BY_STIMULUS if name in COUNTED)
AMOUNTS = tuple(name for name in BY_STIMULUS if name not in COUNTED)
ALL_COUNTS = tuple(name for name in OVERALL if name in COUNTED)
ALL_AMOUNTS = tuple(name for name in OVERALL if name not in COUNTED)
MOMENTS = ("squared error", "error", "squared c", "c", "steps")  # of a stretch


@dataclass(frozen=True, eq=False)
class UnitSums(ArrayFields):
    """Sums over steps, by unit. Counts are whole numbers and exact; other sums are double precision.

    Attributes
    ----------
    steps
        Steps that levels are fitted on, and steps that R² is quoted on: (half,).
    seen
        Steps with each stimulus. After those of :class:`~tallycell.reading.levels.Levels` come any other symbol, the
        seasons, and all steps.
    counted, moved
        What happens at the steps with each stimulus: (unit, stimulus, count), by ``COUNTS``, and (unit, stimulus, sum),
        by ``AMOUNTS``.
    counted_in_all, moved_in_all
        What is added up over all steps only, by ``ALL_COUNTS`` and ``ALL_AMOUNTS``.
    lowest, highest
        Of the cells.
    stretches, moments, products
        Number of stretches that R² is quoted on; by rung, the sums over them of ``MOMENTS``, and of the products of any
        two of these: (unit, rung, moment), (unit, rung, moment, moment).
    near, histogram
        Gate values near their left and right limits, and in each bin: (unit, gate, side), (unit, gate, bin).
    known, movements
        Values of each quantity on either half, (half, quantity), and its movements.
    halves, along
        As :func:`~tallycell.reading.following.pair_sums` gives them, (unit, half, quantity, lag, sum), and
        :func:`~tallycell.reading.following.movement_sums`.
    features
        Sum and sum of squares of each input feature, about its center.
    """

    steps: Int[np.ndarray, " half"]
    seen: Int[np.ndarray, " stimulus"]
    counted: Int[np.ndarray, "unit stimulus count"]
    moved: Float[np.ndarray, "unit stimulus sum"]
    counted_in_all: Int[np.ndarray, "unit count"]
    moved_in_all: Float[np.ndarray, "unit sum"]
    lowest: Float[np.ndarray, " unit"]
    highest: Float[np.ndarray, " unit"]
    stretches: Int[np.ndarray, ""]
    moments: Float[np.ndarray, "unit rung moment"]
    products: Float[np.ndarray, "unit rung moment moment"]
    near: Int[np.ndarray, "unit gate side"]
    histogram: Int[np.ndarray, "unit gate bin"]
    known: Int[np.ndarray, "half quantity"]
    movements: Int[np.ndarray, " quantity"]
    halves: Float[np.ndarray, "unit half quantity lag sum"]
    along: Float[np.ndarray, "unit quantity lag sum"]
    features: Float[np.ndarray, "feature sum"]

    def __add__(self, other: "UnitSums") -> "UnitSums":
        mine, theirs = self.to_arrays(), other.to_arrays()
        how = {"lowest": np.minimum, "highest": np.maximum}
        return UnitSums(**{name: np.asarray(how.get(name, np.add)(mine[name], theirs[name])) for name in mine})


def sum_block(
    trace: xr.Dataset,
    levels: "Levels",
    tokens: Any = None,
    quantities: Any = None,
    *,
    vocabulary: Sequence[str] | None = None,
    tested: bool | None = None,
) -> UnitSums:
    """Sum over all steps of a trace what a reading is made of, with levels that are fixed.

    Parameters
    ----------
    trace, tokens, quantities, vocabulary
        As :func:`~tallycell.reading.units.read_units` takes them; whole sequences.
    levels
        As :func:`~tallycell.reading.levels.fit_levels` gave them.
    tested
        Whether R² is quoted on these steps, or they are those that levels were fitted on. If None, the first half of
        the sequences, or of the steps if there is one sequence, was fitted on.

    Returns
    -------
    UnitSums
        Those of two blocks add up.

    Raises
    ------
    TraceError, InputError, ActivationError
        As :func:`~tallycell.reading.units.read_units`.
    """
    return sum_known(read_known(trace, tokens, quantities, vocabulary), levels, tested=tested)


def sum_known(known: Known, levels: "Levels", *, tested: bool | None) -> UnitSums:
    """Sum a trace together with what is known of it, as :func:`sum_block` does."""
    lengths = known.lengths
    middle = {None: middle_step(lengths), True: 0, False: int(lengths.sum())}[tested]
    parts: list[dict[str, np.ndarray]] = []
    for cells in iterate_cells(known.trace):
        steps = steps_of(known, levels, cells.direction, middle)
        parts += [part for part, _ in sum_side_by_side(cells, levels, steps)]
    return gather(parts, known, levels, middle)


def gather(parts: Sequence[dict[str, np.ndarray]], known: Known, levels: "Levels", middle: int) -> UnitSums:
    """Put the sums of some cells each together, with those that are the same for all."""
    by_unit = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return UnitSums(**by_unit, **_shared(known, levels, steps_of(known, levels, levels.direction[0], middle), middle))


def sum_piece(
    known: Known, levels: "Levels", carry: Carry | None, *, tested: bool
) -> tuple[UnitSums, Carry]:  # fmt: skip
    """Sum a piece of one long sequence, which goes on where the one before ended.

    Parameters
    ----------
    known
        One sequence, read forwards, whose quantities have a value at every step. Its initial state is the last of the
        piece before; its steps are a multiple of ``levels.stretch``, but for the last piece of either half.
    levels
        As :func:`~tallycell.reading.levels.fit_levels` gave them.
    carry
        What the piece before handed on; None for the first.
    tested
        Whether R² is quoted on these steps. Where that changes, give ``carry`` with ``in_half`` 0.

    Returns
    -------
    tuple
        The sums, and what the next piece needs.
    """
    middle = 0 if tested else int(known.lengths.sum())
    done: list[tuple[dict[str, np.ndarray], Carry]] = []
    for cells in iterate_cells(known.trace):
        done += sum_side_by_side(cells, levels, steps_of(known, levels, cells.direction, middle), carry)
    handed = [carried for _, carried in done]
    onwards = replace(
        handed[0], tallies=np.concatenate([one.tallies for one in handed]),
        leak=np.concatenate([one.leak for one in handed]), cells=np.concatenate([one.cells for one in handed], axis=1),
    )  # fmt: skip
    sums = gather([part for part, _ in done], known, levels, middle)
    if carry is None:
        return sums, onwards
    # Movements that began in the piece before end in this one.
    began = np.full(len(sums.movements), min(len(carry.cells), MOVEMENT))
    missed = np.minimum(began, np.maximum(int(known.lengths[0]) + began - MOVEMENT, 0))
    return replace(sums, movements=sums.movements + missed), onwards


def sum_side_by_side(
    cells: Cells, levels: "Levels", steps: "Steps", carry: Carry | None = None
) -> Iterator[tuple[dict[str, np.ndarray], Carry]]:
    """Sum over the steps of cells of one layer and direction, some of them at a time."""
    here = np.flatnonzero((levels.layer == cells.layer) & (levels.direction == cells.direction))
    lanes = cells.c.shape[-1]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = []
        for first in range(0, len(cells.c), GROUPS_AT_ONCE):
            which = here[first * lanes : (first + GROUPS_AT_ONCE) * lanes]
            some = cells.some(slice(first, first + GROUPS_AT_ONCE))
            jobs.append((some, levels.units(which), steps, None if carry is None else carry.units(which)))
        yield from pool.map(lambda job: sum_cells(*job), jobs)


def steps_of(known: Known, levels: "Levels", direction: str, middle: int) -> Steps:
    """Give what was read at the steps of a direction."""
    seasons = read_texts(levels.seasons)
    return Steps(
        levels.stimuli(known, direction),
        known.clock(direction).seasons_of_steps(seasons) if seasons else None,
        known.quantities_at(direction, read_texts(levels.quantities)) - levels.quantity_centers,
        middle,
    )


def _shared(known: Known, levels: "Levels", steps: Steps, middle: int) -> dict[str, np.ndarray]:
    """Sum what is the same for all units."""
    count = int(known.lengths.sum())
    rows = rows_of(count, levels, steps)[1]
    there = np.isfinite(steps.quantities)
    start = np.concatenate([[0], np.cumsum(known.lengths)])
    movements = [
        sum(len(movement_of(np.flatnonzero(one[a:b]))[0]) for a, b in pairwise(start.tolist())) for one in there.T
    ]
    features = known.features(levels.direction[0], as_read=True)
    about = None if features is None else features.values - levels.feature_centers[:, np.newaxis]
    quoted = stretches_of(start, middle, int(levels.stretch))[0][:-1] >= middle
    return {
        "steps": np.array([middle, count - middle]),
        "seen": np.bincount(rows, minlength=levels.rows),
        "known": np.stack([there[:middle].sum(axis=0), there[middle:].sum(axis=0)]),
        "movements": np.array(movements, dtype=np.int64),
        "stretches": np.array(int(quoted.sum())),
        "features": np.zeros((0, 2)) if about is None else np.stack([about.sum(1), (about**2).sum(1)], axis=1),
    }
