"""A counter machine beside a network: the situations of a proof, and what leads from one to another.

A situation is a state of the machine, a value for each counter (or "below all told apart", "above all told apart"),
and a class of the network's own states: which cells and which exposed cells are positive, zero, negative. The classes
are a guess, taken from runs of the network; the proof then shows that in each situation all states of the network lie
in a box, and is sound whatever the guess was.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tallycell.kernels.stack import StackInput, run_stack
from tallycell.machine.proving.shadow import Shadow
from tallycell.recogniser import Recogniser
from tallycell.wording import shown

HIDDEN, ZERO = 0.2, 0.3  # an exposed cell, and a cell, of less than this is taken for zero when classes are guessed
MOST_EXPLORED = 50_000  # states of machine and network together
MOST_KEPT = 200_000_000  # values of gates: of large networks fewer states are explored
MOST_EDGES = 100_000
MODULI = (1, 2, 3, 4, 6)  # times the largest step: by which remainders of a large counter are told apart

Folded = tuple[int, ...]
CounterStep = tuple[bool, int, float, float]  # whether it is kept, step, least and greatest before


class NotCoupledError(Exception):
    """The network cannot be followed beside the machine; the text says why. It never leaves ``counting_horizon``."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """Situations and edges; arrays of both.

    Attributes
    ----------
    shadow
        The machine.
    state, view
        (node,): of the machine.
    least, greatest
        (node, counter): what counters can hold; infinite where all above or below is one situation.
    modulus
        (counter,): a counter n of a situation is modulus q + remainder; what follows of counters is said of the whole
        numbers q. So a cell that holds a third of a counter holds a whole number of the q.
    reached
        (sample, ...): states of the network that were seen there: node, counters, h and c (layers side by side).
    source, symbol, target
        (edge,).
    letter
        (edge,): the symbol's index in the network's alphabet.
    keep, step, from_least, from_greatest
        (edge, counter): whether the counter is kept, what is added, and what it can hold where the edge is taken.
    gates
        (edge, 3, cell): i, f and g, as seen once on the edge.
    """

    shadow: Shadow
    state: Int[np.ndarray, " node"]
    view: Int[np.ndarray, " node"]
    least: Float[np.ndarray, "node counter"]
    greatest: Float[np.ndarray, "node counter"]
    modulus: Int[np.ndarray, " counter"]
    reached: "Samples"
    source: Int[np.ndarray, " edge"]
    symbol: Int[np.ndarray, " edge"]
    target: Int[np.ndarray, " edge"]
    letter: Int[np.ndarray, " edge"]
    keep: Bool[np.ndarray, "edge counter"]
    step: Int[np.ndarray, "edge counter"]
    from_least: Float[np.ndarray, "edge counter"]
    from_greatest: Float[np.ndarray, "edge counter"]
    gates: Float[np.ndarray, "edge 3 cell"]

    @property
    def failed(self) -> Bool[np.ndarray, " node"]:
        """Whether the machine is in fail."""
        there: np.ndarray = self.state == len(self.shadow.machine.states)
        return there

    @property
    def unbounded(self) -> Bool[np.ndarray, "node counter"]:
        """Whether a counter can be any number beyond some value."""
        beyond: np.ndarray = np.isinf(self.least) | np.isinf(self.greatest)
        return beyond


class Samples(NamedTuple):
    """States of machine and network that a run came to."""

    node: Int[np.ndarray, " sample"]
    counters: Int[np.ndarray, "sample counter"]
    h: Float[np.ndarray, "sample hidden"]
    c: Float[np.ndarray, "sample cell"]


class Seen(NamedTuple):
    """One step that a run took: where it led, and its gates."""

    target: int
    gates: Float[np.ndarray, "3 cell"]


class Fineness(NamedTuple):
    """How finely counters are told apart.

    So far ``beyond`` its constants each value of a counter is a situation of its own; beyond that, remainders by one
    of the ``moduli`` times its largest step are. Of each, values ``further`` on are run through, of at most ``at_once``
    counters at the same time.
    """

    beyond: int
    further: int
    moduli: tuple[int, ...] = MODULI
    at_once: int = 1000


def couple(shadow: Shadow, net: Recogniser, symbols: Int[np.ndarray, " symbol"], fineness: Fineness) -> Coupling:
    """Run machine and network together and fold what is seen into situations.

    Parameters
    ----------
    shadow
        The machine.
    net
        The network.
    symbols
        For each of the machine's symbols its index in the network's alphabet; -1 for one that does not occur.
    fineness
        How finely counters are told apart.

    Raises
    ------
    NotCoupledError
        If there are too many situations.
    """
    steps = np.maximum(shadow.largest_steps, 1).tolist()
    fewest: _Folding | None = None
    for times in fineness.moduli:
        folds = [
            Fold(min((*ks, 0)) - fineness.beyond, max((*ks, 0)) + fineness.beyond, times * step)
            for ks, step in zip(shadow.machine.constants, steps, strict=True)
        ]
        try:
            folding = _Folding(_Exploration(shadow, net, symbols, folds, fineness))
        except NotCoupledError:
            if fewest is None:
                raise
            break
        if fewest is None or folding.missing < fewest.missing:
            fewest = folding
        if not folding.missing:
            break
    assert fewest is not None
    if not fewest.edges:
        raise NotCoupledError("no string is allowed: the first symbol is refused, whichever it is")
    return fewest.coupling()


class Fold(NamedTuple):
    """Which values of a counter are told apart: all from ``low`` to ``high``; beyond, those of one remainder are one.

    A folded value beyond stands for itself and for every ``modulus`` further.
    """

    low: int
    high: int
    modulus: int

    def __call__(self, value: int) -> int:
        """Value that stands for a value."""
        if value > self.high:
            return self.high + 1 + (value - self.high - 1) % self.modulus
        if value < self.low:
            return self.low - 1 - (self.low - 1 - value) % self.modulus
        return value

    def after(self, folded: int, *, reset: bool, step: int) -> Iterator[tuple[int, bool, int, float, float]]:
        """Yield what a counter can be folded to after a step: that, whether kept, step, least and greatest before."""
        if self.low <= folded <= self.high:
            yield self((0 if reset else folded) + step), not reset, step, folded, folded
            return
        side = 1 if folded > self.high else -1
        if reset:
            yield self(step), False, step, *((folded, np.inf) if side > 0 else (-np.inf, folded))
            return
        # Those near enough come back among the values told apart, one by one; then all others.
        edge = self.high if side > 0 else self.low
        while side * (folded + step - edge) <= 0:
            yield self(folded + step), True, step, folded, folded
            folded += side * self.modulus
        yield self(folded + step), True, step, *((folded, np.inf) if side > 0 else (-np.inf, folded))


class _Exploration:
    """All states of machine and network that strings lead to while counters stay near their cuts."""

    def __init__(
        self, shadow: Shadow, net: Recogniser, symbols: np.ndarray, folds: list[Fold], fineness: Fineness
    ) -> None:
        self.shadow, self.net, self.symbols, self.folds = shadow, net, symbols, folds
        p = net.parameters
        self.at_once = fineness.at_once
        # Per counter: as far as it is run through alone, and with all the others.
        self.least, self.greatest = self._farthest(fineness.further)
        self.near_least, self.near_greatest = self._farthest(0)
        h = np.zeros(p.num_layers * p.output_size, p.dtype) if net.h_0 is None else net.h_0.reshape(-1)
        c = np.zeros(p.num_layers * p.hidden_size, p.dtype) if net.c_0 is None else net.c_0.reshape(-1)
        self.keys: dict[tuple[int, Folded, bytes], int] = {}
        self.h: list[np.ndarray] = []
        self.c: list[np.ndarray] = []
        self.steps: list[tuple[int, int, Seen]] = []
        (of_start,) = _classes_of(h[np.newaxis], c[np.newaxis])
        self._add((0, (0,) * len(folds), of_start), h, c)
        self._walk()

    def _farthest(self, further: int) -> tuple[np.ndarray, np.ndarray]:
        least = [one.low - 1 - further * one.modulus for one in self.folds]
        greatest = [one.high + 1 + further * one.modulus for one in self.folds]
        return np.array(least, np.int64), np.array(greatest, np.int64)

    def _is_near(self, counters: np.ndarray) -> np.ndarray:
        """Whether configurations, row by row, are run through."""
        beyond = (counters < self.near_least) | (counters > self.near_greatest)
        inside = (counters >= self.least) & (counters <= self.greatest)
        near: np.ndarray = inside.all(-1) & (beyond.sum(-1) <= self.at_once)
        return near

    def _add(self, key: tuple[int, Folded, bytes], h: np.ndarray, c: np.ndarray) -> int:
        number = self.keys.get(key)
        if number is None:
            if len(self.keys) >= MOST_EXPLORED:
                raise NotCoupledError(f"machine and network have more than {MOST_EXPLORED:,} situations together")
            number = self.keys[key] = len(self.keys)
            self.h.append(h)
            self.c.append(c)
        return number

    def _walk(self) -> None:
        done = 0
        order = [(0, np.zeros(len(self.folds), np.int64))]
        while done < len(self.keys):
            batch = range(done, len(self.keys))
            done = len(self.keys)
            h, c = np.stack([self.h[k] for k in batch]), np.stack([self.c[k] for k in batch])
            state = np.array([order[k][0] for k in batch])
            counters = np.stack([order[k][1] for k in batch])
            view = self.shadow.views_of(counters)
            if len(self.steps) * 3 * c.shape[1] > MOST_KEPT:
                raise NotCoupledError(
                    f"machine and network have more than {len(self.keys):,} situations together, too many for a "
                    f"network of {c.shape[1]} units"
                )
            for symbol in np.flatnonzero(self.symbols >= 0).tolist():
                at = (state, symbol, view)
                after = np.where(self.shadow.reset[at], 0, counters) + self.shadow.step[at]
                following = self.shadow.next_state[at]
                h_after, c_after, gates = step_network(self.net, int(self.symbols[symbol]), h, c)
                classes, states, numbers = _classes_of(h_after, c_after), following.tolist(), after.tolist()
                for row in np.flatnonzero(self._is_near(after) & self.shadow.occurs[at]).tolist():
                    key = (states[row], tuple(numbers[row]), classes[row])
                    target = self._add(key, h_after[row], c_after[row])
                    if target == len(order):
                        order.append((states[row], after[row]))
                    self.steps.append((batch[row], symbol, Seen(target, gates[row])))


def step_network(
    net: Recogniser, symbol: int, h: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take one step of all layers; h and c hold them side by side. Give h, c and the gates i, f and g."""
    p = net.parameters
    x = np.repeat(net.inputs[symbol][np.newaxis], len(h), axis=0)[np.newaxis]
    before = (of.reshape(len(h), p.num_layers, -1).swapaxes(0, 1) for of in (h, c))
    # On the kernel: NumPy's tanh is not quite 1 where ours is, and the fit of the weights would see it.
    layers = [steps for (steps,) in run_stack(p, StackInput(x, *map(np.ascontiguousarray, before)))]
    gates = np.concatenate([np.stack([steps.i[0], steps.f[0], steps.g[0]], 1) for steps in layers], -1)
    h_after, c_after = (np.concatenate([getattr(steps, of) for steps in layers], -1) for of in ("h_n", "c_n"))
    return h_after, c_after, gates.astype(np.float64)


