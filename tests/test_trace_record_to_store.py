"""A trace that is written block by block is the trace that is recorded at once, or none."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr

from tallycell.errors import FormatError, InputError
from tallycell.input import Input
from tallycell.parameters import LSTMParameters
from tallycell.trace import Record, open_trace, record_to_store, record_trace, save_trace, store

TIME, SEQUENCES, FEATURES, UNITS = 7, 5, 2, 4
STEP = UNITS * 8  # bytes of a step of the widest variable, in one direction and layer
CLOSE = {"rtol": 1e-12, "atol": 1e-15}  # doubles, whose last bits depend on how many sequences run side by side


def parameters(layers=1, directions=1, projection=0):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(
        FEATURES, UNITS, layers, bidirectional=directions == 2, proj_size=projection, dtype=torch.float64
    )
    return LSTMParameters({name: weight.detach().numpy() for name, weight in lstm.named_parameters()})


def given(**options):
    x = np.random.default_rng(1).normal(size=(TIME, SEQUENCES, FEATURES))
    return Input(x, "noise", "noise", **{"lengths": np.array([7, 2, 4, 1, 6])} | options)


@pytest.mark.parametrize("fits", [1, 3, TIME, 2 * TIME + 1, 1000])  # steps in a chunk, of one sequence or several
@pytest.mark.parametrize("shape", [{}, {"layers": 2}, {"directions": 2}, {"layers": 2, "projection": 3}])
def test_what_is_written_in_blocks_is_what_is_recorded_at_once(tmp_path, monkeypatch, fits, shape):
    lstm = parameters(**shape)
    monkeypatch.setattr(store, "_CHUNK_BYTES", fits * STEP * lstm.num_layers * lstm.num_directions)
    done = []
    record_to_store(lstm, given(), tmp_path / "t.zarr", progress=lambda *now: done.append(now))
    opened = open_trace(tmp_path / "t.zarr")
    pieces = 1 if lstm.bidirectional else -(-TIME // fits)
    assert len(done) == pieces * -(-SEQUENCES // max(fits // TIME, 1))
    assert done[-1] == (SEQUENCES * TIME, SEQUENCES * TIME)
    assert [now for now, _ in done] == sorted({now for now, _ in done})
    whole = record_trace(lstm, given())
    xr.testing.assert_allclose(opened, whole, **CLOSE)
    assert opened.attrs == whole.attrs
    assert list(opened.data_vars) == list(whole.data_vars)


def test_labels_states_and_a_choice_of_variables_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_CHUNK_BYTES", 2 * STEP)
    days = np.datetime64("2024-02-27", "ns") + np.arange(TIME) * np.timedelta64(1, "D")
    x = xr.DataArray(
        np.ones((TIME, SEQUENCES, FEATURES)), dims=("time", "sequence", "feature"),
        coords={"sequence": list("abcde"), "feature": ["ред", "blue"], "time": days}, attrs={"units": "mV"},
    )  # fmt: skip
    state = (np.full((1, SEQUENCES, UNITS), 0.5), np.arange(SEQUENCES * UNITS, dtype=float).reshape(1, SEQUENCES, -1))
    read = Input(x, "ones", "ones", lengths=np.array([7, 2, 4, 1, 6]), state=state)
    record_to_store(parameters(), read, tmp_path / "t.zarr", variables=("c", "x", "f_pre"))
    opened = open_trace(tmp_path / "t.zarr")
    whole = record_trace(parameters(), read, record=Record(("c", "x", "f_pre")))
    xr.testing.assert_allclose(opened, whole, **CLOSE)
    assert {"c", "x", "f_pre"} == set(opened.data_vars) - {"h_0", "c_0", "length"}
    assert opened.time.equals(whole.time)
    assert opened.x.attrs == whole.x.attrs


def test_folders_above_the_place_are_made(tmp_path):
    record_to_store(parameters(), given(), tmp_path / "a" / "b" / "t.zarr")
    assert open_trace(tmp_path / "a" / "b" / "t.zarr").sizes["time"] == TIME


def overflowing():
    """Relu cells that double and so overflow to NaN: from the tenth step of the second sequence on."""
    from tallycell.activations import activation
    from tallycell.parameters import Activations

    weights = {"weight_ih_l0": np.array([[9.0], [9.0], [1.0], [9.0]], np.float32),
               "weight_hh_l0": np.array([[0.0], [0.0], [1e30], [0.0]], np.float32)}  # fmt: skip
    relu = Activations(activation("sigmoid"), activation("relu"), activation("relu"))
    x = np.zeros((20, 2, 1), np.float32)
    x[10:, 1] = 1.0
    return LSTMParameters(weights, activations=relu), Input(x, "a jump", "a jump")


def test_what_fails_half_way_leaves_the_former_trace_and_names_the_sequence(tmp_path, monkeypatch):
    path = tmp_path / "t.zarr"
    save_trace(record_trace(parameters(), given()), path)
    monkeypatch.setattr(store, "_CHUNK_BYTES", 4 * 3)
    done = []
    with pytest.raises(InputError, match="overflow to NaN in sequence 1;"):
        record_to_store(*overflowing(), path, progress=lambda *now: done.append(now))
    assert done  # the first sequence was written by then
    xr.testing.assert_identical(open_trace(path).load(), record_trace(parameters(), given()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.zarr"]


def test_something_else_at_the_place_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(FormatError, match="is not a trace store"):
        record_to_store(parameters(), given(), tmp_path / "notes")
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


MEASURED = """
import sys, json
import numpy as np
import tallycell as tc
from tallycell.input import Input
from tallycell.trace import record_to_store

def most():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

rng = np.random.default_rng(0)
weights = {"weight_ih_l0": rng.normal(size=(256, 1)), "weight_hh_l0": rng.normal(size=(256, 64)) / 8}
lstm = tc.LSTMParameters({name: weight.astype(np.float32) for name, weight in weights.items()})
small = Input(np.zeros((2_000, 1), np.float32), "small", "")
record_to_store(lstm, small, sys.argv[1])
before = most()
record_to_store(lstm, Input(np.zeros((int(sys.argv[2]), 1), np.float32), "large", ""), sys.argv[1])
print(json.dumps((most() - before) * 1024))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
def test_memory_is_set_by_the_block(tmp_path):
    """A trace of 900 MB, in blocks of 8 MB a variable."""
    steps = 600_000
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "t.zarr"), str(steps)]
    grown = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert open_trace(tmp_path / "t.zarr").sizes["time"] == steps
    assert grown < 6 * steps * 64 * 4 / 3
