"""The situations a snapped network can come to: all those that signs do not exclude, or those seen.

A situation of control says how large each cell is, as far as gates can tell, and whether it is exposed. From one of
them and a symbol the gates follow; where a large cell becomes a little smaller, there are several situations it may
lead to, and the counters decide.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.comparing.reachability import TooManySituations
from tallycell.machine.extracting.allowed import Automaton
from tallycell.machine.extracting.relations import Relations
from tallycell.machine.extracting.snapping import CountedRun, SnappedNetwork

MOST_SEEN = 1_000  # situations: with more, nobody could read the machine


@dataclass(frozen=True, eq=False)
class Walk:
    """Graph of the situations of control.

    Attributes
    ----------
    bound
        For each cell, the size from which on its sizes are not told apart.
    level
        (situation, cell): size, cut off at the bound, with its sign. Situation 0 is the start.
    expose
        (situation, cell): whether the cell is exposed; at the start nobody can say.
    key
        (situation,): a number that is the same for situations that differ only in levels.
    decided
        (situation, output): what the network says there.
    source, symbol, target
        (edge,): from where, on what, to where.
    votes
        (edge,): how often it was seen; 1 where it was derived.
    keep, step
        (edge, cell): what it does to the cells.
    start
        (cell,): counts of the cells at the start.
    seen
        Whether these are situations and edges that strings took; what none took is then open. Else they are all that
        there are.
    """

    bound: Int[np.ndarray, " cell"]
    level: Int[np.ndarray, "situation cell"]
    expose: Bool[np.ndarray, "situation cell"]
    key: Int[np.ndarray, " situation"]
    decided: Bool[np.ndarray, "situation output"]
    source: Int[np.ndarray, " edge"]
    symbol: Int[np.ndarray, " edge"]
    target: Int[np.ndarray, " edge"]
    votes: Int[np.ndarray, " edge"]
    keep: Bool[np.ndarray, "edge cell"]
    step: Int[np.ndarray, "edge cell"]
    start: Int[np.ndarray, " cell"]
    seen: bool = False


def bounds_of(snapped: SnappedNetwork) -> Int[np.ndarray, " cell"]:
    """How far each cell's size must be known.

    The next step reads what is exposed of it. A layer above reads it within the same step, after the cell has moved:
    there one more must be known.
    """
    assert snapped.reach is not None
    above = np.arange(snapped.cells) < snapped.cells - snapped.units
    return snapped.reach + above


def walk_seen(run: CountedRun, bound: Int[np.ndarray, " cell"]) -> Walk:
    """Give the situations that strings came to, and the edges they took; of many situations those seen most."""
    states, batch, cells = run.count.shape
    time = np.arange(states)[:, None]
    seen = time <= run.lengths
    level = np.clip(run.count, -bound, bound)
    first = np.broadcast_to(time == 0, (states, batch))[..., None]
    rows = np.concatenate([level, run.expose, first], axis=-1)
    numbers = np.full((states, batch), -1)
    # The start sorts first: of the rows, reversed, it alone has a 1 in the column that comes first.
    found, where, inverse, times = np.unique(
        np.concatenate([1 - rows[seen][:, -1:], rows[seen][:, :-1]], axis=1),
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    kept = np.sort(np.append(0, 1 + np.argsort(-times[1:], kind="stable")[: MOST_SEEN - 1]))
    rank = np.full(len(found), -1)
    rank[kept] = np.arange(len(kept))
    found, where, numbers[seen] = found[kept], where[kept], rank[inverse.ravel()]
    took = (time < run.lengths)[:-1]
    edges = np.concatenate(
        [
            np.stack([numbers[:-1][took], run.codes[took], numbers[1:][took]], axis=1),
            run.keep[took],
            run.step[took],
        ],
        axis=1,
    )
    edges, votes = np.unique(edges[(edges[:, [0, 2]] >= 0).all(axis=1)], axis=0, return_counts=True)
    return Walk(
        bound,
        level=found[:, 1 : 1 + cells],
        expose=found[:, 1 + cells :].astype(bool),
        key=np.unique(np.delete(found, np.s_[1 : 1 + cells], axis=1), axis=0, return_inverse=True)[1].ravel(),
        decided=run.decided[seen][where],
        source=edges[:, 0],
        symbol=edges[:, 1],
        target=edges[:, 2],
        votes=votes,
        keep=edges[:, 3 : 3 + cells].astype(bool),
        step=edges[:, 3 + cells :],
        start=run.count[0, 0],
        seen=True,
    )


def coarsened(walk: Walk) -> Walk:
    """Tell sizes apart no further than what is said, what steps do and what they expose depends on them."""
    signs = _with_bound(walk, np.ones_like(walk.bound)) if (walk.bound > 1).any() else walk
    if signs is not None:
        return signs
    for cell in range(len(walk.bound)):
        while walk.bound[cell] > 1:
            bound = walk.bound.copy()
            bound[cell] -= 1
            coarser = _with_bound(walk, bound)
            if coarser is None:
                break
            walk = coarser
    return walk


def _with_bound(walk: Walk, bound: Int[np.ndarray, " cell"]) -> Walk | None:
    """Join situations that differ in larger sizes only; None if they do not do the same."""
    start = np.arange(len(walk.level)) > 0  # sorts first, and is joined with no other
    table = np.column_stack([start, walk.key, walk.expose, np.clip(walk.level, -bound, bound)])
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    number = number.ravel()
    source, target = number[walk.source], number[walk.target]
    edges, votes = _tally(np.column_stack([source, walk.symbol, target, walk.keep, walk.step]), walk.votes)
    joined = Walk(
        bound,
        level=np.clip(walk.level[first], -bound, bound),
        expose=walk.expose[first],
        key=walk.key[first],
        decided=walk.decided[first],
        source=edges[:, 0],
        symbol=edges[:, 1],
        target=edges[:, 2],
        votes=votes,
        keep=edges[:, 3 : 3 + len(bound)].astype(bool),
        step=edges[:, 3 + len(bound) :],
        start=walk.start,
        seen=walk.seen,
    )
    same_said = (walk.decided == joined.decided[number]).all()
    taken = np.column_stack([joined.source, joined.symbol])
    done = np.column_stack([taken, joined.keep, joined.step, joined.expose[joined.target]])
    determined = len(np.unique(taken, axis=0)) == len(np.unique(done, axis=0))
    return joined if same_said and determined else None


def _tally(rows: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row once, and the sum of its votes."""
    distinct, number = np.unique(rows, axis=0, return_inverse=True)
    return distinct, np.bincount(number.ravel(), weights=votes).astype(np.int64)


