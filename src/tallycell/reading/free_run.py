"""The free run of a tally, compiled: its squared error and its normal equations, for some units at once.

    tally' = keep level * tally + write level         ĉ = tally + intercept

Both are loops over every step of every sequence, which NumPy cannot do at once: the keep level changes from step to
step. A vector register holds the tallies of a few units (:mod:`tallycell.reading.lanes`). The compiled code lets other
threads run.
"""

import numpy as np

from tallycell.kernels.cpu.compiling import compiled, shared
from tallycell.kernels.cpu.vector import lanes_of, splat_like, vfma, vload, vstore, where_greater
from tallycell.reading.lanes import load_double, nearest

AT_ONCE = 48  # steps whose derivatives stay in the nearest cache


@compiled
def squared_errors(form, stored, quantised, cells, levels, groups):  # type: ignore[no-untyped-def]
    """Sum over the steps of (c - ĉ)²: (group, lane).

    Parameters
    ----------
    form, stored
        Formats of vectors: of doubles, and of f and c in memory.
    quantised
        What writes and keeps are rounded from: (group, step, lane), doubles and as stored.
    cells
        c (group, step, lane) as stored, the first step of each sequence, the cell before it (group, sequence, lane).
    levels
        Write levels and the edges between them, keep levels and the edges between them, all (group, level, lane), and
        the intercept (group, lane).
    groups
        Which groups to run.
    """
    lanes = lanes_of(form)
    written, kept = quantised
    c, start, c_0 = cells
    writes, write_edges, keeps, keep_edges, intercepts = levels
    number_of_writes, number_of_keeps = writes.shape[1], keeps.shape[1]
    errors = np.zeros((len(c), lanes))
    for group in groups:
        x, y, target = written[group].ctypes.data, kept[group].ctypes.data, c[group].ctypes.data
        w, we = writes[group].ctypes.data, write_edges[group].ctypes.data
        k, ke = keeps[group].ctypes.data, keep_edges[group].ctypes.data
        intercept = vload(form, intercepts[group].ctypes.data, 0)
        total = splat_like(intercept, 0.0)
        for s in range(len(start) - 1):
            tally = vload(form, c_0[group].ctypes.data, s * lanes)
            for t in range(start[s], start[s + 1]):
                write = nearest(form, vload(form, x, t * lanes), w, we, number_of_writes)
                keep = nearest(form, load_double(form, stored, y, t * lanes), k, ke, number_of_keeps)
                tally = vfma(keep, tally, write)
                error = load_double(form, stored, target, t * lanes) - intercept - tally
                total = vfma(error, error, total)
        vstore(form, total, errors[group].ctypes.data, 0)
    return errors


@compiled
def run_tallies(form, stored, quantised, sequences, levels):  # type: ignore[no-untyped-def]
    """Give ĉ of every step, (group, step, lane); ``sequences`` are their first steps and the cells before them."""
    lanes = lanes_of(form)
    written, kept = quantised
    start, c_0 = sequences
    writes, write_edges, keeps, keep_edges, intercepts = levels
    number_of_writes, number_of_keeps = writes.shape[1], keeps.shape[1]
    explained = np.empty(written.shape)
    for group in range(len(written)):
        x, y, out = written[group].ctypes.data, kept[group].ctypes.data, explained[group].ctypes.data
        w, we = writes[group].ctypes.data, write_edges[group].ctypes.data
        k, ke = keeps[group].ctypes.data, keep_edges[group].ctypes.data
        intercept = vload(form, intercepts[group].ctypes.data, 0)
        for s in range(len(start) - 1):
            tally = vload(form, c_0[group].ctypes.data, s * lanes)
            for t in range(start[s], start[s + 1]):
                write = nearest(form, vload(form, x, t * lanes), w, we, number_of_writes)
                keep = nearest(form, load_double(form, stored, y, t * lanes), k, ke, number_of_keeps)
                tally = vfma(keep, tally, write)
                vstore(form, tally + intercept, out, t * lanes)
    return explained


