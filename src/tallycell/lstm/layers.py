"""One layer in one direction on one of two paths: the CPU kernel, or the equations as torch operations.

The kernel runs what is common; the torch operations run the rest and every other device, slower, and one line in the
log ``tallycell`` says so the first time.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from tallycell.kernels.cpu.slots import compiles
from tallycell.lstm.operations import Held, LayerTensors, join_steps, run_layer
from tallycell.lstm.options import Options
from tallycell.lstm.sequences import Order
from tallycell.lstm.vector_ops import LayerFunction, PackedOnce, Plan, PlanText, Ran, Weights, run_forward
from tallycell.names import PARAMETER_KINDS, parameter_name


class LayerSteps(NamedTuple):
    """What a layer left behind in one direction.

    Attributes
    ----------
    values
        By variable (``"i"`` to ``"h"``), laid out as the input: (time, sequence, unit), or the rows of a packed one.
    h_n, c_n
        After the last step read: (sequence, unit).
    """

    values: dict[str, Tensor]
    h_n: Tensor
    c_n: Tensor


def weights_of(lstm: nn.LSTM, layer: int, direction: int) -> dict[str, Tensor]:
    """Weights of one layer and direction by kind; as attributes, so that those that are computed count too."""
    there = {
        "bias_ih": lstm.bias, "bias_hh": lstm.bias, "weight_hr": lstm.proj_size,
        "weight_ch": getattr(lstm, "peepholes", False),
    }  # fmt: skip
    names = ((kind, parameter_name(kind, layer, direction)) for kind in PARAMETER_KINDS if there.get(kind, True))
    return {kind: getattr(lstm, name) for kind, name in names}


# ---- which path ------------------------------------------------------------------------------------------------------


def unsupported(options: Options) -> str | None:
    """Name what the kernel leaves to the torch operations; None if nothing."""
    rare = {
        "a coupled or missing forget gate": options.forget_gate != "own",
        "peepholes": options.peepholes,
        "a projection": options.projection,
        "clipping": options.clip_pre is not None or options.clip_cell is not None,
    }
    reason = next((name for name, there in rare.items() if there), None)
    for choice in (choice for choices in options.slots for choice in choices):
        if reason is not None:
            break
        if isinstance(choice, nn.Module):
            reason = "a torch.nn.Module as an activation"
        elif not compiles(choice):
            reason = f"activation {choice.name!r}, which does not compile"
    return reason


def watched() -> bool:
    """Whether somebody follows the single operations: functorch, forward-mode derivatives, tracing (also for ONNX)."""
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


# ---- the kernel ------------------------------------------------------------------------------------------------------


def run_on_kernel(
    x: Float[Tensor, "*row feature"], weights: dict[str, Tensor], state: tuple[Tensor, Tensor] | None,
    *, plan: Plan | PlanText, packed: PackedOnce | None, order: Order | None, keep: Iterable[str],
) -> LayerSteps:  # fmt: skip
    """Run one layer in one direction on the kernel.

    Parameters
    ----------
    x
        What it reads, in float32 or float64: (time, sequence, feature), or the rows of a packed sequence.
    weights
        By kind: weight_ih, weight_hh and, if there are any, bias_ih and bias_hh.
    state
        Initial h and c, (sequence, unit); None for zeros.
    plan
        The plan, or its text where torch compiles.
    packed
        Where the layer's weights are kept in panels, or None where torch compiles.
    order
        That of a packed sequence's steps.
    keep
        Variables to give besides h.
    """
    h_0, c_0 = (None, None) if state is None else (state[0].to(x.dtype), state[1].to(x.dtype))
    steps = x if order is None else order.spread(x)
    inputs = (steps, *weights.values(), h_0, c_0)
    if isinstance(plan, PlanText):
        ran = Ran(*torch.ops.tallycell.lstm_layer(steps, *_summed(weights, x.dtype), h_0, c_0, plan.text))
        ran = ran.without_initial(reverse=plan.reverse)
    elif torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        panels = (packed or PackedOnce()).panels(list(weights.values()), x.dtype)
        on_graph = (steps, *_summed(weights, x.dtype), h_0, c_0, plan, panels)
        ran = Ran(*LayerFunction.apply(*on_graph))  # type: ignore[no-untyped-call]
    else:
        panels = (packed or PackedOnce()).panels(list(weights.values()), x.dtype)
        ran = run_forward(steps, panels, h_0, c_0, plan).without_initial(reverse=plan.reverse)
    return _views(ran, weights["weight_hh"].shape[1], order, keep=keep)


def _summed(weights: dict[str, Tensor], dtype: torch.dtype) -> Weights:
    ih, hh, *biases = (weight.to(dtype) for weight in weights.values())
    return Weights(ih, hh, biases[0] + biases[1] if biases else None)


def _views(ran: Ran, units: int, order: Order | None, *, keep: Iterable[str]) -> LayerSteps:
    """Take what was asked for out of the buffers, so that autograd brings one gradient for each buffer."""
    values = {"h": ran.h}
    if keep:
        i, f, g, o = ran.gates.unbind(2)
        values |= {"i": i, "f": f, "g": g, "o": o, "c": ran.c}
    # Where torch compiles, how far units are padded is decided where the program will run.
    if ran.h.shape[-1] != units or torch.compiler.is_compiling():
        values = {name: value[..., :units] for name, value in values.items()}
    if order is None:
        return LayerSteps(values, ran.h_n, ran.c_n)
    last = (order.last(state)[..., :units] for state in (ran.h, ran.c))
    return LayerSteps({name: order.gather(value) for name, value in values.items()}, *last)


# ---- torch operations ------------------------------------------------------------------------------------------------


def run_as_operations(
    x: Float[Tensor, "*row feature"], layer: LayerTensors, state: tuple[Tensor, Tensor] | None,
    *, batch_sizes: Sequence[int], reverse: bool, keep: Iterable[str], held: Held | None = None,
) -> LayerSteps:  # fmt: skip
    """Run one layer in one direction as torch operations; as :func:`run_on_kernel`, with what is held."""
    if state is None:
        units, hidden = len(layer.weight_ih) // 4, layer.weight_hh.shape[1]
        state = (x.new_zeros(batch_sizes[0], hidden), x.new_zeros(batch_sizes[0], units))
    steps, ends = run_layer(layer, x.flatten(0, -2), batch_sizes, state=state, reverse=reverse, held=held)
    joined = {name: join_steps(steps, name) for name in {*keep, "h"}}
    return LayerSteps({name: rows.view(*x.shape[:-1], rows.shape[-1]) for name, rows in joined.items()}, *ends)
