"""Effects: what the outputs lose without each unit, with intervals, and what each unit pushes in words beside it."""

import math
from itertools import islice
from typing import TYPE_CHECKING

from tallycell.effect.effects import IN_WORDS, Effects, UnitEffect
from tallycell.errors import InputError
from tallycell.plot.sheet import BLUE, COLUMNS, INK, NORMAL, SMALL, SOFT, folded, plain, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNT = 15
ROW = 0.37  # inches
BESIDE = 70  # letters


def plot_effects(effects: Effects, kind: str | None = None, *, count: int = COUNT) -> "Figure":
    """Draw what the outputs lose when units are held, those that cost the most first.

    Parameters
    ----------
    effects
        What :func:`tallycell.measure_effects` gave.
    kind
        How units are held; the first kind that was measured if None.
    count
        How many, at most.

    Returns
    -------
    matplotlib.figure.Figure
        One row a unit: the loss, its 95 % interval, and in words what the unit pushes when it is shown and what is
        worse without it. A hollow mark is an effect that cannot be told from noise.

    Raises
    ------
    InputError
        If units were not held so, or none is to be drawn.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"kind": ["zero"], "group": ["0.0", "0.1"], "layer": ("group", [0, 0]), "unit": ("group", [0, 1]),
    ...           "direction": ("group", ["forward"] * 2)}
    >>> values = {name: (("kind", "group"), [v]) for name, v in
    ...           {"loss": [0.5, 0.1], "low": [0.4, -0.1], "high": [0.6, 0.3]}.items()}
    >>> figure = plot_effects(Effects(xr.Dataset(values, coords), "bits", "bits a symbol", 1.5, 4000))
    >>> figure.axes[0].get_xlabel()
    'what is lost with the cell held at 0: bits a symbol, of 1.5'
    """
    if count < 1:
        raise InputError(f"count is {count}; give how many units are drawn, at least 1")
    kind = effects.kind_of(kind)
    found = list(islice((one for one in effects.ranked(kind) if math.isfinite(one.loss)), count))
    with sheet(1.6 + ROW * len(found)) as figure:
        figure.suptitle(folded(effects.answer(kind), COLUMNS - 8), x=0.01, ha="left", fontsize=NORMAL + 1)
        panel, words = figure.subplots(1, 2, width_ratios=(1, 1.05), sharey=True)
        _draw_losses(panel, found)
        words.set_axis_off()
        words.set_xlim(0, 1)
        for row, one in enumerate(found):
            words.text(0.0, row, folded(_said(one), BESIDE, 2), va="center", fontsize=SMALL, linespacing=1.15)
        panel.set_yticks(range(len(found)), [plain(one.label, 16) for one in found])
        panel.set_ylim(len(found) - 0.4, -0.6)
        panel.set_ylabel("unit")
        lost = f"what is lost with the cell {IN_WORDS[kind]}: {plain(effects.unit, COLUMNS)}{effects.of_free}"
        panel.set_xlabel(folded(lost, COLUMNS // 2, 2))
        figure.supxlabel(folded(effects.say_sure(kind)), x=0.01, ha="left", fontsize=SMALL)
    return figure


def _said(one: UnitEffect) -> str:
    worst = one.say_worst()
    said = "; ".join(filter(None, [one.say_push(), worst and f"without it {worst}"]))
    if not said and one.is_sure:
        return "raises and lowers no output by itself"
    return said if one.is_sure else f"cannot be told from noise{f' ({said})' if said else ''}"


def _draw_losses(panel: "Axes", found: list[UnitEffect]) -> None:
    panel.axvline(0, color=SOFT, linewidth=0.8)
    for row, one in enumerate(found):
        colour = BLUE if one.is_sure else SOFT
        if math.isfinite(one.low):
            panel.plot([one.low, one.high], [row, row], color=colour, linewidth=1.8, gid=f"interval {row}")
            panel.plot([one.low, one.high], [row, row], linestyle="none", marker="|", color=colour, markersize=7)
        panel.plot(
            [one.loss], [row], marker="o", markersize=6, markeredgecolor=colour, gid=f"loss {row}",
            markerfacecolor=colour if one.is_sure else "white",
        )  # fmt: skip
    panel.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    panel.tick_params(axis="y", length=0, labelcolor=INK)
    panel.margins(x=0.06)
