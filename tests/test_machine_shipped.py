"""Each shipped machine against a definition of its language that knows nothing of machines.

Exhaustive over all strings to a length, and at a thousand and more symbols on members and near misses: one symbol more,
fewer, another, or two exchanged.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from tallycell.errors import InputError
from tallycell.machine import CounterMachine, format_machine, parse, shipped_machine, shipped_machines, shipped_program

Said = set[str]
LONG = 1000


class Language(NamedTuple):
    """What a machine should say after each prefix, strings to try, and the length to which all of them are tried."""

    says: Callable[[str], Said]
    members: Sequence[str]
    exhaustive: int


# ---- definitions -----------------------------------------------------------------------------------------------------


def _blocks(
    letters: str, counts: Callable[[int, int], tuple[int, ...]], members: Sequence[tuple[int, int]]
) -> Language:
    """Blocks of letters whose lengths are a function of n and m, both at least 1; what may follow, by looking."""

    def word(n: int, m: int) -> str:
        return "".join(letter * count for letter, count in zip(letters, counts(n, m), strict=True))

    def says(prefix: str) -> Said:
        most = len(prefix) + 2  # enough for every way to go on
        words = [word(n, m) for n in range(1, most) for m in range(1, most)]
        return _legal_by_looking(prefix, words)

    return Language(says, [word(*each) for each in members], 7 if len(letters) < 4 else 6)


def _legal_by_looking(prefix: str, words: Sequence[str]) -> Said:
    going_on = [word[len(prefix) :] for word in words if word.startswith(prefix)]
    return {rest[0] if rest else "accept" for rest in going_on}


def _blocks_long(letters: str, wanted: Callable[[list[int]], bool]) -> Callable[[str], bool]:
    """Membership of a long string of blocks, by its run lengths."""

    def member(string: str) -> bool:
        runs = [(letter, len(list(run))) for letter, run in itertools.groupby(string)]
        return "".join(letter for letter, _ in runs) == letters and wanted([count for _, count in runs])

    return member


def _brackets(pairs: str, deepest: float = np.inf) -> Callable[[str], Said]:
    """Each kind of bracket balanced by itself: by counting in the prefixes."""
    kinds = list(zip(pairs[::2], pairs[1::2], strict=True))

    def says(prefix: str) -> Said:
        said = set()
        open_ = []
        for left, right in kinds:
            depths = [0, *np.cumsum([(one == left) - (one == right) for one in prefix])]
            if min(depths) < 0 or max(depths) > deepest:
                return set()
            open_.append(int(depths[-1]))
            said |= {left} if depths[-1] < deepest else set()
            said |= {right} if depths[-1] > 0 else set()
        return said | ({"accept"} if not any(open_) else set())

    return says


def _accepts(wanted: Callable[[str], bool]) -> Callable[[str], Said]:
    return lambda prefix: {"accept"} if wanted(prefix) else set()


def _lead(string: str) -> int:
    return string.count("a") - string.count("b")


def _no_odd_ones_then_odd_zeros(string: str) -> bool:
    runs = [(letter, len(list(run))) for letter, run in itertools.groupby(string)]
    pairs = itertools.pairwise(runs)
    return not any(a == "1" and m % 2 and n % 2 for (a, m), (_, n) in pairs)


def _tomita_3(prefix: str) -> Said:
    # A prefix that no continuation can mend is rejected as any other.
    return {"accept"} if _no_odd_ones_then_odd_zeros(prefix) else set()


def _comments(prefix: str) -> Said:
    """Leftmost tokens: /* opens, */ closes what is open, any other character stands for itself."""
    depth, place = 0, 0
    while place < len(prefix):
        pair = prefix[place : place + 2]
        if pair == "/*" or (pair == "*/" and depth > 0):
            depth += 1 if pair == "/*" else -1
            place += 1
        place += 1
    return {"comment"} if depth else {"accept"}


def _walks(symbols: str, *lengths: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(symbols), length)) for length in lengths]


def _zig_zag(kinds: Sequence[str], depth: int) -> str:
    return "".join(kind[0] * depth for kind in kinds) + "".join(kind[1] * depth for kind in kinds)


N = [(LONG, 7), (3, LONG), (1, 1), (20, 1)]
ALL_PAIRS = "()[]{}<>aAbB"
CIRCLE = {"0": 0, "+": 1, "-": -1}
TOMITA = {
    1: (r"1*", ["1" * LONG]),
    2: (r"(10)*", ["10" * LONG]),
    4: (r"(?!.*000)[01]*", ["001" * 334, "010110" * 300]),
    7: (r"0*1*0*1*", ["0" * LONG + "1" * LONG + "0" * LONG + "1" * LONG]),
}

LANGUAGES = {
    "anbn": _blocks("ab", lambda n, m: (n, n), N),
    "anbncn": _blocks("abc", lambda n, m: (n, n, n), N),
    "anbncndn": _blocks("abcd", lambda n, m: (n, n, n, n), N),
    "anbmcnm": _blocks("abc", lambda n, m: (n, m, n + m), N),
    "anb2n": _blocks("ab", lambda n, m: (n, 2 * n), N),
    "dyck-1": Language(_brackets("()"), [_zig_zag(["()"], LONG), "(())()" * 200], 11),
    "dyck-1-depth-5": Language(_brackets("()", 5), [_zig_zag(["()"], 5) * 100, "(())()" * 200], 12),
    "shuffle-2": Language(_brackets("()[]"), [_zig_zag(["()", "[]"], LONG), "([)]" * 250], 6),
    "shuffle-6": Language(
        _brackets(ALL_PAIRS), ["[{<ab" + _zig_zag(["()"], LONG) + "BA>}]", "([{<abBA)]}>" * 50], 3
    ),
    "majority": Language(
        _accepts(lambda s: _lead(s) > 0), ["b" * LONG + "a" * (LONG + 1), "ab" * LONG + "a", *_walks("ab", 1000)], 11
    ),
    "difference-below-5": Language(
        _accepts(lambda s: abs(_lead(s)) < 5),
        ["b" * LONG + "a" * (LONG + 4), "a" * LONG + "b" * (LONG + 4), "ab" * LONG, *_walks("ab", 1000)],
        11,
    ),
    "parity": Language(_accepts(lambda s: s.count("b") % 2 == 0), ["b" * LONG, *_walks("ab", 1500)], 11),
    "even-pairs": Language(
        _accepts(lambda s: (s.count("ab") + s.count("ba")) % 2 == 0), ["ab" * LONG + "a", *_walks("ab", 1500)], 11
    ),
    "cycle-navigation": Language(
        lambda s: {str(sum(CIRCLE[one] for one in s) % 5)}, ["+" * LONG, "-" * LONG, *_walks("0+-", 1500)], 7
    ),
    "modulo-5": Language(lambda s: {str(s.count("a") % 5)}, ["a" * LONG, *_walks("ab", 1500)], 11),
    **{
        f"tomita-{k}": Language(_accepts(lambda s, r=regex: bool(re.fullmatch(r, s))), members, 11)  # type: ignore[misc]
        for k, (regex, members) in TOMITA.items()
    },
    "tomita-3": Language(_tomita_3, ["110" * LONG, "1001100011" * 100], 11),
    "tomita-5": Language(
        _accepts(lambda s: s.count("0") % 2 == s.count("1") % 2 == 0), ["01" * LONG, *_walks("01", 1500)], 11
    ),
    "tomita-6": Language(
        _accepts(lambda s: (s.count("0") - s.count("1")) % 3 == 0), ["01" * LONG, "0" * 999, *_walks("01", 1500)], 11
    ),
    "line-over-80": Language(
        lambda s: {"over"} if len(s) - (s.rfind("\n") + 1) > 80 else set(),
        ["x" * 80 + "\n" + "x" * 81 + "\n", ("x" * 81 + "\n" + "x" * 80 + "\n") * 10, "x" * LONG + "\n"],
        11,
    ),
    "comment-depth": Language(
        _comments, ["/*" * 500 + "*/" * 500, "/*/" * 300 + "*/*/" * 300, "x/**/" * 200, *_walks("/*x", 1000)], 7
    ),
}  # fmt: skip

# Where what may follow is found by trying all words, membership of long strings is told by their run lengths.
LONG_MEMBER = {
    "anbn": _blocks_long("ab", lambda runs: runs[0] == runs[1]),
    "anbncn": _blocks_long("abc", lambda runs: runs[0] == runs[1] == runs[2]),
    "anbncndn": _blocks_long("abcd", lambda runs: len(set(runs)) == 1),
    "anbmcnm": _blocks_long("abc", lambda runs: runs[0] + runs[1] == runs[2]),
    "anb2n": _blocks_long("ab", lambda runs: 2 * runs[0] == runs[1]),
}


def _near_misses(string: str, alphabet: Sequence[str]) -> Iterator[str]:
    """One symbol more, fewer, or another, or two exchanged: at the ends, wherever runs meet, and in the middle."""
    meetings = [k for k in range(1, len(string)) if string[k] != string[k - 1]]
    chosen = {0, 1, len(string) // 2, len(string) - 1, len(string), *meetings[:3], *meetings[-3:]}
    for place in sorted(chosen):
        before, after = string[:place], string[place:]
        yield before + after[1:]
        yield before + after[1:2] + after[:1] + after[2:]
        for symbol in alphabet[:3]:
            yield before + symbol + after
            yield before + symbol + after[1:]


def _everything(machine: CounterMachine, length: int) -> Iterator[tuple[str, Said]]:
    """Every string to a length and what is said after it, each step taken once."""
    waiting = [("", machine.start)]
    while waiting:
        string, here = waiting.pop()
        yield string, set(machine.says(here))
        if len(string) < length:
            waiting += [(string + symbol, machine.advance(here, symbol)) for symbol in machine.alphabet]


def test_every_machine_of_the_issue_is_shipped_and_defined_here() -> None:
    assert set(shipped_machines()) == set(LANGUAGES)
    assert len(LANGUAGES) == 24


@pytest.mark.parametrize("name", shipped_machines())
def test_a_shipped_machine_says_what_its_definition_says_after_all_short_strings(name: str) -> None:
    language = LANGUAGES[name]
    for string, said in _everything(shipped_machine(name), language.exhaustive):
        assert said == language.says(string), string


@pytest.mark.parametrize("name", shipped_machines())
def test_a_shipped_machine_is_right_on_long_members_and_their_near_misses(name: str) -> None:
    machine, language = shipped_machine(name), LANGUAGES[name]
    assert max(map(len, language.members)) >= LONG
    decisions = set()
    for member in language.members:
        for string in [member, *_near_misses(member, machine.alphabet)]:
            said = set(machine.says(machine.run(string)))
            if name in LONG_MEMBER:
                assert ("accept" in said) == LONG_MEMBER[name](string)
            else:
                assert said == language.says(string)
            decisions.add(frozenset(said))
    assert len(decisions) > 1


@pytest.mark.parametrize("name", sorted(LONG_MEMBER))
def test_along_a_long_member_what_may_follow_changes_where_the_letters_do(name: str) -> None:
    machine, member = shipped_machine(name), LANGUAGES[name].members[0]
    for place, here in enumerate(machine.walk(member)):
        follows = member[place] if place < len(member) else "accept"
        assert follows in machine.says(here), place


@pytest.mark.parametrize("name", shipped_machines())
def test_a_shipped_machine_prints_as_a_program_no_longer_than_the_shipped_one(name: str) -> None:
    machine, text = shipped_machine(name), shipped_program(name)
    printed = format_machine(machine)
    assert parse(printed) == machine
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert max(map(len, text.split("\n"))) <= 120
    lines, shipped = (len([line for line in each.split("\n") if line and line[0] != "#"]) for each in (printed, text))
    assert lines <= shipped


def test_a_name_that_is_not_shipped_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(InputError, match="no machine called 'dyck' is shipped; there are anb2n, anbmcnm"):
        shipped_machine("dyck")
    with pytest.raises(InputError, match=r"no machine called '\.\./shipped'"):
        shipped_program("../shipped")
