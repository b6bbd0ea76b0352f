"""Tables as people have them: written with pandas, NumPy and xarray, read back the same, and refused with a reason."""

import pickle

import h5py
import numcodecs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import tallycell as tc
from tallycell import memory
from tallycell.errors import FormatError, InputError
from tallycell.opening.tables import SUFFIXES, read_quantities, read_table, read_tables
from tallycell.reading.alignment import align_quantities
from tallycell.scaling import Scaling, split_units
from tallycell.trace.times import notes_on_time, step_seconds

DAYS = pd.date_range("2001-02-26", periods=6, freq="D")
TABLE = pd.DataFrame(
    {"rain": [0.0, 1.5, 0.0, 2.0, 9.25, 0.125], "temp": [-1.0, 0.0, 3.0, 4.0, 2.0, 1.0]}, index=DAYS.rename("date")
)
LSTM = tc.LSTMParameters({"weight_ih_l0": np.ones((4, 2)), "weight_hh_l0": np.zeros((4, 1))})


def dataset(frame=TABLE):
    """The table as variables over time."""
    return frame.rename_axis("time").to_xarray()


def basins():
    """Two variables of two basins, of which the second has twice the rain and temperature."""
    both = xr.concat([dataset(), 2 * dataset()], pd.Index(["Marsh Creek", "Fish River"], name="basin"))
    return both.transpose("basin", "time").assign(area=("basin", [10.0, 20.0]))


WRITERS = {
    ".csv": lambda path, frame: frame.to_csv(path),
    ".parquet": lambda path, frame: frame.to_parquet(path),
    ".nc": lambda path, frame: dataset(frame).to_netcdf(path, engine="h5netcdf"),
    "3.nc": lambda path, frame: dataset(frame).to_netcdf(path, engine="scipy"),
    ".zarr": lambda path, frame: dataset(frame).to_zarr(path, consolidated=False),
    "2.zarr": lambda path, frame: dataset(frame).to_zarr(path, consolidated=False, zarr_format=2),
}


def written(folder, kind, frame=TABLE, stem="x"):
    path = folder / f"{stem}{kind}"
    WRITERS[kind](path, frame)
    return path


