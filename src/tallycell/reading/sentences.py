"""What a cell does, in one sentence that a person would say aloud."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tallycell.reading.behaviour import Behaviour
from tallycell.reading.clock import LOSSLESS, Clock, say_number
from tallycell.reading.following import Follows
from tallycell.reading.roles import FEW_NUMBERS, KEEPS, OVERWRITES, Role, too_few
from tallycell.reading.tally import GOOD_ENOUGH, FittedRung
from tallycell.reading.triggers import COMMON, Trigger
from tallycell.wording import shown

SURE = 0.8  # share of the steps with a stimulus from which a sentence names it
WORTH_SAYING = 0.2  # share below which a stimulus says nothing: the table of triggers still has it
RARELY = 0.02  # share of the steps: a move that is rarer, and that nothing brings, is not said
NEARLY_ALWAYS = 0.95  # share of the steps from which a cell is said to be shown always, or never
NOTHING = 0.02  # share of the other value of a flag below which a value is said to be 0
RESET = 0.1  # mean f from which a reset is called a cut


@dataclass(frozen=True, eq=False)
class Told:
    """What a sentence is made of.

    Attributes
    ----------
    role, tally, behaviour
        Of the cell.
    triggers
        By event.
    follows
        What it goes along with, or None.
    clock
        How long steps are.
    filling
        In which months or hours it fills and empties; empty where that is not said.
    undecided
        Another role that its R² may give it as well, or None.
    """

    role: Role
    tally: FittedRung
    behaviour: Behaviour
    triggers: Mapping[str, tuple[Trigger, ...]]
    follows: Follows | None
    clock: Clock
    filling: str = ""
    undecided: Role | None = None


def sentence_of(told: Told) -> str:
    """Say what a cell does."""
    if told.role == "constant":
        return "Constant: it never moves."
    if told.role == "unknown":
        return f"Not known: {too_few(told.behaviour)}."
    clauses = [_opening(told)]
    if told.role not in ("flag", "memoryless"):
        clauses += _reset_clause(told.triggers.get("reset", ()))
    if told.role != "memoryless":
        clauses.append(say_memory(told.behaviour.memory, told.clock))
    clauses += filter(
        None, [told.filling, _say_shown(told), say_followed(told.follows, told.clock), _say_undecided(told)]
    )
    return f"{'; '.join(clauses)}."


def say_memory(memory: float, clock: Clock) -> str:
    """Say within how many steps all but 1/e is forgotten; where nothing is, that."""
    if math.isinf(memory):
        return "never forgets"
    if memory > LOSSLESS and clock.step_seconds is None:
        return f"forgets hardly anything in {LOSSLESS:,.0f} steps"
    return f"forgets within {clock.say(memory)}"


def say_followed(follows: Follows | None, clock: Clock) -> str:
    """Say which quantity a cell goes along with, how closely, how late, and what one unit of the cell stands for."""
    if follows is None:
        return ""
    said = [f"r = {follows.correlation:+.2f}"]
    if follows.lag:
        said.append(f"{clock.say(abs(follows.lag))} {'after' if follows.lag > 0 else 'before'} it")
    if follows.units not in ("", "1") and math.isfinite(follows.per_unit):
        said.append(f"one unit of the cell is {say_number(abs(follows.per_unit))} {shown(follows.units)}")
    return f"follows {shown(follows.quantity)} ({', '.join(said)})"


def say_share(share: float) -> str:
    """Say a share in whole percent, one that would be 0 by rounding as what it is.

    Examples
    --------
    >>> say_share(0.456), say_share(0.003), say_share(0)
    ('46%', 'under 1%', '0%')
    """
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"


def _opening(told: Told) -> str:
    if told.role == "flag":
        return _flag(told)
    moves = " and ".join(_moves(told)) or "no step stands out"
    if told.role == "slow store" and not _moves(told):
        return "Stores what it reads"
    return {
        "counter": f"Counts {moves}",
        "timer": f"Times: it goes {moves}",
        "slow store": f"Stores: {moves}",
        "leaky integrator": f"Leaks: {moves}",
        "memoryless": f"Keeps nothing, shows each write: {moves}",
        "mixed": f"{_why_mixed(told)}: {moves}",
    }[told.role]


def _moves(told: Told) -> list[str]:
    behaviour = told.behaviour
    shares = {"increment": behaviour.increments, "decrement": behaviour.decrements}
    telling = {event for event, share in shares.items() if share >= RARELY or told.triggers.get(event)}
    return [
        f"{word} by {say_number(abs(step))}{_say_at(told.triggers.get(event, ()), share)}"
        for word, event, step, share in (
            ("up", "increment", behaviour.up, behaviour.increments),
            ("down", "decrement", behaviour.down, behaviour.decrements),
        )
        if step and event in telling
    ]


def _say_at(triggers: tuple[Trigger, ...], rate: float) -> str:
    """Say at which stimuli an event happens: those that nearly always bring it, else the likeliest and its share."""
    if rate >= COMMON:
        return f" at nearly every step ({rate:.0%})"
    if sure := [trigger.stimulus for trigger in triggers if trigger.share >= SURE]:
        return f" at {_and(sure)}"
    if triggers and triggers[0].share >= WORTH_SAYING:
        best = triggers[0]
        return (
            f", most often at {best.stimulus} ({say_share(best.share)} of them, {say_share(best.chance)} of all steps)"
        )
    return f" at {say_share(rate)} of the steps"


def _flag(told: Told) -> str:
    two = told.behaviour.two_values
    resting, moved = (two.high, two.low) if two.rests_high else (two.low, two.high)
    rates = (two.set, two.cleared)
    resting = resting if abs(resting) > NOTHING * abs(moved) else 0.0
    return (
        f"Flag ({say_number(resting)} or {say_number(moved)}): set{_say_at(told.triggers.get('set', ()), rates[0])}; "
        f"cleared{_say_at(told.triggers.get('clear', ()), rates[1])}"
    )


def _why_mixed(told: Told) -> str:
    """Say why a cell has no simpler role."""
    tally, behaviour = told.tally, told.behaviour
    if math.isnan(tally.r2):
        return "Not known, its tally could not be tested (it stands still on the second half of the steps)"
    if behaviour.time_constant >= KEEPS and tally.r2 >= GOOD_ENOUGH and tally.parameters <= FEW_NUMBERS:
        if behaviour.reset_by_moves >= OVERWRITES:
            return f"Overwritten rather than counted ({behaviour.reset_by_moves:.0%} of its moves reset it)"
        return "Neither a counter nor a store"
    said = f"{max(tally.r2, 0):.0%}"
    if tally.r2 >= GOOD_ENOUGH:
        return f"Too smooth for a counter of {FEW_NUMBERS} numbers; {tally.parameters} explain {said}"
    return f"No simple counter ({tally.parameters} numbers explain {said})"


def _reset_clause(triggers: tuple[Trigger, ...]) -> list[str]:
    """Say at which stimuli the cell is reset, or cut to a share where f does not reach 0."""
    sure = [trigger for trigger in triggers if trigger.share >= SURE]
    full = [trigger.stimulus for trigger in sure if trigger.mean < RESET]
    cut = [trigger for trigger in sure if trigger.mean >= RESET]
    clauses = [f"reset at {_and(full)}"] if full else []
    if cut:
        left = sum(trigger.mean * trigger.count for trigger in cut) / sum(trigger.count for trigger in cut)
        clauses.append(f"cut to {left:.0%} at {_and([trigger.stimulus for trigger in cut])}")
    return clauses


def _say_shown(told: Told) -> str:
    """Say when the output gate shows the cell, and when it hides it; empty where the trace does not hold the gate."""
    exposure = told.behaviour.exposure
    if exposure is None:
        return ""
    if exposure.open >= NEARLY_ALWAYS:
        return "always shown"
    if exposure.open <= 1 - NEARLY_ALWAYS:
        return "hidden at nearly every step"
    for verb, event in (("shown", "show"), ("hidden", "hide")):
        if sure := [trigger.stimulus for trigger in told.triggers.get(event, ()) if trigger.share >= SURE]:
            return f"{verb} at {_and(sure)}"
    return f"shown at {exposure.open:.0%} of the steps"


def _say_undecided(told: Told) -> str:
    """Say which role the error of R² leaves open."""
    if told.undecided is None:
        return ""
    return f"{told.role} or {told.undecided} is not decided (R² {told.tally.r2:.2f} ± {told.tally.r2_error:.2f})"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
