"""ONNX files: what is read, under which path, what is refused and what is safe."""

import itertools
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tallycell as tc
from onnx_models import (
    FEATURES,
    HIDDEN,
    branching_model,
    graph_of,
    helper,
    lstm_node,
    model_of,
    onnx,
    operator_weights,
    plain_model,
    step_nodes,
    step_weights,
    torch_weights,
    value,
    write,
)
from parity import record_parity, run_lstm
from processor import needs_exact_int8_in_onnxruntime
from tallycell.errors import FormatError, InputError, TallycellError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.loaders.onnx.file import load_onnx
from tallycell.loaders.onnx.quantised import run_quantised
from tallycell.parameters import LSTMParameters
from test_onnx_conformance import TOLERANCE, Node, difference, drawn_nodes, flipped

runtime = pytest.importorskip("onnxruntime")

NODES = 60


def as_model(node: Node) -> Any:
    """A random node as a model whose weights are initialisers."""
    weights = {name: w for name, w in node.inputs.items() if name in "WRBP"}
    others = {name: w for name, w in node.inputs.items() if name not in "WRBP"}
    types = {"sequence_lens": 6}
    inputs = [value(name, *w.shape, dtype=types.get(name, 1)) for name, w in others.items()]
    names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
    made = helper.make_node("LSTM", [n if n in node.inputs else "" for n in names], ["y"], "n", **node.attributes)
    return model_of(graph_of([made], inputs, weights=weights), opset=14)


def test_random_nodes_read_from_a_file_meet_onnx_runtime(tmp_path):
    drawn, _ = drawn_nodes(NODES, seed=7)
    reversed_nodes = 0
    for node, theirs in drawn:
        model = load_onnx(write(tmp_path, as_model(node)))
        x, lengths = node.inputs["X"], node.inputs.get("sequence_lens")
        place = model.places["n"]
        assert place.reverse == (node.attributes["direction"] == "reverse")
        reversed_nodes += place.reverse
        states = (node.inputs.get("initial_h"), node.inputs.get("initial_c"))
        (directions,) = run_stack(model.lstm, StackInput(flipped(x, lengths) if place.reverse else x, *states, lengths))
        ends = {
            "Y_h": np.stack([steps.h_n for steps in directions]),
            "Y_c": np.stack([steps.c_n for steps in directions]),
        }
        assert difference(ends, {name: theirs[name] for name in ends}) <= TOLERANCE, node.attributes
    assert reversed_nodes


def test_missing_constants_are_those_of_onnx_runtime(tmp_path):
    names = ["Affine", "ThresholdedRelu", "ScaledTanh", "LeakyRelu", "HardSigmoid", "Elu"]
    weights = {name: np.concatenate([w, w]) for name, w in operator_weights(torch_weights()).items()}
    node = lstm_node(direction="bidirectional", activations=names)
    x = value("x", "time", "sequence", FEATURES)
    model = load_onnx(write(tmp_path, model_of(graph_of([node], [x], weights=weights))))
    slots = [model.lstm.slots(k) for k in range(2)]
    constants = [dict(getattr(one, slot).constants) for one in slots for slot in ("gate", "cell", "hidden")]
    zeros, onnx_own = {"alpha": 0.0, "beta": 0.0}, [{"alpha": 0.01}, {"alpha": 0.2, "beta": 0.5}, {"alpha": 1.0}]
    assert constants == [zeros, {"alpha": 0.0}, zeros, *onnx_own]


def rearranged(opset: int) -> Any:
    """An LSTM over torch-ordered tensors, which Slice, Concat and Unsqueeze bring into ONNX's order, as torch does."""
    stored = {name.removesuffix("_l0"): w for name, w in torch_weights().items()}
    nodes, made = [], {}
    for name in stored:
        rows = [(0, HIDDEN), (3 * HIDDEN, 4 * HIDDEN), (HIDDEN, 3 * HIDDEN)]
        for k, (start, end) in enumerate(rows):
            if opset < 10:
                nodes.append(helper.make_node("Slice", [name], [f"{name}{k}"], axes=[0], starts=[start], ends=[end]))
                continue
            numbers = {f"{name}{k}_{what}": [n] for what, n in (("start", start), ("end", end), ("axis", 0))}
            nodes += [helper.make_node("Constant", [], [key], value_ints=n) for key, n in numbers.items()]
            nodes.append(helper.make_node("Slice", [name, *numbers], [f"{name}{k}"]))
        nodes.append(helper.make_node("Concat", [f"{name}{k}" for k in range(3)], [f"{name}_onnx"], axis=0))
        made[name] = f"{name}_onnx"
    nodes.append(helper.make_node("Concat", [made["bias_ih"], made["bias_hh"]], ["bias"], axis=0))
    for name, source in (("W", made["weight_ih"]), ("R", made["weight_hh"]), ("B", "bias")):
        if opset < 13:
            nodes.append(helper.make_node("Unsqueeze", [source], [name], axes=[0]))
        else:
            tensor = onnx.numpy_helper.from_array(np.array([0]))
            nodes.append(helper.make_node("Constant", [], [f"{name}_axes"], value=tensor))
            nodes.append(helper.make_node("Unsqueeze", [source, f"{name}_axes"], [name]))
    x = value("x", "time", "sequence", FEATURES)
    return model_of(graph_of([*nodes, lstm_node()], [x], weights=stored), opset)


