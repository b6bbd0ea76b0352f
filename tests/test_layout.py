"""Layouts: round trips, and the same LSTM written for somebody else's implementation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallycell.errors import ParameterError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.layout import Layout
from tallycell.parameters import LSTMParameters

ORDERS = ["".join(order) for order in itertools.permutations("ifgo")]


def layer_weights(biases: int, *, seed: int = 0, hidden: int = 3, peepholes: bool = False) -> dict[str, np.ndarray]:
    """Random weights of one layer in tallycell's layout."""
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih": (4 * hidden, 2), "weight_hh": (4 * hidden, hidden)}
    shapes |= {"bias_ih": (4 * hidden,), "bias_hh": (4 * hidden,)} if biases else {}
    shapes |= {"weight_ch": (3 * hidden,)} if peepholes else {}
    weights = {kind: rng.normal(size=shape) for kind, shape in shapes.items()}
    if biases == 1:
        weights["bias_hh"] = np.zeros(4 * hidden)
    return weights


def run(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Output h of one layer in tallycell's layout."""
    ((steps,),) = run_stack(LSTMParameters({f"{kind}_l0": w for kind, w in weights.items()}), StackInput(x))
    return steps.h


def test_there_are_24_orders():
    assert len(ORDERS) == 24


@given(
    order=st.sampled_from(ORDERS),
    transposed=st.booleans(),
    biases=st.sampled_from([0, 1, 2]),
    peepholes=st.booleans(),
    hidden=st.integers(1, 5),
)
def test_read_undoes_write_bit_for_bit(order, transposed, biases, peepholes, hidden):
    layout = Layout(order, transposed=transposed, biases=biases)
    ours = layer_weights(biases, hidden=hidden, peepholes=peepholes)
    back = layout.read(layout.write(ours))
    assert back.keys() == ours.keys()
    for kind, weight in ours.items():
        np.testing.assert_array_equal(back[kind], weight)


@given(order=st.sampled_from(ORDERS), forget_bias=st.floats(-2, 2), biases=st.sampled_from([1, 2]))
def test_read_undoes_write_with_a_forget_bias(order, forget_bias, biases):
    layout = Layout(order, biases=biases, forget_bias=forget_bias)
    ours = layer_weights(biases)
    back = layout.read(layout.write(ours))
    for kind, weight in ours.items():
        # Adding and taking away again rounds twice, at a size of at most 2 + 4.
        np.testing.assert_allclose(back[kind], weight, rtol=0, atol=2 * 6 * np.finfo(float).eps)


@given(order=st.sampled_from(ORDERS), transposed=st.booleans())
def test_write_undoes_read(order, transposed):
    layout = Layout(order, transposed=transposed)
    theirs = layout.write(layer_weights(2, peepholes=True))
    back = layout.write(layout.read(theirs))
    for kind, weight in theirs.items():
        np.testing.assert_array_equal(back[kind], weight)


def test_two_biases_are_summed_where_the_layout_has_one():
    ours = layer_weights(2)
    theirs = Layout("igfo", biases=1).write(ours)
    i, g, f, o = np.split(theirs["bias"], 4)
    np.testing.assert_array_equal(np.concatenate([i, f, g, o]), ours["bias_ih"] + ours["bias_hh"])


def test_blocks_stand_in_the_order_of_the_letters():
    ours = {
        "weight_ih": np.repeat([0.0, 1, 2, 3], 2)[:, None],
        "weight_hh": np.zeros((8, 2)),
        "weight_ch": np.repeat([0.0, 1, 3], 2),
    }
    theirs = Layout("oigf", biases=0).write(ours)
    assert theirs["weight_ih"].ravel().tolist() == [3, 3, 0, 0, 2, 2, 1, 1]
    assert theirs["weight_ch"].tolist() == [3, 3, 0, 0, 1, 1]  # without g


def test_a_projection_is_turned_but_not_reordered():
    ours = layer_weights(0) | {"weight_hr": np.arange(6.0).reshape(2, 3)}
    ours["weight_hh"] = ours["weight_hh"][:, :2]
    theirs = Layout("ogif", transposed=True, biases=0).write(ours)
    np.testing.assert_array_equal(theirs["weight_hr"], ours["weight_hr"].T)
    assert theirs["weight_hh"].shape == (2, 12)


def test_onnx_runtime_computes_the_same_from_weights_written_in_iofg():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    ours = {kind: weight.astype(np.float32) for kind, weight in layer_weights(2, peepholes=True).items()}
    theirs = Layout("iofg").write(ours)
    constants = {
        "W": theirs["weight_ih"][None],
        "R": theirs["weight_hh"][None],
        "B": np.concatenate([theirs["bias_ih"], theirs["bias_hh"]])[None],
        "P": theirs["weight_ch"][None],
    }
    x = np.random.default_rng(1).normal(size=(7, 2, 2)).astype(np.float32)
    node = onnx.helper.make_node("LSTM", ["X", "W", "R", "B", "", "", "", "P"], ["Y"], hidden_size=3)
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, (7, 1, 2, 3))],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    (y,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"X": x})
    np.testing.assert_allclose(run(ours, x), y[:, 0], rtol=0, atol=1e-6)  # both float32


