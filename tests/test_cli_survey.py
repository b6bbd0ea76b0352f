"""``tallycell survey``: what it prints, keeps, and says of what it cannot read."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

import tallycell as tc
from survey_counts import save_recogniser, write_texts
from tallycell.survey.plan import Opened
from tallycell.survey.run import Sizes, run_survey, survey_plan
from tallycell.survey.store import Store
from tallycell.survey.units import Units, read_total


@pytest.fixture
def model(tmp_path):
    return save_recogniser(tmp_path / "m.safetensors")


def test_a_survey_prints_its_plan_and_its_reading_and_keeps_both(run, tmp_path, model):
    texts, out = write_texts(tmp_path / "texts"), tmp_path / "out"
    status, printed, err = run("survey", model, texts, "--out", out, "--steps", 200)
    assert (status, err) == (0, "")
    lines = printed.splitlines()
    size = sum(path.stat().st_size for path in texts.iterdir())
    assert lines[0].startswith(f"12 texts, {size:,} bytes in ")
    assert lines[1].startswith("the sums take at most ")
    assert "it read 000.txt and 11 more: " in printed
    assert "nothing learned" in printed
    kept = json.loads((out / "reading.json").read_text())
    assert len(kept["units"]) == 5
    assert kept["survey"]["steps"] == int(printed.partition("11 more: ")[2].partition(" steps")[0].replace(",", ""))
    text = "".join(path.read_bytes().decode().replace("\r\n", "\n") for path in texts.iterdir())
    unknown = sum(symbol not in "ab() \né" for symbol in text) / len(text)
    assert kept["unknown_share"] == pytest.approx(unknown)
    assert f"of at most 200, {unknown:.1%} of them unknown" in " ".join(printed.split())
    assert (kept["survey"]["passed_over"], kept["survey"]["left_out"]) == ([], [])
    assert kept["units"][0]["sentence"][:40] in " ".join((out / "reading.txt").read_text().split())
    again = run("survey", model, texts, "--out", out, "--steps", 200)
    assert again[1].splitlines()[1].startswith("1 tasks are done; the sums take at most 0 bytes more of ")
    assert again[1].splitlines()[2:] == lines[2:]


def test_steps_that_levels_were_fitted_on_are_counted_and_not_their_bytes(run, tmp_path, model):
    """A piece of 200 bytes holds 100 of these symbols."""
    texts = write_texts(tmp_path / "texts", symbols="é")
    status, printed, _ = run("survey", model, texts, "--out", tmp_path / "out", "--steps", 200)
    assert status == 0
    plan = Store(tmp_path / "out").plan()
    fitted = int(plan.lengths[plan.fitted].sum()) // 2
    assert f"levels were fitted on {fitted:,} of the steps, and all others tested" in " ".join(printed.split())
    steps = json.loads((tmp_path / "out" / "reading.json").read_text())["survey"]["steps"]
    assert steps == sum(path.stat().st_size for path in texts.iterdir()) // 2
    assert 0.2 * steps < fitted < 0.6 * steps


def test_symbols_that_are_left_out_are_counted_even_where_a_piece_has_no_others(run, tmp_path):
    """An embedding without a symbol for what it does not know; the last text holds 600 that it does not know."""
    draw = np.random.default_rng(0)
    shapes = {"embedding.weight": (3, 3), "lstm.weight_ih_l0": (8, 3), "lstm.weight_hh_l0": (8, 2)}
    weights = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "m.safetensors")
    (tmp_path / "vocabulary.txt").write_text("a\nb\nc\n")
    texts = write_texts(tmp_path / "texts", 6, symbols="abc")
    (texts / "999.txt").write_text("ab" * 2_000 + "z" * 600 + "c" * 399)
    status, printed, err = run(
        "survey", tmp_path / "m.safetensors", texts, "--out", tmp_path / "out", "--steps", 200,
        "--vocab", tmp_path / "vocabulary.txt",
    )  # fmt: skip
    assert (status, err) == (0, "")
    size = sum(path.stat().st_size for path in texts.iterdir())
    kept = json.loads((tmp_path / "out" / "reading.json").read_text())
    assert (kept["survey"]["symbols"], kept["survey"]["unknown"]) == (size, 600)
    assert kept["survey"]["steps"] == size - 600
    assert kept["unknown_share"] == pytest.approx(600 / size)
    assert f"{600 / size:.1%} of the text are unknown and left out" in " ".join(printed.split())


def test_a_file_whose_name_is_not_utf_8_is_surveyed_and_named(run, tmp_path, model):
    texts, out = write_texts(tmp_path / "texts", 5), tmp_path / "out"
    try:
        (texts / os.fsdecode(b"\xff.txt")).write_text("ab" * 400)
        (texts / os.fsdecode(b"\xfe.txt")).write_bytes(b"\xff")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    status, printed, err = run("survey", model, texts, "--out", out, "--steps", 200, "--keep-going")
    assert (status, err) == (0, "")
    assert r"1 file was passed over; reading.json lists why: " in " ".join(printed.split())
    ((path, reason),) = json.loads((out / "reading.json").read_text())["survey"]["passed_over"]
    assert path.endswith(os.fsdecode(b"\xfe.txt"))
    assert "is not UTF-8 text" in reason


def test_a_folder_of_another_survey_is_refused_in_one_line(run, tmp_path, model):
    texts, out = write_texts(tmp_path / "texts", 4), tmp_path / "out"
    assert run("survey", model, texts, "--out", out, "--steps", 200)[0] == 0
    status, _, err = run("survey", model, texts, "--out", out, "--steps", 100)
    assert status == 2
    assert f"tallycell: {out} holds a survey with steps 200 and not 100; give another folder" in err


def test_what_cannot_be_read_is_named_and_listed_where_it_is_passed_over(run, tmp_path, model):
    texts, out = write_texts(tmp_path / "texts"), tmp_path / "out"
    (texts / "007.txt").write_bytes(b"\xff\xff")
    status, _, err = run("survey", model, texts, "--out", out, "--steps", 200)
    assert status == 2
    assert "007.txt is not UTF-8 text (near byte 0); expected a text; --keep-going passes over" in err
    status, printed, _ = run("survey", model, texts, "--out", out, "--steps", 200, "--keep-going")
    assert status == 0
    assert "1 file was passed over; reading.json lists why:" in " ".join(printed.split())
    ((path, reason),) = json.loads((out / "reading.json").read_text())["survey"]["passed_over"]
    assert path.endswith("007.txt")
    assert "is not UTF-8" in reason


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--workers", "2", "--scheduler", "tcp://x:1"], "got both workers and a scheduler, or neither; give one"),
        (["--vocab", "nowhere.txt"], "there is no file nowhere.txt; give the path of a vocabulary"),
        (["--vocab", "m.safetensors"], "m.safetensors"),
        (["--lstm", "decoder"], "decoder"),
    ],
)
def test_what_does_not_fit_together_is_refused(run, tmp_path, model, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    texts = write_texts(tmp_path / "texts", 3)
    status, _, err = run("survey", model, texts, "--out", tmp_path / "out", *more)
    assert status == 2
    assert said in err


def test_the_reading_of_a_survey_is_near_that_of_the_whole_text(tmp_path):
    """Units that lines reset or halve: cutting the text changes what little they carry over."""
    from hand_set import SYMBOLS, network, random_text

    lstm = network([{"(": (1, 1), ")": (-1, 1), "\n": (0, 0)}, {"x": (1, 1), "\n": (0, 0.5)}])
    recogniser = tc.Recogniser(tuple(SYMBOLS), np.eye(4), lstm, np.ones((2, 2)), np.zeros(2), ("no", "yes"))
    text = random_text(steps=8000)
    tc.save(recogniser, tmp_path / "m.safetensors")
    (tmp_path / "x.txt").write_text(text)
    plan = survey_plan(
        Opened(str(tmp_path / "m.safetensors")), [tmp_path / "x.txt"], Units(), sizes=Sizes(4, 500, 2000)
    )
    reading = read_total(run_survey(plan, tmp_path / "out", Units()))
    given = tc.open_text(recogniser, text)
    whole = tc.read_units(tc.record_trace(recogniser, given), given)
    for ours, theirs in zip(reading.units, whole.units, strict=True):
        assert ours.role == theirs.role
        assert ours.sentence.partition(";")[0] == theirs.sentence.partition(";")[0]
        assert ours.r2 == pytest.approx(theirs.r2, abs=1e-9)  # both tallies are exact, but for the rounding of levels
    assert reading.nothing_learned is not None
