"""The backward pass on vectors: from the gradients of what a layer left behind to those of its pre-activations.

It runs the steps against the order of reading. At each, the gates that were stored give the gradients to the
pre-activations, and one matrix product with the recurrent weights gives the gradient to the h before. What remains (the
gradients to the weights and to x) are products over all steps at once, which are left to BLAS.
"""

import numpy as np

from tallycell.kernels.cpu.barrier import wait_for
from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.kernels.cpu.slots import slope, squash
from tallycell.kernels.cpu.tile import rows_of_tile, run_tile
from tallycell.kernels.cpu.vector import lanes_of, size_of, tile_gates_of, vfma, vload, vstore


@inlined
def _step_back(form, slots, a, row, cells, running, offset):
    """Gradients to the pre-activations of one block of units of one sequence at one step."""
    size, unit = size_of(form), a.unit
    at, of_gates = row * unit * size, row * 4 * unit * size
    gates, pre = a.gates + of_gates, a.pre + of_gates
    i, f = vload(form, gates, offset), vload(form, gates, unit + offset)
    g, o = vload(form, gates, 2 * unit + offset), vload(form, gates, 3 * unit + offset)
    i_pre, f_pre, g_pre, o_pre = i, f, g, o  # not looked at where the values suffice
    if a.pre != 0:
        i_pre, f_pre = vload(form, pre, offset), vload(form, pre, unit + offset)
        g_pre, o_pre = vload(form, pre, 2 * unit + offset), vload(form, pre, 3 * unit + offset)
    c_before, c_after = cells
    c = vload(form, c_after, offset)
    y = squash(slots[2], c)
    d_h_run, d_c_run = running
    d_h = vload(form, d_h_run, offset)
    d_c = vload(form, d_c_run, offset)
    if a.d_h != 0:
        d_h = d_h + vload(form, a.d_h + at, offset)
    if a.d_c != 0:
        d_c = d_c + vload(form, a.d_c + at, offset)
    d_c = vfma(d_h * o, slope(slots[2], c, y), d_c)
    d_i, d_f, d_g, d_o = d_c * g, d_c * vload(form, c_before, offset), d_c * i, d_h * y
    if a.d_gates != 0:
        given = a.d_gates + of_gates
        d_i, d_f = d_i + vload(form, given, offset), d_f + vload(form, given, unit + offset)
        d_g, d_o = d_g + vload(form, given, 2 * unit + offset), d_o + vload(form, given, 3 * unit + offset)
    out = a.d_pre + of_gates
    vstore(form, d_i * slope(slots[0], i_pre, i), out, offset)
    vstore(form, d_f * slope(slots[0], f_pre, f), out, unit + offset)
    vstore(form, d_g * slope(slots[1], g_pre, g), out, 2 * unit + offset)
    vstore(form, d_o * slope(slots[0], o_pre, o), out, 3 * unit + offset)
    vstore(form, d_c * f, d_c_run, offset)


@compiled
def run_backward(form, slots, a):
    """Run the steps of some sequences backwards; ``a`` is a ``BackwardArguments``."""
    size, lanes, gates = size_of(form), lanes_of(form), tile_gates_of(form)
    width = gates * lanes
    unit, wide, sequences = a.unit, a.wide, a.sequences
    rows = a.last_row - a.first_row
    room = np.zeros(width + 16, np.float64)
    zeros = (room.ctypes.data + 63) // 64 * 64
    for step in range(a.time):
        t = step if a.reverse else a.time - 1 - step
        before, after = (t + 1, t) if a.reverse else (t, t + 1)
        for r in range(rows):
            row = t * sequences + a.first_row + r
            cells = (
                a.c + (before * sequences + a.first_row + r) * unit * size,
                a.c + (after * sequences + a.first_row + r) * unit * size,
            )
            running = (a.d_h_run + (a.first_row + r) * wide * size, a.d_c_run + (a.first_row + r) * unit * size)
            for block in range(a.first_block * gates, min(a.last_block * gates, unit // lanes)):
                _step_back(form, slots, a, row, cells, running, block * lanes)
        if a.threads > 1 and a.barrier != 0:
            wait_for(a.barrier, (step + 1) * a.threads)  # for all of the gradients to the pre-activations
        d_pre = a.d_pre + (t * sequences + a.first_row) * 4 * unit * size
        for block in range(a.first_block, a.last_block):
            panel = a.weight_hh + block * width * 4 * unit * size
            r = 0
            while r < rows:
                m = rows_of_tile(rows - r)
                left = (d_pre + r * 4 * unit * size, 4 * unit, 4 * unit, panel)
                out = (a.d_h_run + ((a.first_row + r) * wide + block * width) * size, wide, lanes, 0)
                run_tile(m, form, left, (0, 0, 0, 0), (zeros, 0, lanes, 0), out)
                r += m
    room[0] = 0.0  # without a last use here, Numba would free it as soon as its address is taken
