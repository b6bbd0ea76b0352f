"""Recording: parity with torch.nn.LSTM, padding, the two directions, holds, and the wish to keep less."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tallycell
from tallycell.activations import activation
from tallycell.errors import InputError
from tallycell.lstm import LSTM
from tallycell.names import DIRECTIONS
from tallycell.parameters import Activations, LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.trace import Hold, Record, record_trace, validate_trace

TIME, SEQUENCES, FEATURES, UNITS = 9, 4, 3, 5
LENGTHS = (9, 4, 1, 6)
ALL = ("i", "f", "g", "o", "c", "h", "i_pre", "f_pre", "g_pre", "o_pre", "x")
# Both sides round: float64 sums of a few dozen terms over nine steps differ by less.
PARITY = {"rtol": 1e-12, "atol": 1e-12}
CASES = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bidirectional": True, "proj_size": 2},
    {"num_layers": 3, "bidirectional": True, "proj_size": 2, "bias": False},
]


def torch_lstm(**options):
    torch.manual_seed(0)
    return torch.nn.LSTM(FEATURES, UNITS, **options).double()


def random_x(seed=0):
    return np.random.default_rng(seed).normal(size=(TIME, SEQUENCES, FEATURES))


def random_state(module, seed=1):
    rng = np.random.default_rng(seed)
    layers = module.num_layers * (2 if module.bidirectional else 1)
    size = module.proj_size or module.hidden_size
    return rng.normal(size=(layers, SEQUENCES, size)), rng.uniform(-2, 2, size=(layers, SEQUENCES, UNITS))


def parameters(hidden=UNITS, **options):
    rng = np.random.default_rng(2)
    shapes = {"weight_ih_l0": (4 * hidden, FEATURES), "weight_hh_l0": (4 * hidden, hidden), "bias_ih_l0": (4 * hidden,)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return LSTMParameters(weights | {"bias_hh_l0": np.zeros(4 * hidden)}, **options)


def single_layer(module, layer):
    """Return one layer of a torch LSTM as a torch LSTM of its own."""
    width = (module.proj_size or UNITS) * (2 if module.bidirectional else 1)
    alone = torch.nn.LSTM(
        FEATURES if layer == 0 else width, UNITS, bias=module.bias, bidirectional=module.bidirectional,
        proj_size=module.proj_size,
    ).double()  # fmt: skip
    own = {name.replace(f"_l{layer}", "_l0"): w for name, w in module.state_dict().items() if f"_l{layer}" in name}
    alone.load_state_dict(own)
    return alone


def torch_h(module, x, state):
    """Torch's own output of each layer (time, sequence, both directions), on packed sequences."""
    directions = 2 if module.bidirectional else 1
    outputs, y = [], torch.from_numpy(x)
    for layer in range(module.num_layers):
        rows = slice(layer * directions, (layer + 1) * directions)
        packed = pack_padded_sequence(y, LENGTHS, enforce_sorted=False)
        y, _ = single_layer(module, layer)(packed, tuple(torch.from_numpy(s[rows]) for s in state))
        y, _ = pad_packed_sequence(y)
        outputs.append(y.detach())
    return outputs


def inside(length):
    return np.arange(TIME) < length


@pytest.mark.parametrize("options", CASES)
def test_h_is_torchs_on_packed_sequences_layer_by_layer(options):
    module, x = torch_lstm(**options), random_x()
    state = random_state(module)
    trace = record_trace(module, x, state, lengths=LENGTHS)
    for layer, theirs in enumerate(torch_h(module, x, state)):
        h = np.concatenate([trace.h.isel(layer=layer, direction=d).values for d in range(trace.sizes["direction"])], -1)
        for s, length in enumerate(LENGTHS):
            np.testing.assert_allclose(h[s, :length], theirs[:length, s], **PARITY)
    validate_trace(trace)


