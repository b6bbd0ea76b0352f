"""The units of a compiled network: what each reads, the gates of those that count, and the readout.

A feature is what h of one or several units that are never on together sums up to: a counter's tanh, or a part of the
code of the control's state, which is -1, 0 or 1 times tanh 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

from tallycell.errors import ParameterError
from tallycell.machine.compiling.separation import Found, Plane, Rows, largest_margin, levels_of, separate
from tallycell.machine.compiling.situations import Situations
from tallycell.names import GATES, Gate
from tallycell.wording import quoted

TANH_1 = float(np.tanh(1.0))
_LARGEST_PROGRAM = 2_000_000  # entries of a linear program that is still solved in about a second
MOST_READ = 40_000_000  # entries of a table that is still made
_LARGEST_EFFORT = 400_000_000  # entries times states: every state asks for some linear programs


class NotSeparableError(Exception):
    """No plane tells the situations of one gate apart; caught within the compiler, where another plan is tried."""

    def __init__(self, unit: str, gate: Gate | None, counter: int | None = None) -> None:
        super().__init__(unit, gate)
        self.unit, self.gate, self.counter = unit, gate, counter


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit: its four gates as planes over the features, the feature it is part of, and its cell at the start."""

    feature: int
    gates: Mapping[Gate, Plane]
    start: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a compiled network is made of.

    Attributes
    ----------
    units
        The units.
    readout
        One plane an output, over the features and a single symbol that stands for the bias.
    """

    units: tuple[Unit, ...]
    readout: tuple[Plane, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """All that the gates see, with a code for the control's states.

    Attributes
    ----------
    situations
        The situations.
    code
        (state, part): -1, 0 or 1.
    dtype
        Of the network.
    """

    situations: Situations
    code: Int[np.ndarray, "state part"]
    dtype: str

    @property
    def counters(self) -> int:
        """Number of counters; they are the first features."""
        return int(self.situations.values.shape[1])

    @property
    def features(self) -> int:
        """Number of features."""
        return self.counters + int(self.code.shape[1])

    @cached_property
    def outputs_read(self) -> Rows:
        """What the readout reads: one row a corner."""
        nodes, corners = self.situations.corners
        if len(nodes) * self.features > MOST_READ:
            raise ParameterError(
                f"the machine's outputs would be read from {len(nodes):,} situations of {self.features:,} units, more "
                f"than {MOST_READ:,} numbers; use fewer states or counters"
            )
        features = np.hstack([corners, self.code[self.situations.state[nodes]] * TANH_1])
        return Rows(features, np.zeros(len(nodes), np.int64), 1, self.dtype)

    @cached_property
    def steps_read(self) -> Rows:
        """What a gate reads: one row a corner and symbol, the symbols of a corner together."""
        symbols = self.situations.program.symbols
        features = np.repeat(self.outputs_read.features, symbols, axis=0)
        return Rows(features, np.tile(np.arange(symbols), len(features) // symbols), symbols, self.dtype)

    @cached_property
    def states_read(self) -> Rows:
        """What a gate reads of the control alone: one row a state and symbol, the counters at 0."""
        states, symbols = len(self.code), self.situations.program.symbols
        features = np.hstack([np.zeros((states, self.counters)), self.code * TANH_1])
        return Rows(np.repeat(features, symbols, axis=0), np.tile(np.arange(symbols), states), symbols, self.dtype)

    @property
    def is_small(self) -> bool:
        """Whether linear programs over all rows are worth their time."""
        return _is_worthwhile(self.steps_read.features.size, len(self.code))

    @cached_property
    def is_one_hot(self) -> bool:
        """Whether each state but the start has a part of the code for itself."""
        return np.array_equal(self.code, np.eye(len(self.code), dtype=np.int64)[:, 1:])

    def corner_wise(self, wanted: Int[np.ndarray, "node symbol"]) -> Int[np.ndarray, " row"]:
        """Spread demands on nodes over the rows of their corners."""
        spread: np.ndarray = wanted[self.situations.corners[0]].reshape(-1)
        return spread

    def plane(self, wanted: Int[np.ndarray, "node symbol"], gate: Gate) -> Plane | None:
        """Find a plane for one gate: over the control alone if that is enough, else over everything."""
        levels = levels_of(gate, self.dtype)
        of_states = self._state_wise(wanted)
        if of_states is not None:
            plane = separate(self.states_read, of_states, levels, self._find_by_state)
            if plane is not None:
                return plane
        return separate(self.steps_read, self.corner_wise(wanted), levels) if self.is_small else None

    def _find_by_state(
        self, rows: Rows, wanted: Int[np.ndarray, " row"], levels: tuple[float, float], symbols: list[int]
    ) -> Found | None:
        """Find the weights of the states: without a linear program where symbols do not ask different things of one."""
        demand = wanted.reshape(len(self.code), -1)[:, symbols]
        up, down = np.asarray((demand > 0).any(1)), np.asarray((demand < 0).any(1))
        if not self.is_one_hot or (up & down).any():
            worthwhile = _is_worthwhile(rows.features.size, len(self.code))
            return largest_margin(rows, wanted, levels, symbols) if worthwhile else None
        at_start = levels[0] if up[0] else -levels[1]
        target = np.where(up, levels[0], np.where(down, -levels[1], at_start))
        on_features, on_symbols = np.zeros(self.features), np.zeros(rows.symbols)
        on_features[self.counters :] = (target[1:] - at_start) / TANH_1
        on_symbols[symbols] = at_start
        return on_features, on_symbols

    def _state_wise(self, wanted: Int[np.ndarray, "node symbol"]) -> Int[np.ndarray, " row"] | None:
        """Demands by state and symbol; None if they depend on the counters."""
        most = np.full((len(self.code), wanted.shape[1]), -2)
        least = -most
        used = wanted != 0
        state, symbol = np.broadcast_arrays(self.situations.state[:, None], np.arange(wanted.shape[1]))
        np.maximum.at(most, (state[used], symbol[used]), wanted[used])
        np.minimum.at(least, (state[used], symbol[used]), wanted[used])
        if (np.abs(most) + np.abs(least) == 2)[most != least].any():
            return None
        return np.where(most == least, most, 0).reshape(-1)


def _is_worthwhile(entries: int, states: int) -> bool:
    """Whether linear programs of so many entries, some for each state, take no longer than a minute."""
    return entries <= _LARGEST_PROGRAM and entries * states <= _LARGEST_EFFORT


def always(table: Table, on: bool, gate: Gate) -> Plane:
    """Give the plane that holds a gate at a limit."""
    above, below = levels_of(gate, table.dtype)
    level = above if on else -below
    return Plane(np.zeros(table.features), np.full(table.situations.program.symbols, level))


def counting_unit(table: Table, counter: int) -> Unit:
    """Make the unit that holds a counter: f 1 or 0, i * g the step, o 1.

    Raises
    ------
    NotSeparableError
        If a gate's situations cannot be told apart.
    """
    found = table.situations
    reset, step = found.reset[:, :, counter], found.step[:, :, counter]
    at_zero = found.values[:, counter] == 0
    forget = np.where(reset, -1, 1)
    # At 0, keeping and resetting are the same.
    demands: list[tuple[Gate, list[np.ndarray]]] = [
        ("i", [np.where(step != 0, 1, -1)]),
        ("f", [forget, np.where(at_zero[:, None], 0, forget)]),
        ("g", [np.sign(step)]),
    ]
    gates: dict[Gate, Plane] = {"o": always(table, True, "o")}
    for gate, choices in demands:
        planes = (table.plane(wanted, gate) for wanted in choices)
        plane = next((plane for plane in planes if plane is not None), None)
        if plane is None:
            raise NotSeparableError(f"counter {quoted(found.program.counters[counter])}", gate, counter)
        gates[gate] = plane
    return Unit(counter, {gate: gates[gate] for gate in GATES})


def readout(table: Table, outputs: tuple[str, ...], decision: str) -> tuple[Plane, ...]:
    """Make the readout, a plane an output.

    Raises
    ------
    NotSeparableError
        If the situations of an output cannot be told apart.
    """
    return output_planes(table.outputs_read, table.situations.said[table.situations.corners[0]], outputs, decision)


def output_planes(
    rows: Rows, said: Bool[np.ndarray, "row output"], outputs: tuple[str, ...], decision: str
) -> tuple[Plane, ...]:
    """Separate the rows in which an output is said from the others; with ``"argmax"``, if need be, jointly.

    Raises
    ------
    NotSeparableError
        If they cannot be told apart.
    """
    planes = []
    for name, there in zip(outputs, said.T, strict=True):
        plane = separate(rows, np.where(there, 1, -1), levels_of(None, rows.dtype))
        if plane is None:
            joint = _largest_of(rows, said.argmax(1), len(outputs)) if decision == "argmax" else None
            if joint is None:
                raise NotSeparableError(f"output {quoted(name)}", None)
            return joint
        planes.append(plane)
    return tuple(planes)


def _largest_of(rows: Rows, winner: Int[np.ndarray, " row"], outputs: int) -> tuple[Plane, ...] | None:
    """Planes of which the winner's is the highest in each row, as one separation over pairs of outputs."""
    width = rows.features.shape[1] + 1
    if len(rows.features) * outputs * outputs * width > _LARGEST_PROGRAM:
        return None
    read = np.hstack([rows.features, np.ones((len(rows.features), 1))])
    pairs = np.zeros((len(read), outputs, outputs, width))
    every = np.arange(len(read))
    for other in range(outputs):
        pairs[every, other, winner] = read
        pairs[every, other, other] -= read
    lost = np.arange(outputs) != winner[:, None]
    # The winner's side is above: the pair's difference is put on one side, and its negative on the other, so that
    # both levels bind and no bias remains.
    flat = pairs[lost].reshape(-1, outputs * width)
    both = Rows(np.vstack([flat, -flat]), np.zeros(2 * len(flat), np.int64), 1, rows.dtype)
    plane = separate(both, np.repeat([1, -1], len(flat)), levels_of(None, rows.dtype))
    if plane is None:
        return None
    return tuple(Plane(one[:-1], one[-1:]) for one in plane.on_features.reshape(outputs, width))
