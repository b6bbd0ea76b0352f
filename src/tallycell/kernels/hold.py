"""Interventions: hold a gate or a state of chosen units at a value, and see what changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.names import DIRECTIONS, SEQUENCE, STEP_VARIABLES, TIME, UNIT
from tallycell.wording import quoted

MEAN = "mean"  # the value of a hold that stands for each unit's mean where nothing is held
_DIMS = (TIME, SEQUENCE, UNIT)


@dataclass(frozen=True, eq=False)
class Hold:
    """Hold a gate or state of some units at a value during some steps.

    Attributes
    ----------
    gate
        ``"i"``, ``"f"``, ``"g"`` or ``"o"``; or a state, ``"c"`` or ``"h"``. A held value takes part in all that
        follows from it: with f = 1 - i, holding i moves f.
    value
        What it is held at: a number; ``"mean"``, each unit's mean in a run in which nothing is held; or an array over
        the steps that are held, (time,) or (sequence, time), so that what another run had there can be put in. A
        ``DataArray`` goes by the names of its dimensions: any of ``sequence``, ``time`` and ``unit``. NaN in an array
        leaves a unit free there.
    layer, direction
        Where; direction is ``"forward"`` or ``"reverse"``.
    units
        Which units; all if not given.
    steps
        Which steps of the input, as a slice or numbers; all if not given.

    Raises
    ------
    InputError
        If there is no such gate or direction, or the value is none of these.

    Examples
    --------
    >>> Hold("f", 1.0, units=[3])
    Hold(gate='f', value=1.0, layer=0, units=[3], steps=slice(None, None, None), direction='forward')
    >>> Hold("c", np.zeros((2, 5))).dims
    ('sequence', 'time')
    """

    gate: str
    value: Any
    layer: int = 0
    units: Sequence[int] | slice = field(default_factory=lambda: slice(None))
    steps: Sequence[int] | slice = field(default_factory=lambda: slice(None))
    direction: str = "forward"

    def __post_init__(self) -> None:
        if self.gate not in STEP_VARIABLES:
            raise InputError(f"cannot hold {self.gate!r}; what can be held is {', '.join(STEP_VARIABLES)}")
        if not (isinstance(self.value, str) and self.value == MEAN):
            self._check_value()
        if self.direction not in DIRECTIONS:
            raise InputError(f"cannot hold in direction {self.direction!r}; directions are {' and '.join(DIRECTIONS)}")

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of the value; none of a number and of ``"mean"``."""
        if hasattr(self.value, "dims"):
            return tuple(map(str, self.value.dims))
        return ((), (TIME,), (SEQUENCE, TIME))[np.ndim(self.value)]

    def values(self) -> Float[np.ndarray, "time sequence unit"]:
        """Give the value as an array, with dimensions of size 1 where it does not differ."""
        array = np.asarray(self.value, dtype=np.float64)
        order = sorted(range(array.ndim), key=lambda axis: _DIMS.index(self.dims[axis]))
        there = [array.shape[self.dims.index(dim)] if dim in self.dims else 1 for dim in _DIMS]
        return array.transpose(order).reshape(there)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hold):
            return NotImplemented
        plain = [one.name for one in fields(self) if one.name != "value"]
        same = all(getattr(self, name) == getattr(other, name) for name in plain) and self.dims == other.dims
        texts = [isinstance(one.value, str) for one in (self, other)]
        if any(texts):
            return same and all(texts)
        return same and np.array_equal(self.values(), other.values(), equal_nan=True)

    __hash__ = None  # type: ignore[assignment]

    def _check_value(self) -> None:
        named = hasattr(self.value, "dims")
        try:
            array = np.asarray(self.value, dtype=np.float64)
        except (TypeError, ValueError, RuntimeError):  # the last of torch, of a tensor that requires a gradient
            raise InputError(
                f"cannot hold {self.gate} at {quoted(self.value)}; give a finite number, 'mean', or an array of "
                "numbers; detach a tensor that requires a gradient"
            ) from None
        if not array.ndim and not np.isfinite(array):
            raise InputError(f"cannot hold {self.gate} at {self.value}; give a finite number")
        if named and (unknown := [str(dim) for dim in self.value.dims if dim not in _DIMS]):
            raise InputError(
                f"cannot hold {self.gate} at values with the dimension {', '.join(map(quoted, unknown))}; expected any "
                f"of {', '.join(_DIMS)}"
            )
        if not named and array.ndim > 2:
            raise InputError(
                f"cannot hold {self.gate} at values of shape {array.shape}; expected (time,) or (sequence, time), or a "
                "DataArray, which goes by the names of its dimensions"
            )
        if not array.size or np.isinf(array).any():
            raise InputError(f"cannot hold {self.gate} at values that are infinite, or none; NaN leaves a unit free")
        if not array.ndim and not isinstance(self.value, int | float | np.number):
            object.__setattr__(self, "value", float(array))  # a number, however it was wrapped


class Sized(Protocol):
    """What a hold asks of an LSTM."""

    @property
    def num_layers(self) -> int:
        """Give the number of layers."""

    @property
    def num_directions(self) -> int:
        """Give 1 or 2."""

    @property
    def hidden_size(self) -> int:
        """Give the number of units."""

    @property
    def output_size(self) -> int:
        """Give the size of h."""

    @property
    def dtype(self) -> np.dtype:
        """Give that of the weights."""