def csv(folder, text, name="x.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(call, *parts, error=InputError):
    """The call raises the error, in one line that has all the parts."""
    with pytest.raises(error) as raised:
        call()
    for part in parts:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


# ---- what was written is what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_comes_back_with_its_dates_and_names(tmp_path, kind):
    x = read_table(written(tmp_path, kind))
    assert x.dims == ("time", "feature")
    np.testing.assert_array_equal(x, TABLE.to_numpy())
    np.testing.assert_array_equal(x.time, DAYS.to_numpy())
    assert x.time.dtype == "datetime64[ns]"
    assert x.feature.to_numpy().tolist() == ["rain", "temp"]
    assert "left_out" not in x.attrs


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_are_chosen_by_name_in_the_order_of_the_model(tmp_path, kind):
    path = written(tmp_path, kind, TABLE.assign(discharge=[np.nan] * 6))
    x = read_table(path, features=["temp", "rain"])
    np.testing.assert_array_equal(x, TABLE[["temp", "rain"]].to_numpy())
    assert x.attrs["left_out"] == ["discharge"]  # and its gaps do not matter
    refused(lambda: read_table(path, features=["rain", "snow"]), "has no column 'snow', which the model reads",
            "it has ", "'discharge'")  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_a_gap_is_refused_in_an_input_and_kept_in_a_quantity(tmp_path, kind):
    gappy = TABLE.copy()
    gappy.iloc[3, 1] = np.nan
    path = written(tmp_path, kind, gappy)
    refused(lambda: read_table(path), "column 'temp'", "has no value at 2001-03-01 (row 4)", "fill the gap")
    pd.testing.assert_series_equal(read_quantities(path)["temp"].to_series(), gappy["temp"], check_freq=False,
                                   check_names=False, check_index_type=False)  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_quantities_go_along_with_an_input_of_the_same_dates_only(tmp_path, kind):
    trace = tc.record_trace(LSTM, read_table(written(tmp_path, kind)))
    aligned = align_quantities(read_quantities(written(tmp_path, kind, stem="q")), trace)
    np.testing.assert_array_equal(aligned["rain"][0], TABLE["rain"])
    shifted = read_quantities(written(tmp_path, kind, TABLE.shift(freq="D"), stem="shifted"))
    refused(lambda: align_quantities(shifted, trace), "has no value at time 2001-02-26")


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_cut_short_is_refused(tmp_path, kind):
    path = written(tmp_path, kind)
    if path.is_dir():
        for file in [*path.rglob("zarr.json"), *path.rglob(".zarray"), *path.rglob(".zgroup")]:
            file.write_bytes(file.read_bytes()[:-20])
    elif kind != ".csv":
        path.write_bytes(path.read_bytes()[:60])
    else:
        path.write_bytes(b"a,b\n1,2,3,4\n\xff")
    refused(lambda: read_table(path), str(path), error=FormatError)
    refused(lambda: read_quantities(path), str(path), error=FormatError)


# ---- CSV and Parquet -------------------------------------------------------------------------------------------------

DATE_FORMS = (
    "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d-%b-%Y", "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M:%S UTC", "%m/%d/%Y %H:%M:%S",
)  # fmt: skip


@pytest.mark.parametrize("form", DATE_FORMS)
def test_common_forms_of_dates_are_read(tmp_path, form):
    frame = TABLE.reset_index(drop=True)
    frame.insert(1, "when", DAYS.strftime(form))
    frame.to_csv(tmp_path / "x.csv", index=False)
    x = read_table(tmp_path / "x.csv")
    np.testing.assert_array_equal(x.time, DAYS.to_numpy())
    np.testing.assert_array_equal(x, TABLE.to_numpy())


def test_zones_become_utc(tmp_path):
    local = pd.date_range("2001-03-24", periods=48, freq="h", tz="Europe/Berlin")  # with the night that lacks an hour
    frame = pd.DataFrame({"when": local, "rain": 1.0})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    for name in ("x.csv", "x.parquet"):
        x = read_table(tmp_path / name)
        np.testing.assert_array_equal(x.time, local.tz_convert("UTC").tz_localize(None).to_numpy())
        assert step_seconds(x) == 3600


def test_years_months_and_days_in_columns_are_dates(tmp_path):
    frame = pd.DataFrame({"Year": DAYS.year, "Mnth": DAYS.month, "Day": DAYS.day, "Hr": 12, "rain": 1.0})
    frame.to_csv(tmp_path / "x.csv", index=False)
    x = read_table(tmp_path / "x.csv")
    np.testing.assert_array_equal(x.time, (DAYS + pd.Timedelta(hours=12)).to_numpy())
    assert x.feature.to_numpy().tolist() == ["rain"]


def test_whole_numbers_are_dates_where_they_are_called_so(tmp_path):
    frame = pd.DataFrame({"date": DAYS.strftime("%Y%m%d").astype(int), "rain": 1.0})
    frame.to_csv(tmp_path / "x.csv", index=False)
    np.testing.assert_array_equal(read_table(tmp_path / "x.csv").time, DAYS.to_numpy())
    frame.rename(columns={"date": "code"}).to_csv(tmp_path / "y.csv", index=False)
    assert "time" not in read_table(tmp_path / "y.csv").coords


def test_the_named_column_is_the_time(tmp_path):
    frame = TABLE.reset_index().assign(other=DAYS + pd.Timedelta(days=365))
    frame.to_csv(tmp_path / "x.csv", index=False)
    x = read_table(tmp_path / "x.csv", time="other", features=["rain", "temp"])
    np.testing.assert_array_equal(x.time, (DAYS + pd.Timedelta(days=365)).to_numpy())
    refused(lambda: read_table(tmp_path / "x.csv", time="when"), "has no column 'when' for the time",
            "it has 'date', 'rain', 'temp', 'other'")  # fmt: skip
    refused(lambda: read_table(tmp_path / "x.csv"), "column 'other'", "holds something that is no number")


@pytest.mark.parametrize("head", ["seconds", "t [s]", "t (sec)"])
def test_numbers_are_a_time_where_they_are_named(tmp_path, head):
    path = csv(tmp_path, f"{head},a\n0.5,1\n1.0,2\n1.5,3\n")
    x = read_table(path, time=split_units(head)[0])
    assert x.time.to_numpy().tolist() == [0.5, 1.0, 1.5]
    assert x.time.attrs == {"units": "s"}
    assert step_seconds(x) == 0.5
    assert read_table(path).shape == (3, 2)  # unnamed, it is a feature


def test_numbers_without_units_are_a_time_of_unknown_length(tmp_path):
    x = read_table(csv(tmp_path, "k,a\n1,1\n2,2\n"), time="k")
    assert x.time.to_numpy().tolist() == [1, 2]
    assert step_seconds(x) is None
    assert notes_on_time(x) == ()


def test_a_column_called_time_that_holds_numbers_is_asked_about(tmp_path):
    path = csv(tmp_path, "time,a\n1,1\n2,2\n")
    refused(lambda: read_table(path), "column 'time' holds no dates; name it", "(--time time)", "rename it")
    assert read_table(path, time="time").time.to_numpy().tolist() == [1, 2]


TIMES = {
    "a day twice": ("2001-03-01", "2001-03-02", "2001-03-02", "has 2001-03-02 twice, in rows 2 and 3"),
    "goes back": ("2001-03-01", "2001-03-03", "2001-03-02", "goes back from 2001-03-03 to 2001-03-02 in row 3"),
    "no such day": ("2001-02-27", "2001-02-28", "2001-02-29", "has '2001-02-29' in row 3, which is no date"),
    "no such day, day first": ("27.2.2001", "28.2.2001", "29.2.2001", "has '29.2.2001' in row 3, which is no date"),
    "a word": ("2001-03-01", "monday", "2001-03-02", "has 'monday' in row 2, which is no date"),
    "none": ("2001-03-01", "", "2001-03-02", "has no date in row 2"),
    "long ago": ("0900-03-01", "0900-03-02", "0900-03-03", "has 0900-03-01; dates from 1678 to 2261 are read"),
    "ambiguous": (
        "01/02/2001",
        "02/03/2001",
        "03/04/2001",
        "begins with '01/02/2001', which is 2001-02-01 or 2001-01-",
    ),
    "no such hour": ("2001-03-01 22:00", "2001-03-01 23:00", "2001-03-01 25:00", "'2001-03-01 25:00' in row 3"),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_that_do_not_rise_are_refused_by_their_row(tmp_path, name):
    *days, text = TIMES[name]
    path = csv(tmp_path, "day,a\n" + "".join(f"{day},1\n" for day in days))
    refused(lambda: read_table(path), "x.csv: column 'day'", text)
    refused(lambda: read_quantities(path), "x.csv: column 'day'", text)


@pytest.mark.parametrize(("numbers", "text"), [
    ([0, 2, 1], "goes back from 2 to 1 in row 3"), ([0, 1, 1], "has 1 twice, in rows 2 and 3"),
    ([0, None, 1], "has no time in row 2"),
])  # fmt: skip
def test_numbers_of_time_rise_as_well(tmp_path, numbers, text):
    pd.DataFrame({"t": numbers, "a": 1.0}).to_csv(tmp_path / "x.csv", index=False)
    refused(lambda: read_table(tmp_path / "x.csv", time="t"), "column 't'", text)


def test_days_before_months_are_told_by_the_order_of_the_rows(tmp_path):
    """11/02, 12/02, 01/03: only the day first, they rise."""
    path = csv(tmp_path, "day,a\n" + "".join(f"{day}/2001,1\n" for day in ("11/02", "12/02", "01/03")))
    assert str(read_table(path).time.to_numpy()[2])[:10] == "2001-03-01"


def test_units_stand_in_the_head(tmp_path):
    path = csv(tmp_path, "day,precip [mm/d],t (°C),wind,x (m),x (ft)\n2001-03-01,1,2,3,4,5\n")
    x = read_table(path)
    assert x.feature.to_numpy().tolist() == ["precip", "t", "wind", "x (m)", "x (ft)"]
    assert x.units.to_numpy().tolist() == ["mm/d", "°C", "", "m", "ft"]
    assert x.units.dims == ("feature",)
    assert read_quantities(path)["precip"].attrs == {"units": "mm/d"}
    assert read_quantities(path)["wind"].attrs == {}
    chosen = read_table(path, features=["t(degC)", "precip"])  # a model's own names, with units of their own
    assert chosen.feature.to_numpy().tolist() == ["t(degC)", "precip"]
    assert chosen.to_numpy().tolist() == [[2, 1]]
    refused(lambda: read_table(path, features=["x"]), "has no column 'x'")  # there are two


def test_a_table_without_a_head_has_numbered_features(tmp_path):
    np.savetxt(tmp_path / "x.csv", TABLE.to_numpy(), delimiter=",")
    x = read_table(tmp_path / "x.csv", features=["a", "b"])
    np.testing.assert_array_equal(x, TABLE.to_numpy())
    assert set(x.coords) == set()
    dated = read_table(csv(tmp_path, "2001-03-01,1,2\n2001-03-02,3,4\n"))
    assert set(dated.coords) == {"time"}
    assert dated.to_numpy().tolist() == [[1, 2], [3, 4]]
    assert list(read_quantities(tmp_path / "x.csv")) == ["column 1", "column 2"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found(tmp_path, separator):
    TABLE.to_csv(tmp_path / "x.csv", sep=separator)
    np.testing.assert_array_equal(read_table(tmp_path / "x.csv"), TABLE.to_numpy())


def test_the_column_in_which_pandas_numbers_rows_is_no_feature(tmp_path):
    TABLE.reset_index().to_csv(tmp_path / "x.csv")
    assert read_table(tmp_path / "x.csv").feature.to_numpy().tolist() == ["rain", "temp"]


def test_numpy_comments_out_a_head(tmp_path):
    np.savetxt(tmp_path / "x.csv", TABLE.to_numpy(), delimiter=",", header="a,b")
    assert read_table(tmp_path / "x.csv").feature.to_numpy().tolist() == ["a", "b"]


def test_rows_longer_than_the_head_are_refused(tmp_path):
    refused(lambda: read_table(csv(tmp_path, "a,b\n1,2,3\n4,5,6\n")), "is not a table of comma-separated values",
            error=FormatError)  # fmt: skip


@pytest.mark.parametrize(("text", "part"), [
    ("", "is not a table"), ("\n\n\n", "is not a table"), ("a,b\n1,2\n1,2,3,4\n", "is not a table"),
])  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path, text, part):
    refused(lambda: read_table(csv(tmp_path, text)), "x.csv", part, error=FormatError)


def test_words_and_empty_tables(tmp_path):
    refused(lambda: read_table(csv(tmp_path, "a,b\n1,monday\n")), "column 'b' of", "leave it out or convert it")
    refused(lambda: read_quantities(csv(tmp_path, "a,b\n1,monday\n")), "column 'b' of", "leave it out or convert it")
    assert read_table(csv(tmp_path, "day,b\n")).shape == (0, 2)
    TABLE.iloc[:0].to_parquet(tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet").shape[0] == 0


def test_parquet_keeps_missing_whole_numbers_missing(tmp_path):
    pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")}).to_parquet(tmp_path / "x.parquet")
    refused(lambda: read_table(tmp_path / "x.parquet"), "column 'a'", "has no value at row 2")
    np.testing.assert_array_equal(read_quantities(tmp_path / "x.parquet")["a"], [1, np.nan, 3])


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".nc", ".zarr"])
def test_memory_is_asked_before_it_is_taken(tmp_path, monkeypatch, kind):
    path = written(tmp_path, kind)
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    refused(lambda: read_table(path), f"{path} needs about", "this process may use 100 bytes")


# ---- NetCDF and Zarr -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".nc", "3.nc", ".zarr"])
def test_a_second_dimension_is_the_sequences(tmp_path, kind):
    path, both = tmp_path / f"x{kind}", basins()
    if kind == ".zarr":
        both.assign_coords(basin=both.basin.astype(np.dtypes.StringDType())).to_zarr(path, consolidated=False)
    else:
        both.to_netcdf(path, engine="scipy" if kind == "3.nc" else "h5netcdf")
    x = read_table(path)
    assert x.dims == ("time", "sequence", "feature")
    expected = both[["rain", "temp"]].to_dataarray("feature").transpose("time", "basin", "feature")
    np.testing.assert_array_equal(x, expected)
    assert x.sequence.to_numpy().tolist() == ["Marsh Creek", "Fish River"]
    static = read_table(path, features=["rain", "area"])
    np.testing.assert_array_equal(static.sel(feature="area"), np.broadcast_to([10.0, 20.0], (6, 2)))
    quantities = read_quantities(path)
    assert set(quantities) == {"rain", "temp"}
    aligned = align_quantities(quantities, tc.record_trace(LSTM, x))
    np.testing.assert_array_equal(aligned["rain"], both["rain"])


@pytest.mark.parametrize("own", [True, False])
def test_one_variable_with_features_is_the_input(tmp_path, own):
    x = xr.DataArray(TABLE.to_numpy(), dims=("time", "feature"), coords={"time": DAYS.to_numpy()}, name="x")
    if own:
        x = x.assign_coords(feature=["rain", "temp"], units=("feature", ["mm/d", ""]))
    x.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    xr.testing.assert_identical(read_table(tmp_path / "x.nc"), x.rename(None))
    both = xr.concat([x, 2 * x], "sequence").transpose("time", "sequence", "feature")
    both.to_netcdf(tmp_path / "both.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_table(tmp_path / "both.nc"), both)


def test_units_of_netcdf_are_kept(tmp_path):
    ds = dataset()
    ds["rain"].attrs["units"] = "mm/d"
    ds.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    assert read_table(tmp_path / "x.nc").units.to_numpy().tolist() == ["mm/d", ""]
    assert read_quantities(tmp_path / "x.nc")["rain"].attrs == {"units": "mm/d"}


def test_a_quantity_in_days_stays_a_number(tmp_path):
    ds = dataset()
    ds["rain"].attrs["units"] = "days"
    ds.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_table(tmp_path / "x.nc"), TABLE.to_numpy())


def test_which_dimension_is_time(tmp_path):
    dims = xr.Dataset({"a": ("t", np.arange(3.0))})
    dims.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    refused(lambda: read_table(tmp_path / "x.nc"), "has no dimension of dates and none called time or date; it has 't'",
            "(--time)")  # fmt: skip
    assert read_table(tmp_path / "x.nc", time="t").shape == (3, 1)
    refused(lambda: read_table(tmp_path / "x.nc", time="u"), "has no variable 'u' along time; it has 'a', 't'")
    two = xr.Dataset({"a": ("day", np.arange(6.0)), "b": ("hour", np.arange(6.0))}, {"day": DAYS, "hour": DAYS})
    two.to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    refused(lambda: read_table(tmp_path / "two.nc"), "has several dimensions of time, 'day', 'hour'; name the one")
    assert read_table(tmp_path / "two.nc", time="hour").feature.to_numpy().tolist() == ["b"]
    beside = xr.Dataset({"a": ("row", np.arange(6.0)), "when": ("row", DAYS)})
    beside.to_netcdf(tmp_path / "beside.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_table(tmp_path / "beside.nc").time, DAYS.to_numpy())


def test_seconds_of_netcdf_are_the_time(tmp_path):
    ds = xr.Dataset({"a": ("time", np.arange(3.0))}, {"time": ("time", [0.5, 1.0, 1.5], {"units": "s"})})
    ds.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    x = read_table(tmp_path / "x.nc")
    assert x.time.to_numpy().tolist() == [0.5, 1.0, 1.5]
    assert step_seconds(x) == 0.5


def test_a_grid_is_refused_with_its_dimensions(tmp_path):
    grid = xr.Dataset({"rain": (("time", "lat", "lon"), np.zeros((6, 2, 2)))}, {"time": DAYS})
    grid.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    refused(lambda: read_table(tmp_path / "x.nc"), "have the dimensions 'time', 'lat', 'lon', such as 'rain'",
            "expected time and at most one other")  # fmt: skip


def test_netcdf_without_variables_over_time_is_refused(tmp_path):
    xr.Dataset({"area": 3.0}, {"time": DAYS}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    refused(lambda: read_table(tmp_path / "x.nc"), "has no variable along 'time'; it has 'area'")


@pytest.mark.parametrize(("order", "text"), [
    ([0, 2, 1, 3, 4, 5], "goes back from 2001-02-28 to 2001-02-27 in row 3"),
    ([0, 1, 1, 3, 4, 5], "has 2001-02-27 twice, in rows 2 and 3"),
])  # fmt: skip
def test_times_of_netcdf_rise(tmp_path, order, text):
    dataset().isel(time=order).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    refused(lambda: read_table(tmp_path / "x.nc"), "its time", text)


def test_a_gap_of_a_basin_is_named(tmp_path):
    gappy = basins()
    gappy["temp"][1, 2] = np.nan
    gappy.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    refused(lambda: read_table(tmp_path / "x.nc"), "column 'temp'", "at 2001-02-28 (row 3), sequence 'Fish River'")


def test_basins_with_times_of_their_own(tmp_path):
    both = basins().drop_vars("time").assign(Time=(("basin", "time"), [DAYS, DAYS + pd.Timedelta(days=100)]))
    both.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    x = read_table(tmp_path / "x.nc")
    assert x.date.dims == ("sequence", "time")
    np.testing.assert_array_equal(x.date, [DAYS, DAYS + pd.Timedelta(days=100)])
    assert step_seconds(x) == 86400


def test_values_in_another_file_are_not_followed(tmp_path):
    np.arange(6.0).tofile(tmp_path / "elsewhere")
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file.create_dataset("a", (6,), "f8", external=[(str(tmp_path / "elsewhere"), 0, 48)])
    refused(lambda: read_table(tmp_path / "x.nc"), "'a' has its values in another file", error=FormatError)
    with h5py.File(tmp_path / "y.nc", "w") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "x.nc"), "a")
    refused(lambda: read_table(tmp_path / "y.nc"), "'a' is a link to elsewhere", error=FormatError)


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_pickles_in_zarr_stay_closed(tmp_path):
    store = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    array = store.create_array("a", shape=(1,), dtype="f8", filters=[numcodecs.Delta("f8")], compressors=None)
    array[:] = 0.0
    meta = tmp_path / "x.zarr" / "a" / ".zarray"
    meta.write_text(meta.read_text().replace('"delta"', '"pickle"'))
    (tmp_path / "x.zarr" / "a" / "0").write_bytes(pickle.dumps(Trap()))
    refused(lambda: read_table(tmp_path / "x.zarr"), "packed as pickles, which are not opened", error=FormatError)


def test_zarr_that_promises_more_than_there_is_memory_is_refused(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("time", shape=(10**13,), dtype="i8", chunks=(10**6,), dimension_names=["time"])
    refused(lambda: read_table(tmp_path / "x.zarr"), "x.zarr needs about 320,000 GB of memory")
    group = zarr.open_group(tmp_path / "y.zarr", mode="w", zarr_format=2)
    group.create_array("time", shape=(6,), dtype="i8", chunks=(10**13,))
    refused(lambda: read_table(tmp_path / "y.zarr"), "y.zarr needs about 320,000 GB of memory")


def test_zarr_of_a_format_that_it_does_not_name_is_refused(tmp_path):
    path = written(tmp_path, "2.zarr")
    (path / ".zgroup").write_text('{"zarr_format": 3}')
    refused(lambda: read_table(path), ".zgroup is of Zarr format 3, expected 2", error=FormatError)


# ---- arrays ----------------------------------------------------------------------------------------------------------


def test_arrays_are_read_by_position(tmp_path):
    np.save(tmp_path / "x.npy", TABLE.to_numpy())
    np.testing.assert_array_equal(read_table(tmp_path / "x.npy"), TABLE.to_numpy())
    np.save(tmp_path / "many.npy", np.zeros((5, 2, 3)))
    assert dict(read_table(tmp_path / "many.npy").sizes) == {"time": 5, "sequence": 2, "feature": 3}
    np.save(tmp_path / "flat.npy", np.zeros(5))
    refused(lambda: read_table(tmp_path / "flat.npy"), "has shape (5,); expected (time, feature) or (time, sequence, ")
    refused(lambda: read_table(tmp_path / "x.npy", time="t"), "is one array and has no column 't' for the time")
    assert list(read_quantities(tmp_path / "flat.npy")) == ["flat"]
    assert list(read_quantities(tmp_path / "x.npy")) == ["column 0", "column 1"]


def test_npz_has_an_input_and_its_time(tmp_path):
    np.savez(
        tmp_path / "x.npz", x=TABLE.to_numpy(), t=DAYS.to_numpy(), short=DAYS[:2].to_numpy(), back=np.arange(6)[::-1]
    )
    x = read_table(tmp_path / "x.npz", time="t")
    np.testing.assert_array_equal(x.time, DAYS.to_numpy())
    refused(lambda: read_table(tmp_path / "x.npz", time="u"), "has no array 'u' for the time; it has 'x', 't'")
    refused(lambda: read_table(tmp_path / "x.npz", time="short"), "has 2 times for 6 steps; give one time a step")
    refused(lambda: read_table(tmp_path / "x.npz", time="back"), "'back' goes back from 5 to 4 in row 2")
    refused(lambda: read_table(tmp_path / "x.npz", time="x"), "has shape (6, 2) and dtype float64; expected a date or")
    np.savez(tmp_path / "several.npz", a=np.zeros((5, 4)), b=np.zeros(2))
    refused(lambda: read_table(tmp_path / "several.npz"), "holds the arrays 'a', 'b'; name the input x")


def test_arrays_of_an_npz_are_quantities(tmp_path):
    np.savez(tmp_path / "q.npz", snow=np.arange(6.0), soil=np.ones((2, 6)), t=DAYS.to_numpy())
    found = read_quantities(tmp_path / "q.npz", time="t")
    assert {name: one.dims for name, one in found.items()} == {"snow": ("time",), "soil": ("sequence", "time")}
    np.testing.assert_array_equal(found.time, DAYS.to_numpy())
    np.savez(tmp_path / "bad.npz", a=np.zeros(6), b=np.zeros(5))
    refused(lambda: read_quantities(tmp_path / "bad.npz"), "has arrays of the shapes (5,), (6,); expected (time,)")


def test_pickles_in_arrays_stay_closed(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Trap()]), allow_pickle=True)
    refused(lambda: read_table(tmp_path / "x.npy"), "holds a pickle, which is not opened", error=FormatError)
    np.savez(tmp_path / "x.npz", x=np.array([Trap()]))
    for read in (read_table, read_quantities):
        refused(lambda read=read: read(tmp_path / "x.npz"), "'x' is a pickle, which is not opened", error=FormatError)


