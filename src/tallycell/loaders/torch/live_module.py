"""Live modules of torch: every LSTM inside one, by the path of its module."""

from typing import TYPE_CHECKING

from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.torch.objects import read_live_module

if TYPE_CHECKING:
    from torch import nn


def load_module(module: "nn.Module") -> LoadedModel:
    """Read the LSTMs of a live module; the weights are copied as they are now.

    Parameters
    ----------
    module
        Any module that holds ``torch.nn.LSTM``, ``torch.nn.LSTMCell`` or ``tallycell.LSTM``, on any device. A module
        that stands at several places is named once.

    Returns
    -------
    LoadedModel
        By the path of the module, in the order of definition. Weights that are computed, by weight norm say, are those
        that the module runs with. The embedding is the one ``nn.Embedding`` that is defined in front of the first
        LSTM with as many columns as it reads, the head the one ``nn.Linear`` that is defined behind the last with as
        many as it gives out; None if there are none or several.

    Raises
    ------
    InputError
        If it is no module.
    FormatError
        If it holds no LSTM, or one whose weights are quantised or have no values.
    ParameterError, ActivationError
        If the weights are not finite, or tallycell cannot name an activation.

    Examples
    --------
    >>> import torch
    >>> model = load_module(torch.nn.Sequential(torch.nn.Embedding(9, 3), torch.nn.LSTM(3, 5)))
    >>> model["1"], model.embedding.shape
    (LSTMParameters(input_size=3, hidden_size=5, dtype=float32), (9, 3))
    """
    return read_live_module(module)
