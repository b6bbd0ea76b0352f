"""Tensors as files hold them, made into what LSTMParameters take: sizes checked first, narrow floats widened.

No format of its own: what several loaders need.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Shaped, UInt16

from tallycell.errors import FormatError
from tallycell.wording import quoted

MOST_BYTES = 16 * 2**30  # of weights that one file may unfold to
_UNFOLDING = 64  # times its own size that a compressed file may unfold to; weights hardly shrink
_SMALL = 2**26  # what any file may unfold to: zeros do shrink


def check_size(shape: Sequence[int], itemsize: int, present: int, name: str) -> None:
    """Refuse a tensor that does not have as many bytes as its shape promises, before any memory is taken for it.

    Parameters
    ----------
    shape
        As the file states it.
    itemsize
        Bytes of one element.
    present
        Bytes that the file holds for the tensor.
    name
        Of the tensor, with its file, for the error.

    Raises
    ------
    FormatError
        If a dimension is negative, or the bytes are not those of the shape.

    Examples
    --------
    >>> check_size((2, 3), 4, 24, "model.json: 'kernel'")
    >>> check_size((10**6, 10**6), 4, 24, "model.json: 'kernel'")
    Traceback (most recent call last):
    tallycell.errors.FormatError: model.json: 'kernel' of shape (1000000, 1000000) needs 4000000000000 bytes, the file
    has 24
    """
    promised = math.prod(shape) * itemsize
    if promised != present or any(length < 0 for length in shape):
        raise FormatError(
            f"{name} of shape {quoted(tuple(shape))} needs {quoted(promised)} bytes, the file has {present}"
        )


def check_unfolding(unfolded: int, stored: int, source: object) -> None:
    """Refuse a compressed file that promises far more bytes than it has: a bomb.

    Parameters
    ----------
    unfolded
        Bytes that the file says it holds, in all.
    stored
        Its size, in bytes.
    source
        The file, for the error.

    Raises
    ------
    FormatError
        If it is beyond 64 times the size of the file (or 64 MiB, for small files), or beyond 16 GiB.
    """
    most = min(max(_UNFOLDING * stored, _SMALL), MOST_BYTES)
    if unfolded > most:
        raise FormatError(
            f"{source} of {stored} bytes unfolds to {unfolded} bytes, at most {most} are taken; is it damaged?"
        )


def widen(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Give floats in the machine's byte order, float16 as float32; anything else as it is.

    Examples
    --------
    >>> widen(np.array([1.5], ">f8")).dtype, widen(np.array([1.5], "float16")).dtype
    (dtype('float64'), dtype('float32'))
    """
    if array.dtype.kind != "f":
        return array
    wide = np.float32 if array.dtype.itemsize == 2 else array.dtype.newbyteorder("=")
    with np.errstate(invalid="ignore"):  # of NaN, which is refused where parameters are made
        return array.astype(wide, copy=False)


def widen_bfloat16(bits: UInt16[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Give as float32 what bfloat16 holds: the upper half of a float32's bits.

    Examples
    --------
    >>> widen_bfloat16(np.array([0x3F80, 0xC000], np.uint16))
    array([ 1., -2.], dtype=float32)
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)


def stored_as(dtypes: Iterable[str]) -> str | None:
    """Give the dtypes of one LSTM's weights in the file as one text where they are not float32 or float64, else None.

    Examples
    --------
    >>> stored_as(["float32", "float32"])
    >>> stored_as(["float16", "float16"])
    'float16'
    """
    narrow = sorted(set(dtypes) - {"float32", "float64"})
    return ", ".join(narrow) or None
