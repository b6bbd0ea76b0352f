"""Squashing functions as torch operations: the same formulas as in :mod:`tallycell.activations`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tallycell.activations import Activation, activation
from tallycell.errors import ActivationError

TorchFunction = Callable[[Tensor], Tensor]
Choice = Activation | nn.Module  # what may stand in a slot


def _clipped_line(slope: float, constant: float, low: float = 0.0) -> TorchFunction:
    # hardtanh and not clamp: its gradient is zero on the kinks, as ours is.
    return lambda x: functional.hardtanh(slope * x + constant, low, 1.0)


def _softsign(x: Tensor) -> Tensor:
    largest = torch.finfo(x.dtype).max  # keeps the limit at infinity, where the quotient would be NaN
    return functional.softsign(x.clamp(-largest, largest))


_FUNCTIONS: dict[str, Callable[..., TorchFunction]] = {
    "sigmoid": lambda: torch.sigmoid,
    "tanh": lambda: torch.tanh,
    "relu": lambda: torch.relu,
    "affine": lambda alpha, beta: lambda x: alpha * x + beta,
    "identity": lambda: lambda x: x,
    # where() and not torch's own: at 0 the gradient is that of the right side, as ours is.
    "leaky_relu": lambda alpha: lambda x: torch.where(x >= 0, x, alpha * x),
    "thresholded_relu": lambda alpha: lambda x: functional.threshold(x, alpha, 0.0),
    "scaled_tanh": lambda alpha, beta: lambda x: alpha * torch.tanh(beta * x),
    "hard_sigmoid": lambda alpha, beta: _clipped_line(alpha, beta),
    "hard_sigmoid_keras2": lambda: _clipped_line(0.2, 0.5),
    "hard_sigmoid_keras3": lambda: _clipped_line(1 / 6, 0.5),
    "hard_tanh": lambda: _clipped_line(1.0, 0.0, low=-1.0),
    "elu": lambda alpha: lambda x: torch.where(x >= 0, x, alpha * torch.expm1(x.clamp(max=0))),
    "softsign": lambda: _softsign,
    # torch turns to x above 20, which float64 can tell from the truth; above 40 it cannot.
    "softplus": lambda: lambda x: functional.softplus(x, threshold=40.0),
    "sine": lambda: torch.sin,
}

_NAMED_MODULES: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    nn.Sigmoid: lambda module: activation("sigmoid"),
    nn.Tanh: lambda module: activation("tanh"),
    nn.Hardsigmoid: lambda module: activation("hard_sigmoid_keras3"),
    nn.Hardtanh: lambda module: activation("hard_tanh") if (module.min_val, module.max_val) == (-1, 1) else None,
    nn.ReLU: lambda module: activation("relu"),
    nn.LeakyReLU: lambda module: activation("leaky_relu", alpha=module.negative_slope),
    nn.ELU: lambda module: activation("elu", alpha=module.alpha),
    nn.Softsign: lambda module: activation("softsign"),
    nn.Softplus: lambda module: activation("softplus") if (module.beta, module.threshold) == (1, 20) else None,
    nn.Identity: lambda module: activation("identity"),
}


def torch_function(choice: Choice) -> TorchFunction:
    """Give the torch function of an activation.

    Parameters
    ----------
    choice
        An activation of tallycell, one that a user registered (its NumPy functions are called: CPU only, once
        differentiable), or a module, which is passed through.

    Examples
    --------
    >>> torch_function(activation("hard_sigmoid"))(torch.tensor([-4.0, 0.0, 1.0]))
    tensor([0.0000, 0.5000, 0.7000])
    """
    if isinstance(choice, nn.Module):
        return choice
    family = _FUNCTIONS.get(choice.name)
    if family is not None:
        return family(**choice.constants)
    return lambda x: _call_numpy(choice, x)


def named_activation(choice: Choice) -> Activation:
    """Give tallycell's activation for a module of torch.

    Raises
    ------
    ActivationError
        If none of tallycell's is what the module computes.

    Examples
    --------
    >>> named_activation(nn.LeakyReLU(0.2))
    activation('leaky_relu', alpha=0.2)
    """
    if isinstance(choice, Activation):
        return choice
    known = _NAMED_MODULES.get(type(choice))
    found = None if known is None else known(choice)
    if found is None:
        raise ActivationError(
            f"the module {choice} is none of tallycell's activations, so nothing outside torch can compute it; "
            f"modules that are: {', '.join(module.__name__ for module in _NAMED_MODULES)} with their default bounds; "
            "register_activation adds your own"
        )
    return found


def _call_numpy(choice: Activation, x: Tensor) -> Tensor:
    if x.device.type != "cpu":
        raise ActivationError(
            f"activation {choice.name!r} is written with NumPy and runs on the CPU, but got a tensor on {x.device}; "
            "move the LSTM to the CPU, or give the activation as a torch.nn.Module"
        )
    y: Tensor = _NumpyActivation.apply(x, choice)  # type: ignore[no-untyped-call]
    return y


class _NumpyActivation(torch.autograd.Function):
    """Value and derivative of a user's activation, which are NumPy functions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, choice: Activation) -> Tensor:
        y = _from_numpy(choice.value(_to_numpy(x)), x)
        ctx.choice = choice
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # create_graph=True: without this, second derivatives would lack a term, silently
            raise ActivationError(
                f"activation {ctx.choice.name!r} states its first derivative only, so create_graph=True cannot be "
                "had; give the activation as a torch.nn.Module"
            )
        x, y = ctx.saved_tensors
        return gradient * _from_numpy(ctx.choice.derivative(_to_numpy(x), _to_numpy(y)), x), None


def _to_numpy(x: Tensor) -> np.ndarray:
    x = x.detach()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()  # NumPy has no bfloat16


def _from_numpy(values: np.ndarray, like: Tensor) -> Tensor:
    # A copy: an activation may return its own argument. Constants may come back as a scalar.
    return torch.tensor(values, dtype=like.dtype).expand(like.shape)
