"""One block of a corpus: its sequences side by side, recorded, measured. Nothing here knows who computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.memory import require_memory
from tallycell.names import SEQUENCE
from tallycell.opening.padding import pad_tables
from tallycell.survey.corpus import Corpus, UnreadableError, named
from tallycell.survey.plan import Plan
from tallycell.trace import Record, record_trace

Arrays = Mapping[str, np.ndarray]


class Measure(Protocol):
    """What is summed over a corpus; a frozen value that pickles by the name of its class.

    Sums are arrays by name, of the same names and shapes for every block. Integers are exact; floats are added in the
    order of the plan.
    """

    @property
    def name(self) -> str:
        """Which sums these are, and their version: results of another name are not added to them."""

    def fit(self, recorded: "Recorded") -> Arrays:
        """Fit what is then held fixed, on the sequences that the plan fits on."""

    def sum(self, recorded: "Recorded", levels: Arrays, *, tested: bool) -> Arrays:
        """Sum over the sequences of one block, of those that are tested on or those that were fitted on."""

    def add(self, one: Arrays, other: Arrays) -> Arrays:
        """Add the sums of two blocks, the earlier one first."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a measure looks at.

    Attributes
    ----------
    trace
        i, f, g, o, c and h of every step, and x where no symbols are read.
    given
        What was read.
    symbols
        All that the model knows, of which ``given`` may hold some; None where no symbols are read.
    rows
        Which of the sequences that were asked for these are.
    """

    trace: xr.Dataset
    given: Input
    symbols: tuple[str, ...] | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Counted:
    """What was read.

    Attributes
    ----------
    sequences, steps
        Numbers of them.
    symbols, unknown
        Symbols that texts were cut into, and those of them that the model does not know: read as the one that stands
        for all others, or left out.
    left_out
        Sequences that could not be read, as (place, reason).
    """

    sequences: int = 0
    steps: int = 0
    symbols: int = 0
    unknown: int = 0
    left_out: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(
            self.sequences + other.sequences, self.steps + other.steps, self.symbols + other.symbols,
            self.unknown + other.unknown, self.left_out + other.left_out,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Summed:
    """What was recorded of a block, its sums, and what was read for them; None where nothing could be read."""

    recorded: Recorded | None = None
    arrays: Arrays | None = None
    counted: Counted = field(default_factory=Counted)


def survey_block(
    plan: Plan, corpus: Corpus, number: int, levels: Arrays, measure: Measure, *, keep_going: bool = False
) -> Summed:  # fmt: skip
    """Sum over one block of a plan: the same bits wherever it is computed, with one thread.

    Parameters
    ----------
    plan, corpus
        What there is to read.
    number
        Which of the plan's blocks.
    levels
        As ``measure.fit`` gave them.
    measure
        What is summed.
    keep_going
        Whether a sequence that cannot be read is left out and listed.

    Raises
    ------
    InputError, FormatError
        If a sequence cannot be read; the text names its file.
    """
    recorded, counted = record_sequences(
        plan, corpus, plan.block_of(number).tolist(), width=plan.block, keep_going=keep_going
    )  # fmt: skip
    return Summed(recorded, None if recorded is None else measure.sum(recorded, levels, tested=True), counted)


def record_sequences(
    plan: Plan, corpus: Corpus, sequences: Sequence[int], *, width: int, keep_going: bool = False
) -> tuple[Recorded | None, Counted]:  # fmt: skip
    """Read some sequences of a plan and record them in one batch; None if there is nothing to read in any.

    Parameters
    ----------
    plan, corpus
        What there is to read.
    sequences
        Which.
    width
        Sequences of the batch; it is filled up with steps that are not looked at, since bits depend on the width.
    keep_going
        Whether what cannot be read is left out and listed. A fault of the machine (no memory, a disk that is gone) or
        a file that has changed is not: tried again, the sequence may be read.
    """
    pieces: list[Input] = []
    rows: list[int] = []
    left_out: list[tuple[str, str]] = []
    symbols = unknown = 0
    for row, sequence in enumerate(sequences):
        try:
            piece = corpus.piece(plan, sequence)
        except UnreadableError as error:
            if not keep_going:
                raise
            left_out.append((named(*plan.place_of(sequence)), str(error)))
            continue
        symbols, unknown = symbols + piece.symbols, unknown + piece.unknown
        if piece.given is not None:
            pieces.append(piece.given)
            rows.append(row)
    if not pieces:
        return None, Counted(symbols=symbols, unknown=unknown, left_out=tuple(left_out))
    longest, features = max(len(piece.x) for piece in pieces), pieces[0].x.shape[-1]
    # Asked here, as what is refused below is left out.
    require_memory(8 * longest * width * features, f"recording {width:,} sequences")
    try:
        recorded = _record(corpus, pieces, width)
    except InputError as error:  # tables that do not go together; states that overflow, which sequence's is not known
        if not keep_going:
            raise
        first, last = (named(*plan.place_of(sequences[k])) for k in (0, -1))
        return None, Counted(left_out=(*left_out, (f"{first} to {last}", str(error))))
    lengths = recorded.trace["length"].to_numpy()
    counted = Counted(len(pieces), int(lengths.sum()), symbols, unknown, tuple(left_out))
    return replace(recorded, rows=tuple(rows)), counted


def _record(corpus: Corpus, pieces: list[Input], width: int) -> Recorded:
    filling = replace(pieces[0], x=pieces[0].x[:1])
    filled = _side_by_side([*pieces, *[filling] * (width - len(pieces))])
    first, count = pieces[0], len(pieces)
    wanted = Record().variables if first.tokens is None and first.legible else ("i", "f", "g", "o", "c", "h")
    trace = record_trace(corpus.model, filled, record=Record(wanted)).isel({SEQUENCE: slice(count)})
    assert filled.lengths is not None
    tokens = None if first.tokens is None else [piece.tokens for piece in pieces]
    given = replace(
        filled, x=filled.x[:, :count], lengths=filled.lengths[:count], tokens=tokens, quantities=_quantities(pieces),
        notes=first.notes,
    )  # fmt: skip
    return Recorded(trace, given, None if corpus.reader is None else corpus.reader.symbols.symbols)


def _side_by_side(pieces: Sequence[Input]) -> Input:
    """Put sequences beside each other, 0 beyond the end of each."""
    first = pieces[0]
    lengths = np.array([len(piece.x) for piece in pieces], dtype=np.int64)
    tables = [piece.x for piece in pieces if isinstance(piece.x, xr.DataArray)]
    if tables:
        x: np.ndarray | xr.DataArray = pad_tables(tables, [Path(piece.name) for piece in pieces])[0]
    else:
        x = np.zeros((int(lengths.max()), len(pieces), first.x.shape[1]), first.x.dtype)
        for k, piece in enumerate(pieces):
            x[: lengths[k], k] = piece.x
    return replace(first, x=x, lengths=lengths, tokens=None, quantities={})


def _quantities(pieces: Sequence[Input]) -> dict[str, np.ndarray]:
    """Put the known quantities of sequences beside each other, (sequence, time), NaN beyond the end of each."""
    longest = max(len(piece.x) for piece in pieces)
    found = {}
    for name in map(str, pieces[0].quantities):
        found[name] = values = np.full((len(pieces), longest), np.nan)
        for k, piece in enumerate(pieces):
            values[k, : len(piece.x)] = np.asarray(piece.quantities[name])
    return found
