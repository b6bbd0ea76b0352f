"""Small whole files of each format, with one part at a time taken away or replaced by what should not stand there.

Each must give a model or one clean line. Random damage seldom leaves a file that can be parsed and still lacks a part;
here every part is tried: every fifth of the many ways by default, all of them where TALLYCELL_FUZZ is set.
"""

import copy
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader_cases import line_of
from tallycell.errors import FormatError, TallycellError
from tallycell.loaders import LoadedModel, Tapped, load, tap
from tallycell.loaders.shapes import check_shape
from tallycell.loaders.stored_tensor import View

STEP = 1 if "TALLYCELL_FUZZ" in os.environ else 5  # no multiple of how many ways there are for one part
LONGEST = 2_000  # characters of an error or a repr: eight names or values of 200, and what is said of them
WRONG_SHAPES = ([], [0], [-1], [1] * 100, [0] * 100, [2**31 - 1] * 2, [0, 2**31 - 1, 2**31 - 1, 2**31 - 1], [3, 0])
NAME = "x" * 10_000


def result_or_line(action: Callable[[], Any]) -> Any:
    """What it gives, or the text of its error; anything else that it raises is a failure, warnings too."""
    try:
        result = action()
    except TallycellError as error:
        result = str(error)
        assert len(result.splitlines()) == 1
    if not isinstance(result, dict):
        assert len(result if isinstance(result, str) else repr(result)) < LONGEST
    return result


def assert_all_end_well(cases: Iterator[Any], read: Callable[[Any], Any]) -> None:
    """Some cases give a model and some an error, and none anything else."""
    models = lines = 0
    for case in islice(cases, 0, None, STEP):
        result = result_or_line(lambda case=case: read(case))
        models, lines = models + (not isinstance(result, str)), lines + isinstance(result, str)
    assert models > 0
    assert lines > 0


# --- ONNX


def onnx_models() -> list[Any]:
    from onnx_models import branching_model, plain_model
    from test_onnx_loader import rearranged, unrolled

    return [plain_model()[0], rearranged(16), branching_model()[0], unrolled(2), taken_apart(), surrounded()]


def taken_apart() -> Any:
    from onnx_models import FEATURES, HIDDEN, graph_of, model_of, step_nodes, step_weights, torch_weights, value

    weights = torch_weights()
    inputs = [value("x", "n", FEATURES), value("h", "n", HIDDEN), value("c", "n", HIDDEN)]
    return model_of(graph_of(step_nodes(weights, "x", "h", "c"), inputs, ["h_n"], weights=step_weights(weights)))


def surrounded() -> Any:
    """An LSTM on the rows of a quantised table, with a head; the state is a slice of an input."""
    from onnx_models import FEATURES, HIDDEN, graph_of, helper, lstm_node, model_of, operator_weights, value

    node, rng = helper.make_node, np.random.default_rng(0)
    nodes = [
        node("DequantizeLinear", ["table", "scale", "zero"], ["rows"]), node("Gather", ["rows", "symbols"], ["x"]),
        node("Slice", ["state", "zero64", "one", "zero64"], ["h"]),
        node("Concat", ["W", "W"], ["WW"], axis=1), node("Split", ["WW"], ["W1", "W2"], axis=1),
        lstm_node(inputs=["x", "W1", "R", "B", "", "h", "h"]),
        node("Squeeze", ["y", "one"], ["flat"]), node("MatMul", ["flat", "out"], ["scores"]),
        node("Add", ["scores", "bias"], ["logits"]), node("Softmax", ["logits"], ["p"]),
    ]  # fmt: skip
    from onnx_models import torch_weights

    weights: dict[str, np.ndarray] = operator_weights(torch_weights())
    weights |= {"table": rng.integers(-9, 9, (7, FEATURES)).astype(np.int8), "scale": np.array(0.5, np.float32)}
    weights |= {"zero": np.array(0, np.int8), "zero64": np.array([0]), "one": np.array([1])}
    weights |= {"out": rng.normal(size=(HIDDEN, 4)).astype(np.float32), "bias": np.ones(4, np.float32)}
    inputs = [value("symbols", "time", 1, dtype=7), value("state", 2, 1, HIDDEN)]
    return model_of(graph_of(nodes, inputs, ["p"], weights=weights), opset=16)


