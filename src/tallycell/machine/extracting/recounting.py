"""Counters that no cell is: what cells count piece by piece, or together, taken over the whole string.

A network may tell |#a - #b| < 5 by cells that begin to count at different differences. The machine read from it then
has several counters and many states, though one counter, #a - #b, says it all. Another spreads a counter over cells
whose steps are unequal and that sag, so that none of them is a counter. What symbols do to a counter (+1 at a, -1 at b)
is then the same at every symbol of the string, whatever the cells do.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, islice
from math import gcd

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.extracting.allowed import Automaton
from tallycell.machine.extracting.fidelity import configurations
from tallycell.machine.extracting.naming import usual_steps
from tallycell.machine.extracting.snapping import CountedRun
from tallycell.machine.extracting.strings import Strings
from tallycell.machine.extracting.walk import Walk, walk_seen

MOST_COUNTED = 2  # counters that take the place of others
MOST_TRIED = 12  # sets of them
LARGEST_SIZE = 12  # to which they are told apart


def recounted_walks(
    strings: Strings, said: Bool[np.ndarray, "states sequence output"], beside: Int[np.ndarray, "states sequence held"],
    steps: Sequence[tuple[int, ...]],
) -> Iterator[tuple[Walk, tuple[int, ...]]]:  # fmt: skip
    """Give the situations that strings come to, told apart by counters of whole strings and what is held beside them.

    Parameters
    ----------
    strings
        What is read.
    said
        What is decided, at the start and after each symbol.
    beside
        What else is known there, small numbers: situations that differ in it are joined only where nothing seen
        contradicts.
    steps
        What a counter may do, (symbol,) each; as few as possible are counted at once.

    Yields
    ------
    tuple
        The walk, and the cells of it that are such counters.
    """
    sets = chain.from_iterable(combinations(steps, number) for number in range(1, MOST_COUNTED + 1))
    apart = np.abs(beside).max(axis=(0, 1), initial=0) + 1
    for some in islice(sets, MOST_TRIED):
        of_symbol = np.array(some)  # (counter, symbol)
        step = np.moveaxis(of_symbol[:, strings.codes], 0, -1)
        count = np.concatenate([np.zeros_like(step[:1]), step.cumsum(axis=0)])
        farthest = np.abs(count[1:][strings.taken]).max(axis=0, initial=1)
        bound = np.concatenate([np.minimum(farthest, LARGEST_SIZE), apart])
        yield walk_seen(_run_of(strings, count, step, beside, said), bound), tuple(range(len(some)))


def held_by(machine: CounterMachine, strings: Strings) -> Int[np.ndarray, "states sequence 2"]:
    """Give the state and the view of a machine, at the start and after each symbol."""
    return np.stack([np.stack([one.state, one.view], axis=-1) for one in configurations(machine, strings)])


def held_by_inputs(automaton: Automaton, strings: Strings) -> Int[np.ndarray, "states sequence 2"]:
    """Give the state of an automaton of inputs, and the last symbol, at the start (-1) and after each symbol."""
    state = [np.zeros(len(strings.lengths), np.int64)]
    for codes in strings.codes:
        state.append(np.where(state[-1] == FAIL, FAIL, automaton.next_state[state[-1], codes]))
    last = np.concatenate([np.full_like(strings.codes[:1], -1), strings.codes])
    return np.stack([np.stack(state), last], axis=-1)


def steps_of_machine(machine: CounterMachine) -> list[tuple[int, ...]]:
    """List what each counter usually does at each symbol where it moves, in ones if it does; sign left aside."""
    usual = (usual_steps(machine, counter) for counter in range(len(machine.counters)))
    return _distinct(steps for steps in usual if any(steps))


def differences(symbols: int) -> list[tuple[int, ...]]:
    """List the counters that one symbol moves up and another one down, of neighbours first.

    Examples
    --------
    >>> differences(3)
    [(1, -1, 0), (0, 1, -1), (1, 0, -1)]
    """
    pairs = sorted(combinations(range(symbols), 2), key=lambda pair: pair[1] - pair[0])
    ones = np.eye(symbols, dtype=np.int64)
    return _distinct((ones[a] - ones[b]).tolist() for a, b in pairs)


def _distinct(some: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Divide by what all steps have in common, turn so that the first is up, and leave out what comes again."""
    found = []
    for steps in some:
        unit = gcd(*steps) * (1 if next(step for step in steps if step) > 0 else -1)
        found.append(tuple(step // unit for step in steps))
    return list(dict.fromkeys(found))


def _run_of(
    strings: Strings, count: Int[np.ndarray, "states sequence counter"], step: Int[np.ndarray, "time sequence counter"],
    beside: Int[np.ndarray, "states sequence held"], said: np.ndarray,
) -> CountedRun:  # fmt: skip
    """Read the counters, and what a machine holds beside them, as if they were the cells of a network."""
    cells = np.concatenate([count, beside], axis=-1)
    nothing = np.zeros_like(beside[1:])
    return CountedRun(
        strings.codes, strings.lengths, cells, np.zeros_like(cells, bool), np.ones_like(cells[1:], bool),
        np.concatenate([step, nothing], axis=-1), said,
    )  # fmt: skip
