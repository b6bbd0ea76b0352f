"""The equations and the reference kernel against torch.nn.LSTM, and their gradients against finite differences."""

import math

import numpy as np
import pytest

from tallycell import activations
from tallycell.activations import activation, activation_names
from tallycell.kernels.interface import LayerGradients, LayerInput, Steps, StepsGradient
from tallycell.kernels.reference import lstm_backward, lstm_forward
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.names import GATES, PRE_ACTIVATIONS, STEP_VARIABLES
from tallycell.parameters import Activations, LayerParameters, LSTMParameters

torch = pytest.importorskip("torch")

EXACT = 1e-12  # float64, and at most some hundred roundings one after the other
RETURNED = (*STEP_VARIABLES, "h_n", "c_n")


def difference(a, b) -> float:
    """Largest |a - b| / (1 + max |b|)."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / (1 + np.abs(b).max()))


# --- against torch.nn.LSTM


def torch_lstm(**arguments):
    torch.manual_seed(7)
    return torch.nn.LSTM(**arguments, dtype=torch.float64)


def parameters_of(lstm) -> LSTMParameters:
    return LSTMParameters({name: x.numpy() for name, x in lstm.state_dict().items()})


def states(lstm, sequences: int):
    count = lstm.num_layers * (2 if lstm.bidirectional else 1)
    rng = np.random.default_rng(5)
    sizes = (lstm.proj_size or lstm.hidden_size, lstm.hidden_size)
    return tuple(rng.normal(size=(count, sequences, size)) for size in sizes)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("projection", [0, 2])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("hidden", [3, 63])
def test_outputs_and_states_are_torchs(layers, bidirectional, projection, ragged, hidden):
    lstm = torch_lstm(
        input_size=4, hidden_size=hidden, num_layers=layers, bidirectional=bidirectional, proj_size=projection
    )
    x = np.random.default_rng(6).normal(size=(9, 3, 4))
    lengths = np.array([9, 1, 5]) if ragged else None
    h_0, c_0 = states(lstm, 3)
    theirs_x = torch.from_numpy(x)
    if ragged:
        theirs_x = torch.nn.utils.rnn.pack_padded_sequence(theirs_x, torch.from_numpy(lengths), enforce_sorted=False)
    with torch.no_grad():
        output, (h_n, c_n) = lstm(theirs_x, (torch.from_numpy(h_0), torch.from_numpy(c_0)))
    if ragged:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, padding_value=math.nan)
    ours = list(run_stack(parameters_of(lstm), StackInput(x, h_0, c_0, lengths)))
    h = np.concatenate([steps.h for steps in ours[-1]], axis=-1)
    np.testing.assert_array_equal(np.isnan(h), np.isnan(output.numpy()))  # padding, and nothing else
    assert difference(np.nan_to_num(h), np.nan_to_num(output.numpy())) <= EXACT
    assert difference(np.stack([s.h_n for layer in ours for s in layer]), h_n.numpy()) <= EXACT
    assert difference(np.stack([s.c_n for layer in ours for s in layer]), c_n.numpy()) <= EXACT


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_is_in_the_dtype_of_the_weights(dtype):
    parameters = parameters_of(torch_lstm(input_size=4, hidden_size=3, proj_size=2)).astype(dtype)
    x = np.ones((2, 3, 4), dtype)
    ((steps,),) = run_stack(parameters, StackInput(x), keep_pre=True)
    assert {getattr(steps, name).dtype for name in (*RETURNED, *PRE_ACTIVATIONS)} == {np.dtype(dtype)}
    inputs = LayerInput(x, np.zeros((3, 2), dtype), np.zeros((3, 3), dtype))
    back = lstm_backward(parameters.layer(0), inputs, steps, StepsGradient(h=np.ones_like(steps.h)))
    found = [value for value in vars(back).values() if value is not None]
    assert {value.dtype for value in found} == {np.dtype(dtype)}
    assert len(found) == 7


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("projection", [0, 2])
@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_are_those_of_torchs_autograd(reverse, projection, ragged):
    lstm = torch_lstm(input_size=4, hidden_size=5, proj_size=projection, bidirectional=True)
    size = projection or 5
    rng = np.random.default_rng(8)
    x, lengths = rng.normal(size=(7, 3, 4)), np.array([2, 7, 4]) if ragged else None
    h_0, c_0 = states(lstm, 3)
    leaves = [torch.from_numpy(value).requires_grad_() for value in (x, h_0, c_0)]
    read = leaves[0]
    if ragged:
        read = torch.nn.utils.rnn.pack_padded_sequence(read, torch.from_numpy(lengths), enforce_sorted=False)
    output, (h_n, c_n) = lstm(read, tuple(leaves[1:]))
    if ragged:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output)
    d = int(reverse)
    weights = [torch.from_numpy(rng.normal(size=shape)) for shape in ((7, 3, size), (3, size), (3, 5))]
    chosen = (output[..., d * size : (d + 1) * size], h_n[d], c_n[d])
    sum((value * weight).sum() for value, weight in zip(chosen, weights, strict=True)).backward()

    layer = parameters_of(lstm).layer(0, d)
    inputs = LayerInput(x, h_0[d], c_0[d], lengths, reverse=reverse)
    steps = lstm_forward(layer, inputs, keep_pre=True)
    back = lstm_backward(
        layer, inputs, steps, StepsGradient(**dict(zip(("h", "h_n", "c_n"), map(np.asarray, weights), strict=True)))
    )
    name = "l0_reverse" if reverse else "l0"
    expected = {"x": leaves[0].grad, "h_0": leaves[1].grad[d], "c_0": leaves[2].grad[d]}
    expected |= {kind: getattr(lstm, f"{kind}_{name}").grad for kind in ("weight_ih", "weight_hh")}
    expected["bias"] = getattr(lstm, f"bias_hh_{name}").grad
    if projection:
        expected["weight_hr"] = getattr(lstm, f"weight_hr_{name}").grad
    for key, theirs in expected.items():
        assert difference(getattr(back, key), theirs.numpy()) <= EXACT, key
        assert np.abs(theirs.numpy()).max() > 1e-3, key


# --- gradients of the superset against finite differences


def random_layer(seed: int = 0, *, hidden: int = 2, projection: int = 0, peepholes: bool = False, **settings):
    """One layer of three features, and a size of weights at which nothing saturates."""
    rng = np.random.default_rng(seed)
    output = projection or hidden
    return LayerParameters(
        0.7 * rng.normal(size=(4 * hidden, 3)),
        0.7 * rng.normal(size=(4 * hidden, output)),
        0.7 * rng.normal(size=4 * hidden),
        0.7 * rng.normal(size=4 * hidden),
        rng.normal(size=(projection, hidden)) if projection else None,
        0.7 * rng.normal(size=3 * hidden) if peepholes else None,
        **settings,
    )


def random_inputs(layer: LayerParameters, seed: int = 1, **settings) -> LayerInput:
    rng = np.random.default_rng(seed)
    sequences = 2
    return LayerInput(
        rng.normal(size=(4, sequences, 3)),
        rng.normal(size=(sequences, layer.output_size)),
        rng.normal(size=(sequences, layer.hidden_size)),
        **settings,
    )


def changed(layer: LayerParameters, inputs: LayerInput, name: str, value: np.ndarray):
    """The same layer and inputs with one array replaced; ``bias`` is that of the input."""
    if name in ("x", "h_0", "c_0"):
        return layer, LayerInput(**vars(inputs) | {name: value})
    kept = {key: getattr(layer, key) for key in LayerParameters.__dataclass_fields__}
    return LayerParameters(**kept | {"bias_ih" if name == "bias" else name: value}), inputs


def numbers_kept_away_from(kinks: tuple[float, ...], values: np.ndarray) -> bool:
    return all(np.nanmin(np.abs(values - kink)) > 1e-4 for kink in kinks)


def is_smooth_here(layer: LayerParameters, steps: Steps) -> bool:
    """Whether no value is so near a kink that a finite difference would step over it."""
    bounds = () if layer.clip_pre is None else (-layer.clip_pre, layer.clip_pre)
    cell_bounds = () if layer.clip_cell is None else (-layer.clip_cell, layer.clip_cell)
    pre = {gate: getattr(steps, f"{gate}_pre") for gate in GATES}
    # What stands exactly on a bound was clipped, and stays clipped.
    free = {gate: np.where(np.isin(values, bounds), np.nan, values) for gate, values in pre.items()}
    return all(
        numbers_kept_away_from((*layer.activations.of(gate).kinks, *bounds), np.append(values, 1e9))
        for gate, values in free.items()
    ) and numbers_kept_away_from(
        (*layer.activations.hidden.kinks, *cell_bounds),
        np.append(np.where(np.isin(steps.c, cell_bounds), np.nan, steps.c), 1e9),
    )


def smooth_case(seeds=range(200), *, lengths=None, reverse=False, held=None, **settings):
    """The first random layer and input that stays away from kinks."""
    for seed in seeds:
        layer = random_layer(seed, **settings)
        inputs = random_inputs(layer, seed + 1000, lengths=lengths, reverse=reverse, held=held or {})
        steps = lstm_forward(layer, inputs, keep_pre=True)
        if is_smooth_here(layer, steps):
            return layer, inputs, steps
    raise AssertionError("no case away from the kinks was found")


def assert_gradients_are_finite_differences(layer: LayerParameters, inputs: LayerInput, steps: Steps) -> LayerGradients:
    """Compare every gradient with (L(x + e) - L(x - e)) / 2e, for a loss that weighs everything returned."""
    rng = np.random.default_rng(2)
    loss_weights = {name: rng.normal(size=getattr(steps, name).shape) for name in RETURNED}

    def loss(layer: LayerParameters, inputs: LayerInput) -> float:
        found = lstm_forward(layer, inputs)
        return sum(float(np.nansum(getattr(found, name) * weight)) for name, weight in loss_weights.items())

    back = lstm_backward(layer, inputs, steps, StepsGradient(**loss_weights))
    here = {"x": inputs.x, "h_0": inputs.h_0, "c_0": inputs.c_0, "bias": layer.bias_ih}
    here |= {kind: getattr(layer, kind) for kind in ("weight_ih", "weight_hh", "weight_hr", "weight_ch")}
    step = 1e-6
    for name, value in here.items():
        if value is None:
            assert getattr(back, name) is None
            continue
        numeric = np.zeros_like(value)
        for at in np.ndindex(value.shape):
            sides = []
            for sign in (1, -1):
                moved = value.copy()
                moved[at] += sign * step
                sides.append(loss(*changed(layer, inputs, name, moved)))
            numeric[at] = (sides[0] - sides[1]) / (2 * step)
        # The quotient loses about eps / step = 2e-10 times the loss, and step ** 2 times its third derivative.
        np.testing.assert_allclose(getattr(back, name), numeric, rtol=1e-6, atol=2e-8, err_msg=name)
    return back


SLOTS = ("gate", "cell", "hidden")
BUILT_IN = [name for name in activation_names() if name in vars(activations)]  # not those that tests register


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", BUILT_IN)
def test_gradients_of_every_activation_in_every_slot(name, slot):
    constants = {
        "leaky_relu": {"alpha": 0.3},
        "thresholded_relu": {"alpha": 0.2},
        "affine": {"alpha": 0.6, "beta": 0.1},
    }
    slots = Activations(**{slot: activation(name, **constants.get(name, {}))})
    assert_gradients_are_finite_differences(*smooth_case(activations=slots))


@pytest.mark.parametrize("forget_gate", ["own", "coupled", "none"])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("projection", [0, 3])
def test_gradients_of_peepholes_projection_and_forget_gates(forget_gate, peepholes, projection):
    case = smooth_case(forget_gate=forget_gate, peepholes=peepholes, projection=projection)
    back = assert_gradients_are_finite_differences(*case)
    rows_of_f = slice(2, 4)
    if forget_gate != "own":
        assert not back.weight_ih[rows_of_f].any()
        assert not back.bias[rows_of_f].any()
        assert back.weight_ch is None or not back.weight_ch[rows_of_f].any()


@pytest.mark.parametrize("forget_gate", ["own", "coupled", "none"])
@pytest.mark.parametrize("bounds", [{"clip_pre": 0.8}, {"clip_cell": 0.5}, {"clip_pre": 1.0, "clip_cell": 0.4}])
def test_gradients_of_clipped_values(bounds, forget_gate):
    layer, inputs, steps = smooth_case(peepholes=True, forget_gate=forget_gate, **bounds)
    for name, bound in bounds.items():
        values = steps.c if name == "clip_cell" else np.stack([steps.i_pre, steps.f_pre, steps.g_pre, steps.o_pre])
        assert (np.abs(values) <= bound).all()
        assert 0 < (np.abs(values) == bound).mean() < 1  # some are clipped, some are free
    assert_gradients_are_finite_differences(layer, inputs, steps)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("letter", STEP_VARIABLES)
@pytest.mark.parametrize("forget_gate", ["own", "coupled"])
def test_gradients_of_held_values(letter, reverse, forget_gate):
    held = np.full((4, 2), np.nan)
    held[1, 0], held[3, 1] = 0.3, -0.2
    layer, inputs, steps = smooth_case(held={letter: held}, reverse=reverse, peepholes=True, forget_gate=forget_gate)
    assert (getattr(steps, letter)[1, :, 0] == 0.3).all()
    assert (getattr(steps, letter)[3, :, 1] == -0.2).all()
    assert_gradients_are_finite_differences(layer, inputs, steps)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_with_lengths(reverse):
    layer, inputs, steps = smooth_case(lengths=np.array([4, 2]), reverse=reverse, peepholes=True, projection=2)
    assert not assert_gradients_are_finite_differences(layer, inputs, steps).x[2:, 1].any()


@pytest.mark.parametrize("name", RETURNED)
def test_gradient_to_each_returned_value_alone(name):
    layer, inputs, steps = smooth_case(peepholes=True)
    weight = np.random.default_rng(3).normal(size=getattr(steps, name).shape)
    back = lstm_backward(layer, inputs, steps, StepsGradient(**{name: weight}))
    value = inputs.x[0, 0, 0]
    sides = []
    for moved in (value + 1e-6, value - 1e-6):
        x = inputs.x.copy()
        x[0, 0, 0] = moved
        sides.append(float((getattr(lstm_forward(*changed(layer, inputs, "x", x)), name) * weight).sum()))
    assert back.x[0, 0, 0] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-8)
    assert back.x[0, 0, 0] != 0


# --- laws


def test_what_stands_beyond_a_length_is_never_read():
    layer = random_layer(peepholes=True)
    lengths = np.array([2, 4])
    inputs = random_inputs(layer, lengths=lengths)
    inputs.x[2:, 0] = np.nan
    steps = lstm_forward(layer, inputs, keep_pre=True)
    for name in STEP_VARIABLES:
        padding = np.isnan(getattr(steps, name)).all(axis=-1)
        np.testing.assert_array_equal(padding, np.arange(4)[:, None] >= lengths)
    gradient = StepsGradient(h=np.where(np.isnan(steps.h), np.nan, 1.0), h_n=np.ones_like(steps.h_n))
    back = lstm_backward(layer, inputs, steps, gradient)
    assert not back.x[2:, 0].any()
    # x itself beyond the length is read by nothing but a product with zero rows, which are not there.
    assert np.isfinite(back.weight_ih).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_shorter_sequence_in_a_batch_is_run_as_if_alone(reverse):
    layer = random_layer(peepholes=True)
    inputs = random_inputs(layer, lengths=np.array([2, 4]), reverse=reverse)
    together = lstm_forward(layer, inputs)
    alone = lstm_forward(layer, LayerInput(inputs.x[:2, :1], inputs.h_0[:1], inputs.c_0[:1], reverse=reverse))
    for name in STEP_VARIABLES:
        np.testing.assert_allclose(getattr(together, name)[:2, :1], getattr(alone, name), rtol=0, atol=1e-15)
    np.testing.assert_allclose(together.c_n[:1], alone.c_n, rtol=0, atol=1e-15)


def test_in_reverse_c_at_a_time_is_the_state_after_that_step_was_read_from_the_right():
    layer = random_layer()
    inputs = random_inputs(layer, reverse=True)
    steps = lstm_forward(layer, inputs)
    mirrored = lstm_forward(layer, LayerInput(inputs.x[::-1], inputs.h_0, inputs.c_0))
    np.testing.assert_array_equal(steps.c, mirrored.c[::-1])
    np.testing.assert_array_equal(steps.c_n, steps.c[0])
    np.testing.assert_array_equal(steps.h_n, steps.h[0])


@pytest.mark.parametrize("name", BUILT_IN)
def test_gates_stay_in_the_range_of_their_activation(name):
    slots = Activations(activation(name), activation(name), activation("tanh"))
    steps = lstm_forward(*(layer := random_layer(activations=slots), random_inputs(layer)), keep_pre=True)
    low, high = activation(name).range
    for gate in GATES:
        values = getattr(steps, gate)
        assert (low <= values).all()
        assert (values <= high).all()
        np.testing.assert_array_equal(values, activation(name)(getattr(steps, f"{gate}_pre")))


def test_the_forget_gate_follows_its_kind():
    for kind in ("own", "coupled", "none"):
        layer = random_layer(forget_gate=kind)
        steps = lstm_forward(layer, random_inputs(layer))
        expected = {"own": steps.f, "coupled": 1 - steps.i, "none": np.ones_like(steps.i)}[kind]
        np.testing.assert_array_equal(steps.f, expected)
    assert not np.array_equal(steps.f, lstm_forward(random_layer(), random_inputs(layer)).f)


def test_a_cell_of_1997_that_always_writes_one_counts_its_steps():
    weights = {"weight_ih_l0": np.zeros((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    weights |= {"bias_ih_l0": np.array([100.0, 0.0, 100.0, 100.0]), "bias_hh_l0": np.zeros(4)}
    parameters = LSTMParameters(weights, forget_gate="none")
    ((steps,),) = run_stack(parameters, StackInput(np.zeros((1000, 1, 1))))
    np.testing.assert_array_equal(steps.c[:, 0, 0], np.arange(1, 1001))


def test_the_backward_pass_does_not_change_what_it_was_given():
    layer, inputs, steps = smooth_case(peepholes=True)
    gradient = StepsGradient(h_n=np.ones_like(steps.h_n), c_n=np.ones_like(steps.c_n))
    before = {name: getattr(steps, name).copy() for name in (*RETURNED, *PRE_ACTIVATIONS)}
    lstm_backward(layer, inputs, steps, gradient)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(steps, name), value)
    assert (gradient.h_n == 1).all()
    assert (gradient.c_n == 1).all()