@pytest.mark.parametrize("read", [read_table, read_quantities, lambda path: read_tables([path])])
def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path, read):
    refused(
        lambda: read(tmp_path / "x.txt"), "is no array that can be read; expected a name ending in .npy, .npz, .csv"
    )
    for suffix in SUFFIXES:
        there_is_no = "there is no folder" if suffix == ".zarr" else "there is no file"
        refused(lambda suffix=suffix: read(tmp_path / f"x{suffix}"), there_is_no, f"x{suffix}; give the path of a")
    (tmp_path / "x.csv").mkdir()
    refused(lambda: read(tmp_path / "x.csv"), "is a directory; give the file inside it")


# ---- several files ---------------------------------------------------------------------------------------------------


def test_one_file_is_itself(tmp_path):
    path = written(tmp_path, ".csv")
    x, lengths = read_tables([path])
    assert lengths is None
    xr.testing.assert_identical(x, read_table(path))
    refused(lambda: read_tables([]), "there is no table to read")


def test_files_of_other_dates_are_sequences_with_dates_of_their_own(tmp_path):
    later = (2 * TABLE.iloc[:4]).shift(100, freq="D")
    (tmp_path / "b").mkdir()
    paths = [written(tmp_path, ".csv"), written(tmp_path, ".parquet", later), written(tmp_path / "b", ".csv")]
    x, lengths = read_tables(paths)
    assert lengths.tolist() == [6, 4, 6]
    assert x.sequence.to_numpy().tolist() == ["x", "x (2)", "x (3)"]
    np.testing.assert_array_equal(x.sel(sequence="x"), TABLE)
    np.testing.assert_array_equal(x.sel(sequence="x (2)"), np.concatenate([later, np.zeros((2, 2))]))
    np.testing.assert_array_equal(x.date.sel(sequence="x (2)"), [*later.index.to_numpy(), *[np.datetime64("NaT")] * 2])
    assert step_seconds(x) == 86400
    trace = tc.record_trace(LSTM, x, lengths=lengths)
    np.testing.assert_array_equal(trace.date.transpose("sequence", "time"), x.date)
    alone = tc.record_trace(LSTM, read_table(paths[1]))
    np.testing.assert_array_equal(trace.c.sel(sequence="x (2)").isel(time=slice(4)), alone.c.isel(sequence=0))


