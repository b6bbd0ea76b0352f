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
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tallycell.errors import FormatError, InputError, ParameterError
from tallycell.files import file_inside, read_json
from tallycell.layout import Layout
from tallycell.loaders.loaded_model import Head, LoadedModel, Place
from tallycell.loaders.shapes import check_shape
from tallycell.loaders.telling import told
from tallycell.loaders.tensors import check_size, check_unfolding
from tallycell.parameters import Activations, LSTMParameters
from tallycell.wording import listed, one_line, quoted, reasons

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
        names = listed(tensors.shapes)
        raise FormatError(f"{folder} holds no LSTM cell (lstm_cell/kernel and so on); its tensors are {names}")
    refused = {path: reason for path in cells if (reason := _reason_against(path, tensors))}
    if len(refused) == len(cells):
        raise FormatError(f"{folder} holds no LSTM that can be read: {reasons(refused)}")
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
    if not os.path.lexists(path):
        raise FormatError(
            f"{folder} is a folder without a manifest.json; give a model file, a folder with one, or a run folder of "
            "NeuralHydrology, with its config.yml"
        )
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
        number = int(found["number"]) if found else 0
        stack = groups.setdefault(found["stack"] if found else path, {})
        if number in stack:  # cell_1 and cell_01
            groups[path] = {0: path}
        else:
            stack[number] = path
    activations = Activations()
    for name_of_all, paths in groups.items():
        chain = [paths[number] for number in sorted(paths)]
        widths = {layers[path]["weight_hh"].shape[1] for path in chain}
        fits = len(widths) == 1 and all(layers[path]["weight_ih"].shape[1] in widths for path in chain[1:])
        for name, parts in {name_of_all: chain}.items() if fits else {path: [path] for path in chain}.items():
            weights = {f"{kind}_l{k}": x for k, path in enumerate(parts) for kind, x in layers[path].items()}
            try:
                yield name, LSTMParameters(weights, activations)
            except ParameterError as error:
                raise ParameterError(f"{folder}, LSTM at {quoted(name)}: {one_line(error)}") from None


def _vocabulary(folder: Path) -> tuple[str, ...] | None:
    path = folder / "vocab.json"
    if not os.path.lexists(path):
        return None
    indices = read_json(path, _MOST_BYTES)
    if not isinstance(indices, dict) or not all(type(index) is int for index in indices.values()):
        raise FormatError(f"{path} is not a vocabulary; expected an object from symbol to index")
    symbols = {index: symbol for symbol, index in indices.items()}
    if sorted(symbols) != list(range(len(indices))):
        raise FormatError(f"{path} numbers its {len(indices)} symbols with gaps or twice; expected each of 0, 1, 2 ...")
    return tuple(symbols[index] for index in range(len(symbols)))


class _Tensors:
    """The tensors of a folder; each is read when it is asked for."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.shapes, self._source = folder, manifest, folder / "manifest.json"
        self._files: dict[str, tuple[Path, int]] = {}  # with their sizes
        self._stored = self._read = 0  # bytes of these files, and of what was read of them

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the shape of a tensor, as the manifest has it."""
        entry = self.shapes[name]
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(length) is int for length in shape):
            raise FormatError(
                f"{self._source}: {quoted(name)} has no shape; expected an object with filename and shape"
            )
        check_shape(shape, f"{self._source}: {quoted(name)}")
        return tuple(shape)

    def read(self, name: str) -> Float32[np.ndarray, "..."]:
        """Give a tensor."""
        shape, entry = self.shape(name), self.shapes[name]
        dtype = entry.get("dtype", "float32")
        if dtype != "float32":
            raise FormatError(f"{self._source}: {quoted(name)} is of dtype {told(dtype)}, expected float32")
        path, size = self._file(entry.get("filename"))
        check_size(shape, 4, size, f"{self._source}: {quoted(name)}")
        self._read += size
        check_unfolding(self._read, self._stored, self.folder)  # many tensors may name one file
        try:
            return np.fromfile(path, "<f4").reshape(shape).astype(np.float32, copy=False)
        except (OSError, ValueError) as error:  # not to be opened, or changed meanwhile
            raise FormatError(f"{path} cannot be read: {one_line(error)}") from None

    def _file(self, name: object) -> tuple[Path, int]:
        if not isinstance(name, str):
            raise FormatError(f"{self._source} names {told(name)} as a file; expected a file name")
        if name not in self._files:
            path = file_inside(self.folder, name, self._source)
            self._files[name] = path, path.stat().st_size
            self._stored += path.stat().st_size
        return self._files[name]

    def cell(self, path: str, name: str, forget_bias: float) -> dict[str, np.ndarray]:
        """Give one cell's weights in tallycell's layout."""
        bias_name = f"{path}/{'biases' if name.endswith('weights') else 'bias'}"
        if bias_name not in self.shapes:
            raise FormatError(f"{self.folder / 'manifest.json'}: {quoted(name)} stands without {quoted(bias_name)}")
        weights, bias = self.read(name), self.read(bias_name)
        unit = bias.size // 4
        if weights.ndim != 2 or not unit or bias.shape != weights.shape[1:] or bias.size % 4 or len(weights) <= unit:
            raise ParameterError(
                f"{self.folder}: {quoted(name)} has shape {weights.shape} and its bias {bias.shape}; expected "
                "(input_size + hidden_size, 4 hidden_size) and (4 hidden_size,)"
            )
        feature = len(weights) - unit
        theirs = {"weight_ih": weights[:feature], "weight_hh": weights[feature:], "bias": bias}
        return Layout("igfo", transposed=True, biases=1, forget_bias=forget_bias).read(theirs)

    def embedding(self, feature: int) -> np.ndarray | None:
        """Give the embedding, if there is one for an LSTM of so many features."""
        for name in self.shapes:
            if name.rpartition("/")[2] == "embedding" and self.shape(name)[1:] == (feature,):
                return self.read(name)
        return None

    def head(self, unit: int) -> Head | None:
        """Give the softmax layer, if there is one for an LSTM of so many units."""
        for name in self.shapes:
            bias_name = f"{name.removesuffix('w')}b"
            if not name.endswith("softmax_w") or bias_name not in self.shapes:
                continue
            if self.shape(name) == (unit, *self.shape(bias_name)):
                return Head(self.read(name).T, self.read(bias_name), "softmax")
        return None
