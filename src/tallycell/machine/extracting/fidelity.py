"""On what share of strings a network and a machine agree."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.extracting.recording import Recorded
from tallycell.machine.extracting.strings import Strings
from tallycell.wording import shown


@dataclass(frozen=True)
class Fidelity:
    """On what share of strings, and of their steps, a network and a machine decide alike.

    Attributes
    ----------
    strings, strings_alike
        Number of strings, and of those on which every decision is the same.
    steps, steps_alike
        Number of steps, and of those after which the decision is the same.
    text
        Which strings, and how they were chosen.
    brief
        Which strings, in a few words.
    first_difference
        The shortest beginning of one of them after which the decisions differ, as symbols; None if none was seen.
    """

    strings: int
    strings_alike: int
    steps: int
    steps_alike: int
    text: str
    brief: str
    first_difference: tuple[str, ...] | None = None

    @property
    def of_strings(self) -> float:
        """Share of strings."""
        return self.strings_alike / max(self.strings, 1)

    @property
    def of_steps(self) -> float:
        """Share of steps."""
        return self.steps_alike / max(self.steps, 1)

    @property
    def exact(self) -> bool:
        """Whether no difference was seen."""
        return self.strings_alike == self.strings

    @property
    def counts(self) -> str:
        """How many strings and steps are alike, in words."""
        return (
            f"{self.strings_alike:,} of {self.strings:,} strings ({_share(self.of_strings)}), "
            f"{self.steps_alike:,} of {self.steps:,} steps ({_share(self.of_steps)})"
        )

    def __str__(self) -> str:
        said = f"{self.counts}\n  they were compared on {self.text}"
        if self.first_difference is not None:
            said += f"\n  they first differ after {shown(' '.join(self.first_difference))}"
        return said


def _share(share: float) -> str:
    """Write a share so that what is not all is never rounded up to all."""
    return "100%" if share == 1 else f"{min(share, 0.9999):.2%}"


def measure_fidelity(machine: CounterMachine, recorded: Recorded) -> Fidelity:
    """Run a machine over recorded strings and count where it decides as the network did."""
    strings = recorded.strings
    alike = (machine_decisions(machine, strings) == recorded.decided)[1:].all(axis=-1)
    wrong = ~alike & strings.taken
    first = None
    if wrong.any():
        length, column = (int(one[0]) for one in np.nonzero(wrong))
        first = tuple(machine.alphabet[code] for code in strings.codes[: length + 1, column])
    return Fidelity(
        len(strings.lengths),
        int((~wrong.any(axis=0)).sum()),
        int(strings.lengths.sum()),
        int(strings.lengths.sum() - wrong.sum()),
        strings.text,
        strings.brief,
        first,
    )


def machine_decisions(machine: CounterMachine, strings: Strings) -> Bool[np.ndarray, "states sequence output"]:
    """Give what a machine says at the start and after each symbol of each string."""
    return np.stack([one.said for one in configurations(machine, strings)])


class Configurations(NamedTuple):
    """Where strings have led a machine: (sequence,), and (sequence, counter) and (sequence, output)."""

    state: Int[np.ndarray, " sequence"]
    counters: Int[np.ndarray, "sequence counter"]
    view: Int[np.ndarray, " sequence"]
    said: Bool[np.ndarray, "sequence output"]


def configurations(machine: CounterMachine, strings: Strings) -> Iterator[Configurations]:
    """Give where a machine stands at the start and after each symbol of each string."""
    batch = strings.codes.shape[1]
    state, counters = np.zeros(batch, np.int64), np.zeros((batch, len(machine.counters)), np.int64)
    view = np.full(batch, machine.view_of(machine.start.counters))
    in_fail = np.zeros(len(machine.outputs), bool)
    in_fail[0] = machine.decision == "argmax"
    yield Configurations(state, counters, view, machine.output[state, view])
    for symbols in strings.codes:
        at = state, symbols, view
        counters = np.where(machine.reset[at], 0, counters) + machine.step[at]
        state = np.where(state == FAIL, FAIL, machine.next_state[at])
        view = np.zeros(batch, np.int64)
        for counter, (constants, radix) in enumerate(zip(machine.constants, machine.radices, strict=True)):
            of_counter = counters[:, counter]
            view = (
                view * radix + np.searchsorted(constants, of_counter) + np.searchsorted(constants, of_counter, "right")
            )
        yield Configurations(
            state, counters, view, np.where((state == FAIL)[:, None], in_fail, machine.output[state, view])
        )
