"""Traces on disk: what comes back is what went in, nothing that was there is lost, damage is named."""

import json
import shutil
import sys

import numpy as np
import pytest
import xarray as xr
import zarr

from tallycell.activations import activation
from tallycell.errors import FormatError, InputError, MissingExtraError, TraceError
from tallycell.parameters import Activations, LSTMParameters
from tallycell.trace import Hold, Record, open_trace, record_trace, save_trace, store
from tallycell.trace.schema import ALWAYS, RECORDED

TIME, SEQUENCES, FEATURES, UNITS = 5, 3, 2, 4


def make_trace(dtype="float64", *, projection=0, x=None, record=None, **options):
    rng = np.random.default_rng(0)
    hidden = projection or UNITS
    shapes = {"weight_ih": (4 * UNITS, FEATURES), "weight_hh": (4 * UNITS, hidden)}
    shapes |= {"weight_hr": (projection, UNITS)} if projection else {}
    weights = {f"{kind}_l0{suffix}": rng.normal(size=shape).astype(dtype)
               for suffix in ("", "_reverse") for kind, shape in shapes.items()}  # fmt: skip
    x = rng.normal(size=(TIME, SEQUENCES, FEATURES)) if x is None else x
    return record_trace(LSTMParameters(weights, **options), x, lengths=[5, 2, 4], record=record or Record())


def labelled_x():
    days = np.datetime64("2024-02-27", "ns") + np.arange(TIME) * np.timedelta64(1, "D")
    return xr.DataArray(
        np.zeros((TIME, SEQUENCES, FEATURES)), dims=("time", "sequence", "feature"),
        coords={"sequence": ["ann", "bo", "cleo"], "feature": ["ред", "blue"], "time": days, "rate": 8000,
                "speaker": ("sequence", np.array(["x", "yy", ""], dtype=object))},
        attrs={"units": "mV"},
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "trace.zarr"
    save_trace(make_trace(), path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float32", "projection": 3},
        {"x": labelled_x()},
        {"record": Record(("c", "f_pre"), units=[3, 1], steps=[1, 4])},
        {"activations": Activations(activation("relu"), activation("sine")), "clip_cell": 3.0, "forget_gate": "none"},
    ],
)
def test_what_is_opened_is_identical_to_what_was_saved(tmp_path, options):
    trace = make_trace(**options)
    before = trace.copy(deep=True)
    save_trace(trace, str(tmp_path / "trace.zarr"))
    opened = open_trace(str(tmp_path / "trace.zarr"))
    xr.testing.assert_identical(opened, before)
    xr.testing.assert_identical(trace, before)
    assert opened.direction.dtype == trace.direction.dtype
    names = list(opened.data_vars)
    assert names == [name for name in (*RECORDED, *ALWAYS) if name in names]


def test_holds_are_kept(tmp_path):
    weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    hold = Hold("i", 5.0, units=[np.int64(1)], steps=slice(np.int64(1), None))
    trace = record_trace(LSTMParameters(weights), np.zeros((4, 3)), hold=hold)
    save_trace(trace, tmp_path / "held")
    (kept,) = json.loads(open_trace(tmp_path / "held").attrs["holds"])
    assert kept == {"gate": "i", "value": 5.0, "layer": 0, "direction": "forward", "units": [1],
                    "steps": {"slice": [1, None, None]}}  # fmt: skip


def test_opening_is_lazy_for_what_was_recorded_and_in_memory_for_the_rest(saved):
    trace = open_trace(saved)
    assert all(trace[name].chunks is not None for name in ("i", "c", "h", "x"))
    assert all(trace[name].chunks is None for name in ("h_0", "c_0", "length", *trace.coords))


def test_chunks_lie_along_sequence_and_along_time_only_where_a_sequence_is_too_long(tmp_path, monkeypatch):
    # A step of the widest variable: 2 directions, 4 units, 8 bytes.
    step = 2 * UNITS * 8
    for fits, expected in (
        (2 * TIME, {"sequence": (2, 1), "time": (5,)}),
        (2, {"sequence": (1, 1, 1), "time": (2, 2, 1)}),
    ):
        monkeypatch.setattr(store, "_CHUNK_BYTES", fits * step)
        save_trace(make_trace(), tmp_path / "trace.zarr")
        trace = open_trace(tmp_path / "trace.zarr")
        assert {name: trace.chunksizes[name] for name in expected} == expected
        assert trace.chunksizes["unit"] == (UNITS,)
        xr.testing.assert_identical(trace, make_trace())


def test_a_lazy_trace_can_be_saved_again_also_onto_itself(saved, tmp_path):
    trace = open_trace(saved)
    part = trace.isel(sequence=[2, 0])
    save_trace(part, tmp_path / "part.zarr")
    save_trace(trace.chunk(time=2, sequence=1), saved)
    xr.testing.assert_identical(open_trace(tmp_path / "part.zarr"), make_trace().isel(sequence=[2, 0]))
    xr.testing.assert_identical(open_trace(saved), make_trace())


def test_an_encoding_from_elsewhere_does_not_round_the_trace(tmp_path):
    trace = make_trace()
    trace.c.encoding = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1}
    save_trace(trace, tmp_path / "trace.zarr")
    xr.testing.assert_identical(open_trace(tmp_path / "trace.zarr"), make_trace())


def test_saving_leaves_nothing_else_behind(saved):
    save_trace(make_trace("float32"), saved)
    assert [entry.name for entry in saved.parent.iterdir()] == ["trace.zarr"]
    assert open_trace(saved).c.dtype == "float32"


