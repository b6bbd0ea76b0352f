"""The loops of the proof, compiled: what edges do to d, and bounds of d over many steps, all rounded outward.

The arithmetic is that of :mod:`tallycell.machine.proving.intervals`, one number at a time. All that is compiled stands
in this file, so that Numba, which watches the file, compiles anew when any of it changes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tallycell.kernels.cpu.compiling import compiled, inlined

SMALLEST_EXACT = 1e-280
SPLITTER = 134217729.0  # 2**27 + 1
MARGIN = 1 + 1e-9  # for the rounding of bounds of rounding

PLAIN, SNAPPED, PULLED = 0, 1, 2
NEAR, CAPPED, NOT_LESS, NOT_MORE = 1, 2, 4, 8


class EdgeInputs(NamedTuple):
    """What moves of d are computed from.

    Counters have the one that is always 1 as their last; ``before`` are bounds of what they hold before the step.
    """

    source: Int[np.ndarray, " edge"]
    target: Int[np.ndarray, " edge"]
    weights: Float[np.ndarray, "node cell counter"]
    spacing: Float[np.ndarray, " cell"]
    keep: Bool[np.ndarray, "edge counter"]
    step: Float[np.ndarray, "edge counter"]
    before_low: Float[np.ndarray, "edge counter"]
    before_high: Float[np.ndarray, "edge counter"]
    d_low: Float[np.ndarray, "node cell"]
    d_high: Float[np.ndarray, "node cell"]
    f_low: Float[np.ndarray, "edge cell"]
    f_high: Float[np.ndarray, "edge cell"]
    written_low: Float[np.ndarray, "edge cell"]
    written_high: Float[np.ndarray, "edge cell"]


class FormatNumbers(NamedTuple):
    """A number format: relative error of one rounding, its digits, the distance between the numbers next to zero."""

    unit: float
    bits: int
    smallest: float


class EdgeMoves(NamedTuple):
    """What edges do to d: d' in f d + moved, or the number of the grid where it is snapped, or both where pulled.

    ``choice`` says which of several bounds of rounding was taken, ``c`` is the cell after the step.
    """

    moved_low: Float[np.ndarray, "edge cell"]
    moved_high: Float[np.ndarray, "edge cell"]
    kind: Int[np.ndarray, "edge cell"]
    grid: Float[np.ndarray, "edge cell"]
    choice: Int[np.ndarray, "edge cell"]
    c_low: Float[np.ndarray, "edge cell"]
    c_high: Float[np.ndarray, "edge cell"]


@inlined
def _sum_up(a, b):  # type: ignore[no-untyped-def]
    """Sum, rounded up where it is not exact (Knuth)."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return np.nextafter(total, np.inf) if error > 0 else total


@inlined
def _product_up(a, b):  # type: ignore[no-untyped-def]
    """Product, rounded up where it is not exact (Dekker, Veltkamp)."""
    product = a * b
    if a == 0.0 or b == 0.0 or abs(a) == 1.0 or abs(b) == 1.0:
        return product
    large_a, large_b = SPLITTER * a, SPLITTER * b
    a_high, b_high = large_a - (large_a - a), large_b - (large_b - b)
    a_low, b_low = a - a_high, b - b_high
    error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return np.nextafter(product, np.inf) if error > 0 or abs(product) < SMALLEST_EXACT else product


@inlined
def _add(a, b):  # type: ignore[no-untyped-def]
    """Sum of two intervals."""
    return -_sum_up(-a[0], -b[0]), _sum_up(a[1], b[1])


@inlined
def _scale(a, by):  # type: ignore[no-untyped-def]
    """Product of an interval and a number."""
    low, high = (a[0], a[1]) if by >= 0 else (a[1], a[0])
    return -_product_up(-low, by), _product_up(high, by)


@inlined
def _multiply(a, b):  # type: ignore[no-untyped-def]
    """Product of two intervals."""
    one, other = _scale(a, b[0]), _scale(a, b[1])
    return min(one[0], other[0]), max(one[1], other[1])


@inlined
def _size(a):  # type: ignore[no-untyped-def]
    return max(abs(a[0]), abs(a[1]))


@inlined
def _widen(a, by):  # type: ignore[no-untyped-def]
    return -_sum_up(-a[0], by), _sum_up(a[1], by)


@inlined
def _counted(inputs, e, j):  # type: ignore[no-untyped-def]
    """Give what counters leave in (f W - W' kept) n - W' step; W n; and W' n' after the step."""
    rest, here, beside = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    source, target = inputs.source[e], inputs.target[e]
    f = (inputs.f_low[e, j], inputs.f_high[e, j])
    for k in range(inputs.weights.shape[2]):
        w, w_after = inputs.weights[source, j, k], inputs.weights[target, j, k]
        if w == 0.0 and w_after == 0.0:
            continue
        keep, step = inputs.keep[e, k], inputs.step[e, k]
        n = (inputs.before_low[e, k], inputs.before_high[e, k])
        if keep and w == w_after:
            factor = _scale(_add(f, (-1.0, -1.0)), w)
        else:
            factor = _scale(f, w)
            if keep:
                factor = _add(factor, (-w_after, -w_after))
        rest = _add(_add(rest, _multiply(factor, n)), _scale((-step, -step), w_after))
        here = _add(here, _scale(n, w))
        after = _add(n, (step, step)) if keep else (step, step)
        beside = _add(beside, _scale(after, w_after))
    return rest, here, beside


