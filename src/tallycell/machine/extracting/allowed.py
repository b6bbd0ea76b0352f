"""Which inputs a network is meant to read: all strings, those of an automaton, or a sample."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.recogniser import Recogniser
from tallycell.wording import listed

Inputs = CounterMachine | Iterable[Sequence[str]] | None


@dataclass(frozen=True, eq=False)
class Automaton:
    """Which symbols may follow: (state, symbol), the next state or ``FAIL``; state 0 is the start."""

    next_state: Int[np.ndarray, "state symbol"]


@dataclass(frozen=True, eq=False)
class AllowedInputs:
    """Inputs that a network is meant to read.

    Attributes
    ----------
    automaton
        Which symbols may follow; for a sample, all.
    sample
        The strings, as symbol numbers, if it is a sample; else None.
    text
        In words.
    """

    automaton: Automaton
    sample: tuple[Int[np.ndarray, " time"], ...] | None
    text: str


def allowed_inputs(net: Recogniser, inputs: Inputs) -> AllowedInputs:
    """Understand what a caller says of the inputs.

    Parameters
    ----------
    net
        The network that reads them.
    inputs
        None for all strings; a counter machine without counters that fails where an input is not allowed; or strings.

    Raises
    ------
    InputError
        If the machine has counters or another alphabet, if there are no strings, or one has a symbol that is not in
        the alphabet.
    """
    every = Automaton(automaton_of(net.alphabet, None))
    if inputs is None:
        return AllowedInputs(every, None, "all strings")
    if isinstance(inputs, CounterMachine):
        return AllowedInputs(
            Automaton(automaton_of(net.alphabet, inputs)),
            None,
            f"strings of an automaton of {len(inputs.states)} states",
        )
    sample = tuple(net.encode(string) for string in inputs)
    if not any(len(codes) for codes in sample):
        raise InputError("inputs holds no strings; give strings, a machine without counters, or None for all strings")
    return AllowedInputs(every, sample, f"a sample of {len(sample):,} strings")


def automaton_of(alphabet: Sequence[str], machine: CounterMachine | None) -> Int[np.ndarray, "state symbol"]:
    """Read off which symbols may follow: the next state, or ``FAIL``; symbols in the order of an alphabet.

    Parameters
    ----------
    alphabet
        The symbols.
    machine
        A machine without counters that fails where an input is not allowed; None if all are.

    Raises
    ------
    InputError
        If the machine has counters or another alphabet.
    """
    if machine is None:
        return np.zeros((1, len(alphabet)), np.int64)
    if machine.counters:
        raise InputError(
            f"the machine that says which inputs are allowed has the counters {listed(machine.counters)}; give one "
            "without counters, or strings"
        )
    if set(machine.alphabet) != set(alphabet):
        raise InputError(
            f"the machine that says which inputs are allowed has the alphabet {machine.alphabet}, but {tuple(alphabet)}"
            " is read; they must be the same"
        )
    table: np.ndarray = machine.next_state[:, machine.encode(alphabet), 0]
    return table
