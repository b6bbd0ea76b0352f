"""What a proof cannot follow: sums that may pass the largest number of the format, and cells that begin there.

A sum of finite numbers is infinite, or not a number, where a part of it passes the largest number, and which part is
added first is anybody's choice. So nothing is proved of a network with a sum whose absolute terms add up to so much.
The bound knows nothing of machines and boxes: |h| is at most 1, or what it begins with.
"""

import numpy as np
from jaxtyping import Float, Int

from tallycell.recogniser import Recogniser
from tallycell.wording import quoted

# Of the largest number: what is left holds the rounding of the sum, and the proof's own sums of two such.
SHARE = 0.25
LARGEST_CELL = 1e100  # the proof's products are exact to the last digit up to some 1e290


def too_large(net: Recogniser, letters: Int[np.ndarray, " symbol"]) -> str | None:
    """Say which sum of a network can pass the largest number of its format, or which cell is too large; None if none.

    Parameters
    ----------
    net
        The network, of one direction.
    letters
        The symbols that occur, as indices of its alphabet; -1 is passed over.

    Examples
    --------
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> from tallycell.machine.shipped import shipped_machine
    >>> net = compile_machine(shipped_machine("dyck-1"))
    >>> too_large(net, np.array([0, 1])) is None
    True
    """
    with np.errstate(over="ignore"):  # what is infinite is too large
        return _too_large(net, letters)


def _too_large(net: Recogniser, letters: np.ndarray) -> str | None:
    p = net.parameters
    limit = float(np.finfo(p.dtype).max)
    beyond = f"can pass the largest number of {p.dtype}, {limit:.3g}"
    hidden = np.ones((p.num_layers, p.output_size)) if net.h_0 is None else np.maximum(np.abs(net.h_0), 1.0)
    read = np.abs(net.inputs[letters[letters >= 0]]).max(axis=0, initial=0.0)
    for k in range(p.num_layers):
        layer = p.layer(k)
        sums = _absolute(layer.weight_ih, read) + _absolute(layer.weight_hh, hidden[k])
        for bias in (layer.bias_ih, layer.bias_hh):
            sums = sums if bias is None else sums + np.abs(bias)
        if not _fits(sums, limit):
            return f"a sum before the activations of layer {k} {beyond}"
        read = hidden[k]
    sums = _absolute(net.readout_weight, hidden[-1]) + np.abs(net.readout_bias)
    for output, total in zip(net.outputs, sums, strict=True):
        if not _fits(total, limit):
            return f"the sum of output {quoted(output)} {beyond}"
    if net.c_0 is not None and not (np.abs(net.c_0) < LARGEST_CELL).all():
        return f"a cell begins at {np.abs(net.c_0).max():.3g}, and nothing is proved of cells from {LARGEST_CELL:g} on"
    return None


def _absolute(
    weights: Float[np.ndarray, "row column"], values: Float[np.ndarray, " column"]
) -> Float[np.ndarray, " row"]:
    total: np.ndarray = np.abs(weights.astype(np.float64)) @ values.astype(np.float64)
    return total


def _fits(sums: Float[np.ndarray, "..."], limit: float) -> bool:
    return bool((sums <= SHARE * limit).all())
