"""The tally that a reading quotes for a unit, run over its cell: on what it was read from, or on other input."""

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.reading.cells import Cells
from tallycell.reading.fitting import FittedLevels, explain_cells
from tallycell.reading.reading import UnitReading
from tallycell.reading.tally import RUNGS


def explain_quoted(unit: UnitReading, cell: Cells) -> Float[np.ndarray, " step"]:
    """Give what the tally that is quoted for a unit makes of its cell, with the levels that were fitted, by step.

    Parameters
    ----------
    unit
        Its reading.
    cell
        The same unit's cell by itself, on what it was read from or on other input. Nothing is fitted to it.

    Raises
    ------
    InputError
        If the cell is another unit's, or there are several.

    Examples
    --------
    >>> import tallycell as tc
    >>> from tallycell.reading.cells import iterate_cells
    >>> big = 100.0
    >>> parameters = tc.LSTMParameters({
    ...     "weight_ih_l0": np.array([[0, 0], [0, 0], [big, -big], [0, 0]]), "weight_hh_l0": np.zeros((4, 1)),
    ...     "bias_ih_l0": np.array([big, big, 0, big]), "bias_hh_l0": np.zeros(4)})
    >>> x = np.array([[symbol == "(", symbol == ")"] for symbol in "(()(()))()" * 30], dtype=float)
    >>> trace = tc.record_trace(parameters, x)
    >>> cell = next(iterate_cells(trace))
    >>> bool(np.allclose(explain_quoted(tc.read_units(trace).units[0], cell), trace.c.to_numpy().ravel()))
    True
    """
    if (unit.layer, unit.direction, (unit.unit,)) != (cell.layer, cell.direction, cell.units):
        raise InputError(f"the cell is not of unit {unit.label} alone, whose reading this is; choose that unit's cell")
    fitted = next(one for one in unit.ladder if one.name == unit.rung)
    rung = next(one for one in RUNGS if one.name == unit.rung)
    numbers = (fitted.write_levels, fitted.keep_levels, fitted.intercept)
    explained: np.ndarray = explain_cells(cell, rung, FittedLevels(*(np.array([one]) for one in numbers)))[:, 0]
    return explained
