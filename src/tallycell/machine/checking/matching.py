"""A machine and a network put side by side: their symbols and outputs matched by name."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.recogniser import Recogniser
from tallycell.wording import shown


def matched(
    machine: CounterMachine, net: Recogniser, symbols: Sequence[str] | None = None
) -> tuple[Int[np.ndarray, " symbol"], Int[np.ndarray, " output"]]:
    """Match symbols and outputs by name.

    Returns
    -------
    tuple
        For each symbol of the machine its index in the network's alphabet, -1 if it does not occur; for each output of
        the network its index among the machine's.

    Raises
    ------
    InputError
        If that cannot be done.
    """
    if machine.decision != net.decision or sorted(machine.outputs) != sorted(net.outputs):
        machine_says, net_says = (shown(", ".join(one.outputs)) for one in (machine, net))
        raise InputError(
            f"the machine says {machine_says} by {machine.decision!r}, the network {net_says} by {net.decision!r}; "
            "they must have the same outputs and decision rule to be compared"
        )
    occurring = machine.alphabet if symbols is None else tuple(symbols)
    machine.encode(occurring)
    known = dict(zip(occurring, net.encode(occurring).tolist(), strict=True))
    letters = np.array([known.get(symbol, -1) for symbol in machine.alphabet])
    return letters, np.array([machine.outputs.index(output) for output in net.outputs])
