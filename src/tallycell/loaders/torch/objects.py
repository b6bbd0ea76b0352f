"""Tensors and modules of torch, as the loaders want them; no format of its own."""

import copy
import sys
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import FormatError, InputError, TallycellError
from tallycell.loaders.loaded_model import LoadedModel, Place
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.loaders.tensors import stored_as
from tallycell.loaders.torch_names import read_torch_names
from tallycell.names import PARAMETER_KINDS, parameter_name
from tallycell.parameters import LSTMParameters
from tallycell.wording import one_line, quoted, shown

if TYPE_CHECKING:
    import torch
    from torch import nn

_HALVES = ("torch.float16", "torch.bfloat16")


def stored_tensors(mapping: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    """Tensors of torch and arrays of NumPy by name; what torch packed counts, without values."""
    torch = sys.modules.get("torch")
    found: dict[str, StoredTensor] = {}
    for name, value in mapping.items():
        if isinstance(name, str) and torch is not None and isinstance(value, torch.Tensor):
            if value.is_nested:  # it has no shape
                found[name] = StoredTensor((), "nested", partial(_refuse_nested, name))
                continue
            dtype = str(value.dtype).removeprefix("torch.")
            found[name] = StoredTensor(tuple(value.shape), dtype, partial(to_array, name, value))
        elif isinstance(name, str) and isinstance(value, np.ndarray):
            found[name] = StoredTensor.of(value)
        elif isinstance(name, str) and type(value).__name__ == "ScriptObject":
            found[name] = StoredTensor((), "packed", partial(_refuse_packed, name))
    return found


def _refuse_packed(name: str) -> np.ndarray:
    raise FormatError(f"{shown(name)} is packed by torch for one kind of processor")


def _refuse_nested(name: str) -> np.ndarray:
    raise FormatError(f"{shown(name)} is a nested tensor; save contiguous weights")


def is_module(value: object) -> bool:
    """Whether it is a module of torch; torch is not loaded to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def to_array(name: str, tensor: "torch.Tensor") -> np.ndarray:
    """Give the values of a tensor, detached and on the CPU; float16 and bfloat16 as float32.

    Raises
    ------
    FormatError
        If it has none of its own: it is sparse, quantised, on no device, or shows few numbers many times.
    """
    import torch

    # A view may pretend to any size on a storage of one number.
    if (
        tensor.layout != torch.strided
        or tensor.device.type == "meta"
        or tensor.is_quantized
        or tensor.nbytes > tensor.untyped_storage().nbytes()
    ):
        raise FormatError(f"{shown(name)} is not a plain dense tensor with values of its own; save contiguous weights")
    plain = tensor.detach().cpu().resolve_neg().contiguous()
    array: np.ndarray = (plain.float() if str(plain.dtype) in _HALVES else plain).numpy()
    return array


def lstm_modules(model: "nn.Module") -> dict[str, "nn.Module"]:
    """Every ``torch.nn.LSTM`` (hence ``tallycell.LSTM``) and ``torch.nn.LSTMCell`` inside a module.

    By path, in the order of definition.
    """
    from torch import nn

    return {path: part for path, part in model.named_modules() if isinstance(part, nn.LSTM | nn.LSTMCell)}


def module_parameters(module: "nn.Module") -> tuple[LSTMParameters, Place]:
    """Parameters of one LSTM of torch; weights as attributes, so that those that are computed (weight norm) count too.

    Raises
    ------
    FormatError, ParameterError, ActivationError
        If they are not floats with values, or are not finite, or tallycell cannot name an activation.
    """
    from torch import nn

    stored = stored_as({str(weight.dtype).removeprefix("torch.") for weight in module.parameters()})
    if hasattr(module, "to_parameters"):  # a module of tallycell's, which has more than torch's
        own: Any = _in_float32(module) if stored else module
        return own.to_parameters(), Place(stored_as=stored)
    if isinstance(module, nn.LSTM):
        numbers = [(k, d) for k in range(module.num_layers) for d in range(2 if module.bidirectional else 1)]
        names = {name: name for kind in PARAMETER_KINDS for at in numbers if (name := parameter_name(kind, *at))}
    else:
        names = {parameter_name(kind, 0, 0): kind for kind in PARAMETER_KINDS}
    found = {ours: value for ours, theirs in names.items() if (value := getattr(module, theirs, None)) is not None}
    parameters = LSTMParameters({name: to_array(name, value) for name, value in found.items()})
    return parameters, Place("LSTM" if isinstance(module, nn.LSTM) else "LSTMCell", stored)


def read_live_module(module: object, source: Path | None = None) -> LoadedModel:
    """Read the LSTMs of a live module; what :func:`~tallycell.loaders.torch.live_module.load_module` does.

    Parameters
    ----------
    module
        Any ``torch.nn.Module``.
    source
        The file it comes from; by default its class in angle brackets stands for it.
    """
    if not is_module(module):
        raise InputError(f"got a {type(module).__name__}; expected the path of a model file, or a torch.nn.Module")
    source = source or Path(f"<{type(module).__name__}>")
    import torch

    assert isinstance(module, torch.nn.Module)
    if isinstance(module, torch.jit.ScriptModule):  # its parts are of no class of torch's
        return read_torch_names(stored_tensors(module.state_dict()), source, ordered=True)
    stacks: dict[str, LSTMParameters] = {}
    places, refused = {}, _quantised(module)
    for path, lstm in lstm_modules(module).items():
        try:
            stacks[path], places[path] = module_parameters(lstm)
        except TallycellError as error:
            refused[path] = error
    if not stacks:
        for path, reason in refused.items():
            raise type(reason)(f"{source}, LSTM at {quoted(path)}: {one_line(reason)}")
        raise FormatError(f"{source} holds no torch.nn.LSTM and no torch.nn.LSTMCell")
    around = _around(module, stacks, source)
    texts = {path: one_line(error) for path, error in refused.items()}
    return LoadedModel(stacks, source, places=places, refused=texts, embedding=around.embedding, head=around.head)


def _in_float32(module: "nn.Module") -> "nn.Module":
    """Copy a module to float32, without its hooks: they may hold anything."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return copy.deepcopy(module, {id(one): OrderedDict() for one in hooks}).float()


def _around(module: "nn.Module", stacks: Mapping[str, LSTMParameters], source: Path) -> LoadedModel:
    """Find embedding and head by the rules that hold for files, which also know each module's class."""
    tensors: dict[str, StoredTensor] = {}
    kinds = {}
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        if path in stacks:
            tensors |= {f"{prefix}{name}": StoredTensor.of(weight) for name, weight in stacks[path].weights.items()}
        elif kind := _plain_kind(part):
            kinds[path] = kind
            own = {name: getattr(part, name, None) for name in ("weight", "bias")}
            tensors |= stored_tensors({f"{prefix}{name}": value for name, value in own.items()})
    return read_torch_names(tensors, source, ordered=True, kinds=kinds)


def _plain_kind(part: "nn.Module") -> str | None:
    from torch import nn

    kinds = {"Embedding": nn.Embedding, "Linear": nn.Linear}
    return next((name for name, kind in kinds.items() if isinstance(part, kind)), None)


def _quantised(module: "nn.Module") -> dict[str, TallycellError]:
    """LSTMs of torch.ao, which are of other classes and keep their weights packed or in parts."""
    found = ((path, type(part)) for path, part in module.named_modules())
    return {
        path: FormatError(f"torch quantised it to a {kind.__module__}.{kind.__name__}; give the model as it was before")
        for path, kind in found
        if kind.__module__.startswith("torch.ao.") and kind.__name__ in ("LSTM", "LSTMCell")
    }
