"""Steps of a cell that is called in a loop: which one a call is, and what a hold says of it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.kernels.hold import Hold
from tallycell.names import TIME
from tallycell.trace.calls import states_of

if TYPE_CHECKING:
    import torch


class CellSteps:
    """Count the calls of a cell, sequence by sequence.

    A call whose state came out of an earlier call goes on counting, row by row, whatever row it was then; so each copy
    of a state goes on too, as a beam search makes them. Zeros and states from elsewhere begin at 0. Bits say where a
    state came from; of zeros, which say nothing, only rows of the very tensor that the cell gave, as it gave them.
    """

    def __init__(self) -> None:
        from torch.utils.weak import WeakTensorKeyDictionary

        self._by_state: dict[bytes | None, int] = {}
        self._given: Any = WeakTensorKeyDictionary()

    def of(self, hx: "tuple[torch.Tensor, torch.Tensor] | None", sequences: int) -> Int[np.ndarray, " sequence"]:
        """Give the number of the step that a call from these states is, for each of its sequences."""
        if hx is None:
            return np.zeros(sequences, np.int64)
        keys, (given, steps) = _keys(hx), self._given.get(hx[0], ((), ()))
        same = dict(zip(enumerate(given), steps, strict=True))  # rows that nobody has written over since
        return np.array([same.get((row, key), self._by_state.get(key, 0)) for row, key in enumerate(keys)], np.int64)

    def note(self, states: "tuple[torch.Tensor, torch.Tensor]", steps: Int[np.ndarray, " sequence"]) -> None:
        """Keep what came out of a call, which the next may go on from."""
        keys = _keys(states)
        self._given[states[0]] = keys, steps + 1
        self._by_state.update({key: int(step) + 1 for key, step in zip(keys, steps, strict=True) if key is not None})


def _keys(states: "tuple[torch.Tensor, torch.Tensor]") -> list[bytes | None]:
    """Bits of each sequence's states; None for zeros."""
    h, c = states_of(states, states[0].dim() == 1)
    both = np.concatenate([h[0], c[0]], axis=-1)
    return [row.tobytes() if row.any() else None for row in both]


def check_cell_hold(hold: Hold) -> None:
    """Refuse a hold that only whole sequences can obey: how many steps a loop will have, nobody knows.

    Raises
    ------
    InputError
        If it asks for the mean, counts steps from the end, or has not one value for each of the steps it names.

    Examples
    --------
    >>> check_cell_hold(Hold("f", [1.0, 0.0], steps=[3]))
    Traceback (most recent call last):
    tallycell.errors.InputError: a hold of f has values for 2 steps, and 1 are held; give one for each
    """
    if isinstance(hold.value, str):
        raise InputError(
            f"a hold of {hold.gate} asks for the mean, which a cell that runs step by step does not know; give the "
            "number, taken from a trace in which nothing is held"
        )
    if isinstance(hold.steps, slice):
        start, stop, stride = hold.steps.start or 0, hold.steps.stop, hold.steps.step or 1
        numbers, named = [start, stop or 0, stride], None if stop is None else len(range(start, stop, stride))
    else:
        numbers, named = list(hold.steps), len(hold.steps)
    if any(number < 0 for number in numbers):
        raise InputError(
            f"a hold of {hold.gate} counts steps from the end, which a cell in a loop does not know; count from 0, "
            "where the sequence began"
        )
    if TIME in hold.dims and named is not None and (values := hold.values().shape[0]) != named:
        raise InputError(
            f"a hold of {hold.gate} has values for {values} steps, and {named} are held; give one for each"
        )


def hold_at_step(hold: Hold, step: int) -> Hold | None:
    """Give what a hold says of one step, as a hold of a sequence that has no other; None where it holds nothing then.

    Raises
    ------
    InputError
        If its values end before that step, and its steps do not.

    Examples
    --------
    >>> hold_at_step(Hold("c", [0.5, 0.25], steps=[3, 7]), 7).values().item()
    0.25
    >>> hold_at_step(Hold("c", 1.0, steps=slice(2)), 2)
    """
    if isinstance(hold.steps, slice):
        stop = step + 1 if hold.steps.stop is None else hold.steps.stop
        steps: range | list[int] = range(hold.steps.start or 0, stop, hold.steps.step or 1)
    else:
        steps = [int(number) for number in hold.steps]
    if step not in steps:
        return None
    if TIME not in hold.dims:
        return replace(hold, steps=slice(None))
    place, values = steps.index(step), xr.DataArray(np.asarray(hold.value, np.float64), dims=hold.dims)
    if place >= values.sizes[TIME]:
        raise InputError(
            f"a hold of {hold.gate} has values for {values.sizes[TIME]} steps, and a sequence goes on to step {step}; "
            "give it one for each, or name its steps"
        )
    return replace(hold, value=values.isel({TIME: [place]}), steps=slice(None))
