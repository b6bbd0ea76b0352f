"""Tensors under PyTorch's names, such as ``encoder.lstm.weight_ih_l0``, brought together to LSTMs.

No format of its own: several hold such tensors.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError, ParameterError
from tallycell.loaders.loaded_model import Front, Head, LoadedModel, Place
from tallycell.loaders.stored_tensor import TAKEN, StoredTensor
from tallycell.loaders.tensors import check_unfolding, stored_as
from tallycell.names import PARAMETER_KINDS
from tallycell.parameters import Activations, LSTMParameters
from tallycell.wording import listed, one_line, quoted, reasons

_LAYERED = rf"(?:{'|'.join(PARAMETER_KINDS)})_l[0-9]{{1,4}}(?:_reverse)?"
_OF_A_CELL = r"(?:weight|bias)_(?:ih|hh)"  # nn.LSTMCell counts no layers
_LSTM_NAME = re.compile(rf"(?P<path>(?:.*\.)?)(?P<name>{_LAYERED}|{_OF_A_CELL})", re.S)
_QUANTISED = re.compile(r"(?P<path>(?:.*?\.)??)(?:_all_weight_values\.|_packed_weight_ih$)", re.S)
_ROWS = {3: "GRU", 1: "RNN"}  # blocks of rows in weight_hh, each as high as h; an LSTM has 4


def is_lstm_tensor(name: str) -> bool:
    """Whether a name may be that of an LSTM's or LSTMCell's weight; a GRU's and an RNN's look the same.

    Examples
    --------
    >>> [is_lstm_tensor(name) for name in ("weight_ih_l0", "decoder.rnn.bias_hh", "encoder.weight")]
    [True, True, False]
    """
    return _LSTM_NAME.fullmatch(name) is not None


def read_torch_names(
    tensors: Mapping[str, StoredTensor], source: Path, *, ordered: bool, kinds: Mapping[str, str] | None = None
) -> LoadedModel:
    """Find the LSTMs among tensors under PyTorch's names, and what surrounds them.

    Parameters
    ----------
    tensors
        All tensors of the file by name.
    source
        The file.
    ordered
        Whether they stand in the order in which the modules were defined, as in a state_dict.
    kinds
        The class of each module by its path, such as ``"Embedding"``, where the format tells.

    Returns
    -------
    LoadedModel
        By the path of the module. What DataParallel (``module.`` in front of every tensor) and torch.compile
        (``_orig_mod.``) add to a path is not part of it. An LSTMCell is an LSTM of one layer, its place says so. GRUs
        and RNNs, whose weights have the same names, are left out: weight_hh has 3 or 1 blocks of rows, each as high
        as h, where an LSTM's has 4. An LSTM whose weights do not make one is refused, and raised if no other is left.

        The embedding is the one tensor ``P.weight`` (symbol, feature) with as many columns as the first LSTM reads
        and no ``P.bias``, in front of that LSTM. Where the format does not tell that P is an ``Embedding`` and the
        name does not say so (``emb``), it may not be square, and the order must be known. The head is the one
        ``P.weight`` with as many columns as the last LSTM gives out (both directions), behind it, with its
        ``P.bias`` if it has one; P is a ``Linear``, or, where the format does not tell, is not called an embedding;
        where the order is not known, it may not have as many rows as the first LSTM reads, as what stands in front
        would. Either is None if there are none or several.

        The front is the ``P.weight`` with as many rows as the first LSTM reads, with its ``P.bias``, in front of that
        LSTM, where the order is known; P is a ``Linear``, or, where the format does not tell, is not called an
        embedding. One without a bias is taken where there is no embedding, unless it is square. What it reads is the
        embedding in front of the LSTM that has as many columns as it.

    Raises
    ------
    FormatError
        If there is no LSTM, or its tensors are not floats, or not as the file states them.
    ParameterError
        If the weights of all LSTMs do not make one.
    """
    groups = _groups(tensors, source)
    others = {path: kind for path, group in groups.items() if (kind := group.other_kind)}
    stacks: dict[str, LSTMParameters] = {}
    places, errors, activations = {}, _quantised(tensors), Activations()
    stored, read = source.stat().st_size if source.is_file() else None, 0
    for path, group in groups.items():
        if path in others:
            continue
        try:
            if stored is not None:  # all may be one tensor, under as many names as the file likes
                check_unfolding(read, stored, "the file")
            stacks[path], places[path] = group.parameters(activations), group.place
            read += sum(weight.nbytes for weight in stacks[path].weights.values())
        except (FormatError, ParameterError) as error:
            errors[path] = type(error)(one_line(error))  # without its traceback, which holds on to the weights
    if not stacks:
        for path, reason in errors.items():
            raise type(reason)(f"{source}, LSTM at {quoted(path)}: {reason}")
        seen = f"; GRUs and RNNs at {reasons(others)}" if others else ""
        raise FormatError(
            f"{source} holds no LSTM (weight_ih_l0 and so on); its tensors are {listed(sorted(tensors))}{seen}"
        )
    around = _Surroundings(tensors, kinds, ordered)
    first, last = next(iter(stacks)), next(reversed(stacks))
    reads, gives = stacks[first].input_size, stacks[last].output_size * stacks[last].num_directions
    try:
        embedding, head = around.embedding(groups[first], reads), around.head(groups[last], gives, reads)
        front = around.front(groups[first], reads, is_embedded=embedding is not None)
    except FormatError as error:
        raise FormatError(f"{source}, beside its LSTMs: {error}") from None
    refused = {path: str(error) for path, error in errors.items()}
    return LoadedModel(stacks, source, places=places, refused=refused, embedding=embedding, head=head, front=front)


@dataclass(frozen=True, eq=False)
class _Group:
    """The tensors of one module by their own names, as LSTMParameters spell them, and what the file calls the first."""

    tensors: dict[str, StoredTensor]
    first: str
    is_cell: bool

    @property
    def other_kind(self) -> str | None:
        """GRU or RNN, if these are its weights."""
        recurrent = self.tensors.get("weight_hh_l0")
        if recurrent is None or len(recurrent.shape) != 2 or "weight_hr_l0" in self.tensors or not recurrent.shape[1]:
            return None
        blocks, rest = divmod(recurrent.shape[0], recurrent.shape[1])
        return None if rest else _ROWS.get(blocks)

    @property
    def place(self) -> Place:
        return Place(
            operator="LSTMCell" if self.is_cell else "LSTM",
            stored_as=stored_as(tensor.dtype for tensor in self.tensors.values()),
        )

    def parameters(self, activations: Activations) -> LSTMParameters:
        return LSTMParameters({name: tensor.values(name) for name, tensor in self.tensors.items()}, activations)


def _groups(tensors: Mapping[str, StoredTensor], source: Path) -> dict[str, _Group]:
    """Tensors that may be an LSTM's, by the path of their module."""
    is_parallel = all(_unwrapped(name).startswith("module.") for name in tensors)
    groups: dict[str, _Group] = {}
    for full_name, tensor in tensors.items():
        found = _LSTM_NAME.fullmatch(full_name)
        if found is None:
            continue
        path = _unwrapped(found["path"]).removeprefix("module." if is_parallel else "").removesuffix(".")
        is_cell = "_l" not in found["name"]
        name = f"{found['name']}_l0" if is_cell else found["name"]
        group = groups.setdefault(path, _Group({}, full_name, is_cell))
        if group.is_cell != is_cell:
            raise FormatError(f"{source} holds weights of both an LSTM and an LSTMCell at {quoted(path)}")
        if name in group.tensors:
            raise FormatError(f"{source} holds {name} of the LSTM at {quoted(path)} twice, compiled and not")
        group.tensors[name] = tensor
    return groups


