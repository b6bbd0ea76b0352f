"""What the steps of a cell are measured against: where it rests, its usual write, the sizes of its steps."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tallycell.reading.cells import Cells
from tallycell.reading.counting import MARKS, add_holds
from tallycell.reading.fitting import FittedLevels
from tallycell.reading.lanes import in_double, out_of_lanes, stored_as
from tallycell.reading.quantise import Sorted, middle


def marks_of(cells: Cells, ladder: Sequence[FittedLevels]) -> Float[np.ndarray, "unit mark"]:
    """Find what the steps of each unit are measured against, by ``MARKS``."""
    reset = middle(cells.activations.gate)
    sums = np.zeros((len(cells.c), 4, cells.c.shape[-1]))
    formats = in_double(), stored_as(cells.c.dtype)
    add_holds(*formats, (cells.f, cells.c), (cells.start, cells.c_0), reset, sums)
    total, rest, held, lost = out_of_lanes(sums, len(cells.units)).tolist()
    marks = []
    for unit in range(len(cells.units)):
        write, f = cells.of_unit(cells.write, unit), cells.of_unit(cells.f, unit)
        low, high = Sorted.ascending(np.sort(cells.column(cells.c, unit)).astype(np.float64)).levels(2).tolist()
        ordered = np.sort(write)
        down, up = np.searchsorted(ordered, 0.0), np.searchsorted(ordered, 0.0, side="right")
        constant = time_constant(held[unit], lost[unit])
        by_name = {
            "mean": total[unit] / cells.steps, "rest": rest[unit], "low": low, "high": high,
            "rests high": float(abs(high) < abs(low)), "usual": _median(write[~(f < reset)]),
            "step up": _one_step(ordered[up:]), "step down": -_one_step(-ordered[:down][::-1]),
            "leak keeps": 0.0 if constant == 0 else math.exp(-1 / constant),
        }  # fmt: skip
        by_name |= {f"half up {k}": float(levels.writes[unit].max()) / 2 for k, levels in enumerate(ladder)}
        by_name |= {f"half down {k}": float(levels.writes[unit].min()) / 2 for k, levels in enumerate(ladder)}
        marks.append([by_name[name] for name in MARKS])
    return np.array(marks)


def time_constant(held: float, lost: float) -> float:
    """Count the steps that forget what is held to 1/e: 0 if nothing is held, infinite if nothing is lost."""
    return 0.0 if held == 0 else math.inf if lost <= 0 else held / lost


def _median(values: Float[np.ndarray, " step"]) -> float:
    """Median, 0 of no values. NumPy's own takes four times as long, as it looks for NaN."""
    if not values.size:
        return 0.0
    two = [(values.size - 1) // 2, values.size // 2]
    return float(np.partition(values, two)[two].mean())


def _one_step(upwards: Float[np.ndarray, " step"]) -> float:
    """Size of the step that explains writes upwards best, each counted as that or as nothing; 0 if there are none.

    They ascend.
    """
    if not upwards.size:
        return 0.0
    mirrored = np.concatenate([-upwards[::-1], upwards])  # so that the middle one of three levels is nothing
    return float(Sorted.ascending(mirrored).levels(3)[-1])
