"""What a module of torch read and gave back in one call, as arrays: copies, so that nothing of it can change later."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import torch
    from torch import nn

_LayOut = Callable[[Any], tuple["torch.Tensor", "torch.Tensor | None"]]

# How far a module may be from its equations, by what it computed in; on a GPU float32 may be computed in TF32.
_TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an LSTM or LSTMCell; a cell's is one step.

    Attributes
    ----------
    x
        (time, sequence, feature); anything may stand beyond a sequence's length.
    lengths
        Steps of each sequence.
    initial
        (h_0, c_0), each (layer * direction, sequence, size); None where the module began with zeros.
    last
        (h_n, c_n), the same.
    output
        h of the last layer, directions side by side, (time, sequence, output).
    kept
        For each layer but the last, what dropout multiplied its h by, (time, sequence, output); empty without.
    tolerance
        How far recomputed values may be from the output.
    """

    x: Float[np.ndarray, "time sequence feature"]
    lengths: Int[np.ndarray, " sequence"]
    initial: tuple[np.ndarray, np.ndarray] | None
    last: tuple[np.ndarray, np.ndarray]
    output: Float[np.ndarray, "time sequence output"]
    kept: tuple[Float[np.ndarray, "time sequence output"], ...]
    tolerance: float


def drops_inside(module: "nn.Module") -> bool:
    """Whether a module drops some of what one layer gives the next."""
    return bool(module.training and getattr(module, "dropout", 0) and getattr(module, "num_layers", 1) > 1)


def random_state(module: "nn.Module") -> "torch.Tensor | None":
    """State of the random numbers that a module is about to drop by; None if it drops nothing, or not on the CPU."""
    import torch

    on_cpu = all(weight.device.type == "cpu" for weight in module.parameters())
    return torch.get_rng_state() if on_cpu and drops_inside(module) else None


def read_call(
    module: "nn.Module", given: tuple[Sequence[Any], Mapping[str, Any]], returned: Any, random: "torch.Tensor | None"
) -> Call:
    """Copy what a call read and returned.

    Parameters
    ----------
    module
        A ``torch.nn.LSTM`` or ``torch.nn.LSTMCell``.
    given
        Its arguments, by position and by name.
    returned
        What it returned.
    random
        What :func:`random_state` gave before the call.
    """
    from torch import nn

    by_position, by_name = given
    arguments = dict(zip(("input", "hx"), by_position, strict=False)) | dict(by_name)
    x, state = arguments["input"], arguments.get("hx")
    if isinstance(module, nn.LSTMCell):
        steps, last, is_single = returned[0], returned, x.dim() == 1
        lay_out: _LayOut = _as_one_step
        masks: tuple[Any, ...] = ()
    else:
        (steps, last), is_single = returned, not hasattr(x, "batch_sizes") and x.dim() == 2
        lay_out = partial(_side_by_side, batch_first=bool(module.batch_first))
        masks = _dropped(module, steps, random)
    read, lengths = lay_out(x)
    output = lay_out(steps)[0]
    return Call(
        _array(read),
        np.full(read.shape[1], read.shape[0]) if lengths is None else lengths.numpy().astype(np.int64),
        None if state is None else states_of(state, is_single),
        states_of(last, is_single),
        _array(output),
        tuple(_array(lay_out(mask)[0]) for mask in masks),
        _TOLERANCES.get(str(output.dtype).removeprefix("torch."), 0.0),
    )


def _array(tensor: "torch.Tensor") -> np.ndarray:
    """Copy to an array, halves to float32."""
    import torch

    copy = tensor.detach().to("cpu", torch.float64 if tensor.dtype == torch.float64 else torch.float32, copy=True)
    array: np.ndarray = copy.numpy()
    return array


def states_of(pair: Sequence["torch.Tensor"], is_single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Bring h and c to (layer * direction, sequence, size): a cell has one layer, a single sequence no dimension."""
    h, c = (_array(one) for one in pair)
    if is_single:
        h, c = h.reshape(-1, 1, h.shape[-1]), c.reshape(-1, 1, c.shape[-1])
    return (h, c) if h.ndim == 3 else (h[np.newaxis], c[np.newaxis])


def _as_one_step(values: "torch.Tensor") -> tuple["torch.Tensor", None]:
    """Bring what a cell reads or gives, (sequence, feature) or (feature,), to (time, sequence, feature)."""
    return values.reshape(1, -1, values.shape[-1]), None


def _side_by_side(values: Any, batch_first: bool) -> tuple["torch.Tensor", "torch.Tensor | None"]:
    """Bring what a stack reads or gives to (time, sequence, feature), with lengths where it was packed."""
    if hasattr(values, "batch_sizes"):
        from torch.nn.utils.rnn import pad_packed_sequence

        padded, lengths = pad_packed_sequence(values)
        return padded, lengths
    if values.dim() == 2:
        return values.unsqueeze(1), None
    return (values.transpose(0, 1) if batch_first else values), None


def _dropped(module: Any, output: Any, random: "torch.Tensor | None") -> tuple[Any, ...]:
    """Draw again what was drawn for dropout between layers: torch keeps it to itself.

    The random numbers are the same where the generator stands as it stood, and the sizes and their order are the same;
    it is then put back. Whether that was so is seen when the output is recomputed.
    """
    if random is None:
        return ()
    import torch
    from torch.nn.functional import dropout

    packed = output if hasattr(output, "batch_sizes") else None
    like = output.data if packed is not None else output
    if packed is None and like.dim() == 3 and module.batch_first:
        like = like.transpose(0, 1)  # in the order in which the layers have it
    after = torch.get_rng_state()
    try:
        torch.set_rng_state(random)
        ones = torch.ones(like.shape, dtype=like.dtype)
        masks = [dropout(ones, module.dropout) for _ in range(module.num_layers - 1)]
    finally:
        torch.set_rng_state(after)
    if packed is not None:
        return tuple(packed._replace(data=mask) for mask in masks)
    if like.dim() == 3 and module.batch_first:
        masks = [mask.transpose(0, 1) for mask in masks]
    return tuple(masks)
