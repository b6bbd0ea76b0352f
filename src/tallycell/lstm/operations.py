"""The equations of :mod:`tallycell.equations` as torch operations on whole sequences.

Sequences lie here as torch packs them: sorted by length, longest first, all rows of step 0, then all of step 1, and so
on. ``batch_sizes`` says how many sequences have each step. Sequences of equal length are the case where all have every
step, so there is one path for both, nothing is computed beyond a sequence's end, and no mask is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from tallycell.parameters import ForgetGate

Batch = Float[Tensor, "sequence unit"]
Rows = Float[Tensor, "row unit"]  # one row a step of a sequence, packed
HoldStep = Callable[[str, Tensor], Tensor]  # what becomes of a gate or state, by its letter
# By letter, NaN where a unit is free; one sequence where all are held at the same.
Held = Mapping[str, Float[Tensor, "time sequence unit"]]


class LayerTensors(NamedTuple):
    """One layer in one direction: :class:`~tallycell.parameters.LayerParameters` as tensors on the autograd graph.

    ``gate``, ``cell`` and ``hidden`` are torch functions; ``bias`` is the sum of both biases.
    """

    weight_ih: Float[Tensor, "gates feature"]
    weight_hh: Float[Tensor, "gates hidden"]
    bias: Float[Tensor, " gates"] | None
    weight_hr: Float[Tensor, "projection unit"] | None
    weight_ch: Float[Tensor, " peepholes"] | None
    gate: Callable[[Tensor], Tensor]
    cell: Callable[[Tensor], Tensor]
    hidden: Callable[[Tensor], Tensor]
    forget_gate: ForgetGate
    clip_pre: float | None
    clip_cell: float | None


class Step(NamedTuple):
    """Gates after their activation, and states, of one step or of all steps of a layer in one direction."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


def _clip(value: Tensor, bound: float | None) -> Tensor:
    return value if bound is None else value.clamp(-bound, bound)


def _leave(_: str, value: Tensor) -> Tensor:
    return value


def lstm_step(
    layer: LayerTensors, from_input: Float[Tensor, "sequence gates"], h: Tensor, c: Batch, hold: HoldStep = _leave
) -> Step:
    """One step from the states h and c; ``from_input`` is W x + b of the four gates."""
    pre = torch.addmm(from_input, h, layer.weight_hh.t())
    i_pre, f_pre, g_pre, o_pre = pre.chunk(4, dim=-1)
    if layer.weight_ch is not None:
        p_i, p_f, p_o = layer.weight_ch.chunk(3)
        i_pre, f_pre = i_pre + p_i * c, f_pre + p_f * c

    i = hold("i", layer.gate(_clip(i_pre, layer.clip_pre)))
    if layer.forget_gate == "own":
        f = layer.gate(_clip(f_pre, layer.clip_pre))
    else:
        f = 1 - i if layer.forget_gate == "coupled" else torch.ones_like(i)
    f = hold("f", f)
    g = hold("g", layer.cell(_clip(g_pre, layer.clip_pre)))
    c = hold("c", _clip(f * c + i * g, layer.clip_cell))

    if layer.weight_ch is not None:
        o_pre = o_pre + p_o * c
    o = hold("o", layer.gate(_clip(o_pre, layer.clip_pre)))
    exposed = o * layer.hidden(c)
    h = hold("h", exposed if layer.weight_hr is None else functional.linear(exposed, layer.weight_hr))
    return Step(i, f, g, o, c, h)


def run_layer(
    layer: LayerTensors,
    x: Float[Tensor, "row feature"],
    batch_sizes: Sequence[int],
    *,
    state: tuple[Tensor, Batch],
    reverse: bool,
    held: Held | None = None,
) -> tuple[list[Step], tuple[Tensor, Batch]]:
    """Run one layer in one direction over whole sequences.

    Parameters
    ----------
    layer
        Its weights and activations.
    x
        What it reads, packed.
    batch_sizes
        How many sequences have each step; never grows.
    state
        Initial h (sequence, hidden) and c (sequence, unit), in the order of packing.
    reverse
        Whether each sequence is read from its last step to its first.
    held
        Values that gates and states are held at, in the order of packing. They take no gradient, and let none through
        to what they stand for.

    Returns
    -------
    steps, (h_n, c_n)
        What each step left behind, in the order of the input in both directions, and the states after the last step
        read.
    """
    h_0, c_0 = state
    time = len(batch_sizes)
    steps: list[Step] = [None] * time  # type: ignore[list-item]
    ended: list[tuple[Tensor, Tensor]] = []
    # split, not indexing: its gradient is one concatenation, where each index would fill a whole tensor with zeros.
    from_input = functional.linear(x, layer.weight_ih, layer.bias).split_with_sizes(list(batch_sizes))
    order = range(time)[::-1] if reverse else range(time)
    h, c = h_0[: batch_sizes[order[0]]], c_0[: batch_sizes[order[0]]]
    for t in order:
        before, now = len(h), batch_sizes[t]
        if now < before:  # forward: the shorter sequences have ended
            ended.append((h[now:], c[now:]))
            h, c = h[:now], c[:now]
        elif now > before:  # reverse: the shorter sequences begin
            h, c = torch.cat([h, h_0[before:now]]), torch.cat([c, c_0[before:now]])
        steps[t] = lstm_step(layer, from_input[t], h, c, _hold_at(held, t, now) if held else _leave)
        h, c = steps[t].h, steps[t].c
    if ended:
        last_h, last_c = zip((h, c), *reversed(ended), strict=True)
        h, c = torch.cat(last_h), torch.cat(last_c)
    return steps, (h, c)


def _hold_at(held: Held, t: int, sequences: int) -> HoldStep:
    """Make what becomes of a value at time t: held where a value is given, free where that is NaN."""

    def hold(letter: str, value: Tensor) -> Tensor:
        if letter not in held:
            return value
        given = held[letter][t, :sequences]
        return torch.where(given.isnan(), value, given)

    return hold


def join_steps(steps: Sequence[Step], variable: str) -> Rows:
    """All steps of a gate or state, packed."""
    return torch.cat([getattr(step, variable) for step in steps])
