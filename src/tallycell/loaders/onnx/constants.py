"""Values of an ONNX graph that do not depend on its inputs: stored tensors, and what a few operators make of them.

The operators are those by which exporters reorder weights (Slice, Concat, Transpose and so on), run one at a time by
onnx's own reference implementation. Nothing else is run.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.onnx.graph import OWN_DOMAINS, OnnxModel, Scope, attributes_of
from tallycell.loaders.onnx.tensors import read_tensor
from tallycell.wording import MOST_QUOTED, one_line, quoted

if TYPE_CHECKING:
    from onnx import NodeProto

# Operators that only move values, and those that change them.
_MOVING = ("Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
_FOLDED = (*_MOVING, "Add", "Cast", "DequantizeLinear", "Div", "Mul", "Shape", "Sub")
_SINCE = {"DequantizeLinear": 19}  # the first version that onnx runs itself; of 8-bit integers it is the same before
_GROWTH = 64  # folded values may come to this many times the bytes of the file
_AT_LEAST, _AT_MOST = 2**24, 2**34  # bytes


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that does not depend on the model's inputs.

    Attributes
    ----------
    array
        The value.
    stored_as
        dtype of the tensor that it was made from.
    origin
        Name of that tensor.
    """

    array: np.ndarray
    stored_as: str
    origin: str


class Constants:
    """All constants of a model, each worked out when it is first asked for."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self._known: dict[tuple[int, str], Constant | None] = {}
        self._budget = min(max(_GROWTH * model.size, _AT_LEAST), _AT_MOST)

    def find(self, scope: Scope, name: str) -> Constant | None:
        """Value of a name as seen in a graph; None if it depends on the inputs, or is made by other operators.

        Raises
        ------
        FormatError
            If a tensor is damaged, or the values would take far more memory than the file has.
        """
        home = scope.home(name) if name else None
        if home is None:
            return None
        key = (id(home), name)
        if key not in self._known:
            self._known[key] = self._make(home, name)
        return self._known[key]

    def array(self, scope: Scope, name: str) -> np.ndarray | None:
        """Only the value of :meth:`find`."""
        found = self.find(scope, name)
        return None if found is None else found.array

    def charge(self, size: int, node: "NodeProto") -> None:
        """Count bytes that are about to be made for a node.

        Raises
        ------
        FormatError
            If all that was counted is more than such a file can reasonably need.
        """
        self._budget -= size
        if self._budget < 0:
            raise FormatError(
                f"working out the weights of node {quoted(node.name)} would take over {_GROWTH} times the bytes of the "
                "file"
            )

    def _make(self, home: Scope, name: str) -> Constant | None:
        if name in home.initialisers:
            return Constant(*read_tensor(home.initialisers[name], self._model.path.parent), name)
        if name not in home.makers:
            return None
        node, k = home.makers[name]
        if node.domain not in OWN_DOMAINS:
            return None
        if node.op_type == "Constant":
            return self._of_attribute(node, name)
        return self._fold(home, node, k) if node.op_type in _FOLDED else None

    def _of_attribute(self, node: "NodeProto", name: str) -> Constant | None:
        for attribute in node.attribute:
            match attribute.name:
                case "value":
                    return Constant(*read_tensor(attribute.t, self._model.path.parent), name)
                case "value_int" | "value_ints":
                    array = np.array(attribute.i if attribute.name == "value_int" else attribute.ints, np.int64)
                    return Constant(array, "int64", name)
                case "value_float" | "value_floats":
                    array = np.array(attribute.f if attribute.name == "value_float" else attribute.floats, np.float32)
                    return Constant(array, "float32", name)
        return None

    def _fold(self, home: Scope, node: "NodeProto", k: int) -> Constant | None:
        inputs: dict[str, np.ndarray] = {}
        first: Constant | None = None
        for name in filter(None, node.input):
            found = self.find(home, name)
            if found is None:
                return None
            first = first or found
            inputs[name] = found.array
        if first is None:
            return None
        self._spend(node, [inputs[name] for name in node.input if name])
        array = _run(node, inputs, self._model.opset, k)
        return None if array.dtype.kind in "OSU" else Constant(array, first.stored_as, first.origin)  # texts

    def _spend(self, node: "NodeProto", inputs: list[np.ndarray]) -> None:
        """Refuse to make what the file cannot reasonably need; an operator's output is bounded before it runs."""
        elements = max(array.size for array in inputs)
        whole = {name: value for name, value in attributes_of(node).items() if isinstance(value, int)}
        if node.op_type == "Concat":
            elements = sum(array.size for array in inputs)
        elif node.op_type == "Gather" and len(inputs) > 1:
            data, axis = inputs[0], whole.get("axis", 0)
            along = data.shape[axis] if -data.ndim <= axis < data.ndim else 1
            elements = data.size // max(along, 1) * inputs[1].size
        elif node.op_type in ("Add", "Div", "Mul", "Sub", "DequantizeLinear"):
            elements = math.prod(max(sizes) for sizes in _aligned([array.shape for array in inputs]))
            elements += sum(array.size for array in inputs[1:]) * max(whole.get("block_size", 0), 0)  # each is repeated
        elif node.op_type == "Split":
            elements += max(whole.get("num_outputs", 0), 0)
        self.charge(elements * max(array.itemsize for array in inputs), node)


def _aligned(shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Sizes of each dimension, counted from the last as broadcasting does."""
    rank = max(map(len, shapes))
    return list(zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True))


def _run(node: "NodeProto", inputs: dict[str, np.ndarray], opset: int, k: int) -> np.ndarray:
    """One output of one operator, by onnx's reference implementation."""
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "one_node",
        [ValueInfoProto(name=name) for name in inputs],
        [ValueInfoProto(name=name) for name in node.output if name],
    )
    try:
        opset = max(opset, _SINCE.get(node.op_type, 0))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        with np.errstate(all="ignore"):  # what overflows is refused as a weight that is not finite
            results: Any = ReferenceEvaluator(model).run(None, inputs)
        array = results[sum(bool(name) for name in node.output[:k])]
    except Exception as error:  # a damaged graph makes the reference implementation raise almost anything
        reason = one_line(error, most=MOST_QUOTED)
        raise FormatError(f"node {quoted(node.name)} ({node.op_type}) cannot work on its constants: {reason}") from None
    if not isinstance(array, np.ndarray | np.generic):
        raise FormatError(f"node {quoted(node.name)} ({node.op_type}) makes no tensor")
    return np.asarray(array)
