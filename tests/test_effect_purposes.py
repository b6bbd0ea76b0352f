"""Purposes in a reading: sentences end in what is lost without a unit, those that matter most stand first."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tallycell as tc
from compiled_once import network_of
from tallycell.effect import purposes
from tallycell.effect.effects import Push, Suffering, UnitEffect
from tallycell.effect.purposes import has_outputs, measure_purposes, with_purposes
from tallycell.errors import InputError
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.reading import blocks

COUNTED = {"label": "0.0", "kind": "zero", "unit": "bits a symbol"}


def effect(loss, low, high, score="bits", **besides):
    return UnitEffect(**(COUNTED | {"loss": loss, "low": low, "high": high, "score": score} | besides))


@pytest.mark.parametrize(("found", "said"), [
    (effect(0.25, 0.1, 0.4), "without it 0.25 bits a symbol are lost"),
    (effect(0.25, -0.1, 0.4), "without it the outputs are as good"),
    (effect(0.0, 0.0, 0.0), "without it the outputs are as good"),
    (effect(-0.1, -0.2, -0.05), "without it the outputs are as good"),
    (effect(0.25, np.nan, np.nan), "without it 0.25 bits a symbol are lost"),
    (effect(0.0, np.nan, np.nan), ""),
    (effect(0.44, 0.3, 0.5, "nse", unit="of the Nash-Sutcliffe efficiency"),
     "without it 0.44 of the Nash-Sutcliffe efficiency is lost"),
    (effect(2.0, 1.0, 3.0, "mse", unit="of mean squared error"), "without it 2 of mean squared error is added"),
    (effect(2.0, 1.0, 3.0, "divergence", unit="(mean square of the change)"),
     "without it the outputs move by 2 (mean square of the change)"),
    (effect(0.3, 0.2, 0.4, suffering=(Suffering("\n", 0.91, 12), Suffering(")", 0.5, 12))),
     "without it newline is 0.91 bits worse"),
    (effect(0.3, 0.2, 0.4, push=Push(("a", " ", "c", "d"), ("e",), both_ways=True)),
     "without it 0.3 bits a symbol are lost; shown above 0, it raises 'a', space, 'c' and lowers 'e'; below 0 the "
     "opposite"),
])  # fmt: skip
def test_a_purpose_is_what_is_lost_if_that_is_sure_and_what_is_pushed(found, said):
    assert found.purpose() == said


@pytest.fixture
def counter(tmp_path):
    """A compiled a^n b^n, which reads strings of its own machine."""
    model = network_of("anbn")
    tc.save(model, tmp_path / "anbn.safetensors")
    return tmp_path / "anbn.safetensors"


def test_the_page_shows_what_matters_first_and_sentences_end_in_the_purpose(run, counter):
    status, out, _ = run("read", counter)
    assert status == 0
    report = json.loads(run("read", counter, "--json")[1])
    effects = report["effects"]
    assert [one["loss"] for one in effects["units"]] == sorted((one["loss"] for one in effects["units"]), reverse=True)
    foremost = effects["units"][0]
    assert foremost["low"] > 0
    lines = out.splitlines()
    matters = next(k for k, line in enumerate(lines) if "matter" in line and "most" in line)
    explained = next(k for k, line in enumerate(lines) if "a simple counter explains best" in line)
    assert matters < explained
    first = lines[matters + 2].split()
    assert first[:2] == [foremost["label"], f"{foremost['loss']:.2g}"]
    sentence = next(unit["sentence"] for unit in report["units"] if unit["label"] == foremost["label"])
    assert "; without it " in sentence
    assert sentence.endswith(".")


def test_no_effects_leaves_them_out_of_everything(run, counter):
    status, out, _ = run("read", counter, "--no-effects")
    assert (status, "matter" in out.replace("not the most important", ""), "without it" in out) == (0, False, False)
    report = json.loads(run("read", counter, "--no-effects", "--json")[1])
    assert report["effects"] is None
    assert not any("without it" in unit["sentence"] for unit in report["units"])
    status, _, err = run("read", counter, "--no-effects", "--target", "q")
    assert (status, "give one of them" in err) == (2, True)


def test_one_unit_is_held_in_every_way(run, counter):
    _, out, _ = run("read", counter, "--unit", "0.0")
    for way in ("held at 0", "held at its mean", "never forgetting", "forgetting at once", "never shown"):
        assert f"\n  {way} " in out
    _, without, _ = run("read", counter, "--unit", "0.0", "--no-effects")
    assert "held at 0" not in without


def test_a_reading_in_python_is_told_the_same_purposes(counter, run):
    model = tc.load(counter)
    report = json.loads(run("read", counter, "--json")[1])
    from tallycell.cli.inputs import open_input

    given = open_input(counter).given
    reading = tc.read_units(tc.record_trace(model, given), given, model=model)
    told = with_purposes(reading, measure_purposes(model, given))
    assert [unit.sentence for unit in told.units] == [unit["sentence"] for unit in report["units"]]
    assert reading.units[0].sentence != told.units[0].sentence


# ---- models of numbers -------------------------------------------------------------------------------------------


@pytest.fixture
def flow(tmp_path):
    """A network of which only unit 0 reaches the output, its input, and a quantity that is its output exactly."""
    draw = np.random.default_rng(4)
    weights = {"weight_ih_l0": draw.normal(size=(12, 2)), "weight_hh_l0": 0.3 * draw.normal(size=(12, 3))}
    head = Head(np.array([[2.0, 0.0, 0.0]]), np.array([0.5]))
    model = LoadedModel({"": tc.LSTMParameters(weights)}, Path("m.pt"), head=head)
    days = pd.date_range("2001-01-01", periods=500, name="day")
    frame = pd.DataFrame(draw.normal(size=(500, 2)), columns=["rain", "wind"], index=days)
    given = tc.open_table(model, frame)
    said = tc.outputs(model, tc.record_trace(model, given)).to_numpy().ravel()
    return model, frame, pd.DataFrame({"flow": said}, index=days)


def test_a_quantity_may_be_the_target_and_what_reaches_no_output_costs_nothing(flow):
    model, frame, known = flow
    given = tc.open_table(model, frame, quantities=known)
    effects = measure_purposes(model, given, targets="flow")
    assert (effects.score, effects.free) == ("nse", pytest.approx(1.0))
    assert effects.most(1)[0].label == "0.0"
    assert not any(effects.of(label).purpose() == "" for label in effects.labels)
    with pytest.raises(InputError, match="flood"):
        measure_purposes(model, given, targets="flood")


def test_effects_on_the_first_steps_are_those_of_an_input_that_ends_there(flow):
    model, frame, known = flow
    whole = tc.open_table(model, frame, quantities=known)
    begin = tc.open_table(model, frame[:200], quantities=known[:200])
    found = measure_purposes(model, whole, targets="flow", most=200)
    xr.testing.assert_identical(found.table, measure_purposes(model, begin, targets="flow").table)
    assert found.notes[0].startswith("Of 500 steps the first 200 were looked at")
    assert not found.table.equals(measure_purposes(model, whole, targets="flow").table)  # a near miss: all steps
    for enough in (None, 500):
        assert not any(
            "looked at" in note for note in measure_purposes(model, whole, targets="flow", most=enough).notes
        )


@pytest.mark.parametrize(("longest", "most"), [(400, 400), (600, None)])
def test_what_is_read_in_blocks_has_its_effects_measured_on_the_first_steps(run, tmp_path, monkeypatch, longest, most):
    calls = []
    monkeypatch.setattr(purposes, "measure_purposes", lambda *_, **options: calls.append(options))
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", longest)
    (tmp_path / "a.py").write_text("print([1, 2], (3))\n" * 30)
    assert run("read", "--text", tmp_path / "a.py", "--json")[0] == 0
    assert [options["most"] for options in calls] == [most]


def test_without_a_linear_layer_nothing_is_measured_and_that_is_said(run, tmp_path, flow):
    model, frame, _ = flow
    bare = LoadedModel({"": model.lstm}, Path("m.pt"))
    given = tc.open_table(bare, frame)
    assert (has_outputs(bare, given), measure_purposes(bare, given)) == (False, None)
    with pytest.raises(InputError, match="no linear layer"):
        measure_purposes(bare, given, targets="flow")
    tc.save(model.lstm, tmp_path / "m.safetensors")
    frame.to_csv(tmp_path / "x.csv")
    status, out, _ = run("read", tmp_path / "m.safetensors", "--array", tmp_path / "x.csv")
    assert status == 0
    assert "no linear layer behind this LSTM is known" in " ".join(out.split())
