"""A tensor that a file holds and that is read only when it is wanted.

No format of its own: what the formats under PyTorch's names have in common.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.shapes import check_shape
from tallycell.loaders.telling import told
from tallycell.loaders.tensors import widen, widen_bfloat16
from tallycell.wording import MOST_LISTED, quoted, shown

# As NumPy reads them from raw bytes; bfloat16, which NumPy does not have, as its bits.
_RAW = {"float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2"}
TAKEN = tuple(_RAW)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of a file.

    Attributes
    ----------
    shape
        As the file states it.
    dtype
        By torch's name, such as ``"bfloat16"``; a tensor of another kind (sparse, quantised) by the name of that kind.
    read
        Gives the values as float32 or float64. FormatError if they are not as stated.

    Examples
    --------
    >>> StoredTensor.of(np.ones(2, np.float16)).read()
    array([1., 1.], dtype=float32)
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> "StoredTensor":
        """Make one of an array in memory."""
        return cls(array.shape, str(array.dtype), lambda: widen(array))

    def values(self, name: str) -> np.ndarray:
        """Read the values, if they are floats.

        Raises
        ------
        FormatError
            If they are not, or the shape is that of no array; the name is for the error.
        """
        if self.dtype not in TAKEN:
            raise FormatError(
                f"{name} is of dtype {shown(self.dtype)}, expected {', '.join(TAKEN)}; convert the model first, with "
                "model.float()"
            )
        check_shape(self.shape, name)
        return self.read()


@dataclass(frozen=True)
class View:
    """Which elements of a storage a tensor has.

    Attributes
    ----------
    size, strides, offset
        In elements, as torch counts them.

    Examples
    --------
    >>> View((2, 2), (1, 2)).of(np.arange(4.0).astype("<f4").tobytes(), "float32", "<", "weight")
    array([[0., 2.],
           [1., 3.]], dtype=float32)
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def read(cls, size: object, strides: object, offset: object, name: str) -> "View":
        """Make a view of what a file states.

        Raises
        ------
        FormatError
            If it is not two lists of whole numbers of the same length, and a whole number, none below 0, or the size
            is that of no array.
        """
        numbers = (*size, *strides, offset) if isinstance(size, Sequence) and isinstance(strides, Sequence) else (None,)
        if any(type(number) is not int or number < 0 for number in numbers) or len(size) != len(strides):  # type: ignore[arg-type]
            stated = f"size {_told_numbers(size)}, strides {_told_numbers(strides)} and offset {told(offset)}"
            raise FormatError(f"{name} has {stated}; expected whole numbers")
        check_shape(size, name)  # type: ignore[arg-type]
        return cls(tuple(size), tuple(strides), offset)  # type: ignore[arg-type]

    def of(self, storage: bytes, dtype: str, byte_order: Literal["<", ">"], name: str) -> np.ndarray:
        """Take these elements out of a storage; float16 and bfloat16 come as float32.

        Raises
        ------
        FormatError
            If they lie outside the storage, or are more than it has.
        """
        kind = np.dtype(_RAW[dtype]).newbyteorder(byte_order)
        if len(storage) % kind.itemsize:
            raise FormatError(
                f"{name} is of dtype {dtype}, which its storage of {len(storage)} bytes does not divide into"
            )
        flat = np.frombuffer(storage, kind)
        count = math.prod(self.size)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.strides, strict=True))
        if not count or last >= flat.size or count > flat.size:
            raise FormatError(
                f"{name} of size {quoted(self.size)}, strides {quoted(self.strides)} and offset {quoted(self.offset)} "
                f"does not lie in its storage of {flat.size} elements as a plain dense tensor with values of its own"
            )
        # A single element has no next one, and its stride may be any number.
        steps = tuple(step * flat.itemsize if n > 1 else 0 for n, step in zip(self.size, self.strides, strict=True))
        values = np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, steps)
        return widen_bfloat16(values) if dtype == "bfloat16" else widen(np.array(values))


def _told_numbers(stated: object) -> str:
    if not isinstance(stated, Sequence) or isinstance(stated, str):
        return told(stated)
    return f"({', '.join(map(told, islice(stated, MOST_LISTED)))}{', ...' if len(stated) > MOST_LISTED else ''})"
