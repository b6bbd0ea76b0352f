"""Record and read block by block, so that memory is set by the block and not by the input.

One long sequence is recorded twice, each time in pieces that hand their state on to the next: once for what the first
pass looks at, stretches spread evenly over both halves, and once for the sums over all steps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from tallycell.input import Input
from tallycell.linear_algebra import on_one_thread
from tallycell.names import DIRECTION, PROJECTION, SEQUENCE, STEP, TIME
from tallycell.parameters import LSTMParameters
from tallycell.reading.alignment import align_quantities, units_of
from tallycell.reading.cells import spread_stretches
from tallycell.reading.first_pass import fit_with_pairs
from tallycell.reading.known import Known
from tallycell.reading.levels import Levels
from tallycell.reading.nothing_learned import NothingLearned, read_nothing_learned
from tallycell.reading.reading import Reading
from tallycell.reading.sums import UnitSums, sum_piece
from tallycell.reading.triggers import symbols_of
from tallycell.reading.units import read_roles, read_sums
from tallycell.trace import Record, record_trace
from tallycell.trace.inputs import read_model

BLOCK = 2_000_000  # values of one gate that are held at once: steps times units
MOST_LOOKED_AT = 25_000  # steps of either half that the first pass looks at
LONGEST_AT_ONCE = 2 * MOST_LOOKED_AT  # steps: what the first pass looks at as a whole is recorded as a whole
GATES = ("i", "f", "g", "o", "c", "h")


def reads_in_blocks(parameters: LSTMParameters, given: Input) -> bool:
    """Whether an input is long, and can be read in pieces.

    It can where it is one sequence that is read forwards, without dates, and its known quantities have a value at every
    step. A network that reads both ways needs the end before the beginning.
    """
    if np.ndim(given.x) != 2 or given.reverse or parameters.bidirectional or len(given.x) <= LONGEST_AT_ONCE:
        return False
    if isinstance(given.x, xr.DataArray) and TIME in given.x.coords:
        return False
    return all(np.isfinite(np.asarray(values, dtype=float)).all() for values in dict(given.quantities).values())


@on_one_thread()
def read_in_blocks(
    model: object,
    given: Input,
    *,
    compare: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Read what each unit counts, as :func:`~tallycell.reading.units.read_units` does, in bounded memory.

    Parameters
    ----------
    model
        As :func:`~tallycell.trace.record_trace` takes it.
    given
        For which :func:`reads_in_blocks` holds.
    compare
        Whether to read networks that learned nothing beside it, on the first steps.
    progress
        Called with the steps done and all steps, twice those of the input.

    Returns
    -------
    Reading
        Its levels come from 25,000 steps of the first half.
    """
    pieces = _Pieces(model, given)
    done = 0

    def advance(trace: xr.Dataset) -> None:
        nonlocal done
        done += trace.sizes[TIME]
        if progress is not None:
            progress(done, 2 * pieces.steps)

    levels = _fit(pieces, advance)
    total: UnitSums | None = None
    carry = None
    for begin, end in pieces.cuts(int(levels.stretch)):
        trace = pieces.record(begin, end)
        tested = begin >= pieces.middle
        if begin == pieces.middle and carry is not None:
            carry = replace(carry, in_half=np.array(0))
        sums, carry = sum_piece(pieces.known(trace, begin, end), levels, carry, tested=tested)
        total = sums if total is None else total + sums
        advance(trace)
    assert total is not None  # there is a step
    reading = read_sums(levels, total)
    return replace(reading, nothing_learned=_nothing_learned(pieces)) if compare else reading


