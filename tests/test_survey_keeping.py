"""Raw traces that a survey keeps: those of each sequence by itself, whole whatever was killed, a chunk a block."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from survey_counts import Counts, save_recogniser, write_texts
from tallycell.errors import InputError, MissingExtraError
from tallycell.survey import keeping, run
from tallycell.survey.corpus import named, open_corpus
from tallycell.survey.keeping import FITTED_TRACE, TESTED_TRACE
from tallycell.survey.local import one_by_one
from tallycell.survey.plan import Opened
from tallycell.survey.run import Sizes, run_survey, survey_plan

pytest.importorskip("zarr")

SMALL = Sizes(block=6, steps=50, task=400)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return Opened(str(save_recogniser(tmp_path_factory.mktemp("model") / "m.safetensors")))


@pytest.fixture(scope="module")
def plan(opened, tmp_path_factory):
    texts = write_texts(tmp_path_factory.mktemp("corpus") / "texts")
    return survey_plan(opened, [texts], Counts(), sizes=SMALL, keep=("c", "f"))


@pytest.fixture(scope="module")
def kept(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    run_survey(plan, folder, Counts())
    return folder


def test_traces_are_those_of_each_sequence_read_by_itself(plan, kept):
    corpus = open_corpus(plan.opened, "text")
    for store, sequences in ((FITTED_TRACE, plan.fitted), (TESTED_TRACE, plan.tested)):
        trace = tc.open_trace(kept / store).load()
        tc.trace.schema.validate_trace(trace)
        assert set(trace.data_vars) == {"c", "f", "h_0", "c_0", "length"}
        assert trace.sizes["sequence"] == len(sequences)
        for row, sequence in enumerate(sequences.tolist()):
            alone = tc.record_trace(corpus.model, corpus.piece(plan, sequence).given)
            length = int(trace.length[row])
            assert length == alone.sizes["time"]
            for name in "cf":
                found = trace[name][:, :, row, :length]
                # float32, whose last bits depend on how many sequences run side by side
                np.testing.assert_allclose(found, alone[name][:, :, 0], rtol=1e-5, atol=1e-5)
                assert np.isnan(trace[name][:, :, row, length:]).all()
    tested = tc.open_trace(kept / TESTED_TRACE)
    assert tested.sequence.values[0] == named(*plan.place_of(int(plan.tested[0])))
    assert set(tested.chunksizes["sequence"][:-1]) == {plan.block}


def test_killed_and_gone_on_with_they_are_the_same_to_the_last_bit(plan, kept, tmp_path):
    def ends(orders):
        for number, receipt in enumerate(one_by_one(orders)):
            if number == 2:
                raise KeyboardInterrupt
            yield receipt

    with pytest.raises(KeyboardInterrupt):
        run_survey(plan, tmp_path, Counts(), do=ends)
    with pytest.raises(tc.FormatError, match="lack chunks"):  # it is not whole, and says so
        tc.open_trace(tmp_path / TESTED_TRACE)
    run_survey(plan, tmp_path, Counts())
    for store in (FITTED_TRACE, TESTED_TRACE):
        xr.testing.assert_identical(tc.open_trace(tmp_path / store).load(), tc.open_trace(kept / store).load())


def test_a_sequence_that_cannot_be_read_has_no_steps_and_the_trace_can_be_read(opened, tmp_path, monkeypatch):
    texts = write_texts(tmp_path / "texts")
    plan = survey_plan(opened, [texts], Counts(), sizes=SMALL, keep=("i", "f", "g", "o", "c"))
    bad = int(plan.tested[8])
    whole = run.open_for(plan).piece

    def piece(self, plan, sequence):
        if sequence == bad:
            raise keeping_error()
        return whole(plan, sequence)

    def keeping_error():
        from tallycell.survey.corpus import UnreadableError

        return UnreadableError("it is damaged")

    monkeypatch.setattr("tallycell.survey.corpus.Corpus.piece", piece)
    total = run_survey(plan, tmp_path / "out", Counts(), keep_going=True)
    assert len(total.counted.left_out) == 1
    trace = tc.open_trace(tmp_path / "out" / TESTED_TRACE)
    assert np.flatnonzero(trace.length.values == 0).tolist() == [8]
    assert np.isnan(trace.c[:, :, 8]).all()
    read = trace.load()
    of_all = tc.read_units(read)
    of_read = tc.read_units(read.isel(sequence=read.length.values > 0))
    assert [unit.sentence for unit in of_all.units] == [unit.sentence for unit in of_read.units]


def test_another_choice_is_another_plan(opened, plan, kept):
    other = survey_plan(opened, [Path(plan.files[0].path).parent], Counts(), sizes=SMALL)
    with pytest.raises(InputError, match="holds a survey with keep"):
        run_survey(other, kept, Counts())


def test_what_cannot_be_kept_is_refused(opened, plan, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot keep 'x'; known are 'i', 'f', 'g', 'o', 'c', 'h'"):
        survey_plan(opened, [plan.files[0].path], Counts(), sizes=SMALL, keep=("c", "x"))
    monkeypatch.setattr(keeping, "bytes_of_traces", lambda *_: 1 << 60)
    monkeypatch.setattr(run, "bytes_of_traces", lambda *_: 1 << 60)
    with pytest.raises(InputError, match=r"and the disk of .* has"):
        run_survey(plan, tmp_path / "out", Counts())
    monkeypatch.setattr("tallycell.trace.store.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="zarr"):
        survey_plan(opened, [tmp_path / "none"], Counts(), sizes=SMALL, keep=("c",))


def test_a_store_that_was_removed_meanwhile_is_named(plan, tmp_path):
    import shutil

    def removes(orders):
        shutil.rmtree(tmp_path / TESTED_TRACE)
        yield from one_by_one(orders)

    with pytest.raises(InputError, match=r"the trace of block 0 cannot be written to .*tested.zarr"):
        run_survey(plan, tmp_path, Counts(), do=removes)


def test_the_command_keeps_them(opened, tmp_path):
    texts = write_texts(tmp_path / "texts")
    command = [sys.executable, "-m", "tallycell", "survey", opened.model, str(texts), "--out", str(tmp_path / "out"),
               "--steps", "50", "--block", "6", "--keep", "c"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    assert "c" in tc.open_trace(tmp_path / "out" / TESTED_TRACE)
