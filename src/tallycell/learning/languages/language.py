"""What a language is: its strings, what is right after each symbol, what a network is shown of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from tallycell.errors import InputError
from tallycell.machine.checking.blocks import Block, Blocks, laid_out, near_misses
from tallycell.machine.checking.truth import Truth
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.text import parse
from tallycell.machine.running.runner import Runner
from tallycell.machine.shipped import shipped_machine, shipped_machines

Codes = UInt8[np.ndarray, " time"]
Make = Callable[[np.random.Generator, int], Codes]
Sizes = Callable[[np.random.Generator, int], Int[np.ndarray, " string"]]

Decision = Literal["argmax", "threshold"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Strings to learn from, padded to one length.

    Attributes
    ----------
    codes
        Symbols as their indices in the alphabet; 0 beyond the end.
    lengths
        Symbols of each string.
    targets
        What the outputs are to be: 0 or 1; for the decision ``"argmax"`` exactly one is 1 where ``mask`` is True.
    mask
        Where the loss counts.
    determined
        Where a decision is right or wrong; elsewhere several are right.
    """

    codes: UInt8[np.ndarray, "sequence time"]
    lengths: Int[np.ndarray, " sequence"]
    targets: Float[np.ndarray, "sequence time output"]
    mask: Bool[np.ndarray, "sequence time"]
    determined: Bool[np.ndarray, "sequence time"]

    def of(self, rows: Int[np.ndarray, " row"]) -> "Sample":
        """Take some of the strings, in that order, padded to the longest of them; one may come several times."""
        time = int(self.lengths[rows].max(initial=1))
        return Sample(
            self.codes[rows, :time],
            self.lengths[rows],
            self.targets[rows, :time],
            self.mask[rows, :time],
            self.determined[rows, :time],
        )


