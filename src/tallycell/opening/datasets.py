"""Tables with named dimensions, NetCDF and Zarr: variables over time, and over sequences (basins, stations) if any."""

import math
import os
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import FormatError, InputError, MissingExtraError, TallycellError
from tallycell.files import first_bytes, read_json, require_file
from tallycell.loaders.keras.hdf5 import open_hdf5
from tallycell.memory import require_memory
from tallycell.names import SEQUENCE, TIME
from tallycell.opening.dates import in_nanoseconds, require_rising
from tallycell.trace.times import DATES, NUMBERS, SECONDS
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    import xarray as xr

_TIME_NAMES = ("time", "date", "datetime", "timestamp")
_FEATURE_NAMES = ("feature", "features", "variable", "variables", "channel", "input", "inputs", "column")
_UNFOLDS = 4  # times its size, at most, that a variable takes until it stands in the input
_EPOCH, _END = 1e8, 9e9  # seconds: numbers in a unit of time count from 1970 between, else from some beginning
_MOST_JSON = 2**24  # bytes
_ZARR_FORMATS = {"zarr.json": 3, ".zarray": 2, ".zgroup": 2}  # by the names of their files


def read_netcdf(path: Path, time: str | None = None) -> "xr.Dataset":
    """Read a NetCDF file, of version 3 or 4.

    Parameters
    ----------
    path
        A regular file.
    time
        Name of the variable or dimension that holds the time. Else it is the dimension with dates, or the one that is
        called time or date.

    Returns
    -------
    xarray.Dataset
        Variables (time,) or (sequence, time) with their ``units``, and (sequence,) what else is known of sequences; the
        coordinates ``time`` and ``sequence`` where the file has them.

    Raises
    ------
    MissingExtraError
        If it is of version 4 and h5netcdf is not installed.
    InputError
        If its variables or times are not like that.
    FormatError
        If it is damaged, or points to other files.
    """
    start = first_bytes(path, 8)
    if start.startswith(b"CDF"):
        engine = "scipy"
    elif start == b"\x89HDF\r\n\x1a\n":
        for package in ("h5py", "h5netcdf"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "tables")
        engine = "h5netcdf"
        _check_hdf5(path)
    else:
        raise FormatError(f"{path} cannot be read as NetCDF: it does not begin as a NetCDF file does")
    return _read(path, time, engine=engine)


def read_zarr(path: Path, time: str | None = None) -> "xr.Dataset":
    """Read a Zarr store, a folder, as :func:`read_netcdf`; its variables by name, as it has no order of them.

    Raises
    ------
    MissingExtraError
        If zarr is not installed.
    InputError
        If its variables or times are not like that, or there is no such folder.
    FormatError
        If it is damaged, or its values are pickles, which are never opened.
    """
    if find_spec("zarr") is None:
        raise MissingExtraError("zarr", "tables")
    needed, found = 0, []
    for folder, _, names in os.walk(path):
        for name in names:
            require_file(Path(folder, name), what="a Zarr store")
            if name in _ZARR_FORMATS:
                needed += _look_at_array(Path(folder, name))
                found.append(folder)
    require_memory(_UNFOLDS * needed, f"reading {path}")
    _open_each(found, path)
    return _read(path, time, engine="zarr", consolidated=False)


def _check_hdf5(path: Path) -> None:
    """Refuse what leads to other files, before the library follows it."""
    import h5py

    needed = 0
    with open_hdf5(path, path) as checked, _errors(path), h5py.File(path, "r", locking=False) as file:
        for name, array in checked.arrays.items():
            if file[name].is_virtual or file[name].external:
                raise FormatError(f"{path}: {quoted(name)} has its values in another file; give it as one file")
            needed += math.prod(array.shape) * file[name].dtype.itemsize
    require_memory(_UNFOLDS * needed, f"reading {path}")


def _open_each(folders: list[str], path: Path) -> None:
    """Open each array by itself: where one of a group is damaged, zarr's tasks for the others print what they met."""
    import zarr

    with _errors(path):
        for folder in folders:
            zarr.open(folder, mode="r")


