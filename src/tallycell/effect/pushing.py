"""What a unit pushes: the outputs that rise and fall when it is shown, where its weights and its hold agree."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tallycell.effect.effects import Push
from tallycell.effect.holding import Case, FreeRun, Ran
from tallycell.effect.outputs import Readout
from tallycell.effect.stretches import Stretch

MOST = 5  # outputs that are looked at on either side
ONE_SIDED = 0.5  # size of the mean of h, as a share of its mean size, from which a unit is shown on one side of 0
OF_THE_LARGEST = 0.25  # share of the largest push that an output must have


class Pushes:
    """Sums of what the outputs lose where cells are not shown, for cells of the last layer.

    Parameters
    ----------
    readout
        The linear layer; with a projection, or a product of two directions, nothing is said.
    cases
        Which cells; those held together with others are left out.
    centred
        Whether only differences between outputs count, as before a softmax.
    """

    def __init__(self, readout: Readout, cases: Sequence[Case], *, centred: bool) -> None:
        self._readout, self._cases, self._centred = readout, cases, centred
        self._changes = np.zeros((len(cases), len(readout)))
        self._shown, self._sizes = np.zeros(len(cases)), np.zeros(len(cases))
        plain = readout.merge != "mul" and not readout.parameters.proj_size
        last = readout.parameters.num_layers - 1
        self._said = [plain and len(case) == 1 and case[0].layer == last for case in cases]

    def add(self, free: FreeRun, stretches: Sequence[Stretch], ran: Ran) -> None:
        """Add what some cases say on some stretches: by how much h is shown, what the outputs lose without it."""
        numbers = range(ran.cases.start, ran.cases.stop)
        chosen = [k for k, number in enumerate(numbers) if self._said[number]]
        if not chosen:
            return
        h = free.measured(stretches)[:, ran.steps]
        cells = [self._cases[numbers[k]][0] for k in chosen]
        show = self._readout.shown
        shown = show(np.stack([h[cell.direction, ..., cell.unit] for cell in cells], axis=-1))  # (time, stretch, case)
        # What follows is linear, so that what is weighed and summed may be what is shown instead of the outputs.
        free_h, held = (show(self._readout.joined(one)) for one in (h, ran.h[:, :, :, chosen]))
        moved = np.einsum("tsk,tsh->kh", shown, free_h) - np.einsum("tsk,tskh->kh", shown, held)
        lost = self._readout.weighed(moved.astype(np.float64))
        numbers_of = [numbers[k] for k in chosen]
        self._changes[numbers_of] += lost
        self._shown[numbers_of] += shown.sum((0, 1), dtype=np.float64)
        self._sizes[numbers_of] += np.abs(shown).sum((0, 1), dtype=np.float64)

    def of(self, number: int) -> Push:
        """Name the outputs that a case raises, and those that it lowers, the most moved first."""
        if not self._said[number] or self._sizes[number] == 0:
            return Push()
        both_ways = bool(abs(self._shown[number]) < ONE_SIDED * self._sizes[number])
        side = 1.0 if both_ways else np.sign(self._shown[number])
        measured, weights = side * self._changes[number], side * self._weights(number)
        if self._centred:
            measured, weights = measured - measured.mean(), weights - weights.mean()
        named = self._readout.names is not None
        return Push(self._agreed(measured, weights), self._agreed(-measured, -weights), both_ways, named)

    def _weights(self, number: int) -> Float[np.ndarray, " output"]:
        cell = self._cases[number][0]
        p = self._readout.parameters
        both = self._readout.merge is None and p.bidirectional
        column: np.ndarray = self._readout.weight[:, cell.unit + (cell.direction * p.output_size if both else 0)]
        return column.astype(np.float64)

    def _agreed(self, measured: np.ndarray, weights: np.ndarray) -> tuple[str, ...]:
        """Names of the outputs that are among those most raised by either account."""
        foremost = [
            {k for k in np.argsort(-by)[:MOST].tolist() if by[k] > 0 and by[k] >= OF_THE_LARGEST * np.abs(by).max()}
            for by in (measured, weights)
        ]
        both = sorted(foremost[0] & foremost[1], key=lambda k: -measured[k])
        names = self._readout.names or (
            ["the output"] if len(weights) == 1 else [f"output {k}" for k in range(len(weights))]
        )
        return tuple(names[k] for k in both)