@dataclass(eq=False)
class _Pieces:
    """An input in pieces, each recorded from the state after the one before."""

    model: object
    given: Input
    state: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.given.x)

    @property
    def middle(self) -> int:
        """First step of the half that is quoted on."""
        return self.steps // 2

    def cuts(self, stretch: int) -> Iterator[tuple[int, int]]:
        """Cut either half into pieces of whole stretches."""
        size = max(BLOCK // self._hidden // stretch, 1) * stretch
        for begin, end in ((0, self.middle), (self.middle, self.steps)):
            for first in range(begin, end, size):
                yield first, min(first + size, end)

    @cached_property
    def _hidden(self) -> int:
        parameters = read_model(self.model, self.given.lstm).parameters
        return parameters.hidden_size * parameters.num_layers

    def record(self, begin: int, end: int) -> xr.Dataset:
        """Record some steps, which follow those recorded before; from the first on anew."""
        state = self.given.state if begin == 0 else self.state
        piece = replace(self.given, x=self.given.x[begin:end], tokens=None, quantities={}, state=state)
        keep_x = self.given.tokens is None and self.given.legible
        trace = record_trace(self.model, piece, record=Record((*GATES, "x") if keep_x else GATES))
        last = trace[["h", "c"]].isel({SEQUENCE: 0, DIRECTION: 0, TIME: -1})
        self.state = (last["h"].to_numpy(), last["c"].to_numpy())
        trace = trace.drop_vars(["h", "h_0"], errors="ignore")
        if PROJECTION in trace.dims:
            trace = trace.drop_dims(PROJECTION)
        return trace

    def known(self, trace: xr.Dataset, begin: int, end: int) -> Known:
        """Bring together what is known of some steps."""
        quantities = {name: np.asarray(values)[begin:end] for name, values in dict(self.given.quantities).items()}
        tokens = None if self.given.tokens is None else [list(map(str, self.given.tokens[begin:end]))]
        aligned = align_quantities(quantities, trace)
        return Known(trace, tokens, aligned, units_of(self.given.quantities), self.given.step_seconds)


def _nothing_learned(pieces: _Pieces) -> NothingLearned:
    """Read networks that learned nothing on as many steps as a half is fitted on."""
    few = min(pieces.steps, MOST_LOOKED_AT)
    start = replace(pieces.given, x=pieces.given.x[:few], tokens=None, quantities={})
    return read_nothing_learned(pieces.model, start, lambda trace: read_roles(pieces.known(trace, 0, few)))


def _fit(pieces: _Pieces, advance: Callable[[xr.Dataset], None]) -> Levels:
    """Fit levels on stretches of both halves."""
    tokens = pieces.given.tokens
    symbols = None if tokens is None else symbols_of([list(map(str, tokens))])
    return fit_with_pairs(_look(pieces, advance), symbols=symbols)[0]


def _look(pieces: _Pieces, advance: Callable[[xr.Dataset], None]) -> Known:
    """Record stretches of both halves, each as a sequence of its own that starts from the cells before it."""
    whole = np.array([0, pieces.steps])
    halves = [
        spread_stretches(whole, a, b, MOST_LOOKED_AT) for a, b in ((0, pieces.middle), (pieces.middle, pieces.steps))
    ]
    many = min(len(begin) for begin, _ in halves)  # of both halves alike, so that the middle lies between them
    wanted = np.concatenate([np.stack(half, axis=1)[:many] for half in halves]).tolist()
    kept: list[list[xr.Dataset]] = [[] for _ in wanted]
    for begin, end in pieces.cuts(1_000):
        trace = pieces.record(begin, end)
        for stretch, (first, last) in zip(kept, wanted, strict=True):
            if first < end and begin < last:
                stretch.append(_cut(trace, max(first - begin, 0), min(last, end) - begin))
        advance(trace)
    traces = [_one_behind_another(some) for some in kept]
    known = [pieces.known(trace, *span) for trace, span in zip(traces, wanted, strict=True)]
    longest = max(trace.sizes[TIME] for trace in traces)
    padded = [_padded(trace, longest) for trace in traces]
    joined = xr.concat(padded, dim=SEQUENCE, data_vars="minimal", coords="minimal", compat="override", join="override")
    tokens = None if known[0].tokens is None else [row for one in known for row in one.tokens or []]
    quantities = {
        name: np.concatenate([_pad(one.quantities[name], longest) for one in known]) for name in known[0].quantities
    }
    return replace(known[0], trace=joined, tokens=tokens, quantities=quantities)


def _cut(trace: xr.Dataset, first: int, last: int) -> xr.Dataset:
    """Take some steps, with the cells before them as their initial state."""
    cut = trace.isel({TIME: slice(first, last)})
    if first:
        before = trace["c"].isel({TIME: first - 1}, drop=True)
        cut = cut.assign(c_0=before.transpose(*trace["c_0"].dims).copy())
    return cut.copy()


def _one_behind_another(pieces: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join the pieces of a stretch; the first says from where it starts."""
    joined: xr.Dataset = pieces[0]
    if len(pieces) > 1:
        joined = xr.concat(pieces, dim=TIME, data_vars="minimal", coords="minimal", compat="override")
    steps = np.arange(joined.sizes[TIME])
    joined = joined.assign_coords({TIME: steps, STEP: (TIME, steps)})
    return joined.assign(length=(SEQUENCE, np.array([len(steps)])))


def _padded(trace: xr.Dataset, length: int) -> xr.Dataset:
    missing = length - trace.sizes[TIME]
    if not missing:
        return trace
    steps = np.arange(length)
    return trace.pad({TIME: (0, missing)}).assign_coords({TIME: steps, STEP: (TIME, steps)})


def _pad(values: np.ndarray, length: int) -> np.ndarray:
    padded: Any = np.pad(values, ((0, 0), (0, length - values.shape[1])), constant_values=np.nan)
    return np.asarray(padded)
