"""The tally that a reading quotes for a unit, run over a cell: the one it was read from, or the same on other input."""

import numpy as np

from tallycell.errors import InputError
from tallycell.reading.cells import Cell
from tallycell.reading.reading import UnitReading
from tallycell.reading.tally import BINARY_RUNGS, RUNGS, Tally, binary_codes, nearest_level


def quoted_tally(unit: UnitReading, cell: Cell) -> Tally:
    """Give the tally that is quoted for a unit, with the levels that were fitted, and its codes over a cell.

    Parameters
    ----------
    unit
        Its reading.
    cell
        The same unit's cell, on what it was read from or on other input. Nothing is fitted to it.

    Raises
    ------
    InputError
        If the cell is another unit's.

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
    >>> tally = quoted_tally(tc.read_units(trace).units[0], cell)
    >>> bool(np.allclose(tally.explain(cell), cell.c))
    True
    """
    if (unit.layer, unit.direction, unit.unit) != (cell.layer, cell.direction, cell.unit):
        raise InputError(f"the cell is not of unit {unit.label}, whose reading this is; choose that unit's cell")
    fitted = next(one for one in unit.ladder if one.name == unit.rung)
    rung = next(one for one in RUNGS if one.name == unit.rung)
    writes, keeps = np.array(fitted.write_levels), np.array(fitted.keep_levels)
    if rung in BINARY_RUNGS:
        codes = binary_codes(cell)
    else:
        codes = nearest_level(cell.write, writes), nearest_level(cell.f, keeps)
    return Tally(rung, writes, keeps, *codes, fitted.intercept, fitted.r2)
