"""Activations against torch, torch's autograd and ONNX Runtime; their ranges, limits and saturation."""

import copy
import math
import pickle
from collections.abc import Callable
from types import FunctionType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tallycell.activations as module
from tallycell.activations import Activation, activation, activation_names, register_activation
from tallycell.errors import ActivationError

torch = pytest.importorskip("torch")
F = torch.nn.functional

# Every built-in, with the function of the same meaning in torch.
IN_TORCH: dict[str, tuple[Activation, Callable]] = {
    "sigmoid": (activation("sigmoid"), torch.sigmoid),
    "tanh": (activation("tanh"), torch.tanh),
    "relu": (activation("relu"), torch.relu),
    "affine": (activation("affine"), lambda x: x),
    "affine -1.5 0.3": (activation("affine", alpha=-1.5, beta=0.3), lambda x: -1.5 * x + 0.3),
    "identity": (activation("identity"), lambda x: x * 1),
    "leaky_relu": (activation("leaky_relu"), F.leaky_relu),
    "leaky_relu 0.3": (activation("leaky_relu", alpha=0.3), lambda x: F.leaky_relu(x, 0.3)),
    "leaky_relu -0.5": (activation("leaky_relu", alpha=-0.5), lambda x: F.leaky_relu(x, -0.5)),
    "thresholded_relu": (activation("thresholded_relu"), lambda x: F.threshold(x, 1.0, 0.0)),
    "thresholded_relu -0.7": (activation("thresholded_relu", alpha=-0.7), lambda x: F.threshold(x, -0.7, 0.0)),
    "scaled_tanh": (activation("scaled_tanh"), torch.tanh),
    "scaled_tanh 1.7 -0.6": (
        activation("scaled_tanh", alpha=1.7159, beta=-0.6),
        lambda x: 1.7159 * torch.tanh(-0.6 * x),
    ),
    "hard_sigmoid": (activation("hard_sigmoid"), lambda x: torch.clamp(0.2 * x + 0.5, 0, 1)),
    "hard_sigmoid 0.4 0.3": (
        activation("hard_sigmoid", alpha=0.4, beta=0.3),
        lambda x: torch.clamp(0.4 * x + 0.3, 0, 1),
    ),
    "hard_sigmoid_keras2": (activation("hard_sigmoid_keras2"), lambda x: torch.clamp(0.2 * x + 0.5, 0, 1)),
    "hard_sigmoid_keras3": (activation("hard_sigmoid_keras3"), lambda x: torch.clamp(x / 6 + 0.5, 0, 1)),
    "hard_tanh": (activation("hard_tanh"), F.hardtanh),
    "elu": (activation("elu"), F.elu),
    "elu 0.4": (activation("elu", alpha=0.4), lambda x: F.elu(x, 0.4)),
    "elu -0.4": (activation("elu", alpha=-0.4), lambda x: F.elu(x, -0.4)),
    "softsign": (activation("softsign"), F.softsign),
    "softplus": (activation("softplus"), F.softplus),
    "sine": (activation("sine"), torch.sin),
}  # fmt: skip
CASES = pytest.mark.parametrize(("ours", "theirs"), IN_TORCH.values(), ids=IN_TORCH.keys())
OURS = pytest.mark.parametrize("ours", [case[0] for case in IN_TORCH.values()], ids=IN_TORCH.keys())

# Two correct roundings of exp and tanh differ by a few units in the last place.
ULPS = {np.float32: 1e-6, np.float64: 1e-14}


def points(activation: Activation) -> np.ndarray:
    """A grid from -12 to 12 without the kinks and their neighbourhood."""
    x = np.linspace(-12, 12, 4001) + 1e-3 * np.pi
    return x[np.all([np.abs(x - kink) > 1e-3 for kink in (*activation.kinks, math.inf)], axis=0)]


