"""One layer in one direction on the CPU kernel, as torch sees it: with gradients, and opaque where torch compiles.

The same two passes in three guises: called directly where no gradient is wanted, as a ``torch.autograd.Function`` where
one is, and as the operations ``tallycell::lstm_layer`` and ``tallycell::lstm_layer_backward`` under ``torch.compile``
and ``torch.export``. The second derivative comes from the torch operations of :mod:`tallycell.lstm.operations`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tallycell.activations import activation
from tallycell.kernels.cpu.packing import (
    PackedWeights,
    checksum,
    pack_recurrent,
    pack_weights,
    padded_size,
    tile_for,
)
from tallycell.kernels.cpu.passes import Buffers, Gradients, Slots, backward_pass, forward_pass, new_buffers, set_state
from tallycell.kernels.cpu.products import input_gradient, weight_gradients
from tallycell.kernels.cpu.readiness import slots_of
from tallycell.kernels.cpu.vector import Format, host_format
from tallycell.lstm.activations import torch_function
from tallycell.lstm.operations import LayerTensors, run_layer
from tallycell.parameters import Activations

_FORMS = {torch.float32: "float32", torch.float64: "float64"}


class Weights(NamedTuple):
    """Weights of one layer in one direction; ``bias`` is the sum of both biases, or None."""

    ih: Float[Tensor, "gates feature"]
    hh: Float[Tensor, "gates hidden"]
    bias: Float[Tensor, " gates"] | None


class Ran(NamedTuple):
    """What a layer left behind: the kernel's own buffers, whose units are padded to whole vectors.

    Attributes
    ----------
    gates
        i, f, g and o: (time, sequence, 4, unit).
    pre
        Their pre-activations in the same shape; without elements where the gates suffice for the way back.
    c, h
        (time + 1, sequence, unit), the initial state first; in the reverse direction last.
    h_n, c_n
        After the last step read, (sequence, unit), not padded.
    """

    gates: Tensor
    pre: Tensor
    c: Tensor
    h: Tensor
    h_n: Tensor
    c_n: Tensor

    def without_initial(self, *, reverse: bool) -> "Ran":
        """Give c and h after each step only: (time, sequence, unit)."""
        after = _after(reverse=reverse)
        return self._replace(c=self.c[after], h=self.h[after])


def _after(*, reverse: bool) -> slice:
    """Where c and h after each step stand, among those with the initial ones."""
    return slice(None, -1) if reverse else slice(1, None)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a pass has to know besides tensors.

    Attributes
    ----------
    activations
        Of the layer in its direction.
    reverse
        Whether the sequences are read from their last step to their first.
    keep_pre
        Whether the way back needs the pre-activations.
    slots
        The activations as the kernel takes them.
    text
        The plan as an argument of an operation, which can be a string, but no object.
    """

    activations: Activations
    reverse: bool
    keep_pre: bool
    slots: Slots
    text: str


class PlanText(NamedTuple):
    """What of a :class:`Plan` is needed where torch compiles."""

    text: str
    reverse: bool


_plans: dict[str, Plan] = {}  # by their text


def make_plan(activations: Activations, *, reverse: bool, gradients: bool) -> Plan:
    """Plan a pass; ``gradients`` says whether it may have to be run back."""
    by_slot = (activations.gate, activations.cell, activations.hidden)
    keep_pre = gradients and not all(choice.from_output for choice in by_slot[:2])
    parts = [[choice.name, dict(choice.constants), choice.fingerprint] for choice in by_slot]
    text = json.dumps([*parts, reverse, keep_pre])
    return _plans.setdefault(text, Plan(activations, reverse, keep_pre, slots_of(activations), text))


def _plan_of(text: str) -> Plan:
    """Plan of an operation; one that was exported by another process is made anew, from the activations' names."""
    if text not in _plans:
        *parts, reverse, keep_pre = json.loads(text)
        activations = Activations(*(activation(name, **constants) for name, constants, _ in parts))
        _plans[text] = Plan(activations, reverse, keep_pre, slots_of(activations), text)
    return _plans[text]


# ---- the passes, on tensors that share their memory with NumPy -------------------------------------------------------


def form_of(dtype: torch.dtype) -> Format:
    """How the kernel uses the vector registers for float32 or float64."""
    return host_format(_FORMS[dtype])


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array


def pack(weights: Weights) -> PackedWeights:
    """Bring weights into the kernel's panels."""
    form, ih, hh = form_of(weights.ih.dtype), _array(weights.ih), _array(weights.hh)
    bias = np.zeros(len(hh), hh.dtype) if weights.bias is None else _array(weights.bias)
    return pack_weights(ih, hh, bias, form)


