"""The smallest n at which a network fails on a language in n, or differs from its machine: searched.

Every n is tried to 64; from there n grows by a factor 4, and what is found is bisected as if all larger n were so too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tallycell.machine.checking.blocks import Block, Blocks, Codes, laid_out, near_misses
from tallycell.machine.checking.deciding import Decider, decide_strings
from tallycell.machine.checking.sampling import changed_strings
from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.machine.checking.truth import Truth

EACH = 64  # every n to here
GROWTH = 4  # from there on n grows by this factor
TOGETHER = 8  # so many n at once
CHANGED = 40  # copies of a member of which each is changed, for each n
SYMBOLS_CHANGED = 4000  # of those copies together; or one copy

Kind = Literal["member", "near miss", "changed"]
Kinds = Callable[[Sequence[int]], list[Kind | None]]  # from some n to the kind of string found at each


@dataclass(frozen=True)
class FirstFailure:
    """The smallest n found at which the member is decided wrongly at any symbol, or a near miss is accepted.

    A near miss has one more, or one fewer, in a block of the member.

    Attributes
    ----------
    n
        None if no failure was found.
    kind
        ``"member"`` or ``"near miss"``; None if no failure was found.
    searched
        The largest n that was tried.
    """

    n: int | None
    kind: Kind | None
    searched: int

    def __str__(self) -> str:
        tried = _tried(self.searched)
        if self.n is None:
            return (
                f"no first failure is found to n = {self.searched:,}: no member is decided wrongly, and no near miss, "
                f"which has one more or fewer in a block, is accepted ({tried})"
            )
        fails = "the member is decided wrongly" if self.kind == "member" else "a near miss is accepted"
        return f"the first failure is found at n = {self.n:,}: {fails} ({tried})"


@dataclass(frozen=True)
class DifferenceInN:
    """The smallest n found at which a network decides otherwise than its machine, after any symbol of any string tried.

    Stricter than the first failure: strings that are no members count at each of their symbols, also where both refuse
    them in the end. Tried are the member, its near misses, and the member with one symbol changed, anywhere.

    Attributes
    ----------
    n
        None if no difference was found.
    kind
        ``"member"``, ``"near miss"`` or ``"changed"``; None if no difference was found.
    searched
        The largest n that was tried.
    """

    n: int | None
    kind: Kind | None
    searched: int

    def __str__(self) -> str:
        tried = _tried(self.searched)
        if self.n is None:
            return (
                f"no difference in n is found to n = {self.searched:,}: they decide alike after each symbol of "
                f"members, near misses, and members with one symbol changed ({tried})"
            )
        strings: dict[Kind | None, str] = {
            "member": "the member",
            "near miss": "a near miss, which both may refuse in the end",
            "changed": "the member with one symbol changed, which both may refuse in the end",
        }
        return f"a difference in n is found at n = {self.n:,}: after a symbol of {strings[self.kind]} ({tried})"


def search_first_failure(decider: Decider, truth: Truth, blocks: Blocks, farthest: int) -> FirstFailure:
    """Search the first failure on a language in n.

    Parameters
    ----------
    decider
        What decides, in the symbols and outputs of the truth.
    truth
        What is right after each symbol.
    blocks
        From n to the member, in blocks.
    farthest
        The largest n.

    Examples
    --------
    >>> from tallycell.machine.checking.deciding import MachinesNetwork
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> from tallycell.machine.running.runner import Runner
    >>> from tallycell.machine.shipped import shipped_machine
    >>> machine = shipped_machine("anbn")
    >>> network, truth = MachinesNetwork(machine, compile_machine(machine)), Truth.of(Runner(machine))
    >>> search_first_failure(network, truth, lambda n: [("a", n), ("b", n)], 1000)
    FirstFailure(n=None, kind=None, searched=1000)
    """

    def kinds(numbers: Sequence[int]) -> list[Kind | None]:
        strings = [_member_and_near_misses(truth, blocks(n)) for n in numbers]
        every = [one for of_n in strings for one in of_n]
        decided = decide_strings(decider, truth, [codes for _, codes in every])
        member = [kind == "member" for kind, _ in every]
        return _first_kinds(strings, np.where(member, decided.wrong > 0, decided.accepted))

    return FirstFailure(*_search(kinds, farthest))


def search_difference_in_n(both: SideBySide, blocks: Blocks, farthest: int, rng: np.random.Generator) -> DifferenceInN:
    """Search the smallest n, to ``farthest``, at which a network and a machine decide otherwise."""
    truth = Truth.of(both.runner)

    def kinds(numbers: Sequence[int]) -> list[Kind | None]:
        strings = []
        for n in numbers:
            found = _member_and_near_misses(truth, blocks(n))
            member = found[0][1]
            copies = [member] * max(1, min(CHANGED, SYMBOLS_CHANGED // max(len(member), 1)))
            strings.append(found + [("changed", codes) for codes in changed_strings(copies, len(truth.alphabet), rng)])
        differing, _ = both.differing_steps([codes for of_n in strings for _, codes in of_n])
        return _first_kinds(strings, differing > 0)

    return DifferenceInN(*_search(kinds, farthest))


def farthest_of(blocks: Blocks, longest: int) -> int:
    """Give the largest n whose member has at most so many symbols, if larger n have longer ones; at most ``longest``.

    Examples
    --------
    >>> farthest_of(lambda n: [("a", n), ("b", 2 * n)], 1000)
    333
    """

    def short(n: int) -> bool:
        return sum(times * (1 if isinstance(word, str) else len(word)) for word, times in blocks(n)) <= longest

    right, beyond = 0, 1
    while beyond <= longest and short(beyond):
        right, beyond = beyond, beyond + 1 if beyond < EACH else 2 * beyond
    beyond = min(beyond, longest + 1)
    while beyond - right > 1:
        middle = (right + beyond) // 2
        right, beyond = (middle, beyond) if short(middle) else (right, middle)
    return right


def _search(kinds: Kinds, farthest: int) -> tuple[int | None, Kind | None, int]:
    """Give the smallest n found, the kind of string it was found on, and the largest n that was tried."""
    for begin in range(1, min(EACH, farthest) + 1, TOGETHER):
        tried = range(begin, min(begin + TOGETHER, EACH + 1, farthest + 1))
        for n, kind in zip(tried, kinds(tried), strict=True):
            if kind is not None:
                return n, kind, tried[-1]
    right = searched = min(EACH, farthest)
    found: int | None = None
    of_found: Kind | None = None
    while right < farthest and found is None:
        searched = min(GROWTH * right, farthest)
        (kind,) = kinds((searched,))
        if kind is None:
            right = searched
        else:
            found, of_found = searched, kind
    while found is not None and found - right > 1:
        middle = (found + right) // 2
        (kind,) = kinds((middle,))
        if kind is None:
            right = middle
        else:
            found, of_found = middle, kind
    return found, of_found, searched


def _member_and_near_misses(truth: Truth, blocks: Sequence[Block]) -> list[tuple[Kind, Codes]]:
    near: list[tuple[Kind, Codes]] = [("near miss", codes) for codes in near_misses(truth.runner, blocks)]
    return [("member", laid_out(truth.alphabet, blocks)), *near]


def _first_kinds(strings: Sequence[Sequence[tuple[Kind, Codes]]], found: Iterable[bool]) -> list[Kind | None]:
    """For the strings of each n, the kind of the first of which something was found; None if of none."""
    each = iter(found)
    kinds = [[kind for kind, _ in of_n if next(each)] for of_n in strings]
    return [of_n[0] if of_n else None for of_n in kinds]


def _tried(searched: int) -> str:
    then = f", then steps of a factor {GROWTH}, bisected" if searched > EACH else ""
    return f"tried was every n to {min(EACH, searched)}{then}"