def graphs_of(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs_of(attribute.g)


def set_names(names: Any, new: list[str]) -> None:
    del names[:]
    names.extend(new)


def onnx_with_one_part_wrong(model: Any) -> Iterator[Any]:
    """Every node without each of its inputs and outputs, under other operators and attributes; odd tensors."""

    def changed(change: Callable[[Any], object], g: int) -> Any:
        copied = type(model)()
        copied.CopyFrom(model)
        change(list(graphs_of(copied.graph))[g])
        return copied

    for g, graph in enumerate(graphs_of(model.graph)):
        for change in (*changes_of_nodes(graph), *changes_of_tensors(graph)):
            yield changed(change, g)


def changes_of_nodes(graph: Any) -> Iterator[Callable[[Any], object]]:
    from onnx import helper

    for k, node in enumerate(graph.node):
        for side in ("input", "output"):
            names = list(getattr(node, side))
            cuts = [names[:n] for n in range(len(names))] + [[*names, "x"], [""] * 9]
            cuts += [[*names[:n], "", *names[n + 1 :]] for n in range(len(names))]
            for new in cuts:
                yield lambda one, k=k, side=side, new=new: set_names(getattr(one.node[k], side), new)
        for a, attribute in enumerate(node.attribute):
            for value in (-1, 2**62, 0.5, "text", [7] * 9, ["a", "b"], [0.5]):
                new = helper.make_attribute(attribute.name, value)
                yield lambda one, k=k, a=a, new=new: one.node[k].attribute[a].CopyFrom(new)
        for name, value in product(("axis", "block_size", "num_outputs", "transA", "clip"), (2**40, "text")):
            new = helper.make_attribute(name, value)
            yield lambda one, k=k, new=new: one.node[k].attribute.append(new)


def changes_of_tensors(graph: Any) -> Iterator[Callable[[Any], object]]:
    for k, tensor in enumerate(graph.initializer):
        for dims in WRONG_SHAPES:
            yield lambda one, k=k, dims=dims: set_names(one.initializer[k].dims, dims)
        for kind in (0, 1, 7, 8, 10, 16):
            yield lambda one, k=k, kind=kind: setattr(one.initializer[k], "data_type", kind)
        yield lambda one, k=k: one.initializer[k].ClearField("name")
        wrong = {"name": tensor.name, "dims": [2], "data_type": 1, "float_data": [np.nan, np.inf]}
        yield lambda one, k=k, w=wrong: one.initializer[k].CopyFrom(type(one.initializer[k])(**w))


@pytest.mark.parametrize("number", range(6))
def test_an_onnx_file_with_one_part_wrong_gives_a_model_or_one_line(tmp_path, number):
    pytest.importorskip("onnx")
    model = onnx_models()[number]
    path = tmp_path / "model.onnx"

    def read(one: Any) -> LoadedModel:
        path.write_bytes(one.SerializeToString())
        return load(path)

    assert_all_end_well(onnx_with_one_part_wrong(model), read)


def test_a_tap_of_an_onnx_file_with_one_part_wrong_gives_values_or_one_line(tmp_path):
    pytest.importorskip("onnxruntime")
    from onnx_models import FEATURES, HIDDEN

    path = tmp_path / "model.onnx"
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=(1, n)).astype(np.float32)
             for name, n in (("x", FEATURES), ("h", HIDDEN), ("c", HIDDEN))}  # fmt: skip

    def read(one: Any) -> dict[str, Tapped]:
        path.write_bytes(one.SerializeToString())
        return tap(path, feeds)

    assert_all_end_well(onnx_with_one_part_wrong(taken_apart()), read)


def test_a_split_with_an_output_that_has_no_name_does_not_end_the_process(tmp_path):
    pytest.importorskip("onnxruntime")
    model = surrounded()
    (split,) = (node for node in model.graph.node if node.op_type == "Split")
    split.output[1] = ""
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    feeds = {"symbols": np.zeros((4, 1), np.int64), "state": np.ones((2, 1, 3), np.float32)}
    assert list(tap(tmp_path / "model.onnx", feeds)) == ["rnn"]


def test_an_embedding_that_is_quantised_is_dequantised_in_files_of_every_version(tmp_path):
    pytest.importorskip("onnx")
    for opset in (13, 19, 21):
        model = surrounded()
        model.opset_import[0].version = opset
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        assert load(tmp_path / "model.onnx").embedding.shape == (7, 2)


# The reproductions of what was found, as few lines as they take.


@pytest.mark.parametrize(("operator", "kept"), [("Add", "c_n"), ("Mul", "written"), ("Mul", "kept"), ("Tanh", "g")])
def test_a_step_whose_node_has_one_input_less_is_no_lstm(tmp_path, operator, kept):
    pytest.importorskip("onnx")
    model = taken_apart()
    (node,) = (node for node in model.graph.node if node.output[0] == kept)
    assert node.op_type == operator
    del node.input[-1]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert "no LSTM in the model" in line_of(lambda: load(tmp_path / "model.onnx"), FormatError)


