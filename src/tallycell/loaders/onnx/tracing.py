"""Following values through an ONNX graph: where a state comes from, what stands before and behind the LSTMs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from tallycell.activations import Activation, activation
from tallycell.loaders.loaded_model import Head
from tallycell.loaders.onnx.constants import Constants
from tallycell.loaders.onnx.graph import Scope, attributes_of, input_of, operator_of, output_of

if TYPE_CHECKING:
    from onnx import NodeProto

# Operators whose first output is a rearranged part of their first input.
_REARRANGING = (
    "Cast", "Dropout", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
)  # fmt: skip
_SQUASHING = ("Relu", "Sigmoid", "Softmax", "LogSoftmax", "Softplus", "Tanh")
# Functions of one number, with their constants as ONNX has them where a node has none.
_ELEMENTWISE: Mapping[str, Mapping[str, float]] = {
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Relu": {},
    "Sigmoid": {},
    "Softplus": {},
    "Softsign": {},
    "Tanh": {},
}
_AS_IT_IS = activation("identity")
_MOST_FOLLOWED = 100  # nodes behind a linear layer


class Tracing:
    """Follows values backwards; through an If where both branches lead to the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[Scope, str]] = {}

    def source(self, scope: Scope, name: str) -> tuple[Scope, str]:
        """Value of which this one is a rearranged part, with the graph that defines it."""
        home = scope.home(name) or scope
        key = (id(home), name)
        if key not in self._known:
            self._known[key] = (home, name)  # stands if nothing is found
            self._known[key] = self._further(home, name)
        return self._known[key]

    def _further(self, home: Scope, name: str) -> tuple[Scope, str]:
        if name not in home.makers:
            return home, name
        node, k = home.makers[name]
        if operator_of(node) in _REARRANGING and input_of(node, 0):
            return self.source(home, input_of(node, 0))
        if operator_of(node) == "If":
            branches = home.inner.get(id(node), {}).values()
            ends = [self.source(one, one.graph.output[k].name) for one in branches if k < len(one.graph.output)]
            if ends and all(end[0] is ends[0][0] and end[1] == ends[0][1] for end in ends):
                return ends[0]
        return home, name

    def model_input(self, scope: Scope, name: str) -> str | None:
        """Input of the model that a value is a rearranged part of; None if it is another's."""
        if not name:
            return None
        home, source = self.source(scope, name)
        return source if home.outer is None and source in home.inputs else None


def find_embedding(scope: Scope, name: str, constants: Constants, features: int) -> np.ndarray | None:
    """Table (symbol, feature) whose rows an LSTM reads; None if it reads something else.

    Parameters
    ----------
    scope, name
        What the LSTM reads.
    constants
        Of the model.
    features
        Size of what it reads.
    """
    dequantise: tuple[np.ndarray, np.ndarray] | None = None
    while name and (made := scope.maker(name)) is not None:
        scope, node, _ = made
        operator = operator_of(node)
        if operator == "Gather" and attributes_of(node).get("axis", 0) == 0:
            table = constants.array(scope, input_of(node, 0))
            if table is not None and table.ndim == 2 and table.shape[1] == features:
                return _as_float(table, dequantise)
        if operator == "DequantizeLinear" and dequantise is None:
            scale = constants.array(scope, input_of(node, 1))
            zero = constants.array(scope, input_of(node, 2)) if input_of(node, 2) else np.zeros((), np.int32)
            if not _is_one(scale, "f") or not _is_one(zero, "iu"):
                return None
            dequantise = scale, zero
        elif operator not in _REARRANGING:
            return None
        name = input_of(node, 0)
    return None


def _is_one(array: np.ndarray | None, kinds: str) -> TypeGuard[np.ndarray]:
    """Whether it is one number of these kinds, as NumPy abbreviates them."""
    return array is not None and array.size == 1 and array.dtype.kind in kinds


