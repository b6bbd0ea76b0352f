"""The first pass as a whole: levels, then pairs of conditions for events that no single stimulus is sure to bring."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from tallycell.reading.arrays import store_texts
from tallycell.reading.behaviour import counts_of, size_of_step
from tallycell.reading.cells import Cells
from tallycell.reading.judging import Judged, find_single, judge_unit
from tallycell.reading.known import Known
from tallycell.reading.levels import Levels, fit_known
from tallycell.reading.pairs import PairSearch
from tallycell.reading.quantise import middle
from tallycell.reading.sentences import SURE
from tallycell.reading.sums import UnitSums, gather, steps_of, sum_side_by_side
from tallycell.reading.triggers import Trigger

Found = tuple[int, str, Trigger]


def fit_with_pairs(
    known: Known,
    *,
    symbols: Sequence[str] | None = None,
    tested: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Levels, UnitSums | None]:
    """Fit levels and find pairs; and give the sums over all steps where the bounded part is all there is."""
    levels, samples = fit_known(known, symbols=symbols, tested=tested, progress=progress)
    parts: list[dict[str, np.ndarray]] = []
    looked: list[PairSearch | None] = []
    for sample in samples:
        cells = sample.cells
        steps = steps_of(known, levels, cells.direction, sample.middle).take(sample.steps, sample.middle)
        parts += [part for part, _ in sum_side_by_side(cells, levels, steps)]
        half = sample.middle if sample.middle < cells.steps else cells.steps // 2
        looked.append(None if steps.stimuli is None else PairSearch.over(steps.stimuli, half))
    sums = gather(parts, known, levels, samples[0].middle)
    complete = len(samples[0].steps) == int(known.lengths.sum())
    found: list[Found] = []
    first = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for sample, search in zip(samples, looked, strict=True):
            places = range(first, first + len(sample.cells.units))
            first += len(sample.cells.units)
            if search is not None:
                jobs = [(levels, sums, place, sample.cells, place - places.start, search) for place in places]
                found += [one for some in pool.map(lambda job: _pairs_of_unit(*job), jobs) for one in some]
    figures = [(one.share, one.chance, one.count, one.mean) for _, _, one in found]
    with_pairs = replace(
        levels, pair_unit=np.array([unit for unit, _, _ in found], dtype=np.int64),
        pair_event=np.array([event for _, event, _ in found], dtype="U9"),
        pair_stimulus=store_texts([one.stimulus for _, _, one in found]), pair_figures=np.array(figures).reshape(-1, 4),
    )  # fmt: skip
    return with_pairs, sums if complete else None


def _pairs_of_unit(
    levels: Levels, sums: UnitSums, place: int, cells: Cells, unit: int, search: PairSearch
) -> list[Found]:  # fmt: skip
    """Search pairs for the events of one unit."""
    judged = judge_unit(levels, sums, place)
    single = find_single(levels, sums, place, judged)
    wanted = [
        event for event, triggers in single.items()
        if event not in ("set", "clear") and not any(one.share >= SURE for one in triggers)
    ]  # fmt: skip
    if judged.role == "constant" or not wanted:
        return []
    events = _events_at(cells, unit, judged, search.steps, counts_of(sums, place))
    found = [(event, search.find(*events[event])) for event in wanted]
    return [(place, event, pair) for event, pair in found if pair is not None]


def _events_at(
    cells: Cells, unit: int, judged: Judged, steps: np.ndarray, count: dict[str, int]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Whether each event happens at some steps, and what it moves there."""
    group, lane = divmod(unit, cells.c.shape[-1])
    i, f, g = (values[group, steps, lane].astype(np.float64) for values in (cells.i, cells.f, cells.g))
    write, half = i * g, middle(cells.activations.gate)
    up = size_of_step(judged.tally, count, judged.rung, up=True)
    down = size_of_step(judged.tally, count, judged.rung, up=False)
    never = np.zeros(len(write), dtype=bool)
    events = {
        "increment": (write > up / 2 if up else never, write),
        "decrement": (write < -down / 2 if down else never, write),
        "reset": (f < half, f),
    }
    if cells.o is not None:
        o = cells.o[group, steps, lane].astype(np.float64)
        events |= {"show": (o > half, o), "hide": (~(o > half), o)}
    return events
