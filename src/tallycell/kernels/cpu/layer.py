"""One layer in one direction on the CPU: the kernel's signature, on vectors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.kernels import reference
from tallycell.kernels.cpu.extras import extras_of, has_extras
from tallycell.kernels.cpu.memory import aligned
from tallycell.kernels.cpu.packing import pack_recurrent, packed_weights, padded_size, tile_for
from tallycell.kernels.cpu.passes import Buffers, Gradients, backward_pass, forward_pass, new_buffers, set_state
from tallycell.kernels.cpu.products import input_gradient, weight_gradients
from tallycell.kernels.cpu.readiness import slots_of
from tallycell.kernels.cpu.slots import compiles
from tallycell.kernels.cpu.vector import Format, host_format
from tallycell.kernels.interface import HeldValues, LayerGradients, LayerInput, Steps, StepsGradient
from tallycell.names import GATES
from tallycell.parameters import LayerParameters


@dataclass(frozen=True, eq=False)
class VectorSteps(Steps):
    """Steps that remember the buffers they are views of, for the way back.

    Attributes
    ----------
    buffers
        In the order in which the steps were run.
    order
        For each step run, which step of the input it was, by sequence, (time, sequence); None if they are the same.
    """

    buffers: Buffers | None = None
    order: Int[np.ndarray, "time sequence"] | None = None


def unsupported(layer: LayerParameters) -> str | None:
    """Name what the vector kernel leaves to the reference kernel; None if nothing."""
    slots = layer.activations
    for activation in (slots.gate, slots.cell, slots.hidden):
        if not compiles(activation):
            return f"activation {activation.name!r}, which does not compile"
    return None


def lstm_forward(layer: LayerParameters, inputs: LayerInput, *, keep_pre: bool = False) -> VectorSteps:
    """Run one layer in one direction; see :func:`tallycell.kernels.reference.lstm_forward`."""
    form = _format_of(layer)
    order, reverse = _order_of_steps(inputs)
    x = np.ascontiguousarray(inputs.x) if order is None else _reorder(inputs.x, order, inputs.lengths)
    time, sequences, weights = *x.shape[:2], packed_weights(layer, form)
    buffers = new_buffers(form, time, sequences, layer.hidden_size, keep_pre=keep_pre, width=weights.width)
    set_state(buffers.h, inputs.h_0, reverse=reverse)
    set_state(buffers.c, inputs.c_0, reverse=reverse)
    extras = extras_of(layer, form, weights, _held_in_order(inputs, order), sequences)
    forward_pass(form, slots_of(layer.activations), weights, x, buffers, reverse=reverse, extras=extras)
    return _as_steps(layer, buffers, inputs, order, reverse=reverse)


def lstm_backward(layer: LayerParameters, inputs: LayerInput, steps: Steps, gradient: StepsGradient) -> LayerGradients:
    """Gradients of one layer in one direction; see :func:`tallycell.kernels.reference.lstm_backward`.

    That of what few LSTMs have is the reference kernel's, which needs the pre-activations.
    """
    if has_extras(layer, inputs.held):
        if steps.i_pre is None:
            raise InputError("these gradients need the pre-activations; run the layer forward with keep_pre=True")
        return reference.lstm_backward(layer, inputs, steps, gradient)
    form = _format_of(layer)
    order, reverse = _order_of_steps(inputs)
    buffers = steps.buffers if isinstance(steps, VectorSteps) else None
    if buffers is None:
        buffers = _as_buffers(form, layer, inputs, steps, order, reverse=reverse)
    given = _as_gradients(form, layer, gradient, inputs, order)
    narrow = tile_for(layer.hidden_size, form)
    recurrent = pack_recurrent(layer.weight_hh, narrow)
    last = (gradient.h_n, gradient.c_n)
    if inputs.lengths is not None:
        given, last = _move_last(form, given, last, buffers, inputs.lengths), (None, None)
    slots = slots_of(layer.activations)
    d_pre, d_h, d_c = backward_pass(narrow, slots, recurrent, buffers, given, last=last, reverse=reverse)

    units = layer.hidden_size
    x = np.ascontiguousarray(inputs.x) if order is None else _reorder(inputs.x, order, inputs.lengths)
    h_before = buffers.before(reverse=reverse)[1]
    by_row, read = d_pre.reshape(-1, *d_pre.shape[2:]), x.reshape(-1, x.shape[2])
    d_x = input_gradient(form, by_row, layer.weight_ih).reshape(x.shape)
    weight_ih, weight_hh, bias = weight_gradients(form, by_row, read, h_before.reshape(len(read), -1), units=units)
    return LayerGradients(
        x=d_x if order is None else _restore(d_x, order, inputs.lengths, 0.0),
        h_0=d_h[:, :units],
        c_0=d_c[:, :units],
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias=bias,
        weight_hr=None,
        weight_ch=None,
    )


def _format_of(layer: LayerParameters) -> Format:
    return host_format(str(layer.weight_ih.dtype))


# ---- lengths -------------------------------------------------------------------------------------------------------
# Sequences of different lengths are run to the longest end and what lies beyond a length is dropped. In the reverse
# direction each sequence is first turned within its length, so that its last step comes first.


def _order_of_steps(inputs: LayerInput) -> tuple[Int[np.ndarray, "time sequence"] | None, bool]:
    """Which step of the input each step run is, None if the same; and whether the passes run from the right."""
    if inputs.lengths is None:
        return None, inputs.reverse
    steps = np.broadcast_to(np.arange(len(inputs.x))[:, np.newaxis], inputs.x.shape[:2])
    if not inputs.reverse:
        return steps, False
    turned = inputs.lengths - 1 - steps
    return np.where(turned >= 0, turned, steps), False


def _beyond(order: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    beyond: np.ndarray = np.arange(len(order))[:, np.newaxis] >= np.asarray(lengths)
    return beyond


def _reorder(values: np.ndarray, order: np.ndarray, lengths: np.ndarray | None, fill: float = 0.0) -> np.ndarray:
    """Bring the input's steps into the order they are run in; what lies beyond a length is replaced."""
    moved: np.ndarray = np.take_along_axis(values, order[:, :, np.newaxis], axis=0)
    moved[_beyond(order, lengths)] = fill
    return moved


