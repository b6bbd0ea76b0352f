"""Strings for a recogniser that is given nothing to read: those of the machine that it is."""

import numpy as np

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.machine.checking.sampling import Distribution
from tallycell.machine.counter_machine import FAIL
from tallycell.machine.extracting.extraction import extract_machine
from tallycell.machine.running.runner import Runner
from tallycell.recogniser import Recogniser

STRINGS = 300  # at most
MEAN = 20.0  # symbols
SEED = 0


def own_strings(recogniser: Recogniser) -> Input:
    """Draw strings that the machine in a recogniser does not fail on, as an input for the recogniser.

    Raises
    ------
    InputError
        If no machine can be extracted from it, or the machine fails on every string.

    Examples
    --------
    >>> import tallycell as tc
    >>> from tallycell.machine import shipped_machine
    >>> network = tc.compile_machine(shipped_machine("anbn"))
    >>> given = own_strings(network)
    >>> print(given.about)
    186 strings that its own machine does not fail on: lengths geometric with mean 20
    >>> print(tc.read_units(tc.record_trace(network, given), given).best(1)[0].sentence.partition(";")[0])
    Counts up by 1 at 'a' and down by 1 at 'b'
    """
    machine = extract_machine(recogniser).machine
    drawn = Distribution("geometric", MEAN).draw(machine, 4 * STRINGS, np.random.default_rng(SEED))
    alive = np.flatnonzero(Runner(machine).run(drawn).state != FAIL)[:STRINGS]
    if not alive.size:
        raise InputError("its own machine reads no string, so it needs something to read; give it a text or an array")
    order = np.array([recogniser.alphabet.index(symbol) for symbol in machine.alphabet])
    codes = [order[drawn[k]] for k in alive.tolist()]
    lengths = np.array([len(one) for one in codes])
    x = np.zeros((int(lengths.max()), len(codes), recogniser.inputs.shape[1]), recogniser.inputs.dtype)
    for k, one in enumerate(codes):
        x[: len(one), k] = recogniser.inputs[one]
    return Input(
        x,
        "strings of its own",
        f"{len(codes)} strings that its own machine does not fail on: lengths geometric with mean {MEAN:g}",
        tokens=[[recogniser.alphabet[code] for code in one.tolist()] for one in codes],
        lengths=lengths,
    )
