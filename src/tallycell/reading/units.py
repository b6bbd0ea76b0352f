"""The reading of a trace: one row a unit, with role, sentence and evidence."""

import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.names import DIRECTION, LAYER, UNIT
from tallycell.reading.alignment import align_quantities
from tallycell.reading.cells import Cell, iterate_cells, order_of_reading
from tallycell.reading.following import find_followed, is_comparable, notes_on, values_within
from tallycell.reading.roles import ROLES, Behaviour, Follows, Role, behaviour_of, role_of, sentence_of
from tallycell.reading.tally import GOOD_ENOUGH, RUNGS, Tally, choose_rung, climb, is_constant
from tallycell.reading.triggers import Stimuli, Trigger, feature_stimuli, quantity_stimuli, read_tokens, symbol_stimuli
from tallycell.trace.schema import whole
from tallycell.wording import quoted, shown

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 8  # cells taken from a trace for each worker: all at once would be several times the trace


@dataclass(frozen=True)
class FittedRung:
    """One rung of the ladder, fitted to a cell.

    Attributes
    ----------
    name, parameters
        Which, and how many numbers were fitted.
    r2
        Share of the cell that it explains, on the second half; NaN where that could not be tested.
    write_levels, keep_levels, intercept
        What a step adds to the tally and what it multiplies it with, ascending; and ĉ - tally.
    time_constant
        Steps after which the tally has forgotten all but 1/e at its highest keep level.
    """

    name: str
    parameters: int
    r2: float
    write_levels: tuple[float, ...]
    keep_levels: tuple[float, ...]
    intercept: float
    time_constant: float


@dataclass(frozen=True, repr=False)
class UnitReading:
    """What one unit does, and how well that is known.

    Attributes
    ----------
    layer, direction, unit
        Which.
    role, sentence
        By the rules of :func:`~tallycell.reading.roles.role_of`.
    rung, parameters, r2
        The tally that is quoted: the lowest on the ladder that explains 90 % of the cell or comes within 2 points of
        the best; its number of parameters; R² on the second half. NaN for a constant unit, and where it could not be
        tested (the cell stands still on the second half, or the first is too short).
    ladder
        Every rung as it was fitted.
    time_constant
        Steps after which the cell, not reset, has forgotten all but 1/e.
    memory
        Steps of the past that the quoted tally carries on average, resets included.
    triggers
        By event (``reset``, ``increment``, ``decrement``).
    follows
        The known quantity that the cell goes along with best, if the correlation is at least 0.5; which one is chosen
        on the first half of the steps, the correlation quoted on the second; both have one sign, and the movements over
        8 steps go along as well, because two series that only drift are often correlated.
    """

    layer: int
    direction: str
    unit: int
    role: Role
    sentence: str
    rung: str
    parameters: int
    r2: float
    ladder: tuple[FittedRung, ...]
    time_constant: float
    memory: float
    triggers: Mapping[str, tuple[Trigger, ...]]
    follows: Follows | None

    def __repr__(self) -> str:
        return f"UnitReading({self.label!r}, {self.role!r}, R² {self.r2:.2f}, {self.sentence!r})"

    @property
    def r2_by_rung(self) -> dict[str, float]:
        """R² of every rung."""
        return {rung.name: rung.r2 for rung in self.ladder}

    @property
    def label(self) -> str:
        """``LAYER.UNIT``, with an ``r`` behind it in the reverse direction."""
        return f"{self.layer}.{self.unit}{'r' if self.direction == 'reverse' else ''}"


