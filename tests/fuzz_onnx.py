"""Small ONNX models of each kind that is read, with given names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_words import Names


def make_onnx(path: Path, names: Names) -> None:
    """The operator, with an activation of each kind named."""
    from onnx_models import plain_model

    model, _ = plain_model()
    squash = model.graph.node[0].attribute.add(name="activations", type=8)
    squash.strings.extend([b"Sigmoid", b"Tanh", b"Tanh"])
    path.write_bytes(renamed(model, names).SerializeToString())


def make_branching_onnx(path: Path, names: Names) -> None:
    """LSTMs in the branches of an If, with states that are inputs."""
    from onnx_models import branching_model

    path.write_bytes(renamed(branching_model()[0], names).SerializeToString())


def make_onnx_apart(path: Path, names: Names) -> None:
    """An LSTM that an exporter took apart."""
    from onnx_models import FEATURES, HIDDEN, graph_of, model_of, step_nodes, step_weights, torch_weights, value

    weights, names.place = torch_weights(), 0.0  # the ends of the names tell what is what
    inputs = [value("x", 1, FEATURES), value("h", 1, HIDDEN), value("c", 1, HIDDEN)]
    graph = graph_of(step_nodes(weights, "x", "h", "c"), inputs, ["h_n", "c_n"], weights=step_weights(weights))
    path.write_bytes(renamed(model_of(graph), names).SerializeToString())


def make_onnx_with_data(path: Path, names: Names) -> None:
    """A folder: the model, and its weights in a file beside it."""
    from onnx_models import plain_model

    model, _ = plain_model()
    path.mkdir()
    content = b""
    for tensor in model.graph.initializer:
        place = {"location": "weights.bin", "offset": str(len(content)), "length": str(len(tensor.raw_data))}
        content += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = tensor.EXTERNAL
        for key, text in place.items():
            tensor.external_data.add(key=names.known(key), value=names.known(text))
    (path / "weights.bin").write_bytes(content)
    (path / "model.onnx").write_bytes(renamed(model, names).SerializeToString())


def renamed(model: Any, names: Names) -> Any:
    """Name everything in a model: what its graphs hold, and what its operators mean."""
    for field in ("producer_name", "doc_string", "domain"):
        setattr(model, field, names.free(getattr(model, field) or "nobody"))
    model.metadata_props.add(key=names.free("key"), value=names.free("value"))
    rename_graph(model.graph, names.free, names.known)
    return model


def rename_graph(graph: Any, free: Callable[[str], str], known: Callable[[str], str]) -> None:
    graph.name = free(graph.name)
    for one in (*graph.initializer, *graph.input, *graph.output):
        one.name = free(one.name)
    for one in (*graph.input, *graph.output):
        for dim in one.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = free(dim.dim_param)
    for node in graph.node:
        node.name, node.op_type = free(node.name or "node"), known(node.op_type)
        for values in (node.input, node.output):
            values[:] = [free(name) if name else "" for name in values]
        for attribute in node.attribute:
            attribute.name = known(attribute.name)
            attribute.strings[:] = [known(text.decode()).encode() for text in attribute.strings]
            if attribute.HasField("g"):
                rename_graph(attribute.g, free, known)
