"""What makes a cell move: the symbols or input features at which its events happen most above chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
SPOKEN = {" ": "space", "\n": "newline", "\t": "tab"}


@dataclass(frozen=True)
class Trigger:
    """A stimulus that makes an event likely.

    Attributes
    ----------
    stimulus
        A symbol as one would say it, or ``high NAME`` or ``low NAME`` of an input feature.
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
    """

    labels: tuple[str, ...]
    codes: Int[np.ndarray, " step"] | None = None
    present: Bool[np.ndarray, "stimulus step"] | None = None

    def sums(self, values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " stimulus"]:
        """Sum of values over the steps with each stimulus."""
        if self.codes is not None:
            return np.bincount(self.codes, values, len(self.labels))
        assert self.present is not None  # one of the two is given
        total: np.ndarray = self.present @ values
        return total

    @cached_property
    def counts(self) -> Float[np.ndarray, " stimulus"]:
        """Steps with each stimulus."""
        size = len(self.codes) if self.codes is not None else self.present.shape[1]  # type: ignore[union-attr]
        return self.sums(np.ones(size))

    def triggers(self, happens: Bool[np.ndarray, " step"], moved: Float[np.ndarray, " step"]) -> tuple[Trigger, ...]:
        """Stimuli at which an event happens most above chance, at most three.

        Parameters
        ----------
        happens
            Whether the event happens at each step.
        moved
            What it moves.

        Returns
        -------
        tuple of Trigger
            The highest first, by the standard deviations that the number of events lies above what chance would give
            (a binomial); all more than 3.
        """
        chance = float(happens.mean()) if happens.size else 0.0
        if not 0 < chance < 1:
            return ()
        seen = np.maximum(self.counts, 1)
        share = self.sums(happens.astype(float)) / seen
        surprise = (share - chance) * np.sqrt(seen / (chance * (1 - chance)))
        surprise[self.counts < RAREST] = -math.inf
        mean = self.sums(moved) / seen
        best = [k for k in np.argsort(-surprise)[:MOST] if surprise[k] > ABOVE_CHANCE]
        return tuple(
            Trigger(self.labels[k], float(share[k]), chance, int(self.counts[k]), float(mean[k])) for k in best
        )


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


def symbol_stimuli(tokens: list[list[str]], sequence: np.ndarray, position: np.ndarray) -> Stimuli:
    """Stimuli of symbols, at the steps given by sequence and position in time."""
    labels = sorted({token for row in tokens for token in row})
    index = {label: k for k, label in enumerate(labels)}
    codes = np.array([index[tokens[s][t]] for s, t in zip(sequence.tolist(), position.tolist(), strict=True)])
    return Stimuli(tuple(map(say_symbol, labels)), codes=codes)


def feature_stimuli(trace: xr.Dataset, sequence: np.ndarray, position: np.ndarray) -> Stimuli | None:
    """Stimuli of input features, high and low: in their highest and lowest tenth. None if the trace keeps no input.

    A feature of which more than a tenth of the steps share the extreme value (a rain that is mostly 0) is high, or
    low, only beyond that value.
    """
    if "x" not in trace:
        return None
    x = trace["x"].transpose(SEQUENCE, TIME, FEATURE).to_numpy()[sequence, position]
    names = [shown(name) if isinstance(name, str) else f"x[{name}]" for name in trace[FEATURE].to_numpy().tolist()]
    return _extremes(names, x)


def quantity_stimuli(quantities: Mapping[str, Float[np.ndarray, " step"]]) -> Stimuli | None:
    """Stimuli of known quantities, high and low, as of input features. None if there are none."""
    return _extremes(list(map(shown, quantities)), np.stack(list(quantities.values()), axis=1)) if quantities else None


def _extremes(names: list[str], x: Float[np.ndarray, "step feature"]) -> Stimuli:
    # Where nothing is known of a feature (NaN), it is neither high nor low.
    low, high = np.nanquantile(x, [EXTREME, 1 - EXTREME], axis=0)
    least, most = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
    is_high = np.where(high < most, x >= np.maximum(high, np.nextafter(least, np.inf)), x == most)
    is_low = np.where(low > least, x <= low, x == least)
    varies = least < most
    return Stimuli(
        tuple(f"{side} {name}" for side in ("high", "low") for name in names),
        present=np.concatenate([(is_high & varies).T, (is_low & varies).T]),
    )
