"""The plot of the scoreboard: for each row, how much succeeds by length, with published results marked."""

from collections.abc import Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import MissingExtraError
from tallycell.files import write_file
from tallycell.learning.rows import AtLengths, Mark, Reach, Row
from tallycell.learning.scoring import COLUMNS, share_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3  # panels
PANEL = (5.2, 3.4)  # inches
HEAD = 0.4
PUBLISHED = "#c2185b"
HALF = 0.6  # of the width: a mark beyond is written on its left
STYLES: dict[str, dict[str, Any]] = {
    "trained": {"color": "#b5651d", "linestyle": "-", "linewidth": 2.0, "marker": "o"},
    "snapped": {"color": "#1f6f8b", "linestyle": "--", "linewidth": 2.0, "marker": "s"},
    "hardened": {"color": "#2a2a2a", "linestyle": ":", "linewidth": 2.6, "marker": "^"},
}
SHIFT = {"trained": 0.0, "snapped": 0.006, "hardened": -0.006}  # so that lines that agree can all be seen


def draw_board(there: Sequence[tuple[Row, Sequence[dict[str, Any]]]], path: Path) -> None:
    """Draw one panel a row into a picture.

    For a language in n: the share of seeds whose first failure is beyond n. Else: the share of strings, over all seeds,
    that are right at a length.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    InputError
        If the picture cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        raise MissingExtraError("matplotlib", "plot") from missing
    down = ceil(len(there) / ACROSS)
    across = min(ACROSS, len(there))
    figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * down + HEAD), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for panel, (row, results) in zip(panels, there, strict=False):
        _draw_row(panel, row, results)
    for panel in panels[len(there) :]:
        panel.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=10)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": ""})
    write_file(path, drawn.getvalue())


def _draw_row(panel: "Axes", row: Row, results: Sequence[dict[str, Any]]) -> None:
    places = _places(row)
    for column in COLUMNS:
        shares = [np.mean([share_at(row, one[column], place) for one in results]) for place in places]
        markers = {} if isinstance(row.measure, AtLengths) else {"marker": None}
        panel.plot(
            places, np.array(shares) + SHIFT[column], label=column, markersize=4, **{**STYLES[column], **markers}
        )
    for target in row.measure.target if isinstance(row.measure, AtLengths) else (row.measure.target,):
        panel.axvline(target, color="#888888", linewidth=0.8, linestyle=(0, (2, 3)))
    panel.set_xscale("log")
    panel.set_ylim(-0.05, 1.08)
    for mark in row.marks:
        _draw_mark(panel, mark)
    panel.set_title(
        f"{row.key}: {row.language.title}, {row.hidden} {'unit' if row.hidden == 1 else 'units'}".replace("$", r"\$"),
        fontsize=10,
    )
    reach = isinstance(row.measure, Reach)
    panel.set_xlabel("n" if reach else "symbols", fontsize=9)
    panel.set_ylabel(f"share of {len(results)} seeds right" if reach else "share of strings right", fontsize=9)
    panel.grid(alpha=0.25)
    panel.tick_params(labelsize=8)


def _places(row: Row) -> Sequence[int]:
    """Every length that was measured; for a language in n, numbers up to the target, ever further apart."""
    if isinstance(row.measure, AtLengths):
        return row.measure.lengths
    return sorted({round(place) for place in np.geomspace(1, row.measure.target, 200)})


def _draw_mark(panel: "Axes", mark: Mark) -> None:
    """Draw a published result, with its name towards the middle of the panel."""
    panel.plot([mark.at], [mark.share], linestyle="none", marker="*", markersize=11, color=PUBLISHED, zorder=3)
    label = f"{mark.label}, of symbols" if mark.of_symbols else mark.label
    left, right = np.log(panel.get_xlim())
    towards_left = (np.log(mark.at) - left) / (right - left) > HALF
    panel.annotate(
        label, (mark.at, mark.share), xytext=(-9 if towards_left else 9, -9 if mark.share > HALF else 5),
        textcoords="offset points", ha="right" if towards_left else "left", va="center", fontsize=8, color=PUBLISHED,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
