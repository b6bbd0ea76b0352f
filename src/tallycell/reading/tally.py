"""A ladder of tallies, simplest first: ideal counters that try to explain a cell.

A tally runs freely. It sees the gates, quantised to a few levels, and the initial cell; it never sees c::

    tally' = keep level * tally + write level         ĉ = tally + intercept

The rungs differ in which levels are free. Each free number counts as a parameter; thresholds lie half-way
between levels and are no numbers of their own.

=====================  ==========  ====================================================================
rung                   parameters  free numbers besides the intercept
=====================  ==========  ====================================================================
binary tally           2           one step size, for up and down
two steps              3           a step up, a step down
leaky tally            4           ... and the share kept by a step that keeps
partial reset          5           ... and the share left by a step that resets
3 writes, 2 keeps      6           levels of i g and of f, by Lloyd's algorithm
4 writes, 3 keeps      8           the same
6 writes, 5 keeps      12          the same
=====================  ==========  ====================================================================

In the first four, f keeps above the middle of its activation's limits and resets below; i writes above it, up or down
by the sign of g. All levels are fitted by least squares on the first half of the sequences, or of the steps if there
is one sequence (Gauss-Newton on the free-running tally); R² = 1 - var(c - ĉ) / var(c) is quoted on the second half.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tallycell.activations import Activation
from tallycell.reading.cells import Cell
from tallycell.reading.free_run import normal_equations, run_tally, squared_error

CONSTANT_VARIANCE = 1e-9  # below it a cell is constant
GOOD_ENOUGH = 0.9  # share of the cell that a rung explains
NEAR_THE_BEST = 0.02  # of R²: how near to the best rung a simpler one may come
ITERATIONS = 20


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder: its name, its number of parameters, its levels of writes and keeps."""

    name: str
    parameters: int
    writes: int = 3
    keeps: int = 2


BINARY_RUNGS = (Rung("binary tally", 2), Rung("two steps", 3), Rung("leaky tally", 4), Rung("partial reset", 5))
LEVEL_RUNGS = (
    Rung("3 writes, 2 keeps", 6, 3, 2),
    Rung("4 writes, 3 keeps", 8, 4, 3),
    Rung("6 writes, 5 keeps", 12, 6, 5),
)
RUNGS = BINARY_RUNGS + LEVEL_RUNGS


@dataclass(frozen=True, eq=False)
class Tally:
    """A rung fitted to a cell.

    Attributes
    ----------
    rung
        Which.
    write_levels, keep_levels
        What is added to the tally at each quantised write, and what it is multiplied with at each quantised f.
    write_codes, keep_codes
        Level of every step.
    intercept
        ĉ - tally.
    r2
        Share of the cell's variance that is explained on the second half of the steps; NaN where that cannot be told:
        the cell is constant there, or there are fewer steps to fit on than numbers to fit.
    """

    rung: Rung
    write_levels: Float[np.ndarray, " writes"]
    keep_levels: Float[np.ndarray, " keeps"]
    write_codes: Int[np.ndarray, " step"]
    keep_codes: Int[np.ndarray, " step"]
    intercept: float
    r2: float = math.nan

    def explain(self, cell: Cell) -> Float[np.ndarray, " step"]:
        """ĉ of every step, from the quantised gates and the initial cell."""
        levels = (self.write_codes, self.keep_codes, self.write_levels, self.keep_levels)
        tally: np.ndarray = run_tally(*levels, cell.start, cell.c_0)
        return tally + self.intercept

    @property
    def time_constant(self) -> float:
        """Steps after which all but 1/e is forgotten at the highest keep level; infinite if that loses nothing."""
        keep = float(np.clip(self.keep_levels.max(), 0, 1))
        return math.inf if keep == 1 else -1 / math.log(keep) if keep > 0 else 0.0


def is_constant(cell: Cell) -> bool:
    """Whether a cell never moves: its variance is below 1e-9."""
    return bool(np.var(cell.c) < CONSTANT_VARIANCE)


