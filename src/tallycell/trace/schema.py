"""What a trace is: the schema of ``docs/schema.md``, version 2, and its checks.

A trace is an ``xarray.Dataset``. Its dimensions are identified by name, never by position; any recorded variable may
be absent, but one that is present means what the schema says.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn, get_args

import numpy as np
import xarray as xr

from tallycell.activations import Activation, activation
from tallycell.errors import ActivationError, TraceError
from tallycell.kernels.hold import Hold
from tallycell.names import (
    DIRECTION,
    DIRECTIONS,
    FEATURE,
    GATES,
    LAYER,
    PRE_ACTIVATIONS,
    PROJECTION,
    SEQUENCE,
    STEP,
    STEP_VARIABLES,
    TIME,
    UNIT,
)
from tallycell.parameters import Activations, ForgetGate, LSTMParameters
from tallycell.wording import quoted

SCHEMA_VERSION = "2"
FIRST_VERSION = "1"  # its time was the number of the step, and the input's own was called input_time
SLOTS = ("gate", "cell", "hidden")
RECORDED = (*STEP_VARIABLES, *PRE_ACTIVATIONS, "x")  # what a caller may wish for
ALWAYS = ("h_0", "c_0", "length")
LONG_NAMES = {
    "i": "input gate",
    "f": "forget gate",
    "g": "candidate",
    "o": "output gate",
    "c": "cell state",
    "h": "hidden state",
    "i_pre": "pre-activation of the input gate",
    "f_pre": "pre-activation of the forget gate",
    "g_pre": "pre-activation of the candidate",
    "o_pre": "pre-activation of the output gate",
    "x": "input",
    "h_0": "initial hidden state",
    "c_0": "initial cell state",
    "length": "number of steps of the sequence",
}
_INTEGER_COORDINATES = (LAYER, UNIT, PROJECTION)
_ROUNDINGS = 8  # a gate may leave its activation's range by this many roundings of its dtype


def dims_of(name: str, projected: bool = False) -> tuple[str, ...]:
    """Dimensions of a variable of the trace, in the order that :func:`record_trace` writes.

    Parameters
    ----------
    name
        A variable of the schema.
    projected
        Whether the LSTM projects h.

    Examples
    --------
    >>> dims_of("c_0")
    ('layer', 'direction', 'sequence', 'unit')
    """
    last = PROJECTION if projected and name in ("h", "h_0") else UNIT
    fixed = {
        "x": (SEQUENCE, TIME, FEATURE),
        "length": (SEQUENCE,),
        "h_0": (LAYER, DIRECTION, SEQUENCE, last),
        "c_0": (LAYER, DIRECTION, SEQUENCE, last),
    }
    return fixed.get(name, (LAYER, DIRECTION, SEQUENCE, TIME, last))


def trace_attrs(parameters: LSTMParameters, holds: Iterable[Hold], version: str) -> dict[str, Any]:
    """Attributes of the trace of an LSTM: what a reader must know of it beside the values."""
    slots = [parameters.slots(direction) for direction in range(parameters.num_directions)]
    described = [{slot: _describe(getattr(one, slot)) for slot in SLOTS} for one in slots]
    attrs: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tallycell_version": version,
        "activations": json.dumps(described, allow_nan=False),
        "forget_gate": parameters.forget_gate,
    }
    bounds = {"clip_pre": parameters.clip_pre, "clip_cell": parameters.clip_cell}
    attrs |= {name: float(bound) for name, bound in bounds.items() if bound is not None}
    if held := [_describe_hold(hold) for hold in holds]:
        attrs["holds"] = json.dumps(held, allow_nan=False)
    return attrs


def activations_of(trace: xr.Dataset, direction: int = 0) -> Activations:
    """Activations of one direction of the LSTM that a trace was recorded from.

    Parameters
    ----------
    trace
        Follows the schema.
    direction
        0 forward, 1 reverse.

    Returns
    -------
    Activations
        An activation of one's own that is not registered in this process carries its range and limits; its value and
        derivative raise an ActivationError.

    Raises
    ------
    TraceError
        If the trace does not say.

    Examples
    --------
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> trace = xr.Dataset(attrs=trace_attrs(LSTMParameters(ones), [], "0.1.0"))
    >>> activations_of(trace).cell
    activation('tanh')
    """
    entries = _json_list(trace.attrs, "activations")
    if not 0 <= direction < len(entries):
        raise TraceError(f"the trace has activations for {len(entries)} directions, counted from 0; got {direction}")
    try:
        return Activations(*(_rebuild(entries[direction][slot]) for slot in SLOTS))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TraceError(
            f"attribute activations of the trace is not as the schema says ({error}): each direction has gate, cell "
            "and hidden, each with name, constants, range, left and right"
        ) from None


def validate_trace(trace: xr.Dataset) -> None:
    """Refuse a dataset that does not follow the trace schema.

    Names, dimensions, dtypes, coordinates and attributes are always checked. Values are checked where they are in
    memory: gates lie in their activation's range up to rounding (unless they were held), and a value is NaN exactly
    where the sequence has ended. Values behind dask are not computed, and so not checked.

    Parameters
    ----------
    trace
        The dataset.

    Raises
    ------
    TraceError
        In one line, the first fault that is found.

    Examples
    --------
    >>> validate_trace(xr.Dataset(attrs={"schema_version": "2"}))
    Traceback (most recent call last):
    tallycell.errors.TraceError: the trace has no attribute tallycell_version, activations, forget_gate; the schema
    requires it
    """
    trace = upgraded(trace)
    _check_attrs(trace.attrs)
    _check_variables(trace)
    _check_coordinates(trace)
    _check_values(trace)


def upgraded(trace: xr.Dataset) -> xr.Dataset:
    """Give a trace of version 1 as one of this version; any other as it is.

    Examples
    --------
    >>> old = xr.Dataset(coords={"time": [0, 1], "input_time": ("time", [0.5, 1.0])}, attrs={"schema_version": "1"})
    >>> new = upgraded(old)
    >>> new.time.values, new.step.values, new.attrs
    (array([0.5, 1. ]), array([0, 1]), {'schema_version': '2'})
    """
    if trace.attrs.get("schema_version") != FIRST_VERSION:
        return trace
    if TIME in trace.coords:
        trace = trace.assign_coords({STEP: (TIME, trace[TIME].values)})
    if "input_time" in trace.coords:
        own = trace["input_time"]
        trace = trace.drop_vars("input_time").assign_coords({TIME: (TIME, own.values, own.attrs)})
    return trace.assign_attrs(schema_version=SCHEMA_VERSION)


def whole(trace: xr.Dataset) -> xr.Dataset:
    """Give a trace its dimensions back where one layer, direction, sequence or unit was chosen by ``sel`` or ``isel``.

    Examples
    --------
    >>> from tallycell import record_trace
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> trace = record_trace(LSTMParameters(ones), np.zeros((3, 2, 1)))
    >>> whole(trace.sel(sequence=1, layer=0)).c.dims
    ('layer', 'direction', 'sequence', 'time', 'unit')
    """
    trace = upgraded(trace)
    projected = "h_0" in trace and PROJECTION in trace["h_0"].dims
    given = {}
    for name in (name for name in (*RECORDED, *ALWAYS) if name in trace.data_vars):
        wanted = dims_of(name, projected)
        chosen = [dim for dim in wanted if dim not in trace[name].dims and dim in trace.coords]
        if chosen and all(trace[dim].ndim == 0 for dim in chosen):
            given[name] = trace[name].expand_dims(chosen).transpose(*wanted, missing_dims="ignore")
    if not given:
        return trace
    chosen_of_all = {dim for name in given for dim in given[name].dims} - set(trace.dims)
    return trace.drop_vars([*given, *chosen_of_all]).assign(given)


def _describe(known: Activation) -> dict[str, Any]:
    return {
        "name": known.name,
        "constants": {name: _to_json(value) for name, value in known.constants.items()},
        "range": [_to_json(bound) for bound in known.range],
        "left": _to_json(known.left),
        "right": _to_json(known.right),
    }


def _to_json(value: float | None) -> float | str | None:
    """Write a number as strict JSON can hold it: infinities and NaN in words."""
    return value if value is None or math.isfinite(value) else str(float(value))


def _from_json(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _describe_hold(hold: Hold) -> dict[str, Any]:
    """Write a hold as JSON; a slice as [start, stop, step] under its own name."""
    described: dict[str, Any] = {"gate": hold.gate, "value": float(hold.value), "layer": int(hold.layer)}
    described["direction"] = hold.direction
    for name, chosen in (("units", hold.units), ("steps", hold.steps)):
        if isinstance(chosen, slice):
            described[name] = {
                "slice": [None if k is None else int(k) for k in (chosen.start, chosen.stop, chosen.step)]
            }
        else:
            described[name] = [int(k) for k in chosen]
    return described


def _rebuild(entry: Mapping[str, Any]) -> Activation:
    """Look the activation up by name; where it is unknown here or does not agree, give what the entry says of it."""
    name, constants = entry["name"], {key: float(value) for key, value in entry["constants"].items()}
    low, high = map(float, entry["range"])
    try:
        known = activation(name, **constants)
    except ActivationError:
        known = None
    if known is not None and _describe(known) == dict(entry):
        return known

    def unknown(*_: object) -> NoReturn:
        raise ActivationError(
            f"the trace knows range and limits of activation {quoted(name)} but not its values; register_activation "
            "it in this process, as it was where the trace was recorded"
        )

    stated = Activation(name, unknown, unknown, constants=constants)
    return replace(stated, range=(low, high), left=_from_json(entry["left"]), right=_from_json(entry["right"]))


def _json_list(attrs: Mapping[Any, Any], name: str) -> list[Any]:
    try:
        entries = json.loads(attrs.get(name, ""))
    except (TypeError, ValueError):
        entries = None
    if not isinstance(entries, list):
        raise TraceError(f"attribute {name} of the trace is {quoted(attrs.get(name))}; expected JSON, a list")
    return entries


def _check_attrs(attrs: Mapping[Any, Any]) -> None:
    if "schema_version" not in attrs:
        raise TraceError("the dataset has no attribute schema_version, so it is not a trace; record_trace makes one")
    if attrs["schema_version"] != SCHEMA_VERSION:
        raise TraceError(
            f"the trace has schema_version {quoted(attrs['schema_version'])}, this tallycell reads "
            f"{quoted(SCHEMA_VERSION)}; use the tallycell that wrote it, or a newer one"
        )
    if missing := [name for name in ("tallycell_version", "activations", "forget_gate") if name not in attrs]:
        raise TraceError(f"the trace has no attribute {', '.join(missing)}; the schema requires it")
    if attrs["forget_gate"] not in get_args(ForgetGate):
        raise TraceError(
            f"attribute forget_gate is {quoted(attrs['forget_gate'])}; it is one of 'own', 'coupled', 'none'"
        )
    for name in ("clip_pre", "clip_cell"):
        bound = attrs.get(name, 1.0)
        if isinstance(bound, bool) or not isinstance(bound, int | float | np.number) or not bound > 0:
            raise TraceError(f"attribute {name} is {quoted(bound)}; expected a positive number, or no such attribute")


def _check_variables(trace: xr.Dataset) -> None:
    if missing := [name for name in ALWAYS if name not in trace.data_vars]:
        raise TraceError(f"the trace has no variable {', '.join(missing)}; the schema requires it")
    projected = PROJECTION in trace["h_0"].dims
    for name in (name for name in (*RECORDED, *ALWAYS) if name in trace.variables):
        variable, expected = trace[name], dims_of(name, projected)
        if set(variable.dims) != set(expected):
            raise TraceError(
                f"variable {name} has dimensions ({', '.join(map(str, variable.dims))}), "
                f"expected ({', '.join(expected)}) in any order"
            )
        dtypes = ("int64",) if name == "length" else ("float32", "float64")
        if str(variable.dtype) not in dtypes:
            raise TraceError(f"variable {name} has dtype {variable.dtype}, expected {' or '.join(dtypes)}")
        if absent := [attr for attr in ("long_name", "units") if attr not in variable.attrs]:
            raise TraceError(f"variable {name} has no attribute {' and no '.join(absent)}; the schema requires it")


def _check_coordinates(trace: xr.Dataset) -> None:
    present = [name for name in (*RECORDED, *ALWAYS) if name in trace.variables]
    dims = dict.fromkeys(dim for name in present for dim in dims_of(name, PROJECTION in trace["h_0"].dims))
    for dim in dims:
        if dim not in trace.coords:
            raise TraceError(f"dimension {dim} has no coordinate; the schema requires one")
        values = trace[dim].values
        if not values.size:
            raise TraceError(f"dimension {dim} is empty; a trace has at least one of each")
        if dim in _INTEGER_COORDINATES and (values.dtype.kind not in "iu" or len(set(values.tolist())) < values.size):
            raise TraceError(f"coordinate {dim} has the values {_shown(values)}; expected integers, each once")
    directions = trace[DIRECTION].values.tolist()
    if not set(directions) <= set(DIRECTIONS) or len(set(directions)) < len(directions):
        raise TraceError(f"coordinate direction has the values {directions}; expected {' and '.join(DIRECTIONS)}")
    for name in directions:
        activations_of(trace, DIRECTIONS.index(name))
    if TIME in dims:
        _check_steps(trace)
    if _in_memory(trace["length"]) and (trace["length"].values < 0).any():
        raise TraceError(f"variable length has the values {_shown(trace['length'].values)}; expected at least 0 each")


def _check_steps(trace: xr.Dataset) -> None:
    if STEP not in trace.coords or trace[STEP].dims != (TIME,):
        raise TraceError("dimension time has no coordinate step beside it; the schema requires one")
    steps = trace[STEP].values
    if steps.dtype.kind not in "iu" or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise TraceError(f"coordinate step has the values {_shown(steps)}; expected integers from 0, rising")


def _shown(values: np.ndarray) -> str:
    return str(values.tolist() if values.size <= 8 else [*values[:8].tolist(), "..."]).replace("'...'", "...")


def _in_memory(variable: xr.DataArray) -> bool:
    return variable.chunks is None


def _check_values(trace: xr.Dataset) -> None:
    if not _in_memory(trace["length"]):
        return
    projected, held, ranges = PROJECTION in trace["h_0"].dims, _held(trace), _ranges(trace)
    beyond = trace[STEP].values >= trace["length"].values[:, np.newaxis] if STEP in trace.coords else np.zeros(1, bool)
    for name in (*RECORDED, "h_0", "c_0"):
        if name not in trace.variables or not _in_memory(trace[name]):
            continue
        dims = dims_of(name, projected)
        variable = trace[name].transpose(*dims)
        ended = beyond[..., np.newaxis] if TIME in dims else np.zeros(1, dtype=bool)
        for index in np.ndindex(variable.shape[: dims.index(SEQUENCE)]):
            # One layer and direction at a time: what the check needs of memory is small beside the trace.
            block = variable[index]
            _check_padding(block, ended)
            if name in GATES:
                layer, direction = int(block[LAYER]), block[DIRECTION].item()
                if (name, layer, direction) not in held:
                    _check_range(block, ranges[name, direction])


def _held(trace: xr.Dataset) -> set[tuple[str, int, str]]:
    """Gates that were held somewhere, by letter, layer and direction; where f = 1 - i, holding i moves f."""
    entries = _json_list(trace.attrs, "holds") if "holds" in trace.attrs else []
    try:
        held = {(entry["gate"], int(entry["layer"]), entry["direction"]) for entry in entries}
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(
            f"attribute holds of the trace is not as the schema says ({error}); expected gate, layer, direction"
        ) from None
    coupled = trace.attrs["forget_gate"] == "coupled"
    return held | ({("f", layer, direction) for gate, layer, direction in held if gate == "i"} if coupled else set())


def _ranges(trace: xr.Dataset) -> dict[tuple[str, str], tuple[float, float]]:
    """Range of each gate by letter and direction."""
    ranges: dict[tuple[str, str], tuple[float, float]] = {}
    for direction in trace[DIRECTION].values.tolist():
        slots = activations_of(trace, DIRECTIONS.index(direction))
        ranges |= {(gate, direction): slots.of(gate).range for gate in GATES}
        if trace.attrs["forget_gate"] == "coupled":
            low, high = slots.gate.range
            ranges["f", direction] = (1 - high, 1 - low)
        elif trace.attrs["forget_gate"] == "none":
            ranges["f", direction] = (1.0, 1.0)
    return ranges


def _check_padding(block: xr.DataArray, ended: np.ndarray) -> None:
    """Refuse a value that is NaN before the end of its sequence, or is not after it."""
    values = block.values
    if not ended.any() and not np.isnan(values.min()):
        return
    wrong = np.isnan(values) != ended
    if wrong.any():
        at = tuple(int(k[0]) for k in np.nonzero(wrong))
        rule = "inside its sequence, where it must be a number"
        if not np.isnan(values[at]):
            rule = "beyond the length of its sequence, where it must be NaN"
        raise TraceError(f"{_place(block[at])}, {rule}")


def _check_range(block: xr.DataArray, bounds: tuple[float, float]) -> None:
    values = block.values
    allowance = _ROUNDINGS * float(np.finfo(values.dtype).eps)
    low, high = (bound + sign * allowance * max(1.0, abs(bound)) for bound, sign in zip(bounds, (-1, 1), strict=True))
    if float(np.fmin.reduce(values, axis=None)) < low or float(np.fmax.reduce(values, axis=None)) > high:
        at = tuple(int(k[0]) for k in np.nonzero((values < low) | (values > high)))
        raise TraceError(f"{_place(block[at])}, outside its range from {bounds[0]:g} to {bounds[1]:g}")


def _place(value: xr.DataArray) -> str:
    """Name a single value and where it stands."""
    where = [f"{dim} {value[dim].item()}" for dim in (LAYER, DIRECTION, SEQUENCE, TIME, UNIT, PROJECTION, FEATURE)
             if dim in value.coords]  # fmt: skip
    return f"variable {value.name} is {value.item():g} at {', '.join(where)}"
