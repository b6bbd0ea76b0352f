"""The first difference between a machine and a network, searched: strings that drive counters up by loops.

A loop is a word that brings the machine back to its state and moves its counters by the same amounts at each
repetition. Loops that move no counter are repeated without end; loops that move one are repeated m times and then
undone by the repetitions of another. m is doubled until the decisions differ, then bisected.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.machine.counter_machine import FAIL, Configuration, CounterMachine
from tallycell.wording import quoted

LONGEST = 200_000  # symbols of a string that is tried
BUDGET = 5_000_000  # symbols of all strings together
TRIED = 2000  # pairs of loops that are ranked
FOLLOWED = 400  # of those, as many as are followed: the farthest from the machine
SHARES = (1.0, 1.1, 1.21, 1.33, 1.46, 1.61, 1.77, 2.0)  # of the last length without a difference, once there is one
REPEATED = 12  # repetitions after which a word counts as a loop
PRECISION = 100  # the number of repetitions is bisected to one part in so many
MOST_WORDS = 500

Codes = tuple[int, ...]


@dataclass(frozen=True)
class LoopString:
    """A string ``begin up^m down^(as often as it takes, and a little more)``; without ``down``, ``begin up^m``.

    Attributes
    ----------
    begin, up, down
        Indices of symbols.
    undone
        Repetitions of ``down`` for one of ``up``.
    """

    begin: Codes
    up: Codes
    down: Codes = ()
    undone: float = 0.0

    def codes(self, times: int) -> Int[np.ndarray, " time"]:
        """Give the string for m = ``times``."""
        return np.array(self.begin + self.up * times + self.down * self._downs(times), np.uint8)

    def _downs(self, times: int) -> int:
        return int(np.ceil(self.undone * times)) + 3 if self.down else 0

    def times_for(self, symbols: int) -> int:
        """Largest m with which the string has about so many symbols."""
        return max(int(symbols / (len(self.up) + self.undone * len(self.down))), 1)

    def text(self, times: int, alphabet: tuple[str, ...]) -> str:
        """Put the string into words."""
        word = ["".join(alphabet[code] for code in part) for part in (self.begin, self.up, self.down)]
        said = [quoted(word[0])] if word[0] else []
        said.append(f"{times:,} times {quoted(word[1])}")
        return " then ".join([*said, f"{self._downs(times):,} times {quoted(word[2])}"] if self.down else said)


@dataclass(frozen=True)
class Searched:
    """What a search for the first difference found.

    Attributes
    ----------
    symbols
        Length of the shortest string found on which the decisions differ after the last symbol; None if none was.
    text
        The string it is the beginning of, in words.
    strings, longest
        Number of strings tried, and the length of the longest.
    """

    symbols: int | None
    text: str
    strings: int
    longest: int


def search_difference(both: SideBySide, *, longest: int = LONGEST, budget: int = BUDGET) -> Searched:
    """Search long strings for one on which a machine and a network differ: doubling, then bisection.

    Parameters
    ----------
    both
        Machine and network.
    longest
        Length of the longest strings, in symbols.
    budget
        Symbols of all strings together, about: where it is short, fewer loops are followed to the end.
    """
    # Of many loops those that the network follows worst come first.
    tried = ranked(both, list(itertools.islice(loop_strings(both.machine), TRIED)))[:FOLLOWED]
    count, reached, spent, before, symbols = 0, 0, 0, 0, min(64, longest)
    while tried:
        tried = tried[: max(int((budget - spent) / 4 / symbols), 1)]
        found = _first(both, [one.codes(one.times_for(symbols)) for one in tried])
        count, reached, spent = count + len(tried), max(reached, symbols), spent + symbols * len(tried)
        if (found > 0).any():
            return Searched(*_shortest(both, tried, before, symbols), count, reached)
        if symbols >= longest or spent >= budget:
            break
        before, symbols = symbols, min(2 * symbols, longest)
    return Searched(None, "", count, reached)


def _shortest(both: SideBySide, tried: list[LoopString], before: int, symbols: int) -> tuple[int, str]:
    """Give the shortest difference between two lengths, without and with one: longer by little, then bisected."""
    for share in SHARES:
        length = min(max(int(before * share), 1), symbols) if before else symbols
        times = [one.times_for(length) for one in tried]
        found = _first(both, [one.codes(m) for one, m in zip(tried, times, strict=True)])
        if (found > 0).any():
            break
    order = np.argsort(np.where(found > 0, found, np.iinfo(np.int64).max), kind="stable")
    best = tried[int(order[0])]
    return _bisected(both, best, (0, times[int(order[0])]), int(found[order[0]]))


def ranked(both: SideBySide, strings: list[LoopString]) -> list[LoopString]:
    """Order strings by how far they take the cells from where they were, the farthest first.

    Measured where the machine stands as it did before; where it does not, such a string comes last.
    """
    farthest = []
    for one in strings:
        drift = 0.0
        places = []
        for times in (8, 32):
            downs = round(one.undone * times)
            codes = np.array(one.begin + one.up * times + one.down * downs, np.uint8)[np.newaxis]
            _, after = both.run(codes)
            places.append((after.network.c, after.machine.state, after.machine.counters))
        (c, state, counters), (c_later, state_later, counters_later) = places
        if (state == state_later).all() and (counters == counters_later).all():
            drift = float(np.abs(c_later - c).max()) / max(len(one.up) + one.undone * len(one.down), 1)
        farthest.append(drift)
    return [strings[k] for k in np.argsort(-np.array(farthest), kind="stable")]


def loop_strings(machine: CounterMachine) -> Iterator[LoopString]:
    """Strings made of loops of a machine, short words first: of one loop that moves nothing, and of pairs that undo."""
    symbols = len(machine.alphabet)
    longest = next((n for n in (4, 3, 2) if sum(symbols**k for k in range(1, n + 1)) <= MOST_WORDS), 1)
    words = [w for n in range(1, longest + 1) for w in itertools.product(range(symbols), repeat=n) if _primitive(w)]
    begins = [(), *(w for w in words if len(w) <= 2)][: MOST_WORDS // 4]
    seen: dict[Configuration, Codes] = {}
    for begin in begins:
        seen.setdefault(_run(machine, machine.start, begin), begin)
    moving: list[tuple[Codes, Codes, tuple[int, ...], Configuration]] = []
    for at, begin in seen.items():
        for word in words:
            moved = _loop(machine, at, word)
            if moved is None:
                continue
            if any(moved):
                far = _run(machine, at, word * (REPEATED * 4))
                moving.append((begin, word, moved, far))
            elif at.state != FAIL:
                yield LoopString(begin, word)
    for begin, up, moved, far in moving:
        for down in words:
            undone = _undoing(moved, _loop(machine, far, down) or ())
            if undone:
                yield LoopString(begin, up, down, undone)


def _run(machine: CounterMachine, at: Configuration, codes: Codes) -> Configuration:
    for code in codes:
        at = machine.advance(at, machine.alphabet[code])
    return at


def _loop(machine: CounterMachine, at: Configuration, word: Codes) -> tuple[int, ...] | None:
    """How a word moves the counters at each repetition; None if it is no loop, or leads to fail."""
    first = _run(machine, at, word)
    second = _run(machine, first, word)
    moved = tuple(b - a for a, b in zip(first.counters, second.counters, strict=True))
    here = second
    for _ in range(REPEATED - 2):
        following = _run(machine, here, word)
        if following.state == FAIL or following.state != second.state:
            return None
        if tuple(b - a for a, b in zip(here.counters, following.counters, strict=True)) != moved:
            return None
        here = following
    return moved


def _undoing(up: tuple[int, ...], down: tuple[int, ...]) -> float:
    """Repetitions of ``down`` that undo one of ``up`` in the counter in which that takes longest; 0 if they do not."""
    ratios = [-a / b for a, b in zip(up, down, strict=False) if a * b < 0]
    return max(ratios, default=0.0)


def _primitive(word: Codes) -> bool:
    """Whether a word is no repetition of a shorter one."""
    n = len(word)
    return not any(n % k == 0 and word == word[:k] * (n // k) for k in range(1, n))


def _first(both: SideBySide, strings: list[np.ndarray]) -> Int[np.ndarray, " string"]:
    """Length of the shortest differing beginning of each; 0 without one."""
    length = max(len(one) for one in strings)
    codes = np.zeros((len(strings), length), np.uint8)
    for k, one in enumerate(strings):
        codes[k, : len(one)] = one
    found = both.first_differences(codes)
    inside: np.ndarray = np.where(found <= [len(one) for one in strings], found, 0)
    return inside


def _bisected(both: SideBySide, string: LoopString, between: tuple[int, int], found: int) -> tuple[int, str]:
    """Fewest repetitions with which a difference is seen, if it is seen with all that are more."""
    low, high = between
    alphabet = both.machine.alphabet
    best = (found, string.text(high, alphabet))
    while string.down and high - low > max(1, high // PRECISION):
        middle = (low + high) // 2
        here = int(_first(both, [string.codes(middle)])[0])
        if here:
            high, best = middle, min(best, (here, string.text(middle, alphabet)))
        else:
            low = middle
    return best
