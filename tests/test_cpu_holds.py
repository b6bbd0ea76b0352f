"""What few LSTMs have, on the vector kernel: held values, peepholes, forget gates, clipping, projections.

The answers are the reference kernel's, torch's, and laws: what is not held is free, a hold by sequence is one run each.
"""

from dataclasses import replace

import numpy as np
import pytest

import tallycell as tc
from tallycell.activations import activation
from tallycell.errors import InputError
from tallycell.kernels import choice, cpu, reference
from tallycell.kernels.hold import held_values
from tallycell.kernels.interface import LayerInput, StepsGradient
from tallycell.names import PRE_ACTIVATIONS, STEP_VARIABLES

# Sums in another order, over up to 160 terms and a few steps.
TOLERANCE = {"float32": 1e-5, "float64": 2e-14}
NAMES = (*STEP_VARIABLES, *PRE_ACTIVATIONS, "h_n", "c_n")
TIME = 5
EXTRAS = {
    "plain": {},
    "peepholes": {"peepholes": True},
    "coupled": {"forget_gate": "coupled"},
    "no forget gate": {"forget_gate": "none", "clip_cell": 0.8},
    "clipped": {"clip_pre": 0.9, "clip_cell": 0.6},
    "projected": {"projected": True},
    "everything": {
        "peepholes": True, "forget_gate": "coupled", "clip_pre": 1.1, "clip_cell": 0.7, "projected": True,
    },
}  # fmt: skip


def parameters(rng, units, dtype, *, peepholes=False, projected=False, features=3, **options):
    hidden = (units + 2) // 3 if projected else units
    scale = min(0.3, 2 / np.sqrt(units))
    weights = {
        "weight_ih_l0": rng.normal(size=(4 * units, features)),
        "weight_hh_l0": scale * rng.normal(size=(4 * units, hidden)),
        "bias_ih_l0": rng.normal(size=4 * units),
    }
    weights["bias_hh_l0"] = rng.normal(size=4 * units)
    if projected:
        weights["weight_hr_l0"] = rng.normal(size=(hidden, units)) / np.sqrt(units)
    if peepholes:
        weights["weight_ch_l0"] = 0.5 * rng.normal(size=3 * units)
    return tc.LSTMParameters({name: weight.astype(dtype) for name, weight in weights.items()}, **options)


def layer_and_input(rng, units, sequences, dtype, *, reverse=False, lengths=None, time=TIME, **extras):
    layer = parameters(rng, units, dtype, **extras).layer(0)
    x, h_0, c_0 = (
        rng.normal(size=shape).astype(dtype)
        for shape in ((time, sequences, 3), (sequences, layer.output_size), (sequences, units))
    )
    return layer, LayerInput(x, h_0, c_0, lengths, reverse)


def holds(rng, layer, letters, steps, sequences, dtype):
    """Values of a third of what there is: in turn by step, by step and sequence, and the same at all steps."""
    found = {}
    for k, letter in enumerate(letters):
        size = layer.output_size if letter == "h" else layer.hidden_size
        shape = (steps, size) if k % 3 == 1 else (steps, sequences, size)
        values = rng.uniform(-1, 1, size=shape).astype(dtype)
        values[rng.random(shape) > 0.3] = np.nan
        found[letter] = np.broadcast_to(values[:1], shape) if k % 3 == 2 else values
    return found


def assert_same(ours, theirs, dtype, names=NAMES):
    for name in names:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.shape == b.shape, name
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=name)
        np.testing.assert_allclose(a, b, atol=TOLERANCE[dtype] * (1 + np.nanmax(np.abs(b))), rtol=0, err_msg=name)


def check(layer, inputs, dtype):
    ours, theirs = (kernel.lstm_forward(layer, inputs, keep_pre=True) for kernel in (cpu, reference))
    assert_same(ours, theirs, dtype)
    for letter, values in inputs.held.items():
        every = np.broadcast_to(values if values.ndim == 3 else values[:, None], getattr(ours, letter).shape)
        held = ~np.isnan(every) & ~np.isnan(getattr(ours, letter))
        np.testing.assert_array_equal(getattr(ours, letter)[held], every[held])


