"""The cells of one layer and direction, in the order in which the direction reads, a few in each vector register."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from tallycell.errors import TraceError
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, SEQUENCE, STEP, TIME, UNIT
from tallycell.parameters import Activations
from tallycell.reading.lanes import into_lanes, out_of_lanes
from tallycell.trace.schema import activations_of

NEEDED = ("i", "f", "g", "c", "c_0", "length")
MOST_FITTED = 25_000  # steps of either half that are looked at: more change R² by less than its error, in the median
STRETCH = 1_000  # steps in one piece, where a sequence is longer than that and not all of it is looked at


@dataclass(frozen=True, eq=False)
class Cells:
    """Everything a tally may look at, and the cells it is to explain.

    The steps of all sequences stand end to end, without padding, each sequence in the order of reading: in the
    reverse direction from its last step to its first.

    Attributes
    ----------
    layer, direction, units
        Which cells.
    i, f, g, c
        Gates and cell states, as the trace holds them.
    o
        The output gate; None if the trace does not hold it.
    start
        First step of each sequence in the arrays, and the number of all steps: (sequence + 1,).
    c_0
        The cells before each sequence.
    activations
        The squashing functions of the direction.
    """

    layer: int
    direction: str
    units: tuple[int, ...]
    i: Float[np.ndarray, "group step lane"]
    f: Float[np.ndarray, "group step lane"]
    g: Float[np.ndarray, "group step lane"]
    c: Float[np.ndarray, "group step lane"]
    start: Int[np.ndarray, " sequence+1"]
    c_0: Float[np.ndarray, "group sequence lane"]
    activations: Activations
    o: Float[np.ndarray, "group step lane"] | None = None

    @property
    def steps(self) -> int:
        """How many there are, of all sequences."""
        return int(self.start[-1])

    @cached_property
    def write(self) -> Float[np.ndarray, "group step lane"]:
        """What each step adds to the cells, i g, in double precision."""
        written: np.ndarray = self.i.astype(np.float64) * self.g
        return written

    @cached_property
    def before(self) -> Float[np.ndarray, "group step lane"]:
        """The cells before each step."""
        before = np.empty_like(self.c)
        before[:, 1:] = self.c[:, :-1]
        there = np.diff(self.start) > 0
        before[:, self.start[:-1][there]] = self.c_0[:, there]
        return before

    def column(self, values: Shaped[np.ndarray, "group step lane"], unit: int) -> Shaped[np.ndarray, " step"]:
        """One unit's values as they are stored; the unit by its place among these."""
        lanes = values.shape[-1]
        return values[unit // lanes, :, unit % lanes]

    def of_unit(self, values: Float[np.ndarray, "group step lane"], unit: int) -> Float[np.ndarray, " step"]:
        """One unit's values in double precision, contiguous."""
        return np.ascontiguousarray(self.column(values, unit), dtype=np.float64)

    def by_unit(self, values: Float[np.ndarray, "group step lane"]) -> Float[np.ndarray, "step unit"]:
        """Bring values back into the order of the trace."""
        return out_of_lanes(values, len(self.units))

    def take(self, begin: Int[np.ndarray, " stretch"], end: Int[np.ndarray, " stretch"]) -> "Cells":
        """Take stretches of the steps, each as a sequence of its own that starts from the cells as they were before."""
        if len(begin) == len(self.start) - 1 and np.array_equal(begin, self.start[:-1]) and end[-1] == self.steps:
            return self
        steps = np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
        rows: dict[str, Any] = {n: np.ascontiguousarray(getattr(self, n)[:, steps]) for n in ("i", "f", "g", "c")}
        rows["o"] = None if self.o is None else np.ascontiguousarray(self.o[:, steps])
        c_0 = np.ascontiguousarray(self.c[:, np.maximum(begin - 1, 0)], dtype=np.float64)
        # What starts a sequence starts from c_0 itself, which may be more precise than c is stored.
        first = {int(at): s for s, at in enumerate(self.start[:-1].tolist())}
        for k, at in enumerate(begin.tolist()):
            if at in first:
                c_0[:, k] = self.c_0[:, first[at]]
        return replace(self, **rows, start=np.concatenate([[0], np.cumsum(end - begin)]), c_0=c_0)

    def some(self, groups: slice) -> "Cells":
        """Take some of the groups."""
        lanes = self.c.shape[-1]
        rows: dict[str, Any] = {name: getattr(self, name)[groups] for name in ("i", "f", "g", "c", "c_0")}
        rows["o"] = None if self.o is None else self.o[groups]
        units = self.units[(groups.start or 0) * lanes : None if groups.stop is None else groups.stop * lanes]
        return replace(self, units=units, **rows)


def middle_step(lengths: Int[np.ndarray, " sequence"]) -> int:
    """Count the steps of the first half of some sequences; of one sequence, the half of its steps.

    Examples
    --------
    >>> middle_step(np.array([10, 20, 5])), middle_step(np.array([9]))
    (30, 4)
    """
    return int(lengths[0]) // 2 if len(lengths) == 1 else int(lengths[: (len(lengths) + 1) // 2].sum())


def spread_stretches(
    start: Int[np.ndarray, " sequence+1"], begin: int, end: int
) -> tuple[Int[np.ndarray, " stretch"], Int[np.ndarray, " stretch"]]:
    """Choose what a bounded look at some steps looks at: all sequences, or whole stretches spread evenly over them.

    There are at most ``MOST_FITTED`` steps, unless a single stretch is longer.

    Returns
    -------
    tuple
        First step of each stretch, and the step after its last.
    """
    edges = np.unique(np.clip(start, begin, end))
    pieces = len(edges) - 1
    chosen = np.arange(pieces)
    if end - begin > MOST_FITTED:
        edges = np.concatenate([*(np.arange(a, b, STRETCH) for a, b in pairwise(edges.tolist())), [end]])
        pieces = len(edges) - 1
        chosen = np.linspace(0, pieces - 1, max(1, pieces * MOST_FITTED // (end - begin))).round().astype(np.int64)
    return edges[chosen], edges[chosen + 1]


def order_of_reading(trace: xr.Dataset, direction: str) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"]]:
    """Sequence and position in time of every step that is not padding, sequence by sequence as the direction reads.

    Raises
    ------
    TraceError
        If the trace does not hold every step from the first.
    """
    steps = trace[STEP].to_numpy()
    if not np.array_equal(steps, np.arange(len(steps))) or int(trace["length"].max()) > len(steps):
        raise TraceError(
            f"the trace holds the steps {steps[:3].tolist()}...; a tally runs from the first step on, so record with "
            "all steps (Record(steps=slice(None)))"
        )
    lengths = trace["length"].to_numpy()
    positions = [np.arange(n)[::-1] if direction == DIRECTIONS[1] else np.arange(n) for n in lengths]
    return np.repeat(np.arange(len(lengths)), lengths), np.concatenate(positions)


def require_readable(trace: xr.Dataset) -> None:
    """Refuse a trace of which no cell can be read.

    Raises
    ------
    TraceError
        If it lacks a variable that a tally looks at, or holds only some of the steps.
    ActivationError
        If an activation does not state its limits.
    """
    if missing := [name for name in NEEDED if name not in trace]:
        raise TraceError(f"the trace lacks {', '.join(missing)}; record {', '.join(NEEDED[:4])} to read units")
    for d in range(trace.sizes[DIRECTION]):
        activations = activations_of(trace, d)
        for slot in (activations.gate, activations.cell, activations.hidden):
            slot.require_limits()


def iterate_cells(trace: xr.Dataset) -> Iterator[Cells]:
    """All cells of a trace, those of one direction and layer at a time, as :func:`require_readable` wants them."""
    require_readable(trace)
    start = np.concatenate([[0], np.cumsum(trace["length"].to_numpy())])
    names = (*NEEDED[:4], *(["o"] if "o" in trace else []))
    for d, direction in enumerate(trace[DIRECTION].to_numpy().tolist()):
        order = order_of_reading(trace, direction)
        for k, layer in enumerate(trace[LAYER].to_numpy().tolist()):
            here = trace[[*names, "c_0"]].isel({LAYER: k, DIRECTION: d})
            rows = {name: _in_order(here[name].transpose(SEQUENCE, TIME, UNIT).to_numpy(), order) for name in names}
            c_0 = into_lanes(here["c_0"].transpose(SEQUENCE, UNIT).to_numpy().astype(np.float64))
            units = tuple(here[UNIT].to_numpy().tolist())
            yield Cells(layer, direction, units, **rows, start=start, c_0=c_0, activations=activations_of(trace, d))


def _in_order(values: np.ndarray, order: tuple[np.ndarray, np.ndarray]) -> Float[np.ndarray, "group step lane"]:
    sequence, position = order
    sequences, time, units = values.shape
    if sequences == 1 and len(position) == time and time and position[0] == 0:
        return into_lanes(values[0])
    return into_lanes(values.reshape(-1, units)[sequence * time + position])
