"""A user's own squashing functions, as a user gives them: NumPy with a derivative for ours, torch for the loop."""

import numpy as np
import torch
from torch import Tensor

import tallycell

tallycell.register_activation(
    "own_gate",
    lambda x: 0.5 + 0.5 * x / (1.0 + np.abs(x)),
    lambda x, y: 0.5 / ((1.0 + np.abs(x)) * (1.0 + np.abs(x))),
    range=(0.0, 1.0),
    left=0.0,
    right=1.0,
)
tallycell.register_activation(
    "own_squash",
    lambda x: x / np.sqrt(1.0 + x * x),
    lambda x, y: (1.0 - y * y) * np.sqrt(1.0 - y * y),
    range=(-1.0, 1.0),
    left=-1.0,
    right=1.0,
    from_output=True,
)


def torch_gate(x: Tensor) -> Tensor:
    """``own_gate`` as torch operations."""
    return 0.5 + 0.5 * x / (1 + x.abs())


def torch_squash(x: Tensor) -> Tensor:
    """``own_squash`` as torch operations."""
    return x * torch.rsqrt(1 + x * x)
