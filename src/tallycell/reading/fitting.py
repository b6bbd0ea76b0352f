"""Levels of all rungs, fitted by least squares on the free-running tally, for many cells at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tallycell.activations import Activation
from tallycell.kernels.cpu.vector import lanes_of
from tallycell.reading.cells import Cells
from tallycell.reading.free_run import normal_equations, run_tallies, squared_errors
from tallycell.reading.lanes import in_double, into_lanes, out_of_lanes, stored_as
from tallycell.reading.quantise import Sorted, middle
from tallycell.reading.tally import BINARY_RUNGS, LEVEL_RUNGS, Rung

ITERATIONS = 20
TRIES = 6  # for each, with more and more damping
BETTER = 1e-5  # share of the squared error by which a trial must lower it
DOWN_HOLD_UP = np.array([-0.5, 0.5])  # edges between the codes of binary writes
HOPELESS = 0.1  # of that: where the linear model promises less, no step is tried
RESET_KEEP = np.array([0.5])


@dataclass(frozen=True, eq=False)
class FittedLevels:
    """The levels of one rung, by unit.

    Attributes
    ----------
    writes, keeps
        What is added to the tally at each quantised write, what it is multiplied with at each quantised f; ascending.
    intercept
        ĉ - tally.
    """

    writes: Float[np.ndarray, "unit write"]
    keeps: Float[np.ndarray, "unit keep"]
    intercept: Float[np.ndarray, " unit"]


def fit_rungs(part: Cells) -> tuple[FittedLevels, ...]:
    """Fit every rung to some steps of some cells, simplest first; each starts from the one before where it can."""
    fitted: list[FittedLevels] = []
    codes, values = binary_codes_of(part), value_codes_of(part)
    for rung in BINARY_RUNGS:
        fitted.append(_fit_binary(codes, rung, fitted[-1] if fitted else None))
    first = _first_levels(part)
    fitted += [_fit_levels(values, rung, *first[rung.name]) for rung in LEVEL_RUNGS]
    return tuple(fitted)


def explain_cells(cells: Cells, rung: Rung, levels: FittedLevels) -> Float[np.ndarray, "step unit"]:
    """Give ĉ of every step, from the quantised gates and the initial cells."""
    codes = binary_codes_of(cells) if rung in BINARY_RUNGS else value_codes_of(cells)
    stored = stored_as(cells.c.dtype)
    run = (codes.written, codes.kept), (cells.start, cells.c_0), codes.by_lane(levels)
    return cells.by_unit(run_tallies(in_double(), stored, *run))


def binary_codes(cells: Cells) -> tuple[Float[np.ndarray, "group step lane"], Float[np.ndarray, "group step lane"]]:
    """Code writes as -1 down, 0 hold, 1 up; keeps as 0 reset, 1 keep."""
    threshold = middle(cells.activations.gate)
    writes = np.where(cells.i > threshold, np.sign(cells.g), 0).astype(np.float64)
    return writes, (cells.f > threshold).astype(cells.f.dtype)


def binary_codes_of(cells: Cells) -> "Codes":
    """Round writes to down, hold and up, and keeps to reset and keep."""
    return Codes(cells, *binary_codes(cells), (DOWN_HOLD_UP, RESET_KEEP))


def value_codes_of(cells: Cells) -> "Codes":
    """Round writes and keeps to the nearest level."""
    return Codes(cells, cells.write, cells.f, None)


@dataclass(frozen=True, eq=False)
class Codes:
    """Cells with what their writes and keeps are rounded from; the edges between levels where they do not move."""

    cells: Cells
    written: Float[np.ndarray, "group step lane"]
    kept: Float[np.ndarray, "group step lane"]
    edges: tuple[np.ndarray, np.ndarray] | None

    def by_lane(self, levels: FittedLevels) -> tuple[np.ndarray, ...]:
        """Levels and the edges between them, as compiled code takes them."""
        writes, keeps = levels.writes, levels.keeps
        edges = self.edges or ((writes[:, 1:] + writes[:, :-1]) / 2, (keeps[:, 1:] + keeps[:, :-1]) / 2)
        some = (np.broadcast_to(v, (len(writes), v.shape[-1])) for v in (writes, edges[0], keeps, edges[1]))
        return (*(into_lanes(one.T) for one in some), into_lanes(levels.intercept))

    def run(self, kernel: Callable[..., np.ndarray], levels: FittedLevels, alive: np.ndarray) -> np.ndarray:
        """Run a kernel over the groups in which a unit is alive."""
        cells = self.cells
        groups = np.unique(np.flatnonzero(alive) // lanes_of(in_double()))
        return kernel(
            in_double(), stored_as(cells.c.dtype), (self.written, self.kept), (cells.c, cells.start, cells.c_0),
            self.by_lane(levels), groups,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Family:
    """How the free numbers of a rung make its levels: (writes, keeps, intercept) = base + matrix @ free.

    ``sort`` puts write levels and keep levels in order; ``low`` and ``high`` bound the free numbers that are keeps.
    """

    rung: Rung
    base: np.ndarray
    matrix: np.ndarray
    keeps: slice
    bounds: tuple[float, float]
    sort: bool

    def levels(self, free: np.ndarray) -> FittedLevels:
        """Levels of each unit."""
        writes, keeps, intercept = np.split(self.base + free @ self.matrix.T, [self.rung.writes, -1], axis=1)
        return FittedLevels(writes, keeps, intercept[:, 0])

    def admit(self, free: np.ndarray) -> np.ndarray:
        """Give the nearest free numbers that are allowed."""
        inside = free.copy()
        inside[:, self.keeps] = np.clip(inside[:, self.keeps], *self.bounds)
        if self.sort:
            for part in (slice(0, self.rung.writes), self.keeps):
                inside[:, part] = np.sort(inside[:, part], axis=1)
        return inside


def _fit_binary(codes: Codes, rung: Rung, before: FittedLevels | None) -> FittedLevels:
    """Fit one of the first four rungs: the codes are given, only the levels are free."""
    # Levels in the order down, hold, up, reset, keep, intercept.
    one_step = np.array([-1.0, 0, 1, 0, 0, 0])
    down, up, reset, keep, intercept = np.eye(6)[[0, 2, 3, 4, 5]]
    steps = [one_step] if rung.parameters == 2 else [down, up]
    free_keeps = [keep, reset][: max(0, rung.parameters - 3)]
    matrix = np.stack([*steps, *free_keeps, intercept], axis=1)
    base = keep * (not free_keeps)
    family = _Family(rung, base, matrix, slice(len(steps), -1), keep_range(codes.cells.activations.gate), sort=False)
    if before is None:
        # From the mean write on: what step and intercept explain alike (the same write at every step) is the step's.
        cells = codes.cells
        moves = codes.written != 0
        sizes = np.abs(cells.write, where=moves, out=np.zeros_like(cells.write)).sum(axis=1)
        size = out_of_lanes(sizes / np.maximum(moves.sum(axis=1), 1), len(cells.units))
        free = np.stack([size, np.zeros_like(size)], axis=1)
    else:  # the rung below is one choice of this rung's numbers
        known = np.concatenate([before.writes, before.keeps, before.intercept[:, np.newaxis]], axis=1)
        free = (known - base) @ np.linalg.pinv(matrix).T
    return family.levels(_descend(codes, family, free))


def _first_levels(part: Cells) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Lloyd's levels of writes and keeps of each rung, by unit."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {rung.name: [] for rung in LEVEL_RUNGS}
    for unit in range(len(part.units)):
        writes = Sorted(part.of_unit(part.write, unit))
        # Quantising f errs by the error times the cell before: that is how much each step's f counts.
        keeps = Sorted(part.of_unit(part.f, unit), part.of_unit(part.before, unit) ** 2)
        for rung in LEVEL_RUNGS:
            found[rung.name].append((writes.levels(rung.writes), keeps.levels(rung.keeps)))
    return {name: (np.stack([w for w, _ in some]), np.stack([k for _, k in some])) for name, some in found.items()}


def _fit_levels(values: Codes, rung: Rung, writes: np.ndarray, keeps: np.ndarray) -> FittedLevels:
    """Fit writes and keeps in a few levels each, from Lloyd's levels on; every level is free."""
    size = rung.writes + rung.keeps + 1
    bounds = keep_range(values.cells.activations.gate)
    family = _Family(rung, np.zeros(size), np.eye(size), slice(rung.writes, -1), bounds, sort=True)
    free = np.concatenate([writes, keeps, np.zeros((len(writes), 1))], axis=1)
    return family.levels(_descend(values, family, free))