def test_torch_computes_the_same_from_weights_written_in_ifgo():
    torch = pytest.importorskip("torch")
    ours = layer_weights(2)
    lstm = torch.nn.LSTM(2, 3, dtype=torch.float64)
    lstm.load_state_dict({f"{kind}_l0": torch.from_numpy(w) for kind, w in Layout("ifgo").write(ours).items()})
    x = np.random.default_rng(1).normal(size=(7, 2, 2))
    np.testing.assert_allclose(run(ours, x), lstm(torch.from_numpy(x))[0].detach().numpy(), rtol=0, atol=1e-14)


def test_equations_of_basic_lstm_cell_give_the_same_from_weights_written_in_igfo():
    # TensorFlow 1's BasicLSTMCell: i, j, f, o = split(concat([x, h]) @ kernel + bias); j is g, and
    # c' = c sigmoid(f + forget_bias) + sigmoid(i) tanh(j); h' = tanh(c') sigmoid(o).
    ours = layer_weights(1)
    theirs = Layout("igfo", transposed=True, biases=1, forget_bias=1.0).write(ours)
    kernel = np.concatenate([theirs["weight_ih"], theirs["weight_hh"]])
    x = np.random.default_rng(1).normal(size=(7, 2, 2))
    h = c = np.zeros((2, 3))
    outputs = []
    for row in x:
        i, j, f, o = np.split(np.concatenate([row, h], 1) @ kernel + theirs["bias"], 4, axis=1)
        c = c / (1 + np.exp(-f - 1.0)) + np.tanh(j) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h)
    np.testing.assert_allclose(run(ours, x), outputs, rtol=0, atol=1e-14)


def test_dtype_is_kept_also_with_a_forget_bias():
    ours = {kind: weight.astype(np.float32) for kind, weight in layer_weights(1).items()}
    theirs = Layout("igfo", biases=1, forget_bias=1.0).write(ours)
    assert {weight.dtype for weight in theirs.values()} == {np.dtype(np.float32)}
    assert {w.dtype for w in Layout("igfo", biases=1, forget_bias=1.0).read(theirs).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("order", ["", "ifg", "ifgg", "ifgoo", "icfo", "IFGO"])
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(ParameterError, match=f"gate order '{order}'; expected the letters i, f, g and o, each once"):
        Layout(order)


def test_a_number_of_biases_that_no_layer_has_is_refused():
    with pytest.raises(ParameterError, match="3 biases; a layer has 0, 1 or 2"):
        Layout(biases=3)
    with pytest.raises(ParameterError, match="a forget bias needs a layout with at least one bias"):
        Layout(biases=0, forget_bias=1.0)


def test_weights_that_do_not_fit_the_layout_are_refused():
    text = "got bias_hh, bias_ih, weight_hh, weight_ih, expected bias, weight_hh, weight_ih for a layout of 1 biases"
    with pytest.raises(ParameterError, match=text):
        Layout(biases=1).read(layer_weights(2))
    with pytest.raises(ParameterError, match="expected bias_hh, bias_ih, weight_hh, weight_ih"):
        Layout(biases=1).write(layer_weights(0))
    with pytest.raises(ParameterError, match="a weight has 7 rows, which 4 gates cannot share evenly"):
        Layout(biases=0).read({"weight_ih": np.zeros((7, 1)), "weight_hh": np.zeros((8, 2))})
