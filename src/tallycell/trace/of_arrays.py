"""A trace of a cell that is no LSTM of ours: from the arrays that somebody else computed."""

import numpy as np
import xarray as xr

import tallycell
from tallycell.errors import InputError
from tallycell.names import DIRECTION, DIRECTIONS, FEATURE, LAYER, SEQUENCE, STEP, TIME, UNIT
from tallycell.parameters import Activations, LSTMParameters
from tallycell.trace.inputs import as_array
from tallycell.trace.schema import LONG_NAMES, dims_of, trace_attrs, validate_trace

AGREES = 1e-4  # how far a cell may lie from f c + i g, as a share of the largest cell: float32 rounds, step by step


def trace_of(
    i: object,
    f: object,
    g: object,
    o: object = None,
    c: object = None,
    *,
    x: object = None,
    activations: Activations | None = None,
) -> xr.Dataset:
    """Make a trace of the gates and states of a cell of one's own, so that it can be read like an LSTM.

    It must be memory of the same kind: c' = f c + i g. A GRU is, with f = z, i = 1 - z, g = n and c = h.

    Parameters
    ----------
    i, f, g, o
        Gates after their activation, (time, unit) or (time, sequence, unit), or anything that broadcasts to it. NaN
        beyond the end of a sequence. Without ``o`` the cell is taken to be seen as it is.
    c
        The cell after each step; computed from i, f and g, from 0 on, if None. Where the first step shows that it began
        elsewhere, that is found.
    x
        What was read, (time, feature) or (time, sequence, feature): the reading then says what brings an event.
    activations
        Squashing functions of i, f and o, of g and of c on its way out, whose limits say what is saturated; an LSTM's
        own if None.

    Returns
    -------
    xarray.Dataset
        The trace, of one layer, as ``docs/schema.md`` says.

    Raises
    ------
    InputError
        If shapes do not go together, a value is infinite, or c is not f c + i g.
    TraceError
        If a gate leaves the range of its activation.

    Examples
    --------
    A cell that keeps everything and counts the steps:

    >>> one = np.ones((4, 1))
    >>> trace_of(i=one, f=one, g=one).c.values.ravel()
    array([1., 2., 3., 4.])
    """
    given = {"i": i, "f": f, "g": g, "o": o, "c": c}
    arrays = _side_by_side({name: as_array(value, name) for name, value in given.items() if value is not None})
    lengths = _lengths(arrays)
    time = np.arange(arrays["f"].shape[0])
    if "c" in arrays:
        c_0 = _initial(arrays)
        _require_memory_of_this_kind(arrays, c_0, lengths)
    else:
        c_0 = np.zeros_like(arrays["f"][0])
        arrays["c"] = _run(arrays, c_0)
    sequences, units = arrays["f"].shape[1:]
    variables = {
        name: (dims_of(name), values.swapaxes(0, 1)[np.newaxis, np.newaxis], _about(name))
        for name, values in arrays.items()
    }
    for name in ("h_0", "c_0"):
        start = c_0 if name == "c_0" else np.zeros_like(c_0)
        variables[name] = (dims_of(name), start[np.newaxis, np.newaxis], _about(name))
    variables["length"] = (dims_of("length"), lengths, _about("length"))
    coords = {LAYER: [0], DIRECTION: [DIRECTIONS[0]], SEQUENCE: np.arange(sequences), TIME: time, STEP: (TIME, time),
              UNIT: np.arange(units)}  # fmt: skip
    if x is not None:
        read = _read(as_array(x, "x"), len(time), sequences, lengths)
        variables["x"] = (dims_of("x"), read, _about("x"))
        coords[FEATURE] = np.arange(read.shape[-1])
    weights = {"weight_ih_l0": np.zeros((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    described = LSTMParameters(weights, activations=activations or Activations())
    trace = xr.Dataset(variables, coords=coords, attrs=trace_attrs(described, [], tallycell.__version__))
    validate_trace(trace)
    return trace


def _about(name: str) -> dict[str, str]:
    return {"long_name": LONG_NAMES[name], "units": "1"}


def _side_by_side(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bring arrays to one shape, (time, sequence, unit), and to one format."""
    try:
        shape = np.broadcast_shapes(*(array.shape for array in given.values()))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or 0 in shape:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in given.items())
        raise InputError(f"got {shapes}; expected one shape, (time, unit) or (time, sequence, unit)")
    dtype = np.result_type(np.float32, *given.values())
    arrays = {name: np.array(np.broadcast_to(array, shape), dtype=dtype) for name, array in given.items()}
    ended = np.any([np.isnan(arrays[name]) for name, array in given.items() if array.ndim], axis=0)
    for name in (name for name, array in given.items() if not array.ndim):  # one number for all steps
        arrays[name][ended] = np.nan
    for name, array in arrays.items():
        if np.isinf(array).any():
            raise InputError(f"{name} has infinite values; gates and cells are finite")
    return {name: array[:, np.newaxis] if array.ndim == 2 else array for name, array in arrays.items()}


def _lengths(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Find where each sequence ends: where all values of all arrays are NaN from then on."""
    there = np.stack([np.isfinite(array) for array in arrays.values()])
    lengths: np.ndarray = there.any(axis=(0, 3)).sum(axis=0)
    inside = np.arange(there.shape[1])[:, np.newaxis] < lengths
    if (there != inside[np.newaxis, :, :, np.newaxis]).any() or not lengths.all():
        raise InputError("some values are NaN inside a sequence; only steps beyond its end may be, in all arrays alike")
    return lengths.astype(np.int64)


def _initial(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Find from where the cells began: 0, unless the first step says otherwise."""
    i, f, g, c = (arrays[name][0] for name in "ifgc")
    missing = c - i * g
    began = np.abs(missing) > AGREES * max(1.0, float(np.nanmax(np.abs(arrays["c"]))))
    return np.where(began, missing / np.where(f == 0, 1, f), 0).astype(c.dtype)


def _run(arrays: dict[str, np.ndarray], c_0: np.ndarray) -> np.ndarray:
    c, cells = c_0, []
    for i, f, g in zip(*(arrays[name] for name in "ifg"), strict=True):
        c = f * c + i * g
        cells.append(c)
    return np.stack(cells)


def _require_memory_of_this_kind(arrays: dict[str, np.ndarray], c_0: np.ndarray, lengths: np.ndarray) -> None:
    i, f, g, c = (arrays[name] for name in "ifgc")
    before = np.concatenate([c_0[np.newaxis], c[:-1]])
    error = np.nan_to_num(np.abs(f * before + i * g - c))
    step, sequence, unit = (int(k) for k in np.unravel_index(error.argmax(), error.shape))
    if error.max() > AGREES * max(1.0, float(np.nanmax(np.abs(c)))):
        raise InputError(
            f"c is not f c + i g: at step {step}, sequence {sequence}, unit {unit} it is {c[step, sequence, unit]:.6g} "
            f"and f c + i g is {(f * before + i * g)[step, sequence, unit]:.6g}; give the gates that make this cell"
        )


def _read(x: np.ndarray, time: int, sequences: int, lengths: np.ndarray) -> np.ndarray:
    """Bring what was read to (sequence, time, feature), NaN beyond the ends."""
    whole = x[:, np.newaxis] if x.ndim == 2 else x
    if whole.ndim != 3 or whole.shape[:2] != (time, sequences):
        raise InputError(f"x has shape {x.shape}; expected {time} steps" + f" of {sequences} sequences" * (x.ndim == 3))
    read = np.array(whole.swapaxes(0, 1), dtype=np.result_type(np.float32, x))
    read[np.arange(time) >= lengths[:, np.newaxis]] = np.nan
    return read