def test_files_of_the_same_dates_share_them(tmp_path):
    paths = [written(tmp_path, ".csv", TABLE.iloc[:4], "short"), written(tmp_path, ".csv", TABLE, "long")]
    x, lengths = read_tables(paths)
    np.testing.assert_array_equal(x.time, DAYS.to_numpy())
    assert lengths.tolist() == [4, 6]
    assert x.feature.to_numpy().tolist() == ["rain", "temp"]
    tc.record_trace(LSTM, x, lengths=lengths)


def test_files_of_other_seconds_have_their_own(tmp_path):
    paths = [csv(tmp_path, f"t [s],a\n{start},1\n{start + 0.5},2\n", f"{start}.csv") for start in (0, 10)]
    x, _ = read_tables(paths, time="t")
    assert x.own_time.to_numpy().tolist() == [[0, 0.5], [10, 10.5]]
    assert step_seconds(x) == 0.5


def test_files_without_names_go_by_number(tmp_path):
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for k, path in enumerate(paths):
        np.save(path, np.full((k + 1, 3), k + 1.0))
    x, lengths = read_tables(paths)
    assert x.to_numpy()[..., 0].tolist() == [[1, 2], [0, 2]]
    assert lengths.tolist() == [1, 2]
    assert set(x.coords) == {"sequence"}


