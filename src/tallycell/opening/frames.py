"""Tables of rows and columns, CSV and Parquet: one row a step, one column a feature, one column the time."""

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import FormatError, InputError, MissingExtraError, TallycellError
from tallycell.memory import require_memory
from tallycell.names import TIME
from tallycell.opening.dates import is_date, read_dates, require_rising
from tallycell.scaling import split_units
from tallycell.trace.times import SECONDS
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

MOST_COLUMNS = 10_000  # of a table; an LSTM with more features is not fed from one
LONGEST_PIECE = 2**20
CSV_UNFOLDS = 14  # times its bytes, at most, that a table takes while it is parsed
PARQUET_UNFOLDS = 4 * 8  # bytes of memory for each number, in the file's order, in pandas' and in ours
_SEPARATORS = (b",", b";", b"\t")
_DATE_NAMES = {"date", "time", "datetime", "timestamp", "day"}  # under which 20010304 is a date
_PARTS = {"year": "year", "yr": "year", "month": "month", "mnth": "month", "mon": "month", "day": "day", "dy": "day",
          "hour": "hour", "hr": "hour"}  # fmt: skip


def read_csv(path: Path, time: str | None = None) -> "xr.Dataset":
    """Read a CSV; a first row that is neither numbers nor dates names the columns.

    Parameters
    ----------
    path
        A regular file: values between commas, semicolons or tabs.
    time
        Head of the column that holds the time. Else it is the first one that begins with a date, or those called year,
        month and day (and hour), or none.

    Returns
    -------
    xarray.Dataset
        Each other column as a variable (time,), with its units as an attribute; by number where there is no head.

    Raises
    ------
    InputError
        If it has too many columns or is too large, or its times are none that rise.
    FormatError
        If it is no such table.
    """
    import pandas as pd

    require_memory(CSV_UNFOLDS * path.stat().st_size, f"reading the table {path}")
    separator = _separator(path)
    how: dict[str, Any] = dict(sep=separator, skipinitialspace=True, low_memory=False, index_col=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are cut to the length of the head
            first = pd.read_csv(path, header=None, nrows=1, **how)
            named = not all(_is_value(cell) for cell in first.iloc[0])
            frame = pd.read_csv(path, header=0 if named else None, **how)
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' parser errors are ValueErrors
        raise FormatError(f"{path} is not a table of comma-separated values: {one_line(error)}") from None
    if not len(frame):
        frame = frame.astype(np.float64)  # so that it is refused as empty, not as words
    frame.columns = [str(name).lstrip("# ") for name in frame.columns] if named else list(range(frame.shape[1]))
    return _as_dataset(_without_numbering(frame), path, time)


def read_parquet(path: Path, time: str | None = None) -> "xr.Dataset":
    """Read a Parquet file, as :func:`read_csv`; an index of dates or with a name is a column.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    InputError, FormatError
        As :func:`read_csv`.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "tables") from None
    import pandas as pd

    try:
        with parquet.ParquetFile(path) as file:
            rows, columns = file.metadata.num_rows, file.metadata.num_columns
            if columns > MOST_COLUMNS:
                raise _too_wide(path, columns)
            require_memory(PARQUET_UNFOLDS * rows * max(1, columns), f"reading the table {path}")
            frame = file.read().to_pandas()
    except (TallycellError, AssertionError):
        raise
    except (MemoryError, Exception) as error:  # pyarrow has errors of its own for each thing that can be damaged
        raise FormatError(f"{path} cannot be read as Parquet: {one_line(error)}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    return _as_dataset(_without_numbering(frame), path, time)


def _is_value(cell: object) -> bool:
    return is_date(cell) or isinstance(cell, int | float | np.number | np.bool_)


def _separator(path: Path) -> str:
    """Find what stands between the values of the first row; a row that is no step of an LSTM is refused.

    pandas takes minutes and gigabytes for a million columns.
    """
    counts, last = dict.fromkeys(_SEPARATORS, 0), b""
    with path.open("rb") as file:
        while (piece := file.readline(LONGEST_PIECE)) and not last.endswith(b"\n"):
            counts = {mark: count + piece.count(mark) for mark, count in counts.items()}
            last = piece
    mark = next((mark for mark in _SEPARATORS if counts[mark]), b",")
    if counts[mark] >= MOST_COLUMNS:
        raise _too_wide(path, counts[mark] + 1)
    return mark.decode()


def _too_wide(path: Path, columns: int) -> InputError:
    return InputError(
        f"the first row of {path} has {columns:,} columns; expected one a feature, at most {MOST_COLUMNS:,}: are rows "
        "and columns exchanged?"
    )


def _without_numbering(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Leave out the column without a head in which pandas numbers its rows."""
    if frame.shape[1] and frame.columns[0] in ("Unnamed: 0", "index", "") and len(frame):
        first = frame.iloc[:, 0]
        if first.dtype.kind in "iu" and np.array_equal(first.to_numpy(), np.arange(len(frame))):
            return frame.iloc[:, 1:]
    return frame


def _as_dataset(frame: "pd.DataFrame", path: Path, time: str | None) -> "xr.Dataset":
    """Set the time apart, and give each other column its name and units."""
    import xarray as xr

    columns = list(frame.columns)
    if (twice := Counter(columns).most_common(1)) and twice[0][1] > 1:
        raise InputError(f"{path} has two columns {quoted(twice[0][0])}; give each a name of its own")
    used, times = _find_time(frame, path, time)
    heads = [head for head in columns if head not in used]
    split = {head: split_units(head) if isinstance(head, str) else (head, "") for head in heads}
    if TIME in heads:
        raise InputError(
            f"{path}: column 'time' holds no dates; name it as the column of the time (--time time) if it holds the "
            "time of each row, or rename it if it is a feature"
        )
    counts = Counter([name for name, _ in split.values()] + [TIME] * 2)
    variables = {}
    for head, (name, units) in split.items():
        attrs = {"units": units} if units else {}
        variables[head if counts[name] > 1 else name] = (TIME, _plain(frame[head]), attrs)
    return xr.Dataset(variables, coords={} if times is None else {TIME: times})


def _plain(column: "pd.Series[Any]") -> np.ndarray:
    """Give numbers as NumPy's, with NaN where nothing is known; anything else as objects."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind != "c":
        values: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return values
    objects: np.ndarray = column.to_numpy(dtype=object)
    return objects


def _find_time(frame: "pd.DataFrame", path: Path, time: str | None) -> "tuple[tuple[Any, ...], xr.Variable | None]":
    """Give the columns that make the time, and it."""
    import xarray as xr

    head = _head_of(frame, path, time) if time is not None else _first_dates(frame)
    if head is not None:
        where = f"{path}: column {quoted(head)}"
        times, units = _read_times(frame[head], head, where), split_units(str(head))[1] or str(head)
        require_rising(times, where)
        attrs = {"units": _usual(units)} if times.dtype.kind != "M" and units.lower() in SECONDS else {}
        return (head,), xr.Variable(TIME, times, attrs)
    parts = _date_parts(frame)
    if parts is None:
        return (), None
    where = f"{path}: the columns {listed(parts.values())}"
    times = read_dates(_joined(frame, parts), where)
    require_rising(times, where)
    return tuple(parts.values()), xr.Variable(TIME, times)


def _usual(units: str) -> str:
    """Spell seconds as everybody does; other units as they came."""
    return "s" if SECONDS[units.lower()] == 1 else units.lower()


def _head_of(frame: "pd.DataFrame", path: Path, time: str) -> Any:
    heads = {head: {str(head), split_units(str(head))[0]} for head in frame.columns}
    found = [head for head in heads if str(head) == time] or [head for head, names in heads.items() if time in names]
    if len(found) != 1:
        raise InputError(f"{path} has no column {quoted(time)} for the time; it has {listed(map(str, heads))}")
    return found[0]


def _first_dates(frame: "pd.DataFrame") -> Any:
    for head in frame.columns:
        kind = frame[head].dtype.kind
        if kind == "M" or (kind == "O" and _begins_with_date(frame[head])):
            return head
        if kind in "iu" and str(head).lower() in _DATE_NAMES and _is_compact(frame[head]):
            return head
    return None


def _begins_with_date(column: "pd.Series[Any]") -> bool:
    known = column.dropna()
    return len(known) > 0 and is_date(known.iloc[0])


def _is_compact(column: "pd.Series[Any]") -> bool:
    """Whether whole numbers are dates such as 20010304."""
    import pandas as pd

    if column.dtype.kind not in "iu" or not ((column >= 16780101) & (column < 22620101)).all():
        return False
    return bool(pd.to_datetime(column.astype(str), format="%Y%m%d", errors="coerce").notna().all())


def _read_times(column: "pd.Series[Any]", head: Any, where: str) -> np.ndarray:
    import pandas as pd

    if _is_compact(column):
        column = pd.to_datetime(column.astype(str), format="%Y%m%d")
    if column.dtype.kind in "iuf":
        numbers: np.ndarray = column.to_numpy(dtype=np.float64 if column.dtype.kind == "f" else np.int64)
        return numbers
    return read_dates(column, where)


def _date_parts(frame: "pd.DataFrame") -> dict[str, Any] | None:
    """Find the columns of whole numbers that are called year, month and day."""
    parts = {_PARTS[str(head).lower()]: head for head in frame.columns if str(head).lower() in _PARTS}
    whole = all(frame[head].dtype.kind in "iu" for head in parts.values())
    return parts if whole and {"year", "month", "day"} <= set(parts) else None


def _joined(frame: "pd.DataFrame", parts: dict[str, Any]) -> "pd.Series[Any]":
    year, month, day = (frame[parts[part]].astype(str) for part in ("year", "month", "day"))
    joined = year.str.zfill(4) + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    return joined + "T" + frame[parts["hour"]].astype(str).str.zfill(2) + ":00" if "hour" in parts else joined
