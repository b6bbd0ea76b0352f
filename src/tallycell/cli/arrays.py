"""Arrays as users have them: npy, npz and csv."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import FormatError, InputError

if TYPE_CHECKING:
    import xarray as xr


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
    require_file(path)
    return ARRAY_READERS[path.suffix](path)


def require_file(path: Path) -> None:
    """Refuse a path that is no file."""
    if not path.is_file():
        raise InputError(f"{path} is not there, or is no file; check the path")


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path} is not a NumPy array file without pickles: {error}") from None
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{path} holds several arrays; give it the suffix .npz")
    return array


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            name = "x" if "x" in names else names[0] if len(names) == 1 else None
            if name is None:
                raise InputError(f"{path} holds the arrays {', '.join(names) or '(none)'}; name the input x")
            array: np.ndarray = archive[name]
            return array
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise FormatError(f"{path} is not an archive of NumPy arrays without pickles: {error}") from None


def _read_csv(path: Path) -> "xr.DataArray":
    """One row a step, one column a feature; a first row that is no numbers names the features."""
    import pandas as pd
    import xarray as xr

    try:
        first = pd.read_csv(path, header=None, nrows=1, skipinitialspace=True)
        named = first.dtypes.map(lambda dtype: dtype.kind not in "iuf").any()
        table = pd.read_csv(path, header=0 if named else None, skipinitialspace=True)
        table = table if len(table) else table.astype(np.float64)  # so that it is refused as empty, not as words
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise FormatError(f"{path} is not a table of comma-separated values: {error}") from None
    if words := [str(name) for name, dtype in table.dtypes.items() if dtype.kind not in "iufb"]:
        raise InputError(f"column {words[0]!r} of {path} holds something that is no number; leave it out or convert it")
    names = {"feature": [str(name).lstrip("# ") for name in table.columns]} if named else {}  # NumPy writes "# a,b"
    return xr.DataArray(table.to_numpy(dtype=np.float64), dims=("time", "feature"), coords=names)


ARRAY_READERS: "dict[str, Callable[[Path], np.ndarray | xr.DataArray]]" = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
}
