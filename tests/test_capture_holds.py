"""``capture(model, hold=...)``: what is held takes part in the model's own forward, in gradients and in the trace."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from tallycell.errors import InputError
from tallycell.trace import validate_trace

torch = pytest.importorskip("torch")
nn = torch.nn
rnn = nn.utils.rnn

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's, of oneDNN
GENERATOR = torch.Generator().manual_seed(5)
X = torch.randn(6, 3, 2, generator=GENERATOR)  # time, sequence, feature
LENGTHS = [4, 6, 2]


def by_hand(lstm, x, held, state=None):
    """What an LSTM gives for one sequence, (time, feature), with values overwritten: a loop over torch's weights.

    ``held(layer, direction, letter, step)`` gives a dict from unit to value.
    """
    directions = 2 if lstm.bidirectional else 1

    def put(value, *where):
        for unit, number in held(*where).items():
            value = torch.cat([value[:unit], torch.tensor([number], dtype=value.dtype), value[unit + 1 :]])
        return value

    last = []
    for layer in range(lstm.num_layers):
        outputs = []
        for direction in range(directions):
            end = f"_l{layer}" + ("_reverse" if direction else "")
            weight = {name: getattr(lstm, name + end, None) for name in ("weight_ih", "weight_hh", "weight_hr")}
            bias = getattr(lstm, f"bias_ih{end}") + getattr(lstm, f"bias_hh{end}") if lstm.bias else 0
            k = layer * directions + direction
            h, c = (torch.zeros(lstm.proj_size or lstm.hidden_size), torch.zeros(lstm.hidden_size))
            if state is not None:
                h, c = state[0][k], state[1][k]
            h, c = h.to(x.dtype), c.to(x.dtype)
            steps = [None] * len(x)
            for t in reversed(range(len(x))) if direction else range(len(x)):
                pre = weight["weight_ih"] @ x[t] + weight["weight_hh"] @ h + bias
                i, f, g, o = pre.chunk(4)
                i, f = put(i.sigmoid(), layer, direction, "i", t), put(f.sigmoid(), layer, direction, "f", t)
                g, o = put(g.tanh(), layer, direction, "g", t), put(o.sigmoid(), layer, direction, "o", t)
                c = put(f * c + i * g, layer, direction, "c", t)
                h = o * c.tanh()
                h = put(h if weight["weight_hr"] is None else weight["weight_hr"] @ h, layer, direction, "h", t)
                steps[t] = h
            outputs.append(torch.stack(steps))
            last.append((h, c))
        x = torch.cat(outputs, -1)
    return x, torch.stack([h for h, _ in last]), torch.stack([c for _, c in last])


def as_functions(holds):
    """The same holds for the loop."""

    def held(layer, direction, letter, step):
        found = {}
        for hold in holds:
            here = (hold.layer, int(hold.direction == "reverse"), hold.gate) == (layer, direction, letter)
            if here and step in (range(99)[hold.steps] if isinstance(hold.steps, slice) else hold.steps):
                found |= dict.fromkeys(hold.units, hold.value)
        return found

    return held


def gradients(lstm, *results):
    """Gradients of a sum that tells the results' entries apart, to the weights."""
    lstm.zero_grad()
    sum((one * torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view(one.shape)).sum() for one in results).backward()
    return {name: weight.grad for name, weight in lstm.named_parameters()}


def assert_same(ours, theirs):
    """Float64, summed in another order."""
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)