class PackedOnce:
    """The panels of one layer in one direction, made anew when the weights have changed."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[object, ...], PackedWeights] | None = None

    def panels(self, parameters: Sequence[Tensor], dtype: torch.dtype) -> PackedWeights:
        """Give the panels of weight_ih, weight_hh and, if there are any, bias_ih and bias_hh."""
        parameters = [parameter.contiguous() for parameter in parameters]
        sums = [checksum(p.data_ptr(), p.nbytes // 8) for p in parameters]
        state = (dtype, parameters[0].dtype, parameters[0].shape, *sums)
        kept = self._kept  # read once: another thread may put its own in between
        if kept is None or kept[0] != state:
            ih, hh, *biases = (parameter.detach().to(dtype) for parameter in parameters)
            kept = self._kept = (state, pack(Weights(ih, hh, biases[0] + biases[1] if biases else None)))
        return kept[1]


def run_forward(x: Tensor, packed: PackedWeights, h_0: Tensor | None, c_0: Tensor | None, plan: Plan) -> Ran:
    """Run all steps; x is (time, sequence, feature), initial states are zeros if not given."""
    form, (time, sequences) = form_of(x.dtype), x.shape[:2]
    units = packed.hidden
    buffers = new_buffers(form, time, sequences, units, keep_pre=plan.keep_pre)
    for buffer, state in ((buffers.h, h_0), (buffers.c, c_0)):
        if state is None:
            buffer[-1 if plan.reverse else 0] = 0
        else:
            set_state(buffer, _array(state), reverse=plan.reverse)
    if sequences:
        forward_pass(form, plan.slots, packed, _array(x), buffers, reverse=plan.reverse)
    gates, c, h = (torch.from_numpy(buffer) for buffer in (buffers.gates, buffers.c, buffers.h))
    pre = gates.new_empty(0) if buffers.pre is None else torch.from_numpy(buffers.pre)
    end = 0 if plan.reverse else time
    h_n, c_n = h[end], c[end]
    if h_n.shape[1] != units:
        h_n, c_n = h_n[:, :units], c_n[:, :units]
    return Ran(gates, pre, c, h, h_n, c_n)


def _own_memory(ran: Ran) -> Ran:
    """Copy the last states out of the buffers: results of a function with a gradient must not share memory."""
    return ran._replace(h_n=ran.h_n.clone(), c_n=ran.c_n.clone())


def run_backward(
    gradients: Sequence[Tensor | None], buffers: Sequence[Tensor], inputs: Sequence[Tensor],
    needed: Sequence[bool], plan: Plan,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients to x, the weights, the bias, h_0 and c_0.

    Parameters
    ----------
    gradients
        To gates, c and h after each step, h_n and c_n of :class:`Ran`; None means zero.
    buffers
        Its gates, pre, c and h.
    inputs
        x, weight_ih and weight_hh.
    needed
        Which of the gradients to x, weight_ih and weight_hh are asked for; the others come without elements.
    plan
        That of the forward pass.
    """
    x, weight_ih, weight_hh = (_array(tensor) for tensor in inputs)
    (time, sequences, features), units = x.shape, weight_hh.shape[1]
    form = host_format(str(x.dtype))
    narrow = tile_for(units, form)
    gates, pre, c, h = (_array(buffer) for buffer in buffers)
    *given, d_h_n, d_c_n = (None if gradient is None else _array(gradient) for gradient in gradients)
    before = _after(reverse=not plan.reverse)
    stored, recurrent = Buffers.of(gates, pre if pre.size else None, c, h), pack_recurrent(weight_hh, narrow)
    d_pre, d_h_0, d_c_0 = backward_pass(
        narrow, plan.slots, recurrent, stored, Gradients(*given), last=(d_h_n, d_c_n), reverse=plan.reverse
    )
    by_row = d_pre.reshape(time * sequences, 4, -1)
    d_x = input_gradient(form, by_row, weight_ih).reshape(x.shape) if needed[0] else np.empty(0, x.dtype)
    read = x.reshape(time * sequences, features)[:, : None if needed[1] else 0]
    exposed = h[before].reshape(time * sequences, h.shape[2])[:, : None if needed[2] else 0]
    of_weights = weight_gradients(form, by_row, read, exposed, units=units)
    of_states = (state[:, :units].copy() for state in (d_h_0, d_c_0))
    return tuple(torch.from_numpy(gradient) for gradient in (d_x, *of_weights, *of_states))  # type: ignore[return-value]


# ---- gradients -----------------------------------------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep the inputs and the buffers for the way back."""
    *tensors, plan = inputs
    ctx.plan = plan
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *output[:4])


