"""What the steps of some cells add up to, with levels that are fixed; and what one piece hands on to the next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from tallycell.reading.arrays import ArrayFields
from tallycell.reading.cells import Cells
from tallycell.reading.counting import BY_STIMULUS, COUNTED, OVERALL, add_steps, add_values
from tallycell.reading.fitting import FittedLevels, binary_codes_of, value_codes_of
from tallycell.reading.following import ALL_LAGS, MOVEMENT, movement_sums, pair_sums
from tallycell.reading.lanes import in_double, into_lanes, out_of_lanes, stored_as
from tallycell.reading.quantise import middle
from tallycell.reading.saturation import BINS, HIDDEN_OF_C, near_limits
from tallycell.reading.tally import BINARY_RUNGS, RUNGS
from tallycell.reading.triggers import Stimuli

if TYPE_CHECKING:
    from tallycell.reading.levels import Levels

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

    def units(self, which: slice) -> "Carry":
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
    features
        Input features as the network reads them, about their centers; None where none are known.
    start
        First step of each sequence, and the number of all steps.
    middle
        Steps before it are fitted on, the others are quoted on.
    """

    stimuli: Stimuli | None
    seasons: Int[np.ndarray, " step"] | None
    quantities: Float[np.ndarray, "step quantity"]
    features: Float[np.ndarray, "feature step"] | None
    start: Int[np.ndarray, " sequence+1"]
    middle: int

    def take(self, steps: Int[np.ndarray, " taken"], start: Int[np.ndarray, " sequence+1"], middle: int) -> "Steps":
        """Take some of the steps, in other sequences, of which those before the middle are fitted on."""
        return Steps(
            None if self.stimuli is None else self.stimuli.take(steps),
            None if self.seasons is None else self.seasons[steps], self.quantities[steps],
            None if self.features is None else self.features[:, steps], start, middle,
        )  # fmt: skip


def sum_cells(
    cells: Cells, levels: "Levels", steps: Steps, carry: Carry | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sum over the steps of some cells, by the fields of ``UnitSums``; and what is handed on, by those of ``Carry``."""
    y = np.asarray(cells.activations.hidden(cells.c.astype(np.float64)), dtype=np.float64)
    events, leak = _event_sums(cells, levels, steps, y, carry)
    tallies, last = _tally_sums(cells, levels, steps.middle, carry)
    return {**events, **tallies, **_saturation(cells, levels, y)}, {"tallies": last, "leak": leak}


def compare_cells(
    cells: Cells, levels: "Levels", steps: Steps, carry: Carry | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:  # fmt: skip
    """Sum products with known quantities, as :func:`sum_cells`; the next piece compares with the last steps.

    What is made of the quantities is the same for all units, and takes longer than the products with a few of them.
    """
    quantities = steps.quantities
    compared = cells.c if quantities.shape[1] else cells.c[:, -CONTEXT:]  # what is compared with nothing is handed on
    c = cells.by_unit(compared) - levels.marks[:, 0]
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
    lie_in_half = cells.steps + (0 if carry is None else int(carry.in_half))
    handed_on = {"cells": c[-CONTEXT:], "quantities": quantities[-CONTEXT:]}
    return sums, handed_on | {"in_half": np.array(min(lie_in_half, CONTEXT))}


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
        rows_of(cells.steps, levels, steps), (by_stimulus, overall, extremes, room),
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


def rows_of(count: int, levels: "Levels", steps: Steps) -> tuple[Int[np.ndarray, " step+1"], Int[np.ndarray, " row"]]:
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
    (of_c, squared_c), _ = values.run(mean, cells.c_0, (edges, begins))
    lengths = np.broadcast_to(np.diff(edges)[:, np.newaxis], of_c.shape)
    by_rung, last = [], []
    for k, (rung, fitted) in enumerate(zip(RUNGS, levels.ladder(), strict=True)):
        before = cells.c_0 if carry is None else into_lanes(carry.tallies[np.newaxis, :, k])
        codes = binary if rung in BINARY_RUNGS else values
        (errors, squared), tally = codes.run(fitted, before, (edges, begins))
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