def test_every_built_in_is_compared_with_torch():
    built_in = {name for name in activation_names() if name in vars(module)}
    assert built_in == {ours.name for ours, _ in IN_TORCH.values()}
    assert len(built_in) == 16


@CASES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_is_torchs(ours, theirs, dtype):
    x = points(ours).astype(dtype)
    value = ours(x)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, theirs(torch.from_numpy(x)).numpy(), rtol=ULPS[dtype], atol=ULPS[dtype])


@CASES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivative_is_that_of_torchs_autograd(ours, theirs, dtype):
    x = points(ours).astype(dtype)
    leaf = torch.from_numpy(x).requires_grad_()
    theirs(leaf).sum().backward()
    derivative = ours.derivative(x, ours(x))
    assert derivative.dtype == dtype
    # 1 - y y cancels near saturation: its absolute error is that of y.
    np.testing.assert_allclose(derivative, leaf.grad.numpy(), rtol=0, atol=4 * ULPS[dtype])


@OURS
def test_derivative_does_not_look_at_x_where_the_output_suffices(ours):
    x = points(ours)
    if ours.from_output:
        np.testing.assert_array_equal(ours.derivative(None, ours(x)), ours.derivative(x, ours(x)))
    else:
        with pytest.raises(TypeError):
            ours.derivative(None, ours(x))


@OURS
def test_python_numbers_are_taken(ours):
    for x in (-0.25, 0.25, 3.0):
        assert float(ours(x)) == pytest.approx(float(ours(np.array([x]))[0]), rel=1e-15)
        y = float(ours(x))
        assert float(ours.derivative(x, y)) == pytest.approx(float(ours.derivative(np.array([x]), np.array([y]))[0]))


@OURS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_hold(ours, dtype):
    sides = ((-math.inf, -1e4, ours.left), (math.inf, 1e4, ours.right))
    for infinite, far, limit in sides:
        if math.isnan(limit):
            assert ours.name == "sine"
            continue
        assert float(ours(np.array([infinite], dtype))[0]) == pytest.approx(limit)
        value = float(ours(np.array([far], dtype))[0])
        if math.isinf(limit):
            assert math.copysign(1, value) == math.copysign(1, limit)
            assert abs(value) >= 99  # the smallest slope here is leaky_relu's 0.01
        else:
            assert value == pytest.approx(limit, abs=1.1e-4)  # softsign is 1e-4 from its limit


@OURS
def test_nan_stays_nan(ours):
    assert np.isnan(ours(np.array([np.nan, np.nan]))).all()


@OURS
@given(x=st.floats(-1e4, 1e4))
def test_value_stays_in_range(ours, x):
    low, high = ours.range
    assert low <= float(ours(np.float64(x))) <= high


MONOTONE = [ours for ours, _ in IN_TORCH.values() if ours.name != "sine" and ours.constants.get("alpha", 1) > 0]


@pytest.mark.parametrize("ours", MONOTONE, ids=repr)
@given(x=st.floats(-1e4, 1e4), step=st.floats(0, 100))
def test_a_larger_input_never_gives_a_smaller_value(ours, x, step):
    sign = 1 if ours.constants.get("beta", 1) >= 0 else -1
    lower, upper = ours(np.array([x, x + step]))
    # exp rounds to the nearest number, not always upward: allow it one unit in the last place.
    assert sign * (upper - lower) >= -2e-16 * max(abs(upper), 1)


def test_hard_sigmoid_of_keras_3_is_torchs():
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    # Torch's own derivative has a slope of 1/6 rounded to float32, so only the value is compared.
    np.testing.assert_allclose(activation("hard_sigmoid_keras3")(x.numpy()), F.hardsigmoid(x).numpy(), atol=1e-15)


