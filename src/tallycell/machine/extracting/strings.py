"""Strings on which a network and a machine are compared: all short ones, and long ones with their near misses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.extracting.allowed import AllowedInputs, Automaton

MOST_SHORT = 2_000  # strings of the greatest length to which all are tried
SAMPLED = 200  # strings; with the near misses of each, three times as many
LONGEST = 60
MANY_CELLS = 64  # of a network: with more, fewer strings are tried, so that what is recorded of them stays small
FEWEST = 0.2  # share of the strings that a network of very many cells is tried on
SEED = 0


@dataclass(frozen=True, eq=False)
class Strings:
    """Strings of symbol numbers, side by side.

    Attributes
    ----------
    codes
        (time, sequence), 0 beyond a string's end.
    lengths
        (sequence,).
    text
        Which strings these are.
    brief
        The same in a few words; by itself ``text``.
    """

    codes: Int[np.ndarray, "time sequence"]
    lengths: Int[np.ndarray, " sequence"]
    text: str
    brief: str = ""

    def __post_init__(self) -> None:
        if not self.brief:
            object.__setattr__(self, "brief", self.text)

    @classmethod
    def of(cls, strings: Iterable[Sequence[int] | np.ndarray], text: str, brief: str = "") -> "Strings":
        """Lay strings side by side."""
        given = list(strings)
        lengths = np.array([len(one) for one in given], np.int64)
        codes = np.zeros((int(lengths.max(initial=0)), len(given)), np.int64)
        for column, one in enumerate(given):
            codes[: len(one), column] = one
        return cls(codes, lengths, text, brief)

    def __add__(self, other: "Strings") -> "Strings":
        """All strings of both."""
        longest = max(len(self.codes), len(other.codes))
        padded = [np.pad(one.codes, ((0, longest - len(one.codes)), (0, 0))) for one in (self, other)]
        lengths = np.concatenate([self.lengths, other.lengths])
        texts = f"{self.text}; {other.text}", f"{self.brief}; {other.brief}"
        return Strings(np.concatenate(padded, axis=1), lengths, *texts)

    @property
    def taken(self) -> Bool[np.ndarray, "time sequence"]:
        """Which steps are within their string."""
        return np.arange(len(self.codes))[:, None] < self.lengths


def share_for(cells: int) -> float:
    """Share of the strings that a network of so many cells is tried on."""
    return max(FEWEST, min(1.0, MANY_CELLS / max(cells, 1)))


def usual_strings(symbols: int, allowed: AllowedInputs, *, share: float = 1.0) -> Strings:
    """Strings to start with: the sample if it is one, else all short strings and random runs of symbols."""
    if allowed.sample is not None:
        return Strings.of(allowed.sample, f"the sample of {len(allowed.sample):,} strings")
    most, sampled = int(share * MOST_SHORT), int(share * SAMPLED)
    return short_strings(allowed.automaton, most) + runs_of_symbols(symbols, allowed.automaton, sampled)


def short_strings(automaton: Automaton, most: int = MOST_SHORT) -> Strings:
    """All allowed strings of one length, whose beginnings are all shorter ones; and those that end before.

    The length is the greatest to which there are at most ``most``.

    Examples
    --------
    >>> from tallycell.machine.extracting.allowed import Automaton
    >>> short_strings(Automaton(np.array([[0, 1], [FAIL, 1]]))).text
    'all strings to length 60 (61 of the longest)'
    """
    state, codes = np.zeros(1, np.int64), np.zeros((0, 1), np.int64)
    ended: list[np.ndarray] = []
    while len(codes) < LONGEST:
        leads = automaton.next_state[state] != FAIL
        if leads.sum() > most or not leads.any():
            break
        ended.extend(codes[:, ~leads.any(axis=1)].T)
        which, symbol = np.nonzero(leads)
        state, codes = automaton.next_state[state[which], symbol], np.vstack([codes[:, which], symbol])
    strings = [*ended, *codes.T]
    brief = f"all strings to length {len(codes)}"
    return Strings.of(strings, f"{brief} ({len(strings):,} of the longest)", brief)


def runs_of_symbols(symbols: int, automaton: Automaton, sampled: int = SAMPLED) -> Strings:
    """Strings of a few runs, in half of them of equal length, with one symbol more and one fewer in another half."""
    rng = np.random.default_rng(SEED)
    strings = []
    for _ in range(sampled):
        runs = int(rng.integers(1, 2 * symbols + 2))
        sizes = np.full(runs, rng.integers(1, 1 + LONGEST // runs))
        if rng.random() < 0.5:
            sizes = rng.integers(1, 1 + LONGEST // runs, runs)
        order = rng.permutation(symbols) if rng.random() < 0.5 else rng.integers(0, symbols, runs)
        string = np.repeat(np.resize(order, runs), sizes)
        strings += [string, *_one_more_and_fewer(string, symbols, rng)]
    strings = [_allowed_part(string, automaton) for string in strings]
    return Strings.of(
        [one for one in strings if len(one)],
        f"{len(strings):,} drawn strings of runs of symbols, to length {LONGEST + 1}, with near misses (a symbol "
        "more or fewer)",
        f"{len(strings):,} drawn runs of symbols",
    )


def _one_more_and_fewer(string: np.ndarray, symbols: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Give a string with one symbol more, and with one fewer, somewhere."""
    at = int(rng.integers(0, len(string)))
    return [np.insert(string, at, rng.integers(symbols)), np.delete(string, at)]


def _allowed_part(string: np.ndarray, automaton: Automaton) -> np.ndarray:
    state = 0
    for length, symbol in enumerate(string):
        state = int(automaton.next_state[state, symbol])
        if state == FAIL:
            return string[:length]
    return string


def strings_of_machine(
    machine: CounterMachine, automaton: Automaton, sampled: int = SAMPLED // 2, *, longest: int = LONGEST
) -> Strings:
    """Strings that keep a machine from failing as long as may be, and their near misses.

    A symbol is repeated with a probability drawn for each string, so that counters go far from 0 and come back.
    """
    rng = np.random.default_rng(SEED)
    strings = []
    symbols = len(machine.alphabet)
    for _ in range(sampled):
        again, last, string = rng.uniform(0.2, 0.98), None, list[int]()
        configuration, state = machine.start, 0
        while len(string) < longest:
            order = rng.permutation(symbols).tolist()
            if last is not None and rng.random() < again:
                order.insert(0, last)
            for symbol in order:
                after = machine.advance(configuration, machine.alphabet[symbol])
                if after.state != FAIL and automaton.next_state[state, symbol] != FAIL:
                    break
            else:
                break
            configuration, state, last = after, int(automaton.next_state[state, symbol]), symbol
            string.append(symbol)
        if string:
            array = np.array(string)
            strings += [array, *_one_more_and_fewer(array, symbols, rng), np.append(array, rng.integers(symbols))]
    kept = [one for one in (_allowed_part(string, automaton) for string in strings) if len(one)]
    text = f"{len(kept):,} drawn strings that the machine reads, to length {longest + 1}, with near misses"
    return Strings.of(kept, text, f"{len(kept):,} drawn ones that the machine reads")