# ---- agreement with the reference ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sequences", [1, 3, 64])
@pytest.mark.parametrize("units", [1, 3, 63, 100, 160])
def test_held_values_agree_with_the_reference(units, sequences, dtype):
    rng = np.random.default_rng(units)
    for reverse in (False, True):
        for lengths in (None, rng.integers(1, TIME + 1, sequences)):
            layer, inputs = layer_and_input(rng, units, sequences, dtype, reverse=reverse, lengths=lengths)
            for letters in (*"ifgoch", "ic", "hf", "ifgoch"):
                check(layer, replace(inputs, held=holds(rng, layer, letters, TIME, sequences, dtype)), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sequences", [1, 3, 64])
@pytest.mark.parametrize("units", [1, 3, 63, 100, 160])
@pytest.mark.parametrize("extras", EXTRAS)
def test_what_few_lstms_have_agrees_with_the_reference(extras, units, sequences, dtype):
    rng = np.random.default_rng(units)
    for reverse in (False, True):
        for lengths in (None, rng.integers(1, TIME + 1, sequences)):
            layer, inputs = layer_and_input(
                rng, units, sequences, dtype, reverse=reverse, lengths=lengths, **EXTRAS[extras]
            )
            check(layer, inputs, dtype)
            check(layer, replace(inputs, held=holds(rng, layer, "cihfog", TIME, sequences, dtype)), dtype)


@pytest.mark.parametrize(
    "slots",
    [
        tc.Activations(activation("hard_sigmoid"), activation("hard_tanh"), activation("softsign")),
        tc.Activations(activation("elu"), activation("sine"), activation("leaky_relu")),
    ],
)
def test_other_activations_agree_with_the_reference(slots):
    rng = np.random.default_rng(0)
    layer, inputs = layer_and_input(rng, 9, 7, "float64", activations=slots, **EXTRAS["everything"])
    check(layer, replace(inputs, held=holds(rng, layer, "ifgoch", TIME, 7, "float64")), "float64")


@pytest.mark.parametrize("extras", ["plain", "everything"])
@pytest.mark.parametrize(("sequences", "time"), [(64, 40), (1, 200), (2, 300)])
def test_several_threads_agree_with_the_reference(sequences, time, extras, monkeypatch):
    """Sequences are divided, or units: then the threads meet before what is exposed is projected, and after."""
    rng = np.random.default_rng(1)
    layer, inputs = layer_and_input(rng, 160, sequences, "float64", time=time, **EXTRAS[extras])
    inputs = replace(inputs, held=holds(rng, layer, "cho", time, sequences, "float64"))
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "3")
    check(layer, inputs, "float64")


# ---- laws --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_before_the_first_that_is_held_are_those_of_a_free_run(dtype):
    rng = np.random.default_rng(2)
    layer, inputs = layer_and_input(rng, 63, 3, dtype)
    free = cpu.lstm_forward(layer, inputs)
    for letter in "ifgoch":
        values = np.full((TIME, 63), np.nan, dtype)
        held = cpu.lstm_forward(layer, replace(inputs, held={letter: values}))
        assert_same(held, free, dtype, STEP_VARIABLES)
        values[3, 5] = 0.625
        held = cpu.lstm_forward(layer, replace(inputs, held={letter: values}))
        for name in STEP_VARIABLES:
            a, b = getattr(held, name), getattr(free, name)
            np.testing.assert_allclose(a[:3], b[:3], atol=TOLERANCE[dtype], rtol=0)
        assert np.abs(held.h[4] - free.h[4]).max() > 1e-4


