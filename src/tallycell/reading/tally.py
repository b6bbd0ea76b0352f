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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
CONSTANT_VARIANCE = 1e-9  # below it a cell is constant
GOOD_ENOUGH = 0.9  # share of the cell that a rung explains
NEAR_THE_BEST = 0.02  # of R²: how near to the best rung a simpler one may come


@dataclass(frozen=True)
class FittedRung:
    """One rung of the ladder, fitted to a cell.

    Attributes
    ----------
    name, parameters
        Which, and how many numbers were fitted.
    r2
        Share of the cell that it explains, on the second half; NaN where that could not be tested: the cell is
        constant there, or there are fewer steps to fit on than numbers to fit.
    write_levels, keep_levels, intercept
        What a step adds to the tally and what it multiplies it with, ascending; and ĉ - tally.
    time_constant
        Steps after which the tally has forgotten all but 1/e at its highest keep level; infinite if that loses nothing.
    r2_error
        Standard error of r2, over stretches of the steps that it is quoted on; NaN where there are fewer than two.
    """

    name: str
    parameters: int
    r2: float
    write_levels: tuple[float, ...]
    keep_levels: tuple[float, ...]
    intercept: float
    time_constant: float
    r2_error: float = math.nan


def time_constant_of(keep_levels: Sequence[float]) -> float:
    """Count the steps after which all but 1/e is forgotten at the highest keep level."""
    keep = float(np.clip(max(keep_levels), 0, 1))
    return math.inf if keep == 1 else -1 / math.log(keep) if keep > 0 else 0.0


def choose_rung(ladder: Sequence[FittedRung]) -> int:
    """Pick the lowest rung that explains 90 % of the cell or comes within 2 points of the best, by its place."""
    best = max(rung.r2 for rung in ladder)  # NaN stands on all rungs, or on the highest only
    return next(
        (k for k, rung in enumerate(ladder) if rung.r2 >= GOOD_ENOUGH or rung.r2 >= best - NEAR_THE_BEST), 0
    )  # fmt: skip
