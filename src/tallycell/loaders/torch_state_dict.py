"""PyTorch's state_dict, as ``torch.save`` writes it, read by torch's ``weights_only`` loader: no code of it runs."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import FormatError, MissingExtraError
from tallycell.loaders.files import first_bytes, one_line
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.torch_names import group_stacks, is_lstm_tensor

if TYPE_CHECKING:
    import torch

# Where training scripts put the state_dict in a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model_state", "model")
_REFUSED = re.compile(r"(?:GLOBAL|class|instruction of type) ([\w.]+)(?: was not an allowed| is not an allowed)?")


def load_state_dict(path: Path) -> LoadedModel:
    """Read the LSTMs of a state_dict, plain or nested in a checkpoint.

    Parameters
    ----------
    path
        What ``torch.save(model.state_dict(), path)`` wrote; or a dict that holds it as ``state_dict``,
        ``model_state_dict``, ``model_state`` or ``model``.

    Returns
    -------
    LoadedModel

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    FormatError
        If the file is missing or damaged, holds more than weights (a whole pickled module, say), or no LSTM in float32
        or float64.
    ParameterError
        If its weights do not make an LSTM.
    """
    first_bytes(path, 1)
    state = _state_dict_of(_read(path), path)
    arrays = {name: _to_array(name, tensor, path) for name, tensor in state.items() if is_lstm_tensor(name)}
    return LoadedModel(group_stacks(arrays, path, present=state), path)


def _read(path: Path) -> object:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about old formats; what is wrong with the file is raised
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise FormatError(_reason(path, one_line(error))) from None


def _reason(path: Path, text: str) -> str:
    refused = _REFUSED.search(text)
    if "TorchScript" in text:
        return f"{path} is a TorchScript archive, which runs code when opened; save its state_dict() instead"
    if "Weights only load failed" in text and "nsupported" in text:
        what = f" ({refused[1]})" if refused else ""
        return (
            f"{path} is a pickle that holds more than weights{what}, and opening it would run code from the file; "
            "expected torch.save(model.state_dict(), path)"
        )
    return f"{path} cannot be read as a state_dict of torch: {text.partition('. ')[0][:200]}"


def _state_dict_of(content: object, path: Path) -> dict[str, "torch.Tensor"]:
    """Tensors by name; the state_dict itself, or the one nested in a checkpoint."""
    if not isinstance(content, Mapping):
        raise FormatError(f"{path} holds a {type(content).__name__}, expected a state_dict: save model.state_dict()")
    state = _tensors(content)
    for name in _NESTED:
        nested = content.get(name)
        if isinstance(nested, Mapping) and not any(map(is_lstm_tensor, state)):
            state = _tensors(nested)
    return state


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, "torch.Tensor"]:
    import torch

    return {name: x for name, x in mapping.items() if isinstance(name, str) and isinstance(x, torch.Tensor)}


def _to_array(name: str, tensor: "torch.Tensor", path: Path) -> np.ndarray:
    import torch

    if tensor.dtype not in (torch.float32, torch.float64):
        raise FormatError(
            f"{path}: {name} is of dtype {str(tensor.dtype).removeprefix('torch.')}, expected float32 or float64; "
            "convert the model first, with model.float()"
        )
    # A view may pretend to any size on a storage of one number.
    if (
        tensor.layout != torch.strided
        or tensor.device.type != "cpu"
        or tensor.nbytes > tensor.untyped_storage().nbytes()
    ):
        raise FormatError(f"{path}: {name} is not a plain dense tensor with values of its own; save contiguous weights")
    array: np.ndarray = tensor.detach().resolve_neg().contiguous().numpy()
    return array
