"""A SIMD vector type for Numba: values that live in vector registers, and the few operations the kernels need.

Numba compiles to LLVM, and LLVM has vectors; what is missing is a Numba type for them. Here it is, as intrinsics that
emit vector instructions directly: no compiler is needed on the user's machine, and nothing depends on whether a loop
happens to be vectorised.

A :class:`Format` says how long the vectors are. It is passed to compiled functions as an argument without content: its
type alone selects the code, so that one source serves float32 and float64 and every width.
"""

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import NativeValue, intrinsic, models, overload, register_model, typeof_impl, unbox

ELEMENTS = {"float32": (ir.FloatType(), 32), "float64": (ir.DoubleType(), 64)}
INT64 = ir.IntType(64)


@dataclass(frozen=True)
class Format:
    """How the kernels use the vector registers.

    Attributes
    ----------
    dtype
        ``"float32"`` or ``"float64"``.
    lanes
        Elements of one vector.
    gates
        Gates whose vectors one register tile holds: all 4 where there are 32 registers, 2 where there are 16.
    """

    dtype: str
    lanes: int
    gates: int


@cache
def host_format(dtype: str) -> Format:
    """Choose the format for this processor; ``TALLYCELL_VECTOR_BITS`` (128, 256 or 512) overrides the width."""
    features = llvm.get_host_cpu_features()
    named = os.environ.get("NUMBA_CPU_NAME")  # Numba compiles for this processor instead, which may know less
    bits = 512 if features.get("avx512f") and not named else 256 if features.get("avx2") else 128
    bits = int(os.environ.get("TALLYCELL_VECTOR_BITS", bits))
    many_registers = bits == 512 or llvm.get_process_triple().startswith(("aarch64", "arm64"))
    return Format(dtype, bits // (8 * np.dtype(dtype).itemsize), 4 if many_registers else 2)


class FormatType(types.Type):
    """Numba's type of a :class:`Format`; two formats that differ are two types."""

    def __init__(self, dtype: str, lanes: int, gates: int) -> None:
        self.dtype, self.lanes, self.gates = dtype, lanes, gates
        super().__init__(name=f"Format({dtype}, {lanes}, {gates})")


class VectorType(types.Type):
    """Numba's type of a vector value."""

    def __init__(self, dtype: str, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        """LLVM's type."""
        return ir.VectorType(ELEMENTS[self.dtype][0], self.lanes)

    @property
    def llvm_int(self) -> ir.VectorType:
        """LLVM's type of whole numbers of the same size."""
        return ir.VectorType(ir.IntType(ELEMENTS[self.dtype][1]), self.lanes)

    @property
    def element(self) -> types.Float:
        """Numba's type of one element."""
        return types.float32 if self.dtype == "float32" else types.float64


@typeof_impl.register(Format)
def _typeof_format(value: Format, _: Any) -> FormatType:
    return FormatType(value.dtype, value.lanes, value.gates)


register_model(FormatType)(models.OpaqueModel)


@unbox(FormatType)
def _unbox_format(_type: FormatType, _object: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, vector.llvm)


# ---- building blocks of LLVM code ----------------------------------------------------------------------------------


def pointer(builder: Any, address: Any, element: Any, offset: Any = None) -> Any:
    """Make a pointer to an element, from an address in bytes and an offset in elements."""
    start = builder.inttoptr(address, element.as_pointer())
    return start if offset is None else builder.gep(start, [offset])


def load_vector(builder: Any, where: Any, vector: VectorType) -> Any:
    """Load from memory that is aligned to elements only, as NumPy's is."""
    loaded = builder.load(builder.bitcast(where, vector.llvm.as_pointer()))
    loaded.align = ELEMENTS[vector.dtype][1] // 8
    return loaded


def store_vector(builder: Any, value: Any, where: Any, vector: VectorType) -> Any:
    """Store to memory that is aligned to elements only."""
    stored = builder.store(value, builder.bitcast(where, vector.llvm.as_pointer()))
    stored.align = ELEMENTS[vector.dtype][1] // 8
    return stored


def splat_vector(builder: Any, scalar: Any, vector: VectorType) -> Any:
    """Fill all lanes with one number."""
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None))


def call_llvm(builder: Any, name: str, vector: VectorType, arguments: list[Any]) -> Any:
    """Call one of LLVM's own functions on vectors, such as ``llvm.fma``."""
    suffix = f"v{vector.lanes}f{ELEMENTS[vector.dtype][1]}"
    signature = ir.FunctionType(vector.llvm, [vector.llvm] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, f"{name}.{suffix}"), arguments)


# ---- memory --------------------------------------------------------------------------------------------------------


def _vector_of(form: FormatType) -> VectorType:
    return VectorType(form.dtype, form.lanes)


@intrinsic
def vload(typing: Any, form: Any, address: Any, offset: Any) -> Any:
    """Load a vector from an address in bytes plus an offset in elements."""
    vector = _vector_of(form)

    def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
        return load_vector(builder, pointer(builder, a[1], ELEMENTS[vector.dtype][0], a[2]), vector)

    return vector(form, types.int64, types.int64), generate


