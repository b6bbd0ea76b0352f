"""The ways in which the situations of a network are read, from the plainest to the most careful."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from tallycell.machine.comparing.reachability import TooManySituations
from tallycell.machine.extracting.allowed import AllowedInputs
from tallycell.machine.extracting.recording import Recorded, Units, count_in_units, measure_units
from tallycell.machine.extracting.refining import refine
from tallycell.machine.extracting.relations import Relations, seen_relations
from tallycell.machine.extracting.snapping import SnappedNetwork
from tallycell.machine.extracting.walk import MOST_SEEN, BrokenRelationError, Walk, walk_seen, walk_situations

MOST_WALKED = 10_000  # situations
MOST_TOLD_APART = 3  # sizes to which measured cells are told apart
MOST_AT_FIRST = 6  # sizes told apart in the first walk, where with fewer there are too many situations


@dataclass(frozen=True, eq=False)
class Reading:
    """Situations of a network read in one way.

    ``units`` are those its cells count in, None for ones; ``certain`` is whether no gate depends on sizes that are not
    told apart.
    """

    walk: Walk
    units: Units | None
    text: str
    certain: bool = False


def snapped_readings(snapped: SnappedNetwork, allowed: AllowedInputs, recorded: Recorded) -> Iterator[Reading]:
    """Read a network with its gates at their limits: by signs, then with sizes told apart if gates depend on them."""
    run = snapped.run_batch(recorded.strings.codes, recorded.strings.lengths)
    limits, signs = "all gates are set to their limits", np.ones(snapped.cells, np.int64)
    if allowed.sample is not None:
        yield Reading(
            walk_seen(run, signs), None, f"{limits}, and the situations are followed that {allowed.text} comes to"
        )
        return
    for size in range(1, MOST_AT_FIRST + 1):
        # Where too little is told apart, gates do what they never do in the network, and lead to ever more situations.
        first = snapped if size == 1 else replace(snapped, reach=size * signs)
        if size > 1 and not _decides_alike(first, recorded):
            continue
        readings = _refined_readings(first, allowed, recorded)
        try:
            yield next(readings)
        except TooManySituations:
            continue
        with suppress(TooManySituations):
            yield from readings
        return
    yield Reading(
        walk_seen(run, signs), None, f"{limits}, and the situations are followed that the strings below come to"
    )


def _decides_alike(snapped: SnappedNetwork, recorded: Recorded) -> bool:
    """Whether a snapped network decides as the network does, on all strings."""
    run = snapped.run_batch(recorded.strings.codes, recorded.strings.lengths)
    return bool((run.decided == recorded.decided)[1:][recorded.strings.taken].all())


def _refined_readings(snapped: SnappedNetwork, allowed: AllowedInputs, recorded: Recorded) -> Iterator[Reading]:
    """Walk all situations, then again with the sizes told apart on which gates may depend, until none does.

    The first walk is given, as the plainest, and the last.
    """
    told = False
    finer: SnappedNetwork | None = snapped
    while finer is not None:
        assert finer.reach is not None
        run = finer.run_batch(recorded.strings.codes, recorded.strings.lengths)
        walk = _walk(finer, allowed, seen_relations(run))
        size = int(finer.reach.max())
        text = (
            f"all gates are set to their limits, the size of a cell is told apart up to {size}, and for {allowed.text} "
            "every situation (the signs or sizes that the cells show) is followed that is not excluded"
        )
        finer = refine(finer, walk)
        if not told or finer is None:
            yield Reading(walk, None, text, certain=finer is None)
        told = True


def measured_readings(recorded: Recorded) -> Iterator[Reading]:
    """Read a network by what it was seen to do, its cells in their own units."""
    units = measure_units(recorded)
    run = count_in_units(recorded, units)
    for size in range(1, MOST_TOLD_APART + 1):
        text = (
            "gates and steps are taken as they were on the strings below, and the size of a cell is told apart up to "
            f"{size}"
        )
        yield Reading(walk_seen(run, np.full(run.keep.shape[-1], size)), units, text)


def whole_reading(recorded: Recorded) -> Reading | None:
    """Read a network by what it was seen to do, each cell in its own unit and told apart as far as it went.

    What is decided may turn on a large count, such as that of more than twelve words. None if there are too many
    situations to tell all of them apart.
    """
    units = measure_units(recorded)
    run = count_in_units(recorded, units)
    bound = np.abs(run.count).max(axis=(0, 1), initial=0) + 1
    steps = np.arange(len(run.count))[:, None] <= run.lengths
    distinct = np.unique(np.concatenate([run.count, run.expose], axis=-1)[steps], axis=0)
    if len(distinct) >= MOST_SEEN:
        return None
    text = "gates and steps are taken as they were on the strings below, and each size of a cell is told apart"
    return Reading(walk_seen(run, bound), units, text)


def _walk(snapped: SnappedNetwork, allowed: AllowedInputs, relations: Relations) -> Walk:
    """Walk, without the relations that a step does not keep."""
    while True:
        try:
            return walk_situations(snapped, allowed.automaton, relations, most=MOST_WALKED)
        except BrokenRelationError as broken:
            relations = relations.without(broken.which)
