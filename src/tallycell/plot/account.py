"""The account of an output: what each unit and each step made of it, and their sums at the edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tallycell.effect.account import CELL, PART, TOKEN, Account
from tallycell.errors import InputError
from tallycell.names import DIRECTION, LAYER, TIME, UNIT, unit_label
from tallycell.plot.life import mark_of
from tallycell.plot.sheet import (
    BLUE,
    COLUMNS,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS, LETTERS, WORDS = 10, 64, 32  # rows, and columns of letters or of words, that a picture holds
REST, OTHERS = "…", "other units"
MARKED, STRONG = 0.08, 0.5  # of the largest entry: from here on it has a sign, from here on a bold one
ROW = 0.2  # inches


def plot_account(account: Account, tokens: Sequence[str] | None = None, *, units: int = UNITS) -> "Figure":
    r"""Draw what each unit and each step made of an output.

    Parameters
    ----------
    account
        What :func:`tallycell.explain_output` gave.
    tokens
        The symbol of each step, from the first on; those of the account if None.
    units
        How many are drawn one by one, the largest first; the others are one row.

    Returns
    -------
    matplotlib.figure.Figure
        Units by steps; an orange field with a + raises the output, a blue one with a - lowers it. Above stands the sum
        of each step, on the right that of each unit with what was left of its initial state. The steps around the
        one that is explained are shown; all others are one column on their side.

    Raises
    ------
    InputError
        If there are fewer tokens than steps, or no unit is to be drawn.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tallycell import LSTMParameters, Recogniser, explain_output
    >>> weights = {"weight_ih_l0": np.repeat([[9.0], [0], [2], [9]], 2, axis=1), "weight_hh_l0": np.zeros((4, 1))}
    >>> weights["weight_ih_l0"][2, 1] = -2
    >>> network = Recogniser(("a", "b"), np.eye(2), LSTMParameters(weights), np.ones((1, 1)), np.zeros(1), ("yes",))
    >>> figure = plot_account(explain_output(network, np.eye(2)[[0, 1, 1]], step=2, output="yes"), "abb")
    >>> figure.axes[0].get_ylabel()
    'part in\nthe output,\nall units'
    """
    if units < 1:
        raise InputError(f"units is {units}; give how many are drawn one by one, at least 1")
    symbols = _symbols_of(account, tokens)
    values = _cells(account.entries.sum(PART)).to_numpy()
    window = _window_of(account, values, symbols)
    rows, sums, labels = _rows_of(account, values, units)
    table, columns = window.columns(rows), window.names(symbols)
    letters = all(len(name) == 1 for name in columns)
    with sheet(2.1 + ROW * len(labels) + (0.0 if letters else 0.6)) as figure:
        figure.suptitle(folded(_answer(account), COLUMNS - 8, 2), x=0.01, ha="left", fontsize=NORMAL + 1)
        heights = (1.0, ROW * len(labels))
        grid = figure.subplots(2, 2, height_ratios=heights, width_ratios=(8, 1.25), sharex="col", sharey="row")
        (above, corner), (field, beside) = grid
        corner.set_axis_off()
        corner.text(0, 0.9, "+ raises it\n− lowers it", transform=corner.transAxes, va="top", fontsize=SMALL)
        _draw_field(field, table, labels, columns, letters=letters)
        _draw_sums(above, table.sum(0))
        _draw_units(beside, sums)
        figure.supxlabel(_steps_in_words(window, symbols), fontsize=SMALL)
    return figure


def _answer(account: Account) -> str:
    rest = {"the initial states": float(account.initial.sum()), "the bias": account.bias}
    parts = [f"{float(account.entries.sum()):+.3g} from what was read"]
    parts += [f"{value:+.3g} from {name}" for name, value in rest.items() if value]
    what = f"{plain(account.name)} is {account.output:.3g} at step {account.step:,}"
    return f"{what}, with the gates as they were: {', '.join(parts)}"


def _symbols_of(account: Account, tokens: Sequence[str] | None) -> tuple[str, ...] | None:
    given: Sequence[Any] | None = tokens
    if given is None and TOKEN in account.entries.coords:
        given = account.entries[TOKEN].to_numpy().tolist()
    if given is None:
        return None
    steps = account.entries.sizes[TIME]
    if len(given) < steps:
        raise InputError(f"got {len(given):,} tokens for {steps:,} steps; give one a step")
    return tuple(mark_of(str(one)) for one in given[:steps])


@dataclass(frozen=True)
class _Window:
    """Steps that have a column each, and whether those before, and behind, have one together."""

    begin: int
    end: int
    earlier: bool
    later: bool

    def columns(self, values: np.ndarray) -> np.ndarray:
        """Give one column a step, and sums at the edges: together they are all of the values."""
        before, behind = values[:, : self.begin].sum(1, keepdims=True), values[:, self.end :].sum(1, keepdims=True)
        parts = [*([before] if self.earlier else []), values[:, self.begin : self.end],
                 *([behind] if self.later else [])]  # fmt: skip
        return np.concatenate(parts, axis=1)

    def names(self, symbols: tuple[str, ...] | None) -> list[str]:
        """Name each column."""
        steps = range(self.begin, self.end)
        own = [str(step) for step in steps] if symbols is None else [symbols[step] for step in steps]
        return [*([REST] if self.earlier else []), *own, *([REST] if self.later else [])]


def _window_of(account: Account, values: np.ndarray, symbols: tuple[str, ...] | None) -> _Window:
    """Choose the steps up to the one that is explained; where what comes later counts too, as many behind it."""
    step, steps = account.step, values.shape[1]
    letters = symbols is not None and all(len(one) == 1 for one in symbols)
    most = LETTERS if letters else WORDS
    behind = bool(np.any(values[:, step + 1 :]))
    begin = max(0, step + 1 - (most // 2 if behind else most))
    end = min(steps, begin + most) if behind else step + 1
    return _Window(begin, end, begin > 0, behind and end < steps)


def _rows_of(account: Account, values: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Give the rows of the largest units, and of all others together; their sums; their names."""
    sums = _cells(account.by_unit()).to_numpy()
    order = np.argsort(-np.abs(sums), kind="stable")
    chosen, others = order[:units], order[units:]
    names = _labels(_cells(account.by_unit()))
    labels = [f"unit {names[k]}" for k in chosen]
    if not len(others):
        return values[chosen], sums[chosen], labels
    rows = np.concatenate([values[chosen], values[others].sum(0, keepdims=True)])
    return rows, np.append(sums[chosen], sums[others].sum()), [*labels, f"{len(others):,} {OTHERS}"]


