"""What one unit does step by step, gathered for a picture: its gates, cell and tally, what was read and is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.plot.sheet import plain
from tallycell.reading.alignment import align_quantities, units_of
from tallycell.reading.cells import iterate_cells, order_of_reading
from tallycell.reading.events import EXPOSE, FORGET, WRITE, code_events
from tallycell.reading.quoted import explain_quoted
from tallycell.reading.reading import UnitReading
from tallycell.reading.showing import BLANKS, find_liveliest
from tallycell.reading.triggers import read_tokens
from tallycell.reading.units import select_unit
from tallycell.trace.schema import whole
from tallycell.trace.times import times_of
from tallycell.wording import listed

LETTERS, WORDS, STEPS = 92, 36, 730  # steps in a picture, where they are letters, words, or have no name
WORD = 12  # letters of a word


@dataclass(frozen=True)
class Span:
    """A stretch of steps to be shown.

    Attributes
    ----------
    begin, end
        The first step, counted from 0, and the one behind the last.
    title
        What there is to see, in a few words.
    notes
        By step, what is pointed out there.
    sequence
        Which, where there are several.
    """

    begin: int
    end: int
    title: str = ""
    notes: Mapping[int, str] = field(default_factory=dict)
    sequence: int = 0


@dataclass(frozen=True, eq=False)
class Life:
    """One unit over one sequence, in the order of time.

    Attributes
    ----------
    f, write, c, tally
        What it keeps, writes and holds, and what the quoted tally makes of it.
    shown
        h = o hidden(c); None where the trace does not hold o.
    resets, increments, decrements, hidden
        Steps at which that is so, as :func:`~tallycell.reading.events.read_events` says it.
    symbols
        What was read at each step, fit to be shown; None where that is not known.
    times
        Dates, or seconds; None where only numbers of steps are known.
    quantities, units
        Known quantities at each step, and what they are measured in.
    """

    f: Float[np.ndarray, " step"]
    write: Float[np.ndarray, " step"]
    c: Float[np.ndarray, " step"]
    tally: Float[np.ndarray, " step"]
    shown: Float[np.ndarray, " step"] | None
    resets: Bool[np.ndarray, " step"]
    increments: Bool[np.ndarray, " step"]
    decrements: Bool[np.ndarray, " step"]
    hidden: Bool[np.ndarray, " step"]
    symbols: tuple[str, ...] | None
    times: Shaped[np.ndarray, " step"] | None
    quantities: Mapping[str, Float[np.ndarray, " step"]]
    units: Mapping[str, str]

    @property
    def in_letters(self) -> bool:
        """Whether every symbol is one letter."""
        return self.symbols is not None and all(len(symbol) == 1 for symbol in self.symbols)

    def liveliest(self, quantity: str | None = None) -> Span:
        """Give the stretch in which the cell moves most, and a quantity with it if one is named."""
        most = LETTERS if self.in_letters else STEPS if self.symbols is None else WORDS
        beside = None if quantity is None else self.quantities.get(quantity)
        begin = find_liveliest(self.c, most, beside)
        return Span(begin, min(begin + most, len(self.c)))


def live(trace: xr.Dataset, unit: UnitReading, given: Any, quantities: Any, sequence: int) -> Life:
    """Gather what one unit does over one sequence of a trace.

    Parameters
    ----------
    trace, unit, given, quantities
        As for :func:`~tallycell.plot.unit.plot_unit`.
    sequence
        Which, counted from 0.

    Raises
    ------
    InputError
        If there is no such unit or sequence, or what was read does not fit the trace.
    """
    trace = whole(trace)
    if isinstance(given, Input):
        quantities = given.quantities if quantities is None else quantities
        given = given.tokens
    lengths = trace["length"].to_numpy()
    if not 0 <= sequence < len(lengths):
        raise InputError(f"there is no sequence {sequence}; there are {len(lengths):,}, counted from 0")
    cell = next(iterate_cells(select_unit(trace, unit.label)))
    order, position = order_of_reading(trace, cell.direction)
    here = np.flatnonzero(order == sequence)
    here = here[np.argsort(position[here])]
    held = ("i", "f", "g", "c") if cell.o is None else ("i", "f", "g", "c", "o")
    gates = {name: cell.of_unit(getattr(cell, name), 0)[here] for name in held}
    codes = code_events(gates, cell.activations, always_keeps=trace.attrs["forget_gate"] == "none")
    shown = None if cell.o is None else gates["o"] * cell.activations.hidden(gates["c"])
    hidden = np.zeros(len(here), dtype=bool) if cell.o is None else codes["expose"] == EXPOSE.index("hidden")
    known = {name: values[sequence] for name, values in align_quantities(quantities, trace).items()}
    return Life(
        gates["f"], cell.of_unit(cell.write, 0)[here], gates["c"], explain_quoted(unit, cell)[here], shown,
        codes["forget"] == FORGET.index("reset"), codes["write"] == WRITE.index("increment"),
        codes["write"] == WRITE.index("decrement"), hidden,
        _symbols(given, lengths, sequence), _times(trace, sequence, len(here)),
        {name: values[: len(here)] for name, values in known.items()}, units_of(quantities),
    )  # fmt: skip


def require_spans(spans: Span | Sequence[Span], life: Mapping[int, Life]) -> tuple[Span, ...]:
    """Check that spans lie within their sequences.

    Raises
    ------
    InputError
        If one does not, or holds fewer than two steps.
    """
    chosen = (spans,) if isinstance(spans, Span) else tuple(spans)
    if not chosen:
        raise InputError("no spans are given; give at least one, or None for the liveliest")
    for span in chosen:
        steps = len(life[span.sequence].c)
        if not 0 <= span.begin < span.end - 1 < steps:
            raise InputError(
                f"the span from {span.begin} to {span.end} is not within the {steps:,} steps of sequence "
                f"{span.sequence}, or holds fewer than 2 of them"
            )
        if outside := [step for step in span.notes if not span.begin <= step < span.end]:
            raise InputError(f"notes at the steps {listed(outside)} are not in the span {span.begin} to {span.end}")
    return chosen


def mark_of(symbol: str) -> str:
    """Give what stands for a symbol below its step: itself, a mark, or the beginning of a word."""
    return BLANKS.get(symbol) or plain(symbol, WORD)


def _symbols(given: Any, lengths: np.ndarray, sequence: int) -> tuple[str, ...] | None:
    if given is None:
        return None
    return tuple(map(mark_of, read_tokens(given, lengths)[sequence]))


def _times(trace: xr.Dataset, sequence: int, steps: int) -> np.ndarray | None:
    times = times_of(trace)
    if times is None:
        return None
    values = times.to_numpy()
    own: np.ndarray = (values if values.ndim == 1 else values[sequence])[:steps]
    return own