def climb(cell: Cell) -> tuple[Tally, ...]:
    """Fit every rung to a cell, simplest first.

    Parameters
    ----------
    cell
        Gates and states of one cell.

    Returns
    -------
    tuple of Tally
        In the order of :data:`RUNGS`; each starts from the one before where that is of its kind.
    """
    part = cell.fitting_part()
    fitted: list[Tally] = []
    for rung in BINARY_RUNGS:
        fitted.append(_fit_binary(cell, part, rung, fitted[-1] if fitted else None))
    fitted += [_fit_levels(cell, part, rung) for rung in LEVEL_RUNGS]
    return tuple(replace(tally, r2=_explained(cell, tally)) for tally in fitted)


def choose_rung(tallies: tuple[Tally, ...]) -> Tally:
    """Pick the lowest rung that explains 90 % of the cell or comes within 2 points of the best."""
    best = max(tally.r2 for tally in tallies)  # NaN stands on all rungs, or on the highest only
    return next((tally for tally in tallies if tally.r2 >= GOOD_ENOUGH or tally.r2 >= best - NEAR_THE_BEST), tallies[0])


def _explained(cell: Cell, tally: Tally) -> float:
    fitted_on, quoted = cell.halves
    variance = float(np.var(cell.c[quoted]))
    if is_constant(cell) or variance < CONSTANT_VARIANCE or fitted_on.stop < tally.rung.parameters:
        return math.nan
    return 1 - float(np.var((cell.c - tally.explain(cell))[quoted])) / variance