class BrokenRelationError(Exception):
    """Relations between cells that some situation does not keep; ``which`` says which."""

    def __init__(self, which: Bool[np.ndarray, " relation"]) -> None:
        super().__init__(which)
        self.which = which


@dataclass(frozen=True, eq=False)
class _Frontier:
    """Rows of situations: what is known of each beside its number."""

    level: Int[np.ndarray, "row cell"]
    expose: Bool[np.ndarray, "row cell"]
    allowed: Int[np.ndarray, " row"]  # state of the automaton of allowed inputs

    def take(self, rows: np.ndarray) -> "_Frontier":
        return _Frontier(self.level[rows], self.expose[rows], self.allowed[rows])

    def table(self) -> Int[np.ndarray, "row column"]:
        return np.concatenate([self.level, self.expose, self.allowed[:, None]], axis=1).astype(np.int16)


def walk_situations(snapped: SnappedNetwork, automaton: Automaton, relations: Relations, *, most: int) -> Walk:
    """Walk all situations that the signs of the cells do not exclude.

    Parameters
    ----------
    snapped
        The network.
    automaton
        Which inputs are allowed.
    relations
        What holds between cells, as far as was seen; checked on every step of the walk.
    most
        Number of situations, and of edges in one round of the walk divided by 10, at which to give up.

    Raises
    ------
    BrokenRelationError
        If a step does not keep one of the relations.
    TooManySituations
        If there are more than ``most``.
    """
    bound = bounds_of(snapped)
    start = snapped.initial_count()
    frontier = _Frontier(np.clip(start, -bound, bound)[None], np.zeros((1, snapped.cells), bool), np.zeros(1, np.int64))
    # Index 0 is the start, whose h is given and need not be what its cells expose; nothing leads back to it.
    known: dict[bytes, int] = {}
    tables, decided, edges = [frontier], [snapped.decide(snapped.initial_h()[-1:])], []
    numbers = np.zeros(1, np.int64)
    while len(numbers):
        rows, symbol = np.nonzero(automaton.next_state[frontier.allowed] >= 0)
        if len(rows) > 10 * most:
            raise TooManySituations
        before = frontier.take(rows)
        h = _initial_h(snapped, len(rows)) if not known else None
        taken = _take_step(snapped, before, symbol, h=h, bound=bound, relations=relations, most=most)
        after = _Frontier(taken.level, taken.expose, automaton.next_state[before.allowed[taken.row], symbol[taken.row]])
        distinct, first, inverse = np.unique(after.table(), axis=0, return_index=True, return_inverse=True)
        keys = [one.tobytes() for one in distinct]
        fresh = np.array([key not in known for key in keys], bool)
        target = np.array([known.setdefault(key, len(known) + 1) for key in keys], np.int64)
        if len(known) > most:
            raise TooManySituations
        edges.append((numbers[rows[taken.row]], symbol[taken.row], target[inverse.ravel()], taken.keep, taken.step))
        frontier, numbers = after.take(first[fresh]), target[fresh]
        tables.append(frontier)
        decided.append(_decide(snapped, frontier))
    table = np.concatenate([one.table() for one in tables])
    columns = [np.concatenate([one[k] for one in edges]) for k in range(5)]
    return Walk(
        bound,
        level=table[:, : snapped.cells].astype(np.int64),
        expose=table[:, snapped.cells : 2 * snapped.cells].astype(bool),
        key=np.unique(table[:, snapped.cells :], axis=0, return_inverse=True)[1].ravel(),
        decided=np.concatenate(decided),
        source=columns[0],
        symbol=columns[1],
        target=columns[2],
        votes=np.ones(len(columns[0]), np.int64),
        keep=columns[3],
        step=columns[4],
        start=start,
    )


