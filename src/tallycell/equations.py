"""One step of the LSTM: the definition that every kernel, loader and module answers to.

::

    i_pre = W_ii x + b_i + W_hi h + p_i c       i = gate(i_pre)      whether to write
    f_pre = W_if x + b_f + W_hf h + p_f c       f = gate(f_pre)      reset or keep
    g_pre = W_ig x + b_g + W_hg h               g = cell(g_pre)      up or down
    c'    = f c + i g
    o_pre = W_io x + b_o + W_ho h + p_o c'      o = gate(o_pre)      expose or hide
    h'    = W_hr (o hidden(c'))

Sources: Hochreiter and Schmidhuber 1997 (the cell), Gers, Schmidhuber and Cummins 2000 (f), Gers and Schmidhuber 2000
(peepholes p), Sak, Senior and Beaufays 2014 (the projection W_hr), ONNX operator LSTM (coupled f = 1 - i and
``clip_pre``), TFLite operator LSTM (``clip_cell``), torch.nn.LSTM (names and order).

A step works on a batch: x is (sequence, feature), h is (sequence, hidden), the gates and c are (sequence, unit).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tallycell.activations import Activation
from tallycell.parameters import LayerParameters

Batch = Float[np.ndarray, "sequence unit"]
HoldStep = Callable[[str, np.ndarray], np.ndarray]  # what becomes of a gate or state, by its letter


class Step(NamedTuple):
    """What one step leaves behind: gates after their activation, states, and pre-activations as the gates saw them."""

    i: Batch
    f: Batch
    g: Batch
    o: Batch
    c: Batch
    h: Float[np.ndarray, "sequence hidden"]
    i_pre: Batch
    f_pre: Batch
    g_pre: Batch
    o_pre: Batch


class StepGradients(NamedTuple):
    """Gradients of one step: to the four pre-activations side by side, and to what came before."""

    pre: Float[np.ndarray, "sequence gates"]
    h: Float[np.ndarray, "sequence hidden"]
    c: Batch
    weight_hr: Float[np.ndarray, "projection unit"] | None
    weight_ch: Float[np.ndarray, " peepholes"] | None


def clip(value: np.ndarray, bound: float | None) -> np.ndarray:
    """Clip to [-bound, bound]; None does not clip."""
    return value if bound is None else np.clip(value, -bound, bound)


def project_input(layer: LayerParameters, x: Float[np.ndarray, "*batch feature"]) -> Float[np.ndarray, "*batch gates"]:
    """W x + b of the four gates, which needs no state: for all steps at once, or for one."""
    projected: np.ndarray = x @ layer.weight_ih.T + layer.total_bias
    return projected


def lstm_step(
    layer: LayerParameters,
    from_input: Float[np.ndarray, "sequence gates"],
    h: Float[np.ndarray, "sequence hidden"],
    c: Batch,
    hold: HoldStep = lambda letter, value: value,
) -> Step:
    """One step from the states h and c; ``from_input`` comes from :func:`project_input`."""
    gate, cell, hidden = layer.activations.gate, layer.activations.cell, layer.activations.hidden
    p_i, p_f, p_o = (0.0, 0.0, 0.0) if layer.weight_ch is None else np.split(layer.weight_ch, 3)

    i_pre, f_pre, g_pre, o_pre = np.split(from_input + h @ layer.weight_hh.T, 4, axis=-1)
    i_pre = clip(i_pre + p_i * c, layer.clip_pre)
    f_pre = clip(f_pre + p_f * c, layer.clip_pre)
    g_pre = clip(g_pre, layer.clip_pre)

    i = hold("i", gate(i_pre))
    match layer.forget_gate:
        case "own":
            f = gate(f_pre)
        case "coupled":
            f = 1 - i
        case "none":
            f = np.ones_like(i)
    f = hold("f", f)
    g = hold("g", cell(g_pre))
    c = hold("c", clip(f * c + i * g, layer.clip_cell))

    o_pre = clip(o_pre + p_o * c, layer.clip_pre)
    o = hold("o", gate(o_pre))
    exposed = o * hidden(c)
    h = hold("h", exposed if layer.weight_hr is None else exposed @ layer.weight_hr.T)
    return Step(i, f, g, o, c, h, i_pre, f_pre, g_pre, o_pre)


def lstm_step_backward(
    layer: LayerParameters,
    step: Step,
    c_before: Batch,
    gradient: Step,
    release: HoldStep = lambda letter, value: value,
) -> StepGradients:
    """Gradients of one step, from those of everything it left behind.

    ``gradient`` holds dL/di ... dL/dh in the place of each value, those of c and h including what later steps send
    back; its pre-activations are not read. ``release`` sets a gradient to zero where the value was held.
    """
    slots = layer.activations
    p_i, p_f, p_o = (0.0, 0.0, 0.0) if layer.weight_ch is None else np.split(layer.weight_ch, 3)

    def to_pre(letter: str, activation: Activation, d_value: Batch) -> Batch:
        value, pre = getattr(step, letter), getattr(step, f"{letter}_pre")
        d_pre = release(letter, d_value) * activation.derivative(pre, value)
        return d_pre if layer.clip_pre is None else np.where(np.abs(pre) < layer.clip_pre, d_pre, 0)

    d_h = release("h", gradient.h)
    y = slots.hidden(step.c)
    d_exposed = d_h if layer.weight_hr is None else d_h @ layer.weight_hr
    d_o_pre = to_pre("o", slots.gate, gradient.o + d_exposed * y)
    d_c = gradient.c + d_exposed * step.o * slots.hidden.derivative(step.c, y) + d_o_pre * p_o
    d_c = release("c", d_c)
    if layer.clip_cell is not None:
        d_c = np.where(np.abs(step.c) < layer.clip_cell, d_c, 0)

    d_f = release("f", gradient.f + d_c * c_before)
    d_i = gradient.i + d_c * step.g - (d_f if layer.forget_gate == "coupled" else 0)
    d_i_pre = to_pre("i", slots.gate, d_i)
    d_f_pre = to_pre("f", slots.gate, d_f) if layer.forget_gate == "own" else np.zeros_like(d_f)
    d_g_pre = to_pre("g", slots.cell, gradient.g + d_c * step.i)

    pre = np.concatenate([d_i_pre, d_f_pre, d_g_pre, d_o_pre], axis=-1)
    peepholes = [(d_i_pre * c_before).sum(0), (d_f_pre * c_before).sum(0), (d_o_pre * step.c).sum(0)]
    return StepGradients(
        pre=pre,
        h=pre @ layer.weight_hh,
        c=d_c * step.f + d_i_pre * p_i + d_f_pre * p_f,
        weight_hr=None if layer.weight_hr is None else d_h.T @ (step.o * y),
        weight_ch=None if layer.weight_ch is None else np.concatenate(peepholes),
    )
