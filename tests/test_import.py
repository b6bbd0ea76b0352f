import json
import subprocess
import sys

import numpy as np
import pytest

import tallycell

HEAVY = ("torch", "onnx", "onnxruntime", "h5py", "dask", "panel", "zarr", "xarray", "scipy", "numba", "typer")


def test_import_loads_no_heavy_library():
    code = "import json, sys, tallycell; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert "tallycell" in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)


@pytest.mark.parametrize("name", tallycell.__all__)
def test_every_public_name_is_there(name):
    assert getattr(tallycell, name).__name__ == name
    assert name in dir(tallycell)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'tallycell' has no attribute 'forget_me'$"):
        _ = tallycell.forget_me


def test_fresh_memory_is_nan_in_tests():
    assert np.isnan(np.empty(3)).all()
    assert np.isnan(np.empty_like(np.zeros((2, 2), np.float32))).all()
    assert np.empty(3, dtype=np.int64).dtype == np.int64


def test_what_is_listed_is_public():
    assert set(dir(tallycell)) == {*tallycell.__all__, "__version__"}


def test_the_repr_of_every_value_is_short():
    from tallycell.machine.shipped import shipped_machine

    tc = tallycell
    parameters = tc.LSTMParameters({"weight_ih_l0": np.ones((256, 3)), "weight_hh_l0": np.zeros((256, 64))})
    trace = tc.record_trace(parameters, np.random.default_rng(0).normal(size=(300, 3)))
    reading = tc.read_units(trace, quantities={"noise": np.random.default_rng(1).normal(size=300)})
    assert repr(reading).startswith("Reading(64 units: 64 ")
    assert repr(reading.units[3]).startswith("UnitReading('0.3', ")
    stream = tc.Stream(parameters, 2)
    assert repr(stream) == f"Stream({parameters!r}, sequences=2)"
    for value in (
        reading,
        reading.units[0],
        stream,
        parameters,
        shipped_machine("dyck-1"),
        tc.Activations(),
        tc.Record(),
    ):
        assert len(repr(value)) < 1000
        assert repr(value).count("\n") < 10
