"""The two compiled passes with their arrays: what the NumPy kernel and the torch operations have in common."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np

from tallycell.kernels.cpu.backward import run_backward
from tallycell.kernels.cpu.compiling import entry_point
from tallycell.kernels.cpu.extras import ExtraArguments, Extras
from tallycell.kernels.cpu.forward import run_forward
from tallycell.kernels.cpu.memory import aligned, aligned_at
from tallycell.kernels.cpu.packing import PackedWeights, padded_size
from tallycell.kernels.cpu.slots import Slot
from tallycell.kernels.cpu.threads import divide
from tallycell.kernels.cpu.vector import Format

WIDE = 1024  # units from which the weights of x and of h do not stay in the caches together
FUSED_FROM, FUSED_FROM_IF_WIDE = 16, 64  # sequences: with fewer, weights of x read once for many steps outdo fusing
ROWS_AHEAD, ROWS_AHEAD_IF_WIDE = 96, 384  # sequences times steps that are projected ahead
UNITS_A_SEQUENCE, UNITS_A_SEQUENCE_IF_WIDE = 32, 16  # with more, threads share the units of each step: weights outweigh
WORTH_SHARING = 5e4  # multiplications a step: less takes no longer than to wait for another thread
LARGE = 1 << 20  # bytes of gates from which they are stored past the caches

Slots = tuple[Slot, Slot, Slot]  # gate, cell, hidden


class Buffers(NamedTuple):
    """What the steps of a layer leave behind, units padded to whole vectors.

    Attributes
    ----------
    gates
        i, f, g and o: (time, sequence, 4, unit).
    pre
        Their pre-activations in the same shape, or None.
    c, h
        (time + 1, sequence, unit), the initial state first; in the reverse direction last. A projected h is as wide
        as ``PackedWeights`` says.
    addresses
        Of these four; 0 for None.
    """

    gates: np.ndarray
    pre: np.ndarray | None
    c: np.ndarray
    h: np.ndarray
    addresses: tuple[int, int, int, int]

    @classmethod
    def of(cls, gates: np.ndarray, pre: np.ndarray | None, c: np.ndarray, h: np.ndarray) -> "Buffers":
        """Put arrays together."""
        return cls(gates, pre, c, h, (_address(gates), _address(pre), _address(c), _address(h)))

    def after(self, *, reverse: bool) -> tuple[np.ndarray, np.ndarray]:
        """Give c and h after each step."""
        return (self.c[:-1], self.h[:-1]) if reverse else (self.c[1:], self.h[1:])

    def before(self, *, reverse: bool) -> tuple[np.ndarray, np.ndarray]:
        """Give c and h before each step."""
        return (self.c[1:], self.h[1:]) if reverse else (self.c[:-1], self.h[:-1])


class Gradients(NamedTuple):
    """Gradients to what the steps left behind, padded as :class:`Buffers`; None means zero."""

    gates: np.ndarray | None
    c: np.ndarray | None  # (time, sequence, unit)
    h: np.ndarray | None


class ForwardArguments(NamedTuple):
    """What the compiled forward pass works on: addresses in bytes, sizes in elements, choices as 0 or 1."""

    x: int
    weight_ih: int
    weight_hh: int
    bias: int
    gates: int
    pre: int
    c: int
    h: int
    time: int
    sequences: int
    features: int
    hidden: int
    unit: int
    first_row: int
    last_row: int
    first_block: int
    last_block: int
    ahead: int  # steps projected ahead, 0 for the fused path
    reverse: int
    past_cache: int
    barrier: int  # where threads that share the steps wait for each other after each
    threads: int  # how many they are


class BackwardArguments(NamedTuple):
    """What the compiled backward pass works on, as in :class:`ForwardArguments`; an address of 0 is not there."""

    gates: int
    pre: int
    c: int
    weight_hh: int
    d_gates: int
    d_c: int
    d_h: int
    d_pre: int
    d_h_run: int
    d_c_run: int
    time: int
    sequences: int
    unit: int
    wide: int
    first_row: int
    last_row: int
    first_block: int  # of as many units as the tile is wide
    last_block: int
    reverse: int
    barrier: int
    threads: int


Arguments = TypeVar("Arguments", ForwardArguments, BackwardArguments)


@cache
def forward_code(form: Format, slots: Slots, *, extras: bool = False) -> Callable[..., None]:
    """Give the compiled forward pass for a format and a choice of activations, without extras or with them.

    It takes the format, the slots, ``ForwardArguments`` and ``ExtraArguments``; None in their place without extras.
    """
    nothing = ForwardArguments(*[0] * len(ForwardArguments._fields))
    return entry_point(run_forward, form, slots, nothing, ExtraArguments() if extras else None)


@cache
def backward_code(form: Format, slots: Slots) -> Callable[[Format, Slots, BackwardArguments], None]:
    """Give the compiled backward pass for a format and a choice of activations."""
    return entry_point(run_backward, form, slots, BackwardArguments(*[0] * len(BackwardArguments._fields)))


def new_buffers(
    form: Format, time: int, sequences: int, units: int, *, keep_pre: bool = False, width: int | None = None
) -> Buffers:
    """Allocate what a forward pass fills; the initial states are the caller's to set. ``width`` is that of h."""
    unit = padded_size(units, form)
    of_gates, of_states = (time, sequences, 4, unit), (time + 1, sequences, unit)
    gates, at_gates = aligned_at(of_gates, form.dtype)
    pre, at_pre = aligned_at(of_gates, form.dtype) if keep_pre else (None, 0)
    c, at_c = aligned_at(of_states, form.dtype)
    h, at_h = aligned_at((time + 1, sequences, width or unit), form.dtype)
    return Buffers(gates, pre, c, h, (at_gates, at_pre, at_c, at_h))


