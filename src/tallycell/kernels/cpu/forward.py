"""The forward pass on vectors: a whole sequence through one layer in one direction, every gate stored.

Two paths, chosen by shape (see ``passes``):

- *fused*: at each step one tile runs over x and over the previous h, from the bias on. Nothing is stored in between.
- *ahead*: for some steps at once, W x + b goes where the gates will stand; the steps then add to it. With few sequences
  this reads the weights of x once for many steps.

Units are padded to whole vectors: the weights of padded units are zeros. Addresses are in bytes, strides in elements.
"""

import numpy as np

from tallycell.kernels.cpu.barrier import wait_for
from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.kernels.cpu.slots import squash
from tallycell.kernels.cpu.tile import MOST_ROWS, rows_of_tile, run_tile
from tallycell.kernels.cpu.vector import lanes_of, size_of, tile_gates_of, vfma, vload, vstore, vstore_past_cache


@inlined
def _store(form, value, address, offset, past_cache):
    if past_cache:
        vstore_past_cache(form, value, address, offset)
    else:
        vstore(form, value, address, offset)


@inlined
def _finish(form, slots, a, row, states, offset, scratch):
    """From the pre-activations of one block of units of one sequence to its gates and states."""
    size, lanes, unit = size_of(form), lanes_of(form), a.unit
    before, after = states
    i_pre, f_pre = vload(form, scratch, 0), vload(form, scratch, lanes)
    g_pre, o_pre = vload(form, scratch, 2 * lanes), vload(form, scratch, 3 * lanes)
    i, f, g, o = squash(slots[0], i_pre), squash(slots[0], f_pre), squash(slots[1], g_pre), squash(slots[0], o_pre)
    c = vfma(f, vload(form, a.c + before, offset), i * g)
    gates = a.gates + row * 4 * unit * size
    _store(form, i, gates, offset, a.past_cache)
    _store(form, f, gates, unit + offset, a.past_cache)
    _store(form, g, gates, 2 * unit + offset, a.past_cache)
    _store(form, o, gates, 3 * unit + offset, a.past_cache)
    if a.pre != 0:
        pre = a.pre + row * 4 * unit * size
        _store(form, i_pre, pre, offset, a.past_cache)
        _store(form, f_pre, pre, unit + offset, a.past_cache)
        _store(form, g_pre, pre, 2 * unit + offset, a.past_cache)
        _store(form, o_pre, pre, 3 * unit + offset, a.past_cache)
    vstore(form, c, a.c + after, offset)
    vstore(form, o * squash(slots[2], c), a.h + after, offset)


@inlined
def _project_ahead(form, a, row, rows):
    """Put W x + b where the gates of some rows will stand."""
    size, lanes, tile_gates, unit = size_of(form), lanes_of(form), tile_gates_of(form), a.unit
    for block in range(a.first_block, a.last_block):
        for group in range(4 // tile_gates):
            offset = (group * tile_gates * unit + block * lanes) * size
            panel = a.weight_ih + (block * 4 + group * tile_gates) * lanes * a.features * size
            r = 0
            while r < rows:
                m = rows_of_tile(rows - r)
                left = (a.x + (row + r) * a.features * size, a.features, a.features, panel)
                out = (a.gates + (row + r) * 4 * unit * size + offset, 4 * unit, unit, 0)
                run_tile(m, form, left, (0, 0, 0, 0), (a.bias + offset, 0, unit, 0), out)
                r += m


@inlined
def _project_steps_ahead(form, a, begin, end):
    """Project the steps from begin to end, in the order of reading: all rows at once if they are all here."""
    if a.last_row - a.first_row == a.sequences:
        low = a.time - end if a.reverse else begin
        _project_ahead(form, a, low * a.sequences, (end - begin) * a.sequences)
    else:
        for step in range(begin, end):
            t = a.time - 1 - step if a.reverse else step
            _project_ahead(form, a, t * a.sequences + a.first_row, a.last_row - a.first_row)


@inlined
def _sum_gates(form, a, m, row, h, block, scratch):
    """Put the pre-activations of one block of units of some rows into the scratch."""
    size, lanes, tile_gates, unit = size_of(form), lanes_of(form), tile_gates_of(form), a.unit
    for group in range(4 // tile_gates):
        index, offset = block * 4 + group * tile_gates, (group * tile_gates * unit + block * lanes) * size
        right = (h, unit, a.hidden, a.weight_hh + index * lanes * a.hidden * size)
        out = (scratch + group * tile_gates * lanes * size, 4 * lanes, lanes, 0)
        if a.ahead:
            start = (a.gates + row * 4 * unit * size + offset, 4 * unit, unit, 0)
            run_tile(m, form, right, (0, 0, 0, 0), start, out)
        else:
            panel = a.weight_ih + index * lanes * a.features * size
            left = (a.x + row * a.features * size, a.features, a.features, panel)
            run_tile(m, form, left, right, (a.bias + offset, 0, unit, 0), out)


@inlined
def _run_step(form, slots, a, t, scratch):
    """One time step of all rows and blocks."""
    size, lanes, unit = size_of(form), lanes_of(form), a.unit
    before, after = (t + 1, t) if a.reverse else (t, t + 1)
    for block in range(a.first_block, a.last_block):
        r = a.first_row
        while r < a.last_row:
            m = rows_of_tile(a.last_row - r)
            _sum_gates(form, a, m, t * a.sequences + r, a.h + (before * a.sequences + r) * unit * size, block, scratch)
            for j in range(r, r + m):
                states = ((before * a.sequences + j) * unit * size, (after * a.sequences + j) * unit * size)
                sums = scratch + (j - r) * 4 * lanes * size
                _finish(form, slots, a, t * a.sequences + j, states, block * lanes, sums)
            r += m


@compiled
def run_forward(form, slots, a):
    """Run the steps of some sequences, for some blocks of units; ``a`` is a ``ForwardArguments`` of ``passes``."""
    room = np.empty(MOST_ROWS * 4 * lanes_of(form) + 8, np.float64)
    scratch = (room.ctypes.data + 63) // 64 * 64
    steps_a_turn = max(a.ahead, 1)
    for begin in range(0, a.time, steps_a_turn):
        end = min(a.time, begin + steps_a_turn)
        if a.ahead:
            _project_steps_ahead(form, a, begin, end)
        for step in range(begin, end):
            _run_step(form, slots, a, a.time - 1 - step if a.reverse else step, scratch)
            if a.threads > 1 and a.barrier != 0:
                wait_for(a.barrier, (step + 1) * a.threads)  # for all of h
    room[0] = 0.0  # without a last use here, Numba would free it as soon as its address is taken
