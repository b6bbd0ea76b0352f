"""Arrays as users have them: npy, npz and csv."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import FormatError, InputError
from tallycell.files import require_file
from tallycell.loaders.npy import open_npz, read_npy
from tallycell.memory import require_memory
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    import xarray as xr

MOST_COLUMNS = 10_000  # of a table; an LSTM with more features is not fed from one
LONGEST_PIECE = 2**20
CSV_UNFOLDS = 14  # times its bytes, at most, that a table takes while it is parsed


def read_array(path: Path) -> "np.ndarray | xr.DataArray":
    """Read the input of an LSTM, (time, feature) or (time, sequence, feature).

    Raises
    ------
    InputError
        If there is no such file, its suffix is another, or it holds something else than one table of numbers.
    FormatError
        If it is not what its suffix says.
    """
    if path.suffix not in ARRAY_READERS:
        raise InputError(f"{path} is no array that can be read; expected a name ending in {', '.join(ARRAY_READERS)}")
    require_file(path, InputError, "an array")
    return ARRAY_READERS[path.suffix](path)


def _read_npz(path: Path) -> np.ndarray:
    with open_npz(path) as arrays:
        name = "x" if "x" in arrays else next(iter(arrays)) if len(arrays) == 1 else None
        if name is None:
            raise InputError(f"{path} holds the arrays {listed(arrays)}; name the input x")
        if arrays[name].dtype == "object":
            raise FormatError(f"{path}: {quoted(name)} is a pickle, which is not opened; save an array of numbers")
        return arrays[name].read()


def _read_csv(path: Path) -> "xr.DataArray":
    """One row a step, one column a feature; a first row that is no numbers names the features."""
    import pandas as pd
    import xarray as xr

    require_memory(CSV_UNFOLDS * path.stat().st_size, f"reading the table {path}")
    _check_columns(path)
    try:
        first = pd.read_csv(path, header=None, nrows=1, skipinitialspace=True)
        named = first.dtypes.map(lambda dtype: dtype.kind not in "iuf").any()
        table = pd.read_csv(path, header=0 if named else None, skipinitialspace=True)
        table = table if len(table) else table.astype(np.float64)  # so that it is refused as empty, not as words
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise FormatError(f"{path} is not a table of comma-separated values: {one_line(error)}") from None
    if words := [str(name) for name, dtype in table.dtypes.items() if dtype.kind not in "iufb"]:
        raise InputError(
            f"column {quoted(words[0])} of {path} holds something that is no number; leave it out or convert it"
        )
    names = {"feature": [str(name).lstrip("# ") for name in table.columns]} if named else {}  # NumPy writes "# a,b"
    return xr.DataArray(table.to_numpy(dtype=np.float64), dims=("time", "feature"), coords=names)


def _check_columns(path: Path) -> None:
    """Refuse a first row that is no step of an LSTM: pandas takes minutes and gigabytes for a million columns."""
    separators, last = 0, b""
    with path.open("rb") as file:
        while (piece := file.readline(LONGEST_PIECE)) and not last.endswith(b"\n"):
            separators += piece.count(b",")
            last = piece
    if separators >= MOST_COLUMNS:
        raise InputError(
            f"the first row of {path} has {separators + 1:,} columns; expected one a feature, at most "
            f"{MOST_COLUMNS:,}: are rows and columns exchanged?"
        )


ARRAY_READERS: "dict[str, Callable[[Path], np.ndarray | xr.DataArray]]" = {
    ".npy": read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
}
