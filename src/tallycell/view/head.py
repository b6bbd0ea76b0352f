"""What a model says at each step, small enough for a page: its foremost outputs, and by what each cell is weighed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tallycell.effect.outputs import Readout, read_readout
from tallycell.errors import InputError
from tallycell.names import DIRECTION, LAYER, PROJECTION, SEQUENCE, TIME, UNIT
from tallycell.reading.triggers import say_symbol
from tallycell.view.lives import Lives

FEW = 8  # outputs: so many are all kept at each step
FOREMOST = 3  # else so many of each step, the largest
MOST_WEIGHTS = 1_000_000  # numbers: outputs that are seldom the largest are left out beyond
SHOWN = ("identity", "relu")  # what may stand before the layer
_AT_ONCE = 4_000_000  # outputs that are made at once


@dataclass(frozen=True, eq=False)
class Said:
    """The linear layer behind the last LSTM, and what it said.

    Attributes
    ----------
    header
        Names of the outputs, and what stands before the layer.
    arrays
        ``head/weight`` (output, unit) with a column for every unit of the trace, 0 where it is not of the last layer;
        ``head/bias``; ``said/output`` and ``said/logit`` (step, place), the largest first.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def what_it_says(model: object, lives: Lives, lstm: str | None) -> Said | None:
    """Give what a model says at each step of a trace; None where the page cannot account for it.

    That is where no linear layer is known that reads this LSTM, the trace does not hold the h of all units, or two
    directions are multiplied before the layer reads them.
    """
    try:
        readout = read_readout(model, lstm)
    except InputError:
        return None
    weight = _weights(readout, lives)
    h = h_of(readout, lives)
    if weight is None or h is None:
        return None
    count = len(readout) if len(readout) <= FEW else FOREMOST
    steps, at_once = lives.steps, max(1, _AT_ONCE // len(readout))
    output, logit = np.zeros((steps, count), np.int64), np.zeros((steps, count), "<f4")
    for begin in range(0, steps, at_once):
        some = slice(begin, begin + at_once)
        logits = readout.logits(h[:, some]).astype(np.float64)
        output[some] = np.argsort(-logits, axis=1, kind="stable")[:, :count]
        logit[some] = np.take_along_axis(logits, output[some], axis=1)
    kept = _kept(output, len(readout), len(lives))
    place = np.full(len(readout), 0xFFFF, "<u2")
    place[kept] = np.arange(len(kept))
    header = {"outputs": [name_of(readout, k) for k in kept.tolist()], "shown": readout.shown.name}
    arrays = {
        "head/weight": weight[kept].astype("<f4"), "head/bias": np.asarray(readout.bias)[kept].astype("<f4"),
        "said/output": place[output], "said/logit": logit,
    }  # fmt: skip
    return Said(header, arrays)


def name_of(readout: Readout, output: int) -> str:
    """Give the name of an output as it is said, or its number."""
    return f"output {output}" if readout.names is None else say_symbol(readout.names[output])


def _kept(output: np.ndarray, outputs: int, units: int) -> np.ndarray:
    """Choose the outputs whose weights are kept: all, or those that are the largest most often."""
    most = max(1, min(MOST_WEIGHTS // max(units, 1), 0xFFFF))
    if outputs <= most:
        return np.arange(outputs)
    counts = np.bincount(output.ravel(), minlength=outputs)
    return np.sort(np.argsort(-counts, kind="stable")[:most])


def _weights(readout: Readout, lives: Lives) -> np.ndarray | None:
    """Give by what the layer multiplies what each cell shows, o hidden(c): (output, unit)."""
    p = readout.parameters
    if readout.merge == "mul" or readout.shown.name not in SHOWN:
        return None
    if readout.shown.name != "identity" and (p.proj_size or readout.merge is not None):
        return None
    last, found = p.num_layers - 1, np.zeros((len(readout), len(lives)))
    layers, units = lives.trace[LAYER].to_numpy(), lives.trace[UNIT].to_numpy()
    for direction in range(lives.trace.sizes[DIRECTION]):
        width = p.output_size
        begin = 0 if readout.merge in ("sum", "ave") else direction * width
        of_h = readout.weight[:, begin : begin + width].astype(np.float64)
        if readout.merge == "ave":
            of_h = of_h / p.num_directions
        projection = p.layer(last, direction).weight_hr
        of_cell = of_h if projection is None else of_h @ projection.astype(np.float64)
        for number, (layer, d, unit) in enumerate(lives.places.values()):
            if d == direction and layers[layer] == last:
                found[:, number] = of_cell[:, units[unit]]
    return found


def h_of(readout: Readout, lives: Lives) -> np.ndarray | None:
    """Give h of the last layer at each step, (direction, step, hidden); None where the trace lacks or turns some."""
    p, trace = readout.parameters, lives.trace
    if "h" not in trace or trace.sizes[DIRECTION] != p.num_directions or p.num_layers - 1 not in trace[LAYER].values:
        return None
    last: xr.DataArray = trace["h"].sel({LAYER: p.num_layers - 1})
    hidden = PROJECTION if PROJECTION in last.dims else UNIT
    if not np.array_equal(last[hidden].values, np.arange(p.output_size)):
        return None
    sequence, position = lives.order
    every: np.ndarray = last.transpose(DIRECTION, SEQUENCE, TIME, hidden).to_numpy()
    return every[:, sequence, position]
