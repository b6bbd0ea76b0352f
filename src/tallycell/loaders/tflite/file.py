"""TFLite: its LSTM operators in float, with int8 weights, and in integers throughout.

What is read are the weights; those that are quantised come out as the floats that they stand for. A runtime that
quantises x and h as well (hybrid and integer operators) computes with less precision than these weights allow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.activations import activation
from tallycell.errors import ActivationError, FormatError, ParameterError
from tallycell.files import first_bytes
from tallycell.layout import Layout
from tallycell.loaders.loaded_model import Head, LoadedModel, Place
from tallycell.loaders.tensors import check_unfolding, stored_as
from tallycell.loaders.tflite.graph import Graph, Operator, Tensor, read_graphs
from tallycell.parameters import Activations, ForgetGate, LSTMParameters
from tallycell.wording import listed, one_line, quoted, reasons

_SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_BOTH = "BIDIRECTIONAL_SEQUENCE_LSTM"
_WEIGHTS = 17  # inputs that hold the weights of one direction
_RECURRENT = slice(5, 9)  # inputs that hold the recurrent weights of the first direction, one a gate
_ACTIVATIONS = {0: "identity", 1: "relu", 2: "hard_tanh", 4: "tanh"}  # of ActivationFunctionType
_REFUSED_ACTIVATIONS = {3: "RELU6", 5: "SIGN_BIT"}
_BASIC = 1  # of LSTMKernelType
_RESHAPES = ("RESHAPE", "STRIDED_SLICE", "UNPACK", "SQUEEZE")


def load_tflite(path: Path) -> LoadedModel:
    """Read the LSTMs of a TFLite file.

    Parameters
    ----------
    path
        A ``.tflite`` file with operators ``UNIDIRECTIONAL_SEQUENCE_LSTM``, ``BIDIRECTIONAL_SEQUENCE_LSTM`` or ``LSTM``.

    Returns
    -------
    LoadedModel
        By the name of the tensor that the operator gives. Peepholes, projections and clipping of the cell are read; an
        operator without an input gate has a coupled one. Layer normalisation, a projection with a bias, one that is
        clipped, and a second input are refused.

    Raises
    ------
    MissingExtraError
        If ai-edge-litert is not installed.
    FormatError
        If the file is missing or damaged, or holds no LSTM that can be read.
    """
    first_bytes(path, 1)
    stacks: dict[str, LSTMParameters] = {}
    places: dict[str, Place] = {}
    refused: dict[str, str] = {}
    found: list[tuple[Graph, Operator]] = []
    numbers: dict[str, int] = {}
    graphs = read_graphs(path)
    _check_total(graphs, path)
    for graph in graphs:
        for operator in graph.operators:
            if "lstm" not in operator.name.lower():
                continue
            name = _free_name(graph, operator, (stacks, refused), numbers)
            try:
                stacks[name], places[name] = _read(graph, operator)
                found.append((graph, operator))
            except (FormatError, ParameterError, ActivationError) as error:
                refused[name] = one_line(error)
    if not stacks:
        raise FormatError(_nothing(path, graphs, refused))
    try:
        embedding, head = _embedding(*found[0]), _head(*found[-1])
    except FormatError as error:
        raise FormatError(f"{path}, beside its LSTMs: {error}") from None
    is_one = all(graph is found[0][0] for graph, _ in found)  # of several, one may run while another does
    return LoadedModel(stacks, path, places=places, refused=refused, embedding=embedding, head=head, in_order=is_one)


def _check_total(graphs: Sequence[Graph], path: Path) -> None:
    """Refuse a file whose operators share tensors so often that their weights would not fit into memory."""
    values = 0
    for graph in graphs:
        for operator in graph.operators:
            if "lstm" not in operator.name.lower():
                continue
            values += sum(tensor.count for number in operator.inputs if (tensor := graph.stored(number)))
            if operator.options.get("DiagonalRecurrentTensors"):  # each is spread out to a matrix
                numbers = operator.inputs[_RECURRENT]
                values += sum(tensor.count**2 for number in numbers if (tensor := graph.stored(number)))
    check_unfolding(4 * values, path.stat().st_size, path)


def _free_name(graph: Graph, operator: Operator, taken: Sequence[Mapping[str, object]], numbers: dict[str, int]) -> str:
    """Name of what the operator gives; where others have it, with a number behind, counted on for each name."""
    output = graph.tensor(operator.output)
    wanted = name = operator.name if output is None else output.name
    while any(wanted in names for names in taken):
        numbers[name] = max(numbers.get(name, 0) + 1, sum(map(len, taken)))
        wanted = f"{name}_{numbers[name]}"
    return wanted


def _nothing(path: Path, graphs: Sequence[Graph], refused: Mapping[str, str]) -> str:
    if refused:
        return f"{path} holds no LSTM that can be read: {reasons(refused)}"
    names = sorted({operator.name for graph in graphs for operator in graph.operators})
    return (
        f"{path} holds no LSTM operator; its operators are {listed(names)}. A converter that unrolls the LSTM or "
        "makes a WHILE of it leaves none to read: load the model that was converted"
    )


def _read(graph: Graph, operator: Operator) -> tuple[LSTMParameters, Place]:
    options, x = operator.options, graph.tensor(operator.input(0))
    if x is None or operator.output < 0:
        raise FormatError(f"it has no {'input' if x is None else 'output'}, which no LSTM is without")
    stated = options.get("FusedActivationFunction", 0)
    if stated not in _ACTIVATIONS:
        raise FormatError(f"its activation is {_REFUSED_ACTIVATIONS.get(stated, stated)}, which is not known here")
    squash = activation(_ACTIVATIONS[stated])
    if operator.name == "LSTM" and options.get("KernelType") == _BASIC:
        directions, states = [_basic(graph, operator)], operator.inputs[1:5:3]
    elif operator.name in (_SEQUENCE, "LSTM"):
        directions, states = [_full(graph, operator, 1)], operator.inputs[18:20]
    elif operator.name == _BOTH:
        directions, states = [_full(graph, operator, 1), _full(graph, operator, 1 + _WEIGHTS)], ()
    else:
        raise FormatError(f"{quoted(operator.name)} is an LSTM of a kind that is not read")
    _check_extras(graph, operator, directions)
    kinds = {direction.forget_gate for direction in directions}
    if len(kinds) > 1:
        raise FormatError("the input gate is coupled in one direction only, which is not read")
    suffixes = ("_l0", "_l0_reverse")
    weights = {kind + end: x for end, one in zip(suffixes, directions, strict=False) for kind, x in one.weights.items()}
    clip = options.get("CellClip", 0.0)
    parameters = LSTMParameters(
        weights, Activations(cell=squash, hidden=squash), kinds.pop(), clip_cell=clip if clip > 0 else None
    )
    h_0, c_0 = (
        tensor.name if number in graph.inputs and (tensor := graph.tensor(number)) else None
        for number in (*states, -1, -1)[:2]
    )
    place = Place(
        operator.name,
        stored_as(dtype for direction in directions for dtype in direction.dtypes),
        reads=x.name,
        state_inputs=(h_0, c_0),
    )
    return parameters, place


@dataclass(frozen=True, eq=False)
class _Direction:
    """Weights of one direction under PyTorch's kinds, the dtypes that they were stored in, the kind of forget gate."""

    weights: dict[str, np.ndarray]
    dtypes: list[str]
    forget_gate: ForgetGate = "own"