def test_f_at_1_and_i_at_0_keep_the_cell_bit_for_bit():
    rng = np.random.default_rng(3)
    layer, inputs = layer_and_input(rng, 63, 3, "float32")
    ends = {letter: np.full((TIME, 63), value, np.float32) for letter, value in (("f", 1), ("i", 0))}
    kept = cpu.lstm_forward(layer, replace(inputs, held=ends))
    np.testing.assert_array_equal(kept.c, np.broadcast_to(inputs.c_0, kept.c.shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reverse", [False, True])
def test_holds_by_sequence_of_unequal_lengths_are_one_run_a_sequence(reverse, dtype):
    rng = np.random.default_rng(4)
    lengths = np.array([5, 1, 3])
    layer, inputs = layer_and_input(rng, 9, 3, dtype, reverse=reverse, lengths=lengths)
    held = holds(rng, layer, "chof", TIME, 3, dtype)
    for kernel in (cpu, reference):
        together = kernel.lstm_forward(layer, replace(inputs, held=held))
        for k, length in enumerate(lengths):
            alone = {
                name: values[:length, [k]] if values.ndim == 3 else values[:length] for name, values in held.items()
            }
            x, h_0, c_0 = inputs.x[:length, [k]], inputs.h_0[[k]], inputs.c_0[[k]]
            one = reference.lstm_forward(layer, LayerInput(x, h_0, c_0, None, reverse, alone))
            for name in STEP_VARIABLES:
                np.testing.assert_allclose(
                    getattr(together, name)[:length, [k]], getattr(one, name), atol=TOLERANCE[dtype], rtol=0
                )
            np.testing.assert_allclose(together.c_n[[k]], one.c_n, atol=TOLERANCE[dtype], rtol=0)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch's
def test_a_projected_layer_is_torchs():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.LSTM(5, 37, num_layers=2, proj_size=19, bidirectional=True)
    x = torch.randn(11, 4, 5)
    expected, (_, c_n) = module(x)
    trace = tc.record_trace(module, x)
    last = trace.h.isel(layer=-1).transpose("time", "sequence", "direction", ...).to_numpy().reshape(11, 4, 38)
    np.testing.assert_allclose(last, expected.detach().numpy(), atol=2e-6)  # float32, some ten terms a sum
    ends = np.stack([trace.c.sel(direction="forward", time=10), trace.c.sel(direction="reverse", time=0)], axis=1)
    np.testing.assert_allclose(ends.reshape(4, 4, 37), c_n.detach().numpy(), atol=2e-6)


@pytest.mark.parametrize("extras", EXTRAS)
def test_single_steps_are_those_of_the_whole_sequence(extras):
    rng = np.random.default_rng(5)
    layer, inputs = layer_and_input(rng, 9, 2, "float64", **EXTRAS[extras])
    expected = reference.lstm_forward(layer, inputs)
    take, h, c = cpu.OneStep(layer, 2), inputs.h_0.copy(), inputs.c_0.copy()
    for t in range(TIME):
        take(inputs.x[t], h, c)
        np.testing.assert_allclose(h, expected.h[t], atol=1e-14)
        np.testing.assert_allclose(c, expected.c[t], atol=1e-14)


def test_the_vector_kernel_is_chosen_and_nothing_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(choice, "tell_once", told.append)
    monkeypatch.setattr(reference, "lstm_forward", lambda *_, **__: pytest.fail("the reference kernel ran"))
    rng = np.random.default_rng(6)
    for extras in EXTRAS.values():
        tc.record_trace(parameters(rng, 4, "float64", **extras), rng.normal(size=(3, 3)), hold=tc.Hold("c", 0.5))
    assert not told


# ---- values that are laid out once -----------------------------------------------------------------------------------


def test_holds_that_are_the_same_at_every_step_take_the_memory_of_one():
    one = parameters(np.random.default_rng(0), 4, "float64")
    held = held_values([tc.Hold("c", 0.5, units=[1]), tc.Hold("f", 1.0, steps=slice(2, None))], one, 0, 0, TIME, 1)
    assert held["c"].shape == held["f"].shape == (TIME, 4)
    assert (held["c"].strides[0], held["f"].strides[0] > 0) == (0, True)
    np.testing.assert_array_equal(held["c"], [[np.nan, 0.5, np.nan, np.nan]] * TIME)
    np.testing.assert_array_equal(np.isnan(held["f"][:, 0]), [True, True, False, False, False])
    mixed = held_values([tc.Hold("c", 0.5), tc.Hold("c", 2.0, units=[3], steps=[4])], one, 0, 0, TIME, 1)["c"]
    np.testing.assert_array_equal(mixed[:, 3], [0.5, 0.5, 0.5, 0.5, 2.0])
    np.testing.assert_array_equal(mixed[:, 0], 0.5)


# ---- the way back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extras", EXTRAS)
def test_gradients_are_those_of_differences(extras):
    """Of a sum over h, along the initial states and x: nothing comes back through what is held."""
    rng = np.random.default_rng(7)
    lengths = np.array([5, 2])
    layer, inputs = layer_and_input(rng, 4, 2, "float64", lengths=lengths, **EXTRAS[extras])
    inputs = replace(inputs, held=holds(rng, layer, "ifgoch", TIME, 2, "float64"))
    steps = cpu.lstm_forward(layer, inputs, keep_pre=True)
    weight = rng.normal(size=steps.h.shape)
    found = cpu.lstm_backward(layer, inputs, steps, StepsGradient(h=weight))

    def total(moved):
        return float(np.nansum(cpu.lstm_forward(layer, moved).h * weight))

    for name in ("x", "h_0", "c_0"):
        value = getattr(inputs, name)
        along = rng.normal(size=value.shape)
        up, down = (total(replace(inputs, **{name: value + step * along})) for step in (1e-6, -1e-6))
        # Differences over 2e-6 of values near 1 are right to 1e-9 or so.
        assert (up - down) / 2e-6 == pytest.approx(float((getattr(found, name) * along).sum()), abs=1e-7)


def test_gradients_without_pre_activations_are_refused():
    rng = np.random.default_rng(8)
    layer, inputs = layer_and_input(rng, 4, 2, "float64", **EXTRAS["peepholes"])
    steps = cpu.lstm_forward(layer, inputs)
    with pytest.raises(InputError, match="need the pre-activations; run the layer forward with keep_pre=True"):
        cpu.lstm_backward(layer, inputs, steps, StepsGradient(h=steps.h))
