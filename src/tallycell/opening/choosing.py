"""Which LSTM of a model reads, and in which order it does."""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import InputError
from tallycell.input import Input, Rows
from tallycell.loaders import LoadedModel
from tallycell.names import TIME
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

if TYPE_CHECKING:
    import xarray as xr


def as_loaded(model: object) -> LoadedModel:
    """Give a model as a file would have given it.

    Parameters
    ----------
    model
        A ``LoadedModel``, a ``Recogniser`` or ``LSTMParameters``.

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> one = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> as_loaded(one).lstm is one
    True
    """
    if isinstance(model, LoadedModel):
        return model
    if isinstance(model, Recogniser):
        return LoadedModel({"": model.parameters}, Path("the recogniser"), recogniser=model)
    if isinstance(model, LSTMParameters):
        return LoadedModel({"": model}, Path("the LSTM"))
    raise InputError(
        f"got a {type(model).__name__} for a model; expected what tallycell.load gives, a Recogniser or LSTMParameters"
    )


def choose_lstm(model: LoadedModel, wanted: str | None) -> str:
    """Path of the LSTM that was asked for, or of the only one.

    Raises
    ------
    InputError
        If there are several and none was asked for, or there is none at the path.

    Examples
    --------
    >>> one = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> choose_lstm(LoadedModel({"encoder": one}, Path("m.pt")), None)
    'encoder'
    >>> choose_lstm(LoadedModel({"a": one, "b": one}, Path("m.pt")), None)
    Traceback (most recent call last):
    tallycell.errors.InputError: m.pt holds 2 LSTMs, at 'a', 'b'; choose one with lstm (--lstm PATH)
    """
    if wanted is not None:
        model[wanted]  # refuses a path that is not there, or says why it cannot be read
        return wanted
    if len(model) == 1:
        return next(iter(model))
    paths = model.paths_in_words()
    raise InputError(f"{model.source} holds {len(model)} LSTMs, at {paths}; choose one with lstm (--lstm PATH)")


def path_to_tell(model: LoadedModel, path: str) -> str | None:
    """Give the path of an LSTM; None where it is the only one, so that nobody need be told."""
    return path if len(model) + len(model.refused) > 1 else None


def state_of(state: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Give initial states: those of an npz file, or as they are."""
    if isinstance(state, str | PathLike):
        from tallycell.opening.state_file import read_state

        return read_state(Path(state))
    checked: tuple[np.ndarray, np.ndarray] | None = state  # record_trace does
    return checked


def in_order_of(model: LoadedModel, path: str, given: Input) -> Input:
    """Turn an input round where the LSTM at a path reads from the last step to the first; say which LSTM it is.

    Raises
    ------
    InputError
        If sequences of different length would have to be turned round together.
    """
    named = replace(given, lstm=path_to_tell(model, path))
    if not model.places[path].reverse:
        return named
    if given.lengths is not None and len(set(given.lengths.tolist())) > 1:
        raise InputError(
            f"the LSTM of {model.source.name} reads from the last step to the first, so that sequences of different "
            "length cannot stand side by side; give one at a time"
        )
    return replace(
        named,
        x=_turned(given.x),
        tokens=None if given.tokens is None else given.tokens[::-1],
        quantities=_quantities_turned(given.quantities),
        reverse=True,
    )


def _turned(x: "np.ndarray | Rows | xr.DataArray") -> "np.ndarray | Rows | xr.DataArray":
    if isinstance(x, Rows):
        return Rows(x.table, x.codes[::-1])
    return x[::-1] if isinstance(x, np.ndarray) else x.isel({TIME: slice(None, None, -1)})


def _quantities_turned(quantities: Any) -> "Mapping[str, Any] | xr.Dataset":
    """Turn round each quantity, (..., time), whatever holds it; by names where it has them."""
    import pandas as pd
    import xarray as xr

    if isinstance(quantities, xr.Dataset):
        return quantities.isel({TIME: slice(None, None, -1)})
    if isinstance(quantities, pd.DataFrame):
        quantities = {name: quantities[name] for name in quantities.columns}
    return {name: _quantity_turned(one) for name, one in quantities.items()}


def _quantity_turned(one: Any) -> Any:
    import pandas as pd
    import xarray as xr

    if isinstance(one, xr.DataArray):
        return one.isel({TIME: slice(None, None, -1)})
    if isinstance(one, pd.Series) and not isinstance(one.index, pd.RangeIndex):
        return one.iloc[::-1]
    return np.asarray(one)[..., ::-1]
