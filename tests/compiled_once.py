"""Networks of machines, each compiled once in a process, for tests of what is done with them.

Compiling takes seconds. What compiles, and what changes how it is compiled, calls ``compile_machine`` itself.
"""

import pickle

from tallycell.machine import shipped_machine
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.machine.counter_machine import CounterMachine
from tallycell.recogniser import Recogniser

_NETWORKS: dict[tuple[bytes, str], Recogniser] = {}


def network_for(machine: CounterMachine, dtype: str = "float32") -> Recogniser:
    """The network of a machine; nobody can change it."""
    key = pickle.dumps(machine), dtype
    if key not in _NETWORKS:
        _NETWORKS[key] = compile_machine(machine, dtype)
    return _NETWORKS[key]


def network_of(name: str, dtype: str = "float32") -> Recogniser:
    """The network of a shipped machine."""
    return network_for(shipped_machine(name), dtype)
