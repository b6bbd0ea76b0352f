"""The sheet that every picture is drawn on: its size, letters and colours, and names that stay plain text.

A sheet is as wide as a README's column, 900 pixels, and no letter on it is smaller than 8 points there. Its ground is
white and opaque, so that it looks the same on a light page, on a dark one and in print. The colours are those of Okabe
and Ito, which colour-blind readers tell apart; whatever a colour says, a mark, a place or a word says too.

Source of the colours: Okabe and Ito 2008, "Color universal design".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from tallycell.errors import MissingExtraError
from tallycell.wording import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, DPI = 9.0, 100  # inches, and dots in one of them: 900 pixels
SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0  # points
COLUMNS = 118  # letters of NORMAL size in a line over the whole width

PAPER, INK, SOFT, FAINT = "#ffffff", "#1a1a1a", "#595959", "#c4c4c4"
BLUE, VERMILION, GREEN, AMBER, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"

MOST_LETTERS = 40  # of a name
TEXT, EQUALLY_WIDE = "DejaVu Sans", "DejaVu Sans Mono"  # come with matplotlib
OTHER_SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic",
    "Noto Sans", "Arial Unicode MS",
)  # fmt: skip
_STYLE: dict[str, Any] = {
    "font.size": NORMAL, "axes.titlesize": NORMAL, "axes.labelsize": SMALL, "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL, "legend.fontsize": SMALL, "figure.titlesize": LARGE,
    "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": SOFT, "xtick.color": SOFT,
    "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "savefig.transparent": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.linewidth": 0.8,
    "legend.frameon": False, "axes.titlelocation": "left", "hatch.linewidth": 0.8,
    "text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False,
    "axes.formatter.limits": (-4, 6), "figure.constrained_layout.h_pad": 0.06, "figure.constrained_layout.w_pad": 0.06,
}  # fmt: skip


@contextmanager
def sheet(height: float) -> Iterator["Figure"]:
    """Give an empty sheet to draw on, whatever style the program has set for its own pictures.

    Parameters
    ----------
    height
        In inches.

    Yields
    ------
    matplotlib.figure.Figure
        Of no window. Every text that is put on it within the block is plain text: ``$`` is a dollar.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> with sheet(2.0) as figure:
    ...     _ = figure.suptitle("It costs $5 and $6")
    >>> figure.get_size_inches().tolist()
    [9.0, 2.0]
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        raise MissingExtraError("matplotlib", "plot") from missing
    with style.context(["default", _STYLE | {"font.family": list(_families())}]):
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        yield figure
        figure.draw_without_rendering()  # texts that are made as they are drawn, such as of ticks, are made here


def plain(text: object, most: int = MOST_LETTERS) -> str:
    r"""Write a name as the letters it is made of, in one line; of a long one only the beginning.

    What does not print, and what no font at hand can draw, stands as an escape.

    Examples
    --------
    >>> plain("$x$"), plain("a\x1b\u202eb"), plain("x" * 10_000, 8)
    ('$x$', 'a\\x1b\\u202eb', 'xxxxxxxx…')
    """
    said = shown(str(text), most)
    drawn = "".join(one if _can_draw(one) else one.encode("unicode_escape").decode() for one in said)
    return drawn if len(drawn) <= most else f"{drawn[:most]}…"


def folded(text: str, columns: int = COLUMNS, lines: int = 3) -> str:
    """Break a sentence into lines; what is beyond the last is cut.

    Examples
    --------
    >>> print(folded("one two three four five", 9, 2))
    one two
    three…
    """
    words = plain(text, columns * (lines + 1))
    return "\n".join(wrap(words, columns, max_lines=lines, placeholder="…"))


def percent(axis: Any, *, labels: bool = True) -> None:
    """Write the ticks of an axis from 0 to 1 as percent."""
    axis.set_ticks([0, 0.5, 1], ["0", "50", "100 %"] if labels else ["", "", ""])


def no_ticks(axes: "Axes") -> None:
    """Leave the marks of the ticks of an axis of symbols away: the symbols are the marks."""
    axes.tick_params(axis="x", length=0)


def fixed() -> list[str]:
    """Give the fonts of what was read and of rules, whose letters are equally wide; others draw what it lacks."""
    return [EQUALLY_WIDE, *_families()]


def _can_draw(letter: str) -> bool:
    return letter.isascii() or ord(letter) in _letters()


@cache
def _families() -> tuple[str, ...]:
    """Give the fonts to draw with: matplotlib's own, then those of other scripts that are installed here."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return (TEXT, *(name for name in OTHER_SCRIPTS if name in there))


@cache
def _letters() -> frozenset[int]:
    """Give the code points that the fonts have a picture of."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    paths = {fontManager.findfont(name) for name in _families()}
    return frozenset(code for path in paths for code in FT2Font(path).get_charmap())
