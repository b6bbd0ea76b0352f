"""safetensors: tallycell's own files, and any other with an LSTM under PyTorch's names.

A file of tallycell's own holds the weights as tensors (those of a recogniser's LSTM under ``lstm.``) and all the rest
as one JSON text in its metadata, under the key ``tallycell``::

    {"format": "lstm_parameters", "version": 1, "lstm": LSTM}
    {"format": "recogniser", "version": 1, "lstm": LSTM, "alphabet": ["(", ")"], "outputs": ["no", "yes"],
     "decision": "argmax", "unknown": null}

    LSTM = {"activations": [{"gate": ["sigmoid", {}], "cell": ["tanh", {}], "hidden": ["elu", {"alpha": 0.5}]}],
            "forget_gate": "own", "clip_pre": null, "clip_cell": null}
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from tallycell.activations import Activation, activation
from tallycell.errors import ActivationError, FormatError, ParameterError
from tallycell.files import first_bytes, write_file
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.tensors import widen, widen_bfloat16
from tallycell.loaders.torch_names import read_torch_names
from tallycell.loaders.vocabulary import with_vocabulary
from tallycell.parameters import Activations, LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import one_line, quoted

VERSION = 1
_KEY = "tallycell"
# What safetensors calls the dtypes that weights come in and may come in by mistake; others keep its name.
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
}  # fmt: skip
_SLOTS = ("gate", "cell", "hidden")
_LSTM_PATH = "lstm"  # of the LSTM inside a recogniser's file
_RECOGNISER_ARRAYS = ("inputs", "readout_weight", "readout_bias", "h_0", "c_0")
_RECOGNISER_WORDS = ("alphabet", "outputs", "decision", "unknown")


def save_parameters(parameters: LSTMParameters, path: Path) -> None:
    """Write an LSTM, bit for bit.

    Raises
    ------
    ActivationError
        If an activation is not registered.
    InputError
        If the file cannot be written.
    """
    _write(dict(parameters.weights), {"format": "lstm_parameters", "lstm": _describe(parameters)}, path)


def save_recogniser(recogniser: Recogniser, path: Path) -> None:
    """Write a recogniser, bit for bit.

    Raises
    ------
    ActivationError
        If an activation is not registered.
    InputError
        If the file cannot be written.
    """
    arrays = {f"{_LSTM_PATH}.{name}": weight for name, weight in recogniser.parameters.weights.items()}
    arrays |= {name: x for name in _RECOGNISER_ARRAYS if (x := getattr(recogniser, name)) is not None}
    words = {name: getattr(recogniser, name) for name in _RECOGNISER_WORDS}
    _write(arrays, {"format": "recogniser", "lstm": _describe(recogniser.parameters), **words}, path)


def load_safetensors(path: Path) -> LoadedModel:
    """Read the LSTMs of a safetensors file: tallycell's own, or any with PyTorch's names under any prefix.

    A vocabulary in the metadata, as JSON under ``char2id``, ``vocab`` or the like, is used if it names each row of the
    embedding.

    Raises
    ------
    FormatError
        If the file is missing or damaged, of a later version, or without an LSTM in floats.
    ParameterError, ActivationError
        If its weights do not make an LSTM, or name an activation that is not registered.
    """
    first_bytes(path, 1)
    bits = _Bfloat16(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            own = metadata.get(_KEY)
            tensors = {name: _stored(file, name, bits) for name in file.keys()}  # noqa: SIM118 (no mapping)
            if own is None:
                return with_vocabulary(read_torch_names(tensors, path, ordered=False), metadata)  # the file sorts them
            arrays = {name: _as_kept(tensor, name, path) for name, tensor in tensors.items()}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} cannot be read as safetensors: {one_line(error)}") from None
    try:
        return _assemble(_Words(json.loads(own), path), arrays, path)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError | ParameterError | ActivationError):
            raise
        raise FormatError(f"{path}: what it says of its LSTM is not JSON: {one_line(error)}") from None


def _stored(file: Any, name: str, bits: "_Bfloat16") -> StoredTensor:
    """Give a tensor of an open file; the library has checked the header against the size of the file."""
    part = file.get_slice(name)
    dtype = part.get_dtype()

    def read() -> np.ndarray:
        return bits.read(name) if dtype == "BF16" else widen(file.get_tensor(name))

    return StoredTensor(tuple(part.get_shape()), _DTYPES.get(dtype, dtype), read)


class _Bfloat16:
    """Reads tensors of the dtype that NumPy does not have, by the header, which is parsed once and only for these."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> np.ndarray:
        """Give the values as float32; the library has checked where they lie."""
        header, begin = self._header
        entry = header[name]
        start, stop = entry["data_offsets"]
        with self._path.open("rb") as file:
            file.seek(begin + start)
            bits = np.frombuffer(file.read(stop - start), "<u2")
        return widen_bfloat16(bits.reshape(entry["shape"]))

    @cached_property
    def _header(self) -> tuple[dict[str, Any], int]:
        with self._path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            try:
                return json.loads(file.read(length)), 8 + length
            except (ValueError, RecursionError, MemoryError) as error:  # the library nests and counts otherwise
                raise FormatError(f"its header cannot be parsed: {one_line(error)}") from None


def _as_kept(tensor: StoredTensor, name: str, path: Path) -> np.ndarray:
    if tensor.dtype not in ("float32", "float64"):
        raise FormatError(
            f"{path}: {quoted(name)} is of dtype {tensor.dtype}, which tallycell does not write; is it damaged?"
        )
    return tensor.values(f"{path}: {quoted(name)}")