def keep_range(gate: Activation) -> tuple[float, float]:
    """Levels of f that a tally may take: what f can be, and never a growing one."""
    return max(gate.range[0], -1.0), min(gate.range[1], 1.0)


def _descend(codes: Codes, family: _Family, free: np.ndarray) -> np.ndarray:
    """Gauss-Newton with Levenberg's damping: each accepted step lowers the squared error of the free-running tally.

    Each unit goes its own way; those that are at it run side by side.
    """
    units = len(free)
    free, damping = family.admit(free), np.full(len(free), 1e-6)
    alive = np.ones(units, dtype=bool)
    error, normal, moment = _linearised(codes, family, free, alive)
    for _ in range(ITERATIONS):
        if codes.edges is not None:  # where codes move with the levels, the linear model promises nothing
            alive &= _promised(normal, moment) > HOPELESS * BETTER * error
        if not alive.any():
            break
        trying = alive.copy()
        for _ in range(TRIES):
            candidate = free.copy()
            candidate[trying] = family.admit(free[trying] + _damped_step(normal, moment, damping, trying))
            trial = out_of_lanes(codes.run(squared_errors, family.levels(candidate), trying), units)
            better = trying & (trial < error * (1 - BETTER))
            free[better], error[better] = candidate[better], trial[better]
            damping[better] = np.maximum(damping[better] / 5, 1e-8)
            trying &= ~better
            damping[trying] = np.maximum(10 * damping[trying], 1e-4)
            if not trying.any():
                break
        alive &= ~trying
        linearised = _linearised(codes, family, free, alive)
        for kept, new in zip((error, normal, moment), linearised, strict=True):
            kept[alive] = new[alive]
    return free


