"""The smallest machine found that agrees with situations known in part.

Where situations were seen on strings, and not walked, steps that no string took are open: they may lead anywhere. Two
situations can be one unless what is known of both contradicts, now or after some symbols. Which to make one so that the
fewest remain is hard to find exactly; those are made one first that agree in the most. What is seen of the counted
cells, their levels, is told apart always.

Source: the merging of states by evidence, Lang, Pearlmutter and Price (1998), "Results of the Abbadingo One DFA
learning competition and a new evidence-driven state merging algorithm"; counters are added here.
"""

from dataclasses import replace
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Int

from tallycell.machine.extracting.bisimulation import Counted, action_of, names_of_rows, sinks_of
from tallycell.machine.extracting.walk import Walk

MOST_TRIED = 3_000  # combinations of cells
MOST_STEPS_TRIED = 4_000_000  # steps of a walk, by combinations: a large walk is of no machine, mostly
AT_ONCE = 500  # steps that are looked at before the next: most combinations contradict early
MOST_LEFT_OUT = 0.001  # of the steps seen
Key = tuple[int, int]  # a symbol, and the view that is seen after it
Added = tuple[dict[Any, int], Any]  # what was written where nothing was


def fold(walk: Walk) -> Counted | None:
    """Join situations that need not be told apart, with as few cells counted as that takes.

    Parameters
    ----------
    walk
        Situations that were seen.

    Returns
    -------
    Counted
        None if the same steps lead to situations that contradict, whichever of the smallest sets of cells is counted
        (up to ``MOST_TRIED``, of large walks fewer). Of steps that contradict, those seen less often are left out, if
        they are rare.
    """
    moving = np.flatnonzero((walk.level != walk.level[0]).any(axis=0)).tolist()
    most, tried = min(MOST_TRIED, MOST_STEPS_TRIED // max(len(walk.source), 1)), 0
    for number in range(len(moving) + 1):
        tried += comb(len(moving), number)
        if number and tried > most:
            break
        possible = [one for cells in combinations(moving, number) if (one := _Fold(walk, cells)).possible]
        if possible:
            order = _by_distance(walk).tolist()
            for one in possible:
                one.join_all(order)
            return min(possible, key=lambda one: (one.size, one.left_out)).counted()
    return None


def fold_counting(walk: Walk, cells: tuple[int, ...]) -> Counted | None:
    """Join situations that need not be told apart when these cells are counted; None if steps contradict."""
    one = _Fold(walk, cells)
    if not one.possible:
        return None
    one.join_all(_by_distance(walk).tolist())
    return one.counted()


def _by_distance(walk: Walk) -> Int[np.ndarray, " situation"]:
    """Situations in the order in which they are reached from the start."""
    distance = np.full(len(walk.level), len(walk.level))
    distance[0] = 0
    while True:
        nearer = distance.copy()
        np.minimum.at(nearer, walk.target, distance[walk.source] + 1)
        if (nearer == distance).all():
            return np.argsort(distance, kind="stable")
        distance = nearer


class _Fold:
    """A partition of situations, with some cells counted, that grows coarser."""

    def __init__(self, walk: Walk, cells: tuple[int, ...]) -> None:
        self.walk, self.cells = walk, cells
        self.view = names_of_rows(*walk.level[:, list(cells)].T) if cells else np.zeros(len(walk.level), np.int64)
        self.joined_to: dict[int, int] = {}
        self.shows: list[int] = names_of_rows(*walk.decided.T, self.view).tolist()
        self.leads_to: list[dict[Key, int]] = [{} for _ in self.shows]
        self.does: list[dict[int, int]] = [{} for _ in self.shows]  # to the counted cells, on each symbol
        self.left_out = 0
        self.possible = self._learn()

    @property
    def size(self) -> int:
        """Number of blocks."""
        return len(self.shows) - len(self.joined_to)

    def counted(self) -> Counted:
        """Give the partition."""
        walk, block = self.walk, np.unique([self._of(one) for one in range(len(self.shows))], return_inverse=True)[1]
        first = np.unique(block, return_index=True)[1]
        joined = replace(walk, source=block[walk.source], target=block[walk.target], decided=walk.decided[first])
        return Counted(self.cells, self.view, block, sinks_of(joined)[block])

    def join_all(self, order: list[int]) -> None:
        """Join each block, in this order, with that among those before it with which it agrees in the most, if any."""
        kept: list[int] = []
        for one in order:
            block = self._of(one)
            if block in kept:
                continue
            evidence = [self._agreement(other, block) for other in kept]
            if max(evidence, default=0):
                self._join(kept[evidence.index(max(evidence))], block, [])
            else:
                kept.append(block)
            kept = list(dict.fromkeys(self._of(other) for other in kept))

    def _of(self, one: int) -> int:
        """Give the block of a situation."""
        while one in self.joined_to:
            one = self.joined_to[one]
        return one

    def _learn(self) -> bool:
        """Join what the same step leads to, steps seen often first; tell whether few enough had to be left out."""
        walk = self.walk
        unjoined = Counted(self.cells, self.view, np.arange(len(self.view)), np.zeros(len(self.view), bool))
        columns = (walk.source, walk.symbol, self.view[walk.target], walk.target, action_of(walk, unjoined), walk.votes)
        rows = np.column_stack(columns)[np.argsort(-walk.votes, kind="stable")]
        parts = (rows[begin : begin + AT_ONCE].tolist() for begin in range(0, len(rows), AT_ONCE))
        most = MOST_LEFT_OUT * walk.votes.sum()
        for source, symbol, view, target, action, votes in chain.from_iterable(parts):
            if not self._learn_step(self._of(source), (symbol, view), target, action):
                self.left_out += votes
                if self.left_out > most:
                    return False
        return True

    def _learn_step(self, block: int, key: Key, target: int, action: int) -> bool:
        if self.does[block].setdefault(key[0], action) != action:
            return False
        if key not in self.leads_to[block]:
            self.leads_to[block][key] = target
            return True
        undo: list[Added] = []
        possible = self._join(self.leads_to[block][key], target, undo) is not None
        if not possible:
            self._take_back(undo)
        return possible

    def _agreement(self, one: int, other: int) -> int:
        """Give how many pairs agree if two blocks are joined, 0 if some pair contradicts; join nothing."""
        undo: list[Added] = []
        agreed = self._join(one, other, undo)
        self._take_back(undo)
        return agreed or 0

    def _join(self, one: int, other: int, undo: list[Added]) -> int | None:
        """Make two blocks one, and what they lead to; give how many pairs agreed, None if some pair contradicts."""
        agenda, agreed = [(one, other)], 0
        while agenda:
            a, b = (self._of(block) for block in agenda.pop())
            if a == b:
                continue
            if self.shows[a] != self.shows[b]:
                return None
            if any(self.does[a].get(symbol, action) != action for symbol, action in self.does[b].items()):
                return None
            agreed += 1
            agenda += [
                (self.leads_to[a][key], target) for key, target in self.leads_to[b].items() if key in self.leads_to[a]
            ]
            undo += [*_added(self.does[a], self.does[b]), *_added(self.leads_to[a], self.leads_to[b])]
            self.joined_to[b] = a
            undo.append((self.joined_to, b))
        return agreed

    @staticmethod
    def _take_back(undo: list[Added]) -> None:
        for where, key in undo:
            del where[key]


def _added(ours: dict[Any, int], theirs: dict[Any, int]) -> list[Added]:
    """Write into one mapping what the other has more; tell what that was."""
    new = theirs.keys() - ours.keys()
    ours.update((key, theirs[key]) for key in new)
    return [(ours, key) for key in new]
