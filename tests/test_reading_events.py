"""Saturation, events and known quantities, against definitions written a second time."""

import ast
import io
import re
import tokenize
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell.errors import ActivationError, TraceError
from tallycell.opening import text_quantities
from tallycell.reading import read_events, read_saturation, saturated_share
from tallycell.reading.events import EXPOSE, FORGET, WRITE, code_events
from tallycell.trace.schema import activations_of


def random_trace(seed=0, scale=3.0, **options):
    """A bidirectional LSTM of two layers on padded sequences, with gates all over their ranges."""
    draw = np.random.default_rng(seed)
    unit, feature, weights = 5, 3, {}
    for layer in range(2):
        for suffix in ("", "_reverse"):
            width = feature if layer == 0 else 2 * unit
            weights[f"weight_ih_l{layer}{suffix}"] = scale * draw.normal(size=(4 * unit, width))
            weights[f"weight_hh_l{layer}{suffix}"] = draw.normal(size=(4 * unit, unit))
    x = draw.normal(size=(40, 3, feature))
    return tc.record_trace(tc.LSTMParameters(weights, **options), x, lengths=[40, 13, 27])


def test_saturated_shares_are_counted_over_real_steps_only():
    trace = random_trace()
    found = read_saturation(trace)
    for gate in "ifgo":
        values = trace[gate].to_numpy()
        for layer in range(2):
            for direction in range(2):
                for unit in range(5):
                    real = values[layer, direction, :, :, unit]
                    real = real[~np.isnan(real)]
                    assert real.size == 80
                    here = found.sel(gate=gate).isel(layer=layer, direction=direction, unit=unit)
                    low = 0.1 if gate != "g" else -0.9
                    assert here["left"].item() == pytest.approx(np.mean(real < low))
                    assert here["right"].item() == pytest.approx(np.mean(real > 0.9))
                    edges = found["edges"].sel(gate=gate).isel(direction=direction).to_numpy()
                    assert here["histogram"].to_numpy().tolist() == np.histogram(real, edges)[0].tolist()
    share = saturated_share(found)
    assert float(share.sel(gate="f")) == pytest.approx(float((found["left"] + found["right"]).sel(gate="f").mean()))


def test_events_follow_their_definitions():
    trace = random_trace(1)
    events = read_events(trace)
    i, f, g, o, c = (trace[name].to_numpy() for name in "ifgoc")
    y = np.tanh(c)
    rules = {
        "forget": {"reset": f < 0.1, "keep": f > 0.9, "leak": (f >= 0.1) & (f <= 0.9)},
        "write": {"increment": (i > 0.9) & (g > 0.9), "decrement": (i > 0.9) & (g < -0.9)},
        "expose": {"positive": (o > 0.9) & (y > 0.9), "negative": (o > 0.9) & (y < -0.9)},
    }
    rules["write"]["hold"] = ((i < 0.1) | (np.abs(i * g) < 0.1)) & ~rules["write"]["increment"]
    rules["expose"]["hidden"] = (o < 0.1) | (np.abs(o * y) < 0.1)
    for name, meanings in (("forget", FORGET), ("write", WRITE), ("expose", EXPOSE)):
        codes = events[name].to_numpy()
        assert events[name].attrs["flag_meanings"].split() == list(meanings)
        assert events[name].dims == trace["c"].dims
        np.testing.assert_array_equal(codes == -1, np.isnan(c))
        claimed = np.zeros(c.shape, bool)
        for meaning, holds in rules[name].items():
            assert holds.any(), f"{meaning} is never tried"
            np.testing.assert_array_equal(codes == meanings.index(meaning), holds, err_msg=meaning)
            claimed |= holds
        last = len(meanings) - 1
        if meanings[last] == "partial":
            np.testing.assert_array_equal(codes == last, ~claimed & ~np.isnan(c))


def test_events_of_arrays_without_an_output_gate_are_those_of_what_is_there():
    trace = random_trace(2)
    arrays = {name: trace[name].to_numpy() for name in "ifgoc"}
    slots = activations_of(trace, 0)
    whole = code_events(arrays, slots, always_keeps=False)
    part = code_events({name: arrays[name] for name in "ifgc"}, slots, always_keeps=False)
    assert (set(whole), set(part)) == ({"forget", "write", "expose"}, {"forget", "write"})
    for name, codes in part.items():
        np.testing.assert_array_equal(codes, whole[name])
    kept = code_events(arrays, slots, always_keeps=True)["forget"]
    assert (kept == np.where(arrays["f"] < 0.1, FORGET.index("reset"), FORGET.index("keep"))).all()


