"""Programs of ``torch.export``, read without running what is in them.

Each weight is an entry of raw bytes, and a JSON config says how the bytes lie; that takes no torch. In older archives
all weights are one state_dict, which torch's ``weights_only`` loader reads: ``data/weights/model.pt``, and before
that, up to torch 2.7, ``serialized_state_dict.pt``.
"""

import json
import re
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tallycell.errors import FormatError, MissingExtraError
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.stored_tensor import StoredTensor, View
from tallycell.loaders.telling import told
from tallycell.loaders.torch.archive import TorchArchive
from tallycell.loaders.torch.objects import stored_tensors
from tallycell.loaders.torch.weights import read_weights_only
from tallycell.loaders.torch_names import read_torch_names
from tallycell.wording import one_line, quoted, shown

_WEIGHTS = "data/weights/"
_CONFIG = re.compile(rf"{_WEIGHTS}(?P<model>.+)_weights_config\.json", re.S)
_INSIDE = re.compile(rf"{_WEIGHTS}(?P<model>.+)\.pt", re.S)
_OLD = "serialized_state_dict.pt"
_DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
           12: "bool", 13: "bfloat16"}  # torch's ScalarType  # fmt: skip
_STRIDED = 7


def load_torch_export(path: Path, trust_code: bool = False) -> LoadedModel:
    """Read the LSTMs of an exported program, as ``torch.export.save`` writes it (``.pt2``).

    Parameters
    ----------
    path
        The archive.
    trust_code
        Whether torch may open it (``torch.export.load``), which can run what is in it. Needs torch.

    Returns
    -------
    LoadedModel
        By the path of the module; under the program's name where the archive holds several.

    Raises
    ------
    FormatError
        If the file is missing or damaged, holds no LSTM, or stores one as pickles.
    ParameterError
        If its weights do not make an LSTM.
    MissingExtraError
        If torch is not installed, where the code is trusted or the archive is of an older kind.
    """
    if trust_code:
        return _read_by_torch(path)
    with TorchArchive(path) as archive:
        configs = {found["model"]: name for name in archive.names if (found := _CONFIG.fullmatch(name))}
        inside = {found["model"]: name for name in archive.names if (found := _INSIDE.fullmatch(name))}
        if configs:
            models = {model: _raw(archive, name) for model, name in configs.items()}
        elif inside or _OLD in archive:
            entries = inside or {"model": _OLD}
            models = {model: _state_dict(archive, name) for model, name in entries.items()}
        else:
            raise FormatError(
                f"{path} is an archive of torch.export without a config of its weights; expected "
                "data/weights/model_weights_config.json, as torch.export.save writes it"
            )
        several = len(models) > 1
        tensors = {f"{m}.{name}" if several else name: x for m, model in models.items() for name, x in model.items()}
        return read_torch_names(tensors, path, ordered=True)


def _read_by_torch(path: Path) -> LoadedModel:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats
            program = torch.export.load(path)
    except Exception as error:
        raise FormatError(f"{path} cannot be opened by torch: {one_line(error)}") from None
    return read_torch_names(stored_tensors(program.state_dict), path, ordered=True)


def _state_dict(archive: TorchArchive, name: str) -> dict[str, StoredTensor]:
    content = read_weights_only(archive.path, archive.read(name))
    if not isinstance(content, Mapping):
        raise FormatError(f"{archive.path}: {quoted(name)} holds a {type(content).__name__}, expected a state_dict")
    return stored_tensors(content)


def _raw(archive: TorchArchive, config: str) -> dict[str, StoredTensor]:
    try:
        stated = json.loads(archive.read(config))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise FormatError(f"{archive.path}: {quoted(config)} is not JSON that can be read: {reason}") from None
    weights = stated.get("config") if isinstance(stated, dict) else None
    if not isinstance(weights, dict):
        raise FormatError(f"{archive.path}: {quoted(config)} has no object config, as torch writes it")
    return {name: _tensor(archive, name, about) for name, about in weights.items()}


def _tensor(archive: TorchArchive, name: str, about: object) -> StoredTensor:
    where = f"{archive.path}: {shown(name)}"
    meta = about.get("tensor_meta") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get("path_name"), str):
        raise FormatError(f"{where} is described by {told(about)}, expected an object with a path_name")
    if about.get("use_pickle") or not isinstance(meta, dict):
        return StoredTensor(_shape(meta), "float32", partial(_refuse_pickle, where))
    view = View.read(_numbers(meta.get("sizes")), _numbers(meta.get("strides")), _number(meta.get("storage_offset")),
                     where)  # fmt: skip
    dtype = _DTYPES.get(meta["dtype"], f"number {meta['dtype']}") if type(meta.get("dtype")) is int else "unknown"
    if meta.get("layout", _STRIDED) != _STRIDED:
        dtype = "a layout that is not dense"

    def read() -> np.ndarray:
        return view.of(archive.read(f"{_WEIGHTS}{about['path_name']}"), dtype, archive.byte_order, where)

    return StoredTensor(view.size, dtype, read)


def _shape(meta: object) -> tuple[int, ...]:
    sizes = _numbers(meta.get("sizes")) if isinstance(meta, dict) else ()
    return tuple(n for n in sizes if type(n) is int) if isinstance(sizes, list) else ()


def _number(stated: Any) -> object:
    """Give the number of ``{"as_int": 3}``, or what stands there instead."""
    return stated.get("as_int", stated) if isinstance(stated, dict) else stated


def _numbers(stated: Any) -> object:
    return [_number(one) for one in stated] if isinstance(stated, list) else stated


def _refuse_pickle(where: str) -> np.ndarray:
    raise FormatError(
        f"{where} is stored as a pickle, and opening it would run code from the file. If you trust whoever wrote it: "
        "trust_code=True, or --trust-code"
    )
