"""A forward pass that keeps every gate, against torch.nn.LSTM, which returns h only."""

import argparse
import operator
from typing import Any

from benchmarks.floor import forward_floor
from benchmarks.grid import Cell
from benchmarks.race import Race, add_race_arguments, run_race
from benchmarks.timing import Call, Target

HELP = "LSTM.traced, every gate kept, against torch.nn.LSTM, under inference_mode"
TARGET = Target(worst=1.0, mean=0.75)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_race_arguments(parser)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Race over the grid."""
    flops = operator.attrgetter("forward_flops")
    return run_race(arguments, Race("forward", TARGET, flops, forward_floor, enter, gradients=False))


def enter(cell: Cell, threads: int, aside: bool) -> dict[str, Call]:
    """Verify ours, and give the calls to time."""
    import torch

    from benchmarks import competitors

    module, x = competitors.make_torch_lstm(cell), competitors.make_input(cell)
    ours = competitors.make_ours(module)
    calls = {"ours": lambda: ours.traced(x), "torch": lambda: module(x)}
    if aside:
        session = competitors.make_session(module, threads)
        calls["onnxruntime"] = lambda: session.run(None, {"X": x.numpy()})
        calls["loop"] = lambda: competitors.python_loop(module, x)
    with torch.inference_mode():
        verify(cell, module, x, calls)
    return calls


def verify(cell: Cell, module: Any, x: Any, calls: dict[str, Any]) -> None:
    """Compare outputs and last states with torch's, gates and cells with what follows from torch's output."""
    import torch

    from benchmarks.competitors import gates_behind, require_same

    (output, states, gates), (expected, ends) = calls["ours"](), calls["torch"]()
    for name, found, known in zip(("output", "h_n", "c_n"), (output, *states), (expected, *ends), strict=True):
        require_same(f"{cell}: {name}", found, known)
    for name, known in zip(("i", "f", "g", "o"), gates_behind(module, x, expected), strict=True):
        require_same(f"{cell}: gate {name}", getattr(gates, name)[0][0], known)
    i, f, g, o, c, h = (getattr(gates, name)[0][0] for name in ("i", "f", "g", "o", "c", "h"))
    before = torch.cat([torch.zeros_like(c[:1]), c[:-1]])
    require_same(f"{cell}: c", c, f * before + i * g)
    require_same(f"{cell}: h", h, expected)
    require_same(f"{cell}: h from o and c", o * torch.tanh(c), expected)
    if "loop" in calls:
        require_same(f"{cell}: h of the loop", calls["loop"]()[-1], expected)
        require_same(f"{cell}: output of ONNX Runtime", calls["onnxruntime"]()[0][:, 0], expected)
