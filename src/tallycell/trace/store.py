"""Keep traces on disk: Zarr, format 3, through xarray.

A store is a folder with one Zarr group. It is written beside its place and then swapped in, so that an interrupted
write leaves what was there before.
"""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tallycell.errors import FormatError, MissingExtraError, TraceError
from tallycell.files import replacing, require_file, require_folder
from tallycell.names import SEQUENCE, TIME
from tallycell.trace.schema import ALWAYS, RECORDED, upgraded, validate_trace
from tallycell.wording import one_line

_CHUNK_BYTES = 2**23  # of the widest variable: large enough to read fast; a block has them of all variables


def save_trace(trace: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a trace as a Zarr store.

    Parameters
    ----------
    trace
        Follows the schema; values behind dask are computed chunk by chunk.
    path
        A folder, made with its parents. A trace store that is there already is replaced, once the new one is whole;
        anything else that is there is refused.

    Raises
    ------
    TraceError
        If the dataset does not follow the schema, or has something that Zarr cannot hold.
    FormatError
        If something else than a trace is at the path.
    MissingExtraError
        If zarr or dask is not installed.

    Examples
    --------
    >>> from tallycell import LSTMParameters, record_trace
    >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    >>> trace = record_trace(LSTMParameters(weights), np.zeros((5, 3)))
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_trace(trace, f"{folder}/trace.zarr")
    ...     open_trace(f"{folder}/trace.zarr").identical(trace)
    True
    """
    require_trace_place(path)
    validate_trace(trace)
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as fresh:
        _write(trace, fresh, chunk_sizes(trace), compute=True)


def write_shape(trace: xr.Dataset, path: Path, chunks: Mapping[Any, int]) -> None:
    """Write a store in which what stands behind dask is still to be filled, and everything else is there.

    Parameters
    ----------
    trace
        Follows the schema.
    path
        A folder that is not there yet.
    chunks
        Entries of a Zarr chunk by dimension; all of a dimension that is not named.

    Raises
    ------
    TraceError
        As :func:`save_trace`.
    """
    _write(trace, path, chunks, compute=False)


def _write(trace: xr.Dataset, path: Path, chunks: Mapping[Any, int], *, compute: bool) -> None:
    try:
        to_zarr: Any = _storable(trace, chunks).to_zarr
        # Empty chunks are written too: only then is a chunk that is not there a sign of damage.
        to_zarr(path, mode="w-", zarr_format=3, consolidated=False, compute=compute, write_empty_chunks=True)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise TraceError(f"the trace cannot be kept as Zarr: {_said(error)}; drop or rename what is named") from error


def require_trace_place(path: str | os.PathLike[str]) -> None:
    """Try whether a trace can be written at a path, before the work that would be lost.

    Raises
    ------
    FormatError
        If something else than a trace is there.
    InputError
        If its folder, or the nearest one above it that is there, takes no file.
    MissingExtraError
        If zarr or dask is not installed.
    """
    require_zarr()
    target = Path(path).resolve()
    if os.path.lexists(target) and not _is_trace_store(target):
        raise FormatError(f"{path} exists and is not a trace store; it is left as it is: choose another path")
    require_folder(next(folder for folder in target.parents if folder.exists()), Path(path))


def open_trace(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open a trace store.

    Parameters
    ----------
    path
        What :func:`save_trace` wrote.

    Returns
    -------
    xarray.Dataset
        The trace, checked against the schema. What was recorded is lazy, in chunks along ``sequence`` (and along
        ``time`` where one sequence is larger than a chunk); coordinates, initial states and lengths are in memory. A
        chunk that is damaged inside shows when it is computed.

    Raises
    ------
    FormatError
        If there is no Zarr store at the path, or it is damaged.
    TraceError
        If it is one, but not a trace.
    MissingExtraError
        If zarr or dask is not installed.
    """
    require_zarr()
    if not (Path(path) / "zarr.json").is_file():
        there = "a store of Zarr format 3 has a file zarr.json" if os.path.lexists(path) else "nothing is there"
        raise FormatError(f"{path} is not a trace store: {there}; save_trace writes one")
    for folder, _, names in os.walk(path):
        for name in names:
            require_file(Path(folder, name), what="a trace store")
    try:
        missing = _missing_chunks(Path(path))
        trace: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks={})
        trace = trace[sorted(trace.data_vars, key=_schema_order)]  # Zarr lists them in any order
        trace = trace.assign({name: trace[name].load() for name in ALWAYS if name in trace})
        trace = trace.assign_coords({name: _unicode(coord.load().variable) for name, coord in trace.coords.items()})
    except Exception as error:
        # Zarr, numcodecs and json each raise their own kinds on a damaged file; none of them is for the user.
        raise FormatError(f"the store at {path} is damaged: {_said(error)}; record and save it again") from error
    if missing:
        raise FormatError(f"the store at {path} is damaged: {', '.join(missing)} lack chunks; record and save it again")
    trace = upgraded(trace)
    validate_trace(trace)
    return trace


