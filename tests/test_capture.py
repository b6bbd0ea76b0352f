"""``capture``: what every LSTM of a model did, while the model did what it does without."""

import copy

import numpy as np
import pytest

import tallycell as tc
from processor import needs_bfloat16_in_torch
from tallycell.errors import InputError, ParameterError
from tallycell.trace import validate_trace

torch = pytest.importorskip("torch")
nn = torch.nn
rnn = nn.utils.rnn


# --- three shapes of models


class Encoder(nn.Module):
    """Symbols of several texts, packed, through both directions of two layers."""

    def __init__(self, **arguments):
        super().__init__()
        self.symbols = nn.Embedding(11, 4)
        self.lstm = nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True, **arguments)

    def forward(self, x, lengths):
        packed = rnn.pack_padded_sequence(self.symbols(x), lengths, batch_first=True, enforce_sorted=False)
        output, (h, c) = self.lstm(packed)
        return output.data, h, c


class Decoder(nn.Module):
    """One step after the other through two cells; what comes out of a step goes into the next."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.LSTMCell(3, 4), nn.LSTMCell(4, 4), nn.Linear(4, 3)

    def forward(self, x, steps):
        a = b = None
        outputs = []
        for _ in range(steps):
            a = self.first(x, a)
            b = self.second(a[0], b)
            x = self.head(b[0])
            outputs.append(x)
        return torch.stack(outputs)


class Regressor(nn.Module):
    """Two stacks with dropout inside and between, and a head."""

    def __init__(self):
        super().__init__()
        self.low = nn.LSTM(3, 6, 3, dropout=0.5)
        self.between = nn.Dropout(0.2)
        self.high = nn.LSTM(6, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        low, state = self.low(x)
        high, (h, _) = self.high(self.between(low).transpose(0, 1))
        return self.head(high), h, *state


X, LENGTHS = torch.randint(0, 11, (4, 7), generator=torch.Generator().manual_seed(0)), torch.tensor([4, 7, 1, 5])
SIGNAL = torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(1))
MODELS = {
    "encoder": (Encoder, lambda model: model(X, LENGTHS)),
    "decoder": (Decoder, lambda model: (model(SIGNAL[0], 6),)),
    "regressor": (Regressor, lambda model: model(SIGNAL)),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(3)
    return MODELS[name][0]()


def train_step(name: str, model: nn.Module) -> list[torch.Tensor]:
    """What a model gives, and everything that comes of it: gradients, and the random numbers that follow."""
    torch.manual_seed(4)
    outputs = MODELS[name][1](model)
    sum((output**2).sum() for output in outputs).backward()
    return [*outputs, *(weight.grad for weight in model.parameters()), torch.rand(3)]


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", MODELS)
def test_the_model_does_bit_for_bit_what_it_does_without(name, mode):
    without = train_step(name, getattr(made(name), mode)())
    model = getattr(made(name), mode)()
    with tc.capture(model) as traces:
        within = train_step(name, model)
    assert all(map(torch.equal, without, within))
    for trace in traces.values():
        validate_trace(trace)
    assert [trace.i.dtype for trace in traces.values()] == ["float32"] * len(traces)


def assert_h_is(trace, output, sequence=slice(None)):
    """h of the last layer against (sequence, time, direction * unit)."""
    h = trace.h.isel(layer=-1, sequence=sequence).transpose("sequence", "time", "direction", ...)
    flat = h.values.reshape(*h.shape[:2], -1)
    np.testing.assert_allclose(flat, output.detach().numpy(), atol=1e-6)  # float32, summed in another order


def test_packed_sequences_are_traced_in_the_order_of_the_batch():
    model = Encoder()
    with tc.capture(model) as traces:
        output, _, _ = model(X, LENGTHS)
    trace = traces["lstm"]
    assert dict(trace.sizes) == {"layer": 2, "direction": 2, "sequence": 4, "time": 7, "unit": 5, "feature": 4}
    assert trace.length.values.tolist() == LENGTHS.tolist()
    assert trace.row.values.tolist() == [0, 1, 2, 3]
    packed = rnn.pack_padded_sequence(model.symbols(X), LENGTHS, batch_first=True, enforce_sorted=False)
    padded, _ = rnn.pad_packed_sequence(packed._replace(data=output), batch_first=True, padding_value=torch.nan)
    assert_h_is(trace, padded)
    np.testing.assert_array_equal(trace.x.values[1], model.symbols(X[1]).detach().numpy())
    alone = tc.record_trace(model.lstm, model.symbols(X), lengths=LENGTHS)
    for variable in ("i", "f", "g", "o", "c", "h"):
        np.testing.assert_array_equal(trace[variable], alone[variable])


def test_steps_of_a_cell_are_one_sequence_while_its_state_is_carried():
    model = Decoder()
    with tc.capture(model) as traces, torch.no_grad():
        model(SIGNAL[0], 6)
        model(SIGNAL[1], 3)
    assert list(traces) == ["first", "second"]
    for trace in traces.values():
        assert trace.length.values.tolist() == [6, 6, 3, 3]
        assert (trace.call.values.tolist(), trace.row.values.tolist()) == ([0, 0, 6, 6], [0, 1, 0, 1])
    state, states = None, []
    for step in traces["first"].x.transpose("time", "sequence", ...)[:, :2]:
        state = model.first(torch.tensor(step.values), state)
        states.append(state[0])
    assert_h_is(traces["first"], torch.stack(states, 1), slice(2))
    assert len(tc.read_units(traces["second"]).units) == 4


def test_calls_of_an_lstm_that_carry_its_state_are_one_sequence():
    lstm = nn.LSTM(3, 4, 2)
    with tc.capture(lstm) as traces, torch.no_grad():
        whole, _ = lstm(SIGNAL)
        part, state = lstm(SIGNAL[:5])
        rest, _ = lstm(SIGNAL[5:], state)
    assert traces[""].length.values.tolist() == [9, 9, 9, 9]
    assert traces[""].call.values.tolist() == [0, 0, 1, 1]
    both = torch.cat([whole, torch.cat([part, rest])], 1).transpose(0, 1)
    assert_h_is(traces[""], both)


def test_rows_that_change_places_and_fork_are_followed():
    """As in a beam search: row 0 goes on twice, row 1 ends, row 2 goes on in its place."""
    cell, x = nn.LSTMCell(3, 4), torch.randn(3, 3)
    with tc.capture(cell) as traces, torch.no_grad():
        h, c = cell(x)
        chosen = [0, 2, 0]
        cell(x, (h[chosen], c[chosen]))
    trace = traces[""]
    assert trace.length.values.tolist() == [2, 1, 2, 1]
    assert (trace.call.values.tolist(), trace.row.values.tolist()) == ([0, 0, 0, 1], [0, 1, 2, 2])
    np.testing.assert_array_equal(trace.h_0.values[0, 0, 3], h[0])
    np.testing.assert_array_equal(trace.x.values[2, 1], x[1])


def test_two_streams_in_turn_are_two_sequences():
    cell = nn.LSTMCell(3, 4)
    with tc.capture(cell) as traces, torch.no_grad():
        left = right = None
        for step in SIGNAL:
            left, right = cell(step[0], left), cell(step[1], right)
    np.testing.assert_array_equal(traces[""].x.values, SIGNAL.transpose(0, 1))
    assert traces[""].length.values.tolist() == [9, 9]


def test_zeros_and_states_from_elsewhere_begin_a_sequence():
    lstm, zeros, given = nn.LSTM(3, 4), torch.zeros(1, 2, 4), torch.ones(1, 2, 4)
    for weight in lstm.parameters():
        nn.init.zeros_(weight)  # so that what comes out is zeros too
    with tc.capture(lstm) as traces, torch.no_grad():
        lstm(SIGNAL)
        lstm(SIGNAL, (zeros, zeros))
        lstm(input=SIGNAL, hx=(given, given))
    assert traces[""].call.values.tolist() == [0, 0, 1, 1, 2, 2]
    assert traces[""].c_0.values[0, 0, :, 0].tolist() == [0, 0, 0, 0, 1, 1]


def test_a_bidirectional_lstm_is_never_continued():
    lstm = nn.LSTM(3, 4, bidirectional=True)
    with tc.capture(lstm) as traces, torch.no_grad():
        _, state = lstm(SIGNAL)
        second, _ = lstm(SIGNAL[:4], state)
    assert traces[""].length.values.tolist() == [9, 9, 4, 4]
    np.testing.assert_array_equal(traces[""].h_0.values[0, 1, 2:], state[0][1])
    assert_h_is(traces[""].isel(time=slice(4)), second.transpose(0, 1), slice(2, 4))


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (nn.LSTM(3, 4), SIGNAL[:, 0]),
        pytest.param(
            nn.LSTM(3, 4, batch_first=True, proj_size=2),
            SIGNAL,
            marks=pytest.mark.filterwarnings("ignore:LSTM with projections"),  # torch's, of oneDNN
        ),
        (nn.LSTM(3, 4, bias=False), SIGNAL),
        (nn.LSTMCell(3, 4, bias=False), SIGNAL[0, 0]),
        (tc.LSTM(3, 4, gate="hard_sigmoid", forget_gate="coupled", peepholes=True), SIGNAL),
        (nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0"), SIGNAL),
    ],
    ids=["one sequence", "projected", "no bias", "one step of one sequence", "tallycell", "weight norm"],
)
def test_every_form_of_a_module_is_traced(module, x):
    with tc.capture(nn.Sequential(module)) as traces:
        output = module(x)[0]
    sequences = output if output.dim() == 3 else output.reshape(-1, 1, output.shape[-1])
    assert_h_is(traces["0"], sequences if getattr(module, "batch_first", False) else sequences.transpose(0, 1))
    validate_trace(traces["0"])


# --- dropout inside


@pytest.mark.parametrize("form", ["time first", "batch first", "packed", "one sequence", "float64", "bfloat16", "ours"])
def test_dropout_between_layers_is_traced_as_it_fell(form):
    dtype = getattr(torch, form, torch.float32) if "float" in form else torch.float32
    kind = tc.LSTM if form == "ours" else nn.LSTM
    lstm = kind(3, 6, 3, dropout=0.5, bidirectional=form != "ours", batch_first=form == "batch first").to(dtype)
    x = SIGNAL[:, 0] if form == "one sequence" else SIGNAL.to(dtype)
    x = rnn.pack_padded_sequence(x, torch.tensor([5, 9]), enforce_sorted=False) if form == "packed" else x
    torch.manual_seed(0)
    with tc.capture(lstm) as traces:
        lstm(x)
    trace = traces[""]
    validate_trace(trace)
    assert trace.layer.values.tolist() == [0, 1, 2]
    # The trace compared itself with the module's output. Without what was dropped it would be far off:
    lstm.eval()
    whole = tc.record_trace(tc.load(lstm).lstm, trace.x, lengths=trace.length)
    np.testing.assert_allclose(whole.h.values[0], trace.h.values[0], atol=1e-6)
    assert np.nanmax(np.abs(whole.h.values[2] - trace.h.values[2])) > 0.02


def test_dropout_that_cannot_be_drawn_again_is_an_error_by_name(monkeypatch):
    monkeypatch.setattr("tallycell.trace.watched.random_state", lambda _: None)  # as on another device
    model = Regressor()
    with tc.capture(model) as traces:
        model(SIGNAL)
    assert "high" in traces
    with pytest.raises(InputError, match=r"LSTM at 'low': it is in train mode, and what its dropout between layers"):
        traces["low"]
    validate_trace(traces["high"])


def test_a_mask_that_is_not_the_one_that_fell_is_noticed(monkeypatch):
    other = torch.Generator().manual_seed(99).get_state()
    monkeypatch.setattr("tallycell.trace.watched.random_state", lambda _: other)
    lstm = nn.LSTM(3, 6, 2, dropout=0.5)
    with tc.capture(lstm) as traces:
        lstm(SIGNAL)
    with pytest.raises(InputError, match="it gave other values than its equations: h differs by"):
        traces[""]


class Noisy(nn.LSTM):
    """Draws random numbers that torch's own does not."""

    def forward(self, x):
        torch.rand(5)
        return super().forward(x)