def set_state(buffer: np.ndarray, state: np.ndarray, *, reverse: bool) -> None:
    """Write the initial h or c where a pass looks for it."""
    initial = buffer[-1 if reverse else 0]
    initial[:, state.shape[1] :] = 0
    initial[:, : state.shape[1]] = state


def forward_arguments(
    form: Format, weights: PackedWeights, x: np.ndarray, buffers: Buffers, *, reverse: bool
) -> ForwardArguments:
    """Say where everything lies, and choose the path by shape."""
    time, sequences, features = x.shape
    unit = buffers.c.shape[2]
    fused_from, rows_ahead = (FUSED_FROM, ROWS_AHEAD) if unit < WIDE else (FUSED_FROM_IF_WIDE, ROWS_AHEAD_IF_WIDE)
    ahead = 0 if sequences >= fused_from else max(1, rows_ahead // sequences)
    return ForwardArguments(
        _address(x), *weights.addresses, *buffers.addresses,
        time, sequences, features, weights.hidden, unit, 0, sequences, 0, unit // form.lanes,
        ahead, int(reverse), int(buffers.gates.nbytes > LARGE), 0, 1,
    )  # fmt: skip


def forward_pass(
    form: Format, slots: Slots, weights: PackedWeights, x: np.ndarray, buffers: Buffers, *, reverse: bool,
    extras: Extras | None = None,
) -> None:  # fmt: skip
    """Fill the buffers, whose initial states are set, from a contiguous x (time, sequence, feature)."""
    arguments = forward_arguments(form, weights, x, buffers, reverse=reverse)
    multiplications = 4.0 * x.size * arguments.unit * (1 + weights.hidden / arguments.features)
    code, beside = forward_code(form, slots, extras=extras is not None), extras and extras.arguments

    def run(part: ForwardArguments) -> None:
        code(form, slots, part, beside)

    _divide(run, arguments, multiplications)


def backward_pass(
    form: Format, slots: Slots, recurrent: np.ndarray, buffers: Buffers, given: Gradients, *,
    last: tuple[np.ndarray | None, np.ndarray | None], reverse: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Gradients to the pre-activations and to the initial states.

    Parameters
    ----------
    form, slots, buffers, reverse
        As in the forward pass that filled the buffers.
    recurrent
        The recurrent weights in the panels of ``pack_recurrent``.
    given
        Gradients to gates, c and h.
    last
        Gradients to h_n and c_n, (sequence, units); None means zero.

    Returns
    -------
    tuple
        (time, sequence, 4, unit), (sequence, unit) and (sequence, unit), padded.
    """
    time, sequences, _, unit = buffers.gates.shape
    wide = recurrent.shape[0] * recurrent.shape[2]
    d_pre = aligned(buffers.gates.shape, form.dtype)
    d_h, d_c = (np.zeros((sequences, size), form.dtype) for size in (wide, unit))
    for running, gradient in ((d_h, last[0]), (d_c, last[1])):
        if gradient is not None:
            running[:, : gradient.shape[1]] = gradient
    arguments = BackwardArguments(
        *buffers.addresses[:3], _address(recurrent),
        _address(given.gates), _address(given.c), _address(given.h), _address(d_pre), _address(d_h), _address(d_c),
        time, sequences, unit, wide, 0, sequences, 0, recurrent.shape[0], int(reverse), 0, 1,
    )  # fmt: skip
    code = backward_code(form, slots)

    def run(part: BackwardArguments) -> None:
        code(form, slots, part)

    _divide(run, arguments, 4.0 * time * sequences * unit * wide)
    return d_pre, d_h, d_c


def _divide(run: Callable[[Arguments], None], a: Arguments, multiplications: float) -> None:
    """Run a pass on several threads, each with its own sequences, or with few sequences each with its own units."""
    if a.sequences > 1 and a.sequences * (UNITS_A_SEQUENCE if a.unit < WIDE else UNITS_A_SEQUENCE_IF_WIDE) >= a.unit:

        def run_rows(first: int, last: int, _threads: int) -> None:
            run(a._replace(first_row=first, last_row=last))

        divide(run_rows, a.sequences, multiplications)
        return
    counter = np.zeros(1, np.int64)
    barrier = _address(counter)

    def run_units(first: int, last: int, threads: int) -> None:
        run(a._replace(first_block=first, last_block=last, barrier=barrier, threads=threads))

    divide(run_units, a.last_block, multiplications if multiplications >= WORTH_SHARING * a.time else 0.0)


def _address(array: np.ndarray | None) -> int:
    return 0 if array is None else array.ctypes.data
