"""Record and read block by block, so that of a long input no more gates and cells are held than those of a block.

The input itself is held whole, with its tokens and its known quantities. Of many sequences a block is some of them
(:mod:`tallycell.reading.batches`). One long sequence is recorded twice, each time in pieces that hand their state on to
the next: once for what the first pass looks at, stretches spread evenly over both halves, and once for the sums over
all steps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from tallycell.input import Input
from tallycell.linear_algebra import on_one_thread
from tallycell.names import DIRECTION, PROJECTION, SEQUENCE, STEP, TIME
from tallycell.parameters import LSTMParameters
from tallycell.reading.alignment import units_of
from tallycell.reading.batches import read_batches
from tallycell.reading.cells import MOST_FITTED, spread_stretches
from tallycell.reading.first_pass import fit_with_pairs
from tallycell.reading.known import Known
from tallycell.reading.levels import Levels, stretch_of
from tallycell.reading.nothing_learned import MOST_STEPS, NothingLearned, read_nothing_learned
from tallycell.reading.parts import lengths_of, quantities_of
from tallycell.reading.reading import Reading
from tallycell.reading.sums import UnitSums, sum_piece
from tallycell.reading.triggers import read_tokens, symbols_of
from tallycell.reading.units import read_roles, read_sums
from tallycell.trace import Record, record_trace
from tallycell.trace.inputs import read_model

BLOCK = 1_000_000  # values of one gate that are held at once: steps times units
LONGEST_AT_ONCE = 2 * MOST_FITTED  # steps: what the first pass looks at as a whole is recorded as a whole
GATES = ("i", "f", "g", "o", "c", "h")


def reads_in_blocks(parameters: LSTMParameters, given: Input) -> bool:
    """Whether an input is long, and can be read in pieces.

    Several sequences can. One can where it is read forwards, without dates, and its known quantities have a value at
    every step. A network that reads both ways needs the end before the beginning.

    Raises
    ------
    InputError
        If a known quantity does not fit the input.
    """
    if int(lengths_of(given).sum()) <= LONGEST_AT_ONCE:
        return False
    finite = [bool(np.isfinite(values).all()) for values in _one_by_one(given)]
    if len(given.x.shape) == 3:
        return given.x.shape[1] > 1
    if given.reverse or parameters.bidirectional or given.lengths is not None:
        return False
    if isinstance(given.x, xr.DataArray) and TIME in given.x.coords:
        return False
    return all(finite)


def _one_by_one(given: Input) -> Iterator[np.ndarray]:
    """Align one quantity after the other, so that there is no more than one that is brought to the steps."""
    for name, value in dict(given.quantities).items():
        yield from quantities_of(replace(given, quantities={str(name): value})).values()


def steps_at_once(parameters: LSTMParameters, given: Input) -> int:
    """Count the steps of which gates and cells are held together while an input is read in blocks, padding included."""
    values = parameters.hidden_size * parameters.num_layers * parameters.num_directions
    if len(given.x.shape) == 3:
        return max(LONGEST_AT_ONCE, 4 * BLOCK // values, 2 * len(given.x))
    return min(len(given.x), LONGEST_AT_ONCE)


@on_one_thread()
def read_in_blocks(
    model: object,
    given: Input,
    *,
    compare: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Read what each unit counts, as :func:`~tallycell.reading.units.read_units` does, a block at a time.

    Parameters
    ----------
    model
        As :func:`~tallycell.trace.record_trace` takes it.
    given
        For which :func:`reads_in_blocks` holds.
    compare
        Whether to read networks that learned nothing beside it, on the first steps.
    progress
        Called with the steps done and all steps; of one sequence twice those of the input.

    Returns
    -------
    Reading
        Networks that learned nothing read the first steps, or some of the sequences.
    """
    if len(given.x.shape) == 3:
        return read_batches(model, given, values=BLOCK, look=LONGEST_AT_ONCE, compare=compare, progress=progress)
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
    def quantities(self) -> dict[str, np.ndarray]:
        """Known quantities of all steps, (..., time): plain arrays as they are, others by their labels."""
        given = {str(name): value for name, value in dict(self.given.quantities).items()}
        plain = {name: one for name, one in given.items() if isinstance(one, np.ndarray) and one.shape == (self.steps,)}
        return plain | quantities_of(replace(self.given, quantities={n: given[n] for n in given.keys() - plain}))

    @cached_property
    def tokens(self) -> list[str] | None:
        """Symbols of all steps."""
        given = self.given.tokens
        if isinstance(given, list) and len(given) == self.steps and all(isinstance(one, str) for one in given):
            return given
        return None if given is None else read_tokens(given, np.array([self.steps]))[0]

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
        quantities = {
            name: np.atleast_2d(values[..., begin:end]).astype(np.float64) for name, values in self.quantities.items()
        }
        tokens = None if self.tokens is None else [self.tokens[begin:end]]
        return Known(trace, tokens, quantities, units_of(self.given.quantities), self.given.step_seconds)


