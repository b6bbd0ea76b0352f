"""What was held in the sequences of a capture, as holds that record them again."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.kernels.hold import Hold
from tallycell.names import DIRECTIONS, SEQUENCE, TIME, UNIT
from tallycell.trace.held_forward import HeldCall

# Of one sequence in one call, by layer, direction and letter; NaN where a unit was free.
HeldPiece = Mapping[tuple[int, int, str], Float[np.ndarray, "time unit"]]


def held_piece(call: HeldCall | None, row: int, steps: int) -> HeldPiece:
    """Take what was held in one row of a call, as far as its steps go."""
    if call is None:
        return {}
    return {
        (*at, letter): values[:steps, row if values.shape[1] > 1 else 0]
        for at, by_letter in call.values.items()
        for letter, values in by_letter.items()
    }


def joined(pieces: Sequence[HeldPiece], lengths: Sequence[int]) -> HeldPiece:
    """Join what was held in the pieces of one sequence, of these lengths; a piece in which nothing was is free."""
    ends = np.cumsum(lengths)
    whole: dict[tuple[int, int, str], np.ndarray] = {}
    for piece, start, end in zip(pieces, ends - lengths, ends, strict=True):
        for at, values in piece.items():
            whole.setdefault(at, np.full((ends[-1], values.shape[1]), np.nan))[start:end] = values
    return whole


def are_alike(held: Sequence[HeldPiece]) -> bool:
    """Whether sequences were held at the same as far as each goes, so that they may be recorded together.

    Examples
    --------
    >>> short, long = np.array([[0.5]]), np.array([[0.5], [np.nan]])
    >>> are_alike([{(0, 0, "c"): short}, {(0, 0, "c"): long}]), are_alike([{(0, 0, "c"): short}, {}])
    (True, False)
    """
    longest = max(held, key=_steps, default={})
    return all(
        one.keys() == longest.keys()
        and all(np.array_equal(values, longest[at][: len(values)], equal_nan=True) for at, values in one.items())
        for one in held
    )


def holds_of(held: Sequence[HeldPiece]) -> list[Hold]:
    """Make holds of what was held in sequences: those that are alike, or of one length.

    Examples
    --------
    >>> holds_of([{(1, 0, "c"): np.array([[0.5]])}, {}])[0].values()[:, :, 0]
    array([[0.5, nan]])
    """
    if are_alike(held):
        longest = max(held, key=_steps, default={})
        return [_hold(at, xr.DataArray(values, dims=(TIME, UNIT))) for at, values in longest.items()]
    found = {at: values for one in held for at, values in one.items()}
    return [
        _hold(
            at,
            xr.DataArray(
                np.stack([one.get(at, np.full_like(like, np.nan)) for one in held]), dims=(SEQUENCE, TIME, UNIT)
            ),
        )
        for at, like in found.items()
    ]


def _steps(held: HeldPiece) -> int:
    return max(map(len, held.values()), default=0)


def _hold(at: tuple[int, int, str], values: xr.DataArray) -> Hold:
    layer, direction, letter = at
    return Hold(letter, values, layer=layer, direction=DIRECTIONS[direction])
