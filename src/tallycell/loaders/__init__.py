"""Files of LSTMs: one module a format, reading and writing; none imports another.

Formats: safetensors (:mod:`~tallycell.loaders.safetensors_file`, tallycell's own and any other with PyTorch's names)
and PyTorch's state_dict (:mod:`~tallycell.loaders.torch_state_dict`, extra ``torch``, read only).
"""

from os import PathLike
from pathlib import Path

from tallycell.errors import FormatError, InputError
from tallycell.loaders.files import first_bytes
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.safetensors_file import load_safetensors, save_parameters, save_recogniser
from tallycell.loaders.torch_state_dict import load_state_dict
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

__all__ = ["LoadedModel", "load", "save"]


def load(path: str | PathLike[str]) -> LoadedModel:
    """Read the LSTMs of a file, whatever its format; what is inside decides, not the suffix.

    Parameters
    ----------
    path
        A safetensors file, or a state_dict that ``torch.save`` wrote (which needs the extra ``torch``).

    Returns
    -------
    LoadedModel
        Every LSTM by the path of its module; and the recogniser, if the file holds one.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another format, or without an LSTM.
    ParameterError, ActivationError
        If its weights do not make an LSTM, or name an activation that is not registered.
    MissingExtraError
        If it is torch's and torch is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> parameters = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(parameters, Path(folder) / "ones.safetensors")
    ...     load(Path(folder) / "ones.safetensors").lstm == parameters
    True
    """
    source = Path(path)
    start = first_bytes(source, 9)
    if start[8:9] == b"{":  # behind the length of its header
        return load_safetensors(source)
    if start.startswith((b"PK", b"\x80")):  # a zip, as torch writes since 1.6, or a pickle, as it did before
        return load_state_dict(source)
    raise FormatError(
        f"{source} is of no format that tallycell reads; those are safetensors, and a state_dict written by torch.save"
    )


def save(model: LSTMParameters | Recogniser, path: str | PathLike[str]) -> None:
    """Write an LSTM or a recogniser to one safetensors file, bit for bit as :func:`load` gives it back.

    What stood at ``path`` before stays whole until the new file is complete.

    Parameters
    ----------
    model
        What to keep.
    path
        A file name that ends in ``.safetensors``.

    Raises
    ------
    InputError
        If the model is neither, the name does not end in ``.safetensors``, or the file cannot be written.
    ActivationError
        If an activation is not registered, so that no file can name it.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise InputError(
            f"cannot save to {target}: what is written is safetensors, so let the name end in .safetensors"
        )
    if isinstance(model, Recogniser):
        save_recogniser(model, target)
    elif isinstance(model, LSTMParameters):
        save_parameters(model, target)
    else:
        raise InputError(f"cannot save a {type(model).__name__}; expected LSTMParameters or a Recogniser")