@pytest.mark.parametrize("opset", [9, 16])
def test_torch_ordered_tensors_that_the_graph_rearranges_come_out_weight_for_weight(tmp_path, opset):
    assert load_onnx(write(tmp_path, rearranged(opset))).lstm == LSTMParameters(torch_weights())


def test_cast_transpose_reshape_squeeze_split_and_identity_are_folded(tmp_path):
    theirs = operator_weights(torch_weights())
    both = np.concatenate([theirs["W"][0], theirs["R"][0]], axis=1).T.astype(np.float16)
    bias = theirs["B"].reshape(1, 2, -1, 1)
    node, ints = helper.make_node, lambda name, *n: helper.make_node("Constant", [], [name], value_ints=n)
    nodes = [
        ints("sizes", FEATURES, HIDDEN), ints("axis", 0), ints("last", -1), ints("flat", 1, -1),
        node("Transpose", ["both"], ["turned"]), node("Cast", ["turned"], ["wide"], to=1),
        node("Split", ["wide", "sizes"], ["W2", "R2"], axis=1), node("Unsqueeze", ["W2", "axis"], ["W"]),
        node("Unsqueeze", ["R2", "axis"], ["R1"]), node("Identity", ["R1"], ["R"]),
        node("Squeeze", ["bias", "last"], ["B3"]), node("Reshape", ["B3", "flat"], ["B"]), lstm_node(),
    ]  # fmt: skip
    x = value("x", "time", "sequence", FEATURES)
    model = load_onnx(write(tmp_path, model_of(graph_of(nodes, [x], weights={"both": both, "bias": bias}))))
    expected = {n: w.astype(np.float16).astype(np.float32) if "weight" in n else w for n, w in torch_weights().items()}
    assert model.lstm == LSTMParameters(expected)
    assert model.places["rnn"].stored_as == "float16"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_are_read(tmp_path, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    theirs = {name: w.astype(kind) for name, w in operator_weights(torch_weights()).items()}
    x = value("x", "time", "sequence", FEATURES, dtype=11 if dtype == "float64" else 1)
    model = load_onnx(write(tmp_path, model_of(graph_of([lstm_node()], [x], weights=theirs))))
    wide = "float64" if dtype == "float64" else "float32"
    assert model.lstm == LSTMParameters({name: w.astype(kind).astype(wide) for name, w in torch_weights().items()})
    assert model.places["rnn"].stored_as == (None if dtype == "float64" else dtype)


def external_model(folder: Path, dtype: Any = np.float32) -> tuple[Path, Any]:
    """A model whose weights lie in ``weights.bin`` beside it."""
    weights = {name: w.astype(dtype) for name, w in operator_weights(torch_weights()).items()}
    x = value("x", "time", "sequence", FEATURES)
    model = model_of(graph_of([lstm_node()], [x], weights=weights))
    path = folder / "model.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path, onnx.load(str(path), load_external_data=False)


def test_external_data_is_read(tmp_path):
    path, _ = external_model(tmp_path)
    assert path.stat().st_size < 1000
    assert load_onnx(path).lstm == LSTMParameters(torch_weights())
    ml_dtypes = pytest.importorskip("ml_dtypes")
    expected = {n: w.astype(ml_dtypes.bfloat16).astype(np.float32) for n, w in torch_weights().items()}
    (tmp_path / "half").mkdir()
    assert load_onnx(external_model(tmp_path / "half", ml_dtypes.bfloat16)[0]).lstm == LSTMParameters(expected)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "link.bin", "a/../../weights.bin", ""])
def test_external_data_outside_the_folder_is_not_opened(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(10_000))
    _, model = external_model(folder)
    if location == "link.bin":
        try:
            os.symlink(tmp_path / "weights.bin", folder / "link.bin")
        except OSError:
            pytest.skip("this system makes no symbolic links")
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    with pytest.raises(FormatError, match="not inside the model's folder; nothing outside it is opened"):
        load_onnx(write(folder, model))


def test_external_data_has_the_bytes_that_its_shape_needs(tmp_path):
    path, model = external_model(tmp_path)
    model.graph.initializer[0].dims[1] = 10**12
    with pytest.raises(FormatError, match=r"needs 8000000000000 bytes of 'weights.bin' from 0 on"):
        load_onnx(write(tmp_path, model))
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FormatError, match=r"lies in the file 'weights.bin' beside the model, which is missing"):
        load_onnx(path)


