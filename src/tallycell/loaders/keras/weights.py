"""Weights of Keras layers, in every way that Keras has written them to HDF5."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError
from tallycell.layout import Layout
from tallycell.loaders.keras.config import CellConfig, KerasLayer, LSTMConfig
from tallycell.loaders.keras.hdf5 import Hdf5File, StoredArray
from tallycell.parameters import Activations
from tallycell.wording import listed, quoted

_NAME = re.compile(r"(?P<kind>.+?)(?P<copy>_\d+)?(?::\d+)?", re.S)  # kernel:0, and kernel_1:0 of a second cell
_CELL_KINDS = {"kernel", "recurrent_kernel", "bias"}
_DIRECTIONS = ("forward_", "backward_")  # how the names in a Bidirectional begin
_ANY = "/"  # stands for any name: no name holds it
_BY_NUMBER = {"0": "kernel", "1": "recurrent_kernel", "2": "bias"}


@dataclass(frozen=True, eq=False)
class KerasWeights:
    """The weights of a file, those of one layer or cell together.

    Attributes
    ----------
    groups
        From where they stand to the arrays, by what they are: ``kernel``, ``recurrent_kernel``, ``bias``,
        ``embeddings`` and so on. In a file of Keras 3 an embedding is a ``kernel``.
    layer_names
        Names of the layers in order of execution where the file lists them.
    by_name
        Whether the file goes by the names of layers (Keras 2), not by the folders of Keras 3.
    """

    groups: Mapping[str, Mapping[str, StoredArray]]
    layer_names: tuple[str, ...]
    by_name: bool

    def find(self, cell: CellConfig, path: str, taken: Mapping[str, str]) -> str:
        """Give where the weights of a cell stand.

        Parameters
        ----------
        cell
            As the configuration states it.
        path
            Of its layer.
        taken
            What other cells have, by where it stands.

        Raises
        ------
        FormatError
            If the file does not have them.
        """
        if cell.key in self.groups:
            return cell.key
        if not self.by_name:
            raise FormatError(f"the file has no weights for it at {quoted(cell.key)}")
        top = path.partition("/")[0]
        for word in (*filter(None, cell.names), _ANY):
            if found := self._first_free(top, word, taken):
                return found
        raise FormatError(f"the file has no weights for it under {quoted(top)}")

    def _first_free(self, top: str, word: str, taken: Mapping[str, str]) -> str | None:
        """First cell of that name that no other has; what is taken stays so, and is not looked at again."""
        waiting = self._cells.get((top, word), [])
        while waiting and waiting[-1] in taken:
            waiting.pop()
        return waiting[-1] if waiting else None

    @cached_property
    def _cells(self) -> dict[tuple[str, str], list[str]]:
        """Where the LSTM cells of each name stand, the first one last."""
        return _by_name(reversed(self.lstm_keys))

    @cached_property
    def _all(self) -> dict[tuple[str, str], list[str]]:
        return _by_name(self.groups)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(f"{key}/" for key in self.groups)

    def keys_of(self, layer: KerasLayer) -> Sequence[str]:
        """Where the weights of a layer stand, those of all its cells."""
        if not self.by_name:
            return [key.removesuffix("/") for key in _beginning_with(f"{layer.key}/", self._sorted)]
        top, _, inner = layer.path.partition("/")
        return self._all.get((top, inner.rpartition("/")[2] or _ANY), ())

    @cached_property
    def lstm_keys(self) -> list[str]:
        """Where the weights of LSTM cells stand, as their shapes tell, in natural order."""
        return sorted((key for key, group in self.groups.items() if is_lstm(group)), key=natural_order)


def _by_name(keys: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Keys by the layer at the top and by each name below it, by how a direction's name begins, and all of a layer."""
    found: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        top, *below = key.split("/")
        words = {*below, _ANY, *(begin for begin in _DIRECTIONS if any(part.startswith(begin) for part in below))}
        for word in words:
            found.setdefault((top, word), []).append(key)
    return found


def _beginning_with(start: str, ordered: Sequence[str]) -> Iterator[str]:
    for k in range(bisect_left(ordered, start), len(ordered)):
        if not ordered[k].startswith(start):
            return
        yield ordered[k]