@dataclass(frozen=True, eq=False)
class _Taken:
    """Steps taken: from which row each came, what it did, and where it led."""

    row: Int[np.ndarray, " taken"]
    level: Int[np.ndarray, "taken cell"]
    expose: Bool[np.ndarray, "taken cell"]
    keep: Bool[np.ndarray, "taken cell"]
    step: Int[np.ndarray, "taken cell"]


def _take_step(
    snapped: SnappedNetwork,
    before: _Frontier,
    symbol: np.ndarray,
    *,
    h: list[np.ndarray] | None,
    bound: np.ndarray,
    relations: Relations,
    most: int,
) -> _Taken:
    """One step of all rows, layer by layer; a row becomes several where a level is not determined."""
    row = np.arange(len(symbol))
    x = snapped.net.inputs.astype(float)[symbol]
    level, expose = before.level.copy(), before.expose.copy()
    keep, step = np.zeros_like(expose), np.zeros_like(level, dtype=np.int64)
    for layer in range(snapped.layers):
        here = snapped.cells_of(layer)
        old = before.level[row][:, here], before.expose[row][:, here]
        read = snapped.exposed(layer, *old) if h is None else h[layer][row]
        moves = snapped.moves(layer, x, read)
        low, high = _levels_after(old[0], moves.keep, moves.step, bound[here])
        split, new = _combinations(low, high)
        if len(split) > 10 * most:
            raise TooManySituations
        row, x, keep, step = row[split], x[split], keep[split], step[split]
        level, expose = level[split], expose[split]
        level[:, here], expose[:, here] = new, moves.expose[split]
        keep[:, here], step[:, here] = moves.keep[split], moves.step[split]
        x = snapped.exposed(layer, new, expose[:, here])
    broken = relations.broken_by(before.level[row], keep, step, bound)
    if broken.any():
        raise BrokenRelationError(broken)
    possible = relations.allow(level, bound)
    return _Taken(row[possible], level[possible], expose[possible], keep[possible], step[possible])


def _levels_after(
    level: np.ndarray, keep: np.ndarray, step: np.ndarray, bound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest level that cells may come to: a large one, when it shrinks, may still be large."""
    moved = np.clip(np.where(keep, level, 0) + step, -bound, bound)
    low = np.where(keep & (level == -bound), -bound, moved)
    high = np.where(keep & (level == bound), bound, moved)
    return low, high


def _combinations(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All rows between two, column by column, and which row each comes from."""
    row, level = np.arange(len(low)), low.copy()
    for cell in np.nonzero((low < high).any(axis=0))[0]:
        count = high[row, cell] - low[row, cell] + 1
        split = np.repeat(np.arange(len(row)), count)
        offset = np.arange(len(split)) - np.repeat(np.cumsum(count) - count, count)
        row, level = row[split], level[split]
        level[:, cell] += offset
    return row, level


def _initial_h(snapped: SnappedNetwork, rows: int) -> list[np.ndarray]:
    return [np.repeat(one[None], rows, axis=0) for one in snapped.initial_h()]


def _decide(snapped: SnappedNetwork, frontier: _Frontier) -> Bool[np.ndarray, "row output"]:
    top = snapped.cells_of(snapped.layers - 1)
    return snapped.decide(snapped.exposed(snapped.layers - 1, frontier.level[:, top], frontier.expose[:, top]))
