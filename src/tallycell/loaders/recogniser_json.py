"""Recognisers as JSON, to be written by hand: weights under PyTorch's names, and what they mean in words.

::

    {"recogniser": 1, "alphabet": ["(", ")"], "outputs": ["open"], "decision": "threshold",
     "weights": {"weight_ih_l0": [[50, 50], [50, 50], [50, -50], [50, 50]], "weight_hh_l0": [[0], [0], [0], [0]]},
     "readout_weight": [[1]], "readout_bias": [-0.5]}

Each symbol is one number of its own (one-hot) unless ``inputs`` gives a vector for each; ``h_0`` and ``c_0`` are the
initial states, ``unknown`` the symbol that stands for all others, ``dtype`` the number format.

No format of its own: JSON that says so is one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tallycell.errors import FormatError, ParameterError
from tallycell.loaders.json_numbers import array_of_numbers
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import listed, one_line, quoted

KEY, VERSION = "recogniser", 1
_ARRAYS = ("inputs", "readout_weight", "readout_bias", "h_0", "c_0")
_WORDS = ("alphabet", "outputs", "decision", "unknown", "dtype")
_NEEDED = ("alphabet", "outputs", "weights", "readout_weight", "readout_bias")


def recogniser_from_json(content: Mapping[str, Any], path: Path) -> LoadedModel:
    """Make the recogniser that JSON holds; ``path`` is its file, for errors.

    Raises
    ------
    FormatError
        If a field is missing, is not known, or is not what it should be.
    ParameterError
        If the weights do not make an LSTM, or the parts do not fit together.

    Examples
    --------
    >>> weights = {"weight_ih_l0": [[50, 50], [50, 50], [50, -50], [50, 50]], "weight_hh_l0": [[0], [0], [0], [0]]}
    >>> value = {"recogniser": 1, "alphabet": ["(", ")"], "outputs": ["open"], "decision": "threshold",
    ...          "weights": weights, "readout_weight": [[1]], "readout_bias": [-0.5]}
    >>> recogniser_from_json(value, Path("net.json")).recogniser
    Recogniser(2 symbols, LSTMParameters(input_size=2, hidden_size=1, bias=False, dtype=float32), 1 outputs,
    decision='threshold')
    """
    if content[KEY] != VERSION:
        raise FormatError(f"{path} is of version {quoted(content[KEY])}; this tallycell reads version {VERSION}")
    if missing := [name for name in _NEEDED if name not in content]:
        raise FormatError(f"{path} says nothing of {listed(missing)}; a recogniser has {', '.join(_NEEDED)}")
    if unknown := content.keys() - {KEY, "weights", *_ARRAYS, *_WORDS}:
        raise FormatError(f"{path}: {listed(sorted(unknown))} is none of a recogniser's; those are {_all_names()}")
    try:
        recogniser = _recogniser(content, path)
    except ParameterError as error:
        raise ParameterError(f"{path}: {one_line(error)}") from None
    return LoadedModel({"lstm": recogniser.parameters}, path, recogniser)


def _recogniser(content: Mapping[str, Any], path: Path) -> Recogniser:
    alphabet, outputs = (_texts(content, name, path) for name in ("alphabet", "outputs"))
    dtype = content.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise FormatError(f"{path}: dtype is {quoted(dtype)}; expected 'float32' or 'float64'")
    weights = content["weights"]
    if not isinstance(weights, dict):
        raise FormatError(f"{path}: weights is {quoted(weights)}; expected an object of tensors under PyTorch's names")
    parameters = LSTMParameters({name: _array(value, name, dtype, path) for name, value in weights.items()})
    arrays = {name: _array(content[name], name, dtype, path) for name in _ARRAYS if content.get(name) is not None}
    inputs = arrays.pop("inputs", np.eye(len(alphabet)))
    decision, unknown = content.get("decision", "argmax"), content.get("unknown")
    return Recogniser(
        alphabet=alphabet, inputs=inputs, parameters=parameters, outputs=outputs, decision=decision, unknown=unknown,
        **arrays,
    )  # fmt: skip


def _texts(content: Mapping[str, Any], name: str, path: Path) -> tuple[str, ...]:
    value = content[name]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise FormatError(f"{path}: {name} is {quoted(value)}; expected a list of texts")
    return tuple(value)


def _array(value: object, name: str, dtype: str, path: Path) -> np.ndarray:
    array = array_of_numbers(value, dtype)
    if array is None:
        raise FormatError(f"{path}: {quoted(name)} is not an even array of numbers")
    return array


def _all_names() -> str:
    return ", ".join((KEY, "weights", *_ARRAYS, *_WORDS))