@pytest.mark.parametrize("options", CASES)
def test_c_at_a_step_is_torchs_c_n_of_what_was_read_until_then(options):
    # In the reverse direction that is the part from the step to the right end.
    module, x = torch_lstm(**options), random_x()
    state = random_state(module)
    trace = record_trace(module, x, state, lengths=LENGTHS)
    directions = trace.sizes["direction"]
    inputs = [torch.from_numpy(x), *torch_h(module, x, state)]
    for layer in range(module.num_layers):
        alone = single_layer(module, layer)
        for d, (s, length) in ((d, pair) for d in range(directions) for pair in enumerate(LENGTHS)):
            for t in range(length):
                part = slice(t, length) if d else slice(0, t + 1)
                start = tuple(torch.from_numpy(k[layer * directions :][:directions, s]) for k in state)
                _, (_, c_n) = alone(inputs[layer][part, s], start)
                c = trace.c.isel(layer=layer, direction=d, sequence=s, time=t).values
                np.testing.assert_allclose(c, c_n[d].detach(), **PARITY)


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_are_torch_operations_on_torchs_own_h(options, dtype):
    module = torch_lstm(**options).to(getattr(torch, dtype))
    x, state = random_x(), random_state(module)
    trace = record_trace(module, x, state, lengths=LENGTHS, record=Record(ALL))
    doubles = torch_lstm(**options)
    outputs = torch_h(doubles, x, state)
    inputs, size = [torch.from_numpy(x), *outputs], module.proj_size or UNITS
    for k, (layer, d) in enumerate(np.ndindex(trace.sizes["layer"], trace.sizes["direction"])):
        own = {name.split("_l")[0]: w for name, w in doubles.state_dict().items()
               if name.endswith(f"_l{layer}{'_reverse' if d else ''}")}  # fmt: skip
        for s, length in enumerate(LENGTHS):
            h = outputs[layer][:length, s, d * size : (d + 1) * size]
            first = torch.from_numpy(state[0][k, s])[None]
            before = torch.cat([h[1:], first]) if d else torch.cat([first, h[:-1]])
            pre = inputs[layer][:length, s] @ own["weight_ih"].T + before @ own["weight_hh"].T
            pre = pre + own["bias_ih"] + own["bias_hh"] if module.bias else pre
            for name, theirs in zip("ifgo", pre.chunk(4, -1), strict=True):
                ours = trace.isel(layer=layer, direction=d, sequence=s, time=slice(length))
                # 1e-6 of values of order 1: some roundings of float32, whose eps is 1.2e-7.
                np.testing.assert_allclose(ours[f"{name}_pre"], theirs, rtol=1e-6, atol=1e-6)
                after = torch.tanh(theirs) if name == "g" else torch.sigmoid(theirs)
                np.testing.assert_allclose(ours[name], after, rtol=0, atol=1e-6)


def test_unbatched_and_batch_first_and_batched_agree():
    module, x = torch_lstm(bidirectional=True), random_x()
    h_0, c_0 = random_state(module)
    whole = record_trace(module, x, (h_0, c_0))
    xr.testing.assert_identical(whole, record_trace(module, x.swapaxes(0, 1), (h_0, c_0), batch_first=True))
    one = record_trace(module, torch.from_numpy(x[:, 2]), (h_0[:, 2], c_0[:, 2]))
    # A matrix product of one row may round otherwise than that of four.
    np.testing.assert_allclose(one.c.isel(sequence=0), whole.c.isel(sequence=2), **PARITY)
    assert one.sizes["sequence"] == 1


def test_a_module_has_its_own_batch_first_unless_told_otherwise():
    x = random_x()
    plain, turned = torch_lstm(), torch_lstm(batch_first=True)
    expected = record_trace(plain, x)
    xr.testing.assert_identical(expected, record_trace(turned, x.swapaxes(0, 1)))
    xr.testing.assert_identical(expected, record_trace(turned, x, batch_first=False))


def test_every_kind_of_model_gives_the_same_trace():
    module, x = torch_lstm(num_layers=2), random_x()
    weights = {name: weight.numpy() for name, weight in module.state_dict().items()}
    expected = record_trace(LSTMParameters(weights), x)
    xr.testing.assert_identical(expected, record_trace(module, x))
    xr.testing.assert_identical(expected, record_trace(LSTM.from_torch(module), x))


