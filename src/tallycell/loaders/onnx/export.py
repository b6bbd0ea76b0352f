"""Writing an LSTM as an ONNX model: one operator LSTM a layer."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.activations import Activation
from tallycell.errors import InputError, MissingExtraError, ParameterError
from tallycell.files import write_file
from tallycell.layout import Layout
from tallycell.parameters import Activations, LSTMParameters
from tallycell.wording import quoted

if TYPE_CHECKING:
    from onnx import NodeProto

_OPSET, _IR_VERSION = 14, 8
_MAX_BYTES = 2**31 - 2**20  # of a protobuf, with some room for all but the weights

# ONNX's name of each activation; and those that are another one with certain constants.
_NAMES = {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus",
    "affine": "Affine", "leaky_relu": "LeakyRelu", "thresholded_relu": "ThresholdedRelu", "scaled_tanh": "ScaledTanh",
    "hard_sigmoid": "HardSigmoid", "elu": "Elu",
}  # fmt: skip
_SPECIAL = {
    "identity": ("Affine", {"alpha": 1.0, "beta": 0.0}),
    "hard_sigmoid_keras2": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "hard_sigmoid_keras3": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}


def to_onnx(parameters: LSTMParameters, path: str | PathLike[str]) -> None:
    """Write an LSTM as an ONNX model that any runtime can run.

    Parameters
    ----------
    parameters
        The LSTM. In float64 the file is right, but ONNX Runtime has no LSTM in float64.
    path
        The file to write; what stood there stays whole until the new one is complete. The model reads ``input``
        (time, sequence, feature) and the states ``h_0``, ``c_0`` (layer * direction, sequence, unit), and gives
        ``output`` (time, sequence, direction * unit), ``h_n`` and ``c_n``, as ``torch.nn.LSTM`` does. Its nodes are
        ``lstm_l0``, ``lstm_l1`` and so on; :func:`tallycell.load` gives each layer by that path.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    ParameterError
        If ONNX cannot express a part of it: a projection, ``clip_cell``, an LSTM without forget gate, an activation
        that is none of ONNX's. The text names all of them.
    InputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> ones = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}, clip_cell=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(ones, Path(folder) / "ones.onnx")
    Traceback (most recent call last):
    tallycell.errors.ParameterError: ONNX cannot express clip_cell (its clip bounds pre-activations); change the LSTM
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    _check(parameters)
    nodes: list[NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    layers, hidden = parameters.num_layers * parameters.num_directions, parameters.hidden_size
    for layer in range(parameters.num_layers):
        made, stored = _layer(parameters, layer)
        nodes += made
        weights |= stored
    split, join = _states(parameters)
    nodes = [*split, *nodes, *join]
    weights["shape"] = np.array([0, 0, -1])
    weights["parts"] = np.full(parameters.num_layers, parameters.num_directions)
    dtype = TensorProto.DOUBLE if parameters.dtype == np.float64 else TensorProto.FLOAT

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, dtype, shape)

    def states(step: str) -> list[Any]:
        return [value(f"{letter}_{step}", layers, "sequence", hidden) for letter in "hc"]

    graph = helper.make_graph(
        nodes,
        "lstm",
        [value("input", "time", "sequence", parameters.input_size), *states("0")],
        [value("output", "time", "sequence", parameters.num_directions * hidden), *states("n")],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="tallycell", ir_version=_IR_VERSION, opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    write_file(Path(path), model.SerializeToString())


def _check(parameters: LSTMParameters) -> None:
    """Refuse what ONNX cannot express, naming all of it."""
    wrong = []
    if parameters.proj_size:
        wrong.append("a projection (proj_size)")
    if parameters.clip_cell is not None:
        wrong.append("clip_cell (its clip bounds pre-activations)")
    if parameters.forget_gate == "none":
        wrong.append("forget_gate 'none'")
    names = {one.name for k in range(parameters.num_directions) for one in _in_slots(parameters.slots(k))}
    wrong += [f"activation {quoted(name)}" for name in sorted(names - _NAMES.keys() - _SPECIAL.keys())]
    if wrong:
        raise ParameterError(f"ONNX cannot express {', '.join(wrong)}; change the LSTM")
    if (size := sum(weight.nbytes for weight in parameters.weights.values())) > _MAX_BYTES:
        raise InputError(f"the weights have {size} bytes; one ONNX file holds at most {_MAX_BYTES}")


def _in_slots(slots: Activations) -> tuple[Activation, ...]:
    return slots.gate, slots.cell, slots.hidden


def _layer(parameters: LSTMParameters, layer: int) -> "tuple[list[NodeProto], dict[str, np.ndarray]]":
    """Nodes of one layer, and the tensors that they read."""
    from onnx import helper

    theirs: dict[str, list[np.ndarray]] = {}
    for direction in range(parameters.num_directions):
        one = parameters.layer(layer, direction)
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch")
        ours = {kind: weight for kind in kinds if (weight := getattr(one, kind)) is not None}
        written = Layout("iofg", biases=2 if parameters.bias else 0).write(ours)
        theirs.setdefault("W", []).append(written["weight_ih"])
        theirs.setdefault("R", []).append(written["weight_hh"])
        if parameters.bias:
            theirs.setdefault("B", []).append(np.concatenate([written["bias_ih"], written["bias_hh"]]))
        if parameters.peepholes:
            theirs.setdefault("P", []).append(written["weight_ch"])
    weights = {f"{name}_l{layer}": np.stack(arrays) for name, arrays in theirs.items()}
    name_of = {name: f"{name}_l{layer}" if name in theirs else "" for name in "WRBP"}
    states = [f"h_0_l{layer}", f"c_0_l{layer}"] if parameters.num_layers > 1 else ["h_0", "c_0"]
    ends = [f"h_n_l{layer}", f"c_n_l{layer}"] if parameters.num_layers > 1 else ["h_n", "c_n"]
    is_last = layer == parameters.num_layers - 1
    reads, gives = (f"x_l{layer}" if layer else "input"), ("output" if is_last else f"x_l{layer + 1}")
    inputs = [reads, name_of["W"], name_of["R"], name_of["B"], "", *states, name_of["P"]]
    nodes = [
        helper.make_node("LSTM", inputs, [f"y_l{layer}", *ends], f"lstm_l{layer}", **_attributes(parameters)),
        helper.make_node("Transpose", [f"y_l{layer}"], [f"turned_l{layer}"], f"turn_l{layer}", perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [f"turned_l{layer}", "shape"], [gives], f"join_l{layer}"),
    ]
    return nodes, weights


def _attributes(parameters: LSTMParameters) -> dict[str, Any]:
    attributes: dict[str, Any] = {"hidden_size": parameters.hidden_size}
    if parameters.bidirectional:
        attributes["direction"] = "bidirectional"
    if parameters.forget_gate == "coupled":
        attributes["input_forget"] = 1
    if parameters.clip_pre is not None:
        attributes["clip"] = float(parameters.clip_pre)
    slots = [one for k in range(parameters.num_directions) for one in _in_slots(parameters.slots(k))]
    named = [_SPECIAL[one.name] if one.name in _SPECIAL else (_NAMES[one.name], one.constants) for one in slots]
    attributes["activations"] = [name for name, _ in named]
    for which in ("alpha", "beta"):
        values = [float(constants[which]) for _, constants in named if which in constants]
        if values:
            attributes[f"activation_{which}"] = values
    return attributes


def _states(parameters: LSTMParameters) -> "tuple[list[NodeProto], list[NodeProto]]":
    """Nodes that hand each layer its states, and nodes that bring the last ones together."""
    from onnx import helper

    split: list[NodeProto] = []
    join: list[NodeProto] = []
    for letter in "hc" if parameters.num_layers > 1 else "":
        first, last = ([f"{letter}_{step}_l{k}" for k in range(parameters.num_layers)] for step in "0n")
        split.append(helper.make_node("Split", [f"{letter}_0", "parts"], first, f"split_{letter}_0", axis=0))
        join.append(helper.make_node("Concat", last, [f"{letter}_n"], f"join_{letter}_n", axis=0))
    return split, join
