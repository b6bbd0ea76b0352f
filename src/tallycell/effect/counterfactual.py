"""What becomes of one output without a step, or without a unit: the network run again, gates and all."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Literal, get_args

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tallycell.effect.account import TOKEN
from tallycell.effect.chosen import Chosen, choose
from tallycell.effect.holding import CellName, FreeRun, run_held
from tallycell.effect.stretches import Stretch
from tallycell.errors import InputError
from tallycell.kernels.hold import Hold
from tallycell.names import DIRECTION, DIRECTIONS, FEATURE, LAYER, TIME, UNIT
from tallycell.trace import Record, record_trace
from tallycell.wording import listed, quoted

Way = Literal["write", "zeros", "mean"]
_ABOUT = {"long_name": "change of the output", "units": "1"}
_AT_ONCE = 64  # steps left out side by side, each in a sequence of its own


def counterfactual_steps(
    model: object,
    given: object,
    step: int,
    output: int | str,
    steps: Iterable[int] | None = None,
    *,
    sequence: int = 0,
    without: Way = "write",
) -> xr.DataArray:
    """Give by how much an output changes when a step is left out, each step by itself.

    Parameters
    ----------
    model, given, step, output, sequence
        As :func:`~tallycell.effect.account.explain_output` takes them.
    steps
        Which steps are left out, counted from 0; all that the output can depend on if None.
    without
        What it means to leave a step out. ``"write"``: it writes nothing, the input gates of all layers and directions
        are 0 at that step (a coupled forget gate is then 1); it still forgets and shows. ``"zeros"``: its input is
        zeros. ``"mean"``: its input is the mean over the steps of the sequence that the output depends on.

    Returns
    -------
    xarray.DataArray
        (time,): the output without the step, less the output as it was, before the activation. A step that raised the
        output has a change below 0.

    Raises
    ------
    InputError
        As ``explain_output``; if a step is not among those that the output depends on, or ``without`` is another.

    Examples
    --------
    >>> from tallycell import LSTMParameters, Recogniser
    >>> weights = {"weight_ih_l0": np.repeat([[9.0], [0], [2], [9]], 2, axis=1), "weight_hh_l0": np.zeros((4, 1))}
    >>> network = Recogniser(("a", "b"), np.eye(2), LSTMParameters(weights), np.ones((1, 1)), np.zeros(1), ("yes",))
    >>> counterfactual_steps(network, np.eye(2), step=1, output="yes").values.round(3).tolist()
    [-0.149, -0.447]
    """
    chosen = choose(model, given, step, output, sequence)
    if without not in get_args(Way):
        raise InputError(f"without is {quoted(without)}; it is one of {listed(get_args(Way))}")
    trace = record_trace(model, chosen.given, record=Record(("h", "c", "x")))
    numbers = _checked(steps, trace.sizes[TIME], "step")
    find = _each_in_a_run if chosen.readout.parameters.bidirectional else _side_by_side
    changed = np.array(list(find(chosen, trace, numbers, without)))
    times = {name: (TIME, one.to_numpy()[numbers]) for name, one in trace.coords.items() if one.dims == (TIME,)}
    if chosen.tokens is not None:
        times[TOKEN] = (TIME, np.array(chosen.tokens, dtype=str)[numbers])
    return xr.DataArray(changed - chosen.logit(trace), times, (TIME,), "change", _ABOUT)


def counterfactual_units(
    model: object,
    given: object,
    step: int,
    output: int | str,
    units: Sequence[int] | None = None,
    *,
    sequence: int = 0,
) -> xr.DataArray:
    """Give by how much an output changes when the cell of a unit is held at 0 from the first step on, each by itself.

    Parameters
    ----------
    model, given, step, output, sequence
        As :func:`~tallycell.effect.account.explain_output` takes them.
    units
        Numbers of the units, in each layer and direction; all if None.

    Returns
    -------
    xarray.DataArray
        (layer, direction, unit): the output without the unit, less the output as it was, before the activation. A unit
        that raised the output has a change below 0.

    Raises
    ------
    InputError
        As ``explain_output``; if there is no such unit.

    Examples
    --------
    >>> from tallycell import LSTMParameters, Recogniser
    >>> weights = {"weight_ih_l0": np.repeat([[9.0], [0], [2], [9]], 2, axis=1), "weight_hh_l0": np.zeros((4, 1))}
    >>> network = Recogniser(("a", "b"), np.eye(2), LSTMParameters(weights), np.ones((1, 1)), np.zeros(1), ("yes",))
    >>> counterfactual_units(network, np.eye(2), step=1, output="yes").values.round(3).tolist()
    [[[-0.895]]]
    """
    chosen = choose(model, given, step, output, sequence)
    p = chosen.readout.parameters
    trace = record_trace(model, chosen.given, record=Record(("h", "c", "x")))
    numbers = _checked(units, p.hidden_size, "unit")
    cases = [(CellName(*cell),) for cell in product(range(p.num_layers), range(p.num_directions), numbers.tolist())]
    the_step = Stretch(0, 0, chosen.step, chosen.step + 1, trace.sizes[TIME])
    changed = np.zeros(len(cases))
    for _, some, h in run_held(FreeRun.of(p, trace), [the_step], cases, "zero"):
        changed[some] = chosen.readout.logits(h[:, 0, 0])[:, chosen.number]
    by_cell = changed.reshape(p.num_layers, p.num_directions, len(numbers)) - chosen.logit(trace)
    where = {LAYER: np.arange(p.num_layers), DIRECTION: list(DIRECTIONS[: p.num_directions]), UNIT: numbers}
    return xr.DataArray(by_cell, where, tuple(where), "change", _ABOUT)


def _checked(chosen: Iterable[int] | None, size: int, what: str) -> Int[np.ndarray, " chosen"]:
    """Numbers that were asked for, rising, each once."""
    if chosen is None:
        return np.arange(size)
    numbers = np.asarray(list(chosen))
    if not numbers.size or numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(f"{what}s are {quoted(numbers.tolist())}; expected numbers, at least one, or None for all")
    if outside := [k for k in numbers.tolist() if not 0 <= k < size]:
        of = "of each layer" if what == "unit" else "that the output depends on"
        raise InputError(f"no {what} {outside[0]} among the {size:,} {of}, counted from 0")
    return np.unique(numbers)


def _x(trace: xr.Dataset) -> Float[np.ndarray, "time feature"]:
    return trace["x"].isel(sequence=0).transpose(TIME, FEATURE).to_numpy()


def _instead(x: Float[np.ndarray, "time feature"], without: Way) -> np.ndarray | None:
    """Give what stands in the place of an input that is left out; None where it is read and not written."""
    if without == "write":
        return None
    return np.zeros_like(x[0]) if without == "zeros" else np.asarray(x.mean(0))


def _nothing_written(chosen: Chosen, step: int, without: Way) -> list[Hold]:
    p = chosen.readout.parameters
    where = product(range(p.num_layers), DIRECTIONS[: p.num_directions]) if without == "write" else ()
    return [Hold("i", 0.0, layer=layer, steps=[step], direction=direction) for layer, direction in where]


def _run(chosen: Chosen, trace: xr.Dataset, x: np.ndarray, holds: list[Hold]) -> float:
    """Run the sequence again, and give the output."""
    p = chosen.readout.parameters
    h_0, c_0 = (trace[name].isel(sequence=0).to_numpy() for name in ("h_0", "c_0"))
    state = (h_0.reshape(-1, p.output_size), c_0.reshape(-1, p.hidden_size))
    return chosen.logit(record_trace(p, x, state, record=Record("h", steps=[chosen.step]), hold=holds), 0)


def _each_in_a_run(chosen: Chosen, trace: xr.Dataset, numbers: np.ndarray, without: Way) -> Iterator[float]:
    for number in numbers.tolist():
        x = _x(trace).copy()
        instead = _instead(x, without)
        if instead is not None:
            x[number] = instead
        yield _run(chosen, trace, x, _nothing_written(chosen, number, without))


def _side_by_side(chosen: Chosen, trace: xr.Dataset, numbers: np.ndarray, without: Way) -> Iterator[float]:
    """Where nothing reads from the end: from the state before each step, over the step, and on without any hold.

    The step itself is one step of many sequences, and what follows are sequences of different length: the many runs
    are two, and what came before a step is not run again.
    """
    p, x = chosen.readout.parameters, _x(trace)
    instead = _instead(x, without)
    for first in range(0, len(numbers), _AT_ONCE):
        some = numbers[first : first + _AT_ONCE]
        over = x[some] if instead is None else np.repeat(instead[np.newaxis], len(some), axis=0)
        holds = _nothing_written(chosen, 0, without)
        left_out = record_trace(p, over[np.newaxis], _before(trace, some), record=Record(("h", "c")), hold=holds)
        last = left_out["h"].isel(layer=-1, time=0).transpose(DIRECTION, "sequence", ...).to_numpy().copy()
        steps = chosen.step - some
        on = steps > 0
        if on.any():
            rest = np.zeros((steps.max(), int(on.sum()), x.shape[1]), x.dtype)
            for k, number in enumerate(some[on].tolist()):
                rest[: chosen.step - number, k] = x[number + 1 : chosen.step + 1]
            state = tuple(left_out[name].isel(time=0, direction=0).to_numpy()[:, on] for name in ("h", "c"))
            after = record_trace(p, rest, (state[0], state[1]), lengths=steps[on], record=Record("h"))
            h = after["h"].isel(layer=-1, direction=0).to_numpy()
            last[0, on] = h[np.arange(len(h)), steps[on] - 1]
        yield from chosen.readout.logits(last)[:, chosen.number].tolist()


def _before(trace: xr.Dataset, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States before some steps, (layer, step, size) each, of one direction."""
    states = []
    for name in ("h", "c"):
        every = trace[name].isel(direction=0, sequence=0).to_numpy()
        initial = trace[f"{name}_0"].isel(direction=0, sequence=0).to_numpy()[:, np.newaxis]
        states.append(np.concatenate([initial, every], axis=1)[:, steps])
    return states[0], states[1]
