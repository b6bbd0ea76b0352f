"""What a plan names beside its corpus: whatever gives other bits has another name, in one thread and in several."""

import os
import shutil
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from survey_counts import Counts, save_recogniser
from tallycell.errors import InputError
from tallycell.loaders import LoadedModel
from tallycell.survey.corpus import Corpus
from tallycell.survey.identity import kernel_here, one_thread, require_kernel, sources_of, weights_of
from tallycell.survey.plan import Opened
from tallycell.survey.units import Units

READING = Path(tc.__file__).with_name("reading")


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["3", None])
def test_threads_are_one_while_sums_are_made_and_what_they_were_after(monkeypatch, before):
    import threadpoolctl

    if before is None:
        monkeypatch.delenv("TALLYCELL_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("TALLYCELL_NUM_THREADS", before)
    with one_thread():
        assert os.environ["TALLYCELL_NUM_THREADS"] == "1"
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} <= {1}
    assert os.environ.get("TALLYCELL_NUM_THREADS") == before


@pytest.mark.parametrize("before", ["3", None])
def test_a_second_thread_waits_for_its_turn_and_both_leave_what_was_there(monkeypatch, before):
    """A worker with two threads: the one that is through first may not give the other its threads back."""
    if before is None:
        monkeypatch.delenv("TALLYCELL_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("TALLYCELL_NUM_THREADS", before)
    order, errors = [], []
    is_in, may_leave = threading.Event(), threading.Event()

    def first():
        with one_thread():
            is_in.set()
            may_leave.wait(10)
            order.append(("first", os.environ.get("TALLYCELL_NUM_THREADS")))

    def second():
        is_in.wait(10)
        try:
            with one_thread():
                order.append(("second", os.environ.get("TALLYCELL_NUM_THREADS")))
        except KeyError as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for one in threads:
        one.start()
    threads[1].join(0.2)
    assert order == []  # the second has not begun
    may_leave.set()
    for one in threads:
        one.join(10)
    assert (order, errors) == ([("first", "1"), ("second", "1")], [])
    assert os.environ.get("TALLYCELL_NUM_THREADS") == before


class Shared(dict):
    """A dictionary each use of which lets another thread run before it returns."""

    def __contains__(self, key):
        return self._after(super().__contains__(key))

    def get(self, key):
        return self._after(super().get(key))

    def clear(self):
        return self._after(super().clear())

    def _after(self, found):
        time.sleep(1e-4)
        return found


def test_two_threads_that_read_tables_in_turns_each_get_their_own(tmp_path, monkeypatch):
    paths = [tmp_path / f"{k}.npy" for k in range(2)]
    for path in paths:
        path.touch()
    monkeypatch.setattr("tallycell.survey.corpus.open_table", lambda model, path, **_: path)
    corpus = Corpus(Opened("m"), LoadedModel({}, Path("m")), "", None)
    object.__setattr__(corpus, "_kept", Shared())
    wrong = []

    def read(path):
        for _ in range(100):
            try:
                found = corpus._table(path)
            except KeyError as error:
                found = error
            if found != path:
                wrong.append(found)

    threads = [threading.Thread(target=read, args=(path,)) for path in paths]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


# ---- names -----------------------------------------------------------------------------------------------------------


def test_another_processor_or_version_is_refused_by_its_name():
    require_kernel(kernel_here())
    with pytest.raises(InputError, match=r"this process has kernel .* the plan was made with kernel 0: results would"):
        require_kernel("kernel 0")


def test_a_plan_names_the_version_and_the_sources_of_what_sums(tmp_path):
    assert f"tallycell {tc.__version__}, " in kernel_here()
    assert f"reading {sources_of(READING)}, " in kernel_here()
    shutil.copytree(READING, tmp_path / "reading", ignore=shutil.ignore_patterns("__pycache__"))
    assert sources_of(tmp_path / "reading") == sources_of(READING)
    for name in ("counting.py", "adding.py"):
        with (tmp_path / "reading" / name).open("a") as source:
            source.write("\n")
        assert sources_of(tmp_path / "reading") != sources_of(READING)
        shutil.copy(READING / name, tmp_path / "reading")
    (tmp_path / "reading" / "more.py").touch()
    assert sources_of(tmp_path / "reading") != sources_of(READING)


def test_what_units_sum_is_said_by_the_code_of_whoever_sums():
    """A field would be sent with the measure: a worker of another version would answer with the client's name."""
    assert fields(Units) == ()
    assert Units().name == "units 1"


def test_two_activations_of_ones_own_with_one_name_are_two_models():
    def model(value):
        slot = tc.activations.Activation("mine", value, lambda x, y: 1 - y * y, left=-1.0, right=1.0)
        weights = {"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.zeros((8, 2))}
        slots = tc.Activations(cell=slot)
        return LoadedModel({"": tc.LSTMParameters(weights, activations=slots)}, Path("m.pt"))

    assert weights_of(model(lambda x: np.tanh(x))) == weights_of(model(lambda x: np.tanh(x)))
    assert weights_of(model(lambda x: np.tanh(x))) != weights_of(model(lambda x: np.tanh(2 * x)))


def test_a_measure_of_another_name_is_refused_by_client_and_worker(tmp_path):
    from survey_counts import write_texts
    from tallycell.survey.run import run_survey, survey_plan
    from tallycell.survey.store import Store
    from tallycell.survey.tasks import Order, fill

    model, texts = save_recogniser(tmp_path / "m.safetensors"), write_texts(tmp_path / "texts", 4)
    plan, out = survey_plan(Opened(str(model)), [texts], Counts()), tmp_path / "out"
    said = "the plan sums 'counts 1', this process 'counts 2': use the versions that the plan was made with, or begin"
    with pytest.raises(InputError, match=said):
        run_survey(plan, out, Counts("counts 2"))
    assert not out.exists()
    run_survey(plan, out, Counts())
    (Store(out).folder / "sums" / "000000.json").unlink()
    with pytest.raises(InputError, match=said):
        fill(Order(str(out), plan.fingerprint, 0, Counts("counts 2")))
