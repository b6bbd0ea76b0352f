"""TFLite: its LSTM operators in float, with int8 weights, and in integers throughout.

What is read are the weights; those that are quantised come out as the floats that they stand for. A runtime that
quantises x and h as well (hybrid and integer operators) computes with less precision than these weights allow.
"""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.activations import activation
from tallycell.errors import ActivationError, FormatError, ParameterError
from tallycell.layout import Layout
from tallycell.loaders.files import first_bytes
from tallycell.loaders.loaded_model import Head, LoadedModel, Place
from tallycell.loaders.tensors import check_unfolding, stored_as
from tallycell.loaders.tflite.graph import Graph, Operator, Tensor, read_graphs
from tallycell.parameters import Activations, ForgetGate, LSTMParameters

_SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_BOTH = "BIDIRECTIONAL_SEQUENCE_LSTM"
_WEIGHTS = 17  # inputs that hold the weights of one direction
_ACTIVATIONS = {0: "identity", 1: "relu", 2: "hard_tanh", 4: "tanh"}  # of ActivationFunctionType
_REFUSED_ACTIVATIONS = {3: "RELU6", 5: "SIGN_BIT"}
_BASIC = 1  # of LSTMKernelType
_RESHAPES = ("RESHAPE", "STRIDED_SLICE", "UNPACK", "SQUEEZE")
_SHOWN = 8  # operators that an error names


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
    graphs = read_graphs(path)
    _check_total(graphs, path)
    for graph in graphs:
        for operator in graph.operators:
            if "lstm" not in operator.name.lower():
                continue
            name = _free_name(graph, operator, stacks.keys() | refused.keys())
            try:
                stacks[name], places[name] = _read(graph, operator)
                found.append((graph, operator))
            except (FormatError, ParameterError, ActivationError) as error:
                refused[name] = str(error)
    if not stacks:
        raise FormatError(_nothing(path, graphs, refused))
    embedding, head = _embedding(*found[0]), _head(*found[-1])
    return LoadedModel(stacks, path, places=places, refused=refused, embedding=embedding, head=head)


def _check_total(graphs: Sequence[Graph], path: Path) -> None:
    """Refuse a file whose operators share tensors so often that their weights would not fit into memory."""
    elements = sum(
        math.prod(graph.tensors[number].shape)
        for graph in graphs
        for operator in graph.operators
        if "lstm" in operator.name.lower()
        for number in operator.inputs
        if number >= 0 and graph.tensors[number].content.size
    )
    check_unfolding(4 * elements, path.stat().st_size, path)


def _free_name(graph: Graph, operator: Operator, taken: Set[str]) -> str:
    name = graph.tensors[operator.outputs[0]].name if operator.outputs else operator.name
    return next(one for one in (name, f"{name}_{len(taken)}") if one not in taken)


def _nothing(path: Path, graphs: Sequence[Graph], refused: Mapping[str, str]) -> str:
    if refused:
        return f"{path} holds no LSTM that can be read: " + "; ".join(f"{k!r}: {why}" for k, why in refused.items())
    names = sorted({operator.name for graph in graphs for operator in graph.operators})
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return (
        f"{path} holds no LSTM operator; its operators are {shown or '(none)'}. A converter that unrolls the LSTM or "
        "makes a WHILE of it leaves none to read: load the model that was converted"
    )


def _read(graph: Graph, operator: Operator) -> tuple[LSTMParameters, Place]:
    options = operator.options
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
        raise FormatError(f"{operator.name} is an LSTM of a kind that is not read")
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
    h_0, c_0 = (graph.tensors[number].name if number in graph.inputs else None for number in (*states, -1, -1)[:2])
    place = Place(
        operator.name,
        stored_as(dtype for direction in directions for dtype in direction.dtypes),
        reads=graph.tensors[operator.inputs[0]].name,
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
        raise FormatError(f"its {what} weights have the shapes {', '.join(str(block.shape) for block in present)}")
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
    number = operator.inputs[0]
    maker = graph.makers.get(number)
    if maker is None or maker.name not in ("GATHER", "EMBEDDING_LOOKUP") or len(maker.inputs) != 2:
        return None
    table = graph.tensors[maker.inputs[0 if maker.name == "GATHER" else 1]]
    fits = table.content.size and len(table.shape) == 2 and table.shape[1:] == graph.tensors[number].shape[-1:]
    return table.values() if fits else None


def _head(graph: Graph, operator: Operator) -> Head | None:
    """Fully connected layer that reads the operator's output, perhaps of one step only."""
    numbers = {operator.outputs[0]}
    width = graph.tensors[operator.outputs[0]].shape[-1:]
    for one in graph.operators:
        if not one.inputs or one.inputs[0] not in numbers:
            continue
        if one.name in _RESHAPES:
            numbers |= set(one.outputs)
        elif one.name == "FULLY_CONNECTED" and len(one.inputs) in (2, 3):
            kernel, bias = graph.tensors[one.inputs[1]], one.inputs[2] if len(one.inputs) == 3 else -1
            if not kernel.content.size or kernel.shape[1:] != width:
                return None
            stated = one.options.get("FusedActivationFunction", 0)
            tail = [next_.name.lower() for next_ in graph.operators if next_.inputs[:1] == one.outputs[:1]]
            name = _ACTIVATIONS.get(stated) if stated else tail[0] if tail[:1] in (["softmax"], ["logistic"]) else None
            return Head(kernel.values(), graph.tensors[bias].values() if bias >= 0 else None, name)
    return None
