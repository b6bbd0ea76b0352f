"""A counter machine as a proof follows it beside a network: ``fail`` is a state like another, and counters go on in it.

What counters do in ``fail`` nobody sees, so a proof may choose it, and chooses what the network's cells do there.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.counter_machine import FAIL, CounterMachine

InFail = Literal["habit", "hold", "reset"]
IN_FAIL: tuple[InFail, ...] = ("habit", "hold", "reset")


@dataclass(frozen=True, eq=False)
class Shadow:
    """A machine's tables with ``fail`` as their last state; views as the machine's.

    Attributes
    ----------
    machine
        The machine.
    next_state, reset, step
        (state, symbol, view) and, of the last two, (state, symbol, view, counter).
    says
        (state, view, output).
    occurs
        (state, symbol, view): whether the symbol may be read there.
    """

    machine: CounterMachine
    next_state: Int[np.ndarray, "state symbol view"]
    reset: Bool[np.ndarray, "state symbol view counter"]
    step: Int[np.ndarray, "state symbol view counter"]
    says: Bool[np.ndarray, "state view output"]
    occurs: Bool[np.ndarray, "state symbol view"]

    def views_of(self, counters: Int[np.ndarray, "row counter"]) -> Int[np.ndarray, " row"]:
        """View that counters give, row by row."""
        views = np.zeros(len(counters), np.int64)
        for k, (constants, radix) in enumerate(zip(self.machine.constants, self.machine.radices, strict=True)):
            below = np.searchsorted(constants, counters[:, k], "left")
            views = views * radix + below + np.searchsorted(constants, counters[:, k], "right")
        return views

    @property
    def largest_steps(self) -> Int[np.ndarray, " counter"]:
        """Largest absolute step of each counter."""
        steps: np.ndarray = np.abs(self.step).max(axis=(0, 1, 2), initial=0)
        return steps


class Restricted(NamedTuple):
    """A machine that reads allowed inputs only, and which symbols may be read in each of its states and views."""

    machine: CounterMachine
    occurs: Bool[np.ndarray, "state symbol view"]


def until_fail(machine: CounterMachine) -> Restricted:
    """Let a machine read only what it does not fail on."""
    return Restricted(machine, machine.next_state != FAIL)


def restrict(machine: CounterMachine, automaton: Int[np.ndarray, "state symbol"]) -> Restricted:
    """Run the machine and an automaton of allowed inputs side by side: a state for each pair that can come up.

    Once the machine has failed, every symbol may follow: a proof for more inputs than there are is one for those.
    """
    pairs = {(0, 0): 0}
    waiting = [(0, 0)]
    while waiting:
        state, where = waiting.pop()
        for symbol in np.flatnonzero(automaton[where] != FAIL).tolist():
            for following in np.unique(machine.next_state[state, symbol]).tolist():
                pair = (following, int(automaton[where, symbol]))
                if following != FAIL and pair not in pairs:
                    pairs[pair] = len(pairs)
                    waiting.append(pair)
    state, where = np.array(list(pairs)).T
    numbers = np.full((len(machine.states) + 1, len(automaton)), FAIL)  # the last row is that of FAIL
    numbers[state, where] = np.arange(len(pairs))
    occurs = automaton[where] != FAIL
    next_state = np.where(
        occurs[:, :, np.newaxis], numbers[machine.next_state[state], automaton[where][:, :, np.newaxis]], FAIL
    )
    names = [machine.states[k] for k in state.tolist()]
    names = [name if names.count(name) == 1 else f"{name}_{k}" for name, k in zip(names, where.tolist(), strict=True)]
    side_by_side = replace(
        machine, states=tuple(names), next_state=next_state, reset=machine.reset[state], step=machine.step[state],
        output=machine.output[state],
    )  # fmt: skip
    return Restricted(side_by_side, np.repeat(occurs[:, :, np.newaxis], next_state.shape[2], axis=2))


def shadow_of(restricted: Restricted, in_fail: InFail) -> Shadow:
    """Give the machine whose counters, on the step that fails and after it, do as ``in_fail`` says.

    ``"habit"``: what the symbol does most often elsewhere; ``"hold"``; ``"reset"``.
    """
    machine = restricted.machine
    states, symbols, views = machine.next_state.shape
    counters = len(machine.counters)
    next_state = np.full((states + 1, symbols, views), states)
    next_state[:-1] = np.where(machine.next_state == FAIL, states, machine.next_state)
    reset = np.full((states + 1, symbols, views, counters), in_fail == "reset")
    step = np.zeros(reset.shape, np.int64)
    alive = machine.next_state != FAIL
    if in_fail == "habit":
        for symbol in range(symbols):
            _set_habit(machine, symbol, reset, step)
    reset[:-1][alive], step[:-1][alive] = machine.reset[alive], machine.step[alive]
    says = np.zeros((states + 1, views, len(machine.outputs)), bool)
    says[:-1] = machine.output
    says[-1, :, 0] = machine.decision == "argmax"
    occurs = np.concatenate([restricted.occurs, np.ones((1, symbols, views), bool)])
    return Shadow(machine, next_state, reset, step, says, occurs)


def _set_habit(machine: CounterMachine, symbol: int, reset: np.ndarray, step: np.ndarray) -> None:
    alive = machine.next_state[:, symbol] != FAIL
    for k in range(len(machine.counters)):
        moves = np.stack([machine.reset[:, symbol, :, k][alive], machine.step[:, symbol, :, k][alive]], -1)
        if len(moves):
            found, counts = np.unique(moves, axis=0, return_counts=True)
            reset[:, symbol, :, k], step[:, symbol, :, k] = found[counts.argmax()]
