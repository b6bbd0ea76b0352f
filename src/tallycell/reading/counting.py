"""What is added up over the steps, compiled: one loop over steps, for some units at once.

Everything here is a sum over steps, so that sums of parts add up to the sum of the whole. What is carried from step to
step is the tally of a rung, the cell before, and what a linear leak holds.
"""

import numpy as np

from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.kernels.cpu.doubles import load_double
from tallycell.kernels.cpu.vector import lanes_of, splat_like, vload, vstore

RUNGS = 7  # as many as the ladder has; code is compiled anew where this module changes, and not where another does
# Added up for each stimulus, and for all steps. Of a rung there is a step up where more than half of its size is
# written, and a step down likewise.
BY_STIMULUS = (
    *(f"up {k}" for k in range(RUNGS)), *(f"down {k}" for k in range(RUNGS)), "reset", "shown", "is set", "set",
    "clear", "write", "f", "o", "moved", "moved when set",
)  # fmt: skip
# Added up for all steps only.
OVERALL = (
    *(f"up {k} reset" for k in range(RUNGS)), *(f"down {k} reset" for k in range(RUNGS)), "c", "c squared",
    "|write|", "write squared", "|lost|", "lost squared", "carried", "carried squared", "held", "forgotten",
    "held unreset", "forgotten unreset", "same", "beside steps squared", "beside two values squared", "to high",
    "to low", "to high at once", "to low at once", "large", "beyond", "beside leak", "beside leak squared",
    "sign", "nothing",
)  # fmt: skip
COUNTED = frozenset(
    name for name in BY_STIMULUS + OVERALL
    if name.startswith(("up ", "down ", "to "))
    or name in {"reset", "shown", "is set", "set", "clear", "same", "large", "beyond", "sign", "nothing"}
)  # fmt: skip
# What each unit is measured against, of the first pass.
MARKS = (
    "mean", "rest", "low", "high", "rests high", "usual", "step up", "step down", "leak keeps",
    *(f"half up {k}" for k in range(RUNGS)), *(f"half down {k}" for k in range(RUNGS)),
)  # fmt: skip
FIRST_HALF_UP = MARKS.index("half up 0")
NEAR = 0.1  # of 0: what is shown is nothing
LEAST_KEPT = 1e-12  # share of a cell: what f leaves is never said to be less


@inlined
def _put(form, row, at, value):  # type: ignore[no-untyped-def]
    """Write down what a step adds; the next place."""
    vstore(form, value, row, at)
    return at + lanes_of(form)


