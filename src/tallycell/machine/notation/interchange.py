"""Counter machines for other programs: JSON, which is read back exactly, and DOT, which Graphviz draws."""

import json
from typing import Any, NoReturn

import numpy as np

from tallycell.errors import FormatError, ParameterError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.graph import graph_of
from tallycell.machine.notation.tokens import written
from tallycell.wording import one_line, shown

FORMAT = "tallycell counter machine"
VERSION = 1

_NAMES = ("alphabet", "states", "counters", "outputs")
_TABLES = ("next_state", "reset", "step", "output")


def to_json(machine: CounterMachine, *, indent: int | None = None) -> str:
    """Write a machine as JSON: its fields, tables as nested lists, with the name and version of the format.

    ``next_state[state][symbol][view]`` is -1 for fail; a view is the places of the counters as digits, the first
    counter's highest (:meth:`~tallycell.machine.counter_machine.CounterMachine.view_of`).

    Parameters
    ----------
    machine
        The machine.
    indent
        As of :func:`json.dumps`.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> machine = shipped_machine("dyck-1")
    >>> from_json(to_json(machine)) == machine
    True
    """
    fields: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    fields |= {name: list(getattr(machine, name)) for name in _NAMES}
    fields["constants"] = [list(of_one) for of_one in machine.constants]
    fields["decision"] = machine.decision
    fields |= {name: getattr(machine, name).tolist() for name in _TABLES}
    return json.dumps(fields, indent=indent)


def from_json(text: str) -> CounterMachine:
    """Read a machine that :func:`to_json` wrote, or another program.

    Raises
    ------
    FormatError
        If the text is no machine in JSON of a version that is known.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"this is no JSON ({one_line(error)}); expected a {FORMAT}") from None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        _refuse(f'an object whose "format" is "{FORMAT}"', fields.get("format") if isinstance(fields, dict) else fields)
    if fields.get("version") != VERSION:
        _refuse(f'"version" {VERSION}; a newer tallycell may read it', fields.get("version"))
    expected = {"format", "version", "constants", "decision", *_NAMES, *_TABLES}
    if fields.keys() != expected:
        _refuse(f"the keys {', '.join(sorted(expected))}", ", ".join(sorted(fields)))
    for name in _NAMES:
        if not isinstance(fields[name], list) or not all(isinstance(one, str) for one in fields[name]):
            _refuse(f'a list of texts as "{name}"', fields[name])
    constants = fields["constants"]
    if not isinstance(constants, list) or not all(_is_integers(of_one) for of_one in constants):
        _refuse('a list of lists of integers as "constants"', constants)
    parts: dict[str, Any] = {name: tuple(fields[name]) for name in _NAMES}
    parts |= {name: _table(name, fields[name]) for name in _TABLES}
    try:
        return CounterMachine(constants=tuple(map(tuple, constants)), decision=fields["decision"], **parts)
    except ParameterError as error:
        raise FormatError(f"this JSON is no counter machine: {error}") from None


def to_dot(machine: CounterMachine, name: str = "machine") -> str:
    r"""Write a machine as a graph in DOT: states are nodes, rules edges, labelled as in the notation.

    What leads to fail is left out. A node says what is said there; two lines surround a state that always accepts.

    Parameters
    ----------
    machine
        The machine.
    name
        Name of the graph.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> print(to_dot(shipped_machine("parity")))
    digraph "machine" {
      rankdir=LR;
      start [shape=point, label=""];
      s0 [shape=ellipse, peripheries=2, label="even\naccept"];
      s1 [shape=ellipse, label="odd"];
      start -> s0;
      s0 -> s0 [label="a\l"];
      s0 -> s1 [label="b\l"];
      s1 -> s1 [label="a\l"];
      s1 -> s0 [label="b\l"];
    }
    <BLANKLINE>
    """
    graph = graph_of(machine)
    lines = [f"digraph {_dot_text(written(name))} {{", "  rankdir=LR;", '  start [shape=point, label=""];']
    for k, (state, said, accepts) in enumerate(zip(graph.states, graph.said, graph.accepts, strict=True)):
        always = ", peripheries=2" if accepts else ""
        lines.append(f"  s{k} [shape=ellipse{always}, label={_dot_text(written(state), *said)}];")
    lines.append("  start -> s0;")
    for (source, target), rules in graph.edges.items():
        lines.append(f"  s{source} -> s{target} [label={_dot_text(*rules, end='l')}];")
    return "\n".join([*lines, "}", ""])


def _dot_text(*lines: str, end: str = "n") -> str:
    """Quote lines for DOT; ``end`` n centres them, l puts them to the left."""
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + (f"\\{end}".join(escaped) + ("\\l" if end == "l" else "")) + '"'


def _table(name: str, given: Any) -> np.ndarray:
    try:
        array = np.array(given)
    except ValueError:
        _refuse(f'nested lists of equal lengths as "{name}"', "lists of different lengths")
    if array.size == 0:
        # Without counters the innermost lists are empty and have no type.
        return array.astype(np.int64)
    kind = "b" if name in ("reset", "output") else "i"
    if array.dtype.kind != kind:
        _refuse(f'{"true or false" if kind == "b" else "integers below 2^63"} throughout "{name}"', array.dtype)
    return array


def _is_integers(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in given)


def _refuse(expected: str, got: Any) -> NoReturn:
    raise FormatError(f"expected {expected}, got {shown(str(got))}")
