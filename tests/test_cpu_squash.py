"""Squashing functions on vectors: the float32s of sigmoid and tanh, and all activations against their NumPy selves.

TALLYCELL_EVERY_FLOAT looks at every float32; without it those between 2^-13 and 128, where the functions bend, are all
looked at, and of the others one block in 32.
"""

import os

import numba
import numpy as np
import pytest

from tallycell.activations import activation, activation_names, register_activation
from tallycell.kernels.cpu.slots import slope, slot_of, squash
from tallycell.kernels.cpu.vector import Format, host_format, vload, vstore

FLOATS = 0x7F800001  # float32 from 0 to infinity
BENDING = tuple(int(np.float32(size).view(np.int32)) for size in (2.0**-13, 128.0))  # steps from zero
BLOCK = 1 << 14  # stays in the cache


@numba.njit
def _values(form, lanes, slot, x, y):
    for k in range(0, x.size, lanes):
        vstore(form, squash(slot, vload(form, x.ctypes.data, k)), y.ctypes.data, k)


@numba.njit
def _slopes(form, lanes, slot, x, y, d):
    for k in range(0, x.size, lanes):
        vx, vy = vload(form, x.ctypes.data, k), vload(form, y.ctypes.data, k)
        vstore(form, slope(slot, vx, vy), d.ctypes.data, k)


def values(name, x, dtype="float32", form=None, **constants):
    """Values on vectors; x is padded to whole vectors."""
    form = form or host_format(dtype)
    padded = np.concatenate([x, np.zeros(-len(x) % form.lanes)]).astype(dtype)
    y = np.empty_like(padded)
    _values(form, form.lanes, slot_of(activation(name, **constants)), padded, y)
    return y[: len(x)]


@numba.njit
def _floats(begin, bits, wide):
    """Consecutive float32 from the one that is ``begin`` steps from zero, as their bits and as float64."""
    narrow = bits.view(np.float32)
    for k in range(bits.size):
        ordinal = min(begin + k, FLOATS - 1)
        bits[k] = 0x80000000 - ordinal if ordinal < 0 else ordinal
        wide[k] = narrow[k]


@numba.njit
def _judge(y, exact, before):
    """Largest error in units in the last place where the result is normal; and whether y rises all along."""
    worst, rises = 0.0, True
    for k in range(y.size):
        reference = exact[k]
        size = abs(reference)
        if size >= 2.0**-126:
            spacing = np.float64(np.int32(np.float32(size).view(np.int32) & 0x7F800000).view(np.float32)) * 2.0**-23
            worst = max(worst, abs(np.float64(y[k]) - reference) / spacing)
        elif not (0 <= abs(y[k]) <= 1.2e-38):
            worst = np.inf
        rises = rises and y[k] >= before
        before = y[k]
    return worst, rises, before


def sweep(name):
    """The float32s from minus to plus infinity, in order, against the float64 version of the same function."""
    narrow, wide, slot = host_format("float32"), host_format("float64"), slot_of(activation(name))
    bits, widened = np.empty(BLOCK, np.uint32), np.empty(BLOCK)
    y, exact = np.empty(BLOCK, np.float32), np.empty(BLOCK)
    worst, rises, before = 0.0, True, np.float32(-np.inf)
    for number, begin in enumerate(range(-FLOATS + 1, FLOATS, BLOCK)):
        bends = (begin < BENDING[1] and BENDING[0] < begin + BLOCK) or (
            begin < -BENDING[0] and -BENDING[1] < begin + BLOCK
        )
        if not (bends or number % 32 == 0 or "TALLYCELL_EVERY_FLOAT" in os.environ):
            continue
        _floats(begin, bits, widened)
        _values(narrow, narrow.lanes, slot, bits.view(np.float32), y)
        _values(wide, wide.lanes, slot, widened, exact)
        here, rising, before = _judge(y, exact, before)
        worst, rises = max(worst, here), rises and rising
    return worst, rises


@pytest.mark.parametrize(("name", "most"), [("sigmoid", 3.0), ("tanh", 2.0)])
def test_float32s_are_within_their_bound_and_the_function_rises(name, most):
    worst, rises = sweep(name)
    assert worst <= most
    assert rises