def natural_order(text: str) -> list[tuple[int, str]]:
    """Key to sort names by, so that ``lstm_2`` comes before ``lstm_10``.

    Examples
    --------
    >>> sorted(["lstm_10", "lstm_2", "lstm"], key=natural_order)
    ['lstm', 'lstm_2', 'lstm_10']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", text)]


def collect_weights(file: Hdf5File) -> KerasWeights:
    """Bring the arrays of a file together, layer by layer and cell by cell.

    Raises
    ------
    FormatError
        If it lies in wait with an attribute too large to read.
    """
    root = "model_weights" if any(path.startswith("model_weights/") for path in file.arrays) else ""
    names = tuple(file.texts(root, "layer_names"))
    groups: dict[str, dict[str, StoredArray]] = {}
    by_name = bool(names) or not any("/vars/" in f"/{path}" for path in file.arrays)
    for path, array in file.arrays.items():
        inside = path.removeprefix(f"{root}/" if root else "")
        if inside.startswith(("optimizer_weights/", "optimizer/")):
            continue
        folder, _, name = inside.rpartition("/")
        if by_name:
            found = _NAME.fullmatch(name)
            kind, copy = (found["kind"], found["copy"]) if found else (name, None)
            if copy and kind not in _CELL_KINDS:
                kind, copy = kind + copy, None
            groups.setdefault(folder + (copy or ""), {})[kind] = array
        elif folder == "vars" or folder.endswith("/vars"):
            key = folder.removesuffix("vars").rstrip("/").replace("_layer_checkpoint_dependencies", "layers")
            groups.setdefault(key, {})[name] = array
    if not by_name:
        groups = {key: _by_kind(group) for key, group in groups.items()}
    return KerasWeights(groups, names, by_name)


def _by_kind(numbered: Mapping[str, StoredArray]) -> dict[str, StoredArray]:
    """Name the arrays that Keras 3 numbers: those of a cell, or those of a layer with a kernel and a bias."""
    is_cell = "1" in numbered and len(numbered["1"].shape) > 1
    kinds = _BY_NUMBER if is_cell else {"0": "kernel", "1": "bias"}
    return {kinds.get(number, number): array for number, array in numbered.items()}


def is_lstm(group: Mapping[str, StoredArray]) -> bool:
    """Whether these are the weights of an LSTM cell, of matrices or of convolutions, as their shapes tell."""
    if not {"kernel", "recurrent_kernel"} <= group.keys():
        return False
    kernel, recurrent = group["kernel"].shape, group["recurrent_kernel"].shape
    return len(kernel) == len(recurrent) >= 2 and kernel[-1] == recurrent[-1] == 4 * recurrent[-2] > 0


def is_cudnn(group: Mapping[str, StoredArray]) -> bool:
    """Whether they stand as CuDNN has them, which is told by its two biases, as Keras does."""
    return "bias" in group and group["bias"].shape == (2 * group["kernel"].shape[-1],)


def list_unnamed(weights: KerasWeights, taken: Mapping[str, str], file: Hdf5File) -> Iterator[tuple[str, LSTMConfig]]:
    """Give what must be LSTMs by their weights alone, with Keras's default activations and merge mode.

    Parameters
    ----------
    weights
        Of the file.
    taken
        Where those weights stand that a configuration accounts for.
    file
        The file, which may state the names of layers.

    Yields
    ------
    tuple
        Path, and what it is: an LSTM of one layer; a Bidirectional where two stand side by side, forward and backward.
    """
    free = [key for key in weights.lstm_keys if key not in taken]
    order = {name: number for number, name in enumerate(weights.layer_names)}
    free.sort(key=lambda key: order.get(key.partition("/")[0], len(order)))
    ordered = sorted(f"{key}/" for key in free)
    pairs = {forward: pair for forward in free if (pair := _backward_of(forward, ordered))}
    backwards = {backward for backward, _ in pairs.values()}
    short = {key: _short_path(pairs[key][1] if key in pairs else key, weights, file) for key in free}
    times = Counter(short.values())
    for key in free:
        if key in backwards:
            continue
        is_alone = times[short[key]] - (key in pairs) <= 1
        cells = [key, pairs[key][0]] if key in pairs else [key]
        made = tuple(
            CellConfig((), cell, weights.groups[cell]["recurrent_kernel"].shape[-2], Activations()) for cell in cells
        )
        operator = "Bidirectional" if key in pairs else "CuDNNLSTM" if is_cudnn(weights.groups[key]) else "LSTM"
        yield short[key] if is_alone else key, LSTMConfig((made,), operator, merge="concat" if key in pairs else None)


def _backward_of(key: str, ordered: Sequence[str]) -> tuple[str, str] | None:
    """Where the backward direction of a Bidirectional stands, and the Bidirectional itself."""
    parts = key.split("/")
    for k, part in enumerate(parts):
        if part.startswith("forward_"):
            around = "/".join(parts[:k])
            other = f"{around}/backward_{part.removeprefix('forward_')}".removeprefix("/")
            found = list(islice(_beginning_with(f"{other}/", ordered), 2))
            return (found[0].removesuffix("/"), around or key) if len(found) == 1 else None
    return None


def _short_path(key: str, weights: KerasWeights, file: Hdf5File) -> str:
    """Path of a layer by where its weights stand: without the folders that every layer has."""
    parts = key.split("/")
    if weights.by_name:
        parts = parts[1:] if parts[:1] == parts[1:2] else parts
        return "/".join(parts[:-1] if re.fullmatch(r"lstm_cell(_\d+)?", parts[-1]) and parts[1:] else parts)
    path = []
    for k, part in enumerate(parts):
        folder = "/".join(parts[: k + 1]) + "/vars"
        named = file.text(folder, "name") if parts[k - 1] == "layers" and k and folder in file.groups else None
        path += [] if part in ("layers", "cell") else [named or part]
    return "/".join(path) or key


def cell_weights(group: Mapping[str, StoredArray]) -> dict[str, Float[np.ndarray, "..."]]:
    """Give the weights of one LSTM cell in tallycell's layout, under PyTorch's kinds.

    Keras has the gates in the order i f c o (its c is g), matrices as (input, 4 units), and one bias. CuDNNLSTM has two
    biases, end to end; in its ``kernel`` each gate's numbers are those of a (units, input) matrix that only states
    the shape (input, units), and in its ``recurrent_kernel`` each gate's matrix is transposed (source:
    ``_convert_rnn_weights`` of Keras 2).

    Raises
    ------
    FormatError
        If there are further weights, which an LSTM cell of Keras does not have, or they are damaged.
    """
    if unknown := sorted(group.keys() - _CELL_KINDS):
        raise FormatError(f"it has the weights {listed(unknown)} besides those of Keras's LSTM; not read")
    if missing := sorted({"kernel", "recurrent_kernel"} - group.keys()):
        raise FormatError(f"it has no {' and no '.join(missing)}; the file is damaged or not whole")
    if not is_lstm(group) or 0 in group["kernel"].shape:
        shapes = [group[kind].shape for kind in ("kernel", "recurrent_kernel")]
        raise FormatError(
            f"its kernel has the shape {quoted(shapes[0])} and its recurrent kernel {quoted(shapes[1])}; expected "
            "(inputs, 4 units) and (units, 4 units)"
        )
    if len(group["kernel"].shape) != 2:
        raise FormatError("it is a convolutional LSTM, whose gates stand behind convolutions; not read")
    theirs = {"weight_ih": group["kernel"].read(), "weight_hh": group["recurrent_kernel"].read()}
    if not is_cudnn(group):
        biases = {"bias": group["bias"].read()} if "bias" in group else {}
        return Layout("ifgo", transposed=True, biases=len(biases)).read(theirs | biases)
    inputs = theirs["weight_ih"].shape[0]
    by_gate = [block.reshape(-1, inputs) for block in np.split(theirs["weight_ih"], 4, axis=1)]
    theirs = {"weight_ih": np.concatenate(by_gate), "weight_hh": np.concatenate(np.split(theirs["weight_hh"], 4, 1))}
    first, second = np.split(group["bias"].read(), 2)
    return Layout("ifgo").read(theirs | {"bias_ih": first, "bias_hh": second})