def test_an_lstm_node_that_reads_nothing_is_refused_by_name(tmp_path):
    pytest.importorskip("onnx")
    from onnx_models import plain_model

    model, _ = plain_model()
    model.graph.node[0].input[0] = ""
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert "'rnn': it has no X" in line_of(lambda: load(tmp_path / "model.onnx"), FormatError)
    del model.graph.node[0].input[:]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert "'rnn': it has no X" in line_of(lambda: load(tmp_path / "model.onnx"), FormatError)


def test_biases_that_do_not_fit_each_other_are_refused_by_name(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = taken_apart()
    add = onnx.helper.make_node("Add", ["pre", "odd"], ["more"])
    at = next(k for k, node in enumerate(model.graph.node) if node.op_type == "Split")
    model.graph.node[at].input[0] = "more"
    model.graph.node.insert(at, add)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(5, np.float32), "odd"))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    line = line_of(lambda: load(tmp_path / "model.onnx"), FormatError)
    assert "'expose': it adds biases of the shapes (12,) and (5,); expected one number a row" in line


@pytest.mark.parametrize(("operator", "attribute"), [("DequantizeLinear", "block_size"), ("Split", "num_outputs")])
def test_constants_that_one_attribute_multiplies_are_refused(tmp_path, operator, attribute):
    onnx = pytest.importorskip("onnx")
    model = surrounded()
    model.opset_import[0].version = 21
    del model.graph.initializer[:]
    arrays = {"W": np.ones((1, 12, 2), np.int8), "s": np.ones((1, 12, 1), np.float32)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(x, name) for name, x in arrays.items())
    del model.graph.node[:]
    inputs = ["W", "s"] if operator == "DequantizeLinear" else ["W"]
    bomb = onnx.helper.make_node(operator, inputs, ["W1"], **{attribute: 2**34})
    model.graph.node.extend([bomb, onnx.helper.make_node("LSTM", ["x", "W1", "R"], ["y"], "rnn")])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    line = line_of(lambda: load(tmp_path / "model.onnx"), FormatError)
    assert "would take over 64 times the bytes of the file" in line


@pytest.mark.parametrize("location", ["x" * 5_000, "a/" * 3_000, "\0"])
def test_external_data_under_a_name_that_no_file_can_have_is_one_line(tmp_path, location):
    onnx = pytest.importorskip("onnx")
    from onnx_models import plain_model

    model, _ = plain_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert len(line_of(lambda: load(tmp_path / "model.onnx"), FormatError)) < LONGEST


# --- TFLite


def tflite_model() -> Any:
    """Embedding, LSTM over weights that are widened, and a head."""
    from test_tflite_loader import ORDER, TIME, UNITS, Model, random_direction, schema

    weights, model = random_direction(), Model()
    symbols, x = model.tensor("symbols", (1, TIME)), model.tensor("x", (1, TIME, 3))
    table = model.constant("table", np.ones((7, 3), np.float32))
    model.operator("GATHER", [table, symbols], [x])
    numbers = []
    for name in ORDER:
        numbers.append(-1)
        if name in weights:
            numbers[-1] = model.tensor(name, weights[name].shape)
            model.operator("DEQUANTIZE", [model.constant(name, weights[name].astype(np.float16))], [numbers[-1]])
    states = [model.tensor(name, (1, UNITS), state=True) for name in "hc"]
    y, out, p = (model.tensor(name, shape) for name, shape in (("y", (1, TIME, UNITS)), ("o", (1, 5)), ("p", (1, 5))))
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = 4
    inputs = [x, *numbers, *states, *[-1] * 4]
    model.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [y], options, "UnidirectionalSequenceLSTMOptions")
    kernel = model.constant("kernel", np.ones((5, UNITS), np.float32))
    bias = model.constant("bias", np.ones(5, np.float32))
    model.operator(
        "FULLY_CONNECTED", [y, kernel, bias], [out], schema.FullyConnectedOptionsT(), "FullyConnectedOptions"
    )
    model.operator("SOFTMAX", [out], [p])
    return model


def tflite_with_one_part_wrong() -> Iterator[Any]:
    def changed(change: Callable[[Any], object]) -> Any:
        copied = copy.deepcopy(tflite_model())
        change(copied)
        return copied

    whole = tflite_model()
    for k, operator in enumerate(whole.graph.operators):
        for side in ("inputs", "outputs"):
            numbers = list(getattr(operator, side))
            cuts = [numbers[:n] for n in range(len(numbers))] + [None, [-1] * 3]
            cuts += [[*numbers[:n], -1, *numbers[n + 1 :]] for n in range(len(numbers))]
            for new in cuts:
                yield changed(lambda one, k=k, side=side, new=new: setattr(one.graph.operators[k], side, new))
        yield changed(lambda one, k=k: setattr(one.graph.operators[k], "builtinOptions", None))
    for k, tensor in enumerate(whole.graph.tensors):
        for shape in (*WRONG_SHAPES, None, [2**31 - 1] * 500):
            yield changed(lambda one, k=k, shape=shape: setattr(one.graph.tensors[k], "shape", shape))
        for kind in (2, 9, 5, 17):  # INT32, INT8, STRING, INT4
            yield changed(lambda one, k=k, kind=kind: setattr(one.graph.tensors[k], "type", kind))
        del tensor
    for name in ("tensors", "operators", "inputs", "outputs"):
        yield changed(lambda one, name=name: setattr(one.graph, name, None))


