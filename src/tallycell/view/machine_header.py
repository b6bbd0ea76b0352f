"""A counter machine and the LSTM that it compiles to, as a page takes them: tables, program, state diagram, weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tallycell.errors import InputError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.graph import MachineGraph, graph_of
from tallycell.machine.notation.text import format_machine
from tallycell.plot.layout_of_graph import GraphLayout, Place, lay_out
from tallycell.recogniser import Recogniser
from tallycell.view.header import strict
from tallycell.wording import shown

PIXELS = 96  # in an inch
LETTER, LINE = 0.077, 0.18  # inches that a letter and a line take
WIDE, NARROW = 7.4, 3.5  # inches of room for a diagram: beside the program, and on a telephone
NUMBER = (0.25, 0.21)  # size of a number that stands for the rules of an edge
MOST_STATES, MOST_ENTRIES, MOST_WEIGHTS = 30, 20_000, 200_000  # what a page shows, holds of tables, and of weights
LONGEST, MOST_LINES = 40, 12  # letters of a line in a diagram, lines of a label


@dataclass(frozen=True)
class _Drawing:
    """What is written in a diagram, and what it is of."""

    graph: MachineGraph
    states: tuple[tuple[str, ...], ...]
    edges: dict[tuple[int, int], tuple[str, ...]]


def machine_header(
    machine: CounterMachine, network: Recogniser | None = None, *, graphviz: bool = True
) -> dict[str, Any]:  # fmt: skip
    """Give a machine and a network as JSON.

    Parameters
    ----------
    machine
        Of at most 30 states.
    network
        An LSTM of one layer with sigmoid and tanh over the same alphabet; None for what the machine compiles to.
    graphviz
        Whether Graphviz is asked where states stand, if it is there.

    Raises
    ------
    InputError
        If the machine is larger than a page shows, or the network is none that a page can run.

    Examples
    --------
    >>> from tallycell.machine import shipped_machine
    >>> header = machine_header(shipped_machine("anbn"), graphviz=False)
    >>> header["symbols"], len(header["network"]["recurrent"]), header["program"][-1]["state"]
    (['a', 'b'], 12, 1)
    """
    entries = machine.step.size + machine.next_state.size
    if len(machine.states) > MOST_STATES or entries > MOST_ENTRIES:
        raise InputError(
            f"the machine has {len(machine.states):,} states and tables of {entries:,} entries; a page shows "
            f"{MOST_STATES} states and {MOST_ENTRIES:,} entries: minimise it, or write it as DOT (to_dot)"
        )
    if network is None:
        from tallycell.machine.compiling.compilation import compile_machine

        network = compile_machine(machine)
    graph = graph_of(machine)
    return {
        "symbols": list(machine.alphabet), "shown": [_short(one) for one in machine.alphabet],
        "states": [_short(one) for one in machine.states], "counters": [_short(one) for one in machine.counters],
        "constants": [list(of_one) for of_one in machine.constants],
        "next": machine.next_state.tolist(), "reset": machine.reset.astype(int).tolist(), "step": machine.step.tolist(),
        "outputs": [_short(one) for one in machine.outputs], "output": machine.output.astype(int).tolist(),
        "accept": machine.outputs.index("accept") if "accept" in machine.outputs else None,
        "decision": machine.decision, "program": _program(machine),
        "wide": _diagram(graph, WIDE, graphviz), "narrow": _diagram(graph, NARROW, graphviz),
        "network": network_header(network, machine),
    }  # fmt: skip


def network_header(network: Recogniser, machine: CounterMachine) -> dict[str, Any]:
    """Give the weights of a network, so that a few lines can run it.

    Parameters
    ----------
    network
        Of one layer and one direction, with sigmoid and tanh.
    machine
        Over the same alphabet, with the same outputs.

    Returns
    -------
    dict
        ``driven`` (symbol, 4 unit): what a symbol and the biases add to the pre-activations, in the order i f g o;
        ``recurrent`` (4 unit, unit); ``readout`` (output, unit) and ``bias`` (output,).

    Raises
    ------
    InputError
        If it is none of that kind.
    """
    p = network.parameters
    slots = p.activations[0] if isinstance(p.activations, Sequence) else p.activations
    names = slots.gate.name, slots.cell.name, slots.hidden.name
    plain = (
        p.num_layers == 1 and not p.bidirectional and not p.proj_size and not p.peepholes and p.forget_gate == "own"
        and p.clip_pre is None and p.clip_cell is None and names == ("sigmoid", "tanh", "tanh")
    )  # fmt: skip
    if not plain:
        raise InputError(
            f"the page runs an LSTM of one layer with sigmoid and tanh; this one is {network.parameters!r}; leave it "
            "out, and the page runs what the machine compiles to"
        )
    if network.alphabet != machine.alphabet or network.outputs != machine.outputs:
        raise InputError(
            f"the network reads {network.alphabet} and says {network.outputs}, the machine reads {machine.alphabet} "
            f"and says {machine.outputs}; give two over the same symbols and outputs"
        )
    if 4 * p.hidden_size * (p.hidden_size + len(network.alphabet)) > MOST_WEIGHTS:
        raise InputError(f"the network has {p.hidden_size:,} units; a page holds {MOST_WEIGHTS:,} weights")
    layer = p.layer(0)
    weights = {name: np.asarray(weight, dtype=np.float64) for name, weight in p.weights.items()}
    driven = network.inputs.astype(np.float64) @ weights["weight_ih_l0"].T
    for bias in ("bias_ih_l0", "bias_hh_l0"):
        driven = driven + weights.get(bias, np.zeros(driven.shape[1]))
    begin = [state if state is None else state[0].tolist() for state in (network.h_0, network.c_0)]
    return {
        "units": layer.weight_hh.shape[1], "driven": driven.tolist(), "recurrent": weights["weight_hh_l0"].tolist(),
        "readout": network.readout_weight.astype(np.float64).tolist(),
        "bias": network.readout_bias.astype(np.float64).tolist(), "decision": network.decision,
        "h_0": begin[0], "c_0": begin[1],
    }  # fmt: skip


def _short(name: str) -> str:
    found: str = strict(shown(name, 24))
    return found


def _program(machine: CounterMachine) -> list[dict[str, Any]]:
    """Give the machine in its notation, cut into what is shared and what belongs to each state."""
    blocks: list[list[str]] = [[]]
    for line in format_machine(machine).strip().splitlines():
        if line.startswith("state "):
            blocks.append([])
        blocks[-1].append(line)
    are_all = len(blocks) == len(machine.states) + 1
    texts = ["\n".join(shown(line, 200) if line else "" for line in lines) for lines in blocks]
    return [{"state": k - 1 if k and are_all else None, "text": text} for k, text in enumerate(texts)]


# ---- the diagram -----------------------------------------------------------------------------------------------------


def _diagram(graph: MachineGraph, room: float, graphviz: bool) -> dict[str, Any]:
    """Lay a graph out in so much room, in pixels: with rules at the edges, or numbered where there is no room."""
    drawing = _Drawing(
        graph,
        tuple(tuple(shown(line, LONGEST) for line in (name, *said))
              for name, said in zip(graph.states, graph.said, strict=True)),
        {ends: tuple(shown(rule, LONGEST) for rule in rules) for ends, rules in graph.edges.items()},
    )  # fmt: skip
    states = [_size(lines, (0.3, 0.2)) for lines in drawing.states]
    written = {ends: _size(lines, (0.2, 0.08)) for ends, lines in drawing.edges.items()}
    if all(len(lines) <= MOST_LINES for lines in drawing.edges.values()):
        for across in (True, False):
            layout = lay_out(states, written, across=across, graphviz=graphviz)
            if layout.size[0] <= room and not _meet(layout, written):
                return _in_pixels(layout, drawing, numbered=False)
    numbers = dict.fromkeys(drawing.edges, NUMBER)
    tried = [lay_out(states, numbers, across=across, graphviz=graphviz) for across in (True, False)]
    return _in_pixels(min(tried, key=lambda one: (one.size[0] > room, one.size[0])), drawing, numbered=True)


def _size(lines: tuple[str, ...], pad: Place) -> Place:
    return LETTER * max(map(len, lines)) + pad[0], LINE * len(lines) + pad[1]


def _meet(layout: GraphLayout, labels: dict[tuple[int, int], Place]) -> bool:
    """Whether a label lies on another."""
    boxes = [(*layout.labels[ends], *size) for ends, size in labels.items()]
    return any(
        all(abs(a[k] - b[k]) < (a[k + 2] + b[k + 2]) / 2 - 0.03 for k in (0, 1))
        for n, a in enumerate(boxes) for b in boxes[n + 1 :]
    )  # fmt: skip


def _in_pixels(layout: GraphLayout, drawing: _Drawing, *, numbered: bool) -> dict[str, Any]:
    height = layout.size[1]

    def place(point: Sequence[float]) -> list[float]:
        return [round(float(point[0]) * PIXELS, 1), round((height - float(point[1])) * PIXELS, 1)]

    states = [
        {"at": place(at), "size": [round(side * PIXELS, 1) for side in _size(lines, (0.3, 0.2))], "lines": list(lines),
         "accepts": accepts}
        for at, lines, accepts in zip(layout.states, drawing.states, drawing.graph.accepts, strict=True)
    ]  # fmt: skip
    edges = [
        {"from": ends[0], "to": ends[1], "curve": [place(point) for point in layout.curves[ends]],
         "label": place(layout.labels[ends]), "lines": list(lines), "number": k + 1 if numbered else None}
        for k, (ends, lines) in enumerate(drawing.edges.items())
    ]  # fmt: skip
    size = [round(side * PIXELS, 1) for side in layout.size]
    return {"size": size, "states": states, "edges": edges}
