"""The steps of a trace laid end to end, and the cells over them: whole, and coarse enough to see all at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, UInt8

from tallycell.names import DIRECTION, DIRECTIONS, LAYER, SEQUENCE, TIME, UNIT, unit_label
from tallycell.reading.cells import order_of_reading
from tallycell.trace.schema import activations_of

COLUMNS = 1024  # of the carpet: more than most screens show beside each other
ON = 0.5  # share of its largest size (its 98 % quantile) from which a cell is up, or down
COMPUTED = ("tanh", "identity")  # what the page makes of a cell by itself; what others make of it is stored as y
NEAR, UP, DOWN = 0, 1, 2
_AT_ONCE = 32  # units


@dataclass(frozen=True, eq=False)
class Lives(Mapping[str, Mapping[str, np.ndarray]]):
    """By label of a unit, its arrays: i, f, g, c (and o) at each step, c_0 of each sequence; made when asked for.

    The steps of all sequences stand end to end, each sequence in the order of time, without padding.

    Attributes
    ----------
    trace
        With all its dimensions, in memory.
    """

    trace: xr.Dataset

    @cached_property
    def places(self) -> dict[str, tuple[int, int, int]]:
        """Layer, direction and unit of each label, by their places in the trace; in the order of readings."""
        layers, directions, units = (self.trace[name].to_numpy().tolist() for name in (LAYER, DIRECTION, UNIT))
        return {
            unit_label(layer, direction, unit): (k, d, u)
            for d, direction in enumerate(directions)
            for k, layer in enumerate(layers)
            for u, unit in enumerate(units)
        }

    @cached_property
    def order(self) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"]]:
        """Sequence and position in time of each step."""
        return order_of_reading(self.trace, DIRECTIONS[0])

    @property
    def steps(self) -> int:
        """How many there are, of all sequences."""
        return len(self.order[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays of a unit, one number a step each; beside them stands c_0, one a sequence."""
        there = ("i", "f", "g", "o", "c") if "o" in self.trace else ("i", "f", "g", "c")
        return there if self._is_computed else (*there, "y")

    @property
    def _is_computed(self) -> bool:
        slots = [activations_of(self.trace, d) for d in range(self.trace.sizes[DIRECTION])]
        return all(slot.hidden.name in COMPUTED for slot in slots)

    def __getitem__(self, label: str) -> dict[str, np.ndarray]:
        layer, direction, unit = self.places[label]
        here = self.trace.isel({LAYER: layer, DIRECTION: direction, UNIT: unit})
        sequence, position = self.order
        arrays = {
            name: here[name].transpose(SEQUENCE, TIME).to_numpy()[sequence, position].astype("<f4")
            for name in self.names
            if name != "y"
        }
        if "y" in self.names:
            arrays["y"] = activations_of(self.trace, direction).hidden(arrays["c"].astype(np.float64)).astype("<f4")
        return arrays | {"c_0": here["c_0"].to_numpy().astype("<f4")}

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def rows(self) -> Iterator[tuple[int, Float[np.ndarray, "some step"]]]:
        """Give c of some units at a time, with the place of the first of them."""
        sequence, position = self.order
        first = 0
        for d in range(self.trace.sizes[DIRECTION]):
            for k in range(self.trace.sizes[LAYER]):
                cells = self.trace["c"].isel({DIRECTION: d, LAYER: k}).transpose(SEQUENCE, TIME, UNIT)
                for begin in range(0, cells.sizes[UNIT], _AT_ONCE):
                    some = cells.isel({UNIT: slice(begin, begin + _AT_ONCE)}).to_numpy()[sequence, position].T
                    yield first, np.ascontiguousarray(some, dtype=np.float32)
                    first += len(some)


@dataclass(frozen=True, eq=False)
class Coarse:
    """All cells at once, coarse.

    Attributes
    ----------
    scale
        Size of each cell: the 98 % quantile of its size; 1 where it is 0.
    overview
        Mean of each cell over the steps of a column, as a share of its scale: 128 is 0, 1 and 255 are the scale.
    on
        Whether a cell is near 0, up or down at each step, (unit, step), four steps a byte, the first in the low bits:
        up is half of its scale or more.
    """

    scale: Float[np.ndarray, " unit"]
    overview: UInt8[np.ndarray, "unit column"]
    on: UInt8[np.ndarray, "unit quarter"]


def look_at_all(lives: Lives) -> Coarse:
    """Look at all cells, coarsely.

    Examples
    --------
    >>> import tallycell as tc
    >>> parameters = tc.LSTMParameters({
    ...     "weight_ih_l0": np.array([[9.0], [0], [9], [9]]), "weight_hh_l0": np.zeros((4, 1)),
    ...     "bias_ih_l0": np.array([0, 9.0, 0, 0]), "bias_hh_l0": np.zeros(4)})
    >>> lives = Lives(tc.record_trace(parameters, np.array([[1.0], [1], [0], [0], [1]])))
    >>> coarse = look_at_all(lives)
    >>> [int(coarse.on[0, k // 4] >> 2 * (k % 4) & 3) for k in range(5)]  # near 0, then up
    [0, 1, 1, 1, 1]
    """
    steps = lives.steps
    edges = np.unique(np.linspace(0, steps, min(steps, COLUMNS) + 1).astype(np.int64))
    units = len(lives)
    scale = np.ones(units, np.float32)
    overview = np.full((units, len(edges) - 1), 128, np.uint8)
    on = np.zeros((units, -(-steps // 4)), np.uint8)
    for first, c in lives.rows():
        some = slice(first, first + len(c))
        sizes = np.quantile(np.abs(c), 0.98, axis=1).astype(np.float32)
        scale[some] = np.where(sizes > 0, sizes, 1)
        share = c / scale[some, np.newaxis]
        means = np.add.reduceat(share, edges[:-1], axis=1) / np.diff(edges)
        overview[some] = np.rint(128 + 127 * np.clip(means, -1, 1)).astype(np.uint8)
        on[some] = _packed(np.where(share >= ON, UP, np.where(share <= -ON, DOWN, NEAR)).astype(np.uint8))
    return Coarse(scale, overview, on)


def _packed(states: UInt8[np.ndarray, "unit step"]) -> UInt8[np.ndarray, "unit quarter"]:
    padded = np.pad(states, ((0, 0), (0, -states.shape[1] % 4))).reshape(len(states), -1, 4)
    packed: np.ndarray = (padded << np.array([0, 2, 4, 6], np.uint8)).sum(-1, dtype=np.uint8)
    return packed
