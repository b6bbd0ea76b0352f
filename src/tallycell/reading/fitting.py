"""Levels of all rungs, fitted by least squares on the free-running tally, for many cells at once."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tallycell.activations import Activation
from tallycell.kernels.cpu.vector import Format
from tallycell.reading.cells import Cells
from tallycell.reading.free_run import normal_equations, run_by_stretch, run_tallies, table_of
from tallycell.reading.lanes import in_double, out_of_lanes, pick_lanes, stored_as
from tallycell.reading.quantise import Sorted, middle
from tallycell.reading.tally import BINARY_RUNGS, LEVEL_RUNGS, Rung

ITERATIONS = 20
TRIES = 6  # for each, with more and more damping
BETTER = 1e-5  # share of the squared error by which a trial must lower it
HOPELESS = 0.1  # of that: where the linear model promises less, no step is tried
DOWN_HOLD_UP = np.array([-0.5, 0.5])  # edges between the codes of binary writes
RESET_KEEP = np.array([0.5])  # and of binary keeps


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

    @classmethod
    def of(cls, flat: Float[np.ndarray, "unit level"], rung: Rung) -> "FittedLevels":
        """Undo :meth:`flat`."""
        return cls(flat[:, : rung.writes], flat[:, rung.writes : -1], flat[:, -1])

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of write levels and of keep levels."""
        return self.writes.shape[1], self.keeps.shape[1]

    def flat(self) -> Float[np.ndarray, "unit level"]:
        """Write levels, keep levels and intercept side by side."""
        return np.concatenate([self.writes, self.keeps, self.intercept[:, np.newaxis]], axis=1)


def fit_rungs(part: Cells) -> tuple[FittedLevels, ...]:
    """Fit every rung to some steps of some cells, simplest first; each starts from the one before where it can."""
    fitted: list[FittedLevels] = []
    codes, values = binary_codes_of(part), value_codes_of(part)
    for rung in BINARY_RUNGS:
        fitted.append(_fit_binary(part, codes, rung, fitted[-1] if fitted else None))
    first = _first_levels(part)
    bounds = keep_range(part.activations.gate)
    fitted += [_fit_levels(values, rung, bounds, *first[rung.name]) for rung in LEVEL_RUNGS]
    return tuple(fitted)


def explain_cells(cells: Cells, rung: Rung, levels: FittedLevels) -> Float[np.ndarray, "step unit"]:
    """Give ĉ of every step, from the quantised gates and the initial cells."""
    codes = binary_codes_of(cells) if rung in BINARY_RUNGS else value_codes_of(cells)
    table = codes.table(levels), levels.sizes
    return cells.by_unit(run_tallies(*codes.formats, codes.quantised, table, (cells.start, cells.c_0)))


def binary_codes_of(cells: Cells) -> "Codes":
    """Round writes to down (-1), hold (0) and up (1), and keeps to reset (0) and keep (1)."""
    threshold = middle(cells.activations.gate)
    writes = np.where(cells.i > threshold, np.sign(cells.g), 0).astype(np.float64)
    keeps = (cells.f > threshold).astype(cells.f.dtype)
    return Codes(len(cells.units), writes, keeps, cells.c, cells.start, cells.c_0, (DOWN_HOLD_UP, RESET_KEEP))


def value_codes_of(cells: Cells) -> "Codes":
    """Round writes and keeps to the nearest level."""
    return Codes(len(cells.units), cells.write, cells.f, cells.c, cells.start, cells.c_0, None)


