"""The first failure in n is one figure, on the board and in a check; the difference in n is another, and stricter."""

import json

import numpy as np
import pytest

import learning_fakes as fakes
import tallycell as tc
from compiled_once import network_for
from tallycell.errors import InputError
from tallycell.learning.languages import language
from tallycell.learning.rows import Reach, Row
from tallycell.learning.scoring import measured
from tallycell.machine.checking.blocks import as_blocks, laid_out, near_misses
from tallycell.machine.checking.check import check_machine
from tallycell.machine.checking.language_search import (
    DifferenceInN,
    FirstFailure,
    farthest_of,
    search_difference_in_n,
    search_first_failure,
)
from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.machine.checking.truth import Truth
from tallycell.machine.notation.text import parse
from tallycell.machine.running.runner import Runner
from tallycell.machine.shipped import shipped_machine

# a^n b^n as it is on members; after a symbol that could not follow it goes on to say something, where the truth fails.
GOES_ON = """
alphabet a b
counter n
state climbing:
  on a           n +1
  on b  n > 0    n -1 -> falling
  on b  n = 0    -> lost
  legal a
  legal b when n > 0
state falling:
  on a           -> lost
  on b  n > 0    n -1
  on b  n = 0    -> lost
  legal b when n > 0
  accept when n = 0
state lost:
  on a hold
  on b hold
  legal a
"""
# The same, but after five a it takes four b for enough as well: a near miss of n = 4, and it is wrong on n = 5.
TAKES_ONE_FEWER = (
    GOES_ON.replace("counter n", "counters n m")
    .replace("on a           n +1", "on a           n +1, m +1")
    .replace("accept when n = 0", "accept when n = 0 or n = 1 and m = 5")
)
# The same as the first, but after five a it does not see that b may follow. So it is wrong on a near miss of n = 4,
# which it refuses all the same.
FORGETS_B = (
    GOES_ON.replace("counter n", "counters n m")
    .replace("on a           n +1", "on a           n +1, m +1")
    .replace("legal b when n > 0", "legal b when n > 0 and m < 5", 1)
)


def board(name, net, farthest):
    """What the scoreboard says of a network."""
    return measured(Row("", name, 3, Reach(farthest), ""), net)


def searched(name, net, farthest):
    """What a check says of it, without all else that a check does."""
    of = language(name)
    both = SideBySide(of.machine, net)
    failure = search_first_failure(both.network, Truth.of(both.runner), of.blocks, farthest)
    return failure, search_difference_in_n(both, of.blocks, farthest, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("program", "failure", "difference"),
    [
        (GOES_ON, FirstFailure(None, None, 1000), DifferenceInN(1, "near miss", 8)),
        (TAKES_ONE_FEWER, FirstFailure(4, "near miss", 8), DifferenceInN(1, "near miss", 8)),
        (FORGETS_B, FirstFailure(5, "member", 8), DifferenceInN(1, "near miss", 8)),
    ],
)
def test_a_failure_is_the_same_on_the_board_and_in_a_check_and_a_difference_is_another(program, failure, difference):
    net = network_for(parse(program))
    assert board("anbn", net, 1000) == {"first_failure": failure.n, "kind": failure.kind, "searched": failure.searched}
    assert searched("anbn", net, 1000) == (failure, difference)


def test_a_check_has_both_whether_members_are_given_by_symbols_or_in_blocks():
    machine, net = language("anbn").machine, network_for(parse(GOES_ON))
    for members in (language("anbn").blocks, lambda n: "a" * n + "b" * n):
        found = check_machine(machine, net, length=2, samples=20, longest=1000, language=members)
        assert found.first_failure == FirstFailure(None, None, 500)
        assert found.difference_in_n == DifferenceInN(1, "near miss", 8)
        assert not found.agree


@pytest.mark.parametrize(
    ("name", "closed"),
    [("anbn", 0.4), ("anbn", 0.5), ("anb2n", 0.4), ("anbmcnm", 0.45), ("copy", 0.4)],
)
def test_a_leaky_network_fails_at_one_n_on_the_board_and_in_a_check(name, closed):
    net = fakes.leaky(language(name), closed)
    failure, difference = searched(name, net, 20_000)
    assert board(name, net, 20_000) == {"first_failure": failure.n, "kind": failure.kind, "searched": failure.searched}
    assert 1 < failure.n < 20_000
    assert difference.n <= failure.n