def _as_float(table: np.ndarray, dequantise: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray | None:
    if dequantise is not None and table.dtype.kind in "iu":
        scale, zero = (one.reshape(()) for one in dequantise)
        with np.errstate(over="ignore", invalid="ignore"):  # of a scale that is not finite
            levels = (table.astype(np.int32) - zero.astype(np.int32)).astype(np.float32)
            return levels * scale.astype(np.float32)
    if dequantise is not None or table.dtype.kind != "f":
        return None
    return table if table.dtype == np.float64 else table.astype(np.float32)


def find_head(scope: Scope, names: Sequence[str], constants: Constants, hidden: int) -> Head | None:
    """Linear layer that reads the output of an LSTM, or what one function makes of each of its numbers.

    It may stand in another graph: in the branch of an If that reads the output, or behind the If around it. A
    convolution whose kernel has one step is a linear layer.

    Parameters
    ----------
    scope, names
        The outputs Y and Y_h of the LSTM.
    constants
        Of the model.
    hidden
        Size of h, both directions together.

    Returns
    -------
    Head or None
        None if there is none, or more than one.
    """
    found: Head | None = None
    seen: set[tuple[int, str]] = set()
    left = [(scope, name, _AS_IT_IS) for name in names if name]
    while left:
        scope, name, shown = left.pop()
        if not name or (id(scope), name) in seen:
            continue
        seen.add((id(scope), name))
        left += [(outer, output, shown) for outer, output in _out_of_branch(scope, name)]
        for place, node in scope.readers.get(name, ()):
            if input_of(node, 0) != name:
                continue
            operator = operator_of(node)
            if operator in _REARRANGING:
                left.append((place, output_of(node, 0), shown))
            elif operator in _ELEMENTWISE and shown == _AS_IT_IS:
                left.append((place, output_of(node, 0), _elementwise(node)))
            elif operator in ("Gemm", "MatMul", "Conv"):
                head = _linear(place, node, constants, hidden)
                if head is not None and found is not None:
                    return None
                found = found or (head and replace(head, shown=shown))
    return found


def _out_of_branch(scope: Scope, name: str) -> "Iterator[tuple[Scope, str]]":
    """Give what an If around a graph makes of one of its outputs, with the graph that holds it."""
    if scope.holder is None or scope.outer is None or operator_of(scope.holder[0]) != "If":
        return
    for k, output in enumerate(scope.graph.output):
        if output.name == name:
            yield scope.outer, output_of(scope.holder[0], k)


def _elementwise(node: "NodeProto") -> Activation:
    attributes = attributes_of(node)
    usual = _ELEMENTWISE[operator_of(node)]
    return activation(operator_of(node), **{name: attributes.get(name, value) for name, value in usual.items()})


def _linear(scope: Scope, node: "NodeProto", constants: Constants, hidden: int) -> Head | None:
    weight = constants.array(scope, input_of(node, 1))
    if weight is None or weight.dtype.kind != "f":
        return None
    attributes, end = attributes_of(node), output_of(node, 0)
    bias = constants.array(scope, input_of(node, 2)) if input_of(node, 2) else None
    if operator_of(node) == "Conv":
        if not _is_pointwise(weight, attributes):
            return None
        weight = weight.reshape(weight.shape[:2])
    elif weight.ndim != 2:
        return None
    elif operator_of(node) == "Gemm":
        if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            return None
        weight = weight if attributes.get("transB") else weight.T
    else:
        weight = weight.T
        match scope.readers.get(end, ()):
            case [(_, add)] if operator_of(add) == "Add":
                other = next((name for name in add.input if name != end), "")
                bias = constants.array(scope, other)
                end = end if bias is None else output_of(add, 0)
    if weight.shape[1] != hidden or (bias is not None and (bias.size != weight.shape[0] or bias.dtype.kind != "f")):
        return None
    precise = np.float64 if weight.dtype == np.float64 else np.float32
    return Head(
        np.ascontiguousarray(weight, precise),
        None if bias is None else bias.reshape(-1).astype(precise),
        _squashed_by(scope, end),
    )


def _is_pointwise(weight: np.ndarray, attributes: Mapping[str, Any]) -> bool:
    """Whether a convolution reads all channels of one step at a time."""
    plain = attributes.get("group", 1) == 1 and not any(attributes.get("pads", ()))
    steps = {*attributes.get("strides", (1,)), *attributes.get("dilations", (1,))}
    return weight.ndim > 2 and set(weight.shape[2:]) == {1} and plain and steps == {1}


def _squashed_by(scope: Scope, name: str) -> str | None:
    """Name the function behind a value that nothing else reads but what rearranges it; None if there is none."""
    for _ in range(_MOST_FOLLOWED):
        match scope.readers.get(name, ()):
            case [(place, node)] if operator_of(node) in _SQUASHING:
                return operator_of(node).lower()
            case [(place, node)] if operator_of(node) in _REARRANGING and input_of(node, 0) == name:
                scope, name = place, output_of(node, 0)
            case _:
                return None
    return None
