"""Who runs against whom: torch.nn.LSTM, tallycell.LSTM, ONNX Runtime and the Python loop, all with the same weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

import tallycell
from benchmarks.grid import Cell
from tallycell.layout import Layout
from tallycell.parameters import LSTMParameters

TOLERANCE = 1e-5  # of max|a - b| / (1 + max|b|): float32 sums in another order
# Sums over all steps of all sequences: at 32,128,1000 torch's gradient to the bias is 1.3e-5 from that in float64, ours
# 5e-7.
GRADIENT_TOLERANCE = 5e-5

TorchFunction = Callable[[Tensor], Tensor]


class DisagreementError(SystemExit):
    """Two competitors do not compute the same: a time is then worth nothing, and the program ends with the reason."""


def difference(ours: Any, theirs: Any) -> float:
    """Largest difference, by the size of what it is a difference of; NaN if either has one."""
    ours, theirs = (torch.as_tensor(values).detach() for values in (ours, theirs))
    return float((ours - theirs).abs().max() / (1 + theirs.abs().max()))


def require_same(what: str, ours: Any, theirs: Any, tolerance: float = TOLERANCE) -> None:
    """Refuse to go on if two results differ."""
    found = difference(ours, theirs)
    if not found <= tolerance:
        raise DisagreementError(f"{what} differs by {found:.2g}, at most {tolerance:g} is expected; nothing is timed")


def make_torch_lstm(cell: Cell) -> nn.LSTM:
    """Make torch's LSTM of that size, the same at every call."""
    torch.manual_seed(0)
    return nn.LSTM(cell.hidden, cell.hidden)


def make_input(cell: Cell) -> Tensor:
    """Make standard normal numbers, (time, sequence, feature)."""
    return torch.randn(cell.time, cell.batch, cell.hidden, generator=torch.Generator().manual_seed(1))


def make_ours(module: nn.LSTM, **activations: Any) -> tallycell.LSTM:
    """Make ours with the weights of torch's."""
    ours = tallycell.LSTM(module.input_size, module.hidden_size, **activations)
    ours.load_state_dict(module.state_dict())
    return ours


def make_parameters(module: nn.LSTM) -> LSTMParameters:
    """Make ours for NumPy with the weights of torch's."""
    return LSTMParameters({name: weight.detach().numpy() for name, weight in module.named_parameters()})


def python_loop(
    module: nn.LSTM,
    x: Tensor,
    *,
    gate: TorchFunction = torch.sigmoid,
    cell: TorchFunction = torch.tanh,
    hidden: TorchFunction = torch.tanh,
) -> tuple[Tensor, ...]:
    """Compute i f g o c h of all steps, as one does today to see them or to swap activations."""
    recurrent = module.weight_hh_l0.t()
    c = h = x.new_zeros(x.shape[1], module.hidden_size)
    kept = []
    for projected in functional.linear(x, module.weight_ih_l0, module.bias_ih_l0 + module.bias_hh_l0):
        i, f, g, o = torch.addmm(projected, h, recurrent).chunk(4, dim=1)
        i, f, g, o = gate(i), gate(f), cell(g), gate(o)
        c = f * c + i * g
        h = o * hidden(c)
        kept.append((i, f, g, o, c, h))
    return tuple(map(torch.stack, zip(*kept, strict=True)))


def gates_behind(module: nn.LSTM, x: Tensor, output: Tensor) -> tuple[Tensor, ...]:
    """Compute i f g o of all steps at once, from the h that torch returned."""
    before = torch.cat([torch.zeros_like(output[:1]), output[:-1]])
    pre = functional.linear(x, module.weight_ih_l0, module.bias_ih_l0)
    pre += functional.linear(before, module.weight_hh_l0, module.bias_hh_l0)
    i, f, g, o = pre.chunk(4, dim=-1)
    return i.sigmoid_(), f.sigmoid_(), g.tanh_(), o.sigmoid_()


def make_session(module: nn.LSTM, threads: int, *, states: bool = False) -> onnxruntime.InferenceSession:
    """Make a session of ONNX Runtime.

    Parameters
    ----------
    module
        Whose weights it has.
    threads
        Of the session.
    states
        Whether it takes h_0 and c_0 and returns h_n and c_n, instead of the output of all steps.
    """
    ours = {name.removesuffix("_l0"): weight.detach().numpy() for name, weight in module.named_parameters()}
    theirs = Layout("iofg").write(ours)
    weights = {"W": theirs["weight_ih"], "R": theirs["weight_hh"]}
    weights["B"] = np.concatenate([theirs["bias_ih"], theirs["bias_hh"]])
    taken, given = (["X", "h_0", "c_0"], ["h_n", "c_n"]) if states else (["X"], ["Y"])
    inputs = ["X", "W", "R", "B"] + (["", "h_0", "c_0"] if states else [])
    outputs = ["", "h_n", "c_n"] if states else ["Y"]
    node = onnx.helper.make_node("LSTM", inputs, outputs, hidden_size=module.hidden_size)
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3) for name in taken],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in given],
        [onnx.numpy_helper.from_array(weight[None], name) for name, weight in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Its threads would go on spinning while the next competitor runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
