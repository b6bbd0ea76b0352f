"""The reading of a trace: every cell through tallies, behaviour, role, triggers and a sentence."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.linear_algebra import on_one_thread
from tallycell.names import DIRECTION, LAYER, UNIT, unit_label
from tallycell.reading.arrays import read_texts
from tallycell.reading.clock import Clock, say_filling
from tallycell.reading.first_pass import fit_with_pairs
from tallycell.reading.following import Follows, notes_on
from tallycell.reading.judging import Judged, compared_with, find_single, judge_units, pairs_of
from tallycell.reading.known import Known, read_known
from tallycell.reading.levels import Levels, fit_known
from tallycell.reading.nothing_learned import cut_short, read_nothing_learned
from tallycell.reading.pairs import BEATS
from tallycell.reading.plausibility import warning_on
from tallycell.reading.reading import Reading, UnitReading, no_such_unit
from tallycell.reading.saturation import saturated_share, saturation_of
from tallycell.reading.sentences import SURE, Told, sentence_of
from tallycell.reading.sums import AMOUNTS, UnitSums, sum_known
from tallycell.reading.triggers import Trigger


@on_one_thread()
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
    given: Any = tokens if isinstance(tokens, Input) else trace.get("x")
    if model is not None and given is None:
        raise InputError("the trace holds no x, so nothing can be read again; give the Input that the model read")
    known = read_known(trace, tokens, quantities, vocabulary)
    levels, looked = fit_with_pairs(known, progress=progress)
    reading = read_sums(levels, *(looked or (sum_known(known, levels, tested=None),)))
    if model is None:
        return reading
    given, few = cut_short(given, known)
    nothing = read_nothing_learned(model, given, lambda shuffled: read_roles(replace(few, trace=shuffled)))
    return replace(reading, nothing_learned=nothing)


def read_sums(levels: Levels, sums: UnitSums, judged: Sequence[Judged] | None = None) -> Reading:
    """Say what each unit does, from what was fitted and what was added up.

    Parameters
    ----------
    levels
        As :func:`~tallycell.reading.levels.fit_levels` gave them.
    sums
        Of all blocks, added up.
    judged
        What :func:`~tallycell.reading.judging.judge_units` makes of these, if that is known already.

    Returns
    -------
    Reading
        Without networks that learned nothing.
    """
    steps = int(sums.steps.sum())
    clock = Clock(None if math.isnan(levels.step_seconds) else float(levels.step_seconds))
    pairs = pairs_of(levels)
    judged = judged or judge_units(levels, sums)
    units = tuple(_read_unit(levels, sums, unit, one, clock, pairs) for unit, one in enumerate(judged))
    names = read_texts(levels.quantities)
    values = dict(zip(names, sums.known.sum(axis=0).tolist(), strict=True))
    saturation = saturation_of(levels, sums)
    total, squares = sums.features.T
    warning = warning_on(
        read_texts(levels.feature_names), levels.feature_centers + total / steps,
        np.sqrt(np.maximum(squares / steps - (total / steps) ** 2, 0)), float(saturated_share(saturation).mean()),
    )  # fmt: skip
    notes = notes_on(values, [names[k] for k in compared_with(sums)], steps)
    return Reading(units, values, notes, warning, None, saturation, clock)


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


def read_roles(known: Known) -> list[tuple[str, float, Follows | None]]:
    """Give role and R² of each unit of a trace, and what it follows, without what its sentence would need besides."""
    levels, _ = fit_known(known)
    sums = sum_known(known, levels, tested=None)
    return [(one.role, one.tally.r2, one.follows) for one in judge_units(levels, sums)]


def _read_unit(
    levels: Levels, sums: UnitSums, unit: int, one: Judged, clock: Clock, pairs: Mapping[tuple[int, str], Trigger]
) -> UnitReading:  # fmt: skip
    single = find_single(levels, sums, unit, one)
    triggers = {event: _with_pair(some, pairs.get((unit, event))) for event, some in single.items()}
    filling = _say_filling(levels, sums, unit, one)
    return UnitReading(
        int(levels.layer[unit]),
        str(levels.direction[unit]),
        int(levels.unit[unit]),
        one.role,
        sentence_of(Told(one.role, one.tally, one.behaviour, triggers, one.follows, clock, filling, one.undecided)),
        one.tally.name,
        one.tally.parameters,
        one.tally.r2,
        one.ladder,
        one.behaviour.memory,
        one.behaviour.exposure,
        triggers,
        one.follows,
        one.tally.r2_error,
        one.undecided,
    )


def _with_pair(single: tuple[Trigger, ...], pair: Trigger | None) -> tuple[Trigger, ...]:
    """Put a pair of conditions first, where none of the single stimuli is sure to bring the event."""
    best = max((one.share for one in single), default=0.0)
    return single if pair is None or best >= SURE or pair.share < best + BEATS else (pair, *single)


def _say_filling(levels: Levels, sums: UnitSums, unit: int, one: Judged) -> str:
    """Say in which months or hours the cell fills, in the direction of what it follows, else away from 0."""
    names = read_texts(levels.seasons)
    if not names or one.role not in ("counter", "slow store", "leaky integrator", "mixed"):
        return ""
    towards = one.follows.correlation if one.follows is not None else sums.highest[unit] + sums.lowest[unit]
    rows = slice(levels.first_season, levels.first_season + len(names))
    change = sums.moved[unit, rows, AMOUNTS.index("moved")]
    return say_filling(names, sums.seen[rows], math.copysign(1, towards) * change)
