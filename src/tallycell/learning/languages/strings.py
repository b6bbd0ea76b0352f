"""How strings are drawn: sizes by a distribution, then one string of each size."""

from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Int

from tallycell.learning.languages.language import Codes, Make, Sizes
from tallycell.machine.checking.blocks import Blocks, laid_out
from tallycell.machine.counter_machine import FAIL
from tallycell.machine.shipped import shipped_machine

# ---- sizes -----------------------------------------------------------------------------------------------------------


def geometric(p: float) -> Sizes:
    """Draw 1, 2, ... with probability p, p (1 - p), ...

    Examples
    --------
    >>> bool(abs(geometric(0.3)(np.random.default_rng(0), 10_000).mean() - 1 / 0.3) < 0.1)
    True
    """
    return lambda rng, count: rng.geometric(p, count)


def uniform(low: int, high: int, step: int = 1) -> Sizes:
    """Draw low, low + step, ..., high, each as often."""
    return lambda rng, count: low + step * rng.integers((high - low) // step + 1, size=count)


def beta_binomial(low: int, high: int, a: float, b: float) -> Sizes:
    """Draw low, ..., high: low and a binomial number whose p is of the beta distribution (a, b)."""
    return lambda rng, count: low + rng.binomial(high - low, rng.beta(a, b, count))


def always(size: int) -> Sizes:
    """Draw one size."""
    return lambda rng, count: np.full(count, size)


# ---- strings of a size -----------------------------------------------------------------------------------------------


def in_blocks(alphabet: str, blocks: Blocks) -> Make:
    """Make the member n of a language: no chance in it."""

    def make(rng: np.random.Generator, n: int) -> Codes:
        return laid_out(alphabet, blocks(n))

    return make


def any_string(symbols: int) -> Make:
    """Draw each symbol by itself, all as likely."""
    return lambda rng, length: rng.integers(symbols, size=length, dtype=np.uint8)


def balanced(rng: np.random.Generator, length: int) -> Int[np.ndarray, " time"]:
    """Draw one of the balanced strings of a length, all as likely: +1 for an opening bracket, -1 for a closing one.

    Of the rotations of a string of k + 1 times +1 and k times -1 exactly one has only positive sums (Dvoretzky and
    Motzkin's cycle lemma); without its first +1 that is a balanced string.

    Examples
    --------
    >>> steps = balanced(np.random.default_rng(0), 100)
    >>> int(steps.sum()), int(steps.cumsum().min())
    (0, 0)
    """
    pairs = length // 2
    steps = np.where(rng.permutation(2 * pairs + 1) <= pairs, 1, -1)
    height = steps.cumsum()
    begin = len(height) - int(height[::-1].argmin())  # after the last of the lowest sums
    return np.concatenate([steps[begin:], steps[:begin]])[1:]


def brackets(kinds: int) -> Make:
    """Draw balanced strings of several kinds of brackets, each balanced by itself, shuffled together.

    The alphabet is opening and closing of the first kind, then of the second, and so on.
    """

    def make(rng: np.random.Generator, length: int) -> Codes:
        of_kind = rng.integers(kinds, size=length // 2)
        kind = rng.permutation(np.repeat(of_kind, 2))
        codes = np.zeros(len(kind), np.uint8)
        for k in range(kinds):
            places = np.flatnonzero(kind == k)
            codes[places] = 2 * k + (balanced(rng, len(places)) < 0)
        return codes

    return make


def then_anything(begin: Callable[[int], Codes], symbols: int) -> Make:
    """Draw, half of the time, ``begin`` of a size that leaves room and then anything; else anything at all."""

    def make(rng: np.random.Generator, length: int) -> Codes:
        n = int(rng.integers(length // 2 + 1)) if rng.random() < 0.5 else 0
        first = begin(n)
        return np.concatenate([first, rng.integers(symbols, size=length - len(first), dtype=np.uint8)])

    return make


def sums(rng: np.random.Generator, length: int) -> Codes:
    """Draw digits (codes 0 to 4) with operators (5 to 7) between them, of the length or one less if that is even."""
    codes = np.zeros(length - (length + 1) % 2, np.uint8)
    codes[::2] = rng.integers(5, size=len(codes[::2]))
    codes[1::2] = 5 + rng.integers(3, size=len(codes[1::2]))
    return codes


def mostly_alive(name: str, wrong: float) -> Make:
    """Draw strings on which a shipped machine without counters rarely fails.

    Half of the strings are anything at all; in the others each symbol is one with which the machine does not fail, but
    for a share ``wrong``.
    """

    def make(rng: np.random.Generator, length: int) -> Codes:
        drawn = rng.integers(len(_alive(name)[0][0]), size=length, dtype=np.uint8)
        if rng.random() < 0.5:
            return drawn
        next_state, alive = _alive(name)
        state, free = 0, rng.random(length) < wrong
        for step, code in enumerate(drawn):
            if not free[step]:
                drawn[step] = code = alive[state][code % len(alive[state])]
            state = next_state[state][code]
            if state == FAIL:
                break
        return drawn

    return make


@cache
def _alive(name: str) -> tuple[list[list[int]], list[list[int]]]:
    """Next states of a machine without counters, and for each state the symbols with which it does not fail."""
    table = shipped_machine(name).next_state[:, :, 0]
    return table.tolist(), [np.flatnonzero(row != FAIL).tolist() for row in table]
