"""What Keras's configuration says: which layers a model has, in which order, and what the LSTMs among them are."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tallycell.activations import Activation, activation
from tallycell.errors import ActivationError, FormatError
from tallycell.parameters import Activations
from tallycell.wording import listed, one_line, quoted, shown

_MOST_LAYERS = 100_000
_MOST_PATH = 1_024  # characters: nested models put their names in front of every layer's
_MOST_READ = 64  # of what one layer reads; models that give on what they get could multiply it without end
_MERGE_MODES = ("concat", "sum", "mul", "ave", None)
_LSTM_CELLS = ("LSTM", "CuDNNLSTM", "LSTMCell")
_ACTIVATIONS = {
    "linear": ("identity", {}),
    "leaky_relu": ("leaky_relu", {"alpha": 0.2}),  # Keras's default, not ONNX's
} | {name: (name, {}) for name in ("sigmoid", "tanh", "relu", "softsign", "softplus", "elu", "hard_tanh")}


@dataclass(frozen=True)
class KerasLayer:
    """One layer of a model, as the configuration states it; models and TimeDistributed are taken apart.

    Attributes
    ----------
    path
        Names of the models around it and its own, joined by ``/``.
    kind
        Its class: ``"LSTM"``, ``"Dense"``.
    config
        Its configuration.
    key
        Where its weights stand in a file of Keras 3, which goes by classes, not by names.
    reads
        Paths of the layers whose output it reads, the first of them if they are many.
    """

    path: str
    kind: str
    config: Mapping[str, Any]
    key: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class CellConfig:
    """The weights and activations of one layer in one direction.

    Attributes
    ----------
    names
        By which its weights may be told in a file that goes by names, best first; ``forward_`` and ``backward_`` begin
        a name.
    key
        Where they stand in a file of Keras 3.
    units
        Number of units.
    activations
        Its squashing functions; Keras ties ``cell`` and ``hidden``.
    """

    names: tuple[str, ...]
    key: str
    units: int
    activations: Activations


@dataclass(frozen=True)
class LSTMConfig:
    """An LSTM of a model.

    Attributes
    ----------
    cells
        One tuple a layer; in it one a direction.
    operator, merge, reverse
        As in :class:`~tallycell.loaders.loaded_model.Place`.
    """

    cells: tuple[tuple[CellConfig, ...], ...]
    operator: str
    merge: str | None = None
    reverse: bool = False


def list_layers(model: object) -> list[KerasLayer]:
    """Give the layers of a model in order of execution.

    Parameters
    ----------
    model
        The configuration, parsed from JSON: ``{"class_name": ..., "config": ...}``.

    Raises
    ------
    FormatError
        If it is not that, or has far more layers, or longer paths, than any model.

    Examples
    --------
    >>> layers = [{"class_name": "Embedding", "config": {"name": "embedding"}},
    ...           {"class_name": "LSTM", "config": {"name": "lstm", "units": 4}}]
    >>> [(layer.path, layer.reads) for layer in list_layers({"class_name": "Sequential", "config": {"layers": layers}})]
    [('embedding', ()), ('lstm', ('embedding',))]
    """
    found: list[KerasLayer] = []
    try:
        assert isinstance(model, Mapping)
        _flatten_model(model["config"], "", "", (), found)
    except FormatError:
        raise
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"the configuration is not that of a model of Keras ({type(error).__name__})") from None
    return found


def _flatten_model(
    config: Any, path: str, key: str, reads: tuple[str, ...], found: list[KerasLayer]
) -> tuple[str, ...]:
    """Add the layers of a model; give the paths of those whose output is the model's."""
    entries = config if isinstance(config, list) else config.get("layers", ())  # a bare list: Sequential before 2.2.3
    classes: Counter[str] = Counter()
    outputs: dict[str, tuple[str, ...]] = {}
    before = reads
    for entry in entries:
        kind, name = entry["class_name"], _name_of(entry)
        folder = _snake_case(kind)
        place = f"{key}layers/{folder}" + (f"_{classes[folder]}" if classes[folder] else "")
        classes[folder] += 1
        nodes = entry.get("inbound_nodes")
        if nodes is not None and kind != "InputLayer":
            before = _outputs_of(_names_read(nodes), outputs)
        elif nodes is not None:
            before = reads
        before = outputs[name] = _flatten_layer(entry, path + name, place, before, found)
    named = [] if isinstance(config, list) else list(_names_read(config.get("output_layers", ())))
    return _outputs_of(named, outputs) or before


def _outputs_of(names: Iterable[str], outputs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(islice((path for name in names for path in outputs.get(name, ())), _MOST_READ))


def _flatten_layer(
    entry: Mapping[str, Any], path: str, key: str, reads: tuple[str, ...], found: list[KerasLayer]
) -> tuple[str, ...]:
    kind, config = entry["class_name"], entry["config"]
    if max(len(path), len(key)) > _MOST_PATH or len(found) >= _MOST_LAYERS:
        raise FormatError(
            f"the configuration has more than {_MOST_LAYERS} layers, or one whose path has more than {_MOST_PATH} "
            "characters; it is not read"
        )
    if isinstance(config, list) or isinstance(config.get("layers"), list):
        return _flatten_model(config, f"{path}/", f"{key}/", reads, found)
    if isinstance(config.get("layer"), Mapping) and kind != "Bidirectional":  # TimeDistributed and its like
        inner = config["layer"]
        return _flatten_layer(inner, f"{path}/{_name_of(inner)}", f"{key}/layer", reads, found)
    found.append(KerasLayer(path, str(kind), config, key, reads))
    return (path,)


def _name_of(entry: Mapping[str, Any]) -> str:
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, Mapping) else None)
    return str(name or _snake_case(entry["class_name"]))


