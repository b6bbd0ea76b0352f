"""Raw float32 tensors with a manifest, one file a tensor, as character models for TensorFlow.js have them.

``manifest.json`` names the tensors as TensorFlow did; beside them may lie ``vocab.json``, from symbol to index::

    {"rnnlm/multi_rnn_cell/cell_0/basic_lstm_cell/weights": {"filename": "cell_0_weights", "shape": [256, 512]},
     "rnnlm/multi_rnn_cell/cell_0/basic_lstm_cell/biases": {"filename": "cell_0_biases", "shape": [512]},
     "embedding": ..., "rnnlm/softmax_w": ..., "rnnlm/softmax_b": ...}

A cell's weights are one matrix (feature + unit, 4 unit) in the order i g f o (TensorFlow calls g "j"). The forget bias
is not among them: TensorFlow adds it when the model runs, 1 unless the program said otherwise, so whoever loads the
model has to say.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tallycell.errors import FormatError, InputError, ParameterError
from tallycell.layout import Layout
from tallycell.loaders.files import file_inside, read_json
from tallycell.loaders.loaded_model import Head, LoadedModel, Place
from tallycell.loaders.tensors import check_size
from tallycell.parameters import LSTMParameters

_MOST_BYTES = 2**24  # of a manifest or a vocabulary
_CELL = re.compile(r"(?P<path>(?:.*/)?(?:basic_)?lstm_cell)/(?:weights|kernel)", re.S)
_STACKED = re.compile(r"(?P<stack>.*)/cell_(?P<number>[0-9]{1,4})/(?:basic_)?lstm_cell", re.S)
_BEYOND = {"w_f_diag": "peepholes", "projection/kernel": "a projection", "projection/weights": "a projection"}


def load_raw_tensors(folder: Path, *, forget_bias: float | None = None) -> LoadedModel:
    """Read the LSTM cells of a folder of raw tensors.

    Parameters
    ----------
    folder
        Where ``manifest.json`` lies.
    forget_bias
        What the model's program adds to the bias of the forget gate: 1 for TensorFlow's BasicLSTMCell unless it was
        told otherwise. Positive opens the gate (remembers).

    Returns
    -------
    LoadedModel
        Cells of one ``multi_rnn_cell`` that feed each other and are equally wide are one LSTM of several layers.
        Embedding, vocabulary and head (``softmax_w``, ``softmax_b``) are filled where the folder has them.

    Raises
    ------
    InputError
        If ``forget_bias`` is not given, or not a finite number.
    FormatError
        If the folder is not as it should be, or without an LSTM.
    ParameterError
        If its weights do not make an LSTM.

    Examples
    --------
    >>> import json, tempfile
    >>> shapes = {"lstm_cell/kernel": [3, 8], "lstm_cell/bias": [8]}
    >>> with tempfile.TemporaryDirectory() as name:
    ...     manifest = {key: {"filename": key[10:], "shape": shape} for key, shape in shapes.items()}
    ...     _ = Path(name, "manifest.json").write_text(json.dumps(manifest))
    ...     for key, shape in shapes.items():
    ...         np.zeros(shape, np.float32).tofile(Path(name, key[10:]))
    ...     lstm = load_raw_tensors(Path(name), forget_bias=1).lstm
    >>> lstm.layer(0).bias("f")
    array([1., 1.], dtype=float32)
    """
    tensors = _Tensors(folder, _manifest(folder))
    cells = {found["path"]: name for name in tensors.shapes if (found := _CELL.fullmatch(name))}
    if not cells:
        names = ", ".join(map(repr, list(tensors.shapes)[:8])) or "(none)"
        raise FormatError(f"{folder} holds no LSTM cell (lstm_cell/kernel and so on); its tensors are {names}")
    refused = {path: reason for path in cells if (reason := _reason_against(path, tensors))}
    if len(refused) == len(cells):
        reasons = "; ".join(f"{path!r}: {reason}" for path, reason in refused.items())
        raise FormatError(f"{folder} holds no LSTM that can be read: {reasons}")
    if forget_bias is None or not math.isfinite(forget_bias):
        raise InputError(
            f"{folder} does not say which forget bias its program adds, got {forget_bias}: give forget_bias=1 "
            "(TensorFlow's default) or 0; on the command line, --forget-bias 1"
        )
    layers = {path: tensors.cell(path, name, forget_bias) for path, name in cells.items() if path not in refused}
    stacks = dict(_stacks(layers, folder))
    first, last = next(iter(stacks.values())), list(stacks.values())[-1]
    return LoadedModel(
        stacks,
        folder,
        places={path: Place("BasicLSTMCell", reverse="bw" in path.split("/")) for path in stacks},
        refused=refused,
        embedding=tensors.embedding(first.input_size),
        vocabulary=_vocabulary(folder),
        head=tensors.head(last.output_size),
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise FormatError(f"{folder} is a folder without a manifest.json; give a model file, or a folder with one")
    manifest = read_json(path, _MOST_BYTES)
    if not isinstance(manifest, dict):
        raise FormatError(f"{path} holds a JSON {type(manifest).__name__}, expected an object of tensors by name")
    return manifest


def _reason_against(path: str, tensors: "_Tensors") -> str:
    """Why a cell cannot be read, or nothing."""
    beyond = {what for name, what in _BEYOND.items() if f"{path}/{name}" in tensors.shapes}
    return f"it has {' and '.join(sorted(beyond))}, which are not read from this format" if beyond else ""


def _stacks(layers: Mapping[str, dict[str, np.ndarray]], folder: Path) -> Iterator[tuple[str, LSTMParameters]]:
    """Cells of a multi_rnn_cell as one LSTM where they fit on each other, else one by one."""
    groups: dict[str, dict[int, str]] = {}
    for path in layers:
        found = _STACKED.fullmatch(path)
        groups.setdefault(found["stack"] if found else path, {})[int(found["number"]) if found else 0] = path
    for stack, paths in groups.items():
        chain = [paths[number] for number in sorted(paths)]
        widths = {layers[path]["weight_hh"].shape[1] for path in chain}
        fits = len(widths) == 1 and all(layers[path]["weight_ih"].shape[1] in widths for path in chain[1:])
        for name, parts in {stack: chain}.items() if fits else {path: [path] for path in chain}.items():
            weights = {f"{kind}_l{k}": x for k, path in enumerate(parts) for kind, x in layers[path].items()}
            try:
                yield name, LSTMParameters(weights)
            except ParameterError as error:
                raise ParameterError(f"{folder}, LSTM at {name!r}: {error}") from None


def _vocabulary(folder: Path) -> tuple[str, ...] | None:
    path = folder / "vocab.json"
    if not path.is_file():
        return None
    indices = read_json(path, _MOST_BYTES)
    if not isinstance(indices, dict) or not all(type(index) is int for index in indices.values()):
        raise FormatError(f"{path} is not a vocabulary; expected an object from symbol to index")
    symbols = {index: symbol for symbol, index in indices.items()}
    if sorted(symbols) != list(range(len(indices))):
        raise FormatError(f"{path} numbers its {len(indices)} symbols with gaps or twice; expected each of 0, 1, 2 ...")
    return tuple(symbols[index] for index in range(len(symbols)))


@dataclass(frozen=True)
class _Tensors:
    """The tensors of a folder; each is read when it is asked for."""

    folder: Path
    shapes: Mapping[str, Any]  # as the manifest has them

    def read(self, name: str) -> Float32[np.ndarray, "..."]:
        """Give a tensor."""
        source, entry = self.folder / "manifest.json", self.shapes[name]
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(length) is int for length in shape):
            raise FormatError(f"{source}: {name!r} has no shape; expected an object with filename and shape")
        if entry.get("dtype", "float32") != "float32":
            raise FormatError(f"{source}: {name!r} is of dtype {str(entry['dtype'])[:40]!r}, expected float32")
        path = file_inside(self.folder, entry.get("filename"), source)
        check_size(shape, 4, path.stat().st_size, f"{source}: {name!r}")
        return np.fromfile(path, "<f4").reshape(shape).astype(np.float32, copy=False)

    def cell(self, path: str, name: str, forget_bias: float) -> dict[str, np.ndarray]:
        """Give one cell's weights in tallycell's layout."""
        bias_name = f"{path}/{'biases' if name.endswith('weights') else 'bias'}"
        if bias_name not in self.shapes:
            raise FormatError(f"{self.folder / 'manifest.json'}: {name!r} stands without {bias_name!r}")
        weights, bias = self.read(name), self.read(bias_name)
        unit = bias.size // 4
        if weights.ndim != 2 or not unit or bias.shape != weights.shape[1:] or bias.size % 4 or len(weights) <= unit:
            raise ParameterError(
                f"{self.folder}: {name!r} has shape {weights.shape} and its bias {bias.shape}; expected "
                "(input_size + hidden_size, 4 hidden_size) and (4 hidden_size,)"
            )
        feature = len(weights) - unit
        theirs = {"weight_ih": weights[:feature], "weight_hh": weights[feature:], "bias": bias}
        return Layout("igfo", transposed=True, biases=1, forget_bias=forget_bias).read(theirs)

    def embedding(self, feature: int) -> np.ndarray | None:
        """Give the embedding, if there is one for an LSTM of so many features."""
        for name in self.shapes:
            if name.rpartition("/")[2] == "embedding" and (found := self.read(name)).shape[1:] == (feature,):
                return found
        return None

    def head(self, unit: int) -> Head | None:
        """Give the softmax layer, if there is one for an LSTM of so many units."""
        for name in self.shapes:
            bias_name = f"{name.removesuffix('w')}b"
            if name.endswith("softmax_w") and bias_name in self.shapes:
                weight, bias = self.read(name), self.read(bias_name)
                if weight.shape == (unit, *bias.shape):
                    return Head(weight.T, bias, "softmax")
        return None
