"""A training step that keeps every gate, against that of torch.nn.LSTM: forward, backward to weights and input."""

import argparse
import operator
from typing import Any

from benchmarks.floor import train_floor
from benchmarks.grid import Cell
from benchmarks.race import Race, add_race_arguments, run_race
from benchmarks.timing import Call, Target

HELP = "forward and backward of LSTM.traced against torch.nn.LSTM, gradients to weights and input"
TARGET = Target(worst=1.0, mean=0.8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_race_arguments(parser)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Race over the grid."""
    flops = operator.attrgetter("train_flops")
    return run_race(arguments, Race("train", TARGET, flops, train_floor, enter, gradients=True))


def enter(cell: Cell, threads: int, aside: bool) -> dict[str, Call]:
    """Verify the gradients of ours, and give the calls to time; ONNX Runtime does not train."""
    import torch

    from benchmarks import competitors

    module = competitors.make_torch_lstm(cell)
    x = competitors.make_input(cell).requires_grad_()
    ours = competitors.make_ours(module)
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    calls = {
        "ours": lambda: train_step(ours, x, gradient, ours.traced(x)),
        "torch": lambda: train_step(module, x, gradient, module(x)),
    }
    if aside:
        calls["loop"] = lambda: train_step(module, x, gradient, competitors.python_loop(module, x)[::-1])
    verify(cell, {"ours": ours, "torch": module, "loop": module}, x, calls)
    return calls


def train_step(module: Any, x: Any, gradient: Any, returned: tuple[Any, ...]) -> tuple[Any, ...]:
    """Backward from the output, the first of what a forward pass returned, into fresh gradients."""
    module.zero_grad(set_to_none=True)
    x.grad = None
    returned[0].backward(gradient)
    return returned


def verify(cell: Cell, modules: dict[str, Any], x: Any, calls: dict[str, Call]) -> None:
    """Compare the gradients to every weight and to the input with torch's."""
    from benchmarks.competitors import GRADIENT_TOLERANCE, require_same

    def gradients(name: str) -> dict[str, Any]:
        calls[name]()
        found = {weight: parameter.grad for weight, parameter in modules[name].named_parameters()}
        return found | {"x": x.grad}

    expected = gradients("torch")
    for name in calls:
        for weight, found in gradients(name).items():
            require_same(f"{cell}: gradient of {name} to {weight}", found, expected[weight], GRADIENT_TOLERANCE)
