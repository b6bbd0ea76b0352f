"""What the times of an input tell: how long a step is, and where steps are longer or shorter than the others."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tallycell.names import TIME

if TYPE_CHECKING:
    import xarray as xr

DATES, NUMBERS = "date", "own_time"  # coordinates (sequence, time), where sequences have times of their own
SECONDS = {
    "ns": 1e-9, "nanoseconds": 1e-9, "us": 1e-6, "µs": 1e-6, "microseconds": 1e-6, "ms": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0,
    "hr": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip
_ENOUGH = 0.99  # share of steps that must have the length for it to be the length of a step
_SAME = 1e-6  # share by which two steps of one length may differ: seconds are often rounded
_WORDS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def say_time(time: Any) -> str:
    """Say a date or a number; of a day only its date.

    Examples
    --------
    >>> say_time(np.datetime64("2001-03-04T00:00")), say_time(np.datetime64("2001-03-04T06:00")), say_time(1.5)
    ('2001-03-04', '2001-03-04 06:00:00', '1.5')
    """
    date = np.asarray(time)
    if date.dtype.kind != "M":
        return f"{date:.12g}"
    whole = date.astype("datetime64[s]")
    text = str(whole if date == whole else date)
    return text.removesuffix("T00:00:00").replace("T", " ")


def step_seconds(x: "xr.DataArray | xr.Dataset") -> float | None:
    """Give the length of a step of an input, in seconds.

    Parameters
    ----------
    x
        With a coordinate ``time`` of dates, or of numbers whose attribute ``units`` is a unit of time; or with the
        times of each sequence, (sequence, time), as ``date`` or ``own_time``.

    Returns
    -------
    float or None
        The median step; None where times are not known, or fewer than 99 % of the steps have that length.

    Examples
    --------
    >>> import xarray as xr
    >>> days = np.arange("2001-03-01", "2001-03-04", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> step_seconds(xr.DataArray([0.0, 1.0, 2.0], coords={"time": days}))
    86400.0
    """
    steps = _steps(x)
    if steps is None:
        return None
    known = steps[np.isfinite(steps)]
    usual = float(np.median(known))
    return usual if usual > 0 and np.mean(_is_same(known, usual)) >= _ENOUGH else None


def notes_on_time(x: "xr.DataArray") -> tuple[str, ...]:
    """Say where the steps of an input are not as long as most of them.

    Parameters
    ----------
    x
        As :func:`step_seconds` takes it.

    Returns
    -------
    tuple of str
        One sentence each; none where all steps are of one length, or times are not known.

    Examples
    --------
    >>> import xarray as xr
    >>> days = np.array(["2001-03-01", "2001-03-02", "2001-03-03", "2001-03-06"], "datetime64[ns]")
    >>> notes_on_time(xr.DataArray(np.zeros(4), coords={"time": days}))
    ('1 of 3 steps is longer than 1 day; the first after 2001-03-03',)
    """
    steps = _steps(x)
    if steps is None:
        return ()
    known = np.isfinite(steps)
    usual = float(np.median(steps[known]))
    same = _is_same(steps, usual)
    count = int(known.sum())
    if 2 * int((same & known).sum()) < count:
        low, high = (_say_seconds(float(end(steps[known]))) for end in (np.min, np.max))
        return (f"steps are of different length, from {low} to {high}",)
    notes = []
    for which, word in ((known & ~same & (steps > usual), "longer"), (known & ~same & (steps < usual), "shorter")):
        if which.any():
            number, verb = int(which.sum()), "is" if which.sum() == 1 else "are"
            notes.append(
                f"{number:,} of {count:,} steps {verb} {word} than {_say_seconds(usual)}; the first {_place(x, which)}"
            )
    return tuple(notes)


def times_of(x: "xr.DataArray | xr.Dataset") -> "xr.DataArray | None":
    """Give the times that are known, as (time,) or (sequence, time)."""
    for name in (DATES, NUMBERS, TIME):
        if name in x.coords and TIME in x[name].dims and x[name].dtype.kind in "Mfiu":
            known = x[name].dtype.kind == "M" or x[name].attrs.get("units") in SECONDS
            return x[name].transpose(..., TIME) if known else None
    return None


def _steps(x: "xr.DataArray | xr.Dataset") -> "Float[np.ndarray, 'sequence step'] | None":
    """Give the length of each step in seconds; NaN beyond the end of a sequence."""
    times = times_of(x)
    if times is None or times.sizes[TIME] < 2:
        return None
    steps = np.diff(np.atleast_2d(times.to_numpy()), axis=-1)
    if times.dtype.kind == "M":
        seconds = np.where(np.isnat(steps), np.nan, steps / np.timedelta64(1, "s"))
    else:
        seconds = steps * SECONDS[times.attrs["units"]]
    return seconds if np.isfinite(seconds).any() else None


def _is_same(steps: np.ndarray, usual: float) -> np.ndarray:
    same: np.ndarray = np.isclose(steps, usual, rtol=_SAME, atol=0)
    return same


def _place(x: "xr.DataArray", which: np.ndarray) -> str:
    """Say after which time the first of some steps comes, and in which sequence if there are several."""
    times = times_of(x)
    assert times is not None  # or there would be no steps
    sequence, step = (int(k[0]) for k in np.nonzero(which))
    text = f"after {say_time(np.atleast_2d(times.to_numpy())[sequence, step])}"
    return f"{text} in sequence {x['sequence'].to_numpy()[sequence]}" if len(which) > 1 else text


def _say_seconds(seconds: float) -> str:
    size, word = next((pair for pair in _WORDS if seconds >= pair[0]), _WORDS[-1])
    number = f"{seconds / size:.4g}"
    return f"{number} {word}" if number == "1" else f"{number} {word}s"