def _nothing_learned(pieces: _Pieces) -> NothingLearned:
    """Read networks that learned nothing on the first steps."""
    few = min(pieces.steps, MOST_STEPS)
    start = replace(pieces.given, x=pieces.given.x[:few], tokens=None, quantities={})
    return read_nothing_learned(pieces.model, start, lambda trace: read_roles(pieces.known(trace, 0, few)))


def _fit(pieces: _Pieces, advance: Callable[[xr.Dataset], None]) -> Levels:
    """Fit levels on stretches of both halves."""
    symbols = None if pieces.tokens is None else symbols_of([pieces.tokens])
    levels = fit_with_pairs(_look(pieces, advance), symbols=symbols)[0]
    return replace(levels, stretch=np.array(stretch_of(pieces.steps - pieces.middle)))


def _look(pieces: _Pieces, advance: Callable[[xr.Dataset], None]) -> Known:
    """Record stretches of both halves, each as a sequence of its own that starts from the cells before it."""
    whole = np.array([0, pieces.steps])
    halves = [spread_stretches(whole, a, b) for a, b in ((0, pieces.middle), (pieces.middle, pieces.steps))]
    many = min(len(begin) for begin, _ in halves)  # of both halves alike, so that the middle lies between them
    stretches = np.concatenate([np.stack(half, axis=1)[:many] for half in halves])
    looked: xr.Dataset | None = None
    for begin, end in pieces.cuts(1_000):
        trace = pieces.record(begin, end)
        if looked is None:  # the first stretch begins at the first step
            looked = _room(trace, stretches[:, 1] - stretches[:, 0])
        for k, (first, last) in enumerate(stretches.tolist()):
            if begin < first <= end:
                looked["c_0"][{SEQUENCE: k}] = trace["c"].isel({SEQUENCE: 0, TIME: first - 1 - begin}, drop=True)
            a, b = max(first, begin), min(last, end)
            for name in (name for name in (*GATES, "x") if name in looked and a < b):
                here = trace[name].isel({SEQUENCE: 0, TIME: slice(a - begin, b - begin)})
                looked[name][{SEQUENCE: k, TIME: slice(a - first, b - first)}] = here.to_numpy()
        advance(trace)
    assert looked is not None  # there is a step
    read = pieces.tokens
    tokens = None if read is None else [read[first:last] for first, last in stretches.tolist()]
    quantities = {name: np.full((len(stretches), looked.sizes[TIME]), np.nan) for name in pieces.quantities}
    for name, values in quantities.items():
        for row, (first, last) in zip(values, stretches.tolist(), strict=True):
            row[: last - first] = pieces.quantities[name][..., first:last]
    return Known(looked, tokens, quantities, units_of(pieces.given.quantities), pieces.given.step_seconds)


def _room(trace: xr.Dataset, lengths: np.ndarray) -> xr.Dataset:
    """Make a trace of as many sequences, which are still to be filled in; each starts as this one."""
    steps = np.arange(lengths.max())
    room = trace.isel({SEQUENCE: np.zeros(len(lengths), int), TIME: np.zeros(len(steps), int)})
    for variable in room.data_vars.values():
        if TIME in variable.dims:
            variable[:] = np.nan
    coords = {SEQUENCE: np.arange(len(lengths)), TIME: steps, STEP: (TIME, steps)}
    return room.assign_coords(coords).assign(length=(SEQUENCE, lengths))