def test_random_numbers_go_on_as_without_even_where_a_module_draws_more():
    lstm, after = Noisy(3, 6, 2, dropout=0.5), []
    for _ in range(2):
        torch.manual_seed(0)
        lstm(SIGNAL)
        after.append(torch.rand(3))
        torch.manual_seed(0)
        with tc.capture(lstm) as traces:
            lstm(SIGNAL)
        after.append(torch.rand(3))
    assert all(torch.equal(after[0], one) for one in after)
    with pytest.raises(InputError, match="it gave other values than its equations"):
        traces[""]


# --- weights, precision


def test_weights_that_change_between_calls_are_those_of_each_call():
    lstm = nn.LSTM(3, 4)
    before = copy.deepcopy(lstm)
    with tc.capture(lstm) as traces:
        first, state = lstm(SIGNAL)
        with torch.no_grad():
            lstm.weight_hh_l0.data.mul_(-2)  # past torch's count of versions
        second, _ = lstm(SIGNAL[:4], state)
    trace = traces[""]
    validate_trace(trace)
    assert trace.length.values.tolist() == [9, 9, 4, 4]
    assert trace.sequence.values.tolist() == [0, 1, 2, 3]
    assert_h_is(trace, first.transpose(0, 1), slice(2))
    assert_h_is(trace.isel(time=slice(4)), second.transpose(0, 1), slice(2, 4))
    np.testing.assert_array_equal(trace.f[:, :, :2], tc.record_trace(before, SIGNAL).f)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_are_traced_in_float32_or_float64(dtype):
    lstm = nn.LSTM(3, 4).to(getattr(torch, dtype))
    with tc.capture(lstm) as traces:
        output, _ = lstm(SIGNAL.to(lstm.weight_ih_l0.dtype))
    assert traces[""].f.dtype == ("float64" if dtype == "float64" else "float32")
    h = traces[""].h.values[0, 0]
    np.testing.assert_allclose(h, output.transpose(0, 1).double().detach().numpy(), atol=0.02)  # a half's roundings


