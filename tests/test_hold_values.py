"""Holds at arrays and at the mean: by step, by sequence, by unit; what another run had there."""

import json

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from tallycell.errors import InputError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.trace import validate_trace

RNG = np.random.default_rng(4)
PARAMETERS = tc.LSTMParameters(
    {
        f"{kind}_l{layer}": RNG.normal(size=shape)
        for layer, width in ((0, 2), (1, 3))
        for kind, shape in (("weight_ih", (12, width)), ("weight_hh", (12, 3)))
    }
)
X = RNG.normal(size=(6, 2, 2))


def test_an_array_over_steps_holds_each_step_at_its_own_value():
    values = np.linspace(-1, 1, 6)
    trace = tc.record_trace(PARAMETERS, X, hold=tc.Hold("c", values, layer=1, units=[2]))
    np.testing.assert_array_equal(trace.c.sel(layer=1, unit=2).isel(direction=0), [values, values])
    one_by_one = [tc.Hold("c", float(v), layer=1, units=[2], steps=[k]) for k, v in enumerate(values)]
    xr.testing.assert_equal(trace.drop_attrs(), tc.record_trace(PARAMETERS, X, hold=one_by_one).drop_attrs())


@pytest.mark.parametrize(
    "wrapped", [np.array(0.5), xr.DataArray(0.5), np.float32(0.5)], ids=["array", "xarray", "numpy"]
)
def test_a_number_is_a_number_however_it_is_wrapped(wrapped):
    plain, other = (tc.record_trace(PARAMETERS, X, hold=tc.Hold("g", value, units=[1])) for value in (0.5, wrapped))
    xr.testing.assert_identical(plain, other)
    assert json.loads(other.attrs["holds"])[0]["value"] == 0.5


def test_what_is_no_hold_is_refused_wherever_holds_are_taken():
    for wrong in ("f", 3, ["f"]):
        with pytest.raises(InputError, match="give a Hold"):
            tc.record_trace(PARAMETERS, X, hold=wrong)


def test_a_tensor_that_requires_a_gradient_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="detach a tensor that requires a gradient"):
        tc.Hold("c", torch.zeros(3, requires_grad=True))


def test_the_kernel_itself_refuses_values_for_other_sequences():
    """They would be read from behind the end of the array."""
    with pytest.raises(InputError, match="has values for 3 sequences, and 2 are held"):
        list(run_stack(PARAMETERS, StackInput(X), holds=[tc.Hold("c", np.zeros((3, 6)))]))


def test_a_hold_that_differs_by_sequence_is_one_run_a_sequence():
    values = np.array([[0.5], [-2.0]])
    trace = tc.record_trace(PARAMETERS, X, hold=[tc.Hold("f", 1.0, units=[0]), tc.Hold("o", by_sequence(values))])
    for k in range(2):
        holds = [tc.Hold("f", 1.0, units=[0]), tc.Hold("o", float(values[k, 0]))]
        one = tc.record_trace(PARAMETERS, X[:, [k]], hold=holds)
        np.testing.assert_allclose(trace.h.isel(sequence=k), one.h.isel(sequence=0), atol=1e-14)


def test_of_sequences_that_differ_in_length_each_is_held_by_its_own_values():
    weights = {f"{kind}_l0{suffix}": RNG.normal(size=(12, width)) for suffix in ("", "_reverse")
               for kind, width in (("weight_ih", 2), ("weight_hh", 3))}  # fmt: skip
    both, values, lengths = tc.LSTMParameters(weights), RNG.normal(size=(2, 6)), [3, 6]
    for direction in ("forward", "reverse"):
        hold = tc.Hold("c", values, units=[1], direction=direction)
        trace = tc.record_trace(both, X, lengths=lengths, hold=hold)
        for k, length in enumerate(lengths):
            alone = tc.Hold("c", values[k, :length], units=[1], direction=direction)
            one = tc.record_trace(both, X[:length, [k]], hold=alone)
            part = trace.h.isel(sequence=k, time=slice(length))
            np.testing.assert_allclose(part, one.h.isel(sequence=0), atol=1e-14)  # code of another shape


def by_sequence(values):
    return xr.DataArray(values[:, 0], dims="sequence")


def test_what_another_run_had_can_be_put_in():
    other = tc.record_trace(PARAMETERS, X + 1)
    patched = tc.record_trace(PARAMETERS, X, hold=tc.Hold("h", other.h.isel(layer=0, direction=0, drop=True)))
    np.testing.assert_allclose(patched.h.sel(layer=1), other.h.sel(layer=1), atol=1e-14)
    free = tc.record_trace(PARAMETERS, X)
    assert not np.allclose(free.h.sel(layer=1), other.h.sel(layer=1), atol=1e-3)


