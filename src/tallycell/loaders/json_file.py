"""JSON: models as real-time audio tools write them, and recognisers (:mod:`~tallycell.loaders.recogniser_json`).

Tensors under PyTorch's names, at the root (RTNeural) or under ``state_dict`` (GuitarML, NeuralPi)::

    {"model_data": {"unit_type": "LSTM", ...},
     "state_dict": {"rec.weight_ih_l0": [[...]], ..., "lin.weight": [[...]], "lin.bias": [...]}}

Or the layers of a Keras model, with its weights (RTNeural, AIDA-X): gates i f g o, matrices (feature, 4 unit)::

    {"in_shape": [null, null, 1],
     "layers": [{"type": "lstm", "activation": "tanh", "shape": [null, null, 8], "weights": [kernel, recurrent, bias]},
                {"type": "dense", "activation": "", "shape": [null, null, 1], "weights": [kernel, bias]}]}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tallycell.errors import FormatError, ParameterError
from tallycell.files import read_json
from tallycell.layout import Layout
from tallycell.loaders.json_numbers import array_of_numbers
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.loaders.recogniser_json import KEY, recogniser_from_json
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.telling import told
from tallycell.loaders.torch_names import is_lstm_tensor, read_torch_names
from tallycell.loaders.vocabulary import with_vocabulary
from tallycell.parameters import Activations, LSTMParameters
from tallycell.wording import listed, one_line, quoted, reasons

_MOST_BYTES = 2**28  # some ten million weights in decimals; parsed, some gigabytes
_DENSE = ("dense", "time-distributed-dense")
_NO_ACTIVATION = ("", "linear", None)


def load_json(path: Path) -> LoadedModel:
    """Read the LSTMs of a JSON file; numbers become float32.

    Parameters
    ----------
    path
        A file with tensors under PyTorch's names, with the layers of a Keras model in order, or with a recogniser.

    Returns
    -------
    LoadedModel
        An LSTM of the layers has its place among them as path: ``layers.1``. The head is the linear layer behind the
        last LSTM; among Keras' layers, if it is the last. A vocabulary beside the weights (``char2id``, ``vocab`` and
        so on) is used if it names each row of the embedding, or, without one, each output of the head.

    Raises
    ------
    FormatError
        If the file is missing, damaged, larger than 256 MiB, or without an LSTM.
    ParameterError
        If its weights do not make an LSTM.

    Examples
    --------
    >>> import json, tempfile
    >>> layer = {"type": "lstm", "activation": "tanh", "weights": [[[1] * 8], [[0] * 8, [0] * 8], [0] * 8]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.json"
    ...     _ = path.write_text(json.dumps({"layers": [layer]}))
    ...     load_json(path).lstm
    LSTMParameters(input_size=1, hidden_size=2, dtype=float32)
    """
    content = read_json(path, _MOST_BYTES)
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a JSON {type(content).__name__}, expected an object with state_dict or layers")
    if KEY in content:
        return recogniser_from_json(content, path)
    layers = content.get("layers")
    others = {name: value for name, value in content.items() if name not in ("layers", "state_dict")}
    if isinstance(layers, list):
        return with_vocabulary(_from_layers(layers, path), others)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise FormatError(f"{path}: state_dict is a JSON {type(state).__name__}, expected an object of tensors by name")
    return with_vocabulary(_from_state_dict(state, path), others)


# --- PyTorch's names


def _from_state_dict(state: Mapping[str, object], path: Path) -> LoadedModel:
    tensors = {}
    for name, value in state.items():
        array = array_of_numbers(value)
        if array is not None:
            tensors[name] = StoredTensor.of(array)
        elif is_lstm_tensor(name):
            raise FormatError(f"{path}: {quoted(name)} is not an even array of numbers")
    return read_torch_names(tensors, path, ordered=True)


# --- Keras' layers in order


def _from_layers(layers: list[Any], path: Path) -> LoadedModel:
    stacks, refused, activations = {}, {}, Activations()
    for k, layer in enumerate(layers):
        name = f"layers.{k}"
        if not isinstance(layer, dict):
            raise FormatError(f"{path}: {name} is a JSON {type(layer).__name__}, expected an object with type, weights")
        if layer.get("type") != "lstm":
            continue
        if layer.get("activation") not in ("tanh", "", None):
            refused[name] = (
                f"its activation is {told(layer['activation'])}, where the tools that write such files compute "
                "tanh; it is not known which was meant"
            )
        else:
            stacks[name] = _lstm(layer, name, path, activations)
    if not stacks:
        stated = (layer.get("type") for layer in layers)
        kinds = listed(kind if isinstance(kind, str) else told(kind) for kind in stated)
        because = f"; {reasons(refused)}" if refused else ""
        raise FormatError(f"{path} holds no LSTM that can be read; its layers are {kinds}{because}")
    return LoadedModel(stacks, path, refused=refused, head=_dense_behind(layers, stacks, path))


def _lstm(layer: Mapping[str, Any], name: str, path: Path, activations: Activations) -> LSTMParameters:
    arrays = _weights(layer, name, path)
    if len(arrays) not in (2, 3):
        raise FormatError(f"{path}: {name} has {len(arrays)} weights, expected kernel, recurrent kernel and bias")
    kinds = ("weight_ih", "weight_hh", "bias")
    try:
        theirs = dict(zip(kinds, arrays, strict=False))
        ours = Layout("ifgo", transposed=True, biases=len(arrays) - 2).read(theirs)
        return LSTMParameters({f"{kind}_l0": weight for kind, weight in ours.items()}, activations)
    except ParameterError as error:
        raise ParameterError(f"{path}, LSTM at {quoted(name)}: {one_line(error)}") from None


def _dense_behind(layers: list[dict[str, Any]], stacks: Mapping[str, LSTMParameters], path: Path) -> Head | None:
    """Dense layer that is the last and stands directly behind an LSTM that was read."""
    name = f"layers.{len(layers) - 1}"
    lstm = stacks.get(f"layers.{len(layers) - 2}")
    if lstm is None or layers[-1].get("type") not in _DENSE:
        return None
    arrays = _weights(layers[-1], name, path)
    if len(arrays) not in (1, 2) or arrays[0].ndim != 2 or len(arrays[0]) != lstm.output_size:
        shapes = listed(array.shape for array in arrays)
        raise FormatError(f"{path}: {name} has weights of shape {shapes}, expected ({lstm.output_size}, n) and (n,)")
    bias = arrays[1] if len(arrays) == 2 else None
    return _head(arrays[0].T, bias, layers[-1].get("activation"), f"{path}: {name}")


def _weights(layer: Mapping[str, Any], name: str, path: Path) -> list[Float32[np.ndarray, "..."]]:
    weights = layer.get("weights")
    if not isinstance(weights, list):
        raise FormatError(f"{path}: {name} has no list of weights; expected kernel, recurrent kernel and bias")
    arrays = []
    for k, value in enumerate(weights):
        if (array := array_of_numbers(value)) is None:
            raise FormatError(f"{path}: {name}.weights.{k} is not an even array of numbers")
        arrays.append(array)
    return arrays


def _head(weight: np.ndarray, bias: np.ndarray | None, activation: object, where: str) -> Head:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise FormatError(f"{where} has a bias of shape {bias.shape}, expected {weight.shape[:1]}")
    if activation not in _NO_ACTIVATION and not isinstance(activation, str):
        raise FormatError(f"{where} has {told(activation)} as its activation, expected a text")
    return Head(weight, bias, None if activation in _NO_ACTIVATION else str(activation))