def test_a_tflite_file_with_one_part_wrong_gives_a_model_or_one_line(tmp_path):
    pytest.importorskip("ai_edge_litert")

    def read(model: Any) -> LoadedModel:
        return load(model.write(tmp_path / "model.tflite", model.graph.inputs or [], model.graph.outputs or []))

    assert_all_end_well(tflite_with_one_part_wrong(), read)


def tflite_line(tmp_path: Path, change: Callable[[Any], object]) -> str:
    pytest.importorskip("ai_edge_litert")
    model = tflite_model()
    change(model)
    return line_of(lambda: load(model.write(tmp_path / "model.tflite", [0], [0])), FormatError)


def lstm_of(model: Any) -> Any:
    return next(one for one in model.graph.operators if len(one.inputs) > 20)


def test_a_tflite_operator_without_output_or_input_is_refused_by_name(tmp_path):
    line = tflite_line(tmp_path, lambda model: setattr(lstm_of(model), "outputs", []))
    assert line.endswith("'UNIDIRECTIONAL_SEQUENCE_LSTM': it has no output, which no LSTM is without")
    line = tflite_line(tmp_path, lambda model: lstm_of(model).inputs.__setitem__(0, -1))
    assert line.endswith("'y': it has no input, which no LSTM is without")


@pytest.mark.parametrize("shape", [[2**31 - 1] * 500, [1] * 100, [0, 2**31 - 1, 2**31 - 1, 2**31 - 1]])
def test_a_tflite_tensor_of_a_shape_that_no_array_has_is_refused_by_name(tmp_path, shape):
    def change(model: Any) -> None:
        for tensor in model.graph.tensors:
            if tensor.name == "input_to_input" and tensor.buffer:
                tensor.shape = shape

    assert "its tensor 'input_to_input' has " in tflite_line(tmp_path, change)


