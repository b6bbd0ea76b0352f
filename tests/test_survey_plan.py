"""A plan says all that is computed, before anything is: each step once, in blocks and tasks that never change."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tallycell as tc
from survey_counts import Counts, save_recogniser, write_texts
from tallycell.errors import FormatError, InputError
from tallycell.opening import Vocabulary
from tallycell.survey.corpus import _cut_near, find_files, open_corpus
from tallycell.survey.plan import CorpusFile, Opened, Plan
from tallycell.survey.run import Sizes, survey_plan
from tallycell.survey.store import Store


def files_of(*lengths, sequences=1):
    return tuple(CorpusFile(f"/{k}", "table", 8 * n, f"{k:x}", sequences, n) for k, n in enumerate(lengths))


def plan_of(*lengths, sequences=1, **sizes):
    return Plan(Opened("/m.pt"), "weights", "", "kernel", "counts", files_of(*lengths, sequences=sequences), **sizes)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 3), st.integers(1, 5), st.integers(1, 9),
       st.integers(1, 60))  # fmt: skip
@settings(max_examples=60)
def test_each_sequence_is_fitted_on_or_in_one_block_of_one_task(lengths, sequences, block, steps, task):
    count = sequences * sum(-(-n // steps) for n in lengths)
    if count < 2:
        with pytest.raises(InputError, match="needs two at least"):
            plan_of(*lengths, sequences=sequences, block=block, steps=steps, task=task)
        return
    plan = plan_of(*lengths, sequences=sequences, block=block, steps=steps, task=task)
    in_tasks = [s for t in range(plan.tasks) for b in plan.blocks_of(t) for s in plan.block_of(b).tolist()]
    assert sorted(in_tasks + plan.fitted.tolist()) == list(range(count))
    assert in_tasks == sorted(in_tasks)
    assert plan.lengths.sum() == sequences * sum(lengths)
    assert sum(map(plan.steps_of, range(plan.tasks))) == plan.lengths[plan.tested].sum()
    assert 1 <= len(plan.fitted) <= max(1, count // 2)
    assert all(len(plan.block_of(b)) == block for b in range(plan.blocks - 1))  # only the last is padded
    assert all(plan.steps_of(t) >= 1 for t in range(plan.tasks))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=9), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=60)
def test_the_places_of_sequences_cover_each_step_of_each_file_once(lengths, sequences, steps):
    if sequences * sum(-(-n // steps) for n in lengths) < 2:
        return
    plan = plan_of(*lengths, sequences=sequences, steps=steps)
    seen = {}
    for number, length in enumerate(plan.lengths.tolist()):
        file, column, first = plan.place_of(number)
        seen.setdefault((file.path, column), []).extend(range(first, first + length))
    expected = {(f"/{k}", column): list(range(n)) for k, n in enumerate(lengths) if n for column in range(sequences)}
    assert seen == expected


def test_levels_are_fitted_on_25_000_steps_spread_over_a_large_corpus():
    plan = plan_of(*[1_000_000] * 10)
    assert plan.lengths[plan.fitted].sum() == 25_000
    assert np.unique(plan.fitted // 1000).tolist() == list(range(10))  # some of each file


def test_short_sequences_are_not_padded_to_one_that_is_long():
    plan = plan_of(1000, *[20] * 5000)
    assert len(plan.fitted) * plan.lengths.max() <= 100_000


def test_a_task_is_about_as_many_steps_as_it_should_be():
    plan = plan_of(*[1000] * 3000, task=320_000)
    assert {plan.steps_of(t) for t in range(plan.tasks - 1)} == {320_000}


def test_a_plan_is_read_as_it_was_written_and_refused_where_a_letter_differs():
    plan = plan_of(100, 30, 2, steps=9)
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json()
    for changed in (plan.to_json().replace('"steps": 30', '"steps": 31'), "{}", "[]", '{"plan": 3}', "", "[" * 10_000):
        with pytest.raises(FormatError, match="no plan of a survey"):
            Plan.from_json(changed)


def test_the_first_difference_between_two_plans_is_named():
    plan = plan_of(100, 30)
    elsewhere = (plan.files[0], CorpusFile("/z", "table", 8, "f", 1, 30))
    others = {
        "block 64 and not 32": plan_of(100, 30, block=32),
        "the file /1, which is not in the other": Plan(plan.opened, "weights", "", "kernel", "counts", elsewhere),
        "another content of /1": plan_of(100, 31),
        "no file /2, which is in the other": plan_of(100, 30, 5),
    }
    for said, other in others.items():
        assert plan.difference_from(other) == said
        assert plan.fingerprint != other.fingerprint
    turned = Plan(plan.opened, "weights", "", "kernel", "counts", plan.files[::-1])
    assert plan.difference_from(turned) == "the same files in another order"
    elsewhere = Plan(Opened("/m.pt", lstm="encoder"), "weights", "", "kernel", "counts", plan.files)
    assert plan.difference_from(elsewhere) == "lstm None and not 'encoder'"
    passed = Plan(plan.opened, "weights", "", "kernel", "counts", plan.files, (("/bad", "it is empty"),))
    assert passed.difference_from(plan) == "/bad passed over: it is empty"
    assert plan.difference_from(passed) == "/bad not passed over"


def test_sizes_below_one_are_refused():
    with pytest.raises(InputError, match="block is 0; expected a positive whole number"):
        plan_of(100, 30, block=0)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_corpus_is_its_files_in_the_order_of_their_paths(tmp_path):
    for name in ("c.txt", "b/2.txt", "b/1.txt", "a.py", ".hidden", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    kind, files = find_files([tmp_path])
    expected = ["a.py", "b/1.txt", "b/2.txt", "c.txt"]
    assert (kind, [str(file.relative_to(tmp_path)) for file in files]) == ("text", expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.txt"], "there is no file .*nowhere.txt; give the path of a file or folder of the corpus"),
        (["empty"], "the folder .*empty holds no file"),
        (["a.txt", "a.txt"], "the corpus has '.*a.txt' twice; give each file once"),
        (["a.txt", "x.npy"], "the corpus mixes tables and texts, such as .*x.npy and .*a.txt; give one kind"),
        ([], "there is no corpus; give files or folders"),
    ],
)
def test_a_corpus_that_is_none_is_refused(tmp_path, given, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match=said):
        find_files([tmp_path / name for name in given])


@pytest.mark.parametrize("steps", [1, 2, 3, 63, 100])
def test_the_pieces_of_a_text_are_the_whole_text_wherever_it_is_cut(tmp_path, steps):
    model = save_recogniser(tmp_path / "m.safetensors", alphabet=("a", "é", "€", "𝄞", "\r", "\n", " ", "<unk>"))
    text = "".join(np.random.default_rng(steps).choice(["a", "é", "€", "𝄞", "\r\n", "\n", " "], 300))
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    plan = survey_plan(Opened(str(model)), [tmp_path / "x.txt"], Counts(), sizes=Sizes(4, steps, 100))
    corpus = open_corpus(plan.opened, "text")
    pieces = [corpus.piece(plan, number) for number in range(len(plan.lengths))]
    read = "".join("".join(piece.given.tokens) for piece in pieces if piece.given is not None)
    assert read == text.replace("\r\n", "\n") == "".join(tc.open_text(tc.load(model), tmp_path / "x.txt").tokens)
    assert sum(piece.symbols for piece in pieces) == len(read)


def test_words_are_not_cut_unless_one_is_longer_than_a_page(tmp_path):
    content = b"one two\nthree " + b"x" * 3000 + b" end"
    (tmp_path / "x.txt").write_bytes(content)
    with (tmp_path / "x.txt").open("rb") as file:
        cuts = [_cut_near(file, place, len(content), True) for place in range(len(content) + 1)]
    assert cuts[1] == 4
    assert cuts[5] == 8
    assert content[: cuts[9]].endswith(b"three ")
    assert cuts[20] == 20
    assert set(cuts[-900:]) == {len(content) - 3, len(content)}
    assert cuts == sorted(cuts)


@pytest.mark.parametrize("content", [b"one two\nthree the end", b"one two\nthree the end\n", b"one two \r\nthree\r\n"])
def test_each_word_stands_whole_in_one_piece_to_the_end_of_the_file(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    with (tmp_path / "x.txt").open("rb") as file:
        cuts = sorted({_cut_near(file, place, len(content), True) for place in range(len(content) + 1)})
    pieces = [content[begin:end] for begin, end in pairwise(cuts)]
    assert b"".join(pieces) == content
    assert [word for piece in pieces for word in piece.split()] == content.split()
    assert not any(piece.startswith(b"\n") for piece in pieces)  # the end of a line is one symbol


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfabab", b"ab\r\nab\r\n", b"abab"])
def test_a_text_that_open_text_reads_is_looked_at_without_an_error(tmp_path, content, monkeypatch):
    """A byte order mark and the ends of lines, one of which lies across the end of the sample."""
    model = save_recogniser(tmp_path / "m.safetensors", alphabet=("a", "b", "\n"), unknown=None)
    (tmp_path / "x.txt").write_bytes(content)
    tokens = tc.open_text(tc.load(model), tmp_path / "x.txt").tokens
    monkeypatch.setattr("tallycell.survey.corpus.SAMPLE", 3)
    plan = survey_plan(Opened(str(model)), [tmp_path / "x.txt"], Counts(), sizes=Sizes(2, 3))
    corpus = open_corpus(plan.opened, "text")
    pieces = [corpus.piece(plan, number).given for number in range(len(plan.lengths))]
    assert [token for piece in pieces if piece is not None for token in piece.tokens] == tokens


def test_a_file_whose_name_is_not_utf_8_is_planned_and_read(tmp_path):
    model = save_recogniser(tmp_path / "m.safetensors")
    folder = write_texts(tmp_path / "texts", 3)
    strange = folder / os.fsdecode(b"\xff.txt")
    try:
        strange.write_text("ab" * 40)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    plan = survey_plan(Opened(str(model)), [folder], Counts(), sizes=Sizes(2, 50))
    assert Plan.from_json(plan.to_json()) == plan
    Store(tmp_path / "out").begin(plan)
    assert Store(tmp_path / "out").plan().files[-1].path == str(strange)
    strange.write_bytes(b"\xff")
    plan = survey_plan(Opened(str(model)), [folder], Counts(), sizes=Sizes(2, 50), keep_going=True)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ab\xff\xfe", r"002.txt is not UTF-8 text \(near byte 2\); expected a text"),
        (b"ab\xc3", "002.txt is not UTF-8 text"),
    ],
)
def test_a_corrupt_text_among_others_is_named_and_passed_over_only_where_that_is_asked(tmp_path, content, said):
    model, folder = save_recogniser(tmp_path / "m.safetensors"), write_texts(tmp_path / "texts", 5)
    (folder / "002.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"{said}.*--keep-going passes over"):
        survey_plan(Opened(str(model)), [folder], Counts())
    plan = survey_plan(Opened(str(model)), [folder], Counts(), sizes=Sizes(2, 100), keep_going=True)
    assert [Path(file.path).name for file in plan.files] == ["000.txt", "001.txt", "003.txt", "004.txt"]
    ((path, reason),) = plan.passed_over
    assert path.endswith("002.txt")
    assert "not UTF-8" in reason


def test_a_corpus_of_which_nothing_can_be_read_is_refused(tmp_path):
    model = save_recogniser(tmp_path / "m.safetensors")
    (tmp_path / "x.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"no file of the corpus can be read, the first because .*x.txt is not UTF-8"):
        survey_plan(Opened(str(model)), [tmp_path / "x.txt"], Counts(), keep_going=True)


def test_a_text_for_another_model_is_refused_but_not_a_piece_of_it_that_is_foreign(tmp_path):
    lstm = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.zeros((8, 2))})
    from tallycell.loaders import LoadedModel
    from tallycell.opening import TextReader

    reader = TextReader(LoadedModel({"": lstm}, Path("m.pt")), "", Vocabulary(("a", "b")), np.eye(2))
    with pytest.raises(InputError, match="100% of the text are characters that the model does not know"):
        reader.cut("xyz")
    assert (reader.cut("xyz", foreign=True).codes == -1).all()


@pytest.mark.parametrize("damage", ["nan", "cut", "wide"])
def test_a_corrupt_table_among_others_is_named(tmp_path, damage):
    lstm = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.zeros((8, 2))})
    tc.save(lstm, tmp_path / "m.safetensors")
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.ones((20, 2)))
    bad = tmp_path / "1.npy"
    if damage == "cut":
        bad.write_bytes(bad.read_bytes()[:-8])
    else:
        np.save(bad, np.full((20, 2), np.nan) if damage == "nan" else np.ones((20, 3)))
    corpus = sorted(tmp_path.glob("*.npy"))
    with pytest.raises((InputError, FormatError), match=r"1\.npy"):
        survey_plan(Opened(str(tmp_path / "m.safetensors")), corpus, Counts())
    plan = survey_plan(Opened(str(tmp_path / "m.safetensors")), corpus, Counts(), keep_going=True)
    assert len(plan.files) == 2


def test_the_same_model_and_files_make_the_same_plan_and_any_other_makes_another(tmp_path):
    model, folder = save_recogniser(tmp_path / "m.safetensors"), write_texts(tmp_path / "texts", 5)
    plan = survey_plan(Opened(str(model)), [folder], Counts())
    assert survey_plan(Opened(str(model)), [folder], Counts()).to_json() == plan.to_json()
    save_recogniser(model, seed=1)
    other = survey_plan(Opened(str(model)), [folder], Counts())
    assert plan.difference_from(other).startswith("weights ")
    text = (folder / "003.txt").read_bytes()
    (folder / "003.txt").write_bytes(text[:-1] + (b"a" if text[-1:] != b"a" else b"b"))
    changed = survey_plan(Opened(str(model)), [folder], Counts())
    assert other.difference_from(changed).startswith("another content of ")
    assert json.loads(plan.to_json())["plan"]["measure"] == "counts 1"