def _names_read(nodes: Any) -> Iterator[str]:
    """Names of the layers that a layer reads: ``["name", 0, 0, {}]`` of Keras 2, ``keras_history`` of Keras 3."""
    if isinstance(nodes, Mapping):
        for value in nodes.values():
            yield from _names_read(value)
    elif isinstance(nodes, list | tuple):
        is_one = len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int)
        if is_one:
            yield nodes[0]
        else:
            for value in nodes:
                yield from _names_read(value)


def _snake_case(name: str) -> str:
    """Name of a class as the folders of Keras 3 have it."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))).lower()


def describe_lstm(layer: KerasLayer, version: str | None) -> LSTMConfig | None:
    """Give what a layer is, if it is an LSTM; None if it is another.

    Parameters
    ----------
    layer
        A layer of :func:`list_layers`.
    version
        Of the Keras that wrote the file, as it states it.

    Raises
    ------
    FormatError
        If it is an LSTM of a kind that ``LSTMParameters`` cannot express; the text says why.
    """
    try:
        return _describe(layer, version)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError | ActivationError):
            raise
        raise FormatError(f"its configuration is damaged ({type(error).__name__}: {one_line(error)})") from None


def _describe(layer: KerasLayer, version: str | None) -> LSTMConfig | None:
    config = layer.config
    if layer.kind != "Bidirectional":
        cells = _cells(layer.kind, config, layer.key, version)
        if cells is None:
            return None
        return LSTMConfig(tuple((cell,) for cell in cells), layer.kind, reverse=bool(config.get("go_backwards")))
    forward = config["layer"]
    backward = config.get("backward_layer") or forward
    directions = [
        _cells(entry["class_name"], entry["config"], f"{layer.key}/{word}_layer", version, prefix=f"{word}_")
        for word, entry in (("forward", forward), ("backward", backward))
    ]
    if directions == [None, None]:
        return None
    if None in directions or any(len(cells or ()) != 1 for cells in directions):
        raise FormatError("a Bidirectional of other than one LSTM cell a direction cannot be expressed as one LSTM")
    merge = config.get("merge_mode", "concat")
    if merge not in _MERGE_MODES:
        raise FormatError(f"its merge mode is {quoted(merge)}; known are concat, sum, mul, ave and null")
    return LSTMConfig(
        (tuple(cell for cells in directions for cell in cells or ()),),
        layer.kind,
        merge=merge,
        # Read backwards on both sides, a Bidirectional is one of the reversed sequence.
        reverse=bool(forward["config"].get("go_backwards")),
    )


def _cells(
    kind: str, config: Mapping[str, Any], key: str, version: str | None, *, prefix: str = ""
) -> Sequence[CellConfig] | None:
    """Cells of one direction, first layer first; None if it is no LSTM."""
    if kind == "RNN":
        cell = config["cell"]
        if not isinstance(cell, Mapping):  # a list of cells makes a stack
            cell = {"class_name": "StackedRNNCells", "config": {"cells": cell}}
        return _cells(cell["class_name"], cell["config"], f"{key}/cell", version, prefix=prefix)
    if kind == "StackedRNNCells":
        return _stacked_cells(config["cells"], f"{key}/cells", version)
    if kind not in _LSTM_CELLS:
        if "LSTM" in kind:
            raise FormatError(
                f"it is a {shown(str(kind))}, whose equations are not those of an LSTM with matrices; not read"
            )
        return None
    slots = {
        slot: _activation(config.get(name, default), version)
        for slot, name, default in (("gate", "recurrent_activation", "sigmoid"), ("cell", "activation", "tanh"))
    }
    name = str(config.get("name", ""))
    place, units = key if kind == "LSTMCell" else f"{key}/cell", config["units"]
    if not isinstance(units, int | float) or units != units // 1:
        raise FormatError(f"it has {quoted(units)} units; expected a whole number")
    return [CellConfig((prefix + name, name, prefix), place, int(units), Activations(**slots, hidden=slots["cell"]))]


def _stacked_cells(entries: list[Any], key: str, version: str | None) -> Sequence[CellConfig] | None:
    classes: Counter[str] = Counter()
    cells: list[CellConfig] = []
    kinds = {entry["class_name"] for entry in entries}
    for entry in entries:
        folder = _snake_case(entry["class_name"])
        place = f"{key}/{folder}" + (f"_{classes[folder]}" if classes[folder] else "")
        classes[folder] += 1
        cells += _cells(entry["class_name"], entry["config"], place, version) or ()
    if cells and len(cells) != len(entries):
        raise FormatError(f"it stacks cells of different kinds, {listed(sorted(kinds))}; expected LSTMCell only")
    return cells or None


def _activation(stated: Any, version: str | None) -> Activation:
    """Activation as Keras names it; its hard_sigmoid means another function from Keras 3 on."""
    if isinstance(stated, Mapping):  # a registered function, or a layer in the place of one
        stated = stated["config"] if isinstance(stated.get("config"), str) else stated.get("class_name")
    name = "linear" if stated is None else str(stated)
    if name == "hard_sigmoid":
        major = (version or "").partition(".")[0]
        if not major.isdecimal():
            raise FormatError(
                "its hard_sigmoid is 0.2 x + 0.5 in Keras 2 and x / 6 + 0.5 in Keras 3, and the file does not state "
                "the version that wrote it"
            )
        return activation("hard_sigmoid_keras3" if int(major) >= 3 else "hard_sigmoid_keras2")
    if name not in _ACTIVATIONS:
        known = ", ".join(sorted([*_ACTIVATIONS, "hard_sigmoid"]))
        raise FormatError(f"its activation {quoted(name)} of Keras is not known here; known are {known}")
    ours, constants = _ACTIVATIONS[name]
    return activation(ours, **constants)