@dataclass(frozen=True, eq=False)
class Language:
    """A language, or a function of strings: what a network reads, and what it is to say after each symbol.

    Attributes
    ----------
    name, title
        How it is called, and what it is.
    program
        The counter machine that is the truth: the name of a shipped one, or a program. It says after each symbol which
        symbols may follow and whether the string may end (``legal``), or what the answer is.
    make
        Draws one string of a size; the size is n where ``blocks`` is given, else the length.
    sizes
        Draws the sizes of the strings to learn from.
    legal
        Whether the machine says what may follow. After a symbol that could not follow, nothing is right or wrong.
    sampled
        Whether a network learns from the next symbol that was drawn, and decides by ``"argmax"``; decisions then count
        where only one symbol may follow. Else it learns from all that the machine says.
    only_last
        Whether the loss counts after the last symbol alone.
    fixed
        Number of strings to learn from, drawn once; None if there are always new ones.
    blocks
        The member n of a counting language, as symbols and how many of each, or words, such as ``("a", "b")``, and how
        often each is repeated; several kinds of member if it gives several. None if it is no language in n.
    allowed_program
        Machine without counters that fails on inputs that the network is not meant to read; None for all strings.
    unasked
        Output of the machine that stands for no answer; it is none of the network's.

    Examples
    --------
    >>> from tallycell.learning.languages import language
    >>> anbn = language("anbn")
    >>> anbn.alphabet, anbn.outputs, anbn.decision
    (('a', 'b'), ('a', 'b', 'accept'), 'threshold')
    >>> anbn.text(anbn.member(3)), [anbn.text(near) for near in anbn.near_misses(3)]
    ('aaabbb', ['aaaabbb', 'aabbb', 'aaabbbb', 'aaabb'])
    >>> sample = anbn.draw(np.random.default_rng(0), 5)
    >>> sample.codes.shape == sample.mask.shape, sample.targets.shape[2]
    (True, 3)
    """

    name: str
    title: str
    program: str
    make: Make
    sizes: Sizes
    legal: bool = False
    sampled: bool = False
    only_last: bool = False
    fixed: int | None = None
    blocks: Blocks | None = None
    allowed_program: str | None = None
    unasked: str | None = None

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def machine(self) -> CounterMachine:
        """The counter machine that is the truth."""
        return _runner(self.program).machine

    @property
    def truth(self) -> Truth:
        """What is right after each symbol."""
        return Truth(_runner(self.program), self.legal, self.sampled, self.unasked)

    @property
    def allowed(self) -> CounterMachine | None:
        """Which inputs a network is meant to read, as ``extract_machine`` and ``harden`` take it."""
        return None if self.allowed_program is None else _runner(self.allowed_program).machine

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols."""
        return self.machine.alphabet

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a network can say; with ``legal`` a symbol that may follow, or ``accept`` for the end."""
        return self.truth.outputs

    @property
    def decision(self) -> Decision:
        """``"argmax"``: one output at a time; ``"threshold"``: any number."""
        return "argmax" if self.sampled else self.machine.decision

    # ---- strings ---------------------------------------------------------------------------------------------------

    def text(self, codes: Codes) -> str:
        """Write a string as text."""
        return "".join(self.alphabet[code] for code in codes)

    def encode(self, text: Sequence[str]) -> Codes:
        """Give the indices of a text's symbols.

        Raises
        ------
        InputError
            If a symbol is not in the alphabet.
        """
        return np.array(self.machine.encode(text), np.uint8)

    def member(self, n: int) -> Codes:
        """Give the member n of a counting language.

        Raises
        ------
        InputError
            If it is no language in n.
        """
        return laid_out(self.alphabet, self.blocks_of(n))

    def near_misses(self, n: int) -> list[Codes]:
        """Give the member n with one symbol more, and one fewer, in each of its blocks; those that are no member.

        Raises
        ------
        InputError
            If it is no language in n.
        """
        return near_misses(_runner(self.program), self.blocks_of(n))

    def blocks_of(self, n: int) -> Sequence[Block]:
        """Give the blocks of the member n.

        Raises
        ------
        InputError
            If it is no language in n.
        """
        if self.blocks is None:
            raise InputError(f"{self.name} is no language in n; draw strings by length: of_length(rng, count, length)")
        return self.blocks(n)

    def of_length(self, rng: np.random.Generator, count: int, length: int) -> list[Codes]:
        """Draw strings of a length (of a size n, for a language in n), to test with."""
        return [self.make(rng, length) for _ in range(count)]

    # ---- samples ---------------------------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator, count: int, *, longest: int | None = None) -> Sample:
        """Draw strings to learn from, with their targets.

        Parameters
        ----------
        rng
            Source of randomness.
        count
            How many strings.
        longest
            Only strings of at most so many symbols: others are drawn again; where each beginning of a string is one to
            learn from, they are cut instead. None for all that the language draws.

        Raises
        ------
        InputError
            If there are no strings that short.
        """
        return self.sample(self._strings(rng, count, longest))

    def sample(self, strings: Sequence[Codes]) -> Sample:
        """Give strings with their targets."""
        lengths = np.array([len(codes) for codes in strings])
        codes = np.zeros((len(strings), int(lengths.max(initial=1))), np.uint8)
        steps = np.arange(codes.shape[1])
        within = steps < lengths[:, np.newaxis]
        codes[within] = np.concatenate(strings) if strings else ()
        expected = self.truth.expected(codes, lengths)
        if self.sampled:
            targets, mask = self._next_symbols(codes, lengths), within
        else:
            targets, mask = (expected.chosen & expected.determined[..., np.newaxis]), expected.determined
        if self.only_last:
            mask = mask & (steps == lengths[:, np.newaxis] - 1)
        return Sample(codes, lengths, targets.astype(np.float32), mask, expected.determined)

    def source(self, rng: np.random.Generator) -> "Source":
        """Start drawing samples as the language's protocol has them: a fixed set once, or always new strings."""
        return Source(self, rng, None if self.fixed is None else self.draw(rng, self.fixed))

    # ---- parts -----------------------------------------------------------------------------------------------------

    def _next_symbols(self, codes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Give the symbol that comes next, ``accept`` at the end, one-hot."""
        place = np.array([self.outputs.index(symbol) for symbol in self.alphabet])
        following = place[np.concatenate([codes[:, 1:], np.zeros_like(codes[:, :1])], axis=1)]
        following[np.arange(len(codes)), lengths - 1] = self.outputs.index("accept")
        one_hot: np.ndarray = following[..., np.newaxis] == np.arange(len(self.outputs))
        return one_hot

    def _strings(self, rng: np.random.Generator, count: int, longest: int | None) -> list[Codes]:
        found: list[Codes] = []
        for _ in range(MOST_DRAWN):
            sizes = self.sizes(rng, count)
            if longest is not None and not self.cut and self.blocks is None:
                sizes = sizes[sizes <= longest]  # what would be too long is not made
            drawn = [self.make(rng, int(size)) for size in sizes]
            if longest is not None and self.cut:
                drawn = [codes[:longest] for codes in drawn]
            found += [codes for codes in drawn if longest is None or len(codes) <= longest]
            if len(found) >= count:
                return found[:count]
        raise InputError(
            f"{self.name} has too few strings of at most {longest} symbols to draw {count}; allow longer ones"
        )

    @property
    def cut(self) -> bool:
        """Whether each beginning of a string is a string to learn from."""
        return not self.legal and not self.only_last


MOST_DRAWN = 1000  # times that strings are drawn anew because they were too long


@dataclass(frozen=True, eq=False)
class Source:
    """Samples to learn from, as the language's protocol has them.

    Attributes
    ----------
    language, rng
        What of, and the source of randomness.
    fixed
        All that is ever drawn from; None if strings are always new.

    Examples
    --------
    >>> from tallycell.learning.languages import language
    >>> source = language("anbn-sampled").source(np.random.default_rng(0))
    >>> len(source.fixed.codes), len(source.draw(24).codes), source.draw(24, longest=4).codes.shape[1] <= 4
    (1000, 24, True)
    """

    language: Language
    rng: np.random.Generator
    fixed: Sample | None

    def draw(self, count: int, *, longest: int | None = None) -> Sample:
        """Draw strings; see :meth:`Language.draw`.

        Raises
        ------
        InputError
            If there are none that short.
        """
        if self.fixed is None:
            return self.language.draw(self.rng, count, longest=longest)
        rows = np.arange(len(self.fixed.lengths))
        if longest is not None:
            rows = np.flatnonzero(self.fixed.lengths <= longest)
        if not len(rows):
            raise InputError(f"the fixed strings of {self.language.name} have none of at most {longest} symbols")
        return self.fixed.of(self.rng.choice(rows, count))


@cache
def _runner(program: str) -> Runner:
    machine = shipped_machine(program) if program in shipped_machines() else parse(program)
    return Runner(machine)
