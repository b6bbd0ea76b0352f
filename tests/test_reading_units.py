"""Readings of networks whose purpose is known, because their weights were set by hand."""

import json
import math

import numpy as np
import pytest

import tallycell as tc
from hand_set import BIG, network, random_text, read
from tallycell.errors import InputError
from tallycell.reading.triggers import find_triggers, read_tokens, say_symbol

DEPTH = {"(": (1, 1), ")": (-1, 1), "\n": (0, 0)}
TIMER = {"(": (1, 1), ")": (1, 1), "x": (1, 1), "\n": (0, 0)}
FLAG = {"(": (1, 0), ")": (0, 0)}
SHOWS = {"(": (1, 0), ")": (-1, 0), "x": (0, 0), "\n": (0, 0)}
CONSTANT: dict[str, tuple[int, int]] = {}


def test_units_of_known_purpose_get_their_roles():
    reading = read(network([DEPTH, TIMER, FLAG, SHOWS, CONSTANT]), random_text())
    assert [unit.role for unit in reading.units] == ["counter", "timer", "flag", "memoryless", "constant"]
    assert all(unit.r2 > 0.999 and unit.rung == "binary tally" for unit in reading.units[:4])
    assert math.isnan(reading.units[4].r2)
    assert {role: count for role, count in reading.roles().items() if count} == {
        "counter": 1, "timer": 1, "flag": 1, "memoryless": 1, "constant": 1,
    }  # fmt: skip


def test_sentences_say_what_each_unit_does():
    sentences = [unit.sentence for unit in read(network([DEPTH, TIMER, FLAG, SHOWS, CONSTANT]), random_text()).units]
    assert sentences[0].startswith("Counts up by 1 at '(' and down by 1 at ')'; reset at newline; forgets within ")
    assert sentences[1].startswith(
        "Times: it goes up by 1 at nearly every step (90%); reset at newline; forgets within "
    )
    assert sentences[2].startswith("Flag (0 or 1): set at '('; cleared at ')'; forgets within ")
    assert sentences[3].startswith("Keeps nothing, shows each write: up by 1 at '(' and down by 1 at ')'")
    assert sentences[4] == "Constant: it never moves."


def test_leaky_cell_is_a_leaky_integrator_with_its_time_constant():
    parameters = network([{"(": (1, 1), ")": (-1, 1)}])
    weights = dict(parameters.weights)
    leak = np.array(weights["weight_ih_l0"])
    leak[1] = np.log(0.7 / 0.3)  # f = 0.7
    reading = read(tc.LSTMParameters(weights | {"weight_ih_l0": leak}), random_text())
    unit = reading.units[0]
    assert (unit.role, unit.rung) == ("leaky integrator", "leaky tally")
    assert unit.memory == pytest.approx(-1 / math.log(0.7), rel=0.02)
    assert "; forgets within 2.8 steps; " in unit.sentence


def test_a_cell_that_is_never_reset_is_said_to_be():
    never = random_text(chances=(0.3, 0.3, 0.4, 0))
    (counter,) = read(network([DEPTH]), never).units
    assert "; never forgets; " in counter.sentence
    assert math.isinf(counter.memory)
    parameters = network([TIMER])
    weights = np.array(parameters.weights["weight_ih_l0"])
    weights[1] = np.log(0.995 / 0.005)
    (timer,) = read(tc.LSTMParameters({**parameters.weights, "weight_ih_l0": weights}), never).units
    assert "; forgets within 199 steps; " in timer.sentence


def test_large_numbers_are_said_without_an_exponent():
    text = (random_text(chances=(0.9, 0, 0.1, 0))[:999] + "\n") * 3
    (unit,) = read(network([DEPTH]), text).units
    assert unit.memory == pytest.approx(500, abs=20)  # the steps that it carries on average
    assert f"forgets within {unit.memory:.0f} steps" in unit.sentence


def test_a_cell_that_stands_still_where_it_is_tested_is_not_known():
    (unit,) = read(network([DEPTH]), "(x(x(x(x" * 16 + "x" * 128).units
    assert (unit.role, math.isnan(unit.r2)) == ("mixed", True)
    assert unit.sentence.startswith("Not known, its tally could not be tested (it stands still on the second half of")