@pytest.mark.parametrize(("dtype", "one", "tanh_one"), [("float32", 18.0, 9.02), ("float64", 38.0, 20.0)])
def test_saturation_is_exact(dtype, one, tanh_one):
    """Exact counting stands on this; the near misses below the bounds are not saturated."""
    far = np.concatenate([np.geomspace(1, 1e30, 4001), [np.inf]])
    assert np.all(values("sigmoid", one * far, dtype) == 1)
    assert np.all(values("tanh", tanh_one * far, dtype) == 1)
    assert np.all(values("tanh", -tanh_one * far, dtype) == -1)
    near = {"float32": (16.0, 8.5), "float64": (35.0, 18.0)}[dtype]
    assert values("sigmoid", np.array(near[:1]), dtype)[0] < 1
    assert values("tanh", np.array(near[1:]), dtype)[0] < 1
    assert values("sigmoid", np.array([-np.inf]), dtype)[0] == 0
    assert np.isnan(values("sigmoid", np.array([np.nan]), dtype)[0])
    assert np.isnan(values("tanh", np.array([np.nan]), dtype)[0])


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_float64_against_numpys_longer_numbers(name):
    x = np.concatenate([np.random.default_rng(0).normal(size=200_000) * 6, np.geomspace(1e-300, 40, 20_000)])
    wide = x.astype(np.longdouble)
    exact = 1 / (1 + np.exp(-wide)) if name == "sigmoid" else np.tanh(wide)
    error = np.abs(values(name, x, "float64") - exact) / np.spacing(np.abs(exact.astype(np.float64)))
    # Without longer numbers (Windows) the reference itself is off by up to one.
    assert float(error.max()) <= 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", activation_names())
def test_vectors_agree_with_numpy(name, dtype):
    ours = activation(name)
    x = np.concatenate([np.linspace(-12, 12, 997) + 1e-3, [np.nan]]).astype(dtype)
    x = np.concatenate([x, np.zeros(-len(x) % 16, dtype)])
    y = values(name, x, dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-14  # a few units in the last place of exp and tanh
    np.testing.assert_allclose(y, ours.value(x), rtol=tolerance, atol=tolerance)
    form, d = host_format(dtype), np.empty_like(x)
    _slopes(form, form.lanes, slot_of(ours), x, y, d)
    np.testing.assert_allclose(d, ours.derivative(x, y), rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_numbers_keep_all_their_digits_in_log1p(dtype):
    """Though 1 + x rounds x away: softplus, far to the left, stands on it."""
    register_activation("log1p", np.log1p, lambda x, y: 1 / (1 + x), range=(-np.inf, np.inf))
    small = np.geomspace(1e-30, 0.5, 2001)
    x = np.concatenate([small, -small]).astype(dtype)
    few = 4 * np.finfo(dtype).eps  # roundings: of 1 + x, the logarithm, a quotient and a product
    np.testing.assert_allclose(values("log1p", x, dtype), np.log1p(x.astype(np.longdouble)), rtol=few)


def test_constants_are_compiled_in():
    x = np.linspace(-3, 3, 64)
    np.testing.assert_allclose(values("elu", x, alpha=0.5), activation("elu", alpha=0.5).value(x), atol=1e-6)
    np.testing.assert_allclose(values("elu", x, alpha=2.0), activation("elu", alpha=2.0).value(x), atol=1e-6)


def test_a_users_function_compiles_and_a_changed_one_is_compiled_anew():
    first = register_activation(
        "bump", lambda x: np.exp(-x * x), lambda x, y: -2 * x * y, range=(0, 1), left=0, right=0
    )
    x = np.linspace(-3, 3, 64)
    np.testing.assert_allclose(values("bump", x), np.exp(-x * x), atol=1e-6)
    changed = type(first)("bump", lambda x: np.exp(-x * x) / 2, first.derivative)
    assert slot_of(changed) != slot_of(first)


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_any_width_gives_the_same(bits):
    form = Format("float32", bits // 32, 4)
    x = np.linspace(-12, 12, 1600)
    np.testing.assert_array_equal(values("tanh", x, form=form), values("tanh", x))
