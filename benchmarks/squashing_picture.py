"""The picture of ``python -m benchmarks squashing``: success and first failures of each choice, a column a language."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallycell.plot.saving import save_picture
from tallycell.plot.sheet import BLUE, FAINT, LARGE, PAPER, SMALL, VERMILION, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS: dict[bool, dict[str, Any]] = {
    True: {"marker": "o", "color": BLUE, "label": "own forget gate", "markersize": 5.5},
    False: {"marker": "^", "color": VERMILION, "label": "no forget gate, the cell of 1997", "markersize": 6},
}
LANES = {True: -0.19, False: 0.19}  # of a row of height 1
TITLES = {"anbn": "a^n b^n", "dyck-1": "brackets", "tomita-4": "no 000"}
UNITS = {"anbn": "n", "dyck-1": "symbols", "tomita-4": "symbols"}
SEARCHED = {"anbn": 10_000, "dyck-1": 2000, "tomita-4": 2000}
LEARNED_TO = {"anbn": None, "dyck-1": 50, "tomita-4": 40}  # symbols; n of a^n b^n is drawn without a bound
BEYOND = 2.2  # of what was searched: where those stand that failed nowhere
SAID = {
    "sigmoid, tanh": "sigmoid, tanh",
    "hard_sigmoid, hard_tanh": "hard sigmoid, hard tanh",
    "sigmoid, relu / tanh": "writes relu, shows tanh",
    "sigmoid, tanh / relu": "writes tanh, shows relu",
    "sigmoid, relu": "writes and shows relu",
    "softsign_gate, softsign": "softsign",
    "sigmoid, sine / tanh": "writes sine, shows tanh",
}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw success above first failures, of the plain recipe and of that with noise and slope."""
    of_languages = [row for row in rows if row["task"] in TITLES]
    names = list(dict.fromkeys(row["functions"] for row in of_languages))
    with sheet(10.4) as figure:
        panels = figure.subplots(4, len(TITLES), sharey=True)
        figure.suptitle("Which networks learn, and where those that learned fail first", fontsize=LARGE)
        for k, task in enumerate(TITLES):
            for top, pressed, said in ((0, False, ""), (2, True, ", with noise and slope")):
                mine = [row for row in of_languages if row["task"] == task and row["pressed"] == pressed]
                _draw_learned(panels[top, k], mine, names)
                _draw_failures(panels[top + 1, k], mine, names, task)
                panels[top, k].set_title(TITLES[task] + said)
        for row_of_panels in panels:
            row_of_panels[0].set_yticks(range(len(names)), [SAID[name] for name in names])
            row_of_panels[0].set_ylim(len(names) - 0.5, -0.5)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save_picture(figure, path)


def _ground(panel: "Axes", count: int) -> None:
    for k in range(0, count, 2):
        panel.axhspan(k - 0.5, k + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.grid(axis="x", color="#dcdcdc", linewidth=0.7)


def _draw_learned(panel: "Axes", rows: list[dict[str, Any]], names: list[str]) -> None:
    """Draw the share of seeds that are right on all training strings, as a bar that ends in a mark."""
    for forget, look in LOOKS.items():
        mine = {
            row["functions"]: sum(row["learned"]) / len(row["learned"]) for row in rows if row["forget_gate"] == forget
        }
        lanes = [k + LANES[forget] for k in range(len(names))]
        shares = [mine[name] for name in names]
        panel.hlines(lanes, 0, shares, color=look["color"], linewidth=1.6, zorder=2)
        panel.plot(shares, lanes, linestyle="none", zorder=3, clip_on=False, **look)
    _ground(panel, len(names))
    panel.set_xlim(0, 1.04)
    panel.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    panel.set_xlabel("seeds right on all training strings")


def _draw_failures(panel: "Axes", rows: list[dict[str, Any]], names: list[str], task: str) -> None:
    """Draw where networks that learned fail first, on a log axis; at its end those that never did."""
    end = SEARCHED[task]
    for row in rows:
        lane = names.index(row["functions"]) + LANES[row["forget_gate"]]
        found = [n for n, learned in zip(row["first_failure"], row["learned"], strict=True) if learned]
        look = {name: one for name, one in LOOKS[row["forget_gate"]].items() if name != "label"} | {"markersize": 4}
        for place in sorted({n or end * BEYOND for n in found}):
            never = {"markerfacecolor": PAPER} if place > end else {}
            panel.plot([place], [lane], linestyle="none", zorder=3, **look | never)
            count = sum((n or end * BEYOND) == place for n in found)
            if count > 1 and (LEARNED_TO[task] or place > end):  # elsewhere places are too near to each other
                how = {"textcoords": "offset points", "va": "center", "fontsize": SMALL, "zorder": 4}
                panel.annotate(str(count), (place, lane), (5, 0), **how)
    _ground(panel, len(names))
    panel.set_xscale("log")
    panel.set_xlim(8, end * BEYOND * 1.7)
    ticks = [(10, "10"), (100, "100"), (1000, "1,000"), (10_000, "10,000")]
    shown = [(at, said) for at, said in ticks if at < end]
    panel.set_xticks([*(at for at, _ in shown), end * BEYOND], [*(said for _, said in shown), "none"])
    panel.minorticks_off()
    panel.axvline(end * BEYOND / 1.5, color=FAINT, linewidth=0.8, zorder=1)
    if LEARNED_TO[task] is not None:
        panel.axvline(LEARNED_TO[task], color=FAINT, linewidth=0.8, linestyle="--", zorder=1)
    panel.set_xlabel(f"first failure ({UNITS[task]}); none to {end:,}", fontsize=SMALL)
