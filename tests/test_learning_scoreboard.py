import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import learning_fakes as fakes
import tallycell as tc
from tallycell.errors import FormatError, InputError, ParameterError
from tallycell.learning.board_page import page_of
from tallycell.learning.judging import MachineDecider, decider_of, share_right
from tallycell.learning.languages import language
from tallycell.learning.results import open_results, read_results
from tallycell.learning.rows import ROWS, AtLengths, Reach, Row, deep_brackets, rows
from tallycell.learning.scoreboard import make_page, results_of, run_rows
from tallycell.learning.scoring import COLUMNS, NOT_LEARNED, Trained, measured, passes, saturated, score
from tallycell.learning.settings import SETTINGS
from tallycell.machine.checking import deciding
from tallycell.machine.checking.deciding import decide_strings
from tallycell.machine.checking.language_search import FirstFailure, search_first_failure
from tallycell.machine.checking.network_runner import NetworkRunner
from tallycell.machine.counter_machine import FAIL
from tallycell.machine.hardening import harden
from tallycell.machine.notation.text import parse

pytestmark = pytest.mark.usefixtures("hardening_compiles_once")
COUNTING = ("anbn", "anbn-sampled", "anbncn", "anbncndn-sampled", "anbmcnm", "anb2n", "copy")


class Wrong:
    """Decides as the truth, but for what a test does to it: ``spoil(chosen, codes)`` changes it in place."""

    def __init__(self, of, spoil):
        self.decider, self.spoil = MachineDecider(of.machine, of), spoil

    def run(self, codes, state=None):
        chosen, state = self.decider.run(codes, state)
        chosen = chosen.copy()
        self.spoil(chosen, codes)
        return chosen, state


def first_failure(decider, of, farthest):
    return search_first_failure(decider, of.truth, of.blocks_of, farthest)


def decided(name, net, *texts):
    of = language(name)
    return decide_strings(decider_of(net, of), of.truth, [of.encode(text) for text in texts])


# ---- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COUNTING)
def test_an_exact_network_has_no_first_failure(name):
    of = language(name)
    found = first_failure(decider_of(fakes.exact(of), of), of, 2000)
    assert found == FirstFailure(None, None, 2000)


@pytest.mark.parametrize("name", ["anbn", "anbn-sampled", "anbncn"])
def test_a_leaky_network_fails_where_trying_every_n_finds_it(name):
    of = language(name)
    decider = NetworkRunner(fakes.leaky(of))
    found = first_failure(decider, of, 10**6)
    assert found.n is not None
    assert found.n < 10**5
    tried = range(1, found.n + 1) if found.n < 300 else [1, 2, 3, 10, found.n // 2, found.n - 1, found.n]
    for n in tried:
        strings = [of.member(n), *of.near_misses(n)]
        each = decide_strings(decider, of.truth, strings)
        assert (each.wrong[0] > 0 or bool(each.accepted[1:].any())) == (n == found.n)


@pytest.mark.parametrize("fails_at", [1, 2, 8, 9, 63, 64, 65, 100, 256, 257, 1000])
def test_the_search_finds_a_failure_at_any_n(fails_at):
    of = language("anbn")

    def spoil(chosen, codes):
        chosen[(codes == 0).cumsum(1) >= fails_at, 2] = False  # the end is not seen

    found = first_failure(Wrong(of, spoil), of, 1000)
    assert (found.n, found.kind) == (fails_at, "member")
    assert found.searched == next(end for end in (8, 16, 64, 256, 1000) if end >= fails_at)


def test_beyond_the_target_nothing_is_tried():
    of = language("anbn")
    longest = []

    class Watched(MachineDecider):
        def run(self, codes, state=None):
            longest.append(codes.shape[1])
            return super().run(codes, state)

    assert first_failure(Watched(of.machine, of), of, 10).searched == 10
    assert max(longest) == 21
    assert first_failure(Watched(of.machine, of), of, 100) == FirstFailure(None, None, 100)
    assert max(longest) == 201


def test_a_near_miss_that_is_accepted_is_a_failure_though_the_member_is_right():
    of = language("anbn")

    def spoil(chosen, codes):
        # After b that are one fewer than the a before them, it may end as well.
        height = np.where(codes == 0, 1, -1).cumsum(1)
        chosen[(height == 1) & (codes == 1) & (codes.cumsum(1) == 4), 2] = True

    found = first_failure(Wrong(of, spoil), of, 20)
    assert (found.n, found.kind) == (4, "near miss")
    # It is the beginning of the next member, which is wrong there.
    assert decide_strings(Wrong(of, spoil), of.truth, [of.member(5)]).wrong.tolist() == [1]


def test_a_string_is_accepted_only_if_each_symbol_was_to_follow():
    of = language("anbn")
    net = fakes.exact(of)
    found = decided("anbn", net, "aabb", "aab", "aabbb", "abb", "ab")
    assert found.accepted.tolist() == [True, False, False, False, True]
    assert found.wrong.tolist() == [0] * 5
    assert found.asked.tolist() == [4, 3, 4, 2, 2]
    # What says accept all the time accepts each string whose symbols it named.
    always = replace(net, readout_weight=0 * net.readout_weight, readout_bias=np.array([1.0, 1.0, 1.0]))
    assert decided("anbn", always, "aabb", "aab", "abba").accepted.tolist() == [True] * 3
    # Before the first symbol nothing was decided: that no string begins with b cannot be held against it.
    assert decided("anbn", always, "b", "bb").accepted.tolist() == [False, False]
    only_end = replace(net, readout_weight=0 * net.readout_weight, readout_bias=np.array([-1.0, -1.0, 1.0]))
    assert decided("anbn", only_end, "aabb").accepted.tolist() == [False]
    assert decided("anbn", only_end, "aabb").ends_accepted.tolist() == [True]


def test_by_argmax_any_of_several_symbols_may_follow_and_no_other():
    of = language("anbn-sampled")
    found = decided("anbn-sampled", fakes.exact(of), "aabb", "aab", "aabbb", "aaabb")
    assert found.accepted.tolist() == [True, False, False, False]
    assert found.asked.tolist() == [2, 1, 2, 2]


@pytest.mark.parametrize("closed", [0.2, 1.0])
def test_strings_in_parts_are_decided_as_whole(monkeypatch, closed):
    of = language("anbncn")
    rng = np.random.default_rng(0)
    strings = [of.member(n) for n in (1, 40, 7)] + of.near_misses(30) + [rng.integers(3, size=77, dtype=np.uint8)]
    net = fakes.leaky(of, closed=closed)
    whole = decide_strings(decider_of(net, of), of.truth, strings)
    monkeypatch.setattr(deciding, "STEPS_AT_ONCE", 1)  # parts of 64 symbols
    parts = decide_strings(decider_of(net, of), of.truth, strings)
    alone = [decide_strings(decider_of(net, of), of.truth, [string]) for string in strings]
    for name in ("wrong", "asked", "accepted", "ends_accepted"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in alone]), getattr(whole, name))
    assert whole.wrong.max() > 0 if closed < 1 else whole.accepted[:3].all()


