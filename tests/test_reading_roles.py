"""Roles by their written rules, each on networks made for it and on a near miss; comparison with nothing learned."""

import math

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_of
from hand_set import BIG, SYMBOLS, amounts_network, network, random_text, read, weather
from tallycell.reading.nothing_learned import shuffled
from tallycell.reading.roles import FEWEST_STEPS_READ


def of_symbols(table, symbols=SYMBOLS, **options):
    return read(network([table], symbols), random_text(symbols=symbols, **options), symbols).units[0]


def of_amounts(parameters, x=None):
    return tc.read_units(tc.record_trace(parameters, weather() if x is None else x)).units[0]


def compiled(name, counter=0):
    """Unit of a compiled machine that counts, on strings of its own language and near misses."""
    recogniser = network_of(name)
    draw = np.random.default_rng(0)
    text = "".join("a" * int(n) + "b" * int(n + draw.integers(-1, 2)) for n in draw.integers(1, 12, 200))
    return tc.read_units(tc.record_trace(recogniser, recogniser.inputs[recogniser.encode(text)]), tokens=text)


WORDS = ("not", "good", "bad", ".", "the", "film")


def negation(keep, seed=0, nots=0.08):
    """A cell that goes up at "not" and is reset at ".", and keeps a share of what it holds between."""
    weights = np.zeros((4, len(WORDS)))
    weights[0] = [BIG, -BIG, -BIG, -BIG, -BIG, -BIG]
    held = np.log(keep / (1 - keep)) if keep < 1 else BIG
    weights[1] = [-BIG, held, held, -BIG, held, held]
    weights[2] = BIG
    tokens = np.random.default_rng(seed).choice(WORDS, 3000, p=[nots, 0.2, 0.2, 0.12, 0.2, 0.28 - nots])
    parameters = tc.LSTMParameters({"weight_ih_l0": weights, "weight_hh_l0": np.zeros((4, 1))})
    x = (tokens[:, np.newaxis] == np.array(WORDS)).astype(float)
    return tc.read_units(tc.record_trace(parameters, x), tokens=tokens.tolist()).units[0]


def twice(x):
    return np.repeat(x, 2, axis=0)


MADE_FOR = {
    "counter": [
        lambda: of_symbols({"(": (1, 1), ")": (-1, 1), "\n": (0, 0)}),
        lambda: next(unit for unit in compiled("anbn").units if unit.role == "counter"),
    ],
    "timer": [
        lambda: of_symbols({"(": (1, 1), ")": (1, 1), "x": (1, 1), "\n": (0, 0)}),
        lambda: of_symbols({"(": (-0.4, 0.999), ")": (-0.4, 0.999), "x": (-0.4, 0.999), "\n": (0, 0)}),
    ],
    "flag": [lambda: negation(1), lambda: negation(0.96)],
    "slow store": [lambda: of_amounts(amounts_network(0.97)), lambda: of_amounts(amounts_network(0.995, 0.3))],
    "leaky integrator": [
        lambda: of_symbols({"(": (1, 0.7), ")": (-1, 0.7), "x": (0, 0.7), "\n": (0, 0.7)}),
        lambda: of_amounts(amounts_network(0.8)),
    ],
    "memoryless": [
        lambda: of_symbols({"(": (1, 0), ")": (-1, 0), "x": (0, 0), "\n": (0, 0)}),
        lambda: of_amounts(amounts_network(0.05)),
    ],
    "constant": [lambda: of_symbols({}), lambda: of_amounts(amounts_network(0.97), np.zeros((3000, 2)))],
    "unknown": [
        lambda: of_symbols({"(": (1, 1), ")": (-1, 1)}, steps=FEWEST_STEPS_READ - 1),
        lambda: read(network([{"(": (1, 1)}]), "(" * 19 + "x" * 2000).units[0],
    ],
}


@pytest.mark.parametrize(("role", "which"), [(role, k) for role in MADE_FOR for k in range(2)])
def test_what_was_made_for_a_role_gets_it(role, which):
    unit = MADE_FOR[role][which]()
    assert unit.role == role, unit.sentence


