"""Units side by side: a few of them fill a vector register, so that one loop over the steps serves them all.

Arrays over units are cut into groups of as many as a register holds: (step, unit) becomes (group, step, lane), each
group contiguous. What fills up the last group is 0 and read by nobody.
"""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from tallycell.kernels.cpu.compiling import compiled
from tallycell.kernels.cpu.threads import number_of_threads
from tallycell.kernels.cpu.vector import Format, host_format, lanes_of, vload, vstore

AT_ONCE = 500_000  # values of one gate that a thread reads together
FEW = 50_000  # values that NumPy cuts sooner than compiled code is called; of more it takes several times as long


def in_double() -> Format:
    """Give the vectors that everything is added up in."""
    return host_format("float64")


@cache
def stored_as(dtype: np.dtype[Any]) -> Format:
    """Give the format of as many values as a vector of doubles holds, as they are stored."""
    return Format(str(dtype), in_double().lanes, 1)


def into_lanes(values: Shaped[np.ndarray, "... unit"]) -> Shaped[np.ndarray, "group ... lane"]:
    """Cut the last axis, which is over units, into groups of lanes; the group stands first.

    Examples
    --------
    >>> three = np.array([[1.0, 2.0, 3.0]])
    >>> np.array_equal(out_of_lanes(into_lanes(three), 3), three)
    True
    """
    *others, units = values.shape
    lanes = in_double().lanes
    full, rest = divmod(units, lanes)
    rows = np.ascontiguousarray(values).reshape(-1, units)
    cut = np.zeros((full + bool(rest), len(rows), lanes), values.dtype)
    if rows.size < FEW:
        cut[:full] = rows[:, : full * lanes].reshape(len(rows), full, lanes).transpose(1, 0, 2)
    else:
        _cut(*_moved(rows, cut))
    if rest:
        cut[-1, :, :rest] = rows[:, -rest:]
    return cut.reshape(len(cut), *others, lanes)


def out_of_lanes(values: Shaped[np.ndarray, "group ... lane"], units: int) -> Shaped[np.ndarray, "... unit"]:
    """Undo :func:`into_lanes`."""
    groups, *others, lanes = values.shape
    full, rest = divmod(units, lanes)
    rows = np.ascontiguousarray(values).reshape(groups, -1, lanes)
    joined = np.empty((rows.shape[1], units), values.dtype)
    if rows.size < FEW:
        joined[:, : full * lanes] = rows[:full].transpose(1, 0, 2).reshape(len(joined), full * lanes)
    else:
        _join(*_moved(rows, joined))
    if rest:
        joined[:, -rest:] = rows[-1, :, :rest]
    return joined.reshape(*others, units)


def slices_of(groups: int, steps: int) -> list[slice]:
    """Divide groups between threads, and further where these would read too much together.

    Examples
    --------
    >>> some = slices_of(40, 10**6)
    >>> [one.stop - one.start for one in some] == [1] * 40 or in_double().lanes == 2
    True
    """
    size = min(-(-groups // number_of_threads()), max(1, AT_ONCE // (steps * in_double().lanes)))
    return [slice(first, min(first + size, groups)) for first in range(0, groups, size)]


def pick_lanes(
    values: Shaped[np.ndarray, "group step lane"], which: Int[np.ndarray, " unit"]
) -> Shaped[np.ndarray, "group step lane"]:
    """Take some of the units, side by side."""
    lanes = values.shape[-1]
    picked = np.zeros((-(-len(which) // lanes), *values.shape[1:]), values.dtype)
    _pick(values, which, picked)
    return picked


def _moved(*arrays: np.ndarray) -> tuple[Any, ...]:
    """Give the vectors that values are moved in, and the arrays as those take them: whole numbers by their bits."""
    dtype = np.dtype(f"float{8 * arrays[0].itemsize}")
    return stored_as(dtype), *(array.view(dtype) for array in arrays)


@compiled
def _cut(form, values, cut):  # type: ignore[no-untyped-def]
    lanes, (steps, units) = lanes_of(form), values.shape
    source, target = values.ctypes.data, cut.ctypes.data
    for group in range(units // lanes):
        for t in range(steps):
            vstore(form, vload(form, source, t * units + group * lanes), target, (group * steps + t) * lanes)


@compiled
def _join(form, values, joined):  # type: ignore[no-untyped-def]
    lanes, (steps, units) = lanes_of(form), joined.shape
    source, target = values.ctypes.data, joined.ctypes.data
    for group in range(units // lanes):
        for t in range(steps):
            vstore(form, vload(form, source, (group * steps + t) * lanes), target, t * units + group * lanes)


@compiled
def _pick(values, which, picked):  # type: ignore[no-untyped-def]
    lanes = values.shape[2]
    for k in range(len(which)):
        group, lane = which[k] // lanes, which[k] % lanes
        for t in range(values.shape[1]):
            picked[k // lanes, t, k % lanes] = values[group, t, lane]
