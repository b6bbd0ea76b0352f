"""The inductive proof that a network stays beside a machine: boxes around its states in each situation.

In each situation a cell is W n + d, n the counters and W fixed; d lies in an interval, and so does h. From boxes that
are to hold for N symbols follow intervals of all gates (:mod:`tallycell.machine.proving.edge_steps`). With these, a
step moves each bound of d by a function that rises with it, and by no more than it. So growth over some steps, measured
once, bounds the growth over all later ones, and the bounds after N steps follow from a few dozen. The proof is done
when the boxes hold what comes out, and every decision is certain in them; until then they are enlarged.

What moves d, and the growth over some steps, are convex functions of the largest counter, which is at most in
proportion to the time: both are computed at both ends, and between them the chord is above.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from tallycell.machine.proving.edge_loops import MARGIN, SNAPPED, EdgeMoves, run_bounds
from tallycell.machine.proving.edge_steps import Boxes, EdgeSteps, Gates
from tallycell.machine.proving.intervals import (
    UNIT,
    Interval,
    add_down,
    add_up,
    gamma,
    multiply_up,
    point,
    product_with,
)

FIRST, TURN = 48, 48  # steps taken before growth is measured, and over which it is
ROUNDS = 60  # enlargements of the boxes
BEYOND = 0.1  # how much further than found a box is enlarged, so that it soon holds
LARGE = 1e100


@dataclass(frozen=True, eq=False)
class Growth:
    """How boxes grow.

    Attributes
    ----------
    gates
        The gates on the edges.
    slow, fast
        What edges do to d while counters are small, and when they are as large as they can be.
    """

    gates: Gates
    slow: EdgeMoves
    fast: EdgeMoves


@dataclass(frozen=True, eq=False)
class Outcome:
    """How an attempt to prove agreement for some symbols ended.

    Attributes
    ----------
    proved
        Whether it holds.
    boxes, growth
        The last boxes, and how they grow.
    node, output
        Where a decision is not certain, -1 if that is not why.
    """

    proved: bool
    boxes: Boxes
    growth: Growth | None
    node: int = -1
    output: int = -1


class Prover:
    """Tries to prove for a coupling and weights that decisions agree for so many symbols.

    Parameters
    ----------
    steps
        The steps of the network along the coupling.
    outputs
        For each output of the network its index among the machine's.
    """

    def __init__(self, steps: EdgeSteps, outputs: Int[np.ndarray, " output"]) -> None:
        self.steps, self.coupling = steps, steps.coupling
        shadow = self.coupling.shadow
        self.says = shadow.says[self.coupling.state, self.coupling.view][:, outputs]
        self.soonest = self._soonest()
        self.steps_a_symbol = shadow.largest_steps.astype(np.float64)
        self.order = np.argsort(self.coupling.target, kind="stable")
        self.targets, self.first = np.unique(self.coupling.target[self.order], return_index=True)
        self.start = self._start()

    def _start(self) -> Boxes:
        """Smallest boxes around the states that were seen: the start, and more."""
        seen = self.coupling.reached
        held = point(np.zeros(seen.c.shape))
        for k in range(seen.counters.shape[1]):
            numbers = point(seen.counters[:, k, np.newaxis].astype(np.float64))
            held = held + point(self.steps.weights[seen.node, :, k]) * numbers
        held = held + point(self.steps.weights[seen.node, :, -1])
        nodes = len(self.coupling.state)
        return Boxes(_hull(point(seen.c) - held, seen.node, nodes), _hull(point(seen.h), seen.node, nodes))

    def _soonest(self) -> Float[np.ndarray, " node"]:
        """Fewest symbols, at least 1, after which each situation can be reached: nothing is decided before a symbol."""
        e, nodes = self.coupling, len(self.coupling.state)
        soonest = np.full(nodes, np.inf)
        reached = np.zeros(nodes, np.bool_)
        reached[e.reached.node[0]] = True
        for symbols in range(1, nodes + 1):
            following = np.zeros(nodes, np.bool_)
            following[e.target[reached[e.source]]] = True
            new = following & np.isinf(soonest)
            if not new.any():
                break
            soonest[new] = symbols
            reached = new
        return soonest

    def prove(self, symbols: int, begin: Boxes | None = None, *, still: int | None = None) -> Outcome:
        """Enlarge boxes until they hold for so many symbols, or a decision is no longer certain.

        ``still`` names a cell whose boxes are not to grow: what would hold if it did not drift.
        """
        boxes, growth = begin or self.start, None
        for _ in range(ROUNDS):
            if not all(np.abs(bound).max(initial=0) < LARGE for bound in boxes.d):
                break
            node, output = self._uncertain(boxes, symbols)
            if node >= 0:
                return Outcome(False, boxes, growth, node, output)
            found, growth = self.follow(boxes, symbols)
            if still is not None:
                for bound, old in zip(found.d, boxes.d, strict=True):
                    bound[:, still] = old[:, still]
            if boxes.d.holds(found.d) and boxes.h.holds(found.h):
                return Outcome(True, boxes, growth)
            boxes = Boxes(_enlarged(boxes.d, found.d), _enlarged(boxes.h, found.h))
        return Outcome(False, boxes, growth)

    def follow(self, boxes: Boxes, symbols: int) -> tuple[Boxes, Growth]:
        """Give boxes of all states up to so many symbols, if gates are always those of ``boxes``; how they grow."""
        gates, h, fast = self.steps.run(boxes, self._farthest(symbols))
        slow = self.steps.moves_nearer(gates, boxes, self._farthest(0), fast)
        first = min(symbols, FIRST)
        reference = self.after(self.start.d, gates.f, _between(slow, fast, first / symbols), first)
        d = reference
        if symbols > FIRST:
            turn = self._turn(reference, gates.f, slow), self._turn(reference, gates.f, fast)
            down, up = (_grown(one, other, symbols) for one, other in zip(*turn, strict=True))
            d = Interval(add_down(reference.lo, -down), add_up(reference.hi, up))
        h = _hull(h, self.coupling.target, len(self.coupling.state)).hull(self.start.h)
        return Boxes(d, h), Growth(gates, slow, fast)

    def _farthest(self, symbols: int) -> Float[np.ndarray, " counter"]:
        """Largest q: n goes no farther than its largest step times the time, and q no farther than n / modulus + 1."""
        time = float(symbols)
        n = multiply_up(self.steps_a_symbol, np.asarray(time if time >= symbols else np.nextafter(time, np.inf)))
        modulus = self.coupling.modulus
        return np.where(modulus == 1, n, np.nextafter(np.nextafter(n / modulus, np.inf) + 1, np.inf))

    @property
    def speed(self) -> Float[np.ndarray, " counter"]:
        """How far q goes in a symbol, at most and over many."""
        speed: np.ndarray = self.steps_a_symbol / self.coupling.modulus
        return speed

    def _turn(self, reference: Interval, f: Interval, moves: EdgeMoves) -> tuple[Float[np.ndarray, "node cell"], ...]:
        """How far the lower and the upper bounds move in a turn, from the reference on."""
        after = self.after(reference, f, moves, TURN)
        grown = (add_up(reference.lo, -after.lo), add_up(after.hi, -reference.hi))
        return tuple(self._spread(of_bound, f, moves) for of_bound in grown)

    def _spread(
        self, grown: Float[np.ndarray, "node cell"], f: Interval, moves: EdgeMoves
    ) -> Float[np.ndarray, "node cell"]:
        """Growth of a turn that all later turns keep to: what a cell brings along an edge, it brings each turn.

        If bounds X grow to at most X + a in a turn, and f a(source) <= a(target) on each edge, then X + m a grows to at
        most X + (m + 1) a.
        """
        # Kept is taken for kept wholly: no loop multiplies by almost 1, and the end is reached soon.
        carried = np.where(moves.kind == SNAPPED, 0.0, np.where(f.hi > 0.5, 1.0, f.hi))
        while True:
            brought = multiply_up(carried, grown[self.coupling.source])[self.order]
            spread = grown.copy()
            spread[self.targets] = np.maximum(spread[self.targets], np.maximum.reduceat(brought, self.first))
            if not (spread > grown).any():
                return grown
            grown = spread

    def after(self, d: Interval, f: Interval, moves: EdgeMoves, steps: int) -> Interval:
        """Bounds of d over so many steps, the ones begun with included."""
        after = Interval(d.lo.copy(), d.hi.copy())
        run_bounds((self.coupling.source, self.coupling.target, *f), moves, *after, steps)
        return after

    # ---- decisions ---------------------------------------------------------------------------------------------------

    def _uncertain(self, boxes: Boxes, symbols: int) -> tuple[int, int]:
        """Situation, reached in so many symbols, and output of a decision that is not certain; -1, -1 without one."""
        wrong = ~self._certain(boxes) & (self.soonest <= symbols)[:, np.newaxis]
        if not wrong.any():
            return -1, -1
        node, output = np.argwhere(wrong)[0].tolist()
        return int(node), int(output)

    def _certain(self, boxes: Boxes) -> Bool[np.ndarray, "node output"]:
        net, arithmetic = self.steps.net, self.steps.arithmetic
        weight, bias = (array.astype(np.float64) for array in (net.readout_weight, net.readout_bias))
        last = net.parameters.output_size
        h = Interval(boxes.h.lo[:, -last:], boxes.h.hi[:, -last:])
        # One more than the products, the sums and the bias: the differences of weights below are rounded too.
        terms = weight.shape[1] + 3
        absolute = h.size @ np.abs(weight.T) + np.abs(bias)
        rounding = gamma(terms, arithmetic.unit) * absolute * MARGIN + terms * arithmetic.smallest * (absolute > 0)
        if net.decision == "threshold":
            logits = product_with(weight, h, point(bias[np.newaxis])).widened(rounding)
            certain: np.ndarray = np.where(self.says, logits.lo > 0, logits.hi <= 0)
            return certain
        said = self.says.argmax(-1)
        certain = np.ones(self.says.shape, bool)
        for other in range(len(net.outputs)):
            rows = np.flatnonzero(said != other)
            for mine in np.unique(said[rows]).tolist():
                these = rows[said[rows] == mine]
                rest = (weight[mine] - weight[other])[np.newaxis], (bias[mine] - bias[other])[np.newaxis, np.newaxis]
                ahead = product_with(rest[0], h.of(these), point(rest[1]))
                slack = rounding[these, mine] + rounding[these, other]
                certain[these, other] = add_down(ahead.lo[:, 0], -slack) > 0
        return certain


def _between(slow: EdgeMoves, fast: EdgeMoves, share: float) -> EdgeMoves:
    """Give moves for counters up to this share of the largest: no farther out than the chord."""
    share = min(share * MARGIN, 1.0)

    def chord(near: np.ndarray, far: np.ndarray, outward: int) -> np.ndarray:
        slack = (np.abs(near) + np.abs(far)) * 4 * UNIT
        return np.where(near == far, far, near + share * (far - near) + outward * slack)

    low, high = chord(slow.moved_low, fast.moved_low, -1), chord(slow.moved_high, fast.moved_high, 1)
    return fast._replace(moved_low=low, moved_high=high)


def _grown(slow: np.ndarray, fast: np.ndarray, symbols: int) -> Float[np.ndarray, "node cell"]:
    """Growth over all turns, which goes from that of a slow turn to that of a fast one, convexly."""
    turns = -(-(symbols - FIRST) // TURN)
    # Turn q ends at FIRST + q TURN symbols: the share of the way from slow to fast, summed over all turns.
    share = min(float(turns), (turns * FIRST + TURN * turns * (turns + 1) / 2) / symbols)
    grown: np.ndarray = (turns * slow + share * np.maximum(fast - slow, 0.0)) * MARGIN
    return grown


def _hull(values: Interval, node: np.ndarray, nodes: int) -> Interval:
    """Smallest box of each node around the values that belong to it; empty (infinite the wrong way) without any."""
    low, high = np.full((nodes, values.lo.shape[1]), np.inf), np.full((nodes, values.lo.shape[1]), -np.inf)
    np.minimum.at(low, node, values.lo)
    np.maximum.at(high, node, values.hi)
    return Interval(low, high)


def _enlarged(old: Interval, new: Interval) -> Interval:
    low, high = np.minimum(old.lo, new.lo), np.maximum(old.hi, new.hi)
    return Interval(low - BEYOND * (old.lo - low), high + BEYOND * (high - old.hi))