def test_activations_of_a_tallycell_module_are_recorded():
    module = LSTM.from_parameters(parameters(activations=Activations(cell=activation("softsign"))))
    trace = record_trace(module, random_x())
    assert tallycell.trace.activations_of(trace, 0).cell.name == "softsign"


def test_a_recogniser_brings_its_initial_states():
    p = parameters()
    net = Recogniser(
        ("a", "b"), np.eye(2, FEATURES), p, np.ones((1, UNITS)), np.zeros(1), ("yes",), "threshold",
        h_0=np.full((1, UNITS), 0.25), c_0=np.arange(UNITS)[np.newaxis],
    )  # fmt: skip
    trace = record_trace(net, random_x())
    np.testing.assert_array_equal(trace.c_0.isel(layer=0, direction=0), np.tile(np.arange(UNITS), (SEQUENCES, 1)))
    np.testing.assert_array_equal(trace.h_0, 0.25)
    theirs = np.full((1, SEQUENCES, UNITS), 0.25), np.tile(np.arange(UNITS), (1, SEQUENCES, 1))
    xr.testing.assert_identical(trace, record_trace(p, random_x(), theirs))
    zeros = (np.zeros((1, SEQUENCES, UNITS)),) * 2
    assert not trace.c.equals(record_trace(net, random_x(), zeros).c)


def test_padding_is_nan_in_all_that_was_recorded_and_nothing_else_is():
    trace = record_trace(torch_lstm(bidirectional=True), random_x(), lengths=LENGTHS, record=Record(ALL))
    ended = trace.time >= trace.length
    for name in ALL:
        expected = ended.broadcast_like(trace[name]).transpose(*trace[name].dims)
        np.testing.assert_array_equal(np.isnan(trace[name]), expected, err_msg=name)
    assert trace.length.values.tolist() == list(LENGTHS)


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, 1e6])
def test_what_stands_beyond_a_length_has_no_effect(rubbish):
    x = random_x()
    spoilt = x.copy()
    for s, length in enumerate(LENGTHS):
        spoilt[length:, s] = rubbish
    module = torch_lstm(bidirectional=True)
    xr.testing.assert_identical(
        record_trace(module, x, lengths=LENGTHS), record_trace(module, spoilt, lengths=np.array(LENGTHS))
    )


def test_the_trace_is_detached_and_leaves_module_and_input_alone():
    module, x = torch_lstm(), torch.from_numpy(random_x()).requires_grad_()
    before = x.detach().clone()
    trace = record_trace(module, x, lengths=LENGTHS)
    trace.x[:] = 0
    assert torch.equal(before, x.detach())
    assert isinstance(trace.c.data, np.ndarray)
    assert module.training


def test_attributes_say_what_the_lstm_is():
    trace = record_trace(parameters(forget_gate="coupled", clip_pre=2.0, clip_cell=1.5), random_x())
    assert trace.attrs["schema_version"] == "2"
    assert trace.attrs["tallycell_version"] == tallycell.__version__
    assert (trace.attrs["forget_gate"], trace.attrs["clip_pre"], trace.attrs["clip_cell"]) == ("coupled", 2.0, 1.5)
    assert not {"clip_pre", "clip_cell", "holds"} & set(record_trace(parameters(), random_x()).attrs)
    assert trace.f.attrs == {"long_name": "forget gate", "units": "1"}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_holding_f_at_1_and_i_at_0_keeps_c_at_c_0(direction):
    module = torch_lstm(num_layers=2, bidirectional=True)
    hold = [Hold("f", 1.0, layer=1, direction=direction), Hold("i", 0.0, layer=1, direction=direction)]
    trace = record_trace(module, random_x(), random_state(module), hold=hold, lengths=LENGTHS)
    here = trace.sel(layer=1, direction=direction)
    for s, length in enumerate(LENGTHS):
        c_0 = here.c_0.isel(sequence=s).values
        np.testing.assert_array_equal(here.c.isel(sequence=s)[:length], np.tile(c_0, (length, 1)))
    validate_trace(trace)


