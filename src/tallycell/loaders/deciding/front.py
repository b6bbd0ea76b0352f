"""A linear layer in front of an LSTM, in files of tensors by name: a state_dict of torch, or safetensors.

The loaders look for an embedding there and for nothing else; a layer that is left out would make another network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError, TallycellError
from tallycell.loaders.formats import recognise
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.torch_names import is_lstm_tensor
from tallycell.wording import listed, quoted

_MATRIX = re.compile(r"(?P<path>.*?)\.?weight", re.S)


@dataclass(frozen=True, eq=False)
class Front:
    """A linear layer that an LSTM reads, and the embedding that the layer reads, if there is one."""

    name: str
    weight: Float[np.ndarray, "feature width"]
    bias: Float[np.ndarray, " feature"]
    embedding: Float[np.ndarray, "symbol width"] | None


def find_front(model: LoadedModel, path: str) -> Front | None:
    """Find the linear layer in front of an LSTM; None if there is none, or the format is not one of tensors by name.

    Raises
    ------
    InputError
        If there are several matrices that may be it.
    """
    tensors = _tensors(model.source)
    first = next((k for k, name in enumerate(tensors) if is_lstm_tensor(name)), 0)
    width = model[path].input_size
    names = list(tensors)
    in_front = {name: tensor for name, tensor in list(tensors.items())[:first] if _is_matrix(name, tensor)}
    linear = [name for name, tensor in in_front.items() if tensor.shape[0] == width and _has_bias(name, tensors)]
    linear += [
        name
        for name, tensor in in_front.items()
        if name not in linear and tensor.shape[0] == width and model.embedding is None and tensor.shape[1] != width
    ]
    if not linear:
        return None
    if len(linear) > 1:
        raise InputError(
            f"{model.source} has several layers in front of its LSTM, {listed(linear)}; give the module, whose "
            "parts are found by running it: Recogniser.from_torch"
        )
    name = linear[0]
    weight = tensors[name].values(quoted(name)).astype(float)
    bias_name = name.removesuffix("weight") + "bias"
    bias = tensors[bias_name].values(quoted(bias_name)).astype(float) if bias_name in names else np.zeros(width)
    rows = [other for other, tensor in in_front.items() if other != name and tensor.shape[1] == weight.shape[1]]
    embedding = tensors[rows[0]].values(quoted(rows[0])).astype(float) if len(rows) == 1 else None
    return Front(name.removesuffix("weight").rstrip("."), weight, bias, embedding)


def _is_matrix(name: str, tensor: StoredTensor) -> bool:
    return _MATRIX.fullmatch(name) is not None and len(tensor.shape) == 2


def _has_bias(name: str, tensors: Mapping[str, StoredTensor]) -> bool:
    bias = tensors.get(name.removesuffix("weight") + "bias")
    return bias is not None and bias.shape == tensors[name].shape[:1]


def _tensors(source: Path) -> Mapping[str, StoredTensor]:
    """Give the tensors of a state_dict of torch by name, in order of definition; nothing of any other format."""
    try:
        if not source.is_file() or recognise(source) != "torch state_dict":
            return {}
        from tallycell.loaders.torch.objects import stored_tensors
        from tallycell.loaders.torch.weights import read_weights_only

        content = read_weights_only(source)
    except TallycellError:
        return {}
    while isinstance(content, Mapping):
        found = stored_tensors(content)
        if any(map(is_lstm_tensor, found)):
            return found
        content = next((content[name] for name in _NESTED if name in content), None)
    return {}


_NESTED = ("state_dict", "model_state_dict", "model_state", "model")
