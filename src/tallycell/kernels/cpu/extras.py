"""What few LSTMs have and most runs do not: held values, peepholes, other forget gates, clipping, a projection.

One variant of the forward pass has all of it, the usual one nothing: ``None`` in the place of :class:`ExtraArguments`
is a type of its own, for which no code is compiled. Within the variant each costs a look at a number that is the same
all along, which the processor foresees.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.memory import aligned
from tallycell.kernels.cpu.packing import PackedWeights, padded_size
from tallycell.kernels.cpu.slots import squash
from tallycell.kernels.cpu.squash import vmax, vmin
from tallycell.kernels.cpu.tile import rows_of_tile, run_tile
from tallycell.kernels.cpu.vector import (
    Format,
    lanes_of,
    size_of,
    splat_like,
    tile_gates_of,
    vfma,
    vload,
    vstore,
    where_equal,
)
from tallycell.kernels.interface import HeldValues
from tallycell.parameters import LayerParameters

OWN, COUPLED, NONE = range(3)  # forget gates
_FORGET_GATES = {"own": OWN, "coupled": COUPLED, "none": NONE}

Place = tuple[int, int, int]  # address of held values, strides from step to step and from sequence to sequence
_NOT_HELD: Place = (0, 0, 0)


class ExtraArguments(NamedTuple):
    """What the compiled pass works on beside ``ForwardArguments``; an address of 0 is not there.

    Strides count elements; 0 where values do not differ.
    """

    i: Place = _NOT_HELD
    f: Place = _NOT_HELD
    g: Place = _NOT_HELD
    o: Place = _NOT_HELD
    c: Place = _NOT_HELD
    h: Place = _NOT_HELD  # where it is not projected
    projected: Place = _NOT_HELD  # h where it is
    forget_gate: int = OWN
    clip_pre: float = np.inf
    clip_cell: float = np.inf
    peepholes: int = 0  # of i, f and o: (3, padded unit)
    projection: int = 0  # its weights in panels: (block, unit, vector of the block, lane)
    exposed: int = 0  # what is projected: (sequence, padded unit)
    units: int = 0  # without padding
    wide: int = 0  # elements from one sequence's h to the next


@dataclass(frozen=True, eq=False)
class Extras:
    """The extras of one run, with the arrays that the addresses point into."""

    arguments: ExtraArguments
    arrays: tuple[np.ndarray, ...]


def has_extras(layer: LayerParameters, held: HeldValues) -> bool:
    """Whether a run needs more than the usual LSTM."""
    beside = (layer.weight_ch, layer.weight_hr, layer.clip_pre, layer.clip_cell)
    return bool(held) or layer.forget_gate != "own" or any(one is not None for one in beside)


def extras_of(
    layer: LayerParameters, form: Format, weights: PackedWeights, held: HeldValues, sequences: int
) -> Extras | None:
    """Lay out what a layer has beside the usual; None if nothing.

    ``held`` stands in the order in which the steps are run.
    """
    if not has_extras(layer, held):
        return None
    arrays: list[np.ndarray] = []
    found: dict[str, int | float | Place] = {"wide": weights.width}
    for letter, values in held.items():
        padded = _pad_held(values, form, weights.width if letter == "h" else padded_size(layer.hidden_size, form))
        steps, rows, size = padded.shape
        name = "projected" if letter == "h" and weights.projection is not None else letter
        found[name] = (padded.ctypes.data, size * rows if steps > 1 else 0, size if rows > 1 else 0)
        arrays.append(padded)
    found["forget_gate"] = _FORGET_GATES[layer.forget_gate]
    bounds = {"clip_pre": layer.clip_pre, "clip_cell": layer.clip_cell}
    found |= {name: float(bound) for name, bound in bounds.items() if bound is not None}
    if weights.peepholes is not None:
        found["peepholes"] = weights.peepholes.ctypes.data
    if weights.projection is not None:
        arrays.append(aligned((sequences, padded_size(layer.hidden_size, form)), form.dtype))
        found |= {"projection": weights.projection.ctypes.data, "exposed": arrays[-1].ctypes.data}
        found["units"] = layer.hidden_size
    return Extras(ExtraArguments(**found), tuple(arrays))  # type: ignore[arg-type]


def _pad_held(values: np.ndarray, form: Format, size: int) -> np.ndarray:
    """Bring held values to (time or 1, sequence or 1, padded unit), with NaN behind the last unit.

    Those that are a broadcast view along steps or sequences are laid out once.
    """
    by_row = values[:, np.newaxis] if values.ndim == 2 else values
    steps, rows = (slice(None if stride else 1) for stride in by_row.strides[:2])
    once = by_row[steps, rows]
    if once.shape[2] == size and once.dtype == form.dtype and once.flags.c_contiguous:
        return once
    padded = aligned((*once.shape[:2], size), form.dtype)
    padded[..., once.shape[2] :] = np.nan
    padded[..., : once.shape[2]] = once
    return padded


# ---- compiled ------------------------------------------------------------------------------------------------------


@inlined
def hold(form, held, t, sequence, offset, value):
    """Give the held value, or the value itself where that is NaN."""
    address, by_step, by_sequence = held
    if address == 0:
        return value
    given = vload(form, address, t * by_step + sequence * by_sequence + offset)
    return where_equal(given, given, given, value)  # NaN does not equal itself


@inlined
def _clip(x, bound):
    return vmin(vmax(x, splat_like(x, -bound)), splat_like(x, bound))


@inlined
def step_with_extras(form, slots, extras, row, offset, pre, c):
    """From the sums and the cell before to pre-activations, gates and the cell; ``row`` is (step, sequence, unit)."""
    t, sequence, unit = row
    i_pre, f_pre, g_pre, o_pre = pre
    peepholes = extras.peepholes
    if peepholes != 0:
        i_pre = vfma(vload(form, peepholes, offset), c, i_pre)
        f_pre = vfma(vload(form, peepholes, unit + offset), c, f_pre)
    i_pre, f_pre, g_pre = _clip(i_pre, extras.clip_pre), _clip(f_pre, extras.clip_pre), _clip(g_pre, extras.clip_pre)
    i = hold(form, extras.i, t, sequence, offset, squash(slots[0], i_pre))
    if extras.forget_gate == OWN:
        f = squash(slots[0], f_pre)
    elif extras.forget_gate == COUPLED:
        f = 1.0 - i
    else:
        f = splat_like(i, 1.0)
    f = hold(form, extras.f, t, sequence, offset, f)
    g = hold(form, extras.g, t, sequence, offset, squash(slots[1], g_pre))
    c = hold(form, extras.c, t, sequence, offset, _clip(vfma(f, c, i * g), extras.clip_cell))
    if peepholes != 0:
        o_pre = vfma(vload(form, peepholes, 2 * unit + offset), c, o_pre)
    o_pre = _clip(o_pre, extras.clip_pre)
    o = hold(form, extras.o, t, sequence, offset, squash(slots[0], o_pre))
    return (i_pre, f_pre, g_pre, o_pre), (i, f, g, o), c


@inlined
def project(form, a, extras, t, after, zeros):
    """Multiply what a step exposed by the projection: of some sequences, the share of h that goes with the units."""
    size, lanes = size_of(form), lanes_of(form)
    width = tile_gates_of(form) * lanes
    unit, wide, blocks = a.unit, extras.wide, extras.wide // width
    first, last = a.first_block * lanes * blocks // unit, a.last_block * lanes * blocks // unit
    for block in range(first, last):
        panel = extras.projection + block * width * extras.units * size
        r = a.first_row
        while r < a.last_row:
            m = rows_of_tile(a.last_row - r)
            left = (extras.exposed + r * unit * size, unit, extras.units, panel)
            h = a.h + ((after * a.sequences + r) * wide + block * width) * size
            run_tile(m, form, left, (0, 0, 0, 0), (zeros, 0, lanes, 0), (h, wide, lanes, 0))
            for j in range(m):
                for k in range(0, width, lanes):
                    value = vload(form, h, j * wide + k)
                    vstore(form, hold(form, extras.projected, t, r + j, block * width + k, value), h, j * wide + k)
            r += m