# ---- levels as a function of the free numbers -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Levels:
    """How the free numbers of a rung make its levels: (writes, keeps, intercept) = base + matrix @ free."""

    rung: Rung
    base: np.ndarray
    matrix: np.ndarray
    quantise: Callable[[Cell, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # codes from the levels
    admit: Callable[[np.ndarray], np.ndarray]  # the nearest free numbers that are allowed

    def tally(self, cell: Cell, free: np.ndarray) -> Tally:
        writes, keeps, intercept = np.split(self.base + self.matrix @ free, [self.rung.writes, -1])
        return Tally(self.rung, writes, keeps, *self.quantise(cell, writes, keeps), float(intercept[0]))


def _fit_binary(cell: Cell, part: Cell, rung: Rung, before: Tally | None) -> Tally:
    """Fit one of the first four rungs to a part of a cell: the codes are given, only the levels are free."""
    # Levels in the order down, hold, up, reset, keep, intercept.
    one_step = np.array([-1.0, 0, 1, 0, 0, 0])
    down, up, reset, keep, intercept = np.eye(6)[[0, 2, 3, 4, 5]]
    steps = [one_step] if rung.parameters == 2 else [down, up]
    free_keeps = [keep, reset][: max(0, rung.parameters - 3)]
    matrix = np.stack([*steps, *free_keeps, intercept], axis=1)
    base = keep * (not free_keeps)
    low, high = _keep_range(cell.activations.gate)
    codes = binary_codes(part)

    def quantise(which: Cell, writes: np.ndarray, keeps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return codes if which is part else binary_codes(which)

    def admit(free: np.ndarray) -> np.ndarray:
        inside = free.copy()
        inside[len(steps) : -1] = np.clip(inside[len(steps) : -1], low, high)
        return inside

    levels = _Levels(rung, base, matrix, quantise, admit)
    if before is None:
        # From the mean write on: what step and intercept explain alike (the same write at every step) is the step's.
        moves = codes[0] != 1
        size = float(np.abs(part.write[moves]).mean()) if moves.any() else 0.0
        free = np.array([size, 0.0])
    else:  # the rung below is one choice of this rung's numbers
        known = np.concatenate([before.write_levels, before.keep_levels, [before.intercept]])
        free = np.linalg.lstsq(matrix, known - base, rcond=None)[0]
    return levels.tally(cell, _descend(part, levels, free))


def _fit_levels(cell: Cell, part: Cell, rung: Rung) -> Tally:
    """Fit writes and keeps in a few levels each to a part of a cell, from Lloyd's levels on; every level is free."""
    low, high = _keep_range(cell.activations.gate)
    # Quantising f errs by the error times the cell before: that is how much each step's f counts.
    writes = lloyd_levels(part.write, np.ones(len(part.c)), rung.writes)
    keeps = lloyd_levels(part.f, part.before() ** 2, rung.keeps)

    def quantise(which: Cell, writes: np.ndarray, keeps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return nearest_level(which.write, writes), nearest_level(which.f, keeps)

    def admit(free: np.ndarray) -> np.ndarray:
        writes, keeps, intercept = np.split(free, [rung.writes, -1])
        return np.concatenate([np.sort(writes), np.sort(np.clip(keeps, low, high)), intercept])

    size = rung.writes + rung.keeps + 1
    levels = _Levels(rung, np.zeros(size), np.eye(size), quantise, admit)
    return levels.tally(cell, _descend(part, levels, np.concatenate([writes, keeps, [0.0]])))


def _keep_range(gate: Activation) -> tuple[float, float]:
    """Levels of f that a tally may take: what f can be, and never a growing one."""
    return max(gate.range[0], -1.0), min(gate.range[1], 1.0)


def _descend(part: Cell, levels: _Levels, free: np.ndarray) -> np.ndarray:
    """Gauss-Newton with Levenberg's damping: each accepted step lowers the squared error of the free-running tally."""

    def arguments(tally: Tally) -> tuple[np.ndarray, ...]:
        codes, levels = (tally.write_codes, tally.keep_codes), (tally.write_levels, tally.keep_levels)
        return (*codes, *levels, part.start, part.c_0, part.c - tally.intercept)

    free = levels.admit(free)
    tally, damping = levels.tally(part, free), 1e-6
    error, normal, slope = normal_equations(*arguments(tally))
    for _ in range(ITERATIONS):
        normal, slope = levels.matrix.T @ normal @ levels.matrix, levels.matrix.T @ slope
        for _ in range(6):
            damped = normal + np.diag(damping * np.diag(normal) + 1e-9)
            candidate = levels.admit(free + np.linalg.solve(damped, slope))
            trial = levels.tally(part, candidate)
            trial_error = squared_error(*arguments(trial))
            if trial_error < error * (1 - 1e-5):
                break
            damping = max(10 * damping, 1e-4)
        else:
            return free
        free, tally, damping = candidate, trial, max(damping / 5, 1e-8)
        error, normal, slope = normal_equations(*arguments(tally))
    return free


# ---- quantisers ------------------------------------------------------------------------------------------------------


def middle(activation: Activation) -> float:
    """Half-way between an activation's limits; 0.5 where one of them is not finite."""
    left, right = activation.left, activation.right
    if left is None or right is None or not (math.isfinite(left) and math.isfinite(right)):
        return 0.5
    return (left + right) / 2


def binary_codes(cell: Cell) -> tuple[Int[np.ndarray, " step"], Int[np.ndarray, " step"]]:
    """Code writes as 0 down, 1 hold, 2 up; keeps as 0 reset, 1 keep."""
    threshold = middle(cell.activations.gate)
    writes = 1 + np.where(cell.i > threshold, np.sign(cell.g), 0)
    return writes.astype(np.int64), (cell.f > threshold).astype(np.int64)


def nearest_level(values: Float[np.ndarray, " step"], levels: Float[np.ndarray, " level"]) -> Int[np.ndarray, " step"]:
    """Index of the level nearest to each value; levels ascend."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.int64)


def lloyd_levels(
    values: Float[np.ndarray, " step"], weights: Float[np.ndarray, " step"], count: int
) -> Float[np.ndarray, " level"]:
    """Levels that quantise values with little weighted squared error, ascending.

    Lloyd's algorithm in one dimension, on sorted values with cumulative sums, from the quantiles on. Source: S. Lloyd,
    "Least squares quantization in PCM", 1982.

    Examples
    --------
    >>> lloyd_levels(np.array([0.0, 0.1, 0.9, 1.0]), np.ones(4), 2)
    array([0.05, 0.95])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    weight = np.concatenate([[0.0], np.cumsum(weights[order])])
    moment = np.concatenate([[0.0], np.cumsum(weights[order] * ordered)])
    levels = np.quantile(ordered, (np.arange(count) + 0.5) / count)
    for _ in range(100):
        edges = np.concatenate([[0], np.searchsorted(ordered, (levels[1:] + levels[:-1]) / 2), [len(ordered)]])
        mass, sums = np.diff(weight[edges]), np.diff(moment[edges])
        moved = np.where(mass > 0, sums / np.where(mass > 0, mass, 1), levels)
        if np.array_equal(moved, levels):
            break
        levels = moved
    return np.sort(levels)
