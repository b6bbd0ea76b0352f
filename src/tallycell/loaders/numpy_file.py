"""NumPy: ``.npz`` of arrays under PyTorch's or Keras' names, and pickled dicts of arrays where they are trusted.

In an ``.npz`` an array's name is the name of its file without ``.npy``. Names of PyTorch may have any prefix
(``encoder.lstm.weight_ih_l0``); names of Keras end in ``kernel``, ``recurrent_kernel``, ``bias``.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from tallycell.errors import FormatError
from tallycell.files import first_bytes
from tallycell.loaders.keras_names import keras_layers, keras_model
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.npy import MAGIC, errors_of_numpy, open_npz, read_header
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.tensors import widen
from tallycell.loaders.torch_names import is_lstm_tensor, read_torch_names
from tallycell.loaders.vocabulary import is_vocabulary_name, with_vocabulary
from tallycell.wording import one_line


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
        tanh, as such a file does not tell activations. An array of texts that is called ``vocab`` or the like is the
        vocabulary if it names each row of the embedding.

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
    if first_bytes(path, len(MAGIC)) == MAGIC:
        with errors_of_numpy(path):
            return _assemble(_unpickled(path, trust_pickle=trust_pickle), path)
    with open_npz(path) as tensors:
        return with_vocabulary(_assemble(tensors, path), _texts(tensors))


def _texts(tensors: dict[str, StoredTensor]) -> dict[str, object]:
    """Give the arrays of texts that may be vocabularies; one without dimensions is one text, JSON perhaps."""
    names = (name for name, tensor in tensors.items() if tensor.dtype.startswith("str") and len(tensor.shape) < 2)
    return {name: tensors[name].read().tolist() for name in names if is_vocabulary_name(name)}


def _unpickled(path: Path, *, trust_pickle: bool) -> dict[str, StoredTensor]:
    """Arrays of a pickled dict in a ``.npy``, as ``np.save(path, {"weight_ih_l0": ...})`` writes it."""
    with path.open("rb") as file:
        shape, dtype = read_header(file, str(path))
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
        raise FormatError(f"{path} cannot be unpickled: {one_line(error)}") from None
    if not isinstance(content, Mapping):
        raise FormatError(f"{path} holds a pickled {type(content).__name__}, expected a dict of arrays by name")
    arrays = {name: x for name, x in content.items() if isinstance(name, str) and isinstance(x, np.ndarray)}
    return {name: StoredTensor(x.shape, x.dtype.name, partial(widen, x)) for name, x in arrays.items()}


def _assemble(tensors: dict[str, StoredTensor], path: Path) -> LoadedModel:
    layers = keras_layers({name: tensor.shape for name, tensor in tensors.items()})
    if not layers or any(map(is_lstm_tensor, tensors)):
        return read_torch_names(tensors, path, ordered=True)
    return keras_model({at: {kind: tensors[name] for kind, name in one.items()} for at, one in layers.items()}, path)