def test_nodes_in_branches_are_found_then_before_else(tmp_path):
    model, first, second = branching_model(names=("/a/LSTM", "/b/LSTM"))
    loaded = load_onnx(write(tmp_path, model))
    assert list(loaded) == ["a/LSTM", "b/LSTM"]
    assert loaded["a/LSTM"] == first
    assert loaded["b/LSTM"] == second
    assert loaded.places["b/LSTM"].state_inputs == ("h", "c")
    assert loaded.places["b/LSTM"].reads == "x"


def test_a_shared_name_gets_what_is_around_it_in_front(tmp_path):
    model, first, _ = branching_model()
    loaded = load_onnx(write(tmp_path, model))
    assert list(loaded) == ["choice/then_branch/rnn", "choice/else_branch/rnn"]
    assert loaded["choice/then_branch/rnn"] == first
    twice, _ = plain_model()
    twice.graph.node.append(lstm_node(outputs=["y2", "", ""]))
    assert list(load_onnx(write(tmp_path, twice))) == ["rnn", "rnn#2"]


def function_model(body: Any, called: str = "Encode") -> Any:
    weights = operator_weights(torch_weights())
    call = helper.make_node(called, ["x", *weights], ["y"], "call", domain="own", size=HIDDEN)
    graph = graph_of([call], [value("x", "time", "sequence", FEATURES)], weights=weights)
    return model_of(graph, functions=body, opsets=[helper.make_opsetid("own", 1)])


def make_function(name: str, nodes: list[Any]) -> Any:
    opsets = [helper.make_opsetid("", 16), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["x", "W", "R", "B"], ["y"], nodes, opsets, ["size"])


def test_nodes_in_functions_are_found(tmp_path):
    node = lstm_node(outputs=["y", "", ""])
    node.attribute[0].Clear()
    node.attribute[0].CopyFrom(onnx.AttributeProto(name="hidden_size", type=2, ref_attr_name="size"))
    loaded = load_onnx(write(tmp_path, function_model([make_function("Encode", [node])])))
    assert loaded.lstm == LSTMParameters(torch_weights())
    assert "rnn" in next(iter(loaded))


def test_functions_that_call_themselves_or_multiply_are_refused(tmp_path):
    def call(name: str, k: int, last: bool) -> Any:
        return helper.make_node(name, ["x", "W", "R", "B"], ["y" if last else f"y{k}"], domain="own", size=3)

    with pytest.raises(FormatError, match="a function of the model calls itself"):
        load_onnx(write(tmp_path, function_model([make_function("Encode", [call("Encode", 0, last=True)])])))
    bomb = [make_function("F0", [lstm_node(outputs=["y", "", ""])])]
    for level in range(1, 9):
        bomb.append(make_function(f"F{level}", [call(f"F{level - 1}", k, last=k == 9) for k in range(10)]))
    with pytest.raises(FormatError, match="its functions come to more than 1000000 nodes; expected at most so many"):
        load_onnx(write(tmp_path, function_model(bomb, "F8")))


@pytest.mark.parametrize("order", ["ifgo", "ofig", "giof"])
def test_an_lstm_taken_apart_is_put_together_whatever_the_order_of_its_gates(tmp_path, order):
    weights = torch_weights()
    stored = step_weights(weights)
    for name, w in stored.items():
        blocks = dict(zip("ifgo", np.split(w, 4), strict=True))
        stored[name] = np.concatenate([blocks[letter] for letter in order])
    inputs = [value("x", "n", FEATURES), value("h", "n", HIDDEN), value("c", "n", HIDDEN)]
    graph = graph_of(step_nodes(weights, "x", "h", "c", order=order), inputs, ["h_n"], weights=stored)
    loaded = load_onnx(write(tmp_path, model_of(graph)))
    assert list(loaded) == ["rnn"]
    assert loaded.lstm == LSTMParameters(weights)
    assert (loaded.places["rnn"].operator, loaded.places["rnn"].reads) == ("decomposed", "x")
    assert loaded.places["rnn"].state_inputs == ("h", "c")


def unrolled(steps: int = 3) -> Any:
    """An LSTM taken apart and unrolled, without torch's names: only the flow of h tells its weights."""
    weights = torch_weights(features=HIDDEN)
    tensors = {"A": weights["weight_ih_l0"].T.copy(), "B": weights["weight_hh_l0"].T.copy()}
    tensors["a"] = weights["bias_ih_l0"]
    nodes, h, c = [], "h", "c"
    for k in range(steps):
        tensors[f"at{k}"] = np.array(k)
        nodes.append(helper.make_node("Gather", ["x", f"at{k}"], [f"x{k}"], axis=0))
        nodes += step_nodes(weights, f"x{k}", h, c, prefix=f"s{k}_", gemm=False)
        h, c = f"s{k}_h_n", f"s{k}_c_n"
    zeros = np.zeros((2, HIDDEN), np.float32)
    inputs = [value("x", steps, 2, HIDDEN)]
    return model_of(graph_of(nodes, inputs, [h], weights=tensors | {"h": zeros, "c": zeros}), 16)


