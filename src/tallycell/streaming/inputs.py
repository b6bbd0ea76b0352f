"""What the caller of a step gives, brought to one form; what does not fit is refused by name, before anything runs."""

import math
import sys
from typing import Any

import numpy as np

from tallycell.errors import InputError
from tallycell.wording import one_line

Array = Any  # a NumPy array, or a CPU tensor of torch


def read_array(x: Array, dtype: np.dtype) -> tuple[np.ndarray, bool]:
    """Array of the caller's x in the dtype of the weights, not copied if it is so already; and whether x is a tensor.

    Raises
    ------
    InputError
        If x is not made of finite real numbers, or is a tensor that this cannot read.
    """
    if _is_plain(x, dtype):
        return x, False
    torch = sys.modules.get("torch")  # a tensor can only have come from a torch that is loaded
    is_tensor = torch is not None and isinstance(x, torch.Tensor)
    if is_tensor:
        x = _array_of_tensor(x, torch)
        if _is_plain(x, dtype):
            return x, True
    try:
        array = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise InputError(f"x of type {type(x).__name__} does not make an array ({one_line(error)})") from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"x has dtype {array.dtype}; expected floats or integers")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype) if array.ndim else array
    if not np.isfinite(array).all():
        raise InputError(
            f"x has values that are NaN, infinite or too large for {dtype}; they would stay in the state for good. "
            "Leave such a step out, or put a number in their place"
        )
    return array, is_tensor


def _is_plain(x: Array, dtype: np.dtype) -> bool:
    """Whether x can be read as it stands; a quick look, for it is taken at every step of a live stream."""
    # The sum of squares is the quickest way to see a NaN or an infinity; large numbers overflow and go the long way.
    return type(x) is np.ndarray and x.dtype == dtype and x.flags.c_contiguous and math.isfinite(np.vdot(x, x))


def _array_of_tensor(x: Any, torch: Any) -> Any:
    if x.device.type != "cpu":
        raise InputError(f"x is on the device {x.device}; streaming runs on the CPU: give x.cpu()")
    if x.requires_grad and torch.is_grad_enabled():
        raise InputError("x requires a gradient, and streaming keeps none; give x.detach(), or use tallycell.LSTM")
    if x.dtype == torch.bfloat16:
        raise InputError("x has dtype bfloat16, which NumPy does not have; give x.float()")
    if x.layout != torch.strided:
        raise InputError(f"x is of layout {x.layout}; give x.to_dense()")
    return x.detach().resolve_conj().resolve_neg().numpy()


def require_shape(x: np.ndarray, least: int, sequences: int, features: int) -> None:
    """Refuse an x that is not (feature,) after ``least - 1`` dimensions of time, or has not the right sequences.

    Raises
    ------
    InputError
        If so.
    """
    time = ("time",) * (least - 1)
    if x.ndim not in (least, least + 1):
        one, several = ", ".join((*time, "feature")), ", ".join((*time, "sequence", "feature"))
        one += "," * (least == 1)
        other = "steps reads several time steps" if least == 1 else "step reads a single time step"
        raise InputError(f"x has shape {x.shape}; expected ({one}) or ({several}); {other}")
    if x.shape[-1] != features:
        raise InputError(f"x has {x.shape[-1]} features, shape {x.shape}; the LSTM reads {features}")
    found = 1 if x.ndim == least else x.shape[-2]
    if found != sequences:
        raise InputError(f"x is of {found} sequences, shape {x.shape}; the state is of {sequences}")


def wrapped(h: np.ndarray, is_tensor: bool) -> Array:
    """Give h, as a tensor if the input was one; they share their memory."""
    return sys.modules["torch"].from_numpy(h) if is_tensor else h
