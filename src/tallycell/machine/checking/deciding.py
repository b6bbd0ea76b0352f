"""What a network, or a machine, decides on strings of any lengths: how often wrongly, and which it accepts.

A string is right only if the decision after each of its symbols is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.checking.blocks import Codes
from tallycell.machine.checking.matching import matched
from tallycell.machine.checking.network_runner import NetworkRunner, NetworkState
from tallycell.machine.checking.truth import Expected, Truth
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.running.stepping import smallest_type
from tallycell.recogniser import Recogniser

STEPS_AT_ONCE = 1 << 19  # sequences times steps: bounded memory for strings of any length


class Decider(Protocol):
    """What decides after each symbol, and can go on where it stopped."""

    def run(self, codes: Any, state: Any = None) -> tuple[Bool[np.ndarray, "sequence time output"], Any]:
        """Give what is chosen after each symbol, and the state to go on from."""


class MachinesNetwork:
    """A network that decides in a machine's terms: its symbols and outputs in the machine's order.

    Raises
    ------
    InputError
        If they have other outputs or another decision rule, or the network does not know a symbol.
    """

    def __init__(self, machine: CounterMachine, net: Recogniser) -> None:
        self.letters, outputs = matched(machine, net)
        self._order, self._runner = np.argsort(outputs), NetworkRunner(net)

    def start(self, sequences: int) -> NetworkState:
        """State before the first symbol, of so many sequences."""
        return self._runner.start(sequences)

    def run(
        self, codes: Int[np.ndarray, "sequence time"], state: NetworkState | None = None
    ) -> tuple[Bool[np.ndarray, "sequence time output"], NetworkState]:
        """Give what is chosen after each symbol, and the state to go on from."""
        chosen, state = self._runner.run(self.letters[codes], state)
        return chosen[..., self._order], state


@dataclass(frozen=True, eq=False)
class Decided:
    """How strings were decided.

    Attributes
    ----------
    wrong
        Number of wrong decisions on each string.
    asked
        Number of decisions on each string that are right or wrong.
    accepted
        Whether the string was accepted: each of its symbols was among those that were to follow, by the decisions
        before it, and the last decision is ``accept``. Where several symbols may follow and the decision is by
        ``"argmax"``, any of them may. Before the first symbol nothing is decided: it is to be one that strings
        begin with.
    ends_accepted
        Whether the last decision is ``accept``, whatever was before.
    """

    wrong: Int[np.ndarray, " string"]
    asked: Int[np.ndarray, " string"]
    accepted: Bool[np.ndarray, " string"]
    ends_accepted: Bool[np.ndarray, " string"]


def decide_strings(decider: Decider, truth: Truth, strings: Sequence[Codes]) -> Decided:
    """Run over strings of any lengths, in parts of bounded size.

    Examples
    --------
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> from tallycell.machine.running.runner import Runner
    >>> from tallycell.machine.shipped import shipped_machine
    >>> machine = shipped_machine("anbn")
    >>> decider, truth = MachinesNetwork(machine, compile_machine(machine)), Truth.of(Runner(machine))
    >>> decided = decide_strings(decider, truth, [truth.runner.encode(text) for text in ("aabb", "aab", "aabbb")])
    >>> decided.wrong.tolist(), decided.accepted.tolist()
    ([0, 0, 0], [True, False, False])
    """
    lengths = np.array([len(string) for string in strings])
    tally = _Tally(truth, len(strings))
    expected: Expected | None = None
    state = None
    size = max(STEPS_AT_ONCE // max(len(strings), 1), 64)
    for begin in range(0, int(lengths.max(initial=0)), size):
        codes = _part(strings, begin, begin + size, smallest_type(len(truth.alphabet)))
        expected = truth.expected(codes, lengths - begin, after=expected)
        chosen, state = decider.run(codes, state)
        tally.add(codes, lengths - begin, chosen, expected)
    return tally.decided()


def _part(strings: Sequence[Codes], begin: int, end: int, dtype: type[np.integer]) -> np.ndarray:
    end = min(end, max(map(len, strings)))
    codes = np.zeros((len(strings), end - begin), dtype)
    for row, string in zip(codes, strings, strict=True):
        here = string[begin:end]
        row[: len(here)] = here
    return codes


class _Tally:
    """Counts decisions part by part."""

    def __init__(self, truth: Truth, strings: int) -> None:
        self.truth = truth
        self.wrong, self.asked = np.zeros(strings, np.int64), np.zeros(strings, np.int64)
        self.open = np.ones(strings, bool)  # whether each symbol so far could follow
        # Before the first symbol nothing is decided: it counts as one that could follow if any string begins with it.
        symbols = np.arange(len(truth.alphabet))[:, np.newaxis]
        chosen = truth.expected(symbols, np.ones(len(symbols), np.int64)).chosen
        begins = chosen[:, 0].any(-1)
        self.could = np.tile(begins, (strings, 1, 1))
        self.ends = np.zeros(strings, bool)

    def add(self, codes: np.ndarray, lengths: np.ndarray, chosen: np.ndarray, expected: Expected) -> None:
        truth = self.truth
        right = (chosen == expected.chosen).all(-1)
        self.wrong += (expected.determined & ~right).sum(1)
        self.asked += expected.determined.sum(1)
        rows, within = np.arange(len(codes)), np.arange(codes.shape[1]) < lengths[:, np.newaxis]
        if truth.legal:
            # Where several may follow, one that decides by argmax names one of them: any of them may come.
            named = chosen | (expected.chosen & ~expected.determined[..., np.newaxis])
            could = named[..., [truth.outputs.index(symbol) for symbol in truth.alphabet]]
            before = np.concatenate([self.could, could[:, :-1]], axis=1)
            followed = np.take_along_axis(before, codes[..., np.newaxis].astype(np.int64), axis=-1)[..., 0]
            self.open &= (followed | ~within).all(1)
            self.could = could[:, -1:]
        if "accept" in truth.outputs:
            last = (lengths > 0) & (lengths <= codes.shape[1])
            at = np.clip(lengths - 1, 0, codes.shape[1] - 1)
            ends = chosen[rows, at, truth.outputs.index("accept")]
            self.ends = np.where(last, ends, self.ends)

    def decided(self) -> Decided:
        return Decided(self.wrong, self.asked, self.open & self.ends, self.ends)
