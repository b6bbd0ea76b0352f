"""The role of a cell, by written rules."""

from typing import Literal

from tallycell.reading.behaviour import Behaviour
from tallycell.reading.tally import GOOD_ENOUGH, FittedRung

Role = Literal[
    "counter", "timer", "flag", "slow store", "leaky integrator", "memoryless", "mixed", "constant", "unknown"
]
ROLES: tuple[Role, ...] = (
    "counter", "timer", "flag", "slow store", "leaky integrator", "memoryless", "mixed", "constant", "unknown",
)  # fmt: skip

FEWEST_STEPS_READ = 200  # steps: with fewer nothing can be fitted on one half and tested on the other
FEWEST_MOVEMENTS = 20  # of a cell, by its effective number
CARRIED_BY_MEMORY = 0.1  # share of var(c) that f c_before must have for a cell to remember
FEW_NUMBERS = 8  # parameters: a unit that needs more is nothing a person would call by a name
KEEPS = 10.0  # steps: a cell with a shorter time constant, resets left out, leaks too fast to keep anything
CARRIES = 3.0  # steps that a counter carries on average
OVERWRITES = 0.5  # share of the steps up and down that reset: from here on it does not count them
STEPWISE = 0.9  # share of the writes that are steps of one size, where the input is amounts and not symbols
TWO_VALUES = 0.75  # share of var(c) that two values explain in a flag: what it keeps may sag
AT_ONCE = 0.5  # share of the changes of a flag that a single step makes; a timer drifts from low to high
BEYOND = 0.1  # share of the large moves of a flag that go on from where it is; a counter goes on
TIMER_SHARE = 0.8  # of the steps that do not reset, moved by the same amount


def too_few(behaviour: Behaviour) -> str:
    """Say what is missing to read a cell: steps, or movements; empty if nothing is."""
    steps, movements = behaviour.steps, behaviour.movements
    if steps < FEWEST_STEPS_READ:
        return f"{steps} steps are too few to read it: give at least {FEWEST_STEPS_READ}"
    if not behaviour.constant and movements < FEWEST_MOVEMENTS:
        return (
            f"it moves {'once' if movements < 1.5 else f'{movements:.0f} times'} in {steps:,} steps, too few to "
            f"read it: give an input that moves it at least {FEWEST_MOVEMENTS} times"
        )
    return ""


def role_of(tally: FittedRung, behaviour: Behaviour, *, amounts: bool, follows: bool) -> Role:
    """Give a cell its role; the first rule that holds decides.

    ================  ==============================================================================================
    role              rule
    ================  ==============================================================================================
    unknown           fewer than 200 steps, or fewer than 20 movements of the cell
    constant          var(c) < 1e-9
    memoryless        what is kept, f c_before, has less than a tenth of the variance of c
    flag              two values of c explain 75 % of it; half of the changes between them or more are made by one
                      step; of its large moves at most a tenth go on from where it is; it keeps (below)
    timer             a tally explains it (below); it keeps, and carries 3 steps or more on average; 80 % of the steps
                      that do not reset move it by the same amount, within a quarter
    counter           the same, with steps up and down at some steps, fewer than half of which reset it; where the
                      input is amounts, 90 % of what it writes is steps of one size
    slow store        it keeps, carries 10 steps or more, and follows a known quantity, or stores amounts: a tally, or
                      its own writes under one leak, explain it
    leaky integrator  it does not keep; a tally, or its own writes under one leak, explain it
    mixed             otherwise
    ================  ==============================================================================================

    A cell *keeps* if the steps that do not reset leave more than 1/e of it after 10 steps. A tally *explains* it if
    one of at most eight numbers has an R² of 0.9.

    Parameters
    ----------
    tally, behaviour
        What is known of it.
    amounts
        Whether the input is amounts (features, a sound) and not symbols.
    follows
        Whether the cell goes along with a known quantity.
    """
    if too_few(behaviour):
        return "unknown"
    if behaviour.constant:
        return "constant"
    if behaviour.carried < CARRIED_BY_MEMORY:
        return "memoryless"
    told = tally.r2 >= GOOD_ENOUGH and tally.parameters <= FEW_NUMBERS
    if behaviour.time_constant < KEEPS:
        return "leaky integrator" if told or behaviour.constant_leak >= GOOD_ENOUGH else "mixed"
    if _is_flag(behaviour):
        return "flag"
    if told and behaviour.memory >= CARRIES and behaviour.same_step >= TIMER_SHARE:
        return "timer"
    if told and _counts(behaviour, amounts=amounts):
        return "counter"
    stores = amounts and (told or behaviour.constant_leak >= GOOD_ENOUGH)
    return "slow store" if behaviour.memory >= KEEPS and (follows or stores) else "mixed"


def _is_flag(behaviour: Behaviour) -> bool:
    two = behaviour.two_values
    return two.explained >= TWO_VALUES and two.at_once >= AT_ONCE and two.beyond <= BEYOND


def _counts(behaviour: Behaviour, *, amounts: bool) -> bool:
    steps = not amounts or behaviour.stepwise >= STEPWISE
    return behaviour.memory >= CARRIES and behaviour.reset_by_moves < OVERWRITES and steps
