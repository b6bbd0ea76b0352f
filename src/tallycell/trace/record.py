"""Record a trace: run an LSTM on an input and keep what was wished for."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

import tallycell
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.kernels.cpu.memory import aligned
from tallycell.kernels.hold import Hold, read_holds
from tallycell.kernels.interface import Steps
from tallycell.kernels.stack import StackInput, run_stack, with_means
from tallycell.names import DIRECTION, DIRECTIONS, FEATURE, LAYER, PRE_ACTIVATIONS, PROJECTION, TIME, UNIT
from tallycell.parameters import LSTMParameters
from tallycell.trace.inputs import LabelledInput, read_input, read_model, read_state
from tallycell.trace.schema import LONG_NAMES, RECORDED, dims_of, trace_attrs


@dataclass(frozen=True)
class Record:
    """What to keep of a run; what is not wished for is not kept in memory.

    Attributes
    ----------
    variables
        Any of ``i f g o c h``, ``x``, and ``i_pre f_pre g_pre o_pre``, which are not kept unless asked for.
    units
        Numbers of the units to keep, in this order; all if None. With a projection, h keeps all it has.
    steps
        Steps of the input to keep, as a slice or as rising numbers.

    Raises
    ------
    InputError
        If a variable is unknown, or nothing would be recorded.

    Examples
    --------
    >>> Record("c", units=[3, 1])
    Record(variables=('c',), units=(3, 1), steps=slice(None, None, None))
    >>> Record(())
    Traceback (most recent call last):
    tallycell.errors.InputError: nothing would be recorded: variables is empty; name at least one
    """

    variables: Sequence[str] = ("i", "f", "g", "o", "c", "h", "x")
    units: Sequence[int] | None = None
    steps: Sequence[int] | slice = field(default_factory=lambda: slice(None))

    def __post_init__(self) -> None:
        variables = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        if unknown := [name for name in variables if name not in RECORDED]:
            raise InputError(f"cannot record {', '.join(map(repr, unknown))}; known are {', '.join(RECORDED)}")
        object.__setattr__(self, "variables", tuple(dict.fromkeys(variables)))
        object.__setattr__(self, "units", None if self.units is None else _whole_numbers(self.units, "units"))
        if not isinstance(self.steps, slice):
            object.__setattr__(self, "steps", _whole_numbers(self.steps, "steps"))
        if empty := [name for name in ("variables", "units", "steps") if getattr(self, name) == ()]:
            raise InputError(f"nothing would be recorded: {' and '.join(empty)} is empty; name at least one")


@dataclass(frozen=True, eq=False)
class Choice:
    """A wish with the numbers of one run: which variables, units and steps."""

    variables: tuple[str, ...]
    units: np.ndarray
    steps: np.ndarray
    projection: np.ndarray | None  # its numbers, if h is projected

    def numbers_of(self, name: str) -> np.ndarray:
        """Which numbers of its last dimension are kept: h of a projection is not by unit, and kept whole."""
        return self.projection if self.projection is not None and name in ("h", "h_0") else self.units


def record_trace(
    model: object,
    x: object,
    state: tuple[object, object] | None = None,
    *,
    batch_first: bool | None = None,
    lengths: object = None,
    record: Record = Record(),
    hold: Hold | Iterable[Hold] = (),
) -> xr.Dataset:
    """Run an LSTM and keep its gates and states, by layer, direction, sequence, time and unit.

    Parameters
    ----------
    model
        ``LSTMParameters``, ``Recogniser``, ``torch.nn.LSTM``, ``tallycell.LSTM``, or what :func:`tallycell.load` gave,
        of which the only LSTM runs, or the one that an ``Input`` was made for. Dropout is never applied.
    x
        What ``open_text``, ``open_table`` or ``open_audio`` gave, with its states and lengths. Or an array or tensor,
        (time, feature) or (time, sequence, feature), converted to the dtype of the weights. A ``DataArray`` goes by the
        names of its dimensions, in any order, and its coordinates are kept.
    state
        (h_0, c_0) in torch's shapes: (layer * direction, sequence, hidden), or (layer * direction, hidden) for an
        input without sequences. If None, a recogniser's own; zeros for others.
    batch_first
        Whether an array is (sequence, time, feature). If None, a module's own; False for others.
    lengths
        Steps of each sequence, 1 to time; what stands beyond is not read, and is NaN in the trace.
    record
        What to keep.
    hold
        Interventions: gates or states held at a value, an array of them or their mean. Steps before anything is held
        agree with a free run to rounding.

    Returns
    -------
    xarray.Dataset
        The trace, as ``docs/schema.md`` says. In the reverse direction ``c`` at a step is the state after that step
        was read from the right.

    Raises
    ------
    InputError
        If the model is none, or input, states, lengths, record or hold do not fit it; if an ``Input`` is given together
        with states, lengths or an order; if a state overflows to NaN.

    Examples
    --------
    >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    >>> trace = record_trace(LSTMParameters(weights), np.zeros((5, 3)), hold=Hold("g", 1.0, units=[1]))
    >>> trace.c.isel(layer=0, direction=0, sequence=0, unit=1).values
    array([0.5    , 0.75   , 0.875  , 0.9375 , 0.96875])
    """
    path = None
    if isinstance(x, Input):
        _refuse_besides(state=state, batch_first=batch_first, lengths=lengths)
        path, state, lengths, batch_first, x = x.lstm, x.state, x.lengths, False, x.x
    traced = read_model(model, path)
    parameters = traced.parameters
    source = read_input(x, traced, traced.batch_first if batch_first is None else batch_first, lengths)
    time, sequences, _ = source.x.shape
    h_0, c_0 = read_state(state, traced, sequences, source.batched)
    choice = choose(record, parameters, time)
    wished = read_holds(hold)
    lengths_to_mind = None if (source.lengths == time).all() else source.lengths
    inputs = StackInput(source.x, h_0, c_0, lengths_to_mind)
    kept, _ = run_chosen(parameters, inputs, choice, with_means(wished, parameters, inputs))
    kept |= given_to(parameters, choice, source, h_0, c_0)
    return assemble(parameters, choice, source, kept, attrs_of_run(parameters, wished))


def _refuse_besides(**options: object) -> None:
    """Refuse what an ``Input`` has already."""
    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(f"x is an Input, which has its states and lengths; leave out {' and '.join(given)}")


def _whole_numbers(chosen: Iterable[int], what: str) -> tuple[int, ...]:
    numbers = np.asarray(list(chosen))
    if numbers.size and (numbers.dtype.kind not in "iu" or numbers.ndim != 1):
        raise InputError(f"{what} of a record are {list(numbers.tolist())}; expected integers")
    return tuple(int(k) for k in numbers)


def choose(record: Record, parameters: LSTMParameters, time: int) -> Choice:
    """Turn a wish into the numbers of a run.

    Raises
    ------
    InputError
        If it names what is not there, or nothing.
    """
    units = range(parameters.hidden_size) if record.units is None else record.units
    steps = range(time)[record.steps] if isinstance(record.steps, slice) else record.steps
    choice = Choice(
        tuple(record.variables),
        _numbered(units, parameters.hidden_size, "unit"),
        _numbered(steps, time, "step"),
        np.arange(parameters.proj_size) if parameters.proj_size else None,
    )
    if not choice.steps.size:
        raise InputError(f"nothing would be recorded: {record.steps} chooses none of {time} steps")
    if (np.diff(choice.steps) <= 0).any():
        raise InputError(f"steps of a record are {record.steps}; expected rising numbers, each step once")
    return choice


def _numbered(chosen: Sequence[int], size: int, what: str) -> np.ndarray:
    """Numbers counted from 0, those below 0 from the end; each once."""
    if outside := [k for k in chosen if not -size <= k < size]:
        raise InputError(f"a record names {what} {outside[0]}; there are {size}, counted from 0")
    numbers = np.array([k % size for k in chosen], dtype=np.int64)
    if len(set(numbers.tolist())) < numbers.size:
        raise InputError(f"a record names a {what} twice: {list(chosen)}")
    return numbers


def attrs_of_run(parameters: LSTMParameters, holds: tuple[Hold, ...]) -> dict[str, object]:
    """Attributes of the trace; of a hold at values only that they were values, and by what they differed."""
    plain = [hold if isinstance(hold.value, int | float | np.number) else replace(hold, value=0.0) for hold in holds]
    attrs = trace_attrs(parameters, plain, tallycell.__version__)
    if plain == list(holds):
        return attrs
    described = json.loads(attrs["holds"])
    for entry, hold in zip(described, holds, strict=True):
        if isinstance(hold.value, str):
            entry["value"] = hold.value
        elif hold.dims:
            entry["value"] = f"array ({', '.join(hold.dims)})"
    return attrs | {"holds": json.dumps(described, allow_nan=False)}


def run_chosen(
    parameters: LSTMParameters, inputs: StackInput, choice: Choice, holds: tuple[Hold, ...] = (), first: int = 0
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Run a stack and keep what was chosen, of each layer as soon as it is done.

    Returns
    -------
    tuple
        Values by name, (layer, direction, sequence, step, unit), and the last states, in torch's shapes. An error
        counts sequences from ``first``.
    """
    by_layer = (parameters.num_layers, parameters.num_directions, inputs.x.shape[1], choice.steps.size)
    names = [name for name in choice.variables if name != "x"]
    kept = {name: aligned((*by_layer, choice.numbers_of(name).size), parameters.dtype) for name in names}
    keep_pre = not set(names).isdisjoint(PRE_ACTIVATIONS)
    layers = run_stack(parameters, inputs, holds=holds, keep_pre=keep_pre)
    last: list[tuple[np.ndarray, np.ndarray]] = []
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is looked for in the states
        for layer in range(parameters.num_layers):
            directions = next(layers)
            for steps, name in zip(directions, DIRECTIONS, strict=False):
                _check_overflow(steps, layer, name, first)
            _keep(kept, choice, layer, directions)
            last += [(steps.h_n, steps.c_n) for steps in directions]
    h_n, c_n = (np.stack(states) for states in zip(*last, strict=True))
    return kept, (h_n, c_n)


