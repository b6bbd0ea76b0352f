"""The shipped model on the shipped text: what the reading claims is checked against the text itself."""

from functools import cache
from importlib.resources import files

import numpy as np
import pytest

import tallycell as tc
from tallycell.cli.inputs import open_input
from tallycell.opening import text_quantities
from tallycell.reading.sentences import SURE
from tallycell.reading.triggers import say_symbol

SHIPPED = files("tallycell") / "shipped"


@cache
def reading():
    """The default reading, its trace and its text; recorded once for all tests."""
    subject = open_input()
    trace = subject.record()
    return tc.read_units(trace, subject.given.tokens, subject.given.quantities), trace, subject


def test_shipped_model_is_small_and_knows_the_sample():
    assert (SHIPPED / "stdlib_characters.safetensors").stat().st_size < 1_000_000
    subject = reading()[2]
    assert subject.given.unknown_share == 0
    assert subject.model.recogniser.unknown == "<unknown>"
    assert 128 <= subject.parameters.hidden_size <= 200
    assert subject.parameters.num_layers == 1


def test_shipped_model_predicts_its_text():
    """Bits a character on the sample, by the readout in NumPy: half of the 6.6 bits of a blind guess, or less."""
    _, trace, subject = reading()
    h = trace["h"].isel(layer=0, direction=0, sequence=0).to_numpy()
    logits = subject.model.recogniser.logits(h)[:-1].astype(float)
    target = subject.model.recogniser.encode(subject.given.tokens)[1:]
    normaliser = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    bits = (normaliser - logits[np.arange(len(target)), target]).mean() / np.log(2)
    assert bits < 3.3


def test_shipped_model_runs_the_same_in_torch():
    torch = pytest.importorskip("torch")
    _, trace, subject = reading()
    lstm = torch.nn.LSTM(subject.parameters.input_size, subject.parameters.hidden_size)
    lstm.load_state_dict({name: torch.tensor(weight) for name, weight in subject.parameters.weights.items()})
    with torch.no_grad():
        h, _ = lstm(torch.tensor(subject.given.x[:2000]))
    # float32: rounding differs by the order of sums, over 2,000 steps.
    np.testing.assert_allclose(trace["h"].isel(layer=0, direction=0, sequence=0)[:2000], h, atol=1e-4)


def test_sentences_are_true_of_the_text():
    """Every symbol that a sentence names is looked up in the text, and the gates are looked at there."""
    found, trace, subject = reading()
    tokens = np.array([say_symbol(token) for token in subject.given.tokens])
    named = 0
    for unit in found.units:
        gates = {
            name: trace[name].sel(unit=unit.unit).isel(layer=0, direction=0, sequence=0).to_numpy() for name in "ifgoc"
        }
        write = gates["i"].astype(float) * gates["g"]
        quoted = next(rung for rung in unit.ladder if rung.name == unit.rung)
        for event, triggers in unit.triggers.items():
            for trigger in triggers:
                at = tokens == trigger.stimulus
                if not at.any() or event in ("set", "clear"):
                    continue  # a pair of conditions; a flag, which is told by its two values
                assert trigger.count == at.sum()
                if event == "reset":
                    happens = gates["f"] < 0.5
                elif event == "increment":
                    happens = write > max(quoted.write_levels) / 2
                elif event == "decrement":
                    happens = write < min(quoted.write_levels) / 2
                else:
                    happens = (gates["o"] >= 0.5) == (event == "show")
                assert trigger.share == pytest.approx(happens[at].mean())
                assert trigger.share > happens.mean()
                if event == "reset" and trigger.share >= SURE and unit.role != "constant":
                    named += 1
                    word = "reset at" if gates["f"][at].mean() < 0.1 else "cut to"
                    clause = next(part for part in unit.sentence.split("; ") if word in part)
                    assert trigger.stimulus in clause
    assert named > 100  # there is something to check


def test_a_unit_said_to_be_reset_by_a_newline_is():
    found, trace, subject = reading()
    at = np.array([token == "\n" for token in subject.given.tokens])
    said = [u for u in found.units if any("reset at" in part and "newline" in part for part in u.sentence.split("; "))]
    assert said
    for unit in said:
        here = trace.sel(unit=unit.unit).isel(layer=0, direction=0, sequence=0)
        f, c = here["f"].to_numpy(), here["c"].to_numpy().astype(float)
        assert (f[at] < 0.5).mean() >= SURE
        assert f[at].mean() < 0.1
        # What stands in the cell behind a newline is what that step wrote, not what was there before.
        before = np.concatenate([[0.0], c[:-1]])[at]
        written = (here["i"].astype(float) * here["g"]).to_numpy()[at]
        assert np.abs(c[at] - written).mean() < 0.15 * np.abs(before).mean() + 0.01


def test_one_unit_counts_brackets():
    """A cell of a plain language model that follows bracket depth, against the depth counted in the text."""
    found, trace, subject = reading()
    unit = found.leaders()["bracket depth"]
    assert unit.role == "counter"
    assert abs(unit.follows.correlation) > 0.8
    depth = text_quantities("".join(subject.given.tokens))["bracket depth"]
    c = trace["c"].sel(unit=unit.unit).isel(layer=0, direction=0, sequence=0).to_numpy()
    half = len(c) // 2
    assert unit.follows.correlation == pytest.approx(np.corrcoef(c[half:], depth[half:])[0, 1], abs=1e-6)
    moved = np.diff(c, prepend=0)
    opens, closes = (np.array([token in group for token in subject.given.tokens]) for group in ("([", ")]"))
    sign = np.sign(unit.follows.correlation)
    assert (sign * moved[opens] > 0).mean() > 0.95
    assert (sign * moved[closes] < 0).mean() > 0.95


def test_readability_of_the_shipped_model_is_what_the_readme_says():
    """The median R² aimed at: above 0.9 with at most eight parameters a unit."""
    medians = reading()[0].median_r2()
    assert medians["4 writes, 3 keeps"] > 0.9
    assert list(medians) == ["binary tally", "two steps", "leaky tally", "partial reset",
                             "3 writes, 2 keeps", "4 writes, 3 keeps", "6 writes, 5 keeps"]  # fmt: skip
