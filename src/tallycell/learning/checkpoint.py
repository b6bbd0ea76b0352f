"""Checkpoints of training: one safetensors file, which says of what training it is."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tallycell.errors import InputError
from tallycell.files import write_file
from tallycell.learning.settings import Settings
from tallycell.wording import one_line, quoted


@dataclass(frozen=True)
class Identity:
    """Which training it is: what determines its result."""

    language: str
    hidden: int
    seed: int
    settings: Settings

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def save_checkpoint(path: Path, identity: Identity, tensors: dict[str, Tensor], others: dict[str, Any]) -> None:
    """Write a checkpoint; what stood there is replaced at once, or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    metadata = {"training": str(identity), "others": json.dumps(others)}
    write_file(path, save({name: tensor.clone() for name, tensor in tensors.items()}, metadata))


def load_checkpoint(path: Path, identity: Identity) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint; whether all parts are there, :func:`require_others` and :func:`require_tensors` say.

    Raises
    ------
    InputError
        If the file is no checkpoint, or one of another training.
    """
    if not path.is_file():  # a FIFO would keep whoever opens it waiting
        raise no_checkpoint(path, "it is no regular file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dictionary
    except (SafetensorError, OSError, ValueError) as reason:
        raise no_checkpoint(path, one_line(reason)) from None
    if "training" not in metadata:
        raise no_checkpoint(path, "it does not say of which training it is")
    if metadata["training"] != str(identity):
        raise InputError(
            f"{path} is the checkpoint of another training, {quoted(metadata['training'])}, and this is {identity}; "
            "give another file, or delete it to begin anew"
        )
    try:
        others = json.loads(metadata.get("others", ""))
    except (ValueError, RecursionError):
        others = None
    if not isinstance(others, dict):
        raise no_checkpoint(path, f"its 'others' are {quoted(metadata.get('others'))}, expected an object of JSON")
    return tensors, others


def no_checkpoint(path: Path, reason: str) -> InputError:
    """Say that a file is no checkpoint."""
    return InputError(f"{path} is no checkpoint of a training ({reason}); delete it to begin anew")


def require_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not like those wanted, in name, type and shape; more of them do no harm.

    Raises
    ------
    ValueError
        With the first that differs.
    """
    for name, like in wanted.items():
        if name not in tensors:
            raise ValueError(f"it has no tensor {name!r}")
        found = tensors[name]
        if (found.dtype, found.shape) != (like.dtype, like.shape):
            raise ValueError(f"its tensor {name!r} is {_said(found)}, expected {_said(like)}")


def require_others(others: dict[str, Any], settings: Settings) -> None:
    """Refuse what stands beside the tensors, if no training with these settings comes to it.

    Raises
    ------
    ValueError
        With the first that is missing or wrong.
    """
    for name in ("step", "seconds", "rng", "losses", "errors", "situations", "units"):
        if name not in others:
            raise ValueError(f"it has no {name!r}")
    runs = len(others["losses"]) if isinstance(others["losses"], list) else 0
    good = {
        "losses": _are(others["losses"], float, runs) and runs % settings.together == 0,  # whole rounds are judged
        "step": type(others["step"]) is int and 0 <= others["step"] <= settings.steps,
        "seconds": type(others["seconds"]) is float and 0 <= others["seconds"] < math.inf,
        "rng": isinstance(others["rng"], dict),
        "situations": _are(others["situations"], int, runs),
        **{name: _are(others[name], float, runs) for name in ("errors", "units")},
    }
    for name, is_good in good.items():
        if not is_good:
            raise ValueError(f"its {name!r} is {quoted(others[name])}, which this training cannot have come to")


def delete_checkpoint(path: Path) -> None:
    """Remove a checkpoint, if there is one."""
    path.unlink(missing_ok=True)


def _are(values: object, kind: type, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(value) is kind for value in values)


def _said(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
