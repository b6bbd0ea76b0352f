"""A counter machine as a state diagram: its rules on the edges, or numbered below where there is no room for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import InputError
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.graph import MachineGraph, graph_of
from tallycell.plot.layout_of_graph import Ends, GraphLayout, Place, lay_out
from tallycell.plot.sheet import BLUE, INK, PAPER, SMALL, WIDTH, fixed, folded, plain, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER, LINE = 0.0675, 0.15  # inches that a letter of the fixed font takes at SMALL
MOST_STATES, MOST_RULES, MOST_LINES = 30, 60, 16  # in a picture; lines of one label
STATE, RULE, SAID = 34, 60, 4  # letters in a line of a state and of a rule; lines of what is said
TALLEST = 8.0  # inches of a diagram
ROOM = WIDTH - 0.3
NUMBER = (0.24, 0.19)  # size of a number that stands for the rules of an edge


@dataclass(frozen=True, eq=False)
class _Texts:
    """Lines in each state, and at each edge."""

    states: tuple[tuple[str, ...], ...]
    edges: Mapping[Ends, tuple[str, ...]]


def plot_machine(machine: CounterMachine, *, graphviz: bool = True) -> "Figure":
    r"""Draw a counter machine as a state diagram.

    Parameters
    ----------
    machine
        Up to 30 states. What leads to fail is left out.
    graphviz
        Whether Graphviz is asked where things stand, if its program ``dot`` is there. It is told sizes, no names.

    Returns
    -------
    matplotlib.figure.Figure
        States are boxes with what is said there, those that always accept with two lines around; the dot leads to the
        start. At an edge stand its rules, as in the notation: symbols, condition, what counters do. Where there is no
        room for them edges are numbered, and the rules stand below.

    Raises
    ------
    InputError
        If the machine has more states than a picture holds.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> figure = plot_machine(shipped_machine("parity"))
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    ['even\naccept', 'odd', 'a', 'b', 'a', 'b']
    """
    if len(machine.states) > MOST_STATES:
        raise InputError(
            f"the machine has {len(machine.states):,} states; a picture holds {MOST_STATES}: write it as DOT (to_dot) "
            "and give that to Graphviz"
        )
    graph = graph_of(machine)
    texts = _texts_of(graph)
    layout, numbered = _fitted(texts, graphviz=graphviz)
    rules = _numbered_rules(texts, graph) if numbered else []
    drawn = {ends: (str(k + 1),) for k, ends in enumerate(texts.edges)} if numbered else texts.edges
    height = layout.size[1] + 0.3
    with sheet(height + LINE * len(rules) + (0.15 if rules else 0)) as figure:
        figure.set_layout_engine("none")
        whole = figure.get_figheight()
        panel = figure.add_axes((0.0, 1 - height / whole, 1.0, height / whole))
        panel.set_axis_off()
        aside = max(0.0, (WIDTH - layout.size[0]) / 2)
        panel.set(xlim=(-aside, WIDTH - aside), ylim=(-0.15, height - 0.15))
        _draw_states(panel, layout, texts, graph)
        for ends, lines in drawn.items():
            _draw_edge(panel, layout, ends, lines, numbered=numbered)
        for k, rule in enumerate(rules):
            figure.text(0.25 / WIDTH, (LINE * (len(rules) - k) - 0.05) / whole, rule, family=fixed(), fontsize=SMALL,
                        va="center")  # fmt: skip
    return figure


# ---- what is written -------------------------------------------------------------------------------------------------


def _texts_of(graph: MachineGraph) -> _Texts:
    states = tuple(
        (plain(name, STATE), *(part for line in said for part in folded(line, STATE, SAID).splitlines()))
        for name, said in zip(graph.states, graph.said, strict=True)
    )
    return _Texts(states, {ends: tuple(plain(rule, RULE) for rule in rules) for ends, rules in graph.edges.items()})


def _numbered_rules(texts: _Texts, graph: MachineGraph) -> list[str]:
    """Write the rules of each number, below the diagram."""
    lines = []
    for k, ((source, target), rules) in enumerate(texts.edges.items()):
        ends = f"{plain(graph.states[source], 20)} → {plain(graph.states[target], 20)}"
        lines += [f"{k + 1 if not n else '':>3}  {ends if not n else '':43}  {rule}" for n, rule in enumerate(rules)]
    rest = len(lines) - MOST_RULES
    return lines if rest <= 0 else [*lines[:MOST_RULES], f"     and {rest:,} more rules"]


def _size(lines: tuple[str, ...], pad: Place) -> Place:
    return LETTER * max(map(len, lines)) + pad[0], LINE * len(lines) + pad[1]


def _fitted(texts: _Texts, *, graphviz: bool) -> tuple[GraphLayout, bool]:
    """Lay the graph out with its rules if there is room for them, else with numbers; shrunk where it is too large."""
    states = [_size(lines, (0.3, 0.2)) for lines in texts.states]
    written = {ends: _size(lines, (0.26, 0.1)) for ends, lines in texts.edges.items()}
    if all(len(lines) <= MOST_LINES for lines in texts.edges.values()):
        for across in (True, False):
            layout = lay_out(states, written, across=across, graphviz=graphviz)
            if _has_room(layout, states, written):
                return layout, False
    numbers = dict.fromkeys(texts.edges, NUMBER)
    tried = [lay_out(states, numbers, across=across, graphviz=graphviz) for across in (True, False)]
    room = [layout for layout in tried if _has_room(layout, states, numbers)]
    return (room or [_shrunk(tried[0])])[0], True


def _has_room(layout: GraphLayout, states: list[Place], labels: Mapping[Ends, Place]) -> bool:
    """Whether the picture holds it, and no label lies on another or on a state."""
    if layout.size[0] > ROOM or layout.size[1] > TALLEST:
        return False
    boxes = [(*layout.labels[ends], *size) for ends, size in labels.items()]
    others = [*boxes, *((*at, *size) for at, size in zip(layout.states, states, strict=True))]
    return not any(_overlap(boxes[k], other) for k in range(len(boxes)) for other in others[k + 1 :])


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(abs(a[k] - b[k]) < (a[k + 2] + b[k + 2]) / 2 - 0.03 for k in (0, 1))


def _shrunk(layout: GraphLayout) -> GraphLayout:
    """Move everything closer together, so that the picture holds it."""
    scale = np.array([min(1.0, ROOM / layout.size[0]), min(1.0, TALLEST / layout.size[1])])

    def moved(place: Place) -> Place:
        return place[0] * float(scale[0]), place[1] * float(scale[1])

    return GraphLayout(
        moved(layout.size), tuple(map(moved, layout.states)),
        {ends: curve * scale for ends, curve in layout.curves.items()},
        {ends: moved(at) for ends, at in layout.labels.items()},
    )  # fmt: skip


# ---- what is drawn ---------------------------------------------------------------------------------------------------


def _draw_states(panel: "Axes", layout: GraphLayout, texts: _Texts, graph: MachineGraph) -> None:
    from matplotlib.patches import FancyBboxPatch

    for k, ((x, y), lines) in enumerate(zip(layout.states, texts.states, strict=True)):
        width, height = _size(lines, (0.3, 0.2))
        for inset in (0.0, 0.045) if graph.accepts[k] else (0.0,):
            w, h = width - 2 * inset, height - 2 * inset
            box = FancyBboxPatch(
                (x - w / 2, y - h / 2), w, h, boxstyle=f"round,pad=0,rounding_size={min(0.14, h / 2):.3f}",
                facecolor="#eef4f9", edgecolor=BLUE, linewidth=1.3, zorder=3, gid=f"state {k} {inset}",
            )  # fmt: skip
            panel.add_patch(box)
        panel.text(x, y, "\n".join(lines), ha="center", va="center", family=fixed(), fontsize=SMALL, zorder=4,
                   linespacing=1.25)  # fmt: skip
    (x, y), (width, _) = layout.states[0], _size(texts.states[0], (0.3, 0.2))
    _draw_start(panel, x - width / 2, y, layout)


def _draw_start(panel: "Axes", x: float, y: float, layout: GraphLayout) -> None:
    begin = max(x - 0.36, -max(0.0, (WIDTH - layout.size[0]) / 2) + 0.05)
    panel.plot([begin], [y], marker="o", color=INK, markersize=6, gid="start")
    panel.annotate("", (x, y), (begin, y), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.2,
                                                       "shrinkA": 2, "shrinkB": 0})  # fmt: skip


def _draw_edge(panel: "Axes", layout: GraphLayout, ends: Ends, lines: tuple[str, ...], *, numbered: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    curve = layout.curves[ends]
    codes = [Path.MOVETO, *([Path.CURVE4] * (len(curve) - 1))]
    arrow = FancyArrowPatch(path=Path(curve, codes), arrowstyle="-|>", mutation_scale=11, color=INK, linewidth=1.0,
                            zorder=2, gid=f"edge {ends[0]} {ends[1]}")  # fmt: skip
    panel.add_patch(arrow)
    plain_frame, round_frame = {"pad": 0.4, "edgecolor": "none"}, {"boxstyle": "round,pad=0.25", "edgecolor": INK}
    frame = round_frame | {"linewidth": 0.6} if numbered else plain_frame
    panel.text(
        *layout.labels[ends], "\n".join(lines), ha="center", va="center", family=fixed(), fontsize=SMALL, zorder=5,
        linespacing=1.25, multialignment="left", bbox={"facecolor": PAPER, **frame},
    )  # fmt: skip
