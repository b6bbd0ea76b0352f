"""Arrays as bytes: as they are, and packed for a page that carries them with it.

Numbers of four bytes compress better when all first bytes stand together, then all second ones. A cell is what was
kept and written, but for rounding; so only in which last bits it differs from that is packed.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

LEVEL = 4  # of zlib: more takes three times as long and saves two percent


def plain_bytes(array: np.ndarray) -> bytes:
    r"""Give an array as bytes, the lowest first in each number, the last axis running fastest.

    Examples
    --------
    >>> plain_bytes(np.array([1, 256], ">u2"))
    b'\x01\x00\x00\x01'
    """
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def described(name: str, array: np.ndarray) -> dict[str, Any]:
    """Give by what a page knows an array: its name, its kind of number, its shape.

    Examples
    --------
    >>> described("on", np.zeros((2, 3), "<f4"))
    {'name': 'on', 'dtype': 'f4', 'shape': [2, 3]}
    """
    return {"name": name, "dtype": array.dtype.str.lstrip("<|"), "shape": list(array.shape)}


def packed(array: np.ndarray) -> bytes:
    """Give the bytes of an array by their place in its numbers, compressed (zlib, as browsers undo it).

    Examples
    --------
    >>> unpacked(packed(np.array([[1.5, -2.0]])), "f8", (1, 2)).tolist()
    [[1.5, -2.0]]
    """
    content = np.frombuffer(plain_bytes(array), np.uint8).reshape(-1, array.dtype.itemsize)
    return zlib.compress(np.ascontiguousarray(content.T).tobytes(), LEVEL)


def unpacked(content: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Undo :func:`packed`."""
    itemsize = np.dtype(dtype).itemsize
    rows = np.frombuffer(zlib.decompress(content), np.uint8).reshape(itemsize, -1)
    return np.frombuffer(np.ascontiguousarray(rows.T).tobytes(), np.dtype(dtype).newbyteorder("<")).reshape(shape)


def life_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Give the arrays of a unit one behind the other."""
    return b"".join(map(plain_bytes, arrays.values()))


def packed_life(arrays: Mapping[str, np.ndarray], start: np.ndarray, *, reverse: bool) -> bytes:
    """Pack the arrays of a unit: c as what it differs by from f c + i g of the cell before, in its last bits.

    Parameters
    ----------
    arrays
        Of a unit, in single precision.
    start
        The step with which each sequence begins, and the number of all steps.
    reverse
        Whether the cell before is that of the next step in time.
    """
    differs = {"c": _beside_written(arrays, start, reverse)}
    return packed(np.concatenate([differs.get(name, values).view("<u4") for name, values in arrays.items()]))


def _beside_written(arrays: Mapping[str, np.ndarray], start: np.ndarray, reverse: bool) -> np.ndarray:
    """Give by how many last bits each c differs from what was kept of the c before it and written, as whole numbers."""
    c = arrays["c"]
    before = np.roll(c, -1 if reverse else 1)
    before[start[1:] - 1 if reverse else start[:-1]] = arrays["c_0"]
    with np.errstate(over="ignore", invalid="ignore"):
        expected = arrays["f"] * before + arrays["i"] * arrays["g"]
    expected[np.isnan(expected)] = 0  # of which there are many kinds, and not everywhere the same
    differs: np.ndarray = c.view("<u4") - expected.astype("<f4").view("<u4")
    return differs