def test_tflite_outputs_of_one_name_are_numbered_whatever_the_others_are_called(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from test_large_models import write_tflite

    def names(*given: str) -> list[str]:
        return list(load(write_tflite(tmp_path, len(given), names=given)))

    assert names("y", "y", "y") == ["y", "y_1", "y_2"]
    assert names("y", "y_2", "y") == ["y", "y_2", "y_3"]


def test_diagonal_weights_of_tflite_are_counted_as_the_matrices_that_they_become(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from test_tflite_loader import random_direction, write_lstm

    units = 20_000
    shapes = {name: (units, 1) if name.startswith("input_to") else (units,) for name in random_direction()}
    weights = {name: np.zeros(shape, np.int8 if name.startswith("input_to") else np.float32)
               for name, shape in shapes.items()}  # fmt: skip
    path = write_lstm(tmp_path / "m.tflite", weights, diagonalRecurrentTensors=True)
    assert "unfolds to 6400" in line_of(lambda: load(path), FormatError)


# --- JSON inside: every value replaced by values of other kinds


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


WRONG = (
    None, True, -1, 3, 10**400, 1e308, float("inf"), float("nan"), "", "text", [], {}, [[1.0], [2.0, 3.0]], ["a", 1],
    nested(300), {"name": 3}, NAME,
)  # fmt: skip


def with_one_value_wrong(whole: Any) -> Iterator[Any]:
    """A JSON value in which one value, at any depth, is another, is missing or is there twice."""

    def places(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield at
        for key, inner in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            yield from places(inner, (*at, key))

    for at in places(whole, ()):
        if not at:
            yield from WRONG
            continue
        for wrong in (*WRONG, "missing"):
            changed = copy.deepcopy(whole)
            around = changed
            for key in at[:-1]:
                around = around[key]
            if wrong == "missing":
                del around[at[-1]]
            else:
                around[at[-1]] = wrong
            yield changed


LAYERS = {"in_shape": [None, None, 1], "layers": [
    {"type": "lstm", "activation": "tanh", "weights": [[[1.0] * 4], [[0.0] * 4], [0.0] * 4]},
    {"type": "dense", "activation": "relu", "weights": [[[1.0]], [0.5]]},
]}  # fmt: skip
STATE = {"state_dict": {"rec.weight_ih_l0": [[1.0]] * 4, "rec.weight_hh_l0": [[0.0]] * 4, "lin.weight": [[2.0]],
                        "lin.bias": [1.0]}}  # fmt: skip


@pytest.mark.parametrize("whole", [LAYERS, STATE], ids=["layers", "state_dict"])
def test_json_with_one_value_wrong_gives_a_model_or_one_line(tmp_path, whole):
    def read(content: Any) -> LoadedModel:
        (tmp_path / "model.json").write_text(json.dumps(content))
        return load(tmp_path / "model.json")

    assert_all_end_well(with_one_value_wrong(whole), read)


def test_a_list_of_texts_is_not_made_room_for(tmp_path):
    """NumPy would take as many bytes for each of these texts as the longest has."""
    texts = ["a"] * 300_000 + ["b" * 300_000]
    (tmp_path / "model.json").write_text(json.dumps({"state_dict": STATE["state_dict"] | {"words": texts}}))
    assert list(load(tmp_path / "model.json")) == ["rec"]


def test_a_manifest_with_one_value_wrong_gives_a_model_or_one_line(tmp_path):
    shapes = {"rnn/cell_0/lstm_cell/kernel": [3, 8], "rnn/cell_0/lstm_cell/bias": [8], "embedding": [4, 1],
              "softmax_w": [2, 4], "softmax_b": [4]}  # fmt: skip
    manifest = {name: {"filename": f"t{k}", "shape": shape} for k, (name, shape) in enumerate(shapes.items())}
    for k, shape in enumerate(shapes.values()):
        np.ones(shape, np.float32).tofile(tmp_path / f"t{k}")
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))

    def read(content: Any) -> LoadedModel:
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        return load(tmp_path, forget_bias=1.0)

    assert_all_end_well(with_one_value_wrong(manifest), read)


@pytest.mark.parametrize("shape", [[10**4000] * 2, [1] * 100, [0, 10**18], [0, 10**300]])
def test_a_manifest_with_a_shape_that_no_array_has_is_one_line(tmp_path, shape):
    manifest = {f"lstm_cell/{kind}": {"filename": "t", "shape": shape} for kind in ("kernel", "bias")}
    (tmp_path / "t").write_bytes(bytes(4 if 1 in shape else 0))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert "lstm_cell/kernel' has " in line_of(lambda: load(tmp_path, forget_bias=1.0), FormatError)


def test_cells_that_share_one_file_cannot_unfold_without_end(tmp_path):
    np.ones((1001, 4000), np.float32).tofile(tmp_path / "kernel")
    np.ones(4000, np.float32).tofile(tmp_path / "bias")
    shapes = {"kernel": [1001, 4000], "bias": [4000]}
    manifest = {f"{k}/lstm_cell/{kind}": {"filename": kind, "shape": shape} for k in range(5000)
                for kind, shape in shapes.items()}  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert "unfolds to" in line_of(lambda: load(tmp_path, forget_bias=1.0), FormatError)


def test_cells_of_one_number_are_both_read(tmp_path):
    from test_raw_tensors import cell, write

    tensors = cell("multi_rnn_cell/cell_1/lstm_cell", 2, 3) | cell("multi_rnn_cell/cell_01/lstm_cell", 2, 3)
    assert len(load(write(tmp_path, tensors), forget_bias=1.0)) == 2


def test_an_export_with_one_value_wrong_gives_a_model_or_one_line(tmp_path):
    numbers = lambda *ones: [{"as_int": one} for one in ones]  # noqa: E731
    config = {}
    for k, name in enumerate(("rnn.weight_ih_l0", "rnn.weight_hh_l0", "out.weight")):
        meta = {
            "dtype": 7,
            "sizes": numbers(4, 1),
            "strides": numbers(1, 1),
            "storage_offset": numbers(0)[0],
            "layout": 7,
        }
        config[name] = {"path_name": f"weight_{k}", "use_pickle": False, "tensor_meta": meta}

    def read(content: Any) -> LoadedModel:
        with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
            archive.writestr("model/data/weights/model_weights_config.json", json.dumps(content))
            for k in range(3):
                archive.writestr(f"model/data/weights/weight_{k}", bytes(16))
        return load(tmp_path / "model.pt2")

    assert_all_end_well(with_one_value_wrong({"config": config}), read)


@pytest.mark.parametrize("depth", [900, 950, 970, 980, 985, 990, 995, 1000, 5000])
def test_a_value_that_is_nested_as_deep_as_json_allows_is_one_line(tmp_path, depth):
    """What can just be parsed may be too deep to be written out."""
    text = '{"config": {"a": %s}}' % ("[" * depth + "]" * depth)
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/data/weights/model_weights_config.json", text)
    line_of(lambda: load(tmp_path / "model.pt2"), FormatError)
    for value in ("activation", "type", "weights"):
        text = '{"layers": [{"type": "lstm", "activation": "tanh", "weights": [], "%s": %s}]}'
        (tmp_path / "model.json").write_text(text % (value, "[" * depth + "]" * depth))
        line_of(lambda: load(tmp_path / "model.json"), FormatError)


# --- Keras


KERAS_CONFIG = {"class_name": "Functional", "config": {"name": "m", "output_layers": [["dense", 0, 0]], "layers": [
    {"class_name": "InputLayer", "config": {"name": "x"}, "name": "x", "inbound_nodes": []},
    {"class_name": "Bidirectional", "name": "both", "inbound_nodes": [[["x", 0, 0, {}]]], "config": {
        "name": "both", "merge_mode": "concat",
        "layer": {"class_name": "LSTM", "config": {"name": "lstm", "units": 1, "activation": "tanh"}}}},
    {"class_name": "RNN", "name": "rnn", "inbound_nodes": [[["both", 0, 0, {}]]], "config": {
        "name": "rnn", "cell": {"class_name": "StackedRNNCells", "config": {"cells": [
            {"class_name": "LSTMCell", "config": {"name": "a", "units": 1}}]}}}},
    {"class_name": "Dense", "name": "dense", "inbound_nodes": [[["rnn", 0, 0, {}]]],
     "config": {"name": "dense", "activation": "softmax"}},
]}}  # fmt: skip


def test_a_keras_configuration_with_one_value_wrong_gives_a_model_or_one_line(tmp_path):
    pytest.importorskip("h5py")
    from test_keras_loader import write_archive, write_folders

    cell = [np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), np.zeros(4, np.float32)]
    places = {"layers/bidirectional/forward_layer/cell": cell, "layers/bidirectional/backward_layer/cell": cell,
              "layers/rnn/cell/cells/lstm_cell": [np.ones((2, 4), np.float32), *cell[1:]],
              "layers/dense": [np.ones((1, 3), np.float32), np.zeros(3, np.float32)]}  # fmt: skip
    weights = write_folders(tmp_path / "w.h5", places).read_bytes()

    def read(config: Any) -> LoadedModel:
        return load(write_archive(tmp_path / "m.keras", weights, config))

    assert {"both", "rnn"} == set(read(KERAS_CONFIG))
    assert_all_end_well(with_one_value_wrong(KERAS_CONFIG), read)


