"""What ``read`` and ``trace`` take: the files that must be there, what goes together, and the same in Python."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy.io import wavfile

import tallycell as tc
from compiled_once import network_of
from tallycell.cli.inputs import open_input
from tallycell.cli.options import Feeding, Source
from tallycell.errors import InputError
from tallycell.loaders import LoadedModel, Place
from tallycell.opening import read_scale
from tallycell.scaling import Scaling

DAYS = pd.date_range("2001-01-01", periods=300, name="day")


@pytest.fixture
def table(tmp_path):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"rain": draw.normal(size=300), "wind": draw.normal(size=300)}, index=DAYS)
    frame.to_csv(tmp_path / "x.csv")
    return tmp_path / "x.csv"


@pytest.fixture
def model(tmp_path):
    draw = np.random.default_rng(1)
    weights = {"weight_ih_l0": draw.normal(size=(12, 2)), "weight_hh_l0": draw.normal(size=(12, 3))}
    tc.save(tc.LSTMParameters(weights), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def refused(run, *arguments):
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    return err


# ---- files first -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "missing"), [
    (("read", "none.pt", "--array", "none.npy"), "none.pt; give the path of a model file"),
    (("read", "none.pt"), "none.pt; give the path of a model file"),
    (("read", "m.safetensors", "--text", "none.txt"), "none.txt; give the path of a text"),
    (("read", "m.safetensors", "--text", "none.txt", "--array", "x.csv", "--json", "--csv"), "none.txt"),
    (("read", "m.safetensors", "--array", "x.csv", "--array", "y.csv"), "y.csv; give the path of an array or a table"),
    (("read", "--audio", "none.wav"), "none.wav; give the path of a WAV file"),
    (("read", "--vocab", "none.json"), "none.json; give the path of a vocabulary"),
    (("read", "m.safetensors", "--scale", "none.yml"), "none.yml; give the path of a scaling"),
    (("read", "m.safetensors", "--state", "none.npz"), "none.npz; give the path of initial states"),
    (("read", "m.safetensors", "--quantities", "none.csv"), "none.csv; give the path of quantities"),
    (("trace", "none.pt", "x.csv", "-o", "nowhere/t.zarr"), "none.pt"),
    (("trace", "m.safetensors", "none.csv", "-o", "nowhere/t.zarr"), "none.csv"),
])  # fmt: skip
def test_a_missing_file_is_said_before_anything_else(run, tmp_path, model, table, monkeypatch, arguments, missing):
    monkeypatch.chdir(tmp_path)
    assert f"there is no file {missing}" in refused(run, *arguments)


def test_what_does_not_go_together_is_refused(run, model, table, tmp_path):
    vocabulary = tmp_path / "v.txt"
    vocabulary.write_text("a\n")
    np.savez(tmp_path / "s.npz", h_0=np.zeros((1, 3)), c_0=np.zeros((1, 3)))
    cases = {
        ("read", model, "--array", table, "--vocab", vocabulary): "--vocab goes with --text, and there is none",
        ("read", "--time", "day"): "--time goes with --array, and there is none",
        ("read", model, "--text", vocabulary, "--scale", vocabulary): "--scale goes with --array",
        ("read", model, "--text", vocabulary, "--quantities", table): "--quantities goes with --array",
        ("trace", model, table, "--text", vocabulary, "-o", tmp_path / "t.zarr"): "x.csv and --text; give one of them",
        (
            "trace",
            model,
            table,
            "--quantities",
            table,
            "-o",
            tmp_path / "t.zarr",
        ): "is for tallycell read, since a trace",
        ("trace", model, "-o", tmp_path / "t.zarr"): "needs something to read",
    }
    for arguments, expected in cases.items():
        assert expected in refused(run, *arguments)


# ---- the same in Python ----------------------------------------------------------------------------------------------


def same(subject, model, given):
    """What the command reads is what Python opens, and its trace that of ``record_trace``."""
    ours = subject.given
    assert (ours.name, ours.about, ours.tokens, ours.notes, ours.lstm, ours.reverse, ours.step_seconds) == (
        given.name, given.about, given.tokens, given.notes, given.lstm, given.reverse, given.step_seconds,
    )  # fmt: skip
    np.testing.assert_array_equal(ours.x, given.x)
    assert list(ours.quantities) == list(given.quantities)
    for name in given.quantities:
        np.testing.assert_array_equal(ours.quantities[name], given.quantities[name])
    trace = tc.record_trace(model, given)
    np.testing.assert_array_equal(subject.record()["c"], trace["c"])
    return trace


def test_a_table_is_read_alike(model, table, tmp_path):
    frame = pd.read_csv(table, index_col="day", parse_dates=True)
    frame[["wind"]].cumsum().rename(columns={"wind": "way [km]"}).to_csv(tmp_path / "q.csv")
    (tmp_path / "s.json").write_text(json.dumps({"rain": {"mean": 1, "std": 2}, "wind": {"mean": 0, "std": 1}}))
    np.savez(tmp_path / "state.npz", h_0=np.ones((1, 3)), c_0=np.full((1, 3), 2.0))
    files = {"quantities": tmp_path / "q.csv", "state": tmp_path / "state.npz"}
    subject = open_input(model, Source(array=[table], time="day", scale=tmp_path / "s.json", **files))
    loaded = tc.load(model)
    trace = same(subject, loaded, tc.open_table(loaded, table, time="day", scaling=tmp_path / "s.json", **files))
    assert subject.given.step_seconds == 86400
    assert subject.given.notes == ("scaled by s.json",)
    # And as by hand.
    scaled = np.stack([(frame["rain"] - 1) / 2, frame["wind"]], axis=1)
    by_hand = tc.record_trace(loaded.lstm, scaled, (np.ones((1, 3)), np.full((1, 3), 2.0)))
    np.testing.assert_allclose(trace["c"], by_hand["c"], atol=1e-12)
    assert trace["time"].to_index().equals(DAYS.rename("time"))
    in_python = tc.open_table(loaded, frame, scaling=read_scale(tmp_path / "s.json"))
    np.testing.assert_array_equal(in_python.x, subject.given.x)
    assert in_python.step_seconds == 86400


def test_several_tables_are_a_sequence_each_as_if_read_alone(run, model, table, tmp_path):
    pd.read_csv(table)[:120].to_csv(tmp_path / "short.csv", index=False)
    loaded = tc.load(model)
    subject = open_input(model, Source(array=[table, tmp_path / "short.csv"]))
    trace = same(subject, loaded, tc.open_table(loaded, table, tmp_path / "short.csv"))
    assert subject.given.name == "x.csv and 1 more"
    assert (
        subject.given.about == "300 x 2 x 2 (time, sequence, feature): rain, wind; from 2001-01-01 to 2001-10-27, "
        "120 to 300 steps of each sequence"
    )
    alone = tc.record_trace(loaded, tc.open_table(loaded, tmp_path / "short.csv"))
    np.testing.assert_allclose(trace["c"].isel(sequence=1, time=slice(120)), alone["c"].isel(sequence=0), atol=1e-12)
    assert trace["c"].isel(sequence=1, time=120).isnull().all()
    status, out, _ = run("read", model, "--array", table, "--array", tmp_path / "short.csv")
    assert status == 0
    assert "x.csv and 1 more: 300 x 2 x 2 (time, sequence, feature)" in out


def word_model(folder):
    draw = np.random.default_rng(2)
    tensors = {"weight_ih_l0": draw.normal(size=(12, 2)), "weight_hh_l0": draw.normal(size=(12, 3))}
    named = {f"lstm.{name}": weight for name, weight in tensors.items()}
    save_file({"embedding.weight": draw.normal(size=(5, 2)), **named}, folder / "tagger.safetensors")
    return folder / "tagger.safetensors"


def test_a_text_is_read_alike(run, tmp_path, monkeypatch):
    path = word_model(tmp_path)
    loaded = LoadedModel(dict(tc.load(path)), path, embedding=np.random.default_rng(3).normal(size=(5, 2)))
    monkeypatch.setattr("tallycell.cli.options.load", lambda *_, **__: loaded)
    (tmp_path / "v.txt").write_text("the\ncat\nsat\n.\n<unk>\n")
    (tmp_path / "a.txt").write_text("The cat sat. The dog sat.\n" * 20)
    subject = open_input(path, Source(text=tmp_path / "a.txt", vocab=tmp_path / "v.txt"))
    same(subject, loaded, tc.open_text(loaded, tmp_path / "a.txt", vocabulary=tmp_path / "v.txt"))
    status, out, _ = run("read", path, "--text", tmp_path / "a.txt", "--vocab", tmp_path / "v.txt")
    assert status == 0
    assert "it read a.txt: 160 words and marks, 12.5% of them unknown\n" in out
    assert "\n  the text was lowered: no symbol of the vocabulary has an upper-case letter\n" in out
    assert "give them with vocabulary (--vocab FILE)" in refused(run, "read", path, "--text", tmp_path / "a.txt")


def test_a_sound_is_read_alike(tmp_path):
    draw = np.random.default_rng(4)
    wavfile.write(tmp_path / "a.wav", 1_000, draw.normal(size=3_000).astype(np.float32))
    weights = {"weight_ih_l0": draw.normal(size=(8, 1)), "weight_hh_l0": draw.normal(size=(8, 2))}
    tc.save(tc.LSTMParameters(weights), tmp_path / "m.safetensors")
    loaded = tc.load(tmp_path / "m.safetensors")
    subject = open_input(tmp_path / "m.safetensors", Source(audio=tmp_path / "a.wav"), feeding=Feeding(rate=2_000))
    same(subject, loaded, tc.open_audio(loaded, tmp_path / "a.wav", rate=2_000))
    assert "x" not in subject.record()  # a sample means nothing by itself


def test_the_shipped_model_and_text_are_what_is_read_without_arguments():
    subject = open_input()
    assert (subject.model_name, subject.given.name) == ("the shipped character model", "the shipped sample")
    assert subject.given.unknown_share == 0


def test_trace_takes_flags_or_a_file_by_its_suffix(run, model, table, tmp_path):
    pytest.importorskip("zarr")
    assert run("trace", model, table, "-o", tmp_path / "a.zarr")[0] == 0
    assert run("trace", model, "--array", table, "--time", "day", "-o", tmp_path / "b.zarr")[0] == 0
    a, b = (tc.open_trace(tmp_path / f"{name}.zarr") for name in "ab")
    np.testing.assert_array_equal(a["c"], b["c"])
    assert a["x"].sel(time="2001-01-03", feature="rain").size == 1
    frame = pd.read_csv(table)
    np.savez(tmp_path / "x.npz", x=frame[["rain", "wind"]].to_numpy())
    assert run("trace", model, tmp_path / "x.npz", "-o", tmp_path / "c.zarr")[0] == 0
    np.testing.assert_array_equal(tc.open_trace(tmp_path / "c.zarr")["c"], a["c"])


# ---- tables whose columns a model names ------------------------------------------------------------------------------


def named_model(features=("wind", "rain"), **more):
    draw = np.random.default_rng(1)
    weights = {"weight_ih_l0": draw.normal(size=(12, 2)), "weight_hh_l0": draw.normal(size=(12, 3))}
    return LoadedModel({"": tc.LSTMParameters(weights)}, Path("run"), features=features, **more)


def scaling(**values):
    return Scaling({name: one[0] for name, one in values.items()}, {name: one[1] for name, one in values.items()})


def test_columns_are_chosen_and_ordered_by_the_names_of_the_model(tmp_path):
    frame = pd.DataFrame({"rain": [1.0, 2], "snow": [3.0, 4], "wind": [5.0, 6]}, index=DAYS[:2])
    frame.to_csv(tmp_path / "x.csv")
    model = named_model(scaling=scaling(wind=(1, 2), rain=(0, 0.5), flow=(9, 9)))
    for table in (tmp_path / "x.csv", frame, frame.rename(columns={"rain": "rain [mm/d]"})):
        given = tc.open_table(model, table)
        assert given.x.to_numpy().tolist() == [[2, 2], [2.5, 4]]
        assert given.x["feature"].to_numpy().tolist() == ["wind", "rain"]
        assert (given.x["center"].to_numpy().tolist(), given.x["spread"].to_numpy().tolist()) == ([1, 0], [2, 0.5])
        assert given.notes == ("'snow' is no input of run and left out", "scaled as in training (run)")
        assert "left_out" not in given.x.attrs
    assert given.x["units"].to_numpy().tolist() == ["", "mm/d"]
    other = tc.open_table(model, frame, scaling=scaling(wind=(0, 1), rain=(0, 1)))
    assert other.x.to_numpy().tolist() == [[5, 1], [6, 2]]
    assert other.notes[-1] == "scaled as asked"


def test_names_are_the_same_with_and_without_their_units(tmp_path):
    frame = pd.DataFrame({"PRCP(mm/day)": [1.0, 2], "SRAD(W/m2)": [3.0, 4]}, index=DAYS[:2])
    frame.to_csv(tmp_path / "x.csv")
    model = named_model(("SRAD(W/m2)", "PRCP(mm/day)"), scaling=Scaling(*({name: 1 for name in frame} for _ in "cs")))
    for table in (frame, tmp_path / "x.csv", frame.rename(columns={"PRCP(mm/day)": "PRCP [in]"})):
        given = tc.open_table(model, table)
        assert given.x.to_numpy().tolist() == [[2, 0], [3, 1]]
        assert given.x["feature"].to_numpy().tolist() == ["SRAD(W/m2)", "PRCP(mm/day)"]


def test_a_table_that_lacks_a_column_or_a_scaling_is_refused_by_name(tmp_path):
    frame = pd.DataFrame({"rain": [1.0, 2], "snow": [3.0, 4]}, index=DAYS[:2])
    frame.to_csv(tmp_path / "x.csv")
    for table in (frame, tmp_path / "x.csv"):
        with pytest.raises(InputError, match="has no column 'wind', which the model reads; it has 'rain', 's"):
            tc.open_table(named_model(), table)
    with pytest.raises(InputError, match="the scaling has no center and spread for 'snow'"):
        tc.open_table(named_model(("rain", "snow")), frame, scaling=scaling(rain=(0, 1)))
    with pytest.raises(InputError, match="the columns of the table have no names, so that the scaling of 'r"):
        tc.open_table(named_model(None), np.ones((5, 2)), scaling=scaling(rain=(0, 1)))


def test_columns_without_names_are_those_of_the_model_in_its_order():
    given = tc.open_table(named_model(scaling=scaling(wind=(1, 2), rain=(0, 1))), np.ones((5, 2)))
    assert given.x["feature"].to_numpy().tolist() == ["wind", "rain"]
    assert given.x.to_numpy()[0].tolist() == [0, 1]


def test_an_lstm_that_reads_from_the_last_step_is_given_tables_turned_round(table, tmp_path):
    model = named_model(("rain", "wind"), places={"": Place(reverse=True)}, step="1D")
    frame = pd.read_csv(table, index_col="day", parse_dates=True)
    quantities = {
        "array": np.arange(300.0), "series": frame["rain"], "labelled": frame["wind"].rename_axis("time").to_xarray(),
    }  # fmt: skip
    given = tc.open_table(model, table, quantities=quantities)
    np.testing.assert_array_equal(given.x, frame.to_numpy()[::-1])
    assert given.x["time"].to_index().equals(DAYS[::-1].rename("time"))
    for name, values in {"array": np.arange(300), "series": frame["rain"], "labelled": frame["wind"]}.items():
        np.testing.assert_array_equal(given.quantities[name], values[::-1])
    tc.read_units(tc.record_trace(model, given), quantities=given.quantities)  # labels are still the input's
    frame[:100].to_csv(tmp_path / "short.csv")
    with pytest.raises(InputError, match="sequences of different length cannot stand side by side"):
        tc.open_table(model, table, tmp_path / "short.csv")


def test_a_step_is_as_long_as_the_model_says_where_the_table_does_not():
    assert tc.open_table(named_model(step="1h"), np.ones((5, 2))).step_seconds == 3600
    assert tc.open_table(named_model(step="30T"), np.ones((5, 2))).step_seconds == 1800
    assert tc.open_table(named_model(step="MS"), np.ones((5, 2))).step_seconds is None
    assert tc.open_table(named_model(), np.ones((5, 2))).step_seconds is None


def test_neuralhydrology_run_reads_its_own_forcings(run, third_party, tmp_path):
    folder = third_party / "models" / "neuralhydrology-run"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    network = folder / "nh_AORC_hourly_2801_191806"
    forcings = folder / "aorc_hourly_cat-67_2015-12.csv"
    assert "has no column 'elev_mean', 'slope_mean'" in refused(run, "read", network, "--array", forcings)
    frame = pd.read_csv(forcings).assign(elev_mean=92.7, slope_mean=18.7)
    frame.to_csv(tmp_path / "x.csv", index=False)
    given = tc.open_table(tc.load(network), tmp_path / "x.csv")
    chosen = frame[["APCP_surface", "TMP_2maboveground", "elev_mean", "slope_mean"]]
    back = given.x * given.x["spread"] + given.x["center"]
    np.testing.assert_allclose(back, chosen, atol=1e-9)
    assert given.notes[-1] == "scaled as in training (nh_AORC_hourly_2801_191806)"
    assert given.step_seconds == 3600
    status, out, _ = run("read", network, "--array", tmp_path / "x.csv", "--top", "3")
    assert status == 0
    assert "scaled as in training" in out


def test_a_recogniser_that_is_given_nothing_reads_its_own_language(run, tmp_path):
    tc.save(network_of("anbn"), tmp_path / "anbn.safetensors")
    status, out, _ = run("read", tmp_path / "anbn.safetensors")
    assert status == 0
    assert "it read strings of its own: 186 strings that its own machine does not fail on" in out
    assert "Counts up by 1 at 'a' and down by 1 at 'b'; never forgets" in out


def test_six_steps_are_said_to_be_too_few(run, tmp_path):
    tc.save(network_of("anbn"), tmp_path / "anbn.safetensors")
    (tmp_path / "short.txt").write_text("aaabbb", encoding="utf-8")
    status, out, _ = run("read", tmp_path / "anbn.safetensors", "--text", tmp_path / "short.txt")
    assert status == 0
    assert "What its units do\n  Not known: 6 steps are too few to read it: give at least 200." in out
    assert "R²" not in out


def test_a_unit_is_shown_with_dates_and_with_what_lies_beside(run, tmp_path):
    """The ruler of a dated table begins its blocks with dates, and lays features under the cell."""
    draw = np.random.default_rng(0)
    weights = np.array([[0, 0], [0, 0], [1, 0], [0, 0]], dtype=float)
    bias = np.array([100.0, 3.5, 0, 0])
    tc.save(
        tc.LSTMParameters(
            {"weight_ih_l0": weights, "weight_hh_l0": np.zeros((4, 1)), "bias_ih_l0": bias, "bias_hh_l0": np.zeros(4)}
        ),
        tmp_path / "store.safetensors",
    )
    rain = draw.exponential(0.3, 800) * (draw.random(800) < 0.3)
    days = pd.date_range("2000-10-01", periods=800)
    store = np.convolve(rain, 0.97 ** np.arange(800))[:800]
    pd.DataFrame({"date": days, "rain [mm]": rain, "warmth": draw.normal(size=800)}).to_csv(
        tmp_path / "x.csv", index=False
    )
    pd.DataFrame({"date": days, "store [mm]": 6.6 * store}).to_csv(tmp_path / "q.csv", index=False)
    call = ("read", tmp_path / "store.safetensors", "--array", tmp_path / "x.csv", "--quantities", tmp_path / "q.csv")
    status, out, _ = run(*call)
    assert status == 0
    assert "slow store" in out
    assert re.search(r"follows store\s+\(r = \+(1.00|0.9\d), one\s+unit of the cell is 7\.\d mm\)", out)
    assert re.search(r"forgets within 3\d\s+days", out)
    status, out, _ = run(*call, "--unit", "0.0")
    lines = out.splitlines()
    assert any(re.fullmatch(r"200[0-2]-\d\d-\d\d", line) for line in lines)
    assert [sum(line.startswith(name) for line in lines) > 0 for name in ("store ", "rain ", "warmth ")] == [True] * 3
    _, out, _ = run(*call, "--unit", "0.0", "--rows", "1")
    assert not any(line.startswith("rain ") for line in out.splitlines())


def test_the_page_and_the_unit_keep_events_apart_in_an_output_of_ascii(tmp_path):
    tc.save(network_of("anbn"), tmp_path / "anbn.safetensors")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for options in ((), ("--unit", "0.0")):
        command = [sys.executable, "-m", "tallycell", "read", tmp_path / "anbn.safetensors", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.isascii()
        assert "?" not in done.stdout
        assert "R2" in done.stdout
    assert "increment" in done.stdout
