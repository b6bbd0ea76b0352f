"""LSTMs written as ONNX: ONNX Runtime runs them, and they come back weight for weight."""

from typing import Any

import numpy as np
import pytest

import tallycell as tc
from onnx_models import onnx
from parity import run_lstm
from tallycell.errors import InputError, ParameterError
from tallycell.loaders.onnx.export import to_onnx
from tallycell.names import parameter_name
from tallycell.parameters import Activations, LSTMParameters

runtime = pytest.importorskip("onnxruntime")

FEATURES, HIDDEN = 3, 4
FUNCTIONS = [
    "relu", "tanh", "sigmoid", "softsign", "softplus", ("affine", 0.5, -0.25), ("leaky_relu", 0.1),
    ("thresholded_relu", 0.3), ("scaled_tanh", 1.5, 0.7), ("hard_sigmoid", 0.3, 0.4), ("elu", 0.8),
]  # fmt: skip


def function(one: Any) -> Any:
    name, *constants = (one,) if isinstance(one, str) else one
    return tc.activation(name, **dict(zip(("alpha", "beta"), constants, strict=False)))


def make(layers: int = 1, directions: int = 1, *, seed: int = 0, peepholes: bool = False, bias: bool = True,
         activations: Any = None, **more: Any) -> LSTMParameters:  # fmt: skip
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in range(layers):
        features = FEATURES if layer == 0 else directions * HIDDEN
        shapes = {"weight_ih": (4 * HIDDEN, features), "weight_hh": (4 * HIDDEN, HIDDEN)}
        shapes |= {"bias_ih": (4 * HIDDEN,), "bias_hh": (4 * HIDDEN,)} if bias else {}
        shapes |= {"weight_ch": (3 * HIDDEN,)} if peepholes else {}
        for direction in range(directions):
            for kind, shape in shapes.items():
                w = rng.normal(size=shape).astype(np.float32) / 4  # small: some activations have no bound
                weights[parameter_name(kind, layer, direction)] = w
    return LSTMParameters(weights, activations or Activations(), **more)


def layer_of(parameters: LSTMParameters, layer: int) -> LSTMParameters:
    """One layer as an LSTM of its own, as the file has it."""
    part = f"_l{layer}"
    weights = {
        n.replace(part, "_l0"): w for n, w in parameters.weights.items() if n.removesuffix("_reverse").endswith(part)
    }
    return LSTMParameters(weights, parameters.activations, parameters.forget_gate, parameters.clip_pre)


def slots_at_random(rng: np.random.Generator) -> Activations:
    return Activations(*(function(FUNCTIONS[int(rng.integers(len(FUNCTIONS)))]) for _ in range(3)))


def drawn(seed: int) -> LSTMParameters:
    rng = np.random.default_rng(seed)
    directions = int(rng.integers(1, 3))
    return make(
        int(rng.integers(1, 4)), directions, seed=seed, peepholes=bool(rng.integers(2)), bias=bool(rng.integers(2)),
        activations=tuple(slots_at_random(rng) for _ in range(directions)) if rng.integers(2) else None,
        forget_gate="coupled" if rng.integers(3) == 0 else "own", clip_pre=0.7 if rng.integers(2) else None,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(24))
def test_onnx_runtime_gives_what_the_equations_give_and_the_weights_come_back(tmp_path, seed):
    parameters, path = drawn(seed), tmp_path / "lstm.onnx"
    to_onnx(parameters, path)
    onnx.checker.check_model(str(path), full_check=True)
    loaded = tc.load(path)
    assert list(loaded) == [f"lstm_l{k}" for k in range(parameters.num_layers)]
    for k, one in enumerate(loaded.values()):
        assert one == layer_of(parameters, k)
    rng = np.random.default_rng(seed + 100)
    states = parameters.num_layers * parameters.num_directions
    x = rng.normal(size=(4, 2, FEATURES)).astype(np.float32)
    h, c = (rng.normal(size=(states, 2, HIDDEN)).astype(np.float32) for _ in range(2))
    session = runtime.InferenceSession(path)
    output, h_n, c_n = session.run(["output", "h_n", "c_n"], {"input": x, "h_0": h, "c_0": c})
    for k in range(2):
        ours = run_lstm(parameters, x[:, k], (h[:, k], c[:, k]))
        assert np.isfinite(output).all()
        assert np.abs(ours - output[:, k]).max() / (1 + np.abs(output).max()) <= 1e-5
    assert h_n.shape == c_n.shape == h.shape
    assert np.array_equal(h_n[-parameters.num_directions], output[-1, :, :HIDDEN])  # the last layer, forward


def test_the_draw_covers_every_option():
    drawn_ones = [drawn(seed) for seed in range(24)]
    for of in ("num_layers", "num_directions", "peepholes", "bias", "forget_gate", "clip_pre"):
        assert len({getattr(one, of) for one in drawn_ones}) > 1, of
    names = {getattr(one.slots(), slot).name for one in drawn_ones for slot in ("gate", "cell", "hidden")}
    assert {function(one).name for one in FUNCTIONS} == names


def test_what_is_another_function_of_onnx_is_written_as_that(tmp_path):
    slots = Activations(tc.activation("hard_sigmoid_keras2"), tc.activation("identity"), tc.activation("tanh"))
    to_onnx(make(activations=slots), tmp_path / "lstm.onnx")
    back = tc.load(tmp_path / "lstm.onnx").lstm.slots()
    assert back.gate == tc.activation("hard_sigmoid", alpha=0.2, beta=0.5)
    assert back.cell == tc.activation("affine", alpha=1.0, beta=0.0)


def test_float64_comes_back_whole(tmp_path):
    parameters = make(2, 2).astype("float64")
    to_onnx(parameters, tmp_path / "lstm.onnx")
    assert tc.load(tmp_path / "lstm.onnx")["lstm_l1"] == layer_of(parameters, 1)


def test_what_onnx_cannot_express_is_an_error_that_names_it(tmp_path):
    weights = {"weight_ih_l0": np.ones((16, 3)), "weight_hh_l0": np.ones((16, 2)), "weight_hr_l0": np.ones((2, 4))}
    slots = Activations(cell=tc.activation("sine"))
    with pytest.raises(ParameterError) as caught:
        to_onnx(LSTMParameters(weights, slots, "none", clip_cell=3.0), tmp_path / "lstm.onnx")
    assert str(caught.value) == (
        "ONNX cannot express a projection (proj_size), clip_cell (its clip bounds pre-activations), forget_gate "
        "'none', activation 'sine'; change the LSTM"
    )
    assert not (tmp_path / "lstm.onnx").exists()
    with pytest.raises(InputError, match="cannot write"):
        to_onnx(make(), tmp_path / "none" / "lstm.onnx")
