"""Nested lists of numbers, as JSON holds tensors.

No format of its own: what models and recognisers in JSON have in common.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

_NUMBERS = {int, float}


def array_of_numbers(value: object, dtype: DTypeLike = np.float32) -> Float[np.ndarray, "..."] | None:
    """Give nested lists of numbers as an array; None if they are uneven, or something else.

    Examples
    --------
    >>> array_of_numbers([[1, 2.5]])
    array([[1. , 2.5]], dtype=float32)
    >>> array_of_numbers([[1], [2, 3]]), array_of_numbers([1, "2"]), array_of_numbers([True])
    (None, None, None)
    """
    if not _holds_numbers(value):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):  # rows of different length, too deep
        return None
    if array.dtype.kind not in "iuf":
        return None
    with np.errstate(over="ignore"):  # beyond float32: infinite, and refused as such
        return array.astype(dtype)


def _holds_numbers(value: object) -> bool:
    """Whether there is nothing but numbers in lists: NumPy makes room in each place for the longest text of all."""
    if not isinstance(value, list):
        return type(value) in _NUMBERS
    left = [value]
    while left:
        one = left.pop()
        kinds = set(map(type, one))
        if kinds == {list}:
            left += one
        elif not kinds <= _NUMBERS:
            return False
    return True