def _look_at_array(path: Path) -> int:
    """Give the bytes that an array of a store states, in 8 bytes a number; what is packed as pickles is refused."""
    content = read_json(path, _MOST_JSON)
    version = content.get("zarr_format") if isinstance(content, dict) else None
    if not isinstance(content, dict) or version != _ZARR_FORMATS[path.name]:
        raise FormatError(f"{path} is of Zarr format {quoted(version)}, expected {_ZARR_FORMATS[path.name]}")
    waiting: list[Any] = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            named = [node[key] for key in ("id", "name") if isinstance(node.get(key), str)]
            if any("pickle" in name.lower() for name in named):
                raise FormatError(f"{path} says that values are packed as pickles, which are not opened; save numbers")
        if isinstance(node, dict | list):
            waiting.extend(node.values() if isinstance(node, dict) else node)
    grid = content.get("chunk_grid")
    inside = grid.get("configuration") if isinstance(grid, dict) else None
    chunk = inside.get("chunk_shape") if isinstance(inside, dict) else content.get("chunks")
    return max(_stated(content.get("shape")), _stated(chunk))


def _stated(shape: object) -> int:
    sizes = [max(0, size) for size in shape if isinstance(size, int)] if isinstance(shape, list) else [0]
    return 8 * math.prod(sizes)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn what the libraries raise about a damaged file, which is almost anything, into FormatError."""
    try:
        yield
    except (TallycellError, AssertionError):
        raise
    except (MemoryError, Exception) as error:
        raise FormatError(f"{path} cannot be read: {one_line(error)}") from None


def _read(path: Path, time: str | None, **how: Any) -> "xr.Dataset":
    import xarray as xr

    with _errors(path), xr.open_dataset(path, decode_timedelta=False, cache=False, **how) as opened:
        named = opened if how["engine"] != "zarr" else opened[sorted(opened.data_vars, key=str)]
        found, own = _arranged(named, path, time)
    return found if own is None else _with_times(found, own, path)


def _arranged(opened: "xr.Dataset", path: Path, time: str | None) -> "tuple[xr.Dataset, xr.DataArray | None]":
    """Name the dimensions time and sequence, and set apart what says when a step is."""
    import xarray as xr

    dim, own = _find_time(opened, path, time)
    bounds = {variable.attrs.get("bounds", variable.encoding.get("bounds")) for variable in opened.variables.values()}
    over_time = {name: one for name, one in opened.data_vars.items()
                 if dim in one.dims and name != own and name not in bounds}  # fmt: skip
    others = list(dict.fromkeys(other for one in over_time.values() for other in one.dims if other != dim))
    if len(over_time) == 1 and (column := _features_of(others)) is not None:
        opened, over_time = _split(opened, next(iter(over_time)), column)
        others.remove(column)
    if not over_time:
        raise InputError(f"{path} has no variable along {quoted(dim)}; it has {listed(opened.data_vars)}")
    if len(others) > 1:
        name, one = next((name, one) for name, one in over_time.items() if set(one.dims) & set(others[1:]))
        raise InputError(
            f"{path}: its variables have the dimensions {listed([dim, *others])}, such as {quoted(name)} with "
            f"{listed(one.dims)}; expected time and at most one other, one entry a sequence"
        )
    kept = {_key(name): one.variable.transpose(..., dim) for name, one in over_time.items()}
    labels = _labels(opened, others[0], own) if others else None
    kept |= {_key(name): one.variable for name, one in opened.data_vars.items()
             if one.dims and one.dims == tuple(others) and name not in (own, labels)}  # fmt: skip
    dims = {dim: TIME} | dict.fromkeys(others, SEQUENCE)
    found = xr.Dataset({name: _renamed(one, dims) for name, one in kept.items()})
    if labels is not None:
        names = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in opened[labels].to_numpy()]
        found = found.assign_coords({SEQUENCE: names})
    return found, None if own is None else _renamed(opened[own].variable.transpose(..., dim), dims)


def _key(name: Hashable) -> Hashable:
    return name if isinstance(name, int) else str(name)  # numbers are those of features without names


def _renamed(one: "xr.Variable", dims: dict[Hashable, str]) -> "xr.DataArray":
    import xarray as xr

    units = {"units": str(one.attrs["units"])} if isinstance(one.attrs.get("units"), str) else {}
    return xr.DataArray(one.to_numpy(), dims=[dims[dim] for dim in one.dims], attrs=units)


def _find_time(opened: "xr.Dataset", path: Path, time: str | None) -> "tuple[Hashable, Hashable | None]":
    """Give the dimension of time, and the variable that says when each step is, if there is one."""
    if time is not None:
        if time in opened.variables and opened[time].ndim in (1, 2):
            dims = opened[time].dims
            named = [dim for dim in dims if str(dim).lower() in _TIME_NAMES or dim == time]
            if len(dims) == 1 or len(named) == 1:
                return (dims[0] if len(dims) == 1 else named[0]), time
        if time in opened.dims:
            return time, None
        raise InputError(
            f"{path} has no variable {quoted(time)} along time; it has {listed([*opened.variables, *opened.dims])}"
        )
    dated = [dim for dim in opened.dims if dim in opened.coords and opened[dim].dtype.kind == "M"]
    called = [dim for dim in opened.dims if str(dim).lower() in _TIME_NAMES]
    beside = [name for name, one in opened.variables.items() if one.ndim == 1 and one.dtype.kind == "M"]
    for candidates in (dated, called, [opened[name].dims[0] for name in beside]):
        found = list(dict.fromkeys(candidates))
        if len(found) > 1:
            raise InputError(f"{path} has several dimensions of time, {listed(found)}; name the one to use (--time)")
        if found:
            return found[0], _says_when(opened, found[0])
    raise InputError(
        f"{path} has no dimension of dates and none called time or date; it has {listed(opened.dims)}: name it (--time)"
    )


def _says_when(opened: "xr.Dataset", dim: Hashable) -> "Hashable | None":
    """Give the variable with the times of a dimension: its coordinate, else one that is called time or holds dates."""
    if dim in opened.coords:
        return dim
    along = [name for name, one in opened.variables.items() if dim in one.dims and one.ndim <= 2]
    called = [name for name in along if str(name).lower() in _TIME_NAMES]
    dated = [name for name in along if opened[name].dtype.kind == "M"]
    return next(iter(called + dated), None)


def _features_of(others: list[Hashable]) -> "Hashable | None":
    """Give the dimension of the features, where the only variable has one."""
    called = [dim for dim in others if str(dim).lower() in _FEATURE_NAMES]
    return called[0] if called else None


def _split(opened: "xr.Dataset", name: Hashable, dim: Hashable) -> "tuple[xr.Dataset, dict[Hashable, xr.DataArray]]":
    """Make one variable of each feature of the only variable."""
    only = opened[name]
    labels = [str(label) for label in only[dim].to_numpy()] if dim in only.coords else list(range(only.sizes[dim]))
    units = only.coords["units"].to_numpy() if "units" in only.coords and only["units"].dims == (dim,) else None
    parts = {}
    for k, label in enumerate(labels):
        parts[label] = only.isel({dim: k}, drop=True)
        parts[label].attrs = dict(only.attrs) | ({} if units is None else {"units": str(units[k])})
    rest = opened.drop_vars([name, *(one for one in opened.variables if dim in opened[one].dims)], errors="ignore")
    return rest.assign(parts), parts


def _labels(opened: "xr.Dataset", dim: Hashable, own: "Hashable | None") -> "Hashable | None":
    """Give the variable with the names of the sequences: the coordinate, else the only one that holds words."""
    if dim in opened.coords:
        return dim
    words = [name for name, one in opened.variables.items()
             if one.dims == (dim,) and one.dtype.kind in "OSTU" and name != own]  # fmt: skip
    return words[0] if len(words) == 1 else None


def _with_times(found: "xr.Dataset", own: "xr.DataArray", path: Path) -> "xr.Dataset":
    """Make the times a coordinate: of all sequences, or of each."""
    times, attrs = _dates(own.to_numpy(), own.attrs.get("units"), path)
    by_sequence = np.atleast_2d(times)
    for k, one in enumerate(by_sequence):
        which = f" of sequence {quoted(found[SEQUENCE].to_numpy().tolist()[k])}" if len(by_sequence) > 1 else ""
        require_rising(one, f"{path}: its time{which}")
    if (by_sequence == by_sequence[0]).all():
        return found.assign_coords({TIME: (TIME, by_sequence[0], attrs)})
    return found.assign_coords({DATES if times.dtype.kind == "M" else NUMBERS: ((SEQUENCE, TIME), by_sequence, attrs)})


def _dates(times: np.ndarray, units: str | None, path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Give times as dates or numbers, and their units if they are numbers."""
    if times.dtype.kind not in "Miuf":
        raise InputError(
            f"{path}: its time holds {quoted(times.ravel()[0] if times.size else '')}; expected dates of the standard "
            "calendar, or numbers"
        )
    if times.dtype.kind == "M":
        return in_nanoseconds(times, f"{path}: its time"), {}
    if units not in SECONDS:
        return times, {}
    seconds = times * SECONDS[units]
    if times.size and np.isfinite(seconds).all() and seconds.min() >= _EPOCH and seconds.max() < _END:
        return (np.round(seconds * 1000).astype(np.int64) * 1_000_000).astype("datetime64[ns]"), {}
    return times, {"units": units}