def test_a_single_step_is_refused():
    with pytest.raises(
        InputError, match=r"^the trace has 1 step; a tally is fitted on one half of the steps and tested"
    ):
        read(network([DEPTH]), "(")


@pytest.mark.parametrize("steps", [2, 3, 5, 20])
def test_few_steps_are_read_without_a_claim_that_they_cannot_bear(steps):
    (unit,) = read(network([DEPTH]), ("()(" * 20)[:steps]).units
    assert unit.sentence == f"Not known: {steps} steps are too few to read it: give at least 200."
    assert all(math.isnan(rung.r2) for rung in unit.ladder)


def test_near_miss_of_a_trigger_is_told():
    """A reset at newlines, but not at all of them: the share says so, and the sentence does not name it as sure."""
    text = random_text(chances=(0.3, 0.3, 0.2, 0.2))
    symbols = "()xnN"
    marked = "".join(symbol if symbol != "\n" else "Nn"[k % 2] for k, symbol in enumerate(text))
    table = {"(": (1, 1), ")": (-1, 1), "N": (0, 0)}
    x = np.array([[symbol == s for s in symbols] for symbol in marked], dtype=float)
    trace = tc.record_trace(network([table], symbols), x)
    told = tc.read_units(trace, tokens=marked).units[0]
    untold = tc.read_units(trace, tokens=text).units[0]  # both kinds of newline look the same
    assert [trigger.stimulus for trigger in told.triggers["reset"]] == ["'N'"]
    assert told.triggers["reset"][0].share == 1
    share = untold.triggers["reset"][0].share
    assert untold.triggers["reset"][0].stimulus == "newline"
    assert share == pytest.approx(marked.count("N") / text.count("\n"))
    assert "reset at 'N'" in told.sentence
    assert "reset" not in untold.sentence
    assert "cut" not in untold.sentence


def test_reset_that_leaves_something_is_called_a_cut():
    parameters = network([{"(": (1, 1), ")": (-1, 1)}])
    weights = np.array(parameters.weights["weight_ih_l0"])
    weights[1, 3] = np.log(0.3 / 0.7)  # a newline leaves 0.3
    unit = read(tc.LSTMParameters({**parameters.weights, "weight_ih_l0": weights}), random_text()).units[0]
    assert "cut to 30% at newline" in unit.sentence
    assert "reset at" not in unit.sentence


def test_trigger_statistics_are_those_of_a_plain_count():
    draw = np.random.default_rng(0)
    codes, happens, moved = draw.integers(0, 4, 500), draw.random(500) < 0.2, draw.normal(size=500)
    happens |= codes == 2

    def triggers(labels, codes, happens):
        counts = [np.bincount(codes, some, len(labels)) for some in (np.ones(500), happens, moved)]
        return find_triggers(labels, *counts, happens.mean())

    (only,) = triggers("abcd", codes, happens)
    assert (only.stimulus, only.share, only.count) == ("c", 1.0, int((codes == 2).sum()))
    assert only.chance == pytest.approx(happens.mean())
    assert only.mean == pytest.approx(moved[codes == 2].mean())
    # What happens at random, always or never has no trigger; nor has a stimulus seen four times.
    assert triggers("abcd", codes, np.zeros(500, bool)) == ()
    assert triggers("abcd", codes, np.ones(500, bool)) == ()
    for seen in (4, 5):
        rare = np.arange(500) < seen
        assert bool(triggers("ab", rare.astype(int), rare)) == (seen == 5)


def test_input_features_are_triggers_where_there_are_no_tokens():
    xr = pytest.importorskip("xarray")
    draw = np.random.default_rng(2)
    rain = np.where(draw.random(4000) < 0.2, draw.random(4000), 0.0)
    warm = draw.normal(size=4000)
    # Writes where it rains more than a little, resets where it is warm.
    weights = np.array([[BIG, 0], [0, -BIG], [BIG, 0], [0, 0]])
    bias = np.array([-0.3 * BIG, 1.5 * BIG, 0, 0])
    parameters = tc.LSTMParameters(
        {"weight_ih_l0": weights, "weight_hh_l0": np.zeros((4, 1)), "bias_ih_l0": bias, "bias_hh_l0": np.zeros(4)}
    )
    x = xr.DataArray(np.stack([rain, warm], axis=1), dims=("time", "feature"), coords={"feature": ["rain", "warmth"]})
    unit = tc.read_units(tc.record_trace(parameters, x)).units[0]
    assert unit.triggers["increment"][0].stimulus == "high rain"
    assert unit.triggers["reset"][0].stimulus == "high warmth"


