"""What is odd about a program though it is no mistake: a state that nothing leads to, a guard that nothing reaches.

Whoever compiles or extracts machines makes such programs, and they are read back as they are; a person who writes one
mostly meant something else.
"""

import numpy as np
from jaxtyping import Bool

from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.assembly import views_of
from tallycell.machine.notation.sign_abstraction import reachable_views
from tallycell.machine.notation.statements import Rule, Saying, read_program
from tallycell.wording import shown

MOST_LOOKED_AT = 100_000  # entries of a table: a larger one takes too long to look through


def remarks_on(text: str, machine: CounterMachine) -> tuple[str, ...]:
    """Say which states and guards of a program nothing reaches, as far as signs tell, each with its line.

    Parameters
    ----------
    text
        The program.
    machine
        The machine that it is, as :func:`~tallycell.machine.notation.text.parse` gives it.

    Examples
    --------
    >>> from tallycell.machine.notation.text import parse
    >>> text = '''alphabet a b
    ... counter n
    ... on a  n < 3   n +1
    ... on a  n = 3   hold
    ... on a b  n > 3   n reset
    ... otherwise fail
    ... accept'''
    >>> remarks_on(text, parse(text))
    ('line 5: nothing reaches this guard',)
    """
    if machine.next_state.size > MOST_LOOKED_AT:
        return ()
    program, reached = read_program(text), reachable_views(machine)
    found = [
        (token.line, f"line {token.line}: nothing leads to the state {shown(name)}")
        for (name, token), views in zip(program.states.items(), reached, strict=False)
        if not views.any()
    ]
    statements: list[Rule | Saying] = [*program.rules, *program.sayings]
    for one in statements:
        if one.guard != ((),) and not _is_reached(one, machine, reached):
            found.append((one.token.line, f"line {one.token.line}: nothing reaches this guard"))
    return tuple(said for _, said in sorted(found))


def _is_reached(one: Rule | Saying, machine: CounterMachine, reached: Bool[np.ndarray, "state view"]) -> bool:
    """Whether the guard holds somewhere that may be reached; in a state that nothing leads to it is not to blame."""
    states = range(len(machine.states)) if one.state is None else [machine.states.index(one.state)]
    here = reached[list(states)]
    return bool((here & views_of(one.guard, machine.counters, machine.constants)).any()) or not here.any()