def test_autocast_is_traced():
    lstm = nn.LSTM(3, 4)
    needs_bfloat16_in_torch()
    with tc.capture(lstm) as traces, torch.autocast("cpu", torch.bfloat16):
        output, _ = lstm(SIGNAL)
    assert output.dtype == torch.bfloat16
    np.testing.assert_allclose(traces[""].h.values[0, 0], output.transpose(0, 1).float().detach().numpy(), atol=0.02)


class Rounded(nn.LSTM):
    """Gives its output in another precision than it computes in, and its state as it is."""

    gives = torch.float32

    def forward(self, x, state=None):
        output, state = super().forward(x, state)
        return output.to(self.gives), state


@pytest.mark.parametrize("gives", [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_a_sequence_is_as_exact_as_the_least_exact_of_its_calls(gives):
    lstm, state, outputs = Rounded(3, 4), None, []
    with tc.capture(lstm) as traces, torch.no_grad():
        for dtype in gives:
            lstm.gives = getattr(torch, dtype)
            output, state = lstm(SIGNAL, state)
            outputs.append(output.float())
    assert traces[""].length.values.tolist() == [18, 18]
    h = traces[""].h.values[0, 0]
    np.testing.assert_allclose(h, torch.cat(outputs).transpose(0, 1), atol=2**-8)  # a bfloat16's rounding below 1
    exact = slice(None, 9) if gives[0] == "float32" else slice(9, None)
    np.testing.assert_allclose(h[:, exact], torch.cat(outputs).transpose(0, 1)[:, exact], atol=1e-6)


# --- hooks, and what goes wrong


def hooks_of(model) -> list:
    return [hook for part in model.modules() for hook in (*part._forward_hooks, *part._forward_pre_hooks)]


def test_hooks_are_gone_afterwards_whatever_happens():
    model = Regressor()
    with tc.capture(model):
        assert len(hooks_of(model)) == 4
        model(SIGNAL)
    assert not hooks_of(model)
    with pytest.raises(RuntimeError, match="input_size"), tc.capture(model):
        model(SIGNAL[..., :2])
    assert not hooks_of(model)


def test_traces_can_be_read_inside_the_block_and_grow():
    cell = nn.LSTMCell(3, 4)
    with tc.capture(cell) as traces, torch.no_grad():
        assert len(traces) == 0
        state = cell(SIGNAL[0])
        assert traces[""].sizes["time"] == 1
        assert traces[""] is traces[""]
        cell(SIGNAL[1], state)
        assert traces[""].sizes["time"] == 2
    cell(SIGNAL[0])
    assert traces[""].sizes == {"layer": 1, "direction": 1, "sequence": 2, "time": 2, "unit": 4, "feature": 3}


def test_what_other_hooks_change_is_seen_going_in_and_not_coming_out():
    lstm = nn.LSTM(3, 4)
    lstm.register_forward_pre_hook(lambda _, given: (2 * given[0],))
    lstm.register_forward_hook(lambda _, given, returned: (returned[0] * 0, returned[1]))
    with tc.capture(lstm) as traces:
        output, _ = lstm(SIGNAL)
    assert not output.any()
    np.testing.assert_array_equal(traces[""].x.values, 2 * SIGNAL.transpose(0, 1))
    assert traces[""].h.values.any()


def test_inputs_that_are_overwritten_afterwards_are_traced_as_they_were():
    lstm, x = nn.LSTM(3, 4), SIGNAL.clone()
    with tc.capture(lstm) as traces, torch.no_grad():
        output, _ = lstm(x)
        expected = output.clone()
        x.zero_()
        output.zero_()
        nn.init.zeros_(lstm.weight_hh_l0)
    np.testing.assert_array_equal(traces[""].x.values, SIGNAL.transpose(0, 1))
    assert_h_is(traces[""], expected.transpose(0, 1))


class Other(nn.LSTM):
    """Not what its equations say."""

    def forward(self, x):
        output, state = super().forward(x)
        return output + torch.tensor([0.0, 0.001, 0.0, 0.0]), state


def test_a_module_that_does_something_else_is_an_error_and_the_others_are_traced():
    model = nn.ModuleDict({"other": Other(3, 4), "plain": nn.LSTM(3, 4)})
    with tc.capture(model) as traces:
        model["other"](SIGNAL)
        model["plain"](SIGNAL)
    with pytest.raises(InputError) as raised:
        traces["other"]
    assert str(raised.value) == (
        "LSTM at 'other': it gave other values than its equations: h differs by 0.001 in the sequence that began at "
        "call 0, row 0, where 0.0001 is allowed; a trace would not show what it does"
    )
    validate_trace(traces["plain"])


def test_what_cannot_be_traced_does_not_stop_the_model():
    model = nn.ModuleDict({"weights": nn.LSTM(3, 4), "input": nn.LSTM(3, 4), "empty": nn.LSTM(3, 4)})
    with torch.no_grad():
        model["weights"].weight_hh_l0[0, 0] = torch.inf
    with tc.capture(model) as traces:
        model["weights"](SIGNAL)
        model["input"](SIGNAL * torch.nan)
        model["empty"](SIGNAL[:, :0])
    assert list(traces) == ["weights", "input", "empty"]
    with pytest.raises(ParameterError, match="LSTM at 'weights': weight_hh_l0 has values that are NaN or infinite"):
        traces["weights"]
    with pytest.raises(InputError, match="LSTM at 'input': x is nan"):
        traces["input"]
    with pytest.raises(InputError, match="LSTM at 'empty': it was called with no sequences"):
        traces["empty"]


def test_what_holds_no_lstm_or_was_not_called_is_named():
    for model, text in ((nn.Linear(2, 2), "the Linear holds no torch.nn.LSTM"), (3, "cannot capture a int")):
        with pytest.raises(InputError, match=text), tc.capture(model):
            pass
    with tc.capture(Regressor()) as traces:
        pass
    assert "low" not in traces
    with pytest.raises(InputError, match="the LSTM at 'low' was not called; run the model inside the with block"):
        traces["low"]
    with pytest.raises(InputError, match="no LSTM at 'lows'; the model has them at 'low', 'high'"):
        traces["lows"]
    assert repr(traces) == "Captured('low': 0 calls, 'high': 0 calls)"


@pytest.mark.parametrize("sequences", [1, 3, 63, 100])
def test_odd_numbers_of_sequences_and_lengths_are_laid_out(sequences):
    lengths = 1 + torch.arange(sequences) % 7
    model, x = Encoder(), torch.randint(0, 11, (sequences, 7))
    with tc.capture(model) as traces, torch.no_grad():
        model(x, lengths.clamp(max=7))
    assert traces["lstm"].length.values.tolist() == lengths.tolist()
    validate_trace(traces["lstm"])
