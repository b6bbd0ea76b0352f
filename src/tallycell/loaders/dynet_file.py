"""DyNet's text files: parameters one after the other, each a line that names it and a line of its numbers.

::

    #Parameter# /vanilla-lstm-builder/_0 {40,10} 5200 ZERO_GRAD
    0.01 -0.3 ...

Of the LSTMs of DyNet the ``VanillaLSTMBuilder`` is read: three parameters a layer, the weights of x, of h and the bias,
with the gates in the order i, f, o, g. When DyNet runs, it adds 1 to the forget gate's pre-activation; so does this
loader. Matrices are written column by column.

Source of the layout: DyNet 2.1, ``io.cc``, ``lstm.cc`` and ``nodes-lstm.h`` (``forget_gate_bias``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError, ParameterError
from tallycell.files import read_text
from tallycell.layout import Layout
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.parameters import LSTMParameters
from tallycell.wording import listed, one_line, quoted, shown

FORGET_BIAS = 1.0  # that DyNet adds when it runs
_MOST_BYTES = 2**28
_HEADER = re.compile(r"#(Lookup)?Parameter# (\S+) \{(\d{1,9}(?:,\d{1,9})*)\} \d{1,12}(?: (?:ZERO|FULL)_GRAD)?")
_LAYERS_OF_THREE = 3


@dataclass(frozen=True, eq=False)
class _Parameter:
    name: str
    lookup: bool
    values: Float[np.ndarray, "..."]


def load_dynet(path: Path) -> LoadedModel:
    """Read the LSTM of a DyNet text file, and the embedding and the linear layer that stand in it.

    Parameters
    ----------
    path
        What ``ParameterCollection.save`` wrote.

    Returns
    -------
    LoadedModel
        The embedding is the one table of lookups with as many features as the LSTM reads; the head the one matrix with
        as many columns as it gives out, and the vector as long as that has rows. Either is None if there are several.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or without a ``VanillaLSTMBuilder``.
    ParameterError
        If its weights do not make an LSTM.
    """
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise FormatError(f"{path} is larger than {_MOST_BYTES:,} bytes; such a large text of DyNet is not read")
    parameters = list(_parameters(read_text(path, FormatError, "a text file of DyNet"), path))
    groups: dict[str, list[_Parameter]] = {}
    for one in parameters:
        groups.setdefault(one.name.rpartition("/")[0], []).append(one)
    found = {name: layers for name, group in groups.items() if (layers := _layers_of(group)) is not None}
    if len(found) != 1:
        raise FormatError(
            f"{path} holds {len(found)} LSTMs that can be read; expected one VanillaLSTMBuilder (three parameters a "
            f"layer; LSTMBuilder with peepholes, of eleven, is not read); its parameters are "
            f"{listed(one.name for one in parameters)}"
        )
    name, layers = next(iter(found.items()))
    try:
        lstm = _lstm(layers)
    except ParameterError as error:
        raise ParameterError(f"{path}, LSTM at {quoted(name)}: {one_line(error)}") from None
    others = [one for one in parameters if one.name.rpartition("/")[0] != name]
    embeddings = [one.values for one in others if one.lookup and one.values.shape[1:] == (lstm.input_size,)]
    embedding = embeddings[0] if len(embeddings) == 1 else None
    return LoadedModel({name.strip("/"): lstm}, path, embedding=embedding, head=_head(others, lstm.output_size))


def _parameters(text: str, path: Path) -> Iterator[_Parameter]:
    lines = iter(text.split("\n"))
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        header = _HEADER.fullmatch(line.rstrip())
        if header is None:
            raise FormatError(f"{path}: expected a line such as '#Parameter# /name {{4,2}} 80', got {shown(line, 60)}")
        lookup, name, sizes = header[1] is not None, header[2], tuple(map(int, header[3].split(",")))
        values = _numbers(next(lines, ""), name, path)
        if values.size != np.prod(sizes, dtype=object) or not 1 <= len(sizes) <= 2:
            raise FormatError(
                f"{path}: {shown(name)} should hold {quoted(sizes)} numbers, and {values.size:,} stand behind it; it "
                f"is damaged (parameter {number})"
            )
        # Column by column: of lookups each column is one symbol.
        shaped = values.reshape(sizes[::-1]) if lookup else values.reshape(sizes, order="F")
        yield _Parameter(name, lookup, shaped)


def _numbers(line: str, name: str, path: Path) -> Float[np.ndarray, " number"]:
    try:
        return np.array(line.split(), np.float32)
    except (ValueError, OverflowError):
        raise FormatError(f"{path}: what stands behind {shown(name)} are no numbers; it is damaged") from None


def _layers_of(group: list[_Parameter]) -> list[list[np.ndarray]] | None:
    """Give the weights of each layer, if these are the parameters of a VanillaLSTMBuilder."""
    if len(group) % _LAYERS_OF_THREE or any(one.lookup for one in group):
        return None
    layers = [[one.values for one in group[k : k + 3]] for k in range(0, len(group), 3)]
    for of_x, of_h, bias in layers:
        if of_x.ndim != 2 or of_h.ndim != 2 or len(of_h) != 4 * of_h.shape[1]:
            return None
        if len(of_x) != len(of_h) or bias.shape != (len(of_h),):
            return None
    return layers


def _lstm(layers: list[list[np.ndarray]]) -> LSTMParameters:
    weights: dict[str, np.ndarray] = {}
    for k, (of_x, of_h, bias) in enumerate(layers):
        theirs = {"weight_ih": of_x, "weight_hh": of_h, "bias": bias}
        ours = Layout("ifog", biases=1, forget_bias=FORGET_BIAS).read(theirs)
        weights |= {f"{kind}_l{k}": weight for kind, weight in ours.items()}
    return LSTMParameters(weights)


def _head(others: list[_Parameter], width: int) -> Head | None:
    plain = [one.values for one in others if not one.lookup]
    matrices = [one for one in plain if one.ndim == 2 and one.shape[1] == width]
    if len(matrices) != 1:
        return None
    biases = [one for one in plain if one.shape == matrices[0].shape[:1]]
    return Head(matrices[0], biases[0] if len(biases) == 1 else None)
