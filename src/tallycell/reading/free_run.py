"""The free run of a tally, compiled: its errors and its normal equations, for some units at once.

    tally' = keep level * tally + write level         ĉ = tally + intercept

Both are loops over every step of every sequence, which NumPy cannot do at once: the keep level changes from step to
step. A vector register holds the tallies of a few units (:mod:`tallycell.reading.lanes`). The compiled code lets other
threads run.

All functions take

form, stored
    Formats of vectors: of doubles, and of f and c in memory.
quantised
    What writes and keeps are rounded from: (group, step, lane), doubles and as stored.
levels
    What they are rounded to, as :func:`table_of` lays it out, and how many write levels and keep levels there are:
    numbers, or tuples so long, where code for just so many levels is worth its compilation.
"""

import numpy as np
from jaxtyping import Float

from tallycell.kernels.cpu.compiling import compiled, inlined, shared
from tallycell.kernels.cpu.doubles import load_double, nearest
from tallycell.kernels.cpu.vector import lanes_of, splat_like, vfma, vload, vstore, where_greater
from tallycell.reading.lanes import into_lanes

AT_ONCE = 48  # steps whose derivatives stay in the nearest cache


def table_of(
    writes: Float[np.ndarray, "unit write"],
    write_edges: Float[np.ndarray, "#unit edge"],
    keeps: Float[np.ndarray, "unit keep"],
    keep_edges: Float[np.ndarray, "#unit edge"],
    intercept: Float[np.ndarray, " unit"],
) -> Float[np.ndarray, "group row lane"]:
    """Lay out levels and the edges between them: first the levels of writes, and then as the parameters are named."""
    rows = (writes, write_edges, keeps, keep_edges, intercept[:, np.newaxis])
    table = np.empty((sum(one.shape[1] for one in rows), len(writes)))
    first = 0
    for one in rows:
        table[first : first + one.shape[1]] = one.T
        first += one.shape[1]
    return into_lanes(table)


@inlined
def _round(form, stored, x, y, levels, sizes, now):  # type: ignore[no-untyped-def]
    """Give the write level and the keep level of a step."""
    row = lanes_of(form) * 8
    writes, keeps = sizes
    kept = levels + (2 * writes - 1) * row
    stays = load_double(form, stored, y, now)
    write = nearest(form, vload(form, x, now), levels, levels + writes * row, writes)
    return write, nearest(form, stays, kept, kept + keeps * row, keeps)


@inlined
def _intercept(form, levels, sizes):  # type: ignore[no-untyped-def]
    return vload(form, levels, 2 * (sizes[0] + sizes[1] - 1) * lanes_of(form))


@compiled
def run_by_stretch(form, stored, quantised, levels, cells, cuts, groups):  # type: ignore[no-untyped-def]
    """Sum c - ĉ and its square over stretches of the steps; and give the tallies after the last step.

    Parameters
    ----------
    cells
        c (group, step, lane), and the tallies before each sequence (group, sequence, lane).
    cuts
        First step of each stretch, and the number of all steps; the sequence that each stretch begins, or -1.
    groups
        Which groups to run.

    Returns
    -------
    tuple
        (group, stretch, 2, lane) and (group, lane).
    """
    lanes = lanes_of(form)
    (written, kept), (table, (some_writes, some_keeps)) = quantised, levels
    sizes = len(some_writes), len(some_keeps)
    c, before = cells
    edges, begins = cuts
    sums = np.zeros((len(c), len(begins), 2, lanes))
    last = np.zeros((len(c), lanes))
    for group in groups:
        x, y, target = written[group].ctypes.data, kept[group].ctypes.data, c[group].ctypes.data
        at = table[group].ctypes.data
        intercept = _intercept(form, at, sizes)
        tally = splat_like(intercept, 0.0)
        for stretch in range(len(begins)):
            if begins[stretch] >= 0:
                tally = vload(form, before[group].ctypes.data, begins[stretch] * lanes)
            total, squares = splat_like(intercept, 0.0), splat_like(intercept, 0.0)
            for t in range(edges[stretch], edges[stretch + 1]):
                write, keep = _round(form, stored, x, y, at, sizes, t * lanes)
                tally = vfma(keep, tally, write)
                error = load_double(form, stored, target, t * lanes) - tally - intercept
                total, squares = total + error, vfma(error, error, squares)
            vstore(form, total, sums[group, stretch].ctypes.data, 0)
            vstore(form, squares, sums[group, stretch].ctypes.data, lanes)
        vstore(form, tally, last[group].ctypes.data, 0)
    return sums, last


