"""Shapes as files state them, looked at before NumPy is asked for such an array and refuses in words of its own.

No format of its own: what several loaders need.
"""

import math
from collections.abc import Sequence

from tallycell.errors import FormatError
from tallycell.wording import quoted

_MOST_DIMENSIONS = 64  # of an array of NumPy's
_MOST_VALUES = 2**56  # NumPy counts bytes in 63 bits, and where a size is 0 it multiplies the others all the same


def check_shape(shape: Sequence[int], name: str) -> None:
    """Refuse a shape that no array can have, even an empty one; whether its values are there is another question.

    Parameters
    ----------
    shape
        As the file states it.
    name
        Of the tensor, for the error.

    Raises
    ------
    FormatError
        If it has more dimensions than NumPy allows, a negative size, or sizes whose product is beyond all memory.

    Examples
    --------
    >>> check_shape((4, 0), "its tensor 'W'")
    >>> check_shape((0, 10**18), "its tensor 'W'")
    Traceback (most recent call last):
    tallycell.errors.FormatError: its tensor 'W' has the shape (0, 1000000000000000000); expected no negative size and
    no more values than memory can hold
    """
    if len(shape) > _MOST_DIMENSIONS:
        raise FormatError(f"{name} has {len(shape)} dimensions; expected at most {_MOST_DIMENSIONS}")
    if any(length < 0 for length in shape) or math.prod(max(length, 1) for length in shape) > _MOST_VALUES:
        raise FormatError(
            f"{name} has the shape {quoted(tuple(shape))}; expected no negative size and no more values than memory "
            "can hold"
        )