def _classes_of(h: np.ndarray, c: np.ndarray) -> list[bytes]:
    """Class of each row: which exposed cells, and which cells, are positive, zero, negative."""
    signs = [(values >= zero).astype(np.int8) - (values <= -zero) for values, zero in ((h, HIDDEN), (c, ZERO))]
    return [row.tobytes() for row in np.concatenate(signs, axis=1)]


class _Folding:
    """Explored states folded into situations, classes merged until each step leads to one."""

    def __init__(self, exploration: _Exploration) -> None:
        self.exploration = exploration
        numbers: dict[tuple[int, Folded, bytes], int] = {}
        self.node_of = np.zeros(len(exploration.keys), np.int64)
        for key, explored in exploration.keys.items():
            state, counters, of_network = key
            folded = (state, self._fold(counters), of_network)
            self.node_of[explored] = numbers.setdefault(folded, len(numbers))
        self.places = [(state, folded) for state, folded, _ in numbers]
        self.seen: dict[tuple[int, int, Folded], Seen] = {}
        self._merge()
        self.edges = list(self._edges())
        self.missing = sum(self._target(*edge[:3]) is None for edge in self.edges)

    def _fold(self, counters: Folded) -> Folded:
        return tuple(fold(n) for fold, n in zip(self.exploration.folds, counters, strict=True))

    def _merge(self) -> None:
        """Join classes to which one symbol leads from one class, counters alike."""
        parent = list(range(len(self.places)))

        def root(node: int) -> int:
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        merged = True
        while merged:
            merged = False
            self.seen = {}
            for explored, symbol, step in self.exploration.steps:
                target = root(int(self.node_of[step.target]))
                key = (root(int(self.node_of[explored])), symbol, self.places[target][1])
                known = self.seen.get(key)
                if known is not None and root(known.target) != target:
                    parent[target] = root(known.target)
                    merged = True
                self.seen[key] = Seen(target, step.gates)
        roots = sorted({root(node) for node in range(len(self.places))})
        number = {node: k for k, node in enumerate(roots)}
        self.node_of = np.array([number[root(node)] for node in self.node_of.tolist()])
        self.seen = {
            (number[root(source)], symbol, folded): Seen(number[root(step.target)], step.gates)
            for (source, symbol, folded), step in self.seen.items()
        }
        self.places = [self.places[node] for node in roots]

    def _edges(self) -> Iterator[tuple[int, int, Folded, int, list[CounterStep]]]:
        """Yield source, symbol, folded counters after, next state, and what each counter does."""
        shadow, count = self.exploration.shadow, 0
        for source, (state, folded) in enumerate(self.places):
            view = int(shadow.views_of(np.array([folded]).reshape(1, -1))[0])
            for symbol in np.flatnonzero((self.exploration.symbols >= 0) & shadow.occurs[state, :, view]).tolist():
                at = (state, symbol, view)
                options = [
                    list(fold.after(folded[k], reset=bool(shadow.reset[at][k]), step=int(shadow.step[at][k])))
                    for k, fold in enumerate(self.exploration.folds)
                ]
                following = int(shadow.next_state[at])
                for chosen in itertools.product(*options):
                    count += 1
                    if count > MOST_EDGES:
                        raise NotCoupledError(f"the proof would have more than {MOST_EDGES:,} steps to look at")
                    after = tuple(option[0] for option in chosen)
                    yield source, symbol, after, following, [option[1:] for option in chosen]

    def _target(self, source: int, symbol: int, after: Folded) -> Seen | None:
        return self.seen.get((source, symbol, after))

    def coupling(self) -> Coupling:
        """Arrays of all situations and edges; a step that was not seen goes to a situation with its counters."""
        by_place: dict[tuple[int, Folded], int] = {}
        for node, place in enumerate(self.places):
            by_place.setdefault(place, node)
        rows: list[tuple[int, int, int, list[CounterStep]]] = []
        gates = []
        for source, symbol, after, following, counters in self.edges:
            seen = self._target(source, symbol, after)
            if seen is None:
                other = by_place.get((following, after))
                if other is None:
                    raise NotCoupledError(self._not_seen(following, after))
                seen = Seen(other, np.full_like(next(iter(self.seen.values())).gates, np.nan))
            rows.append((source, symbol, seen.target, counters))
            gates.append(seen.gates)
        e, folds = self.exploration, self.exploration.folds
        shape = (len(rows), len(folds))
        of_counter = [np.array([[one[k] for one in row[3]] for row in rows]).reshape(shape) for k in range(4)]
        folded = np.array([place[1] for place in self.places], np.int64).reshape(len(self.places), len(folds))
        low, high = (np.array([fold[k] for fold in folds], np.int64) for k in range(2))
        least = np.where(folded < low, -np.inf, folded)
        greatest = np.where(folded > high, np.inf, folded)
        numbers = np.array([key[1] for key in e.keys], np.int64).reshape(len(e.keys), len(folds))
        of_edge = [np.array([row[k] for row in rows]) for k in range(3)]
        modulus = np.array([fold.modulus for fold in folds], np.int64)
        remainder = folded % modulus
        before, after_it = remainder[of_edge[0]], remainder[of_edge[2]]
        keep = of_counter[0].astype(bool)
        return Coupling(
            shadow=e.shadow,
            state=np.array([place[0] for place in self.places]),
            view=e.shadow.views_of(folded),
            least=least,
            greatest=greatest,
            modulus=modulus,
            reached=Samples(
                self.node_of,
                (numbers - remainder[self.node_of]) // modulus,
                np.stack(e.h).astype(np.float64),
                np.stack(e.c).astype(np.float64),
            ),
            source=of_edge[0],
            symbol=of_edge[1],
            target=of_edge[2],
            letter=e.symbols[of_edge[1]],
            keep=keep,
            step=(of_counter[1].astype(np.int64) + np.where(keep, before, 0) - after_it) // modulus,
            from_least=(of_counter[2].astype(np.float64) - before) / modulus,
            from_greatest=(of_counter[3].astype(np.float64) - before) / modulus,
            gates=np.stack(gates),
        )

    def _not_seen(self, state: int, folded: Folded) -> str:
        machine = self.exploration.shadow.machine
        name = (*machine.states, "fail")[state]
        counters = ", ".join(f"{shown(counter)} = {n}" for counter, n in zip(machine.counters, folded, strict=True))
        return (
            f"the proof cannot exclude that the machine comes to state {shown(name)} with {counters}, where no run came"
        )
