"""Tensors under Keras' names, such as ``encoder/lstm_cell/kernel:0``, brought together to LSTMs.

What Keras says of a layer beside its weights is not in such names: activations are taken to be sigmoid and tanh.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tallycell.errors import FormatError, ParameterError
from tallycell.layout import Layout
from tallycell.loaders.loaded_model import LoadedModel, Place
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.tensors import stored_as
from tallycell.parameters import Activations, LSTMParameters
from tallycell.wording import one_line, quoted

# The part before the kind ends in a separator: lstm/kernel, lstm.kernel, lstm_kernel, and at the root kernel.
_NAME = re.compile(r"(?:(?P<path>.*?)[/._])??(?P<kind>recurrent_kernel|kernel|bias)(?::0)?", re.S)
_CELL = re.compile(r"[/._]?(?:cudnn)?lstm_cell(?:_[0-9]+)?$|[/.]cell$")  # inside the layer, no module of the user's
_DIRECTION = re.compile(r"(?P<before>(?:.*[/.])?)(?P<direction>forward|backward)_(?P<layer>[^/.]*)", re.S)
_KINDS = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias"}


def keras_layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, str]]:
    """Tell which tensors make an LSTM layer.

    Parameters
    ----------
    shapes
        The tensors of a file, from name to shape.

    Returns
    -------
    dict
        From the path of the layer to its tensors' names, by kind: ``kernel``, ``recurrent_kernel``, ``bias``. Layers
        without a recurrent kernel of four blocks are none: dense, GRU.

    Examples
    --------
    >>> keras_layers({"lstm/lstm_cell/kernel:0": (3, 8), "lstm/lstm_cell/recurrent_kernel:0": (2, 8), "d/bias": (8,)})
    {'lstm': {'kernel': 'lstm/lstm_cell/kernel:0', 'recurrent_kernel': 'lstm/lstm_cell/recurrent_kernel:0'}}
    """
    layers: dict[str, dict[str, str]] = {}
    for name in shapes:
        if found := _NAME.fullmatch(name):
            layers.setdefault(_CELL.sub("", found["path"] or ""), {})[found["kind"]] = name

    def is_lstm(kinds: Mapping[str, str]) -> bool:
        recurrent = shapes[kinds["recurrent_kernel"]] if {"kernel", "recurrent_kernel"} <= kinds.keys() else ()
        return len(recurrent) == 2 and recurrent[1] == 4 * recurrent[0] > 0

    return {path: kinds for path, kinds in layers.items() if is_lstm(kinds)}


def keras_model(layers: Mapping[str, Mapping[str, StoredTensor]], source: Path) -> LoadedModel:
    """Bring the weights of LSTM layers into tallycell's layout.

    Parameters
    ----------
    layers
        From the path of a layer to its tensors by kind, as :func:`keras_layers` has them.
    source
        The file.

    Returns
    -------
    LoadedModel
        The two directions of a ``Bidirectional`` as one LSTM. A layer whose weights do not make one is refused, and
        raised if no other is left.

    Raises
    ------
    FormatError, ParameterError
        If no layer can be read.
    """
    stacks, places, activations = {}, {}, Activations()
    errors: dict[str, FormatError | ParameterError] = {}
    for at, directions in _directions(layers).items():
        try:
            weights = {suffix: _ours(layers[path]) for suffix, path in directions.items()}
            named = {f"{kind}_l0{suffix}": x for suffix, one in weights.items() for kind, x in one.items()}
            stacks[at] = LSTMParameters(named, activations)
        except (FormatError, ParameterError) as error:
            errors[at] = error
            continue
        tensors = [tensor for path in directions.values() for tensor in layers[path].values()]
        operator = "Bidirectional" if len(directions) > 1 else "LSTM"
        places[at] = Place(operator, stored_as(tensor.dtype for tensor in tensors))
    if not stacks:
        at, first = next(iter(errors.items()))
        raise type(first)(f"{source}, LSTM at {quoted(at)}: {one_line(first)}")
    return LoadedModel(stacks, source, places=places, refused={at: one_line(error) for at, error in errors.items()})


def _directions(layers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Layers by path, and their directions by suffix: ``forward_lstm`` and ``backward_lstm`` side by side are one."""
    groups: dict[str, dict[str, str]] = {}
    for path in layers:
        found = _DIRECTION.fullmatch(path)
        other = {"forward": "backward", "backward": "forward"}[found["direction"]] if found else ""
        if found and f"{found['before']}{other}_{found['layer']}" in layers:
            suffix = "_reverse" if found["direction"] == "backward" else ""
            groups.setdefault(found["before"].rstrip("/.") or found["layer"], {})[suffix] = path
        else:
            groups[path] = {"": path}
    return groups


def _ours(tensors: Mapping[str, StoredTensor]) -> dict[str, np.ndarray]:
    """Weights of one direction in tallycell's layout."""
    unit = tensors["recurrent_kernel"].shape[0]
    if "bias" in tensors and tensors["bias"].shape == (8 * unit,):
        raise FormatError("its bias has 8 rows a unit: CuDNNLSTM's layout; load the .h5 file that it came from")
    theirs = {_KINDS[kind]: tensor.values(kind) for kind, tensor in tensors.items()}
    return Layout("ifgo", transposed=True, biases=int("bias" in tensors)).read(theirs)
