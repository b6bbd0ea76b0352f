"""Units side by side: a few of them fill a vector register, so that one loop over the steps serves them all.

Arrays over units are cut into groups of as many as a register holds: (step, unit) becomes (group, step, lane), each
group contiguous. What fills up the last group is 0 and read by nobody.
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.vector import (
    ELEMENTS,
    Format,
    FormatType,
    VectorType,
    host_format,
    lanes_of,
    load_vector,
    pointer,
    vload,
    where_greater,
)


def in_double() -> Format:
    """Give the vectors that everything is added up in."""
    return host_format("float64")


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
    lanes, units = in_double().lanes, values.shape[-1]
    groups = -(-units // lanes)
    if units % lanes:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], groups * lanes - units), values.dtype)], axis=-1)
    return np.ascontiguousarray(np.moveaxis(values.reshape(*values.shape[:-1], groups, lanes), -2, 0))


def out_of_lanes(values: Shaped[np.ndarray, "group ... lane"], units: int) -> Shaped[np.ndarray, "... unit"]:
    """Undo :func:`into_lanes`."""
    moved = np.moveaxis(values, 0, -2)
    return moved.reshape(*moved.shape[:-2], -1)[..., :units]


@intrinsic
def load_double(typing: Any, form: Any, stored: Any, address: Any, offset: Any) -> Any:
    """Load a vector that is stored as it may be, in double precision."""
    vector = VectorType(form.dtype, form.lanes)
    source = VectorType(stored.dtype, stored.lanes)
    assert isinstance(stored, FormatType)

    def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
        loaded = load_vector(builder, pointer(builder, a[2], ELEMENTS[source.dtype][0], a[3]), source)
        return loaded if source.dtype == vector.dtype else builder.fpext(loaded, vector.llvm)

    return vector(form, stored, types.int64, types.int64), generate


@intrinsic
def add_to_counts(typing: Any, mask: Any, address: Any, offset: Any) -> Any:
    """Add 1 to the whole numbers of 64 bits at an address (and an offset of elements) where a mask holds."""
    whole = ir.VectorType(ir.IntType(64), mask.lanes)

    def generate(c: Any, builder: Any, _s: Any, a: Any) -> Any:
        where = builder.bitcast(pointer(builder, a[1], ir.IntType(64), a[2]), whole.as_pointer())
        counted = builder.load(where)
        counted.align = 8
        stored = builder.store(builder.add(counted, builder.zext(a[0], whole)), where)
        stored.align = 8
        return c.get_dummy_value()

    return types.void(mask, types.int64, types.int64), generate


@inlined
def nearest(form, x, levels, edges, count):  # type: ignore[no-untyped-def]
    """Round to the nearest of some levels, which ascend; ``edges`` lie half-way between them."""
    lanes = lanes_of(form)
    level = vload(form, levels, 0)
    for k in range(count - 1):
        level = where_greater(x, vload(form, edges, k * lanes), vload(form, levels, (k + 1) * lanes), level)
    return level
