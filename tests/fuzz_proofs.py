"""Looks for a proof that does not hold: programs and weights are drawn, spoiled, proved, and run in hostile arithmetic.

What is proved here is run by an interpreter and an LSTM of this file alone, which share nothing with what proves: sums
are added in a drawn order, with or without fused multiply-add, and each activation is off by as much as its contract
allows, in a drawn direction. No difference may be seen at or below the horizon.

``python -m benchmarks horizon --fuzz 10000 --seed 1000`` draws more than the tests do.
"""

import itertools
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from machines import random_machine
from tallycell.errors import ParameterError
from tallycell.machine.checking.matching import matched
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.extracting.allowed import automaton_of
from tallycell.machine.notation.text import parse
from tallycell.machine.proving.contracts import Arithmetic
from tallycell.machine.proving.coupling import Fineness, NotCoupledError, couple
from tallycell.machine.proving.edge_steps import EdgeSteps
from tallycell.machine.proving.fitting import fit_weights, follow_in_fail
from tallycell.machine.proving.horizon import counting_horizon
from tallycell.machine.proving.limits import too_large
from tallycell.machine.proving.proof import Prover
from tallycell.machine.proving.shadow import IN_FAIL, restrict, shadow_of, until_fail
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

ROWS = 48  # strings of one network
USUAL, LONG = 24, 1200  # symbols of a string, mostly and now and then


# ---- programs and networks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A machine, a network that is to follow it, and how the two were drawn."""

    machine: CounterMachine
    net: Recogniser
    how: str


def draw(rng: np.random.Generator) -> Drawn:
    """A machine and a network; the network's gates and decisions are spoiled in a drawn way."""
    dtype = "float32" if rng.random() < 0.75 else "float64"
    if rng.random() < 0.85:
        machine, net = draw_by_hand(rng, dtype)
    else:
        sizes = {"max_states": 3, "max_counters": int(rng.random() < 0.4), "max_symbols": 2}
        machine = random_machine(int(rng.integers(2**31)), step_by_symbol_only=True, **sizes)
        net = compile_machine(machine, dtype)
    often = np.array([3.0 if one in ("noise", "softened", "almost_a_tie", "cancelling") else 1.0 for one in SPOILERS])
    kinds = rng.choice(list(SPOILERS), size=rng.choice([1, 1, 2, 3]), replace=False, p=often / often.sum())
    for kind in kinds:
        with suppress(ParameterError), np.errstate(all="ignore"):  # two that together are infinite
            net = SPOILERS[kind](net, rng)
    return Drawn(machine, net, f"{dtype}, {', '.join(kinds)}")


def draw_by_hand(rng: np.random.Generator, dtype: str) -> tuple[CounterMachine, Recogniser]:
    """Counters that each symbol moves or clears, and outputs that ask one of them and the last symbol.

    Cells: the counters, one for each symbol that is 1 after it and -1 after any other, and two that are always 1.
    """
    symbols, counters = int(rng.integers(1, 4)), 1 + int(rng.random() < 0.1)
    alphabet, names = "abc"[:symbols], ("n", "m")[:counters]
    step = rng.integers(-1, 2, size=(symbols, counters))
    reset = rng.random((symbols, counters)) < 0.15
    argmax = rng.random() < 0.4
    asked = [
        (int(rng.integers(counters)), int(rng.integers(-1, 2)), int(rng.integers(-1, symbols)))
        for _ in range(1 if argmax else rng.integers(1, 3))
    ]
    lines = [f"alphabet {' '.join(alphabet)}", f"counters {' '.join(names)}"]
    lines.append("says one of low high" if argmax else f"says any of {' '.join(f't{k}' for k in range(len(asked)))}")
    for state in ("start", *alphabet):
        lines.append(f"state after_{state}:")
        for s, symbol in enumerate(alphabet):
            does = [f"{name} reset" if reset[s, k] else name for k, name in enumerate(names)]
            does = [f"{one} {n:+d}" if n else one for one, n in zip(does, step[s].tolist(), strict=True)]
            lines.append(f"  on {symbol}  {', '.join(one for one in does if ' ' in one)} -> after_{symbol}")
        for j, (k, least, last) in enumerate(asked):
            if last < 0 or state == alphabet[last]:
                lines.append(f"  tag {'high' if argmax else f't{j}'} when {names[k]} > {least}")
    return parse("\n".join(lines) + "\n"), _network(rng, dtype, alphabet, (step, reset), asked, argmax=argmax)


