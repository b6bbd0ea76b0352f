"""A counter machine as source code that needs nothing: C99 with int64 counters, Python with integers of any size.

Both hold the same two tables that a machine comes down to: the different moves (next state, which counters are reset,
what is added) with the number of the move in each situation, and the different sayings likewise. What is written
depends on the machine alone, so that the same machine gives the same text.
"""

import re
from collections.abc import Iterable
from importlib.resources import files
from string import Template
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tallycell.errors import ParameterError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.wording import quoted

LARGEST = np.iinfo(np.int64).max
LONGEST = 4095  # bytes of a text that every C99 compiler takes


def to_c(machine: CounterMachine, *, prefix: str = "machine") -> str:
    """Write a machine as one C99 file, to be included or compiled as it is.

    It has ``struct machine_configuration`` and functions that begin, step and say; the comment at its top tells how
    they are used. A counter that would leave int64 is reported, and the configuration stays as it was.

    Parameters
    ----------
    machine
        Any machine whose constants fit into int64.
    prefix
        Before every name, so that several machines go into one program.

    Raises
    ------
    ParameterError
        If a constant does not fit into int64, a name is longer than every compiler takes (4095 bytes), or the prefix
        cannot begin a name in C.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> to_c(shipped_machine("parity")).splitlines()[0]
    '/* A counter machine: 2 symbols, 2 states, 0 counters, 1 outputs. Written by tallycell.'
    """
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", prefix):
        raise ParameterError(
            f"prefix is {quoted(prefix)}; it must begin with a letter and go on with letters, digits and _"
        )
    for name, constants in zip(machine.counters, machine.constants, strict=True):
        if any(not -LARGEST - 1 <= constant <= LARGEST for constant in constants):
            raise ParameterError(f"counter {quoted(name)} is compared with {constants}, which does not fit into int64")
    tables, counters = _tables_of(machine), len(machine.counters)
    moves = [
        f"{{{state}, {{{_listed(reset) or '0'}}}, {{{', '.join(map(_c_number, steps)) or '0'}}}}}"
        for state, reset, steps in tables.moves
    ]
    texts = {
        name: _c_list(map(_c_text, names))
        for name, names in (("symbols", machine.alphabet), ("outputs", machine.outputs))
    }
    return _template("counter_machine.c.txt").substitute(
        texts,
        about=_about(machine),
        prefix=prefix,
        PREFIX=prefix.upper(),
        symbol_count=len(machine.alphabet),
        state_count=len(machine.states),
        counter_count=counters,
        output_count=len(machine.outputs),
        views=machine.views,
        state_names=_c_list(_c_literal(name) for name in machine.states),
        counter_names=_c_list(_c_literal(name) for name in machine.counters or ("",)),
        constants=_c_list([_c_number(one) for constants in machine.constants for one in constants] or ["0"]),
        compared=_c_list([str(len(constants)) for constants in machine.constants] or ["0"]),
        moves=_c_list(moves),
        move_type=_c_type(len(tables.moves)),
        move_of=_c_list(map(str, tables.move_of.tolist())),
        sayings=_c_list(f"{{{_listed(saying)}}}" for saying in tables.sayings.astype(int).tolist()),
        saying_type=_c_type(len(tables.sayings)),
        saying_of=_c_list(map(str, tables.saying_of.tolist())),
        said_in_fail="output == 0" if machine.decision == "argmax" else "0",
    )


