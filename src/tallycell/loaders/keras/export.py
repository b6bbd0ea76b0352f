"""Out to Keras: arrays as ``keras.layers.LSTM.set_weights`` takes them."""

import numpy as np
from jaxtyping import Float

from tallycell.activations import Activation, activation
from tallycell.errors import ParameterError
from tallycell.layout import Layout
from tallycell.names import GATES
from tallycell.parameters import Activations, LayerParameters, LSTMParameters
from tallycell.wording import quoted

_KERAS_NAMES = {
    activation("identity"): "linear",
    activation("leaky_relu", alpha=0.2): "leaky_relu",
    activation("hard_sigmoid_keras3"): "hard_sigmoid",
} | {activation(name): name for name in ("sigmoid", "tanh", "relu", "softsign", "softplus", "elu", "hard_tanh")}


def to_keras_weights(params: LSTMParameters) -> list[list[Float[np.ndarray, "..."]]]:
    """Give the weights as Keras takes them: one list a layer of the stack.

    Parameters
    ----------
    params
        An LSTM. Its dtype is kept.

    Returns
    -------
    list of list of numpy.ndarray
        For each layer what ``set_weights`` of ``keras.layers.LSTM(hidden_size, return_sequences=True)`` takes: kernel
        (feature, 4 unit), recurrent_kernel (unit, 4 unit) and, with biases, bias (4 unit,), the sum of the two; gates
        in Keras's order i f c o. If it is bidirectional, for ``keras.layers.Bidirectional``: those of the forward
        direction and then those of the backward one.

    Raises
    ------
    ParameterError
        If Keras's LSTM cannot be it: peepholes, a projection, a forget gate that is coupled or absent, clipping,
        activations that Keras does not have or that differ between g and c; the text names all of them.

    Examples
    --------
    >>> parameters = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> [[array.shape for array in layer] for layer in to_keras_weights(parameters)]
    [[(3, 8), (2, 8)]]
    """
    directions = range(params.num_directions)
    wrong = _obstacles(params) + sorted({text for k in directions for text in _activation_obstacles(params.slots(k))})
    if wrong:
        raise ParameterError(f"keras.layers.LSTM cannot express {'; '.join(wrong)}")
    return [
        [array for direction in directions for array in _arrays(params.layer(layer, direction))]
        for layer in range(params.num_layers)
    ]


def _arrays(layer: LayerParameters) -> list[np.ndarray]:
    ours = {"weight_ih": layer.weight_ih, "weight_hh": layer.weight_hh}
    if layer.bias_ih is None or layer.bias_hh is None:
        theirs = Layout("ifgo", transposed=True, biases=0).write(ours)
    else:
        ours |= {"bias_ih": layer.bias_ih, "bias_hh": layer.bias_hh}
        theirs = Layout("ifgo", transposed=True, biases=1).write(ours)
    return [np.ascontiguousarray(theirs[kind]) for kind in ("weight_ih", "weight_hh", "bias") if kind in theirs]


def _obstacles(params: LSTMParameters) -> list[str]:
    obstacles = {
        "peepholes (weight_ch)": params.peepholes,
        "a projection (weight_hr)": bool(params.proj_size),
        f"a {params.forget_gate} forget gate (forget_gate)": params.forget_gate != "own",
        f"clipping of pre-activations at {params.clip_pre} (clip_pre)": params.clip_pre is not None,
        f"clipping of the cell at {params.clip_cell} (clip_cell)": params.clip_cell is not None,
    }
    return [text for text, is_there in obstacles.items() if is_there]


def _activation_obstacles(slots: Activations) -> list[str]:
    unknown: dict[Activation, None] = {slots.of(gate): None for gate in (*GATES, "c")}
    wrong = [f"the activation {quoted(one)}" for one in unknown if one not in _KERAS_NAMES]
    if slots.cell != slots.hidden:
        wrong.append(
            f"{quoted(slots.cell)} for g with {quoted(slots.hidden)} for c, where Keras has one activation for both"
        )
    return wrong