def _network(rng, dtype, alphabet, moves, asked, *, argmax):
    step, reset = moves
    symbols, counters = step.shape
    units = counters + symbols + 2
    far = (20.0, -100.0, 12.0) if dtype == "float32" else (40.0, -750.0, 25.0)  # open, closed, sign
    pre = np.zeros((4, units, symbols))
    pre[3] = far[0]
    pre[1, :counters] = np.where(reset.T, far[1], far[0])
    pre[1, counters:] = far[1]
    # A counter that holds has nothing to write, through an open gate or a closed one.
    holds = step.T == 0
    pre[0] = far[0]
    pre[0, :counters] = np.where(holds & (rng.random() < 0.5), far[1], far[0])
    pre[2, :counters] = far[2] * step.T
    pre[2, counters:-2] = far[2] * (2 * np.eye(symbols) - 1)
    pre[2, -2:] = far[2]
    weights = {"weight_ih_l0": pre.reshape(4 * units, symbols), "weight_hh_l0": np.zeros((4 * units, units))}
    weights |= {name: np.zeros(4 * units) for name in ("bias_ih_l0", "bias_hh_l0")}
    large = rng.choice([4.0, 4.0, 100.0, 1e6])  # what makes the counter not count after any other symbol
    readout, bias = np.zeros((len(asked), units)), np.zeros(len(asked))
    for j, (k, least, last) in enumerate(asked):
        readout[j, k] = 1
        bias[j] = -(np.tanh(least) + np.tanh(least + 1)) / 2
        if last >= 0:
            readout[j, counters + last] = large
            bias[j] -= large * np.tanh(1)
    if argmax:
        other = rng.normal(size=(1, units)) * rng.choice([0.0, 1.0, 1e4])  # both may share anything
        readout, bias = np.concatenate([other, readout + other]), np.concatenate([[0.0], bias])
    outputs = ("low", "high") if argmax else tuple(f"t{k}" for k in range(len(asked)))
    lstm = LSTMParameters({name: value.astype(dtype) for name, value in weights.items()})
    decision = "argmax" if argmax else "threshold"
    return Recogniser(tuple(alphabet), np.eye(symbols), lstm, readout, bias, outputs=outputs, decision=decision)


# ---- what is done to networks ----------------------------------------------------------------------------------------


def _changed(net: Recogniser, **weights: np.ndarray) -> Recogniser:
    whole = {**net.parameters.weights, **weights}
    whole = {name: np.asarray(value, net.parameters.dtype) for name, value in whole.items()}
    return replace(net, parameters=replace(net.parameters, weights=whole))


