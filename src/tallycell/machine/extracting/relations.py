"""What holds between the cells of a network at every step: two that move together, one that is the sum of others.

Relations are guessed from runs and then hold or not: each step of a walk is checked to keep them. They exclude
combinations of signs that no string reaches.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.extracting.snapping import CountedRun

LARGEST = 3  # of a coefficient: relations with larger ones are accidents of what was seen
_PRIME = 2**31 - 1
_FAR = 10**9  # larger than any level, small enough that sums of a few do not overflow


@dataclass(frozen=True, eq=False)
class Relations:
    """Sums of cells that never change: ``weights @ cells == constant``.

    Attributes
    ----------
    weights
        (relation, cell), small integers.
    constant
        (relation,).

    Examples
    --------
    Two cells that are always the same; not both can be positive and zero:

    >>> same = Relations(np.array([[1, -1]]), np.array([0]))
    >>> same.allow(np.array([[1, 1], [1, 0], [0, 0]]), np.array([1, 1]))
    array([ True, False,  True])
    """

    weights: Int[np.ndarray, "relation cell"]
    constant: Int[np.ndarray, " relation"]

    @classmethod
    def none(cls, cells: int) -> "Relations":
        """No relations between so many cells."""
        return cls(np.zeros((0, cells), np.int64), np.zeros(0, np.int64))

    def without(self, which: Bool[np.ndarray, " relation"]) -> "Relations":
        """Give the others."""
        return Relations(self.weights[~which], self.constant[~which])

    def allow(
        self, level: Int[np.ndarray, "situation cell"], bound: Int[np.ndarray, " cell"]
    ) -> Bool[np.ndarray, " situation"]:
        """Whether levels can stand together: cells of these sizes exist that fulfil all relations."""
        low = np.where(level <= -bound, -_FAR, level)
        high = np.where(level >= bound, _FAR, level)
        up, down = np.maximum(self.weights, 0).T, np.minimum(self.weights, 0).T
        least, most = low @ up + high @ down, high @ up + low @ down
        fits: np.ndarray = ((least <= self.constant) & (most >= self.constant)).all(axis=1)
        return fits

    def broken_by(
        self,
        level: Int[np.ndarray, "edge cell"],
        keep: Bool[np.ndarray, "edge cell"],
        step: Int[np.ndarray, "edge cell"],
        bound: Int[np.ndarray, " cell"],
    ) -> Bool[np.ndarray, " relation"]:
        """Whether a step from some level is not seen to keep each relation.

        What is kept of the sum is the constant less the cells that are reset; their size must be known, unless all
        of them are.
        """
        broken = np.zeros(len(self.constant), bool)
        for number, (weights, constant) in enumerate(zip(self.weights, self.constant, strict=True)):
            used = np.nonzero(weights)[0]
            weight, reset, size = weights[used], ~keep[:, used], level[:, used]
            added = step[:, used] @ weight
            unknown = (reset & (np.abs(size) >= bound[used])).any(axis=1)
            lost = (reset * size) @ weight
            all_reset = reset.all(axis=1)
            kept = np.where(all_reset, added == constant, ~unknown & (added == lost))
            broken[number] = not kept.all()
        return broken


def seen_relations(run: CountedRun) -> Relations:
    """Find the relations that held between the counting cells wherever strings came.

    Cells that a step never both keeps and moves are flags: what holds between them is walked anyway.

    Parameters
    ----------
    run
        Strings through the snapped network.
    """
    took = np.arange(len(run.keep))[:, None] < run.lengths
    counting = np.nonzero((run.keep & (run.step != 0))[took].any(axis=0))[0]
    seen = np.unique(run.count[np.arange(len(run.count))[:, None] <= run.lengths][:, counting], axis=0)
    cells = run.count.shape[-1]
    weights, constants = [], []
    for solution in _null_space(np.column_stack([seen, np.ones(len(seen), np.int64)])):
        if max(map(abs, solution), default=0) < _FAR and 0 < max(map(abs, solution[:-1]), default=0) <= LARGEST:
            weights.append(np.zeros(cells, np.int64))
            weights[-1][counting] = solution[:-1]
            constants.append(-solution[-1])
    if not weights:
        return Relations.none(cells)
    return Relations(np.array(weights), np.array(constants))


def _null_space(rows: Int[np.ndarray, "row column"]) -> list[list[int]]:
    """Integer vectors that are orthogonal to all rows, one for each dimension.

    Of many columns their numbers can be larger than 64 bits hold. So which rows they miss is looked for modulo a prime;
    a row whose product is a multiple of it by chance would leave a relation too many, which the walk then notices.
    """
    columns = rows.shape[1]
    reduced: dict[int, list[Fraction]] = {}  # rows in reduced echelon form, by the column of their leading 1
    while True:
        solutions = _solutions(reduced, columns)
        # A row that is not orthogonal to all of them adds a dimension: at most so many times as there are columns.
        remainders = np.array([[value % _PRIME for value in one] for one in solutions], np.int64).reshape(-1, columns)
        missed = np.nonzero((rows @ remainders.T % _PRIME).any(axis=1))[0]
        if not len(missed):
            return solutions
        new = [Fraction(int(value)) for value in rows[missed[0]]]
        for lead, row in reduced.items():
            new = [a - new[lead] * b for a, b in zip(new, row, strict=True)]
        lead = next(k for k, value in enumerate(new) if value)
        new = [value / new[lead] for value in new]
        for other, row in reduced.items():
            reduced[other] = [a - row[lead] * b for a, b in zip(row, new, strict=True)]
        reduced[lead] = new


def _solutions(reduced: dict[int, list[Fraction]], columns: int) -> list[list[int]]:
    solutions = []
    for free in sorted(set(range(columns)) - reduced.keys()):
        exact = [Fraction(int(k == free)) for k in range(columns)]
        for lead, row in reduced.items():
            exact[lead] = -row[free]
        scale = lcm(*(value.denominator for value in exact))
        solutions.append([int(value * scale) for value in exact])
    return solutions