def test_shares_count_whole_strings_and_symbols():
    of = language("majority")

    def spoil(chosen, codes):
        chosen[0, 3] ^= True

    strings = [of.encode(text) for text in ("aabb", "abab", "bbbb", "aaaa")]
    found = share_right(Wrong(of, spoil), of, strings)
    assert (found.length, found.strings, found.right, found.symbols) == (4, 4, 3, 15 / 16)
    assert not found.all_right


def test_a_machine_decides_whatever_the_order_of_its_names():
    of = language("anbn")
    turned = parse(str(of.machine).replace("alphabet a b", "alphabet b a"))
    assert turned.alphabet == ("b", "a")
    assert first_failure(MachineDecider(turned, of), of, 300).n is None


def test_what_is_of_another_language_is_refused():
    with pytest.raises(InputError, match=r"the machine reads \('a', 'b'\) .* anbncn has"):
        decider_of(language("anbn").machine, language("anbncn"))
    with pytest.raises(InputError, match=r"by 'threshold', anbn-sampled has .* and 'argmax'; give a network"):
        decider_of(fakes.exact(language("anbn")), language("anbn-sampled"))


def test_a_network_right_to_a_million_costs_seconds():
    of = language("anbn")
    begin = time.process_time()
    assert first_failure(decider_of(fakes.exact(of), of), of, 10**6).n is None
    assert time.process_time() - begin < 10  # about 2 on an idle core


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_rows_are_given_by_key_and_by_number():
    assert [row.key for row in rows(("8",))] == ["8", "8b", "8c"]
    assert [row.key for row in rows(("10a", "4"))] == ["4", "10a"]
    assert {row.key for row in ROWS} - {row.key for row in rows()} == {"6w", "8c", "10d"}
    assert rows(slow=True) == ROWS
    with pytest.raises(InputError, match="there is no row '12'; there are 1, 1b, 2, "):
        rows(("1", "12"))


