"""The linear layer behind an LSTM of an ONNX model: what is found gives what ONNX Runtime gives; near misses do not."""

from collections.abc import Sequence
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
    operator_weights,
    torch_weights,
    value,
    write,
)
from tallycell.effect.outputs import outputs

runtime = pytest.importorskip("onnxruntime")
node = helper.make_node
OUTPUTS = 2
TOLERANCE = 1e-5  # two float32 programs, sums in another order


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


CONSTANTS = {
    "one": np.array([1]), "minus_one": np.array([-1]), "kernel": draw(OUTPUTS, HIDDEN, 1, seed=1),
    "b": draw(OUTPUTS, seed=2),
    "plane": draw(OUTPUTS, HIDDEN, 1, 1, seed=1), "matrix": draw(HIDDEN, OUTPUTS, seed=3),
    "wide": draw(OUTPUTS, HIDDEN, 3, seed=1), "scale": np.ones(HIDDEN, np.float32),
}  # fmt: skip
CHANNELS = node("Transpose", ["shown"], ["channels"], perm=[1, 2, 0])  # (sequence, unit, time)
BACK = node("Transpose", ["out"], ["last"], perm=[2, 0, 1])
CONV = node("Conv", ["channels", "kernel", "b"], ["out"])
MATRIX = node("MatMul", ["shown", "matrix"], ["last"])


def model_with(*behind: Any, ends: str = "p") -> Any:
    """One LSTM, its y without directions as h, (time, sequence, unit), and what is behind."""
    nodes = [lstm_node(), node("Squeeze", ["y", "one"], ["h"]), *behind]
    x = value("x", "time", "sequence", FEATURES)
    return model_of(graph_of(nodes, [x], [ends], weights=operator_weights(torch_weights()) | CONSTANTS))


FOUND: dict[str, tuple[str, dict[str, float], Sequence[Any]]] = {
    "relu, transposed, a convolution": ("relu", {}, [node("Relu", ["h"], ["shown"]), CHANNELS, CONV, BACK]),
    "as it is": ("identity", {}, [node("Identity", ["h"], ["shown"]), MATRIX]),
    "leaky": ("leaky_relu", {"alpha": 0.3}, [node("LeakyRelu", ["h"], ["shown"], alpha=0.3), MATRIX]),
    "leaky as ONNX has it": ("leaky_relu", {"alpha": 0.01}, [node("LeakyRelu", ["h"], ["shown"]), MATRIX]),
    "elu": ("elu", {"alpha": 0.5}, [node("Elu", ["h"], ["shown"], alpha=0.5), MATRIX]),
    "hard": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.4}, [node("HardSigmoid", ["h"], ["shown"], beta=0.4), MATRIX]),
    "tanh, then rearranged, in two dimensions": ("tanh", {}, [
        node("Tanh", ["h"], ["shown"]), CHANNELS, node("Unsqueeze", ["channels", "minus_one"], ["image"]),
        node("Conv", ["image", "plane", "b"], ["seen"], kernel_shape=[1, 1], pads=[0, 0, 0, 0], strides=[1, 1]),
        node("Squeeze", ["seen", "minus_one"], ["out"]), BACK,
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_what_is_found_gives_what_the_runtime_gives(tmp_path, case):
    name, constants, behind = FOUND[case]
    path = write(tmp_path, model_with(*behind, node("Sigmoid", ["last"], ["p"])))
    model, x = tc.load(path), draw(5, 2, FEATURES)
    (theirs,) = runtime.InferenceSession(path.read_bytes()).run(None, {"x": x})
    assert model.head.shown == tc.activation(name, **constants)
    assert model.head.activation == "sigmoid"
    ours = outputs(model, tc.record_trace(model, x), activation=True).transpose("time", "sequence", "output")
    assert np.abs(ours.values - theirs).max() <= TOLERANCE


RELU = node("Relu", ["h"], ["shown"])
MISSES = {
    "two functions": [node("Relu", ["h"], ["r"]), node("Tanh", ["r"], ["shown"]), MATRIX],
    "a function of all units": [node("LayerNormalization", ["h", "scale"], ["shown"]), MATRIX],
    "a kernel of three": [RELU, CHANNELS, node("Conv", ["channels", "wide"], ["out"]), BACK],
    "every second step": [RELU, CHANNELS, node("Conv", ["channels", "kernel"], ["out"], strides=[2]), BACK],
    "steps around": [RELU, CHANNELS, node("Conv", ["channels", "kernel"], ["out"], pads=[1, 1]), BACK],
    "the layer with a weight that is read": [RELU, node("MatMul", ["h", "shown"], ["last"])],
    "two layers": [RELU, MATRIX, node("MatMul", ["h", "matrix"], ["more"])],
}


@pytest.mark.parametrize("case", MISSES)
def test_a_near_miss_is_no_head(tmp_path, case):
    path = write(tmp_path, model_with(*MISSES[case], node("Sigmoid", ["last"], ["p"])))
    model = tc.load(path)
    assert model.head is None
    assert not model.heads


def test_each_branch_has_the_layer_behind_the_if(tmp_path):
    model, *_ = branching_model()
    weights = [helper.make_tensor(name, 1, w.shape, w.ravel()) for name, w in (("matrix", CONSTANTS["matrix"]),)]
    model.graph.initializer.extend(weights)
    model.graph.initializer.append(helper.make_tensor("one", 7, [1], [1]))
    model.graph.node.extend([node("Squeeze", ["y", "one"], ["h1"]), node("Relu", ["h1"], ["shown"])])
    model.graph.node.extend([node("MatMul", ["shown", "matrix"], ["last"]), node("Softmax", ["last"], ["p"])])
    del model.graph.output[:]
    model.graph.output.append(value("p"))
    model.graph.output[0].ClearField("type")
    path = write(tmp_path, model)
    loaded = tc.load(path)
    feeds = {"x": draw(5, 2, FEATURES), "h": draw(1, 2, HIDDEN, seed=1), "c": draw(1, 2, HIDDEN, seed=2)}
    assert loaded.head is None
    assert list(loaded.heads) == ["choice/then_branch/rnn", "choice/else_branch/rnn"]
    for which, name in ((True, "choice/then_branch/rnn"), (False, "choice/else_branch/rnn")):
        (theirs,) = runtime.InferenceSession(path.read_bytes()).run(None, feeds | {"which": np.array(which)})
        trace = tc.record_trace(loaded[name], feeds["x"], (feeds["h"], feeds["c"]))
        ours = outputs(loaded, trace, activation=True, lstm=name).transpose("time", "sequence", "output")
        assert np.abs(ours.values - theirs).max() <= TOLERANCE
        assert loaded.head_of(name).shown == tc.activation("relu")


def test_a_layer_in_the_branch_that_reads_h_is_found(tmp_path: Path) -> None:
    inside = graph_of([node("Relu", ["h"], ["r"]), node("MatMul", ["r", "matrix"], ["then"])], [], ["then"])
    other = graph_of(
        [node("MatMul", ["x", "other"], ["else"])], [], ["else"], weights={"other": draw(FEATURES, OUTPUTS)}
    )
    choice = node("If", ["which"], ["last"], then_branch=inside, else_branch=other)
    model = model_with(choice, node("Sigmoid", ["last"], ["p"]))
    model.graph.input.append(value("which", dtype=9))
    head = tc.load(write(tmp_path, model)).head
    assert np.array_equal(head.weight, CONSTANTS["matrix"].T)
    assert head.shown == tc.activation("relu")
