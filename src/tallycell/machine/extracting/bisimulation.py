"""Which situations of a walk behave alike, and which cells must be counted to tell what follows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from tallycell.machine.extracting.walk import Walk

MOST_TRIED = 500  # situations: with more, cells are not all tried
LARGEST_NAME = 2**62  # that a row has before its rank becomes its name


@dataclass(frozen=True, eq=False)
class Counted:
    """Situations joined where, with some cells counted, they behave alike.

    Attributes
    ----------
    cells
        The cells that are counted.
    view
        (situation,): which combination of their levels it has.
    block
        (situation,): situations in one block behave alike.
    sink
        (situation,): whether nothing that follows ever changes what is said.
    """

    cells: tuple[int, ...]
    view: Int[np.ndarray, " situation"]
    block: Int[np.ndarray, " situation"]
    sink: Bool[np.ndarray, " situation"]


def choose_counters(walk: Walk, most: int) -> Iterator[Counted]:
    """Count cells, one after the other, until what follows each step is determined, or ``most`` are counted.

    The best choice comes first, and then, for whom it is too much, the same with fewer and fewer cells.

    The next one is that which tells apart most of what the others leave open; of several that leave nothing open, that
    which does the fewest different things. A cell that nothing depends on is never chosen, and of two that move
    together only one.
    """
    sink = sinks_of(walk)
    counted = _count(walk, (), sink)
    while len(counted.cells) < most:
        telling = _telling(walk, counted)
        if not telling:
            break
        more = (_count(walk, (*counted.cells, cell), sink) for cell in telling)
        best = next(more)
        if len(walk.level) <= MOST_TRIED:
            best = min((best, *(one for one in more if not _telling(walk, one))), key=lambda one: _trouble(walk, one))
        counted = best
    yield counted
    for number in reversed(range(len(counted.cells))):
        yield _count(walk, counted.cells[:number], sink)


def count_cells(walk: Walk, cells: tuple[int, ...]) -> Counted:
    """Count these cells, whether or not that is needed to tell what follows."""
    return _count(walk, cells, sinks_of(walk))


def _telling(walk: Walk, counted: Counted) -> list[int]:
    """Cells that tell apart different outcomes of one step, those that tell most first; none if all is determined."""
    before, after = _undetermined(walk, counted)
    differ = (walk.level[before] != walk.level[after]).sum(axis=0)
    differ[list(counted.cells)] = 0
    return [cell for cell in np.argsort(-differ, kind="stable").tolist() if differ[cell]]


def _trouble(walk: Walk, counted: Counted) -> tuple[bool, int]:
    """Tell whether something is left open, and how many different things the last cell does."""
    return bool(_telling(walk, counted)), len(_moves_of(walk, counted.cells[-1]))


def _moves_of(walk: Walk, cell: int) -> Int[np.ndarray, "move 3"]:
    """Symbol, keep and step, each combination once."""
    keep = walk.keep[:, cell] | (walk.level[walk.source, cell] == 0)
    return np.unique(np.column_stack([walk.symbol, keep, walk.step[:, cell]]), axis=0)


def _undetermined(walk: Walk, counted: Counted) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of situations that one step leads to, which look alike and do not behave alike."""
    kind = names_of_rows(counted.block[walk.target], action_of(walk, counted))
    columns = (kind, counted.view[walk.target], walk.symbol, walk.source)
    order = np.lexsort(columns)
    ordered = [column[order] for column in columns]
    same = np.logical_and.reduce([column[1:] == column[:-1] for column in ordered[1:]])
    pairs = same & (ordered[0][1:] != ordered[0][:-1])
    target = walk.target[order]
    return target[:-1][pairs], target[1:][pairs]


def _count(walk: Walk, cells: tuple[int, ...], sink: np.ndarray) -> Counted:
    """Join situations that behave alike when these cells are counted (partition refinement)."""
    view = names_of_rows(*walk.level[:, list(cells)].T) if cells else np.zeros(len(walk.level), np.int64)
    # In a sink the counters do not matter.
    block = names_of_rows(*walk.decided.T, np.where(sink, -1, view))
    unrefined = Counted(cells, view, block, sink)
    action = action_of(walk, unrefined)
    return Counted(cells, view, _refine(walk, block, action), sink)


def action_of(walk: Walk, counted: Counted) -> Int[np.ndarray, " edge"]:
    """Give the number of what each edge does to the counted cells; to reset what is 0 is to keep it."""
    if not counted.cells:
        return np.zeros(len(walk.source), np.int64)
    cells = list(counted.cells)
    keep = walk.keep[:, cells] | (walk.level[walk.source][:, cells] == 0)
    names = names_of_rows(*keep.T, *walk.step[:, cells].T) + 1
    return np.where(counted.sink[walk.source], 0, names)


def sinks_of(walk: Walk) -> Bool[np.ndarray, " situation"]:
    """Situations from which all that can follow says the same."""
    said = names_of_rows(*walk.decided.T)
    sink = np.ones(len(said), bool)
    while True:
        leaves = ~sink[walk.target] | (said[walk.source] != said[walk.target])
        smaller = sink.copy()
        smaller[walk.source[leaves]] = False
        if (smaller == sink).all():
            return sink
        sink = smaller


def _refine(walk: Walk, block: np.ndarray, action: np.ndarray) -> Int[np.ndarray, " situation"]:
    """Coarsest partition, finer than the one given, whose blocks act alike and lead to the same blocks."""
    does = names_of_rows(walk.symbol, action)
    number = int(block.max()) + 1
    while True:
        edges = np.unique(np.stack([walk.source, names_of_rows(does, block[walk.target])]), axis=1)
        # Blocks are split by their first edge, in the order of labels, then by their second, and so on.
        rank = np.arange(edges.shape[1]) - np.searchsorted(edges[0], edges[0])
        for nth in range(int(rank.max(initial=-1)) + 1):
            label = np.full(len(block), -1)
            label[edges[0, rank == nth]] = edges[1, rank == nth]
            block = names_of_rows(block, label)
        found = int(block.max()) + 1
        if found == number:
            return block
        number = found


def names_of_rows(*columns: np.ndarray) -> Int[np.ndarray, " row"]:
    """Give each row a number, equal rows the same, in the order of the rows."""
    names, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        least, greatest = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        if size * (greatest - least + 1) > LARGEST_NAME:
            _, names = np.unique(names, return_inverse=True)
            size = len(names)
        names = names * (greatest - least + 1) + (column - least)
        size *= greatest - least + 1
    return np.unique(names, return_inverse=True)[1].ravel()