def test_files_that_do_not_agree_are_refused(tmp_path):
    first = written(tmp_path, ".csv", stem="a")
    other = {
        "renamed": TABLE.rename(columns={"temp": "wind"}),
        "exchanged": TABLE[["temp", "rain"]],
        "wider": TABLE.assign(wind=1.0),
        "undated": TABLE.reset_index(drop=True),
        "fahrenheit": TABLE.rename(columns={"temp": "temp [F]"}),
    }
    paths = {name: written(tmp_path, ".csv", frame, name) for name, frame in other.items()}
    refused(lambda: read_tables([first, paths["renamed"]]), "feature 1 of", "renamed.csv is 'wind', of", "a.csv 'temp'")
    refused(lambda: read_tables([first, paths["exchanged"]]), "feature 0 of", "exchanged.csv is 'temp', of")
    refused(lambda: read_tables([first, paths["wider"]]), "wider.csv has 3 features,", "a.csv has 2")
    celsius = written(tmp_path, ".csv", TABLE.rename(columns={"temp": "temp [C]"}), "celsius")
    refused(lambda: read_tables([celsius, paths["fahrenheit"]]), "feature 'temp' is in 'F' in", "in 'C' in")
    TABLE.reset_index(drop=True).to_csv(paths["undated"], index=False)
    refused(lambda: read_tables([first, paths["undated"]]), "a.csv has dates and", "undated.csv has no times")
    basins().to_netcdf(tmp_path / "many.nc", engine="h5netcdf")
    refused(lambda: read_tables([first, tmp_path / "many.nc"]), "many.nc holds 2 sequences; give it alone")
    np.save(tmp_path / "words.npy", np.full((5, 2), "a"))
    refused(lambda: read_tables([first, tmp_path / "words.npy"]), "words.npy has dtype <U1; expected numbers")
    x, _ = read_tables([first, paths["exchanged"]], features=["rain", "temp"])  # by name they agree
    np.testing.assert_array_equal(x.isel(sequence=0), x.isel(sequence=1))