def test_an_unrolled_lstm_is_one_and_its_weights_need_no_names(tmp_path):
    weights = torch_weights(features=HIDDEN)
    loaded = load_onnx(write(tmp_path, unrolled()))
    assert list(loaded) == ["s0_expose"]
    assert np.array_equal(loaded.lstm.weights["weight_ih_l0"], weights["weight_ih_l0"])
    assert np.array_equal(loaded.lstm.weights["weight_hh_l0"], weights["weight_hh_l0"])
    assert np.array_equal(loaded.lstm.layer(0).total_bias, weights["bias_ih_l0"])


def test_an_lstm_taken_apart_that_cannot_be_told_is_refused_with_the_reason(tmp_path):
    weights = torch_weights(features=HIDDEN)
    tensors = {"A": weights["weight_ih_l0"].T.copy(), "B": weights["weight_hh_l0"].T.copy()}
    tensors["a"] = weights["bias_ih_l0"]
    inputs = [value(name, "n", HIDDEN) for name in "xhc"]
    nodes = step_nodes(weights, "x", "h", "c", gemm=False)
    with pytest.raises(FormatError, match="cannot be told which of its two projections reads h and which x"):
        load_onnx(write(tmp_path, model_of(graph_of(nodes, inputs, ["h_n"], weights=tensors))))
    squared = [helper.make_node("Mul", ["x", "x"], ["odd"]), helper.make_node("Add", ["pre", "odd"], ["more"])]
    at = next(k for k, node in enumerate(nodes) if node.op_type == "Split")
    nodes[at].input[0] = "more"
    nodes[at:at] = squared
    with pytest.raises(FormatError, match="add up more than projections and biases: Mul at 'odd'"):
        load_onnx(write(tmp_path, model_of(graph_of(nodes, inputs, ["h_n"], weights=tensors))))


def taken_apart(change: Any, **more: np.ndarray) -> Any:
    """One step of an LSTM as nodes, changed; ``more`` are further tensors."""
    weights = torch_weights()
    inputs = [value("x", "n", FEATURES), value("h", "n", HIDDEN), value("c", "n", HIDDEN)]
    nodes = change(step_nodes(weights, "x", "h", "c"))
    return model_of(graph_of(nodes, inputs, ["h_n"], weights=step_weights(weights) | more))


@pytest.mark.parametrize("attributes", [{"alpha": 0.5}, {"beta": 2.0}, {"transA": 1}], ids=lambda one: next(iter(one)))
@pytest.mark.parametrize("which", ["from_h", "from_x"])
def test_a_projection_that_does_more_than_project_is_refused(tmp_path, which, attributes):
    def change(nodes: list[Any]) -> list[Any]:
        node = next(node for node in nodes if which in node.output)
        node.attribute.extend(helper.make_attribute(name, one) for name, one in attributes.items())
        return nodes

    with pytest.raises(FormatError, match=r"its projection '.*' is scaled or transposed"):
        load_onnx(write(tmp_path, taken_apart(change)))


PARTS = [(k * HIDDEN, (k + 1) * HIDDEN) for k in range(4)]


def slices(
    spans: list[tuple[int, int]] = PARTS, step: int = 1, *, stated: bool = True
) -> tuple[Any, dict[str, np.ndarray]]:
    """Let slices take the place of the split."""
    starts, ends = zip(*spans, strict=True)
    tensors = {f"start{k}": np.array([one]) for k, one in enumerate(starts)}
    tensors |= {f"end{k}": np.array([one]) for k, one in enumerate(ends)} | {"axis": np.array([1])}
    tensors |= {"step": np.array([step])} if stated else {}

    def change(nodes: list[Any]) -> list[Any]:
        at = next(k for k, node in enumerate(nodes) if node.op_type == "Split")
        parts = [
            helper.make_node("Slice", ["pre", f"start{k}", f"end{k}", "axis", *["step"] * stated], [part])
            for k, part in enumerate(nodes[at].output)
        ]
        return [*nodes[:at], *parts, *nodes[at + 1 :]]

    return change, tensors


@pytest.mark.parametrize("spans", [PARTS, [*PARTS[:3], (3 * HIDDEN, 2**63 - 1)]], ids=["stated", "to the end"])
@pytest.mark.parametrize("stated", [True, False])
def test_parts_that_are_slices_are_those_of_onnx_runtime(tmp_path, stated, spans):
    change, tensors = slices(spans, stated=stated)
    path = write(tmp_path, taken_apart(change, **tensors))
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=(4, size)).astype(np.float32) for name, size in zip("xhc", (2, 3, 3), strict=True)}
    (theirs,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)
    states = [feeds[name][None] for name in "hc"]
    ((steps,),) = run_stack(load_onnx(path).lstm, StackInput(feeds["x"][None], *states))
    np.testing.assert_allclose(steps.h[0], theirs, atol=TOLERANCE)


