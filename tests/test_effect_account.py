"""The account of an output: its entries against the equations run forward, its sum, and what becomes of it without."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import tallycell as tc
from tallycell.activations import activation
from tallycell.effect.account import explain_output
from tallycell.effect.counterfactual import counterfactual_steps, counterfactual_units
from tallycell.effect.outputs import outputs, read_readout
from tallycell.errors import ActivationError, InputError
from tallycell.input import Input
from tallycell.loaders.loaded_model import Head, LoadedModel, Place
from tallycell.machine.shipped import shipped_machine
from tallycell.names import DIRECTIONS, parameter_name
from tallycell.parameters import Activations, LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.trace import Hold, Record, record_trace

TIME, FEATURES, UNITS, OUTPUTS = 7, 3, 4, 3
# Entries may be larger than their sum: rounding is measured by them. float32 rounds c at each step.
ROUNDING = {"float64": 1e-12, "float32": 1e-5}

PLAIN = {"layers": 1}
FEATURES_OF_LSTMS = {
    "plain": PLAIN,
    "stack": {"layers": 3},
    "both directions": {"directions": 2},
    "stack of both directions": {"layers": 2, "directions": 2},
    "projection": {"layers": 2, "directions": 2, "projection": 2},
    "peepholes": {"layers": 2, "peepholes": True},
    "coupled": {"layers": 2, "forget_gate": "coupled"},
    "no forget gate": {"layers": 2, "forget_gate": "none"},
    "clipped": {"layers": 2, "directions": 2, "clip_cell": 0.2, "clip_pre": 0.4},
    "no biases": {"layers": 2, "bias": False},
    "not zero at zero": {"layers": 2, "activations": ("sigmoid", "sigmoid", "softplus")},
    "growing f": {"layers": 2, "activations": ("softplus", "tanh", "identity"), "clip_pre": 1.5},
    "all at once": {
        "layers": 3, "directions": 2, "projection": 3, "peepholes": True, "clip_cell": 0.3, "clip_pre": 0.8,
        "activations": ("sigmoid", "softplus", "elu"),
    },
}  # fmt: skip


def random_stack(seed=0, *, layers=1, directions=1, projection=0, peepholes=False, bias=True, dtype="float64",
                 activations=None, **options):  # fmt: skip
    rng = np.random.default_rng(seed)
    hidden = projection or UNITS
    weights = {}
    for layer in range(layers):
        for direction in range(directions):
            shapes = {
                "weight_ih": (4 * UNITS, FEATURES if layer == 0 else directions * hidden),
                "weight_hh": (4 * UNITS, hidden),
            }
            shapes |= {"bias_ih": (4 * UNITS,), "bias_hh": (4 * UNITS,)} if bias else {}
            shapes |= {"weight_hr": (projection, UNITS)} if projection else {}
            shapes |= {"weight_ch": (3 * UNITS,)} if peepholes else {}
            for kind, shape in shapes.items():
                weights[parameter_name(kind, layer, direction)] = rng.normal(scale=0.8, size=shape).astype(dtype)
    slots = Activations(*map(activation, activations)) if activations else Activations()
    return LSTMParameters(weights, slots, **options)


def network_of(parameters, seed=1):
    """Any LSTM with a head and initial states, as a recogniser whose symbols are the features."""
    rng = np.random.default_rng(seed)
    p = parameters
    states = p.num_layers * p.num_directions
    return Recogniser(
        tuple("abc"), np.eye(FEATURES), p, rng.normal(size=(OUTPUTS, p.num_directions * p.output_size)),
        rng.normal(size=OUTPUTS), ("x", "y", "z"), "argmax",
        rng.normal(scale=0.5, size=(states, p.output_size)), rng.normal(scale=0.5, size=(states, p.hidden_size)),
    )  # fmt: skip


def random_x(seed=2, time=TIME):
    return np.random.default_rng(seed).normal(size=(time, FEATURES))


class Sources:
    """A vector as the sum of what it was made of: one row a source, the last row everything else."""

    def __init__(self, names):
        self.row = {name: k for k, name in enumerate(names)}

    def zeros(self, size):
        return np.zeros((len(self.row), size))


def entries_forward(network, x, output, step, *, down=True):
    """Follow every source through the equations, step by step, and see how much of the output it is.

    Written as loops over plain equations, forward: nothing of it is the account's own way, which goes backward.
    """
    p = network.parameters
    layers, directions, units = p.num_layers, p.num_directions, p.hidden_size
    lowest = 0 if down else layers - 1
    parts = ("write", "clipping", "offset", "recurrent", "bias")
    cells = [(layer, d, u) for layer in range(lowest, layers) for d in range(directions) for u in range(units)]
    sources = Sources(
        [(part, *cell, t) for part in parts for cell in cells for t in range(len(x))]
        + [("initial", *cell) for cell in cells]
    )
    read, made = np.asarray(x, p.dtype).astype(float), None  # made: by step, what each source is of what is read
    for layer in range(layers):
        gave, of = [], []
        for d in range(directions):
            h, shares = _one_direction(network, layer, d, read, made, sources, lowest)
            gave.append(h)
            of.append(shares)
        read = np.concatenate(gave, axis=1)
        made = np.concatenate(of, axis=2) if layer >= lowest else None
    weight = network.readout_weight[output].astype(float)
    found = {name: float(made[step, row] @ weight) for name, row in sources.row.items()}
    return found, float(read[step] @ weight + network.readout_bias[output])


def _one_direction(network, layer, d, read, made, sources, lowest):
    p = network.parameters
    one, slots = p.layer(layer, d), p.slots(d)
    units, k = p.hidden_size, layer * p.num_directions + d
    w = {name: (one.weight_ih[s].astype(float), one.weight_hh[s].astype(float), one.total_bias[s].astype(float))
         for name, s in ((g, slice(n * units, (n + 1) * units)) for n, g in enumerate("ifgo"))}  # fmt: skip
    peep = (
        dict.fromkeys("ifo", 0.0)
        if one.weight_ch is None
        else dict(zip("ifo", np.split(one.weight_ch, 3), strict=True))
    )
    h, c = network.h_0[k].astype(float), network.c_0[k].astype(float)
    of_c = sources.zeros(units)
    if layer >= lowest:
        for u in range(units):
            of_c[sources.row["initial", layer, d, u], u] = c[u]
    hs, shares = np.zeros((len(read), p.output_size)), np.zeros((len(read), len(sources.row), p.output_size))
    for t in reversed(range(len(read))) if d else range(len(read)):
        pre = {g: w[g][0] @ read[t] + w[g][1] @ h + w[g][2] + (peep[g] * c if g in "if" else 0.0) for g in "ifg"}
        clipped = {g: np.clip(v, -one.clip_pre, one.clip_pre) if one.clip_pre else v for g, v in pre.items()}
        i = slots.gate(clipped["i"])
        f = {"own": slots.gate(clipped["f"]), "coupled": 1 - i, "none": np.ones(units)}[one.forget_gate]
        g = slots.cell(clipped["g"])
        new = f * c + i * g
        kept = np.clip(new, -one.clip_cell, one.clip_cell) if one.clip_cell else new
        of_c = of_c * f
        for u in range(units) if layer >= lowest else ():
            at = (layer, d, u, t)
            of_c[sources.row["clipping", *at], u] += kept[u] - new[u]
            if layer == lowest:
                of_c[sources.row["write", *at], u] += i[u] * g[u]
                continue
            zero = float(slots.cell(np.zeros(1))[0])
            slope = (g[u] - zero) / pre["g"][u]
            of_c[:, u] += i[u] * slope * (made[t] @ w["g"][0][u])
            of_c[sources.row["recurrent", *at], u] += i[u] * slope * (w["g"][1][u] @ h)
            of_c[sources.row["bias", *at], u] += i[u] * (slope * w["g"][2][u] + zero)
        c = kept
        o_pre = w["o"][0] @ read[t] + w["o"][1] @ h + w["o"][2] + peep["o"] * c
        o = slots.gate(np.clip(o_pre, -one.clip_pre, one.clip_pre) if one.clip_pre else o_pre)
        zero = float(slots.hidden(np.zeros(1))[0])
        exposed, of_exposed = o * slots.hidden(c), of_c * (o * (slots.hidden(c) - zero) / c)
        for u in range(units) if layer >= lowest else ():
            of_exposed[sources.row["offset", layer, d, u, t], u] += o[u] * zero
        project = np.eye(units) if one.weight_hr is None else one.weight_hr.astype(float)
        h = project @ exposed
        hs[t], shares[t] = h, of_exposed @ project.T
    return hs, shares


def check_complete(account, dtype="float64"):
    magnitude = float(abs(account.entries).sum() + abs(account.initial).sum()) + abs(account.bias)
    total = float(account.entries.sum() + account.initial.sum()) + account.bias
    assert abs(total - account.output) <= ROUNDING[dtype] * magnitude
    assert account.rounding == pytest.approx(account.output - total, abs=1e-12 * magnitude)


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("options", FEATURES_OF_LSTMS.values(), ids=FEATURES_OF_LSTMS)
def test_each_entry_is_what_the_equations_make_of_its_source_and_all_sum_to_the_output(options, down):
    network, x, step = network_of(random_stack(3, **options)), random_x(), 4
    account = explain_output(network, x, step, "y", down=down)
    seen = x if options.get("directions") == 2 else x[: step + 1]
    expected, output = entries_forward(network, seen, 1, step, down=down)
    scale = sum(map(abs, expected.values())) + 1
    assert account.output == pytest.approx(output, rel=1e-12)
    found = account.entries.to_series().to_dict()
    for name, value in expected.items():
        part, layer, direction, *rest = name
        if part == "initial":
            own = account.initial.sel(layer=layer, direction=DIRECTIONS[direction], unit=rest[0])
        else:
            own = found.get((part, layer, DIRECTIONS[direction], *rest), 0.0)
        assert float(own) == pytest.approx(value, abs=1e-12 * scale), name
    assert account.entries.size <= len(expected)
    check_complete(account)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(10))
def test_the_account_of_a_random_stack_is_complete(seed, dtype):
    rng = np.random.default_rng(seed)
    names = [("sigmoid", "tanh", "tanh"), ("hard_sigmoid", "softsign", "identity"), ("sigmoid", "relu", "elu"),
             ("softplus", "tanh", "softplus")]  # fmt: skip
    k = int(rng.integers(len(names)))
    parameters = random_stack(
        seed, layers=int(rng.integers(1, 4)), directions=int(rng.integers(1, 3)), projection=int(rng.choice([0, 2])),
        peepholes=bool(rng.integers(2)), bias=bool(rng.integers(2)), dtype=dtype,
        activations=names[k], forget_gate=str(rng.choice(["own", "coupled", "none"])),
        clip_pre=1.5 if k > 1 else rng.choice([None, 1.5]), clip_cell=rng.choice([None, 0.7]),
    )  # fmt: skip
    account = explain_output(network_of(parameters), random_x(seed, 40), int(rng.integers(40)), int(rng.integers(3)))
    check_complete(account, dtype)


def test_both_sums_of_an_account_are_the_output_and_the_largest_come_first():
    account = explain_output(network_of(random_stack(layers=2, directions=2)), random_x(), 3, "x")
    by_step, by_unit = account.by_step(), account.by_unit()
    assert float(by_step.sum() + account.initial.sum()) + account.bias == pytest.approx(account.output, abs=1e-12)
    assert float(by_unit.sum()) + account.bias == pytest.approx(account.output, abs=1e-12)
    steps = account.top_steps(3)
    assert steps.step.values.tolist() == np.argsort(-abs(by_step.values))[:3].tolist()
    units = account.top_units(2)
    largest = np.unravel_index(np.argmax(abs(by_unit.values)), by_unit.shape)
    assert (int(units.layer[0]), str(units.direction[0].values), int(units.unit[0])) == (
        largest[0], DIRECTIONS[largest[1]], largest[2],
    )  # fmt: skip
    assert float(units[0]) == float(by_unit.values[largest])


def test_what_comes_after_the_step_has_no_part_where_nothing_reads_from_the_end():
    network, x = network_of(random_stack()), random_x()
    account = explain_output(network, x, 2, 0)
    assert account.entries.step.values.tolist() == [0, 1, 2]
    changed = x.copy()
    changed[3:] = 9.0
    xr.testing.assert_identical(explain_output(network, changed, 2, 0).entries, account.entries)
    assert explain_output(network_of(random_stack(directions=2)), x, 2, 0).by_step()[-1] != 0


def test_labels_tokens_sequences_and_steps_from_the_end_are_those_of_the_input():
    network, x = network_of(random_stack()), np.stack([random_x(5), random_x(6)], axis=1)
    days = pd.date_range("2001-03-01", periods=TIME)
    named = xr.DataArray(x, dims=("time", "sequence", "feature"), coords={"time": days, "sequence": ["p", "q"]})
    given = Input(named, "two", "two sequences", tokens=[list("abcabca"), list("bbbbb")], lengths=np.array([7, 5]))
    account = explain_output(network, given, -1, "z", sequence=1)
    assert account.step == 4
    assert account.entries.token.values.tolist() == list("bbbbb")
    assert account.entries.time.values.tolist() == days[:5].values.tolist()
    alone = explain_output(network, x[:5, 1], 4, 2)
    np.testing.assert_array_equal(account.entries.values, alone.entries.values)
    assert "step 4, 2001-03-05, 'b'" in str(account) or "step 3, 2001-03-04, 'b'" in str(account)


def test_initial_states_of_the_input_are_used():
    parameters = random_stack()
    model = LoadedModel({"lstm": parameters}, Path("m.pt"), head=Head(np.ones((2, UNITS))))
    rng = np.random.default_rng(0)
    h_0, c_0 = rng.normal(size=(1, 2, UNITS)), rng.normal(size=(1, 2, UNITS))
    x = np.stack([random_x(5), random_x(6)], axis=1)
    account = explain_output(model, Input(x, "x", "", state=(h_0, c_0)), 2, 1, sequence=1)
    trace = record_trace(parameters, x, (h_0, c_0))
    kept = trace.f.isel(layer=0, direction=0, sequence=1).values[:3].prod(0) * c_0[0, 1]
    last = trace.isel(layer=0, direction=0, sequence=1, time=2)
    np.testing.assert_allclose(account.initial.values[0, 0], kept * (last.h / last.c).values, rtol=1e-12)
    check_complete(account)


def line(bias, weight=0.0):
    """Weights of a cell of one unit with linear gates and candidate that read one feature."""
    weights = {"weight_ih_l0": np.zeros((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    weights["weight_ih_l0"][:, 0] = weight
    return weights | {"bias_ih_l0": np.array(bias, float), "bias_hh_l0": np.zeros(4)}


def one_output(weights, hidden):
    slots = Activations(activation("identity"), activation("identity"), activation(hidden))
    return LoadedModel({"": LSTMParameters(weights, slots)}, Path("m"), head=Head(np.ones((1, 1))))


def test_nothing_written_stays_nothing_though_the_gates_since_multiply_beyond_all_numbers():
    model = one_output(line(bias=[0, 8, 1, 1], weight=[1, 0, 0, 0]), "identity")  # f = 8, i = x, g = 1
    x = np.zeros((500, 1))
    x[-2:, 0] = 1.0, 3.0
    account = explain_output(model, x, -1, 0)
    assert account.by_step().values.tolist() == [0.0] * 498 + [8.0, 3.0]
    assert account.initial.values.tolist() == [[[0.0]]]
    assert account.output == 11


def test_where_a_cell_is_0_its_writes_are_shown_by_the_slope_there():
    model = one_output(line(bias=[1, 1, 0, 1], weight=[0, 0, 1, 0]), "softplus")  # c is the sum of x
    for x in ([0.25, 0.5, -0.75], [0.1, 0.2, -0.3]):  # exactly 0, and 0 but for rounding
        account = explain_output(model, np.array(x)[:, np.newaxis], -1, 0)
        write, offset = (account.entries.sel(part=part).sum() for part in ("write", "offset"))
        np.testing.assert_allclose(account.entries.sel(part="write").values.ravel(), np.array(x) / 2, rtol=1e-12)
        assert float(offset) == pytest.approx(np.log(2))
        assert float(write) == pytest.approx(0, abs=1e-16)
        check_complete(account)


def test_a_tensor_and_a_list_are_what_an_array_is():
    network, x = network_of(random_stack()), random_x()
    expected = explain_output(network, x, 3, 0).entries
    xr.testing.assert_identical(explain_output(network, torch.tensor(x), np.int64(3), np.int64(0)).entries, expected)
    xr.testing.assert_identical(explain_output(network, x.tolist(), 3, 0).entries, expected)


def test_memory_is_asked_before_it_is_taken(monkeypatch):
    monkeypatch.setattr("tallycell.memory.available_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"an account of 4 steps needs about .* this process may use 1,000 bytes"):
        explain_output(NETWORK, random_x(), 3, 0)
    with pytest.raises(InputError, match="making 3 outputs at 200 steps needs about"):
        outputs(NETWORK, np.ones((200, UNITS)))


def test_a_notebook_sees_the_answer_with_every_text_escaped():
    network = replace(network_of(random_stack()), outputs=("<b>", "y", "z"))
    account = explain_output(network, random_x(), 3, "<b>")
    assert "&lt;b&gt;&#x27; at step 3 is" in account._repr_html_()
    assert "<th" in account._repr_html_()
    assert repr(account).startswith("Account('<b>' at step 3: ")


# --- networks of which it is known what they depend on


def explain_text(machine, text, output, step=-1):
    network = tc.compile_machine(shipped_machine(machine))
    return network, explain_output(network, tc.open_text(network, text), step, output)


def test_more_a_than_b_is_every_a_up_and_every_b_down_by_the_same():
    _, account = explain_text("majority", "aababb", "accept")
    by_step = account.by_step().values
    assert by_step[0] > 1
    assert (by_step / by_step[0]).tolist() == [1, 1, -1, 1, -1, -1]
    assert account.top_steps().token.values.tolist() == ["a", "a", "b", "a", "b"]


def test_after_a_b_no_a_may_follow_and_only_the_last_b_says_so():
    for text in ("aaabbb", "aaabb"):
        _, account = explain_text("anbn", text, "a")
        assert account.output < 0
        assert account.by_step().values[:-1].tolist() == [0] * (len(text) - 1)
        assert account.by_step().values[-1] < account.output + 1e-3


def test_what_was_read_before_a_reset_has_no_part():
    network, account = explain_text("line-over-80", "x" * 90 + "\nxxx", "over")
    assert account.by_step().values[:91].tolist() == [0.0] * 91
    changed = counterfactual_steps(network, tc.open_text(network, "x" * 90 + "\nxxx"), -1, "over", steps=range(90))
    assert not changed.values.any()


def test_where_no_write_is_shown_the_account_says_so_in_words():
    _, account = explain_text("dyck-1", "()", "(")
    assert "Steps at which its cells were written:\n  all 2      +0" in str(account)
    assert not account.top_steps().size


# --- against models of others


class Tagger(torch.nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, FEATURES)
        self.lstm = torch.nn.LSTM(FEATURES, UNITS, batch_first=True, **options)
        self.head = torch.nn.Linear(UNITS * (2 if options.get("bidirectional") else 1), 5)

    def forward(self, codes):
        return self.head(self.lstm(self.embedding(codes))[0])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_outputs_and_account_are_those_of_a_module_of_torch_that_was_saved(tmp_path, options):
    torch.manual_seed(3)
    module = Tagger(**options).eval()
    torch.save(module.state_dict(), tmp_path / "tagger.pt")
    model = tc.load(tmp_path / "tagger.pt")
    codes = torch.tensor([[1, 8, 2, 2, 0], [4, 4, 3, 1, 7]])
    with torch.no_grad():
        expected, x = module(codes), module.embedding(codes)
    named = xr.DataArray(x.numpy(), dims=("sequence", "time", "feature"))
    said = outputs(model, record_trace(model, named))
    np.testing.assert_allclose(said.values, expected.numpy(), atol=1e-6)  # float32
    squashed = outputs(model, record_trace(model, named), activation="softmax")
    np.testing.assert_allclose(squashed.values, expected.softmax(-1).numpy(), atol=1e-6)
    account = explain_output(model, named, 3, 4, sequence=1)
    assert account.output == pytest.approx(float(expected[1, 3, 4]), abs=1e-6)
    check_complete(account, "float32")


def test_the_account_of_the_shipped_model_is_complete():
    model = tc.load(files("tallycell") / "shipped" / "stdlib_characters.safetensors")
    given = tc.open_text(model, "def f(x):\n    return (x + [1, 2][0])\n" * 20)
    for step, output in ((0, "d"), (300, ")"), (700, "\n")):
        account = explain_output(model, given, step, output)
        assert abs(account.rounding) <= 1e-5 * max(1, abs(account.output))
        said = outputs(model, record_trace(model, given, record=Record("h")))
        assert float(said.sel(output=output)[0, step]) == pytest.approx(account.output, abs=1e-5)
    assert str(account).startswith("'\\n' at step 700 is ")


def test_the_account_of_a_third_partys_model_is_complete(third_party):
    folder = third_party / "models" / "ml5-shakespeare"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    model = tc.load(folder, forget_bias=1)
    readout = read_readout(model)
    x = np.random.default_rng(0).normal(size=(50, readout.parameters.input_size))
    account = explain_output(model, Input(x, "x", "", lstm=readout.lstm), 49, 3)
    check_complete(account, "float32")


@pytest.mark.models
@pytest.mark.parametrize("down", [True, False])
def test_the_account_of_a_tagger_of_two_layers_that_read_both_ways_is_complete(pypi_model, down):
    model = tc.load(pypi_model("uzmorph-nn", "0.1.0") / "uzmorph_nn" / "data" / "morph_bilstm.pth")
    x = model.embedding[np.random.default_rng(0).integers(0, len(model.embedding), 30)]
    account = explain_output(model, x, 20, 5, down=down)
    assert account.entries.sizes["layer"] == (2 if down else 1)
    check_complete(account, "float32")


@pytest.mark.parametrize(
    ("merge", "join"),
    [
        ("sum", lambda a, b: a + b),
        ("ave", lambda a, b: (a + b) / 2),
        ("mul", lambda a, b: a * b),
        ("concat", lambda a, b: np.concatenate([a, b], axis=-1)),
    ],
)
def test_directions_that_keras_merged_are_merged_in_the_outputs_and_in_the_account(merge, join):
    parameters, x = random_stack(directions=2), random_x()
    rng = np.random.default_rng(4)
    head = Head(rng.normal(size=(2, UNITS * (2 if merge == "concat" else 1))), rng.normal(size=2), "relu")
    model = LoadedModel({"b": parameters}, Path("m.keras"), head=head, places={"b": Place(merge=merge)})
    trace = record_trace(model, x)
    h = trace.h.isel(layer=0, sequence=0).values
    read = join(h[0], h[1])
    expected = read @ head.weight.T + head.bias
    np.testing.assert_allclose(outputs(model, trace).values[0], expected, rtol=1e-12)
    np.testing.assert_allclose(outputs(model, read).values[0], expected, rtol=1e-12)
    np.testing.assert_allclose(outputs(model, trace, activation=True).values[0], np.maximum(expected, 0), rtol=1e-12)
    account = explain_output(model, x, 2, 1)
    assert account.output == pytest.approx(expected[2, 1], rel=1e-12)
    check_complete(account)


# --- outputs


def test_outputs_of_a_recogniser_are_its_logits_by_name_and_nan_beyond_a_sequence():
    network = network_of(random_stack(directions=2))
    x = np.stack([random_x(5), random_x(6)], axis=1)
    trace = record_trace(network, x, lengths=[TIME, 3])
    said = outputs(network, trace)
    assert said.dims == ("sequence", "time", "output")
    assert said.output.values.tolist() == ["x", "y", "z"]
    h = np.concatenate(list(trace.h.isel(layer=0).values), axis=-1)
    np.testing.assert_allclose(said.values[1, :3], network.logits(h[1, :3]), rtol=1e-12)
    assert np.isnan(said.values[1, 3:]).all()
    xr.testing.assert_allclose(outputs(network, trace.h), said)
    np.testing.assert_array_equal(outputs(network, trace.sel(sequence=0, layer=0)).values[0], said.values[0])
    probabilities = outputs(network, trace, activation=True)
    np.testing.assert_allclose(
        probabilities.values[0], torch.softmax(torch.tensor(said.values[0]), -1).numpy(), rtol=1e-12
    )
    switches = outputs(replace(network, decision="threshold"), trace, activation=True)
    np.testing.assert_allclose(switches.values[0], torch.sigmoid(torch.tensor(said.values[0])).numpy(), rtol=1e-12)


def test_a_vocabulary_names_the_outputs_only_where_it_has_as_many_symbols():
    model = LoadedModel({"": random_stack()}, Path("m"), head=Head(np.ones((2, UNITS))), vocabulary=("no", "yes"))
    assert read_readout(model).number("yes") == 1
    assert explain_output(model, random_x(), 0, "yes").name == "'yes'"
    numbered = replace(model, vocabulary=("no", "yes", "perhaps"))
    assert outputs(numbered, np.ones((3, UNITS))).output.values.tolist() == [0, 1]
    assert explain_output(numbered, random_x(), 0, -1).name == "output 1"


# --- without a step, without a unit


def run_with(network, x, step, output, hold=()):
    return float(outputs(network, record_trace(network, x, hold=hold)).values[0, step, output])


@pytest.mark.parametrize("options", [PLAIN, {"layers": 2, "projection": 2, "peepholes": True}, {"directions": 2}])
@pytest.mark.parametrize("without", ["write", "zeros", "mean"])
def test_a_step_left_out_is_the_network_run_again_without_it(options, without):
    network, x, step = network_of(random_stack(5, **options)), random_x(), 4
    p, seen = network.parameters, TIME if "directions" in options else step + 1
    changed = counterfactual_steps(network, x, step, "z", without=without)
    assert changed.step.values.tolist() == list(range(seen))
    for k in range(seen):
        other, hold = x.copy(), []
        if without == "write":
            hold = [Hold("i", 0.0, layer=layer, steps=[k], direction=direction)
                    for layer in range(p.num_layers) for direction in DIRECTIONS[: p.num_directions]]  # fmt: skip
        else:
            other[k] = 0 if without == "zeros" else x[:seen].mean(0)
        expected = run_with(network, other, step, 2, hold) - run_with(network, x, step, 2)
        assert float(changed[k]) == pytest.approx(expected, abs=1e-12)
    some = counterfactual_steps(network, x, step, "z", [3, 1, 3], without=without)
    np.testing.assert_allclose(some.values, changed.values[[1, 3]], atol=1e-12)


def test_more_steps_than_run_side_by_side_are_all_left_out():
    network, x = network_of(random_stack()), random_x(7, 150)
    changed = counterfactual_steps(network, x, 149, 0)
    for k in (0, 63, 64, 127, 128, 149):
        expected = run_with(network, x, 149, 0, [Hold("i", 0.0, steps=[k])]) - run_with(network, x, 149, 0)
        assert float(changed[k]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("options", [PLAIN, {"layers": 2, "directions": 2}])
def test_a_unit_left_out_is_the_network_run_again_with_its_cell_at_0(options):
    network, x = network_of(random_stack(6, **options)), random_x()
    changed = counterfactual_units(network, x, 4, "y")
    assert changed.size == network.parameters.num_layers * network.parameters.num_directions * UNITS
    for (layer, direction, unit), value in changed.to_series().items():
        hold = [Hold("c", 0.0, layer=layer, units=[unit], direction=direction)]
        assert value == pytest.approx(run_with(network, x, 4, 1, hold) - run_with(network, x, 4, 1), abs=1e-12)
    np.testing.assert_array_equal(counterfactual_units(network, x, 4, "y", [2]).values[..., 0], changed.values[..., 2])


def test_where_gates_see_nothing_of_a_step_the_account_is_the_counterfactual():
    weights = {"weight_ih_l0": np.zeros((4, FEATURES)), "weight_hh_l0": np.zeros((4, 1))}
    weights["weight_ih_l0"][2] = 0.5, -1.0, 2.0
    parameters = LSTMParameters(weights, Activations(hidden=activation("identity")))
    model = LoadedModel({"": parameters}, Path("m"), head=Head(np.ones((1, 1))))
    account = explain_output(model, random_x(), 5, 0)
    np.testing.assert_allclose(counterfactual_steps(model, random_x(), 5, 0).values, -account.by_step().values)


# --- what does not fit

NETWORK = network_of(random_stack())
HEADLESS = LoadedModel({"": random_stack()}, Path("m.pt"))
UNNAMED = replace(HEADLESS, head=Head(np.ones((2, UNITS))))
TWICE = replace(UNNAMED, vocabulary=("a", "a"))
TWO = LoadedModel({"p": random_stack(), "q": random_stack()}, Path("m.pt"), head=Head(np.ones((2, UNITS))))


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ((NETWORK, random_x(), TIME, "x"), "no step 7; the sequence has 7, counted from 0"),
        ((NETWORK, random_x(), -TIME - 1, "x"), "no step -8; the sequence has 7"),
        ((NETWORK, random_x(), 1.0, "x"), "step is 1.0; expected a number, counted from 0"),
        ((NETWORK, random_x(), True, "x"), "step is True; expected a number"),
        ((NETWORK, random_x(), 0, "w"), "no output is called 'w'; the model has 'x', 'y', 'z'; give the name of one"),
        ((NETWORK, random_x(), 0, 3), "no output 3; the model has 3, counted from 0"),
        ((NETWORK, random_x(), 0, 1.5), "output is 1.5; expected the name of an output, or its number"),
        ((UNNAMED, random_x(), 0, "x"), "no output is called 'x': the model does not name its 2 outputs"),
        ((TWICE, random_x(), 0, "a"), "outputs 0, 1 are all called 'a'"),
        ((HEADLESS, random_x(), 0, 0), r"m.pt has no outputs .* no linear layer that reads the last LSTM was found"),
        ((random_stack(), random_x(), 0, 0), "a LSTMParameters has no outputs that tallycell knows of"),
        ((NETWORK, np.ones((3, 2)), 0, "x"), "x has 2 features, the LSTM reads 3"),
        ((NETWORK, np.ones(3), 0, "x"), r"x has shape \(3,\); expected \(time, feature\)"),
        ((NETWORK, xr.DataArray(np.ones((3, 2)), dims=("a", "b")), 0, "x"), r"x has dimensions \(a, b\)"),
        ((TWO, Input(random_x(), "x", "", lstm="p"), 0, 0), "the input is for the LSTM at 'p', .* one at 'q'"),
    ],
)
def test_a_wish_that_does_not_fit_is_refused(wish, text):
    for function in (explain_output, counterfactual_steps, counterfactual_units):
        with pytest.raises(InputError, match=text):
            function(*wish)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: explain_output(NETWORK, random_x(), 0, 0, sequence=1), "no sequence 1; the input has 1"),
        (lambda: counterfactual_steps(NETWORK, random_x(), 3, 0, [4]), "no step 4 among the 4 that the output depends"),
        (lambda: counterfactual_steps(NETWORK, random_x(), 3, 0, []), r"steps are \[\]; expected numbers"),
        (lambda: counterfactual_steps(NETWORK, random_x(), 3, 0, without="x"), "without is 'x'; it is one of 'write'"),
        (lambda: counterfactual_units(NETWORK, random_x(), 3, 0, [4]), "no unit 4 among the 4 of each layer"),
        (lambda: outputs(UNNAMED, np.ones((3, UNITS)), activation=True), "the model names no activation behind"),
        (lambda: outputs(UNNAMED, np.ones((3, UNITS)), activation=1), "activation is 1; expected True, False or"),
        (lambda: outputs(UNNAMED, np.ones((3, 5))), r"h has shape \(3, 5\); expected \(time, 4\) or \(sequence, time"),
        (
            lambda: outputs(NETWORK, record_trace(NETWORK, random_x(), record=Record("c"))),
            "and no h, which outputs are made of; record h",
        ),
        (
            lambda: outputs(NETWORK, record_trace(NETWORK, random_x(), record=Record("h", units=[0, 2]))),
            "h of 1 directions and 2 units; expected 1 and all 4, in order",
        ),
        (
            lambda: outputs(NETWORK, record_trace(NETWORK, random_x(), record=Record("h", units=[3, 1, 2, 0]))),
            "h of 1 directions and 4 units; expected 1 and all 4, in order",
        ),
        (
            lambda: outputs(NETWORK, record_trace(random_stack(layers=2), random_x()).isel(layer=[1])),
            "the trace has layers 1, and outputs are read from layer 0",
        ),
        (lambda: outputs(NETWORK, xr.DataArray(np.ones((3, 4)), dims=("t", "unit"))), "and no time; expected those"),
        (
            lambda: outputs(replace(UNNAMED, head=Head(np.ones((2, 5)))), np.ones((3, 5))),
            r"weight of shape \(2, 5\), and the LSTM at '' gives 4 numbers a step",
        ),
        (
            lambda: outputs(replace(UNNAMED, head=Head(np.ones((2, UNITS)), np.ones(3))), np.ones((3, UNITS))),
            r"a bias of shape \(3,\), expected \(2,\)",
        ),
        (
            lambda: outputs(
                replace(UNNAMED, head=Head(np.ones((2, UNITS)), None, "hard_sigmoid")), np.ones((3, UNITS)),
                activation=True,
            ),
            "another function in Keras 2, Keras 3 and ONNX",
        ),
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_refused(call, text):
    with pytest.raises(InputError, match=text):
        call()


def test_an_activation_that_nobody_knows_is_refused():
    with pytest.raises(ActivationError, match="no activation is called 'swoosh'"):
        outputs(UNNAMED, np.ones((3, UNITS)), activation="swoosh")


# ---- a function in front of the head ---------------------------------------------------------------------------------

SHOWN = {
    "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": torch.nn.functional.softplus,
    "leaky_relu": torch.nn.functional.leaky_relu,
}  # fmt: skip


def model_with_shown(name, *, directions=1, layers=1, projection=0, dtype="float64"):
    """An LSTM whose head reads what a function makes of h, and the head."""
    parameters = random_stack(3, layers=layers, directions=directions, projection=projection, dtype=dtype)
    rng = np.random.default_rng(4)
    width = directions * (projection or UNITS)
    head = Head(rng.normal(size=(OUTPUTS, width)), rng.normal(size=OUTPUTS), shown=activation(name))
    return LoadedModel({"lstm": parameters}, Path("made"), head=head), head


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("directions", [1, 2])
def test_the_head_weighs_what_the_function_shows(name, directions):
    model, head = model_with_shown(name, directions=directions)
    trace = record_trace(model, np.random.default_rng(5).normal(size=(TIME, FEATURES)))
    h = torch.tensor(np.concatenate(trace.h.isel(layer=-1, sequence=0).transpose("direction", ...).values, axis=-1))
    theirs = SHOWN[name](h) @ torch.tensor(head.weight).T + torch.tensor(head.bias)
    assert np.abs(outputs(model, trace).values[0] - theirs.numpy()).max() <= 1e-12
    assert np.abs(outputs(model, h.numpy()).values[0] - theirs.numpy()).max() <= 1e-12


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("kind", ["plain", "stack", "both directions", "projection"])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_the_account_sums_to_the_output_behind_a_function(name, kind, dtype):
    sizes = FEATURES_OF_LSTMS[kind] | {"dtype": dtype}
    sizes.pop("peepholes", None)
    model, _ = model_with_shown(name, **sizes)
    x = np.random.default_rng(6).normal(size=(TIME, FEATURES))
    for output in range(OUTPUTS):
        account = explain_output(model, x, -1, output)
        scale = max(1.0, float(np.abs(account.entries).sum()))
        assert abs(account.rounding) <= ROUNDING[dtype] * scale


@pytest.mark.parametrize("name", SHOWN)
def test_a_unit_gives_its_weight_times_what_is_shown_of_it(name):
    model, head = model_with_shown(name)
    x = np.random.default_rng(7).normal(size=(TIME, FEATURES))
    h = torch.tensor(record_trace(model, x).h.values[0, 0, 0, -1])
    at_zero = SHOWN[name](torch.zeros_like(h))
    account = explain_output(model, x, -1, 1)
    theirs = head.weight[1] * (SHOWN[name](h) - at_zero).numpy()
    assert np.abs(account.by_unit().values[0, 0] - theirs).max() <= 1e-12
    assert abs(account.bias - (head.bias[1] + (head.weight[1] * at_zero.numpy()).sum())) <= 1e-12


def test_a_unit_that_relu_does_not_show_has_no_part():
    model, _ = model_with_shown("relu")
    x = np.random.default_rng(7).normal(size=(TIME, FEATURES))
    hidden = record_trace(model, x).h.values[0, 0, 0, -1] < 0
    assert 0 < hidden.sum() < UNITS  # a near miss of both
    entries = explain_output(model, x, -1, 0).entries.sum("part").values[0, 0]
    assert (entries[hidden] == 0).all()
    assert (np.abs(entries[~hidden]).sum(-1) > 0).all()


def test_branches_with_heads_of_their_own_are_told_apart_by_the_path():
    lstm, rng = random_stack(1), np.random.default_rng(8)
    heads = {path: Head(rng.normal(size=(1, UNITS))) for path in ("then", "else")}
    model = LoadedModel({"then": lstm, "else": lstm, "third": lstm}, Path("made"), heads=heads)
    trace = record_trace(lstm, rng.normal(size=(TIME, FEATURES)))
    for path, head in heads.items():
        said = outputs(model, trace, lstm=path).values[0]
        assert np.array_equal(said, trace.h.values[0, 0, 0] @ head.weight.T)
    with pytest.raises(InputError, match=r"several LSTMs, of which each run takes one, at 'then', 'else'; say which"):
        outputs(model, trace)
    with pytest.raises(InputError, match=r"no linear layer that reads the LSTM at 'third' was found"):
        outputs(model, trace, lstm="third")
    one = LoadedModel({"then": lstm, "else": lstm}, Path("made"), heads={"then": heads["then"]})
    assert np.array_equal(outputs(one, trace).values, outputs(model, trace, lstm="then").values)


@pytest.mark.models
@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize(
    "name", ["silero_vad", "silero_vad_16k_op15", "silero_vad_op18_ifless", "silero_vad_openvino_16k"]
)
def test_the_head_of_silero_says_what_silero_says(pypi_model, name, rate):
    model = tc.load(pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / f"{name}.onnx")
    given = tc.open_audio(model, Path(__file__).parent / "data" / "demo-abouttotry.wav", rate=rate)
    path = given.lstm or next(iter(model))
    assert model.head_of(path).shown == activation("relu")
    said = outputs(model, record_trace(model, given), activation=True, lstm=path).values[0, :, 0]
    assert np.abs(said - np.ravel(given.quantities["model output"])).max() <= 1e-5  # float32
