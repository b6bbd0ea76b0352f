"""Where the states of a machine stand in a picture and how edges run: by Graphviz where it is there, else by columns.

Graphviz is told sizes only, never a name. All lengths are inches, from the lower left.
"""

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Place = tuple[float, float]
Ends = tuple[int, int]

PATIENCE = 20  # seconds that Graphviz may take
POINTS = 72  # in an inch
GAP, MARGIN, LOOP = 0.5, 0.1, 0.42  # between columns; around; height of an edge back to its own state
START = 0.45  # in front of the first state, for the arrow that leads to it


@dataclass(frozen=True, eq=False)
class GraphLayout:
    """Places in a picture.

    Attributes
    ----------
    size
        Width and height.
    states
        Middle of each state.
    curves
        Of each edge, the control points of its cubic Bézier curves, three for each and the first, with its end.
    labels
        Middle of each edge's label.
    """

    size: Place
    states: tuple[Place, ...]
    curves: Mapping[Ends, Float[np.ndarray, "point 2"]]
    labels: Mapping[Ends, Place]


def lay_out(
    states: Sequence[Place], labels: Mapping[Ends, Place], *, across: bool = True, graphviz: bool = True
) -> GraphLayout:  # fmt: skip
    """Find places for states and for the labels of edges.

    Parameters
    ----------
    states, labels
        Width and height of each state, and of the label of each edge.
    across
        Whether the graph grows to the right; else downwards.
    graphviz
        Whether Graphviz is asked, if its program ``dot`` is there.

    Examples
    --------
    >>> layout = lay_out([(1.0, 0.5), (1.0, 0.5)], {(0, 1): (0.5, 0.2)}, graphviz=False)
    >>> layout.states[0][0] < layout.labels[0, 1][0] < layout.states[1][0]
    True
    """
    found = _by_graphviz(states, labels, across=across) if graphviz else None
    return found or _by_columns(states, labels)


# ---- Graphviz --------------------------------------------------------------------------------------------------------


def _by_graphviz(states: Sequence[Place], labels: Mapping[Ends, Place], *, across: bool) -> GraphLayout | None:
    program = shutil.which("dot")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-Tplain"], input=_question(states, labels, across=across), capture_output=True, text=True,
            timeout=PATIENCE, check=True,
        )  # fmt: skip
        found = _answer(done.stdout, len(states))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):  # another program of that name; a broken one
        return None
    return found if found.curves.keys() == labels.keys() and min(found.size) > 0 else None


def _question(states: Sequence[Place], labels: Mapping[Ends, Place], *, across: bool) -> str:
    lines = [
        f"digraph {{ rankdir={'LR' if across else 'TB'}; nodesep=0.35; ranksep=0.4; edge [dir=none];",
        'start [shape=point, fixedsize=true, width=0.08, label=""];',
        *(f'{k} [shape=box, fixedsize=true, width={w:.4f}, height={h:.4f}, label=""];'
          for k, (w, h) in enumerate(states)),
        "start -> 0 [minlen=1];",
    ]  # fmt: skip
    for (source, target), (width, height) in labels.items():
        box = f'WIDTH="{width * POINTS:.0f}" HEIGHT="{height * POINTS:.0f}"'
        table = f'<<TABLE BORDER="0" FIXEDSIZE="TRUE" {box}><TR><TD></TD></TR></TABLE>>'
        lines.append(f"{source} -> {target} [label={table}];")
    return "\n".join([*lines, "}"])


def _answer(plain: str, states: int) -> GraphLayout:
    """Read what ``dot -Tplain`` writes."""
    size, places, curves, labels = (0.0, 0.0), [(0.0, 0.0)] * states, {}, {}
    for line in plain.splitlines():
        words = shlex.split(line)
        if words[0] == "graph":
            size = float(words[2]), float(words[3])
        elif words[0] == "node" and words[1] != "start":
            places[int(words[1])] = float(words[2]), float(words[3])
        elif words[0] == "edge" and words[1] != "start":
            count = int(words[3])
            ends = int(words[1]), int(words[2])
            curves[ends] = np.array(words[4 : 4 + 2 * count], dtype=float).reshape(count, 2)
            labels[ends] = float(words[5 + 2 * count]), float(words[6 + 2 * count])
    return GraphLayout(size, tuple(places), curves, labels)


# ---- columns ---------------------------------------------------------------------------------------------------------


