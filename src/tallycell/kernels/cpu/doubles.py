"""Vectors of doubles, for what is added up over many steps: loaded from what is stored in fewer bits, and rounded.

It is here and not where it is used because the name of compiled code holds a hash of this folder: what a compiled
function has built in from elsewhere could change without its being compiled anew.
"""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.vector import (
    ELEMENTS,
    FormatType,
    VectorType,
    lanes_of,
    load_vector,
    pointer,
    vload,
    where_greater,
)


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


@inlined
def nearest(form, x, levels, edges, count):  # type: ignore[no-untyped-def]
    """Round to the nearest of some levels, which ascend; ``edges`` lie half-way between them."""
    lanes = lanes_of(form)
    level = vload(form, levels, 0)
    for k in range(count - 1):
        level = where_greater(x, vload(form, edges, k * lanes), vload(form, levels, (k + 1) * lanes), level)
    return level