@dataclass(frozen=True, eq=False)
class Codes:
    """Cells with what their writes and keeps are rounded from; the edges between levels where they do not move."""

    units: int
    written: Float[np.ndarray, "group step lane"]
    kept: Float[np.ndarray, "group step lane"]
    c: Float[np.ndarray, "group step lane"]
    start: Int[np.ndarray, " sequence+1"]
    c_0: Float[np.ndarray, "group sequence lane"]
    edges: tuple[np.ndarray, np.ndarray] | None

    @property
    def formats(self) -> tuple[Format, Format]:
        """Of doubles, and of what is stored."""
        return in_double(), stored_as(self.c.dtype)

    @property
    def quantised(self) -> tuple[np.ndarray, np.ndarray]:
        """What is rounded."""
        return self.written, self.kept

    def pick(self, which: Int[np.ndarray, " unit"]) -> "Codes":
        """Take some of the units, side by side."""
        written, kept, c, c_0 = (pick_lanes(one, which) for one in (self.written, self.kept, self.c, self.c_0))
        return replace(self, units=len(which), written=written, kept=kept, c=c, c_0=c_0)

    def table(self, levels: FittedLevels) -> Float[np.ndarray, "group row lane"]:
        """Levels and the edges between them, as compiled code takes them."""
        writes, keeps = levels.writes, levels.keeps
        edges = self.edges or ((writes[:, 1:] + writes[:, :-1]) / 2, (keeps[:, 1:] + keeps[:, :-1]) / 2)
        return table_of(writes, np.atleast_2d(edges[0]), keeps, np.atleast_2d(edges[1]), levels.intercept)

    def run(
        self, levels: FittedLevels, before: np.ndarray, cuts: tuple[np.ndarray, np.ndarray],
        which: np.ndarray | None = None,
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:  # fmt: skip
        """Give Σe and Σe² of each stretch, (stretch, unit) both, and the tally after the last step."""
        writes, keeps = levels.sizes
        table = self.table(levels), ((0,) * writes, (0,) * keeps)
        sums, last = run_by_stretch(
            *self.formats, self.quantised, table, (self.c, before), cuts, self._groups(which)
        )  # fmt: skip
        by_unit = out_of_lanes(sums, self.units)
        return (by_unit[:, 0], by_unit[:, 1]), out_of_lanes(last, self.units)

    def squared_errors(self, levels: FittedLevels, which: np.ndarray) -> Float[np.ndarray, " unit"]:
        """Σ(c - ĉ)² of some units."""
        (_, squared), _ = self.run(levels, self.c_0, (self.start, np.arange(len(self.start) - 1)), which)
        total: np.ndarray = squared[0] if len(squared) == 1 else squared.sum(axis=0)
        return total

    def normal_equations(self, levels: FittedLevels, which: np.ndarray) -> Float[np.ndarray, "unit row row"]:
        """Products of derivatives and errors of some units, as :func:`normal_equations` gives them."""
        table, cells = (self.table(levels), levels.sizes), (self.c, self.start, self.c_0)
        products = normal_equations(*self.formats, self.quantised, table, cells, self._groups(which))
        return np.moveaxis(out_of_lanes(products, self.units), -1, 0)

    def _groups(self, which: np.ndarray | None) -> np.ndarray:
        return np.arange(len(self.c)) if which is None else np.unique(np.flatnonzero(which) // self.c.shape[-1])


@dataclass(frozen=True, eq=False)
class _Family:
    """How the free numbers of a rung make its levels: (writes, keeps, intercept) = base + matrix @ free.

    ``keeps`` says which of the free numbers are keeps and ``bounds`` between what they stay; ``sort`` puts write levels
    and keep levels in order.
    """

    rung: Rung
    base: np.ndarray
    matrix: np.ndarray
    keeps: slice
    bounds: tuple[float, float]
    sort: bool

    def levels(self, free: np.ndarray) -> FittedLevels:
        """Levels of each unit."""
        return FittedLevels.of(self.base + free @ self.matrix.T, self.rung)

    def admit(self, free: np.ndarray) -> np.ndarray:
        """Give the nearest free numbers that are allowed."""
        inside = free.copy()
        inside[:, self.keeps] = np.clip(inside[:, self.keeps], *self.bounds)
        if self.sort:
            for part in (slice(0, self.rung.writes), self.keeps):
                inside[:, part] = np.sort(inside[:, part], axis=1)
        return inside


def _fit_binary(cells: Cells, codes: Codes, rung: Rung, before: FittedLevels | None) -> FittedLevels:
    """Fit one of the first four rungs: the codes are given, only the levels are free."""
    # Levels in the order down, hold, up, reset, keep, intercept.
    one_step = np.array([-1.0, 0, 1, 0, 0, 0])
    down, up, reset, keep, intercept = np.eye(6)[[0, 2, 3, 4, 5]]
    steps = [one_step] if rung.parameters == 2 else [down, up]
    free_keeps = [keep, reset][: max(0, rung.parameters - 3)]
    matrix = np.stack([*steps, *free_keeps, intercept], axis=1)
    base = keep * (not free_keeps)
    family = _Family(rung, base, matrix, slice(len(steps), -1), keep_range(cells.activations.gate), sort=False)
    if before is None:
        # From the mean write on: what step and intercept explain alike (the same write at every step) is the step's.
        moves = codes.written != 0
        sizes = np.abs(cells.write, where=moves, out=np.zeros_like(cells.write)).sum(axis=1)
        size = out_of_lanes(sizes / np.maximum(moves.sum(axis=1), 1), len(cells.units))
        free = np.stack([size, np.zeros_like(size)], axis=1)
    else:  # the rung below is one choice of this rung's numbers
        free = (before.flat() - base) @ np.linalg.pinv(matrix).T
    return family.levels(_descend(codes, family, free))


def _first_levels(part: Cells) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Lloyd's levels of writes and keeps of each rung, by unit."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {rung.name: [] for rung in LEVEL_RUNGS}
    for unit in range(len(part.units)):
        writes = Sorted.ascending(np.sort(part.of_unit(part.write, unit)))
        # Quantising f errs by the error times the cell before: that is how much each step's f counts.
        keeps = Sorted(part.of_unit(part.f, unit), part.of_unit(part.before, unit) ** 2)
        for rung in LEVEL_RUNGS:
            found[rung.name].append((writes.levels(rung.writes), keeps.levels(rung.keeps)))
    return {name: (np.stack([w for w, _ in some]), np.stack([k for _, k in some])) for name, some in found.items()}


def _fit_levels(
    values: Codes, rung: Rung, bounds: tuple[float, float], writes: np.ndarray, keeps: np.ndarray
) -> FittedLevels:  # fmt: skip
    """Fit writes and keeps in a few levels each, from Lloyd's levels on; every level is free."""
    size = rung.writes + rung.keeps + 1
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
    found = family.admit(free)
    which, free, damping = np.arange(len(found)), found, np.full(len(found), 1e-6)
    alive = np.ones(len(found), dtype=bool)
    linear = error, normal, moment = _linearised(codes, family, free, alive)
    for _ in range(ITERATIONS):
        if codes.edges is not None:  # where codes move with the levels, the linear model promises nothing
            alive &= _promised(normal, moment) > HOPELESS * BETTER * error
        alive &= ~_try(codes, family, alive, free, linear, damping)
        if not alive.any():
            break
        if 2 * alive.sum() <= len(alive):  # the others take room in the registers
            found[which] = free
            codes, which = codes.pick(np.flatnonzero(alive)), which[alive]
            free, damping = free[alive], damping[alive]
            linear = error, normal, moment = error[alive], normal[alive], moment[alive]
            alive = alive[alive]
        for kept, new in zip(linear, _linearised(codes, family, free, alive), strict=True):
            kept[alive] = new[alive]
    found[which] = free
    return found


def _try(
    codes: Codes, family: _Family, alive: np.ndarray, free: np.ndarray,
    linear: tuple[np.ndarray, np.ndarray, np.ndarray], damping: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Take a step of each unit, with more and more damping until it lowers the error; say where none does."""
    error, normal, moment = linear
    trying = alive.copy()
    for _ in range(TRIES):
        if not trying.any():
            break
        candidate = free.copy()
        candidate[trying] = family.admit(free[trying] + _damped_step(normal, moment, damping, trying))
        trial = codes.squared_errors(family.levels(candidate), trying)
        better = trying & (trial < error * (1 - BETTER))
        free[better], error[better] = candidate[better], trial[better]
        damping[better] = np.maximum(damping[better] / 5, 1e-8)
        trying &= ~better
        damping[trying] = np.maximum(10 * damping[trying], 1e-4)
    return trying


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
    lower = codes.normal_equations(family.levels(free), alive)
    size = family.matrix.shape[0]  # the row behind the derivatives is the error
    derivatives = np.tril(lower[:, :size, :size])
    normal = derivatives + np.swapaxes(np.tril(derivatives, -1), 1, 2)
    return (
        lower[:, size, size].copy(),
        family.matrix.T @ normal @ family.matrix,
        lower[:, size, :size] @ family.matrix,
    )