def test_lstm_without_forget_gate_always_keeps():
    relu = tc.Activations(gate=tc.activation("relu"))  # whose right limit is not finite
    for options in ({}, {"activations": relu, "scale": 0.3}):
        codes = read_events(random_trace(forget_gate="none", **options))["forget"].to_numpy()
        assert set(np.unique(codes)) == {-1, FORGET.index("keep")}


def test_activation_without_a_limit_on_a_side_is_never_saturated_there():
    relu = tc.Activations(cell=tc.activation("relu"))
    found = read_saturation(random_trace(activations=relu))
    assert float(found["right"].sel(gate="g").max()) == 0
    assert float(found["left"].sel(gate="g").max()) > 0
    # An infinite range is drawn over the values that came.
    assert float(found["histogram"].sel(gate="g").isel(layer=0, direction=0).sum()) == 5 * 80


def test_activation_without_stated_limits_is_refused_by_every_reading():
    unstated = tc.register_activation("cube_root_of_nothing", np.cbrt, lambda x, y: 1 / (3 * y * y))
    trace = random_trace(activations=tc.Activations(cell=unstated))
    for reading in (read_saturation, read_events, tc.read_units):
        with pytest.raises(ActivationError, match="'cube_root_of_nothing' does not state its left and right limit"):
            reading(trace)


def test_missing_variables_are_named():
    trace = random_trace()
    with pytest.raises(TraceError, match="the trace lacks o; events need i, f, g, o and c"):
        read_events(trace.drop_vars("o"))
    with pytest.raises(TraceError, match="the trace holds no gate"):
        read_saturation(trace.drop_vars(["i", "f", "g", "o"]))
    with pytest.raises(TraceError, match="the trace lacks f, g; record i, f, g, c to read units"):
        tc.read_units(trace.drop_vars(["f", "g"]))
    with pytest.raises(TraceError, match="a tally runs from the first step on, so record with all steps"):
        tc.read_units(trace.isel(time=slice(3, None)))


SOURCE = Path(tc.__file__).with_name("equations.py").read_text(encoding="utf-8")


def test_strings_comments_and_brackets_are_those_of_pythons_own_tokenizer():
    """Brackets, strings and comments of a real module, told by the tokenize module."""
    quantities = text_quantities(SOURCE)
    starts = np.cumsum([0, *(len(line) for line in SOURCE.splitlines(keepends=True))])
    string, comment, change = np.zeros((3, len(SOURCE)))
    for token in tokenize.generate_tokens(io.StringIO(SOURCE).readline):
        begin, end = (starts[line - 1] + column for line, column in (token.start, token.end))
        if token.type == tokenize.STRING:
            prefix = re.match(r"[a-zA-Z]*", token.string).end()
            string[begin + prefix : end] = 1
        elif token.type == tokenize.COMMENT:
            comment[begin:end] = 1
        elif token.type == tokenize.OP and token.string in "()[]{}":
            change[begin] = 1 if token.string in "([{" else -1
    np.testing.assert_array_equal(quantities["being inside a string"], string)
    np.testing.assert_array_equal(quantities["being inside a comment"], comment)
    np.testing.assert_array_equal(quantities["bracket depth"], np.cumsum(change))
    assert ast.parse(SOURCE)  # the text is what the definitions speak of: a Python module


def test_positions_are_those_of_the_lines():
    quantities = text_quantities(SOURCE)
    t = 0
    for line in SOURCE.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        for column in range(1, len(line) + 1):
            assert quantities["position in the line"][t] == column
            assert quantities["indentation"][t] == min(column, indent)
            word = re.search(r"\w*$", line[:column])[0]
            assert quantities["position in the word"][t] == len(word)
            t += 1
        assert quantities["position in the line"][t] == 0  # the newline
        t += 1


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("a'b'c", "01110"),
        ("'a\\'b'c", "1111110"),
        ("'open\nnext", "1111100000"),
        ('"""a\n"b"""c', "11111111110"[:11]),
        ("'''never ends", "1" * 13),
        ("'\\", "11"),
    ],
)
def test_strings_at_their_edges(text, inside):
    found = text_quantities(text)["being inside a string"]
    assert "".join(str(int(value)) for value in found) == inside


def test_closing_brackets_without_an_opening_one_do_not_go_below_zero():
    assert text_quantities(")(a))")["bracket depth"].tolist() == [0, 1, 1, 0, 0]
