"""The forward pass on vectors: a whole sequence through one layer in one direction, every gate stored.

Two paths, chosen by shape (see ``passes``):

- *fused*: at each step one tile runs over x and over the previous h, from the bias on. Nothing is stored in between.
- *ahead*: for some steps at once, W x + b goes where the gates will stand; the steps then add to it. With few sequences
  this reads the weights of x once for many steps.

Units are padded to whole vectors: the weights of padded units are zeros. Addresses are in bytes, strides in elements.
What few LSTMs have comes from ``extras``; where that is None, no code is compiled for it.
"""

import numpy as np

from tallycell.kernels.cpu.barrier import wait_for
from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.kernels.cpu.extras import hold, project, step_with_extras
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
def _finish(form, slots, a, extras, place, states, scratch):
    """From the sums of one block of units of one sequence to its gates and states; place is (step, sequence, offset).

    ``states`` says where the c before stands, and the c and h after.
    """
    size, lanes, unit = size_of(form), lanes_of(form), a.unit
    (t, sequence, offset), (c_before, c_after, h_after) = place, states
    i_pre, f_pre = vload(form, scratch, 0), vload(form, scratch, lanes)
    g_pre, o_pre = vload(form, scratch, 2 * lanes), vload(form, scratch, 3 * lanes)
    c = vload(form, c_before, offset)
    if extras is None:
        i, f, g, o = squash(slots[0], i_pre), squash(slots[0], f_pre), squash(slots[1], g_pre), squash(slots[0], o_pre)
        c = vfma(f, c, i * g)
    else:
        pre, (i, f, g, o), c = step_with_extras(
            form, slots, extras, (t, sequence, unit), offset, (i_pre, f_pre, g_pre, o_pre), c
        )
        i_pre, f_pre, g_pre, o_pre = pre
    row = t * a.sequences + sequence
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
    vstore(form, c, c_after, offset)
    h = o * squash(slots[2], c)
    if extras is not None:
        h = hold(form, extras.h, t, sequence, offset, h)
    vstore(form, h, h_after, offset)


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
    """Put the pre-activations of one block of units of some rows into the scratch; h is (address, row stride)."""
    size, lanes, tile_gates, unit = size_of(form), lanes_of(form), tile_gates_of(form), a.unit
    for group in range(4 // tile_gates):
        index, offset = block * 4 + group * tile_gates, (group * tile_gates * unit + block * lanes) * size
        right = (h[0], h[1], a.hidden, a.weight_hh + index * lanes * a.hidden * size)
        out = (scratch + group * tile_gates * lanes * size, 4 * lanes, lanes, 0)
        if a.ahead:
            start = (a.gates + row * 4 * unit * size + offset, 4 * unit, unit, 0)
            run_tile(m, form, right, (0, 0, 0, 0), start, out)
        else:
            panel = a.weight_ih + index * lanes * a.features * size
            left = (a.x + row * a.features * size, a.features, a.features, panel)
            run_tile(m, form, left, right, (a.bias + offset, 0, unit, 0), out)


@inlined
def _run_step(form, slots, a, extras, t, scratch):
    """One time step of all rows and blocks."""
    size, lanes = size_of(form), lanes_of(form)
    unit = a.unit
    wide = unit if extras is None else extras.wide
    before, after = (t + 1, t) if a.reverse else (t, t + 1)
    for block in range(a.first_block, a.last_block):
        r = a.first_row
        while r < a.last_row:
            m = rows_of_tile(a.last_row - r)
            h = (a.h + (before * a.sequences + r) * wide * size, wide)
            _sum_gates(form, a, m, t * a.sequences + r, h, block, scratch)
            for j in range(r, r + m):
                row_before, row_after = before * a.sequences + j, after * a.sequences + j
                h_after = a.h + row_after * wide * size
                if extras is not None and extras.projection != 0:
                    h_after = extras.exposed + j * unit * size
                states = (a.c + row_before * unit * size, a.c + row_after * unit * size, h_after)
                sums = scratch + (j - r) * 4 * lanes * size
                _finish(form, slots, a, extras, (t, j, block * lanes), states, sums)
            r += m


@inlined
def _meet(a, meetings):
    """Wait for the threads that share the steps; give the number of meetings so far."""
    if a.threads > 1 and a.barrier != 0:
        wait_for(a.barrier, (meetings + 1) * a.threads)
    return meetings + 1


@compiled
def run_forward(form, slots, a, extras):
    """Run the steps of some sequences, for some blocks of units.

    ``a`` is a ``ForwardArguments`` of ``passes``, ``extras`` an ``ExtraArguments`` or None.
    """
    room = np.zeros((MOST_ROWS + 1) * 4 * lanes_of(form) + 8, np.float64)
    scratch = (room.ctypes.data + 63) // 64 * 64
    zeros = scratch + MOST_ROWS * 4 * lanes_of(form) * 8
    steps_a_turn = max(a.ahead, 1)
    meetings = 0  # of threads that share the steps
    for begin in range(0, a.time, steps_a_turn):
        end = min(a.time, begin + steps_a_turn)
        if a.ahead:
            _project_steps_ahead(form, a, begin, end)
        for step in range(begin, end):
            t = a.time - 1 - step if a.reverse else step
            _run_step(form, slots, a, extras, t, scratch)
            meetings = _meet(a, meetings)  # for all of h, or of what is projected
            if extras is not None and extras.projection != 0:
                project(form, a, extras, t, t if a.reverse else t + 1, zeros)
                meetings = _meet(a, meetings)
    room[0] = 0.0  # without a last use here, Numba would free it as soon as its address is taken