def _by_columns(states: Sequence[Place], labels: Mapping[Ends, Place]) -> GraphLayout:
    """Put each state into the column of its distance from the start; edges bow, so that both ways can be seen."""
    columns = _columns(len(states), labels)
    widest = [max(states[k][0] for k in column) for column in columns]
    loops = [max((labels[k, k][1] + LOOP for k in column if (k, k) in labels), default=0.0) for column in columns]
    between = [
        max((size[0] for ends, size in labels.items() if _spans(columns, ends, at)), default=0.0) + GAP
        for at in range(len(columns) - 1)
    ]
    tallest = max(
        sum(states[k][1] for k in column) + len(column) * (loop + 0.5)
        for column, loop in zip(columns, loops, strict=True)
    )
    places: dict[int, Place] = {}
    x = START
    for at, column in enumerate(columns):
        half = max(widest[at], *(labels[k, k][0] for k in column if (k, k) in labels), 0.0) / 2
        x += half
        for row, k in enumerate(column):
            places[k] = x, tallest * (1 - (row + 0.5) / len(column)) - loops[at] / 2
        x += half + (between[at] if at < len(between) else 0.0)
    curves, middles = {}, {}
    for ends, size in labels.items():
        curves[ends], middles[ends] = _bow(places, states, ends, size)
    return _around(states, labels, places, curves, middles)


def _columns(count: int, labels: Mapping[Ends, Place]) -> list[list[int]]:
    seen, columns = {0}, [[0]]
    while True:
        nearest = sorted({t for s, t in labels if s in columns[-1]} - seen)
        if not nearest:
            break
        seen |= set(nearest)
        columns.append(nearest)
    lost = [k for k in range(count) if k not in seen]
    return [*columns, lost] if lost else columns


def _spans(columns: list[list[int]], ends: Ends, at: int) -> bool:
    """Whether an edge runs between a column and the next."""
    of = {k: number for number, column in enumerate(columns) for k in column}
    low, high = sorted((of[ends[0]], of[ends[1]]))
    return low == at and high == at + 1


def _bow(
    places: Mapping[int, Place], states: Sequence[Place], ends: Ends, size: Place
) -> tuple[Float[np.ndarray, "point 2"], Place]:  # fmt: skip
    source, target = ends
    (x, y), (width, height) = places[source], states[source]
    if source == target:
        top, reach = y + height / 2, min(0.3, width / 3)
        curve = np.array([(x - reach, top), (x - reach, top + LOOP), (x + reach, top + LOOP), (x + reach, top)])
        return curve, (x, top + 0.75 * LOOP + size[1] / 2 + 0.03)
    a, b = np.array(places[source]), np.array(places[target])
    along = (b - a) / np.linalg.norm(b - a)
    aside = np.array([-along[1], along[0]])
    bow = aside * min(0.7, 0.18 + 0.12 * float(np.linalg.norm(b - a)))
    begin, end = (
        _at_border(a, states[source], along + 0.35 * aside),
        _at_border(b, states[target], -along + 0.35 * aside),
    )
    third = (end - begin) / 3
    curve = np.array([begin, begin + third + bow, begin + 2 * third + bow, end])
    middle = curve.T @ np.array([1, 3, 3, 1]) / 8
    off = aside * (abs(aside[0]) * size[0] / 2 + abs(aside[1]) * size[1] / 2 + 0.04)
    return curve, (float(middle[0] + off[0]), float(middle[1] + off[1]))


def _at_border(middle: np.ndarray, size: Place, towards: np.ndarray) -> np.ndarray:
    """Point at which one leaves a box on the way from its middle."""
    reach = [
        half / abs(step) if step else np.inf for half, step in zip((size[0] / 2, size[1] / 2), towards, strict=True)
    ]
    border: np.ndarray = middle + towards * min(reach)
    return border


def _around(
    states: Sequence[Place], labels: Mapping[Ends, Place], places: Mapping[int, Place],
    curves: Mapping[Ends, np.ndarray], middles: Mapping[Ends, Place],
) -> GraphLayout:  # fmt: skip
    """Move everything so that the lower left is at 0 and nothing lies outside."""
    boxes = [(*places[k], *states[k]) for k in range(len(states))]
    boxes += [(*middles[ends], *size) for ends, size in labels.items()]
    corners = np.array([(x + side * w / 2, y + side * h / 2) for x, y, w, h in boxes for side in (-1, 1)])
    points = np.concatenate([corners, *curves.values()])
    low = points.min(0) - MARGIN
    low[0] = min(low[0], places[0][0] - states[0][0] / 2 - START)
    width, height = points.max(0) + MARGIN - low

    def moved(place: Place) -> Place:
        return place[0] - float(low[0]), place[1] - float(low[1])

    return GraphLayout(
        (float(width), float(height)), tuple(moved(places[k]) for k in range(len(states))),
        {ends: curve - low for ends, curve in curves.items()}, {ends: moved(at) for ends, at in middles.items()},
    )  # fmt: skip
