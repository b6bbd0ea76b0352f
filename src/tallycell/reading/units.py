"""The reading of a trace: every cell through tallies, behaviour, role, triggers and a sentence."""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, UNIT, unit_label
from tallycell.reading.alignment import align_quantities, units_of
from tallycell.reading.behaviour import Behaviour, behaviour_of
from tallycell.reading.cells import Cell, iterate_cells, middle_step, order_of_reading
from tallycell.reading.clock import Clock, clock_of
from tallycell.reading.following import Follows, find_followed, is_comparable, notes_on, values_within
from tallycell.reading.nothing_learned import read_nothing_learned
from tallycell.reading.pairs import BEATS, PairSearch
from tallycell.reading.plausibility import warning_on
from tallycell.reading.reading import FittedRung, Reading, UnitReading, no_such_unit
from tallycell.reading.roles import Role, role_of, too_few
from tallycell.reading.saturation import read_saturation
from tallycell.reading.sentences import SURE, Told, sentence_of
from tallycell.reading.tally import Tally, choose_rung, climb, is_constant
from tallycell.reading.triggers import (
    Stimuli,
    Trigger,
    amount_stimuli,
    feature_amounts,
    quantity_amounts,
    read_tokens,
    symbol_stimuli,
)
from tallycell.trace.schema import whole

T = TypeVar("T")
AT_ONCE = 8  # cells taken from a trace for each worker: all at once would be several times the trace


@dataclass(frozen=True, eq=False)
class _Surroundings:
    """What the cells of one direction have in common: what was read when, and what is known of it.

    Attributes
    ----------
    stimuli, pairs
        What each step read, and pairs of it; None where nothing is known of it.
    quantities, units
        Known quantities at each step, and what they are measured in, by name.
    clock
        When the steps happen.
    """

    stimuli: Stimuli | None
    pairs: PairSearch | None
    quantities: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    clock: Clock