@compiled
def add_steps(form, stored, steps_read, marks, limits, stimuli, tables):  # type: ignore[no-untyped-def]  # noqa: PLR0915
    """Add what each step does to the tables.

    Parameters
    ----------
    form, stored
        Formats of vectors: of doubles, and of gates and cells in memory.
    steps_read
        i, f, g, o, c (group, step, lane), and hidden(c) in doubles. The first step of each sequence; the cells before
        it, and what a linear leak holds there (group, sequence, lane), which becomes what it holds at the end.
    marks
        ``MARKS`` (group, mark, lane).
    limits
        Middle of the gates, limits of o (left, right) and of hidden(c), and how near counts, of both; NaN for none.
    stimuli
        Where the stimuli of each step begin, and they themselves, one behind the other.
    tables
        ``BY_STIMULUS`` (group, stimulus, sum, lane), ``OVERALL`` (group, sum, lane), lowest and highest c (group, 2,
        lane); all of them are added to. And room for what one step adds, (sum, lane): an array made here would be
        freed while its address is still in use.
    """
    lanes = lanes_of(form)
    (i_all, f_all, g_all, o_all, c_all, y_all), (start, c_before, leaks) = steps_read
    middle, o_left, o_right, o_near, y_left, y_right, y_near = limits
    offsets, rows = stimuli
    by_stimulus, overall, extremes, room = tables
    steps = room.ctypes.data
    width = len(BY_STIMULUS)
    for group in range(len(c_all)):
        i_at, f_at, g_at = i_all[group].ctypes.data, f_all[group].ctypes.data, g_all[group].ctypes.data
        o_at, c_at, y_at = o_all[group].ctypes.data, c_all[group].ctypes.data, y_all[group].ctypes.data
        mark, totals, ends = marks[group].ctypes.data, overall[group].ctypes.data, extremes[group].ctypes.data
        table = by_stimulus[group].ctypes.data
        mean, rest = vload(form, mark, 0), vload(form, mark, lanes)
        low, high, rests_high = vload(form, mark, 2 * lanes), vload(form, mark, 3 * lanes), vload(form, mark, 4 * lanes)
        usual, up, down = vload(form, mark, 5 * lanes), vload(form, mark, 6 * lanes), vload(form, mark, 7 * lanes)
        leak_keeps = vload(form, mark, 8 * lanes)
        one, zero = splat_like(mean, 1.0), splat_like(mean, 0.0)
        lowest, highest = vload(form, ends, 0), vload(form, ends, lanes)
        edge, half_way = (low + high) * 0.5, (high - low) * 0.5
        for s in range(len(start) - 1):
            held_before = vload(form, c_before[group].ctypes.data, s * lanes)
            leak = vload(form, leaks[group].ctypes.data, s * lanes)
            for t in range(start[s], start[s + 1]):
                now = t * lanes
                f, o = load_double(form, stored, f_at, now), load_double(form, stored, o_at, now)
                c, y = load_double(form, stored, c_at, now), vload(form, y_at, now)
                write = load_double(form, stored, i_at, now) * load_double(form, stored, g_at, now)
                moved = c - held_before
                is_reset, shows = f < middle, o > middle
                reset = np.where(is_reset, one, zero)
                was_high, is_high = held_before > edge, c > edge
                high_before, high_after = np.where(was_high, one, zero), np.where(is_high, one, zero)
                is_set = np.where(rests_high > 0.5, one - high_before, high_before)
                changed = np.abs(high_after - high_before)
                at, place = 0, FIRST_HALF_UP * lanes
                for _ in range(RUNGS):
                    at = _put(form, steps, at, np.where(write > vload(form, mark, place), one, zero))
                    place += lanes
                for _ in range(RUNGS):
                    at = _put(form, steps, at, np.where(write < vload(form, mark, place), one, zero))
                    place += lanes
                at = _put(form, steps, at, reset)
                at = _put(form, steps, at, np.where(shows, one, zero))
                at = _put(form, steps, at, is_set)
                at = _put(form, steps, at, changed * (one - is_set))
                at = _put(form, steps, at, changed * is_set)
                at = _put(form, steps, at, write)
                at = _put(form, steps, at, f)
                at = _put(form, steps, at, o)
                at = _put(form, steps, at, moved)
                at = _put(form, steps, at, moved * is_set)
                for k in range(2 * RUNGS):
                    at = _put(form, steps, at, vload(form, steps, k * lanes) * reset)
                at = _put(form, steps, at, c - mean)
                at = _put(form, steps, at, (c - mean) * (c - mean))
                at = _put(form, steps, at, np.abs(write))
                at = _put(form, steps, at, write * write)
                lost = (one - f) * held_before
                at = _put(form, steps, at, np.abs(lost))
                at = _put(form, steps, at, lost * lost)
                carried = f * held_before - mean
                at = _put(form, steps, at, carried)
                at = _put(form, steps, at, carried * carried)
                held = np.abs(held_before - rest)
                kept = np.minimum(np.maximum(np.abs(f), LEAST_KEPT), 1.0)
                forgotten = zero - np.log(kept)
                at = _put(form, steps, at, held)
                at = _put(form, steps, at, held * np.minimum(forgotten, 1.0))
                at = _put(form, steps, at, held * (one - reset))
                at = _put(form, steps, at, held * forgotten * (one - reset))
                at = _put(form, steps, at, np.where(np.abs(write - usual) <= np.abs(usual) * 0.25, one - reset, zero))
                beside = write - np.where(write > up * 0.5, up, np.where(write < down * 0.5, down, zero))
                at = _put(form, steps, at, beside * beside)
                beside = c - np.where(is_high, high, low)
                at = _put(form, steps, at, beside * beside)
                to_high, to_low = changed * high_after, changed * high_before
                rises = np.where(moved > half_way, one, zero)
                falls = np.where(moved < zero - half_way, one, zero)
                at = _put(form, steps, at, to_high)
                at = _put(form, steps, at, to_low)
                at = _put(form, steps, at, to_high * rises)
                at = _put(form, steps, at, to_low * falls)
                at = _put(form, steps, at, rises + falls)
                at = _put(form, steps, at, rises * high_before + falls * (one - high_before))
                leak = leak_keeps * leak + write
                at = _put(form, steps, at, c - leak)
                at = _put(form, steps, at, (c - leak) * (c - leak))
                opened, shut = np.abs(o - o_right) < o_near, np.abs(o - o_left) < o_near
                at_limit = (np.abs(y - y_right) < y_near) | (np.abs(y - y_left) < y_near)
                sign = np.where(opened & at_limit, one, zero)
                at = _put(form, steps, at, sign)
                at = _put(form, steps, at, np.where(shut | (np.abs(o * y) < NEAR), one - sign, zero))
                lowest, highest = np.minimum(lowest, c), np.maximum(highest, c)
                held_before = c
                for r in range(offsets[t], offsets[t + 1]):
                    place = rows[r] * width * lanes
                    for k in range(width):
                        here = place + k * lanes
                        vstore(form, vload(form, table, here) + vload(form, steps, k * lanes), table, here)
                for k in range(len(OVERALL)):
                    here = k * lanes
                    vstore(form, vload(form, totals, here) + vload(form, steps, width * lanes + here), totals, here)
            vstore(form, leak, leaks[group].ctypes.data, s * lanes)
        vstore(form, lowest, ends, 0)
        vstore(form, highest, ends, lanes)