@pytest.mark.parametrize("shapes", [((4,), (4,)), ((1, 4), (4,)), ((1, 4), (3, 4)), ((0, 4), (1, 4)), ((1, 0), (0, 0))])
def test_keras_weights_of_odd_shapes_are_refused_by_name(tmp_path, shapes):
    pytest.importorskip("h5py")
    from test_keras_loader import lstm_entry, write_archive, write_folders

    for bias in (np.zeros(4), np.zeros(2 * (shapes[0][-1])), np.zeros((4, 4))):
        arrays = [*(np.ones(shape) for shape in shapes), bias]
        weights = write_folders(tmp_path / "w.h5", {"layers/lstm/cell": arrays}).read_bytes()
        config = {"class_name": "Sequential", "config": {"name": "m", "layers": [lstm_entry()]}}
        line = line_of(
            lambda weights=weights, config=config: load(write_archive(tmp_path / "m.keras", weights, config))
        )
        assert "lstm" in line


def test_models_that_give_on_what_they_get_do_not_multiply_it():
    from tallycell.loaders.keras.config import list_layers

    layers = [{"class_name": "LSTM", "config": {"name": "0", "units": 1}, "inbound_nodes": []}]
    for k in range(1, 60):
        reads = [[[str(k - 1), 0, 0, {}], [str(k - 1), 0, 0, {}]]]
        layers.append({"class_name": "Model", "config": {"name": str(k), "layers": []}, "inbound_nodes": reads})
    layers.append({"class_name": "LSTM", "config": {"name": "last"}, "inbound_nodes": [[["59", 0, 0, {}]]]})
    *_, last = list_layers({"config": {"layers": layers}})
    assert set(last.reads) == {"0"}


def test_a_long_name_around_many_layers_is_refused(tmp_path):
    from tallycell.loaders.keras.config import list_layers

    layers = [{"class_name": "LSTM", "config": {"name": str(k), "units": 1}} for k in range(10_000)]
    inner = {"class_name": "Model", "config": {"name": NAME, "layers": layers}}
    line = line_of(lambda: list_layers({"config": {"layers": [inner]}}), FormatError)
    assert "one whose path has more than 1024 characters" in line