def _full(graph: Graph, operator: Operator, start: int) -> _Direction:
    """Read a direction: four matrices for x, four for h, three peepholes, four biases, all in the order i f g o."""
    numbers = operator.inputs[start : start + _WEIGHTS]
    if len(numbers) < _WEIGHTS:
        raise FormatError(f"it has {len(operator.inputs)} inputs, expected at least {start + _WEIGHTS}")
    tensors = [graph.constant(number) for number in numbers]
    coupled = tensors[0] is None
    x, h, peepholes, biases = tensors[:4], tensors[4:8], tensors[8:11], tensors[11:15]
    is_diagonal = bool(operator.options.get("DiagonalRecurrentTensors"))
    weights = {
        "weight_ih": _join(x, "input", coupled=coupled),
        "weight_hh": _join(h, "recurrent", coupled=coupled, is_diagonal=is_diagonal),
        "bias_ih": _join(biases, "bias", coupled=coupled),
    }
    weights["bias_hh"] = np.zeros_like(weights["bias_ih"])
    if peepholes[2] is not None:
        weights["weight_ch"] = _join(peepholes, "peephole", coupled=coupled)
    if tensors[15] is not None:
        weights["weight_hr"] = tensors[15].values()
    if tensors[16] is not None and tensors[16].values().any():
        raise FormatError("its projection has a bias, which LSTMParameters cannot express")
    matrices = [tensor for tensor in (*x, *h, tensors[15]) if tensor is not None]
    return _Direction(weights, [tensor.dtype for tensor in matrices], "coupled" if coupled else "own")


