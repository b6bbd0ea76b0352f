"""A survey gives the same sums to the last bit, however often it was ended, and says what it cannot do."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from survey_counts import Counts, save_recogniser, write_texts
from tallycell.errors import FormatError, InputError
from tallycell.reading.events import read_events
from tallycell.survey.blocks import Counted
from tallycell.survey.corpus import open_corpus
from tallycell.survey.local import one_by_one
from tallycell.survey.plan import Opened
from tallycell.survey.run import Sizes, run_survey, survey_plan
from tallycell.survey.store import Receipt, Store

SMALL = Sizes(block=6, steps=50, task=400)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    model = save_recogniser(folder / "m.safetensors")
    return Opened(str(model)), write_texts(folder / "texts")


@pytest.fixture(scope="module")
def plan(corpus):
    opened, texts = corpus
    return survey_plan(opened, [texts], Counts(), sizes=SMALL)


@pytest.fixture(scope="module")
def undisturbed(plan, tmp_path_factory):
    return run_survey(plan, tmp_path_factory.mktemp("undisturbed"), Counts())


def require_equal(total, other):
    for name in ("levels", "fitted", "tested"):
        ours, theirs = getattr(total, name), getattr(other, name)
        assert ours.keys() == theirs.keys()
        for key, values in ours.items():
            assert values.dtype == theirs[key].dtype
            assert values.tobytes() == theirs[key].tobytes(), (name, key)
    assert total.counted == other.counted


def test_sums_are_those_of_each_sequence_read_by_itself(plan, undisturbed):
    assert plan.tasks > 4
    assert len(plan.tested) % plan.block  # the last block is filled up
    corpus = open_corpus(plan.opened, "text")
    pieces = [corpus.piece(plan, number).given for number in plan.tested.tolist()]
    expected, steps = np.zeros((5, 5), int), 0
    for piece in pieces:
        if piece is not None:
            events = read_events(tc.record_trace(corpus.model, piece))["write"].to_numpy().reshape(-1, 5)
            expected += np.stack([(events == code).sum(axis=0) for code in range(-1, 4)])
            steps += len(piece.x)
    found = undisturbed.tested
    assert int(found["steps"]) == steps
    # A cell that stands at an edge may fall to either side of it: bits depend on how many sequences are side by side.
    np.testing.assert_allclose(found["write"][1:], expected[1:], atol=2)
    assert undisturbed.counted.steps == steps + int(undisturbed.fitted["steps"])
    text = "".join(Path(file.path).read_bytes().decode().replace("\r\n", "\n") for file in plan.files)
    assert undisturbed.counted.symbols == len(text)
    assert undisturbed.counted.unknown == sum(symbol not in corpus.model.recogniser.alphabet for symbol in text) > 0


def test_a_survey_of_tables_reads_all_of_every_format(tmp_path):
    x = np.random.default_rng(0).normal(size=(230, 3))
    lstm = tc.LSTMParameters({"weight_ih_l0": np.random.default_rng(1).normal(size=(8, 3)),
                              "weight_hh_l0": np.random.default_rng(2).normal(size=(8, 2))})  # fmt: skip
    tc.save(lstm, tmp_path / "m.safetensors")
    named = xr.Dataset({f"x{k}": ("time", x[:, k]) for k in range(3)})
    np.save(tmp_path / "a.npy", np.stack([x, -x], axis=1))
    np.savez(tmp_path / "b.npz", x=x)
    named.to_dataframe().to_parquet(tmp_path / "c.parquet", index=False)
    named.to_zarr(tmp_path / "d.zarr", zarr_format=3, consolidated=False)
    totals = []
    for suffix in ("npz", "parquet", "zarr"):
        (path,) = tmp_path.glob(f"*.{suffix}")
        plan = survey_plan(Opened(str(tmp_path / "m.safetensors")), [path], Counts(), sizes=SMALL)
        totals.append(run_survey(plan, tmp_path / f"out-{suffix}", Counts()))
        assert totals[-1].counted == Counted(sequences=5, steps=230)
        require_equal(totals[0], totals[-1])
    plan = survey_plan(Opened(str(tmp_path / "m.safetensors")), [tmp_path / "a.npy"], Counts(), sizes=SMALL)
    assert run_survey(plan, tmp_path / "two", Counts()).counted == Counted(sequences=10, steps=460)


def test_a_survey_that_is_done_is_only_added_up_again(plan, undisturbed, tmp_path):
    def nobody(orders):
        raise AssertionError("there is nothing to do")

    seen = []
    require_equal(run_survey(plan, tmp_path, Counts(), progress=seen.append), undisturbed)
    assert [standing.done for standing in seen] == list(range(plan.tasks + 1))
    assert seen[-1].to_write == 0
    assert seen[-1].steps == seen[-1].of_steps
    require_equal(run_survey(plan, tmp_path, Counts(), do=nobody), undisturbed)


def test_a_client_that_ends_after_any_task_goes_on_to_the_same_bits(plan, undisturbed, tmp_path):
    def ends_after(count):
        def do(orders):
            for number, receipt in enumerate(one_by_one(orders)):
                if number == count:
                    raise KeyboardInterrupt
                yield receipt

        return do

    for count in (0, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            run_survey(plan, tmp_path, Counts(), do=ends_after(count))
    require_equal(run_survey(plan, tmp_path, Counts()), undisturbed)


def test_tasks_done_in_any_order_and_twice_give_the_same_bits(plan, undisturbed, tmp_path):
    def do(orders):
        yield from one_by_one(orders[::-1])
        list(one_by_one(orders))

    require_equal(run_survey(plan, tmp_path, Counts(), do=do), undisturbed)


@pytest.mark.parametrize("work", ["levels", "fitted", "000001"])
@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_flipped_bit_is_found_and_what_it_is_in_is_computed_again(plan, undisturbed, tmp_path, work, suffix):
    run_survey(plan, tmp_path, Counts())
    path = tmp_path / "sums" / f"{work}.{suffix}"
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 7).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert Store(tmp_path).receipt(work, plan) is None
    require_equal(run_survey(plan, tmp_path, Counts()), undisturbed)
    assert path.read_bytes() == whole


def test_a_file_of_sums_that_is_cut_or_gone_is_computed_again(plan, undisturbed, tmp_path):
    run_survey(plan, tmp_path, Counts())
    (tmp_path / "sums" / "000000.npz").write_bytes(b"")
    (tmp_path / "sums" / "000001.json").unlink()
    (tmp_path / "sums" / "000002.npz").unlink()
    require_equal(run_survey(plan, tmp_path, Counts()), undisturbed)


def test_a_receipt_says_what_it_said(plan):
    receipt = Receipt("000001", plan.fingerprint, "0a", Counted(1, 2, 3, 1, (("a.txt from byte 0", "it is é"),)))
    assert Receipt.from_json(receipt.to_json()) == receipt
    for changed in (receipt.to_json().replace("é", "e"), "", "[]", "{}", '{"check": 1}'):
        assert Receipt.from_json(changed) is None


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_folder_refuses_another_plan_and_names_the_difference(corpus, plan, tmp_path):
    run_survey(plan, tmp_path, Counts())
    opened, texts = corpus
    other = survey_plan(opened, [texts], Counts(), sizes=replace(SMALL, steps=51))
    with pytest.raises(InputError, match=r"holds a survey with steps 50 and not 51; give another folder"):
        run_survey(other, tmp_path, Counts())
    (tmp_path / "plan.json").write_text((tmp_path / "plan.json").read_text().replace("50", "52"))
    with pytest.raises(FormatError, match=r"plan.json is no plan of a survey"):
        run_survey(plan, tmp_path, Counts())


def test_a_second_client_is_refused_and_told_who_is_first(plan, undisturbed, tmp_path):
    def do(orders):
        script = "import sys; sys.path[:0] = sys.argv[2:]; from tallycell.survey.store import Store\n"
        script += "from pathlib import Path\nwith Store(Path(sys.argv[1])).locked(): pass"
        second = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), *sys.path], capture_output=True, text=True, check=False
        )  # fmt: skip
        assert f"is being worked on by process {os.getpid()} on " in second.stderr
        with pytest.raises(InputError, match="wait until it ends, or end it"):
            run_survey(plan, tmp_path, Counts())
        yield from one_by_one(orders)

    require_equal(run_survey(plan, tmp_path, Counts(), do=do), undisturbed)


def test_a_folder_that_cannot_be_is_refused(plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file"):
        run_survey(plan, tmp_path / "file", Counts())


def test_a_disk_without_room_is_refused_before_anything_is_summed(plan, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(InputError, match=r"the sums of \d+ tasks take up to [\d,.]+ \w+, and the disk .* has 1,000 b"):
        run_survey(plan, tmp_path, Counts())
    monkeypatch.undo()
    assert not list((tmp_path / "sums").glob("0*"))


def test_a_disk_that_is_full_meanwhile_is_said_and_leaves_a_folder_that_goes_on(plan, undisturbed, tmp_path):
    """A limit on the size of files ends writing as a full disk does, without privileges."""
    script = (
        "import resource, sys; sys.path[:0] = sys.argv[2:]\n"
        "from survey_counts import Counts; from tallycell.survey.run import run_survey; from pathlib import Path\n"
        "from tallycell.survey.store import Store; from tallycell.survey.local import one_by_one\n"
        "def do(orders):\n"
        "    yield from one_by_one(orders[:2])\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))\n"
        "    yield from one_by_one(orders[2:])\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "run_survey(Store(Path(sys.argv[1])).plan(), sys.argv[1], Counts(), do=do)\n"
    )
    Store(tmp_path).begin(plan)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *sys.path], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert "InputError: cannot write" in ended.stderr
    assert "File too large" in ended.stderr
    assert {path.name for path in (tmp_path / "sums").iterdir()} == {
        f"{work}.{suffix}" for work in ("levels", "fitted", "000000", "000001") for suffix in ("npz", "json")
    }
    require_equal(run_survey(plan, tmp_path, Counts()), undisturbed)


def test_a_model_that_changed_is_refused_by_whoever_computes(corpus, tmp_path):
    model = save_recogniser(tmp_path / "m.safetensors")
    plan = survey_plan(Opened(str(model)), [corpus[1]], Counts(), sizes=SMALL)
    save_recogniser(model, seed=1)
    with pytest.raises(InputError, match=r"m.safetensors is not the model that the plan was made with"):
        run_survey(plan, tmp_path / "out", Counts())


@pytest.mark.parametrize("longer", [True, False])
def test_a_file_that_changes_meanwhile_is_named(corpus, tmp_path, longer):
    texts = write_texts(tmp_path / "texts", 6)
    plan = survey_plan(corpus[0], [texts], Counts(), sizes=SMALL)
    last = texts / "005.txt"

    def do(orders):
        text = last.read_bytes()
        last.write_bytes(text + b"a" if longer else text)
        os.utime(last, ns=(1, 1))
        yield from one_by_one(orders)

    said = "005.txt.*it has changed since the plan was made" if longer else "005.txt was changed while it was surveyed"
    with pytest.raises(InputError, match=said):
        run_survey(plan, tmp_path / "out", Counts(), do=do)


def test_a_sequence_that_cannot_be_read_is_named_and_left_out_only_where_that_is_asked(corpus, tmp_path):
    """A recogniser without a symbol for what it does not know: only reading the piece tells."""
    model = save_recogniser(tmp_path / "m.safetensors", alphabet=("a", "b"), unknown=None)
    texts = write_texts(tmp_path / "texts", 8, symbols="ab", most=400)
    bad = texts / "006.txt"
    plan_of = lambda: survey_plan(Opened(str(model)), [texts], Counts(), sizes=SMALL)  # noqa: E731
    bad.write_text("ab" * 40)
    good = run_survey(plan_of(), tmp_path / "good", Counts())
    sequence = next(k for k in plan_of().tested.tolist() if plan_of().place_of(k)[0].path == str(bad))
    first = plan_of().place_of(sequence)[2]
    text = bad.read_text()
    bad.write_text(text[:first] + "z" + text[first + 1 :])
    monkey = pytest.MonkeyPatch()
    monkey.setattr("tallycell.survey.corpus.SAMPLE", 1)  # else it is found while the plan is made
    plan = plan_of()
    monkey.undo()
    with pytest.raises(InputError, match=rf"006.txt from byte {first}: symbol 'z' at position 0 is not in the alph"):
        run_survey(plan, tmp_path / "out", Counts())
    total = run_survey(plan, tmp_path / "out", Counts(), keep_going=True)
    ((place, reason),) = total.counted.left_out
    assert place.endswith(f"006.txt from byte {first}")
    assert "symbol 'z'" in reason
    assert total.counted.sequences == good.counted.sequences - 1
    assert total.counted.steps < good.counted.steps
    fitted = json.loads((tmp_path / "out" / "sums" / "fitted.json").read_text())["counted"]
    assert (fitted["left_out"], fitted["sequences"]) == ([], len(plan.fitted))