def test_all_entries_of_a_keras_archive_are_counted_together(tmp_path):
    pytest.importorskip("h5py")
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "{}")
        for k in range(20):
            archive.writestr(f"assets/{k}/vocabulary.txt", bytes(10**7))
    assert "unfolds to 200000006 bytes" in line_of(lambda: load(tmp_path / "m.keras"), FormatError)


# --- safetensors, torch


def safetensors(folder: Path, header: dict[str, Any] | str, size: int) -> Path:
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    (folder / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    return folder / "m.safetensors"


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("shape", [[1] * 100, [0] * 100, [0, 2**62], [0, 2**31, 2**31]], ids=str)
def test_a_safetensors_tensor_of_a_shape_that_no_array_has_is_refused_by_name(tmp_path, dtype, shape):
    end = 0 if 0 in shape else {"F32": 4, "BF16": 2}[dtype]
    header = {"weight_ih_l0": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]},
              "weight_hh_l0": {"dtype": "F32", "shape": [4, 1], "data_offsets": [end, end + 16]}}  # fmt: skip
    line = line_of(lambda: load(safetensors(tmp_path, header, end + 16)), FormatError)
    assert "LSTM at '': weight_ih_l0 has " in line


def test_a_header_that_can_just_be_parsed_gives_its_bfloat16_or_one_line(tmp_path):
    """The library passes over fields that it does not know, down to a depth of its own."""
    for depth in (100, 118, 119, 120, 121, 122, 123, 124, 500, 100_000):
        first = '{"dtype":"BF16","shape":[4,1],"data_offsets":[0,8],"x":' + "[" * depth + "]" * depth + "}"
        second = '{"dtype":"BF16","shape":[4,1],"data_offsets":[8,16]}'
        header = f'{{"weight_ih_l0":{first},"weight_hh_l0":{second}}}'
        result_or_line(lambda header=header: load(safetensors(tmp_path, header, 16)))


def test_the_header_is_parsed_once_for_all_tensors_in_bfloat16(tmp_path, monkeypatch):
    from tallycell.loaders import safetensors_file
    from test_large_models import write_bfloat16

    parsed = []
    monkeypatch.setattr(
        safetensors_file.json, "loads", lambda text: parsed.append(1) or json.JSONDecoder().decode(text.decode())
    )
    assert len(load(write_bfloat16(tmp_path, 50))) == 50
    assert len(parsed) == 1


def test_the_description_of_an_own_file_with_one_value_wrong_gives_a_model_or_one_line(tmp_path):
    from safetensors.numpy import load as read_bytes
    from safetensors.numpy import save as to_bytes

    from loader_cases import a_recogniser
    from tallycell.loaders import save

    save(a_recogniser(), tmp_path / "own.safetensors")
    content = (tmp_path / "own.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    own = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tallycell"])
    arrays = read_bytes(content)

    def read(description: Any) -> LoadedModel:
        (tmp_path / "m.safetensors").write_bytes(to_bytes(arrays, {"tallycell": json.dumps(description)}))
        return load(tmp_path / "m.safetensors")

    assert_all_end_well(with_one_value_wrong(own), read)


def test_a_tensor_without_a_shape_does_not_hinder_the_others(tmp_path):
    torch = pytest.importorskip("torch")
    state = {f"rnn.{name}": x for name, x in torch.nn.LSTM(1, 1).state_dict().items()}
    with pytest.warns(UserWarning, match="nested tensors is in prototype"):
        odd = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    torch.save(state | {"odd": odd}, tmp_path / "m.pt")
    assert list(load(tmp_path / "m.pt")) == ["rnn"]
    torch.save(state | {"rnn.weight_ih_l0": odd}, tmp_path / "m.pt")
    assert "of dtype nested, expected float32" in line_of(lambda: load(tmp_path / "m.pt"), FormatError)


def test_lstms_that_are_one_tensor_cannot_unfold_without_end(tmp_path):
    torch = pytest.importorskip("torch")
    shared = {"weight_ih_l0": torch.ones(4000, 100), "weight_hh_l0": torch.ones(4000, 1000)}
    torch.save({f"{k}.{name}": x for k in range(1000) for name, x in shared.items()}, tmp_path / "m.pt")
    loaded = load(tmp_path / "m.pt")
    assert 60 < len(loaded) < 70
    assert "unfolds to" in loaded.refused["999"]


def doubling(depth: int) -> tuple[Any, ...]:
    """A tuple that holds one twice, which holds one twice, and so on: 2 to the depth, written out."""
    value: tuple[Any, ...] = ()
    for _ in range(depth):
        value = (value, value)
    return value


class _Persistent(pickle.Pickler):
    def persistent_id(self, one: object) -> object:
        return one.key if isinstance(one, _Storage) else None


