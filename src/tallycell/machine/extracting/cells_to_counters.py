"""From a walk over the situations of a network to a counter machine.

A state of the machine says what each view of the counters stands for: it is a map from views to blocks of situations
that behave alike. Maps that contradict each other nowhere are one state.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import prod

import numpy as np

from tallycell.errors import InputError
from tallycell.machine.comparing.advancing import minimise_late
from tallycell.machine.comparing.minimise import minimise
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.bisimulation import Counted, choose_counters, count_cells, names_of_rows
from tallycell.machine.extracting.folding import fold, fold_counting
from tallycell.machine.extracting.recording import Recorded
from tallycell.machine.extracting.recounting import recounted_walks
from tallycell.machine.extracting.walk import Walk, coarsened
from tallycell.machine.table import Table
from tallycell.recogniser import Recogniser

View = tuple[int, ...]  # levels of the counted cells
Meaning = dict[View, int]  # the block that each view stands for
Edge = tuple[int, int]  # from a block, on a symbol
MOST_COUNTERS = 8
MOST_ENTRIES = 1_000_000  # of a table
MOST_JOINED = 500  # states of which it is tried whether they can be one
FEWEST_LEVELS = 4  # of a cell that may count what states hold
MOST_MINIMISED = 20_000  # entries of a table: a larger one takes minutes, and nobody reads it


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A machine, and where it comes from.

    Attributes
    ----------
    machine
        The machine.
    cells
        For each counter the cell it counts, all layers' end to end; None for one that no cell is.
    undetermined
        Number of steps whose outcome the counters do not tell; the outcome seen most often was taken.
    folded
        Whether what was not seen was filled as the smallest machine has it.
    """

    machine: CounterMachine
    cells: tuple[int | None, ...]
    undetermined: int
    folded: bool


def tabulate(walk: Walk, net: Recogniser) -> Tabulated:
    """Make the machine of a walk: choose the counters, join what behaves alike, fill the table.

    Parameters
    ----------
    walk
        The situations.
    net
        The network they are of, for its alphabet, outputs and decision.

    Raises
    ------
    InputError
        If even without counters the table is too large.
    """
    walk = coarsened(walk)
    folded = fold(walk) if walk.seen else None
    for counted in chain([] if folded is None else [folded], choose_counters(walk, MOST_COUNTERS)):
        tabulated = _tabulate(walk, net, counted, folded=counted is folded)
        if tabulated is not None:
            return tabulated
    raise InputError(
        f"the network comes to {len(walk.level):,} situations that behave differently, too many for one table; give "
        "inputs, an automaton or a sample, that leave fewer"
    )


def _tabulate(walk: Walk, net: Recogniser, counted: Counted, *, folded: bool) -> Tabulated | None:
    """Make the machine in which these cells are counted; None if its table is too large."""
    blocks = _read_blocks(walk, counted, net)
    states = _join_meanings(blocks, join=bool(counted.cells))
    bounds = tuple(walk.bound[list(counted.cells)].tolist())
    views = prod(4 * bound - 1 for bound in bounds)
    if len(states) * len(net.alphabet) * views * max(len(bounds), 1) > MOST_ENTRIES:
        return None
    table = _fill(states, blocks, Table.empty(len(states), net, bounds))
    names = tuple(f"cell {cell}" for cell in counted.cells)
    machine = table.machine(tuple(walk.start[list(counted.cells)].tolist()), names)
    return Tabulated(machine, counted.cells, blocks.undetermined, folded)


def counting_one_more(walk: Walk, net: Recogniser, tabulated: Tabulated) -> Iterator[Tabulated]:
    """Make the machines in which one cell more is counted, though what follows is determined without it.

    A count that never comes back, such as that of words up to twelve, can be held by states alone, one for each
    number; counted, it is one comparison.
    """
    walk = coarsened(walk)
    moves = (walk.keep & (walk.step != 0)).any(axis=0)
    levels = np.array([len(np.unique(column)) for column in walk.level.T])
    often = [int(cell) for cell in np.argsort(-levels, kind="stable") if moves[cell] and levels[cell] >= FEWEST_LEVELS]
    for cell in [one for one in often if one not in tabulated.cells][:MOST_COUNTERS]:
        cells = (*(one for one in tabulated.cells if one is not None), cell)
        counted = fold_counting(walk, cells) if walk.seen else count_cells(walk, cells)
        one_more = None if counted is None else _tabulate(walk, net, counted, folded=walk.seen)
        if one_more is not None and not one_more.undetermined:
            yield one_more


