"""The measure that a reading is made of, and the reading of its total."""

from dataclasses import dataclass, replace

from tallycell.reading import Reading
from tallycell.reading.known import read_known
from tallycell.reading.levels import Levels, fit_levels
from tallycell.reading.nothing_learned import read_nothing_learned
from tallycell.reading.sums import UnitSums, sum_block
from tallycell.reading.units import read_roles, read_sums
from tallycell.survey.blocks import Arrays, Recorded, record_sequences
from tallycell.survey.identity import one_thread
from tallycell.survey.run import Total
from tallycell.survey.tasks import open_for

MOST_SYMBOLS = 1_000  # of a vocabulary that are all counted; of a larger one those that the fitted sequences hold


@dataclass(frozen=True)
class Units:
    """What :func:`tallycell.read_units` makes its reading of, block by block."""

    @property
    def name(self) -> str:
        """Changes where the sums do, so that those of two versions are never added up.

        No field, as a worker answers for its own code and not for what it was sent.
        """
        return "units 1"

    def fit(self, recorded: Recorded) -> Arrays:
        """Fit levels; see :func:`~tallycell.reading.levels.fit_levels`."""
        symbols = recorded.symbols if recorded.symbols and len(recorded.symbols) <= MOST_SYMBOLS else None
        return fit_levels(recorded.trace, recorded.given, symbols=symbols, tested=False).to_arrays()

    def sum(self, recorded: Recorded, levels: Arrays, *, tested: bool) -> Arrays:
        """Sum one block; see :func:`~tallycell.reading.sums.sum_block`."""
        return sum_block(recorded.trace, Levels.from_arrays(levels), recorded.given, tested=tested).to_arrays()

    def add(self, one: Arrays, other: Arrays) -> Arrays:
        """Add two blocks."""
        return (UnitSums.from_arrays(one) + UnitSums.from_arrays(other)).to_arrays()


def read_total(total: Total) -> Reading:
    """Say what each unit does over a whole corpus.

    Networks that learned nothing, which the reading is compared with, read the sequences that levels were fitted on.

    Parameters
    ----------
    total
        Of a survey with the measure :class:`Units`.
    """
    sums = UnitSums.from_arrays(Units().add(total.fitted, total.tested))
    reading = read_sums(Levels.from_arrays(total.levels), sums)
    corpus = open_for(total.plan)
    sequences = total.plan.fitted.tolist()
    with one_thread():
        recorded, _ = record_sequences(total.plan, corpus, sequences, width=len(sequences), keep_going=True)
        if recorded is None:
            return reading
        known = read_known(recorded.trace, recorded.given, None, None)
        nothing = read_nothing_learned(
            corpus.model, recorded.given, lambda shuffled: read_roles(replace(known, trace=shuffled))
        )
    return replace(reading, nothing_learned=nothing)
