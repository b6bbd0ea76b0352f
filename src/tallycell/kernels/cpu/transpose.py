"""Turning weights in registers: what lies by unit comes to lie by input, a whole square of numbers at a time."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.vector import ELEMENTS, INT64, VectorType, load_vector, pointer, store_vector


@intrinsic
def transpose_square(typing: Any, form: Any, source: Any, source_stride: Any, target: Any, target_stride: Any) -> Any:
    """Transpose as many rows as a vector has lanes; addresses in bytes, strides from row to row in elements."""
    vector, element = VectorType(form.dtype, form.lanes), ELEMENTS[form.dtype][0]

    def generate(c: Any, builder: Any, _s: Any, a: Any) -> Any:
        def row(address: Any, stride: Any, index: int) -> Any:
            return pointer(builder, address, element, builder.mul(stride, INT64(index)))

        rows = [load_vector(builder, row(a[1], a[2], r), vector) for r in range(form.lanes)]
        # Each round shuffles the upper half of the rows into the lower, like cards; after log2(lanes) rounds every
        # number has come to its place.
        half = form.lanes // 2
        for _ in range(form.lanes.bit_length() - 1):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [_riffle(builder, upper, lower, form.lanes, part) for upper, lower in pairs for part in (0, 1)]
        for r, turned in enumerate(rows):
            store_vector(builder, turned, row(a[3], a[4], r), vector)
        return c.get_dummy_value()

    return types.void(form, types.int64, types.int64, types.int64, types.int64), generate


def _riffle(builder: Any, upper: Any, lower: Any, lanes: int, part: int) -> Any:
    """Take elements of two vectors in turn: the first half of both, or the second."""
    first = part * lanes // 2
    order = [index for lane in range(first, first + lanes // 2) for index in (lane, lanes + lane)]
    return builder.shuffle_vector(upper, lower, ir.Constant(ir.VectorType(ir.IntType(32), lanes), order))


@intrinsic
def word_at(typing: Any, address: Any, index: Any) -> Any:
    """Eight bytes as a whole number, from an address in bytes and an index in words."""

    def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
        loaded = builder.load(pointer(builder, a[0], INT64, a[1]))
        loaded.align = 1  # a tensor may begin anywhere
        return loaded

    return types.uint64(types.int64, types.int64), generate


@inlined
def address_of(array):
    """Address of an array, in bytes; signed, since Numba adds signed and unsigned numbers as floating point."""
    return np.int64(array.ctypes.data)