def test_an_interrupted_write_leaves_the_former_trace(saved, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_zarr", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_trace(make_trace("float32"), saved)
    assert [entry.name for entry in saved.parent.iterdir()] == ["trace.zarr"]
    xr.testing.assert_identical(open_trace(saved), make_trace())


def test_a_swap_that_fails_puts_the_former_trace_back(saved, monkeypatch):
    real, tried = type(saved).rename, []

    def fail(self, target):
        if target == saved and not tried:
            tried.append(self)
            raise OSError(13, "no")
        return real(self, target)

    monkeypatch.setattr(type(saved), "rename", fail)
    with pytest.raises(InputError, match=rf"cannot write {saved}: no"):
        save_trace(make_trace("float32"), saved)
    monkeypatch.undo()
    assert [entry.name for entry in saved.parent.iterdir()] == ["trace.zarr"]
    xr.testing.assert_identical(open_trace(saved), make_trace())


def put_file(path):
    path.write_text("mine")


def put_folder(path):
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def put_other_store(path):
    xr.Dataset({"a": ("n", [1, 2])}).to_zarr(path, zarr_format=3, consolidated=False)


def put_trace_with_notes(path):
    save_trace(make_trace(), path)
    (path / "notes.txt").write_text("mine")


def put_trace_with_group(path):
    save_trace(make_trace(), path)
    zarr.open_group(path, mode="a").create_group("reading")


@pytest.mark.parametrize("put", [put_file, put_folder, put_other_store, put_trace_with_notes, put_trace_with_group])
def test_what_is_not_a_trace_is_never_overwritten(tmp_path, put):
    path = tmp_path / "thing"
    put(path)
    before = {entry: entry.is_file() and entry.read_bytes() for entry in sorted(tmp_path.rglob("*"))}
    with pytest.raises(FormatError, match="thing exists and is not a trace store; it is left as it is: choose another"):
        save_trace(make_trace(), path)
    assert before == {entry: entry.is_file() and entry.read_bytes() for entry in sorted(tmp_path.rglob("*"))}


def test_a_dataset_that_is_no_trace_is_not_written(tmp_path):
    with pytest.raises(TraceError, match="the trace has no variable length"):
        save_trace(make_trace().drop_vars("length"), tmp_path / "trace.zarr")
    assert not list(tmp_path.iterdir())


def test_what_zarr_cannot_hold_is_named(tmp_path):
    trace = make_trace().assign_coords(owner=("sequence", np.array([{1}, {2}, {3}], dtype=object)))
    with pytest.raises(
        TraceError, match=r"the trace cannot be kept as Zarr: .*; drop or rename what is named"
    ) as caught:
        save_trace(trace, tmp_path / "trace.zarr")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def remove(name):
    return lambda path: (path / name).unlink()


def truncate(name):
    def halve(path):
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: len(content) // 2])

    return halve


def change_attribute(name, value):
    def change(path):
        about = json.loads((path / "zarr.json").read_text())
        about["attributes"][name] = value
        (path / "zarr.json").write_text(json.dumps(about))

    return change


DAMAGE = [
    (shutil.rmtree, FormatError, "is not a trace store: nothing is there; save_trace writes one"),
    (remove("zarr.json"), FormatError, "is not a trace store: a store of Zarr format 3 has a file zarr.json"),
    (truncate("zarr.json"), FormatError, "is damaged: .*; record and save it again"),
    (truncate("c/zarr.json"), FormatError, "is damaged: .*; record and save it again"),
    (remove("c/c/0/0/0/0/0"), FormatError, "is damaged: c lack chunks; record and save it again"),
    (truncate("c_0/c/0/0/0/0"), FormatError, "is damaged: .*; record and save it again"),
    (truncate("direction/c/0"), FormatError, "is damaged: .*; record and save it again"),
    (lambda path: shutil.rmtree(path / "length"), TraceError, "the trace has no variable length"),
    (change_attribute("schema_version", "7"), TraceError, "the trace has schema_version '7', this tallycell reads '2'"),
    (change_attribute("activations", "["), TraceError, r"attribute activations of the trace is '\['; expected JSON"),
]


@pytest.mark.parametrize(("damage", "kind", "text"), DAMAGE)
def test_a_damaged_store_is_refused_in_one_line(saved, damage, kind, text):
    damage(saved)
    with pytest.raises(kind, match=text) as caught:
        open_trace(saved)
    assert "\n" not in str(caught.value)


def test_a_damaged_chunk_shows_when_it_is_computed(saved):
    truncate("c/c/0/0/0/0/0")(saved)
    trace = open_trace(saved)
    trace.i.load()
    with pytest.raises(Exception, match=r".+"):
        trace.c.load()


def test_another_zarr_store_is_not_a_trace(tmp_path):
    put_other_store(tmp_path / "other.zarr")
    with pytest.raises(TraceError, match="the dataset has no attribute schema_version, so it is not a trace"):
        open_trace(tmp_path / "other.zarr")


@pytest.mark.parametrize("package", ["zarr", "dask"])
def test_a_missing_package_names_its_extra(saved, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(store, "find_spec", lambda name: None if name == package else object())
    text = rf"this needs the package '{package}', which is not installed: pip install 'tallycell\[scale\]'"
    with pytest.raises(MissingExtraError, match=text):
        save_trace(make_trace(), saved)
    with pytest.raises(MissingExtraError, match=text):
        open_trace(saved)
