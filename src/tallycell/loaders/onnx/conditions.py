"""In which case a branch of an ONNX graph runs, in words: ``"if 'sr' equals 16000"``."""

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.onnx.constants import Constants
from tallycell.loaders.onnx.graph import Scope, input_of, operator_of
from tallycell.wording import listed, quoted

if TYPE_CHECKING:
    from onnx import NodeProto

_PASSING = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
# What a comparison says where it holds and where it does not.
_COMPARING = {
    "Equal": ("equals", "does not equal"),
    "Greater": ("is more than", "is at most"),
    "GreaterOrEqual": ("is at least", "is less than"),
    "Less": ("is less than", "is at least"),
    "LessOrEqual": ("is at most", "is more than"),
}
_MOST_FOLLOWED = 10_000  # nodes behind one condition
_MOST_SAID = 4  # conditions around one LSTM


class Conditions:
    """Says of graphs when they run; what stands behind an If is worked out once."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._known: dict[tuple[int, bool], str | None] = {}

    def when(self, scope: Scope) -> str | None:
        """Say in which case a graph runs; None if it always does. The bodies of loops count as always run.

        Examples
        --------
        >>> from pathlib import Path
        >>> from onnx import TensorProto, helper
        >>> from tallycell.loaders.onnx.graph import OnnxModel
        >>> inside = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "inside", [], [])
        >>> nodes = [helper.make_node("Equal", ["rate", "most"], ["is_most"]),
        ...          helper.make_node("If", ["is_most"], ["z"], then_branch=inside, else_branch=inside)]
        >>> rate = helper.make_tensor_value_info("rate", TensorProto.INT64, [])
        >>> most = helper.make_tensor("most", TensorProto.INT64, [], [16000])
        >>> graph = helper.make_graph(nodes, "g", [rate], [], [most])
        >>> model = OnnxModel(helper.make_model(graph), Path("m.onnx"), 100)
        >>> branches = model.root.inner[id(model.root.nodes[1])]
        >>> [Conditions(Constants(model)).when(branch) for branch in branches.values()]
        ["if 'rate' equals 16000", "if 'rate' does not equal 16000"]
        """
        said: list[str] = []
        while scope.holder is not None and scope.outer is not None:
            node, branch = scope.holder
            scope = scope.outer
            if operator_of(node) == "If" and input_of(node, 0):
                said[:0] = filter(None, [self._case(scope, node, branch == "then_branch")])
        if not said:
            return None
        rest = [f"{len(said) - _MOST_SAID} more conditions hold"] if len(said) > _MOST_SAID else []
        return f"if {' and '.join([*dict.fromkeys(said[:_MOST_SAID]), *rest])}"

    def _case(self, scope: Scope, node: "NodeProto", holds: bool) -> str | None:
        key = (id(node), holds)
        if key not in self._known:
            try:
                self._known[key] = self._say(scope, input_of(node, 0), holds)
            except FormatError:  # a damaged constant; whoever needs it says so
                self._known[key] = f"the condition of {quoted(node.name)} {'holds' if holds else 'does not hold'}"
        return self._known[key]

    def _say(self, scope: Scope, name: str, holds: bool) -> str | None:
        """Say a condition; None if it always holds."""
        constant = self._one_value(scope, name)
        if constant is not None:
            return None if bool(constant) == holds else "its condition holds, which it never does"
        asked = scope, name
        for _ in range(_MOST_FOLLOWED):
            made = scope.maker(name)
            if made is None or operator_of(made[1]) not in (*_PASSING, "Not"):
                break
            holds = holds != (operator_of(made[1]) == "Not")
            scope, name = made[0], input_of(made[1], 0)
        else:
            return self._generic(*asked, holds)
        if made is not None and operator_of(made[1]) in _COMPARING:
            left, right = (self._operand(made[0], input_of(made[1], k)) for k in (0, 1))
            if left and right:
                return f"{left} {_COMPARING[operator_of(made[1])][not holds]} {right}"
        elif value := self._operand(scope, name):
            return f"{value} {'is not 0' if holds else 'is 0'}"
        return self._generic(scope, name, holds)

    def _operand(self, scope: Scope, name: str) -> str | None:
        """Name what is compared: a number, an input, or a size of one; None if it is something else."""
        constant = self._one_value(scope, name)
        if constant is not None:
            return quoted(constant)
        number: object = None
        for _ in range(_MOST_FOLLOWED):
            made = scope.maker(name)
            if made is None:
                is_input = scope.home(name) is not None
                return quoted(name) if name and is_input else None
            scope, node, _ = made
            name = input_of(node, 0)
            if operator_of(node) == "Gather":
                number = self._one_value(scope, input_of(node, 1))
            elif operator_of(node) == "Shape":
                whole = self._operand(scope, name)
                return f"size {number} of {whole}" if whole and isinstance(number, int) else None
            elif operator_of(node) not in _PASSING:
                return None
        return None

    def _one_value(self, scope: Scope, name: str) -> bool | int | float | None:
        """Give the number that a value always is; None if it is none, or not known."""
        array = self._constants.array(scope, name)
        if array is None or array.size != 1 or array.dtype.kind not in "biuf":
            return None
        value: bool | int | float = np.asarray(array).reshape(()).item()
        return value

    def _generic(self, scope: Scope, name: str, holds: bool) -> str:
        """Say on which inputs a condition depends that has no shorter words."""
        inputs: dict[str, None] = {}
        behind = {(id(scope), name): (scope, name)}
        left = deque(behind.values())
        while left and len(behind) < _MOST_FOLLOWED:
            here, value = left.popleft()
            made, home = here.maker(value), here.home(value)
            if made is None and home is not None and value in home.inputs:
                inputs[value] = None
            for read in filter(None, made[1].input if made else ()):
                if made and (id(made[0]), read) not in behind:
                    behind[id(made[0]), read] = (made[0], read)
                    left.append((made[0], read))
        of = f" on {listed(inputs, 4)}" if inputs else ""
        return f"a condition{of} {'holds' if holds else 'does not hold'}"
