"""Keras: ``.h5`` of Keras 2 and 3, whole models and weights alone, ``.weights.h5`` and ``.keras`` of Keras 3.

Only h5py is needed. A whole model states its layers as JSON, and nothing of it is ever run: a layer that stands in the
file as code (Lambda) is passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tallycell.errors import ActivationError, FormatError, ParameterError
from tallycell.files import first_bytes
from tallycell.loaders.keras.archive import KerasSource, open_keras
from tallycell.loaders.keras.around import find_embedding, find_head, find_vocabulary
from tallycell.loaders.keras.config import CellConfig, KerasLayer, LSTMConfig, describe_lstm, list_layers
from tallycell.loaders.keras.weights import KerasWeights, cell_weights, collect_weights, list_unnamed
from tallycell.loaders.loaded_model import LoadedModel, Place
from tallycell.loaders.tensors import stored_as
from tallycell.loaders.vocabulary import named_rows
from tallycell.names import parameter_name
from tallycell.parameters import LSTMParameters
from tallycell.wording import listed, one_line, quoted, reasons

_Built = dict[str, tuple[LSTMParameters, Place]]


def load_keras(path: Path) -> LoadedModel:
    """Read the LSTMs of a file of Keras.

    Parameters
    ----------
    path
        A whole model, ``.keras`` or ``.h5``; or weights alone, ``.h5`` or ``.weights.h5``. Weights alone say nothing of
        activations, of merge modes or of what is read backwards: those are taken to be Keras's defaults, sigmoid and
        tanh, ``"concat"``, and forwards. CuDNNLSTM's layout is told by its biases.

    Returns
    -------
    LoadedModel
        By the names of the layers, a nested model's in front: ``"encoder/lstm_1"``. A Bidirectional is one LSTM. The
        cells of an ``RNN`` are one stack, or, if they differ in width, one LSTM each: ``"rnn/0"``, ``"rnn/1"``. What
        Keras calls ``go_backwards`` is ``Place.reverse``: the layer is this LSTM on the reversed sequence, and its
        output stays reversed.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    FormatError
        If the file is missing or damaged, or holds no LSTM that can be read.

    Examples
    --------
    >>> import tempfile
    >>> import h5py
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.weights.h5"
    ...     with h5py.File(path, "w") as file:
    ...         cell = file.create_group("layers/lstm/cell/vars")
    ...         cell["0"], cell["1"], cell["2"] = np.ones((3, 8)), np.ones((2, 8)), np.zeros(8)
    ...     dict(load_keras(path))
    {'lstm': LSTMParameters(input_size=3, hidden_size=2, dtype=float64)}
    """
    first_bytes(path, 1)
    with open_keras(path) as source:
        weights = collect_weights(source.file)
        layers = [] if source.config is None else list_layers(source.config)
        stacks, places, refused, keys = _read_all(layers, weights, source)
        if not stacks:
            raise FormatError(_nothing(path, weights, refused))
        first, last = next(iter(stacks)), next(reversed(stacks))
        embedding = find_embedding(layers, weights, keys[first], reader=(first, stacks[first].input_size))
        vocabulary, notes = named_rows(find_vocabulary(layers, source.vocabularies), embedding)
        return LoadedModel(
            stacks,
            path,
            places=places,
            refused=refused,
            embedding=embedding,
            vocabulary=vocabulary,
            head=find_head(layers, weights, keys[last], read=(last, _width(stacks[last], places[last]))),
            in_order=bool(layers),
            notes=notes,
        )


def _read_all(
    layers: Sequence[KerasLayer], weights: KerasWeights, source: KerasSource
) -> tuple[dict[str, LSTMParameters], dict[str, Place], dict[str, str], dict[str, str]]:
    """Read every LSTM; give stacks, places, reasons of those refused, and where in the file the stacks' weights are."""
    built: _Built = {}
    refused: dict[str, str] = {}
    taken: dict[str, str] = {}  # from where weights stand to the path of their LSTM
    for layer in layers:
        try:
            described = describe_lstm(layer, source.version)
            if described is not None:
                built |= _build(layer, described, weights, taken)
        except (FormatError, ParameterError, ActivationError) as error:
            refused[layer.path] = one_line(error)
            taken |= dict.fromkeys(weights.keys_of(layer), layer.path)
    for path, described in list_unnamed(weights, taken, source.file):
        try:
            built |= _build(KerasLayer(path, described.operator, {}, path, ()), described, weights, taken)
        except (FormatError, ParameterError) as error:
            refused[path] = one_line(error)
    keys = {path: key for key, path in reversed(taken.items())}
    stacks = {path: parameters for path, (parameters, _) in built.items()}
    return stacks, {path: place for path, (_, place) in built.items()}, refused, keys


def _build(layer: KerasLayer, described: LSTMConfig, weights: KerasWeights, taken: dict[str, str]) -> _Built:
    """Make one LSTM; several where its layers differ, and cannot be one stack."""
    place = Place(
        described.operator,
        reverse=described.reverse,
        merge=described.merge,
        reads=layer.reads[0] if layer.reads else None,
    )
    found: list[tuple[str, ...]] = []
    for directions in described.cells:
        keys = []
        for cell in directions:
            keys.append(weights.find(cell, layer.path, taken))
            taken[keys[-1]] = layer.path
        found.append(tuple(keys))
    is_one = len(set(map(_shape_of, described.cells))) == 1
    groups = [list(range(len(found)))] if is_one else [[k] for k in range(len(found))]
    built: _Built = {}
    for number, members in enumerate(groups):
        path = layer.path if is_one else f"{layer.path}/{number}"
        cells, keys_of_cells = [described.cells[k] for k in members], [found[k] for k in members]
        taken |= dict.fromkeys((key for keys in keys_of_cells for key in keys), path)
        stored = [
            weights.groups[key][kind].dtype for keys in keys_of_cells for key in keys for kind in weights.groups[key]
        ]
        # The first of several turns the sequence around; the others read what it left.
        parameters = _parameters(cells, keys_of_cells, weights)
        built[path] = parameters, replace(place, stored_as=stored_as(stored), reverse=place.reverse and number == 0)
    return built


def _shape_of(directions: Sequence[CellConfig]) -> tuple[object, ...]:
    return tuple((cell.units, cell.activations) for cell in directions)


def _parameters(
    cells: Sequence[Sequence[CellConfig]], keys: Sequence[Sequence[str]], weights: KerasWeights
) -> LSTMParameters:
    named: dict[str, np.ndarray] = {}
    for layer, (directions, places) in enumerate(zip(cells, keys, strict=True)):
        for direction, (cell, key) in enumerate(zip(directions, places, strict=True)):
            ours = cell_weights(weights.groups[key])
            if len(ours["weight_ih"]) != 4 * cell.units:
                raise FormatError(
                    f"the configuration states {quoted(cell.units)} units, its weights have "
                    f"{len(ours['weight_ih']) // 4}"
                )
            named |= {parameter_name(kind, layer, direction): weight for kind, weight in ours.items()}
    return LSTMParameters(named, tuple(cell.activations for cell in cells[0]))


def _width(parameters: LSTMParameters, place: Place) -> int:
    """Size of what the layer gives at each step."""
    return parameters.output_size * (2 if place.merge == "concat" else 1)


def _nothing(path: Path, weights: KerasWeights, refused: Mapping[str, str]) -> str:
    if refused:
        return f"{path} holds no LSTM that can be read: {reasons(refused)}"
    names = weights.layer_names or sorted({key.partition("/")[0] for key in weights.groups})
    return f"{path} holds no LSTM; its first layers are {listed(names)}"