@pytest.mark.parametrize(("spans", "step", "reason"), [
    ([(k, 4 * HIDDEN) for k in range(4)], 4, "no LSTM in the model"),  # every fourth row
    ([*PARTS[:1], (HIDDEN, HIDDEN + 1), *PARTS[2:]], 1, "no LSTM in the model"),  # one gate for all units
    ([(k, k + HIDDEN) for k in range(4)], 1, "no LSTM in the model"),  # they overlap
    ([(k, k + 1) for k in range(4)], 1, "slices of 1 columns each; expected 3, a quarter of 12"),
])  # fmt: skip
def test_slices_that_are_no_quarters_are_no_gates(tmp_path, spans, step, reason):
    """Of all of them ONNX Runtime makes a model like any other."""
    change, tensors = slices(spans, step)
    path = write(tmp_path, taken_apart(change, **tensors))
    runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with pytest.raises(FormatError, match=reason):
        load_onnx(path)


def quantised_model(
    folder: Path, *, per_channel: bool = False, bidirectional: bool = True, kind: str = "int8"
) -> tuple[Path, Path]:
    """A small LSTM, and the same quantised by ONNX Runtime's own tool."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    rng = np.random.default_rng(1)
    shapes = {"weight_ih": (32, 5), "weight_hh": (32, 8), "bias_ih": (32,), "bias_hh": (32,)}
    ends = ("_l0", "_l0_reverse") if bidirectional else ("_l0",)
    weights = {f"{n}{end}": rng.normal(size=s).astype(np.float32) / 2 for end in ends for n, s in shapes.items()}
    tc.to_onnx(LSTMParameters(weights), folder / "float.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logging.Logger.warning", lambda *args, **kwargs: None)
        quantization.quantize_dynamic(
            folder / "float.onnx", folder / "int8.onnx", per_channel=per_channel, op_types_to_quantize=["LSTM"],
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
    if kind == "uint8":  # the same, moved by 128
        model = onnx.load(str(folder / "int8.onnx"))
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT8:
                moved = onnx.numpy_helper.to_array(tensor).astype(np.int16) + 128
                tensor.CopyFrom(onnx.numpy_helper.from_array(moved.astype(np.uint8), tensor.name))
        write(folder, model, "int8.onnx")
    return folder / "float.onnx", folder / "int8.onnx"


@pytest.mark.parametrize(
    ("per_channel", "bidirectional", "kind"), [(False, True, "int8"), (True, False, "int8"), (False, True, "uint8")]
)
def test_quantised_weights_are_dequantised_and_the_runtime_rounding_can_be_had(
    tmp_path, per_channel, bidirectional, kind
):
    plain, quantised = quantised_model(tmp_path, per_channel=per_channel, bidirectional=bidirectional, kind=kind)
    original, loaded = load_onnx(plain).lstm, load_onnx(quantised)
    (path,) = loaded
    place = loaded.places[path]
    assert (place.operator, place.stored_as) == ("DynamicQuantizeLSTM", kind)
    for name, w in original.weights.items():
        # A level of 8 bits is at most a 127th of the greatest weight; rounding is at most half of it.
        assert np.abs(loaded.lstm.weights[name] - w).max() <= 0.51 * np.abs(w).max() / 127
    if kind == "int8":
        needs_exact_int8_in_onnxruntime()
    rng = np.random.default_rng(2)
    x = rng.normal(size=(9, 1, 5)).astype(np.float32)
    h, c = (rng.normal(size=(original.num_directions, 1, 8)).astype(np.float32) / 3 for _ in range(2))
    (theirs,) = runtime.InferenceSession(str(quantised)).run(["output"], {"input": x, "h_0": h, "c_0": c})
    assert np.abs(run_quantised(quantised, path, x, state=(h, c)) - theirs).max() <= 1e-5  # float32 in another order
    ours = run_lstm(loaded.lstm, x[:, 0], (h[:, 0], c[:, 0]))
    assert 1e-4 < np.abs(ours - theirs[:, 0]).max() <= 5e-2  # x and h are not rounded


def test_run_quantised_says_what_does_not_fit(tmp_path):
    plain, quantised = quantised_model(tmp_path)
    (path,) = load_onnx(quantised)
    x = np.zeros((4, 1, 5), np.float32)
    with pytest.raises(InputError, match=r"no quantised LSTM at 'lstm_l0'; .* has them at \(none\)"):
        run_quantised(plain, "lstm_l0", x)
    with pytest.raises(InputError, match=r"x has the shape \(4, 5\); expected \(time, sequence, 5\)"):
        run_quantised(quantised, path, x[:, 0])
    with pytest.raises(InputError, match=r"expected \(2, 1, 8\)"):
        run_quantised(quantised, path, x, state=(np.zeros((1, 1, 8)), np.zeros((2, 1, 8))))


def test_one_lstm_that_cannot_be_read_is_refused_by_name_and_the_others_are_read(tmp_path):
    model, parameters = plain_model()
    model.graph.input.append(value("free", 1, 4 * HIDDEN, FEATURES))
    made = {"inputs": ["x", "free", "R", "B"], "outputs": ["y2", "", ""]}
    model.graph.node.append(lstm_node("other", **made))
    model.graph.node.append(lstm_node("odd", activations=["Sigmoid", "Sine", "Tanh"], outputs=["y3", "", ""]))
    loaded = load_onnx(write(tmp_path, model))
    assert loaded.lstm == parameters
    assert loaded.refused["other"] == "its W is not constant: 'free' is an input of the graph"
    assert loaded.refused["odd"].startswith("its activation 'Sine' is none of ONNX's; those are relu, tanh")
    with pytest.raises(InputError, match="cannot be read: its W is not constant"):
        loaded["other"]


def test_a_gru_is_not_an_lstm(tmp_path):
    gru = helper.make_node("GRU", ["x", "W", "R"], ["y"], hidden_size=3)
    with pytest.raises(FormatError, match="no LSTM in the model, only GRU"):
        load_onnx(write(tmp_path, model_of(graph_of([gru], [value("x", 1, 1, 2)]))))
    add = helper.make_node("Add", ["x", "x"], ["y"])
    with pytest.raises(FormatError, match="no LSTM in the model; its 1 nodes hold none"):
        load_onnx(write(tmp_path, model_of(graph_of([add], [value("x", 1, 1, 2)]))))


def test_embedding_and_head_are_what_stands_around(tmp_path):
    rng = np.random.default_rng(3)
    table, out = rng.normal(size=(7, FEATURES)).astype(np.float32), rng.normal(size=(HIDDEN, 4)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "symbols"], ["rows"]), node("Transpose", ["rows"], ["x"], perm=[1, 0, 2]), lstm_node(),
        node("Squeeze", ["y", "axis"], ["h"]), node("MatMul", ["h", "out"], ["scores"]),
        node("Add", ["scores", "bias"], ["logits"]), node("Softmax", ["logits"], ["p"]),
    ]  # fmt: skip
    weights = operator_weights(torch_weights()) | {"table": table, "out": out, "bias": bias, "axis": np.array([1])}
    symbols = value("symbols", "sequence", "time", dtype=7)
    model = model_of(graph_of(nodes, [symbols], ["p"], weights=weights))
    loaded = load_onnx(write(tmp_path, model))
    assert np.array_equal(loaded.embedding, table)
    assert np.array_equal(loaded.head.weight, out.T)
    assert np.array_equal(loaded.head.bias, bias)
    assert loaded.head.activation == "softmax"
    model.graph.node.append(node("MatMul", ["h", "out"], ["more"]))
    assert load_onnx(write(tmp_path, model)).head is None  # two heads are none
    squashed = model_of(graph_of([*nodes[:4], node("Relu", ["h"], ["r"]), node("MatMul", ["r", "out"], ["p"])],
                                 [symbols], ["p"], weights=weights))  # fmt: skip
    assert load_onnx(write(tmp_path, squashed)).head.shown == tc.activation("relu")


def test_states_are_traced_back_to_the_inputs_of_the_model(tmp_path):
    node, ints = helper.make_node, lambda name, *n: helper.make_node("Constant", [], [name], value_ints=n)
    nodes = [
        ints("zero", 0), ints("one", 1), ints("two", 2), node("Slice", ["state", "zero", "one", "zero"], ["h"]),
        node("Slice", ["state", "one", "two", "zero"], ["c0"]), node("Identity", ["c0"], ["c"]),
        lstm_node(inputs=["x", "W", "R", "B", "", "h", "c"]),
    ]  # fmt: skip
    inputs = [value("x", "time", 1, FEATURES), value("state", 2, 1, HIDDEN)]
    model = model_of(graph_of(nodes, inputs, weights=operator_weights(torch_weights())))
    assert load_onnx(write(tmp_path, model)).places["rnn"].state_inputs == ("state", "state")
    plain, _ = plain_model()
    assert load_onnx(write(tmp_path, plain)).places["rnn"].state_inputs == (None, None)


def test_a_state_is_traced_through_an_if_only_where_both_branches_lead_to_the_same_input(tmp_path):
    def branch(source: str, out: str) -> Any:
        return graph_of([helper.make_node("Identity", [source], [out])], [], [out], name=out)

    inputs = [value("x", "time", 1, FEATURES), value("which", dtype=9)]
    inputs += [value(name, 1, 1, HIDDEN) for name in ("a", "b")]
    for other, traced in (("a", "a"), ("b", None)):
        sides = {"then_branch": branch("a", "a1"), "else_branch": branch(other, "b1")}
        nodes = [
            helper.make_node("If", ["which"], ["h"], **sides),
            lstm_node(inputs=["x", "W", "R", "B", "", "h", "b"]),
        ]
        model = model_of(graph_of(nodes, inputs, weights=operator_weights(torch_weights())))
        assert load_onnx(write(tmp_path, model)).places["rnn"].state_inputs == (traced, "b")


def test_nodes_out_of_order_are_read_in_order_and_circles_refused(tmp_path):
    model = rearranged(16)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    assert load_onnx(write(tmp_path, model)).lstm == LSTMParameters(torch_weights())
    first = helper.make_node("Identity", ["b"], ["a"], "first")
    second = helper.make_node("Identity", ["a"], ["b"], "second")
    model.graph.node.extend([first, second])
    with pytest.raises(FormatError, match=r"runs in a circle, through the nodes '(first|second)'"):
        load_onnx(write(tmp_path, model))


def damaged(what: str) -> tuple[Any, str]:
    """A model with one thing wrong, and what the error says."""
    model, _ = plain_model()
    weight = model.graph.initializer[0]
    match what:
        case "negative size":
            weight.dims[1] = -1
            return model, r"has the shape \(1, -1, 2\); expected no negative size"
        case "promised size":
            weight.dims[1] = 10**12
            return model, r"has 96 bytes; expected 8000000000000"
        case "dtype":
            weight.data_type = 8
            return model, "of ONNX's dtype 8; expected float32"
        case "no weights":
            del model.graph.node[0].input[1:]
            return model, "it has no W"
        case "shape":
            weight.dims[1:] = [FEATURES, 4 * HIDDEN]
            return model, r"its W has shape \(1, 2, 12\); expected \(1, 12, 12\)"
        case "direction":
            model.graph.node[0].attribute.append(helper.make_attribute("direction", "sideways"))
            return model, "its direction is 'sideways'; expected forward, reverse or bidirectional"
        case "made twice":
            model.graph.node.append(lstm_node("again"))
            return model, "two nodes make the value 'y'"
        case "nothing":
            return model.SerializeToString()[:3], "cannot be read as ONNX"
    return model.SerializeToString()[:-30], "cannot be read as ONNX"


@pytest.mark.parametrize(
    "what",
    ["negative size", "promised size", "dtype", "no weights", "shape", "direction", "made twice", "nothing", "cut"],
)
def test_damaged_files_are_refused_with_the_reason(tmp_path, what):
    model, text = damaged(what)
    with pytest.raises(FormatError, match=text):
        load_onnx(write(tmp_path, model))


def test_constants_that_double_and_double_are_refused(tmp_path):
    model, _ = plain_model()
    doubling = [helper.make_node("Concat", [f"w{k}"] * 2, [f"w{k + 1}"], axis=1) for k in range(40)]
    doubling.append(lstm_node(inputs=["x", "w40", "R", "B"]))
    del model.graph.node[:]
    model.graph.node.extend(doubling)
    model.graph.initializer[0].name = "w0"
    with pytest.raises(FormatError, match="would take over 64 times the bytes of the file"):
        load_onnx(write(tmp_path, model))


def test_weights_that_many_nodes_share_are_read_once_and_what_differs_is_counted(tmp_path):
    wide = {"W": np.ones((1, 4 * HIDDEN, 50_000), np.float32), "R": np.ones((1, 4 * HIDDEN, HIDDEN), np.float32)}

    def many(clips: Any) -> Any:
        nodes = [
            lstm_node("rnn", inputs=["x", "W", "R"], outputs=[f"y{k}", "", ""], clip=clip)
            for k, clip in enumerate(clips)
        ]
        return model_of(graph_of(nodes, [value("x", "time", "sequence", 50_000)], ["y0"], weights=wide))

    loaded = load_onnx(write(tmp_path, many([1.0] * 100)))
    assert list(loaded)[-1] == "rnn#100"
    assert loaded["rnn#100"] is loaded["rnn"]
    loaded = load_onnx(write(tmp_path, many(np.linspace(1, 2, 100).tolist())))
    assert len(loaded) == 64
    assert "would take over 64 times the bytes of the file" in loaded.refused["rnn#100"]


def test_graphs_that_are_nested_or_chained_too_deeply_are_refused(tmp_path):
    model, _ = plain_model()
    chain = [helper.make_node("Identity", [f"w{k}"], [f"w{k + 1}"]) for k in range(20_000)]
    model.graph.initializer[0].name = "w0"
    del model.graph.node[:]
    model.graph.node.extend([*chain, lstm_node(inputs=["x", "w20000", "R", "B"])])
    with pytest.raises(FormatError, match="nested or chained too deeply"):
        load_onnx(write(tmp_path, model))
    content = model.graph.SerializeToString()
    for _ in range(60):  # an If around it, of which only the branch is there: fields node, attribute, g
        content = field(1, field(5, field(6, content)))
    with pytest.raises(FormatError, match="cannot be read as ONNX"):
        load_onnx(write(tmp_path, field(7, content)))


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf, of known length."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size % 128 + 128]), size // 128
    return bytes([number * 8 + 2]) + length + bytes([size]) + content


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four bytes changed, or a piece cut out, doubled or moved."""
    changed = bytearray(content)
    kind, at = rng.integers(5), int(rng.integers(len(content)))
    piece = changed[at : at + int(rng.integers(1, 40))]
    match kind:
        case 0 | 1:
            for _ in range(int(rng.integers(1, 5))):
                changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
        case 2:
            del changed[at : at + len(piece)]
        case 3:
            changed[at:at] = piece
        case 4:
            changed = changed[:at]
    return bytes(changed)


