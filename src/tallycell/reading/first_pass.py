"""The first pass as a whole: levels, then pairs of conditions for events that no single stimulus is sure to bring."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from tallycell.kernels.cpu.threads import number_of_threads
from tallycell.reading.arrays import store_texts
from tallycell.reading.behaviour import counts_of, size_of_step
from tallycell.reading.cells import Cells
from tallycell.reading.judging import Judged, find_single, judge_units
from tallycell.reading.known import Known
from tallycell.reading.levels import Levels, fit_known
from tallycell.reading.pairs import PairSearch
from tallycell.reading.quantise import middle
from tallycell.reading.sentences import SURE
from tallycell.reading.sums import UnitSums, gather, steps_by_direction, sum_side_by_side
from tallycell.reading.triggers import Trigger

Found = tuple[int, str, Trigger]


def fit_with_pairs(
    known: Known,
    *,
    symbols: Sequence[str] | None = None,
    tested: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Levels, tuple[UnitSums, tuple[Judged, ...]] | None]:
    """Fit levels and find pairs; where the bounded part is all there is, give its sums and what they say too."""
    levels, samples = fit_known(known, symbols=symbols, tested=tested, progress=progress)
    first = samples[0]  # all of them look at the same steps
    steps = {
        direction: one.take(first.steps, first.cells.start, first.middle)
        for direction, one in steps_by_direction(known, levels, first.middle).items()
    }
    complete = len(first.steps) == int(known.lengths.sum())
    if not complete:  # what cells follow is said by the sums over all steps, and no pair depends on it
        steps = {name: replace(one, quantities=one.quantities[:, :0]) for name, one in steps.items()}
    parts = [sum_side_by_side(sample.cells, levels, steps[sample.cells.direction])[0] for sample in samples]
    sums = gather(parts, levels, steps[levels.directions[0]])
    judged = judge_units(levels, sums)
    half = first.middle if first.middle < first.cells.steps else first.cells.steps // 2
    found: list[Found] = []
    done = 0
    with ThreadPoolExecutor(number_of_threads()) as pool:
        for sample in samples:
            stimuli = steps[sample.cells.direction].stimuli
            if stimuli is not None:
                search = PairSearch.over(stimuli, half)
                jobs = [(done + unit, unit) for unit in range(len(sample.cells.units))]
                look = partial(_pairs_of_unit, levels, sums, judged, sample.cells, search)
                found += [one for some in pool.map(lambda job, look=look: look(*job), jobs) for one in some]
            done += len(sample.cells.units)
    figures = [(one.share, one.chance, one.count, one.mean) for _, _, one in found]
    with_pairs = replace(
        levels, pair_unit=np.array([unit for unit, _, _ in found], dtype=np.int64),
        pair_event=np.array([event for _, event, _ in found], dtype="U9"),
        pair_stimulus=store_texts([one.stimulus for _, _, one in found]), pair_figures=np.array(figures).reshape(-1, 4),
    )  # fmt: skip
    return with_pairs, (sums, judged) if complete else None


def _pairs_of_unit(
    levels: Levels, sums: UnitSums, judged: Sequence[Judged], cells: Cells, search: PairSearch, place: int, unit: int
) -> list[Found]:  # fmt: skip
    """Search pairs for the events of one unit, by its place in the sums and in the cells."""
    one = judged[place]
    if one.role == "constant":
        return []
    found = []
    for event, triggers in find_single(levels, sums, place, one).items():
        if event in ("set", "clear") or any(trigger.share >= SURE for trigger in triggers):
            continue
        pair = search.find(*_event_at(event, cells, unit, one, counts_of(sums, place)))
        if pair is not None:
            found.append((place, event, pair))
    return found


def _event_at(
    event: str, cells: Cells, unit: int, judged: Judged, count: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Whether an event happens at each step, and what it moves there."""
    if event in ("increment", "decrement"):
        write, up = cells.of_unit(cells.write, unit), event == "increment"
        size = size_of_step(judged.tally, count, judged.rung, up=up)
        happens = write > size / 2 if up else write < -size / 2
        return (happens if size else np.zeros(len(write), dtype=bool)), write
    half = middle(cells.activations.gate)
    if event == "reset":
        f = cells.of_unit(cells.f, unit)
        return f < half, f
    assert cells.o is not None  # it is shown or hidden
    o = cells.of_unit(cells.o, unit)
    return (o > half if event == "show" else ~(o > half)), o
