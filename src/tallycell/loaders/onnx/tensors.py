"""Tensors of an ONNX file as arrays, checked before anything is allocated."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.files import one_line

if TYPE_CHECKING:
    from onnx import TensorProto

# Types that weights, their scales and the positions of a slice come in; from ONNX's number to NumPy's name.
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
    16: "bfloat16",
}  # fmt: skip


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

    shown = repr(tensor.name[:80])
    stored = DTYPES.get(tensor.data_type)
    if stored is None:
        raise FormatError(
            f"tensor {shown} is of ONNX's dtype {tensor.data_type}; expected {', '.join(DTYPES.values())}"
        )
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise FormatError(f"tensor {shown} has the shape {shape}; expected no negative size")
    itemsize = 2 if stored == "bfloat16" else np.dtype(stored).itemsize
    expected = math.prod(shape) * itemsize
    if tensor.data_location == TensorProto.EXTERNAL:
        array = _read_external(tensor, folder, expected)
    elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise FormatError(f"tensor {shown} of shape {shape} has {len(tensor.raw_data)} bytes; expected {expected}")
    else:
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise FormatError(f"tensor {shown} does not hold {shape} values of {stored}: {one_line(error)}") from None
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
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else None
    except (ValueError, OSError, RuntimeError):  # numbers that are none; a NUL or a loop of links in the path
        raise FormatError(f"external data of tensor {tensor.name[:80]!r} has a damaged description") from None
    if not location or Path(location).is_absolute() or not path.is_relative_to(root):
        raise FormatError(
            f"external data of tensor {tensor.name[:80]!r} is said to lie at {location[:200]!r}, which is not inside "
            "the model's folder; nothing outside it is opened"
        )
    if offset < 0 or (length is not None and length < 0):
        raise FormatError(f"external data of tensor {tensor.name[:80]!r} begins at {offset} and has {length} bytes")
    return path, offset, length


def _read_external(tensor: "TensorProto", folder: Path, expected: int) -> np.ndarray:
    path, offset, length = external_file(tensor, folder)
    shown, stored = repr(tensor.name[:80]), DTYPES[tensor.data_type]
    if not path.is_file():
        raise FormatError(f"tensor {shown} lies in the file {path.name!r} beside the model, which is missing")
    if (length is not None and length != expected) or offset + expected > path.stat().st_size:
        raise FormatError(
            f"tensor {shown} of shape {tuple(tensor.dims)} needs {expected} bytes of {path.name!r} from {offset} on; "
            f"it is said to have {length}, and the file has {path.stat().st_size}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(expected)
    if stored == "bfloat16":  # the upper half of a float32
        array = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(content, np.dtype(stored).newbyteorder("<"))
        array = array.astype(array.dtype.newbyteorder("="))
    return array.reshape(tuple(tensor.dims))


def external_sizes(tensors: Iterable["TensorProto"], folder: Path) -> int:
    """Bytes of all files of external data; every path is checked."""
    files = {external_file(tensor, folder)[0] for tensor in tensors if tensor.data_location == 1}
    return sum(path.stat().st_size for path in files if path.is_file())