def read_units(
    trace: xr.Dataset,
    tokens: Any = None,
    quantities: Any = None,
    *,
    vocabulary: Sequence[str] | None = None,
    model: object = None,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Read what each unit of an LSTM counts.

    Parameters
    ----------
    trace
        With i, f, g and c of every step (and x, for triggers by input feature). A single layer, direction, sequence or
        unit may have been chosen from it.
    tokens
        The symbol read at each step, one sequence (a string will do) or one list a sequence; or an array (sequence,
        time), padded beyond each length. Without them the input features are the triggers. An
        :class:`~tallycell.input.Input` brings its tokens and its quantities.
    quantities
        Known quantities that a cell may follow, measured after each step: arrays by name, (time,) or (sequence, time);
        a DataFrame, a Dataset, DataArrays or Series, whose labels must be the input's, as
        :func:`~tallycell.reading.alignment.align_quantities` says. NaN where nothing is known. Their attribute
        ``units`` stands in the sentences. Of a text: :func:`~tallycell.opening.text_quantities.text_quantities`.
    vocabulary
        The symbol of each number, where tokens are numbers.
    model
        What was traced. With it the reading is compared with networks of its shape that learned nothing, on the same
        input: the ``Input`` that is given, or else the x that the trace holds.
    progress
        Called with the units done and all units.

    Returns
    -------
    Reading

    Raises
    ------
    TraceError
        If the trace lacks what a reading needs.
    InputError
        If tokens or quantities do not fit the trace, or it has only one step; if there is a model and nothing that it
        could read again.
    ActivationError
        If an activation does not state its limits.

    Examples
    --------
    An LSTM that counts up at "(" and down at ")":

    >>> import tallycell as tc
    >>> big = 100.0
    >>> parameters = tc.LSTMParameters({
    ...     "weight_ih_l0": np.array([[0, 0], [0, 0], [big, -big], [0, 0]]), "weight_hh_l0": np.zeros((4, 1)),
    ...     "bias_ih_l0": np.array([big, big, 0, big]), "bias_hh_l0": np.zeros(4)})
    >>> text = "(()(()))()" * 30
    >>> x = np.array([[symbol == "(", symbol == ")"] for symbol in text], dtype=float)
    >>> reading = tc.read_units(tc.record_trace(parameters, x), tokens=text)
    >>> print(reading.units[0].sentence)
    Counts up by 1 at '(' and down by 1 at ')'; never forgets; always shown.
    """
    step_seconds: float | None = None
    given: Any = trace.get("x")
    if isinstance(tokens, Input):
        step_seconds, given = tokens.step_seconds, tokens
        quantities = tokens.quantities if quantities is None else quantities
        if not tokens.legible:  # what a feature of it means nobody knows
            trace = trace.drop_vars("x", errors="ignore")
        tokens = tokens.tokens
    if model is not None and given is None:
        raise InputError("the trace holds no x, so nothing can be read again; give the Input that the model read")
    trace = whole(trace)
    lengths = trace["length"].to_numpy() if "length" in trace else np.zeros(0, int)
    by_sequence = None if tokens is None else read_tokens(tokens, lengths, vocabulary)
    aligned = align_quantities(quantities, trace)
    pairs = {name: values_within(values, lengths) for name, values in aligned.items()}
    known = {name: values for name, values in aligned.items() if is_comparable(values, pairs[name], lengths)}
    total = trace.sizes[LAYER] * trace.sizes[DIRECTION] * trace.sizes[UNIT]
    units: list[UnitReading] = []
    around: dict[str, _Surroundings] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for direction, cells in itertools.groupby(iterate_cells(trace), lambda cell: cell.direction):
            if direction not in around:
                around[direction] = _surroundings(
                    trace, direction, by_sequence, known, units_of(quantities), step_seconds
                )  # fmt: skip
            for unit in _some_at_once(pool, partial(_read_cell, around=around[direction]), cells):
                units.append(unit)
                if progress is not None:
                    progress(len(units), total)
    nothing = None
    if model is not None:
        nothing = read_nothing_learned(
            model, given, lambda shuffled: _read_roles(shuffled, known, amounts=by_sequence is None)
        )  # fmt: skip
    clock = Clock(next(iter(around.values())).clock.step_seconds)
    saturation = read_saturation(trace)
    warning = warning_on(feature_amounts(trace, *order_of_reading(trace, DIRECTIONS[0]), as_read=True), saturation)
    notes = notes_on(pairs, known, int(lengths.sum()))
    return Reading(tuple(units), pairs, notes, warning, nothing, saturation, clock)


def select_unit(trace: xr.Dataset, label: str) -> xr.Dataset:
    """Choose one unit of a trace by the label that readings give it, such as ``"0.27"`` or ``"1.3r"``.

    Raises
    ------
    InputError
        If there is none; the text says from which to which they are.

    Examples
    --------
    >>> import tallycell as tc
    >>> two = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.zeros((8, 2))})
    >>> select_unit(tc.record_trace(two, np.ones((3, 1))), "0.1").sizes["unit"]
    1
    >>> select_unit(tc.record_trace(two, np.ones((3, 1))), "3.9")
    Traceback (most recent call last):
    tallycell.errors.InputError: no unit '3.9'; give LAYER.UNIT, from 0.0 to 0.1 (an r behind it for the reverse
    direction)
    """
    layers, directions, units = (trace[name].to_numpy().tolist() for name in (LAYER, DIRECTION, UNIT))
    for layer, direction in itertools.product(layers, directions):
        for unit in units:
            if unit_label(layer, direction, unit) == label:
                return trace.sel({LAYER: [layer], DIRECTION: [direction], UNIT: [unit]})
    first = unit_label(layers[0], directions[0], units[0])
    raise no_such_unit(label, first, unit_label(layers[-1], directions[-1], units[-1]))


def _read_roles(
    trace: xr.Dataset, known: Mapping[str, np.ndarray], *, amounts: bool
) -> list[tuple[str, float, Follows | None]]:  # fmt: skip
    """Give role and R² of each unit of a trace, and what it follows, without what its sentence would need besides."""

    def judged(cell: Cell) -> tuple[str, float, Follows | None]:
        sequence, position = order_of_reading(trace, cell.direction)
        one = _judge(cell, {name: values[sequence, position] for name, values in known.items()}, {}, amounts)
        return one.role, one.tally.r2, one.follows

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(_some_at_once(pool, judged, iterate_cells(trace)))


def _some_at_once(pool: ThreadPoolExecutor, read: Callable[[Cell], T], cells: Iterator[Cell]) -> Iterator[T]:
    """Read cells side by side, in their order; so few are taken at once that they are small beside the trace."""
    while some := tuple(itertools.islice(cells, AT_ONCE * (os.cpu_count() or 1))):
        yield from pool.map(read, some)


def _surroundings(
    trace: xr.Dataset, direction: str, by_sequence: list[list[str]] | None, known: Mapping[str, np.ndarray],
    units: Mapping[str, str], step_seconds: float | None,
) -> _Surroundings:  # fmt: skip
    sequence, position = order_of_reading(trace, direction)
    quantities = {name: values[sequence, position] for name, values in known.items()}
    beside = quantity_amounts(quantities, units)
    if by_sequence is not None:
        stimuli: Stimuli | None = symbol_stimuli(by_sequence, sequence, position, beside)
    else:
        stimuli = amount_stimuli(feature_amounts(trace, sequence, position) or beside)
    clock = clock_of(trace, sequence, position)
    if clock.step_seconds is None and step_seconds is not None:
        clock = replace(clock, step_seconds=step_seconds)
    lengths = trace["length"].to_numpy()
    pairs = None if stimuli is None else PairSearch.over(stimuli, middle_step(lengths), int(lengths.sum()))
    return _Surroundings(stimuli, pairs, quantities, units, clock)


@dataclass(frozen=True, eq=False)
class _Judged:
    """A cell with its tallies, what it does and goes along with, and its role."""

    tallies: tuple[Tally, ...]
    tally: Tally
    behaviour: Behaviour
    follows: Follows | None
    role: Role


def _judge(cell: Cell, quantities: Mapping[str, np.ndarray], units: Mapping[str, str], amounts: bool) -> _Judged:
    tallies = climb(cell)
    tally = choose_rung(tallies)
    behaviour = behaviour_of(cell, tally)
    follows = None if is_constant(cell) or too_few(cell) else find_followed(cell, quantities, units)
    role = role_of(cell, tally, behaviour, amounts=amounts, follows=follows is not None)
    if role == "unknown":
        tallies = tuple(replace(one, r2=math.nan) for one in tallies)
        tally = replace(tally, r2=math.nan)
    return _Judged(tallies, tally, behaviour, follows, role)


def _read_cell(cell: Cell, around: _Surroundings) -> UnitReading:
    amounts = around.stimuli is None or around.stimuli.codes is None
    one = _judge(cell, around.quantities, around.units, amounts)
    triggers = _find_triggers(one.behaviour, around, one.role)
    filling = _say_filling(one.behaviour, one.role, one.follows, around.clock)
    return UnitReading(
        cell.layer,
        cell.direction,
        cell.unit,
        one.role,
        sentence_of(Told(one.role, one.tally, one.behaviour, triggers, one.follows, around.clock, filling)),
        one.tally.rung.name,
        one.tally.rung.parameters,
        one.tally.r2,
        tuple(_fitted(tally) for tally in one.tallies),
        one.behaviour.memory,
        one.behaviour.exposure,
        triggers,
        one.follows,
    )


def _fitted(tally: Tally) -> FittedRung:
    levels = (tuple(tally.write_levels.tolist()), tuple(tally.keep_levels.tolist()))
    return FittedRung(tally.rung.name, tally.rung.parameters, tally.r2, *levels, tally.intercept, tally.time_constant)


def _find_triggers(behaviour: Behaviour, around: _Surroundings, role: Role) -> dict[str, tuple[Trigger, ...]]:
    """Find what brings each event: single stimuli, and a pair of conditions where none of them is sure to."""
    cell = behaviour.cell
    events: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]] = {
        "increment": (behaviour.increments, cell.write, None),
        "decrement": (behaviour.decrements, cell.write, None),
        "reset": (behaviour.resets, cell.f, None),
    }
    if cell.o is not None:
        events |= {"show": (behaviour.shown, cell.o, None), "hide": (~behaviour.shown, cell.o, None)}
    if role == "flag":
        two, moved = behaviour.two_values, cell.c - cell.before()
        events |= {"set": (two.set_at, moved, ~two.is_set), "clear": (two.cleared_at, moved, two.is_set)}
    if around.stimuli is None or role == "constant":
        return dict.fromkeys(events, ())
    found = {}
    for event, (happens, moved, among) in events.items():
        single = around.stimuli.triggers(happens, moved, among)
        sure = any(trigger.share >= SURE for trigger in single)
        pair = None if sure or around.pairs is None or among is not None else around.pairs.find(happens, moved)
        best = max((trigger.share for trigger in single), default=0.0)
        found[event] = single if pair is None or pair.share < best + BEATS else (pair, *single)
    return found


def _say_filling(behaviour: Behaviour, role: Role, follows: Follows | None, clock: Clock) -> str:
    """Say in which months or hours the cell fills, in the direction of what it follows, else away from 0."""
    if role not in ("counter", "slow store", "leaky integrator", "mixed"):
        return ""
    cell = behaviour.cell
    towards = follows.correlation if follows is not None else float(cell.c.max() + cell.c.min())
    return clock.say_filling(math.copysign(1, towards) * (cell.c - cell.before()))
