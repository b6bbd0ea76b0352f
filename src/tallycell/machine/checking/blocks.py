"""Members of a language in n as blocks: a symbol, or a word of several, and how often it comes; and near misses."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Integer

from tallycell.errors import InputError
from tallycell.machine.running.runner import Runner
from tallycell.machine.running.stepping import smallest_type
from tallycell.wording import quoted

Codes = Integer[np.ndarray, " time"]
Block = tuple[str | tuple[str, ...], int]  # a symbol, or a word of several, and how often it comes
Blocks = Callable[[int], Sequence[Block]]
Members = Callable[[int], Sequence[str | Block]]  # from n to the member: its symbols, its blocks, or some of each


def as_blocks(member: Sequence[str | Block]) -> list[Block]:
    """Give a member as blocks: where it is written symbol by symbol, each run of one symbol is a block.

    Examples
    --------
    >>> as_blocks("aab"), as_blocks([(("a", "b"), 2), "c"])
    ([('a', 2), ('b', 1)], [(('a', 'b'), 2), ('c', 1)])
    """
    found: list[Block] = []
    for part, run in groupby(member):
        times = len(list(run))
        found += [(part, times)] if isinstance(part, str) else [part] * times
    return found


def laid_out(alphabet: Sequence[str], blocks: Sequence[Block]) -> Codes:
    """Lay out blocks as the numbers of their symbols.

    Raises
    ------
    InputError
        If a symbol is not in the alphabet.

    Examples
    --------
    >>> laid_out("abc", [(("a", "b"), 2), ("c", 2)])
    array([0, 1, 0, 1, 2, 2], dtype=uint8)
    """
    words = [((word,) if isinstance(word, str) else tuple(word), times) for word, times in blocks]
    for symbol in (symbol for word, _ in words for symbol in word):
        if symbol not in alphabet:
            raise InputError(f"symbol {quoted(symbol)} of a block is not in the alphabet {quoted(tuple(alphabet))}")
    number = {symbol: k for k, symbol in enumerate(alphabet)}
    smallest = smallest_type(len(alphabet))
    parts = [np.tile(np.array([number[symbol] for symbol in word], smallest), times) for word, times in words]
    return np.concatenate(parts) if parts else np.zeros(0, smallest)


def near_misses(runner: Runner, blocks: Sequence[Block]) -> list[Codes]:
    """Lay out a member with one more, and one fewer, in each of its blocks; those that are no member.

    Where the machine accepts nothing, none of them is a member.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> runner = Runner(shipped_machine("anbn"))
    >>> ["".join("ab"[code] for code in codes) for codes in near_misses(runner, [("a", 3), ("b", 3)])]
    ['aaaabbb', 'aabbb', 'aaabbbb', 'aaabb']
    """
    alphabet = runner.machine.alphabet
    found = [
        laid_out(alphabet, [*blocks[:k], (word, changed), *blocks[k + 1 :]])
        for k, (word, times) in enumerate(blocks)
        for changed in (times + 1, times - 1)
        if changed >= 0
    ]
    if not found or "accept" not in runner.machine.outputs:
        return found
    return [codes for codes, member in zip(found, runner.accepts(found), strict=True) if not member]
