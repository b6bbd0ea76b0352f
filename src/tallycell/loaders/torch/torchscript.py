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
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.stored_tensor import StoredTensor, View
from tallycell.loaders.torch.archive import TorchArchive, read_storage
from tallycell.loaders.torch.inert_pickle import Instance, Reference
from tallycell.loaders.torch.objects import read_live_module
from tallycell.loaders.torch_names import read_torch_names
from tallycell.wording import one_line, quoted, shown

_NAMED = 16  # characters of paths for each byte of the pickle: it has each name once, a path those around it as well
_LEAST_NAMED = 2**16
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
        raise FormatError(f"{path} cannot be opened by torch: {one_line(error)}") from None
    return read_live_module(module, path)


class _Budget:
    """What may still be named: a pickle may repeat modules and what is in them by reference, as often as it likes."""

    def __init__(self, archive: TorchArchive, size: int) -> None:
        self._left = _LEAST_NAMED + _NAMED * size
        self._path = archive.path

    def spend(self, characters: int) -> None:
        """Count one more name.

        Raises
        ------
        FormatError
            If all names are longer than such a file has reason for.
        """
        self._left -= characters + 1
        if self._left < 0:
            raise FormatError(f"{self._path}: its modules repeat each other far more often than a model's; not read")


def _read(archive: TorchArchive) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Tensors by name, and the class of each module by path."""
    root, _ = archive.read_pickle("data.pkl")
    budget = _Budget(archive, archive.size("data.pkl"))
    tensors, kinds = {}, {}
    for path, instance in _modules(root, budget):
        kinds[path] = instance.made_by.split(" ")[-1]
        if ".quantized." in instance.made_by and kinds[path] in ("LSTM", "LSTMCell"):
            tensors[f"{path}._all_weight_values."] = StoredTensor((), "packed", partial(_refuse, shown(path)))
        for name, value in _inside(instance):
            budget.spend(0)
            if isinstance(value, Instance) and value.made_by.startswith("torch._utils _rebuild"):
                budget.spend(len(path) + len(name))
                full_name = f"{path}.{name}" if path else name
                tensors[full_name] = _tensor(archive, value, full_name)
    return tensors, kinds


def _modules(root: object, budget: _Budget) -> Iterator[tuple[str, Instance]]:
    """Walk the modules, each once, in the order of the file, those inside one behind it."""
    waiting: list[tuple[str, Iterator[tuple[str, object]]]] = [("", iter([("", root)]))]
    seen: set[int] = set()
    while waiting:
        around, others = waiting[-1]
        for name, found in others:
            budget.spend(0)
            if isinstance(found, Instance) and id(found) not in seen and found.made_by.startswith("__torch__"):
                budget.spend(len(around) + len(name))
                seen.add(id(found))
                path = f"{around}.{name}" if around else name
                yield path, found
                waiting.append((path, iter(_inside(found))))
                break
        else:
            waiting.pop()


def _inside(module: Instance) -> list[tuple[str, object]]:
    """Attributes by name."""
    return [(str(name), value) for name, value in module.state.items()] if isinstance(module.state, dict) else []


def _tensor(archive: TorchArchive, made: Instance, name: str) -> StoredTensor:
    arguments = made.arguments if isinstance(made.arguments, tuple) else ()
    where = f"{archive.path}: {shown(name)}"
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
            raise FormatError(f"{where} should have {quoted(promised)} bytes, the file has {len(content)}")
        return view.of(content, dtype, archive.byte_order, where)

    return StoredTensor(view.size, dtype, read)


def _refuse(where: str) -> np.ndarray:
    raise FormatError(f"{where} is not a plain dense tensor")
