"""A machine and a network side by side over the same strings: after which symbols they decide alike."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.checking.deciding import MachinesNetwork
from tallycell.machine.checking.network_runner import NetworkState
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.running.runner import Run, Runner
from tallycell.recogniser import Recogniser

STEPS_AT_ONCE = 1 << 21  # sequences times steps: bounded memory for any number of strings, of any length


class Both(NamedTuple):
    """Where both stand in the midst of strings."""

    network: NetworkState
    machine: Run

    def of(self, sequences: np.ndarray) -> "Both":
        """Of some of the sequences, in that order; one may come several times."""
        run = self.machine
        return Both(self.network.of(sequences), Run(run.state[sequences], run.counters[sequences], run.says[sequences]))


class SideBySide:
    """Runs a machine and a network over strings of the machine's symbols, as their indices.

    Parameters
    ----------
    machine, net
        With the same outputs and decision rule.

    Raises
    ------
    InputError
        If they cannot be compared.
    """

    def __init__(self, machine: CounterMachine, net: Recogniser) -> None:
        self.machine, self.net = machine, net
        self.network, self.runner = MachinesNetwork(machine, net), Runner(machine)

    def start(self, sequences: int) -> Both:
        """Where so many sequences start."""
        empty = np.zeros((sequences, 0), np.uint8)
        return Both(self.network.start(sequences), self.runner.run(empty))

    def run(
        self, codes: Int[np.ndarray, "sequence time"], both: Both | None = None
    ) -> tuple[Bool[np.ndarray, "sequence time"], Both]:
        """Run over strings of one length; give after which symbols they decide alike, and where they then stand."""
        both = self.start(len(codes)) if both is None else both
        chosen, network = self.network.run(codes, both.network)
        run = self.runner.run(codes, after=both.machine, keep_says=True)
        assert run.each_says is not None
        return (chosen == self.runner.sayings[run.each_says]).all(-1), Both(network, run)

    def first_differences(self, codes: Int[np.ndarray, "sequence time"]) -> Int[np.ndarray, " sequence"]:
        """Length of the shortest beginning of each string after which they differ, 0 if they do not; any length."""
        first = np.zeros(len(codes), np.int64)
        both = self.start(len(codes))
        size = max(STEPS_AT_ONCE // max(len(codes), 1), 64)
        for begin in range(0, codes.shape[1], size):
            alike, both = self.run(codes[:, begin : begin + size], both)
            new = (first == 0) & ~alike.all(1)
            first[new] = begin + 1 + (~alike[new]).argmax(1)
            if (first > 0).all():
                break
        return first

    def differing_steps(
        self, strings: Sequence[Int[np.ndarray, " time"]]
    ) -> tuple[Int[np.ndarray, " string"], Int[np.ndarray, " string"]]:
        """For strings of any lengths: steps on which they differ, and as :meth:`first_differences`."""
        count, first = np.zeros(len(strings), np.int64), np.zeros(len(strings), np.int64)
        for rows in _batches(strings):
            lengths = np.array([len(strings[row]) for row in rows])
            both, size = self.start(len(rows)), max(STEPS_AT_ONCE // len(rows), 64)
            for begin in range(0, int(lengths.max()), size):
                steps = np.arange(begin, min(begin + size, int(lengths.max())))
                codes = np.zeros((len(rows), len(steps)), np.int64)
                for k, row in enumerate(rows):
                    part = strings[row][begin : begin + size]
                    codes[k, : len(part)] = part
                alike, both = self.run(codes, both)
                wrong = ~alike & (steps < lengths[:, np.newaxis])
                new = (first[rows] == 0) & wrong.any(1)
                first[np.array(rows)[new]] = begin + 1 + wrong[new].argmax(1)
                count[rows] += wrong.sum(1)
        return count, first


def _batches(strings: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Divide strings into batches of about one length; empty ones are left out."""
    order = sorted((k for k in range(len(strings)) if len(strings[k])), key=lambda k: len(strings[k]))
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * len(strings[row]) > STEPS_AT_ONCE // 4:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