def _quantised(names: Iterable[str]) -> dict[str, FormatError | ParameterError]:
    """Modules that torch quantised, whose weights are packed for one kind of processor."""
    found = (_QUANTISED.match(name) for name in names)
    reason = "torch quantised it, and its weights are packed; save the model as it was before"
    return {one["path"].removesuffix("."): FormatError(reason) for one in found if one is not None}


class _Surroundings:
    """The layers in front of the LSTMs and behind them, as :func:`read_torch_names` says."""

    def __init__(self, tensors: Mapping[str, StoredTensor], kinds: Mapping[str, str] | None, ordered: bool) -> None:
        self.tensors, self.kinds, self.ordered = tensors, kinds, ordered
        self.rank = {name: k for k, name in enumerate(tensors)}
        matrices = (name for name, tensor in tensors.items() if len(tensor.shape) == 2 and tensor.dtype in TAKEN)
        self.paths = [name.removesuffix("weight") for name in matrices if re.search(r"(^|\.)weight$", name)]

    def embedding(self, group: _Group, width: int) -> Float[np.ndarray, "symbol feature"] | None:
        fit = [path for path in self.paths if self._may_embed(path, width) and self._stands(path, group, behind=False)]
        chosen = [path for path in fit if self._is_called_embedding(path)] or fit
        return self._values(f"{chosen[0]}weight") if len(chosen) == 1 else None

    def head(self, group: _Group, width: int, input_size: int) -> Head | None:
        fit = [path for path in self.paths if self._may_be_head(path, width, input_size)]
        fit = [path for path in fit if self._stands(path, group, behind=True)]
        if len(fit) != 1:
            return None
        bias = f"{fit[0]}bias"
        return Head(self._values(f"{fit[0]}weight"), self._values(bias) if bias in self.tensors else None)

    def front(self, group: _Group, width: int, *, is_embedded: bool) -> Front | None:
        before = [path for path in self.paths if self.ordered and self._stands(path, group, behind=False)]
        fit = [path for path in before if self._may_be_front(path, width, is_embedded=is_embedded)]
        fit = [path for path in fit if f"{path}bias" in self.tensors] or fit
        if len(fit) != 1:
            return Front(tuple(path.removesuffix(".") for path in fit)) if fit else None
        weight, bias = self._values(f"{fit[0]}weight"), f"{fit[0]}bias"
        others = [path for path in before if path != fit[0] and f"{path}bias" not in self.tensors]
        tables = [path for path in others if self.tensors[f"{path}weight"].shape[1] == weight.shape[1]]
        return Front(
            (fit[0].removesuffix("."),),
            weight,
            self._values(bias) if bias in self.tensors else None,
            self._values(f"{tables[0]}weight") if len(tables) == 1 else None,
        )

    def _values(self, name: str) -> np.ndarray:
        return self.tensors[name].values(quoted(name))

    def _may_embed(self, path: str, width: int) -> bool:
        symbols, features = self.tensors[f"{path}weight"].shape
        if features != width or f"{path}bias" in self.tensors:
            return False
        if self.kinds is not None:
            return self._kind(path) == "Embedding"
        return self._is_called_embedding(path) or (self.ordered and symbols != features)

    def _may_be_head(self, path: str, width: int, input_size: int) -> bool:
        outputs, features = self.tensors[f"{path}weight"].shape
        bias = self.tensors.get(f"{path}bias")
        if features != width or (bias is not None and bias.shape != (outputs,)):
            return False
        if self.kinds is not None:
            return self._kind(path) == "Linear"
        return not self._is_called_embedding(path) and (self.ordered or outputs != input_size)

    def _may_be_front(self, path: str, width: int, *, is_embedded: bool) -> bool:
        features, reads = self.tensors[f"{path}weight"].shape
        bias = self.tensors.get(f"{path}bias")
        if features != width or (bias is not None and bias.shape != (features,)):
            return False
        if self.kinds is not None:
            return self._kind(path) == "Linear"
        return bias is not None or not (is_embedded or self._is_called_embedding(path) or reads == width)

    def _stands(self, path: str, group: _Group, *, behind: bool) -> bool:
        return not self.ordered or (self.rank[f"{path}weight"] > self.rank[group.first]) == behind

    def _kind(self, path: str) -> str | None:
        return None if self.kinds is None else self.kinds.get(path.removesuffix("."))

    def _is_called_embedding(self, path: str) -> bool:
        return "emb" in path.lower()


def _unwrapped(name: str) -> str:
    """Without what torch.compile puts in front of each module that it compiled."""
    return re.sub(r"(^|\.)_orig_mod\.", r"\1", name)