@compiled
def normal_equations(form, stored, quantised, cells, levels, groups):  # type: ignore[no-untyped-def]
    """Sum the products of the derivatives of ĉ by (writes, keeps, intercept) and of the error c - ĉ.

    The derivatives run along with the tally: by a write level it is a tally of the steps at that level; by a keep level
    it is a tally of the values that were multiplied with it. With J the derivatives, the sums are JᵀJ, Jᵀ(c - ĉ) and
    the squared error: the products of all pairs of rows, the error being the row behind the last derivative. The
    parameters are those of squared_errors.

    Returns
    -------
    array
        (group, row, row, lane); only what is on the diagonal and to its left is filled.
    """
    lanes = lanes_of(form)
    written, kept = quantised
    c, start, c_0 = cells
    writes, write_edges, keeps, keep_edges, intercepts = levels
    number_of_writes, number_of_keeps = writes.shape[1], keeps.shape[1]
    size = number_of_writes + number_of_keeps + 1
    rows = (size // 4 + 1) * 4  # so that four columns are added up at once; what is beyond the error is 0
    products = np.zeros((len(c), rows, rows, lanes))
    room = np.zeros((AT_ONCE + 1, rows, lanes))
    for group in groups:
        x, y, target = written[group].ctypes.data, kept[group].ctypes.data, c[group].ctypes.data
        w, we = writes[group].ctypes.data, write_edges[group].ctypes.data
        k, ke = keeps[group].ctypes.data, keep_edges[group].ctypes.data
        intercept = vload(form, intercepts[group].ctypes.data, 0)
        nothing, one = splat_like(intercept, 0.0), splat_like(intercept, 1.0)
        for s in range(len(start) - 1):
            tally = vload(form, c_0[group].ctypes.data, s * lanes)
            room[0] = 0.0
            for begin in range(start[s], start[s + 1], AT_ONCE):
                end = min(begin + AT_ONCE, start[s + 1])
                for t in range(begin, end):
                    before, after = room[t - begin].ctypes.data, room[t - begin + 1].ctypes.data
                    now, stays = vload(form, x, t * lanes), load_double(form, stored, y, t * lanes)
                    write = nearest(form, now, w, we, number_of_writes)
                    keep = nearest(form, stays, k, ke, number_of_keeps)
                    # At level j is what lies above the edge below it and not above the one that follows.
                    above = one
                    for j in range(number_of_writes - 1):
                        next_above = where_greater(now, vload(form, we, j * lanes), one, nothing)
                        at = above - next_above
                        vstore(form, vfma(vload(form, before, j * lanes), keep, at), after, j * lanes)
                        above = next_above
                    place = (number_of_writes - 1) * lanes
                    vstore(form, vfma(vload(form, before, place), keep, above), after, place)
                    above = tally
                    for j in range(number_of_keeps - 1):
                        next_above = where_greater(stays, vload(form, ke, j * lanes), tally, nothing)
                        at, place = above - next_above, (number_of_writes + j) * lanes
                        vstore(form, vfma(vload(form, before, place), keep, at), after, place)
                        above = next_above
                    place = (size - 2) * lanes
                    vstore(form, vfma(vload(form, before, place), keep, above), after, place)
                    tally = vfma(keep, tally, write)
                    error = load_double(form, stored, target, t * lanes) - intercept - tally
                    vstore(form, one, after, (size - 1) * lanes)
                    vstore(form, error, after, size * lanes)
                _add_products(form, room[1].ctypes.data, end - begin, size + 1, rows, products[group].ctypes.data)
                room[0] = room[end - begin]
    return products


@shared
def _add_products(form, room, steps, size, rows, products):  # type: ignore[no-untyped-def]
    """Add the products of all pairs of some rows over some steps, in tiles of two by four that stay in registers."""
    lanes = lanes_of(form)
    wide = rows * lanes
    for j in range(0, size, 2):
        for k in range(0, j + 2, 4):
            a = products + (j * rows + k) * lanes * 8
            b = a + rows * lanes * 8
            a0, a1, a2, a3 = (vload(form, a, 0), vload(form, a, lanes), vload(form, a, 2 * lanes),
                              vload(form, a, 3 * lanes))  # fmt: skip
            b0, b1, b2, b3 = (vload(form, b, 0), vload(form, b, lanes), vload(form, b, 2 * lanes),
                              vload(form, b, 3 * lanes))  # fmt: skip
            left, right = room + j * lanes * 8, room + k * lanes * 8
            for t in range(steps):
                at = t * wide
                u, v = vload(form, left, at), vload(form, left, at + lanes)
                r0, r1 = vload(form, right, at), vload(form, right, at + lanes)
                r2, r3 = vload(form, right, at + 2 * lanes), vload(form, right, at + 3 * lanes)
                a0, a1, a2, a3 = vfma(u, r0, a0), vfma(u, r1, a1), vfma(u, r2, a2), vfma(u, r3, a3)
                b0, b1, b2, b3 = vfma(v, r0, b0), vfma(v, r1, b1), vfma(v, r2, b2), vfma(v, r3, b3)
            vstore(form, a0, a, 0)
            vstore(form, a1, a, lanes)
            vstore(form, a2, a, 2 * lanes)
            vstore(form, a3, a, 3 * lanes)
            vstore(form, b0, b, 0)
            vstore(form, b1, b, lanes)
            vstore(form, b2, b, 2 * lanes)
            vstore(form, b3, b, 3 * lanes)