def _write(arrays: dict[str, np.ndarray], words: dict[str, Any], path: Path) -> None:
    # A tensor that is not contiguous would be written in the order of its memory.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_file(path, to_bytes(contiguous, {_KEY: json.dumps({"version": VERSION, **words})}))


def _describe(parameters: LSTMParameters) -> dict[str, Any]:
    """All of an LSTM that is not a tensor."""
    slots = [parameters.slots(direction) for direction in range(parameters.num_directions)]
    return {
        "activations": [{slot: _name_of(getattr(one, slot)) for slot in _SLOTS} for one in slots],
        "forget_gate": parameters.forget_gate,
        "clip_pre": parameters.clip_pre,
        "clip_cell": parameters.clip_cell,
    }


def _name_of(found: Activation) -> list[Any]:
    try:
        known = activation(found.name, **found.constants)
    except ActivationError:
        known = None
    if known != found:
        raise ActivationError(
            f"{quoted(found)} is not registered, and a file can keep only its name; add it with register_activation "
            "first"
        )
    return [found.name, dict(found.constants)]


class _Words:
    """The JSON object of a file, read field by field; a field that is not as it should be is a FormatError."""

    def __init__(self, value: object, path: Path, place: str = "") -> None:
        self.path, self.place = path, place
        if not isinstance(value, dict):
            raise self.wrong("an object", value)
        self.fields: dict[str, Any] = value

    def get(self, name: str, expected: str, is_right: Callable[[Any], bool]) -> Any:
        """Value of a field that must be there."""
        if name not in self.fields or not is_right(self.fields[name]):
            raise self.wrong(f"{name} to be {expected}", self.fields.get(name, "nothing"))
        return self.fields[name]

    def inside(self, name: str) -> "_Words":
        """Object of a field."""
        return _Words(self.fields.get(name), self.path, f"{self.place}{name}.")

    def wrong(self, expected: str, got: object) -> FormatError:
        """Error to raise."""
        where = f" in {self.place.rstrip('.')}" if self.place else ""
        return FormatError(
            f"{self.path}: the description of its LSTM is damaged: expected {expected}{where}, got {quoted(got)}"
        )


def _assemble(words: _Words, arrays: dict[str, np.ndarray], path: Path) -> LoadedModel:
    """Put tensors and words together."""
    version = words.get("version", "a whole number", lambda x: type(x) is int)
    if version != VERSION:
        raise FormatError(
            f"{path} is of version {quoted(version)}; this tallycell reads version {VERSION}: install a newer one"
        )
    kind = words.get("format", "'lstm_parameters' or 'recogniser'", lambda x: x in ("lstm_parameters", "recogniser"))
    try:
        if kind == "lstm_parameters":
            return LoadedModel({"": _lstm(words.inside("lstm"), arrays)}, path)
        return _recogniser(words, arrays, path)
    except (ParameterError, ActivationError) as error:
        raise type(error)(f"{path}: {one_line(error)}") from None


def _recogniser(words: _Words, arrays: dict[str, np.ndarray], path: Path) -> LoadedModel:
    prefix = f"{_LSTM_PATH}."
    weights = {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}
    others = {name: x for name, x in arrays.items() if not name.startswith(prefix)}
    if unknown := others.keys() - set(_RECOGNISER_ARRAYS):
        raise FormatError(f"{path}: tensor {quoted(min(unknown))} is none of a recogniser's")
    if missing := set(_RECOGNISER_ARRAYS) - {"h_0", "c_0"} - others.keys():
        raise FormatError(f"{path}: tensor {quoted(min(missing))} of the recogniser is missing")
    with np.errstate(over="ignore"):  # of numbers that are narrowed, which are refused as infinite
        recogniser = Recogniser(
            **others,
            parameters=_lstm(words.inside("lstm"), weights),
            alphabet=tuple(words.get("alphabet", "a list of texts", _is_texts)),
            outputs=tuple(words.get("outputs", "a list of texts", _is_texts)),
            decision=words.get("decision", "a text", lambda x: isinstance(x, str)),
            unknown=words.get("unknown", "a text or null", lambda x: x is None or isinstance(x, str)),
        )
    return LoadedModel({_LSTM_PATH: recogniser.parameters}, path, recogniser)


def _lstm(words: _Words, weights: dict[str, np.ndarray]) -> LSTMParameters:
    def is_bound(x: object) -> bool:
        return x is None or _is_number(x)

    slots = words.get("activations", "one or two objects", lambda x: isinstance(x, list) and len(x) in (1, 2))
    return LSTMParameters(
        weights,
        tuple(_slots(_Words(one, words.path, f"{words.place}activations.")) for one in slots),
        words.get("forget_gate", "a text", lambda x: isinstance(x, str)),
        words.get("clip_pre", "a number or null", is_bound),
        words.get("clip_cell", "a number or null", is_bound),
    )


def _slots(words: _Words) -> Activations:
    pairs = {slot: words.get(slot, "a name with its constants", _is_activation) for slot in _SLOTS}
    return Activations(**{slot: activation(name, **constants) for slot, (name, constants) in pairs.items()})


def _is_number(x: object) -> bool:
    return isinstance(x, float) or (type(x) is int and abs(x) < 2**63)  # JSON has whole numbers beyond any float


def _is_texts(x: object) -> bool:
    return isinstance(x, list) and all(isinstance(text, str) for text in x)


def _is_activation(x: object) -> bool:
    return (
        isinstance(x, list)
        and len(x) == 2
        and isinstance(x[0], str)
        and isinstance(x[1], dict)
        and "name" not in x[1]  # it would be taken for the activation's own
        and all(map(_is_number, x[1].values()))
    )
