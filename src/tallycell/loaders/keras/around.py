"""What surrounds the LSTMs of a Keras model: the embedding in front, the words, the dense layer behind."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tallycell.loaders.keras.config import KerasLayer
from tallycell.loaders.keras.hdf5 import StoredArray
from tallycell.loaders.keras.weights import KerasWeights
from tallycell.loaders.loaded_model import Head

# What gives on what it gets, when it is not training.
_PASSES = (
    "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization",
    "Masking", "InputLayer",
)  # fmt: skip
_LOOKUPS = {"TextVectorization": "", "StringLookup": None}  # and the word for padding that each has by default


def find_embedding(
    layers: Sequence[KerasLayer], weights: KerasWeights, key: str, *, reader: tuple[str, int]
) -> Float[np.ndarray, "symbol feature"] | None:
    """Give the embedding whose rows the first LSTM reads, as they are.

    Parameters
    ----------
    layers
        Of the model; empty for weights alone. Then it is the layer that the file lists in front of the LSTM.
    weights
        Of the file.
    key
        Where the LSTM's weights stand.
    reader
        Path of the LSTM, and the width of what it reads.

    Returns
    -------
    numpy.ndarray or None
        None if the LSTM reads something else.
    """
    path, width = reader
    if layers:
        by_path = {layer.path: layer for layer in layers}
        found = _source_of(by_path, path, "Embedding")
        arrays = _arrays_of(found, weights) if found else {}
    else:
        arrays = _neighbour(weights, key, -1)
    array = arrays.get("embeddings") or (arrays.get("kernel") if layers else None)
    fits = array is not None and len(array.shape) == 2 and array.shape[1] == width and array.dtype.startswith("float")
    return array.read() if array is not None and fits else None


def find_head(layers: Sequence[KerasLayer], weights: KerasWeights, key: str, *, read: tuple[str, int]) -> Head | None:
    """Give the dense layer that reads the last LSTM's output as it is.

    Parameters
    ----------
    layers, weights, key
        As of :func:`find_embedding`, of the last LSTM.
    read
        Path of that LSTM, and the width of what it gives.

    Returns
    -------
    Head or None
        None if something else reads it.
    """
    path, width = read
    activation = None
    if layers:
        readers = _readers_of(layers, path)
        found = next((one for one in layers if one.kind == "Dense" and id(one) in readers), None)
        arrays = _arrays_of(found, weights) if found else {}
        stated = found.config.get("activation") if found else None
        activation = stated if isinstance(stated, str) and stated != "linear" else None
    else:
        arrays = _neighbour(weights, key, 1)
    kernel, bias = arrays.get("kernel"), arrays.get("bias")
    if kernel is None or arrays.keys() - {"kernel", "bias"} or len(kernel.shape) != 2 or kernel.shape[0] != width:
        return None
    if bias is not None and bias.shape != kernel.shape[1:]:
        return None
    return Head(kernel.read().T, None if bias is None else bias.read(), activation)


def find_vocabulary(layers: Iterable[KerasLayer], stored: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """Give the words by number, where one layer of the model maps words to numbers.

    Parameters
    ----------
    layers
        Of the model.
    stored
        From the folder of such a layer to its words, where the file has them apart.

    Returns
    -------
    tuple of str or None
        With the words for padding and for what is unknown in front, as Keras numbers them.
    """
    lookups = [layer for layer in layers if layer.kind in _LOOKUPS]
    if len(lookups) != 1:
        return None
    (lookup,) = lookups
    if lookup.key in stored:
        return tuple(stored[lookup.key])
    words, config = lookup.config.get("vocabulary"), lookup.config
    if not isinstance(words, list) or not words or config.get("output_mode", "int") != "int" or config.get("invert"):
        return None
    padding = config.get("mask_token", _LOOKUPS[lookup.kind])
    unknown = config.get("num_oov_indices", 1)
    special = [] if padding is None else [padding]
    special += [config.get("oov_token", "[UNK]")] * (unknown if unknown in range(len(words)) else 1)
    all_words = words if words[: len(special)] == special else special + words
    return tuple(map(str, all_words)) if all(isinstance(word, str | int | float) for word in all_words) else None


def _source_of(by_path: Mapping[str, KerasLayer], path: str, kind: str) -> KerasLayer | None:
    """Layer of a kind whose output another reads, at most dropout between."""
    seen: set[str] = set()
    reads = by_path[path].reads if path in by_path else ()
    while reads and reads[0] not in seen and (layer := by_path.get(reads[0])):
        if layer.kind == kind:
            return layer
        if layer.kind not in _PASSES:
            return None
        seen.add(layer.path)
        reads = layer.reads
    return None


def _readers_of(layers: Sequence[KerasLayer], path: str) -> set[int]:
    """Layers, by id, that read the output of the one at a path and nothing else, at most dropout between."""
    reading: dict[str, list[KerasLayer]] = {}
    for layer in layers:
        if len(layer.reads) == 1:
            reading.setdefault(layer.reads[0], []).append(layer)
    found: set[int] = set()
    left, seen = [path], {path}
    while left:
        for layer in reading.get(left.pop(), ()):
            found.add(id(layer))
            if layer.kind in _PASSES and layer.path not in seen:
                seen.add(layer.path)
                left.append(layer.path)
    return found


def _arrays_of(layer: KerasLayer, weights: KerasWeights) -> Mapping[str, StoredArray]:
    keys = weights.keys_of(layer)
    return weights.groups[keys[0]] if len(keys) == 1 else {}


def _neighbour(weights: KerasWeights, key: str, step: int) -> Mapping[str, StoredArray]:
    """Weights of the layer in front of or behind the one whose weights stand at a key, at most dropout between."""
    names = list(weights.layer_names)
    top = key.partition("/")[0]
    if top not in names:
        return {}
    at = names.index(top) + step
    while 0 <= at < len(names) and names[at].startswith(("dropout", "spatial_dropout")):
        at += step
    if not 0 <= at < len(names):
        return {}
    groups = [group for found, group in weights.groups.items() if found.partition("/")[0] == names[at]]
    return groups[0] if len(groups) == 1 else {}
