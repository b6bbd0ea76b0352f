"""DynamicQuantizeLSTM as ONNX Runtime computes it: what it reads is quantised too, while it runs.

The weights of such a node are 8-bit integers, and :func:`tallycell.load` gives them dequantised. The runtime also
rounds x, once for all steps together, and h, anew in every step, to 256 levels between their least and greatest value.
A trace of the dequantised weights leaves this out (it differs by some percent); here it is done as the runtime does it.
"""

from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.equations import lstm_step
from tallycell.errors import InputError
from tallycell.loaders.onnx.operator import LAYOUT, QUANTISED, Quantised, quantised_weights
from tallycell.loaders.onnx.sites import open_lstms
from tallycell.names import GATES
from tallycell.parameters import LayerParameters, LSTMParameters
from tallycell.wording import listed, quoted


def run_quantised(
    path: str | PathLike[str],
    lstm: str,
    x: Float[np.ndarray, "time sequence feature"],
    *,
    state: tuple[np.ndarray, np.ndarray] | None = None,
) -> Float[np.ndarray, "time sequence direction*unit"]:
    """Run a DynamicQuantizeLSTM of a file with the runtime's own rounding.

    Parameters
    ----------
    path
        The model's file.
    lstm
        Path of the LSTM in it.
    x
        What it reads, (time, sequence, feature); all sequences have all steps, and are rounded together.
    state
        (h_0, c_0), (direction, sequence, unit) each; zeros if None.

    Returns
    -------
    array
        h, (time, sequence, direction * unit), float32. It agrees with ONNX Runtime's on one thread; on several, with
        many sequences, the runtime may round groups of them apart.

    Raises
    ------
    FormatError
        If the file is damaged.
    InputError
        If there is no such LSTM, it is not quantised, or x or the states do not fit it.
    """
    _, constants, found = open_lstms(Path(path))
    one = found.get(lstm)
    if one is None or one.place.operator != QUANTISED or not isinstance(one.parameters, LSTMParameters):
        names = listed(name for name, each in found.items() if each.place.operator == QUANTISED)
        raise InputError(f"no quantised LSTM at {quoted(lstm)}; {path} has them at {names}")
    weights, _ = quantised_weights(one.sites[0].scope, one.sites[0].node, constants)
    parameters = one.parameters
    x = np.asarray(x, np.float32)
    if x.ndim != 3 or x.shape[2] != parameters.input_size:
        raise InputError(f"x has the shape {x.shape}; expected (time, sequence, {parameters.input_size})")
    zeros = np.zeros((parameters.num_directions, x.shape[1], parameters.hidden_size), np.float32)
    h_0, c_0 = (zeros, zeros) if state is None else (np.asarray(one, np.float32) for one in state)
    if h_0.shape != zeros.shape or c_0.shape != zeros.shape:
        raise InputError(f"the states have the shapes {h_0.shape} and {c_0.shape}; expected {zeros.shape}")
    outputs = []
    for k in range(parameters.num_directions):
        from_right = k == 1 or one.place.reverse
        h = _run_direction(parameters.layer(0, k), weights, k, x[::-1] if from_right else x, (h_0[k], c_0[k]))
        outputs.append(h[::-1] if from_right else h)
    return np.concatenate(outputs, axis=-1)


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Round to 256 levels between the least and the greatest value, 0 among them, as DynamicQuantizeLinear does.

    Returns
    -------
    tuple
        The whole numbers less their zero point, and the size of a level.

    Examples
    --------
    >>> levels, scale = quantise(np.array([-1.0, 0.0, 1.55], np.float32))
    >>> levels
    array([-100.,    0.,  155.])
    """
    low, high = np.minimum(values.min(), 0), np.maximum(values.max(), 0)
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    levels = np.clip(np.rint(values / scale) + zero, 0, 255) - zero
    return levels.astype(np.float64), scale


def _run_direction(
    layer: LayerParameters, weights: Quantised, k: int, x: np.ndarray, state: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """H of all steps, in the order in which x is given."""
    w = _centred(weights.w[k], weights.w_zero[k])
    r = _centred(weights.r[k], weights.r_zero[k])
    from_input = _product(x, w, weights.w_scale[k]) + layer.total_bias
    h, c = state
    steps = np.zeros((*x.shape[:2], layer.hidden_size), np.float32)
    nothing = np.zeros_like(h)  # the recurrent product comes rounded, in the place of lstm_step's own
    for time, one in enumerate(from_input):
        step = lstm_step(layer, one + _product(h, r, weights.r_scale[k]), nothing, c)
        h, c = step.h, step.c
        steps[time] = h
    return steps


def _centred(weight: np.ndarray, zero: np.ndarray) -> np.ndarray:
    # Sums of products of 8-bit integers are exact in float64, which is the fastest exact product that NumPy has.
    return weight.astype(np.float64) - zero.astype(np.float64)


def _product(values: np.ndarray, weight: np.ndarray, weight_scale: np.ndarray) -> np.ndarray:
    """Quantised values times quantised weights, (..., 4 unit) with the gates in the order i f g o."""
    levels, scale = quantise(values)
    theirs = (levels @ weight).astype(np.float32) * (scale * weight_scale.astype(np.float32))
    blocks = dict(zip(LAYOUT.order, np.split(theirs, 4, axis=-1), strict=True))
    ours: np.ndarray = np.concatenate([blocks[gate] for gate in GATES], axis=-1)
    return ours