def require_zarr() -> None:
    """Refuse to begin without what stores are written with.

    Raises
    ------
    MissingExtraError
        If zarr or dask is not installed.
    """
    for package in ("zarr", "dask"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "scale")


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {one_line(error)}"


def _is_trace_store(path: Path) -> bool:
    """Whether a folder is a trace store and nothing else, so that replacing it loses nothing but a trace."""
    try:
        attrs = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        kinds = {json.loads((entry / "zarr.json").read_text(encoding="utf-8"))["node_type"]
                 for entry in path.iterdir() if entry.name != "zarr.json"}  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return {"schema_version", "tallycell_version", "activations"} <= set(attrs) and kinds <= {"array"}


def _storable(trace: xr.Dataset, chunks: Mapping[Any, int]) -> xr.Dataset:
    """Set chunks, and turn text into Zarr's own strings: fixed-width text is outside its standard, and warns."""
    trace = trace.drop_encoding()
    for name, variable in trace.variables.items():
        if variable.dtype.kind == "U":
            text = variable.astype(np.dtypes.StringDType())
            trace = trace.assign_coords({name: text}) if name in trace.coords else trace.assign({name: text})
        elif variable.chunks is not None:
            trace[name] = trace[name].chunk({dim: chunks.get(dim, -1) for dim in variable.dims})
        if name in RECORDED:
            trace[name].encoding["chunks"] = tuple(chunks.get(dim, size) for dim, size in variable.sizes.items())
    return trace


def chunk_sizes(trace: xr.Dataset) -> dict[Any, int]:
    """Give the sequences in a chunk, as many as fit; where not even one does, steps in a chunk."""
    recorded = [trace[name] for name in RECORDED if name in trace]
    if not recorded:
        return {}
    sequences, steps = trace.sizes[SEQUENCE], trace.sizes[TIME]
    return fit_in_chunk(sequences, steps, max(variable.nbytes for variable in recorded) / (sequences * steps))


def fit_in_chunk(sequences: int, steps: int, step_bytes: float) -> dict[Any, int]:
    """Give the sequences and steps of a chunk, of a trace that takes so many bytes a step and variable."""
    steps = min(steps, max(1, int(_CHUNK_BYTES / step_bytes)))
    return {TIME: steps, SEQUENCE: min(sequences, max(1, int(_CHUNK_BYTES / (step_bytes * steps))))}


def _schema_order(name: object) -> tuple[int, str]:
    known = (*RECORDED, *ALWAYS)
    return known.index(name) if name in known else len(known), str(name)


def _unicode(coord: xr.Variable) -> xr.Variable:
    """Text as NumPy's fixed-width strings, as it was recorded."""
    if coord.dtype.kind != "T":
        return coord
    return xr.Variable(coord.dims, np.array(coord.values.tolist(), dtype=np.str_), coord.attrs)


def _missing_chunks(path: Path) -> list[str]:
    """Arrays of a store that have fewer chunks than they should; Zarr would read those as its fill value.

    Each is opened by itself: where one of a group is damaged, the tasks of the others print what becomes of them.
    """
    import zarr

    arrays = {one.name: zarr.open_array(one, mode="r") for one in sorted(path.iterdir()) if one.is_dir()}
    return [name for name, array in arrays.items() if array.nchunks_initialized < array.nchunks]
