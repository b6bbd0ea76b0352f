"""Machines for other programs: JSON is read back exactly, DOT is a graph of what the rules do."""

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_machines import DYCK, odd_machines
from tallycell.errors import FormatError
from tallycell.machine import CounterMachine, from_json, parse, shipped_machine, to_dot, to_json
from tallycell.machine.counter_machine import FAIL


@settings(max_examples=100)
@given(odd_machines(), st.sampled_from([None, 2]))
def test_json_is_read_back_as_the_equal_machine(machine: CounterMachine, indent: int | None) -> None:
    assert from_json(to_json(machine, indent=indent)) == machine


def _json(**changes: object) -> str:
    return json.dumps({**json.loads(to_json(parse(DYCK))), **changes})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "this is no JSON"),
        ("[" * 100_000, "this is no JSON"),
        ("[]", 'expected an object whose "format" is "tallycell counter machine", got []'),
        (_json(format="x"), 'expected an object whose "format" is "tallycell counter machine", got x'),
        (_json(version=2), 'expected "version" 1; a newer tallycell may read it, got 2'),
        (
            _json(more=1),
            "expected the keys alphabet, constants, counters, decision, format, next_state, output, outputs",
        ),
        (_json(alphabet="()"), 'expected a list of texts as "alphabet", got ()'),
        (_json(states=[0]), 'expected a list of texts as "states", got [0]'),
        (_json(constants=[[0.5]]), 'expected a list of lists of integers as "constants", got [[0.5]]'),
        (_json(constants=[True]), 'expected a list of lists of integers as "constants", got [True]'),
        (_json(next_state=[[[0, 0, 0], [0]]]), 'expected nested lists of equal lengths as "next_state"'),
        (_json(next_state=[[[0, 0, 0], [0, 0, 0.5]]]), 'expected integers below 2^63 throughout "next_state"'),
        (_json(step=[[[[2**64]] * 3] * 2]), 'expected integers below 2^63 throughout "step"'),
        (_json(reset=[[[[1]] * 3] * 2]), 'expected true or false throughout "reset"'),
        (_json(output=[[[True]] * 2]), "this JSON is no counter machine: output of the machine has shape (1, 2, 1)"),
        (_json(decision=["argmax"]), "this JSON is no counter machine: decision is ['argmax']"),
        (
            _json(outputs=["\ud800"]),
            "this JSON is no counter machine: the outputs of a machine must be texts that a file",
        ),
    ],
)
def test_json_that_is_no_machine_is_refused(text: str, expected: str) -> None:
    with pytest.raises(FormatError, match=re.escape(expected)):
        from_json(text)


def test_json_says_what_it_is_and_its_version() -> None:
    fields = json.loads(to_json(parse(DYCK)))
    assert (fields["format"], fields["version"]) == ("tallycell counter machine", 1)
    assert fields["next_state"] == [[[0, 0, 0], [-1, -1, 0]]]
    assert fields["step"] == [[[[1], [1], [1]], [[0], [0], [-1]]]]


_TEXT = r'"((?:[^"\\]|\\.)*)"'


def _graph(dot: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Nodes and edges with their labels: as much of DOT as is written here."""
    first, *lines, last, end = dot.split("\n")
    assert re.fullmatch(rf"digraph {_TEXT} {{", first)
    assert (last, end) == ("}", "")
    nodes, edges = {}, {}
    for line in lines:
        if match := re.fullmatch(rf"  (\w+) \[(?:\w+=\w+, )+label={_TEXT}\];", line):
            nodes[match[1]] = match[2]
        elif match := re.fullmatch(rf"  (\w+) -> (\w+)(?: \[label={_TEXT}\])?;", line):
            edges[match[1], match[2]] = match[3]
        else:
            assert line == "  rankdir=LR;"
    return nodes, edges


def test_dot_has_states_as_nodes_and_rules_as_edges() -> None:
    nodes, edges = _graph(to_dot(shipped_machine("anbn")))
    assert nodes == {
        "start": "",
        "s0": r"climbing\nlegal a\nlegal b when n > 0",
        "s1": r"falling\nlegal b when n > 0\naccept when n = 0",
    }
    assert edges == {
        ("start", "s0"): None,
        ("s0", "s0"): r"a  n +1\l",
        ("s0", "s1"): r"b  n > 0  n -1\l",
        ("s1", "s1"): r"b  n > 0  n -1\l",
    }


def test_dot_surrounds_states_that_always_accept() -> None:
    dot = to_dot(shipped_machine("parity"))
    assert [line.split()[0] for line in dot.split("\n") if "peripheries=2" in line] == ["s0"]
    assert "peripheries" not in to_dot(shipped_machine("anbn"))


def test_dot_shows_odd_names_as_the_notation_writes_them() -> None:
    odd = parse('alphabet a\nstate "\\n":\non a -> "say \\"x\\""\nstate "say \\"x\\"":\non a -> "\\n"\naccept')
    nodes, _ = _graph(to_dot(odd, "two words"))
    assert (nodes["s0"], nodes["s1"]) == (r"\"\\n\"", r"\"say \\\"x\\\"\"\naccept")
    assert to_dot(odd, "two words").startswith(r'digraph "\"two words\"" {')


@settings(max_examples=40)
@given(odd_machines())
def test_dot_has_an_edge_wherever_a_rule_leads(machine: CounterMachine) -> None:
    nodes, edges = _graph(to_dot(machine, machine.states[0]))
    assert len(nodes) == 1 + len(machine.states)
    sources, _, _ = (machine.next_state != FAIL).nonzero()
    leads = {(f"s{a}", f"s{b}") for a, b in zip(sources, machine.next_state[machine.next_state != FAIL], strict=True)}
    assert edges.keys() == leads | {("start", "s0")}


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_what_is_written() -> None:
    for name in ("anbncn", "shuffle-6", "line-over-80"):
        drawn = subprocess.run(
            ["dot", "-Tsvg"], input=to_dot(shipped_machine(name)).encode(), capture_output=True, check=True
        )
        assert b"</svg>" in drawn.stdout
        assert drawn.stderr == b""