def test_every_row_is_of_a_language_that_it_can_be_measured_on():
    assert len({row.key for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert (row.language.blocks is not None) == isinstance(row.measure, Reach)
        assert row.published


def test_what_was_recalled_is_never_printed_as_fact():
    for row in ROWS:
        if row.key.startswith(("8", "10")):
            assert "recalled, not checked" in row.published
            assert not row.marks


def test_deep_brackets_are_balanced_and_as_deep_as_they_can_be():
    of = language("dyck-1")
    for length in (52, 1000, 2000):
        found = deep_brackets(of, np.random.default_rng(0), length)
        height = np.array([np.where(codes == 0, 1, -1).cumsum() for codes in found])
        assert height.shape == (len(found), length)
        assert (height[:, -1] == 0).all()
        assert height.min() == 0
        assert height.max(1)[0] == length // 2
        assert len({codes.tobytes() for codes in found}) == len(found)
    assert sorted(set(height.max(1)))[-3:] == [500, 501, 1000]


# ---- scores ----------------------------------------------------------------------------------------------------------

SHORT = Row("1b", "anbn", 3, Reach(3000), "nothing")
LEAKY = Row("2", "anbn", 3, Reach(10**6), "nothing")
WALKS = Row("6", "difference-below-5", 10, AtLengths((256,), (64,), deep_brackets), "nothing")


@pytest.fixture(scope="module")
def exact_score():
    """The score of an exact network; a copy is to be changed, not this."""
    return score(SHORT, fakes.train_exact(SHORT, 4))


def test_an_exact_network_passes_in_every_column(exact_score):
    found = exact_score
    for column in ("trained", "snapped", "hardened"):
        assert found[column] == {"first_failure": None, "kind": None, "searched": 3000}
        assert passes(SHORT, found[column])
    assert found["first_passes"]
    assert found["horizon"]["symbols"] > 10**7
    assert (found["runs"], found["seconds"], found["loss"]) == (1, 4.5, 0.01)
    assert tc.parse(found["machine"]).accepts("aaabbb")
    assert found["saturated"] == {
        which: {"i": 1.0, "f": 1.0, "o": 1.0} for which in ("trained", "hardened")
    }  # fmt: skip


def test_a_leaky_network_fails_as_it_is_and_passes_when_hardened():
    found = score(LEAKY, fakes.train_now_and_then(LEAKY, 2))
    assert not passes(LEAKY, found["trained"])
    assert found["trained"]["first_failure"] > 3
    assert passes(LEAKY, found["snapped"])
    assert passes(LEAKY, found["hardened"])
    assert not found["first_passes"]  # the first run was of random weights


def test_the_hardened_network_is_searched_farther_if_asked(monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoring.FAR", 4000)
    found = score(SHORT, fakes.train_exact(SHORT, 0), far=True)
    assert (found["trained"]["searched"], found["hardened"]["searched"]) == (3000, 4000)


def test_a_network_that_no_machine_is_found_for_says_so(monkeypatch):
    def refuse(net, inputs, *, anyway):
        raise ParameterError("it has no linear separation")

    monkeypatch.setattr("tallycell.learning.scoring.harden", refuse)
    found = score(SHORT, fakes.train_exact(SHORT, 0))
    assert found["hardened"] == found["horizon"] == {"missing": "it has no linear separation"}
    assert passes(SHORT, found["trained"])
    assert passes(SHORT, found["snapped"])  # a machine was read, only no network was made of it
    assert not passes(SHORT, found["hardened"])
    assert "Seed 0 has no machine: it has no linear separation." in page_of([(SHORT, [{**found, "seed": 0}])], None)


def test_what_is_read_is_what_a_network_does_on_strings_like_those_it_learned_from():
    """The machine of a sample fails where no string of the sample leads, so that its hardened network does too."""
    sample = SHORT.language.draw(np.random.default_rng(0), 200)
    found = score(SHORT, replace(fakes.train_exact(SHORT, 0), judged=sample))
    assert passes(SHORT, found["snapped"])
    assert passes(SHORT, found["hardened"])
    assert parse(found["machine"]).run("ba").state == FAIL


def test_what_was_not_learned_is_not_read(monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("tallycell.learning.scoring.harden", never)
    trained = fakes.train_exact(SHORT, 0)
    found = score(SHORT, replace(trained, learned=False, first=trained.net, first_learned=False))
    assert found["hardened"] == found["snapped"] == found["horizon"] == {"missing": NOT_LEARNED}
    assert found["trained"]["first_failure"] is None
    assert not found["first_passes"]


def test_a_network_that_training_hardened_is_not_hardened_again(monkeypatch):
    trained = fakes.train_exact(SHORT, 0)
    hardened = harden(trained.net, SHORT.language.allowed)
    monkeypatch.setattr("tallycell.learning.scoring.harden", None)
    assert score(SHORT, replace(trained, hardened=hardened))["units"] == hardened.net.parameters.hidden_size


def test_page_names_the_rows_that_have_no_results(exact_score):
    def without(there):
        results = [{**exact_score, "seed": 0, "units": 3}]
        page = page_of([(replace(SHORT, key=row.key), results) for row in there], None)
        return [line for line in page.splitlines() if line.startswith("Rows without results")]

    assert without(ROWS) == []
    assert without(ROWS[2:])[0].startswith(
        f"Rows without results: {ROWS[0].key}, {ROWS[1].key}; what is known of them: ["
    )


def test_page_says_how_long_rows_took_apart_by_whether_they_run_by_default(exact_score):
    one = {**exact_score, "seed": 0, "units": 3, "seconds": 150.0}
    there = [
        (SHORT, [{**one, "judging_seconds": 60.0}, {**one, "judging_seconds": 61.0}]),
        (replace(SHORT, slow=True), [{**one, "judging_seconds": 600.0}]),
    ]
    line = next(line for line in page_of(there, None).splitlines() if line.startswith("The rows that"))
    assert line == (
        "The rows that are run by default: 5 minutes of training, and 2 to read, harden, prove and judge, on one core "
        "each. The rows that are slower: 2 minutes of training, and 10 to read, harden, prove and judge, on one core "
        "each."
    )


def test_the_first_run_is_hardened_as_training_hardens():
    trained = fakes.train_exact(SHORT, 0)
    of, net = SHORT.language, trained.net
    sample, none = (of.draw(np.random.default_rng(0), 200), of.sample([of.encode("ab")]))
    wrong = replace(net, readout_weight=-net.readout_weight, readout_bias=-net.readout_bias)
    for first, judged, checked, passed in (
        (net, sample, sample, True), (net, none, sample, True), (net, none, None, False), (wrong, sample, None, False),
    ):  # fmt: skip
        found = score(SHORT, replace(trained, first=first, judged=judged, checked=checked))
        assert found["first_passes"] is passed


def test_results_of_another_recipe_are_not_taken(tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    run_rows([SHORT], file, trainer=fakes.train_exact, seeds=1, processes=0)
    assert len(results_of(SHORT, read_results(file))) == 1
    monkeypatch.setattr("tallycell.learning.rows.SETTINGS", replace(SETTINGS, noise=0.1))
    assert len(results_of(SHORT, read_results(file))) == 0


def test_page_says_how_many_units_hardening_took(exact_score):
    results = [{**exact_score, "seed": seed, "units": units} for seed, units in enumerate((9, 5, 6))]
    line = next(line for line in page_of([(SHORT, results)], None).splitlines() if line.startswith(f"| {SHORT.key} |"))
    assert line.split(" | ")[2:4] == [str(SHORT.hidden), "5 / 6 / 9"]


def test_a_row_of_lengths_passes_if_every_string_is_right_at_its_targets():
    row = replace(WALKS, measure=AtLengths((256,), (64,), lambda of, rng, length: of.of_length(rng, 30, length)))
    of = row.language
    found = measured(row, fakes.exact(of))
    assert [(one["length"], one["right"], one["strings"]) for one in found["lengths"]] == [(64, 30, 30), (256, 30, 30)]
    assert passes(row, found)
    constant = replace(fakes.exact(of), readout_weight=np.zeros((1, 2)), readout_bias=np.ones(1))
    found = measured(row, constant)
    assert not passes(row, found)
    assert 0 < found["lengths"][1]["symbols"] < 1


def test_a_first_failure_beyond_the_target_passes():
    assert passes(SHORT, {"first_failure": 3001, "kind": "member", "searched": 4000})
    assert not passes(SHORT, {"first_failure": 3000, "kind": "member", "searched": 4000})


def test_saturation_is_measured_within_a_hundredth_of_the_limits():
    of = language("anbn")
    net = fakes.exact(of)
    assert saturated(net, of) == {"i": 1.0, "f": 1.0, "o": 1.0}
    p = net.parameters
    half = {name: np.where(np.arange(len(weight))[(...,) + (None,) * (weight.ndim - 1)] < p.hidden_size, 0.0, weight)
            for name, weight in p.weights.items()}  # fmt: skip
    found = saturated(replace(net, parameters=tc.LSTMParameters(half)), of)
    assert (found["i"], found["f"]) == (0.0, 1.0)


def test_units_without_weights_do_not_count_among_the_gates():
    of = language("anbn")
    small = fakes.exact(of)
    wider = tc.harden(small, of.allowed).net
    p = wider.parameters
    idle = {
        name: np.concatenate([np.concatenate([gate, 0 * gate[:1]]) for gate in np.split(weight, 4)])
        for name, weight in p.weights.items()
    }
    idle["weight_hh_l0"] = np.pad(idle["weight_hh_l0"], ((0, 0), (0, 1)))
    padded = replace(
        wider, parameters=tc.LSTMParameters(idle), readout_weight=np.pad(wider.readout_weight, ((0, 0), (0, 1))),
        h_0=None, c_0=None,
    )  # fmt: skip
    assert padded.parameters.hidden_size == p.hidden_size + 1
    assert saturated(padded, of) == {"i": 1.0, "f": 1.0, "o": 1.0}


# ---- the board -------------------------------------------------------------------------------------------------------


def counted(row, seed):
    CALLS[row.key, seed] += 1
    return fakes.train_now_and_then(row, seed)


CALLS = Counter()


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


REACHED = {"first_failure": None, "kind": None, "searched": 100}
JUDGED = {
    "runs": 1, "seconds": 1.5, "loss": 0.25, "trained": REACHED, "snapped": REACHED, "hardened": REACHED,
    "saturated": {which: {"i": 1.0, "f": 1.0, "o": 1.0} for which in ("trained", "hardened")},
    "horizon": {"symbols": 9, "dtype": "float32"}, "first_passes": True, "judging_seconds": 0.5,
}  # fmt: skip
RESULT = {"row": SHORT.key, "seed": 0, "settings": SHORT.settings, **JUDGED}


def written(*results):
    return "".join(json.dumps(one) + "\n" for one in results)


@pytest.fixture
def quick_score(monkeypatch):
    """Judging that costs nothing, where only what is run matters."""
    monkeypatch.setattr("tallycell.learning.scoreboard.score", lambda row, trained, far: JUDGED)


@pytest.mark.usefixtures("quick_score")
def test_the_board_goes_on_where_it_stopped(tmp_path):
    file = tmp_path / "deep/board.jsonl"
    row, other = replace(SHORT, measure=Reach(100)), replace(SHORT, key="1", measure=Reach(100))
    assert run_rows([row], file, trainer=counted, seeds=2, processes=0) == 0
    assert set(CALLS) == {("1b", 0), ("1b", 1)}
    assert run_rows([row, other], file, trainer=counted, seeds=3, processes=0) == 0
    assert set(CALLS.values()) == {1}
    assert len(CALLS) == 6
    assert [(one["row"], one["seed"]) for one in read_results(file)] == [
        ("1b", 0), ("1b", 1), ("1b", 2), ("1", 0), ("1", 1), ("1", 2),
    ]  # fmt: skip
    wider = replace(row, hidden=4)  # other settings: other results
    assert results_of(wider, read_results(file)) == []
    run_rows([wider], file, trainer=counted, seeds=1, processes=0)
    assert CALLS["1b", 0] == 2
    assert len(results_of(row, read_results(file))) == 3


@pytest.mark.usefixtures("quick_score")
def test_a_line_that_was_not_finished_is_set_aside_and_run_again(tmp_path):
    file, aside = tmp_path / "board.jsonl", tmp_path / "board.jsonl.torn"
    row = replace(SHORT, measure=Reach(100))
    run_rows([row], file, trainer=counted, seeds=2, processes=0)
    whole = file.read_text()
    first, second = whole.splitlines(keepends=True)
    for end in (1, 9, 12, 30, len(second) // 2, len(second) - 2):
        file.write_text(first + second[:end])
        assert [one["seed"] for one in read_results(file)] == [0]
        assert file.read_text() == first + second[:end]  # who only reads changes nothing
        assert run_rows([row], file, trainer=counted, seeds=2, processes=0) == 0
        assert file.read_text() == whole
        assert aside.read_text().splitlines()[-1] == second[:end]
    assert CALLS["1b", 1] == 7
    assert len(aside.read_text().splitlines()) == 6


def test_alone_in_its_file_a_line_is_torn_only_where_it_shows_that_it_is_ours(tmp_path):
    file = tmp_path / "board.jsonl"
    file.write_text(written(RESULT)[:50])
    assert open_results(file) == []
    assert (file.read_bytes(), (tmp_path / "board.jsonl.torn").read_text()) == (b"", written(RESULT)[:50] + "\n")
    file.write_text(written(RESULT)[:12])
    with pytest.raises(FormatError, match=r"line 1 of .*board.jsonl is no result of the scoreboard"):
        open_results(file)


@pytest.mark.usefixtures("quick_score")
def test_a_last_result_without_a_newline_counts_and_gets_one(tmp_path):
    file = tmp_path / "board.jsonl"
    row = replace(SHORT, measure=Reach(100))
    run_rows([row], file, trainer=counted, seeds=2, processes=0)
    whole = file.read_text()
    file.write_text(whole.removesuffix("\n"))
    assert [one["seed"] for one in read_results(file)] == [0, 1]
    assert run_rows([row], file, trainer=counted, seeds=3, processes=0) == 0
    assert CALLS["1b", 1] == 1
    assert file.read_text().startswith(whole)
    assert [one["seed"] for one in read_results(file)] == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["board.jsonl"]


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        (b"notes, all in one line", 1, "it is no JSON"),
        (b"{", 1, "it is no JSON"),
        (written(RESULT).encode() + b"hello", 2, "it is no JSON"),
        (written(RESULT).encode() + b"hello\n", 2, "it is no JSON"),
        (written(RESULT).encode() + b"\n" + written(RESULT).encode(), 2, "it is no JSON"),
        (written(RESULT)[:300].encode() + b"\n", 1, "it is no JSON"),  # torn, but somebody ended it
        (written(RESULT).strip().encode() + b" and more", 1, "it is no JSON"),
        (b'{"row": "1", "column": 3', 1, "it is no JSON"),
        (b"[" * 100_000, 1, "it is no JSON"),
        (b"17", 1, "the result is 17, expected an object"),
        (b'{"row": "1", "seed": 0}\n', 1, "the result has no 'settings', expected an object"),
        (b'{"name": "' + b"x" * 5000 + b'"}', 1, "the result has no 'row', expected text"),
    ],
)
def test_a_file_of_something_else_is_refused_by_its_line_and_stays_as_it_is(tmp_path, content, line, why):
    file = tmp_path / "board.jsonl"
    file.write_bytes(content)
    for use in (read_results, open_results, lambda file: run_rows([SHORT], file, trainer=counted, processes=0)):
        with pytest.raises(FormatError) as refused:
            use(file)
        assert str(refused.value) == (
            f"line {line} of {file} is no result of the scoreboard; give another file, or take the line out: {why}"
        )
        assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["board.jsonl"]
    assert not CALLS


def test_results_that_are_no_text_are_refused(tmp_path):
    file = tmp_path / "board.jsonl"
    file.write_bytes(written(RESULT).encode() + b'{"row": "\xff')
    with pytest.raises(FormatError, match=r"board.jsonl is not UTF-8 text \(byte \d+\); expected results of tallycell"):
        run_rows([SHORT], file, trainer=counted, processes=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    file, folder = tmp_path / "fifo", tmp_path / "folder"
    os.mkfifo(file)
    folder.mkdir()
    for use in (
        lambda file: run_rows([SHORT], file, trainer=counted, processes=0),
        lambda file: make_page(file, tmp_path / "page.md"),
    ):
        with pytest.raises(FormatError, match=r"fifo is a FIFO \(named pipe\), and only regular files are opened"):
            use(file)
        with pytest.raises(FormatError, match="folder is a directory; give the file inside it"):
            use(folder)
    os.mkfifo(tmp_path / "r.jsonl.torn")
    (tmp_path / "r.jsonl").write_text(written(RESULT) + '{"row')
    with pytest.raises(InputError, match=r"r.jsonl.torn is a FIFO"):
        open_results(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == written(RESULT) + '{"row'


WALK = {"length": 64, "strings": 100, "right": 100, "symbols": 1.0}
ROW_6 = rows(("6",))[0]
BY_LENGTH = {
    **RESULT, "row": "6", "settings": ROW_6.settings,
    **{column: {"lengths": [{**WALK, "length": length} for length in ROW_6.measure.lengths]} for column in COLUMNS},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"row": 1}, "'row' of the result is 1, expected text"),
        ({"seed": "0"}, "'seed' of the result is '0', expected a whole number from 0 on"),
        ({"seed": True}, "'seed' of the result is True, expected"),
        ({"seed": 10**400}, "'seed' of the result is 1000"),
        ({"settings": []}, r"'settings' of the result is \[\], expected an object"),
        ({"runs": None}, "'runs' of the result is None, expected a whole number"),
        ({"seconds": float("nan")}, "'seconds' of the result is nan, expected a number from 0 on"),
        ({"judging_seconds": 1e400}, "'judging_seconds' of the result is inf, expected a number"),
        ({"first_passes": 1}, "'first_passes' of the result is 1, expected true or false"),
        ({"units": "3"}, "'units' of the result is '3', expected a whole number"),
        ({"trained": "good"}, "'trained' of the result is 'good', expected an object"),
        ({"trained": {"missing": "why"}}, "'trained' has no 'first_failure', expected a whole number from 1 on, or"),
        ({"hardened": {}}, "'hardened' has no 'first_failure'"),
        ({"hardened": {"missing": 3}}, "'missing' of 'hardened' is 3, expected text"),
        ({"hardened": {"missing": "\ud800"}}, "can't encode character"),
        ({"snapped": {**REACHED, "first_failure": 0}}, "'first_failure' of 'snapped' is 0, expected a whole number"),
        ({"snapped": BY_LENGTH["snapped"]}, "'snapped' has no 'first_failure'"),  # the row is not measured so
        ({"horizon": {"symbols": 3}}, "'horizon' has no 'dtype', expected text"),
        ({"saturated": {"trained": JUDGED["saturated"]["trained"]}}, "'saturated' has no 'hardened', expected an"),
        ({"saturated": {"trained": {"i": 1.0}}}, "'saturated' of 'trained' has no 'f', expected a number between 0"),
    ],
)
def test_a_result_without_what_the_page_shows_is_refused_when_it_is_read(tmp_path, changes, why):
    file = tmp_path / "board.jsonl"
    file.write_text(written(RESULT, RESULT | changes))
    with pytest.raises(FormatError, match=f"line 2 of .* is no result of the scoreboard; .*: .*{why}"):
        make_page(file, tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize("key", [key for key in RESULT if key not in ("row", "seed", "settings")])
def test_no_part_of_a_result_may_be_missing(tmp_path, key):
    file = tmp_path / "board.jsonl"
    file.write_text(written({name: value for name, value in RESULT.items() if name != key}))
    with pytest.raises(FormatError, match=f"line 1 of .*: the result has no '{key}', expected"):
        make_page(file, tmp_path / "page.md")


@pytest.mark.parametrize(
    ("lengths", "why"),
    [
        ([], "'snapped' has no length 64, at which the row is measured"),
        ([WALK], "'snapped' has no length 128, at which the row is measured"),
        ([{**WALK, "right": 101}], "'snapped' has 101 strings right of 100"),
        ([{**WALK, "strings": 0}], "'strings' of a length of 'snapped' is 0, expected a whole number from 1 on"),
        ([5], "a length of 'snapped' is 5, expected an object"),
        (5, "'lengths' of 'snapped' is 5, expected a list"),
    ],
)
def test_a_result_without_the_lengths_of_its_row_is_refused_when_it_is_read(tmp_path, lengths, why):
    file = tmp_path / "board.jsonl"
    file.write_text(written(BY_LENGTH))
    make_page(file, tmp_path / "page.md", plot=False)
    file.write_text(written({**BY_LENGTH, "snapped": {"lengths": lengths}}))
    with pytest.raises(FormatError, match=f"line 1 of .*: {why}"):
        make_page(file, tmp_path / "page.md", plot=False)


@pytest.mark.parametrize("changes", [{"row": "99"}, {"settings": {"hidden": 1}}])
@pytest.mark.parametrize("lengths", [None, [WALK]])
def test_results_of_rows_and_settings_of_former_times_are_kept_and_not_shown(tmp_path, changes, lengths):
    file = tmp_path / "board.jsonl"
    former = RESULT | changes | ({} if lengths is None else {"snapped": {"lengths": lengths}})
    file.write_text(written(former, RESULT))
    make_page(file, tmp_path / "page.md", plot=False)
    with_former = (tmp_path / "page.md").read_bytes()
    file.write_text(written(RESULT))
    make_page(file, tmp_path / "page.md", plot=False)
    assert (tmp_path / "page.md").read_bytes() == with_former


def test_the_projects_own_results_make_its_page(tmp_path):
    docs = Path(__file__).parent.parent / "docs"
    make_page(docs / "scoreboard.jsonl", tmp_path / "scoreboard.md")
    assert (tmp_path / "scoreboard.md").read_bytes() == (docs / "scoreboard.md").read_bytes()


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results of the rows as they are set now; run tallycell scoreboard"):
        make_page(tmp_path / "none.jsonl", tmp_path / "page.md")
    with pytest.raises(InputError, match="seeds is 0 and processes 1; give at least 1 seed"):
        run_rows([SHORT], tmp_path / "none.jsonl", trainer=counted, seeds=0, processes=1)


def test_results_that_cannot_be_written_are_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file/r.jsonl: "):
        run_rows([SHORT], tmp_path / "file/r.jsonl", trainer=counted, processes=0)
    assert not CALLS


def test_the_page_never_takes_the_place_of_the_results(tmp_path):
    file = tmp_path / "board.jsonl"
    file.write_text(written(RESULT))
    (tmp_path / "link.md").symlink_to(file)
    for page in (file, tmp_path / "link.md"):
        with pytest.raises(InputError, match="the results are there; give the page another name"):
            make_page(file, page, plot=False)
    assert file.read_text() == written(RESULT)


def test_a_page_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path, monkeypatch):
    file, page, picture = tmp_path / "board.jsonl", tmp_path / "page.md", tmp_path / "pictures/scoreboard.png"
    file.write_text(written(RESULT))
    make_page(file, page)
    before = page.read_bytes(), picture.read_bytes()
    file.write_text(written(RESULT | {"runs": 77}))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)  # where a file that was written beside takes the place
    for plot, name in ((True, "scoreboard.png"), (False, "page.md")):
        with pytest.raises(InputError, match=f"cannot write .*{name}: No space left on device"):
            make_page(file, page, plot=plot)
        assert (page.read_bytes(), picture.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.jsonl", "page.md", "pictures"]


@pytest.mark.usefixtures("quick_score")
def test_when_time_is_up_nothing_new_begins(tmp_path):
    row = replace(SHORT, measure=Reach(100))
    told = []
    left = run_rows([row], tmp_path / "a.jsonl", trainer=counted, seeds=3, processes=0, seconds=0.0)
    assert (left, CALLS.total()) == (3, 0)
    run_rows(
        [row], tmp_path / "a.jsonl", trainer=counted, seeds=3, processes=0, progress=lambda *what: told.append(what)
    )
    assert told == [("1b", 1, 3), ("1b", 2, 3), ("1b", 3, 3)]


def test_processes_give_what_one_process_gives(tmp_path):
    row = replace(SHORT, measure=Reach(100))
    for processes in (0, 2):
        run_rows([row], tmp_path / f"{processes}", trainer=fakes.train_exact, seeds=2, processes=processes)

    def figures(one):
        return {name: value for name, value in one.items() if name != "judging_seconds"}

    alone, together = (results_of(row, read_results(tmp_path / f"{processes}")) for processes in (0, 2))
    assert [figures(one) for one in together] == [figures(one) for one in alone]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Results of two rows of the table, from networks that stand for trained ones; the first searched to 3,000."""
    file = tmp_path_factory.mktemp("board") / "board.jsonl"
    for row in (SHORT, *rows(("10a",))):
        assert row.settings in [of_table.settings for of_table in ROWS]
        run_rows([row], file, trainer=fakes.train_now_and_then, seeds=3, processes=0)
    return file


def test_the_page_says_what_was_measured(board, tmp_path):
    make_page(board, tmp_path / "docs/scoreboard.md")
    page = (tmp_path / "docs/scoreboard.md").read_text()
    results = results_of(rows(("1b",))[0], read_results(board))
    fails = results[2]["trained"]["first_failure"]
    assert f"| 1b | a^n b^n | 3 | 3 / 3 / 3 | no failure to n = 1,000,000 | {fails:,} / > 3,000 / > 3,000 |" in page
    assert "| > 3,000 / > 3,000 / > 3,000 | 3 of 3 | 2 of 3 | 4 | 4 |" in page
    assert "Published: as row 1, which learns from the symbol drawn: best first failure of 3,360 networks 80" in page
    assert f"| first failure, seed 2 | {fails:,} (member) | > 3,000 | > 3,000 |" in page
    assert "Seeds that pass: trained 2 of 3, snapped 3 of 3, hardened 3 of 3. 4 runs of training for 3 seeds;" in page
    assert "proved in float32: 16,678,912 / " in page
    assert "| strings right at 10,000 (100 a seed) | 100 % / 100 % / 100 % |" in page
    assert "![" in page
    assert (tmp_path / "docs/pictures/scoreboard.png").stat().st_size > 10_000
    for line in page.splitlines():  # every table has as many cells in each line
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| 1") or line.startswith("| first"):
            assert line.replace("\\|", "").count("|") == width


def test_the_same_results_make_the_same_page(board, tmp_path):
    for name in ("a", "b"):
        make_page(board, tmp_path / name / "page.md")
    first, second = ((tmp_path / name) for name in ("a", "b"))
    assert (first / "page.md").read_bytes() == (second / "page.md").read_bytes()
    assert (first / "pictures/scoreboard.png").read_bytes() == (second / "pictures/scoreboard.png").read_bytes()


def test_without_a_picture_the_page_has_none(board, tmp_path):
    make_page(board, tmp_path / "page.md", plot=False)
    assert "![" not in (tmp_path / "page.md").read_text()
    assert not (tmp_path / "pictures").exists()


def test_results_are_one_json_object_a_line(board):
    for line in board.read_text().splitlines():
        one = json.loads(line)
        assert {"row", "seed", "settings", "runs", "seconds", "trained", "snapped", "hardened", "horizon"} <= set(one)


def test_trained_is_what_the_recipe_gives(monkeypatch):
    training = pytest.importorskip("tallycell.learning.training")
    from tallycell.learning.scoreboard import train_row

    small = replace(training.SETTINGS, together=2, steps=3)
    monkeypatch.setattr("tallycell.learning.rows.SETTINGS", small)
    monkeypatch.setattr(training.train, "__kwdefaults__", {**training.train.__kwdefaults__, "budget": 2})
    row = replace(rows(("10a",))[0], steps=5)
    found = train_row(row, 1)
    assert isinstance(found, Trained)
    assert found.runs == 2
    assert found.net.parameters.hidden_size == row.hidden
    assert (
        found.net == training.train(row.language, hidden=row.hidden, seed=1, settings=replace(small, steps=5)).network
    )
