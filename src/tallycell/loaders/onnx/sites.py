"""All LSTMs of an ONNX model, each with its parameters and the places in the graphs where it runs."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tallycell.errors import FormatError
from tallycell.loaders.loaded_model import Place
from tallycell.loaders.onnx.conditions import Conditions
from tallycell.loaders.onnx.constants import Constants
from tallycell.loaders.onnx.decomposed import Cell, find_cells, read_cells
from tallycell.loaders.onnx.graph import OnnxModel, Scope, input_of, operator_of, parse
from tallycell.loaders.onnx.operator import OPERATORS, place_of, read_operator
from tallycell.loaders.onnx.tracing import Tracing
from tallycell.parameters import LSTMParameters

if TYPE_CHECKING:
    from onnx import NodeProto


@dataclass(frozen=True, eq=False)
class Site:
    """One place in a graph where an LSTM runs.

    Attributes
    ----------
    scope
        The graph.
    node
        The node of the operator; of one that was taken apart, the node that makes h.
    x, h_0, c_0, lengths
        Names of what it reads; ``""`` for what it does not have.
    step
        Names of what one step of an LSTM that was taken apart makes: y, h_n, c_n. None for an operator, which reads
        and makes sequences.
    """

    scope: Scope
    node: "NodeProto"
    x: str
    h_0: str
    c_0: str
    lengths: str
    step: tuple[str, str, str] | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """An LSTM of the model.

    Attributes
    ----------
    name
        Of its node, or the path that the torch names of its weights tell.
    place
        What the file says of it besides its parameters.
    parameters
        Its weights; or, as an error, why it is none that can be read.
    sites
        Where it runs; several if an exporter unrolled it.
    """

    name: str
    place: Place
    parameters: "LSTMParameters | Exception"
    sites: tuple[Site, ...]


def open_lstms(path: Path) -> tuple[OnnxModel, Constants, dict[str, Found]]:
    """Open an ONNX file and find its LSTMs.

    Returns
    -------
    tuple
        The parsed model, its constants, and its LSTMs by path in order of execution. The path is the name of the node.
        Those that share one have the nodes and branches around them in front; those that share that too are numbered.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    FormatError
        If the file is missing or damaged.
    """
    model = parse(path)
    constants = Constants(model)
    try:
        return model, constants, _find(model, constants)
    except RecursionError:
        raise FormatError(f"{path}: its graphs are nested or chained too deeply to be read") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def _find(model: OnnxModel, constants: Constants) -> dict[str, Found]:
    tracing = Tracing()
    found: list[tuple[int, Found]] = []  # with the number of the node that it begins at
    cells: list[tuple[int, Cell]] = []
    known: dict[tuple[object, ...], tuple[LSTMParameters | Exception, str | None]] = {}  # nodes may share weights
    for k, (scope, node) in enumerate(model.root.walk()):
        if operator_of(node) in OPERATORS:
            key = _weights_of(scope, node)
            if key not in known:
                known[key] = _read(scope, node, constants)
            found.append((k, _of_operator(scope, node, known[key], tracing)))
        cells += [(k, cell) for cell in find_cells(scope, [node], constants)]
    found += _of_cells(cells, constants, tracing)
    said = Conditions(constants)
    return _by_path([_with_condition(one, said) for _, one in sorted(found, key=lambda pair: pair[0])])


def _with_condition(found: Found, said: Conditions) -> Found:
    """Say when an LSTM runs, if it is in the same case everywhere."""
    cases = {said.when(site.scope) for site in found.sites}
    return replace(found, place=replace(found.place, when=cases.pop())) if len(cases) == 1 else found


def _weights_of(scope: Scope, node: "NodeProto") -> tuple[object, ...]:
    """All that the parameters of a node depend on."""
    weights = ((id(scope.home(name)), name) for k, name in enumerate(node.input) if k in (1, 2, 3) or k > 6)
    return operator_of(node), *weights, *(attribute.SerializeToString() for attribute in node.attribute)


def _read(scope: Scope, node: "NodeProto", constants: Constants) -> tuple[LSTMParameters | Exception, str | None]:
    try:
        return read_operator(scope, node, constants)
    except (ValueError, TypeError) as error:  # also for an attribute of another kind than its name says
        return error, None


def _of_operator(
    scope: Scope, node: "NodeProto", read: tuple[LSTMParameters | Exception, str | None], tracing: Tracing
) -> Found:
    x, lengths, h_0, c_0 = (input_of(node, k) for k in (0, 4, 5, 6))
    site = Site(scope, node, x, h_0, c_0, lengths)
    parameters, stored = read
    states = (tracing.model_input(scope, h_0), tracing.model_input(scope, c_0))
    return Found(node.name.strip("/"), place_of(node, stored, states), parameters, (site,))


def _of_cells(cells: list[tuple[int, Cell]], constants: Constants, tracing: Tracing) -> list[tuple[int, Found]]:
    """LSTMs that were taken apart; steps with the same weights are one, unrolled."""
    read = read_cells([cell for _, cell in cells], constants, tracing)
    found: dict[tuple[int, ...], tuple[int, Found]] = {}
    sites: dict[tuple[int, ...], list[Site]] = {}
    for (k, cell), weights in zip(cells, read, strict=True):
        if isinstance(weights, Exception):
            found[k,] = k, Found(cell.node.name.strip("/"), Place("decomposed"), weights, ())
            continue
        key = (id(weights.x.weight.array), id(weights.h.weight.array))
        site = Site(cell.scope, cell.node, weights.x.value, weights.h.value, cell.c_0, "", (cell.h, cell.h, cell.c))
        sites.setdefault(key, []).append(site)
        if key in found:
            continue
        h_0, c_0 = (tracing.model_input(cell.scope, name) for name in (weights.h.value, cell.c_0))
        place = Place("decomposed", weights.stored_as, reads=weights.x.value, state_inputs=(h_0, c_0))
        name = (weights.path or cell.node.name).strip("/")
        found[key] = k, Found(name, place, weights.parameters, ())
    return [(k, replace(one, sites=tuple(sites.get(key, ())))) for key, (k, one) in found.items()]


def _by_path(found: list[Found]) -> dict[str, Found]:
    names = Counter(one.name for one in found)
    paths: dict[str, Found] = {}
    taken: Counter[str] = Counter()
    for one in found:
        path = one.name
        if one.sites and (names[path] > 1 or not path):
            path = "/".join([*_around(one.sites[0].scope), path or one.place.operator])
        wanted = path = path or "LSTM"
        while wanted in paths:
            taken[path] += 1
            wanted = f"{path}#{taken[path] + 1}"
        paths[wanted] = one
    return paths


def _around(scope: Scope | None) -> list[str]:
    """Names of the nodes and branches that hold a graph, the outermost first."""
    names: list[str] = []
    while scope is not None and scope.holder is not None:
        node, branch = scope.holder
        names[:0] = [node.name.strip("/") or node.op_type, branch]
        scope = scope.outer
    return names
