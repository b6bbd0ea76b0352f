"""What tests of pictures share: small values of every kind, and the pictures made of them."""

import math
from functools import cache

import numpy as np
import xarray as xr

import tallycell as tc
from tallycell import plot
from tallycell.effect.effects import Effects, Push, Suffering
from tallycell.machine.shipped import shipped_machine

BIG = 100.0
TEXT = "(()(()))()((" * 3 + "))" * 3 + "(()())" * 40
HOSTILE = ("$\\frac{1}{0}$", "</script><script>alert(1)</script>", "\x1b[2J\x07\x00", "\u202eabc\u2066", "x" * 10_000,
           "$", "日本語 \U0001f600", "")  # fmt: skip
INF = math.inf


@cache
def counting():
    """A trace, and a reading of it: a cell that counts brackets, one that does next to nothing."""
    weights = np.zeros((8, 2))
    weights[4] = [BIG, -BIG]
    weights[5] = [0.3, 0.1]
    bias = np.array([BIG, -1, BIG, 0.2, 0, 0, BIG, 0.5])
    parameters = tc.LSTMParameters(
        {"weight_ih_l0": weights, "weight_hh_l0": np.zeros((8, 2)), "bias_ih_l0": bias, "bias_hh_l0": np.zeros(8)}
    )
    depth = np.cumsum([1 if one == "(" else -1 for one in TEXT]).astype(float)
    known = {"depth": xr.DataArray(depth, dims="time", attrs={"units": "brackets"})}
    x = np.array([[one == "(", one == ")"] for one in TEXT], dtype=float)
    trace = tc.record_trace(parameters, x)
    return trace, tc.read_units(trace, TEXT, known), known


@cache
def stacked():
    """A trace of two layers in both directions, with gates of every kind."""
    rng = np.random.default_rng(3)
    names = {}
    for layer, width in ((0, 2), (1, 10)):
        for end in ("", "_reverse"):
            names[f"weight_ih_l{layer}{end}"] = 3 * rng.normal(size=(20, width))
            names[f"weight_hh_l{layer}{end}"] = 3 * rng.normal(size=(20, 5))
    return tc.record_trace(tc.LSTMParameters(names), rng.normal(size=(60, 2)))


def recogniser(alphabet, outputs):
    rng = np.random.default_rng(1)
    lstm = tc.LSTMParameters({"weight_ih_l0": rng.normal(size=(12, 2)), "weight_hh_l0": rng.normal(size=(12, 3))})
    inputs = rng.normal(size=(len(alphabet), 2))
    return tc.Recogniser(alphabet, inputs, lstm, rng.normal(size=(len(outputs), 3)), np.zeros(len(outputs)), outputs)


@cache
def account():
    net = recogniser(("a", "b"), ("yes", "no"))
    return tc.explain_output(net, net.inputs[np.random.default_rng(2).integers(0, 2, 90)], 80, "yes")


def effects(labels=("0.0", "0.1", "0.2", "0.3"), unit="bits a symbol", names=("(", ")")):
    count = len(labels)
    loss = np.linspace(0.4, -0.1, count)
    coords = {"kind": ["zero"], "group": list(labels), "layer": ("group", [0] * count),
              "unit": ("group", list(range(count))), "direction": ("group", ["forward"] * count)}  # fmt: skip
    ends = {"loss": loss, "low": loss - 0.15, "high": loss + 0.1}
    table = xr.Dataset({name: (("kind", "group"), [values]) for name, values in ends.items()}, coords)
    pushed = {labels[0]: Push(names[:1], names[1:], both_ways=True)}
    return Effects(table, "bits", unit, 1.5, 4000, pushed=pushed, suffering={labels[0]: (Suffering(names[0], 0.9, 9),)})


PUBLISHED = plot.Published(160, "best of 9 (Somebody 2024)"), plot.Published(2000, "right to here", reached=True)
ROWS = (
    plot.LanguageRow("a^n b^n", (160.0, INF, INF), (INF, INF, INF), 2e6, (1.6e7, 1.6e7, 3e6), PUBLISHED),
    plot.LanguageRow("parity", (41.0, 41.0, 0.0), (0.0, INF, INF), 1e4, (0.0, INF, INF)),
)


def _unit(given=None, *, dated=False, **how):
    trace, reading, known = counting()
    if dated:
        days = np.datetime64("2001-01-01", "ns") + np.arange(len(TEXT)) * np.timedelta64(1, "D")
        trace, known = trace.assign_coords(time=days), {"depth": known["depth"].to_numpy()}
    return plot.plot_unit(trace, reading.units[0], given, known, **how)


PICTURES = {
    "saturation": lambda: plot.plot_saturation(counting()[1]),
    "saturation of a stack": lambda: plot.plot_saturation(stacked()),
    "unit": lambda: _unit(TEXT),
    "unit over words": lambda: _unit(["word"] * len(TEXT), spans=plot.Span(0, 30)),
    "unit over dates": lambda: _unit(dated=True, beside=["depth"]),
    "unit over steps": lambda: _unit(),
    "unit twice": lambda: _unit(TEXT, spans=(plot.Span(0, 30, "first"), plot.Span(40, 80, "then", {50: "look here"}))),
    "account": lambda: plot.plot_account(account()),
    "account of letters": lambda: plot.plot_account(account(), "ab" * 45, units=2),
    "effects": lambda: plot.plot_effects(effects()),
    "machine": lambda: plot.plot_machine(shipped_machine("anbncn"), graphviz=False),
    "machine with rules": lambda: plot.plot_machine(shipped_machine("parity"), graphviz=False),
    "lengths": lambda: plot.plot_lengths(ROWS),
}


@cache
def picture(name):
    """One picture of every kind."""
    return PICTURES[name]()


def lines(figure, gid):
    """Lines of a picture that carry a name."""
    return figure.findobj(lambda artist: artist.get_gid() == gid and hasattr(artist, "get_xdata"))


def texts(figure):
    """Everything that is written in a picture and can be seen; ticks beyond the ends of an axis cannot."""
    found = figure.findobj(lambda artist: hasattr(artist, "get_text") and hasattr(artist, "get_fontsize"))
    beyond = set()
    for axis in figure.findobj(lambda artist: hasattr(artist, "get_major_ticks")):
        drawn = axis._update_ticks() if axis.axes.axison else []
        ticks = {*axis.get_major_ticks(), *axis.get_minor_ticks()} - set(drawn)
        beyond |= {label for tick in ticks for label in (tick.label1, tick.label2)}
    return [text for text in found if text.get_visible() and text.get_text().strip() and text not in beyond]
