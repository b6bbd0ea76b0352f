"""What a reading is made of: sums over steps, so that those of parts add up to those of the whole.

With its levels fixed (:mod:`tallycell.reading.levels`), a freely running tally is independent between sequences. So
everything that a reading quotes is a sum over sequences: read in one block, in many, or on many machines.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tallycell.kernels.cpu.threads import number_of_threads
from tallycell.reading.adding import Carry, Steps, compare_cells, rows_of, stretches_of, sum_cells
from tallycell.reading.arrays import ArrayFields, read_texts
from tallycell.reading.cells import Cells, iterate_cells, middle_step
from tallycell.reading.counting import BY_STIMULUS, COUNTED, OVERALL
from tallycell.reading.following import MOVEMENT, movement_of
from tallycell.reading.known import Known, read_known
from tallycell.reading.lanes import slices_of

if TYPE_CHECKING:
    from tallycell.reading.levels import Levels

COUNTS = tuple(name for name in BY_STIMULUS if name in COUNTED)
AMOUNTS = tuple(name for name in BY_STIMULUS if name not in COUNTED)
ALL_COUNTS = tuple(name for name in OVERALL if name in COUNTED)
ALL_AMOUNTS = tuple(name for name in OVERALL if name not in COUNTED)


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
        Number of stretches that R² is quoted on; by rung, the sums over them of Σe², Σe, Σc², Σc and steps, e being
        c - ĉ and c about a value near its mean, and of the products of any two of these: (unit, rung, moment),
        (unit, rung, moment, moment).
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
    steps = steps_by_direction(known, levels, middle)
    parts: list[dict[str, np.ndarray]] = []
    for cells in iterate_cells(known.trace):
        parts.append(sum_side_by_side(cells, levels, steps[cells.direction])[0])
    return gather(parts, levels, steps[levels.directions[0]])


def gather(parts: Sequence[dict[str, np.ndarray]], levels: "Levels", steps: Steps) -> UnitSums:
    """Put the sums of some cells each together, with those that are the same for all."""
    return UnitSums(**_side_by_side(parts), **_shared(levels, steps))


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
    (steps,) = steps_by_direction(known, levels, 0 if tested else int(known.lengths.sum())).values()
    done = []
    units = 0
    for cells in iterate_cells(known.trace):
        which = slice(units, units + len(cells.units))
        units = which.stop
        done.append(sum_side_by_side(cells, levels, steps, None if carry is None else carry.units(which)))
    handed = [carried for _, carried in done]
    onwards = replace(
        handed[0], tallies=np.concatenate([one.tallies for one in handed]),
        leak=np.concatenate([one.leak for one in handed]), cells=np.concatenate([one.cells for one in handed], axis=1),
    )  # fmt: skip
    sums = gather([part for part, _ in done], levels, steps)
    if carry is None:
        return sums, onwards
    # Movements that began in the piece before end in this one.
    began = np.full(len(sums.movements), min(len(carry.cells), MOVEMENT))
    missed = np.minimum(began, np.maximum(int(known.lengths[0]) + began - MOVEMENT, 0))
    return replace(sums, movements=sums.movements + missed), onwards


def sum_side_by_side(
    cells: Cells, levels: "Levels", steps: Steps, carry: Carry | None = None
) -> tuple[dict[str, np.ndarray], Carry]:
    """Sum over the steps of cells of one layer and direction, some of them at a time."""
    here = np.flatnonzero((levels.layer == cells.layer) & (levels.direction == cells.direction))
    lanes = cells.c.shape[-1]
    with ThreadPoolExecutor(number_of_threads()) as pool:
        comparing = pool.submit(compare_cells, cells, levels.units(here), steps, carry)

        def sum_some(groups: slice) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
            """Sum over some cells, made here, so that what they work out by the way goes with them."""
            which = slice(groups.start * lanes, groups.stop * lanes)
            handed_on = None if carry is None else carry.units(which)
            return sum_cells(cells.some(groups), levels.units(here[which]), steps, handed_on)

        summed, handed = zip(*pool.map(sum_some, slices_of(len(cells.c), cells.steps)), strict=True)
        sums, context = comparing.result()
    return _side_by_side(summed) | sums, Carry(**_side_by_side(handed), **context)


def _side_by_side(some: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join arrays over units, by their names."""
    return {name: np.concatenate([one[name] for one in some]) for name in some[0]}


def steps_by_direction(known: Known, levels: "Levels", middle: int) -> dict[str, Steps]:
    """Give what was read at the steps of each direction, as it reads."""
    return {direction: _steps_of(known, levels, direction, middle) for direction in levels.directions}


def _steps_of(known: Known, levels: "Levels", direction: str, middle: int) -> Steps:
    seasons, features = read_texts(levels.seasons), known.features(direction, as_read=True)
    return Steps(
        levels.stimuli(known, direction),
        known.clock(direction).seasons_of_steps(seasons) if seasons else None,
        known.quantities_at(direction, read_texts(levels.quantities)) - levels.quantity_centers,
        None if features is None else features.values - levels.feature_centers[:, np.newaxis],
        np.concatenate([[0], np.cumsum(known.lengths)]),
        middle,
    )


def _shared(levels: "Levels", steps: Steps) -> dict[str, np.ndarray]:
    """Sum what is the same for all units."""
    count, middle = len(steps.quantities), steps.middle
    rows = rows_of(count, levels, steps)[1]
    there = np.isfinite(steps.quantities)
    movements = [
        sum(len(movement_of(np.flatnonzero(one[a:b]))[0]) for a, b in pairwise(steps.start.tolist())) for one in there.T
    ]
    about = steps.features
    quoted = stretches_of(steps.start, middle, int(levels.stretch))[0][:-1] >= middle
    return {
        "steps": np.array([middle, count - middle]),
        "seen": np.bincount(rows, minlength=levels.rows),
        "known": np.stack([there[:middle].sum(axis=0), there[middle:].sum(axis=0)]),
        "movements": np.array(movements, dtype=np.int64),
        "stretches": np.array(int(quoted.sum())),
        "features": np.zeros((0, 2)) if about is None else np.stack([about.sum(1), (about**2).sum(1)], axis=1),
    }
