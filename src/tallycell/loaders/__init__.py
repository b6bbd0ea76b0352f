"""Files of LSTMs: one module a format, reading and writing; none imports another.

What each format is, and how it is told, stands in :mod:`~tallycell.loaders.formats`; what a file gives is a
:class:`LoadedModel`.
"""

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tallycell.errors import InputError
from tallycell.loaders.formats import READERS, recognise
from tallycell.loaders.keras.export import to_keras_weights
from tallycell.loaders.loaded_model import Front, Head, LoadedModel, Place
from tallycell.loaders.onnx.calls import Tapped
from tallycell.loaders.onnx.export import to_onnx
from tallycell.loaders.onnx.tap import tap
from tallycell.loaders.safetensors_file import save_parameters, save_recogniser
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Front", "Head", "LoadedModel", "Place", "Tapped", "load", "save", "tap", "to_keras_weights", "to_onnx"]


def load(
    path: "str | PathLike[str] | nn.Module", *, trust_pickle: bool = False, trust_code: bool = False,
    forget_bias: float | None = None,
) -> LoadedModel:  # fmt: skip
    """Read the LSTMs of a file, whatever its format; what is inside decides, not the suffix.

    No code of a file runs, unless one of the two options says that it may.

    Parameters
    ----------
    path
        A file of one of the formats, a folder of raw tensors with a manifest, or a live module of torch.
    trust_pickle
        Whether a pickle may be opened that holds more than weights; whoever wrote it can run any code here.
    trust_code
        Whether torch may open a TorchScript archive or an exported program, which can run what is in it.
    forget_bias
        What is added to the forget gate's bias when the model runs, where a format cannot tell (raw tensors of
        TensorFlow's ``BasicLSTMCell``: 0 or 1).

    Returns
    -------
    LoadedModel
        Every LSTM by the path of its module; what surrounds them; and the recogniser, if the file holds one.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another format, or without an LSTM.
    ParameterError, ActivationError
        If its weights do not make an LSTM, or name an activation that is not registered.
    InputError
        If the format cannot tell the forget bias and it is not given.
    MissingExtraError
        If its format needs a library that is not installed.

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
    if not isinstance(path, str | PathLike):
        from tallycell.loaders.torch.live_module import load_module

        return load_module(path)
    source = Path(path)
    module, function, taken = READERS[recognise(source)]
    options = {"trust_pickle": trust_pickle, "trust_code": trust_code, "forget_bias": forget_bias}
    read = getattr(import_module(f"tallycell.loaders.{module}"), function)
    loaded: LoadedModel = read(source, **{name: options[name] for name in taken})
    return loaded


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