def read_holds(hold: object) -> tuple[Hold, ...]:
    """Take one hold or several.

    Raises
    ------
    InputError
        If what is given is no hold.

    Examples
    --------
    >>> read_holds(Hold("f", 1.0)) == read_holds([Hold("f", 1.0)])
    True
    """
    if isinstance(hold, Hold):
        return (hold,)
    if isinstance(hold, str | Mapping) or not isinstance(hold, Iterable):
        raise InputError(f"hold is {quoted(hold)}; give a Hold, or a list of them")
    holds = tuple(hold)
    for one in holds:
        if not isinstance(one, Hold):
            raise InputError(f"{quoted(one)} is no hold; give a Hold, such as Hold('f', 1.0, units=[3])")
    return holds


def check_holds(holds: Iterable[Hold], parameters: Sized, time: int, sequences: int) -> None:
    """Refuse holds that do not fit, those at the mean too; see :func:`held_values`."""
    for hold in holds:
        known = replace(hold, value=0.0) if isinstance(hold.value, str) else hold
        held_values([known], parameters, hold.layer, DIRECTIONS.index(hold.direction), time, sequences)


def at_means(hold: Hold, means: Float[np.ndarray, " unit"]) -> Hold:
    """Put into a hold at the mean those of all units, of which it takes its own."""
    values = means[_numbers(hold.units, len(means), "unit")]
    return replace(hold, value=xr.DataArray(values, dims=UNIT))


def held_values(
    holds: Iterable[Hold], parameters: Sized, layer: int, direction: int, time: int, sequences: int
) -> dict[str, Float[np.ndarray, "time unit"] | Float[np.ndarray, "time sequence unit"]]:
    """Values that the holds give to one layer and direction, by letter; NaN where a unit is free.

    They are (time, sequence, unit) where a hold differs by sequence; a broadcast view where none differs by step.

    Raises
    ------
    InputError
        If a hold names a layer, direction, unit or step that is not there, or has not one value for each of its own
        and for each sequence.
    """
    by_letter: dict[str, list[Hold]] = {}
    for hold in holds:
        _check(hold, parameters)
        if (hold.layer, hold.direction) == (layer, DIRECTIONS[direction]):
            by_letter.setdefault(hold.gate, []).append(hold)
    sizes = {letter: parameters.output_size if letter == "h" else parameters.hidden_size for letter in by_letter}
    return {
        letter: _laid_out(some, (time, sequences, sizes[letter]), parameters.dtype)
        for letter, some in by_letter.items()
    }


def _laid_out(
    holds: Sequence[Hold], shape: tuple[int, int, int], dtype: np.dtype
) -> Float[np.ndarray, "time unit"] | Float[np.ndarray, "time sequence unit"]:
    """Lay out the values of all holds of one gate or state; of two of one place the later counts."""
    time, sequences, size = shape
    places = [(_numbers(hold.steps, time, "step"), _numbers(hold.units, size, "unit")) for hold in holds]
    given = [
        _fitting(hold, steps.size, sequences, units.size) for hold, (steps, units) in zip(holds, places, strict=True)
    ]
    differ = max(values.shape[1] for values in given)
    always = all(
        isinstance(hold.steps, slice) and steps.size == time and len(values) == 1
        for hold, (steps, _), values in zip(holds, places, given, strict=True)
    )
    held = np.full((1 if always else time, differ, size), np.nan, dtype)
    for (steps, units), values in zip(places, given, strict=True):
        at = np.ix_(np.arange(1) if always else steps, np.arange(differ), units)
        held[at] = np.where(np.isnan(values), held[at], values)
    held = held if differ > 1 else held[:, 0]
    return np.broadcast_to(held, (time, *held.shape[1:]))


def _fitting(hold: Hold, steps: int, sequences: int, units: int) -> Float[np.ndarray, "time sequence unit"]:
    """Give the values of a hold, one for each of its steps and units, and for each sequence."""
    values = hold.values()
    expected = {TIME: (steps, "steps"), SEQUENCE: (sequences, "sequences"), UNIT: (units, "units")}
    for found, (dim, (wanted, what)) in zip(values.shape, expected.items(), strict=True):
        if dim in hold.dims and found != wanted:
            raise InputError(
                f"the hold of {hold.gate} in layer {hold.layer}, {hold.direction}, has values for {found} {what}, and "
                f"{wanted} are held; give one for each"
            )
    return values


def _check(hold: Hold, parameters: Sized) -> None:
    if not 0 <= hold.layer < parameters.num_layers:
        raise InputError(
            f"{quoted(hold)} names layer {hold.layer}; the LSTM has {parameters.num_layers}, counted from 0"
        )
    if DIRECTIONS.index(hold.direction) >= parameters.num_directions:
        raise InputError(f"{quoted(hold)} names the reverse direction; the LSTM reads forward only")


def _numbers(chosen: Sequence[int] | slice, size: int, what: str) -> np.ndarray:
    everything = np.arange(size)
    if isinstance(chosen, slice):
        return everything[chosen]
    if outside := [k for k in chosen if not -size <= k < size]:
        raise InputError(f"a hold names {what} {outside[0]}; there are {size}, counted from 0")
    return everything[list(chosen)]