@dataclass(frozen=True, repr=False)
class Reading:
    """What the units of an LSTM do.

    Attributes
    ----------
    units
        One :class:`UnitReading` a unit, in the order of the trace.
    pairs
        By known quantity, at how many steps it has a value, so that cells could be compared with it.
    notes
        What is said of the quantities: those with gaps, and those with too few values to be compared.
    """

    units: tuple[UnitReading, ...]
    pairs: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        roles = ", ".join(f"{count} {role}" for role, count in self.roles().items() if count)
        about = f", quantities {', '.join(map(shown, self.pairs))}" if self.pairs else ""
        return f"Reading({len(self.units)} units: {roles}{about})"

    def best(self, count: int | None = None) -> tuple[UnitReading, ...]:
        """Units that read best: those with a clear purpose first (counters, timers and flags), then by R²."""
        clear: tuple[Role, ...] = ("counter", "timer", "flag")

        def key(unit: UnitReading) -> tuple[int, float]:
            return (0 if unit.role in clear else ROLES.index(unit.role), -np.nan_to_num(unit.r2, nan=-math.inf))

        return tuple(sorted(self.units, key=key)[:count])

    def unit(self, label: str) -> UnitReading:
        """Find a unit by its label, such as ``"0.27"``; InputError if there is none."""
        for unit in self.units:
            if unit.label == label:
                return unit
        raise InputError(
            f"no unit {quoted(label)}; give LAYER.UNIT, from {self.units[0].label} to {self.units[-1].label} "
            "(an r behind it for the reverse direction)"
        )

    def roles(self) -> dict[str, int]:
        """Count the units of each role."""
        found = Counter(unit.role for unit in self.units)
        return {role: found[role] for role in ROLES}

    def median_r2(self) -> dict[str, float]:
        """Median R² of each rung over the units that are not constant; NaN if all are."""
        moving = self._moving()
        by_rung = {rung.name: [unit.ladder[k].r2 for unit in moving] for k, rung in enumerate(RUNGS)}
        return {name: float(np.median(values)) if values else math.nan for name, values in by_rung.items()}

    def readability(self) -> dict[int, float]:
        """Share of units explained (R² of at least 0.9) by the parameters allowed; constant units stand outside."""
        moving = self._moving()
        return {
            allowed: float(np.mean([self._explained(unit, allowed) for unit in moving])) if moving else math.nan
            for allowed in sorted({rung.parameters for rung in RUNGS})
        }

    def leaders(self) -> dict[str, UnitReading]:
        """For each known quantity that some unit follows, the unit that follows it best."""
        found: dict[str, UnitReading] = {}
        for unit in self.units:
            if unit.follows is None:
                continue
            best = found.get(unit.follows.quantity)
            if best is None or best.follows is None or abs(unit.follows.correlation) > abs(best.follows.correlation):
                found[unit.follows.quantity] = unit
        return found

    def to_frame(self) -> "pd.DataFrame":
        """One row a unit; nested values as in :meth:`to_rows`."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def to_rows(self) -> list[dict[str, Any]]:
        """One dictionary a unit, ready for JSON: None where a number is NaN or infinite."""
        return [_plain({"label": unit.label, **asdict(unit)}) for unit in self.units]

    def __str__(self) -> str:
        lines = [f"{'unit':>7}  {'role':<16} {'R²':>5}  {'rung':<18} sentence"]
        lines += [f"{u.label:>7}  {u.role:<16} {u.r2:>5.2f}  {u.rung:<18} {u.sentence}" for u in self.best()]
        return "\n".join(lines)

    def _moving(self) -> list[UnitReading]:
        return [unit for unit in self.units if not math.isnan(unit.r2)]

    @staticmethod
    def _explained(unit: UnitReading, allowed: int) -> bool:
        return any(rung.r2 >= GOOD_ENOUGH for rung in unit.ladder if rung.parameters <= allowed)


def read_units(
    trace: xr.Dataset,
    tokens: Any = None,
    quantities: Any = None,
    *,
    vocabulary: Sequence[str] | None = None,
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
        time), padded beyond each length. Without them the input features are the triggers.
    quantities
        Known quantities that a cell may follow, measured after each step: arrays by name, (time,) or (sequence, time);
        a DataFrame, a Dataset, DataArrays or Series, whose labels must be the input's, as
        :func:`~tallycell.reading.alignment.align_quantities` says. NaN where nothing is known. Of a text:
        :func:`~tallycell.reading.quantities.text_quantities`.
    vocabulary
        The symbol of each number, where tokens are numbers.
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
        If tokens or quantities do not fit the trace, or it has only one step.
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
    >>> text = "(()(()))()" * 8
    >>> x = np.array([[symbol == "(", symbol == ")"] for symbol in text], dtype=float)
    >>> reading = tc.read_units(tc.record_trace(parameters, x), tokens=text)
    >>> print(reading.units[0].sentence)
    Counts: up 1 at '('; down 1 at ')'; keeps without loss and is never reset.
    """
    trace = whole(trace)
    lengths = trace["length"].to_numpy() if "length" in trace else np.zeros(0, int)
    by_sequence = None if tokens is None else read_tokens(tokens, lengths, vocabulary)
    aligned = align_quantities(quantities, trace)
    pairs = {name: values_within(values, lengths) for name, values in aligned.items()}
    known = {name: values for name, values in aligned.items() if is_comparable(values, pairs[name], lengths)}
    total = trace.sizes[LAYER] * trace.sizes[DIRECTION] * trace.sizes[UNIT]
    units: list[UnitReading] = []
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for (_, direction), cells in itertools.groupby(iterate_cells(trace), lambda cell: (cell.layer, cell.direction)):
            sequence, position = order_of_reading(trace, direction)
            steps = {name: values[sequence, position] for name, values in known.items()}
            if by_sequence is not None:
                stimuli: Stimuli | None = symbol_stimuli(by_sequence, sequence, position)
            else:
                stimuli = feature_stimuli(trace, sequence, position) or quantity_stimuli(steps)
            while some := tuple(itertools.islice(cells, AT_ONCE * workers)):
                for unit in pool.map(lambda cell, s=stimuli, q=steps: _read_cell(cell, s, q), some):
                    units.append(unit)
                    if progress is not None:
                        progress(len(units), total)
    return Reading(tuple(units), pairs, notes_on(pairs, known, int(lengths.sum())))


def _read_cell(cell: Cell, stimuli: Stimuli | None, quantities: Mapping[str, np.ndarray]) -> UnitReading:
    tallies = climb(cell)
    tally = choose_rung(tallies)
    behaviour = behaviour_of(cell, tally)
    role = role_of(cell, tally, behaviour)
    triggers = _find_triggers(cell, behaviour, stimuli, role)
    follows = None if is_constant(cell) else find_followed(cell, quantities)
    return UnitReading(
        cell.layer,
        cell.direction,
        cell.unit,
        role,
        sentence_of(role, tally, behaviour, triggers, follows),
        tally.rung.name,
        tally.rung.parameters,
        tally.r2,
        tuple(_fitted(one) for one in tallies),
        behaviour.time_constant,
        behaviour.memory,
        triggers,
        follows,
    )


def _fitted(tally: Tally) -> FittedRung:
    levels = (tuple(tally.write_levels.tolist()), tuple(tally.keep_levels.tolist()))
    return FittedRung(tally.rung.name, tally.rung.parameters, tally.r2, *levels, tally.intercept, tally.time_constant)


def _find_triggers(
    cell: Cell, behaviour: Behaviour, stimuli: Stimuli | None, role: Role
) -> dict[str, tuple[Trigger, ...]]:
    happens = {
        "reset": (behaviour.resets, cell.f),
        "increment": (behaviour.increments, cell.write),
        "decrement": (behaviour.decrements, cell.write),
    }
    if stimuli is None or role == "constant":
        return dict.fromkeys(happens, ())
    return {event: stimuli.triggers(*steps) for event, steps in happens.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
