"""What each step does to each cell, in the words of counting."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from tallycell.activations import SATURATION_SHARE
from tallycell.errors import TraceError
from tallycell.names import DIRECTION
from tallycell.parameters import Activations
from tallycell.trace.schema import activations_of, whole

FORGET = ("reset", "keep", "leak")
WRITE = ("increment", "decrement", "hold", "partial")
EXPOSE = ("positive", "negative", "hidden", "partial")
PADDING = -1


def read_events(trace: xr.Dataset, share: float = SATURATION_SHARE) -> xr.Dataset:
    """Events of every step: what is forgotten, written and exposed.

    =============  ============================================================================================
    event          when
    =============  ============================================================================================
    ``reset``      f is saturated on the left
    ``keep``       f is saturated on the right (always, in an LSTM without a forget gate)
    ``leak``       otherwise
    ``increment``  i is saturated on the right, and so is g
    ``decrement``  i is saturated on the right, and g on the left
    ``hold``       i is saturated on the left, or i g is within ``share`` of 0
    ``partial``    any other write
    ``positive``   o is saturated on the right, and so is hidden(c)
    ``negative``   o is saturated on the right, and hidden(c) on the left
    ``hidden``     o is saturated on the left, or o hidden(c) is within ``share`` of 0
    ``partial``    any other exposure
    =============  ============================================================================================

    Parameters
    ----------
    trace
        With i, f, g, o and c.
    share
        Of the range: how near to its limit a saturated value lies.

    Returns
    -------
    xarray.Dataset
        ``forget``, ``write`` and ``expose`` (layer, direction, sequence, time, unit), int8: codes whose names are in
        the attribute ``flag_meanings``, as in the CF conventions; -1 in padding.

    Raises
    ------
    TraceError
        If a variable is missing.
    ActivationError
        If an activation does not state its limits.

    Examples
    --------
    >>> import tallycell as tc
    >>> weights = {"weight_ih_l0": np.full((4, 1), 9.0), "weight_hh_l0": np.zeros((4, 1))}
    >>> events = read_events(tc.record_trace(tc.LSTMParameters(weights), np.array([[1.0], [-1.0], [0.0]])))
    >>> [WRITE[code] for code in events["write"].to_numpy().ravel()]
    ['increment', 'hold', 'hold']
    >>> [FORGET[code] for code in events["forget"].to_numpy().ravel()]
    ['keep', 'reset', 'leak']
    """
    trace = whole(trace)
    if missing := [name for name in ("i", "f", "g", "o", "c") if name not in trace]:
        raise TraceError(f"the trace lacks {', '.join(missing)}; events need i, f, g, o and c")
    by_direction = []
    for d in range(trace.sizes[DIRECTION]):
        here = trace.isel({DIRECTION: d})
        arrays = {name: here[name].to_numpy() for name in ("i", "f", "g", "o", "c")}
        codes = code_events(arrays, activations_of(trace, d), share, always_keeps=trace.attrs["forget_gate"] == "none")
        padding = here["c"].isnull()
        coded = {name: np.where(padding, PADDING, code).astype(np.int8) for name, code in codes.items()}
        by_direction.append(xr.Dataset({name: here["c"].copy(data=code) for name, code in coded.items()}))
    events = xr.concat(by_direction, dim=trace[DIRECTION]).transpose(*trace["c"].dims)
    for name, meanings in (("forget", FORGET), ("write", WRITE), ("expose", EXPOSE)):
        events[name].attrs = {"flag_values": list(range(len(meanings))), "flag_meanings": " ".join(meanings)}
    return events


def code_events(
    gates: Mapping[str, np.ndarray], slots: Activations, share: float = SATURATION_SHARE, *, always_keeps: bool
) -> dict[str, np.ndarray]:
    """Code the events of one direction, each by the place of its name in ``FORGET``, ``WRITE`` or ``EXPOSE``.

    Parameters
    ----------
    gates
        i, f, g and c, all of one shape; with o, what is exposed is coded too.
    slots
        The activations of the direction.
    share
        As for :func:`read_events`.
    always_keeps
        Whether the LSTM has no forget gate.

    Returns
    -------
    dict
        ``forget``, ``write`` and, where there is an o, ``expose``.
    """
    i, f, g = (gates[name] for name in ("i", "f", "g"))
    open_i, shut_i = slots.gate.saturated_right(i, share), slots.gate.saturated_left(i, share)
    keeps = slots.gate.saturated_right(f, share) | always_keeps
    codes = {
        "forget": np.select([slots.gate.saturated_left(f, share), keeps], [0, 1], 2),
        "write": np.select(
            [
                open_i & slots.cell.saturated_right(g, share),
                open_i & slots.cell.saturated_left(g, share),
                shut_i | (np.abs(i * g) < share),
            ],
            [0, 1, 2],
            3,
        ),
    }
    return codes | {"expose": exposed(gates["o"], gates["c"], slots, share)} if "o" in gates else codes


def exposed(o: np.ndarray, c: np.ndarray, slots: Activations, share: float = SATURATION_SHARE) -> np.ndarray:
    """Code what the output gate exposes of a cell at each step, by the place of its name in ``EXPOSE``."""
    y = slots.hidden(c)
    is_open, is_shut = slots.gate.saturated_right(o, share), slots.gate.saturated_left(o, share)
    codes: np.ndarray = np.select(
        [
            is_open & slots.hidden.saturated_right(y, share),
            is_open & slots.hidden.saturated_left(y, share),
            is_shut | (np.abs(o * y) < share),
        ],
        [0, 1, 2],
        3,
    )
    return codes
