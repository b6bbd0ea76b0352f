"""NumPy's element-by-element functions on vectors, so that an activation written with NumPy compiles into the kernel.

The same Python function that works on arrays (``lambda x: np.maximum(x, 0)``) is compiled for vectors, be it one of
tallycell's or a user's. What is not here does not compile, and the LSTM then takes the reference kernel.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model

from tallycell.kernels.cpu import squash
from tallycell.kernels.cpu.vector import (
    VectorType,
    binary_instruction,
    call_llvm,
    define_on_two,
    is_number,
    splat_like,
    vabs,
    vcopysign,
    vlog,
    vsqrt,
)


class MaskType(types.Type):
    """Numba's type of a truth value in each lane."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, mask: MaskType) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


def _compare(symbol: str) -> Any:
    @intrinsic
    def compare(typing: Any, x: Any, y: Any) -> Any:
        def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
            compared = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
            return compared(symbol, a[0], a[1])

        return MaskType(x.lanes)(x, y), generate

    return compare


@intrinsic
def _choose(typing: Any, mask: Any, x: Any, y: Any) -> Any:
    def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
        return builder.select(a[0], a[1], a[2])

    return x(mask, x, y), generate


def _lane_by_lane(name: str) -> Any:
    """One of LLVM's functions for which processors have no instruction: each lane is computed by itself, slowly."""

    @intrinsic
    def function(typing: Any, x: Any) -> Any:
        def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
            return call_llvm(builder, name, x, [a[0]])

        return x(x), generate

    return function


_sin, _cos = _lane_by_lane("llvm.sin"), _lane_by_lane("llvm.cos")


def _on_one(function: Any, apply: Any) -> None:
    @overload(function)
    def implement(x):
        return (lambda x: apply(x)) if isinstance(x, VectorType) else None


def _on_masks(function: Any, apply: Any) -> None:
    @overload(function)
    def implement(x, y):
        return (lambda x, y: apply(x, y)) if isinstance(x, MaskType) and isinstance(y, MaskType) else None


for _operator, _symbol in (
    (operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="), (operator.eq, "=="),
    (operator.ne, "!="),
):  # fmt: skip
    define_on_two(_operator, _compare(_symbol))
_on_masks(operator.and_, binary_instruction("and_"))
_on_masks(operator.or_, binary_instruction("or_"))

define_on_two(np.maximum, squash.vmax)
define_on_two(np.minimum, squash.vmin)
_on_one(np.exp, squash.vexp)
_on_one(np.tanh, squash.tanh)
_on_one(np.abs, vabs)
_on_one(np.sqrt, vsqrt)
_on_one(np.log, vlog)
_on_one(np.sin, _sin)
_on_one(np.cos, _cos)
_on_one(np.expm1, squash.vexpm1)
_on_one(np.log1p, squash.vlog1p)


@overload(np.where)
def _where(condition, x, y):
    if not isinstance(condition, MaskType):
        return None
    if isinstance(x, VectorType) and isinstance(y, VectorType):
        return lambda condition, x, y: _choose(condition, x, y)
    if isinstance(x, VectorType) and is_number(y):
        return lambda condition, x, y: _choose(condition, x, splat_like(x, y))
    if is_number(x) and isinstance(y, VectorType):
        return lambda condition, x, y: _choose(condition, splat_like(y, x), y)
    return None


@overload(np.clip)
def _clip(a, a_min, a_max):
    if isinstance(a, VectorType) and is_number(a_min) and is_number(a_max):
        return lambda a, a_min, a_max: squash.vmin(squash.vmax(a, splat_like(a, a_min)), splat_like(a, a_max))
    return None


@overload(np.isinf)
def _isinf(x):
    return (lambda x: vabs(x) == np.inf) if isinstance(x, VectorType) else None


@overload(np.sign)
def _sign(x):
    if not isinstance(x, VectorType):
        return None
    return lambda x: _choose(vabs(x) > 0.0, vcopysign(splat_like(x, 1.0), x), x)


@overload(np.zeros_like)
def _zeros_like(a):
    return (lambda a: splat_like(a, 0.0)) if isinstance(a, VectorType) else None


@overload(np.ones_like)
def _ones_like(a):
    return (lambda a: splat_like(a, 1.0)) if isinstance(a, VectorType) else None


@overload(np.full_like)
def _full_like(a, fill_value):
    return (lambda a, fill_value: splat_like(a, fill_value)) if isinstance(a, VectorType) else None


@overload(operator.pow)
def _pow(x, y):
    if isinstance(x, VectorType) and isinstance(y, types.IntegerLiteral) and y.literal_value == 2:
        return lambda x, y: x * x
    return None
