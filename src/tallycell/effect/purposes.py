"""What units are for, told in a reading: its sentences end in their purpose, and those that matter most stand first."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from rich.console import Group, RenderableType
from rich.text import Text

from tallycell.effect.effects import IN_WORDS, Effects, UnitEffect
from tallycell.effect.holding import KINDS
from tallycell.effect.measuring import USUAL, measure_effects
from tallycell.effect.outputs import read_readout
from tallycell.effect.stretches import Sampling
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.reading.page import table_of
from tallycell.reading.parts import first_steps, lengths_of
from tallycell.reading.reading import Reading, UnitReading

_UNTOLD = ("constant", "unknown")  # roles whose sentence stands as it is


def has_outputs(model: object, given: Input) -> bool:
    """Whether a linear layer is known that reads the LSTM which an input is for."""
    try:
        read_readout(model, given.lstm)
    except InputError:
        return False
    return True


def measure_purposes(
    model: object, given: Input, *, targets: str | None = None, units: Iterable[str] | None = None,
    sampling: Sampling = USUAL, most: int | None = None,
) -> Effects | None:  # fmt: skip
    """Measure what the outputs lose without each unit; None where no linear layer behind this LSTM is known.

    Parameters
    ----------
    model, given, targets, units, sampling
        As for :func:`~tallycell.effect.measuring.measure_effects`.
    most
        How many steps are looked at, from the first on (of several sequences whole ones, one at least), so that memory
        stays bounded; the notes of the effects say so. All steps if None.

    Raises
    ------
    InputError
        If targets are wished for, and there is no layer, or it has no such quantity.
    """
    if targets is None and not has_outputs(model, given):
        return None
    read_readout(model, given.lstm)
    kinds = ("zero",) if units is None else tuple(KINDS)
    measure = partial(measure_effects, model, targets=targets, kinds=kinds, units=units, sampling=sampling)
    every = int(lengths_of(given).sum())
    if most is None or most >= every:
        return measure(given)
    first = first_steps(given, most)
    steps = int(lengths_of(first).sum())
    effects = measure(first)
    note = f"Of {every:,} steps the first {steps:,} were looked at, so that memory does not grow with the input."
    return replace(effects, notes=(note, *effects.notes))


def with_purposes(reading: Reading, effects: Effects) -> Reading:
    """Let the sentence of each unit end in what the outputs lose without it, and in what it pushes.

    Parameters
    ----------
    reading
        Of a model's LSTM.
    effects
        Of its units. Where an effect cannot be told from noise, that is said.

    Examples
    --------
    >>> import numpy as np
    >>> import tallycell as tc
    >>> lstm = tc.LSTMParameters({"weight_ih_l0": np.full((8, 1), 4.0), "weight_hh_l0": np.zeros((8, 2))})
    >>> model = tc.Recogniser(("a",), np.ones((1, 1)), lstm, np.array([[1.0, 0.0]]), np.zeros(1), ("yes",), "threshold")
    >>> x = np.random.default_rng(0).normal(size=(300, 1))
    >>> reading = with_purposes(tc.read_units(tc.record_trace(model, x)), tc.measure_effects(model, x, kinds=["zero"]))
    >>> [unit.sentence.split("; ")[-1] for unit in reading.units]
    ["shown, it raises 'yes'.", 'without it the outputs are as good.']
    """
    return replace(reading, units=tuple(with_purpose(unit, effects) for unit in reading.units))


def with_purpose(unit: UnitReading, effects: Effects) -> UnitReading:
    """Let the sentence of one unit end in its purpose; see :func:`with_purposes`."""
    if unit.role in _UNTOLD or unit.label not in effects.labels:
        return unit
    purpose = effects.of(unit.label).purpose()
    return replace(unit, sentence=f"{unit.sentence.removesuffix('.')}; {purpose}.") if purpose else unit


def say_holds(effects: Effects, label: str) -> RenderableType:
    """Lay out what the outputs lose when one unit is held, a row a way of holding it."""
    heading = Text(f"What the outputs lose ({effects.unit}{effects.of_free}) when its cell is")
    table = table_of("  held", "costs", "95 %", left=("  held", "95 %"), between=1)
    for one in (effects.of(label, kind) for kind in effects.kinds):
        table.add_row(f"  {IN_WORDS[one.kind]}", f"{one.loss:.2g}", _between(one))
    return Group(heading, table)


def say_mattering(effects: Effects, reading: Reading, top: int) -> list[RenderableType]:
    """Lay out the units that matter most, with what the outputs lose without each."""
    found = effects.most(top)
    remarks = [Text(line, style="dim") for line in effects.remarks()]
    if not found:
        return [Text(effects.answer(), style="bold"), *remarks]
    name = "The unit that matters" if len(found) == 1 else f"The {len(found)} units that matter"
    told = "what it does, and for what"
    table = table_of("  unit", "costs", "95 %", told, left=("95 %", told), between=1)
    for one in found:
        table.add_row(one.label, f"{one.loss:.2g}", _between(one), Text(reading.unit(one.label).sentence))
    held = IN_WORDS[effects.kinds[0]]
    costs = f"  costs: what the outputs lose, {effects.unit}{effects.of_free}, when the cell is {held}."
    return [Text(f"{name} most", style="bold"), table, Text(costs, style="dim"), *remarks]


def _between(effect: UnitEffect) -> str:
    return f"{effect.low:.2g} to {effect.high:.2g}" if math.isfinite(effect.low) else "not known"
