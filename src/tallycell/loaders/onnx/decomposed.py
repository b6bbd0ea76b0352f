"""LSTMs that an exporter took apart: two linear projections, their sum split into four, and the equations of a step.

What is recognised, in a graph of Gemm, MatMul, Add, Split or Slice, Sigmoid, Tanh and Mul::

    pre  = W_x x + W_h h + biases                  one projection of all gates
    i, f, g, o = parts of pre                      in whatever order the equations below need them
    c'   = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h'   = sigmoid(o) * tanh(c')

Which part is which gate follows from the equations, not from the order; which projection reads h, from the names of the
weights (``weight_hh``) or from where its input comes from.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tallycell.errors import FormatError, ParameterError, TallycellError
from tallycell.layout import Layout
from tallycell.loaders.onnx.constants import Constant, Constants
from tallycell.loaders.onnx.graph import Scope, attributes_of, input_of, operator_of, output_of
from tallycell.loaders.onnx.tracing import Tracing
from tallycell.parameters import LSTMParameters
from tallycell.wording import quoted, shown

if TYPE_CHECKING:
    from onnx import NodeProto

_INPUTS = {"Add": 2, "Mul": 2, "Sigmoid": 1, "Tanh": 1}
_TO_THE_END = (2**31 - 1, 2**63 - 1)  # where a Slice ends that takes all that is left
_TORCH_NAME = re.compile(r"(?P<path>.*?)\.?weight_(?P<kind>ih|hh)(?:_l\d+)?(?:_reverse)?", re.S)


@dataclass(frozen=True, eq=False)
class Cell:
    """One step of an LSTM as nodes of a graph, by the names of its values.

    Attributes
    ----------
    scope
        The graph.
    node
        The node that makes h.
    pre
        The four pre-activations side by side.
    order
        Which gate each quarter of ``pre`` belongs to, such as ``"ifgo"``.
    width
        How wide each quarter is; None where that is not stated, since they are equal parts.
    h, c
        What it makes.
    c_0
        The cell that it starts from.
    """

    scope: Scope
    node: "NodeProto"
    pre: str
    order: str
    width: int | None
    h: str
    c: str
    c_0: str


@dataclass(frozen=True, eq=False)
class Product:
    """A projection of a value: its weights as the file has them, turned or not, and its bias."""

    value: str
    weight: Constant
    bias: np.ndarray | None
    turned: bool

    @property
    def matrix(self) -> np.ndarray:
        """Weights as (4 unit, feature)."""
        return self.weight.array.T if self.turned else self.weight.array


@dataclass(frozen=True, eq=False)
class CellWeights:
    """The projections of one cell, told apart."""

    x: Product
    h: Product
    parameters: LSTMParameters
    stored_as: str | None

    @property
    def path(self) -> str | None:
        """Path of the module by the torch names of its weights; None if they have none."""
        found = [_TORCH_NAME.fullmatch(one.weight.origin) for one in (self.x, self.h)]
        paths = {one["path"] for one in found if one}
        return paths.pop() if all(found) and len(paths) == 1 else None


def find_cells(scope: Scope, nodes: "Iterable[NodeProto]", constants: Constants) -> Iterator[Cell]:
    """Give every step of an LSTM among the nodes of a graph."""
    for node in nodes:
        if _is_whole(node, "Mul") and output_of(node, 0):
            cell = _match(scope, node, constants)
            if cell is not None:
                yield cell


def _is_whole(node: "NodeProto", operator: str) -> bool:
    """Whether a node is of an operator, and has all that such a node reads, and no more."""
    return operator_of(node) == operator and len(node.input) == _INPUTS[operator] and all(node.input)


def _match(scope: Scope, node: "NodeProto", constants: Constants) -> Cell | None:
    output = _pair(scope, node, "Sigmoid", "Tanh")
    if output is None:
        return None
    o, squashed = output
    c = squashed.input[0]
    add = _made(scope, c, "Add")
    if add is None:
        return None
    for keep_name, write_name in (tuple(add.input), tuple(add.input)[::-1]):
        keep, write = _made(scope, keep_name, "Mul"), _made(scope, write_name, "Mul")
        written = _pair(scope, write, "Sigmoid", "Tanh") if write else None
        if keep is None or written is None:
            continue
        i, g = written
        for f_name, c_0 in (tuple(keep.input), tuple(keep.input)[::-1]):
            f = _made(scope, f_name, "Sigmoid")
            if f is None:
                continue
            gates = {letter: one.input[0] for letter, one in zip("ifgo", (i, f, g, o), strict=True)}
            parts = _parts(scope, gates, constants)
            if parts is not None:
                return Cell(scope, node, *parts, h=node.output[0], c=c, c_0=c_0)
    return None


def _made(scope: Scope, name: str, operator: str) -> "NodeProto | None":
    node = scope.makers[name][0] if name in scope.makers else None
    return node if node is not None and _is_whole(node, operator) else None


def _pair(scope: Scope, mul: "NodeProto", *operators: str) -> "tuple[NodeProto, NodeProto] | None":
    """Makers of the two factors, in the order of the operators asked for."""
    for names in (tuple(mul.input), tuple(mul.input)[::-1]):
        first, second = (_made(scope, name, operator) for name, operator in zip(names, operators, strict=True))
        if first is not None and second is not None:
            return first, second
    return None


def _parts(scope: Scope, gates: dict[str, str], constants: Constants) -> tuple[str, str, int | None] | None:
    """Value that four gates are quarters of, their order in it, and their width where it is stated."""
    found = {letter: _part(scope, name, constants) for letter, name in gates.items()}
    wholes = {part.whole for part in found.values() if part}
    starts = {part.start: letter for letter, part in found.items() if part}
    if len(wholes) != 1 or len(starts) != 4:
        return None
    ordered = sorted(starts)
    steps = {later - earlier for earlier, later in pairwise(ordered)}
    if ordered[0] != 0 or len(steps) != 1:
        return None
    (step,) = steps
    ends = {part.start: part.end for part in found.values() if part}
    if any(ends[start] != start + step for start in ordered[:-1]):
        return None
    if ends[ordered[-1]] not in (4 * step, *_TO_THE_END):
        return None
    stated = all(part.stated for part in found.values() if part)
    return wholes.pop(), "".join(starts[start] for start in ordered), step if stated else None


class _Part(NamedTuple):
    """A part of a value along its last dimension: in columns where that is ``stated``, else in equal parts."""

    whole: str
    start: int
    end: int
    stated: bool


def _part(scope: Scope, name: str, constants: Constants) -> _Part | None:
    """Tell what a value is a part of."""
    if name not in scope.makers:
        return None
    node, k = scope.makers[name]
    attributes = attributes_of(node)
    whole = input_of(node, 0)
    if operator_of(node) == "Split" and len(node.output) == 4:
        sizes = constants.array(scope, input_of(node, 1)) if input_of(node, 1) else attributes.get("split")
        even = sizes is None or len(set(np.ravel(sizes).tolist())) == 1
        return _Part(whole, k, k + 1, stated=False) if whole and even and attributes.get("axis", 0) != 0 else None
    if operator_of(node) == "Slice":
        start, end, axis = (_whole_number(constants.array(scope, input_of(node, j))) for j in (1, 2, 3))
        step = _whole_number(constants.array(scope, input_of(node, 4))) if input_of(node, 4) else 1
        if whole and start is not None and end is not None and axis not in (None, 0) and step == 1:
            return _Part(whole, start, end, stated=True)
    return None


def _whole_number(array: np.ndarray | None) -> int | None:
    """Give the only number of an array, if it is a whole one."""
    return int(array.item()) if array is not None and array.size == 1 and array.dtype.kind in "iu" else None


def read_cells(cells: list[Cell], constants: Constants, tracing: Tracing) -> list[CellWeights | TallycellError]:
    """Give the weights of each cell, or why they cannot be told."""
    read: list[list[Product] | FormatError] = []
    for cell in cells:
        try:
            read.append(_products(cell, constants))
        except FormatError as error:
            read.append(error)
    of_h = _arrays_of_h(cells, read, tracing)
    results: list[CellWeights | TallycellError] = []
    known: dict[tuple[int, int], CellWeights | TallycellError] = {}  # steps of an unrolled LSTM share one copy
    for cell, products in zip(cells, read, strict=True):
        if isinstance(products, FormatError):
            results.append(products)
            continue
        h = [one for one in products if id(one.weight.array) in of_h]
        x = [one for one in products if id(one.weight.array) not in of_h]
        if len(h) == len(x) == 1:
            key = (id(x[0].weight.array), id(h[0].weight.array))
            if key not in known:
                known[key] = _weights_or_reason(cell, x[0], h[0], constants)
            shared = known[key]
            results.append(shared if isinstance(shared, TallycellError) else replace(shared, x=x[0], h=h[0]))
        else:
            results.append(FormatError("it cannot be told which of its two projections reads h and which x"))
    return results


def _arrays_of_h(cells: list[Cell], read: "list[list[Product] | FormatError]", tracing: Tracing) -> set[int]:
    """Arrays that are known to act on h, by id: the steps of an unrolled LSTM share them."""
    ends: dict[tuple[Scope, str], set[tuple[Scope, str]]] = {}  # by a cell state, where the h beside it comes from
    for cell in cells:
        ends.setdefault((cell.scope, cell.c), set()).add(tracing.source(cell.scope, cell.h))
    of_h: set[int] = set()
    for _ in range(2):  # what one step tells, another may need
        for cell, products in zip(cells, read, strict=True):
            if isinstance(products, list):
                chosen = _which_reads_h(cell, products, ends, of_h, tracing)
                of_h |= {id(chosen.weight.array)} if chosen else set()
    return of_h


def _products(cell: Cell, constants: Constants) -> list[Product]:
    """Projections that the pre-activations are a sum of; a bias of its own goes to one that has none."""
    scope, left, loose = cell.scope, [cell.pre], []
    products: list[Product] = []
    while left:
        name = left.pop()
        constant = constants.array(scope, name)
        node = scope.makers[name][0] if name in scope.makers else None
        operator = operator_of(node) if node is not None else "an input"
        if constant is not None:
            loose.append(constant)
        elif node is not None and operator == "Add":
            left += node.input
        elif node is not None and operator in ("Gemm", "MatMul"):
            product, rest = _product(scope, node, constants)
            products.append(product)
            left += rest
        else:
            raise FormatError(
                f"its pre-activations add up more than projections and biases: {shown(operator)} at {quoted(name)}"
            )
        if len(products) + len(loose) + len(left) > 8:
            raise FormatError("its pre-activations add up more than two projections and their biases")
    if len(products) != 2:
        raise FormatError(f"its pre-activations are a sum of {len(products)} projections; expected those of x and h")
    for bias in loose:
        k = next((k for k, one in enumerate(products) if one.bias is None), 0)
        products[k] = replace(products[k], bias=_sum_of(products[k].bias, bias))
    return products


def _sum_of(bias: np.ndarray | None, other: np.ndarray) -> np.ndarray:
    if bias is None:
        return other
    if bias.size != other.size or not {bias.dtype.kind, other.dtype.kind} <= set("fiu"):
        raise FormatError(f"it adds biases of the shapes {bias.shape} and {other.shape}; expected one number a row")
    with np.errstate(over="ignore", invalid="ignore"):  # refused as a weight that is not finite
        return bias.reshape(-1) + other.reshape(-1)  # type: ignore[no-any-return]


def _product(scope: Scope, node: "NodeProto", constants: Constants) -> tuple[Product, list[str]]:
    """Give the projection of a node, and what else the node adds to it."""
    attributes = attributes_of(node)
    if not input_of(node, 0):
        raise FormatError(f"its projection {quoted(node.name)} reads nothing")
    weight = constants.find(scope, input_of(node, 1))
    if weight is None or weight.array.ndim != 2 or weight.array.dtype.kind != "f":
        raise FormatError(f"the weights of its projection {quoted(node.name)} are not constant")
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise FormatError(f"its projection {quoted(node.name)} is scaled or transposed")
    rest = [name for name in node.input[2:] if name]
    bias = constants.array(scope, rest[0]) if rest else None
    turned = not attributes.get("transB")
    return Product(node.input[0], weight, bias, turned), [] if bias is not None else rest


def _which_reads_h(
    cell: Cell,
    products: list[Product],
    ends: dict[tuple[Scope, str], set[tuple[Scope, str]]],
    of_h: set[int],
    tracing: Tracing,
) -> Product | None:
    """Find the projection of h: by the names of the weights, or by where their inputs come from."""
    first, second = products
    for one, other in ((first, second), (second, first)):
        kinds = [match["kind"] if (match := _TORCH_NAME.fullmatch(p.weight.origin)) else "" for p in (one, other)]
        if kinds == ["hh", "ih"] or id(one.weight.array) in of_h:
            return one
    sources = [tracing.source(cell.scope, one.value) for one in products]
    started = tracing.source(cell.scope, cell.c_0)
    before = ends.get(started, set())
    from_state = [one for one, source in zip(products, sources, strict=True) if source == started or source in before]
    return from_state[0] if len(from_state) == 1 else None


def _weights_or_reason(cell: Cell, x: Product, h: Product, constants: Constants) -> CellWeights | TallycellError:
    try:
        constants.charge(x.weight.array.nbytes + h.weight.array.nbytes, cell.node)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as a weight that is not finite
            return _weights(cell, x, h)
    except (FormatError, ParameterError) as error:
        return error


def _weights(cell: Cell, x: Product, h: Product) -> CellWeights:
    rows, hidden = h.matrix.shape
    if rows != 4 * hidden or x.matrix.shape[0] != rows:
        raise FormatError(
            f"its projections have the shapes {x.matrix.shape} of x and {h.matrix.shape} of h; expected "
            "(4 unit, feature) and (4 unit, unit)"
        )
    if cell.width not in (None, hidden):
        raise FormatError(f"its gates are slices of {cell.width} columns each; expected {hidden}, a quarter of {rows}")
    dtype = np.float64 if x.matrix.dtype == np.float64 else np.float32
    theirs = {"weight_ih": x.matrix.astype(dtype), "weight_hh": h.matrix.astype(dtype)}
    biases = {"bias_ih": x.bias, "bias_hh": h.bias}
    for name, bias in biases.items():
        if bias is not None and (bias.size != rows or bias.dtype.kind not in "fiu"):
            raise FormatError(f"it adds a bias of {bias.dtype} of shape {bias.shape}; expected {rows} numbers")
        if any(one is not None for one in biases.values()):
            theirs[name] = np.zeros(rows, dtype) if bias is None else bias.reshape(-1).astype(dtype)
    ours = Layout(cell.order, biases=2 if "bias_ih" in theirs else 0).read(theirs)
    parameters = LSTMParameters({f"{kind}_l0": weight for kind, weight in ours.items()})
    stored = x.weight.stored_as
    return CellWeights(x, h, parameters, None if stored == str(parameters.dtype) else stored)