def smaller(tabulated: Tabulated) -> Tabulated:
    """Drop, merge and join what the machine can do without; count at once what is counted one symbol late."""
    machine = tabulated.machine
    # Without counters, what the walk joined cannot be joined further.
    if not machine.counters or machine.next_state.size > MOST_MINIMISED:
        return tabulated
    cell_of = dict(zip(machine.counters, tabulated.cells, strict=True))
    machine = minimise_late(minimise(machine))
    return replace(tabulated, machine=machine, cells=tuple(cell_of[name] for name in machine.counters))


def recounted(recorded: Recorded, beside: np.ndarray, steps: Sequence[tuple[int, ...]]) -> Iterator[Tabulated]:
    """Make the machines that decide as a network did with counters of whole strings, where there are any.

    They are filled in from strings, as the smallest machine has it; ``beside`` and ``steps`` are as of
    :func:`~tallycell.machine.extracting.recounting.recounted_walks`.
    """
    for walk, cells in recounted_walks(recorded.strings, recorded.decided, beside, steps):
        counted = fold_counting(walk, cells)
        again = None if counted is None else _tabulate(walk, recorded.net, counted, folded=True)
        if again is not None and not again.undetermined:
            yield replace(again, cells=(None,) * len(cells))


@dataclass(frozen=True, eq=False)
class _Blocks:
    """What the situations of each block say, do, and lead to."""

    start: Meaning
    said: dict[int, tuple[bool, ...]]
    sinks: frozenset[int]
    fails: frozenset[int]  # the sinks that say what fail says
    move: dict[Edge, tuple[int, ...]]  # of each counted cell whether it is reset, then the steps
    leads_to: dict[Edge, Meaning]
    hint: dict[Edge, int]  # leads to the same hint: likely one state
    undetermined: int = 0
    symbols: int = field(default=0)

    def next_of(self, block: int, symbol: int) -> Meaning | None:
        """Tell what the views stand for after a symbol; None if it fails."""
        meaning = self.leads_to.get((block, symbol))
        return None if meaning is None or self.fails.issuperset(meaning.values()) else meaning


def _read_blocks(walk: Walk, counted: Counted, net: Recogniser) -> _Blocks:
    cells = list(counted.cells)
    view: list[View] = [tuple(row) for row in walk.level[:, cells].tolist()]
    block: list[int] = counted.block.tolist()
    said = dict(zip(block, map(tuple, walk.decided.tolist()), strict=True))
    sinks = frozenset(one for one, sink in zip(block, counted.sink.tolist(), strict=True) if sink)
    in_fail = tuple(k == 0 and net.decision == "argmax" for k in range(len(net.outputs)))
    moves: dict[Edge, Counter[tuple[int, ...]]] = {}
    targets: dict[Edge, dict[View, Counter[int]]] = {}
    # To reset what is 0 is to keep it.
    reset = ~walk.keep[:, cells] & (walk.level[walk.source][:, cells] != 0)
    done = np.concatenate([reset, walk.step[:, cells]], axis=1)
    columns = [counted.block[walk.source], walk.symbol, counted.block[walk.target], counted.view[walk.target], *done.T]
    for row, votes in _distinct_rows(columns, walk.votes):
        edge, target = (block[walk.source[row]], int(walk.symbol[row])), int(walk.target[row])
        moves.setdefault(edge, Counter())[tuple(done[row].tolist())] += votes
        targets.setdefault(edge, {}).setdefault(view[target], Counter())[block[target]] += votes
    edges = zip(columns[0].tolist(), walk.symbol.tolist(), strict=True)
    hint = dict(zip(edges, walk.key[walk.target].tolist(), strict=True))
    leads_to = {
        edge: {one: found.most_common(1)[0][0] for one, found in of_edge.items()} for edge, of_edge in targets.items()
    }
    return _Blocks(
        start={view[0]: block[0]},
        said=said,
        sinks=sinks,
        fails=frozenset(one for one in sinks if said[one] == in_fail),
        move={edge: of_move.most_common(1)[0][0] for edge, of_move in moves.items()},
        leads_to=leads_to | _leads_on(sinks, targets, zip(block, view, strict=True)),
        hint=hint,
        undetermined=sum(len(found) > 1 for of_edge in targets.values() for found in of_edge.values()),
        symbols=len(net.alphabet),
    )


