"""Tables as people have them, made into what an LSTM reads: npy, npz, CSV, Parquet, NetCDF and Zarr."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from tallycell.errors import FormatError, InputError
from tallycell.files import require_file
from tallycell.loaders.npy import open_npz, read_npy
from tallycell.loaders.stored_tensor import StoredTensor
from tallycell.names import FEATURE, SEQUENCE, TIME
from tallycell.opening.datasets import read_netcdf, read_zarr
from tallycell.opening.dates import in_nanoseconds, require_rising
from tallycell.opening.frames import read_csv, read_parquet
from tallycell.opening.padding import pad_tables
from tallycell.scaling import split_units
from tallycell.trace.times import say_time
from tallycell.wording import listed, quoted

if TYPE_CHECKING:
    import xarray as xr

UNITS, LEFT_OUT = "units", "left_out"
_LABELLED: "dict[str, Callable[[Path, str | None], xr.Dataset]]" = {
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".nc": read_netcdf,
    ".zarr": read_zarr,
}
SUFFIXES = (".npy", ".npz", *_LABELLED)


def read_table(path: Path, time: str | None = None, features: Sequence[str] | None = None) -> "xr.DataArray":
    r"""Read the input of an LSTM.

    Parameters
    ----------
    path
        A file, or a Zarr folder, known by its suffix. A CSV or Parquet file has one row a step and one column a
        feature; NetCDF and Zarr have variables over time, and over sequences if there are several.
    time
        Column, variable or array that holds the time of each step. Else it is the first with dates; without any, steps
        are numbered.
    features
        Names of the columns to take, in this order; with or without their units, ``"PRCP(mm/day)"`` is ``"PRCP"``. All
        if None, or if the columns have no names.

    Returns
    -------
    xarray.DataArray
        (time, feature) or (time, sequence, feature), float64 unless it is an array; with the coordinates ``time``
        (dates in UTC; numbers, with ``units`` if they are known), ``sequence`` and ``feature``, where they are known.
        Where units are known they are the coordinate ``units`` of the features, ``""`` where they are not. The
        attribute ``left_out`` lists the columns that were not asked for, if any.

    Raises
    ------
    InputError
        If there is no such file, its suffix is another, a feature is not in it or is no number, a value is missing, or
        times do not rise.
    FormatError
        If it is not what its suffix says.
    MissingExtraError
        If the package that reads it is not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "x.csv")
    ...     _ = path.write_text("day,rain [mm/d]\n2001-03-01,1\n2001-03-02,0\n")
    ...     x = read_table(path)
    >>> x.sel(time="2001-03-02", feature="rain").item(), x.units.item()
    (0.0, 'mm/d')
    """
    suffix = _suffix(path)
    if suffix in _LABELLED:
        return _as_input(_LABELLED[suffix](path, time), path, features)
    return _array(path, time)


def read_tables(
    paths: Sequence[Path], time: str | None = None, features: Sequence[str] | None = None
) -> "tuple[xr.DataArray, Int[np.ndarray, ' sequence'] | None]":
    """Read the input of an LSTM from several files, one sequence each.

    Parameters
    ----------
    paths
        At least one; of one alone the input is that of :func:`read_table`.
    time, features
        As :func:`read_table` takes them.

    Returns
    -------
    x
        (time, sequence, feature), 0 beyond the end of each sequence. ``sequence`` holds the names of the files. Where
        all have the same times these are ``time``; else each has its own: ``date`` or ``own_time``, (sequence, time).
    lengths
        Steps of each sequence; None for one file.

    Raises
    ------
    InputError, FormatError, MissingExtraError
        As :func:`read_table`; InputError also if the files have other features, or only some have times.
    """
    if not paths:
        raise InputError("there is no table to read; give the path of one")
    for path in paths:
        _suffix(path)  # before any is read, which may take long
    tables = [read_table(path, time, features) for path in paths]
    return (tables[0], None) if len(tables) == 1 else pad_tables(tables, paths)


def read_quantities(path: Path, time: str | None = None) -> "xr.Dataset":
    """Read known quantities, one a column, to be compared with what cells count.

    Parameters
    ----------
    path, time
        As :func:`read_table` takes them. Each array of an npz is one quantity, (time,) or (sequence, time); an npy is
        one, or a table of several (time, column).

    Returns
    -------
    xarray.Dataset
        One variable a quantity, (time,) or (sequence, time), NaN where nothing is known, with the attribute ``units``
        where they are known; the coordinates as :func:`read_table` gives them.

    Raises
    ------
    InputError, FormatError, MissingExtraError
        As :func:`read_table`.
    """
    suffix = _suffix(path)
    found = _LABELLED[suffix](path, time) if suffix in _LABELLED else _quantity_arrays(path, time)
    found = found[_over_time(found)]
    found = found.rename({name: f"column {name}" for name in found.data_vars if not isinstance(name, str)})
    for name in found.data_vars:
        _require_numbers(found, name, path)
    return found


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no array that can be read; expected a name ending in {', '.join(SUFFIXES)}")
    if suffix != ".zarr":
        require_file(path, InputError, "an array")
    elif not path.is_dir():
        raise InputError(f"there is no folder {path}; give the path of a Zarr store")
    return suffix


# ---- tables with names -----------------------------------------------------------------------------------------------


def _over_time(found: "xr.Dataset") -> list[Any]:
    # By variables: a DataArray of each takes as long as there are variables, which may be thousands.
    return [name for name in found.data_vars if TIME in found.variables[name].dims]


def _as_input(found: "xr.Dataset", path: Path, features: Sequence[str] | None) -> "xr.DataArray":
    import xarray as xr

    over_time = _over_time(found)
    named = bool(over_time) and isinstance(over_time[0], str)
    chosen = _choose([str(name) for name in found.data_vars], features, path) if named and features else over_time
    for name in chosen:
        _require_numbers(found, name, path)
        _require_values(found, name, path)
    dims = (TIME, SEQUENCE) if SEQUENCE in found.sizes else (TIME,)
    sizes = {dim: found.sizes[dim] for dim in dims}
    values = np.empty((*sizes.values(), len(chosen)))
    for k, name in enumerate(chosen):
        variable = found.variables[name]
        values[..., k] = variable.set_dims(sizes | dict(variable.sizes)).transpose(*dims)  # type: ignore[no-untyped-call]
    x = xr.DataArray(values, dims=(*dims, FEATURE), coords=found.coords)
    if chosen and isinstance(chosen[0], str):
        x = x.assign_coords({FEATURE: chosen if features is None else list(features)})
    units = [str(found.variables[name].attrs.get(UNITS, "")) for name in chosen]
    if any(units):
        x = x.assign_coords({UNITS: (FEATURE, units)})
    if others := [str(name) for name in over_time if name not in chosen]:
        x.attrs[LEFT_OUT] = others
    return x


def _choose(names: list[str], features: Sequence[str], path: Path) -> list[Any]:
    """Find each feature among the names of columns, as it is or without units."""
    short = [split_units(name)[0] for name in names]
    counts = Counter(short)
    by_name = {name: whole for name, whole in zip(short, names, strict=True) if counts[name] == 1}
    by_name |= {name: name for name in names}
    chosen = [by_name.get(name, by_name.get(split_units(name)[0])) for name in features]
    if missing := [name for name, found in zip(features, chosen, strict=True) if found is None]:
        raise InputError(f"{path} has no column {listed(missing)}, which the model reads; it has {listed(names)}")
    return chosen


def _require_numbers(found: "xr.Dataset", name: Any, path: Path) -> None:
    if found.variables[name].dtype.kind not in "iufb":
        raise InputError(
            f"column {quoted(name)} of {path} holds something that is no number; leave it out or convert it"
        )


def _require_values(found: "xr.Dataset", name: Any, path: Path) -> None:
    one = found.variables[name]
    if one.dtype.kind != "f" or not (missing := np.isnan(one.to_numpy())).any():
        return
    dims = [dim for dim in (TIME, SEQUENCE) if dim in one.dims]
    first = np.argwhere(missing.transpose([one.dims.index(dim) for dim in dims]))[0]
    at = {dim: int(k) for dim, k in zip(dims, first, strict=True)}
    places = []
    if TIME in at:
        row = f"row {at[TIME] + 1}"
        places.append(f"{say_time(found[TIME].to_numpy()[at[TIME]])} ({row})" if TIME in found.coords else row)
    if SEQUENCE in at:
        places.append(f"sequence {quoted(found[SEQUENCE].to_numpy().tolist()[at[SEQUENCE]])}")
    raise InputError(
        f"column {quoted(name)} of {path} has no value at {', '.join(places)}; an LSTM reads a number at every step: "
        "fill the gap, or cut the table there"
    )


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _array(path: Path, time: str | None) -> "xr.DataArray":
    import xarray as xr

    if path.suffix.lower() == ".npy":
        _refuse_time(path, time)
        values, times = read_npy(path), None
    else:
        with open_npz(path) as arrays:
            times = _times(arrays, path, time)
            names = [name for name in arrays if name != time]
            name = "x" if "x" in names else names[0] if len(names) == 1 else None
            if name is None:
                raise InputError(f"{path} holds the arrays {listed(names)}; name the input x")
            values = _stored(arrays, name, path)
    if values.ndim not in (2, 3):
        raise InputError(f"{path} has shape {values.shape}; expected (time, feature) or (time, sequence, feature)")
    x = xr.DataArray(values, dims=(TIME, FEATURE) if values.ndim == 2 else (TIME, SEQUENCE, FEATURE))
    if times is not None:
        x = x.assign_coords({TIME: _fitting(times, len(x), path)})
    return x


def _refuse_time(path: Path, time: str | None) -> None:
    if time is not None:
        raise InputError(f"{path} is one array and has no column {quoted(time)} for the time; give an npz with both")


def _stored(arrays: dict[str, StoredTensor], name: str, path: Path) -> np.ndarray:
    if arrays[name].dtype == "object":
        raise FormatError(f"{path}: {quoted(name)} is a pickle, which is not opened; save an array of numbers")
    return arrays[name].read()


def _times(arrays: dict[str, StoredTensor], path: Path, time: str | None) -> np.ndarray | None:
    if time is None:
        return None
    if time not in arrays:
        raise InputError(f"{path} has no array {quoted(time)} for the time; it has {listed(arrays)}")
    times = _stored(arrays, time, path)
    if times.ndim != 1 or times.dtype.kind not in "Miuf":
        raise InputError(
            f"{path}: {quoted(time)} has shape {times.shape} and dtype {times.dtype}; expected a date or number a step"
        )
    require_rising(times, f"{path}: {quoted(time)}")
    return in_nanoseconds(times, f"{path}: {quoted(time)}") if times.dtype.kind == "M" else times


def _fitting(times: np.ndarray, steps: int, path: Path) -> np.ndarray:
    if len(times) != steps:
        raise InputError(f"{path} has {len(times)} times for {steps} steps; give one time a step")
    return times


def _quantity_arrays(path: Path, time: str | None) -> "xr.Dataset":
    import xarray as xr

    if path.suffix.lower() == ".npy":
        _refuse_time(path, time)
        only = read_npy(path)
        named: Iterable[tuple[Any, np.ndarray]] = [(path.stem, only)] if only.ndim == 1 else enumerate(only.T)
        arrays, times = dict(named), None
    else:
        with open_npz(path) as stored:
            times = _times(stored, path, time)
            arrays = {name: _stored(stored, name, path) for name in stored if name != time}
    shapes = {array.shape for array in arrays.values()}
    if any(array.ndim not in (1, 2) for array in arrays.values()) or len({shape[-1:] for shape in shapes}) > 1:
        raise InputError(
            f"{path} has arrays of the shapes {listed(sorted(shapes))}; expected (time,) or (sequence, time), of "
            "as many steps"
        )
    dims = {1: (TIME,), 2: (SEQUENCE, TIME)}
    found = xr.Dataset({name: (dims[array.ndim], array) for name, array in arrays.items()})
    return found if times is None else found.assign_coords({TIME: _fitting(times, found.sizes[TIME], path)})
