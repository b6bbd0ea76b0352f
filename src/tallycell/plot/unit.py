"""A unit's life: what it forgets and writes at each step, its cell beside its tally, what it shows, what is known."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.plot.life import Life, Span, live, require_spans
from tallycell.plot.sheet import (
    BLUE,
    COLUMNS,
    FAINT,
    INK,
    NORMAL,
    PAPER,
    SMALL,
    SOFT,
    VERMILION,
    fixed,
    folded,
    no_ticks,
    plain,
    sheet,
)  # fmt: skip
from tallycell.reading.page import say_r2
from tallycell.reading.reading import UnitReading
from tallycell.wording import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Span", "plot_unit"]

HEIGHTS = {"forgets": 0.62, "writes": 0.85, "cell": 2.0, "shows": 0.62, "quantity": 0.85}  # inches
MARKED = 160  # steps beside each other that are still wide enough for a mark each
APART = 14  # letters between two stretches
QUANTITY = "quantity: "


def plot_unit(
    trace: xr.Dataset, unit: UnitReading, given: Input | Sequence[Any] | None = None, quantities: Any = None, *,
    spans: Span | Sequence[Span] | None = None, beside: Sequence[str] = (),
) -> "Figure":  # fmt: skip
    r"""Draw what one unit does over a stretch of text, of dates, or of steps.

    Parameters
    ----------
    trace
        With i, f, g and c of every step; with o, what is shown is drawn too.
    unit
        The unit's reading: its sentence and its tally are in the picture. The trace may be one of other input.
    given
        What was read: an ``Input``, or the symbol of each step as :func:`tallycell.read_units` takes it.
    quantities
        Known quantities, as ``read_units`` takes them; those of the ``Input`` if None. The one that the unit follows is
        drawn behind its cell, on an axis of its own, laid so that both have the same mean and spread.
    spans
        Which steps; several stretches stand side by side. If None, those in which the cell moves most.
    beside
        Names of quantities that are drawn in panels of their own.

    Returns
    -------
    matplotlib.figure.Figure
        From above: the share of the cell that each step forgets (dark, with a cross: a reset); what it writes (a
        triangle: a full step up or down); the cell, its tally, and what it follows; what the output gate shows.

    Raises
    ------
    InputError
        If there is no such unit, sequence, span or quantity.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import tallycell as tc
    >>> big = 100.0
    >>> parameters = tc.LSTMParameters({
    ...     "weight_ih_l0": np.array([[0, 0], [0, 0], [big, -big], [0, 0]]), "weight_hh_l0": np.zeros((4, 1)),
    ...     "bias_ih_l0": np.array([big, big, 0, big]), "bias_hh_l0": np.zeros(4)})
    >>> text = "(()(()))()" * 30
    >>> trace = tc.record_trace(parameters, np.array([[one == "(", one == ")"] for one in text], dtype=float))
    >>> figure = plot_unit(trace, tc.read_units(trace, text).units[0], text, spans=Span(0, 40))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['forgets\n1 − f', 'writes\ni g', 'cell c', 'shows\nh']
    """
    wanted = (spans,) if isinstance(spans, Span) else tuple(spans) if spans is not None else (Span(0, 0),)
    sequences = dict.fromkeys(span.sequence for span in wanted)
    lives = {number: live(trace, unit, given, quantities, number) for number in sequences}
    chosen = require_spans(lives[0].liveliest(_followed(unit)) if spans is None else wanted, lives)
    first = lives[chosen[0].sequence]
    rows = ["forgets", "writes", "cell", *(["shows"] if first.shown is not None else [])]
    rows += [f"{QUANTITY}{name}" for name in beside]
    if missing := [name for name in beside if name not in first.quantities]:
        raise InputError(f"there is no quantity {listed(missing)}; there are {listed(first.quantities)}")
    heights = [HEIGHTS[row.split(":")[0]] for row in rows]
    with sheet(sum(heights) + 1.75) as figure:
        figure.suptitle(
            folded(f"Unit {unit.label}. {unit.sentence}", COLUMNS - 8), x=0.01, ha="left", fontsize=NORMAL + 1
        )
        widths = [span.end - span.begin for span in chosen]
        grid = figure.subplots(
            len(rows), len(chosen), sharex="col", sharey="row", squeeze=False, height_ratios=heights,
            width_ratios=widths, gridspec_kw={"hspace": 0.04, "wspace": 0.03},
        )  # fmt: skip
        for column, span in zip(grid.T, chosen, strict=True):
            _draw_span(dict(zip(rows, column, strict=True)), lives[span.sequence], span, unit, sum(widths))
        _name_axes(grid, rows, first, unit)
        _name_steps(figure, lives, chosen)
    return figure


def _draw_span(panels: dict[str, "Axes"], life: Life, span: Span, unit: UnitReading, steps: int) -> None:
    at = slice(span.begin, span.end)
    x = _places(life, span)
    width = (0.84 if steps <= MARKED else 1.35) * float(np.diff(x).min())
    _draw_forgetting(panels["forgets"], life, at, x, width, marked=steps <= MARKED)
    _draw_writing(panels["writes"], life, at, x, width, marked=steps <= MARKED)
    _draw_cell(panels["cell"], life, at, x, unit)
    _draw_notes(panels["cell"], life, span, x, unit)
    if life.shown is not None:
        _draw_showing(panels["shows"], life, at, x, width)
    for row, panel in panels.items():
        if row.startswith(QUANTITY):
            panel.step(x, life.quantities[row.removeprefix(QUANTITY)][at], where="mid", color=INK, linewidth=1.2)
    if span.title:
        room = int(0.85 * COLUMNS * (span.end - span.begin) / steps)
        panels["forgets"].set_title(folded(span.title, max(room, 12), 2), fontsize=NORMAL)
    _draw_symbols(list(panels.values())[-1], life, at, x)


def _places(life: Life, span: Span) -> np.ndarray:
    """Where steps stand from left to right: as dates or seconds where nothing is read that has a name."""
    if life.symbols is None and life.times is not None:
        dates: Any = import_module("matplotlib.dates")  # its functions have no types
        times = life.times[span.begin : span.end]
        return np.asarray(dates.date2num(times) if times.dtype.kind == "M" else times, dtype=float)
    return np.arange(span.begin, span.end, dtype=float)


# ---- panels ----------------------------------------------------------------------------------------------------------


def _draw_forgetting(panel: "Axes", life: Life, at: slice, x: np.ndarray, width: float, *, marked: bool) -> None:
    forgets, resets = 1 - life.f[at], life.resets[at]
    for which, colour, name in ((~resets, "#9c9c9c", "leaks"), (resets, "#3a3a3a", "resets")):
        panel.bar(x[which], forgets[which], width, color=colour, linewidth=0, gid=name, snap=marked)
    if marked:
        panel.plot(x[resets], np.full(int(resets.sum()), 0.5), linestyle="none", marker="x", color=PAPER, markersize=4)
    panel.axhline(0, color=SOFT, linewidth=0.6)
    panel.set_ylim(min(0.0, float(forgets.min()) * 1.1), max(1.0, float(forgets.max())))


def _draw_writing(panel: "Axes", life: Life, at: slice, x: np.ndarray, width: float, *, marked: bool) -> None:
    written = life.write[at]
    for which, colour, name in ((written > 0, BLUE, "up"), (written <= 0, VERMILION, "down")):
        panel.bar(x[which], written[which], width, color=colour, linewidth=0, gid=name, snap=marked)
    most = max(float(np.abs(life.write).max()), 1e-3)
    for which, marker, colour, side in (
        (life.increments[at], "^", BLUE, 1.22), (life.decrements[at], "v", VERMILION, -1.22),
    ):  # fmt: skip
        if marked:
            panel.plot(x[which], np.full(int(which.sum()), side * most), linestyle="none", marker=marker, color=colour,
                       markersize=4)  # fmt: skip
    panel.axhline(0, color=SOFT, linewidth=0.6)
    panel.set_ylim(-1.45 * most, 1.45 * most)


def _draw_cell(panel: "Axes", life: Life, at: slice, x: np.ndarray, unit: UnitReading) -> None:
    line = _line_of(life, unit)
    if line is not None and unit.follows is not None:
        slope, offset = line
        scaled = (life.quantities[unit.follows.quantity][at] - offset) / slope
        panel.step(x, scaled, where="mid", color=FAINT, linewidth=5, solid_joinstyle="miter", gid="quantity")
    panel.plot(x, life.c[at], color=BLUE, linewidth=1.8, gid="cell")
    panel.plot(x, life.tally[at], color=VERMILION, linewidth=1.3, linestyle=(0, (4, 2)), gid="tally")
    panel.margins(y=0.16)


def _followed(unit: UnitReading) -> str | None:
    return None if unit.follows is None else unit.follows.quantity


def _line_of(life: Life, unit: UnitReading) -> tuple[float, float] | None:
    """Slope and offset that lay a quantity over the cell that follows it: with one mean and one spread. Else None."""
    if unit.follows is None or unit.follows.quantity not in life.quantities:
        return None
    quantity = life.quantities[unit.follows.quantity]
    known = np.isfinite(quantity)
    if known.sum() < 2 or np.ptp(life.c[known]) == 0:
        return None
    slope = float(np.copysign(quantity[known].std() / life.c[known].std(), unit.follows.correlation))
    return (slope, float(quantity[known].mean() - slope * life.c[known].mean())) if slope else None


def _draw_notes(panel: "Axes", life: Life, span: Span, x: np.ndarray, unit: UnitReading) -> None:
    middle, line = sum(panel.get_ylim()) / 2, _line_of(life, unit)
    for step, note in sorted(span.notes.items()):
        where, c = x[step - span.begin], life.c[step]
        # Away from what else is drawn: below a high cell, and below one that its quantity has left behind.
        above = line is not None and (life.quantities[_followed(unit) or ""][step] - line[1]) / line[0] > c + 0.5
        below = c > middle or above
        left = (step - span.begin) > 0.55 * (span.end - span.begin)
        panel.annotate(
            folded(note, 30), (where, c), (-10 if left else 10, -30 if below else 30), textcoords="offset points",
            ha="right" if left else "left", va="top" if below else "bottom", fontsize=SMALL, zorder=6,
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkB": 3},
            bbox={"facecolor": PAPER, "alpha": 0.85, "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip


def _draw_showing(panel: "Axes", life: Life, at: slice, x: np.ndarray, width: float) -> None:
    assert life.shown is not None
    shown, hidden = life.shown[at], life.hidden[at]
    panel.bar(x[~hidden], shown[~hidden], width, color="#3a3a3a", linewidth=0, gid="shown", snap=len(x) <= MARKED)
    panel.bar(x[hidden], shown[hidden], width, color="#9c9c9c", linewidth=0, gid="hidden", snap=len(x) <= MARKED)
    panel.axhline(0, color=SOFT, linewidth=0.6)
    most = max(1.0, float(np.abs(life.shown).max()))
    panel.set_ylim(-most, most)


def _draw_symbols(panel: "Axes", life: Life, at: slice, x: np.ndarray) -> None:
    margin = 0.7 * float(np.diff(x).min())
    panel.set_xlim(x[0] - margin, x[-1] + margin)
    if life.symbols is not None:
        turned: dict[str, Any] = {} if life.in_letters else {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
        panel.set_xticks(x, life.symbols[at], family=fixed(), fontsize=SMALL, **turned)
        no_ticks(panel)
    elif life.times is not None and life.times.dtype.kind == "M":
        dates: Any = import_module("matplotlib.dates")  # its functions have no types
        locator = dates.AutoDateLocator(minticks=3, maxticks=10)
        panel.xaxis.set_major_locator(locator)
        panel.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


# ---- words around them -----------------------------------------------------------------------------------------------


def _name_axes(grid: Any, rows: list[str], life: Life, unit: UnitReading) -> None:
    names = {"forgets": "forgets\n1 − f", "writes": "writes\ni g", "cell": "cell c", "shows": "shows\nh"}
    for panels, row in zip(grid, rows, strict=True):
        name = row.removeprefix(QUANTITY)
        said = (
            names.get(row) or f"{plain(name, 20)}\n{plain(life.units.get(name, ''), 16) if name in life.units else ''}"
        )
        panels[0].set_ylabel(said, rotation=0, ha="right", va="center", multialignment="right")
        for panel in panels[1:]:
            panel.tick_params(axis="y", left=False)
            panel.spines["left"].set_color(FAINT)
        for panel in panels if row != rows[-1] else ():
            panel.tick_params(axis="x", bottom=False)
    cell = grid[rows.index("cell")]
    line = _line_of(life, unit)
    handles = _handles(unit, with_quantity=line is not None)
    cell[0].set_title(" ")  # keeps a line free for the legend, which may be wider than the first of several panels
    legend = cell[0].legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), borderpad=0)
    legend.set_in_layout(False)
    if line is not None and unit.follows is not None:
        slope, offset = line
        right = cell[-1].secondary_yaxis(
            "right", functions=(lambda c: offset + slope * c, lambda known: (known - offset) / slope)
        )
        units = life.units.get(unit.follows.quantity, unit.follows.units)
        right.set_ylabel(plain(unit.follows.quantity, 30) + (f" ({plain(units, 16)})" if units else ""))
        right.spines["right"].set_visible(True)


def _handles(unit: UnitReading, *, with_quantity: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    explains = "" if np.isnan(unit.r2) else f", R² = {say_r2(unit.r2, unit.r2_error)}"
    handles = [
        Line2D([], [], color=BLUE, linewidth=1.8, label="cell c"),
        Line2D([], [], color=VERMILION, linewidth=1.3, linestyle=(0, (4, 2)),
               label=f"its tally ({unit.parameters} numbers{explains})"),
    ]  # fmt: skip
    if with_quantity and unit.follows is not None:
        follows = f"{plain(unit.follows.quantity, 30)} (r = {unit.follows.correlation:+.2f})"
        handles.append(Line2D([], [], color=FAINT, linewidth=5, label=follows))
    return handles


def _name_steps(figure: "Figure", lives: dict[int, Life], spans: tuple[Span, ...]) -> None:
    """Say below what stands from left to right."""
    life = lives[spans[0].sequence]
    which = " and ".join(f"{span.begin:,} to {span.end - 1:,}" for span in spans)
    if life.symbols is not None:
        said = f"what was read, one {'letter' if life.in_letters else 'symbol'} a step (steps {which})"
    elif life.times is None:
        said = "step"
    else:
        said = f"date (steps {which})" if life.times.dtype.kind == "M" else f"time in seconds (steps {which})"
    figure.supxlabel(said, fontsize=SMALL)
