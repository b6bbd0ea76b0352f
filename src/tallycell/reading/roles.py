"""The role of a cell, by written rules, and the sentence that says it aloud."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from tallycell.reading.cells import Cell
from tallycell.reading.tally import GOOD_ENOUGH, Tally, is_constant, lloyd_levels, middle, nearest_level
from tallycell.reading.triggers import Trigger
from tallycell.wording import shown

Role = Literal["counter", "timer", "flag", "leaky integrator", "memoryless", "mixed", "constant"]
ROLES: tuple[Role, ...] = ("counter", "timer", "flag", "leaky integrator", "memoryless", "mixed", "constant")

CARRIED_BY_MEMORY = 0.1  # share of var(c) that f c_before must have for a cell to remember
FEW_NUMBERS = 8  # parameters: a unit that needs more is nothing a person would call by a name
LONG_TIME_CONSTANT = 10.0  # steps: with a shorter one a cell leaks too fast to count
TIMER_SHARE = 0.8  # of the steps that do not reset, moved in one direction
SMALLEST_STEP = 0.25  # of the cell's largest write level: a smaller level is no step
FEWEST_STEPS = 5  # a step that is taken less often is none
LOSSLESS = 10_000.0  # steps: with a longer time constant nothing is said to leak
SURE = 0.8  # share of the steps with a stimulus from which a sentence names it


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a cell does at every step, told by its own step sizes.

    Attributes
    ----------
    up, down
        Its largest write level and its smallest (negative); 0 where that is no step, or is not taken.
    resets
        f is below the middle of its limits: more than half of the cell is forgotten.
    increments, decrements
        The write is nearer to the step up (down) than to none.
    time_constant
        Steps after which all but 1/e is forgotten, resets left out.
    memory
        Steps of the past that the quoted tally carries on average.
    """

    up: float
    down: float
    resets: Bool[np.ndarray, " step"]
    increments: Bool[np.ndarray, " step"]
    decrements: Bool[np.ndarray, " step"]
    time_constant: float
    memory: float


def behaviour_of(cell: Cell, tally: Tally) -> Behaviour:
    """Tell what a cell does at every step, with the levels of the tally that is quoted for it."""
    up, increments = _steps_taken(cell.write, float(tally.write_levels.max()), tally)
    minus_down, decrements = _steps_taken(-cell.write, -float(tally.write_levels.min()), tally)
    resets = cell.f < middle(cell.activations.gate)
    return Behaviour(up, -minus_down, resets, increments, decrements, cell.time_constant(~resets), tally.memory(cell))


def _steps_taken(write: np.ndarray, size: float, tally: Tally) -> tuple[float, Bool[np.ndarray, " step"]]:
    """Size of a step, 0 if there is none, and where it is taken: where the write is nearer to it than to nothing."""
    taken = write > size / 2
    if size <= SMALLEST_STEP * float(np.abs(tally.write_levels).max()) or taken.sum() < FEWEST_STEPS:
        return 0.0, np.zeros(len(write), dtype=bool)
    return size, taken


def role_of(cell: Cell, tally: Tally, behaviour: Behaviour) -> Role:
    """Give a cell its role; the first rule that holds decides.

    ================  ==============================================================================================
    role              rule
    ================  ==============================================================================================
    constant          var(c) < 1e-9
    memoryless        what is kept, f c_before, has less than a tenth of the variance of c
    mixed             no tally of at most eight numbers explains 90 % of the cell
    leaky integrator  the steps that do not reset keep less than 1/e of the cell over 10 steps
    flag              two values of c explain 90 % of it
    timer             it moves in one direction at 80 % or more of the steps that do not reset
    counter           otherwise: it keeps, and moves up or down at some steps
    ================  ==============================================================================================
    """
    if is_constant(cell):
        return "constant"
    if np.var(cell.f * cell.before()) < CARRIED_BY_MEMORY * np.var(cell.c):
        return "memoryless"
    if not tally.r2 >= GOOD_ENOUGH or tally.rung.parameters > FEW_NUMBERS:
        return "mixed"
    if behaviour.time_constant < LONG_TIME_CONSTANT:
        return "leaky integrator"
    if _two_values_explain(cell) >= GOOD_ENOUGH:
        return "flag"
    moving = ~behaviour.resets
    if moving.any() and max(behaviour.increments[moving].mean(), behaviour.decrements[moving].mean()) >= TIMER_SHARE:
        return "timer"
    return "counter"