def test_followed_quantity_is_found_and_quoted_on_the_other_half():
    text = random_text(3, 4000)
    depth = np.cumsum([(symbol == "(") - (symbol == ")") for symbol in text]).astype(float)
    noise = np.random.default_rng(0).normal(size=len(text))
    reading = read(network([{"(": (1, 1), ")": (-1, 1)}, CONSTANT]), text, quantities={"noise": noise, "depth": depth})
    follows = reading.units[0].follows
    assert follows.quantity == "depth"
    half = len(text) // 2
    assert follows.correlation == pytest.approx(1)
    assert "follows depth (r = +1.00)" in reading.units[0].sentence
    # What holds only on the first half is chosen there, and found wanting on the second.
    lost = np.where(np.arange(len(text)) < half, depth, noise)
    other = read(network([{"(": (1, 1), ")": (-1, 1)}]), text, quantities={"lost": lost}).units[0]
    assert other.follows is None
    assert reading.units[1].follows is None
    assert reading.leaders()["depth"] is reading.units[0]


def test_readability_and_medians_leave_constant_units_out():
    reading = read(network([DEPTH, CONSTANT]), random_text())
    assert reading.readability()[2] == 1.0
    assert reading.median_r2()["binary tally"] > 0.999
    empty = read(network([CONSTANT]), random_text())
    assert all(math.isnan(value) for value in empty.median_r2().values())


def test_readings_print_and_become_rows():
    reading = read(network([DEPTH, CONSTANT]), random_text())
    assert "0.0  counter" in str(reading)
    rows = reading.to_rows()
    assert json.loads(json.dumps(rows, allow_nan=False))[1]["r2"] is None
    assert list(reading.to_frame()["role"]) == ["counter", "constant"]
    assert reading.unit("0.1").role == "constant"
    with pytest.raises(InputError, match=r"no unit '3\.9'; give LAYER\.UNIT, from 0\.0 to 0\.1"):
        reading.unit("3.9")


def test_several_sequences_with_lengths_read_as_one_each():
    texts = [random_text(seed, steps) for seed, steps in ((0, 900), (1, 400), (2, 700))]
    x = np.zeros((900, 3, 4))
    for s, text in enumerate(texts):
        x[: len(text), s] = [[symbol == known for known in "()x\n"] for symbol in text]
    trace = tc.record_trace(network([DEPTH]), x, lengths=[900, 400, 700])
    unit = tc.read_units(trace, tokens=texts).units[0]
    assert (unit.role, unit.rung) == ("counter", "binary tally")
    newline = next(trigger for trigger in unit.triggers["reset"] if trigger.stimulus == "newline")
    assert newline.count == sum(text.count("\n") for text in texts)


def test_tokens_and_quantities_that_do_not_fit_are_refused():
    text = random_text(steps=60)
    with pytest.raises(InputError, match=r"the trace has 1 with \[60\]; give one token a step"):
        tc.read_units(tc.record_trace(network([DEPTH]), np.zeros((60, 4))), tokens=text[:-1])
    with pytest.raises(InputError, match=r"quantity 'depth' has shape \(5,\), expected \(sequence, time\) = \(1, 60\)"):
        tc.read_units(tc.record_trace(network([DEPTH]), np.zeros((60, 4))), quantities={"depth": np.zeros(5)})
    assert read_tokens(["ab", "c"], np.array([2, 1])) == [["a", "b"], ["c"]]


def test_symbols_are_said_by_their_names():
    assert [say_symbol(symbol) for symbol in (" ", "\n", "\t", "(", "<", "<unknown>")] == [
        "space", "newline", "tab", "'('", "'<'", "<unknown>",
    ]  # fmt: skip


def test_progress_is_told_by_units():
    calls = []
    read(network([DEPTH, FLAG]), random_text(steps=200), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (2, 2)
    calls.clear()
    read(network([DEPTH, FLAG] * 20), random_text(steps=200), progress=lambda done, total: calls.append((done, total)))
    done = [one for one, _ in calls]
    assert done == sorted(done)
    assert (len(done) > 1, calls[-1]) == (True, (40, 40))
