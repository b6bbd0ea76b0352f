"""What is said of a machine beside a network, each part against a law or another way to find it."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from machines import strings_to
from tallycell.errors import InputError
from tallycell.machine.checking.check import Check, check_machine
from tallycell.machine.checking.exhaustive import check_all
from tallycell.machine.checking.sampling import Distribution, changed_strings, share_at_least, worthy
from tallycell.machine.checking.search import LoopString, loop_strings, ranked, search_difference
from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.machine.notation.text import parse
from tallycell.machine.shipped import shipped_machine
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

OPEN = 50.0


def one_cell(*, f=(OPEN, OPEN), g=(OPEN, -OPEN)):
    """A network that adds at ``a``, subtracts at ``b`` and accepts above 0; gates by symbol, before activation."""
    gates = np.array([(OPEN, OPEN), f, g, (OPEN, OPEN)])
    lstm = LSTMParameters({"weight_ih_l0": gates, "weight_hh_l0": np.zeros((4, 1))})
    return Recogniser(("a", "b"), np.eye(2), lstm, [[1.0]], [-0.4], outputs=("accept",), decision="threshold")


def decisions(net, string):
    """What a network says after each symbol, one equation after the other."""
    p, said = net.parameters, []
    h, c = np.zeros(p.hidden_size), np.zeros(p.hidden_size)
    w = {name: value.astype(np.float64) for name, value in p.weights.items()}
    for symbol in string:
        x = net.inputs[net.alphabet.index(symbol)]
        pre = w["weight_ih_l0"] @ x + w["weight_hh_l0"] @ h
        pre += sum(w[name] for name in ("bias_ih_l0", "bias_hh_l0") if name in w)
        i, f, g, o = pre.reshape(4, -1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        said.append(tuple(np.array(net.outputs)[net.readout_weight @ h + net.readout_bias > 0].tolist()))
    return said


def truth(machine, net, string):
    """Number of steps on which machine and network differ, and after how many symbols they first do (0: never)."""
    walk = list(machine.walk(string))[1:]
    wanted = [set(machine.says(at)) for at in walk]
    wrong = [k for k, said in enumerate(decisions(net, string)) if set(said) != wanted[k]]
    return len(wrong), (wrong[0] + 1 if wrong else 0)


@pytest.fixture(scope="module")
def leaky():
    return shipped_machine("majority"), one_cell(f=(-np.log(0.05), OPEN))  # keeps 20 of 21 at every a


@pytest.fixture(scope="module")
def checked(leaky):
    own = ["aab", "b" * 9 + "a" * 12, ""]
    return check_machine(
        *leaky, length=9, strings=own, samples=200, longest=2000, language=lambda n: "b" * n + "a" * (n + 1)
    )


# Exhaustive


def test_exhaustive_counts_are_those_of_every_string_run_alone(leaky, checked):
    machine, net = leaky
    found = {}
    for codes in strings_to(9, 2):
        string = "".join(machine.alphabet[code] for code in codes)
        if string:
            found[string] = truth(machine, net, string)
    e = checked.exhaustive
    assert (e.length, e.strings) == (9, len(found)) == (9, 2**10 - 2)
    assert 0 < e.alike == sum(steps == 0 for steps, _ in found.values()) < e.strings
    assert e.steps_alike == sum(decided_alike(machine, net, string) for string in found)
    shortest = min((string for string, (steps, _) in found.items() if steps), key=lambda string: (len(string), string))
    assert e.first_difference == tuple(shortest)


def decided_alike(machine, net, string):
    """Whether they say the same after the last symbol."""
    return set(decisions(net, string)[-1]) == set(machine.says(machine.run(string)))


def test_all_strings_of_two_letters_to_length_14_take_less_than_five_seconds():
    machine = shipped_machine("anbn")
    both = SideBySide(machine, compile_machine(machine))
    check_all(both, 3)
    begin = time.process_time()
    found = check_all(both, 14)
    assert time.process_time() - begin < 5
    assert (found.strings, found.alike, found.first_difference) == (2**15 - 2, 2**15 - 2, None)


def test_a_length_that_nobody_can_afford_is_cut_to_two_million_strings():
    machine = shipped_machine("majority")
    assert check_machine(machine, one_cell(), length=40, samples=1, longest=10).exhaustive.length == 19


# Sampled


def test_the_bound_is_that_of_clopper_and_pearson():
    for alike, drawn in [(1000, 1000), (950, 1000), (1, 3), (7, 10), (0, 10)]:
        interval = stats.binomtest(alike, drawn, alternative="greater").proportion_ci(0.95, method="exact")
        assert share_at_least(alike, drawn) == pytest.approx(interval.low, abs=1e-12)


def test_the_bound_holds_in_95_of_100_samples():
    rng, fidelity = np.random.default_rng(0), 0.93
    bounds = np.array([share_at_least(int(k), 200) for k in rng.binomial(200, fidelity, size=4000)])
    assert 0.945 < (bounds <= fidelity).mean() < 0.975


def test_counts_of_the_users_own_strings_are_those_of_each_run_alone(leaky, checked):
    machine, net = leaky
    own = checked.counted[-1]
    found = [truth(machine, net, string) for string in ("aab", "b" * 9 + "a" * 12)]
    assert own.text == "your own strings"
    assert (own.strings, own.steps) == (3, 24)
    assert own.alike == 1 + sum(steps == 0 for steps, _ in found)
    assert own.steps_alike == 24 - sum(steps for steps, _ in found)
    assert own.differing == tuple(("b" * 9 + "a" * 12)[: found[1][1]])
    assert own.bound is None


def test_only_drawn_strings_have_a_bound_and_it_is_of_whole_strings(checked):
    assert [one.bound is None for one in checked.counted] == [True, True]
    for one in checked.sampled:
        assert one.strings == 200
        assert one.bound == share_at_least(one.alike, 200)
        assert one.steps_alike / one.steps > one.alike / one.strings  # a string is alike if all its steps are


def test_lengths_follow_the_stated_distribution():
    machine, rng = shipped_machine("majority"), np.random.default_rng(1)
    lengths = np.array([len(one) for one in Distribution("geometric", 20).draw(machine, 4000, rng)])
    law = stats.geom(1 / 20)
    cut = np.arange(1, 60, 6)
    seen = np.histogram(lengths, [*cut, np.inf])[0]
    expected = 4000 * np.diff([0, *law.cdf(cut[1:] - 1), 1])
    assert stats.chisquare(seen, expected).pvalue > 1e-3
    uniform = np.array([len(one) for one in Distribution("uniform", 5).draw(machine, 4000, rng)])
    assert stats.chisquare(np.bincount(uniform)[1:]).pvalue > 1e-3
    assert (uniform.min(), uniform.max()) == (1, 9)


def test_symbols_are_uniform_among_those_the_machine_does_not_fail_on():
    machine = shipped_machine("dyck-1")
    drawn = Distribution("uniform", 30).draw(machine, 500, np.random.default_rng(2))
    after = {True: Counter(), False: Counter()}
    for string in drawn:
        depth = np.concatenate([[0], np.cumsum(np.where(string == 0, 1, -1))])
        assert (depth >= 0).all()
        for code, here in zip(string.tolist(), depth, strict=False):
            after[bool(here > 0)][code] += 1
    assert set(after[False]) == {0}
    assert stats.binomtest(after[True][0], after[True].total()).pvalue > 1e-3
    free = np.concatenate(Distribution("uniform", 30, "uniform").draw(machine, 500, np.random.default_rng(3)))
    assert stats.binomtest(int((free == 0).sum()), len(free)).pvalue > 1e-3


def test_a_changed_string_is_one_replacement_one_insertion_or_one_deletion_away():
    rng = np.random.default_rng(4)
    string = rng.integers(0, 3, 12)
    for _ in range(200):
        replaced, inserted, deleted = changed_strings([string], 3, rng)
        assert (replaced != string).sum() == 1
        assert any(np.array_equal(np.delete(inserted, k), string) for k in range(13))
        assert any(np.array_equal(np.delete(string, k), deleted) for k in range(12))


def test_what_is_changed_is_what_the_machine_accepts():
    machine = shipped_machine("anbn")
    strings = [np.array(one) for one in ([0, 1], [0], [0, 0, 1, 1], [1])]
    assert worthy(machine, strings) == [0, 2]
    assert worthy(machine, [strings[1], strings[3]]) == [0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lengths": "long"}, "lengths of the distribution is 'long'; it is 'geometric' or 'uniform'"),
        ({"symbols": "all"}, "symbols of the distribution is 'all'; it is 'legal' or 'uniform'"),
        ({"mean": 0.5}, "the mean length of the distribution is 0.5; a string has at least one symbol"),
    ],
)
def test_a_distribution_that_is_none_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Distribution(**wrong)


# Searched


def test_a_loop_string_keeps_the_machine_alive_and_comes_back():
    machine = shipped_machine("anbn")
    tried = list(loop_strings(machine))
    assert any((one.up, one.down) == ((0,), (1,)) for one in tried)
    one = next(one for one in tried if (one.up, one.down) == ((0,), (1,)))
    assert one.codes(5).tolist() == [*one.begin] + [0] * 5 + [1] * 8  # a little more than undoes it


@pytest.mark.parametrize(
    ("net", "about"),
    [
        (one_cell(f=(-np.log(1e-5), OPEN)), 2 * np.sqrt(2 * 0.4e5)),  # loses 1e-5 at every a: b^m a^m, 1e-5 m^2 / 2
        (one_cell(g=(OPEN, -np.arctanh(0.9998))), 2 * 0.424 / 2e-4),  # steps -0.9998: ab ab ab ...
    ],
)
def test_the_first_difference_is_found_to_a_few_percent_of_the_closed_form(net, about):
    machine = shipped_machine("majority")
    found = search_difference(SideBySide(machine, net))
    assert found.symbols == pytest.approx(about, rel=0.05)


def test_what_the_search_names_differs_there_and_not_before(leaky):
    machine, net = leaky
    both = SideBySide(machine, net)
    found = search_difference(both)
    parts = [part.split(" times ") for part in found.text.split(" then ")]
    string = "".join(part[-1].strip("'") * int(part[0].replace(",", "") if len(part) > 1 else 1) for part in parts)
    assert truth(machine, net, string)[1] == found.symbols


def counting_network(machine, *steps, gates=0.0, recurrent=0.0):
    """Cells that keep and add so much at each symbol, the first of which is read; what is added to the gates' sums."""
    g = [[np.arctanh(step) if abs(step) < 1 else step * OPEN for step in of_one] for of_one in steps]
    always = np.full(np.shape(steps), OPEN)
    weights = {"weight_ih_l0": np.concatenate([always, always, g, always]) + gates}
    weights["weight_hh_l0"] = np.zeros((4 * len(steps), len(steps))) + recurrent
    lstm, alphabet = LSTMParameters(weights), machine.alphabet
    return Recogniser(
        alphabet, np.eye(len(alphabet)), lstm, np.eye(1, len(steps)), [-0.4], outputs=("accept",), decision="threshold"
    )