@given(st.sampled_from("ifgoch"), st.integers(0, 1), st.sampled_from(DIRECTIONS), st.integers(0, UNITS - 1))
def test_a_hold_at_the_value_it_had_anyway_changes_nothing(gate, layer, direction, unit):
    module, x = torch_lstm(num_layers=2, bidirectional=True), random_x()[:, :1]
    free = record_trace(module, x)
    had = free[gate].sel(layer=layer, direction=direction, unit=unit, sequence=0).values
    hold = [Hold(gate, float(v), layer, [unit], [t], direction) for t, v in enumerate(had)]
    held = record_trace(module, x, hold=hold)
    assert "holds" in held.attrs
    xr.testing.assert_allclose(free, held.drop_attrs(deep=False).assign_attrs(free.attrs), rtol=1e-5, atol=1e-6)


def assert_same(a, b):
    """Equal to rounding: what is held runs on code of its own, compiled with other roundings."""
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@given(st.sampled_from("ifgoch"), st.integers(1, TIME - 1))
def test_a_hold_of_later_steps_leaves_earlier_ones_alone_and_changes_later_ones(gate, start):
    x = random_x()
    free = record_trace(parameters(), x)
    held = record_trace(parameters(), x, hold=Hold(gate, 0.987, steps=slice(start, None)))
    for name in "ifgoch":
        assert_same(free[name].isel(time=slice(start)), held[name].isel(time=slice(start)))
    np.testing.assert_array_equal(held[gate].isel(time=slice(start, None)), 0.987)
    assert not free.h.isel(time=start).equals(held.h.isel(time=start))


def test_a_hold_in_the_reverse_direction_changes_what_stands_to_its_left():
    module, x = torch_lstm(bidirectional=True), random_x()
    free = record_trace(module, x).sel(direction="reverse")
    held = record_trace(module, x, hold=Hold("c", 1.5, steps=[4], direction="reverse")).sel(direction="reverse")
    assert_same(free.c.isel(time=slice(5, None)), held.c.isel(time=slice(5, None)))
    assert not np.isclose(free.c.isel(time=slice(0, 4)), held.c.isel(time=slice(0, 4))).any()


def test_a_held_state_is_what_the_next_step_starts_from():
    p, x = parameters(), random_x()
    trace = record_trace(p, x, hold=[Hold("c", 2.0, steps=[3]), Hold("h", -0.5, steps=[3])])
    start = (np.full((1, SEQUENCES, UNITS), -0.5), np.full((1, SEQUENCES, UNITS), 2.0))
    rest = record_trace(p, x[4:], start)
    assert_same(trace.c.isel(time=slice(4, None)), rest.c)


@pytest.mark.parametrize(
    ("hold", "text"),
    [
        (Hold("f", 1.0, units=[UNITS]), "a hold names unit 5; there are 5, counted from 0"),
        (Hold("f", 1.0, steps=[TIME]), "a hold names step 9; there are 9, counted from 0"),
        (Hold("f", 1.0, layer=1), "names layer 1; the LSTM has 1, counted from 0"),
        (Hold("f", 1.0, direction="reverse"), "names the reverse direction; the LSTM reads forward only"),
    ],
)
def test_a_hold_of_what_is_not_there_is_refused(hold, text):
    with pytest.raises(InputError, match=text):
        record_trace(parameters(), random_x(), hold=hold)


def test_a_gate_held_outside_its_range_is_a_valid_trace():
    trace = record_trace(parameters(forget_gate="coupled"), random_x(), hold=Hold("i", 3.0, units=[1]))
    validate_trace(trace)
    np.testing.assert_array_equal(trace.f.sel(unit=1), -2.0)