def noise(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """Every weight a little off."""
    size = 10.0 ** rng.uniform(-5, -0.7)
    off = {name: w * (1 + size * rng.normal(size=w.shape)) for name, w in net.parameters.weights.items()}
    return _changed(net, **off)


def softened(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """Gates some digits from their limits."""
    share = rng.uniform(0.15, 0.9)
    return _changed(net, **{name: w * share for name, w in net.parameters.weights.items()})


def at_a_limit(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """Pre-activations at the place where an activation reaches its limit, or underflows, within some roundings."""
    single = net.parameters.dtype == np.float32
    places = (16.64, 16.7, 17.33, 9.01, 9.02, -87.3, -103.9) if single else (36.74, 36.8, 19.06, 19.1, -708.0, -745.0)
    place = rng.choice(places) * (1 + rng.integers(-8, 9) * np.finfo(net.parameters.dtype).eps)
    weight = np.array(net.parameters.weights["weight_ih_l0"])
    near = np.abs(weight) > 8
    weight = np.where(near & (rng.random(weight.shape) < 0.5) & (np.sign(weight) == np.sign(place)), place, weight)
    return _changed(net, weight_ih_l0=weight)


def cancelling(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """Large terms that cancel, so that rounding shows: what is left depends on the order of the sum."""
    biases = [np.array(net.parameters.weights[name]) for name in ("bias_ih_l0", "bias_hh_l0")]
    large = 10.0 ** rng.uniform(2, 8 if net.parameters.dtype == np.float32 else 16) * rng.integers(
        0, 2, size=biases[0].shape
    )
    return _changed(net, bias_ih_l0=biases[0] + large, bias_hh_l0=biases[1] - large)


def almost_a_tie(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """A decision that some roundings decide: after a short string, logits become nearly 0, or nearly alike."""
    codes = rng.integers(0, len(net.alphabet), size=(1, rng.integers(1, 6)))
    h = Hostile(net, rng, 1, off=0).run(codes)[1][0].astype(np.float64)
    logits = net.readout_weight.astype(np.float64) @ h + net.readout_bias
    aim = 0.0 if net.decision == "threshold" else logits.max()
    size = (np.abs(net.readout_weight) @ np.abs(h)) * np.finfo(net.parameters.dtype).eps
    return replace(net, readout_bias=net.readout_bias - (logits - aim) + size * rng.uniform(-1, 1, size=len(size)))


def scaled_readout(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """A readout of the largest and the smallest numbers of the format."""
    finite = np.finfo(net.parameters.dtype)
    largest = max(float(np.abs(net.readout_weight).max()), float(np.abs(net.readout_bias).max()), 1e-3)
    scale = float(rng.choice([finite.max / 8, finite.max / 2, finite.tiny, finite.smallest_subnormal * 64]))
    weight, bias = (array.astype(np.float64) / largest * scale for array in (net.readout_weight, net.readout_bias))
    if net.decision == "argmax":  # what all outputs have in common decides nothing, unless it is infinite
        weight = weight + scale * rng.integers(-1, 2, size=weight.shape[1])
    return replace(net, readout_weight=weight, readout_bias=bias)


def large_weights(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """Terms near the largest number: what is left of them holds some open gates open, if no part is infinite."""
    p = net.parameters
    scale = float(np.finfo(p.dtype).max) / 2.0 ** rng.integers(0, 5)
    rows = np.flatnonzero((p.weights["weight_ih_l0"] > 8).all(1) & (rng.random(4 * p.hidden_size) < 0.5))
    recurrent = np.array(p.weights["weight_hh_l0"])
    recurrent[rows, -2:] = -scale  # the last two cells are 1, and show 0.76
    biases = {name: np.array(p.weights[name]) for name in ("bias_ih_l0", "bias_hh_l0")}
    for bias in biases.values():
        bias[rows] = scale
    return _changed(net, weight_hh_l0=recurrent, **biases)


def begun_elsewhere(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """A start that is not zero: next to it, denormal, or far."""
    p = net.parameters
    size = rng.choice([1e-42, 1e-30, 1e-8, 1e-3, 0.3, 1e30])
    h, c = (np.zeros((1, p.hidden_size)) if state is None else np.array(state, float) for state in (net.h_0, net.c_0))
    h, c = (
        h + min(size, 1.0) * rng.normal(size=h.shape),
        c + size * rng.normal(size=c.shape) * (rng.random(c.shape) < 0.5),
    )
    return replace(net, h_0=h, c_0=c)


def mixed_in(net: Recogniser, rng: np.random.Generator) -> Recogniser:
    """Recurrent weights: what is shown moves the gates a little."""
    weight = np.array(net.parameters.weights["weight_hh_l0"])
    return _changed(net, weight_hh_l0=weight + 10.0 ** rng.uniform(-6, 0.5) * rng.normal(size=weight.shape))


SPOILERS = {
    one.__name__: one
    for one in (
        noise,
        softened,
        at_a_limit,
        cancelling,
        almost_a_tie,
        scaled_readout,
        large_weights,
        begun_elsewhere,
        mixed_in,
    )
}


# ---- an interpreter and an LSTM of our own ---------------------------------------------------------------------------


def says(machine: CounterMachine, codes: np.ndarray) -> np.ndarray:
    """What a machine says after each symbol, (row, time, output)."""
    return run(machine, codes)[0]


def run(machine: CounterMachine, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a machine says after each symbol, and whether it has failed, read off its tables one entry at a time."""
    rows, time = codes.shape
    failed = np.zeros((rows, time), bool)
    chosen = np.zeros((rows, time, len(machine.outputs)), bool)
    for row in range(rows):
        state, counters = 0, [0] * len(machine.counters)
        for t, symbol in enumerate(codes[row].tolist()):
            at = state, symbol, _view(machine, counters)
            counters = [
                (0 if cleared else n) + int(moved)
                for n, cleared, moved in zip(counters, machine.reset[at], machine.step[at], strict=True)
            ]
            state = int(machine.next_state[at])
            if state == FAIL:
                failed[row, t:] = True
                chosen[row, t:, 0] = machine.decision == "argmax"
                break
            chosen[row, t] = machine.output[state, _view(machine, counters)]
    return chosen, failed


def _view(machine: CounterMachine, counters: list[int]) -> int:
    view = 0
    for n, constants in zip(counters, machine.constants, strict=True):
        view = view * (2 * len(constants) + 1) + sum((n >= k) + (n > k) for k in constants)
    return view


class Contract(NamedTuple):
    """What is promised of activations: ulp of both, limits, and where the sigmoid may vanish."""

    sigmoid_ulp: int
    tanh_ulp: int
    sigmoid_one: float
    tanh_one: float
    sigmoid_zero: float
    tiny: float


CONTRACTS = {
    "float32": Contract(3, 2, 16.7, 9.02, -87.3, 1.3e-38),
    "float64": Contract(3, 3, 36.8, 19.1, -708.0, 1e-307),
}


class Hostile:
    """An LSTM whose sums and activations go wrong as far as they may.

    Parameters
    ----------
    net
        The network, of one layer.
    rng
        Draws the order of sums, whether products are fused, and which way activations are off in each row and unit.
    rows
        Strings that are run at once.
    off
        0: activations are not off.
    """

    def __init__(self, net: Recogniser, rng: np.random.Generator, rows: int, off: int = 1) -> None:
        p = net.parameters
        self.net, self.dtype, self.contract = net, p.dtype, CONTRACTS[str(p.dtype)]
        layer = p.weights
        zeros = np.zeros(4 * p.hidden_size, p.dtype)
        biases = [layer.get(name, zeros)[:, np.newaxis] for name in ("bias_ih_l0", "bias_hh_l0")]
        self.terms = np.concatenate([layer["weight_ih_l0"], layer["weight_hh_l0"], *biases], axis=1)
        self.readout = np.concatenate([net.readout_weight, net.readout_bias[:, np.newaxis]], axis=1)
        self.order, self.readout_order = (rng.permutation(one.shape[1]) for one in (self.terms, self.readout))
        self.fused, self.paired = rng.random() < 0.5, rng.random() < 0.3
        of_row = rng.integers(-1, 2, size=(rows, 5, p.hidden_size)) * rng.integers(0, 2, size=(rows, 1, 1))
        self.off = off * of_row * rng.choice([1, 2, 3], size=of_row.shape)

    def run(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network chooses after each symbol, (row, time, output), and h after the last."""
        net, (rows, time) = self.net, codes.shape
        h, c = (
            np.repeat(np.zeros((1, net.parameters.hidden_size), self.dtype) if state is None else state, rows, axis=0)
            for state in (net.h_0, net.c_0)
        )
        chosen = np.zeros((rows, time, len(net.outputs)), bool)
        ones = np.ones((rows, 1), self.dtype)
        for t in range(time):
            read = np.concatenate([net.inputs[codes[:, t]], h, ones, ones], axis=1)
            pre = self._sum(self.terms, read, self.order).reshape(rows, 4, -1)
            i, f, o = (self._sigmoid(pre[:, k], self.off[:, k]) for k in (0, 1, 3))
            g = self._tanh(pre[:, 2], self.off[:, 2])
            c = self._fused(f, c, i * g) if self.fused else f * c + i * g
            h = o * self._tanh(c, self.off[:, 4])
            logits = self._sum(self.readout, np.concatenate([h, ones], axis=1), self.readout_order)
            chosen[:, t] = logits > 0 if net.decision == "threshold" else _first_largest(logits)
        return chosen, h

    def _sum(self, weights: np.ndarray, values: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Weights times values, added in an order; or in two halves, each in its order, that are added last."""
        halves = np.array_split(order, 2) if self.paired else [order]
        sums = []
        for half in halves:
            total = np.zeros((len(values), len(weights)), self.dtype)
            for k in half.tolist():
                if self.fused:
                    total = self._fused(weights[:, k], values[:, k : k + 1], total)
                else:
                    total = total + weights[:, k] * values[:, k : k + 1]
            sums.append(total)
        whole: np.ndarray = sum(sums[1:], sums[0])
        return whole

    def _fused(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        wide = np.longdouble  # of float64 products it rounds twice, of float32 hardly ever
        if self.dtype == np.float64:
            return a * b + c
        return (a.astype(wide) * b + c).astype(self.dtype)

    def _sigmoid(self, x: np.ndarray, off: np.ndarray) -> np.ndarray:
        bound, wide = self.contract, x.astype(np.longdouble)
        value = self._nudged(1 / (1 + np.exp(-wide)), off, bound.sigmoid_ulp)
        value = np.where(x < bound.sigmoid_zero, self.dtype.type(bound.tiny) * (off > 0), np.clip(value, 0, 1))
        return np.where(x >= bound.sigmoid_one, 1, value).astype(self.dtype)

    def _tanh(self, x: np.ndarray, off: np.ndarray) -> np.ndarray:
        value = np.clip(self._nudged(np.tanh(x.astype(np.longdouble)), off, self.contract.tanh_ulp), -1, 1)
        return np.where(np.abs(x) >= self.contract.tanh_one, np.sign(x), np.where(x == 0, x, value)).astype(self.dtype)

    def _nudged(self, exact: np.ndarray, off: np.ndarray, ulp: int) -> np.ndarray:
        """The number of the format next to a value, moved by whole ulp, where that is within so many ulp of it."""
        near = exact.astype(self.dtype)
        spacing = np.spacing(np.abs(near))
        moved = near + np.minimum(np.maximum(off, 1 - ulp), ulp - 1) * spacing
        return moved.astype(self.dtype)


def _first_largest(logits: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = logits.argmax(-1)[:, np.newaxis] == np.arange(logits.shape[1])
    return chosen


# ---- strings, and the search -----------------------------------------------------------------------------------------


def draw_strings(rng: np.random.Generator, symbols: int, time: int) -> np.ndarray:
    """Rows of symbols: all short beginnings, then runs of repeated words, which take counters far and back."""
    short = max(1, min(time, int(np.log(ROWS / 1.5) / np.log(max(symbols, 2)))))
    begun = np.array(list(itertools.product(range(symbols), repeat=short)), np.int64)
    rows = np.zeros((ROWS, time), np.int64)
    for row in range(ROWS):
        parts = [begun[row]] if row < len(begun) else []
        length = sum(map(len, parts))
        while length < time:
            word = rng.integers(0, symbols, size=rng.integers(1, 3))
            parts.append(np.tile(word, rng.integers(1, max(2, min(time, 2 * time // 3)))))
            length += len(parts[-1])
        rows[row] = np.concatenate(parts)[:time]
    return rows


class Result(NamedTuple):
    """What became of one network: how long strings were, to how many symbols it was proved, when it first differed.

    The same two of strings on which the machine has not failed. 0 if it was not proved, or did not differ.
    """

    longest: int
    proved: int
    first: int
    ended: int
    first_before_fail: int
    how: str

    @property
    def wrong(self) -> bool:
        """Whether what was proved does not hold."""
        return 0 < self.first <= self.proved or 0 < self.first_before_fail <= self.ended


def prove(drawn: Drawn, rng: np.random.Generator, longest: int, *, ends: bool = False) -> int:
    """Most symbols, of some up to the longest, that are proved; mostly by one way to put machine and network together.

    With ``ends`` for strings on which the machine has not failed. The horizon is the farthest of all such ways, and
    nothing is asked of it beyond the strings that are run.
    """
    machine, net = drawn.machine, drawn.net
    if rng.random() < 0.05:
        return counting_horizon(machine, net, inputs=machine if ends else None).symbols
    letters, outputs = matched(machine, net)
    if too_large(net, letters):
        return 0
    restricted = until_fail(machine) if ends else restrict(machine, automaton_of(machine.alphabet, None))
    shadow = shadow_of(restricted, rng.choice(IN_FAIL))
    fineness = Fineness(int(rng.integers(0, 3)), int(rng.integers(1, 3)), (1, 2))
    try:
        coupling = couple(shadow, net, letters, fineness)
        if rng.random() < 0.3:
            coupling = couple(follow_in_fail(coupling, fit_weights(coupling)), net, letters, fineness)
    except NotCoupledError:
        return 0
    arithmetic = Arithmetic.of_kernel(str(net.parameters.dtype))
    prover = Prover(EdgeSteps.around_samples(net, coupling, arithmetic, fit_weights(coupling)), outputs)
    return next((symbols for symbols in (longest, longest // 4, 2, 1) if prover.prove(symbols).proved), 0)


def attack(seed: int) -> Result:
    """Draw a network, prove it to a length, and look for a difference within it."""
    rng = np.random.default_rng(seed)
    drawn = draw(rng)
    # What leaks or drifts shows after a while only.
    longest = LONG if rng.random() < 0.1 and ("softened" in drawn.how or "limit" in drawn.how) else USUAL
    with np.errstate(all="ignore"):  # that it can be infinite is the point
        proved = prove(drawn, rng, longest)
        ended = prove(drawn, np.random.default_rng(seed), longest, ends=True)
        codes = draw_strings(rng, len(drawn.machine.alphabet), longest)
        found, _ = Hostile(drawn.net, rng, ROWS).run(codes)
    order = [drawn.machine.outputs.index(output) for output in drawn.net.outputs]
    said, failed = run(drawn.machine, codes)
    differ = (found != said[:, :, order]).any(2)
    return Result(longest, proved, first_of(differ), ended, first_of(differ & ~failed), drawn.how)


def first_of(differ: np.ndarray) -> int:
    """Symbols after which a row differs first; 0 if none does."""
    at = differ.any(0)
    return int(np.argmax(at)) + 1 if at.any() else 0


def attack_all(first: int, count: int) -> tuple[Counter[str], list[tuple[int, Result]]]:
    """Attack networks of seeds from ``first`` on; give how many there were of each kind, and what was wrong."""
    kinds: Counter[str] = Counter()
    wrong = []
    for seed in range(first, first + count):
        result = attack(seed)
        kinds["proved as far as strings go" if result.proved >= result.longest else "proved for some symbols"] += (
            result.proved > 0
        )
        kinds["not proved, and seen to differ"] += not result.proved and result.first > 0
        kinds["proved until the machine fails, and seen to differ beyond"] += result.ended > 0 and (
            result.first > 0 and not result.first_before_fail
        )
        kinds["seen to differ just beyond what is proved"] += 0 < result.proved < result.first
        if result.wrong:
            wrong.append((seed, result))
    return kinds, wrong
