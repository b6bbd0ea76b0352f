"""Known quantities, brought to the steps of a trace: by position where they have no labels, else by their labels.

A series whose dates are not those of the input is another series, however long it is; it is refused, never correlated.
"""

import sys
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.names import SEQUENCE, TIME
from tallycell.wording import listed, quoted


def align_quantities(quantities: Any, trace: xr.Dataset) -> dict[str, Float[np.ndarray, "sequence time"]]:
    """Give each quantity at each step of a trace; NaN where it has no value.

    Parameters
    ----------
    quantities
        By name, or as the columns of a ``pandas.DataFrame``, or the variables of an ``xarray.Dataset``. An array is
        (time,) or (sequence, time), by position. A ``DataArray`` and a ``Series`` go by the labels of their ``time``
        and ``sequence``, which must be those of the trace, in its order; without ``sequence`` it holds for all.
        What has no labels (a dimension without a coordinate, a ``Series`` numbered from 0) goes by position.
    trace
        Follows the schema.

    Raises
    ------
    InputError
        If a quantity is no numbers, or its labels or length are not those of the trace; the text names the first that
        differs.

    Examples
    --------
    >>> import tallycell as tc
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> days = np.array(["2001-03-01", "2001-03-02"], "datetime64[ns]")
    >>> x = xr.DataArray(np.ones((2, 1)), dims=("time", "feature"), coords={"time": days})
    >>> trace = tc.record_trace(tc.LSTMParameters(ones), x)
    >>> align_quantities({"snow": xr.DataArray([3.0, np.nan], coords={"time": days})}, trace)
    {'snow': array([[ 3., nan]])}
    >>> align_quantities({"snow": xr.DataArray([3.0, 4.0], coords={"time": days + np.timedelta64(1, "D")})}, trace)
    Traceback (most recent call last):
    tallycell.errors.InputError: quantity 'snow' has no value at time 2001-03-01, which the input has; its time begins
    at 2001-03-02: give it at the steps of the input, with NaN where nothing is known
    """
    return {str(name): _aligned(str(name), value, trace) for name, value in _by_name(quantities).items()}


def units_of(quantities: Any) -> dict[str, str]:
    """Give what each quantity is measured in, where its attribute ``units`` says so."""
    return {
        str(name): str(value.attrs["units"])
        for name, value in _by_name(quantities).items()
        if getattr(value, "attrs", {}).get("units")
    }


def _by_name(quantities: Any) -> Mapping[Hashable, Any]:
    pandas = sys.modules.get("pandas")  # what comes from it can only come where it is loaded
    if quantities is None:
        return {}
    if pandas is not None and isinstance(quantities, pandas.DataFrame):
        return {name: quantities[name] for name in quantities.columns}
    if isinstance(quantities, xr.Dataset):
        return dict(quantities.data_vars)
    if isinstance(quantities, Mapping):
        return quantities
    raise InputError(
        f"quantities is a {type(quantities).__name__}; expected a mapping from name to values, a DataFrame or a Dataset"
    )


def _aligned(name: str, value: Any, trace: xr.Dataset) -> Float[np.ndarray, "sequence time"]:
    labelled = _labelled(name, value)
    if labelled is not None and SEQUENCE in labelled.coords and SEQUENCE not in labelled.dims:
        labelled = labelled.expand_dims(SEQUENCE)  # chosen by sel: it is still that sequence's
    sizes = {dim: trace.sizes[dim] for dim in (SEQUENCE, TIME)}
    if labelled is None:
        return _by_position(name, _numbers(name, value), (sizes[SEQUENCE], sizes[TIME]))
    if unknown := [dim for dim in labelled.dims if dim not in sizes]:
        raise InputError(f"quantity {quoted(name)} has the dimension {listed(unknown)}; expected time, and sequence")
    if TIME not in labelled.dims:
        raise InputError(f"quantity {quoted(name)} has no dimension time; rename its own")
    for dim in labelled.dims:
        _check_labels(name, labelled, trace, str(dim))
    values = _numbers(name, labelled.transpose(..., TIME).to_numpy())
    return np.array(np.broadcast_to(values, (sizes[SEQUENCE], sizes[TIME])))


def _labelled(name: str, value: Any) -> xr.DataArray | None:
    """Give what goes by names as a DataArray; None for what goes by position."""
    if isinstance(value, xr.DataArray):
        return value
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, pandas.Series):
        return None
    index = value.index
    if isinstance(index, pandas.MultiIndex):
        if set(index.names) != {SEQUENCE, TIME}:
            raise InputError(
                f"quantity {quoted(name)} has an index of {listed(index.names)}; expected the levels sequence and time"
            )
        return xr.DataArray(value.to_xarray())
    if isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1:
        return None
    return xr.DataArray(value.to_numpy(), dims=(TIME,), coords={TIME: index.to_numpy()})


def _numbers(name: str, value: Any) -> Float[np.ndarray, "..."]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"quantity {quoted(name)} does not make an array of numbers ({error}); give one number a step"
        ) from None


def _by_position(name: str, array: np.ndarray, expected: tuple[int, int]) -> Float[np.ndarray, "sequence time"]:
    shape = array.shape
    if array.ndim == 1 and expected[0] == 1:
        array = array[np.newaxis]
    if array.shape != expected:
        raise InputError(f"quantity {quoted(name)} has shape {shape}, expected (sequence, time) = {expected}")
    return array


def _check_labels(name: str, quantity: xr.DataArray, trace: xr.Dataset, dim: str) -> None:
    """Refuse a dimension of a quantity whose labels are not the trace's, in its order."""
    if dim not in quantity.coords:
        if quantity.sizes[dim] != trace.sizes[dim]:
            raise InputError(
                f"quantity {quoted(name)} has {quantity.sizes[dim]} entries along {dim} and no labels, the trace has "
                f"{trace.sizes[dim]}"
            )
        return
    theirs, ours = quantity.indexes[dim], trace.indexes[dim]
    if ours.equals(theirs):
        return
    hint = "give it at the steps of the input, with NaN where nothing is known"
    missing = ours[~ours.isin(theirs)]
    if len(missing):
        begins = f"; its {dim} begins at {_said(theirs[0])}" if len(theirs) else ""
        raise InputError(
            f"quantity {quoted(name)} has no value at {dim} {_said(missing[0])}, which the input has{begins}: {hint}"
        )
    if len(theirs) > len(ours):
        beyond = theirs[~theirs.isin(ours)]
        which = f"at {dim} {_said(beyond[0])}, which the input lacks" if len(beyond) else f"at the same {dim} twice"
        raise InputError(f"quantity {quoted(name)} has a value {which}: {hint}")
    at = next(k for k, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    raise InputError(
        f"quantity {quoted(name)} has the labels of the input in another order: entry {at} of its {dim} is "
        f"{_said(theirs[at])}, of the input's {_said(ours[at])}; sort it as the input"
    )


def _said(label: Any) -> str:
    """Say a label; of a day only its date."""
    date: Any = getattr(label, "isoformat", None)
    if date is not None:
        return str(date()).removesuffix("T00:00:00")
    return quoted(label.item() if isinstance(label, np.generic) else label)
