"""Two conditions that bring an event together where neither does alone: precipitation and frost, '(' after a quote.

They are found greedily on the first half of the steps: the condition that brings the event most above chance, then the
one that does so among the steps with the first. They are quoted on the second half, and only if the pair brings the
event there more often than either alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from tallycell.reading.clock import say_number
from tallycell.reading.triggers import ABOVE_CHANCE, COMMON, Amounts, Stimuli, Trigger

TENTHS = 10  # an amount is cut at its tenths
FEWEST = 10  # steps at which a pair is there, in either half
BEATS = 0.1  # of the steps with a pair, by which its share exceeds that of each condition alone
MOST_SYMBOLS = 3  # symbols that a second condition is looked for with
MOST_AMOUNTS = 32  # features or quantities: among more no pairs are looked for

Mask = Bool[np.ndarray, " step"]
Bits = UInt64[np.ndarray, " word"]


@dataclass(frozen=True, eq=False)
class _Condition:
    """Something that is so at some steps, and how it is said first and second in a pair."""

    at: Mask
    first: str
    second: str


@dataclass(frozen=True, eq=False)
class PairSearch:
    """What is looked for pairs in: the same for all cells of a direction.

    Attributes
    ----------
    stimuli
        At each step.
    found_on
        How many steps lie in the first half.
    thresholds
        Amounts above and below their tenths, as conditions.
    """

    stimuli: Stimuli
    found_on: int
    thresholds: tuple[_Condition, ...]

    @classmethod
    def over(cls, stimuli: Stimuli, middle: int) -> "PairSearch":
        """Prepare a search over some steps, of which those before the middle are the first half."""
        return cls(stimuli, middle, tuple(_thresholds(stimuli.amounts)))

    def find(self, event: Mask, amount: Float[np.ndarray, " step"]) -> Trigger | None:
        """Find two conditions that bring an event together, or None.

        Parameters
        ----------
        event
            Whether it happens, by step.
        amount
            What it moves.

        Examples
        --------
        >>> from tallycell.reading.triggers import Extremes
        >>> draw = np.random.default_rng(0)
        >>> rain, warmth = draw.exponential(size=2000), draw.normal(size=2000)
        >>> amounts = Amounts(("rain", "warmth"), ("mm", "°C"), np.stack([rain, warmth]))
        >>> snows = (rain > 1.2) & (warmth < 0)
        >>> PairSearch.over(Extremes.of(amounts).stimuli(amounts), 1000).find(snows, snows * rain).stimulus
        'rain above 1.2 mm while warmth is below -0.031 °C'
        """
        chance = float(event.mean()) if event.size else 0.0
        if not 0 < chance < COMMON:
            return None
        best, score = None, ABOVE_CHANCE
        found = event[: self.found_on]
        happens = _packed(found[np.newaxis])[0]
        for first in self._first_conditions(found, happens):
            at = _packed(first.at[np.newaxis, : self.found_on])[0]
            share = float(_count(at & happens)) / float(_count(at))
            seconds, bits = self._second_conditions(first)
            above = _surprises(happens, bits & at, share)
            k = int(np.argmax(above)) if len(above) else 0
            if len(above) and above[k] > score:
                best, score = (first, seconds[k]), float(above[k])
        return None if best is None else _quote(*best, event, amount, slice(self.found_on, None))

    def _first_conditions(self, event: Mask, happens: Bits) -> Iterator[_Condition]:
        """Conditions that bring the event most: the likeliest symbols, or the amount above (below) a tenth of it."""
        chance = float(event.mean()) if event.size else 0.0
        codes = self.stimuli.codes
        if codes is not None:
            size = len(self.stimuli.labels)
            seen = self._seen[:size]
            share = np.bincount(codes[: self.found_on][event], minlength=size)[:size] / np.maximum(seen, 1)
            above = np.where(seen >= FEWEST, (share - chance) * np.sqrt(seen), -math.inf)
            for code in np.argsort(-above)[:MOST_SYMBOLS].tolist():
                if above[code] > 0 and 0 < share[code] < 1:
                    yield _Condition(codes == code, self.stimuli.labels[code], "")
        elif self.thresholds:
            above = _surprises(happens, self._bits, chance)
            k = int(np.argmax(above))
            if above[k] > ABOVE_CHANCE:
                yield self.thresholds[k]

    def _second_conditions(self, first: _Condition) -> tuple[list[_Condition], UInt64[np.ndarray, "condition word"]]:
        """List what may be so besides a first condition: the symbol before, amounts above or below a tenth of them."""
        previous = self.stimuli.previous
        if previous is None:
            return list(self.thresholds), self._bits
        before = previous[: self.found_on][first.at[: self.found_on]]
        seen = np.bincount(before[before >= 0], minlength=len(self.stimuli.labels))[: len(self.stimuli.labels)]
        after = [self._after(code) for code in np.flatnonzero(seen >= FEWEST).tolist()]
        bits = [bits for _, bits in after]
        return [*(one for one, _ in after), *self.thresholds], np.concatenate([*bits, self._bits])

    def _after(self, code: int) -> tuple[_Condition, UInt64[np.ndarray, "1 word"]]:
        """Give the condition that a symbol stood before, and where it holds on the first half; made once."""
        if code not in self._known_after:
            assert self.stimuli.previous is not None  # asked only where there are symbols
            at = self.stimuli.previous == code
            condition = _Condition(at, "", f"after {self.stimuli.labels[code]}")
            self._known_after[code] = condition, _packed(at[np.newaxis, : self.found_on])
        return self._known_after[code]

    @cached_property
    def _known_after(self) -> dict[int, tuple[_Condition, UInt64[np.ndarray, "1 word"]]]:
        return {}

    @cached_property
    def _seen(self) -> Int[np.ndarray, " symbol"]:
        """Steps of the first half with each symbol."""
        assert self.stimuli.codes is not None  # asked only where there are symbols
        return np.bincount(self.stimuli.codes[: self.found_on], minlength=len(self.stimuli.labels))

    @cached_property
    def _bits(self) -> UInt64[np.ndarray, "condition word"]:
        """Where the thresholds hold on the first half, 64 steps a word."""
        at = [one.at[: self.found_on] for one in self.thresholds]
        return _packed(np.stack(at) if at else np.zeros((0, self.found_on), bool))


def _packed(at: Bool[np.ndarray, "condition step"]) -> UInt64[np.ndarray, "condition word"]:
    """Pack truth values into words, so that a whole half is counted in a few hundred of them."""
    padded = np.zeros((len(at), -(-at.shape[1] // 64) * 64), dtype=bool)
    padded[:, : at.shape[1]] = at
    return np.packbits(padded, axis=1).view(np.uint64)


def _count(bits: UInt64[np.ndarray, "... word"]) -> Int[np.ndarray, "..."]:
    """Count the steps at which something is so."""
    counted: np.ndarray = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return counted


def _surprises(
    happens: Bits, at: UInt64[np.ndarray, "condition word"], chance: float
) -> Float[np.ndarray, " condition"]:
    """Count the standard deviations by which an event is more frequent under each condition than chance has it."""
    seen = _count(at)
    if not 0 < chance < 1:
        return np.full(len(at), -math.inf)
    share = _count(at & happens) / np.maximum(seen, 1)
    above: np.ndarray = (share - chance) * np.sqrt(seen / (chance * (1 - chance)))
    above[seen < FEWEST] = -math.inf
    return above


def _quote(
    first: _Condition, second: _Condition, event: Mask, amount: Float[np.ndarray, " step"], part: slice
) -> Trigger | None:
    """Give a pair as a trigger, if it beats both of its conditions on a part of the steps."""
    both, event = (first.at & second.at)[part], event[part]
    if both.sum() < FEWEST:
        return None
    share = float(event[both].mean())
    for one in (first, second):
        alone = float(event[one.at[part]].mean())
        if share < alone + BEATS:
            return None
        if 0 < alone < 1 and (share - alone) * math.sqrt(both.sum() / (alone * (1 - alone))) < ABOVE_CHANCE:
            return None
    mean = float(amount[part][both].mean())
    return Trigger(f"{first.first} {second.second}", share, float(event.mean()), int(both.sum()), mean)


def _thresholds(amounts: Amounts | None) -> Iterator[_Condition]:
    """Amounts above and below their tenths."""
    if amounts is None or len(amounts.names) > MOST_AMOUNTS:
        return
    for name, unit, values in zip(amounts.names, amounts.units, amounts.values, strict=True):
        if np.isin(values, (0, 1)).all():  # something that is so or not
            yield _Condition(values == 1, name, f"while {name}")
            yield _Condition(values == 0, f"not {name}", f"while not {name}")
            continue
        for edge in np.unique(np.nanquantile(values, np.arange(1, TENTHS) / TENTHS)).tolist():
            said = f"{say_number(edge)}{' ' + unit if unit else ''}"
            for side, at in (("above", values > edge), ("below", values < edge)):
                yield _Condition(at, f"{name} {side} {said}", f"while {name} is {side} {said}")
