"""Counters that no cell is: what a cell counts piece by piece, taken over the whole string.

A network may tell |#a - #b| < 5 by cells that begin to count at different differences. The machine read from it then
has several counters and many states, though one counter, #a - #b, says it all. What a counter does where it counts
(+1 at a, -1 at b), done at every symbol, is a counter that may take the place of all.
"""

from collections.abc import Iterator
from itertools import chain, combinations, islice

import numpy as np
from jaxtyping import Int

from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.fidelity import configurations
from tallycell.machine.extracting.naming import usual_steps
from tallycell.machine.extracting.snapping import CountedRun
from tallycell.machine.extracting.strings import Strings
from tallycell.machine.extracting.walk import Walk, walk_seen

MOST_COUNTED = 2  # counters that take the place of others
MOST_TRIED = 12  # sets of them
LARGEST_SIZE = 12  # to which they are told apart


def recounted_walks(machine: CounterMachine, strings: Strings) -> Iterator[tuple[Walk, tuple[int, ...]]]:
    """Give the situations that strings bring a machine to, beside counters of whole strings; fewest first.

    Parameters
    ----------
    machine
        Of at least one counter.
    strings
        What it reads.

    Yields
    ------
    tuple
        The walk, and the cells of it that are such counters. What else the machine holds stands beside them, so that
        situations that they do not tell apart are joined only where nothing seen contradicts.
    """
    steps = _steps_of_whole_strings(machine)
    held = list(configurations(machine, strings))
    state, view, said = (np.stack([getattr(one, name) for one in held]) for name in ("state", "view", "said"))
    sets = chain.from_iterable(combinations(steps, number) for number in range(1, MOST_COUNTED + 1))
    for some in islice(sets, MOST_TRIED):
        of_symbol = np.array(some)  # (counter, symbol)
        step = np.moveaxis(of_symbol[:, strings.codes], 0, -1)
        count = np.concatenate([np.zeros_like(step[:1]), step.cumsum(axis=0)])
        run = _run_of(strings, count, step, np.stack([state, view], axis=-1), said)
        farthest = np.abs(count[1:][strings.taken]).max(axis=0, initial=1)
        bound = np.array([*np.minimum(farthest, LARGEST_SIZE), len(machine.states) + 1, machine.views + 1])
        yield walk_seen(run, bound), tuple(range(len(some)))


def _steps_of_whole_strings(machine: CounterMachine) -> list[tuple[int, ...]]:
    """List what each counter usually does at each symbol where it moves; of two that differ in sign only, one."""
    found: dict[tuple[int, ...], None] = {}
    for counter in range(len(machine.counters)):
        steps = usual_steps(machine, counter)
        sign = np.sign(next((step for step in steps if step), 0))
        if sign:
            found[tuple(int(sign * step) for step in steps)] = None
    return list(found)


def _run_of(
    strings: Strings, count: Int[np.ndarray, "states sequence counter"], step: Int[np.ndarray, "time sequence counter"],
    beside: Int[np.ndarray, "states sequence 2"], said: np.ndarray,
) -> CountedRun:  # fmt: skip
    """Read the counters, and what a machine holds beside them, as if they were the cells of a network."""
    cells = np.concatenate([count, beside], axis=-1)
    nothing = np.zeros_like(beside[1:])
    return CountedRun(
        strings.codes, strings.lengths, cells, np.zeros_like(cells, bool), np.ones_like(cells[1:], bool),
        np.concatenate([step, nothing], axis=-1), said,
    )  # fmt: skip