def _distinct_rows(columns: Sequence[np.ndarray], votes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Give the first of all equal rows, in their order, and the votes of all of them."""
    _, first, names = np.unique(names_of_rows(*columns), return_index=True, return_inverse=True)
    together = np.bincount(names.ravel(), weights=votes).astype(np.int64)
    for name in np.argsort(first):
        yield int(first[name]), int(together[name])


def _leads_on(
    sinks: frozenset[int], targets: dict[Edge, dict[View, Counter[int]]], stands: Iterable[tuple[int, View]]
) -> dict[Edge, Meaning]:
    """Tell what the views stand for after a step from a sink.

    In a sink the counters stand still, so they keep the view in which the sink, or one before it, was entered.
    """
    views: dict[int, set[View]] = {}
    for block, view in stands:
        views.setdefault(block, set()).add(view)
    following = {
        edge: sum(of_edge.values(), Counter[int]()).most_common(1)[0][0]
        for edge, of_edge in targets.items()
        if edge[0] in sinks
    }
    while late := [(a, b) for (a, _), b in following.items() if not views[a] <= views[b]]:
        for a, b in late:
            views[b] |= views[a]
    return {edge: dict.fromkeys(views[edge[0]], target) for edge, target in following.items()}


def _join_meanings(blocks: _Blocks, *, join: bool) -> list[Meaning]:
    """States: maps from views to blocks, joined where they contradict each other nowhere. The start is in the first.

    Which maps to join so that the fewest remain is the colouring of a graph; here the first that fits is taken, those
    of the same hint before others.
    """
    wanted: dict[frozenset[tuple[View, int]], int] = {frozenset(blocks.start.items()): -1}
    done: set[int] = set()
    agenda = list(blocks.start.values())
    for block in agenda:
        for symbol in range(blocks.symbols):
            meaning = blocks.next_of(block, symbol)
            if meaning is not None and block not in done:
                wanted.setdefault(frozenset(meaning.items()), blocks.hint[block, symbol])
                agenda.extend(set(meaning.values()) - done)
        done.add(block)
    if not join or len(wanted) > MOST_JOINED:
        return [dict(meaning) for meaning in wanted]
    states: list[tuple[Meaning, set[int]]] = []
    for meaning, hint in sorted(((dict(one), hint) for one, hint in wanted.items()), key=lambda one: -len(one[0])):
        fitting = [state for state in states if _agree(state[0], meaning)]
        best = next((state for state in fitting if hint in state[1]), fitting[0] if fitting else None)
        if best is None:
            states.append((meaning, {hint}))
        else:
            best[0].update(meaning)
            best[1].add(hint)
    return sorted((meaning for meaning, _ in states), key=lambda one: not _contains(one, blocks.start))


def _agree(state: Meaning, meaning: Meaning) -> bool:
    return all(state.get(view, block) == block for view, block in meaning.items())


def _contains(state: Meaning, meaning: Meaning) -> bool:
    return all(state.get(view) == block for view, block in meaning.items())


def _fill(states: list[Meaning], blocks: _Blocks, table: Table) -> Table:
    """Write what each state does in each view that it knows."""
    found: dict[Edge, int] = {}
    holding: dict[tuple[View, int], list[int]] = {}
    for state, meaning in enumerate(states):
        for each in meaning.items():
            holding.setdefault(each, []).append(state)
    for state, meaning in enumerate(states):
        for view, block in meaning.items():
            at = table.place(view)
            table.said[(state, *at)] = blocks.said[block]
            table.known[(state, *at)] = True
            for symbol in range(blocks.symbols):
                following = blocks.next_of(block, symbol)
                if following is None:
                    continue
                if (block, symbol) not in found:
                    candidates = holding[next(iter(following.items()))]
                    found[block, symbol] = next(k for k in candidates if _contains(states[k], following))
                move = blocks.move[block, symbol]
                table.next_state[(state, symbol, *at)] = found[block, symbol]
                if block not in blocks.sinks:
                    table.reset[(state, symbol, *at)] = move[: len(at)]
                    table.step[(state, symbol, *at)] = move[len(at) :]
    return table
