"""A language of one's own, from the counter machine that is its truth."""

import numpy as np

from tallycell.errors import InputError
from tallycell.learning.languages.language import Codes, Language, Make
from tallycell.learning.languages.strings import uniform
from tallycell.machine.checking.truth import says_what_may_follow
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.notation.printing import format_machine
from tallycell.wording import listed

LONGEST = 40  # symbols of strings to learn from
FIXED = 2_000  # strings to learn from, drawn once: a machine is slow to draw from
MOST_SYMBOLS = 250
_ANYTHING, _CHANGED = 0.25, 0.35  # shares of strings of a language that is not about what may follow


def language_of_machine(machine: CounterMachine, name: str) -> Language:
    """Make the language whose truth a machine is.

    Where the machine says what may follow (``legal``), strings are drawn of what it says may; else strings on which it
    does not fail, such strings with one symbol more, fewer or another, and any at all.

    Parameters
    ----------
    machine
        After each symbol it says what is right: which symbols may follow and whether the string may end, or the answer.
    name
        What it is called.

    Raises
    ------
    InputError
        If the machine says nothing that depends on its input, or no string keeps it from failing.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> dyck = language_of_machine(shipped_machine("dyck-1"), "my-brackets")
    >>> dyck.legal, dyck.decision
    (True, 'threshold')
    >>> dyck.text(dyck.make(np.random.default_rng(0), 8))
    '((()(((('
    """
    if len(machine.alphabet) > MOST_SYMBOLS:
        raise InputError(f"{name} has {len(machine.alphabet):,} symbols; languages have up to {MOST_SYMBOLS}")
    legal = says_what_may_follow(machine)
    if legal and "accept" not in machine.outputs:
        raise InputError(
            f"{name} says which symbols may follow, and not when a string may end; let it say accept too (it says "
            f"{listed(machine.outputs)})"
        )
    if (machine.next_state[0][:, machine.view_of(machine.start.counters)] == FAIL).all():
        raise InputError(f"{name} fails on every first symbol, so that there is nothing to learn")
    make = _what_may_follow(machine) if legal else _with_changes(machine)
    title = f"what the machine {name} says"
    return Language(name, title, format_machine(machine), make, uniform(2, LONGEST), legal=legal, fixed=FIXED)


def _what_may_follow(machine: CounterMachine) -> Make:
    def make(rng: np.random.Generator, length: int) -> Codes:
        return _walk(machine, rng, length, legal=True)

    return make


def _with_changes(machine: CounterMachine) -> Make:
    symbols = len(machine.alphabet)

    def make(rng: np.random.Generator, length: int) -> Codes:
        kind = rng.random()
        if kind < _ANYTHING:
            return rng.integers(symbols, size=length, dtype=np.uint8)
        codes = _walk(machine, rng, length, legal=False)
        if kind > _ANYTHING + _CHANGED or not len(codes):
            return codes
        at, other = int(rng.integers(len(codes))), rng.integers(symbols, dtype=np.uint8)
        changed = [
            np.insert(codes, at, other),
            np.delete(codes, at),
            np.where(np.arange(len(codes)) == at, other, codes),
        ]
        return np.asarray(changed[int(rng.integers(3))], np.uint8)

    return make


def _walk(machine: CounterMachine, rng: np.random.Generator, length: int, *, legal: bool) -> Codes:
    """Draw a string on which the machine does not fail, cut where it may end; symbols come in runs.

    Parameters
    ----------
    machine, rng, length
        The machine, the source of randomness, and how many symbols at most.
    legal
        Whether the machine says what may follow, and when a string may end.
    """
    again, last, at = rng.uniform(0.1, 0.9), -1, machine.start
    codes: list[int] = []
    ends: list[int] = []
    while len(codes) < length:
        said = machine.says(at)
        order = rng.permutation(len(machine.alphabet)).tolist()
        if last >= 0 and rng.random() < again:
            order.insert(0, last)
        for code in order:
            symbol = machine.alphabet[code]
            after = machine.advance(at, symbol)
            if after.state != FAIL and (not legal or symbol in said or not (codes or said)):
                break
        else:
            break
        at, last = after, code
        codes.append(code)
        if legal and "accept" in machine.says(at):
            ends.append(len(codes))
    whole = [end for end in ends if 2 * end >= len(codes)]
    return np.array(codes[: whole[-1]] if whole else codes, np.uint8)
