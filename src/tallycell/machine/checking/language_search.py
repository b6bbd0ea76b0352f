"""The first failure of a network on a language, in n, searched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tallycell.machine.checking.sampling import near_misses
from tallycell.machine.checking.side_by_side import SideBySide

Language = Callable[[int], Sequence[str]]  # from n to a member

EACH = 64  # every n to here, doubling from there on
NEAR = 40  # members that near misses are made of, for each n


@dataclass(frozen=True)
class FirstFailure:
    """The smallest n found at which a member is decided wrongly at any symbol, or one of its near misses is.

    Attributes
    ----------
    n
        None if no failure was found.
    member
        Whether it is the member that fails; else a near miss.
    largest
        The largest n that was tried.
    """

    n: int | None
    member: bool
    largest: int

    def __str__(self) -> str:
        how = f"tried was every n to {min(EACH, self.largest)}, then by doubling and bisection, with near misses"
        if self.n is None:
            return f"no failure is found to n = {self.largest:,} ({how})"
        which = "the string itself" if self.member else "a near miss"
        return f"the first failure is found at n = {self.n:,}, on {which} ({how})"


def search_failure(both: SideBySide, language: Language, *, longest: int, rng: np.random.Generator) -> FirstFailure:
    """Search the first failure among members of up to ``longest`` symbols.

    The machine is taken to be right. Beyond ``EACH``, the failure is bisected as if all larger n failed too.
    """
    n = right = 0
    while True:
        following = n + 1 if n < EACH else 2 * n
        member = np.array(both.machine.encode(language(following)), np.int32)
        if len(member) > longest:
            return FirstFailure(None, False, n)
        n = following
        wrong = _fails(both, member, rng)
        if wrong is not None:
            break
        right = n
    found = n
    while found - right > 1:
        middle = (found + right) // 2
        here = _fails(both, np.array(both.machine.encode(language(middle)), np.int32), rng)
        if here is None:
            right = middle
        else:
            found, wrong = middle, here
    return FirstFailure(found, bool(wrong), n)


def _fails(both: SideBySide, member: np.ndarray, rng: np.random.Generator) -> bool | None:
    """Whether it is the member that is decided wrongly (True) or a near miss (False); None if neither."""
    symbols = len(both.machine.alphabet)
    # One more and one fewer of each symbol, where it last stands, and places drawn at random.
    near = []
    for symbol in np.unique(member):
        at = int(np.flatnonzero(member == symbol)[-1])
        near += [np.delete(member, at), np.insert(member, at, symbol)]
    near += near_misses([member] * max(1, min(NEAR, 4000 // len(member))), symbols, rng)
    differing, _ = both.differing_steps([member, *(one for one in near if len(one))])
    if differing[0]:
        return True
    return False if differing[1:].any() else None
