"""Tables and arrays for an LSTM: their columns become its features, in its order and as it was trained on them."""

import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.loaders import LoadedModel
from tallycell.names import FEATURE, SEQUENCE, TIME
from tallycell.opening.choosing import as_loaded, choose_lstm, in_order_of, state_of
from tallycell.opening.scale_file import read_scale
from tallycell.opening.tables import LEFT_OUT, UNITS, read_quantities, read_tables
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.scaling import Scaling, split_units
from tallycell.trace.inputs import as_array
from tallycell.trace.times import SECONDS, notes_on_time, say_time, step_seconds, times_of
from tallycell.wording import MOST_LISTED, listed, quoted, shown

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

CENTER, SPREAD = "center", "spread"  # coordinates of the features: what was done to the values of the table
AN_ARRAY = "the array"
_STEP = re.compile(r"(?P<count>[0-9]{0,9})(?P<unit>[A-Za-z]+)")
_OF_PANDAS = {"D": "d", "H": "h", "T": "min", "S": "s"}  # units of time that it writes otherwise


def open_table(
    model: LoadedModel | LSTMParameters | Recogniser,
    *tables: "str | PathLike[str] | np.ndarray | xr.DataArray | pd.DataFrame",
    time: str | None = None,
    quantities: Any = None,
    scaling: Scaling | str | PathLike[str] | None = None,
    state: Any = None,
    lstm: str | None = None,
) -> Input:
    """Give what an LSTM reads of a table, or of several, one sequence each.

    Where the model names what it reads, the columns of the table are chosen and ordered by name, and scaled as they
    were in training; other columns are left out. Else the columns are taken as they stand.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, or an LSTM by itself.
    tables
        Files, as :func:`~tallycell.opening.read_table` reads them, which may differ in length; or one array, (time,
        feature) or (time, sequence, feature), ``DataArray`` or ``DataFrame``.
    time
        Column that holds the time of each step; if None, the first that parses as dates.
    quantities
        Known quantities that a cell may follow: a file, or what :func:`tallycell.read_units` takes.
    scaling
        Center and spread of each column, or a file of both; if None, the model's own.
    state
        (h_0, c_0), or an npz file of both; zeros if None, or a recogniser's own.
    lstm
        Path of the LSTM, where the model has several.

    Returns
    -------
    Input
        Where values were scaled, ``center`` and ``spread`` stand beside the features of x.

    Raises
    ------
    InputError, FormatError
        If a table cannot be read, lacks a column that the model reads, or there is no scaling for one.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.DatetimeIndex(["2001-03-01", "2001-03-02"], name="time")
    >>> table = pd.DataFrame({"snow": [0.0, 1.0], "rain": [2.0, 6.0]}, index=days)
    >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))})
    >>> model = LoadedModel({"": lstm}, Path("run"), features=("rain",), scaling=Scaling({"rain": 2.0}, {"rain": 4.0}))
    >>> given = open_table(model, table)
    >>> given.x.to_numpy().ravel().tolist(), given.step_seconds
    ([0.0, 1.0], 86400.0)
    >>> print(*given.notes, sep="; ")
    'snow' is no input of run and left out; scaled as in training (run)
    """
    loaded = as_loaded(model)
    path = choose_lstm(loaded, lstm)
    features = loaded.features if path == next(iter(loaded)) else None  # they are what the first LSTM reads
    x, lengths, name = _read(tables, time, features)
    left_out = x.attrs.pop(LEFT_OUT, []) if hasattr(x, "attrs") else []
    x, scaled = _scale(x, loaded if features is not None else None, scaling)
    if isinstance(quantities, str | PathLike):
        quantities = read_quantities(Path(quantities), time)
    given = Input(
        x,
        name,
        _say_shape(x, lengths),
        quantities={} if quantities is None else quantities,
        lengths=lengths,
        state=state_of(state),
        step_seconds=_seconds(x, loaded),
        notes=(*_say_left_out(left_out, loaded), *scaled, *(() if isinstance(x, np.ndarray) else notes_on_time(x))),
    )
    return in_order_of(loaded, path, given)


def _read(
    tables: tuple[Any, ...], time: str | None, features: tuple[str, ...] | None
) -> "tuple[np.ndarray | xr.DataArray, np.ndarray | None, str]":
    """Give the input, the steps of each of its sequences, and what to call it."""
    if not tables:
        raise InputError("got no table; give at least one")
    files = [Path(one) for one in tables if isinstance(one, str | PathLike)]
    if len(files) == len(tables):
        x, lengths = read_tables(files, time, features)
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return x, lengths, f"{files[0].name}{more}"
    if len(tables) > 1:
        raise InputError("got several arrays; give one, (time, sequence, feature), or files, one sequence each")
    return _choose(_of_object(tables[0], time), features), None, AN_ARRAY


def _of_object(one: Any, time: str | None) -> "np.ndarray | xr.DataArray":
    import pandas as pd
    import xarray as xr

    if isinstance(one, pd.DataFrame):
        return _of_frame(one, time)
    if time is not None:
        raise InputError(f"got a {type(one).__name__} and the column {quoted(time)} for its time; give a DataFrame")
    return one if isinstance(one, xr.DataArray) else as_array(one, "x")


