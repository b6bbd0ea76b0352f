"""The reference kernel: a loop over the equations, a whole batch a step.

Slow and obvious. Other kernels may differ from it in everything but results.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tallycell.equations import HoldStep, Step, lstm_step, lstm_step_backward, project_input
from tallycell.kernels.interface import LayerGradients, LayerInput, Steps, StepsGradient
from tallycell.names import PRE_ACTIVATIONS, STEP_VARIABLES
from tallycell.parameters import LayerParameters

Rows = slice | np.ndarray  # sequences that have a step at this time


def lstm_forward(layer: LayerParameters, inputs: LayerInput, *, keep_pre: bool = False) -> Steps:
    """Run one layer in one direction over whole sequences.

    Parameters
    ----------
    layer
        Its weights and activations.
    inputs
        What it reads; see :class:`~tallycell.kernels.interface.LayerInput`.
    keep_pre
        Whether to keep the pre-activations too.

    Returns
    -------
    Steps
        Gates and states of every step; NaN beyond a sequence's length.
    """
    time, sequences, _ = inputs.x.shape
    names = STEP_VARIABLES + PRE_ACTIVATIONS if keep_pre else STEP_VARIABLES
    sizes = dict.fromkeys(names, layer.hidden_size) | {"h": layer.output_size}
    kept = {name: np.full((time, sequences, size), np.nan, inputs.x.dtype) for name, size in sizes.items()}
    h, c = inputs.h_0.copy(), inputs.c_0.copy()
    from_input = project_input(layer, inputs.x)
    for t, rows in _steps(inputs):
        step = lstm_step(layer, from_input[t, rows], h[rows], c[rows], _hold_at(inputs, t, rows))
        h[rows], c[rows] = step.h, step.c
        for name, values in kept.items():
            values[t, rows] = getattr(step, name)
    return Steps(**kept, h_n=h, c_n=c)


def lstm_backward(layer: LayerParameters, inputs: LayerInput, steps: Steps, gradient: StepsGradient) -> LayerGradients:
    """Gradients of a loss to a layer's input, initial states and weights.

    Parameters
    ----------
    layer, inputs
        As they went into :func:`lstm_forward`.
    steps
        What it returned, with the pre-activations kept.
    gradient
        Gradients to what it returned; what stands beyond a sequence's length is not read.
    """
    zeros = np.zeros_like
    given = {name: getattr(gradient, name) for name in STEP_VARIABLES}
    d_h = zeros(steps.h_n) if gradient.h_n is None else gradient.h_n.copy()
    d_c = zeros(steps.c_n) if gradient.c_n is None else gradient.c_n.copy()
    d_x, d_weight_ih, d_weight_hh = zeros(inputs.x), zeros(layer.weight_ih), zeros(layer.weight_hh)
    d_bias = zeros(layer.total_bias)
    d_weight_hr = None if layer.weight_hr is None else zeros(layer.weight_hr)
    d_weight_ch = None if layer.weight_ch is None else zeros(layer.weight_ch)
    order = list(_steps(inputs))
    for position in reversed(range(len(order))):
        t, rows = order[position]
        step = Step(*(getattr(steps, name)[t, rows] for name in STEP_VARIABLES + PRE_ACTIVATIONS))
        h_before, c_before = _states_before(inputs, steps, t, rows)
        direct = {name: 0 if values is None else values[t, rows] for name, values in given.items()}
        later = direct | {"c": direct["c"] + d_c[rows], "h": direct["h"] + d_h[rows]}
        back = lstm_step_backward(layer, step, c_before, Step(**later, **_NO_PRE), _release_at(inputs, t, rows))
        d_h[rows], d_c[rows] = back.h, back.c
        d_x[t, rows] = back.pre @ layer.weight_ih
        d_weight_ih += back.pre.T @ inputs.x[t, rows]
        d_weight_hh += back.pre.T @ h_before
        d_bias += back.pre.sum(0)
        if d_weight_hr is not None:
            d_weight_hr += back.weight_hr
        if d_weight_ch is not None:
            d_weight_ch += back.weight_ch
    return LayerGradients(d_x, d_h, d_c, d_weight_ih, d_weight_hh, d_bias, d_weight_hr, d_weight_ch)


_NO_PRE: dict[str, Any] = dict.fromkeys(PRE_ACTIVATIONS)


def _steps(inputs: LayerInput) -> Iterator[tuple[int, Rows]]:
    """Yield times in the order of reading, with the sequences that have a step then."""
    time = inputs.x.shape[0]
    for t in reversed(range(time)) if inputs.reverse else range(time):
        if inputs.lengths is None:
            yield t, slice(None)
        elif (alive := np.flatnonzero(t < inputs.lengths)).size:
            yield t, alive


def _states_before(inputs: LayerInput, steps: Steps, t: int, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """States that the step at time t started from."""
    before = t + 1 if inputs.reverse else t - 1
    h, c = inputs.h_0.copy(), inputs.c_0.copy()
    if 0 <= before < inputs.x.shape[0]:
        started = np.ones(len(h), bool) if inputs.lengths is None else before < inputs.lengths
        h[started], c[started] = steps.h[before, started], steps.c[before, started]
    return h[rows], c[rows]


def _held_at(inputs: LayerInput, letter: str, t: int, rows: Rows) -> np.ndarray | None:
    """Give what a gate or state is held at in some sequences at time t, NaN where it is free; None if never held."""
    if letter not in inputs.held:
        return None
    held: np.ndarray = inputs.held[letter][t]
    return held if held.ndim == 1 else held[rows]


def _hold_at(inputs: LayerInput, t: int, rows: Rows) -> HoldStep:
    """Make what becomes of a value at time t: held where a value is given, free where that is NaN."""

    def hold(letter: str, value: np.ndarray) -> np.ndarray:
        held = _held_at(inputs, letter, t, rows)
        return value if held is None else np.where(np.isnan(held), value, held)

    return hold


def _release_at(inputs: LayerInput, t: int, rows: Rows) -> HoldStep:
    """Make the gradient of :func:`_hold_at`: zero where the value was held."""

    def release(letter: str, gradient: np.ndarray) -> np.ndarray:
        held = _held_at(inputs, letter, t, rows)
        return gradient if held is None else np.where(np.isnan(held), gradient, 0)

    return release