def _cells(values: xr.DataArray) -> xr.DataArray:
    return values.stack({CELL: [LAYER, DIRECTION, UNIT]}).transpose(CELL, ...)


def _labels(cells: xr.DataArray) -> list[str]:
    return [unit_label(int(layer), str(direction), int(unit)) for layer, direction, unit in cells[CELL].to_numpy()]


def _steps_in_words(window: _Window, symbols: tuple[str, ...] | None) -> str:
    rest = f"; {REST} is the sum of all others" if window.earlier or window.later else ""
    if symbols is None:
        return f"step{rest}"
    return f"what was read, one symbol a step (steps {window.begin:,} to {window.end - 1:,}{rest})"


def _draw_field(panel: "Axes", table: np.ndarray, labels: list[str], columns: list[str], *, letters: bool) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    most = float(np.abs(table).max()) or 1.0
    colours = LinearSegmentedColormap.from_list("lowers raises", [BLUE, "#b9d7ea", PAPER, "#f7cfae", VERMILION])
    panel.imshow(table, cmap=colours, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(table):
        if abs(value) >= MARKED * most:
            strong = abs(value) >= STRONG * most
            panel.text(column, row, "+" if value > 0 else "−", ha="center", va="center", fontsize=SMALL + 1,
                       color=INK, fontweight="bold" if strong else "normal")  # fmt: skip
    panel.set_yticks(range(len(labels)), labels)
    turned: dict[str, Any] = {} if letters else {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    panel.set_xticks(range(len(columns)), columns, family=fixed(), fontsize=SMALL, **turned)
    no_ticks(panel)
    panel.tick_params(axis="y", length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _draw_sums(panel: "Axes", sums: np.ndarray) -> None:
    for which, colour, hatch in ((sums > 0, VERMILION, ""), (sums < 0, BLUE, "////")):
        panel.bar(np.flatnonzero(which), sums[which], 0.84, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0)
    panel.axhline(0, color=SOFT, linewidth=0.6)
    panel.set_ylabel("part in\nthe output,\nall units", rotation=0, ha="right", va="center")
    panel.tick_params(axis="x", length=0, labelbottom=False)


def _draw_units(panel: "Axes", by_unit: np.ndarray) -> None:
    for which, colour, hatch in ((by_unit > 0, VERMILION, ""), (by_unit <= 0, BLUE, "////")):
        panel.barh(np.flatnonzero(which), by_unit[which], 0.7, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0)
    panel.axvline(0, color=SOFT, linewidth=0.6)
    panel.set_title("all steps", loc="center", fontsize=SMALL)
    panel.set_xlabel("part in the output")
    panel.tick_params(axis="y", length=0, labelleft=False)
    low, high = min(0.0, float(by_unit.min())), max(0.0, float(by_unit.max()))
    panel.set_xlim(low - 0.1 * (high - low or 1), high + 0.1 * (high - low or 1))
