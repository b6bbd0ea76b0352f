"""Arrays of ``.npy`` and ``.npz``, checked against the bytes that are there before any memory is taken for them.

No format of its own: models come in them, and inputs do.
"""

import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy

from tallycell.errors import FormatError, TallycellError
from tallycell.files import first_bytes
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.tensors import check_size, widen
from tallycell.loaders.zip_entries import check_entries, read_entry
from tallycell.wording import one_line, quoted

MAGIC = npy.MAGIC_PREFIX
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MOST_HEADER = 2**17  # bytes, of which an npy header of version 2 may state four thousand million
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, SyntaxError, ValueError, TypeError, KeyError,
    IndexError, MemoryError, OverflowError, struct.error, tokenize.TokenError, AttributeError,
)  # fmt: skip


@contextmanager
def errors_of_numpy(path: Path) -> Iterator[None]:
    """Turn what zipfile, zlib and NumPy raise about damaged files into a FormatError."""
    try:
        yield
    except TallycellError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"{path} cannot be read as NumPy's: {one_line(error)}") from None


def read_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    """Read the array of a ``.npy``.

    Raises
    ------
    FormatError
        If it is none, damaged, or holds a pickle, which is never opened here.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.arange(3.0))
    ...     read_npy(Path(folder) / "x.npy")
    array([0., 1., 2.])
    """
    if first_bytes(path, len(MAGIC)) != MAGIC:
        raise FormatError(f"{path} cannot be read as NumPy's: it does not begin as a .npy does")
    with errors_of_numpy(path), path.open("rb") as file:
        shape, dtype = read_header(file, str(path))
        if dtype.hasobject:
            raise FormatError(f"{path} holds a pickle, which is not opened; save an array of numbers")
        check_size(shape, dtype.itemsize, path.stat().st_size - file.tell(), str(path))
        file.seek(0)
        return _array_of(file)


def read_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Give the shape and dtype of a ``.npy`` that begins here.

    Raises
    ------
    FormatError
        If it is of another version.
    ValueError, SyntaxError, tokenize.TokenError
        And others, if it is damaged: see :func:`errors_of_numpy`.
    """
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise FormatError(f"{where} is of npy version {version}, expected (1, 0) or (2, 0)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about headers that Python 2 wrote
        shape, _, dtype = _HEADERS[version](file)
    return shape, dtype


@contextmanager
def open_npz(path: Path) -> Iterator[dict[str, StoredTensor]]:
    """Give the arrays of a ``.npz`` by name; each is read when it is wanted, while the file is open.

    Raises
    ------
    FormatError
        If it is damaged, promises far more bytes than it has, or holds two arrays of one name.
    """
    with errors_of_numpy(path), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        check_entries(members, path.stat().st_size, path)
        tensors: dict[str, StoredTensor] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in tensors:
                raise FormatError(f"{path} holds two arrays of the name {quoted(name)}")
            tensors[name] = _stored(archive, member, path, f"{path}: {quoted(name)}")
        yield tensors


def _stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, where: str) -> StoredTensor:
    with archive.open(member) as file:
        start = BytesIO(file.read(_MOST_HEADER))
    shape, dtype = read_header(start, where)
    if dtype.hasobject:
        return StoredTensor(shape, "object", partial(np.zeros, ()))  # a pickle; never read
    check_size(shape, dtype.itemsize, member.file_size - start.tell(), where)
    return StoredTensor(shape, dtype.name, lambda: widen(_array_of(BytesIO(read_entry(archive, member, path)))))


def _array_of(file: IO[bytes]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        array: np.ndarray = npy.read_array(file, allow_pickle=False)
    return array
