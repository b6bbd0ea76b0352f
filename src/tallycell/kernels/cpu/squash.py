"""Squashing functions on vectors: exp, sigmoid and tanh of our own, exactly saturated, and everybody's by name.

Exact counting stands on ``sigmoid(x) == 1`` for x >= 18 and ``tanh(x) == ±1`` for |x| >= 9.02 in float32 (38 and 20 in
float64): here both follow from rounding, as 1 + exp(-x) is 1 from there on. NaN is kept, infinities go to the limits.

Coefficients: Cephes (S. Moshier), ``expf.c``, ``exp.c``, ``tanhf.c`` and ``tanh.c``.
"""

from numba.extending import overload

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.vector import (
    VectorType,
    power_of_two,
    splat_like,
    vabs,
    vcopysign,
    vfma,
    vlog,
    vrint,
    where_equal,
    where_greater,
    where_less,
)

LOG2_E = 1.4426950408889634


@inlined
def vmin(x, bound):
    """Take the lesser; NaN in x is kept."""
    return where_greater(x, bound, bound, x)


@inlined
def vmax(x, bound):
    """Take the greater; NaN in x is kept."""
    return where_less(x, bound, bound, x)


def _by_dtype(name, float32, float64):
    """One function for vectors of either dtype; the type of its first argument chooses."""

    def function(*_):
        raise NotImplementedError(f"{name} is compiled; it has no Python version")

    @overload(function, jit_options={"forceinline": True})
    def choose(x):
        if isinstance(x, VectorType):
            return float32 if x.dtype == "float32" else float64
        return None

    return function


def _exp_of_remainder_float32(x):
    value = splat_like(x, 1.9875691500e-4)
    value = vfma(value, x, splat_like(x, 1.3981999507e-3))
    value = vfma(value, x, splat_like(x, 8.3334519073e-3))
    value = vfma(value, x, splat_like(x, 4.1665795894e-2))
    value = vfma(value, x, splat_like(x, 1.6666665459e-1))
    value = vfma(value, x, splat_like(x, 5.0000001201e-1))
    return vfma(value, x * x, x) + 1.0


def _exp_of_remainder_float64(x):
    # 1 + 2 p / (q - p), p odd and q even.
    z = x * x
    p = splat_like(x, 1.26177193074810590878e-4)
    p = vfma(p, z, splat_like(x, 3.02994407707441961300e-2))
    p = vfma(p, z, splat_like(x, 9.99999999999999999910e-1)) * x
    q = splat_like(x, 3.00198505138664455042e-6)
    q = vfma(q, z, splat_like(x, 2.52448340349684104192e-3))
    q = vfma(q, z, splat_like(x, 2.27265548208155028766e-1))
    q = vfma(q, z, splat_like(x, 2.00000000000000000009e0))
    return 1.0 + 2.0 * (p / (q - p))


def _without_powers_float32(x, n):
    return vfma(n, splat_like(x, 2.12194440e-4), vfma(n, splat_like(x, -0.693359375), x))


def _without_powers_float64(x, n):
    return vfma(n, splat_like(x, -1.42860682030941723212e-6), vfma(n, splat_like(x, -6.93145751953125e-1), x))


def _tanh_near_zero_float32(x):
    z = x * x
    value = splat_like(x, -5.70498872745e-3)
    value = vfma(value, z, splat_like(x, 2.06390887954e-2))
    value = vfma(value, z, splat_like(x, -5.37397155531e-2))
    value = vfma(value, z, splat_like(x, 1.33314422036e-1))
    value = vfma(value, z, splat_like(x, -3.33332819422e-1))
    return vfma(value * z, x, x)


def _tanh_near_zero_float64(x):
    z = x * x
    p = splat_like(x, -9.64399179425052238628e-1)
    p = vfma(p, z, splat_like(x, -9.92877231001918586564e1))
    p = vfma(p, z, splat_like(x, -1.61468768441708447952e3))
    q = z + 1.12811678491632931402e2
    q = vfma(q, z, splat_like(x, 2.23548839060100448583e3))
    q = vfma(q, z, splat_like(x, 4.84406305325125486048e3))
    return vfma(p / q * z, x, x)


def _largest_exponent_float32(x):
    return splat_like(x, 89.0)


def _largest_exponent_float64(x):
    return splat_like(x, 710.0)


_exp_of_remainder = _by_dtype("exp", _exp_of_remainder_float32, _exp_of_remainder_float64)
_tanh_near_zero = _by_dtype("tanh", _tanh_near_zero_float32, _tanh_near_zero_float64)
_largest_exponent = _by_dtype("exp", _largest_exponent_float32, _largest_exponent_float64)


def _without_powers(x, n):
    """X - n ln 2, in two parts so that little is rounded away."""
    raise NotImplementedError


@overload(_without_powers, jit_options={"forceinline": True})
def _choose_without_powers(x, n):
    return _without_powers_float32 if x.dtype == "float32" else _without_powers_float64


@inlined
def half_exp(x):
    """exp(x) for x >= -87 (-708 in float64); below that, a small number; far above, infinity."""
    bound = _largest_exponent(x)
    x = vmax(vmin(x, bound), 1.6 - bound)
    n = vrint(x * LOG2_E)
    return _exp_of_remainder(_without_powers(x, n)) * power_of_two(n)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + half_exp(0.0 - x))


@inlined
def tanh(x):
    """Use a polynomial near zero; 1 - 2 / (exp(2 |x|) + 1) with the sign of x elsewhere."""
    size = vabs(x)
    far = vcopysign(1.0 - 2.0 / (half_exp(size + size) + 1.0), x)
    return where_less(size, splat_like(x, 0.625), _tanh_near_zero(x), far)


@inlined
def vexp(x):
    """exp(x) over the whole range: as the square of exp(x / 2), which neither overflows nor vanishes too soon."""
    root = half_exp(0.5 * x)
    return root * root


@inlined
def vexpm1(x):
    """exp(x) - 1, near zero by way of tanh so that nothing cancels."""
    t = tanh(0.5 * x)
    return where_less(vabs(x), splat_like(x, 1.0), (t + t) / (1.0 - t), vexp(x) - 1.0)


@inlined
def vlog1p(x):
    """log(1 + x), corrected for what is rounded away in 1 + x (Kahan)."""
    u = 1.0 + x
    return where_equal(u, splat_like(x, 1.0), x, vlog(u) * (x / (u - 1.0)))
