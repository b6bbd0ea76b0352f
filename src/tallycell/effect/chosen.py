"""One sequence of what a model was given, as far as one of its outputs can depend on it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from tallycell.effect.outputs import Readout, read_readout
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.names import DIRECTION, FEATURE, SEQUENCE, TIME
from tallycell.trace import Record, record_trace
from tallycell.trace.inputs import as_array
from tallycell.wording import quoted

States = tuple[np.ndarray, np.ndarray]  # (layer * direction, size) each


@dataclass(frozen=True, eq=False)
class Chosen:
    """One output of one sequence at one step, and all that it was made of.

    Attributes
    ----------
    model
        The model.
    readout
        What its outputs are.
    given
        The sequence, (time, feature), with its labels: up to the step, or whole where one direction reads from the end.
    tokens
        The symbol of each of these steps; None where none are read.
    step
        The step, counted from 0.
    number
        The output, counted from 0.
    """

    model: object
    readout: Readout
    given: Input
    tokens: list[str] | None
    step: int
    number: int

    def logit(self, trace: xr.Dataset, step: int | None = None) -> float:
        """Give the output at the step (or another), before the activation, from a trace of the sequence."""
        h = trace["h"].isel(layer=-1, sequence=0, time=self.step if step is None else step)
        return float(self.readout.logits(h.transpose(DIRECTION, ...).to_numpy())[self.number])


def choose(model: object, given: object, step: object, output: object, sequence: object) -> Chosen:
    """Check a wish for one output, and cut what was given to what it depends on.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, with a head, or a recogniser.
    given
        An ``Input``, or an array as ``record_trace`` takes it.
    step, output, sequence
        See :func:`~tallycell.effect.account.explain_output`.

    Raises
    ------
    InputError
        If there is no such output, sequence or step, or the model has no head.
    """
    whole = given if isinstance(given, Input) else Input(given, "the input", "an array")  # type: ignore[arg-type]
    readout = read_readout(model, whole.lstm)
    number = readout.number(output)
    one, tokens = _one_sequence(whole, sequence)
    steps = one.x.shape[0]
    if isinstance(step, bool) or not isinstance(step, int | np.integer):
        raise InputError(f"step is {quoted(step)}; expected a number, counted from 0")
    if not -steps <= step < steps:
        raise InputError(f"no step {step}; the sequence has {steps:,}, counted from 0")
    at = int(step) % steps
    if not readout.parameters.bidirectional:
        one, tokens = replace(one, x=one.x[: at + 1]), tokens and tokens[: at + 1]
    return Chosen(model, readout, replace(one, lstm=readout.lstm), tokens, at, number)


def largest_output(model: object, given: object, step: int, sequence: int = 0) -> int:
    """Give the number of the largest output at a step: what a model that chooses one output says there.

    Raises
    ------
    InputError
        As :func:`choose`.

    Examples
    --------
    >>> from tallycell import LSTMParameters, Recogniser
    >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((4, 2)), "weight_hh_l0": np.zeros((4, 1))})
    >>> network = Recogniser(("a", "b"), np.eye(2), lstm, np.array([[1.0], [2.0]]), np.zeros(2), ("no", "yes"))
    >>> largest_output(network, np.eye(2), step=-1)
    1
    """
    chosen = choose(model, given, step, 0, sequence)
    h = record_trace(model, chosen.given, record=Record("h"))["h"].isel(layer=-1, sequence=0, time=chosen.step)
    return int(np.argmax(chosen.readout.logits(h.transpose(DIRECTION, ...).to_numpy())))


def _one_sequence(given: Input, sequence: object) -> tuple[Input, list[str] | None]:
    """One sequence of an input, (time, feature), without padding, and its tokens."""
    x: Any = given.x if isinstance(given.x, xr.DataArray) else as_array(given.x, "x")
    named = isinstance(x, xr.DataArray)
    if named and not {TIME, FEATURE} <= set(x.dims):
        raise InputError(f"x has dimensions ({', '.join(map(str, x.dims))}); expected time and feature")
    if not named and x.ndim not in (2, 3):
        raise InputError(f"x has shape {x.shape}; expected (time, feature) or (time, sequence, feature)")
    several = SEQUENCE in x.dims if named else x.ndim == 3
    count = 1 if not several else x.sizes[SEQUENCE] if named else x.shape[1]
    if isinstance(sequence, bool) or not isinstance(sequence, int | np.integer) or not -count <= sequence < count:
        raise InputError(f"no sequence {quoted(sequence)}; the input has {count:,}, counted from 0")
    k, state, tokens = int(sequence) % count, given.state, given.tokens
    if several:
        x = x.isel({SEQUENCE: k}) if named else x[:, k]
        if state is not None and all(np.ndim(one) == 3 for one in state):
            state = (as_array(state[0], "h_0")[:, k], as_array(state[1], "c_0")[:, k])
    if named:
        x = x.drop_vars(SEQUENCE, errors="ignore").transpose(TIME, FEATURE, ...)
    if tokens is not None and len(tokens) and isinstance(tokens[0], list | tuple | np.ndarray):
        tokens = list(tokens[k])
    length = len(x) if given.lengths is None else int(as_array(given.lengths, "lengths").reshape(-1)[k])
    x = x[: max(length, 0)]
    tokens = None if tokens is None or len(tokens) < len(x) else [str(token) for token in tokens[: len(x)]]
    return replace(given, x=x, tokens=None, quantities={}, lengths=None, state=state), tokens