def test_a_missing_file_is_said_before_another_is_read(tmp_path):
    broken = csv(tmp_path, "")
    refused(lambda: read_tables([broken, tmp_path / "none.csv"]), "there is no file", "none.csv")


# ---- times and units -------------------------------------------------------------------------------------------------


def timed(times, **attrs):
    return xr.DataArray(np.zeros(len(times)), dims="time", coords={"time": ("time", np.asarray(times), attrs)})


def test_a_step_has_a_length_where_nearly_all_have_it():
    days = pd.date_range("2001-01-01", periods=202).to_numpy()
    assert step_seconds(timed(days)) == 86400
    assert notes_on_time(timed(days)) == ()
    one, three = np.delete(days, 62), np.delete(days, [62, 70, 80])
    assert step_seconds(timed(one)) == 86400
    assert notes_on_time(timed(one)) == ("1 of 200 steps is longer than 1 day; the first after 2001-03-03",)
    assert step_seconds(timed(three)) is None
    assert notes_on_time(timed(three)) == ("3 of 198 steps are longer than 1 day; the first after 2001-03-03",)
    more = np.insert(days, 5, days[5] - np.timedelta64(6, "h"))
    assert notes_on_time(timed(more)) == ("2 of 202 steps are shorter than 1 day; the first after 2001-01-05",)


