"""What record_trace takes, by position and by name, and what it refuses in which words."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from tallycell.errors import InputError, ParameterError
from tallycell.parameters import LSTMParameters
from tallycell.trace import Record, record_trace, validate_trace

TIME, SEQUENCES, FEATURES, UNITS = 6, 3, 2, 4


def parameters(dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (4 * UNITS, FEATURES), "weight_hh_l0": (4 * UNITS, UNITS)}
    return LSTMParameters({name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()})


def random_x():
    return np.random.default_rng(1).normal(size=(TIME, SEQUENCES, FEATURES))


def labelled_x():
    return xr.DataArray(
        random_x(), dims=("time", "sequence", "feature"),
        coords={"sequence": ["ann", "bo", "cleo"], "feature": ["red", "blue"], "token": ("time", list("abcdef")),
                "rate": 8000},
        attrs={"units": "mV"},
    )  # fmt: skip


@given(st.permutations(["time", "sequence", "feature"]))
def test_xarray_input_goes_by_names_in_any_order(order):
    trace = record_trace(parameters(), labelled_x().transpose(*order), lengths=[6, 2, 4])
    plain = record_trace(parameters(), random_x(), lengths=[6, 2, 4])
    for name in ("i", "c", "h", "x"):
        np.testing.assert_array_equal(trace[name], plain[name])
    validate_trace(trace)


def test_xarray_coordinates_are_kept_and_selected():
    trace = record_trace(parameters(), labelled_x(), record=Record(steps=[1, 4]))
    assert trace.sequence.values.tolist() == ["ann", "bo", "cleo"]
    assert trace.feature.values.tolist() == ["red", "blue"]
    assert trace.time.values.tolist() == [1, 4]
    assert trace.token.values.tolist() == ["b", "e"]
    assert trace.rate.item() == 8000
    assert trace.x.attrs["units"] == "mV"
    without_x = record_trace(parameters(), labelled_x(), record=Record("c"))
    assert "feature" not in without_x.dims
    assert without_x.token.values.tolist() == list("abcdef")


DAYS = np.datetime64("2024-02-27", "ns") + np.arange(TIME) * np.timedelta64(1, "D")


@pytest.mark.parametrize("labels", [DAYS, np.arange(TIME) * 0.032, np.arange(TIME) + 100, list("abcdef")])
def test_time_is_the_inputs_own_and_steps_are_counted_beside_it(labels):
    trace = record_trace(parameters(), labelled_x().assign_coords(time=labels), record=Record(steps=[2, 3]))
    np.testing.assert_array_equal(trace.time, labels[2:4])
    assert trace.step.values.tolist() == [2, 3]
    assert trace.step.dims == ("time",)
    validate_trace(trace)
    np.testing.assert_array_equal(trace.sel(time=labels[3]).c, trace.c.isel(time=1))


def test_a_month_is_chosen_by_its_name():
    trace = record_trace(parameters(), labelled_x().assign_coords(time=DAYS))
    assert trace.sel(time="2024-02").step.values.tolist() == [0, 1, 2]
    assert trace.sel(time="2024-03").step.values.tolist() == [3, 4, 5]


def test_without_labels_time_is_the_number_of_the_step():
    trace = record_trace(parameters(), random_x())
    assert trace.time.values.tolist() == trace.step.values.tolist() == list(range(TIME))


def test_times_that_differ_between_sequences_are_a_coordinate_of_both():
    own = DAYS + np.arange(SEQUENCES)[:, np.newaxis] * np.timedelta64(365, "D")
    x = labelled_x().assign_coords(date=(("sequence", "time"), own))
    np.testing.assert_array_equal(record_trace(parameters(), x).date.transpose("sequence", "time"), own)


def test_what_a_trace_holds_can_be_an_input_again():
    trace = record_trace(parameters(), labelled_x().assign_coords(time=DAYS))
    again = record_trace(parameters(), trace.x.isel(time=slice(2, None)))
    np.testing.assert_array_equal(again.time, DAYS[2:])
    assert again.step.values.tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="x has a coordinate step, a name that the trace has for itself"):
        record_trace(parameters(), labelled_x().assign_coords(step=("sequence", [1, 2, 3])))


def test_xarray_input_without_sequence_is_one_sequence():
    one = labelled_x().isel(sequence=1).transpose("feature", "time")
    trace = record_trace(parameters(), one, (np.zeros((1, UNITS)), np.ones((1, UNITS))))
    assert trace.sequence.values.tolist() == ["bo"]
    np.testing.assert_array_equal(trace.x.isel(sequence=0), random_x()[:, 1])


def test_dask_backed_xarray_input_is_read():
    trace = record_trace(parameters(), labelled_x().chunk({"sequence": 1}))
    np.testing.assert_array_equal(trace.c, record_trace(parameters(), labelled_x()).c)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("weights", ["float32", "float64"])
def test_input_is_converted_to_the_dtype_of_the_weights(dtype, weights):
    x = np.arange(TIME * FEATURES).reshape(TIME, FEATURES).astype(dtype)
    trace = record_trace(parameters(weights), x)
    assert trace.c.dtype == trace.x.dtype == trace.c_0.dtype == weights
    np.testing.assert_array_equal(trace.x[0], x)


def test_input_too_fine_for_the_weights_is_rounded():
    trace = record_trace(parameters("float32"), np.full((1, 2), 0.1))
    np.testing.assert_array_equal(trace.x, np.float32(0.1))


def test_lengths_come_as_list_array_or_tensor():
    expected = record_trace(parameters(), random_x(), lengths=[6, 2, 4])
    for lengths in ((6, 2, 4), np.array([6, 2, 4], "uint8"), torch.tensor([6, 2, 4])):
        xr.testing.assert_identical(expected, record_trace(parameters(), random_x(), lengths=lengths))
    assert record_trace(parameters(), random_x()[:, 0], lengths=4).length.values.tolist() == [4]


def spoilt(t, s, k, value):
    x = random_x()
    x[t, s, k] = value
    return x


ZEROS = np.zeros((1, SEQUENCES, UNITS))
REFUSED = [
    ({"x": np.zeros(5)}, r"x has shape \(5,\); expected \(time, feature\) or \(time, sequence, feature\)"),
    ({"x": np.zeros((1, 2, 3, 4)), "batch_first": True}, r"expected \(time, feature\) or \(sequence, time, feature\)"),
    ({"x": np.zeros((6, 2, 3))}, r"x has 3 features, the LSTM reads 2; x was read as \(time, sequence, feature\), with "
                                 r"batch_first=True it is \(sequence, time, feature\)"),
    ({"x": np.zeros((0, 2))}, "x is empty: 0 steps, 1 sequences, 2 features; give at least one each"),
    ({"x": np.zeros((3, 0, 2))}, "x is empty: 3 steps, 0 sequences"),
    ({"x": np.zeros((6, 2), complex)}, "x has dtype complex128; expected floats or integers"),
    ({"x": np.zeros((6, 2), bool)}, "x has dtype bool; expected"),
    ({"x": np.full((6, 2), None)}, "x has dtype object; expected"),
    ({"x": np.full((6, 2), "a")}, "x has dtype <U1; expected"),
    ({"x": [[0.0, 1.0], [2.0]]}, r"x of type list does not make an array \(.*\); give sequences of different length "
                                 "padded, with lengths="),
    ({"x": pack_sequence([torch.zeros(3, 2), torch.zeros(2, 2)])}, "x of type PackedSequence does not make an array"),
    ({"x": torch.zeros(6, 2, dtype=torch.bfloat16)}, r"x has dtype bfloat16, which NumPy does not have; give float32"),
    ({"x": spoilt(3, 1, 0, np.nan)}, r"x is nan \(as float64\) at time 3, sequence 1, feature 0; inputs must be"),
    ({"x": spoilt(5, 2, 1, -np.inf)}, r"x is -inf \(as float64\) at time 5, sequence 2, feature 1"),
    ({"x": spoilt(1, 0, 0, np.nan), "lengths": [2, 6, 6]}, "x is nan .* at time 1, sequence 0"),
    ({"lengths": [6, 6]}, r"lengths have shape \(2,\), expected one for each of 3 sequences; x was read as \(time"),
    ({"lengths": 6}, r"lengths have shape \(\), expected one for each of 3 sequences"),
    ({"lengths": [6, 0, 1]}, r"lengths\[1\] is 0; expected 1 to 6, the steps of x"),
    ({"lengths": [6, 1, 7]}, r"lengths\[2\] is 7; expected 1 to 6"),
    ({"lengths": [6.0, 1, 2]}, "lengths have dtype float64; expected integers"),
    ({"state": ZEROS}, r"state is a ndarray; expected a pair \(h_0, c_0\), or None for zeros"),
    ({"state": (ZEROS[0], ZEROS)}, r"h_0 has shape \(3, 4\), expected \(1, 3, 4\), which is \(layer \* direction, seq"),
    ({"state": (ZEROS, ZEROS[..., :3])}, r"c_0 has shape \(1, 3, 3\), expected \(1, 3, 4\)"),
    ({"state": (ZEROS, ZEROS + np.inf)}, "c_0 has values that are NaN or infinite; initial states must be finite"),
    ({"x": np.zeros((6, 2)), "state": (ZEROS, ZEROS)}, r"h_0 has shape .*, expected \(1, 4\), which is \(layer \* dir"),
    ({"x": labelled_x().rename(feature="unit")}, "x has the dimension unit; expected time and feature, and seq"),
    ({"x": labelled_x().isel(time=0)}, r"x has dimensions \(sequence, feature\) and no time: rename one"),
    ({"x": labelled_x().assign_coords(layer=0)}, "x has a coordinate layer, a name that the trace has for itself"),
    ({"x": labelled_x().isel(feature=[0])}, "x has 1 features, the LSTM reads 2$"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(given, text):
    given = {"x": random_x()} | given
    with pytest.raises(InputError, match=text) as caught:
        record_trace(parameters(), given.pop("x"), given.pop("state", None), **given)
    assert "\n" not in str(caught.value)


def test_a_number_too_large_for_the_weights_is_refused():
    with pytest.raises(InputError, match=r"x is inf \(as float32\) at time 0, sequence 0, feature 0"):
        record_trace(parameters("float32"), np.full((1, 2), 1e300))


@pytest.mark.parametrize("model", [torch.nn.GRU(2, 4), "model.onnx", None])
def test_what_is_no_lstm_is_refused(model):
    with pytest.raises(InputError, match=r"cannot record a (GRU|str|NoneType); expected LSTMParameters, a Recogniser"):
        record_trace(model, random_x())


def test_weights_of_a_dtype_that_is_not_taken_are_refused():
    with pytest.raises(ParameterError, match="weights of dtype float16; expected all float32 or all float64"):
        record_trace(torch.nn.LSTM(2, 4).half(), random_x())
    with pytest.raises(InputError, match="weight weight_ih_l0 has dtype bfloat16"):
        record_trace(torch.nn.LSTM(2, 4).bfloat16(), random_x())
