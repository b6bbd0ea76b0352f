"""Dates as tables write them, and the rule that time rises from row to row.

Rows are counted from 1, without the head. All dates are brought to UTC without a zone, ``datetime64[ns]``.
"""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from tallycell.errors import InputError
from tallycell.memory import require_memory
from tallycell.trace.times import say_time
from tallycell.wording import quoted

if TYPE_CHECKING:
    import pandas as pd

_YEAR_FIRST = r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})(?:[-/.](?P<day>\d{1,2}))?(?P<clock>[T ].*)?"
_YEAR_LAST = (
    r"(?P<one>\d{1,2})(?P<mark>[-/. ])(?P<two>\d{1,2}|[A-Za-z]{3,9})(?P=mark)(?P<year>\d{4})(?P<clock>[T ,].*)?"
)
_ONE_DATE = re.compile(rf"\s*(?:{_YEAR_FIRST}|{_YEAR_LAST.replace('year', 'last').replace('clock', 'hour')})\s*")
_PLAIN = re.compile(r"\d{4}-\d{2}-\d{2}")  # pandas reads it at once
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: f"{k:02}" for k, name in enumerate(_MONTH_NAMES, 1)}
_ROW_UNFOLDS = 800  # bytes, at most, that the parts of one date take while they are put in order
_FIRST, _LAST = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")  # what nanoseconds of 64 bits hold


def is_date(text: object) -> bool:
    """Whether a cell of a table is a date in one of the forms that are read.

    Examples
    --------
    >>> [is_date(text) for text in ("2001-03-04", "4.3.2001 12:00", "04-Mar-2001", "monday", "2001", 20010304)]
    [True, True, True, False, False, False]
    """
    return isinstance(text, str) and _ONE_DATE.fullmatch(text) is not None


def read_dates(column: "pd.Series[Any]", where: str) -> Shaped[np.ndarray, " row"]:
    """Read a column of dates, all of them.

    Parameters
    ----------
    column
        Texts: ``2001-03-04``, ``2001/3/4``, ``4.3.2001``, ``04-Mar-2001`` or ``03/04/2001``, with or without a time of
        day and a zone. Whether ``03/04/2001`` begins with the day or the month is what the other rows tell.
    where
        The file and the column, for errors.

    Returns
    -------
    numpy.ndarray
        ``datetime64[ns]``, in UTC where the texts have a zone.

    Raises
    ------
    InputError
        If a row is no date, or all rows could be read in two ways.

    Examples
    --------
    >>> import pandas as pd
    >>> read_dates(pd.Series(["30/3/2001", "31/3/2001 6:00"]), "x.csv: column 'day'")
    array(['2001-03-30T00:00:00.000000000', '2001-03-31T06:00:00.000000000'], dtype='datetime64[ns]')
    """
    import pandas as pd

    if not isinstance(column.dtype, pd.DatetimeTZDtype) and column.dtype.kind != "M":
        text = column.astype("string").str.strip()
        dates = _utc(text) if not len(text) or _PLAIN.match(str(text.iloc[0])) else None
        if dates is None or dates.isna().any():
            require_memory(_ROW_UNFOLDS * len(text), f"reading the dates of {where}")
            dates = _rearranged(text, where)
    else:
        dates = pd.to_datetime(column, utc=True)
    values: np.ndarray = dates.dt.tz_localize(None).to_numpy()
    if (wrong := np.flatnonzero(np.isnat(values))).size:
        row = int(wrong[0])
        raise InputError(
            f"{where} has no date in row {row + 1}; give every row its date"
            if pd.isna(column.iloc[row])
            else f"{where} has {quoted(str(column.iloc[row]))} in row {row + 1}, which is no date that can be read; "
            "write it as YYYY-MM-DD, with HH:MM:SS after it if need be"
        )
    return in_nanoseconds(values, where)


def in_nanoseconds(dates: Shaped[np.ndarray, "..."], where: str) -> Shaped[np.ndarray, "..."]:
    """Give dates as ``datetime64[ns]``; NaT stays.

    Raises
    ------
    InputError
        If one is beyond what nanoseconds of 64 bits hold, 1678 to 2261.
    """
    beyond = (dates < _FIRST) | (dates >= _LAST)
    if beyond.any():
        raise InputError(f"{where} has {say_time(dates[beyond][0])}; dates from 1678 to 2261 are read: shift them")
    return dates.astype("datetime64[ns]")


def require_rising(times: Shaped[np.ndarray, " row"], where: str) -> None:
    """Refuse times that do not rise from each row to the next.

    Raises
    ------
    InputError
        If one is there twice, goes back, or is no number; the text names the first such row.

    Examples
    --------
    >>> require_rising(np.array(["2001-03-02", "2001-03-01"], "datetime64[ns]"), "x.csv: column 'day'")
    Traceback (most recent call last):
    tallycell.errors.InputError: x.csv: column 'day' goes back from 2001-03-02 to 2001-03-01 in row 2; sort the rows by
    time
    """
    missing = np.isnat(times) if times.dtype.kind == "M" else ~np.isfinite(times)
    if missing.any():
        raise InputError(f"{where} has no time in row {int(np.argmax(missing)) + 1}; give every row its time")
    if (wrong := np.flatnonzero(times[1:] <= times[:-1])).size:
        row = int(wrong[0]) + 1
        before, now = say_time(times[row - 1]), say_time(times[row])
        if times[row] == times[row - 1]:
            raise InputError(f"{where} has {now} twice, in rows {row} and {row + 1}; keep one row a step")
        raise InputError(f"{where} goes back from {before} to {now} in row {row + 1}; sort the rows by time")


def _utc(text: "pd.Series[Any]") -> "pd.Series[Any]":
    import pandas as pd

    return pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")


def _rearranged(text: "pd.Series[Any]", where: str) -> "pd.Series[Any]":
    """Read dates in other forms than ISO's: their parts are put in its order; what is no date is NaT."""
    parts = text.str.extract(f"^{_YEAR_FIRST}$")
    if parts["year"].notna().any():
        return _utc(_iso(parts["year"], parts["month"], parts["day"].fillna("01"), parts["clock"]))
    parts = text.str.extract(f"^{_YEAR_LAST}$")
    named = parts["two"].str[:3].str.lower().map(_MONTHS)
    one, two = parts["one"], named.where(named.notna(), parts["two"])
    day_first = _utc(_iso(parts["year"], two, one, parts["clock"]))
    if named.notna().any() or (parts["mark"] == ".").any():
        return day_first
    month_first = _utc(_iso(parts["year"], one, two, parts["clock"]))
    fitting = [dates for dates in (day_first, month_first) if dates.notna().all()]
    if len(fitting) == 2:
        fitting = [dates for dates in fitting if dates.is_monotonic_increasing and dates.is_unique]
    if len(fitting) == 2 and not day_first.equals(month_first):
        first, other = (say_time(dates.dt.tz_localize(None).to_numpy()[0]) for dates in fitting)
        raise InputError(
            f"{where} begins with {quoted(text.iloc[0])}, which is {first} or {other}, and all rows can be read both "
            f"ways; write dates as YYYY-MM-DD"
        )
    # Where neither fits, the way that reads more rows names the row that is wrong.
    return fitting[0] if fitting else max(day_first, month_first, key=lambda dates: int(dates.notna().sum()))


def _iso(year: Any, month: Any, day: Any, clock: Any) -> Any:
    clock = clock.fillna("").str.strip("T ,").str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True)
    clock = clock.str.replace(r"^(\d):", r"0\1:", regex=True)
    clock = clock.where(clock == "", "T" + clock)
    return year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + clock
