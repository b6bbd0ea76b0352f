"""What a cell does, told by its own step sizes: how often it is moved, reset, set and shown, how long it keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallycell.reading.counting import MARKS
from tallycell.reading.levels import Levels
from tallycell.reading.marks import time_constant
from tallycell.reading.sums import ALL_AMOUNTS, ALL_COUNTS, COUNTS, UnitSums
from tallycell.reading.tally import CONSTANT_VARIANCE, FittedRung

SMALLEST_STEP = 0.25  # of the cell's largest write level: a smaller level is no step
FEWEST_STEPS = 5  # a step that is taken less often is none


@dataclass(frozen=True)
class TwoValues:
    """A cell as if it had two values only, as a flag has.

    Attributes
    ----------
    low, high
        The two values that explain it best, by Lloyd's algorithm.
    explained
        Share of var(c) that they explain.
    at_once
        Of the changes from low to high, and of those from high to low, the share that a single step makes (it moves by
        half the distance or more); the smaller of the two.
    beyond
        Of all such large moves, the share that go on from where the cell is already: up from high, down from low.
    set, cleared
        Share of the steps that take it from where it rests to the other value, and back.
    """

    low: float
    high: float
    explained: float
    at_once: float
    beyond: float
    set: float
    cleared: float

    @property
    def rests_high(self) -> bool:
        """Whether the value nearer to 0, at which it rests, is the high one."""
        return abs(self.high) < abs(self.low)


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


@dataclass(frozen=True)
class Behaviour:
    """What a cell does, over all steps.

    Attributes
    ----------
    steps
        How many there are.
    constant
        Whether the cell never moves: its variance is below 1e-9.
    movements
        How often it is moved: the effective number of its writes, or of its losses if that is more.

        The effective number of some amounts, (sum of sizes)² / (sum of squares), is k for k alike and near 1 where one
        stands out (Hill's number of order 2).
    carried
        Share of var(c) that what is kept, f c_before, has.
    up, down
        Its largest write level and its smallest (negative); 0 where that is no step, or is not taken.
    increments, decrements
        Share of the steps at which the write is nearer to the step up (down) than to none.
    time_constant
        Steps after which a cell that is not reset has forgotten all but 1/e of what it holds. What a cell holds is how
        far it stands from where forgetting brings it. 0 if no step keeps, infinite if nothing is lost.
    memory
        The same with resets: sum held / sum held min(-ln f, 1); a step forgets at most all, and what is not there
        cannot be forgotten. A cell that keeps 0.7 a step has 2.8 steps; one that counts to 40 and is reset has 20, the
        steps that it carries on average; one that loses nothing infinitely many; one that never holds anything none.
    reset_by_moves
        Share of its steps up and down at which it is reset too: it overwrites instead of counting.
    same_step
        Of the steps that do not reset, the share that write the same amount within a quarter of it.
    stepwise
        Share of what it writes, by squares, that steps of one size up and one size down make.
    constant_leak
        Share of var(c) that the cell's own writes explain, kept at one share a step: a linear store.
    two_values
        The cell as a flag would have it.
    exposure
        What the output gate lets out; None where the trace does not hold it.
    """

    steps: int
    constant: bool
    movements: float
    carried: float
    up: float
    down: float
    increments: float
    decrements: float
    time_constant: float
    memory: float
    reset_by_moves: float
    same_step: float
    stepwise: float
    constant_leak: float
    two_values: TwoValues
    exposure: Exposure | None


def variance(squares: Any, total: Any, steps: Any) -> Any:
    """Variance of some values, from the sum of their squares and their sum."""
    return squares / steps - (total / steps) ** 2


def size_of_step(rung: FittedRung, counts: Mapping[str, int], place: int, *, up: bool) -> float:
    """Size of a step up, or down, at the levels of a rung; 0 if there is none."""
    size = max(rung.write_levels) if up else -min(rung.write_levels)
    smallest = SMALLEST_STEP * max(map(abs, rung.write_levels))
    taken = counts[f"{'up' if up else 'down'} {place}"]
    return 0.0 if size <= smallest or taken < FEWEST_STEPS else size


def counts_of(sums: UnitSums, unit: int) -> dict[str, int]:
    """Count what happens over all steps of a unit, by name."""
    names = (*COUNTS, *ALL_COUNTS)
    return dict(zip(names, [*sums.counted[unit, -1].tolist(), *sums.counted_in_all[unit].tolist()], strict=True))


def behaviour_of(levels: Levels, sums: UnitSums, unit: int, rung: FittedRung, place: int) -> Behaviour:
    """Tell what a cell does, with the levels of the tally that is quoted for it, the rung at a place of the ladder."""
    steps, count = int(sums.steps.sum()), counts_of(sums, unit)
    amount = dict(zip(ALL_AMOUNTS, sums.moved_in_all[unit].tolist(), strict=True))
    mark = dict(zip(MARKS, levels.marks[unit].tolist(), strict=True))
    of_c = variance(amount["c squared"], amount["c"], steps)
    up = size_of_step(rung, count, place, up=True)
    down = size_of_step(rung, count, place, up=False)
    ups, downs = count[f"up {place}"] * (up > 0), count[f"down {place}"] * (down > 0)
    resetting = count[f"up {place} reset"] * (up > 0) + count[f"down {place} reset"] * (down > 0)
    unreset, written = steps - count["reset"], amount["write squared"]
    beside_leak = variance(amount["beside leak squared"], amount["beside leak"], steps)
    return Behaviour(
        steps=steps, constant=of_c < CONSTANT_VARIANCE,
        movements=max(
            amount[f"|{name}|"] ** 2 / max(amount[f"{name} squared"], 1e-300) for name in ("write", "lost")
        ),
        carried=variance(amount["carried squared"], amount["carried"], steps) / of_c if of_c > 0 else 0.0,
        up=up, down=-down, increments=ups / steps, decrements=downs / steps,
        time_constant=time_constant(amount["held unreset"], amount["forgotten unreset"]),
        memory=time_constant(amount["held"], amount["forgotten"]),
        reset_by_moves=resetting / (ups + downs) if ups + downs else 0.0,
        same_step=count["same"] / unreset if mark["usual"] and unreset else 0.0,
        stepwise=1 - amount["beside steps squared"] / written if written else 0.0,
        constant_leak=1 - beside_leak / of_c if of_c > 0 else 0.0,
        two_values=_two_values(mark, count, amount["beside two values squared"], of_c, steps),
        exposure=Exposure(count["sign"] / steps, count["nothing"] / steps, count["shown"] / steps)
        if "o" in levels.gates else None,
    )  # fmt: skip


def _two_values(
    mark: Mapping[str, float], count: Mapping[str, int], beside: float, of_c: float, steps: int
) -> TwoValues:  # fmt: skip
    at_once = min(
        count[f"{change} at once"] / count[change] if count[change] else 0.0 for change in ("to high", "to low")
    )  # fmt: skip
    return TwoValues(
        mark["low"], mark["high"], 1 - beside / steps / of_c if of_c > 0 else 0.0, at_once,
        count["beyond"] / count["large"] if count["large"] else 0.0, count["set"] / steps, count["clear"] / steps,
    )  # fmt: skip