@inlined
def _rounding(form, f, written, here, d_after, beside, spacing):  # type: ignore[no-untyped-def]
    """Bounds of the rounding of both products, and of their sum; how far d is from its grid, and where the grid is."""
    whole_f = f[0] == f[1] and (f[0] == 0.0 or f[0] == 1.0)
    whole_written = written[0] == written[1] and written[0] == np.rint(written[0])
    products = (0.0 if whole_f else f[1] * _size(here)) + (0.0 if whole_written else _size(written))
    inner = products * form.unit * MARGIN + (0.0 if whole_f and whole_written else 2 * form.smallest)
    last = (_size(_add(beside, d_after)) + inner) * form.unit * MARGIN
    grid = np.rint((d_after[0] + d_after[1]) / 2 / spacing) * spacing
    off = _size(_add(d_after, (-grid, -grid))) + inner
    return inner, last, off * MARGIN, grid


@inlined
def _choose(form, beside, off, grid, spacing):  # type: ignore[no-untyped-def]
    """Whether a sum is so near to the grid that it is rounded to it, where the format has it."""
    place = _add(beside, (grid, grid))
    if not (off < spacing * form.unit / 2 and _size(place) <= spacing * 2.0**form.bits):
        return False, PLAIN
    if place[0] > 0 or place[1] < 0:
        return True, SNAPPED
    # What is rounded near 0 stays as near to it; everywhere else it is rounded to the grid.
    return True, PLAIN if place[0] == place[1] else PULLED


@inlined
def _change(f, written, inner, last, choice, choosing):  # type: ignore[no-untyped-def]
    """Give what is added to the cell, rounding included: bounds, and which of them were chosen.

    Where the cell is kept exactly, it is itself a number of the format. So the sum is rounded to no number farther from
    it than what is added, and adding what is not negative does not lessen it.
    """
    kept = f[0] == 1.0 and f[1] == 1.0
    cap = _size(written) * MARGIN + inner
    if choosing and kept and last > cap:
        choice |= CAPPED
    change = _widen(written, (inner + (cap if choice & CAPPED else last)) * MARGIN)
    if choosing and kept and written[0] >= 0 and change[0] < 0:
        choice |= NOT_LESS
    if choosing and kept and written[1] <= 0 and change[1] > 0:
        choice |= NOT_MORE
    return (0.0 if choice & NOT_LESS else change[0], 0.0 if choice & NOT_MORE else change[1]), choice


@compiled
def move_edges(inputs, form, moves, choosing):  # type: ignore[no-untyped-def]
    """Write what edges do to d into ``moves``.

    With ``choosing``, of several bounds of rounding the better are taken, and written into kind, grid and choice. Else
    those are read: so bounds for smaller counters are of the same form, and between the two they are convex.
    """
    for e in range(len(inputs.source)):
        source = inputs.source[e]
        for j in range(inputs.f_low.shape[1]):
            f = (inputs.f_low[e, j], inputs.f_high[e, j])
            written = (inputs.written_low[e, j], inputs.written_high[e, j])
            d = (inputs.d_low[source, j], inputs.d_high[source, j])
            rest, held, beside = _counted(inputs, e, j)
            carried = _multiply(f, d)
            d_after = _add(carried, _add(rest, written))
            inner, last, off, grid = _rounding(form, f, written, _add(held, d), d_after, beside, inputs.spacing[j])
            if choosing:
                near, kind = _choose(form, beside, off, grid, inputs.spacing[j])
                moves.kind[e, j], moves.grid[e, j] = kind, grid if near else 0.0
                moves.choice[e, j] = NEAR if near else 0
            if moves.choice[e, j] & NEAR:
                last = off * form.unit * MARGIN
            change, moves.choice[e, j] = _change(f, written, inner, last, moves.choice[e, j], choosing)
            moved = _add(rest, change)
            moves.moved_low[e, j], moves.moved_high[e, j] = moved
            d_after, grid = _add(carried, moved), moves.grid[e, j]
            if moves.kind[e, j] == SNAPPED:
                d_after = (grid, grid)
            elif moves.kind[e, j] == PULLED:
                d_after = (min(d_after[0], grid), max(d_after[1], grid))
            moves.c_low[e, j], moves.c_high[e, j] = _add(beside, d_after)


@inlined
def _upper(f_low, f_high, bound, moved):  # type: ignore[no-untyped-def]
    """Upper bound of f d + moved for d up to ``bound``."""
    return _sum_up(_product_up(f_high if bound >= 0 else f_low, bound), moved)


@compiled
def run_bounds(edges, moves, low, high, steps):  # type: ignore[no-untyped-def]
    """Widen low and high, (node, cell), in place, to what so many steps lead to from them, themselves included.

    ``edges`` are source, target, and both bounds of f.
    """
    sources, targets, all_f_low, all_f_high = edges
    cells = low.shape[1]
    low_before, high_before = np.empty_like(low), np.empty_like(high)
    for _ in range(steps):
        low_before[...] = low
        high_before[...] = high
        changed = False
        for e in range(len(sources)):
            source, target = sources[e], targets[e]
            for j in range(cells):
                grid, kind = moves.grid[e, j], moves.kind[e, j]
                down, up = grid, grid
                if kind != SNAPPED:
                    f_low, f_high = all_f_low[e, j], all_f_high[e, j]
                    up = _upper(f_low, f_high, high_before[source, j], moves.moved_high[e, j])
                    down = -_upper(f_low, f_high, -low_before[source, j], -moves.moved_low[e, j])
                    if kind == PULLED:
                        down, up = min(down, grid), max(up, grid)
                # What is not a number is no bound, and stays: "not within" says so, "beyond" would pass it over.
                if not up <= high[target, j]:
                    high[target, j] = up
                    changed = True
                if not down >= low[target, j]:
                    low[target, j] = down
                    changed = True
        if not changed:
            break
