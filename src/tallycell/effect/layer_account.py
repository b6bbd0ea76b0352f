"""What one layer in one direction has to answer for, when something is asked of its h: each step's write, exactly.

With the gates as they were, everything here is linear. From the end to the beginning of reading::

    h[t] = W_hr (o[t] hidden(c[t]))         hidden(c) = hidden(0) + slope c, the slope of the secant through 0 and c
    c[t] = f[t] c[t-1] + i[t] g[t]          (and what clipping took)

so that what is asked of c[t] is what is asked of it through h[t], and f[t+1] times what is asked of c[t+1]. A write
answers for i g times that. Where it is carried on to what the candidate read, the candidate too is its secant::

    g = cell(0) + slope (W_ig x + W_hg h[t-1] + b)

Sources: Murdoch and Szlam 2017 (the cell as a sum of what was written and kept), Murdoch, Liu and Yu 2018 (a squashed
sum shared among its terms), Arras et al. 2017 and 2019 (gates as they were: what passes a gate is its signal's).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.activations import Activation
from tallycell.names import DIRECTION, FEATURE, LAYER, SEQUENCE, TIME
from tallycell.parameters import LayerParameters

_FEW_DIGITS = 1e-8  # the square of it is beyond the digits of float64

PerStep = Float[np.ndarray, "time unit"]


@dataclass(frozen=True, eq=False)
class Passed:
    """What one layer did in one direction, in the order of reading, in float64.

    Attributes
    ----------
    layer
        Its weights.
    values
        Gates and states by letter, (time, unit); h is (time, hidden), and ``x`` is what the layer read.
    h_0, c_0
        States before the first step, (hidden,) and (unit,).
    """

    layer: LayerParameters
    values: Mapping[str, np.ndarray]
    h_0: Float[np.ndarray, " hidden"]
    c_0: Float[np.ndarray, " unit"]

    def before(self, name: str, first: np.ndarray) -> np.ndarray:
        """Give a state before each step."""
        return np.concatenate([first[np.newaxis], self.values[name][:-1]])


@dataclass(frozen=True, eq=False)
class Answer:
    """What a layer answers for.

    Attributes
    ----------
    parts
        By name, (time, unit): ``"write"`` i g; ``"clipping"`` what clipping took of the cell; ``"offset"`` what is
        shown of a cell that is 0.
    initial
        Of the cell before the first step, (unit,).
    asked_of_c
        By what each c[t] is multiplied in what was asked, (time, unit).
    """

    parts: dict[str, PerStep]
    initial: Float[np.ndarray, " unit"]
    asked_of_c: PerStep


@dataclass(frozen=True, eq=False)
class Carried:
    """What the writes of a layer answer for, by what the candidate read.

    Attributes
    ----------
    asked_of_x
        By what each x[t] is multiplied, (time, feature).
    parts
        By name, (time, unit): ``"recurrent"`` from the h before, ``"bias"`` from the candidate's bias.
    """

    asked_of_x: Float[np.ndarray, "time feature"]
    parts: dict[str, PerStep]


def passed(trace: xr.Dataset, layer: LayerParameters, number: int, direction: int) -> Passed:
    """Take one layer in one direction out of a trace of one sequence; above the first, x is the h below."""
    order = slice(None, None, -1 if direction else 1)
    chosen = trace.isel({LAYER: number, DIRECTION: direction, SEQUENCE: 0}, drop=True)
    names = [name for name in ("i", "f", "g", "o", "c", "h", "g_pre") if name in trace]
    values = {name: chosen[name].transpose(TIME, ...).to_numpy() for name in names}
    if number == 0:
        values["x"] = trace["x"].isel({SEQUENCE: 0}).transpose(TIME, FEATURE).to_numpy()
    else:
        below = trace["h"].isel({LAYER: number - 1, SEQUENCE: 0}).transpose(DIRECTION, TIME, ...).to_numpy()
        values["x"] = np.concatenate(list(below), axis=-1)
    states = (chosen[name].to_numpy().astype(np.float64) for name in ("h_0", "c_0"))
    return Passed(layer, {name: value[order].astype(np.float64) for name, value in values.items()}, *states)


def answer(layer: Passed, asked: Float[np.ndarray, "time hidden"]) -> Answer:
    """Say what each step answers for, when each h[t] is multiplied by what is asked of it and all is summed."""
    v, parameters = layer.values, layer.layer
    exposed = asked if parameters.weight_hr is None else asked @ parameters.weight_hr.astype(np.float64)
    slope, at_zero = secant(parameters.activations.hidden, v["c"], parameters.activations.hidden(v["c"]))
    shown = exposed * v["o"]
    needed = _carried_back(shown * slope, v["f"])
    parts = {"write": _times(needed, v["i"] * v["g"])}
    if parameters.clip_cell is not None:
        unclipped = v["f"] * layer.before("c", layer.c_0) + v["i"] * v["g"]
        taken = np.where(np.abs(unclipped) > parameters.clip_cell, v["c"] - unclipped, 0)
        parts["clipping"] = _times(needed, taken)
    if at_zero:
        parts["offset"] = shown * at_zero
    return Answer(parts, _times(_times(needed[0], v["f"][0]), layer.c_0), needed)


def carry(layer: Passed, asked_of_c: PerStep) -> Carried:
    """Share what each write answers for among x, the h before and the bias, as they stand in the candidate's sum."""
    v, parameters = layer.values, layer.layer
    rows = slice(2 * parameters.hidden_size, 3 * parameters.hidden_size)
    of_x, of_h = (weight[rows].astype(np.float64) for weight in (parameters.weight_ih, parameters.weight_hh))
    recurrent, bias = layer.before("h", layer.h_0) @ of_h.T, parameters.total_bias[rows].astype(np.float64)
    pre = v["g_pre"]
    if parameters.clip_pre is not None:
        unclipped = v["x"] @ of_x.T + recurrent + bias
        pre = np.where(np.abs(unclipped) > parameters.clip_pre, unclipped, pre)
    slope, at_zero = secant(parameters.activations.cell, pre, v["g"])
    written = _times(asked_of_c, v["i"])
    asked = written * slope
    return Carried(asked @ of_x, {"recurrent": asked * recurrent, "bias": asked * bias + written * at_zero})


def secant(
    squash: Activation, x: Float[np.ndarray, "*any"], y: Float[np.ndarray, "*any"]
) -> tuple[Float[np.ndarray, "*any"], float]:  # fmt: skip
    """Give the slope from (0, value at 0) to (x, y), the derivative where x is 0, and the value at 0.

    So y is the value at 0, and slope times x: a sum that is squashed is shared in proportion to its terms.

    Where the value at 0 is none, a difference from it is as good as the derivative only as far as it has digits.
    """
    zero = np.zeros(1)
    value = np.asarray(squash(zero), np.float64)
    at_zero = float(value[0])
    flat = float(np.asarray(squash.derivative(zero, value))[0])
    least = _FEW_DIGITS if at_zero else 0.0
    return np.divide(y - at_zero, x, out=np.full(x.shape, flat), where=np.abs(x) > least), at_zero


def _carried_back(asked: PerStep, f: PerStep) -> PerStep:
    """Add to what is asked of each c what the steps behind ask through their forget gates."""
    needed = asked.copy()
    for t in range(len(needed) - 2, -1, -1):
        needed[t] += _times(needed[t + 1], f[t + 1])
    return needed


def _times(asked: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Multiply; nothing stays nothing, also where what is asked has grown beyond all numbers (f above 1)."""
    with np.errstate(over="ignore", invalid="ignore"):
        product: np.ndarray = np.where(value == 0, 0.0, asked * value)
    return product
