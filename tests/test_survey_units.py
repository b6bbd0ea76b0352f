"""The reading of a survey: what it compares with, and how often it opens what it needs."""

import pytest

import tallycell as tc
from survey_counts import save_recogniser, write_texts
from tallycell.survey import corpus as corpus_module
from tallycell.survey.blocks import record_sequences
from tallycell.survey.identity import one_thread
from tallycell.survey.plan import Opened
from tallycell.survey.run import Sizes, run_survey, survey_plan
from tallycell.survey.tasks import open_for
from tallycell.survey.units import Units, read_total


def test_networks_that_learned_nothing_are_those_that_read_units_compares_with(tmp_path):
    model, texts = save_recogniser(tmp_path / "m.safetensors"), write_texts(tmp_path / "texts", 6)
    plan = survey_plan(Opened(str(model)), [texts], Units(), sizes=Sizes(4, 200))
    reading = read_total(run_survey(plan, tmp_path / "out", Units()))
    corpus, fitted = open_for(plan), plan.fitted.tolist()
    with one_thread():
        recorded, _ = record_sequences(plan, corpus, fitted, width=len(fitted))
        beside = tc.read_units(recorded.trace, recorded.given, model=corpus.model)
    assert reading.nothing_learned == beside.nothing_learned


def test_one_command_opens_its_model_once_to_plan_and_once_to_compute(run, tmp_path, monkeypatch):
    model, texts = save_recogniser(tmp_path / "m.safetensors"), write_texts(tmp_path / "texts", 6)
    opened = []
    load = corpus_module.load
    monkeypatch.setattr(corpus_module, "load", lambda *given, **more: opened.append(given) or load(*given, **more))
    assert run("survey", model, texts, "--out", tmp_path / "out", "--steps", 200)[0] == 0
    assert len(opened) == 2


def test_a_model_that_changes_before_its_reading_is_refused(tmp_path):
    from tallycell.errors import InputError

    model, texts = save_recogniser(tmp_path / "m.safetensors"), write_texts(tmp_path / "texts", 6)
    plan = survey_plan(Opened(str(model)), [texts], Units(), sizes=Sizes(4, 200))
    total = run_survey(plan, tmp_path / "out", Units())
    save_recogniser(model, seed=1)
    open_for.cache_clear()  # as in another process
    with pytest.raises(InputError, match=r"m.safetensors is not the model that the plan was made with"):
        read_total(total)
