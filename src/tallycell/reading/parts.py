"""Parts of an input: its beginning, or some of its sequences, with all that is known of these steps."""

from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tallycell.input import Input
from tallycell.names import SEQUENCE, TIME
from tallycell.reading.alignment import align_quantities, units_of
from tallycell.reading.triggers import read_tokens


def lengths_of(given: Input) -> Int[np.ndarray, " sequence"]:
    """Count the steps of each sequence of an input."""
    if given.lengths is not None:
        return np.asarray(given.lengths).reshape(-1)
    time, *sequences, _ = given.x.shape
    return np.full(sequences[0] if sequences else 1, time)


def quantities_of(given: Input) -> dict[str, Float[np.ndarray, "sequence time"]]:
    """Give each known quantity at each step of an input, by its labels, as for a trace of all steps.

    Raises
    ------
    InputError
        If one does not fit the input.
    """
    time, *sequences, _ = given.x.shape
    labels = {SEQUENCE: np.arange(sequences[0] if sequences else 1), TIME: np.arange(time)}
    if isinstance(given.x, xr.DataArray):
        labels |= {name: given.x[name].to_numpy() for name in labels if name in given.x.coords and given.x[name].ndim}
    return align_quantities(given.quantities, xr.Dataset(coords=labels))


def sequences_of(given: Input, which: Int[np.ndarray, " some"]) -> Input:
    """Take some sequences of an input of several, (time, sequence, feature), as long as the longest of them."""
    lengths = lengths_of(given)
    steps = slice(int(lengths[which].max()))
    x = given.x.isel({SEQUENCE: which, TIME: steps}) if isinstance(given.x, xr.DataArray) else given.x[steps, which]
    tokens = None if given.tokens is None else read_tokens(given.tokens, lengths)
    state = given.state
    if state is not None:
        state = np.asarray(state[0])[:, which], np.asarray(state[1])[:, which]
    return replace(
        given, x=x, lengths=lengths[which], state=state,
        tokens=None if tokens is None else [tokens[k] for k in which.tolist()],
        quantities=_some(given, which, steps),
    )  # fmt: skip


def first_steps(given: Input, count: int) -> Input:
    """Take the first steps of one sequence; of several the first, as many as have no more steps together, but one.

    Examples
    --------
    >>> one = Input(np.zeros((9, 2)), "x", "zeros", tokens=list("abcdefghi"))
    >>> first_steps(one, 3).x.shape, first_steps(one, 3).tokens
    ((3, 2), ['a', 'b', 'c'])
    >>> first_steps(Input(np.zeros((9, 5, 2)), "x", "zeros"), 20).x.shape
    (9, 2, 2)
    """
    if len(given.x.shape) == 3:
        together = np.cumsum(lengths_of(given))
        return sequences_of(given, np.arange(max(1, int(np.searchsorted(together, count, side="right")))))
    steps = slice(count)
    x = given.x.isel({TIME: steps}) if isinstance(given.x, xr.DataArray) else given.x[steps]
    tokens = None if given.tokens is None else read_tokens(given.tokens, lengths_of(given))[0][steps]
    return replace(
        given, x=x, tokens=tokens, quantities=_some(given, np.array([0]), steps),
        lengths=None if given.lengths is None else np.minimum(given.lengths, count),
    )  # fmt: skip


def _some(given: Input, which: Int[np.ndarray, " some"], steps: slice) -> dict[str, xr.DataArray]:
    """Take some values of the known quantities, which go by position from here on, with what they are measured in."""
    units = {name: {"units": unit} for name, unit in units_of(given.quantities).items()}
    return {
        name: xr.DataArray(values[which, steps], dims=(SEQUENCE, TIME), attrs=units.get(name))
        for name, values in quantities_of(given).items()
    }
