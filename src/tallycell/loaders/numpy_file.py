"""NumPy: ``.npz`` of arrays under PyTorch's or Keras' names, and pickled dicts of arrays where they are trusted.

In an ``.npz`` an array's name is the name of its file without ``.npy``. Names of PyTorch may have any prefix
(``encoder.lstm.weight_ih_l0``); names of Keras end in ``kernel``, ``recurrent_kernel``, ``bias``.
"""

import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tallycell.errors import FormatError, TallycellError
from tallycell.loaders.files import first_bytes, one_line
from tallycell.loaders.keras_names import keras_layers, keras_model
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.tensors import check_size, check_unfolding, widen
from tallycell.loaders.torch_names import is_lstm_tensor, read_torch_names

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; others may ask for gigabytes to unpack
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, SyntaxError, ValueError, TypeError, KeyError,
    IndexError, MemoryError, OverflowError, struct.error, tokenize.TokenError,
)  # fmt: skip


def load_numpy(path: Path, *, trust_pickle: bool = False) -> LoadedModel:
    """Read the LSTMs of a ``.npz`` or, if it is trusted, of a ``.npy`` that holds a pickled dict of arrays.

    Parameters
    ----------
    path
        The file; any byte order, C or Fortran order, float16 to float64.
    trust_pickle
        Whether a pickle may be opened. Whoever wrote it can run any code here.

    Returns
    -------
    LoadedModel
        If there are tensors under PyTorch's names, those; else the LSTM layers under Keras' names, with sigmoid and
        tanh, as such a file does not tell activations.

    Raises
    ------
    FormatError
        If the file is missing or damaged, is a pickle that is not trusted, or holds no LSTM in floats.
    ParameterError
        If its weights do not make an LSTM.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.npz"
    ...     np.savez(path, **{"lstm.weight_ih_l0": np.ones((8, 3)), "lstm.weight_hh_l0": np.zeros((8, 2))})
    ...     load_numpy(path)["lstm"]
    LSTMParameters(input_size=3, hidden_size=2, bias=False, dtype=float64)
    """
    start = first_bytes(path, 6)
    with _said_in_one_line(path):
        if start == npy.MAGIC_PREFIX:
            return _assemble(_unpickled(path, trust_pickle=trust_pickle), path)
        with zipfile.ZipFile(path) as archive:
            return _assemble(_stored_in(archive, path), path)


@contextmanager
def _said_in_one_line(path: Path) -> Iterator[None]:
    """Turn what zipfile, zlib and NumPy raise about damaged files into a FormatError."""
    try:
        yield
    except TallycellError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"{path} cannot be read as NumPy's: {one_line(error)[:200]}") from None


def _stored_in(archive: zipfile.ZipFile, path: Path) -> dict[str, StoredTensor]:
    """Arrays of a ``.npz`` by name; each is read when it is wanted, after its size was checked."""
    members = archive.infolist()
    check_unfolding(sum(member.file_size for member in members), path.stat().st_size, path)
    tensors = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            continue
        if name in tensors:
            raise FormatError(f"{path} holds two arrays of the name {name!r}")
        if member.compress_type not in _PACKINGS:
            raise FormatError(f"{path}: {name!r} is not packed as NumPy packs; write it with np.savez again")
        with archive.open(member) as file:
            shape, dtype = _header(file, f"{path}: {name!r}")
            present = member.file_size - file.tell()
        if dtype.hasobject:
            tensors[name] = StoredTensor(shape, "object", partial(np.zeros, ()))  # a pickle; never read
        else:
            check_size(shape, dtype.itemsize, present, f"{path}: {name!r}")
            tensors[name] = StoredTensor(shape, dtype.name, partial(_read, archive, member))
    return tensors


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in _header
        return widen(npy.read_array(file, allow_pickle=False))


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise FormatError(f"{where} is of npy version {version}, expected (1, 0) or (2, 0)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about headers that Python 2 wrote
        shape, _, dtype = _HEADERS[version](file)
    return shape, dtype


def _unpickled(path: Path, *, trust_pickle: bool) -> dict[str, StoredTensor]:
    """Arrays of a pickled dict in a ``.npy``, as ``np.save(path, {"weight_ih_l0": ...})`` writes it."""
    with path.open("rb") as file:
        shape, dtype = _header(file, str(path))
    if not dtype.hasobject:
        raise FormatError(
            f"{path} holds one array of shape {shape} without a name, expected an .npz with the arrays of an LSTM"
        )
    if not trust_pickle:
        raise FormatError(
            f"{path} holds a pickle, and opening it would run code from the file; save the arrays with np.savez, or "
            "give trust_pickle=True (--trust-pickle) if you trust whoever wrote it"
        )
    if shape != ():
        raise FormatError(f"{path} holds an array of {shape} objects, expected one dict of arrays")
    try:
        content = np.load(path, allow_pickle=True).item()
    except Exception as error:  # a pickle can raise anything
        raise FormatError(f"{path} cannot be unpickled: {one_line(error)[:200]}") from None
    if not isinstance(content, Mapping):
        raise FormatError(f"{path} holds a pickled {type(content).__name__}, expected a dict of arrays by name")
    arrays = {name: x for name, x in content.items() if isinstance(name, str) and isinstance(x, np.ndarray)}
    return {name: StoredTensor(x.shape, x.dtype.name, partial(widen, x)) for name, x in arrays.items()}


def _assemble(tensors: dict[str, StoredTensor], path: Path) -> LoadedModel:
    layers = keras_layers({name: tensor.shape for name, tensor in tensors.items()})
    if not layers or any(map(is_lstm_tensor, tensors)):
        return read_torch_names(tensors, path, ordered=True)
    return keras_model({at: {kind: tensors[name] for kind, name in one.items()} for at, one in layers.items()}, path)