def test_steps_of_many_lengths():
    assert notes_on_time(timed([0.0, 1, 3, 6, 10], units="s")) == (
        "steps are of different length, from 1 second to 4 seconds",
    )
    assert step_seconds(timed([0.0, 1, 3, 6, 10], units="s")) is None


@pytest.mark.parametrize(("units", "seconds"), [("s", 0.1), ("ms", 1e-4), ("min", 6), ("hours", 360), ("parsec", None)])
def test_numbers_have_a_length_by_their_units(units, seconds):
    found = step_seconds(timed(np.arange(1000) * 0.1, units=units))
    assert found == (seconds if seconds is None else pytest.approx(seconds, rel=1e-9))


@pytest.mark.parametrize("times", [[], [1.0]])
def test_too_few_steps_have_no_length(times):
    assert step_seconds(timed(np.array(times), units="s")) is None
    assert notes_on_time(timed(np.array(times), units="s")) == ()
    assert step_seconds(xr.DataArray(np.zeros((3, 2)), dims=("time", "feature"))) is None


def test_a_long_step_of_a_sequence_is_named(tmp_path):
    later = TABLE.shift(100, freq="D").drop(index=DAYS[3] + pd.Timedelta(days=100))
    x, _ = read_tables([written(tmp_path, ".csv"), written(tmp_path, ".csv", later, "y")])
    assert notes_on_time(x) == ("1 of 9 steps is longer than 1 day; the first after 2001-06-08 in sequence y",)


