"""What a cell does at every step, told by its own step sizes: moved, reset, set, cleared, shown."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from tallycell.reading.cells import Cell
from tallycell.reading.events import EXPOSE, exposed
from tallycell.reading.free_run import run_tally
from tallycell.reading.tally import Tally, lloyd_levels, middle, nearest_level

HIDDEN = EXPOSE.index("hidden")  # below it are the two signs
SMALLEST_STEP = 0.25  # of the cell's largest write level: a smaller level is no step
FEWEST_STEPS = 5  # a step that is taken less often is none


@dataclass(frozen=True, eq=False)
class TwoValues:
    """A cell as if it had two values only, as a flag has.

    Attributes
    ----------
    low, high
        The two values that explain it best, by Lloyd's algorithm.
    explained
        Share of var(c) that they explain.
    before, after
        Whether the cell is nearer to the high value before, and after, each step.
    at_once
        Of the changes from low to high, and of those from high to low, the share that a single step makes (it moves by
        half the distance or more); the smaller of the two.
    beyond
        Of all such large moves, the share that go on from where the cell is already: up from high, down from low.
    """

    low: float
    high: float
    explained: float
    before: Bool[np.ndarray, " step"]
    after: Bool[np.ndarray, " step"]
    at_once: float
    beyond: float

    @property
    def rests_high(self) -> bool:
        """Whether the value nearer to 0, at which it rests, is the high one."""
        return abs(self.high) < abs(self.low)

    @property
    def set_at(self) -> Bool[np.ndarray, " step"]:
        """Steps that take it from where it rests to the other value."""
        taken: np.ndarray = ~self.is_set & (self.after != self.before)
        return taken

    @property
    def cleared_at(self) -> Bool[np.ndarray, " step"]:
        """Steps that take it back."""
        taken: np.ndarray = self.is_set & (self.after != self.before)
        return taken

    @property
    def is_set(self) -> Bool[np.ndarray, " step"]:
        """Whether it is set before each step."""
        return ~self.before if self.rests_high else self.before


@dataclass(frozen=True)
class Exposure:
    """What the output gate lets out of a cell, as shares of all steps: h = o hidden(c).

    Attributes
    ----------
    sign
        The gate is open and hidden(c) is at a limit: h is a sign.
    nothing
        The gate is shut, or h within a tenth of 0.
    open
        o is above the middle of its limits, more than half of hidden(c) is let out.
    """

    sign: float
    nothing: float
    open: float

    @property
    def between(self) -> float:
        """Something between a sign and nothing."""
        return max(0.0, 1 - self.sign - self.nothing)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a cell does at every step.

    Attributes
    ----------
    cell
        Which.
    up, down
        Its largest write level and its smallest (negative); 0 where that is no step, or is not taken.
    resets
        f is below the middle of its limits: more than half of the cell is forgotten.
    increments, decrements
        The write is nearer to the step up (down) than to none.
    """

    cell: Cell
    up: float
    down: float
    resets: Bool[np.ndarray, " step"]
    increments: Bool[np.ndarray, " step"]
    decrements: Bool[np.ndarray, " step"]

    @cached_property
    def time_constant(self) -> float:
        """Steps after which a cell that is not reset has forgotten all but 1/e."""
        return self.cell.time_constant(~self.resets)

    @cached_property
    def memory(self) -> float:
        """The same with resets: see :meth:`~tallycell.reading.cells.Cell.memory`."""
        return self.cell.memory()

    @cached_property
    def two_values(self) -> TwoValues:
        """The cell as a flag would have it."""
        return _two_values(self.cell)

    @cached_property
    def reset_by_moves(self) -> float:
        """Share of its steps up and down at which it is reset too: it overwrites instead of counting."""
        moves = self.increments | self.decrements
        return float(self.resets[moves].mean()) if moves.any() else 0.0

    @cached_property
    def same_step(self) -> float:
        """Of the steps that do not reset, the share that write the same amount within a quarter of it."""
        write = self.cell.write[~self.resets]
        usual = float(np.median(write)) if write.size else 0.0
        return float((np.abs(write - usual) <= abs(usual) / 4).mean()) if usual else 0.0

    @cached_property
    def stepwise(self) -> float:
        """Share of what it writes, by squares, that steps of one size up and one size down make."""
        write = self.cell.write
        up, down = _one_step(write), -_one_step(-write)
        rest = write - np.select([write > up / 2, write < down / 2], [up, down], 0.0)
        total = float(np.square(write).sum())
        return 1 - float(np.square(rest).sum()) / total if total else 0.0

    @cached_property
    def constant_leak(self) -> float:
        """Share of var(c) that the cell's own writes explain, kept at one share a step: a linear store."""
        keep = 0.0 if self.time_constant == 0 else math.exp(-1 / self.time_constant)
        return _explained_by_leak(self.cell, keep)

    @cached_property
    def exposure(self) -> Exposure | None:
        """What the output gate lets out; None where the trace does not hold it."""
        cell = self.cell
        if cell.o is None:
            return None
        codes = exposed(cell.o, cell.c, cell.activations)
        return Exposure(float((codes < HIDDEN).mean()), float((codes == HIDDEN).mean()), float(self.shown.mean()))

    @cached_property
    def shown(self) -> Bool[np.ndarray, " step"]:
        """Steps at which o is above the middle of its limits; all where the trace does not hold it."""
        if self.cell.o is None:
            return np.ones(len(self.cell.c), dtype=bool)
        shown: np.ndarray = self.cell.o > middle(self.cell.activations.gate)
        return shown


