"""Success against length in one panel: a row a language, its first failures published, trained and hardened."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import InputError
from tallycell.plot.sheet import BLUE, INK, LARGE, PAPER, PURPLE, SMALL, VERMILION, folded, plain, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

LANE, BETWEEN = 0.155, 1.0  # inches of a lane; what parts two rows, in lanes
LOOKS: dict[str, dict[str, Any]] = {
    "published": {"marker": "*", "color": PURPLE, "markersize": 9},
    "trained": {"marker": "o", "color": VERMILION, "markersize": 5.5},
    "hardened": {"marker": "^", "color": INK, "markersize": 6},
}
ALL: dict[str, Any] = {"facecolor": "#cfe3f1", "edgecolor": BLUE, "linewidth": 0.6}
HALF: dict[str, Any] = {"facecolor": "#ffffff", "edgecolor": "#8dbbdb", "linewidth": 0.6, "hatch": "////"}
LEAST, NOTHING = 0.5, 0.62  # where the axis begins, and where what has no machine stands
PLACES = ((1, "1"), (10, "10"), (100, "100"), (1e3, "1,000"), (1e4, "10,000"), (1e5, "100,000"), (1e6, "1 million"),
          (1e7, "10 million"), (1e8, "100 million"))  # fmt: skip
END = 3e8  # of the axis
ARROW = 18  # points
BEYOND = 1.8  # of what was searched: where the mark of those stands that did not fail
NAME = 34  # letters in a line


@dataclass(frozen=True)
class Published:
    """A result that others report.

    Attributes
    ----------
    at
        Symbols of the string.
    label
        What it is and whose, in a few words.
    reached
        Whether it was right there; else it is where it first failed.
    """

    at: float
    label: str
    reached: bool = False


@dataclass(frozen=True)
class LanguageRow:
    """What is known of one language.

    Attributes
    ----------
    name
        What is learned.
    trained, hardened
        Of each network, the length in symbols at which it first failed: infinite if it never did as far as was looked,
        0 if there is no such network.
    searched
        How far was looked, in symbols.
    proved
        Of each hardened network, the length in symbols up to which it is proved right; 0 for none.
    published
        What others report.
    """

    name: str
    trained: tuple[float, ...]
    hardened: tuple[float, ...]
    searched: float
    proved: tuple[float, ...] = ()
    published: tuple[Published, ...] = ()


def plot_lengths(rows: Sequence[LanguageRow]) -> "Figure":
    """Draw the first failures of networks that learned languages, a row a language, on one axis of lengths.

    Parameters
    ----------
    rows
        What is known of each language, drawn from above.

    Returns
    -------
    matplotlib.figure.Figure
        A star is published, a circle is trained, a triangle hardened; beside a mark stands how many of how many
        networks failed first there. An arrow to the right: none failed as far as was looked. A bar: all
        hardened networks are proved to that length; a hatched one: half of them.

    Raises
    ------
    InputError
        If there are no rows.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> published = (Published(160, "best of 9"),)
    >>> row = LanguageRow("a^n b^n", (160.0, math.inf), (math.inf, math.inf), 2e6, (1.6e7, 1.6e7), published)
    >>> figure = plot_lengths([row])
    >>> figure.axes[0].get_xlabel()
    'length of the string at the first failure (symbols)'
    """
    if not rows:
        raise InputError("there are no rows to plot; give at least one language")
    heights = [BETWEEN + 2 + max(1, len(row.published)) for row in rows]
    ends = np.cumsum(heights)
    with sheet(1.35 + LANE * float(ends[-1])) as figure:
        panel = figure.subplots()
        panel.set_title("Where networks first fail: published, as they were trained, and hardened", fontsize=LARGE)
        panel.set_xscale("log")
        panel.set_xlim(LEAST, END)
        for k, (row, end, height) in enumerate(zip(rows, ends.tolist(), heights, strict=True)):
            if k % 2 == 0:
                panel.axhspan(end - height, end, color="#f4f4f4", linewidth=0, zorder=0)
            _draw_row(panel, row, end - height + BETWEEN)
        panel.set_ylim(float(ends[-1]), 0)
        panel.set_yticks(ends - np.array(heights) / 2, [folded(row.name, NAME, 2) for row in rows])
        panel.tick_params(axis="y", length=0)
        panel.set_xticks([at for at, _ in PLACES], [said for _, said in PLACES])
        panel.minorticks_off()
        panel.grid(axis="x", color="#dcdcdc", linewidth=0.7)
        panel.set_xlabel("length of the string at the first failure (symbols)")
        panel.spines["left"].set_visible(False)
        figure.legend(handles=_handles(), loc="outside upper left", ncols=6, columnspacing=1.4)
    return figure


def _draw_row(panel: "Axes", row: LanguageRow, top: float) -> None:
    """Draw what is published, a lane each, then a lane for what was trained and one for what was hardened."""
    for k, published in enumerate(row.published):
        _draw_published(panel, published, top + k)
    lane = top + max(1, len(row.published))
    _draw_found(panel, "trained", row.trained, row.searched, lane)
    _draw_proved(panel, row.proved, lane + 1)
    _draw_found(panel, "hardened", row.hardened, row.searched, lane + 1)


def _draw_proved(panel: "Axes", proved: tuple[float, ...], lane: float) -> None:
    """Draw to what length half of the networks are proved, hatched, and all of them."""
    ordered = sorted(proved)
    for at, look, name in (
        (ordered[(len(ordered) - 1) // 2] if ordered else 0, HALF, "half"), (min(proved, default=0), ALL, "all"),
    ):  # fmt: skip
        if at > LEAST:
            panel.barh(lane, min(at, END) - LEAST, 0.8, left=LEAST, zorder=1, gid=f"proved {name}", **look)
        if at > END and name == "all":
            panel.text(END * 0.85, lane, "without end ›", ha="right", va="center", fontsize=SMALL)


def _draw_published(panel: "Axes", published: Published, lane: float) -> None:
    panel.plot([published.at], [lane], linestyle="none", zorder=3, gid="published", **LOOKS["published"])
    if published.reached:
        _draw_arrow(panel, published.at, lane, PURPLE)
    far, aside = published.at > 3e5, ARROW + 4 if published.reached else 8
    panel.annotate(
        plain(published.label, 60), (published.at, lane), (-8 if far else aside, 0),
        textcoords="offset points", ha="right" if far else "left", va="center", fontsize=SMALL, zorder=4,
    )  # fmt: skip


def _draw_found(panel: "Axes", name: str, found: tuple[float, ...], searched: float, lane: float) -> None:
    """Draw one mark for each length at which networks failed, with how many of them did."""
    counts = sorted(Counter(found).items())
    for at, count in counts:
        never = math.isinf(at)
        place = BEYOND * searched if never else max(at, LEAST) if at else NOTHING
        look = LOOKS[name] | ({"markerfacecolor": PAPER} if never else {})
        panel.plot([place], [lane], linestyle="none", zorder=3, gid=f"{name} {at:g}", **look)
        if never:
            _draw_arrow(panel, place, lane, LOOKS[name]["color"])
        of_all = f" of {len(found)}" if at == counts[-1][0] else ""
        said = f"{count}{of_all}" + ("" if at else " without a machine")
        panel.annotate(
            said, (place, lane), (ARROW + 4 if never else 5, 0), textcoords="offset points", va="center",
            fontsize=SMALL, zorder=4, bbox={"facecolor": PAPER, "alpha": 0.7, "edgecolor": "none", "pad": 0.2},
        )  # fmt: skip


def _draw_arrow(panel: "Axes", at: float, lane: float, colour: str) -> None:
    panel.plot([at], [lane], linestyle="none", marker=_arrow(), markersize=2 * ARROW, color=colour, zorder=2,
               fillstyle="none", gid="arrow")  # fmt: skip


def _arrow() -> "Path":
    """Give a mark that points to the right from where it stands."""
    from matplotlib.path import Path

    points = [(0.3, 0.0), (1.0, 0.0), (0.78, 0.16), (1.0, 0.0), (0.78, -0.16)]
    return Path(points, [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO, Path.LINETO])


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [Line2D([], [], linestyle="none", label=name, **look) for name, look in LOOKS.items()]
    arrow = Line2D([], [], linestyle="none", marker=_arrow(), color=INK, markersize=ARROW + 4, fillstyle="none",
                   label="no failure found")  # fmt: skip
    return [*marks, arrow, Patch(label="all hardened proved", **ALL), Patch(label="half of them", **HALF)]
