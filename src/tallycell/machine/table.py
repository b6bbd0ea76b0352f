"""The table of a machine while it is made: what no string comes to is left open until the end."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.recogniser import Recogniser


@dataclass(eq=False)
class Table:
    """Entries of a machine by state, symbol and the place of each counter, one axis a counter.

    Attributes
    ----------
    net
        Whose alphabet, outputs and decision the machine has.
    bounds
        How large each counter's size is told apart: it is compared with all constants below that.
    next_state, reset, step
        By (state, symbol, place...), the last two with an axis of counters at the end.
    said
        By (state, place..., output).
    known
        By (state, place...): whether a string may come there.
    """

    net: Recogniser
    bounds: tuple[int, ...]
    next_state: Int[np.ndarray, "state symbol *place"]
    reset: Bool[np.ndarray, "state symbol *place counter"]
    step: Int[np.ndarray, "state symbol *place counter"]
    said: Bool[np.ndarray, "state *place output"]
    known: Bool[np.ndarray, "state *place"]  # noqa: F821

    @classmethod
    def empty(cls, states: int, net: Recogniser, bounds: tuple[int, ...]) -> "Table":
        """Give a table in which everything fails."""
        places = tuple(4 * bound - 1 for bound in bounds)
        shape = (states, len(net.alphabet), *places)
        return cls(
            net,
            bounds,
            np.full(shape, FAIL),
            np.zeros((*shape, len(bounds)), bool),
            np.zeros((*shape, len(bounds)), np.int64),
            np.zeros((states, *places, len(net.outputs)), bool),
            np.zeros((states, *places), bool),
        )

    def place(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """Give the place of each counter; a level as large as the bound stands for all beyond the constants."""
        return tuple(
            min(max(2 * (level + bound) - 1, 0), 4 * bound - 2)
            for level, bound in zip(levels, self.bounds, strict=True)
        )

    def machine(self, start: tuple[int, ...], names: tuple[str, ...]) -> CounterMachine:
        """Make the machine; where no string comes to, it does as in the nearest view where one may.

        Parameters
        ----------
        start
            What the counters are at the start; the machine's own start at 0.
        names
            What the counters are called.
        """
        self._fill_unknown()
        counters, outputs = len(self.bounds), len(self.net.outputs)
        views = (len(self.known), len(self.net.alphabet), -1)
        size = self.known[0].size
        if self.net.decision == "argmax":  # a state that no string comes to says something, too
            self.said[~self.said.any(axis=-1), 0] = True
        return CounterMachine(
            self.net.alphabet,
            tuple(f"s{k}" for k in range(len(self.known))),
            names,
            tuple(tuple(range(1 - bound - at, bound - at)) for bound, at in zip(self.bounds, start, strict=True)),
            self.next_state.reshape(views),
            self.reset.reshape(*views[:2], size, counters),
            self.step.reshape(*views[:2], size, counters),
            self.net.outputs,
            self.said.reshape(len(self.known), size, outputs),
            self.net.decision,
        )

    def _fill_unknown(self) -> None:
        from scipy.ndimage import distance_transform_edt

        for state, known in enumerate(self.known):
            if known.all() or not known.any():
                continue
            nearest = tuple(distance_transform_edt(~known, return_distances=False, return_indices=True))
            self.said[state] = self.said[state][nearest]
            for table in (self.next_state, self.reset, self.step):
                table[state] = table[state][(slice(None), *nearest)]