def behaviour_of(cell: Cell, tally: Tally) -> Behaviour:
    """Tell what a cell does at every step, with the levels of the tally that is quoted for it."""
    up, increments = _steps_taken(cell.write, float(tally.write_levels.max()), tally)
    minus_down, decrements = _steps_taken(-cell.write, -float(tally.write_levels.min()), tally)
    return Behaviour(cell, up, -minus_down, cell.f < middle(cell.activations.gate), increments, decrements)


def _steps_taken(write: np.ndarray, size: float, tally: Tally) -> tuple[float, Bool[np.ndarray, " step"]]:
    """Size of a step, 0 if there is none, and where it is taken: where the write is nearer to it than to nothing."""
    taken = write > size / 2
    if size <= SMALLEST_STEP * float(np.abs(tally.write_levels).max()) or taken.sum() < FEWEST_STEPS:
        return 0.0, np.zeros(len(write), dtype=bool)
    return size, taken


def _two_values(cell: Cell) -> TwoValues:
    low, high = lloyd_levels(cell.c, np.ones(len(cell.c)), 2).tolist()
    levels, previous = np.array([low, high]), cell.before()
    before, after = nearest_level(previous, levels) == 1, nearest_level(cell.c, levels) == 1
    variance, moved = float(np.var(cell.c)), cell.c - previous
    rises, falls = moved > (high - low) / 2, moved < (low - high) / 2
    to_high, to_low = ~before & after, before & ~after
    at_once = min(float(large[change].mean()) if change.any() else 0.0 for large, change in
                  ((rises, to_high), (falls, to_low)))  # fmt: skip
    large = int(rises.sum() + falls.sum())
    return TwoValues(
        low, high, 1 - float(np.mean((cell.c - np.where(after, high, low)) ** 2)) / variance if variance else 0.0,
        before, after, at_once, int((rises & before).sum() + (falls & ~before).sum()) / large if large else 0.0,
    )  # fmt: skip


def _one_step(write: Float[np.ndarray, " step"]) -> float:
    """Size of the step up that explains the writes upwards best, each counted as that or as nothing; 0 if none is."""
    upwards = write[write > 0]
    if not upwards.size:
        return 0.0
    mirrored = np.concatenate([upwards, -upwards])  # so that the middle one of three levels is nothing
    return float(lloyd_levels(mirrored, np.ones(len(mirrored)), 3)[-1])


def _explained_by_leak(cell: Cell, keep: float) -> float:
    steps = len(cell.c)
    every, one = np.arange(steps), np.zeros(steps, np.int64)
    explained = run_tally(every, one, cell.write, np.array([keep]), cell.start, cell.c_0)
    variance = float(np.var(cell.c))
    return 1 - float(np.var(cell.c - explained)) / variance if variance else 0.0
