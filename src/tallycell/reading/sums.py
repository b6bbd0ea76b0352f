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

from tallycell.reading.arrays import ArrayFields, read_texts
from tallycell.reading.cells import Cells, iterate_cells, middle_step
from tallycell.reading.counting import BY_STIMULUS, COUNTED, OVERALL, add_steps, add_values, run_by_stretch
from tallycell.reading.fitting import Codes, FittedLevels, binary_codes_of, value_codes_of
from tallycell.reading.following import ALL_LAGS, MOVEMENT, movement_of, movement_sums, pair_sums
from tallycell.reading.known import Known, read_known
from tallycell.reading.lanes import in_double, into_lanes, out_of_lanes, stored_as
from tallycell.reading.quantise import middle
from tallycell.reading.saturation import BINS, HIDDEN_OF_C, near_limits
from tallycell.reading.tally import BINARY_RUNGS, RUNGS
from tallycell.reading.triggers import Stimuli

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


CONTEXT = max(ALL_LAGS) + MOVEMENT  # steps back that a comparison with a quantity looks


@dataclass(frozen=True, eq=False)
class Carry(ArrayFields):
    """What one piece of a sequence hands on to the next, besides the state of the network.

    Attributes
    ----------
    tallies, leak
        Tallies of all rungs after the last step, (unit, rung), and what a linear leak holds.
    cells, quantities
        Cells and quantities, about their centers, at the last steps: (step, unit), (step, quantity).
    in_half
        How many of these steps lie in the half of the next piece.
    """

    tallies: Float[np.ndarray, "unit rung"]
    leak: Float[np.ndarray, " unit"]
    cells: Float[np.ndarray, "step unit"]
    quantities: Float[np.ndarray, "step quantity"]
    in_half: Int[np.ndarray, ""]

    def units(self, which: Int[np.ndarray, " unit"]) -> "Carry":
        """Take some units."""
        own = {name: getattr(self, name)[which] for name in ("tallies", "leak")}
        return replace(self, **own, cells=self.cells[:, which])


@dataclass(frozen=True, eq=False)
class Steps:
    """What was read at the steps of one direction, in the order in which it reads.

    Attributes
    ----------
    stimuli
        None where nothing is known.
    seasons
        Which season each step is in; None where there are none.
    quantities
        Known quantities about their centers; NaN where nothing is known.
    middle
        Steps before it are fitted on, the others are quoted on.
    """

    stimuli: Stimuli | None
    seasons: Int[np.ndarray, " step"] | None
    quantities: Float[np.ndarray, "step quantity"]
    middle: int

    def take(self, steps: Int[np.ndarray, " taken"], middle: int) -> "Steps":
        """Take some of the steps, of which those before the middle are fitted on."""
        return Steps(
            None if self.stimuli is None else self.stimuli.take(steps),
            None if self.seasons is None else self.seasons[steps], self.quantities[steps], middle,
        )  # fmt: skip


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


def sum_cells(
    cells: Cells, levels: "Levels", steps: Steps, carry: Carry | None = None
) -> tuple[dict[str, np.ndarray], Carry]:
    """Sum over the steps of some cells, by the names of the fields of :class:`UnitSums`; and what is handed on."""
    y = np.asarray(cells.activations.hidden(cells.c.astype(np.float64)), dtype=np.float64)
    events, leak = _event_sums(cells, levels, steps, y, carry)
    tallies, last = _tally_sums(cells, levels, steps.middle, carry)
    comparisons, context = _comparisons(cells, levels, steps, carry)
    in_half = cells.steps + (0 if carry is None else int(carry.in_half))
    onwards = Carry(last, leak, *context, np.array(min(in_half, CONTEXT)))
    return {**events, **tallies, **_saturation(cells, levels, y), **comparisons}, onwards