@compiled
def run_tallies(form, stored, quantised, levels, sequences):  # type: ignore[no-untyped-def]
    """Give ĉ of every step, (group, step, lane); ``sequences`` are their first steps and the cells before them."""
    lanes = lanes_of(form)
    (written, kept), (table, sizes) = quantised, levels
    start, c_0 = sequences
    explained = np.empty(written.shape)
    for group in range(len(written)):
        x, y, out = written[group].ctypes.data, kept[group].ctypes.data, explained[group].ctypes.data
        at = table[group].ctypes.data
        intercept = _intercept(form, at, sizes)
        for s in range(len(start) - 1):
            tally = vload(form, c_0[group].ctypes.data, s * lanes)
            for t in range(start[s], start[s + 1]):
                write, keep = _round(form, stored, x, y, at, sizes, t * lanes)
                tally = vfma(keep, tally, write)
                vstore(form, tally + intercept, out, t * lanes)
    return explained


@compiled
def normal_equations(form, stored, quantised, levels, cells, groups):  # type: ignore[no-untyped-def]
    """Sum the products of the derivatives of ĉ by (writes, keeps, intercept) and of the error c - ĉ.

    The derivatives run along with the tally: by a write level it is a tally of the steps at that level; by a keep level
    it is a tally of the values that were multiplied with it. With J the derivatives, the sums are JᵀJ, Jᵀ(c - ĉ) and
    the squared error: the products of all pairs of rows, the error being the row behind the last derivative.

    Parameters
    ----------
    cells
        c (group, step, lane) as stored, the first step of each sequence, the cell before it (group, sequence, lane).
    groups
        Which groups to run.

    Returns
    -------
    array
        (group, row, row, lane); only what is on the diagonal and to its left is filled.
    """
    lanes = lanes_of(form)
    (written, kept), (table, sizes) = quantised, levels
    c, start, c_0 = cells
    writes, keeps = sizes
    size = writes + keeps + 1
    rows = (size // 4 + 1) * 4  # so that four columns are added up at once; what is beyond the error is 0
    products = np.zeros((len(c), rows, rows, lanes))
    room = np.zeros((AT_ONCE + 1, rows, lanes))
    for group in groups:
        x, y, target = written[group].ctypes.data, kept[group].ctypes.data, c[group].ctypes.data
        at = table[group].ctypes.data
        write_edges, keep_edges = at + writes * lanes * 8, at + (2 * writes - 1 + keeps) * lanes * 8
        intercept = _intercept(form, at, sizes)
        nothing, one = splat_like(intercept, 0.0), splat_like(intercept, 1.0)
        for s in range(len(start) - 1):
            tally = vload(form, c_0[group].ctypes.data, s * lanes)
            room[0] = 0.0
            for begin in range(start[s], start[s + 1], AT_ONCE):
                end = min(begin + AT_ONCE, start[s + 1])
                for t in range(begin, end):
                    before, after = room[t - begin].ctypes.data, room[t - begin + 1].ctypes.data
                    now, stays = vload(form, x, t * lanes), load_double(form, stored, y, t * lanes)
                    write, keep = _round(form, stored, x, y, at, sizes, t * lanes)
                    # At level j is what lies above the edge below it and not above the one that follows.
                    above = one
                    for j in range(writes - 1):
                        next_above = where_greater(now, vload(form, write_edges, j * lanes), one, nothing)
                        here = above - next_above
                        vstore(form, vfma(vload(form, before, j * lanes), keep, here), after, j * lanes)
                        above = next_above
                    place = (writes - 1) * lanes
                    vstore(form, vfma(vload(form, before, place), keep, above), after, place)
                    above = tally
                    for j in range(keeps - 1):
                        next_above = where_greater(stays, vload(form, keep_edges, j * lanes), tally, nothing)
                        here, place = above - next_above, (writes + j) * lanes
                        vstore(form, vfma(vload(form, before, place), keep, here), after, place)
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
