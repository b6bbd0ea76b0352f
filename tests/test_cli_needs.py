"""What reading is said to need of memory, beside how the reading divides its work."""

import numpy as np
import pytest

import tallycell as tc
from tallycell.cli import needs
from tallycell.reading.lanes import in_double, slices_of


@pytest.mark.parametrize("threads", [1, 2, 64])
@pytest.mark.parametrize("hidden", [1, 16, 250])
@pytest.mark.parametrize("steps", [300, 30_000, 3_000_000])
def test_as_many_units_are_asked_for_as_threads_read_together(monkeypatch, threads, hidden, steps):
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", str(threads))
    parameters = tc.LSTMParameters(
        {"weight_ih_l0": np.zeros((4 * hidden, 1)), "weight_hh_l0": np.zeros((4 * hidden, hidden))}
    )
    said = needs.bytes_to_read(parameters, steps, 1)
    monkeypatch.setattr(needs, "OF_A_SLICE", 0)
    asked_for = (said - needs.bytes_to_read(parameters, steps, 1)) / (14 * 8 * steps)
    lanes = in_double().lanes
    groups = -(-hidden // lanes)
    together = sum(some.stop - some.start for some in slices_of(groups, steps)[:threads]) * lanes
    assert together <= asked_for + 0.01  # bytes are whole
    assert asked_for <= max(together + threads * lanes, 2 * together)  # a slice is cut down to whole vectors