def _comparisons(
    cells: Cells, levels: "Levels", steps: Steps, carry: Carry | None
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Sum products with known quantities; and give the last steps, which the next piece compares with."""
    c, quantities = cells.by_unit(cells.c) - levels.marks[:, 0], steps.quantities
    old = 0 if carry is None else len(carry.cells)
    start = np.concatenate([[0], cells.start[1:] + old])
    of_half = [cells.start.clip(0, steps.middle), cells.start.clip(steps.middle)]
    if carry is not None:  # all of the piece lies in one half, and of the piece before what is said to
        c, quantities = np.concatenate([carry.cells, c]), np.concatenate([carry.quantities, quantities])
        in_half, nothing = np.array([old - int(carry.in_half), start[-1]]), np.zeros(2, np.int64)
        of_half = [in_half, nothing] if steps.middle else [nothing, in_half]
    halves = [pair_sums(c, quantities, part.tolist(), counted=old) for part in of_half]
    sums = {
        "halves": np.stack(halves, axis=1),
        "along": movement_sums(c, quantities, start.tolist(), counted=old),
    }
    return sums, (c[-CONTEXT:], quantities[-CONTEXT:])


def _event_sums(
    cells: Cells, levels: "Levels", steps: Steps, y: Float[np.ndarray, "group step lane"], carry: Carry | None
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " unit"]]:
    """Sum what happens at each step, by stimulus and over all steps; and give the linear leak after the last."""
    units, groups, lanes = len(cells.units), len(cells.c), cells.c.shape[-1]
    rows = levels.rows
    slots = cells.activations
    o = np.zeros_like(cells.c) if cells.o is None else cells.o
    limits = (middle(slots.gate), *near_limits(slots.gate), *near_limits(slots.hidden))
    leaks = cells.c_0.copy() if carry is None else into_lanes(carry.leak[np.newaxis])
    by_stimulus = np.zeros((groups, rows, len(BY_STIMULUS), lanes))
    overall = np.zeros((groups, len(OVERALL), lanes))
    extremes = np.stack([np.full((groups, lanes), np.inf), np.full((groups, lanes), -np.inf)], axis=1)
    read = (cells.i, cells.f, cells.g, o, cells.c, y), (cells.start, cells.c_0, leaks)
    room = np.zeros((len(BY_STIMULUS) + len(OVERALL), lanes))
    add_steps(
        in_double(), stored_as(cells.c.dtype), read, into_lanes(levels.marks.T), limits,
        _rows(cells.steps, levels, steps), (by_stimulus, overall, extremes, room),
    )  # fmt: skip
    table = np.moveaxis(out_of_lanes(by_stimulus, units), -1, 0)
    totals = out_of_lanes(overall, units).T
    lowest, highest = out_of_lanes(extremes, units)
    counts, sums = _split(table, BY_STIMULUS)
    all_counts, all_sums = _split(totals, OVERALL)
    summed = {
        "counted": counts, "moved": sums, "counted_in_all": all_counts, "moved_in_all": all_sums, "lowest": lowest,
        "highest": highest,
    }  # fmt: skip
    return summed, out_of_lanes(leaks, units)[-1]


def _split(table: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Part counts from other sums. Doubles count exactly to 2^53."""
    whole = np.array([name in COUNTED for name in names])
    return table[..., whole].round().astype(np.int64), np.ascontiguousarray(table[..., ~whole])


def _rows(count: int, levels: "Levels", steps: Steps) -> tuple[Int[np.ndarray, " step+1"], Int[np.ndarray, " row"]]:
    """List the stimuli of each step, its season, and what stands for all steps."""
    others = [np.full(count, levels.rows - 1)]
    if steps.seasons is not None:
        others.insert(0, levels.first_season + steps.seasons)
    if steps.stimuli is None:
        listed = np.stack(others, axis=1)
        return np.arange(0, listed.size + 1, listed.shape[1]), listed.ravel().astype(np.int64)
    return steps.stimuli.by_step(*others)


def _tally_sums(
    cells: Cells, levels: "Levels", middle: int, carry: Carry | None
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "unit rung"]]:
    """Sum the errors of the tallies of all rungs over the stretches from the middle on; and give the last tallies."""
    edges, begins = stretches_of(cells.start, middle, int(levels.stretch))
    quoted = edges[:-1] >= middle
    binary, values = binary_codes_of(cells), value_codes_of(cells)
    nothing = np.zeros((len(cells.units), 1))
    mean = FittedLevels(nothing, nothing, levels.marks[:, 0])
    squared_c, of_c, _ = _run(values, mean, cells.c_0, (edges, begins))
    lengths = np.broadcast_to(np.diff(edges)[:, np.newaxis], of_c.shape)
    by_rung, last = [], []
    for k, (rung, fitted) in enumerate(zip(RUNGS, levels.ladder(), strict=True)):
        before = cells.c_0 if carry is None else into_lanes(carry.tallies[np.newaxis, :, k])
        squared, errors, tally = _run(binary if rung in BINARY_RUNGS else values, fitted, before, (edges, begins))
        by_rung.append(np.stack([squared, errors, squared_c, of_c, lengths], axis=-1)[quoted])
        last.append(tally)
    moments = np.stack(by_rung)  # (rung, stretch, unit, moment)
    products = np.einsum("rsum,rsun->urmn", moments, moments)
    summed = {"moments": np.ascontiguousarray(np.moveaxis(moments.sum(axis=1), 0, 1)), "products": products}
    return summed, np.stack(last, axis=1)