@intrinsic
def vstore(typing: Any, form: Any, value: Any, address: Any, offset: Any) -> Any:
    """Store a vector."""
    vector = _vector_of(form)

    def generate(c: Any, builder: Any, _s: Any, a: Any) -> Any:
        store_vector(builder, a[1], pointer(builder, a[2], ELEMENTS[vector.dtype][0], a[3]), vector)
        return c.get_dummy_value()

    return types.void(form, value, types.int64, types.int64), generate


@intrinsic
def vstore_past_cache(typing: Any, form: Any, value: Any, address: Any, offset: Any) -> Any:
    """Store a vector that nobody reads soon, past the caches; the address must be aligned to the vector."""
    vector = _vector_of(form)

    def generate(c: Any, builder: Any, _s: Any, a: Any) -> Any:
        where = pointer(builder, a[2], ELEMENTS[vector.dtype][0], a[3])
        stored = store_vector(builder, a[1], where, vector)
        stored.align = vector.lanes * ELEMENTS[vector.dtype][1] // 8
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return c.get_dummy_value()

    return types.void(form, value, types.int64, types.int64), generate


# ---- arithmetic ----------------------------------------------------------------------------------------------------


@intrinsic
def splat_like(typing: Any, like: Any, number: Any) -> Any:
    """Fill a vector of the kind of ``like`` with a number."""

    def generate(c: Any, builder: Any, signature: Any, a: Any) -> Any:
        return splat_vector(builder, c.cast(builder, a[1], signature.args[1], like.element), like)

    return like(like, number), generate


def binary_instruction(method: str) -> Any:
    """Make an instruction on two values of one type a function for Numba."""

    @intrinsic
    def apply(typing: Any, x: Any, y: Any) -> Any:
        def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
            return getattr(builder, method)(a[0], a[1])

        return x(x, y), generate

    return apply


def is_number(kind: Any) -> bool:
    """Whether a Numba type is a plain number, which can fill a vector."""
    return isinstance(kind, types.Float | types.Integer | types.Boolean)


def define_on_two(python_operator: Callable[..., Any], apply: Any) -> None:
    """Let a Python function or operator take two vectors, or a vector and a number."""

    @overload(python_operator)
    def implement(x, y):  # Numba compares signatures, annotations included
        if isinstance(x, VectorType) and isinstance(y, VectorType):
            return lambda x, y: apply(x, y)
        if isinstance(x, VectorType) and is_number(y):
            return lambda x, y: apply(x, splat_like(x, y))
        if is_number(x) and isinstance(y, VectorType):
            return lambda x, y: apply(splat_like(y, x), y)
        return None


for _operator, _method in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    define_on_two(_operator, binary_instruction(_method))


@overload(operator.neg)
def _negate(x):
    return (lambda x: 0.0 - x) if isinstance(x, VectorType) else None


def _function(name: str, arguments: int) -> Any:
    """Make one of LLVM's functions on vectors a function for Numba."""

    def generate(_c: Any, builder: Any, signature: Any, a: Any) -> Any:
        return call_llvm(builder, name, signature.return_type, list(a))

    if arguments == 1:

        @intrinsic
        def one(typing: Any, x: Any) -> Any:
            return x(x), generate

        return one
    if arguments == 2:

        @intrinsic
        def two(typing: Any, x: Any, y: Any) -> Any:
            return x(x, y), generate

        return two

    @intrinsic
    def three(typing: Any, x: Any, y: Any, z: Any) -> Any:
        return x(x, y, z), generate

    return three


vfma = _function("llvm.fma", 3)  # x y + z, rounded once
vrint = _function("llvm.rint", 1)
vabs = _function("llvm.fabs", 1)
vsqrt = _function("llvm.sqrt", 1)
vlog = _function("llvm.log", 1)
vcopysign = _function("llvm.copysign", 2)


def _select(comparison: str) -> Any:
    @intrinsic
    def select(typing: Any, x: Any, y: Any, where_true: Any, where_false: Any) -> Any:
        def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
            return builder.select(builder.fcmp_ordered(comparison, a[0], a[1]), a[2], a[3])

        return where_true(x, y, where_true, where_false), generate

    return select


where_greater = _select(">")  # x > y ? a : b; false where one is NaN
where_less = _select("<")
where_equal = _select("==")


@intrinsic
def two_to_last_bits(typing: Any, x: Any) -> Any:
    """2**n, where the last bits of x are n plus the exponent's bias; one above the range gives infinity."""
    mantissa = ir.Constant(x.llvm_int, [23 if x.dtype == "float32" else 52] * x.lanes)

    def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
        return builder.bitcast(builder.shl(builder.bitcast(a[0], x.llvm_int), mantissa), x.llvm)

    return x(x), generate


# ---- what a format says --------------------------------------------------------------------------------------------


def lanes_of(form: Format) -> int:
    """Elements of one vector."""
    return form.lanes


def size_of(form: Format) -> int:
    """Bytes of one element."""
    return np.dtype(form.dtype).itemsize


def tile_gates_of(form: Format) -> int:
    """Gates that one register tile holds."""
    return form.gates


def _define_constant(function: Any, constant: Callable[[FormatType], int]) -> None:
    @overload(function, jit_options={"forceinline": True})
    def choose(form):
        value = constant(form)
        return lambda form: value


_define_constant(lanes_of, lambda form: form.lanes)
_define_constant(size_of, lambda form: ELEMENTS[form.dtype][1] // 8)
_define_constant(tile_gates_of, lambda form: form.gates)
