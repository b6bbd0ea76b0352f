"""TorchScript archives, read without running what is in them, and without torch.

The archive holds storages as raw bytes and one pickle of the modules with their attributes. Tensors are made of these;
a module becomes a holder of its attributes; the code beside them is not looked at.
"""

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tallycell.errors import FormatError, MissingExtraError
from tallycell.loaders.files import one_line
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.stored_tensor import StoredTensor, View
from tallycell.loaders.torch.archive import TorchArchive, read_storage
from tallycell.loaders.torch.inert_pickle import Instance, Reference
from tallycell.loaders.torch.objects import read_live_module
from tallycell.loaders.torch_names import read_torch_names

_REBUILT = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor")


def load_torchscript(path: Path, trust_code: bool = False) -> LoadedModel:
    """Read the LSTMs of a TorchScript archive, as ``torch.jit.save`` writes it.

    Parameters
    ----------
    path
        The archive.
    trust_code
        Whether torch may open it (``torch.jit.load``), which can run what is in it. Needs torch.

    Returns
    -------
    LoadedModel
        By the path of the module, in the order of the file. Which module is an embedding and which is linear is told
        by their classes, else as :func:`~tallycell.loaders.torch_names.read_torch_names` says.

    Raises
    ------
    FormatError
        If the file is missing or damaged, or holds no LSTM under its names: ``torch.jit.freeze`` turns weights into
        constants of the code.
    ParameterError
        If its weights do not make an LSTM.
    MissingExtraError
        If the code is trusted and torch is not installed.
    """
    with TorchArchive(path) as archive:  # what is damaged is refused before torch sees it
        tensors, kinds = _read(archive)
        if trust_code:
            return _read_by_torch(path)
        if not tensors and archive.size("constants/0") > 0:
            raise FormatError(
                f"{path} holds its weights as constants of its code, as torch.jit.freeze makes them, and their names "
                "are lost; save the model as it was before"
            )
        return read_torch_names(tensors, path, ordered=True, kinds=kinds)


def _read_by_torch(path: Path) -> LoadedModel:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls the format old
            module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        raise FormatError(f"{path} cannot be opened by torch: {one_line(error)[:300]}") from None
    return read_live_module(module, path)


def _read(archive: TorchArchive) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Tensors by name, and the class of each module by path."""
    root, _ = archive.read_pickle("data.pkl")
    tensors, kinds = {}, {}
    for path, instance in _modules(root):
        kinds[path] = instance.made_by.split(" ")[-1]
        if ".quantized." in instance.made_by and kinds[path] in ("LSTM", "LSTMCell"):
            tensors[f"{path}._all_weight_values."] = StoredTensor((), "packed", partial(_refuse, path))
        for name, value in instance.state.items() if isinstance(instance.state, dict) else ():
            if isinstance(value, Instance) and value.made_by.startswith("torch._utils _rebuild"):
                full_name = f"{path}.{name}" if path else str(name)
                tensors[full_name] = _tensor(archive, value, full_name)
    return tensors, kinds


def _modules(root: object) -> Iterator[tuple[str, Instance]]:
    """Walk the modules, each once: the pickle may repeat one as often as it likes."""
    waiting, seen = [("", root)], set()
    while waiting:
        path, found = waiting.pop()
        if not isinstance(found, Instance) or id(found) in seen or not found.made_by.startswith("__torch__"):
            continue
        seen.add(id(found))
        yield path, found
        inside = found.state.items() if isinstance(found.state, dict) else ()
        waiting += [(f"{path}.{name}" if path else str(name), value) for name, value in reversed(list(inside))]


def _tensor(archive: TorchArchive, made: Instance, name: str) -> StoredTensor:
    arguments = made.arguments if isinstance(made.arguments, tuple) else ()
    where = f"{archive.path}: {name}"
    if made.made_by not in _REBUILT or len(arguments) < 4:  # quantised or sparse: of interest only if it is an LSTM's
        return StoredTensor((), made.made_by.removeprefix("torch._utils _rebuild_"), partial(_refuse, where))
    storage, offset, size, strides = arguments[:4]
    if not isinstance(storage, Reference):
        raise FormatError(f"{where} has no storage")
    dtype, key, promised = read_storage(storage, where)
    view = View.read(size, strides, offset, where)

    def read() -> np.ndarray:
        content = archive.read(f"data/{key}")
        if len(content) != promised:
            raise FormatError(f"{where} should have {promised} bytes, the file has {len(content)}")
        return view.of(content, dtype, archive.byte_order, where)

    return StoredTensor(view.size, dtype, read)


def _refuse(where: str) -> np.ndarray:
    raise FormatError(f"{where} is not a plain dense tensor")