@given(
    st.lists(st.sampled_from(ALL), min_size=1, unique=True),
    st.none() | st.lists(st.integers(0, UNITS - 1), min_size=1, unique=True),
    st.slices(TIME).filter(lambda s: (s.step or 1) > 0 and range(TIME)[s])
    | st.lists(st.integers(0, TIME - 1), min_size=1, unique=True).map(sorted),
    st.booleans(),
)
def test_a_record_is_the_full_trace_selected(variables, units, steps, projected):
    module = torch_lstm(num_layers=2, bidirectional=True, proj_size=2 if projected else 0)
    state = random_state(module)
    full = record_trace(module, random_x(), state, lengths=LENGTHS, record=Record(ALL))
    part = record_trace(module, random_x(), state, lengths=LENGTHS, record=Record(variables, units, steps))
    expected = full[[*variables, "h_0", "c_0", "length"]].isel(time=steps)
    expected = expected if units is None else expected.isel(unit=units)
    # Selecting leaves coordinates behind that nothing recorded uses.
    expected = expected.drop_vars([name for name in expected.coords if name not in part.coords])
    xr.testing.assert_identical(part, expected)
    validate_trace(part)


def test_only_one_layer_is_in_memory_beside_what_was_wished_for():
    hidden, steps = 32, 400
    rng = np.random.default_rng(0)
    weights = {}
    for layer in range(6):
        weights[f"weight_ih_l{layer}"] = rng.normal(size=(4 * hidden, 1 if layer == 0 else hidden))
        weights[f"weight_hh_l{layer}"] = rng.normal(size=(4 * hidden, hidden))
    x = rng.normal(size=(steps, 4, 1))
    tracemalloc.start()
    record_trace(LSTMParameters(weights), x, record=Record("c", units=[0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one = steps * 4 * hidden * 8
    # A layer's six variables, its projected input (four gates wide) before and after the bias, its input and the one
    # before: 16. Two layers kept at a time would be 22, all six 46.
    assert peak < 18 * one


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"variables": ()}, "nothing would be recorded: variables is empty; name at least one"),
        ({"units": []}, "nothing would be recorded: units is empty"),
        ({"steps": []}, "nothing would be recorded: steps is empty"),
        ({"variables": ("c", "forget")}, "cannot record 'forget'; known are i, f, g, o, c, h, i_pre, .*, x"),
        ({"units": [0.5]}, r"units of a record are \[0.5\]; expected integers"),
        ({"steps": [True]}, r"steps of a record are \[True\]; expected integers"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wish, text):
    with pytest.raises(InputError, match=text):
        Record(**wish)


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"units": [5]}, "a record names unit 5; there are 5, counted from 0"),
        ({"units": [1, 1]}, r"a record names a unit twice: \[1, 1\]"),
        ({"units": [-1, 4]}, r"a record names a unit twice: \[-1, 4\]"),
        ({"steps": [9]}, "a record names step 9; there are 9, counted from 0"),
        ({"steps": [3, 2]}, r"steps of a record are \(3, 2\); expected rising numbers, each step once"),
        ({"steps": slice(None, None, -1)}, "expected rising numbers"),
        ({"steps": slice(9, None)}, r"nothing would be recorded: slice\(9, None, None\) chooses none of 9 steps"),
    ],
)
def test_a_wish_that_the_run_cannot_meet_is_refused(wish, text):
    with pytest.raises(InputError, match=text):
        record_trace(parameters(), random_x(), record=Record(**wish))


def test_a_record_is_frozen_and_takes_one_name():
    record = Record("i_pre", units=np.array([2, 0]))
    assert (record.variables, record.units) == (("i_pre",), (2, 0))
    with pytest.raises(AttributeError):
        record.units = None


def test_states_that_overflow_are_refused():
    # h grows without bound in both units, and the next pre-activation is their difference: inf - inf.
    weights = {"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.tile([1.0, -1.0], (8, 1))}
    p = LSTMParameters(weights, Activations(activation("relu"), activation("identity"), activation("identity")))
    with pytest.raises(InputError, match="the states of layer 0, forward, overflow to NaN in sequence 1; scale"):
        record_trace(p, np.stack([np.zeros((9, 1)), np.full((9, 1), 1e60)], axis=1))


def test_recording_needs_no_torch():
    code = """
import sys, numpy as np, tallycell as tc
weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
tc.record_trace(tc.LSTMParameters(weights), np.zeros((5, 3)))
print(sorted({"torch", "zarr", "onnx"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
