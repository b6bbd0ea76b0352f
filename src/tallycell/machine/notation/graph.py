"""A machine as a graph for pictures: states with what is said there, and what leads from one to another."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.notation.printing import STAY, Rule, program_of, rule_text, saying_text


@dataclass(frozen=True)
class MachineGraph:
    """States and the rules between them, each rule a line as in the notation.

    Attributes
    ----------
    states
        Names; the first is the start.
    said
        Of each state, what is said there.
    accepts
        Of each state, whether it always accepts.
    edges
        By (source, target), the rules. What leads to fail is left out.
    """

    states: tuple[str, ...]
    said: tuple[tuple[str, ...], ...]
    accepts: tuple[bool, ...]
    edges: Mapping[tuple[int, int], tuple[str, ...]]


def graph_of(machine: CounterMachine) -> MachineGraph:
    """Give the graph of a machine.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> graph = graph_of(shipped_machine("parity"))
    >>> graph.states, graph.accepts
    (('even', 'odd'), (True, False))
    >>> graph.edges
    {(0, 0): ('a',), (0, 1): ('b',), (1, 1): ('a',), (1, 0): ('b',)}
    """
    program = program_of(machine)
    said, edges = [], defaultdict(list)
    for state, own in enumerate(program.own):
        said.append(tuple(saying_text(machine, saying) for saying in (*program.shared.sayings, *own.sayings)))
        for rule in (*program.shared.rules, *own.rules):
            if rule.target != FAIL:
                edges[state, state if rule.target == STAY else rule.target].append(_said(machine, rule))
    return MachineGraph(
        machine.states, tuple(said), tuple("accept" in one for one in said),
        {ends: tuple(rules) for ends, rules in edges.items()},
    )  # fmt: skip


def _said(machine: CounterMachine, rule: Rule) -> str:
    symbols, guard, action = rule_text(machine, rule._replace(target=STAY))
    return "  ".join(part for part in (symbols, guard, "" if action == "hold" else action) if part)
