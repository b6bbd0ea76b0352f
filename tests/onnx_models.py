"""Small ONNX models that the ONNX tests make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tallycell.layout import Layout
from tallycell.parameters import LSTMParameters

onnx = pytest.importorskip("onnx")
helper = onnx.helper

HIDDEN, FEATURES = 3, 2


def torch_weights(seed: int = 0, hidden: int = HIDDEN, features: int = FEATURES) -> dict[str, np.ndarray]:
    """One layer under torch's names, float32."""
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (4 * hidden, features), "weight_hh_l0": (4 * hidden, hidden)}
    shapes |= {"bias_ih_l0": (4 * hidden,), "bias_hh_l0": (4 * hidden,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def operator_weights(weights: dict[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    """The same as W, R and B of the operator LSTM."""
    theirs = Layout("iofg").write({name.removesuffix("_l0"): w for name, w in weights.items()})
    bias = np.concatenate([theirs["bias_ih"], theirs["bias_hh"]])
    found = {"W": theirs["weight_ih"][None], "R": theirs["weight_hh"][None], "B": bias[None]}
    return {f"{prefix}{name}": w for name, w in found.items()}


def value(name: str, *shape: Any, dtype: int = 1) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def graph_of(
    nodes: Sequence[Any], inputs: Sequence[Any] = (), outputs: Sequence[str] = ("y",), *,
    weights: dict[str, np.ndarray] | None = None, name: str = "graph",
) -> Any:  # fmt: skip
    """A graph; the shapes of its outputs are left to the runtime."""
    tensors = [onnx.numpy_helper.from_array(w, key) for key, w in (weights or {}).items()]
    outs = [one if not isinstance(one, str) else onnx.ValueInfoProto(name=one) for one in outputs]
    return helper.make_graph(list(nodes), name, list(inputs), outs, tensors)


def model_of(graph: Any, opset: int = 16, **more: Any) -> Any:
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def write(folder: Path, model: Any, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def lstm_node(name: str = "rnn", x: str = "x", prefix: str = "", **more: Any) -> Any:
    """Operator LSTM without states."""
    made = [f"{prefix}y", f"{prefix}h_n", f"{prefix}c_n"]
    inputs = more.pop("inputs", [x, f"{prefix}W", f"{prefix}R", f"{prefix}B"])
    return helper.make_node("LSTM", inputs, more.pop("outputs", made), name, hidden_size=HIDDEN, **more)


def plain_model(seed: int = 0) -> tuple[Any, LSTMParameters]:
    """One LSTM on the model's input x, and its parameters."""
    weights = torch_weights(seed)
    x = value("x", "time", "sequence", FEATURES)
    return model_of(graph_of([lstm_node()], [x], weights=operator_weights(weights))), LSTMParameters(weights)


def branching_model(*, names: tuple[str, str] = ("rnn", "rnn")) -> tuple[Any, LSTMParameters, LSTMParameters]:
    """An LSTM in each branch of an If on the input ``which``; both read x and the states h and c from outside."""
    branches, parameters = [], []
    for k, (side, name) in enumerate(zip(("then", "else"), names, strict=True)):
        weights = torch_weights(k)
        inputs = ["x", f"{side}W", f"{side}R", f"{side}B", "", "h", "c"]
        node = lstm_node(name, prefix=side, inputs=inputs)
        outs = [f"{side}{out}" for out in ("y", "h_n", "c_n")]
        branches.append(graph_of([node], [], outs, weights=operator_weights(weights, side), name=side))
        parameters.append(LSTMParameters(weights))
    choice = helper.make_node(
        "If", ["which"], ["y", "h_n", "c_n"], "choice", else_branch=branches[1], then_branch=branches[0]
    )
    states = [value(name, 1, "sequence", HIDDEN) for name in "hc"]
    inputs = [value("x", "time", "sequence", FEATURES), value("which", dtype=9), *states]
    return model_of(graph_of([choice], inputs, ["y", "h_n", "c_n"])), *parameters


def step_nodes(
    weights: dict[str, np.ndarray], x: str, h: str, c: str, *, prefix: str = "", order: str = "ifgo", gemm: bool = True
) -> list[Any]:
    """One step of an LSTM taken apart, over the tensors ``weight_ih`` and so on; it makes h_n and c_n."""
    p, node = prefix, helper.make_node
    if gemm:
        nodes = [
            node("Gemm", [h, "rnn.weight_hh", "rnn.bias_hh"], [f"{p}from_h"], transB=1),
            node("Gemm", [x, "rnn.weight_ih", "rnn.bias_ih"], [f"{p}from_x"], transB=1),
            node("Add", [f"{p}from_h", f"{p}from_x"], [f"{p}pre"]),
        ]
    else:
        nodes = [
            node("MatMul", [x, "A"], [f"{p}from_x"]),
            node("Add", ["a", f"{p}from_x"], [f"{p}with_bias"]),
            node("MatMul", [h, "B"], [f"{p}from_h"]),
            node("Add", [f"{p}with_bias", f"{p}from_h"], [f"{p}pre"]),
        ]
    nodes.append(node("Split", [f"{p}pre"], [f"{p}{letter}_pre" for letter in order], axis=1))
    squash = {"i": "Sigmoid", "f": "Sigmoid", "g": "Tanh", "o": "Sigmoid"}
    nodes += [node(squash[letter], [f"{p}{letter}_pre"], [f"{p}{letter}"]) for letter in "ifgo"]
    nodes += [
        node("Mul", [f"{p}f", c], [f"{p}kept"]),
        node("Mul", [f"{p}i", f"{p}g"], [f"{p}written"]),
        node("Add", [f"{p}kept", f"{p}written"], [f"{p}c_n"]),
        node("Tanh", [f"{p}c_n"], [f"{p}sign"]),
        node("Mul", [f"{p}o", f"{p}sign"], [f"{p}h_n"], f"{p}expose"),
    ]
    return nodes


def step_weights(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"rnn.{name.removesuffix('_l0')}": w for name, w in weights.items()}
