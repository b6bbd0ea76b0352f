"""Tensors of an ONNX file as arrays, checked before anything is allocated."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.shapes import check_shape
from tallycell.wording import one_line, quoted

if TYPE_CHECKING:
    from onnx import TensorProto

# Types that weights, their scales and the positions of a slice come in; from ONNX's number to NumPy's name.
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
    16: "bfloat16",
}  # fmt: skip
_MOST_BYTES = 2**63  # that a file can have, and any number of it


def read_tensor(tensor: "TensorProto", folder: Path) -> tuple[np.ndarray, str]:
    """Give the values of a tensor, and the dtype that the file keeps them in.

    Parameters
    ----------
    tensor
        Of the file.
    folder
        The model's folder, in which external data lies.

    Returns
    -------
    tuple
        The array, and the name of its dtype in the file. bfloat16 is widened to float32.

    Raises
    ------
    FormatError
        If its dtype is none that is read, a dimension is negative, or it does not have as many values as it says.
    """
    from onnx import TensorProto, numpy_helper

    shown = quoted(tensor.name)
    stored = DTYPES.get(tensor.data_type)
    if stored is None:
        raise FormatError(
            f"tensor {shown} is of ONNX's dtype {tensor.data_type}; expected {', '.join(DTYPES.values())}"
        )
    shape = tuple(tensor.dims)
    check_shape(shape, f"tensor {shown}")
    itemsize = 2 if stored == "bfloat16" else np.dtype(stored).itemsize
    expected = math.prod(shape) * itemsize
    if tensor.data_location == TensorProto.EXTERNAL:
        array = _read_external(tensor, folder, expected)
    elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise FormatError(
            f"tensor {shown} of shape {quoted(shape)} has {len(tensor.raw_data)} bytes; expected {expected}"
        )
    else:
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OverflowError) as error:
            raise FormatError(
                f"tensor {shown} does not hold {quoted(shape)} values of {stored}: {one_line(error)}"
            ) from None
    return (array.astype(np.float32) if stored == "bfloat16" else array), stored


def external_file(tensor: "TensorProto", folder: Path) -> tuple[Path, int, int | None]:
    """Give where a tensor's external data lies: the file, the first byte and the number of bytes, if stated.

    Raises
    ------
    FormatError
        If the path leads out of the model's folder, or the numbers are none.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = str(entries.get("location", ""))  # protobuf gives bytes for what is not UTF-8
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        offset, length = (int(entries[key]) if entries.get(key) else None for key in ("offset", "length"))
    except (ValueError, OSError, RuntimeError):  # numbers that are none; a NUL or a loop of links in the path
        raise FormatError(f"external data of tensor {quoted(tensor.name)} has a damaged description") from None
    if not location or Path(location).is_absolute() or not path.is_relative_to(root):
        raise FormatError(
            f"external data of tensor {quoted(tensor.name)} is said to lie at {quoted(location)}, which is not inside "
            "the model's folder; nothing outside it is opened"
        )
    stated = [number for number in (offset, length) if number is not None]
    if not all(0 <= number < _MOST_BYTES for number in stated):
        raise FormatError(
            f"external data of tensor {quoted(tensor.name)} begins at {quoted(offset)} and has {quoted(length)} bytes"
        )
    return path, offset or 0, length


def _read_external(tensor: "TensorProto", folder: Path, expected: int) -> np.ndarray:
    path, offset, length = external_file(tensor, folder)
    shown, stored, size = quoted(tensor.name), DTYPES[tensor.data_type], _size_of(path)
    if size is None:
        raise FormatError(f"tensor {shown} lies in the file {quoted(path.name)} beside the model, which is missing")
    if (length is not None and length != expected) or offset + expected > size:
        raise FormatError(
            f"tensor {shown} of shape {quoted(tuple(tensor.dims))} needs {expected} bytes of {quoted(path.name)} from "
            f"{offset} on; it is said to have {length}, and the file has {size}"
        )
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(expected)
    except OSError as error:
        raise FormatError(f"tensor {shown} lies in a file that cannot be opened: {one_line(error)}") from None
    if stored == "bfloat16":  # the upper half of a float32
        array = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(content, np.dtype(stored).newbyteorder("<"))
        array = array.astype(array.dtype.newbyteorder("="))
    return array.reshape(tuple(tensor.dims))


def external_sizes(tensors: Iterable["TensorProto"], folder: Path) -> int:
    """Bytes of all files of external data; every path is checked."""
    files = {external_file(tensor, folder)[0] for tensor in tensors if tensor.data_location == 1}
    return sum(_size_of(path) or 0 for path in files)


def _size_of(path: Path) -> int | None:
    """Bytes of a regular file; None if there is none, or its name is none that a file can have."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