def _keep(kept: dict[str, np.ndarray], choice: Choice, layer: int, directions: tuple[Steps, ...]) -> None:
    """Copy what was chosen out of a layer, so that the rest of it can go."""
    for direction, steps in enumerate(directions):
        for name, values in kept.items():
            every = getattr(steps, name)
            chosen = every[_slice_if_all(choice.steps, len(every))]
            chosen = chosen[..., _slice_if_all(choice.numbers_of(name), every.shape[-1])]
            values[layer, direction] = chosen.swapaxes(0, 1)


def _slice_if_all(numbers: np.ndarray, size: int) -> np.ndarray | slice:
    """Give a slice for all of them in order: it copies nothing."""
    return slice(None) if np.array_equal(numbers, np.arange(size)) else numbers


def _check_overflow(steps: Steps, layer: int, direction: str, first: int) -> None:
    # NaN arises where an unbounded activation overflows, and stays in the states to the last step.
    wrong = np.isnan(steps.c_n).any(-1) | np.isnan(steps.h_n).any(-1)
    if wrong.any():
        sequence = first + int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"the states of layer {layer}, {direction}, overflow to NaN in sequence {sequence}; scale the input down, "
            "or set clip_pre or clip_cell"
        )


def given_to(
    parameters: LSTMParameters, choice: Choice, source: LabelledInput, h_0: np.ndarray, c_0: np.ndarray
) -> dict[str, np.ndarray]:
    """Give what the run started from: initial states by layer and direction, lengths, and x if it was wished for."""
    by_layer = (parameters.num_layers, parameters.num_directions, h_0.shape[1], -1)
    states = {"h_0": h_0.reshape(by_layer), "c_0": c_0.reshape(by_layer)}
    given = {}
    if "x" in choice.variables:
        given["x"] = source.x.swapaxes(0, 1)[:, choice.steps]
        given["x"][choice.steps >= source.lengths[:, np.newaxis]] = np.nan
    given |= {name: state[..., choice.numbers_of(name)] for name, state in states.items()}
    return given | {"length": source.lengths}


def assemble(
    parameters: LSTMParameters,
    choice: Choice,
    source: LabelledInput,
    kept: dict[str, np.ndarray],
    attrs: dict[str, object],
) -> xr.Dataset:
    """Give the kept arrays their dimensions, coordinates and attributes."""
    variables = {}
    for name, values in kept.items():
        about = {"long_name": LONG_NAMES[name], "units": "1"} | (source.attrs if name == "x" else {})
        variables[name] = (dims_of(name, choice.projection is not None), values, about)
    coords: dict[Any, object] = {
        LAYER: np.arange(parameters.num_layers),
        DIRECTION: list(DIRECTIONS[: parameters.num_directions]),
        UNIT: choice.units,
    }
    if choice.projection is not None:
        coords[PROJECTION] = choice.projection
    every = choice.steps.size == len(source.x)
    for name, label in source.labels.items():
        if "x" in kept or FEATURE not in label.dims:
            coords[name] = label if every else label.isel({TIME: choice.steps}, missing_dims="ignore")
    # All at once: each time that coordinates are assigned, xarray aligns everything anew.
    return xr.Dataset(variables, coords=coords, attrs=attrs)
