"""Record and read many sequences, some whole ones at a time: their sums add up, as those of a survey do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

from tallycell.input import Input
from tallycell.reading.first_pass import fit_with_pairs
from tallycell.reading.known import Known, read_known
from tallycell.reading.levels import Levels, stretch_of
from tallycell.reading.nothing_learned import MOST_STEPS, NothingLearned, read_nothing_learned
from tallycell.reading.parts import lengths_of, sequences_of
from tallycell.reading.reading import Reading
from tallycell.reading.sums import UnitSums, sum_known
from tallycell.reading.triggers import read_tokens, symbols_of
from tallycell.reading.units import read_roles, read_sums
from tallycell.trace import Record, record_trace
from tallycell.trace.inputs import read_model

GATES = ("i", "f", "g", "o", "c")


@dataclass(eq=False)
class Batches:
    """An input of several sequences, some of which are recorded together.

    Attributes
    ----------
    model, given
        What reads, and what is read: (time, sequence, feature).
    at_once
        Steps that are recorded together, padding included; a single sequence may be longer.
    """

    model: object
    given: Input
    at_once: int

    @cached_property
    def lengths(self) -> Int[np.ndarray, " sequence"]:
        """Steps of each sequence."""
        return lengths_of(self.given)

    @property
    def half(self) -> int:
        """First of the sequences that are quoted on."""
        return (len(self.lengths) + 1) // 2

    def cuts(self) -> Iterator[Int[np.ndarray, " some"]]:
        """Cut either half into batches."""
        for begin, end in ((0, self.half), (self.half, len(self.lengths))):
            first = begin
            for k in range(begin, end + 1):
                if k == end or (k > first and self.lengths[first : k + 1].max() * (k + 1 - first) > self.at_once):
                    yield np.arange(first, k)
                    first = k

    def spread(self, steps: int) -> Int[np.ndarray, " some"]:
        """Choose sequences of either half, as many of each, spread evenly, of about so many steps together."""
        count = len(self.lengths)
        if steps >= self.lengths.sum():
            return np.arange(count)
        many = min(count - self.half, max(1, int(steps / self.lengths.mean() / 2)))
        halves = np.linspace(0, self.half - 1, many), np.linspace(self.half, count - 1, many)
        return np.concatenate(halves).round().astype(np.int64)

    def known(self, which: Int[np.ndarray, " some"]) -> Known:
        """Record some sequences, and bring together what is known of them."""
        part = sequences_of(self.given, which)
        keep_x = part.tokens is None and part.legible
        return read_known(record_trace(self.model, part, record=Record((*GATES, *["x"] * keep_x))), part, None, None)


def read_batches(
    model: object,
    given: Input,
    *,
    values: int,
    look: int,
    compare: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Read what each unit counts, as :func:`~tallycell.reading.units.read_units` does, some sequences at a time.

    Parameters
    ----------
    model
        As :func:`~tallycell.trace.record_trace` takes it.
    given
        Of several sequences.
    values
        Of one gate that are held at once: steps times units.
    look
        Steps that the first pass sees, of whole sequences spread evenly over either half; more where four times
        ``values`` are more.
    compare
        Whether to read networks that learned nothing beside it, on some of the sequences.
    progress
        Called with the steps done and all steps.
    """
    parameters = read_model(model, given.lstm).parameters
    at_once = values // (parameters.hidden_size * parameters.num_layers * parameters.num_directions)
    batches = Batches(model, given, at_once)
    levels = _fit(batches, batches.spread(max(look, 4 * at_once)))
    total: UnitSums | None = None
    done, steps = 0, int(batches.lengths.sum())
    for which in batches.cuts():
        sums = sum_known(batches.known(which), levels, tested=bool(which[0] >= batches.half))
        total = sums if total is None else total + sums
        done += int(batches.lengths[which].sum())
        if progress is not None:
            progress(done, steps)
    assert total is not None  # there are sequences
    reading = read_sums(levels, total)
    return replace(reading, nothing_learned=_nothing_learned(batches)) if compare else reading


def _fit(batches: Batches, which: Int[np.ndarray, " some"]) -> Levels:
    """Fit levels on the first half of some sequences."""
    given = batches.given
    symbols = None if given.tokens is None else symbols_of(read_tokens(given.tokens, batches.lengths))
    levels = fit_with_pairs(batches.known(which), symbols=symbols)[0]
    return replace(levels, stretch=np.array(stretch_of(int(batches.lengths[batches.half :].sum()))))


def _nothing_learned(batches: Batches) -> NothingLearned:
    """Read networks that learned nothing on some sequences."""
    part = sequences_of(batches.given, batches.spread(MOST_STEPS))
    return read_nothing_learned(
        batches.model, part, lambda trace: read_roles(read_known(trace, part, None, None))
    )  # fmt: skip
