"""The operators LSTM of ONNX and DynamicQuantizeLSTM of ONNX Runtime, as parameters.

Where ONNX leaves room, ONNX Runtime decides: inside an LSTM it takes 0 for the missing alpha and beta of Affine,
ScaledTanh and ThresholdedRelu, and ONNX's own defaults for LeakyRelu, HardSigmoid and Elu; alphas and betas are
consumed in order, by those activations that have one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.activations import Activation, activation
from tallycell.errors import FormatError
from tallycell.layout import Layout
from tallycell.loaders.loaded_model import Place
from tallycell.loaders.onnx.constants import Constant, Constants
from tallycell.loaders.onnx.graph import Scope, attributes_of, input_of, operator_of
from tallycell.names import parameter_name
from tallycell.parameters import Activations, LSTMParameters
from tallycell.wording import quoted, shown

if TYPE_CHECKING:
    from onnx import NodeProto

QUANTISED = "DynamicQuantizeLSTM"
OPERATORS = ("LSTM", f"com.microsoft.{QUANTISED}")
LAYOUT = Layout("iofg")  # ONNX calls g "c"

# Constants of each activation: what ONNX Runtime takes where they are missing.
CONSTANTS: dict[str, dict[str, float]] = {
    "relu": {},
    "tanh": {},
    "sigmoid": {},
    "softsign": {},
    "softplus": {},
    "affine": {"alpha": 0.0, "beta": 0.0},
    "leakyrelu": {"alpha": 0.01},
    "thresholdedrelu": {"alpha": 0.0},
    "scaledtanh": {"alpha": 0.0, "beta": 0.0},
    "hardsigmoid": {"alpha": 0.2, "beta": 0.5},
    "elu": {"alpha": 1.0},
}


@dataclass(frozen=True, eq=False)
class Quantised:
    """The quantised weights of a DynamicQuantizeLSTM, as it holds them.

    Attributes
    ----------
    w, r
        int8 or uint8, (direction, feature, 4 unit) and (direction, unit, 4 unit), gates in the order i o f g.
    w_scale, r_scale, w_zero, r_zero
        (direction,), or (direction, 4 unit) where every column has its own.
    """

    w: np.ndarray
    r: np.ndarray
    w_scale: np.ndarray
    w_zero: np.ndarray
    r_scale: np.ndarray
    r_zero: np.ndarray


def read_operator(scope: Scope, node: "NodeProto", constants: Constants) -> tuple[LSTMParameters, str | None]:
    """Give the parameters of an LSTM node, and the dtype that its weights are stored in if that is another.

    Raises
    ------
    FormatError, ParameterError, ActivationError
        If its weights depend on the model's inputs, do not fit together, or an attribute is none of ONNX's.
    """
    attributes = attributes_of(node)
    if not input_of(node, 0):
        raise FormatError("it has no X, the sequence that it reads")
    if operator_of(node) == "LSTM":
        weights, stored = _plain_weights(scope, node, constants)
    else:
        quantised, stored = quantised_weights(scope, node, constants)
        weights = {
            "W": _dequantise(quantised.w, quantised.w_scale, quantised.w_zero).swapaxes(1, 2),
            "R": _dequantise(quantised.r, quantised.r_scale, quantised.r_zero).swapaxes(1, 2),
        }
    weights |= _optional_weights(scope, node, constants, weights["R"])
    directions = _check_shapes(weights, attributes)
    constants.charge(sum(weight.nbytes for weight in weights.values()), node)
    ours: dict[str, np.ndarray] = {}
    for k in range(directions):
        theirs = {"weight_ih": weights["W"][k], "weight_hh": weights["R"][k]}
        if "B" in weights:
            theirs["bias_ih"], theirs["bias_hh"] = np.split(weights["B"][k], 2)
        if "P" in weights:
            theirs["weight_ch"] = weights["P"][k]
        layout = LAYOUT if "B" in weights else Layout("iofg", biases=0)
        ours |= {parameter_name(kind, 0, k): weight for kind, weight in layout.read(theirs).items()}
    forget = "coupled" if attributes.get("input_forget") else "own"
    slots = activations_of(attributes, directions)
    parameters = LSTMParameters(ours, slots, forget, attributes.get("clip"))  # type: ignore[arg-type]
    return parameters, None if stored == str(parameters.dtype) else stored


def place_of(node: "NodeProto", stored_as: str | None, states: tuple[str | None, str | None]) -> Place:
    """Gather what the file says of an LSTM node besides its parameters."""
    reverse = attributes_of(node).get("direction") == "reverse"
    return Place(node.op_type, stored_as, reverse, reads=input_of(node, 0) or None, state_inputs=states)


def activations_of(attributes: dict[str, Any], directions: int) -> tuple[Activations, ...]:
    """Activations of each direction, from the attributes of the node.

    Raises
    ------
    FormatError
        If they are not three a direction, or one is none of ONNX's.
    """
    names = attributes.get("activations") or ["Sigmoid", "Tanh", "Tanh"] * directions
    if len(names) != 3 * directions:
        raise FormatError(f"it has {len(names)} activations; expected three a direction, {3 * directions}")
    given = {which: iter(attributes.get(f"activation_{which}", ())) for which in ("alpha", "beta")}
    made: list[Activation] = []
    for name in names:
        defaults = CONSTANTS.get(str(name).lower())
        if defaults is None:
            raise FormatError(f"its activation {quoted(str(name))} is none of ONNX's; those are {', '.join(CONSTANTS)}")
        made.append(activation(name, **{which: next(given[which], value) for which, value in defaults.items()}))
    return tuple(Activations(*made[3 * k : 3 * k + 3]) for k in range(directions))


def quantised_weights(scope: Scope, node: "NodeProto", constants: Constants) -> tuple[Quantised, str]:
    """Give the quantised weights of a DynamicQuantizeLSTM, and their dtype.

    Raises
    ------
    FormatError
        If they are not constant, or do not fit together.
    """
    w, r = _constant(scope, node, constants, 1, "W"), _constant(scope, node, constants, 2, "R")
    names = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
    rest = [_constant(scope, node, constants, 8 + k, name).array for k, name in enumerate(names)]
    for name, array, scale, zero in (("W", w.array, rest[0], rest[1]), ("R", r.array, rest[2], rest[3])):
        if array.dtype not in (np.int8, np.uint8) or array.ndim != 3:
            raise FormatError(f"its {name} is {array.dtype} of shape {array.shape}; expected 8-bit integers in 3 sizes")
        if scale.shape not in (array.shape[:1], array.shape[::2]) or zero.shape != scale.shape:
            raise FormatError(
                f"the scale of its {name} has shape {scale.shape} and the zero point {zero.shape}; expected "
                f"{array.shape[:1]} or {array.shape[::2]}"
            )
        if scale.dtype.kind != "f" or zero.dtype not in (np.int8, np.uint8):
            raise FormatError(
                f"the scale of its {name} is {scale.dtype} and the zero point {zero.dtype}; expected floating-point "
                "numbers and 8-bit integers"
            )
    return Quantised(w.array, r.array, *rest), w.stored_as


def _dequantise(weight: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    spread = (slice(None), *[None] * (3 - scale.ndim), *[slice(None)] * (scale.ndim - 1))
    centred = weight.astype(np.int32) - zero.astype(np.int32)[spread]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as a weight that is not finite
        values: np.ndarray = centred.astype(np.float32) * scale.astype(np.float32)[spread]
    return values


def _plain_weights(scope: Scope, node: "NodeProto", constants: Constants) -> tuple[dict[str, np.ndarray], str]:
    found = {name: _constant(scope, node, constants, k, name) for k, name in ((1, "W"), (2, "R"))}
    return {name: _floating(one.array, name) for name, one in found.items()}, found["W"].stored_as


def _optional_weights(scope: Scope, node: "NodeProto", constants: Constants, like: np.ndarray) -> dict[str, np.ndarray]:
    """Biases and peepholes, where the node has them, in the dtype of the weights."""
    found = {}
    for k, name in ((3, "B"), (7, "P")):
        if input_of(node, k):
            found[name] = _floating(_constant(scope, node, constants, k, name).array, name).astype(like.dtype)
    return found


def _floating(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise FormatError(f"its {name} is of dtype {array.dtype}; expected floating-point numbers")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _constant(scope: Scope, node: "NodeProto", constants: Constants, k: int, what: str) -> Constant:
    name = input_of(node, k)
    if not name:
        raise FormatError(f"it has no {what}")
    found = constants.find(scope, name)
    if found is None:
        made = scope.maker(name)
        where = f"made by {shown(operator_of(made[1]))} at {quoted(made[1].name)}" if made else "an input of the graph"
        raise FormatError(f"its {what} is not constant: {quoted(name)} is {where}")
    return found


def _check_shapes(weights: dict[str, np.ndarray], attributes: dict[str, Any]) -> int:
    """Tell the number of directions; the sizes of all weights follow from it and from R."""
    direction = attributes.get("direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise FormatError(f"its direction is {quoted(str(direction))}; expected forward, reverse or bidirectional")
    directions = 2 if direction == "bidirectional" else 1
    told = attributes.get("hidden_size", weights["R"].shape[-1] if weights["R"].ndim == 3 else 0)
    hidden = told if isinstance(told, int) else 0
    features = weights["W"].shape[-1] if weights["W"].ndim == 3 else 0
    expected = {
        "W": (directions, 4 * hidden, features),
        "R": (directions, 4 * hidden, hidden),
        "B": (directions, 8 * hidden),
        "P": (directions, 3 * hidden),
    }
    for name, weight in weights.items():
        if weight.shape != expected[name]:
            raise FormatError(
                f"its {name} has shape {weight.shape}; expected {expected[name]} with {directions} direction(s) and "
                f"hidden_size {hidden}"
            )
    return directions