def test_mutated_files_end_in_a_result_or_a_clean_error_in_bounded_memory_and_time(tmp_path):
    models = [rearranged(16), branching_model()[0], quantised_of(tmp_path), unrolled(2)]
    contents = [one.SerializeToString() for one in models]
    for content in contents:
        load_onnx(write(tmp_path, content))
    rng = np.random.default_rng(4)
    outcomes, slowest = {"read": 0, "refused": 0, "several lines": 0}, 0.0
    tracemalloc.start()
    for content in itertools.islice(itertools.cycle(contents), 400):
        path = write(tmp_path, mutated(content, rng) or b"\0")
        start = time.perf_counter()
        try:
            load_onnx(path)
            outcomes["read"] += 1
        except TallycellError as error:
            outcomes["refused" if "\n" not in str(error) else "several lines"] += 1
        slowest = max(slowest, time.perf_counter() - start)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcomes["several lines"] == 0
    assert min(outcomes["read"], outcomes["refused"]) > 20, outcomes
    assert slowest < 5
    assert peak < 2**26


def quantised_of(folder: Path) -> Any:
    return onnx.load(str(quantised_model(folder)[1]))


@pytest.mark.models
def test_silero_sequence_meets_its_runtime(pypi_model, golden):
    folder = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data"
    loaded = tc.load(folder / "silero_vad_16k_sequence.onnx")
    theirs = golden("silero_16k_sequence_0")
    worst = np.abs(run_lstm(loaded.lstm, theirs["x"]) - theirs["y"]).max()
    record_parity("silero-vad 6.2.3 16k_sequence", "ONNX", "ONNX Runtime 1.31", worst)
    assert worst <= 1e-5
    assert loaded.places["recurrent/LSTM"].state_inputs == ("h", "c")


