"""The graphs of an ONNX file: parsed, functions set in, nodes in order of execution, names looked up."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import FormatError, MissingExtraError
from tallycell.files import first_bytes
from tallycell.loaders.onnx.tensors import external_sizes
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

OWN_DOMAINS = ("", "ai.onnx")
_MAX_BYTES = 2**31 - 1  # of a protobuf
_MAX_NODES = 1_000_000  # once all functions are set in


@dataclass(frozen=True, eq=False)
class Scope:
    """A graph, and the one around it if it is the branch of an If or the body of a loop.

    Attributes
    ----------
    graph
        The graph as the file has it.
    outer
        The graph around it; None for the model's own.
    holder
        The node of ``outer`` that holds this graph, and the attribute that it stands in.
    """

    graph: "GraphProto"
    outer: "Scope | None" = None
    holder: "tuple[NodeProto, str] | None" = None

    @cached_property
    def nodes(self) -> "tuple[NodeProto, ...]":
        """Nodes in order of execution: the file's, unless that is none."""
        return _in_order(self.graph)

    @cached_property
    def makers(self) -> "dict[str, tuple[NodeProto, int]]":
        """By name of a value, the node that makes it, and the number of its output."""
        return {name: (node, k) for node in self.nodes for k, name in enumerate(node.output) if name}

    @cached_property
    def initialisers(self) -> "dict[str, TensorProto]":
        """Constant tensors by name."""
        return {tensor.name: tensor for tensor in self.graph.initializer}

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Names that come from outside, without those that have a constant value."""
        return frozenset(value.name for value in self.graph.input) - self.initialisers.keys()

    @cached_property
    def inner(self) -> "dict[int, dict[str, Scope]]":
        """By id of a node, the graphs that it holds by attribute; then before else."""
        found: dict[int, dict[str, Scope]] = {}
        for node in self.nodes:
            held = sorted(_graphs_of(node), key=lambda pair: pair[0], reverse=True)
            if held:
                found[id(node)] = {name: Scope(graph, self, (node, name)) for name, graph in held}
        return found

    @cached_property
    def readers(self) -> "dict[str, list[tuple[Scope, NodeProto]]]":
        """By name of a value, the nodes that read it, here and in the graphs that nodes of this one hold."""
        found: dict[str, list[tuple[Scope, NodeProto]]] = {}
        for node in self.nodes:
            for name in filter(None, dict.fromkeys(node.input)):
                found.setdefault(name, []).append((self, node))
            for held in self.inner.get(id(node), {}).values():
                own = held.makers.keys() | held.initialisers.keys() | held.inputs
                for name, nodes in held.readers.items():
                    if name not in own:
                        found.setdefault(name, []).extend(nodes)
        return found

    def home(self, name: str) -> "Scope | None":
        """Graph that defines a name: this one, or one around it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.makers or name in scope.initialisers or name in scope.inputs:
                return scope
            scope = scope.outer
        return None

    def maker(self, name: str) -> "tuple[Scope, NodeProto, int] | None":
        """Node that makes a value, with its graph and the number of its output; None if no node does."""
        home = self.home(name)
        if home is None or name not in home.makers:
            return None
        return home, *home.makers[name]

    def walk(self) -> "Iterator[tuple[Scope, NodeProto]]":
        """All nodes in order of execution, those of held graphs in the place of their node."""
        for node in self.nodes:
            yield self, node
            for scope in self.inner.get(id(node), {}).values():
                yield from scope.walk()


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A parsed file.

    Attributes
    ----------
    proto
        The model, without functions: they are set in where they are called.
    path
        The file.
    size
        Bytes of the file and of its external data.
    """

    proto: "ModelProto"
    path: Path
    size: int
    root: Scope = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Scope(self.proto.graph))

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return max((one.version for one in self.proto.opset_import if one.domain in OWN_DOMAINS), default=1)


def parse(path: Path) -> OnnxModel:
    """Parse an ONNX file; its weights are not read yet.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    FormatError
        If the file is missing, damaged, cyclic, or names external data outside its folder.
    """
    try:
        import onnx
        from onnx import inliner
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    first_bytes(path, 1)
    if path.stat().st_size > _MAX_BYTES:
        raise FormatError(f"{path} has {path.stat().st_size} bytes; an ONNX file has at most {_MAX_BYTES}")
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except Exception as error:  # protobuf has its own classes for what is damaged
        raise FormatError(f"{path} cannot be read as ONNX: {one_line(error)}") from None
    if not proto.graph.node:
        raise FormatError(f"{path} cannot be read as ONNX: it holds no graph with nodes")
    if proto.functions:
        _check_calls(proto, path)
        try:
            proto = inliner.inline_local_functions(proto)
        except Exception as error:  # the same, from C++
            raise FormatError(f"{path}: its functions cannot be set in: {one_line(error)}") from None
    try:
        _check_names(proto.graph)
        size = path.stat().st_size + external_sizes(_tensors(proto.graph), path.parent)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    return OnnxModel(proto, path, size)


def attributes_of(node: "NodeProto") -> dict[str, Any]:
    """Attributes that are numbers, texts or lists of them, by name.

    Examples
    --------
    >>> from onnx import helper
    >>> attributes_of(helper.make_node("LSTM", [], [], hidden_size=3, direction="reverse"))
    {'direction': 'reverse', 'hidden_size': 3}
    """
    fields = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type in fields:
            value = getattr(attribute, fields[attribute.type])
            found[attribute.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return float(str(np.float32(value)))  # the file has float32: 0.2, not 0.20000000298
    return value if isinstance(value, int) else [_plain(one) for one in value]


def input_of(node: "NodeProto", k: int) -> str:
    """Name of what a node reads, by number; empty where the node leaves it out, at the end or in between.

    Examples
    --------
    >>> from onnx import helper
    >>> [input_of(helper.make_node("Clip", ["x", "", "most"], ["y"]), k) for k in range(4)]
    ['x', '', 'most', '']
    """
    return str(node.input[k]) if k < len(node.input) else ""


def output_of(node: "NodeProto", k: int) -> str:
    """Name of what a node makes, by number; empty where the node leaves it out."""
    return str(node.output[k]) if k < len(node.output) else ""


def operator_of(node: "NodeProto") -> str:
    """Name of a node's operator, with its domain unless that is ONNX's own."""
    return node.op_type if node.domain in OWN_DOMAINS else f"{node.domain}.{node.op_type}"


def _graphs_of(node: "NodeProto") -> "Iterator[tuple[str, GraphProto]]":
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for k, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}_{k}", graph


def _reads(node: "NodeProto") -> Iterator[str]:
    """Names that a node reads, those of the graphs in it included."""
    yield from node.input
    for _, graph in _graphs_of(node):
        made = {name for inside in graph.node for name in inside.output}
        made |= {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
        for inside in graph.node:
            yield from (name for name in _reads(inside) if name not in made)
        yield from (value.name for value in graph.output if value.name not in made)


def _in_order(graph: "GraphProto") -> "tuple[NodeProto, ...]":
    nodes = tuple(graph.node)
    made_by = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    needs = [{made_by[name] for name in _reads(node) if name in made_by} for node in nodes]
    if all(max(before, default=-1) < k for k, before in enumerate(needs)):
        return nodes
    try:
        return tuple(nodes[k] for k in TopologicalSorter(dict(enumerate(needs))).static_order())
    except CycleError as error:
        names = listed(nodes[k].name for k in error.args[1])
        raise FormatError(f"the graph runs in a circle, through the nodes {names}") from None


def _check_names(graph: "GraphProto") -> None:
    """Refuse a graph with damaged names, or in which two nodes make the same value."""
    named = [*graph.initializer, *graph.input, *graph.output, *(a for node in graph.node for a in node.attribute)]
    texts = [one.name for one in named]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
    if not all(isinstance(text, str) for text in texts):  # protobuf gives bytes for what is not UTF-8
        raise FormatError("a name in the graph is no text")
    made: set[str] = set()
    for node in graph.node:
        for name in filter(None, node.output):
            if name in made:
                raise FormatError(f"two nodes make the value {quoted(name)}")
            made.add(name)
        for _, held in _graphs_of(node):
            _check_names(held)


def _tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
        for _, held in _graphs_of(node):
            yield from _tensors(held)


def _check_calls(proto: "ModelProto", path: Path) -> None:
    """Refuse functions that call themselves, or that would become too many nodes."""
    functions = {(one.domain, one.name): one for one in proto.functions}
    calls = {key: list(_called(one.node)) for key, one in functions.items()}
    try:
        order = list(TopologicalSorter({key: {c for c in made if c in functions} for key, made in calls.items()})
                     .static_order())  # fmt: skip
    except CycleError:
        raise FormatError(f"{path}: a function of the model calls itself") from None
    sizes: dict[tuple[str, str], int] = {}
    for key in order:  # what is too large is not multiplied further, into numbers of any length
        sizes[key] = min(sum(sizes.get(called, 1) for called in calls[key]), _MAX_NODES + 1)
    if sum(sizes.get(called, 1) for called in _called(proto.graph.node)) > _MAX_NODES:
        raise FormatError(f"{path}: its functions come to more than {_MAX_NODES} nodes; expected at most so many")


def _called(nodes: Any) -> Iterator[tuple[str, str]]:
    """Operators of all nodes, those of held graphs included."""
    for node in nodes:
        yield node.domain, node.op_type
        for _, graph in _graphs_of(node):
            yield from _called(graph.node)
