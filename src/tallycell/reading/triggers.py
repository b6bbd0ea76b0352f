"""What makes a cell move: the symbols or input features at which its events happen most above chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from tallycell.errors import InputError
from tallycell.names import FEATURE, SEQUENCE, TIME
from tallycell.wording import quoted, shown

RAREST = 5  # a stimulus seen less often triggers nothing that could be told from chance
ABOVE_CHANCE = 3.0  # standard deviations
MOST = 3  # triggers named for an event
EXTREME = 0.1  # share of the steps at which a feature is called high, and low
COMMON = 0.75  # share of all steps from which an event has no trigger: it happens anyhow
LIFT = 1.25  # times the rate among all steps that a trigger must bring, or leave half as many steps without
SPOKEN = {" ": "space", "\n": "newline", "\t": "tab"}


@dataclass(frozen=True)
class Trigger:
    """A stimulus that makes an event likely.

    Attributes
    ----------
    stimulus
        A symbol as one would say it, or ``high NAME`` or ``low NAME`` of an input feature; or two conditions.
    share
        Of the steps with the stimulus, the share at which the event happens.
    chance
        Share of all steps at which it happens.
    count
        Steps with the stimulus.
    mean
        Mean of what the event moves (f of a reset, i g of a write) over the steps with the stimulus.
    """

    stimulus: str
    share: float
    chance: float
    count: int
    mean: float


@dataclass(frozen=True, eq=False)
class Amounts:
    """What each step read in numbers: input features, or known quantities.

    Attributes
    ----------
    names, units
        One each; an empty unit where it is not known.
    values
        As they are said, not scaled; NaN where nothing is known.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Float[np.ndarray, "amount step"]


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What each step read, as stimuli that are there or not.

    Attributes
    ----------
    labels
        One a stimulus.
    codes
        Index of the one stimulus of each step (symbols), or None.
    present
        Whether each stimulus is there at each step (features), or None.
    previous
        Index of the symbol before, -1 at the first step of a sequence; None where there are no symbols.
    amounts
        Input features, or known quantities beside symbols, for pairs of conditions; None where there are none.
    """

    labels: tuple[str, ...]
    codes: Int[np.ndarray, " step"] | None = None
    present: Bool[np.ndarray, "stimulus step"] | None = None
    previous: Int[np.ndarray, " step"] | None = None
    amounts: Amounts | None = None

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.codes) if self.codes is not None else self.present.shape[1]  # type: ignore[union-attr]

    def take(self, steps: Int[np.ndarray, " taken"]) -> "Stimuli":
        """Take some of the steps."""
        return Stimuli(
            self.labels,
            None if self.codes is None else self.codes[steps],
            None if self.present is None else self.present[:, steps],
            None if self.previous is None else self.previous[steps],
            self.amounts and replace(self.amounts, values=self.amounts.values[:, steps]),
        )

    def by_step(self, *others: Int[np.ndarray, " step"]) -> tuple[Int[np.ndarray, " step+1"], Int[np.ndarray, " row"]]:
        """List the stimuli of each step one behind the other, and where those of each step begin.

        Parameters
        ----------
        others
            One number a step that is listed with its stimuli.
        """
        if self.codes is not None:
            listed = np.stack([self.codes, *others], axis=1)
            return np.arange(0, listed.size + 1, listed.shape[1]), listed.ravel().astype(np.int64)
        assert self.present is not None  # one of the two is given
        step, stimulus = np.nonzero(self.present.T)
        every = np.arange(self.steps)
        step = np.concatenate([step, *(every for _ in others)])
        rows = np.concatenate([stimulus, *others])[np.argsort(step, kind="stable")]
        return np.concatenate([[0], np.cumsum(np.bincount(step, minlength=self.steps))]), rows.astype(np.int64)


def find_triggers(
    labels: Sequence[str],
    seen: Int[np.ndarray, " stimulus"],
    happened: Int[np.ndarray, " stimulus"],
    moved: Float[np.ndarray, " stimulus"],
    chance: float,
) -> tuple[Trigger, ...]:
    """Stimuli at which an event happens most above chance, at most three.

    Parameters
    ----------
    labels
        Of the stimuli.
    seen, happened
        Steps with each stimulus, and those of them at which the event happens.
    moved
        Sum of what the event moves over the steps with each.
    chance
        Share of all steps at which it happens.

    Returns
    -------
    tuple of Trigger
        The highest first, by the standard deviations that the number of events lies above what chance would give
        (a binomial); all more than 3. None of an event that happens at 75 % of the steps or more, and none that
        hardly exceeds its rate: a trigger brings it 1.25 times as often, or leaves half as many steps without it.

    Examples
    --------
    >>> find_triggers(("'a'", "'b'"), np.array([50, 50]), np.array([45, 2]), np.array([50.0, 0.0]), 0.47)[0].share
    0.9
    """
    if not 0 < chance < COMMON:
        return ()
    chance, steps = float(chance), np.maximum(seen, 1)
    share = happened / steps
    surprise = (share - chance) * np.sqrt(steps / (chance * (1 - chance)))
    surprise[(seen < RAREST) | ((share < LIFT * chance) & (1 - share > (1 - chance) / 2))] = -math.inf
    best = [k for k in np.argsort(-surprise)[:MOST] if surprise[k] > ABOVE_CHANCE]
    return tuple(Trigger(labels[k], float(share[k]), chance, int(seen[k]), float(moved[k] / steps[k])) for k in best)


def say_symbol(symbol: str) -> str:
    """Say a symbol aloud: blanks by their names, others in quotes."""
    return SPOKEN.get(symbol, shown(symbol) if symbol.startswith("<") and len(symbol) > 1 else quoted(symbol))


def read_tokens(
    tokens: Any, lengths: Int[np.ndarray, " sequence"], vocabulary: Sequence[str] | None = None
) -> list[list[str]]:
    """Bring tokens into one list a sequence, checked against the lengths of a trace.

    Parameters
    ----------
    tokens
        The symbols of one sequence (a string will do), or one such list a sequence; or an array or tensor, (time,) or
        (sequence, time), whose entries beyond a sequence's length are padding.
    lengths
        Steps of each sequence.
    vocabulary
        The symbol of each number, where tokens are numbers.

    Raises
    ------
    InputError
        If there are more or fewer symbols than steps, or numbers without a symbol.

    Examples
    --------
    >>> read_tokens(np.array([[0, 1, 1], [1, 9, 9]]), np.array([3, 1]), ["not", "good"])
    [['not', 'good', 'good'], ['good']]
    """
    if hasattr(tokens, "shape"):  # an array, a tensor, a DataArray
        tokens = _unpadded(tokens, lengths)
    tokens = _in_words(tokens, vocabulary)
    one = len(lengths) == 1 and len(tokens) == lengths[0] and all(isinstance(token, str) for token in tokens)
    by_sequence = [[str(token) for token in sequence] for sequence in ([tokens] if one else tokens)]
    steps = [len(sequence) for sequence in by_sequence]
    if steps != lengths.tolist():
        raise InputError(
            f"got tokens for {len(steps)} sequences with {steps[:5]} steps, the trace has {len(lengths)} with "
            f"{lengths.tolist()[:5]}; give one token a step"
        )
    return by_sequence


def _unpadded(tokens: Any, lengths: Int[np.ndarray, " sequence"]) -> list[list[Any]]:
    """Rows of an array of tokens, each to the length of its sequence."""
    detached = tokens.detach().cpu() if hasattr(tokens, "detach") else tokens
    array = np.asarray(detached.transpose(..., TIME) if hasattr(detached, "dims") else detached)
    rows = array[np.newaxis] if array.ndim == 1 else array
    if rows.ndim != 2 or len(rows) != len(lengths) or rows.shape[1] < lengths.max():
        raise InputError(
            f"got tokens of shape {array.shape}, the trace has {len(lengths)} sequences of up to {lengths.max()} "
            "steps; give (sequence, time), padded at the end"
        )
    return [row[:length].tolist() for row, length in zip(rows, lengths.tolist(), strict=True)]


def _in_words(tokens: Any, vocabulary: Sequence[str] | None) -> Any:
    """Give symbols for the numbers of a vocabulary; what is symbols already as it is."""
    first = next(iter(tokens), None)
    nested = isinstance(first, list | tuple)
    one = next(iter(first), None) if isinstance(first, list | tuple) else first
    if not isinstance(one, int | np.integer):
        return tokens
    if vocabulary is None:
        raise InputError(f"tokens are numbers such as {one}; give vocabulary=, the symbol of each")
    rows = tokens if nested else [tokens]
    if outside := [number for row in rows for number in row if not 0 <= number < len(vocabulary)]:
        raise InputError(f"token {outside[0]} is none of the vocabulary's, which has {len(vocabulary)} symbols from 0")
    words = [[vocabulary[number] for number in row] for row in rows]
    return words if nested else words[0]


def symbols_of(tokens: list[list[str]]) -> tuple[str, ...]:
    """List the symbols that occur, in the order of their stimuli."""
    return tuple(sorted({token for row in tokens for token in row}))


def symbol_stimuli(
    tokens: list[list[str]], sequence: np.ndarray, position: np.ndarray, symbols: Sequence[str], amounts: Amounts | None
) -> Stimuli:  # fmt: skip
    """Stimuli of symbols, at the steps given by sequence and position in time, in the order of reading.

    A symbol that is not among those given is coded as one behind the last.
    """
    index = {symbol: k for k, symbol in enumerate(symbols)}
    coded = [np.array([index.get(token, len(symbols)) for token in row], dtype=np.int64) for row in tokens]
    begin = np.cumsum([0, *map(len, coded[:-1])])
    codes = np.concatenate(coded)[begin[sequence] + position] if len(sequence) else np.zeros(0, np.int64)
    previous = np.concatenate([[-1], np.where(np.diff(sequence) == 0, codes[:-1], -1)])
    return Stimuli(tuple(map(say_symbol, symbols)), codes=codes, previous=previous, amounts=amounts)


def feature_amounts(
    trace: xr.Dataset, sequence: np.ndarray, position: np.ndarray, *, as_read: bool = False
) -> Amounts | None:
    """Input features at the steps given; None if the trace keeps no input.

    A scaled input may carry what it was scaled by, ``center`` and ``spread`` along ``feature``, and its ``units``; then
    the amounts are as they were before, unless they are wanted as the network read them.
    """
    if "x" not in trace:
        return None
    x = trace["x"].transpose(SEQUENCE, TIME, FEATURE).to_numpy()[sequence, position].astype(np.float64)
    labels = trace[FEATURE].to_numpy().tolist()
    names = tuple(shown(name) if isinstance(name, str) else f"x[{name}]" for name in labels)
    if {"center", "spread"} <= set(trace.coords) and not as_read:
        x = x * trace["spread"].to_numpy() + trace["center"].to_numpy()
    units = tuple(map(str, trace["units"].to_numpy())) if "units" in trace.coords else ("",) * len(names)
    return Amounts(names, units, np.ascontiguousarray(x.T))


def quantity_amounts(quantities: Mapping[str, Float[np.ndarray, " step"]], units: Mapping[str, str]) -> Amounts | None:
    """Known quantities as amounts; None if there are none."""
    if not quantities:
        return None
    names = tuple(map(shown, quantities))
    return Amounts(names, tuple(units.get(name, "") for name in quantities), np.stack(list(quantities.values())))


@dataclass(frozen=True, eq=False)
class Extremes:
    """From where an amount is called high and low.

    Attributes
    ----------
    low, high
        In or beyond these it is; NaN for an amount that does not vary.
    """

    low: Float[np.ndarray, " amount"]
    high: Float[np.ndarray, " amount"]

    @classmethod
    def of(cls, amounts: Amounts) -> "Extremes":
        """Find the highest and lowest tenth of each amount.

        An amount of which more than a tenth of the steps share the extreme value (a rain that is mostly 0) is high, or
        low, only beyond that value. Where nothing is known of it (NaN), it is neither.
        """
        x = amounts.values
        low, high = np.nanquantile(x, [EXTREME, 1 - EXTREME], axis=1)
        least, most = np.nanmin(x, axis=1), np.nanmax(x, axis=1)
        from_high = np.where(high < most, np.maximum(high, np.nextafter(least, np.inf)), most)
        to_low = np.where(low > least, low, least)
        varies = least < most
        return cls(np.where(varies, to_low, np.nan), np.where(varies, from_high, np.nan))

    def stimuli(self, amounts: Amounts) -> Stimuli:
        """Stimuli of amounts, high and low."""
        x = amounts.values
        return Stimuli(
            tuple(f"{side} {name}" for side in ("high", "low") for name in amounts.names),
            present=np.concatenate([x >= self.high[:, np.newaxis], x <= self.low[:, np.newaxis]]),
            amounts=amounts,
        )