def to_python(machine: CounterMachine) -> str:
    """Write a machine as a Python 3 module without imports; its counters are integers of any size.

    The module has ``START``, ``advance``, ``run``, ``says`` and ``accepts``, which do as the methods of
    :class:`~tallycell.machine.counter_machine.CounterMachine` do; a configuration is a pair of the state's number (-1
    for fail) and the counters.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> module = {}
    >>> exec(to_python(shipped_machine("dyck-1")), module)
    >>> module["run"]("(("), module["accepts"]("(())"), module["accepts"]("())(")
    ((0, (2,)), True, False)
    """
    tables = _tables_of(machine)
    in_fail = machine.outputs[:1] if machine.decision == "argmax" else ()
    sayings = (tuple(np.array(machine.outputs, object)[saying]) for saying in tables.sayings)
    return _template("counter_machine.py.txt").substitute(
        about=_about(machine),
        alphabet=_wrapped(map(ascii, machine.alphabet)),
        states=_wrapped(map(ascii, machine.states)),
        counters=_python_tuple(map(ascii, machine.counters)),
        outputs=_wrapped(map(ascii, machine.outputs)),
        start=(0, (0,) * len(machine.counters)),
        constants=_python_tuple(str(constants) for constants in machine.constants),
        moves=_wrapped(str(move) for move in tables.moves),
        move_of=_wrapped(map(str, tables.move_of.tolist())),
        sayings=_wrapped(map(ascii, sayings)),
        saying_of=_wrapped(map(str, tables.saying_of.tolist())),
        in_fail=ascii(in_fail),
        symbols=len(machine.alphabet),
        views=machine.views,
    )


def _template(name: str) -> Template:
    return Template((files("tallycell.machine.running") / "templates" / name).read_text(encoding="utf-8"))


class _Tables(NamedTuple):
    moves: list[tuple[int, tuple[int, ...], tuple[int, ...]]]  # next state, whether each counter is reset, its step
    move_of: Int[np.ndarray, " state_symbol_view"]
    sayings: Bool[np.ndarray, "saying output"]
    saying_of: Int[np.ndarray, " state_view"]


def _tables_of(machine: CounterMachine) -> _Tables:
    counters = len(machine.counters)
    rows = np.concatenate([machine.next_state[..., None], machine.reset, machine.step], -1)
    different, move_of = np.unique(rows.reshape(-1, 1 + 2 * counters), axis=0, return_inverse=True)
    moves = [(row[0], tuple(row[1 : 1 + counters]), tuple(row[1 + counters :])) for row in different.tolist()]
    outputs = machine.output.reshape(-1, len(machine.outputs))
    sayings, saying_of = np.unique(outputs, axis=0, return_inverse=True)
    return _Tables(moves, move_of.reshape(-1), sayings, saying_of.reshape(-1))


def _about(machine: CounterMachine) -> str:
    """One line without the names of the machine, in which anything may stand."""
    parts = ("alphabet", "symbols"), ("states", "states"), ("counters", "counters"), ("outputs", "outputs")
    sizes = ", ".join(f"{len(getattr(machine, part))} {name}" for part, name in parts)
    return f"A counter machine: {sizes}. Written by tallycell."


def _wrapped(parts: Iterable[str], indent: str = "    ") -> str:
    """Parts of a list in lines of readable length; a long one has its own."""
    lines, line = [], indent[1:]
    for part in parts:
        if len(line) + len(part) > 118 and line.strip():
            lines.append(line)
            line = indent[1:]
        line += f" {part},"
    return "\n".join([*lines, line])


def _c_list(parts: Iterable[str]) -> str:
    return _wrapped(parts, " " * 8)


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def _python_tuple(parts: Iterable[str]) -> str:
    listed = _wrapped(parts)
    return f"(\n{listed}\n)" if listed.strip() else "()"


def _c_number(value: int) -> str:
    if value == -LARGEST - 1:
        return "INT64_MIN"  # its digits alone are too large a number
    return str(value) if abs(value) < 2**31 else f"{'-' * (value < 0)}INT64_C({abs(value)})"


def _c_type(numbers: int) -> str:
    return "uint8_t" if numbers <= 2**8 else "uint16_t" if numbers <= 2**16 else "uint32_t"


def _c_literal(name: str) -> str:
    """Text as UTF-8; what is not plain is written by its number, a question mark too, as three of them mean others."""
    raw = name.encode()
    if len(raw) > LONGEST:
        raise ParameterError(f"a name of the machine, {quoted(name, 40)} has {len(raw)} bytes, in C at most {LONGEST}")
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in raw)
    return f'"{"".join(plain)}"'


def _c_text(name: str) -> str:
    return f"{{{_c_literal(name)}, {len(name.encode())}}}"