def _as_asked(ctx: Any, gradients: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    asked = zip(gradients, ctx.needs_input_grad, strict=False)
    found = [gradient if needed else None for gradient, needed in asked]
    return (*found, *[None] * (len(ctx.needs_input_grad) - len(found)))  # none to what is no tensor


class LayerFunction(torch.autograd.Function):
    """A layer in one direction, with its gradients."""

    # With ctx and not with setup_context, whose arguments torch binds by inspection: 40 microseconds a call.
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        """Run all steps; inputs: x, weight_ih, weight_hh, bias or None, h_0 and c_0 or None, the plan, the panels."""
        x, _, _, _, h_0, c_0, plan, panels = inputs
        ran = _own_memory(run_forward(x, panels, h_0, c_0, plan))
        _save(ctx, inputs[:-1], ran)
        # Sliced here and not on the graph, where the gradient would be copied into one of a step more.
        return tuple(ran.without_initial(reverse=plan.reverse))

    @staticmethod
    def backward(ctx: Any, d_gates: Tensor, _: Tensor, d_c: Tensor, d_h: Tensor, *last: Tensor) -> Any:
        """Run the steps back from the stored buffers; if that is to be differentiated, the torch operations."""
        given = (d_gates, d_c, d_h, *last)
        if torch.is_grad_enabled():
            return _differentiable_gradients(ctx, given)
        saved = ctx.saved_tensors
        return _as_asked(ctx, run_backward(given, saved[6:], saved[:3], ctx.needs_input_grad[:3], ctx.plan))


def _differentiable_gradients(ctx: Any, given: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Gradients on the autograd graph (create_graph=True): the layer is run again, as torch operations."""
    x, ih, hh, bias, h_0, c_0 = ctx.saved_tensors[:6]
    plan, (time, sequences), units = ctx.plan, x.shape[:2], hh.shape[1]
    chosen = plan.activations
    gate, cell, hidden = (torch_function(choice) for choice in (chosen.gate, chosen.cell, chosen.hidden))
    layer = LayerTensors(ih, hh, bias, None, None, gate, cell, hidden, "own", None, None)
    states = tuple(x.new_zeros(sequences, units) if state is None else state for state in (h_0, c_0))
    with torch.autocast("cpu", enabled=False):
        steps, ends = run_layer(layer, x.flatten(0, 1), [sequences] * time, state=states, reverse=plan.reverse)
    gates = torch.stack([torch.stack([step.i, step.f, step.g, step.o], dim=1) for step in steps])
    results = (gates, *(torch.stack([getattr(step, name) for step in steps]) for name in ("c", "h")), *ends)
    *of_steps, d_h_n, d_c_n = given
    wanted = [*(None if gradient is None else gradient[..., :units] for gradient in of_steps), d_h_n, d_c_n]
    there = [(result, gradient) for result, gradient in zip(results, wanted, strict=True) if gradient is not None]
    asked = [k for k, needed in enumerate(ctx.needs_input_grad) if needed]
    found = torch.autograd.grad(
        [result for result, _ in there],
        [ctx.saved_tensors[k] for k in asked],
        [gradient for _, gradient in there],
        create_graph=True,
        allow_unused=True,
    )
    by_input = dict(zip(asked, found, strict=True))
    return tuple(by_input.get(k) for k in range(len(ctx.needs_input_grad)))


# ---- operations for torch.compile and torch.export -------------------------------------------------------------------


@torch.library.custom_op("tallycell::lstm_layer", mutates_args=(), device_types="cpu")
def lstm_layer(
    x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None, h_0: Tensor | None, c_0: Tensor | None,
    plan: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run a layer in one direction; ``plan`` is the text of a :class:`Plan`, what comes back is a :class:`Ran`."""
    packed = pack(Weights(weight_ih, weight_hh, bias))
    return _own_memory(run_forward(x, packed, h_0, c_0, _plan_of(plan)))


@lstm_layer.register_fake
def _(
    x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None, h_0: Tensor | None, c_0: Tensor | None,
    plan: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    (time, sequences), units = x.shape[:2], weight_hh.shape[1]
    unit = padded_size(units, form_of(x.dtype))
    gates, states, last = (time, sequences, 4, unit), (time + 1, sequences, unit), (sequences, units)
    pre = gates if _plan_of(plan).keep_pre else (0,)
    return tuple(x.new_empty(shape) for shape in (gates, pre, states, states, last, last))


@torch.library.custom_op("tallycell::lstm_layer_backward", mutates_args=(), device_types="cpu")
def lstm_layer_backward(
    gradients: Sequence[Tensor | None], buffers: Sequence[Tensor], inputs: Sequence[Tensor],
    needed: Sequence[bool], plan: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the steps of :func:`lstm_layer` back; see :func:`run_backward`."""
    return run_backward(gradients, buffers, inputs, needed, _plan_of(plan))


@lstm_layer_backward.register_fake
def _(
    gradients: Sequence[Tensor | None], buffers: Sequence[Tensor], inputs: Sequence[Tensor],
    needed: Sequence[bool], plan: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    x, ih, hh = inputs
    state = (x.shape[1], hh.shape[1])
    shapes = (
        x.shape if needed[0] else (0,),
        (len(ih), ih.shape[1] if needed[1] else 0),
        (len(hh), hh.shape[1] if needed[2] else 0),
        (len(hh),), state, state,
    )  # fmt: skip
    return tuple(x.new_empty(shape) for shape in shapes)


def _backward_of_operation(ctx: Any, d_gates: Tensor, _: Tensor, d_c: Tensor, d_h: Tensor, *last: Tensor) -> Any:
    after, saved = _after(reverse=json.loads(ctx.plan)[-2]), list(ctx.saved_tensors)
    given = [d_gates, *(None if state is None else state[after] for state in (d_c, d_h)), *last]
    needed = list(ctx.needs_input_grad[:3])
    return _as_asked(ctx, lstm_layer_backward(given, saved[6:], saved[:3], needed, ctx.plan))


lstm_layer.register_autograd(_backward_of_operation, setup_context=_save)
