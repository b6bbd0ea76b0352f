"""Strings to compare on: drawn from a stated distribution, with a symbol changed; and how sure they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.running.runner import Runner

Lengths = Literal["geometric", "uniform"]
Symbols = Literal["legal", "uniform"]
CONFIDENCE = 0.95

Strings = list[Int[np.ndarray, " time"]]


@dataclass(frozen=True)
class Distribution:
    """A distribution of strings, each drawn independently of the others.

    Attributes
    ----------
    lengths
        ``"geometric"`` from 1 on, or ``"uniform"`` from 1 to twice the mean.
    mean
        Mean length.
    symbols
        ``"legal"``: each symbol uniform among those on which the machine does not fail there (among all where there is
        none); ``"uniform"``: uniform among all.

    Raises
    ------
    InputError
        If one of them is another.

    Examples
    --------
    >>> print(Distribution("uniform", 20, "legal"))
    lengths uniform from 1 to 39, symbols uniform among those on which the machine does not fail
    """

    lengths: Lengths = "geometric"
    mean: float = 50.0
    symbols: Symbols = "legal"

    def __post_init__(self) -> None:
        for name, allowed in (("lengths", get_args(Lengths)), ("symbols", get_args(Symbols))):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} of the distribution is {getattr(self, name)!r}; it is {' or '.join(map(repr, allowed))}"
                )
        if not self.mean >= 1:
            raise InputError(f"the mean length of the distribution is {self.mean}; a string has at least one symbol")

    def draw(self, machine: CounterMachine, count: int, rng: np.random.Generator) -> Strings:
        """Draw strings of a machine's symbols, as their indices."""
        if self.lengths == "geometric":
            lengths = rng.geometric(1 / self.mean, size=count)
        else:
            lengths = rng.integers(1, int(2 * self.mean), size=count)
        drawn = np.zeros((count, int(lengths.max(initial=1))), np.int32)
        runner = Runner(machine)
        run = runner.run(drawn[:, :0])
        for t in range(drawn.shape[1]):
            drawn[:, t] = self._draw_symbols(machine, run.state, run.counters, rng)
            run = runner.run(drawn[:, t : t + 1], after=run)
        return [string[:length] for string, length in zip(drawn, lengths.tolist(), strict=True)]

    def _draw_symbols(
        self, machine: CounterMachine, state: np.ndarray, counters: np.ndarray, rng: np.random.Generator
    ) -> Int[np.ndarray, " string"]:
        symbols = len(machine.alphabet)
        if self.symbols == "uniform":
            return rng.integers(0, symbols, size=len(state))
        legal = machine.next_state[state, :, _views_of(machine, counters)] != FAIL
        legal[(state == FAIL) | ~legal.any(1)] = True
        drawn: np.ndarray = np.where(legal, rng.random(legal.shape), -1.0).argmax(1)
        return drawn

    def __str__(self) -> str:
        lengths = f"geometric with mean {self.mean:g}"
        if self.lengths == "uniform":
            lengths = f"uniform from 1 to {int(2 * self.mean) - 1}"
        among = "those on which the machine does not fail" if self.symbols == "legal" else "all"
        return f"lengths {lengths}, symbols uniform among {among}"


def changed_strings(strings: Sequence[np.ndarray], symbols: int, rng: np.random.Generator) -> Strings:
    """Give strings with one symbol replaced, one inserted and one deleted, each at a place drawn at random.

    Examples
    --------
    >>> [len(one) for one in changed_strings([np.zeros(5, int)], 2, np.random.default_rng(0))]
    [5, 6, 4]
    """
    changed = []
    for string in strings:
        other = string.copy()
        if symbols > 1 and len(string):
            at = rng.integers(len(string))
            other[at] = (other[at] + rng.integers(1, symbols)) % symbols
            changed.append(other)
        changed.append(np.insert(string, rng.integers(len(string) + 1), rng.integers(symbols)))
        if len(string) > 1:
            changed.append(np.delete(string, rng.integers(len(string))))
    return changed


def worthy(machine: CounterMachine, strings: Sequence[np.ndarray]) -> list[int]:
    """Numbers of the strings that a machine accepts; where it accepts none, of those on which it does not fail."""
    run = Runner(machine).run(list(strings))
    if "accept" in machine.outputs:
        accepted = Runner(machine).accepts(list(strings))
        if accepted.any():
            return np.flatnonzero(accepted).tolist()
    return np.flatnonzero(run.state != FAIL).tolist()


def share_at_least(alike: int, drawn: int) -> float:
    """Lower bound of a share, from so many independent draws, at 95 % confidence (Clopper and Pearson 1934, one-sided).

    Examples
    --------
    >>> round(share_at_least(1000, 1000), 4), round(share_at_least(950, 1000), 4), share_at_least(0, 10)
    (0.997, 0.9371, 0.0)
    """
    from scipy.special import betaincinv

    return float(betaincinv(alike, drawn - alike + 1, 1 - CONFIDENCE)) if alike else 0.0


def _views_of(machine: CounterMachine, counters: np.ndarray) -> Int[np.ndarray, " string"]:
    views = np.zeros(len(counters), np.int64)
    for k, (constants, radix) in enumerate(zip(machine.constants, machine.radices, strict=True)):
        below = np.searchsorted(constants, counters[:, k], "left")
        views = views * radix + below + np.searchsorted(constants, counters[:, k], "right")
    return views
