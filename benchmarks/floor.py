"""The physical floor: the time that no LSTM can go below on a machine, from what its processor was measured to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.grid import Cell

FLOAT = 4  # bytes
STORED = 6  # i f g o c h


@dataclass(frozen=True)
class Limits:
    """What so many cores can do.

    Attributes
    ----------
    peak
        Multiplications and additions a second, in registers.
    read, write
        Bytes a second, by the size in bytes of the memory that is gone through again and again.
    """

    peak: float
    read: Mapping[int, float]
    write: Mapping[int, float]


def rate_at(rates: Mapping[int, float], size: int) -> float:
    """Rate for memory of a size: the best of those measured at the next smaller size or at any larger one.

    Never less than the truth, for a floor: a smaller memory is at least as near to the processor.
    """
    below = [measured for measured in rates if measured <= size]
    start = max(below) if below else min(rates)
    return max(rate for measured, rate in rates.items() if measured >= start)


def forward_floor(cell: Cell, limits: Limits) -> float:
    """Seconds below which no forward pass that stores every gate can go.

    The projections of all inputs run at the peak, in one reading of their weights. The steps follow one another: each
    needs the arithmetic of its recurrent projection or one reading of its weights, whichever takes longer. And all
    that is stored is written.
    """
    one = _projection(cell, limits, steps=1)
    together = _projection(cell, limits, steps=cell.time)
    return max(together + cell.time * one, _stored(cell) / rate_at(limits.write, _stored(cell)))


def train_floor(cell: Cell, limits: Limits) -> float:
    """Seconds below which no forward and backward pass can go.

    Backward, the recurrent steps come once more, with the transposed weights; the gradients to the input and to both
    weights run at the peak; what was stored is read.
    """
    one = _projection(cell, limits, steps=1)
    together = _projection(cell, limits, steps=cell.time)
    size = _stored(cell)
    memory = size / rate_at(limits.write, size) + size / rate_at(limits.read, size)
    return max(4 * together + 2 * cell.time * one, memory)


def _projection(cell: Cell, limits: Limits, *, steps: int) -> float:
    """Seconds for so many steps of the input's projection or of that of h, which is as wide, if computed together."""
    weights = 4 * cell.hidden * cell.hidden * FLOAT
    arithmetic = 2 * (4 * cell.hidden) * cell.hidden * cell.batch * steps
    return max(arithmetic / limits.peak, weights / rate_at(limits.read, weights))


def _stored(cell: Cell) -> int:
    return STORED * FLOAT * cell.hidden * cell.batch * cell.time
