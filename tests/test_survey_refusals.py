"""What a survey refuses, when, and what of it --keep-going may leave out: what is in a file, never what is about it."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from survey_counts import Counts, save_recogniser, write_texts
from tallycell.errors import InputError, MissingExtraError
from tallycell.survey.cluster import Cluster
from tallycell.survey.local import one_by_one
from tallycell.survey.plan import Opened
from tallycell.survey.run import Sizes, require_out, run_survey, survey_plan
from tallycell.survey.store import Store

SMALL = Sizes(block=6, steps=50, task=400)


@pytest.fixture
def opened(tmp_path):
    return Opened(str(save_recogniser(tmp_path / "m.safetensors")))


# ---- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_whose_lock_cannot_be_written_is_refused_in_words(tmp_path):
    (tmp_path / "out" / "lock").mkdir(parents=True)
    said = r"^cannot lock .*out: Is a directory; give a folder on another file system$"
    with pytest.raises(InputError, match=said), Store(tmp_path / "out").locked():
        pass


def test_a_file_system_that_does_not_lock_is_not_taken_for_a_second_client(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no locks of this kind")

    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"^cannot lock .*: No locks available; give a folder on another file system$"):
        require_out(tmp_path, [])


def test_a_folder_in_use_is_refused_before_the_corpus_is_looked_at(run, tmp_path, opened, monkeypatch):
    monkeypatch.setattr("tallycell.survey.corpus.Corpus.examine", lambda *_: pytest.fail("the corpus was looked at"))
    texts, out = write_texts(tmp_path / "texts", 3), tmp_path / "out"
    with Store(out).locked():
        status, _, err = run("survey", opened.model, texts, "--out", out)
    assert status == 2
    assert f"{out} is being worked on by process {os.getpid()} on " in err
    status, _, err = run("survey", opened.model, texts, "--out", opened.model)
    assert status == 2
    assert "m.safetensors: File exists; give another folder" in err


@pytest.mark.parametrize("inside", ["out", "sub/out", "."])
def test_a_folder_inside_the_corpus_is_refused_as_its_files_would_be_texts(tmp_path, inside):
    texts = write_texts(tmp_path / "texts", 3)
    with pytest.raises(InputError, match=r"/(out|texts) lies inside the corpus .*texts; give a folder beside it"):
        require_out(texts / inside, [texts])
    require_out(tmp_path / "texts-out", [texts])
    require_out(tmp_path / "texts-out", [texts / "000.txt"])
    assert not (tmp_path / "texts-out").exists()


def test_a_missing_package_is_said_before_the_corpus_is_looked_at(run, tmp_path, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setattr("tallycell.survey.corpus.Corpus.examine", lambda *_: pytest.fail("the corpus was looked at"))
    with pytest.raises(MissingExtraError, match=r"needs the package 'distributed', .*tallycell\[survey\]"):
        Cluster(workers=2)
    texts = write_texts(tmp_path / "texts", 3)
    status, _, err = run("survey", opened.model, texts, "--out", tmp_path / "out", "--workers", 2)
    assert status == 2
    assert "this needs the package 'distributed', which is not installed" in err


# ---- what changes meanwhile ------------------------------------------------------------------------------------------


def test_a_file_that_is_no_text_any_more_but_has_its_size_is_said_to_have_changed(tmp_path, opened):
    texts = write_texts(tmp_path / "texts", 6)
    plan = survey_plan(opened, [texts], Counts(), sizes=SMALL)
    last = texts / "005.txt"

    def do(orders):
        last.write_bytes(b"\xff" * last.stat().st_size)
        yield from one_by_one(orders)

    with pytest.raises(InputError, match=r"005.txt from byte \d+: it has changed since the plan was made: it is no lo"):
        run_survey(plan, tmp_path / "out", Counts(), do=do)


@pytest.mark.parametrize("how", ["written", "more", "gone"])
def test_a_change_deep_inside_a_folder_that_is_one_table_is_named(tmp_path, how):
    pytest.importorskip("zarr", reason="zarr is not installed")
    lstm = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.zeros((8, 2))})
    tc.save(lstm, tmp_path / "m.safetensors")
    table = tmp_path / "x.zarr"
    xr.Dataset({"x": ("time", np.linspace(0, 1, 300))}).to_zarr(table, zarr_format=3, consolidated=False)
    plan = survey_plan(Opened(str(tmp_path / "m.safetensors")), [table], Counts(), sizes=SMALL)
    chunk = next(path for path in sorted(table.rglob("*")) if path.is_file() and path.parent.name == "c")
    root = table.stat()

    def do(orders):
        yield from one_by_one(orders)
        if how == "written":
            chunk.write_bytes(chunk.read_bytes())
            os.utime(chunk, ns=(1, 1))
        elif how == "more":
            (chunk.parent / "9").touch()
        else:
            chunk.unlink()
        os.utime(table, ns=(root.st_atime_ns, root.st_mtime_ns))  # the folder itself looks as before

    with pytest.raises(InputError, match=r"x.zarr was changed while it was surveyed; begin again in a new folder"):
        run_survey(plan, tmp_path / "out", Counts(), do=do)


# ---- what is left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["gone", "changed", "no memory"])
def test_what_the_machine_cannot_do_today_is_never_left_out(tmp_path, opened, monkeypatch, fault):
    """A sequence that is left out stays left out: its task has a receipt."""
    texts = write_texts(tmp_path / "texts", 6)
    plan = survey_plan(opened, [texts], Counts(), sizes=SMALL)
    last = texts / "005.txt"
    whole = last.read_bytes()
    said = {
        "gone": r"005.txt cannot be opened: No such file",
        "changed": r"005.txt from byte \d+: it has changed since the plan was made: it had",
        "no memory": r"recording 6 sequences needs about .* of memory, and this process may use 3 bytes",
    }[fault]

    def do(orders):
        if fault == "gone":
            last.unlink()
        elif fault == "changed":
            last.write_bytes(whole + b"a")
        else:
            monkeypatch.setattr("tallycell.memory.available_memory", lambda: 3)
        yield from one_by_one(orders)

    with pytest.raises(InputError, match=said):
        run_survey(plan, tmp_path / "out", Counts(), do=do, keep_going=True)
    monkeypatch.undo()
    last.write_bytes(whole)
    total = run_survey(plan, tmp_path / "out", Counts(), keep_going=True)
    assert total.counted.left_out == ()
    assert total.counted.steps == sum(len(Path(file.path).read_bytes().decode().replace("\r\n", "\n"))
                                      for file in plan.files)  # fmt: skip


def test_states_that_overflow_are_left_out_with_their_block_where_that_is_asked(tmp_path):
    huge = tc.Activations(cell=tc.activation("affine", alpha=1e30, beta=0.0))
    weights = {"weight_ih_l0": np.ones((8, 1), np.float32), "weight_hh_l0": np.zeros((8, 2), np.float32)}
    lstm = tc.LSTMParameters(weights, activations=huge)
    tc.save(lstm, tmp_path / "m.safetensors")
    for k in range(6):
        np.save(tmp_path / f"{k}.npy", np.full((20, 1), -1e30 if k == 4 else 1e-30, np.float32))
    plan = survey_plan(
        Opened(str(tmp_path / "m.safetensors")), sorted(tmp_path.glob("*.npy")), Counts(), sizes=Sizes(1, 50, 20)
    )  # fmt: skip
    with pytest.raises(InputError, match="overflow"):
        run_survey(plan, tmp_path / "out", Counts())
    total = run_survey(plan, tmp_path / "out", Counts(), keep_going=True)
    ((place, reason),) = total.counted.left_out
    assert "4.npy" in place
    assert "overflow" in reason