NEAR_MISSES = {
    # Reset by what it counts: it is what the last of three symbols wrote.
    "counter, overwritten": (
        lambda: of_symbols({"(": (1, 0), ")": (-1, 0), "\n": (0, 0)}, chances=(0.2, 0.2, 0.2, 0.4)), "mixed",
    ),
    # One step up a line on average, and the line ends: it carries fewer than three steps.
    "counter, carries too little": (
        lambda: of_symbols({"(": (1, 1), ")": (1, 1), "\n": (0, 0)}, chances=(0.3, 0.2, 0.05, 0.45)), "mixed",
    ),
    # The same with lines of six symbols.
    "counter, carries enough": (
        lambda: of_symbols({"(": (1, 1), ")": (1, 1), "\n": (0, 0)}, chances=(0.3, 0.2, 0.35, 0.15)), "counter",
    ),
    # It moves at 70 % of the steps that do not reset, not at 80.
    "timer, not at every step": (
        lambda: of_symbols({"(": (1, 1), ")": (1, 1), "\n": (0, 0)}, chances=(0.31, 0.32, 0.27, 0.1)), "counter",
    ),
    # It moves at every step, by as much as it reads.
    "timer, by what is read": (lambda: of_amounts(amounts_network(1), 0.05 + weather()), "slow store"),
    # A second "not" within a sentence counts on.
    "flag, counts on": (lambda: of_symbols({"(": (1, 1), ")": (0, 0)}, chances=(0.4, 0.2, 0.4, 0)), "counter"),
    # What is kept is gone before the sentence is.
    "flag, sags too much": (lambda: negation(0.85), "leaky integrator"),
    # Leaks over fewer than ten steps.
    "slow store, fast": (lambda: of_amounts(amounts_network(0.9)), "leaky integrator"),
    # Steps of one size, fed by rain or no rain.
    "slow store, by steps": (
        lambda: of_amounts(amounts_network(0.97, 50), np.where(weather() > 0.01, 1.0, 0.0)), "counter",
    ),
    # An eighth is kept: more than a tenth of the variance.
    "memoryless, remembers": (lambda: of_amounts(amounts_network(0.4)), "leaky integrator"),
    "unknown, just enough steps": (lambda: of_symbols({"(": (1, 1), ")": (-1, 1)}, steps=FEWEST_STEPS_READ), "counter"),
    "unknown, just enough movements": (
        lambda: read(
            network([{"(": (1, 1), ")": (-1, 1)}]), ("(x" * 5 + ")x" * 5) + "x" * 1000 + "()" * 6
        ).units[0],
        "counter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_a_near_miss_has_another_role(case):
    make, role = NEAR_MISSES[case]
    unit = make()
    assert unit.role == role, unit.sentence


def test_a_cell_without_a_rule_is_mixed():
    draw = np.random.default_rng(1)
    weights = {"weight_ih_l0": draw.normal(size=(4, 2)), "weight_hh_l0": np.array([[9.0], [6.0], [-9.0], [1.0]])}
    trace = tc.record_trace(tc.LSTMParameters(weights), draw.normal(size=(2000, 2)))
    unit = tc.read_units(trace.assign(c=trace["c"] + 5 * draw.normal(size=trace["c"].shape))).units[0]
    assert (unit.role, unit.r2 < 0.9) == ("mixed", True)
    assert unit.sentence.startswith("No simple counter (")


def test_a_negation_cell_is_said_to_be_set_at_not_and_cleared_at_the_full_stop():
    unit = negation(0.96)
    assert unit.sentence.startswith("Flag (0 or ")
    assert "): set at 'not'; cleared at '.'; forgets within" in unit.sentence
    assert [trigger.stimulus for trigger in unit.triggers["clear"]] == ["'.'"]
    assert unit.triggers["clear"][0].share > 0.95


def test_too_few_steps_or_movements_are_said_and_nothing_is_quoted():
    few = of_symbols({"(": (1, 1), ")": (-1, 1)}, steps=150)
    assert few.sentence == "Not known: 150 steps are too few to read it: give at least 200."
    assert math.isnan(few.r2)
    assert all(math.isnan(rung.r2) for rung in few.ladder)
    assert few.follows is None
    still = read(network([{"(": (1, 1)}]), "(" * 5 + "x" * 2000).units[0]
    assert still.sentence.startswith("Not known: it moves 5 times in 2,005 steps, too few to read it: give an input")


def test_the_output_gate_is_read_as_the_others_are():
    """Shown at '(' only; then a sign, since tanh(c) is at its limit and o is 1."""
    parameters = network([{"(": (1, 1), "x": (1, 1)}])
    weights = np.array(parameters.weights["weight_ih_l0"])
    weights[3] = [BIG, -BIG, -BIG, -BIG]
    text = random_text(chances=(0.25, 0.25, 0.25, 0.25))
    unit = read(tc.LSTMParameters({**parameters.weights, "weight_ih_l0": weights}), text).units[0]
    assert unit.triggers["show"][0].stimulus == "'('"
    assert "; shown at '('" in unit.sentence
    shown = np.array([symbol == "(" for symbol in text])
    assert unit.exposure.open == pytest.approx(shown.mean())
    c = np.cumsum([symbol in "(x" for symbol in text])
    assert unit.exposure.sign == pytest.approx((shown & (np.tanh(c) > 0.9)).mean())
    assert unit.exposure.nothing == pytest.approx((~shown | (np.tanh(c) < 0.1)).mean(), abs=1e-9)
    trace = tc.record_trace(network([{"(": (1, 1)}]), np.ones((300, 4)))
    assert tc.read_units(trace.drop_vars("o")).units[0].exposure is None


def test_an_event_at_nearly_every_step_has_no_trigger_and_says_its_rate():
    unit = of_symbols({"(": (1, 1), ")": (1, 1), "x": (1, 1), "\n": (0, 0)})
    assert unit.triggers["increment"] == ()
    assert "up by 1 at nearly every step (90%)" in unit.sentence


def test_a_trigger_is_quoted_with_its_rate_among_all_steps():
    """Up at every second '(': half of them, and the share of all steps beside it."""
    text = random_text()
    seen = np.cumsum([symbol == "(" for symbol in text])
    up = (np.array(list(text)) == "(") & (seen % 2 == 0)
    marked = "".join("U" if up[k] else symbol for k, symbol in enumerate(text))
    x = np.array([[symbol == s for s in SYMBOLS + "U"] for symbol in marked], dtype=float)
    parameters = network([{"U": (1, 1), ")": (-1, 1), "\n": (0, 0)}], SYMBOLS + "U")
    unit = tc.read_units(tc.record_trace(parameters, x), tokens=text).units[0]
    share = up.sum() / (np.array(list(text)) == "(").sum()
    assert f"up by 1, most often at '(' ({share:.0%} of them, {up.mean():.0%} of all steps)" in unit.sentence


def test_a_pair_of_conditions_is_found_where_neither_is_enough():
    """Snow: it fills where it rains and is cold."""
    x = weather(steps=6000)
    amount = np.where((x[:, 0] > 0.1) & (x[:, 1] < 0), 1.0, 0.0)
    trace = tc.record_trace(amounts_network(0.99, 50), np.stack([amount, 0 * amount], axis=1))
    labelled = trace.assign_coords(feature=["rain", "warmth"]).assign(
        x=(("time", "feature", "sequence"), x[..., np.newaxis])
    )
    first = tc.read_units(labelled).units[0].triggers["increment"][0]
    assert first.stimulus.startswith("rain above ")
    assert " while warmth is below " in first.stimulus
    assert first.share > 0.8
    # A near miss: rain alone is enough, so no pair is named.
    alone = np.where(x[:, 0] > 0.1, 1.0, 0.0)
    trace = tc.record_trace(amounts_network(0.99, 50), np.stack([alone, 0 * alone], axis=1))
    labelled = trace.assign_coords(feature=["rain", "warmth"]).assign(
        x=(("time", "feature", "sequence"), x[..., np.newaxis])
    )
    assert not any("while" in one.stimulus for one in tc.read_units(labelled).units[0].triggers["increment"])


def test_a_symbol_after_another_is_a_pair():
    text = random_text(steps=6000)
    x = np.array([[symbol == s for s in SYMBOLS] for symbol in text], dtype=float)
    pairs = np.array([symbol == "(" and k > 0 and text[k - 1] == "x" for k, symbol in enumerate(text)])
    x[:] = 0
    x[pairs, 0] = 1
    unit = tc.read_units(tc.record_trace(network([{"(": (1, 0.99)}]), x), tokens=text).units[0]
    assert unit.triggers["increment"][0].stimulus == "'(' after 'x'"
    assert unit.triggers["increment"][0].share == 1


def test_shuffled_weights_are_the_same_numbers_gate_by_gate():
    draw = np.random.default_rng(0)
    weights = {
        "weight_ih_l0": draw.normal(size=(12, 5)), "weight_hh_l0": draw.normal(size=(12, 3)),
        "bias_ih_l0": draw.normal(size=12), "bias_hh_l0": draw.normal(size=12),
    }  # fmt: skip
    mixed = shuffled(tc.LSTMParameters(weights), 7)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        assert not np.array_equal(mixed.weights[name], weights[name])
        for ours, theirs in zip(np.split(mixed.weights[name], 4), np.split(weights[name], 4), strict=True):
            np.testing.assert_array_equal(np.sort(ours, axis=None), np.sort(theirs, axis=None))
    np.testing.assert_array_equal(mixed.weights["bias_ih_l0"], weights["bias_ih_l0"])
    again = shuffled(tc.LSTMParameters(weights), 7)
    np.testing.assert_array_equal(again.weights["weight_ih_l0"], mixed.weights["weight_ih_l0"])


def test_roles_that_are_as_common_without_learning_are_said_to_be():
    """An untrained LSTM with a forget bias of 3 on white noise: its slow stores are no sign of learning."""
    draw = np.random.default_rng(0)
    size, width = 16, 3
    bias = np.zeros(4 * size)
    bias[size : 2 * size] = 3
    untrained = tc.LSTMParameters({
        "weight_ih_l0": draw.uniform(-0.25, 0.25, (4 * size, width)),
        "weight_hh_l0": draw.uniform(-0.25, 0.25, (4 * size, size)),
        "bias_ih_l0": bias, "bias_hh_l0": np.zeros(4 * size),
    })  # fmt: skip
    reading = tc.read_units(tc.record_trace(untrained, draw.normal(size=(1500, width))), model=untrained)
    nothing = reading.nothing_learned
    assert (nothing.draws, nothing.units) == (3, 16)
    most = max(reading.roles(), key=reading.roles().get)
    assert most == "slow store"
    assert nothing.roles["slow store"] > 0.8
    assert nothing.no_sign_of_learning({role: n / 16 for role, n in reading.roles().items()}) == ("slow store",)
    # What was set by hand is lost by shuffling: its counters are a sign.
    by_hand = network([{"(": (1, 1), ")": (-1, 1), "\n": (0, 0)}] * 4)
    text = random_text(steps=1000)
    x = np.array([[symbol == s for s in SYMBOLS] for symbol in text], dtype=float)
    reading = tc.read_units(tc.record_trace(by_hand, x), tokens=text, model=by_hand)
    assert reading.nothing_learned.no_sign_of_learning({"counter": 1.0}) == ()


def test_an_input_that_was_not_scaled_brings_one_warning():
    """Gates that were made for temperatures of about 0 ± 1, given kelvin."""
    draw = np.random.default_rng(0)
    weights = {"weight_ih_l0": draw.normal(size=(32, 2)), "weight_hh_l0": draw.normal(size=(32, 8)) / 4}
    parameters, scaled = tc.LSTMParameters(weights), draw.normal(size=(600, 2))
    assert tc.read_units(tc.record_trace(parameters, scaled)).warning == ""
    reading = tc.read_units(tc.record_trace(parameters, 280 + 10 * scaled))
    assert reading.warning.startswith("98% of the gate values are at a limit, and 2 of 2 features lie far from where")
    assert "was the network trained on scaled input?" in reading.warning
    assert str(reading).startswith("Warning: 98% of the gate values are at a limit")
    # A near miss: a counter set by hand is at its limits too, and reads 0 and 1.
    assert read(network([{"(": (1, 1), ")": (-1, 1)}]), random_text(steps=400)).warning == ""