def stretches_of(
    start: Int[np.ndarray, " sequence+1"], middle: int, stretch: int
) -> tuple[Int[np.ndarray, " stretch+1"], Int[np.ndarray, " stretch"]]:
    """Cut sequences into stretches, at the middle too; the sequence that each begins, or -1.

    Examples
    --------
    >>> [found.tolist() for found in stretches_of(np.array([0, 5, 7]), 3, 2)]
    [[0, 2, 3, 5, 7], [0, -1, -1, 1]]
    """
    begins = start[:-1].tolist()
    cuts = {middle} if 0 < middle < start[-1] else set()
    cut = sorted({*begins, *cuts})
    ends = [*cut[1:], int(start[-1])]
    edges = np.concatenate([np.arange(a, b, stretch) for a, b in zip(cut, ends, strict=True)])
    place = {begin: k for k, begin in enumerate(begins)}
    of_sequence = np.array([place.get(edge, -1) for edge in edges.tolist()])
    return np.append(edges, start[-1]), of_sequence


def _run(
    codes: Codes, fitted: FittedLevels, before: np.ndarray, cuts: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give Σe² and Σe of each stretch, (stretch, unit), and the tally after the last step."""
    cells = codes.cells
    quantised, levels = (codes.written, codes.kept), codes.by_lane(fitted)
    sums, last = run_by_stretch(in_double(), stored_as(cells.c.dtype), quantised, (cells.c, before), levels, cuts)
    by_unit = out_of_lanes(sums, len(cells.units))
    return by_unit[:, 1], by_unit[:, 0], out_of_lanes(last, len(cells.units))


def _saturation(cells: Cells, levels: "Levels", y: np.ndarray) -> dict[str, np.ndarray]:
    """Count gate values near their limits and in bins."""
    units, lanes = len(cells.units), cells.c.shape[-1]
    gates = levels.gates.tolist()
    histogram = np.zeros((len(gates), len(cells.c), BINS, lanes), np.int64)
    sides = np.zeros((len(gates), len(cells.c), 2, lanes), np.int64)
    for k, name in enumerate(gates):
        values = y if name == HIDDEN_OF_C else getattr(cells, name)
        activation = cells.activations.hidden if name == HIDDEN_OF_C else cells.activations.of(name)
        add_values(values, levels.edges_of(k, cells.direction), near_limits(activation), histogram[k], sides[k])
    by_unit = (np.stack([out_of_lanes(one, units) for one in some]) for some in (sides, histogram))
    near, counts = (np.ascontiguousarray(np.moveaxis(one, -1, 0)) for one in by_unit)
    return {"near": near, "histogram": counts}


def _shared(known: Known, levels: "Levels", steps: Steps, middle: int) -> dict[str, np.ndarray]:
    """Sum what is the same for all units."""
    count = int(known.lengths.sum())
    rows = _rows(count, levels, steps)[1]
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
