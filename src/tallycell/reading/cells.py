"""One cell of a trace at a time, in the order in which its direction reads."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from tallycell.errors import InputError, TraceError
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, SEQUENCE, STEP, TIME, UNIT
from tallycell.parameters import Activations
from tallycell.trace.schema import activations_of

NEEDED = ("i", "f", "g", "c", "c_0", "length")
MOST_FITTED = 50_000  # steps that levels are fitted on: more change them by less than they are quoted with
STRETCH = 5_000  # steps in one piece, where a sequence is longer than that and not all of it is fitted on
LEAST_KEPT = 1e-12  # share of a cell: what f leaves is never said to be less
UNITS_AT_ONCE = 16  # turned into rows together: all units would be a second copy of the trace


@dataclass(frozen=True, eq=False)
class Cell:
    """Everything a tally may look at, and the cell it is to explain.

    The steps of all sequences stand end to end, without padding, each sequence in the order of reading: in the
    reverse direction from its last step to its first.

    Attributes
    ----------
    layer, direction, unit
        Which cell.
    i, f, g, c
        Gates and cell state.
    o
        The output gate; None if the trace does not hold it.
    start
        First step of each sequence in the arrays, and the number of all steps: (sequence + 1,).
    c_0
        The cell before each sequence.
    activations
        The squashing functions of the direction.
    """

    layer: int
    direction: str
    unit: int
    i: Float[np.ndarray, " step"]
    f: Float[np.ndarray, " step"]
    g: Float[np.ndarray, " step"]
    c: Float[np.ndarray, " step"]
    start: Int[np.ndarray, " sequence+1"]
    c_0: Float[np.ndarray, " sequence"]
    activations: Activations
    o: Float[np.ndarray, " step"] | None = None

    @property
    def write(self) -> Float[np.ndarray, " step"]:
        """What each step adds to the cell, i g."""
        written: np.ndarray = self.i * self.g
        return written

    def before(self) -> Float[np.ndarray, " step"]:
        """Give the cell before each step."""
        before = np.roll(self.c, 1)
        before[self.start[:-1]] = self.c_0
        return before

    @cached_property
    def held(self) -> Float[np.ndarray, " step"]:
        """Give what the cell holds before each step: how far it stands from where it rests.

        It rests where forgetting brings it: the mean of c over the steps, each by the share it forgets. That is 0 in a
        cell that is reset to nothing, and elsewhere what it is written without end while it forgets.
        """
        forgets = 1 - self._kept
        total = float(forgets.sum())
        rest = float(forgets @ self.c) / total if total > 0 else 0.0
        held: np.ndarray = np.abs(self.before() - rest)
        return held

    @cached_property
    def _kept(self) -> Float[np.ndarray, " step"]:
        """Share of the cell that each step keeps. An f above 1 (a relu gate) grows; it forgets nothing."""
        kept: np.ndarray = np.clip(np.abs(self.f), LEAST_KEPT, 1.0)
        return kept

    def time_constant(self, kept: Bool[np.ndarray, " step"]) -> float:
        """Count the steps in which the cell forgets what it holds down to 1/e, over the steps that are said to keep.

        0 if no step keeps, infinite if nothing is lost.
        """
        held = self.held[kept]
        total, lost = float(held.sum()), -float(held @ np.log(self._kept[kept]))
        return 0.0 if total == 0 else math.inf if lost <= 0 else total / lost

    def memory(self) -> float:
        """Count the steps in which the cell forgets what it holds down to 1/e, on average, resets included.

        sum held / sum held min(-ln f, 1): a step forgets at most all, and what is not there cannot be forgotten. A cell
        that keeps 0.7 a step has 2.8 steps; one that counts to 40 and is reset has 20, the steps that it carries on
        average; one that is never reset and loses nothing infinitely many; one that never holds anything none.
        """
        held, forgotten = float(self.held.sum()), float(self.held @ np.minimum(-np.log(self._kept), 1.0))
        return 0.0 if held == 0 else math.inf if forgotten <= 0 else held / forgotten

    def movements(self) -> float:
        """Count how often the cell is moved: the effective number of its writes, or of its losses if that is more.

        The effective number of some amounts, (sum of |a|)² / (sum of a²), is k for k alike and near 1 where one stands
        out (Hill's number of order 2).
        """
        amounts = (self.write, (1 - self.f) * self.before())
        return max(float(np.abs(a).sum() ** 2 / max(np.square(a).sum(), 1e-300)) for a in amounts)

    @property
    def halves(self) -> tuple[slice, slice]:
        """Steps to fit on and steps to quote on: halves of the sequences, or of the steps if there is only one."""
        middle = middle_step(np.diff(self.start))
        return slice(0, middle), slice(middle, None)

    def fitting_part(self) -> "Cell":
        """Take the steps that levels are fitted on: the first half, or whole stretches spread evenly over it.

        There are at most ``MOST_FITTED`` steps, unless a single stretch is longer. Each stretch starts from the cell as
        it was before.
        """
        middle = self.halves[0].stop
        edges = np.unique(np.minimum(self.start, middle))
        chosen = np.arange(len(edges) - 1)
        if middle > MOST_FITTED:
            cuts = [np.arange(a, b, STRETCH) for a, b in pairwise(edges.tolist())]
            edges = np.concatenate([*cuts, [middle]])
            pieces = len(edges) - 1
            chosen = np.linspace(0, pieces - 1, max(1, pieces * MOST_FITTED // middle)).round().astype(np.int64)
        begin, end = edges[chosen], edges[chosen + 1]
        steps = np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
        rows = {name: getattr(self, name)[steps] for name in ("i", "f", "g", "c")}
        rows["o"] = None if self.o is None else self.o[steps]
        start = np.concatenate([[0], np.cumsum(end - begin)])
        return replace(self, **rows, start=start, c_0=self.before()[begin])


def middle_step(lengths: Int[np.ndarray, " sequence"]) -> int:
    """Count the steps of the first half of some sequences; of one sequence, the half of its steps.

    Examples
    --------
    >>> middle_step(np.array([10, 20, 5])), middle_step(np.array([9]))
    (30, 4)
    """
    return int(lengths[0]) // 2 if len(lengths) == 1 else int(lengths[: (len(lengths) + 1) // 2].sum())


def order_of_reading(trace: xr.Dataset, direction: str) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"]]:
    """Sequence and position in time of every step that is not padding, sequence by sequence as the direction reads.

    Raises
    ------
    TraceError
        If the trace does not hold every step from the first.
    """
    steps = trace[STEP].to_numpy()
    if not np.array_equal(steps, np.arange(len(steps))) or int(trace["length"].max()) > len(steps):
        raise TraceError(
            f"the trace holds the steps {steps[:3].tolist()}...; a tally runs from the first step on, so record with "
            "all steps (Record(steps=slice(None)))"
        )
    lengths = trace["length"].to_numpy()
    positions = [np.arange(n)[::-1] if direction == DIRECTIONS[1] else np.arange(n) for n in lengths]
    return np.repeat(np.arange(len(lengths)), lengths), np.concatenate(positions)


def iterate_cells(trace: xr.Dataset) -> Iterator[Cell]:
    """Every cell of a trace, by layer, direction and unit.

    Raises
    ------
    TraceError
        If the trace lacks a variable that a tally looks at, or holds only some of the steps.
    InputError
        If there is only one step.
    ActivationError
        If an activation does not state its limits.
    """
    if missing := [name for name in NEEDED if name not in trace]:
        raise TraceError(f"the trace lacks {', '.join(missing)}; record {', '.join(NEEDED[:4])} to read units")
    start = np.concatenate([[0], np.cumsum(trace["length"].to_numpy())])
    if start[-1] < 2:
        raise InputError(
            "the trace has 1 step; a tally is fitted on one half of the steps and tested on the other: give more"
        )
    for d, direction in enumerate(trace[DIRECTION].to_numpy().tolist()):
        activations = activations_of(trace, d)
        for slot in (activations.gate, activations.cell, activations.hidden):
            slot.require_limits()
        sequence, position = order_of_reading(trace, direction)
        for layer, first in product(trace[LAYER].to_numpy().tolist(), range(0, trace.sizes[UNIT], UNITS_AT_ONCE)):
            here = trace.sel({LAYER: layer, DIRECTION: direction}).isel({UNIT: slice(first, first + UNITS_AT_ONCE)})
            steps = {
                # (unit, step), one contiguous row a unit; only the row of a cell is ever held in float64.
                name: np.ascontiguousarray(here[name].transpose(SEQUENCE, TIME, UNIT).to_numpy()[sequence, position].T)
                for name in (*NEEDED[:4], *(["o"] if "o" in here else []))
            }
            c_0 = here["c_0"].transpose(UNIT, SEQUENCE).to_numpy().astype(np.float64)
            for k, unit in enumerate(here[UNIT].to_numpy().tolist()):
                rows = {name: values[k].astype(np.float64) for name, values in steps.items()}
                yield Cell(layer, direction, unit, **rows, start=start, c_0=c_0[k], activations=activations)