def _of_frame(frame: "pd.DataFrame", time: str | None) -> "xr.DataArray":
    import pandas as pd
    import xarray as xr

    if time is not None:
        if time not in frame.columns:
            raise InputError(f"the table has no column {quoted(time)}; it has {listed(frame.columns)}")
        frame = frame.set_index(time)
    names, units = (
        zip(*(split_units(str(head)) for head in frame.columns), strict=True) if len(frame.columns) else ((), ())
    )
    x = xr.DataArray(frame.to_numpy(), dims=(TIME, FEATURE), coords={FEATURE: list(names)})
    x = x.assign_coords({UNITS: (FEATURE, list(units))}) if any(units) else x
    return x if isinstance(frame.index, pd.RangeIndex) else x.assign_coords({TIME: frame.index.to_numpy()})


def _choose(x: "np.ndarray | xr.DataArray", features: tuple[str, ...] | None) -> "np.ndarray | xr.DataArray":
    """Choose and order features by name, as files are read."""
    import xarray as xr

    names = _names_of(x)
    if features is None:
        return x
    if names is None or isinstance(x, np.ndarray):
        if x.shape[-1] != len(features):
            return x  # and refused where it is recorded, as any other width is
        return xr.DataArray(x, dims=dims_of(x)).assign_coords({FEATURE: list(features)})
    by_name = {split_units(name)[0]: name for name in names} | {name: name for name in names}
    chosen = [by_name.get(name, by_name.get(split_units(name)[0])) for name in features]
    if missing := [name for name, found in zip(features, chosen, strict=True) if found is None]:
        raise InputError(f"the table has no column {listed(missing)}, which the model reads; it has {listed(names)}")
    rest = [name for name in names if name not in chosen]
    found = x.sel({FEATURE: chosen}).assign_coords({FEATURE: list(features)})
    return found.assign_attrs({LEFT_OUT: rest} if rest else {})


def dims_of(x: "np.ndarray | xr.DataArray") -> tuple[str, ...]:
    """Names of the dimensions of an input."""
    if not isinstance(x, np.ndarray):
        return tuple(map(str, x.dims))
    return (TIME, SEQUENCE, FEATURE) if x.ndim == 3 else (TIME, FEATURE)


def _names_of(x: "np.ndarray | xr.DataArray") -> list[str] | None:
    if isinstance(x, np.ndarray) or FEATURE not in x.coords or x[FEATURE].dtype.kind in "iu":
        return None
    return [str(name) for name in x[FEATURE].to_numpy().tolist()]


def _say_shape(x: "np.ndarray | xr.DataArray", lengths: np.ndarray | None) -> str:
    shape = f"{' x '.join(map(str, x.shape))} ({', '.join(dims_of(x))})"
    if names := _names_of(x):
        shape += (
            f": {', '.join(shown(name) for name in names[:MOST_LISTED])}{', ...' if len(names) > MOST_LISTED else ''}"
        )
    times = None if isinstance(x, np.ndarray) else times_of(x)
    if times is not None and times.dtype.kind == "M" and times.size:
        shape += f"; from {say_time(times.min().to_numpy())} to {say_time(times.max().to_numpy())}"
    if lengths is None or len(set(lengths.tolist())) == 1:
        return shape
    return f"{shape}, {lengths.min():,} to {lengths.max():,} steps of each sequence"


def _say_left_out(left_out: list[str], model: LoadedModel) -> tuple[str, ...]:
    if not left_out:
        return ()
    what = "is no input" if len(left_out) == 1 else "are no inputs"
    return (f"{listed(left_out)} {what} of {model.source.name} and left out",)


def _scale(
    x: "np.ndarray | xr.DataArray", model: LoadedModel | None, scaling: Scaling | str | PathLike[str] | None
) -> "tuple[np.ndarray | xr.DataArray, tuple[str, ...]]":
    """Scale as in training, or as asked, and keep beside each feature what was done to it."""
    if isinstance(scaling, str | PathLike):
        chosen, said = read_scale(Path(scaling)), f"scaled by {Path(scaling).name}"
    elif scaling is not None:
        chosen, said = scaling, "scaled as asked"
    elif model is not None and model.scaling is not None:
        chosen, said = model.scaling, f"scaled as in training ({model.source.name})"
    else:
        return x, ()
    names = _names_of(x)
    if names is None or isinstance(x, np.ndarray):
        raise InputError(
            f"the columns of the table have no names, so that the scaling of {listed(chosen.center)} cannot be applied "
            "to them; name the columns"
        )
    scaled = chosen.scaled(x).assign_attrs(x.attrs)
    centers, spreads = ([of[name] for name in names] for of in (chosen.center, chosen.spread))
    return scaled.assign_coords({CENTER: (FEATURE, centers), SPREAD: (FEATURE, spreads)}), (said,)


def _seconds(x: "np.ndarray | xr.DataArray", model: LoadedModel) -> float | None:
    """Tell how long a step is by the times of the table, else as the model says."""
    found = None if isinstance(x, np.ndarray) else step_seconds(x)
    written = _STEP.fullmatch(model.step or "")
    if found is not None or written is None:
        return found
    unit = _OF_PANDAS.get(written["unit"], written["unit"])
    return float(written["count"] or 1) * SECONDS[unit] if unit in SECONDS else None  # a month has no length
