"""Single cells made for tests, and the ladder of tallies fitted to one, its R² by NumPy."""

from dataclasses import dataclass

import numpy as np

from tallycell.parameters import Activations
from tallycell.reading.cells import Cells, middle_step
from tallycell.reading.fitting import FittedLevels, explain_cells, fit_rungs
from tallycell.reading.lanes import into_lanes
from tallycell.reading.tally import CONSTANT_VARIANCE, RUNGS, Rung, choose_rung


def one_cell(i, f, g, c, *, start=None, c_0=None, activations=None):
    """Cells with a single unit, from arrays over the steps."""
    start = np.array([0, len(i)]) if start is None else np.asarray(start)
    c_0 = np.zeros(len(start) - 1) if c_0 is None else np.asarray(c_0, dtype=float)
    rows = [into_lanes(np.asarray(values, dtype=float)[:, np.newaxis]) for values in (i, f, g, c, c_0)]
    return Cells(0, "forward", (0,), *rows[:4], start, rows[4], activations or Activations())


def make_cell(i, f, g, *, c_0=None, start=None, activations=None):
    """A cell that does what its gates say, from given initial values."""
    i, f, g = (np.asarray(gate, dtype=float) for gate in (i, f, g))
    start = np.array([0, len(i)]) if start is None else np.asarray(start)
    c_0 = np.zeros(len(start) - 1) if c_0 is None else np.asarray(c_0, dtype=float)
    c = np.zeros(len(i))
    for s, value in enumerate(c_0):
        for t in range(start[s], start[s + 1]):
            value = f[t] * value + i[t] * g[t]
            c[t] = value
    return one_cell(i, f, g, c, start=start, c_0=c_0, activations=activations)


def of(cell, name):
    """The values of the only unit, by step."""
    return cell.of_unit(getattr(cell, name), 0)


def halves(cell):
    """The steps to fit on and the steps to quote on."""
    middle = middle_step(np.diff(cell.start))
    return slice(0, middle), slice(middle, None)


@dataclass(frozen=True)
class Climbed:
    """A rung fitted to the only unit of some cells."""

    rung: Rung
    fitted: FittedLevels
    r2: float

    @property
    def parameters(self):
        return self.rung.parameters

    @property
    def write_levels(self):
        return self.fitted.writes[0]

    @property
    def keep_levels(self):
        return self.fitted.keeps[0]

    @property
    def intercept(self):
        return self.fitted.intercept[0]

    def explain(self, cell):
        return explain_cells(cell, self.rung, self.fitted)[:, 0]


def climb(cell):
    """Fit every rung on the first half, and quote R² on the second."""
    fit, quoted = halves(cell)
    edges = np.unique(cell.start.clip(0, fit.stop))
    c = of(cell, "c")
    found = []
    for rung, fitted in zip(RUNGS, fit_rungs(cell.take(edges[:-1], edges[1:])), strict=True):
        error = (c - explain_cells(cell, rung, fitted)[:, 0])[quoted]
        known = c.var() >= CONSTANT_VARIANCE and c[quoted].var() >= CONSTANT_VARIANCE and fit.stop >= rung.parameters
        found.append(Climbed(rung, fitted, 1 - error.var() / c[quoted].var() if known else np.nan))
    return tuple(found)


def quoted_rung(tallies):
    """The tally that is quoted."""
    return tallies[choose_rung(tallies)]