def _held_in_order(inputs: LayerInput, order: np.ndarray | None) -> HeldValues:
    """Turn held values as the steps are; those that are the same at every step stay a broadcast view."""
    if order is None or not inputs.reverse:
        return inputs.held
    turned = {}
    for letter, values in inputs.held.items():
        by_row = values[:, np.newaxis] if values.ndim == 2 else values
        every = np.broadcast_to(by_row, (*order.shape, values.shape[-1]))
        turned[letter] = every if values.strides[0] == 0 else _reorder(every, order, inputs.lengths, np.nan)
    return turned


def _restore(values: np.ndarray, order: np.ndarray, lengths: np.ndarray | None, fill: float) -> np.ndarray:
    """Undo :func:`_reorder`: turning a sequence within its length twice leaves it as it was."""
    return _reorder(values, order, lengths, fill)


def _move_last(
    form: Format, given: Gradients, last: tuple[np.ndarray | None, np.ndarray | None], buffers: Buffers,
    lengths: np.ndarray,
) -> Gradients:  # fmt: skip
    """Add the gradients to h_n and c_n to those of each sequence's own last step."""
    moved = []
    for values, gradient in zip((given.h, given.c), last, strict=True):
        if gradient is not None:
            if values is None:
                values = aligned((len(buffers.gates), *buffers.c.shape[1:]), form.dtype)
                values[...] = 0
            values[lengths - 1, np.arange(len(lengths)), : gradient.shape[1]] += gradient
        moved.append(values)
    return Gradients(given.gates, c=moved[1], h=moved[0])


# ---- between the kernel's signature and the buffers ----------------------------------------------------------------


def _as_steps(
    layer: LayerParameters, buffers: Buffers, inputs: LayerInput, order: np.ndarray | None, *, reverse: bool
) -> VectorSteps:
    units = layer.hidden_size
    c, h = buffers.after(reverse=reverse)
    c, h = c[..., :units], h[..., : layer.output_size]
    named = {gate: buffers.gates[:, :, k, :units] for k, gate in enumerate(GATES)} | {"c": c, "h": h}
    if buffers.pre is not None:
        named |= {f"{gate}_pre": buffers.pre[:, :, k, :units] for k, gate in enumerate(GATES)}
    if order is None or inputs.lengths is None:
        end = 0 if reverse else -1
        return VectorSteps(**named, h_n=h[end], c_n=c[end], buffers=buffers)
    ends, rows = inputs.lengths - 1, np.arange(len(inputs.lengths))
    last = {"h_n": h[ends, rows], "c_n": c[ends, rows]}
    restored = {name: _restore(values, order, inputs.lengths, np.nan) for name, values in named.items()}
    return VectorSteps(**restored, **last, buffers=buffers, order=order)


def _as_buffers(
    form: Format, layer: LayerParameters, inputs: LayerInput, steps: Steps, order: np.ndarray | None, *, reverse: bool
) -> Buffers:
    """Lay out steps that another kernel made."""
    keep_pre = steps.i_pre is not None
    time, sequences, _ = inputs.x.shape
    buffers = new_buffers(form, time, sequences, layer.hidden_size, keep_pre=keep_pre)
    for array in (buffers.gates, buffers.pre, buffers.c, buffers.h):
        if array is not None:
            array[...] = 0
    set_state(buffers.h, inputs.h_0, reverse=reverse)
    set_state(buffers.c, inputs.c_0, reverse=reverse)
    c, h = buffers.after(reverse=reverse)
    targets = {gate: buffers.gates[:, :, k] for k, gate in enumerate(GATES)} | {"c": c, "h": h}
    if buffers.pre is not None:
        targets |= {f"{gate}_pre": buffers.pre[:, :, k] for k, gate in enumerate(GATES)}
    for name, target in targets.items():
        values = getattr(steps, name)
        target[..., : layer.hidden_size] = values if order is None else _reorder(values, order, inputs.lengths)
    return buffers


def _as_gradients(
    form: Format, layer: LayerParameters, gradient: StepsGradient, inputs: LayerInput, order: np.ndarray | None
) -> Gradients:
    """Pad the gradients that were given, in the order in which the steps were run."""
    units = layer.hidden_size
    shape = (*inputs.x.shape[:2], padded_size(units, form))

    def padded(values: np.ndarray, target: np.ndarray) -> None:
        target[..., units:] = 0
        target[..., :units] = values if order is None else _reorder(values, order, inputs.lengths)

    states: dict[str, np.ndarray | None] = {"c": None, "h": None}
    for name in states:
        values = getattr(gradient, name)
        if values is not None:
            states[name] = target = aligned(shape, form.dtype)
            padded(values, target)
    by_gate = [getattr(gradient, gate) for gate in GATES]
    if all(values is None for values in by_gate):
        return Gradients(None, **states)
    gates = aligned((*shape[:2], 4, shape[2]), form.dtype)
    gates[...] = 0
    for k, values in enumerate(by_gate):
        if values is not None:
            padded(values, gates[:, :, k])
    return Gradients(gates, **states)