def test_range_is_attained_or_approached():
    x = np.linspace(-1e4, 1e4, 200_001)
    for ours, _ in IN_TORCH.values():
        value = ours(x)
        for bound, found in zip(ours.range, (value.min(), value.max()), strict=True):
            if math.isfinite(bound):
                assert found == pytest.approx(bound, abs=1.1e-4), ours
            else:
                assert abs(found) >= 99, ours


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("sigmoid", 0.1, 0.9),
        ("tanh", -0.9, 0.9),
        ("hard_sigmoid", 0.1, 0.9),
        ("hard_tanh", -0.9, 0.9),
        ("softsign", -0.9, 0.9),
        ("relu", 0.1, None),
        ("elu", -0.9, None),
        ("softplus", 0.1, None),
        ("identity", None, None),
        ("leaky_relu", None, None),
        ("sine", None, None),
    ],
)
def test_saturated_is_within_a_tenth_of_the_range_from_a_finite_limit(name, left, right):
    ours = activation(name)
    low, high = max(ours.range[0], -3.0), min(ours.range[1], 3.0)
    y = np.linspace(low, high, 1234)
    np.testing.assert_array_equal(ours.saturated_left(y), np.zeros(y.shape, bool) if left is None else y < left)
    np.testing.assert_array_equal(ours.saturated_right(y), np.zeros(y.shape, bool) if right is None else y > right)


