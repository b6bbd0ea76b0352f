"""Packing, the checksum of weights, and the products over all steps, against plain NumPy."""

import itertools

import numpy as np
import pytest

from tallycell.kernels.cpu import products
from tallycell.kernels.cpu.packing import checksum, pack_gates, pack_recurrent, padded_size
from tallycell.kernels.cpu.vector import Format, host_format

FORMS = [host_format("float32"), host_format("float64"), Format("float32", 8, 2)]
ids = [f"{form.dtype}x{form.lanes}x{form.gates}" for form in FORMS]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}  # of the sum of absolute products: some roundings


@pytest.mark.parametrize("form", FORMS, ids=ids)
@pytest.mark.parametrize(("units", "length"), [*itertools.product((1, 3, 16, 17, 100), (1, 15, 16, 33))])
def test_panels_hold_the_weights_and_zeros(form, units, length):
    weight = np.random.default_rng(0).standard_normal((4 * units, length)).astype(form.dtype)
    padded, width = padded_size(units, form), form.gates * form.lanes
    by_gate = np.zeros((4, padded, length), form.dtype)
    by_gate[:, :units] = weight.reshape(4, units, length)
    split = by_gate.reshape(4 // form.gates, form.gates, padded // form.lanes, form.lanes, length)
    assert np.array_equal(pack_gates(weight, form), split.transpose(2, 0, 4, 1, 3))
    blocks = -(-length // width)
    full = np.zeros((4 * padded, blocks * width), form.dtype)
    full[:, :length] = by_gate.reshape(4 * padded, length)
    assert np.array_equal(pack_recurrent(weight, form), full.reshape(4 * padded, blocks, width).transpose(1, 0, 2))


def _sum(array: np.ndarray) -> int:
    return checksum(array.ctypes.data, array.nbytes // 8)


def test_the_checksum_tells_any_number_and_any_order():
    values = np.random.default_rng(0).choice(np.array([-2.0, 0.0, 1.0, 2.0], np.float32), 4096)  # as machines have
    seen = {_sum(values)}
    for k in range(0, 4096, 7):
        changed = values.copy()
        changed[k] += 1
        seen.add(_sum(changed))
        distinct = np.flatnonzero(values != values[k])
        changed[[k, distinct[k % len(distinct)]]] = values[[distinct[k % len(distinct)], k]]
        seen.add(_sum(changed))
    assert len(seen) == 1 + 2 * len(range(0, 4096, 7))
    assert _sum(values) in seen


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("form", FORMS, ids=ids)
@pytest.mark.parametrize(("rows", "units", "features"), [(1, 1, 1), (100, 17, 63), (600, 32, 70), (1030, 63, 100)])
def test_products_over_all_steps_are_those_of_numpy(form, rows, units, features, threads, monkeypatch):
    monkeypatch.setattr(products, "WORTH_PACKING", 0 if rows > 1 else products.WORTH_PACKING)
    monkeypatch.setattr("tallycell.kernels.cpu.threads.WORTH_DIVIDING", 0)
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", threads)
    draw = np.random.default_rng(0).standard_normal
    padded = padded_size(units, form)
    d_pre, x, h, weight = (
        draw(shape).astype(form.dtype)
        for shape in ((rows, 4, padded), (rows, features), (rows, padded), (4 * units, features))
    )
    flat = d_pre[:, :, :units].reshape(rows, 4 * units)

    def assert_near(found, left, right):
        expected, size = left.astype(float) @ right, np.abs(left).astype(float) @ np.abs(right)
        assert found.shape == expected.shape
        assert (np.abs(found - expected) <= TOLERANCE[form.dtype] * size).all()

    assert_near(products.input_gradient(form, d_pre, weight), flat, weight)
    d_ih, d_hh, d_bias = products.weight_gradients(form, d_pre, x, h, units=units)
    assert_near(d_ih, flat.T, x)
    assert_near(d_hh, flat.T, h[:, :units])
    assert_near(d_bias, flat.T, np.ones(rows))
    nothing, d_hh, _ = products.weight_gradients(form, d_pre, x[:, :0], h, units=units)
    assert nothing.shape == (4 * units, 0)
    assert_near(d_hh, flat.T, h[:, :units])