def assert_same_gradients(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        other = torch.zeros_like(gradient) if theirs[name] is None else theirs[name]
        torch.testing.assert_close(gradient, other, atol=1e-10, rtol=1e-10)


FORMS = {
    "plain": {},
    "no bias": {"bias": False},
    "both directions": {"bidirectional": True},
    "a stack": {"num_layers": 2},
    "projected": {"num_layers": 2, "proj_size": 3, "bidirectional": True},
}
HOLDS = {
    "i": [tc.Hold("i", 0.25, units=[1, 3])],
    "f": [tc.Hold("f", 1.0, units=[0], steps=slice(1, 4))],
    "g": [tc.Hold("g", -1.0, units=[2], steps=[0, 5])],
    "o": [tc.Hold("o", 0.0, units=[3])],
    "c": [tc.Hold("c", 0.5, units=[0, 1], steps=[2, 3])],
    "h": [tc.Hold("h", -0.5, units=[1], steps=slice(None, None, 2))],
    "several": [tc.Hold("c", 0.5, units=[0]), tc.Hold("i", 0.0, units=[1]), tc.Hold("c", -0.25, units=[0], steps=[3])],
}


def made(kind=nn.LSTM, dtype=torch.float64, **options):
    torch.manual_seed(1)
    return kind(2, 4, **options).to(dtype)


@pytest.mark.parametrize("held", HOLDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [nn.LSTM, tc.LSTM])
def test_output_and_gradients_are_those_of_a_loop_with_the_value_overwritten(kind, form, held):
    lstm, x, holds = made(kind, **FORMS[form]), X.double(), [*HOLDS[held]]
    holds += [tc.Hold("f", 0.5, 1, [2])] if "num_layers" in FORMS[form] else []
    holds += [tc.Hold("c", 2.0, 0, [3], [1], "reverse")] if "bidirectional" in FORMS[form] else []
    free = lstm(x)[0]
    with tc.capture(lstm, hold=holds) as traces:
        output, (h, c) = lstm(x)
        found = gradients(lstm, output, h, c)
    results = [by_hand(lstm, x[:, k], as_functions(holds)) for k in range(3)]
    theirs = [torch.stack(parts, 1) for parts in zip(*results, strict=True)]
    assert_same((output, h, c), theirs)
    assert_same_gradients(found, gradients(lstm, *theirs))
    assert not torch.allclose(output, free, atol=1e-3)
    validate_trace(traces[""])  # which has compared itself with the output
    last = traces[""].h.isel(layer=-1).transpose("time", "sequence", "direction", ...).values
    np.testing.assert_allclose(last.reshape(output.shape), output.detach(), atol=1e-6)


def test_a_value_that_is_held_passes_no_gradient_to_what_it_replaced():
    lstm = made()
    with tc.capture(lstm, hold=tc.Hold("o", 0.5)):
        found = gradients(lstm, lstm(X.double())[0])
    assert not found["weight_ih_l0"][12:].any()  # rows of o
    assert found["weight_ih_l0"][:12].all()


# --- how sequences lie


@pytest.mark.parametrize("form", ["plain", "both directions", "projected"])
@pytest.mark.parametrize("with_state", [False, True])
def test_packed_sequences_are_held_as_far_as_each_goes(form, with_state):
    lstm, x, holds = made(**FORMS[form]), X.double(), [tc.Hold("c", 0.5, units=[0], steps=[1, 3]), *HOLDS["o"]]
    runs = lstm.num_layers * (2 if lstm.bidirectional else 1)
    state = tuple(torch.randn(runs, 3, size).double() for size in (lstm.proj_size or 4, 4)) if with_state else None
    packed = rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    with tc.capture(lstm, hold=holds) as traces:
        output, last = lstm(packed, state)
        found = gradients(lstm, *last)
    padded, lengths = rnn.pad_packed_sequence(output)
    assert lengths.tolist() == LENGTHS
    of_row = [None if state is None else (state[0][:, k], state[1][:, k]) for k in range(3)]
    results = [by_hand(lstm, x[:n, k], as_functions(holds), of_row[k]) for k, n in enumerate(LENGTHS)]
    for k, (one, h, c) in enumerate(results):
        assert_same((padded[: len(one), k], last[0][:, k], last[1][:, k]), (one, h, c))
    theirs = [torch.stack([one[part] for one in results], 1) for part in (1, 2)]
    assert_same_gradients(found, gradients(lstm, *theirs))
    assert traces[""].length.values.tolist() == LENGTHS
    assert traces[""].c.sel(layer=0, unit=0).isel(direction=0, sequence=[0, 1], time=3).values.tolist() == [0.5, 0.5]


def test_rows_of_a_packed_call_have_each_its_own_hold_in_the_order_of_the_batch():
    lstm, x, lengths = made(bidirectional=True), X.double(), [4, 6, 4]
    values = np.array([0.5, -1.0, 2.0])
    hold = tc.Hold("c", xr.DataArray(values, dims="sequence"), units=[1])
    packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    with tc.capture(lstm, hold=hold) as traces:
        padded, _ = rnn.pad_packed_sequence(lstm(packed)[0])
    for k, n in enumerate(lengths):
        one, _, _ = by_hand(lstm, x[:n, k], as_functions([tc.Hold("c", values[k], units=[1])]))
        assert_same([padded[:n, k]], [one])
    trace = traces[""]
    validate_trace(trace)
    assert trace.row.values.tolist() == [0, 1, 2]
    assert trace.length.values.tolist() == lengths
    assert trace.sequence.values.tolist() == [0, 1, 2]
    assert trace.c.isel(layer=0, direction=0, unit=1, time=0).values.tolist() == values.tolist()
    assert json.loads(trace.attrs["holds"])[0]["value"] == "array (sequence)"


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_batch_and_a_single_sequence_lie_as_torch_lays_them(batch_first):
    lstm, holds = made(batch_first=batch_first), HOLDS["several"]
    x = X.double().transpose(0, 1) if batch_first else X.double()
    with tc.capture(lstm, hold=holds) as traces:
        whole, (h, c) = lstm(x)
        one, (h_one, c_one) = lstm(X.double()[:, 1], (torch.zeros(1, 4).double(), torch.zeros(1, 4).double()))
    expected = by_hand(lstm, X.double()[:, 1], as_functions(holds))
    assert_same(((whole[1] if batch_first else whole[:, 1]), h[:, 1], c[:, 1]), expected)
    assert_same((one, h_one, c_one), expected)
    assert traces[""].sizes["sequence"] == 4


def test_dropout_between_layers_falls_as_it_falls_without():
    lstm, x = made(num_layers=3, dropout=0.5), X.double()
    nothing = tc.Hold("h", np.full(6, np.nan), layer=1)
    results = []
    for holds in ([], [nothing], [tc.Hold("c", "mean", layer=2, units=[0])]):
        torch.manual_seed(7)
        with tc.capture(lstm, hold=holds) as traces:
            results.append((lstm(x)[0], torch.rand(2)))
        validate_trace(traces[""])
    (free, after), (held, after_held), (mean, after_mean) = results
    assert_same([held], [free])
    assert after.tolist() == after_held.tolist() == after_mean.tolist()
    torch.manual_seed(7)
    with tc.capture(lstm) as traces:
        lstm(x)
    value = traces[""].c.sel(layer=2, unit=0).mean().item()
    torch.manual_seed(7)
    with tc.capture(lstm, hold=tc.Hold("c", value, layer=2, units=[0])):
        assert_same([lstm(x)[0]], [mean])


@pytest.mark.parametrize("nothing", [tc.Hold("f", 1.0, units=[]), tc.Hold("c", np.full((3, 6), np.nan))])
@pytest.mark.parametrize("form", FORMS)
def test_a_hold_that_holds_nothing_gives_what_the_free_model_gives(form, nothing):
    lstm, x = made(**FORMS[form]), X.double()
    free = lstm(x)
    with tc.capture(lstm, hold=nothing) as traces:
        held = lstm(x)
    assert_same((held[0], *held[1]), (free[0], *free[1]))
    validate_trace(traces[""])


@pytest.mark.parametrize("hold", [(), [], {}, {"1": []}])
def test_without_holds_everything_is_bit_for_bit_what_it_was(hold):
    model = nn.Sequential(nn.Linear(2, 2), made(dtype=torch.float32, num_layers=2, dropout=0.2))
    results = []
    for captured in (False, True):
        torch.manual_seed(0)
        if captured:
            with tc.capture(model, hold=hold) as traces:
                assert "forward" not in model[1].__dict__
                output, state = model(X)
            assert "holds" not in traces["1"].attrs
        else:
            output, state = model(X)
        results.append((output, *state, *gradients(model, output).values()))
    assert all(map(torch.equal, *results))


# --- the mean


def test_the_mean_is_that_of_the_same_call_with_nothing_held():
    lstm, x = made(num_layers=2, bidirectional=True), X.double()
    packed = rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    where = {"layer": 1, "units": [2, 0], "direction": "reverse"}
    with tc.capture(lstm) as free:
        lstm(packed)
    means = free[""].c.sel(layer=1, direction="reverse").mean(("sequence", "time"))
    values = [tc.Hold("c", means.sel(unit=u).item(), **(where | {"units": [u]})) for u in (2, 0)]
    outputs = []
    for holds in (values, [tc.Hold("c", "mean", **where)]):
        with tc.capture(lstm, hold=holds) as traces:
            outputs.append(lstm(packed)[0].data)
    assert_same([outputs[0]], [outputs[1]])
    assert json.loads(traces[""].attrs["holds"])[0]["value"] == "mean"
    validate_trace(traces[""])


# --- cells


class Decoder(nn.Module):
    """Two cells in a loop; what comes out of a step goes into the next."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.LSTMCell(2, 4), nn.LSTMCell(4, 3, bias=False), nn.Linear(3, 2)

    def forward(self, x, steps):
        a = b = None
        outputs = []
        for _ in range(steps):
            a = self.first(x, a)
            b = self.second(a[0], b)
            x = self.head(b[0])
            outputs.append(x)
        return torch.stack(outputs)


def decoded_by_hand(model, x, steps, holds):
    """The loop of the decoder over its weights, with values overwritten at the k-th step."""
    held = {path: as_functions(some) for path, some in holds.items()}
    states = {path: [torch.zeros(len(x), getattr(model, path).hidden_size).double()] * 2 for path in held}
    outputs = []
    for k in range(steps):
        for path in ("first", "second"):
            cell, (h, c) = getattr(model, path), states[path]

            def put(value, letter, path=path, k=k):
                for unit, number in held[path](0, 0, letter, k).items():
                    column = torch.full((len(value), 1), number).double()
                    value = torch.cat([value[:, :unit], column, value[:, unit + 1 :]], 1)
                return value

            bias = cell.bias_ih + cell.bias_hh if cell.bias else 0
            i, f, g, o = (x @ cell.weight_ih.T + h @ cell.weight_hh.T + bias).chunk(4, 1)
            i, f, g, o = put(i.sigmoid(), "i"), put(f.sigmoid(), "f"), put(g.tanh(), "g"), put(o.sigmoid(), "o")
            c = put(f * c + i * g, "c")
            x = put(o * c.tanh(), "h")
            states[path] = [x, c]
        x = model.head(x)
        outputs.append(x)
    return torch.stack(outputs)


def test_a_loop_of_cells_is_held_step_by_step():
    torch.manual_seed(0)
    model = Decoder().double()
    holds = {
        "first": [tc.Hold("f", 1.0, units=[1, 2], steps=[0, 3]), tc.Hold("c", 0.5, units=[0], steps=slice(2, None))],
        "second": [tc.Hold("i", 0.0, units=[0])],
    }
    with tc.capture(model, hold=holds) as traces:
        output = model(X[0].double(), 6)
        found = gradients(model, output)
    theirs = decoded_by_hand(model, X[0].double(), 6, holds)
    assert_same([output], [theirs])
    assert_same_gradients(found, gradients(model, theirs))
    for trace in traces.values():
        validate_trace(trace)
        assert trace.length.values.tolist() == [6, 6, 6]
    at = traces["first"].isel(layer=0, direction=0, sequence=0)
    assert (at.f.sel(unit=1) == 1).values.tolist() == [True, False, False, True, False, False]
    assert (at.c.sel(unit=0) == 0.5).values.tolist() == [False, False, True, True, True, True]


def test_each_sequence_of_a_cell_counts_its_own_steps():
    cell, values = nn.LSTMCell(2, 4), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    with tc.capture(cell, hold=tc.Hold("c", values, units=[1])) as traces, torch.no_grad():
        h, c = cell(X[0])
        h, c = cell(X[1], (h, c))
        turned = [2, 2, 0]  # as a beam search takes rows over
        fresh = torch.zeros(1, 4)
        h, c = cell(X[2, [0, 1, 2, 0]], (torch.cat([h[turned], fresh]), torch.cat([c[turned], fresh])))
        assert c[:, 1].tolist() == values[[2, 2, 2, 0]].tolist()
        h, c = cell(X[3, 0], (h[0], c[0]))  # one sequence without a batch
        assert c[1].item() == values[3]
    validate_trace(traces[""])
    assert traces[""].length.values.tolist() == [3, 2, 4, 1, 1]


def test_a_row_that_is_reset_in_place_begins_anew_and_so_does_its_count():
    cell = nn.LSTMCell(2, 4)
    with tc.capture(cell, hold=tc.Hold("c", 9.0, units=[1], steps=[0])) as traces, torch.no_grad():
        h, c = cell(X[1], cell(X[0]))
        h[0], c[0] = 0, 0  # as a rollout does whose episode has ended
        _, c = cell(X[2], (h, c))
    assert (c[:, 1] == 9).tolist() == [True, False, False]
    assert traces[""].length.values.tolist() == [2, 3, 3, 1]


def test_where_all_is_held_at_zero_the_loop_is_still_one_sequence():
    cell = nn.LSTMCell(2, 4)
    with tc.capture(cell, hold=[tc.Hold("c", 0.0), tc.Hold("o", 0.5, units=[0], steps=[2])]) as traces:
        state = None
        for x in X:
            state = cell(x, state)
    trace = traces[""]
    validate_trace(trace)
    assert trace.length.values.tolist() == [6, 6, 6]
    o = trace.o.isel(layer=0, direction=0, sequence=1, unit=0)
    assert (o == 0.5).values.tolist() == [False, False, True, False, False, False]


def test_rows_of_a_cell_have_each_its_own_hold():
    cell, values = nn.LSTMCell(2, 4).double(), np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    with tc.capture(cell, hold=tc.Hold("h", values, units=[0], steps=[1, 2])) as traces:
        state, seen = None, []
        for x in X.double():
            state = cell(x, state)
            seen.append(state[0][:, 0])
    assert_same(seen[1:3], list(torch.tensor(values.T)))
    assert_same(seen[:1], [cell(X[0].double())[0][:, 0]])
    validate_trace(traces[""])


def test_calls_of_an_lstm_that_carry_its_state_count_steps_within_each():
    lstm, x = made(), X.double()
    with tc.capture(lstm, hold=tc.Hold("c", 0.5, units=[0], steps=[1])) as traces:
        _, state = lstm(x[:4])
        lstm(x[4:], state)
    trace = traces[""]
    assert trace.length.values.tolist() == [6, 6, 6]
    at = trace.c.isel(layer=0, direction=0, sequence=0).sel(unit=0)
    assert (at == 0.5).values.tolist() == [False, True, False, False, False, True]


# --- tallycell's own module


@pytest.mark.parametrize(
    "options",
    [
        {"forget_gate": "coupled", "peepholes": True, "clip_cell": 0.4, "clip_pre": 1.5},
        {"forget_gate": "none", "gate": "hard_sigmoid", "cell": "softsign", "hidden": "relu"},
        {"gate": nn.Hardsigmoid(), "bidirectional": True},
    ],
)
@pytest.mark.parametrize("letter", "ifgoch")
def test_our_own_lstm_takes_the_same_in_a_capture_and_in_traced(options, letter):
    lstm, hold = made(tc.LSTM, **options), tc.Hold(letter, 0.375, units=[1], steps=[0, 2])
    with tc.capture(lstm, hold=hold) as traces:
        output, state = lstm(X.double())
        through = gradients(lstm, output)
    again, last, gates = lstm.traced(X.double(), hold=[hold])
    assert_same((again, *last), (output, *state))
    assert_same_gradients(gradients(lstm, again), through)
    recorded = tc.record_trace(lstm, X.double(), hold=hold)  # our kernel's answer
    for variable in "ifgoch":
        theirs = recorded[variable].isel(layer=0, direction=0).transpose("time", "sequence", "unit")
        np.testing.assert_allclose(getattr(gates, variable)[0][0].detach(), theirs, atol=1e-12)
    xr.testing.assert_allclose(traces[""][["f", "c", "h"]].drop_vars(["call", "row"]), recorded[["f", "c", "h"]])


def test_traced_holds_at_the_mean_and_by_sequence():
    lstm, x = made(tc.LSTM, batch_first=True), X.double().transpose(0, 1)
    for value in ("mean", xr.DataArray([0.1, 0.2, 0.3], dims="sequence")):
        hold = tc.Hold("c", value, units=[2])
        output, _, gates = lstm.traced(x, hold=hold)
        theirs = tc.record_trace(lstm, x, hold=hold)
        np.testing.assert_allclose(output.detach(), theirs.h.isel(layer=0, direction=0), atol=1e-12)
        assert gates.c[0][0].shape == (3, 6, 4)
    with pytest.raises(InputError, match="has values for 3 sequences, and 2 are held; give one for each"):
        lstm.traced(x[:2], hold=hold)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_other_precisions_are_held(dtype):
    lstm, hold = made(dtype=getattr(torch, dtype)), [tc.Hold("c", 0.3, units=[0]), tc.Hold("o", 1.0, units=[0])]
    with tc.capture(lstm, hold=hold) as traces:
        output, (_, c) = lstm(X.to(lstm.weight_ih_l0.dtype))
    assert output.dtype == lstm.weight_ih_l0.dtype
    assert (c[..., 0] == torch.tensor(0.3).to(c.dtype)).all()
    assert (output[..., 0] == torch.tensor(0.3).tanh().to(c.dtype)).all()  # rounded once, at the end
    validate_trace(traces[""])


def test_autocast_is_held():
    model = nn.ModuleDict({"lstm": nn.LSTM(2, 4), "cell": nn.LSTMCell(2, 4)})
    holds = {path: tc.Hold("c", 0.3, units=[1]) for path in model}
    with tc.capture(model, hold=holds) as traces:
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = model["lstm"](X)
            _, c = model["cell"](X[0])
        whole, _ = model["lstm"](X.bfloat16().float())
        _, precise = model["cell"](X[0])
    assert torch.equal(output, whole.bfloat16())  # computed in float32, and rounded
    assert torch.equal(c, precise)
    assert list(traces) == ["lstm", "cell"]
    for trace in traces.values():
        validate_trace(trace)


def test_weights_that_are_computed_are_those_that_run():
    lstm = nn.utils.parametrizations.weight_norm(made(), "weight_hh_l0")
    with tc.capture(lstm, hold=HOLDS["c"]) as traces:
        output, _ = lstm(X.double())
    assert_same([output[:, 0]], [by_hand(lstm, X.double()[:, 0], as_functions(HOLDS["c"]))[0]])
    validate_trace(traces[""])


def test_checkpoints_inside_the_block_have_the_same_gradients():
    lstm, x = made(), X.double().requires_grad_()
    with tc.capture(lstm, hold=HOLDS["several"]):
        plain = gradients(lstm, lstm(x)[0])
        again = gradients(lstm, torch.utils.checkpoint.checkpoint(lambda x: lstm(x)[0], x, use_reentrant=False))
    assert_same_gradients(again, plain)


# --- blocks


def test_the_model_is_as_it_was_whatever_happens():
    model = nn.Sequential(made(dtype=torch.float32))
    free = model(X)[0]
    with pytest.raises(RuntimeError, match="input_size"), tc.capture(model, hold=HOLDS["c"]):
        model(X[..., :1])
    with pytest.raises(ZeroDivisionError), tc.capture(model, hold=HOLDS["c"]):
        raise ZeroDivisionError
    with pytest.raises(InputError), tc.capture(model, hold=tc.Hold("c", 0.0, units=[9])):
        pass
    assert "forward" not in model[0].__dict__
    assert not model[0]._forward_hooks
    assert torch.equal(model(X)[0], free)


def test_blocks_inside_each_other_add_up_and_the_inner_one_comes_last():
    lstm, x = made(), X.double()
    outer, inner = tc.Hold("c", 0.5, units=[0, 1]), tc.Hold("c", -0.5, units=[1, 2])
    with tc.capture(lstm, hold=outer) as outside:
        with tc.capture(lstm, hold=inner) as inside:
            _, (_, both) = lstm(x)
        _, (_, one) = lstm(x[:4])
    assert both[0, 0, :3].tolist() == [0.5, -0.5, -0.5]
    assert one[0, 0, :2].tolist() == [0.5, 0.5]
    assert one[0, 0, 2] != -0.5
    assert [entry["value"] for entry in json.loads(inside[""].attrs["holds"])] == [0.5, -0.5]
    validate_trace(outside[""])
    assert outside[""].c.isel(layer=0, direction=0, time=0, unit=1).values.tolist() == [-0.5] * 3 + [0.5] * 3


def test_a_capture_around_a_block_with_holds_traces_what_was_held():
    cell = nn.LSTMCell(2, 4)
    with tc.capture(cell) as traces, torch.no_grad():
        state = cell(X[0])
        with tc.capture(cell, hold=tc.Hold("c", [0.5], units=[0], steps=[0])):  # counts from where it was opened
            state = cell(X[1], state)
        cell(X[2], state)
    trace = traces[""]
    validate_trace(trace)
    assert (trace.c.isel(layer=0, direction=0, sequence=0, unit=0) == 0.5).values.tolist() == [False, True, False]
    assert trace.attrs["holds"]


def test_another_thread_cannot_hold_in_the_same_module():
    model, raised = nn.Sequential(made()), []

    def hold_too():
        try:
            with tc.capture(model, hold=HOLDS["o"]):
                pass
        except InputError as error:
            raised.append(str(error))

    with tc.capture(model, hold=HOLDS["c"]):
        thread = threading.Thread(target=hold_too)
        thread.start()
        thread.join()
    assert raised == [
        "the LSTM at '0' is held by a capture in another thread; give each thread a copy of the model, or let one wait "
        "for the other"
    ]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_the_model_is_not_held(copied):
    lstm = made(dtype=torch.float32)
    free = lstm(X)[0]
    with tc.capture(lstm, hold=HOLDS["c"]):
        hooks, lstm._forward_hooks = lstm._forward_hooks, type(lstm._forward_hooks)()
        before, lstm._forward_pre_hooks = lstm._forward_pre_hooks, type(hooks)()
        other = copied(lstm)
        lstm._forward_hooks, lstm._forward_pre_hooks = hooks, before
        held = lstm(X)[0]
    with torch.no_grad():
        lstm.weight_hh_l0.zero_()  # the copy has its own
    assert torch.equal(other(X)[0], free)
    assert not torch.equal(held, free)
    with tc.capture(other, hold=HOLDS["c"]):
        assert torch.equal(other(X)[0], held)


def test_hooks_of_others_see_what_was_held():
    lstm, seen = made(), []
    lstm.register_forward_hook(lambda module, given, returned: seen.append(returned[1][1]))
    with tc.capture(lstm, hold=tc.Hold("c", 0.5, units=[0])):
        lstm(X.double())
    assert (seen[0][..., 0] == 0.5).all()


# --- what is refused


class Other(nn.LSTM):
    """Not what its equations say."""

    def forward(self, x):
        return super().forward(x)


TWO = nn.ModuleDict({"low": nn.LSTM(2, 4), "high": nn.LSTMCell(4, 4)})


@pytest.mark.parametrize(
    ("model", "hold", "text"),
    [
        (
            TWO,
            tc.Hold("c", 0.0),
            "the model has LSTMs at 'low', 'high'; say which one the holds are for, as in hold={'low': holds}",
        ),
        (TWO, {"up": tc.Hold("c", 0.0)}, "hold names an LSTM at 'up'; the model has them at 'low', 'high'"),
        (TWO, {"low": 3}, "hold is 3; give a Hold, or a list of them"),
        (TWO, {"low": ["c"]}, "'c' is no hold; give a Hold, such as Hold('f', 1.0, units=[3])"),
        (TWO, {"low": tc.Hold("c", 0.0, layer=1)}, "LSTM at 'low': Hold(gate='c', value=0.0, layer=1"),
        (TWO, {"low": tc.Hold("c", 0.0, direction="reverse")}, "the LSTM reads forward only"),
        (TWO, {"high": tc.Hold("c", 0.0, units=[4])}, "LSTM at 'high': a hold names unit 4; there are 4, counted"),
        (
            TWO,
            {"high": tc.Hold("c", "mean")},
            "LSTM at 'high': a hold of c asks for the mean, which a cell that runs step by step does not know; give "
            "the number, taken from a trace in which nothing is held",
        ),
        (
            TWO,
            {"high": tc.Hold("c", 1.0, steps=[-1])},
            "LSTM at 'high': a hold of c counts steps from the end, which a cell in a loop does not know; count from "
            "0, where the sequence began",
        ),
        (TWO, {"high": tc.Hold("c", 1.0, steps=slice(-3, None))}, "counts steps from the end"),
        (TWO, {"high": tc.Hold("c", [1.0, 2.0], steps=slice(3))}, "has values for 2 steps, and 3 are held; give one"),
        (
            Other(2, 4),
            tc.Hold("c", 0.0),
            "LSTM at '': a Other with a forward of its own, which a hold cannot enter; it can enter those of "
            "torch.nn.LSTM, torch.nn.LSTMCell and tallycell.LSTM",
        ),
    ],
)
def test_a_hold_that_nothing_could_obey_is_refused_before_the_model_runs(model, hold, text):
    with pytest.raises(InputError) as error, tc.capture(model, hold=hold):
        pytest.fail("the block began")
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("hold", "text"),
    [
        (tc.Hold("c", np.zeros(5)), "LSTM at 'low': the hold of c in layer 0, forward, has values for 5 steps, and 6"),
        (tc.Hold("c", 0.0, steps=[6]), "LSTM at 'low': a hold names step 6; there are 6, counted from 0"),
        (tc.Hold("c", np.zeros((2, 6))), "LSTM at 'low': the hold of c in layer 0, forward, has values for 2 seq"),
    ],
)
def test_a_hold_that_does_not_fit_the_call_stops_the_model(hold, text):
    with pytest.raises(InputError) as error, tc.capture(TWO, hold={"low": hold}):
        TWO["low"](X)
    assert text in str(error.value)


def test_a_mean_of_single_steps_is_refused():
    with (
        pytest.raises(
            InputError, match="LSTM at 'low': a hold of f asks for the mean, and the call has one step; give"
        ),
        tc.capture(TWO, hold={"low": tc.Hold("f", "mean")}),
    ):
        TWO["low"](X[:1])


def test_values_that_end_before_the_loop_stop_it():
    cell = TWO["high"]
    with tc.capture(cell, hold=tc.Hold("c", [0.5, 0.25], units=[0])):
        state = cell(torch.zeros(4))
        state = cell(torch.zeros(4), state)
        assert state[1][0] == 0.25
        with pytest.raises(InputError) as error:
            cell(torch.zeros(4), state)
    assert str(error.value) == (
        "LSTM at '': a hold of c has values for 2 steps, and a sequence goes on to step 2; give it one for each, or "
        "name its steps"
    )


@pytest.mark.parametrize(
    ("given", "hx", "text"),
    [
        (torch.zeros(3, 5), None, "got an input of shape (3, 5); an LSTMCell reads (sequence, 4) or (4,)"),
        ([1.0], None, "got an input of type list; an LSTMCell reads"),
        (torch.zeros(3, 4).double(), None, "got an input of dtype torch.float64, the weights are torch.float32"),
        (torch.zeros(3, 4), torch.zeros(3, 4), "hx is a Tensor; expected the pair (h, c)"),
        (torch.zeros(3, 4), (torch.zeros(2, 4),) * 2, "h has the shape (2, 4); expected a tensor of shape (3, 4)"),
        (torch.zeros(3, 4), (torch.zeros(3, 4), 0), "c has type int; expected a tensor of shape (3, 4)"),
    ],
)
def test_what_a_held_cell_cannot_read_is_named(given, hx, text):
    with pytest.raises(InputError) as error, tc.capture(TWO, hold={"high": tc.Hold("c", 0.0)}):
        TWO["high"](given, hx)
    assert text in str(error.value)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_graphs_and_transforms_are_refused():
    lstm = made(dtype=torch.float32)
    with tc.capture(lstm, hold=HOLDS["c"]):
        with pytest.raises(InputError, match="LSTM at '': a hold cannot enter a graph that torch traces, compiles or"):
            torch.jit.trace(lstm, X)
        with pytest.raises(InputError, match="nor functorch's transforms; run the model itself inside the with block"):
            torch.func.vmap(lstm, in_dims=1)(X)