def test_saturation_threshold_is_a_parameter_and_nan_is_not_saturated():
    sigmoid = activation("sigmoid")
    y = np.array([0.04, 0.06, 0.94, 0.96, np.nan])
    assert sigmoid.saturated_left(y, 0.05).tolist() == [True, False, False, False, False]
    assert sigmoid.saturated_right(y, 0.05).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("operator", "ours", "attributes"),
    [
        ("Sigmoid", activation("sigmoid"), {}),
        ("Tanh", activation("tanh"), {}),
        ("Relu", activation("relu"), {}),
        ("LeakyRelu", activation("leaky_relu", alpha=0.3), {"alpha": 0.3}),
        ("LeakyRelu", activation("leaky_relu"), {}),
        ("ThresholdedRelu", activation("thresholded_relu", alpha=0.6), {"alpha": 0.6}),
        ("ThresholdedRelu", activation("thresholded_relu"), {}),
        ("HardSigmoid", activation("hard_sigmoid", alpha=0.4, beta=0.3), {"alpha": 0.4, "beta": 0.3}),
        ("HardSigmoid", activation("hard_sigmoid"), {}),
        ("Elu", activation("elu", alpha=0.7), {"alpha": 0.7}),
        ("Elu", activation("elu"), {}),
        ("Softsign", activation("softsign"), {}),
        ("Softplus", activation("softplus"), {}),
    ],
)
def test_value_and_default_constants_are_those_of_the_onnx_operator(operator, ours, attributes):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy"]
    node = onnx.helper.make_node(operator, ["x"], ["y"], **attributes)
    graph = onnx.helper.make_graph([node], "one", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    x = points(ours).astype(np.float32)
    (theirs,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    # ONNX Runtime approximates sigmoid and tanh by polynomials, to about 3e-7; so does its Elu by exp(x) - 1.
    np.testing.assert_allclose(ours(x), theirs, rtol=1e-6, atol=1e-6)


def test_kinks_are_where_the_derivative_jumps():
    for ours, _ in IN_TORCH.values():
        x = points(ours)
        derivative = ours.derivative(x, ours(x))
        gaps = np.diff(x)
        jumps = np.abs(np.diff(derivative)) > 2 * gaps * 1.01  # no second derivative here is above 2
        at = {round(float(kink), 1) for kink in ours.kinks}
        assert {round(float(x[k] + x[k + 1]) / 2, 1) for k in np.flatnonzero(jumps)} == at, ours


@OURS
def test_pickle_and_deepcopy_give_an_equal_activation(ours):
    x = points(ours)
    for twin in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        assert twin == ours
        assert hash(twin) == hash(ours)
        np.testing.assert_array_equal(twin(x), ours(x))


def test_equality_is_by_name_and_constants():
    assert activation("elu") == activation("Elu", alpha=1.0)
    assert activation("elu") != activation("elu", alpha=0.5)
    assert activation("hard_sigmoid") != activation("hard_sigmoid_keras2")
    assert activation("tanh") != "tanh"


def test_repr_makes_the_activation_again():
    for ours, _ in IN_TORCH.values():
        assert eval(repr(ours)) == ours
    assert repr(activation("elu", alpha=0.5)) == "activation('elu', alpha=0.5)"


def test_names_do_not_depend_on_case_or_underscores():
    assert activation("HardSigmoid") == activation("hard_sigmoid") == activation("HARD_SIGMOID")
    assert activation(activation("sine")) == activation("sine")


class TestRegisterActivation:
    def test_a_registered_activation_is_found_by_name_and_pickled(self):
        cube = register_activation("cube", lambda x: x**3, lambda x, y: 3 * x**2, left=-math.inf, right=math.inf)
        assert activation("Cube") is cube
        assert pickle.loads(pickle.dumps(cube)) is cube
        assert "cube" in activation_names()
        assert cube.saturated_right(np.array([5.0])).tolist() == [False]

    def test_a_taken_name_is_refused(self):
        register_activation("cube", lambda x: x**3, lambda x, y: 3 * x**2)
        for name in ("cube", "Cube", "sigmoid", "HardTanh"):
            with pytest.raises(ActivationError, match=f"an activation called '{name}' exists already; choose another"):
                register_activation(name, np.tanh, lambda x, y: 1 - y * y)

    def test_one_without_stated_limits_runs_but_is_refused_by_readings(self):
        cube = register_activation("cube", lambda x: x**3, lambda x, y: 3 * x**2)
        assert cube(2.0) == 8.0
        text = (
            "activation 'cube' does not state its left and right limit, so nobody can say when it saturates; give left="
        )
        for reading in (cube.require_limits, lambda: cube.saturated_left(np.ones(1))):
            with pytest.raises(ActivationError, match=text):
                reading()
        half = register_activation("half", np.tanh, lambda x, y: 1 - y * y, right=1.0)
        with pytest.raises(ActivationError, match="'half' does not state its left limit"):
            half.require_limits()

    def test_a_range_upside_down_is_refused_and_not_registered(self):
        with pytest.raises(ActivationError, match=r"has the range \(1, 0\); give \(low, high\)"):
            register_activation("odd", np.tanh, lambda x, y: 1 - y * y, range=(1, 0))
        assert "odd" not in activation_names()


def test_built_ins_all_state_their_limits():
    for ours, _ in IN_TORCH.values():
        ours.require_limits()


def test_an_unknown_name_is_answered_with_those_that_are_known():
    with pytest.raises(ActivationError, match=r"no activation is called 'swish'; known are affine, elu, .*sigmoid.*"):
        activation("swish")


def test_a_constant_that_is_not_the_functions_is_answered_with_those_it_has():
    with pytest.raises(ActivationError, match=r"'elu' got the constants 'beta'; those it has are: alpha"):
        activation("elu", beta=1.0)
    with pytest.raises(ActivationError, match=r"'tanh' got the constants 'alpha'; those it has are: none"):
        activation("tanh", alpha=1.0)


def test_fingerprint_changes_with_a_function_or_number_that_is_only_called():
    def fingerprint(**scope):
        value = FunctionType((lambda x: helper(x, RATE)).__code__, scope)  # noqa: F821  named in the scope
        return Activation("own_steep", value, lambda x, y: 1 - y * y, (-1.0, 1.0)).fingerprint

    def gentle(x, slope):
        return np.tanh(slope * x)

    def steep(x, slope):
        return np.tanh(slope + x)

    assert fingerprint(helper=gentle, RATE=2.0) == fingerprint(helper=gentle, RATE=2.0)
    assert len({fingerprint(helper=f, RATE=rate) for f in (gentle, steep) for rate in (2.0, 3.0)}) == 4
