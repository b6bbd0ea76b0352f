"""Interventions: hold a gate or a state of chosen units at a value, and see what changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.names import DIRECTIONS, STEP_VARIABLES
from tallycell.parameters import LSTMParameters


@dataclass(frozen=True)
class Hold:
    """Hold a gate or state of some units at a value during some steps.

    Attributes
    ----------
    gate
        ``"i"``, ``"f"``, ``"g"`` or ``"o"``; or a state, ``"c"`` or ``"h"``. A held value takes part in all that
        follows from it: with f = 1 - i, holding i moves f.
    value
        What it is held at.
    layer, direction
        Where; direction is ``"forward"`` or ``"reverse"``.
    units
        Which units; all if not given.
    steps
        Which steps of the input, as a slice or numbers; all if not given.

    Examples
    --------
    >>> Hold("f", 1.0, units=[3])
    Hold(gate='f', value=1.0, layer=0, units=[3], steps=slice(None, None, None), direction='forward')
    """

    gate: str
    value: float
    layer: int = 0
    units: Sequence[int] | slice = field(default_factory=lambda: slice(None))
    steps: Sequence[int] | slice = field(default_factory=lambda: slice(None))
    direction: str = "forward"

    def __post_init__(self) -> None:
        if self.gate not in STEP_VARIABLES:
            raise InputError(f"cannot hold {self.gate!r}; what can be held is {', '.join(STEP_VARIABLES)}")
        if not np.isfinite(self.value):
            raise InputError(f"cannot hold {self.gate} at {self.value}; give a finite number")
        if self.direction not in DIRECTIONS:
            raise InputError(f"cannot hold in direction {self.direction!r}; directions are {' and '.join(DIRECTIONS)}")


def held_values(
    holds: Iterable[Hold], parameters: LSTMParameters, layer: int, direction: int, time: int
) -> dict[str, Float[np.ndarray, "time unit"]]:
    """Values that the holds give to one layer and direction, by letter; NaN where a unit is free.

    Raises
    ------
    InputError
        If a hold names a layer, direction, unit or step that is not there.
    """
    held: dict[str, np.ndarray] = {}
    for hold in holds:
        _check(hold, parameters)
        if (hold.layer, hold.direction) != (layer, DIRECTIONS[direction]):
            continue
        size = parameters.output_size if hold.gate == "h" else parameters.hidden_size
        values = held.setdefault(hold.gate, np.full((time, size), np.nan, parameters.dtype))
        steps, units = _numbers(hold.steps, time, "step"), _numbers(hold.units, size, "unit")
        values[np.ix_(steps, units)] = hold.value
    return held


def _check(hold: Hold, parameters: LSTMParameters) -> None:
    if not 0 <= hold.layer < parameters.num_layers:
        raise InputError(f"{hold} names layer {hold.layer}; the LSTM has {parameters.num_layers}, counted from 0")
    if DIRECTIONS.index(hold.direction) >= parameters.num_directions:
        raise InputError(f"{hold} names the reverse direction; the LSTM reads forward only")


def _numbers(chosen: Sequence[int] | slice, size: int, what: str) -> np.ndarray:
    everything = np.arange(size)
    if isinstance(chosen, slice):
        return everything[chosen]
    if outside := [k for k in chosen if not -size <= k < size]:
        raise InputError(f"a hold names {what} {outside[0]}; there are {size}, counted from 0")
    return everything[list(chosen)]