def _two_values_explain(cell: Cell) -> float:
    """Share of var(c) that the two best values explain."""
    levels = lloyd_levels(cell.c, np.ones(len(cell.c)), 2)
    return 1 - float(np.mean((cell.c - levels[nearest_level(cell.c, levels)]) ** 2) / np.var(cell.c))


# ---- sentences -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Follows:
    """A known quantity that a cell goes along with, and the correlation."""

    quantity: str
    correlation: float


def say_number(value: float) -> str:
    """Say a number in two digits; a large one in whole numbers, never with an exponent.

    Examples
    --------
    >>> [say_number(value) for value in (0.5, 2.34, 365.5, 12345)]
    ['0.5', '2.3', '366', '12,345']
    """
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:,.0f}"


def sentence_of(
    role: Role, tally: Tally, behaviour: Behaviour, triggers: dict[str, tuple[Trigger, ...]], follows: Follows | None
) -> str:
    """Say what a cell does, in one sentence that a person would say aloud."""
    if role == "constant":
        return "Constant: it never moves."
    moves = [
        _clause(f"{word} {say_number(abs(step))}", triggers[event])
        for word, event, step in (("up", "increment", behaviour.up), ("down", "decrement", behaviour.down))
        if step
    ]
    rest = "; ".join([*filter(None, moves), *_reset_clause(triggers["reset"])]) or "no step stands out"
    memory = _memory(behaviour)
    opening = {
        "counter": f"Counts: {rest}; {memory}",
        "timer": f"Times: moves at nearly every step; {rest}; {memory}",
        "flag": f"Flag with two values: {rest}; {memory}",
        "leaky integrator": f"Leaks: {rest}; {memory}",
        "memoryless": f"Keeps nothing, shows each write: {rest}",
        "mixed": f"{_no_counter(tally)}: {rest}",
    }[role]
    along = f"; follows {shown(follows.quantity)} (r = {follows.correlation:+.2f})" if follows else ""
    return f"{opening}{along}."


def _no_counter(tally: Tally) -> str:
    if math.isnan(tally.r2):
        return "Not known, its tally could not be tested (too few steps, or none that moves it)"
    return f"No simple counter ({tally.rung.parameters} numbers explain {max(tally.r2, 0):.0%})"


def _clause(movement: str, triggers: tuple[Trigger, ...]) -> str:
    """Say a movement with the stimuli that nearly always bring it; without such, with the likeliest and its share."""
    sure = [trigger for trigger in triggers if trigger.share >= SURE]
    if sure:
        return f"{movement} at {_and([trigger.stimulus for trigger in sure])}"
    if triggers:
        return f"{movement}, likeliest at {triggers[0].stimulus} ({triggers[0].share:.0%})"
    return movement


def _reset_clause(triggers: tuple[Trigger, ...]) -> list[str]:
    """Say at which stimuli the cell is reset, or cut to a share where f does not reach 0."""
    sure = [trigger for trigger in triggers if trigger.share >= SURE]
    full = [trigger.stimulus for trigger in sure if trigger.mean < 0.1]
    cut = [trigger for trigger in sure if trigger.mean >= 0.1]
    clauses = [f"reset at {_and(full)}"] if full else []
    if cut:
        left = sum(trigger.mean * trigger.count for trigger in cut) / sum(trigger.count for trigger in cut)
        clauses.append(f"cut to {left:.0%} at {_and([trigger.stimulus for trigger in cut])}")
    return clauses


def _memory(behaviour: Behaviour) -> str:
    """Say how long a cell remembers. How many steps it carries on average tells something only where it is reset."""
    if behaviour.resets.all():
        return "loses more than half at every step"
    if behaviour.time_constant < LONG_TIME_CONSTANT:
        return f"forgets with a time constant of {behaviour.time_constant:.1f} steps"
    if not behaviour.resets.any():
        constant = say_number(behaviour.time_constant)
        loss = f"forgets with a time constant of {constant} steps" if behaviour.time_constant <= LOSSLESS else ""
        return f"{loss or 'keeps without loss'} and is never reset"
    loss = "keeps without loss until reset, " if behaviour.time_constant > LOSSLESS else ""
    return f"{loss}carries {say_number(behaviour.memory)} steps on average"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
