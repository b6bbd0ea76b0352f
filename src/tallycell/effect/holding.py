"""Many holds as one batch: each is a sequence of its own over the same input."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.effect.stretches import Stretch
from tallycell.kernels.choice import lstm_forward
from tallycell.kernels.interface import LayerInput
from tallycell.memory import require_memory
from tallycell.names import (
    DIRECTION,
    DIRECTIONS,
    FEATURE,
    LAYER,
    PROJECTION,
    SEQUENCE,
    TIME,
    UNIT,
    unit_label,
)
from tallycell.parameters import LayerParameters, LSTMParameters

CASES = 16  # holds side by side: the readout multiplies so many rows at once, and BLAS would divide more among threads
ROWS = 128  # sequences of a batch: more do not run faster
BUDGET = 256 << 20  # bytes of gates and states of a batch
PIECE = 500  # steps that are run at once, where a state can be carried on

# What a kind of hold holds, and at what; a cell's own mean where that is None.
KINDS: Mapping[str, tuple[str, float | None]] = {
    "zero": ("c", 0.0),
    "mean": ("c", None),
    "never_forgets": ("f", 1.0),
    "forgets_at_once": ("f", 0.0),
    "never_shown": ("o", 0.0),
}


@dataclass(frozen=True, order=True)
class CellName:
    """One cell: its layer, direction (0 forward, 1 reverse) and unit."""

    layer: int
    direction: int
    unit: int

    @property
    def label(self) -> str:
        """How readings call it."""
        return unit_label(self.layer, DIRECTIONS[self.direction], self.unit)


Case = tuple[CellName, ...]  # cells that are held together


@dataclass(frozen=True, eq=False)
class FreeRun:
    """A run in which nothing is held: what each layer read, where it stood, and what it gave out.

    Attributes
    ----------
    parameters
        The LSTM.
    x
        (sequence, time, feature).
    h, c
        (layer, direction, sequence, time, hidden) and (..., unit); NaN beyond a sequence's length.
    h_0, c_0
        The same without time.
    lengths
        Steps of each sequence.
    """

    parameters: LSTMParameters
    x: np.ndarray
    h: np.ndarray
    c: np.ndarray
    h_0: np.ndarray
    c_0: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, parameters: LSTMParameters, trace: xr.Dataset) -> "FreeRun":
        """Take it from a trace with x, h and c of every step and unit."""
        projected = PROJECTION if parameters.proj_size else UNIT
        order = (LAYER, DIRECTION, SEQUENCE, TIME)
        values = {
            "x": trace["x"].transpose(SEQUENCE, TIME, FEATURE),
            "h": trace["h"].transpose(*order, projected),
            "c": trace["c"].transpose(*order, UNIT),
            "h_0": trace["h_0"].transpose(*order[:3], projected),
            "c_0": trace["c_0"].transpose(*order[:3], UNIT),
        }
        return cls(parameters, **{k: v.to_numpy() for k, v in values.items()}, lengths=trace["length"].to_numpy())

    @cached_property
    def means(self) -> Float[np.ndarray, "layer direction unit"]:
        """Give the mean of each cell over all steps."""
        means: np.ndarray = np.asarray(np.nanmean(self.c, axis=(2, 3), dtype=np.float64))
        return means

    def read(self, layer: int, stretches: Sequence[Stretch]) -> Float[np.ndarray, "time stretch feature"]:
        """Give what a layer reads on stretches of one length, with the steps around them."""
        below = self.x if layer == 0 else np.concatenate(list(self.h[layer - 1]), axis=-1)
        return np.stack([below[one.sequence, one.first : one.last] for one in stretches], axis=1)

    def gave(self, layer: int, direction: int, stretches: Sequence[Stretch]) -> np.ndarray:
        """Give h on stretches of one length, with the steps around them: (time, stretch, hidden)."""
        return np.stack([self.h[layer, direction, one.sequence, one.first : one.last] for one in stretches], axis=1)

    def measured(self, stretches: Sequence[Stretch]) -> Float[np.ndarray, "direction time stretch hidden"]:
        """Give h of the last layer where it is measured, on stretches of one length."""
        return np.stack([self.h[-1, :, one.sequence, one.begin : one.end] for one in stretches], axis=2)

    def start(self, layer: int, direction: int, stretches: Sequence[Stretch]) -> tuple[np.ndarray, np.ndarray]:
        """Give h and c before the first step that is read, (stretch, hidden) and (stretch, unit)."""
        states = []
        for values, first in ((self.h, self.h_0), (self.c, self.c_0)):
            rows = []
            for one in stretches:
                before = one.last if direction else one.first - 1
                inside = 0 <= before < self.lengths[one.sequence]
                rows.append(
                    values[layer, direction, one.sequence, before] if inside else first[layer, direction, one.sequence]
                )
            states.append(np.stack(rows))
        return states[0], states[1]


class Ran(NamedTuple):
    """What some cases gave on some stretches."""

    stretches: slice
    cases: slice
    steps: slice  # of those that are measured
    h: Float[np.ndarray, "direction time stretch case hidden"]  # of the last layer


def run_held(
    free: FreeRun, stretches: Sequence[Stretch], cases: Sequence[Case], kind: str
) -> Iterator[tuple[slice, slice, Float[np.ndarray, "direction time stretch case hidden"]]]:
    """Run each case on each stretch; yield h of the last layer where it is measured, whole stretches.

    Parameters
    ----------
    free, stretches, cases, kind
        As for :func:`run_in_pieces`.

    Yields
    ------
    stretches, cases, h
        Which of the stretches and of the cases, and what they gave.
    """
    ran = run_in_pieces(free, stretches, cases, kind)
    for _, group in itertools.groupby(ran, lambda one: (one.stretches.start, one.cases.start)):
        parts = list(group)
        yield parts[0].stretches, parts[0].cases, np.concatenate([one.h for one in parts], axis=1)


def run_in_pieces(free: FreeRun, stretches: Sequence[Stretch], cases: Sequence[Case], kind: str) -> Iterator[Ran]:
    """Run each case on each stretch; yield what they gave where it is measured, some cases, stretches, steps at once.

    Parameters
    ----------
    free
        The run in which nothing is held.
    stretches
        Of one shape.
    cases
        What is held together in one run, in order of the lowest layer of each.
    kind
        One of ``KINDS``.
    """
    parameters, shape = free.parameters, stretches[0].shape
    piece = sum(shape) if parameters.bidirectional else min(PIECE, sum(shape))
    a_row = _bytes_a_row(parameters, piece)
    rows = max(1, min(ROWS, BUDGET // a_row))
    beside, many = min(CASES, rows), max(1, rows // CASES)
    require_memory(2 * min(rows, len(cases) * len(stretches)) * a_row, f"holding units over {piece:,} steps needs")
    for first in range(0, len(cases), beside):
        of_cases = slice(first, min(first + beside, len(cases)))
        for begin in range(0, len(stretches), many):
            of_stretches = slice(begin, min(begin + many, len(stretches)))
            done = -shape[0]  # steps before the first that is measured
            for h in _run_batch(free, stretches[of_stretches], cases[of_cases], kind, piece):
                low, high = max(0, -done), min(h.shape[1], shape[1] - done)
                if low < high:
                    yield Ran(of_stretches, of_cases, slice(done + low, done + high), h[:, low:high])
                done += h.shape[1]


def _bytes_a_row(parameters: LSTMParameters, steps: int) -> int:
    width = 2 * parameters.num_directions * parameters.output_size + parameters.input_size
    return steps * (6 * parameters.num_directions * parameters.hidden_size + width) * parameters.dtype.itemsize


def _run_batch(
    free: FreeRun, stretches: Sequence[Stretch], cases: Sequence[Case], kind: str, piece: int
) -> Iterator[np.ndarray]:  # fmt: skip
    """Run some cases on some stretches, piece by piece, from the lowest layer that is held: those below are as were."""
    parameters, letter = free.parameters, KINDS[kind][0]
    lowest = min(cell.layer for case in cases for cell in case)
    places = list(itertools.product(range(lowest, parameters.num_layers), range(parameters.num_directions)))
    held = {place: _held(free, cases, place, kind) for place in places}
    states = {}
    for place in places:
        states[place] = tuple(np.repeat(state, len(cases), axis=0) for state in free.start(*place, stretches))
    every = free.read(lowest, stretches)[:, :, np.newaxis]
    for begin in range(0, len(every), piece):
        x, is_free = every[begin : begin + piece], True
        shape = (len(x), len(stretches), len(cases))
        for layer in range(lowest, parameters.num_layers):
            directions = []
            for place in ((layer, direction) for direction in range(parameters.num_directions)):
                if is_free and np.isnan(held[place]).all():
                    gave = free.gave(*place, stretches)[begin : begin + piece, :, np.newaxis]
                    h = np.broadcast_to(gave, (*shape, parameters.output_size))
                else:
                    x_of_all = np.broadcast_to(x, (*shape, x.shape[-1]))
                    of_layer = parameters.layer(*place)
                    h, states[place] = _run_layer(of_layer, x_of_all, states[place], held[place], letter, place[1] == 1)
                directions.append(h)
            x, is_free = np.concatenate(directions, axis=-1), False
        yield np.stack(directions)


def _held(
    free: FreeRun, cases: Sequence[Case], place: tuple[int, int], kind: str
) -> Float[np.ndarray, "case unit"]:  # fmt: skip
    """Give what each case holds the units of a layer and direction at; NaN where a unit is free."""
    parameters, value = free.parameters, KINDS[kind][1]
    held = np.full((len(cases), parameters.hidden_size), np.nan, parameters.dtype)
    means = free.means[place] if value is None else None
    for k, case in enumerate(cases):
        units = [cell.unit for cell in case if (cell.layer, cell.direction) == place]
        held[k, units] = means[units] if means is not None else value
    return held


def _run_layer(
    layer: LayerParameters, x: Float[np.ndarray, "time stretch case feature"], start: tuple[np.ndarray, ...],
    held: Float[np.ndarray, "case unit"], letter: str, reverse: bool,
) -> tuple[Float[np.ndarray, "time stretch case hidden"], tuple[np.ndarray, ...]]:  # fmt: skip
    """Run a layer in one direction; give its h, and the states after the last step."""
    time, stretches, cases, _ = x.shape
    h_0, c_0 = start
    values: dict[str, np.ndarray] = {}
    if not np.isnan(held).all():
        by_row = np.tile(held, (stretches, 1))
        values[letter] = np.broadcast_to(by_row, (time, *by_row.shape))
    rows = np.ascontiguousarray(x).reshape(time, stretches * cases, -1)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is NaN in the score
        steps = lstm_forward(layer, LayerInput(rows, h_0, c_0, reverse=reverse, held=values))
    return steps.h.reshape(time, stretches, cases, -1), (steps.h_n, steps.c_n)