def _promised(normal: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """How much of the squared error the best step would take away if the tally were linear in its numbers."""
    damped = normal + 1e-9 * np.eye(normal.shape[1])
    taken: np.ndarray = np.einsum("uj,uj->u", moment, np.linalg.solve(damped, moment[..., np.newaxis])[..., 0])
    return taken


def _damped_step(normal: np.ndarray, moment: np.ndarray, damping: np.ndarray, which: np.ndarray) -> np.ndarray:
    diagonal = damping[which, np.newaxis] * np.einsum("ujj->uj", normal[which]) + 1e-9
    damped = normal[which] + np.eye(normal.shape[1]) * diagonal[:, np.newaxis]
    step: np.ndarray = np.linalg.solve(damped, moment[which, :, np.newaxis])[:, :, 0]
    return step


def _linearised(
    codes: Codes, family: _Family, free: np.ndarray, alive: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared error, normal matrix and right side by the free numbers, for the units that are alive."""
    products = codes.run(normal_equations, family.levels(free), alive)
    lower = np.moveaxis(out_of_lanes(products, len(free)), -1, 0)
    error = family.matrix.shape[0]  # the row behind the derivatives
    derivatives = np.tril(lower[:, :error, :error])
    normal = derivatives + np.swapaxes(np.tril(derivatives, -1), 1, 2)
    return (
        lower[:, error, error].copy(),
        family.matrix.T @ normal @ family.matrix,
        lower[:, error, :error] @ family.matrix,
    )
