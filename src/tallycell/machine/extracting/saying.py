"""What is said of an extraction: the answer in five lines, and all that is known below it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.allowed import AllowedInputs
from tallycell.machine.notation.printing import format_machine
from tallycell.wording import shown

if TYPE_CHECKING:
    from tallycell.machine.extracting.extraction import Extraction

MOST_BREAKS = 12  # that are printed
MOST_OF_A_STRING = 60  # characters of the string after which machine and network differ
MOST_WRITTEN = 300_000  # entries of a table: with more, to find a program's lines takes many seconds
MORE_STEPS = "more steps of training"
NEXT = "tallycell check MACHINE MODEL: differences on long strings, and a proof of how far there are none"


def answer_of(extraction: "Extraction") -> tuple[str, ...]:
    """Say in five lines whether it is exact, on what, how many agree, what breaks the network, and what to try."""
    size, fidelity = size_of(extraction.machine), extraction.fidelity
    verdict = (
        f"exact: a machine of {size} decides as the network, after every symbol of these strings"
        if extraction.exact
        else f"not exact: no counter machine was found that decides as the network; the best tried has {size}"
    )
    agree = fidelity.counts
    if fidelity.first_difference is not None:
        agree += f"; they first differ after {shown(' '.join(fidelity.first_difference), MOST_OF_A_STRING)}"
    return (
        verdict,
        f"on: {fidelity.brief}",
        f"agree: {agree}",
        f"breaks: {worst_of(extraction)}",
        f"try: {extraction.advice}",
    )


def size_of(machine: CounterMachine) -> str:
    """Say how large a machine is.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> size_of(shipped_machine("dyck-1"))
    '1 state and 1 counter'
    """
    states, counters = len(machine.states), len(machine.counters)
    return f"{states:,} state{'' if states == 1 else 's'} and {counters or 'no'} counter{'' if counters == 1 else 's'}"


def details_of(extraction: "Extraction") -> str:
    """Say how a machine was read, on what it was compared, what it says at the start, and what breaks the network."""
    parts = [f"How it was read: {extraction.text}.", f"Machine and network agree on {extraction.fidelity}."]
    parts += [f"Before the first symbol {extraction.start}."]
    if extraction.evidence:
        parts += ["What each counter is:", *(f"  {one}" for one in extraction.evidence)]
    if extraction.breaks:
        parts.append(
            "What is not at its limits, though it makes no difference here:" if extraction.exact else "What breaks it:"
        )
        parts += first_lines([f"  {one}" for one in extraction.breaks], MOST_BREAKS, "extraction.breaks, --json")
    return "\n".join(parts)


def first_lines(lines: Sequence[str], most: int, more: str) -> list[str]:
    """Give the first lines, and say how many are left out and where they are.

    Examples
    --------
    >>> first_lines(["a", "b", "c"], 1, "print(all)")
    ['a', '  ... 2 more: print(all)']
    """
    return list(lines) if len(lines) <= most else [*lines[:most], f"  ... {len(lines) - most:,} more: {more}"]


def program_lines(machine: CounterMachine, most: int, more: str) -> list[str]:
    """Write the first lines of a program, and say how many are left out; of a huge machine none."""
    if machine.next_state.size > MOST_WRITTEN:
        return [f"  ... a program of a table of {machine.next_state.size:,} entries is left out: {more}"]
    return first_lines(format_machine(machine).rstrip().split("\n"), most, more)


def advice_for(allowed: AllowedInputs, *, exact: bool) -> str:
    """Say what to try next, by which inputs the network was read on."""
    if exact:
        return NEXT
    if allowed.sample is not None:
        return f"shorter strings, if it need not read such long ones; or {MORE_STEPS}"
    if len(allowed.automaton.next_state) > 1 or (allowed.automaton.next_state < 0).any():
        return f"the strings that it is meant to read (--inputs FILE); or {MORE_STEPS}"
    return f"what it should read, --inputs FILE or --allowed MACHINE (in Python inputs=); or {MORE_STEPS}"


def start_of(machine: CounterMachine, said_by_net: Sequence[str]) -> str:
    """Say what network and machine say of the empty string."""
    by_machine = machine.says(machine.start)
    said = f"the network says {_say(machine, said_by_net)}"
    return said if set(by_machine) == set(said_by_net) else f"{said}, and the machine {_say(machine, by_machine)}"


def _say(machine: CounterMachine, outputs: Sequence[str]) -> str:
    """Write what is said, as the notation has it."""
    legal = [one for one in outputs if one in machine.alphabet and machine.decision == "threshold"]
    others = [shown(one) for one in outputs if one not in legal]
    return ", ".join(others + ([f"legal {' '.join(map(shown, legal))}"] if legal else [])) or "nothing"


def worst_of(extraction: "Extraction") -> str:
    """Say what breaks a network most, in one line."""
    breaks = extraction.breaks
    if not breaks:
        return "nothing" if extraction.exact else "no single gate; what it does does not follow from whole counts"
    worst = breaks[0].text.partition("; seen at")[0].partition(", up to")[0]
    others = f" (and {len(breaks) - 1:,} more)" if len(breaks) > 1 else ""
    return f"nothing here; {worst}{others}" if extraction.exact else f"{worst}{others}"