def _join(
    tensors: Sequence[Tensor | None], what: str, *, coupled: bool, is_diagonal: bool = False
) -> Float[np.ndarray, "gates ..."]:
    """Lay the blocks of the gates one below the other.

    TFLite couples the other way round: it has f, and i = 1 - f. As 1 - sigmoid(x) = sigmoid(-x), the projection of i is
    that of f with its sign turned, and f = 1 - i again.
    """
    blocks = [None if tensor is None else tensor.values() for tensor in tensors]
    if coupled and blocks[1] is not None:
        blocks[0] = -blocks[1]
    present = [block for block in blocks if block is not None]
    if len(present) < len(blocks):
        raise FormatError(f"of its {what} weights some are absent; expected all of them")
    if is_diagonal:
        present = [np.diag(block) if block.ndim == 1 else block for block in present]
    if len({(block.ndim, *block.shape[1:]) for block in present}) > 1 or present[0].ndim == 0:
        raise FormatError(f"its {what} weights have the shapes {listed(block.shape for block in present)}")
    if len({len(block) for block in present}) > 1:
        raise FormatError(f"its {what} weights are of {', '.join(str(len(block)) for block in present)} rows")
    return np.concatenate(present)


def _basic(graph: Graph, operator: Operator) -> _Direction:
    """Read the first LSTM operator: x and h in one matrix, the gates in the order i g f o."""
    if len(operator.inputs) != 5:
        raise FormatError(f"it has {len(operator.inputs)} inputs, expected the 5 of the basic kernel")
    joined, bias = (graph.constant(number) for number in operator.inputs[2:4])
    if joined is None or bias is None or len(joined.shape) != 2:
        raise FormatError("it has no weights or no bias")
    matrix, units = joined.values(), joined.shape[0] // 4
    theirs = {"weight_ih": matrix[:, :-units], "weight_hh": matrix[:, -units:], "bias": bias.values()}
    return _Direction(Layout("igfo", biases=1).read(theirs), [joined.dtype])


def _check_extras(graph: Graph, operator: Operator, directions: Sequence[_Direction]) -> None:
    """Refuse what an LSTM of TFLite can have and LSTMParameters cannot."""
    inputs = operator.inputs
    if operator.name == _BOTH and any(number >= 0 for number in inputs[39:]):
        raise FormatError("it reads a second input (aux_input), which LSTMParameters cannot express")
    if operator.name != _BOTH and any(number >= 0 for number in inputs[20:]):
        raise FormatError("it has layer normalisation, which LSTMParameters cannot express")
    bound = operator.options.get("ProjClip", 0.0)
    for direction in directions:
        matrix = direction.weights.get("weight_hr")
        if matrix is None or bound <= 0:
            continue
        # With tanh no |o hidden(c)| is beyond 1, so that a row's sum bounds what it projects to.
        is_bounded = operator.options.get("FusedActivationFunction") in (2, 4)
        if not is_bounded or np.abs(matrix).sum(axis=1).max() > bound:
            raise FormatError(
                f"its projection is clipped at {bound:g} (proj_clip), which LSTMParameters cannot express"
            )


def _embedding(graph: Graph, operator: Operator) -> Float[np.ndarray, "symbol feature"] | None:
    """Rows that the operator reads, one a symbol, if it reads such."""
    x, maker = graph.tensor(operator.input(0)), graph.makers.get(operator.input(0))
    if x is None or maker is None or maker.name not in ("GATHER", "EMBEDDING_LOOKUP"):
        return None
    table = graph.tensor(maker.input(0 if maker.name == "GATHER" else 1))
    fits = table is not None and table.content.size and len(table.shape) == 2 and table.shape[1:] == x.shape[-1:]
    return table.values() if table is not None and fits else None


def _head(graph: Graph, operator: Operator) -> Head | None:
    """Fully connected layer that reads the operator's output, perhaps of one step only."""
    numbers = {operator.output}
    for one in graph.operators:
        if one.input(0) not in numbers:
            continue
        if one.name in _RESHAPES:
            numbers |= set(one.outputs)
        elif one.name == "FULLY_CONNECTED":
            return _linear(graph, one, graph.tensors[operator.output].shape[-1:])
    return None


def _linear(graph: Graph, operator: Operator, width: tuple[int, ...]) -> Head | None:
    """Fully connected layer as a head; None if its weights are not constant, or do not fit what it should read."""
    kernel, bias = graph.tensor(operator.input(1)), graph.tensor(operator.input(2))
    if kernel is None or not kernel.content.size or len(kernel.shape) != 2 or kernel.shape[1:] != width:
        return None
    if bias is not None and bias.shape != kernel.shape[:1]:
        return None
    stated = operator.options.get("FusedActivationFunction", 0)
    tail = [one.name.lower() for one in graph.operators if one.input(0) == operator.output >= 0]
    name = _ACTIVATIONS.get(stated) if stated else tail[0] if tail[:1] in (["softmax"], ["logistic"]) else None
    return Head(kernel.values(), None if bias is None else bias.values(), name)