class _Storage:
    def __init__(self, key: object) -> None:
        self.key = key


def test_a_storage_that_is_written_out_without_end_is_one_line(tmp_path):
    torch = pytest.importorskip("torch")
    from tallycell.loaders.torch.weights import LEGACY

    for key in (doubling(60), ("storage", doubling(60), "0", "cpu", 4), ("storage", "Float", doubling(60), "cpu", 4)):
        with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive, archive.open("m/data.pkl", "w") as entry:
            _Persistent(entry, protocol=2).dump({"a": _Storage(key)})
        line = line_of(lambda: load(tmp_path / "m.pt"), FormatError)
        assert "expected a storage" in line
        with (tmp_path / "old.pt").open("wb") as file:
            file.write(LEGACY)
            for _ in range(2):
                pickle.dump({}, file, protocol=2)
            _Persistent(file, protocol=2).dump({"a": _Storage(key)})
        assert "expected a storage" in line_of(lambda: load(tmp_path / "old.pt"), FormatError)
    assert torch


@pytest.mark.parametrize("wrong", [doubling(60), [nested(5000)], "text", None, (1.5, 2), [1] * 100, [0, 2**60]])
def test_sizes_that_are_none_are_told_without_looking_into_them(wrong):
    line_of(lambda: View.read(wrong, wrong, wrong, "weight"), FormatError)


def test_modules_that_repeat_each_other_are_not_named_without_end(tmp_path):
    """Many modules of one dict of parts, and a long name at every depth: both are short in a pickle."""
    many = {f"part{k}": (k, k) for k in range(1500)}
    deep: Any = None
    for _ in range(3000):
        deep = ("module", {NAME: deep})
    for content in [("module", {f"m{k}": ("module", many) for k in range(1500)}), deep]:
        with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
            archive.writestr("m/data.pkl", script_pickle(content))
            archive.writestr("m/constants.pkl", b"\x80\x02).")
        line = line_of(lambda: load(tmp_path / "m.pt"), FormatError)
        assert "repeat each other far more often than a model's" in line


def script_pickle(content: Any) -> bytes:
    """A pickle of modules ``("module", state)`` as TorchScript writes them, each object once; without recursion."""
    out, memo, left = [b"\x80\x02"], {}, [content]
    while left:
        one = left.pop()
        if isinstance(one, bytes):
            out.append(one)
        elif id(one) in memo:
            out.append(b"j" + struct.pack("<I", memo[id(one)]))
        elif isinstance(one, str):
            memo[id(one)] = len(memo)
            out.append(b"X" + struct.pack("<I", len(one)) + one.encode() + b"r" + struct.pack("<I", memo[id(one)]))
        elif isinstance(one, int):
            out.append(b"J" + struct.pack("<i", one))
        elif isinstance(one, dict):
            memo[id(one)] = len(memo)
            out.append(b"}r" + struct.pack("<I", memo[id(one)]) + b"(")
            left.append(b"u")
            for key, value in reversed(list(one.items())):
                left += [value, key]
        elif isinstance(one, tuple) and one and one[0] == "module":
            out.append(b"c__torch__\nM\n)\x81")
            left += [b"b", one[1]]
        elif isinstance(one, tuple):
            left += [b"t", *reversed(one), b"("]
        else:
            out.append(b"N")
    return b"".join([*out, b"."])


# --- what several have in common


@pytest.mark.parametrize(
    "shape", [(1,) * 65, (-1,), (2, -3), (2**30, 2**30), (0, 2**57), (10**4000, 10**4000)], ids=len
)
def test_a_shape_that_no_array_has_is_refused(shape):
    assert line_of(lambda: check_shape(shape, "weight"), FormatError).startswith("weight has ")


def test_what_names_come_from_a_file_is_quoted_short_and_in_one_line(tmp_path):
    odd = "\x1b[31m\n" + NAME
    state = {f"{odd}{k}.weight_{kind}_l0": [[1.0]] * 4 for k in range(30) for kind in ("ih", "hh")}
    state |= {f"{odd}{k}.weight_ih_l0": [[1.0]] for k in range(30, 60)}
    (tmp_path / "model.json").write_text(json.dumps({"state_dict": state}))
    loaded = load(tmp_path / "model.json")
    assert len(loaded) == len(loaded.refused) == 30
    assert len(repr(loaded)) < 6_000
    assert repr(loaded).isprintable()
    assert "and 22 more}" in repr(loaded)
    assert "and 22 more refused" in repr(loaded)
    for action in (lambda: loaded.lstm, lambda: loaded["none"], lambda: loaded[next(iter(loaded.refused))]):
        assert len(line_of(action)) < LONGEST
