"""Several tables as the sequences of one input: the same features, each its own length and times."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.memory import require_memory
from tallycell.names import FEATURE, SEQUENCE, TIME
from tallycell.trace.times import DATES, NUMBERS
from tallycell.wording import quoted

if TYPE_CHECKING:
    import xarray as xr


def pad_tables(
    tables: "Sequence[xr.DataArray]", paths: Sequence[Path]
) -> "tuple[xr.DataArray, Int[np.ndarray, ' sequence']]":
    """Put tables beside each other, one sequence each, with 0 beyond the end of each.

    Parameters
    ----------
    tables
        (time, feature).
    paths
        Where they came from, for names and errors.

    Returns
    -------
    x
        (time, sequence, feature). ``sequence`` holds the names of the files. Where all have the same times, or the
        beginning of them, these are ``time``; else each has its own: ``date`` or ``own_time``, (sequence, time), NaT or
        NaN beyond its end.
    lengths
        Steps of each.

    Raises
    ------
    InputError
        If one has several sequences, other features than the first, or times where another has none.

    Examples
    --------
    >>> import xarray as xr
    >>> short, long = (xr.DataArray(np.ones((steps, 1)), dims=("time", "feature")) for steps in (1, 2))
    >>> x, lengths = pad_tables([short, long], [Path("a.npy"), Path("b.npy")])
    >>> x.sel(sequence="a").to_numpy().ravel().tolist(), lengths.tolist()
    ([1.0, 0.0], [1, 2])
    """
    import xarray as xr

    for table, path in zip(tables, paths, strict=True):
        if SEQUENCE in table.dims:
            raise InputError(f"{path} holds {table.sizes[SEQUENCE]} sequences; give it alone, or one sequence a file")
        if table.dtype.kind not in "iufb":
            raise InputError(f"{path} has dtype {table.dtype}; expected numbers")
        _check_features(table, tables[0], path, paths[0])
    lengths = np.array([table.sizes[TIME] for table in tables], dtype=np.int64)
    shape = (int(lengths.max()), len(tables), tables[0].sizes[FEATURE])
    require_memory(8 * int(np.prod(shape, dtype=object)), f"putting {len(tables)} tables beside each other")
    values = np.zeros(shape)
    for k, table in enumerate(tables):
        values[: lengths[k], k] = table.to_numpy()
    x = xr.DataArray(values, dims=(TIME, SEQUENCE, FEATURE), attrs=tables[0].attrs)
    labels = {name: one for name, one in tables[0].coords.items() if one.dims == (FEATURE,)}
    return x.assign_coords(labels | {SEQUENCE: _names(paths)} | _common_times(tables, paths)), lengths


def _check_features(table: "xr.DataArray", first: "xr.DataArray", path: Path, first_path: Path) -> None:
    ours, theirs = ([str(name) for name in one[FEATURE].to_numpy().tolist()] for one in (first, table))
    if len(ours) != len(theirs):
        raise InputError(f"{path} has {len(theirs)} features, {first_path} has {len(ours)}; give files of the same")
    named = FEATURE in table.coords and FEATURE in first.coords
    differs = [k for k, (our, their) in enumerate(zip(ours, theirs, strict=True)) if named and our != their]
    if differs:
        k = differs[0]
        raise InputError(
            f"feature {k} of {path} is {quoted(theirs[k])}, of {first_path} {quoted(ours[k])}; give files with the "
            "same features in the same order"
        )
    for our, their, name in zip(_units(first), _units(table), ours, strict=False):
        if our and their and our != their:
            raise InputError(
                f"feature {quoted(name)} is in {quoted(their)} in {path}, in {quoted(our)} in {first_path}; convert one"
            )


def _units(table: "xr.DataArray") -> list[str]:
    return [str(one) for one in table["units"].to_numpy()] if "units" in table.coords else []


def _names(paths: Sequence[Path]) -> list[str]:
    """Name each sequence by its file; a name that was there before gets a number."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, k = path.stem, 1
        while name in taken:
            k += 1
            name = f"{path.stem} ({k})"
        taken.add(name)
        names.append(name)
    return names


def _common_times(tables: "Sequence[xr.DataArray]", paths: Sequence[Path]) -> "dict[str, xr.Variable]":
    """Give the times of all sequences, or of each."""
    import xarray as xr

    kinds = {_kind(table): path for table, path in zip(tables, paths, strict=True)}
    if len(kinds) > 1:
        (one, path), (other, other_path) = list(kinds.items())[:2]
        raise InputError(f"{path} has {one} and {other_path} has {other}; give all files times of one kind")
    if "no times" in kinds:
        return {}
    times = [table[TIME].to_numpy() for table in tables]
    longest, attrs = max(times, key=len), tables[0][TIME].attrs
    if all(np.array_equal(one, longest[: len(one)]) for one in times):
        return {TIME: xr.Variable(TIME, longest, attrs)}
    is_date = longest.dtype.kind == "M"
    own = np.full((len(times), len(longest)), np.datetime64("NaT") if is_date else np.nan,
                  longest.dtype if is_date else np.float64)  # fmt: skip
    for k, its in enumerate(times):
        own[k, : len(its)] = its
    return {DATES if is_date else NUMBERS: xr.Variable((SEQUENCE, TIME), own, attrs)}


def _kind(table: "xr.DataArray") -> str:
    if TIME not in table.coords:
        return "no times"
    if table[TIME].dtype.kind == "M":
        return "dates"
    units = table[TIME].attrs.get("units")
    return f"times in {quoted(units)}" if units else "times in numbers"