@compiled
def add_holds(form, stored, read, sequences, middle, sums):  # type: ignore[no-untyped-def]
    """Find where cells rest, and add up what they hold there and lose at the steps that do not reset.

    Parameters
    ----------
    read
        f and c (group, step, lane).
    sequences
        The first step of each, and the cells before it (group, sequence, lane).
    middle
        A step with an f below it resets.
    sums
        Σc, where the cell rests, Σ held, Σ lost: (group, 4, lane), all 0.
    """
    lanes = lanes_of(form)
    (f_all, c_all), (start, c_before) = read, sequences
    for group in range(len(c_all)):
        f_at, c_at, out = f_all[group].ctypes.data, c_all[group].ctypes.data, sums[group].ctypes.data
        zero = vload(form, out, 0)
        one = zero + 1.0
        total, forgets, towards = zero, zero, zero
        for t in range(start[0], start[-1]):
            f, c = load_double(form, stored, f_at, t * lanes), load_double(form, stored, c_at, t * lanes)
            forgotten = one - np.minimum(np.maximum(np.abs(f), LEAST_KEPT), 1.0)
            total, forgets, towards = total + c, forgets + forgotten, towards + forgotten * c
        rest = np.where(forgets > 0.0, towards / forgets, zero)
        held, lost = zero, zero
        for s in range(len(start) - 1):
            before = vload(form, c_before[group].ctypes.data, s * lanes)
            for t in range(start[s], start[s + 1]):
                f = load_double(form, stored, f_at, t * lanes)
                kept = np.minimum(np.maximum(np.abs(f), LEAST_KEPT), 1.0)
                holds = np.where(f < middle, zero, np.abs(before - rest))
                held, lost = held + holds, lost - holds * np.log(kept)
                before = load_double(form, stored, c_at, t * lanes)
        vstore(form, total, out, 0)
        vstore(form, rest, out, lanes)
        vstore(form, held, out, 2 * lanes)
        vstore(form, lost, out, 3 * lanes)


@compiled
def add_values(values, edges, near, counts, sides):  # type: ignore[no-untyped-def]
    """Add to histograms of values (step, unit), and to counts of those near the left and the right limit.

    A value that rounding puts beyond an edge counts at it.

    Parameters
    ----------
    values
        (group, step, lane).
    edges
        Of the bins, equally wide.
    near
        Left limit, right limit, and how near counts; NaN for no limit.
    counts, sides
        (group, bin, lane) and (group, 2, lane), added to.
    """
    bins = len(edges) - 1
    left, right, tolerance = near
    low, high = edges[0], edges[bins]
    scale = bins / (high - low) if high > low else 0.0
    within = edges.copy()  # by which a place that is rounded is put right, but not beyond the first and the last bin
    within[0], within[bins] = np.nan, np.nan
    for group in range(len(values)):
        rows, bin_counts, side_counts = values[group], counts[group], sides[group]
        for t in range(len(rows)):
            for lane in range(rows.shape[1]):
                value = np.float64(rows[t, lane])
                side_counts[0, lane] += abs(value - left) < tolerance
                side_counts[1, lane] += abs(value - right) < tolerance
                place = (min(max(value, low), high) - low) * scale
                if not place >= 0.0:  # NaN is in no bin
                    continue
                k = min(int(place), bins - 1)
                bin_counts[k + (value >= within[k + 1]) - (value < within[k]), lane] += 1