@pytest.mark.parametrize("program", [TAKES_ONE_FEWER, GOES_ON])
def test_the_command_says_the_figure_of_the_board(run, tmp_path, program):
    net, path = network_for(parse(program)), tmp_path / "net.safetensors"
    tc.save(net, path)
    few = ("--samples", 20, "--length", 3, "--longest", 1000, "--language", "a^n b^n")
    status, out, _ = run("check", "anbn", path, *few, "--json")
    value = json.loads(out)
    first = value["first_failure"]
    assert (status, value["schema_version"]) == (1, "2")
    assert {"first_failure": first.pop("n"), **first} == board("anbn", net, 500)
    assert value["difference_in_n"] == {"n": 1, "kind": "near miss", "searched": 8}
    said = " ".join(run("check", "anbn", path, *few)[1].split())
    if program is TAKES_ONE_FEWER:
        assert "searched the first failure is found at n = 4: a near miss is accepted (tried was every n to 8)" in said
    else:
        assert (
            "no first failure is found to n = 500: no member is decided wrongly, and no near miss, which has " in said
        )
    assert (
        "searched a difference in n is found at n = 1: after a symbol of a near miss, which both may refuse in the end"
    ) in said


def test_a_difference_is_found_after_any_symbol_and_on_members_with_a_symbol_changed():
    """The near miss: the first symbol that could not follow is an a among the b, which no block has one more of."""
    after_a = parse(GOES_ON.replace("on b  n = 0    -> lost", "on b  n = 0    fail"))
    both = SideBySide(shipped_machine("anbn"), network_for(after_a))
    found = search_difference_in_n(both, lambda n: [("a", n), ("b", n)], 10, np.random.default_rng(0))
    assert found == DifferenceInN(1, "changed", 8)
    assert str(found).startswith(
        "a difference in n is found at n = 1: after a symbol of the member with one symbol changed, which both may "
    )
    same = SideBySide(after_a, network_for(after_a))
    found = search_difference_in_n(same, lambda n: [("a", n), ("b", n)], 10, np.random.default_rng(0))
    assert found == DifferenceInN(None, None, 10)


def test_members_are_given_by_symbols_or_in_blocks():
    assert as_blocks("aabba") == [("a", 2), ("b", 2), ("a", 1)]
    assert as_blocks(["up", "up", (("up", "down"), 3), (("up", "down"), 3)]) == [
        ("up", 2),
        (("up", "down"), 3),
        (("up", "down"), 3),
    ]
    assert as_blocks("") == []


def test_near_misses_have_one_more_or_fewer_in_a_block():
    runner = Runner(shipped_machine("anbn"))
    found = ["".join("ab"[code] for code in codes) for codes in near_misses(runner, [("a", 1), ("b", 1), ("a", 0)])]
    assert found == ["aab", "b", "abb", "a", "aba"]  # nothing is fewer than none
    assert near_misses(runner, [("a", 1), ("b", 2)])[0].tolist() == [1, 1]  # aabb is a member, and none of them
    assert near_misses(runner, []) == []
    says_no_accept = Runner(parse("alphabet a b\non a hold\non b hold\nlegal a\n"))
    assert len(near_misses(says_no_accept, [("a", 2)])) == 2


def test_more_symbols_than_a_byte_holds_are_laid_out():
    alphabet = [f"s{k}" for k in range(300)]
    assert laid_out(alphabet, [("s299", 2), (("s0", "s1"), 1)]).tolist() == [299, 299, 0, 1]
    with pytest.raises(InputError, match="symbol 's300' of a block is not in the alphabet"):
        laid_out(alphabet, [("s300", 1)])


@pytest.mark.parametrize(
    ("member", "longest", "farthest"),
    [
        (lambda n: [("a", n), ("b", 2 * n)], 1000, 333),
        (lambda n: [(("a", "b"), n)], 127, 63),
        (lambda n: [("a", n)], 1000, 1000),
        (lambda n: [("a", 1)], 1000, 1000),  # no more to try than there are symbols
        (lambda n: [("a", n * n)], 10_000, 100),
        (lambda n: [("a", n + 5)], 5, 0),
    ],
)
def test_the_farthest_n_is_the_last_whose_member_is_no_longer(member, longest, farthest):
    assert farthest_of(member, longest) == farthest


def test_a_language_of_which_no_member_is_short_enough_is_not_searched():
    net = network_for(shipped_machine("anbn"))
    found = check_machine(
        shipped_machine("anbn"), net, length=3, samples=20, longest=5, language=lambda n: "a" * (n + 5) + "b" * (n + 5)
    )
    assert found.first_failure == FirstFailure(None, None, 0)
    assert found.difference_in_n == DifferenceInN(None, None, 0)