@pytest.mark.models
def test_every_onnx_file_of_silero_is_read(pypi_model):
    folder = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data"
    expected = {
        "silero_vad": 4, "silero_vad_16k_op15": 2, "silero_vad_16k_sequence": 1, "silero_vad_half": 2,
        "silero_vad_op18_ifless": 2, "silero_vad_openvino_16k": 1,
    }  # fmt: skip
    assert {path.stem for path in folder.glob("*.onnx")} == expected.keys()
    for name, count in expected.items():
        loaded = tc.load(folder / f"{name}.onnx")
        assert len(loaded) == count
        assert not loaded.refused
        assert all((one.input_size, one.hidden_size) == (128, 128) for one in loaded.values())
    assert list(loaded) == ["F2::If_0_then_branch__Inline_0__/decoder/rnn/LSTM"]


@pytest.mark.models
@pytest.mark.parametrize(("k", "node"), [(0, "LSTM_quant"), (1, "LSTM_1_quant"), (2, "LSTM_2_quant")])
def test_dksplit_meets_its_runtime(pypi_model, golden, k, node):
    path = pypi_model("dksplit", "1.0.2") / "dksplit" / "models" / "dksplit-int8.onnx"
    loaded, theirs = tc.load(path), golden(f"dksplit_int8_{k}")
    assert loaded.embedding.shape == (38, 384)
    dequantised = np.abs(run_lstm(loaded[f"lstm/{node}"], theirs["x"]) - theirs["y"]).max()
    record_parity(f"dksplit 1.0.2 {node}, dequantised", "ONNX", "ONNX Runtime 1.31", dequantised)
    assert dequantised <= 5e-2
    rounded = np.abs(run_quantised(path, f"lstm/{node}", theirs["x"][:, None])[:, 0] - theirs["y"]).max()
    record_parity(f"dksplit 1.0.2 {node}, x and h rounded", "ONNX", "ONNX Runtime 1.31", rounded)
    assert rounded <= 1e-3
