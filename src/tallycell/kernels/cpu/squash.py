"""Squashing functions on vectors: exp, sigmoid and tanh of our own, exactly saturated, and everybody's by name.

Exact counting stands on ``sigmoid(x) == 1`` for x >= 18 and ``tanh(x) == ±1`` for |x| >= 9.02 in float32 (38 and 20 in
float64): here both follow from rounding, as 1 + exp(-x) is 1 from there on. NaN is kept, infinities go to the limits.

Coefficients: Cephes (S. Moshier), ``exp.c``, ``tanhf.c`` and ``tanh.c``; those of exp in float32 are the polynomials of
degree 6 and 5 whose relative error is least over |r| <= ln(2) / 2, found by Lawson's iteration (1.3e-8 of exp(r) - 1,
and 7.5e-8 of exp(r)).
"""

from numba.extending import overload

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.vector import (
    VectorType,
    splat_like,
    two_to_last_bits,
    vabs,
    vcopysign,
    vfma,
    vlog,
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


def _by_dtype(float32, float64):
    """One function for vectors of either dtype; the type of its first argument chooses."""

    def function(*_):
        raise NotImplementedError("it is compiled; it has no Python version")

    @overload(function, jit_options={"forceinline": True})
    def choose(x):
        if isinstance(x, VectorType):
            return float32 if x.dtype == "float32" else float64
        return None

    return function


def _exp_of_remainder_float32(x):
    value = splat_like(x, 1.3882521307095885e-3)
    value = vfma(value, x, splat_like(x, 8.366520516574383e-3))
    value = vfma(value, x, splat_like(x, 4.166720062494278e-2))
    value = vfma(value, x, splat_like(x, 1.666654348373413e-1))
    value = vfma(value, x, splat_like(x, 4.999999701976776e-1))
    # One step more than Horner's, without which the sigmoid would not rise throughout.
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


# Added to a number, it leaves no room for a fraction: the last bits of the sum are the number, rounded, plus the
# exponent's bias.
def _rounder_float32(x):
    return splat_like(x, 1.5 * 2.0**23 + 127.0)


def _rounder_float64(x):
    return splat_like(x, 1.5 * 2.0**52 + 1023.0)


def _largest_exponent_float32(x):
    return splat_like(x, 89.0)


def _largest_exponent_float64(x):
    return splat_like(x, 710.0)


_exp_of_remainder = _by_dtype(_exp_of_remainder_float32, _exp_of_remainder_float64)
_rounder = _by_dtype(_rounder_float32, _rounder_float64)
_largest_exponent = _by_dtype(_largest_exponent_float32, _largest_exponent_float64)


# x - n ln 2, in two parts so that little is rounded away.
def _remainder_float32(x, n):
    return vfma(n, splat_like(x, 2.12194440e-4), vfma(n, splat_like(x, -0.693359375), x))


def _remainder_float64(x, n):
    return vfma(n, splat_like(x, -1.42860682030941723212e-6), vfma(n, splat_like(x, -6.93145751953125e-1), x))


def _remainder(x, n):
    raise NotImplementedError("it is compiled; it has no Python version")


@overload(_remainder, jit_options={"forceinline": True})
def _choose_remainder(x, n):
    return _remainder_float32 if x.dtype == "float32" else _remainder_float64


@inlined
def _nearest_power(x):
    """Round x / ln 2 to the whole number n; give n and 2**n."""
    last_bits = vfma(x, splat_like(x, LOG2_E), _rounder(x))
    return last_bits - _rounder(x), two_to_last_bits(last_bits)


@inlined
def _factors_of_exp(x):
    """Split exp(x), x within the range of exponents, into exp(r), |r| <= ln(2) / 2, and a power of two."""
    n, power = _nearest_power(x)
    return _exp_of_remainder(_remainder(x, n)), power


def _rough_factors_float32(x):
    """Factors of exp(x) for 0 <= x < 64, with a relative error of about 1e-7."""
    n, power = _nearest_power(x)
    r = vfma(n, splat_like(x, -0.6931471805599453), x)
    value = splat_like(x, 8.297648280858994e-3)
    value = vfma(value, r, splat_like(x, 4.191543161869049e-2))
    value = vfma(value, r, splat_like(x, 1.6667574644088745e-1))
    value = vfma(value, r, splat_like(x, 4.9998894333839417e-1))
    value = vfma(value, r, splat_like(x, 9.999997019767761e-1))
    return vfma(value, r, splat_like(x, 1.0000001192092896)), power


def _rough_factors_float64(x):
    return _factors_of_exp(x)


_rough_factors_of_exp = _by_dtype(_rough_factors_float32, _rough_factors_float64)


@inlined
def _within_exponents(x):
    bound = _largest_exponent(x)
    return vmax(vmin(x, bound), 1.6 - bound)


@inlined
def half_exp(x):
    """exp(x) for x >= -87 (-708 in float64); below that, a small number; far above, infinity."""
    factor, power = _factors_of_exp(_within_exponents(x))
    return factor * power


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    factor, power = _factors_of_exp(_within_exponents(0.0 - x))
    return 1.0 / vfma(factor, power, splat_like(x, 1.0))


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


_tanh_near_zero = _by_dtype(_tanh_near_zero_float32, _tanh_near_zero_float64)


@inlined
def tanh(x):
    """Use a polynomial near zero; 1 - 2 / (exp(2 |x|) + 1) with the sign of x elsewhere."""
    size = vabs(x)
    factor, power = _rough_factors_of_exp(vmin(size + size, splat_like(x, 60.0)))
    far = vcopysign(1.0 - 2.0 / vfma(factor, power, splat_like(x, 1.0)), x)
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
