"""PyTorch's state_dict, as ``torch.save`` writes it, read by torch's ``weights_only`` loader: no code of it runs."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

from tallycell.errors import FormatError, MissingExtraError
from tallycell.files import first_bytes
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.torch.objects import is_module, read_live_module, stored_tensors
from tallycell.loaders.torch.weights import LEGACY, read_weights_only
from tallycell.loaders.torch_names import is_lstm_tensor, read_torch_names
from tallycell.loaders.vocabulary import with_vocabulary
from tallycell.wording import one_line

# Where training scripts put the state_dict in a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model_state", "model")


def load_state_dict(path: Path, trust_pickle: bool = False) -> LoadedModel:
    """Read the LSTMs of a state_dict, plain or nested in a checkpoint.

    Parameters
    ----------
    path
        What ``torch.save(model.state_dict(), path)`` wrote; or a dict that holds it as ``state_dict``,
        ``model_state_dict``, ``model_state`` or ``model``.
    trust_pickle
        Whether the file may be opened as a pickle, which can run any code. It may then also hold a whole module, plain
        or in a dict, or NumPy arrays in place of tensors; a pickle that torch did not write needs no torch.

    Returns
    -------
    LoadedModel
        By the path of the module, in the order of the file. Embedding and head are found by names and sizes, as
        :func:`~tallycell.loaders.torch_names.read_torch_names` says: the one matrix without bias in front of the first
        LSTM with as many columns as it reads; the one matrix behind the last with as many as it gives out. A
        vocabulary beside the weights (``char2id``, ``itos`` and so on) is used if it names each row of the embedding.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    FormatError
        If the file is missing or damaged, holds more than weights (a whole pickled module, say), or no LSTM in floats.
    ParameterError
        If its weights do not make an LSTM.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.pt"
    ...     torch.save({"state_dict": torch.nn.LSTMCell(3, 5).state_dict(prefix="decoder.rnn.")}, path)
    ...     load_state_dict(path)["decoder.rnn"]
    LSTMParameters(input_size=3, hidden_size=5, dtype=float32)
    """
    start = first_bytes(path, len(LEGACY))
    content = _open_trusted(path, start) if trust_pickle else read_weights_only(path)
    if is_module(content):
        return read_live_module(content, path)
    if not isinstance(content, Mapping):
        raise FormatError(f"{path} holds a {type(content).__name__}, expected a state_dict: save model.state_dict()")
    state = stored_tensors(content)
    for name in _NESTED:
        nested = content.get(name)
        if any(map(is_lstm_tensor, state)):
            break
        if is_module(nested):
            return read_live_module(nested, path)
        if isinstance(nested, Mapping):
            state = stored_tensors(nested)
    return with_vocabulary(read_torch_names(state, path, ordered=True), content)


def _open_trusted(path: Path, start: bytes) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats and old names
            if start.startswith(b"PK") or start == LEGACY:
                import torch

                return torch.load(path, weights_only=False, map_location="cpu")
            with path.open("rb") as file:
                return pickle.load(file)
    except ImportError as error:
        if error.name == "torch":
            raise MissingExtraError("torch", "torch") from None
        raise FormatError(f"{path} cannot be opened: it needs what is not installed here: {one_line(error)}") from None
    except Exception as error:
        raise FormatError(f"{path} cannot be opened as a pickle: {one_line(error)}") from None
