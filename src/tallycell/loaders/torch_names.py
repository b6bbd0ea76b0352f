"""Tensors under PyTorch's names, such as ``encoder.lstm.weight_ih_l0``, brought together to LSTMs."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tallycell.errors import FormatError, ParameterError
from tallycell.names import PARAMETER_KINDS
from tallycell.parameters import LSTMParameters

_LSTM_NAME = re.compile(
    rf"(?P<path>(?:.*\.)?)(?P<name>(?:{'|'.join(PARAMETER_KINDS)})_l[0-9]{{1,4}}(?:_reverse)?)", re.S
)
_ROWS = {3: "GRU", 1: "RNN"}  # blocks of rows in weight_hh, each as high as h; an LSTM has 4
_SHOWN = 8  # tensors that an error names


def is_lstm_tensor(name: str) -> bool:
    """Whether a name may be that of an LSTM's weight; a GRU's and an RNN's look the same.

    Examples
    --------
    >>> [is_lstm_tensor(name) for name in ("weight_ih_l0", "encoder.lstm.bias_hh_l1_reverse", "encoder.weight")]
    [True, True, False]
    """
    return _LSTM_NAME.fullmatch(name) is not None


def group_stacks(
    arrays: Mapping[str, np.ndarray], source: Path, *, present: Iterable[str]
) -> dict[str, LSTMParameters]:
    """Bring the weights of each LSTM together.

    Parameters
    ----------
    arrays
        Those tensors of a file whose name :func:`is_lstm_tensor`.
    source
        The file, for errors.
    present
        Names of all tensors of the file, for errors.

    Returns
    -------
    dict
        From the path of the module to its parameters. What DataParallel (``module.`` in front of every tensor) and
        torch.compile (``_orig_mod.``) add to a path is not part of it. GRUs and RNNs, whose weights have the same
        names, are left out.

    Raises
    ------
    FormatError
        If there is no LSTM, or two under the same path.
    ParameterError
        If the weights at a path do not make an LSTM.
    """
    present = list(present)
    is_parallel = all(_unwrapped(name).startswith("module.") for name in present)
    groups: dict[str, dict[str, np.ndarray]] = {}
    for full_name, array in arrays.items():
        found = _LSTM_NAME.fullmatch(full_name)
        assert found is not None  # the caller asked is_lstm_tensor
        path = _unwrapped(found["path"]).removeprefix("module." if is_parallel else "").removesuffix(".")
        group = groups.setdefault(path, {})
        if found["name"] in group:
            raise FormatError(f"{source} holds {found['name']} of the LSTM at {path!r} twice, compiled and not")
        group[found["name"]] = array
    others = {path: kind for path, group in groups.items() if (kind := _other_kind(group))}
    stacks = {path: _make(group, path, source) for path, group in groups.items() if path not in others}
    if not stacks:
        seen = "".join(f"; {kind} at {path!r}" for path, kind in others.items())
        raise FormatError(f"{source} holds no LSTM (weight_ih_l0 and so on); its tensors are {_list(present)}{seen}")
    return stacks


def _unwrapped(name: str) -> str:
    """Without what torch.compile puts in front of each module that it compiled."""
    return re.sub(r"(^|\.)_orig_mod\.", r"\1", name)


def _other_kind(group: Mapping[str, np.ndarray]) -> str | None:
    """GRU or RNN, if these are its weights."""
    recurrent = group.get("weight_hh_l0")
    if recurrent is None or recurrent.ndim != 2 or "weight_hr_l0" in group or not recurrent.shape[1]:
        return None
    blocks, rest = divmod(recurrent.shape[0], recurrent.shape[1])
    return None if rest else _ROWS.get(blocks)


def _make(group: Mapping[str, np.ndarray], path: str, source: Path) -> LSTMParameters:
    try:
        return LSTMParameters(group)
    except ParameterError as error:
        raise ParameterError(f"{source}, LSTM at {path!r}: {error}") from None


def _list(names: Iterable[str]) -> str:
    all_names = sorted(names)
    rest = len(all_names) - _SHOWN
    # repr: a name from a damaged file may hold line breaks.
    return ", ".join(map(repr, all_names[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "") or "(none)"
