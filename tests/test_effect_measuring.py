"""Effects of holds: batched ones are those of one run a unit and of torch; scores, intervals, what is pushed."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from tallycell.effect.effects import Effects
from tallycell.effect.holding import KINDS, CellName, FreeRun, run_in_pieces
from tallycell.effect.intervals import interval, sums_to_draw
from tallycell.effect.measuring import measure_effects
from tallycell.effect.scores import kling_gupta, nash_sutcliffe
from tallycell.effect.stretches import Sampling, Stretch, choose_stretches
from tallycell.errors import InputError
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.scaling import Scaling

SYMBOLS = ("a", "b", "c", "d")


def weights_of(rng, features, units, layers=1, directions=1, projection=0):
    found, hidden = {}, projection or units
    for layer in range(layers):
        for suffix in ("", "_reverse")[:directions]:
            width = features if layer == 0 else hidden * directions
            found[f"weight_ih_l{layer}{suffix}"] = rng.normal(size=(4 * units, width))
            found[f"weight_hh_l{layer}{suffix}"] = rng.normal(size=(4 * units, hidden)) * 0.5
            found[f"bias_ih_l{layer}{suffix}"] = rng.normal(size=4 * units)
            found[f"bias_hh_l{layer}{suffix}"] = rng.normal(size=4 * units)
            if projection:
                found[f"weight_hr_l{layer}{suffix}"] = rng.normal(size=(projection, units))
    return found


def language_model(rng, units=5, dtype=np.float64):
    parameters = tc.LSTMParameters({k: v.astype(dtype) for k, v in weights_of(rng, 4, units).items()})
    return tc.Recogniser(
        SYMBOLS, np.eye(4, dtype=dtype), parameters, 3 * rng.normal(size=(4, units)), rng.normal(size=4), SYMBOLS
    )


def text_of(rng, length):
    return "".join(rng.choice(list(SYMBOLS), length))


def regression(rng, units=4, outputs=1, **options):
    parameters = tc.LSTMParameters(weights_of(rng, 2, units, **options))
    width = parameters.output_size * parameters.num_directions
    head = Head(rng.normal(size=(outputs, width)), rng.normal(size=outputs))
    return LoadedModel({"lstm": parameters}, Path("model.pt"), head=head)


def logits_held(model, given, cell, kind):
    """One run, one hold, through record_trace and the head."""
    letter, value = KINDS[kind]
    direction = ("forward", "reverse")[cell.direction]
    hold = tc.Hold(letter, "mean" if value is None else value, layer=cell.layer, units=[cell.unit], direction=direction)
    trace = tc.record_trace(model, given, hold=hold)
    h = np.concatenate(list(trace["h"].isel(layer=-1).to_numpy()), axis=-1)
    if isinstance(model, tc.Recogniser):
        return h @ model.readout_weight.T + model.readout_bias
    return h @ model.head.weight.T + model.head.bias


# ---- batches -------------------------------------------------------------------------------------------------------

SHAPES = {
    "one layer": {},
    "two layers, both directions": {"layers": 2, "directions": 2},
    "projected": {"projection": 3, "layers": 2},
    "peepholes": {"peepholes": True},
    "coupled": {"forget_gate": "coupled"},
    "clipped": {"clip_pre": 1.5, "clip_cell": 0.8},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_of_holds_is_one_run_a_unit(shape, kind):
    rng = np.random.default_rng(3)
    options = dict(SHAPES[shape])
    built = {name: options.pop(name) for name in ("forget_gate", "clip_pre", "clip_cell") if name in options}
    peepholes = options.pop("peepholes", False)
    weights = weights_of(rng, 3, 4, **options)
    if peepholes:
        weights["weight_ch_l0"] = rng.normal(size=12)
    parameters = tc.LSTMParameters(weights, **built)
    x = rng.normal(size=(12, 3, 3))
    free = FreeRun.of(parameters, tc.record_trace(parameters, x))
    cells = [
        CellName(layer, direction, unit)
        for layer in range(parameters.num_layers)
        for direction in range(parameters.num_directions)
        for unit in range(4)
    ]
    stretches = choose_stretches(free.lengths, Sampling(), both=True)
    found = {}
    for ran in run_in_pieces(free, stretches, [(cell,) for cell in cells], kind):
        for k, cell in enumerate(cells[ran.cases]):
            found[cell, ran.stretches.start] = ran.h[:, :, :, k]
    for cell in cells:
        letter, value = KINDS[kind]
        direction = ("forward", "reverse")[cell.direction]
        held = "mean" if value is None else value
        hold = tc.Hold(letter, held, layer=cell.layer, units=[cell.unit], direction=direction)
        one = tc.record_trace(parameters, x, hold=hold)["h"].isel(layer=-1).to_numpy()
        batch = np.concatenate([found[key] for key in sorted(found) if key[0] == cell], axis=2)
        np.testing.assert_allclose(batch, one.swapaxes(1, 2), atol=1e-12)


@pytest.mark.parametrize("kind", ["zero", "never_forgets", "forgets_at_once", "never_shown"])
def test_the_loss_is_that_of_a_loop_over_torch_with_the_gate_overwritten(kind):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    model, text = language_model(rng), text_of(rng, 60)
    effects = measure_effects(model, tc.open_text(model, text), kinds=[kind])
    codes = model.encode(text)
    weights = {name: torch.tensor(value) for name, value in model.parameters.weights.items()}

    def bits(unit):
        h, c = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
        logits = []
        for code in codes:
            pre = weights["weight_ih_l0"][:, code] + weights["weight_hh_l0"] @ h
            i, f, g, o = (pre + weights["bias_ih_l0"] + weights["bias_hh_l0"]).chunk(4)
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            if unit is not None and kind in ("never_forgets", "forgets_at_once"):
                f[unit] = float(kind == "never_forgets")
            c = f * c + i * g
            if unit is not None and kind == "zero":
                c[unit] = 0
            if unit is not None and kind == "never_shown":
                o[unit] = 0
            h = o * c.tanh()
            logits.append(torch.tensor(model.readout_weight) @ h + torch.tensor(model.readout_bias))
        lost = torch.nn.functional.cross_entropy(torch.stack(logits[:-1]), torch.tensor(codes[1:]))
        return float(lost) / math.log(2)

    free = bits(None)
    assert effects.free == pytest.approx(free, abs=1e-12)
    expected = [bits(unit) - free for unit in range(5)]
    np.testing.assert_allclose(effects.loss.to_numpy().ravel(), expected, atol=1e-10)
    assert (effects.score, effects.unit, effects.targets) == (
        "bits",
        "bits a symbol",
        "the symbol that comes next",
    )


@pytest.mark.parametrize("steps", [1, 7, 60])
@pytest.mark.parametrize("kind", ["mean", "forgets_at_once"])
def test_states_are_carried_from_piece_to_piece(monkeypatch, kind, steps):
    rng = np.random.default_rng(5)
    model = language_model(rng)
    given = tc.open_text(model, text_of(rng, 60))
    whole = measure_effects(model, given, kinds=[kind, "never_shown"])
    monkeypatch.setattr("tallycell.effect.holding.PIECE", steps)
    again = measure_effects(model, given, kinds=[kind, "never_shown"])
    np.testing.assert_allclose(again.loss, whole.loss, atol=1e-13)
    assert again.pushed == whole.pushed


def test_a_cell_at_0_is_one_that_is_not_shown_only_where_nothing_shows_at_0():
    rng = np.random.default_rng(5)
    model = language_model(rng)
    given = tc.open_text(model, text_of(rng, 60))
    weights = weights_of(rng, 4, 5) | {"weight_ch_l0": 3 * rng.normal(size=15)}
    peepholes = replace(model, parameters=tc.LSTMParameters(weights))
    slots = (replace(model.parameters.slots(0), hidden=tc.activation("sigmoid")),)
    lifted = replace(model, parameters=replace(model.parameters, activations=slots))
    apart = {}
    for name, one in {"plain": model, "peepholes": peepholes, "sigmoid": lifted}.items():
        loss = measure_effects(one, given, kinds=["zero", "never_shown"]).loss
        apart[name] = np.abs(loss.sel(kind="zero", drop=True) - loss.sel(kind="never_shown", drop=True)).max() > 1e-3
        held = logits_held(one, given, CellName(0, 0, 3), "never_shown")[0, :-1]
        chances = held - np.log(np.exp(held).sum(-1, keepdims=True))
        codes = model.encode("".join(given.tokens))[1:]
        free = measure_effects(one, given, kinds=["zero"]).free
        expected = -chances[np.arange(59), codes].mean() / math.log(2) - free
        assert float(loss.sel(kind="never_shown", unit=3).squeeze()) == pytest.approx(expected, abs=1e-9)
    assert apart == {"plain": False, "peepholes": False, "sigmoid": True}


def test_in_float32_the_vector_kernel_gives_the_same_losses():
    rng = np.random.default_rng(5)
    model = language_model(rng)
    single = tc.Recogniser(
        SYMBOLS,
        np.eye(4),
        tc.LSTMParameters({k: v.astype(np.float32) for k, v in model.parameters.weights.items()}),
        model.readout_weight,
        model.readout_bias,
        SYMBOLS,
    )
    text = text_of(rng, 200)
    ours = measure_effects(single, tc.open_text(single, text)).loss
    # A hundred roundings of 6e-8 each, on some bits.
    np.testing.assert_allclose(ours, measure_effects(model, tc.open_text(model, text)).loss, atol=2e-5)


# ---- stretches and groups ------------------------------------------------------------------------------------------


def test_of_a_long_input_stretches_are_measured_and_that_is_said():
    rng = np.random.default_rng(6)
    model = language_model(rng)
    given = tc.open_text(model, text_of(rng, 900))
    effects = measure_effects(model, given, kinds=["zero"], sampling=Sampling(steps=300, stretch=100, lead=3))
    assert effects.steps == 300
    assert "Measured on 300 of 900 steps, 3 stretches spread evenly; each is held from up to 3 steps" in str(effects)
    trace = tc.record_trace(model, given)
    codes = model.encode("".join(given.tokens))
    state = [trace[name].isel(layer=0, direction=0, sequence=0).to_numpy() for name in ("h", "c")]
    free = given_bits(model, tc.record_trace(model, given), codes, range(900))
    lost = []
    for begin in (0, 400, 800):
        first = max(0, begin - 3)
        start = None if first == 0 else tuple(s[first - 1][np.newaxis] for s in state)
        held = tc.record_trace(
            model, np.asarray(given.x)[first : begin + 100], start, hold=tc.Hold("c", 0.0, units=[2])
        )
        here = given_bits(model, held, codes[first:], range(begin - first, begin - first + 100))
        lost += [one - free[begin + k] for k, one in enumerate(here)]
    assert effects.of("0.2").loss == pytest.approx(np.nanmean(lost), abs=1e-9)


def given_bits(model, trace, codes, steps):
    logits = model.logits(trace["h"].isel(layer=-1, direction=0, sequence=0).to_numpy())
    chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return [-chances[t, codes[t + 1]] / math.log(2) if t + 1 < len(codes) else math.nan for t in steps]


def test_a_stretch_starts_from_the_free_run_on_both_sides():
    rng = np.random.default_rng(7)
    weights = weights_of(rng, 2, 3, layers=2, directions=2)
    for name in ("weight_hh_l0", "weight_hh_l0_reverse"):
        weights[name][:, 1] = 0
    for name in ("weight_ih_l1", "weight_ih_l1_reverse"):
        weights[name][:, [1, 4]] = 0  # nothing reads unit 1 of layer 0, so that nothing changes without it
    parameters = tc.LSTMParameters(weights)
    x = rng.normal(size=(90, 2, 2))
    free = FreeRun.of(parameters, tc.record_trace(parameters, x, lengths=[90, 47]))
    stretches = choose_stretches(free.lengths, Sampling(steps=60, stretch=20, lead=0), both=True)
    assert [(one.sequence, one.begin, one.end) for one in stretches] == [(0, 0, 20), (0, 40, 60), (1, 20, 40)]
    cases = [(CellName(0, 0, 1),), (CellName(0, 1, 1),)]
    (ran,) = run_in_pieces(free, stretches, cases, "zero")
    for k in range(2):
        np.testing.assert_allclose(ran.h[:, :, :, k], free.measured(stretches), atol=1e-13)


def test_pairs_are_held_together():
    rng = np.random.default_rng(8)
    model = regression(rng)
    x = rng.normal(size=(50, 2))
    effects = measure_effects(model, x, kinds=["zero"], units=["0.1", ("0.3", "0.1")])
    assert effects.labels == ("0.1", "0.1+0.3")
    free = np.concatenate(list(tc.record_trace(model, x)["h"].isel(layer=-1).to_numpy()), -1) @ model.head.weight.T
    held = tc.record_trace(model, x, hold=tc.Hold("c", 0.0, units=[1, 3]))
    held = np.concatenate(list(held["h"].isel(layer=-1).to_numpy()), -1) @ model.head.weight.T
    assert effects.of("0.1+0.3").loss == pytest.approx(np.square(free - held).mean(), rel=1e-9)
    assert effects.score == "divergence"
    assert effects.loss.dims == ("kind", "layer", "direction", "unit")
    assert effects.loss.unit.to_numpy().tolist() == [1]  # what was held together stands in the table only


def test_sequences_of_different_length_count_by_their_own_steps():
    rng = np.random.default_rng(9)
    model = regression(rng, directions=2)
    x, lengths = rng.normal(size=(9, 4, 2)), np.array([9, 4, 7, 4])
    q = rng.normal(size=(4, 9))
    given = tc.Input(x, "x", "x", lengths=lengths)
    effects = measure_effects(model, given, "mse", targets=q, kinds=["never_shown"])
    held = logits_held(model, given, CellName(0, 1, 2), "never_shown")[..., 0]
    free = tc.record_trace(model, given)["h"].isel(layer=-1).to_numpy()
    free = (np.concatenate(list(free), -1) @ model.head.weight.T + model.head.bias)[..., 0]
    inside = np.arange(9) < lengths[:, np.newaxis]
    expected = np.square(held - q)[inside].mean() - np.square(free - q)[inside].mean()
    assert effects.of("0.2r").loss == pytest.approx(expected, rel=1e-9)


# ---- scores --------------------------------------------------------------------------------------------------------


def kge_in_plain_numpy(p, q):
    r, alpha, beta = np.corrcoef(p, q)[0, 1], p.std() / q.std(), p.mean() / q.mean()
    return 1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2)


@pytest.mark.parametrize(
    ("name", "formula", "worse"),
    [
        ("nse", lambda p, q: 1 - np.square(p - q).sum() / np.square(q - q.mean()).sum(), -1),
        ("kge", kge_in_plain_numpy, -1),
        ("mse", lambda p, q: np.square(p - q).mean(), 1),
    ],
)
def test_scores_of_numbers_are_their_formulas_where_targets_are_known(name, formula, worse):
    rng = np.random.default_rng(11)
    model, x = regression(rng), rng.normal(size=(80, 2))
    free = logits_free(model, x)
    q = free + rng.normal(size=80) * 0.2 + 5.0
    q[[3, 40, 79]] = np.nan
    effects = measure_effects(model, x, name, targets=q, kinds=["forgets_at_once"])
    known = ~np.isnan(q)
    assert effects.free == pytest.approx(formula(free[known], q[known]), rel=1e-9)
    for unit in range(4):
        held = logits_held(model, x, CellName(0, 0, unit), "forgets_at_once")[0, :, 0]
        expected = worse * (formula(held[known], q[known]) - formula(free[known], q[known]))
        assert effects.of(f"0.{unit}").loss == pytest.approx(expected, rel=1e-8, abs=1e-12)


def logits_free(model, x):
    return (tc.record_trace(model, x)["h"].isel(layer=-1, direction=0, sequence=0).to_numpy() @ model.head.weight.T)[
        :, 0
    ] + model.head.bias


def test_predictions_are_brought_to_the_units_that_the_targets_had_before_training():
    rng = np.random.default_rng(12)
    model, x = regression(rng), rng.normal(size=(60, 2))
    scaled = replace(model, scaling=Scaling({"flow": 30.0}, {"flow": 7.0}))
    free = logits_free(model, x)
    q = (free + rng.normal(size=60) * 0.3) * 7 + 30
    effects = measure_effects(scaled, x, "kge", targets={"flow": q}, kinds=["zero"])
    assert effects.free == pytest.approx(kge_in_plain_numpy(free * 7 + 30, q), rel=1e-9)
    unscaled = measure_effects(scaled, x, "kge", targets=q, kinds=["zero"])
    assert unscaled.free == pytest.approx(kge_in_plain_numpy(free, q), rel=1e-9)


def test_divergence_of_a_classifier_is_the_relative_entropy_of_scipy():
    entropy = pytest.importorskip("scipy.stats").entropy
    rng = np.random.default_rng(13)
    model = language_model(rng)
    given = tc.open_text(model, text_of(rng, 50))
    effects = measure_effects(model, given, "divergence", kinds=["mean"])
    free = tc.record_trace(model, given)["h"].isel(layer=-1, direction=0, sequence=0).to_numpy()
    p = np.exp(model.logits(free))
    q = np.exp(logits_held(model, given, CellName(0, 0, 4), "mean")[0])
    assert effects.of("0.4").loss == pytest.approx(entropy(p, q, base=2, axis=1).mean(), rel=1e-9)


def test_accuracy_and_probability_of_a_class():
    rng = np.random.default_rng(14)
    model = language_model(rng)
    given = tc.open_text(model, text_of(rng, 70))
    held = logits_held(model, given, CellName(0, 0, 1), "zero")[0]
    free = model.logits(tc.record_trace(model, given)["h"].isel(layer=-1, direction=0, sequence=0).to_numpy())
    codes = model.encode("".join(given.tokens))[1:]
    effects = measure_effects(model, given, "accuracy", kinds=["zero"])
    assert effects.free == pytest.approx((free[:-1].argmax(1) == codes).mean())
    assert effects.of("0.1").loss == pytest.approx(
        (free[:-1].argmax(1) == codes).mean() - (held[:-1].argmax(1) == codes).mean()
    )
    chance = measure_effects(model, given, "probability", targets="c", kinds=["zero"]).of("0.1").loss

    def chance_of_c(logits):
        return (np.exp(logits[:, 2]) / np.exp(logits).sum(1)).mean()

    assert chance == pytest.approx(chance_of_c(free) - chance_of_c(held), rel=1e-9)


def test_a_function_is_asked_block_by_block():
    rng = np.random.default_rng(15)
    model, x = regression(rng), rng.normal(size=(40, 2))
    asked = []

    def largest(outputs):
        asked.append(outputs.shape)
        return float(outputs.max())

    effects = measure_effects(model, x, largest, kinds=["zero"], sampling=Sampling(block=10))
    free, held = logits_free(model, x), logits_held(model, x, CellName(0, 0, 2), "zero")[0, :, 0]
    expected = np.mean([free[k : k + 10].max() - held[k : k + 10].max() for k in range(0, 40, 10)])
    assert effects.of("0.2").loss == pytest.approx(expected, rel=1e-9)
    assert set(asked) == {(10, 1)}
    assert effects.score == "largest"


def test_switches_lose_the_cross_entropy_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(16)
    model = regression(rng)
    model = replace(model, head=replace(model.head, activation="Sigmoid"))
    x, wanted = rng.normal(size=(40, 2)), rng.integers(2, size=40)
    effects = measure_effects(model, x, targets=wanted, kinds=["zero"])
    ask = torch.nn.functional.binary_cross_entropy_with_logits
    expected = [
        float(ask(torch.tensor(logits), torch.tensor(wanted.astype(float)))) / math.log(2)
        for logits in (logits_held(model, x, CellName(0, 0, 0), "zero")[0, :, 0], logits_free(model, x))
    ]
    assert effects.of("0.0").loss == pytest.approx(expected[0] - expected[1], rel=1e-8)


def test_sums_give_a_perfect_score_to_what_is_right_and_less_to_what_is_not():
    q = np.array([1.0, 2.0, 4.0])
    sums = np.stack([[3, q.sum(), p.sum(), q @ q, p @ p, q @ p] for p in (q, q + 1)])
    np.testing.assert_allclose(nash_sutcliffe(sums)[0], 1)
    np.testing.assert_allclose(kling_gupta(sums)[0], 1, atol=1e-7)
    assert nash_sutcliffe(sums)[1] < 0.9
    assert kling_gupta(sums)[1] < 0.9


# ---- intervals -----------------------------------------------------------------------------------------------------


def test_a_unit_that_nothing_reads_costs_exactly_nothing():
    rng = np.random.default_rng(17)
    for dtype in (np.float32, np.float64):
        weights = {name: value.astype(dtype) for name, value in weights_of(rng, 4, 6).items()}
        weights["weight_hh_l0"][:, 2] = 0
        readout = rng.normal(size=(4, 6)) * 3
        readout[:, 2] = 0
        model = tc.Recogniser(SYMBOLS, np.eye(4), tc.LSTMParameters(weights), readout, np.zeros(4), SYMBOLS)
        effects = measure_effects(model, tc.open_text(model, text_of(rng, 300)))
        for kind in KINDS:
            found = effects.of("0.2", kind)
            assert (found.loss, found.low, found.high) == (0.0, 0.0, 0.0)
        assert effects.pushes("0.2") == ((), ())
        assert "0.2" not in [one.label for one in effects.most(None)]
        assert np.abs(effects.loss.sel(kind="zero", unit=1)) > 1e-4  # the others cost or win something


def test_noise_is_not_called_an_effect_and_what_is_there_is():
    rng = np.random.default_rng(18)
    stretches = (Stretch(0, 0, 0, 900, 900),)
    free = np.stack([np.ones(900), rng.normal(size=900)])
    slow = np.convolve(rng.normal(size=1000), np.ones(20) / 20, "same")[:900]
    held = np.stack([free, free])
    held[0, 1] += 0.3 + 0.5 * slow
    held[1, 1] += slow - slow.mean() + 0.02
    sums, count = sums_to_draw(np.concatenate([held, free[np.newaxis]]), stretches, None)
    assert (sums.shape, count) == ((871, 3, 2), 30)

    def loss(one, other):
        return one[..., 1] / one[..., 0] - other[..., 1] / other[..., 0]

    low, high = interval(sums[:, :-1], sums[:, -1], loss, count, Sampling())
    assert 0.1 < low[0] < 0.3 < high[0] < 0.6
    assert low[1] < 0 < high[1]
    # Were steps drawn as if each were news, the interval would be too narrow.
    single, many = sums_to_draw(np.concatenate([held, free[np.newaxis]]), stretches, 1)
    low_1, high_1 = interval(single[:, :-1], single[:, -1], loss, many, Sampling())
    assert (high_1 - low_1 < 0.6 * (high - low)).all()


def test_the_interval_of_independent_steps_is_that_of_a_t_test():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(19)
    lost = rng.normal(size=400) + 0.1
    held, free = np.stack([np.ones(400), lost]), np.stack([np.ones(400), np.zeros(400)])
    stretches = tuple(Stretch(k, 0, 0, 10, 10) for k in range(40))
    sums, count = sums_to_draw(np.stack([held, free]), stretches, 5)
    assert (len(sums), count) == (40, 40)  # sequences, not blocks
    low, high = interval(sums[:, :1], sums[:, 1], lambda a, b: a[..., 1] / a[..., 0] - 0 * b[..., 0], 40, Sampling())
    theirs = stats.ttest_1samp(lost.reshape(40, 10).mean(1), 0).confidence_interval()
    width = theirs.high - theirs.low
    assert low[0] == pytest.approx(theirs.low, abs=0.15 * width)
    assert high[0] == pytest.approx(theirs.high, abs=0.15 * width)


def test_too_few_steps_have_no_interval_and_say_so():
    rng = np.random.default_rng(20)
    model = regression(rng)
    effects = measure_effects(model, rng.normal(size=(12, 2)), kinds=["zero"])
    assert np.isnan(effects.low).all()
    assert "Too few steps for an interval" in str(effects)


# ---- what is pushed ------------------------------------------------------------------------------------------------


def reader_of_brackets(weight):
    """One cell that stands at 1 once '(' was read and at 0 after ')'; a second that nothing reads."""
    big = 50.0
    rows = np.zeros((8, 2))
    rows[0] = big, -big  # i of the first cell
    rows[2] = -big, -big  # f
    rows[4] = big, 0.0  # g
    rows[6] = big, big  # o
    lstm = tc.LSTMParameters({"weight_ih_l0": rows, "weight_hh_l0": np.zeros((8, 2))})
    readout = np.zeros((3, 2))
    readout[:, 0] = weight
    return LoadedModel({"lstm": lstm}, Path("m.pt"), head=Head(readout, np.zeros(3), "softmax"),
                       vocabulary=("(", ")", "x"))  # fmt: skip


def test_what_a_unit_raises_and_lowers_is_named_where_weights_and_hold_agree():
    model = reader_of_brackets([-4.0, 6.0, 0.0])
    x = np.tile(np.eye(2), (30, 1))
    effects = measure_effects(model, x, kinds=["never_shown"])
    assert effects.pushes("0.0") == ((")",), ("(",))
    assert effects.pushes("0.1") == ((), ())
    found = effects.of("0.0")
    assert "shown, it raises ')' and lowers '('" in found.sentence()


def test_a_unit_on_both_sides_of_0_pushes_both_ways_and_that_is_said():
    model = reader_of_brackets([-4.0, 6.0, 0.0])
    rows = {name: value.copy() for name, value in model.lstm.weights.items()}
    rows["weight_ih_l0"][0], rows["weight_ih_l0"][4] = 50.0, [50.0, -50.0]  # writes 1 at '(' and -1 at ')'
    swinging = replace(model, stacks={"lstm": tc.LSTMParameters(rows)})
    found = measure_effects(swinging, np.tile(np.eye(2), (30, 1)), kinds=["never_shown"]).of("0.0")
    assert "shown above 0, it raises ')' and lowers '('; below 0 the opposite" in found.sentence()


def test_a_push_that_the_hold_does_not_show_is_not_named():
    model = reader_of_brackets([-4.0, 6.0, 0.0])
    rows = {name: value.copy() for name, value in model.lstm.weights.items()}
    # A second cell undoes the first one's push: with the first never shown, it changes by more the other way.
    rows["weight_hh_l0"][5, 0] = 50.0
    rows["weight_ih_l0"][[1, 7]] = 50.0
    rows["weight_ih_l0"][3] = 50.0
    undone = replace(model, stacks={"lstm": tc.LSTMParameters(rows)})
    head = model.head.weight.copy()
    head[:, 1] = [30.0, -30.0, 0.0]
    undone = replace(undone, head=replace(model.head, weight=head))
    effects = measure_effects(undone, np.tile(np.eye(2), (30, 1)), kinds=["never_shown"])
    assert effects.pushes("0.0") == ((), ())


def test_the_class_that_suffers_is_named():
    model = reader_of_brackets([-4.0, 6.0, 0.0])
    x, wanted = np.tile(np.eye(2), (30, 1)), [")", "("] * 30
    effects = measure_effects(model, x, targets=np.array(wanted), kinds=["zero"])
    (suffering,) = effects.of("0.0").suffering
    assert (suffering.name, suffering.count) == (")", 30)
    free, without = math.log2(1 + math.exp(-10 * math.tanh(1)) + math.exp(-6 * math.tanh(1))), math.log2(3)
    assert suffering.loss == pytest.approx(without - free, rel=1e-2)


def test_the_answer_comes_first():
    model = reader_of_brackets([-4.0, 6.0, 0.0])
    x, wanted = np.tile(np.eye(2), (30, 1)), np.array([")", "("] * 30)
    effects = measure_effects(model, x, targets=wanted)
    said = str(effects)
    assert said.startswith("Unit 0.0 matters most: held at 0, it costs 0.7")
    assert "without it ')' is 1.6 bits worse." in " ".join(said.split())
    assert "0.0" in effects._repr_html_()
    frame = effects.to_frame()
    assert frame.columns.tolist()[:2] == ["kind", "group"]
    assert len(frame) == 2 * len(KINDS)
    assert max(map(len, said.splitlines())) <= 110
    assert repr(effects) == "Effects(2 units, bits, 1 with an effect; most: 0.0)"
    with pytest.raises(AttributeError):
        effects.free = 1.0  # frozen


def test_without_a_linear_layer_h_stands_for_the_outputs_and_that_is_said():
    rng = np.random.default_rng(21)
    parameters = tc.LSTMParameters(weights_of(rng, 2, 3))
    effects = measure_effects(parameters, rng.normal(size=(60, 2)), kinds=["zero"])
    assert effects.score == "divergence"
    assert "No linear layer behind the LSTM is known: h of its last layer stands for the outputs." in str(effects)
    assert (effects.loss > 0).all()
    assert effects.pushes("0.1") == ((), ())  # there is nothing to push
    assert "it moves the outputs by" in effects.most(1)[0].sentence()


# ---- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kinds": ["gone"]}, "no kind of hold is called 'gone'; expected some of 'zero', 'mean', 'never_forgets'"),
        ({"kinds": []}, "kinds is empty"),
        ({"units": ["0.4"]}, "no unit '0.4'; give LAYER.UNIT, from 0.0 to 0.3"),
        ({"units": [()]}, "units is empty, or names an empty group"),
        ({"score": "bits"}, "no score 'bits' for outputs that are numbers; expected one of 'divergence', 'mse', 'nse'"),
        ({"score": "nse"}, "the score 'nse' needs targets"),
        ({"targets": "flow"}, "targets is 'flow', and the input has the quantities (none)"),
        ({"targets": np.zeros(7)}, "has shape (7,), expected (sequence, time) = (1, 30)"),
        ({"targets": {"a": 1, "b": 2}}, "targets are given for 'a', 'b'; give them for one output"),
    ],
)
def test_what_does_not_fit_is_refused(options, text):
    rng = np.random.default_rng(22)
    with pytest.raises(InputError) as error:
        measure_effects(regression(rng), rng.normal(size=(30, 2)), **options)
    assert text in str(error.value)


def test_targets_of_several_outputs_or_of_no_class_are_refused():
    rng = np.random.default_rng(23)
    x = rng.normal(size=(30, 2))
    with pytest.raises(InputError, match="the model has 3 outputs, and the targets are one value a step"):
        measure_effects(regression(rng, outputs=3), x, targets=np.full(30, 0.5))
    model = language_model(rng)
    given = tc.open_text(model, text_of(rng, 30))
    with pytest.raises(InputError, match="a target is 4; expected the number of a class, 0 to 3, or its name"):
        measure_effects(model, given, targets=np.full(30, 4))
    with pytest.raises(InputError, match="called 'z'; the model has 'a', 'b', 'c', 'd'"):
        measure_effects(model, given, "probability", targets="z")
    shifted = xr.DataArray(np.zeros(30), dims="time", coords={"time": np.arange(30) + 1})
    with pytest.raises(InputError, match="'targets' has no value at time"):
        measure_effects(regression(rng), x, targets=shifted)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("block", 0), ("draws", 99), ("lead", -1), ("seed", 0.5)])
def test_a_sampling_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(InputError, match=rf"{name} of a sampling is {value}; expected a whole number of at least"):
        Sampling(**{name: value})


def test_effects_name_what_was_not_held():
    effects = measure_effects(regression(np.random.default_rng(24)), np.zeros((30, 2)), kinds=["zero"], units="0.1")
    assert isinstance(effects, Effects)
    with pytest.raises(InputError, match=r"'0\.3' was not held; what was is '0\.1'"):
        effects.of("0.3")
    with pytest.raises(InputError, match="units were not held as 'mean'; they were as 'zero'"):
        effects.most(kind="mean")
