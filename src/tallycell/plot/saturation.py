"""How binary the gates are: of each unit, how often it is at the left limit against how often at the right."""

from typing import TYPE_CHECKING, Any

import xarray as xr

from tallycell.errors import InputError
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, UNIT, unit_label
from tallycell.plot.sheet import AMBER, BLUE, GREEN, INK, PURPLE, SKY, SMALL, SOFT, VERMILION, percent, plain, sheet
from tallycell.reading.reading import Reading
from tallycell.reading.saturation import HIDDEN_OF_C, read_saturation, saturated_share
from tallycell.wording import quoted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GATE = "gate"
NAMES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate", HIDDEN_OF_C: "what o shows"}
LIMITS = {
    "i": ("shut, nothing is written", "open"), "f": ("reset", "keep"), "g": ("down", "up"), "o": ("hidden", "shown"),
    HIDDEN_OF_C: ("at the lower limit", "at the upper limit"),
}  # fmt: skip
LOOKS = (("o", BLUE), ("^", VERMILION), ("s", GREEN), ("D", AMBER), ("v", PURPLE), ("P", SKY))  # by layer
NAMED = 3  # units that are named, of a reading
ACROSS = 3


def plot_saturation(reading: Reading | xr.Dataset) -> "Figure":
    """Draw how often each unit's gates are at their limits, one panel a gate and one for tanh(c).

    Parameters
    ----------
    reading
        What :func:`tallycell.read_units` or :func:`tallycell.read_saturation` gave, or a trace. Of a reading the units
        that read best are named.

    Returns
    -------
    matplotlib.figure.Figure
        Each unit is a mark: to the right the share of steps at its left limit, upwards the share at its right limit. On
        the dashed line it is always at one of them. The mark tells the layer; hollow ones read in reverse.

    Raises
    ------
    InputError
        If the reading holds no saturation, or this is something else.
    MissingExtraError
        If matplotlib is not installed.

    Notes
    -----
    Source of the picture: Karpathy, Johnson and Li 2015, "Visualizing and understanding recurrent networks".

    Examples
    --------
    >>> import numpy as np
    >>> import tallycell as tc
    >>> weights = {"weight_ih_l0": np.full((4, 1), 9.0), "weight_hh_l0": np.zeros((4, 1))}
    >>> figure = plot_saturation(tc.record_trace(tc.LSTMParameters(weights), np.array([[1.0], [-1.0], [0.0]])))
    >>> [axes.get_title("left") for axes in figure.axes][:2]
    ['i  input gate: 67 % at a limit', 'f  forget gate: 67 % at a limit']
    """
    saturation = _saturation_of(reading)
    best = [unit.label for unit in reading.best(NAMED)] if isinstance(reading, Reading) else []
    rows = [str(row) for row in saturation[GATE].to_numpy().tolist()]
    across = min(ACROSS, len(rows) + 1)
    down = -(-(len(rows) + 1) // across)
    with sheet(0.5 + 2.55 * down) as figure:
        figure.suptitle(_answer(saturation, reading))
        panels = list(figure.subplots(down, across, squeeze=False).flat)
        for panel, row in zip(panels, rows, strict=False):
            _draw_gate(panel, saturation.sel({GATE: row}), row, best)
        for panel in panels[len(rows) :]:
            panel.set_axis_off()
        _explain(panels[len(rows)], saturation)
    return figure


def _saturation_of(reading: Any) -> xr.Dataset:
    if isinstance(reading, Reading):
        if reading.saturation is None:
            raise InputError("this reading holds no saturation; plot what read_saturation gives of the trace")
        return reading.saturation
    if not isinstance(reading, xr.Dataset):
        raise InputError(f"cannot plot {quoted(reading)}; give a reading, a trace, or what read_saturation gave")
    return reading if {"left", "right"} <= set(reading.data_vars) else read_saturation(reading)


def _answer(saturation: xr.Dataset, reading: Reading | xr.Dataset) -> str:
    if not [row for row in saturation[GATE].to_numpy().tolist() if row != HIDDEN_OF_C]:
        return "How binary it is"
    said = f"How binary its gates are: {_percent(saturated_share(saturation).mean())} of their values are at a limit"
    nothing = reading.nothing_learned if isinstance(reading, Reading) else None
    return said if nothing is None else f"{said} ({_percent(nothing.saturated)} where nothing is learned)"


def _percent(share: Any) -> str:
    return f"{100 * float(share):.0f} %"


def _draw_gate(panel: "Axes", of_gate: xr.Dataset, row: str, best: list[str]) -> None:
    shares = of_gate["left"] + of_gate["right"]
    symbol = of_gate.attrs.get("hidden", HIDDEN_OF_C) if row == HIDDEN_OF_C else row
    panel.set_title(f"{plain(symbol, 12)}  {NAMES[row]}: {_percent(shares.mean())} at a limit")
    panel.plot([0, 1], [1, 0], color=SOFT, linewidth=0.8, linestyle="--", zorder=1)
    for k, layer in enumerate(of_gate[LAYER].to_numpy().tolist()):
        marker, colour = LOOKS[k % len(LOOKS)]
        for direction in of_gate[DIRECTION].to_numpy().tolist():
            here = of_gate.sel({LAYER: layer, DIRECTION: direction})
            left, right = here["left"].to_numpy(), here["right"].to_numpy()
            hollow = direction == DIRECTIONS[1]
            panel.plot(
                left, right, linestyle="none", marker=marker, markersize=5, alpha=0.75, clip_on=False,
                markerfacecolor="none" if hollow else colour, markeredgecolor=colour if hollow else "white",
                markeredgewidth=1.0 if hollow else 0.4, gid=f"{row} {layer} {direction}",
            )  # fmt: skip
            for unit, x, y in zip(here[UNIT].to_numpy().tolist(), left, right, strict=True):
                if (label := unit_label(layer, direction, unit)) in best:
                    _name(panel, label, x, y, best.index(label))
    panel.set(xlim=(0, 1), ylim=(0, 1), box_aspect=0.82)
    percent(panel.xaxis)
    percent(panel.yaxis)
    panel.set_xlabel(f"steps at its left limit: {LIMITS[row][0]}")
    panel.set_ylabel(f"at its right: {LIMITS[row][1]}")


def _name(panel: "Axes", label: str, x: float, y: float, place: int) -> None:
    panel.plot([x], [y], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=INK, clip_on=False)
    # Towards the empty half of the square, each further out than the one before.
    panel.annotate(
        label, (x, y), (34, 4 + 5 * place) if y > 0.55 else (-4 if x > 0.8 else 16, 16 + 12 * place),
        textcoords="offset points", fontsize=SMALL, zorder=5,
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "shrinkB": 4},
    )  # fmt: skip


def _explain(panel: "Axes", saturation: xr.Dataset) -> None:
    """Say how the picture is read, and which mark is which layer."""
    from matplotlib.lines import Line2D

    told = (
        "Each mark is a unit.\n\nOn the dashed line it is always at\none of its limits: it is binary.\n\n"
        "At the lower left it never is."
    )
    panel.text(0, 1, told, va="top", transform=panel.transAxes, linespacing=1.25)
    marks = [
        Line2D([], [], linestyle="none", marker=LOOKS[k % len(LOOKS)][0], color=LOOKS[k % len(LOOKS)][1],
               label=f"layer {layer}")
        for k, layer in enumerate(saturation[LAYER].to_numpy().tolist()[: len(LOOKS)])
    ]  # fmt: skip
    if DIRECTIONS[1] in saturation[DIRECTION].to_numpy():
        marks.append(Line2D([], [], linestyle="none", marker="o", markerfacecolor="none", markeredgecolor=SOFT,
                            label="reads in reverse"))  # fmt: skip
    if len(marks) > 1:
        panel.legend(handles=marks, loc="upper left", bbox_to_anchor=(-0.03, 0.45))
