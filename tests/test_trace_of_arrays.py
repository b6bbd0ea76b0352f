"""A trace of somebody else's cell: torch's GRU, and LSTMs whose gates come as arrays."""

import numpy as np
import pytest
import torch
import xarray as xr

import tallycell as tc
from tallycell.activations import activation
from tallycell.errors import InputError, TraceError
from tallycell.parameters import Activations


def gru_gates(gru, x):
    """z, n and h of each step by torch's GRUCell equations; h is held against torch.nn.GRU itself."""
    hidden = gru.hidden_size
    h = torch.zeros(x.shape[1], hidden, dtype=x.dtype)
    found = []
    for at in x:
        of_x = at @ gru.weight_ih_l0.T + gru.bias_ih_l0
        of_h = h @ gru.weight_hh_l0.T + gru.bias_hh_l0
        r, z = (of_x + of_h)[:, : 2 * hidden].sigmoid().split(hidden, 1)
        n = (of_x[:, 2 * hidden :] + r * of_h[:, 2 * hidden :]).tanh()
        h = (1 - z) * n + z * h
        found.append((z, n, h))
    z, n, h = (torch.stack(some).detach().numpy() for some in zip(*found, strict=True))
    assert h == pytest.approx(gru(x)[0].detach().numpy(), abs=1e-6)
    return z, n, h


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gru_of_torch_is_a_trace_that_is_read(dtype):
    torch.manual_seed(0)
    gru, x = torch.nn.GRU(3, 4).to(dtype), torch.randn(50, 6, 3, dtype=dtype)
    z, n, h = gru_gates(gru, x)
    trace = tc.trace_of(i=1 - z, f=z, g=n, c=h, x=x)
    assert np.array_equal(trace.c.squeeze().transpose("time", "sequence", "unit").values, h)
    assert str(trace.c.dtype) == str(z.dtype)
    reading = tc.read_units(trace)
    assert len(reading.units) == 4
    # What it keeps and what it writes are one gate: of what lies below 1 nothing can be counted up.
    assert float(abs(trace.c).max()) < 1


def test_what_was_recorded_is_what_comes_of_its_arrays():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 4, dtype=torch.float64)
    recorded = tc.record_trace(lstm, np.random.default_rng(0).normal(size=(9, 5, 3)), lengths=[9, 3, 1, 8, 9])
    arrays = {name: recorded[name][0, 0].transpose("time", "sequence", "unit").values for name in "ifgoc"}
    x = recorded.x.transpose("time", "sequence", "feature").values
    again = tc.trace_of(**arrays, x=x)
    xr.testing.assert_identical(again, recorded[[*"ifgoc", "x", "h_0", "c_0", "length"]])
    computed = tc.trace_of(**{name: arrays[name] for name in "ifg"})
    xr.testing.assert_allclose(computed.c, recorded.c, rtol=1e-12)


def test_one_sequence_needs_no_dimension_for_it_and_a_gate_may_be_one_number():
    trace = tc.trace_of(i=1, f=1.0, g=np.array([[1.0], [-1], [1], [1]]))
    assert trace.c.values.ravel().tolist() == [1, 0, 1, 2]
    assert trace.sizes == {"layer": 1, "direction": 1, "sequence": 1, "time": 4, "unit": 1}


def test_a_gate_that_is_one_number_ends_where_the_sequences_do():
    g = np.array([[[1.0], [1]], [[1], [np.nan]], [[1], [np.nan]]])
    trace = tc.trace_of(i=1, f=1, g=g)
    assert trace.length.values.tolist() == [3, 1]
    assert np.nan_to_num(trace.c.values.squeeze(), nan=-1).tolist() == [[1, 2, 3], [1, -1, -1]]


def test_a_cell_that_began_elsewhere_is_found_where_the_first_step_shows_it():
    f, g = np.full((3, 2), 0.5), np.full((3, 2), 0.25)
    c = np.array([[2.25, 0.25], [1.375, 0.375], [0.9375, 0.4375]])  # from 4 and from 0
    trace = tc.trace_of(i=1, f=f, g=g, c=c)
    assert trace.c_0.values.ravel().tolist() == [4, 0]


def test_other_activations_are_those_that_gates_are_measured_by():
    hard = Activations(activation("hard_sigmoid"), activation("relu"), activation("identity"))
    g = np.array([[5.0], [7.0]])
    assert tc.trace_of(1, 1, g, activations=hard).c.values.ravel().tolist() == [5, 12]
    with pytest.raises(TraceError, match="variable g"):
        tc.trace_of(1, 1, g)


ONE = np.ones((3, 1))
BAD = {
    "c is not f c + i g: at step 2, sequence 0, unit 0 it is 5 and f c + i g is 3; give the gates": (
        {"i": 1, "f": 1, "g": ONE, "c": np.array([[1.0], [2], [5]])}
    ),
    "got i (), f (2, 1), g (3, 1); expected one shape, (time, unit) or (time, sequence, unit)": (
        {"i": 1, "f": np.ones((2, 1)), "g": ONE}
    ),
    "got i (), f (), g (3,); expected one shape": {"i": 1, "f": 1, "g": np.ones(3)},
    "g has infinite values": {"i": 1, "f": 1, "g": ONE * np.inf},
    "some values are NaN inside a sequence": {"i": 1, "f": 1, "g": np.array([[1.0], [np.nan], [1]])},
    "x has shape (2, 5); expected 3 steps": {"i": 1, "f": 1, "g": ONE, "x": np.ones((2, 5))},
    "x has shape (3, 2, 5); expected 3 steps of 1 sequences": {"i": 1, "f": 1, "g": ONE, "x": np.ones((3, 2, 5))},
    "g has dtype <U1; expected floats": {"i": 1, "f": 1, "g": np.array([["a"]])},
}


@pytest.mark.parametrize("text", BAD)
def test_what_makes_no_trace_is_refused(text):
    with pytest.raises(InputError) as raised:
        tc.trace_of(**BAD[text])
    assert text in str(raised.value)


def test_a_cell_off_by_rounding_is_taken_and_one_a_little_further_is_not():
    f, g = np.full((40, 1), 1.0, np.float32), np.full((40, 1), 0.1, np.float32)
    c = np.cumsum(g, axis=0)
    tc.trace_of(1, f, g, c=c)
    with pytest.raises(InputError, match="c is not f c"):
        tc.trace_of(1, f, g, c=c + 2e-3 * (np.arange(40)[:, np.newaxis] == 20))
