"""What decides for a language: a network, or a machine; and the share of strings that it decides rightly.

What is judged are decisions after each symbol: a string is right only if every decision on it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from tallycell.errors import InputError
from tallycell.learning.languages import Language
from tallycell.machine.checking.blocks import Codes
from tallycell.machine.checking.deciding import Decider, decide_strings
from tallycell.machine.checking.network_runner import NetworkRunner
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.running.runner import Run, Runner
from tallycell.recogniser import Recogniser


class MachineDecider:
    """A counter machine that decides as a network does: its outputs in a language's order.

    Raises
    ------
    InputError
        If the machine has other outputs than the language.
    """

    def __init__(self, machine: CounterMachine, language: Language) -> None:
        if set(machine.outputs) != set(language.outputs) or set(machine.alphabet) != set(language.alphabet):
            raise InputError(
                f"the machine reads {machine.alphabet} and says {machine.outputs}, {language.name} has "
                f"{language.alphabet} and {language.outputs}; give a machine of that language"
            )
        self._runner = Runner(machine)
        self._letters = np.array(machine.encode(language.alphabet), np.uint8)
        self._outputs = [machine.outputs.index(output) for output in language.outputs]

    def run(
        self, codes: Int[np.ndarray, "sequence time"], state: Run | None = None
    ) -> tuple[Bool[np.ndarray, "sequence time output"], Run]:
        """Give what is chosen after each symbol, and where the machine then stands."""
        run = self._runner.run(self._letters[codes], after=state, keep_says=True)
        return self._runner.sayings[run.each_says][..., self._outputs], run


def decider_of(subject: Recogniser | CounterMachine, language: Language) -> Decider:
    """Give what decides for a network or a machine.

    Raises
    ------
    InputError
        If it is not of that language.
    """
    if isinstance(subject, CounterMachine):
        return MachineDecider(subject, language)
    found = (subject.alphabet, subject.outputs, subject.decision)
    if found != (language.alphabet, language.outputs, language.decision):
        raise InputError(
            f"the network reads {found[0]} and says {found[1]} by {found[2]!r}, {language.name} has "
            f"{language.alphabet}, {language.outputs} and {language.decision!r}; give a network of that language"
        )
    return NetworkRunner(subject)


@dataclass(frozen=True)
class Share:
    """How many strings of one length were decided rightly, at every symbol.

    Attributes
    ----------
    length
        Symbols of each string.
    strings, right
        How many strings, and of those without a wrong decision.
    symbols
        Share of right decisions.
    """

    length: int
    strings: int
    right: int
    symbols: float

    @property
    def all_right(self) -> bool:
        """Whether no decision on any string was wrong."""
        return self.right == self.strings


def share_right(decider: Decider, language: Language, strings: Sequence[Codes]) -> Share:
    """Judge strings; the length that is told is that of the longest."""
    decided = decide_strings(decider, language.truth, strings)
    symbols = 1 - float(decided.wrong.sum()) / max(int(decided.asked.sum()), 1)
    return Share(max(map(len, strings)), len(strings), int((decided.wrong == 0).sum()), symbols)
