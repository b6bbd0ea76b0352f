"""How others lay out the weights of a layer.

Inside tallycell the gates stand in the order i f g o, as in PyTorch. Gate orders elsewhere, each read in the source
named: PyTorch and Keras ``ifgo`` (Keras calls g "c"), ONNX ``iofg`` (it calls g "c"), TensorFlow's BasicLSTMCell and
Haste ``igfo`` (TensorFlow calls g "j").
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tallycell.errors import ParameterError
from tallycell.names import GATES, PEEPHOLE_GATES


@dataclass(frozen=True)
class Layout:
    """A foreign layout of one layer's weights in one direction.

    Attributes
    ----------
    order
        The gates in the letters i f g o, such as ``"iofg"``.
    transposed
        Whether matrices are (feature, 4 unit), as in Keras and TensorFlow, rather than (4 unit, feature).
    biases
        0, 1 (Keras, TensorFlow) or 2 (PyTorch, ONNX) bias vectors.
    forget_bias
        What the other side adds to f_pre at run time (TensorFlow's BasicLSTMCell: 1 unless told otherwise).

    Raises
    ------
    ParameterError
        If the order is not a permutation of i f g o, or the biases are not 0, 1 or 2.

    Examples
    --------
    >>> onnx = Layout("iofg", biases=0)
    >>> ours = onnx.read({"weight_ih": np.array([[0.0], [3.0], [1.0], [2.0]]), "weight_hh": np.zeros((4, 1))})
    >>> ours["weight_ih"].ravel()
    array([0., 1., 2., 3.])
    >>> onnx.write(ours)["weight_ih"].ravel()
    array([0., 3., 1., 2.])
    """

    order: str = "ifgo"
    transposed: bool = False
    biases: int = 2
    forget_bias: float = 0.0

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(GATES):
            raise ParameterError(f"gate order {self.order!r}; expected the letters i, f, g and o, each once")
        if self.biases not in (0, 1, 2):
            raise ParameterError(f"{self.biases} biases; a layer has 0, 1 or 2")
        if self.forget_bias and not self.biases:
            raise ParameterError("a forget bias needs a layout with at least one bias to be kept in")

    def read(self, theirs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Bring a layer's weights into tallycell's layout.

        Parameters
        ----------
        theirs
            ``weight_ih``, ``weight_hh`` and, where there are any, ``bias`` (one) or ``bias_ih`` and ``bias_hh`` (two),
            ``weight_hr`` (projection) and ``weight_ch`` (peepholes, in the foreign order without g).

        Returns
        -------
        dict
            The same under PyTorch's kinds; one bias becomes ``bias_ih``, with a ``bias_hh`` of zeros. The forget bias
            is added to ``bias_ih``.
        """
        self._check(theirs, {1: {"bias"}, 2: {"bias_ih", "bias_hh"}}.get(self.biases, set()))
        ours: dict[str, np.ndarray] = {}
        for kind, weight in theirs.items():
            turned = weight.T if self.transposed and weight.ndim == 2 else weight
            ours[kind] = turned if kind == "weight_hr" else _reorder(turned, self._order_of(kind), _inside(kind))
        if self.biases == 1:
            ours["bias_ih"] = ours.pop("bias")
            ours["bias_hh"] = np.zeros_like(ours["bias_ih"])
        if self.forget_bias:
            ours["bias_ih"] = _add_to_forget_gate(ours["bias_ih"], self.forget_bias)
        return ours

    def write(self, ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Bring tallycell's weights of a layer into this layout; the inverse of :meth:`read`.

        Two biases are summed where the layout has one; they must be absent where it has none.
        """
        self._check(ours, {"bias_ih", "bias_hh"} if self.biases else set())
        theirs = dict(ours)
        if self.forget_bias:
            theirs["bias_ih"] = _add_to_forget_gate(theirs["bias_ih"], -self.forget_bias)
        if self.biases == 1:
            theirs["bias"] = theirs.pop("bias_ih") + theirs.pop("bias_hh")
        for kind, weight in theirs.items():
            moved = weight if kind == "weight_hr" else _reorder(weight, _inside(kind), self._order_of(kind))
            theirs[kind] = moved.T if self.transposed and moved.ndim == 2 else moved
        return theirs

    def _order_of(self, kind: str) -> str:
        return self.order.replace("g", "") if kind == "weight_ch" else self.order

    def _check(self, weights: Mapping[str, np.ndarray], biases: set[str]) -> None:
        expected = {"weight_ih", "weight_hh", *biases}
        got = set(weights) - {"weight_hr", "weight_ch"}
        if got != expected:
            raise ParameterError(
                f"got {', '.join(sorted(got))}, expected {', '.join(sorted(expected))} for a layout of "
                f"{self.biases} biases; weight_hr and weight_ch may come besides"
            )


def _inside(kind: str) -> str:
    return "".join(PEEPHOLE_GATES if kind == "weight_ch" else GATES)


def _reorder(weight: np.ndarray, source: str, target: str) -> np.ndarray:
    rows = weight.shape[0] if weight.ndim else 1
    if rows % len(source):
        raise ParameterError(f"a weight has {rows} rows, which {len(source)} gates cannot share evenly")
    blocks = np.split(weight, len(source))
    return np.concatenate([blocks[source.index(gate)] for gate in target])


def _add_to_forget_gate(bias: np.ndarray, amount: float) -> np.ndarray:
    blocks = np.split(bias, 4)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are refused where parameters are made
        blocks[GATES.index("f")] = blocks[GATES.index("f")] + np.asarray(amount, dtype=bias.dtype)
    return np.concatenate(blocks)
