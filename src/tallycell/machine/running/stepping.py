"""A counter machine as arrays, and the loop that steps it, compiled.

A step is one row of a table: found by the symbol and by the *situation*, which is the state and the view of the
counters in one number. The row says what is kept of each counter, what is added, and which state comes next; the
counters themselves then give the next view, by comparisons without branches. ``fail`` is one more state, which leads to
itself.

All that is compiled stands in this file, so that Numba, which watches the file, compiles anew when any of it changes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from tallycell.errors import ParameterError
from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.wording import quoted

LARGEST = np.iinfo(np.int64).max
TOGETHER = (0, 0)  # as many strings take their steps in turn: one waits for its row while another computes
ALONE = (0,)


class Tables(NamedTuple):
    """A machine, laid out to be stepped; a row is a symbol, a state (the last is fail) and a view."""

    next_base: Int[np.ndarray, " row"]  # the next state, as the number of its first situation
    moves: Int[np.ndarray, "row 2 counter"]  # what is kept of the bits of each counter, what is added
    constants: Int[np.ndarray, "counter constant"]
    strides: Int[np.ndarray, "counter constant"]  # of the view; 0 where there is no constant
    says: Int[np.ndarray, " situation"]
    largest_step: int  # at most what fits into int64
    counters: tuple[int, ...]  # only its length counts: by it, as a type, the loop over counters is unrolled


class Strings(NamedTuple):
    """Strings laid end to end, and the order in which they are run: by length."""

    codes: Int[np.ndarray, " step"]
    offsets: Int[np.ndarray, " string_and_one"]
    order: Int[np.ndarray, " string"]


class Places(NamedTuple):
    """Where each string stands; changed in place."""

    situation: Int[np.ndarray, " string"]
    counters: Int[np.ndarray, "string counter"]


class Kept(NamedTuple):
    """What is kept of each step, written in place."""

    says: Int[np.ndarray, " step"]
    counters: Int[np.ndarray, "step counter"]
    keep_says: bool
    keep_counters: bool


class Lanes(NamedTuple):
    """Strings that take their steps in turn: the next code of each, its situation, its counters; changed in place."""

    position: Int[np.ndarray, " lane"]
    situation: Int[np.ndarray, " lane"]
    counters: Int[np.ndarray, "lane counter"]


def sayings_of(machine: CounterMachine) -> tuple[np.ndarray, np.ndarray]:
    """Different sets of outputs, and the number of the one in each situation, fail last."""
    in_fail = np.zeros((machine.views, len(machine.outputs)), np.bool_)
    in_fail[:, 0] = machine.decision == "argmax"
    all_output = np.concatenate([machine.output.reshape(-1, len(machine.outputs)), in_fail])
    sayings, says = np.unique(all_output, axis=0, return_inverse=True)
    sayings.setflags(write=False)
    return sayings, says.reshape(-1).astype(smallest_type(len(sayings)))


def tables_of(machine: CounterMachine, says: np.ndarray) -> Tables:
    """Lay a machine out; ``says`` as of :func:`sayings_of`."""
    states, views, counters = len(machine.states), machine.views, len(machine.counters)
    for name, constants in zip(machine.counters, machine.constants, strict=True):
        if any(not -LARGEST - 1 <= constant <= LARGEST for constant in constants):
            raise ParameterError(f"counter {quoted(name)} is compared with {constants}, which does not fit into int64")
    next_state = np.full((len(machine.alphabet), states + 1, views), states)
    next_state[:, :-1] = machine.next_state.swapaxes(0, 1)
    next_state[next_state == FAIL] = states
    small = machine.step.size == 0 or (machine.step.min() >= -128 and machine.step.max() <= 127)
    moves = np.zeros((*next_state.shape, 2, max(counters, 1)), np.int8 if small else np.int64)
    moves[..., 0, :] = -1
    moves[:, :-1, :, 0, :counters] = np.where(machine.reset.swapaxes(0, 1), 0, -1)
    moves[:, :-1][next_state[:, :-1] == states, 0] = 0  # who fails forgets
    moves[:, :-1, :, 1, :counters] = machine.step.swapaxes(0, 1)
    compared = max((len(constants) for constants in machine.constants), default=0)
    compared_with = np.zeros((moves.shape[-1], max(compared, 1)), np.int64)
    strides = np.zeros_like(compared_with)
    stride = 1
    for k in reversed(range(counters)):
        compared_with[k, : len(machine.constants[k])] = machine.constants[k]
        strides[k, : len(machine.constants[k])] = stride
        stride *= machine.radices[k]
    return Tables(
        (next_state * views).astype(np.int32).reshape(-1),
        moves.reshape(-1, *moves.shape[-2:]),
        compared_with,
        strides,
        says,
        min(machine.largest_step, LARGEST),
        (0,) * moves.shape[-1],
    )


def smallest_type(numbers: int) -> type[np.uint8] | type[np.int32]:
    """Type for indices of so many things; few types, as each is compiled for."""
    return np.uint8 if numbers <= 256 else np.int32


@inlined
def _take_steps(tables, codes, kept, taking, steps, lane_0, lanes):  # type: ignore[no-untyped-def]
    """Take as many steps on each of some lanes, a string each; nothing may leave int64.

    Indices are unsigned where it counts: a signed one is asked at each step whether it is from the end.
    """
    next_base, moves, constants, strides = tables.next_base, tables.moves, tables.constants, tables.strides
    situations, situation, counters = len(tables.says), taking.situation, taking.counters
    for t in range(steps):
        for along in range(len(lanes)):
            lane = lane_0 + along
            at = np.uint64(taking.position[lane] + t)
            row = np.uint64(np.int64(codes[at]) * situations + situation[lane])
            after = np.int64(next_base[row])
            for k in range(len(tables.counters)):
                value = (counters[lane, k] & np.int64(moves[row, 0, k])) + np.int64(moves[row, 1, k])
                counters[lane, k] = value
                for j in range(constants.shape[1]):
                    after += strides[k, j] & -np.int64(value > constants[k, j])
                    after += strides[k, j] & -np.int64(value >= constants[k, j])
            situation[lane] = after
            if kept.keep_says:
                kept.says[at] = tables.says[np.uint64(after)]
            if kept.keep_counters:
                for k in range(len(tables.counters)):
                    kept.counters[at, k] = counters[lane, k]
    for along in range(len(lanes)):
        taking.position[lane_0 + along] += steps


@inlined
def _safe_steps(tables, counters, steps, lane_0, lanes):  # type: ignore[no-untyped-def]
    """So many of the steps that no counter can leave int64 in them."""
    if tables.largest_step == 0:
        return steps
    for along in range(len(lanes)):
        for k in range(len(tables.counters)):
            value = counters[lane_0 + along, k]
            room = LARGEST - 1 - (value if value >= 0 else ~value)  # one less, for the least step is -2**63
            steps = min(steps, max(room, 0) // tables.largest_step)
    return steps


@inlined
def _would_overflow(tables, code, taking, lane):  # type: ignore[no-untyped-def]
    """Whether the next step takes a counter out of int64."""
    row = np.int64(code) * len(tables.says) + taking.situation[lane]
    for k in range(len(tables.counters)):
        value = taking.counters[lane, k] & np.int64(tables.moves[row, 0, k])
        step = np.int64(tables.moves[row, 1, k])
        if (step > 0 and value > LARGEST - step) or (step < 0 and value < -LARGEST - 1 - step):
            return True
    return False


@inlined
def _finish(tables, codes, kept, taking, end, lane):  # type: ignore[no-untyped-def]
    """Run one string to its end; whether int64 was enough."""
    while taking.position[lane] < end:
        at = taking.position[lane]
        steps = _safe_steps(tables, taking.counters, end - at, lane, ALONE)
        if steps == 0:
            if _would_overflow(tables, codes[at], taking, lane):
                return False
            steps = np.int64(1)
        _take_steps(tables, codes, kept, taking, steps, lane, ALONE)
    return True


@compiled
def run_all(tables, strings, places, kept):  # type: ignore[no-untyped-def]
    """Run all strings; give the position of the code at which a counter would leave int64, or -1."""
    codes, offsets, order, together = strings.codes, strings.offsets, strings.order, len(TOGETHER)
    taking = Lanes(
        np.empty(together, np.int64), np.empty(together, np.int64), np.empty((together, len(tables.counters)), np.int64)
    )
    for group in range(0, len(order), together):
        lanes = min(together, len(order) - group)
        for lane in range(lanes):
            string = order[group + lane]
            taking.position[lane], taking.situation[lane] = offsets[string], places.situation[string]
            for k in range(len(tables.counters)):
                taking.counters[lane, k] = places.counters[string, k]
        if lanes == together:  # strings of about one length, up to the end of the shortest
            shortest = offsets[order[group] + 1] - offsets[order[group]]
            steps = _safe_steps(tables, taking.counters, shortest, 0, TOGETHER)
            _take_steps(tables, codes, kept, taking, steps, 0, TOGETHER)
        for lane in range(lanes):
            string = order[group + lane]
            if not _finish(tables, codes, kept, taking, offsets[string + 1], lane):
                return taking.position[lane]
            places.situation[string] = taking.situation[lane]
            for k in range(len(tables.counters)):
                places.counters[string, k] = taking.counters[lane, k]
    return np.int64(-1)