def test_units_are_split_from_names():
    assert split_units(" a [mm] ") == ("a", "mm")
    assert split_units("f(x)(m/s)") == ("f(x)", "m/s")
    for whole in ("a", "a(1)", "[mm]", "(mm)", "a)", "a]", "", "(" * 10**6, "[" * 10**6 + "]"):
        assert split_units(whole)[1] in ("", "mm")[: 1 + whole.startswith("[[")]


def test_a_scaling_is_found_with_other_units():
    x = xr.DataArray([[3.0, 1.0]], dims=("time", "feature"), coords={"feature": ["rain", "t [C]"]})
    scaling = Scaling({"t": 1.0, "rain(mm/d)": 1.0, "other": 0.0}, {"t": 2.0, "rain(mm/d)": 4.0, "other": 1.0})
    assert scaling.scaled(x).to_numpy().tolist() == [[0.5, 0.0]]
    refused(
        lambda: scaling.of(["rain", "snow"]), "has no center and spread for 'snow'; it has them for 't', 'rain(mm/d)'"
    )
    two = Scaling({"x (m)": 0.0, "x (ft)": 0.0}, {"x (m)": 1.0, "x (ft)": 3.0})
    refused(lambda: two.of(["x"]), "for 'x'")  # which of the two is not known
    assert two.of(["x (ft)"]).spread == {"x (ft)": 3.0}


# ---- a month of real weather -----------------------------------------------------------------------------------------


def test_weather_of_catchments(third_party):
    folder = third_party / "models" / "neuralhydrology-run"
    if not folder.is_dir():
        pytest.skip(f"no weather at {folder}")
    csv_file, nc_file = next(folder.glob("*.csv")), next(folder.glob("*.nc"))
    frame = pd.read_csv(csv_file, index_col="time", parse_dates=True)
    x = read_table(csv_file)
    np.testing.assert_array_equal(x, frame.to_numpy())
    np.testing.assert_array_equal(x.time, frame.index.to_numpy().astype("datetime64[ns]"))
    assert step_seconds(x) == 3600
    three = read_table(nc_file, features=list(frame))
    assert three.sizes == {"time": 720, "sequence": 3, "feature": 9}
    assert three.sequence.to_numpy().tolist() == ["cat-27", "cat-52", "cat-67"]
    np.testing.assert_array_equal(three.time, x.time)  # which the file gives in nanoseconds since 1970
    np.testing.assert_allclose(three.sel(sequence="cat-67"), x, rtol=1e-6)  # float32 in the one, text in the other