def test_loops_are_followed_in_the_order_of_what_the_network_adds_a_symbol_where_the_machine_adds_nothing():
    machine = parse("alphabet a b c d\ncounter n\non a n +1\non b n -1\non c d hold\naccept when n > 0")
    a, b, c, d = ((code,) for code in range(4))
    exact, slow, both, fast = LoopString((), a, b, 1.0), LoopString(a, c), LoopString((), c + d), LoopString(b, d)
    network = SideBySide(machine, counting_network(machine, [1, -1, 0.01, -0.02]))
    assert ranked(network, [exact, slow, both, fast]) == [fast, slow, both, exact]


ELSEWHERE = {
    "counters": "alphabet a b d\ncounters n m\non a n +1 m +1\non b n -1\non d hold\naccept when n > 0 and m > -1",
    "state": (  # a second one, once n was above 20
        "alphabet a b d\ncounter n\naccept when n > 0\non b n -1\non d hold\n"
        "state low:\non a n <= 20 n +1\non a n > 20 n +1 -> high\nstate high:\non a n +1"
    ),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_string_after_which_the_machine_stands_elsewhere_is_followed_last(what):
    """The second cell goes far from where it was, and it should: it counts each a, or all that follows the 21st."""
    machine = parse(ELSEWHERE[what])
    if what == "counters":
        net = counting_network(machine, [1, -1, 0.01], [1, 0, 0])
    else:
        gates, recurrent = np.zeros((8, 3)), np.zeros((8, 2))
        gates[1], recurrent[1, 0] = -200 * OPEN * np.tanh(1.025), 200 * OPEN  # i is open above 20
        net = counting_network(machine, [0.05, -0.05, 0.01], [1, 1, 1], gates=gates, recurrent=recurrent)
    both, there_and_back, drifting = SideBySide(machine, net), LoopString((), (0,), (1,), 1.0), LoopString((), (2,))
    assert np.ptp([both.run(np.array([[0] * n + [1] * n]))[1].network.c[..., 1].item() for n in (8, 32)]) > 20
    assert ranked(both, [there_and_back, drifting]) == [drifting, there_and_back]


def test_without_a_difference_the_search_says_how_far_it_looked():
    found = search_difference(SideBySide(shipped_machine("majority"), one_cell()), longest=5000)
    assert (found.symbols, found.longest) == (None, 5000)
    assert found.strings > 100


def test_the_first_failure_is_that_of_trying_every_n():
    """b^n a^(n+1) is accepted; the leak on a lets one a fewer be enough: a near miss."""
    machine, net = shipped_machine("majority"), one_cell(f=(-np.log(0.004), OPEN))

    def member(n):
        return "b" * n + "a" * (n + 1)

    def fails(n):
        near = [string for string in (member(n)[:-1], "b" + member(n)) if not machine.accepts(string)]
        return truth(machine, net, member(n))[0] or any(decisions(net, string)[-1] for string in near)

    brute = next(n for n in range(1, 60) if fails(n))
    found = check_machine(machine, net, length=3, samples=10, longest=500, language=member).first_failure
    assert found.n == brute
    assert str(found).startswith(f"the first failure is found at n = {brute}: a near miss is accepted (")
    exact = check_machine(machine, one_cell(), length=3, samples=10, longest=500, language=member).first_failure
    assert (exact.n, exact.searched) == (None, 249)
    assert str(exact) == (
        "no first failure is found to n = 249: no member is decided wrongly, and no near miss, which has one more or "
        "fewer in a block, is accepted (tried was every n to 64, then steps of a factor 4, bisected)"
    )


# The whole


def test_a_check_says_the_string_on_which_they_differ(leaky, checked):
    machine, net = leaky
    text = str(checked)
    first = "".join(checked.exhaustive.first_difference)
    assert not checked.agree
    assert truth(machine, net, first)[1] == len(first) == checked.first_difference
    assert text.splitlines()[1].endswith(f"; they first differ after {first!r}")
    assert text.splitlines()[-1] == f"they first differ after {len(first)} symbols: {first!r}"
    assert " of all such strings (95% confidence, Clopper-Pearson)" in text
    assert "proved      horizon:" in text
    assert checked.horizon.symbols < checked.first_difference


def test_a_long_difference_is_told_by_its_loops():
    check = check_machine(shipped_machine("majority"), one_cell(g=(OPEN, -np.arctanh(0.9998))), length=5, samples=20)
    assert check.exhaustive.first_difference is None
    last = str(check).splitlines()[-1]
    assert last.startswith(f"they first differ after {check.first_difference:,} symbols: the first ")
    assert last.endswith(" times 'ab'")


def test_a_network_that_is_the_machine_agrees():
    machine = shipped_machine("anbn")
    check = check_machine(machine, compile_machine(machine), samples=100, longest=10_000)
    assert isinstance(check, Check)
    assert check.agree
    assert check.first_difference is None is check.differing
    assert str(check).splitlines()[-1] == "no difference was seen"
    assert "drawn strings with one symbol replaced, inserted or deleted" in str(check)


def test_symbols_of_several_characters_are_told_apart():
    machine = parse("alphabet up down\ncounter n\non up  n +1\non down  n -1\naccept when n > 1\n")
    net = replace(one_cell(), alphabet=("up", "down"))
    check = check_machine(machine, net, length=4, samples=20, longest=20)
    assert "first differ after 'up'" in str(check)
    assert check.exhaustive.first_difference == ("up",)


def test_numbers_that_make_no_sense_are_refused(leaky):
    with pytest.raises(InputError, match="length is 0, samples 1000 and longest 200000; give at least 1 of each"):
        check_machine(*leaky, length=0)


def test_a_network_that_reads_from_the_right_too_is_refused():
    weights = {
        f"{of}_l0{way}": np.zeros((4, size))
        for of, size in (("weight_ih", 2), ("weight_hh", 1))
        for way in ("", "_reverse")
    }
    net = Recogniser(("a", "b"), np.eye(2), LSTMParameters(weights), np.ones((1, 2)), [0.0], ("accept",), "threshold")
    with pytest.raises(
        InputError, match=r"reads from the right too, a machine only from the left; give one of one dir"
    ):
        check_machine(shipped_machine("majority"), net)