def test_nan_leaves_a_unit_free_there():
    values = np.full((2, 6), np.nan)
    values[1, 3] = 0.25
    trace, free = tc.record_trace(PARAMETERS, X, hold=tc.Hold("c", values, units=[1])), tc.record_trace(PARAMETERS, X)
    np.testing.assert_allclose(trace.h.isel(sequence=0), free.h.isel(sequence=0), atol=1e-14)  # code of its own
    before = {"sequence": 1, "time": slice(3)}
    np.testing.assert_allclose(trace.h.isel(before), free.h.isel(before), atol=1e-14)
    assert trace.c.sel(layer=0, unit=1).isel(direction=0, sequence=1, time=3) == 0.25
    assert not np.allclose(trace.h.isel(sequence=1, time=4), free.h.isel(sequence=1, time=4))


def test_where_one_hold_leaves_a_unit_free_another_holds_it():
    values = np.full(6, np.nan)
    values[2] = 0.25
    trace = tc.record_trace(PARAMETERS, X, hold=[tc.Hold("c", 0.5), tc.Hold("c", values)])
    np.testing.assert_array_equal(trace.c.isel(layer=0, direction=0, sequence=1, unit=0), [0.5, 0.5, 0.25] + [0.5] * 3)


def test_the_mean_is_that_of_each_unit_in_the_free_run():
    free = tc.record_trace(PARAMETERS, X, lengths=[6, 4])
    trace = tc.record_trace(PARAMETERS, X, lengths=[6, 4], hold=tc.Hold("c", "mean", layer=1, units=(0, 2)))
    expected = free.c.sel(layer=1).isel(direction=0).mean(("sequence", "time"))
    for unit in (0, 2):
        held = trace.c.sel(layer=1, unit=unit).isel(direction=0, sequence=0)
        np.testing.assert_allclose(held, float(expected.sel(unit=unit)), rtol=1e-14)
    assert not np.allclose(trace.c.sel(layer=1, unit=1), expected.sel(unit=1), equal_nan=True)


def test_the_trace_says_that_values_were_held_and_follows_the_schema():
    holds = [tc.Hold("f", 2.0), tc.Hold("c", "mean"), tc.Hold("o", np.full((2, 6), 3.0), layer=1)]
    trace = tc.record_trace(PARAMETERS, X, hold=holds)
    validate_trace(trace)
    described = json.loads(trace.attrs["holds"])
    assert [entry["value"] for entry in described] == [2.0, "mean", "array (sequence, time)"]
    plain = tc.record_trace(PARAMETERS, X, hold=holds[0])
    assert json.loads(plain.attrs["holds"])[0]["value"] == 2.0


def test_holds_are_equal_where_their_values_are():
    assert tc.Hold("c", np.zeros(3)) == tc.Hold("c", np.zeros(3))
    assert tc.Hold("c", np.zeros(3)) != tc.Hold("c", np.ones(3))
    assert tc.Hold("c", "mean") == tc.Hold("c", "mean") != tc.Hold("c", 0.0)
    assert tc.Hold("c", 1.0) == tc.Hold("c", 1) != tc.Hold("f", 1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("median", "cannot hold c at 'median'; give a finite number, 'mean', or an array of numbers"),
        (np.array([1.0, np.inf]), "cannot hold c at values that are infinite, or none; NaN leaves a unit free"),
        (np.zeros((2, 3, 4)), "at values of shape (2, 3, 4); expected (time,) or (sequence, time), or a DataArray"),
        (xr.DataArray([1.0], dims="feature"), "with the dimension 'feature'; expected any of time, sequence, unit"),
        (np.zeros(0), "cannot hold c at values that are infinite, or none"),
    ],
)
def test_values_that_nothing_could_be_held_at_are_refused(value, text):
    with pytest.raises(InputError) as error:
        tc.Hold("c", value)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("hold", "lengths", "text"),
    [
        (tc.Hold("c", np.zeros(5)), None, "has values for 5 steps, and 6 are held; give one for each"),
        (tc.Hold("c", np.zeros(6), steps=[1, 2]), None, "has values for 6 steps, and 2 are held"),
        (tc.Hold("c", xr.DataArray(np.zeros(2), dims="unit")), None, "has values for 2 units, and 3 are held"),
        (tc.Hold("c", np.zeros((3, 6))), None, "has values for 3 sequences, and 2 are held; give one for each"),
        (tc.Hold("c", np.zeros((1, 6))), None, "has values for 1 sequences, and 2 are held"),
        (tc.Hold("c", "mean", layer=2), None, "names layer 2; the LSTM has 2, counted from 0"),
    ],
)
def test_values_that_do_not_fit_the_input_are_refused(hold, lengths, text):
    with pytest.raises(InputError) as error:
        tc.record_trace(PARAMETERS, X, lengths=lengths, hold=hold)
    assert text in str(error.value)
