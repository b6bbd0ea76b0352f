"""The first pass: levels, and all else that a reading holds fixed while it adds up, fitted on a bounded part.

The part is the whole input where that is at most 25,000 steps a half; else stretches spread evenly over it. What the
second pass cannot add up is found here too: pairs of conditions, quantiles and medians.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tallycell.errors import InputError
from tallycell.kernels.cpu.threads import number_of_threads
from tallycell.names import DIRECTION, GATES, LAYER, UNIT
from tallycell.reading.arrays import ArrayFields, read_texts, store_texts
from tallycell.reading.cells import Cells, iterate_cells, middle_step, require_readable, spread_stretches
from tallycell.reading.fitting import FittedLevels, fit_rungs
from tallycell.reading.following import comparable_names
from tallycell.reading.known import Known, read_known
from tallycell.reading.lanes import slices_of
from tallycell.reading.marks import marks_of
from tallycell.reading.saturation import BINS, HIDDEN_OF_C, edges_of
from tallycell.reading.tally import RUNGS
from tallycell.reading.triggers import Amounts, Extremes, Stimuli, say_symbol, symbol_stimuli, symbols_of

MOST_STRETCHES = 32  # that R² is quoted on, if none is longer than this many steps:
LONGEST_STRETCH = 5_000
SHORTEST_STRETCH = 10
SIZES = tuple(rung.writes + rung.keeps + 1 for rung in RUNGS)


@dataclass(frozen=True, eq=False)
class Levels(ArrayFields):
    """What is fitted before anything is added up.

    Attributes
    ----------
    layer, direction, unit
        Which units, in the order of the sums.
    values
        Write levels, keep levels and intercept of each rung, one rung behind the other: (unit, level).
    marks
        What each step is measured against: (unit, mark), by ``MARKS``.
    stretch
        Steps of a stretch; R² has its error from how it differs between them.
    reads
        What the stimuli are: ``symbols``, ``features`` or ``quantities``; ``nothing`` where none are known.
    symbols
        In the order of their stimuli; empty where no symbols are read.
    amounts, amount_units, low, high
        Amounts that are stimuli where they are high or low, what they are measured in, and from where they are.
    quantities, quantity_units, quantity_centers
        Known quantities, and a value near their mean.
    compared
        Whether each quantity has values enough to be compared with a cell.
    seasons
        Names of months, or of hours; empty where a season says nothing.
    step_seconds
        How long a step is; NaN where that is not known.
    gates, edges, hidden
        Whose values are counted in bins, the bins' edges (gate, direction, edge), and the name of the last of them.
    feature_names, feature_centers
        Of the input features as the network reads them, values near their means.
    pair_unit, pair_event, pair_stimulus, pair_figures
        Pairs of conditions that bring an event: the unit's place, the event, how they are said; share, chance, count
        and mean.
    """

    layer: Int[np.ndarray, " unit"]
    direction: np.ndarray
    unit: Int[np.ndarray, " unit"]
    values: Float[np.ndarray, "unit level"]
    marks: Float[np.ndarray, "unit mark"]
    stretch: Int[np.ndarray, ""]
    reads: np.ndarray
    symbols: np.ndarray
    amounts: np.ndarray
    amount_units: np.ndarray
    low: Float[np.ndarray, " amount"]
    high: Float[np.ndarray, " amount"]
    quantities: np.ndarray
    quantity_units: np.ndarray
    quantity_centers: Float[np.ndarray, " quantity"]
    compared: np.ndarray
    seasons: np.ndarray
    step_seconds: Float[np.ndarray, ""]
    gates: np.ndarray
    edges: Float[np.ndarray, "gate direction edge"]
    hidden: np.ndarray
    feature_names: np.ndarray
    feature_centers: Float[np.ndarray, " feature"]
    pair_unit: Int[np.ndarray, " pair"]
    pair_event: np.ndarray
    pair_stimulus: np.ndarray
    pair_figures: Float[np.ndarray, "pair figure"]

    def ladder(self) -> tuple[FittedLevels, ...]:
        """Levels of each rung."""
        by_rung = np.split(self.values, np.cumsum(SIZES)[:-1], axis=1)
        return tuple(FittedLevels.of(values, rung) for rung, values in zip(RUNGS, by_rung, strict=True))

    def units(self, which: Int[np.ndarray, " unit"]) -> "Levels":
        """Levels of some units, by their places; the pairs stay those of all."""
        own = {name: getattr(self, name)[which] for name in ("layer", "direction", "unit", "values", "marks")}
        kept = [self.directions.index(one) for one in dict.fromkeys(own["direction"].tolist())]
        return replace(self, **own, edges=self.edges[:, kept])

    @property
    def directions(self) -> tuple[str, ...]:
        """Those that units are of, in the order of the edges."""
        return tuple(dict.fromkeys(self.direction.tolist()))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """One a stimulus."""
        if self.reads == "symbols":
            return tuple(map(say_symbol, read_texts(self.symbols)))
        return tuple(f"{side} {name}" for side in ("high", "low") for name in read_texts(self.amounts))

    @property
    def first_season(self) -> int:
        """Row of the sums in which the first season stands: behind the stimuli and any other symbol."""
        return len(self.labels) + 1

    @property
    def rows(self) -> int:
        """Rows of sums by stimulus; the last stands for all steps."""
        return self.first_season + len(self.seasons) + 1

    def stimuli(self, known: Known, direction: str) -> Stimuli | None:
        """Give what each step read, as a direction reads."""
        names = read_texts(self.quantities[self.compared])
        if self.reads == "symbols":
            assert known.tokens is not None  # levels were fitted where they were
            beside = known.amounts(direction, names)
            return symbol_stimuli(known.tokens, *known.order(direction), read_texts(self.symbols), beside)
        if self.reads == "nothing":
            return None
        amounts = known.features(direction) if self.reads == "features" else known.amounts(direction, names)
        assert amounts is not None  # levels were fitted where they were
        return Extremes(self.low, self.high).stimuli(amounts)

    def edges_of(self, gate: int, direction: str) -> Float[np.ndarray, " edge"]:
        """Edges of the bins of one gate."""
        edges: np.ndarray = self.edges[gate, self.directions.index(direction)]
        return edges


def fit_levels(
    trace: xr.Dataset,
    tokens: Any = None,
    quantities: Any = None,
    *,
    vocabulary: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    tested: bool | None = None,
) -> Levels:
    """Fit what a reading holds fixed, on a bounded part of a trace.

    Parameters
    ----------
    trace, tokens, quantities, vocabulary
        As :func:`~tallycell.reading.units.read_units` takes them.
    symbols
        All symbols that will be read; those of the trace if None. Others are counted together and never named.
    tested
        As :func:`~tallycell.reading.sums.sum_block` takes it; False if all of the trace is there to be fitted on.

    Returns
    -------
    Levels

    Raises
    ------
    TraceError, InputError, ActivationError
        As :func:`~tallycell.reading.units.read_units`.
    """
    from tallycell.reading.first_pass import fit_with_pairs

    return fit_with_pairs(read_known(trace, tokens, quantities, vocabulary), symbols=symbols, tested=tested)[0]


def stretch_of(quoted: int) -> int:
    """Choose how many steps a stretch has, by the number of steps that R² is quoted on.

    Examples
    --------
    >>> stretch_of(100), stretch_of(14_725), stretch_of(10**9)
    (10, 461, 5000)
    """
    return min(max(-(-quoted // MOST_STRETCHES), SHORTEST_STRETCH), LONGEST_STRETCH)


@dataclass(frozen=True, eq=False)
class Sample:
    """The bounded part of some cells: which steps it is, and how many of them are fitted on."""

    cells: Cells
    steps: Int[np.ndarray, " step"]
    middle: int


def fit_known(
    known: Known,
    *,
    symbols: Sequence[str] | None = None,
    tested: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Levels, tuple[Sample, ...]]:  # fmt: skip
    """Fit all but the pairs of conditions; and give what was looked at."""
    require_readable(known.trace)
    lengths = known.lengths
    if int(lengths.sum()) < 2:
        raise InputError(
            "the trace has 1 step; a tally is fitted on one half of the steps and tested on the other: give more"
        )
    until = middle_step(lengths) if tested is None else int(lengths.sum())
    total = math.prod(known.trace.sizes[name] for name in (LAYER, DIRECTION, UNIT))
    if progress is not None:
        progress(0, total)
    samples: list[Sample] = []
    fitted: list[tuple[np.ndarray, np.ndarray]] = []
    with ThreadPoolExecutor(number_of_threads()) as pool:
        for cells in iterate_cells(known.trace):
            sample = _sample_of(cells, until)
            samples.append(sample)
            slices = slices_of(len(cells.c), sample.middle)
            for one in pool.map(partial(_fit_sample, sample), slices):
                fitted.append(one)
                if progress is not None:
                    progress(sum(len(marks) for _, marks in fitted), total)
    which = [
        (sample.cells.layer, sample.cells.direction, unit) for sample in samples for unit in sample.cells.units
    ]  # fmt: skip
    layer, direction, unit = zip(*which, strict=True)
    quoted = int(lengths.sum()) - (until if tested is None else 0)
    levels = Levels(
        layer=np.array(layer), direction=np.array(direction), unit=np.array(unit),
        values=np.concatenate([values for values, _ in fitted]), marks=np.concatenate([marks for _, marks in fitted]),
        stretch=np.array(stretch_of(quoted)),
        **_stimuli(known, samples[0], symbols), **_bins(samples), **_features(known, samples[0]),
        pair_unit=np.zeros(0, np.int64), pair_event=np.zeros(0, "U9"), pair_stimulus=store_texts(()),
        pair_figures=np.zeros((0, 4)),
    )  # fmt: skip
    return levels, tuple(samples)


def _sample_of(cells: Cells, until: int) -> Sample:
    """Choose the part: of what is fitted on and of what is quoted on, each bounded."""
    fit = spread_stretches(cells.start, 0, until)
    rest = spread_stretches(cells.start, until, cells.steps) if until < cells.steps else ((), ())
    begin, end = (np.concatenate([a, b]).astype(np.int64) for a, b in zip(fit, rest, strict=True))
    if int((end - begin).sum()) == cells.steps:
        return Sample(cells, np.arange(cells.steps), until)
    steps = np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
    return Sample(cells.take(begin, end), steps, int((fit[1] - fit[0]).sum()))


def _fit_sample(sample: Sample, groups: slice) -> tuple[np.ndarray, np.ndarray]:
    """Levels and marks of some cells, made here, so that what they work out by the way goes with them."""
    cells = sample.cells.some(groups)
    edges = np.unique(cells.start.clip(0, sample.middle))
    ladder = fit_rungs(cells.take(edges[:-1], edges[1:]))
    return np.concatenate([one.flat() for one in ladder], axis=1), marks_of(cells, ladder)


def _stimuli(known: Known, sample: Sample, symbols: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Find what there is to read, and what may be followed."""
    direction = sample.cells.direction
    names = list(known.quantities)
    compared = comparable_names(known.quantities, known.lengths)
    amounts: Amounts | None = None
    reads = "symbols" if known.tokens is not None else "nothing"
    if known.tokens is None:
        amounts = known.features(direction)
        reads = "features" if amounts is not None else reads
        if amounts is None:
            amounts = known.amounts(direction, [name for name in names if name in compared])
            reads = "quantities" if amounts is not None else reads
    extremes = None
    if amounts is not None:
        extremes = Extremes.of(replace(amounts, values=amounts.values[:, sample.steps]))
    clock = known.clock(direction)
    found = symbols_of(known.tokens) if known.tokens is not None and symbols is None else tuple(symbols or ())
    values = known.quantities_at(direction, names)
    finite = [column[np.isfinite(column)] for column in values.T]
    centers = [float(some.mean()) if some.size else 0.0 for some in finite]
    return {
        "reads": np.array(reads), "symbols": store_texts(found),
        "amounts": store_texts(() if amounts is None else amounts.names),
        "amount_units": store_texts(() if amounts is None else amounts.units),
        "low": np.zeros(0) if extremes is None else extremes.low,
        "high": np.zeros(0) if extremes is None else extremes.high, "quantities": store_texts(names),
        "quantity_units": store_texts([known.units.get(name, "") for name in names]),
        "quantity_centers": np.array(centers), "compared": np.array([name in compared for name in names], dtype=bool),
        "seasons": store_texts(clock.seasons),
        "step_seconds": np.array(math.nan if clock.step_seconds is None else clock.step_seconds),
    }  # fmt: skip


def _bins(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """Whose values are counted, and in which bins: over the range of the gate, or of its values."""
    first = samples[0].cells
    gates = [*(gate for gate in GATES if gate in "ifg" or first.o is not None), HIDDEN_OF_C]
    by_direction: dict[str, list[Cells]] = {}
    for sample in samples:
        by_direction.setdefault(sample.cells.direction, []).append(sample.cells)
    edges = np.zeros((len(gates), len(by_direction), BINS + 1))
    for k, gate in enumerate(gates):
        for d, some in enumerate(by_direction.values()):
            edges[k, d] = _edges(gate, some)
    names = {some[0].activations.hidden.name for some in by_direction.values()}
    hidden = f"{names.pop()}(c)" if len(names) == 1 else HIDDEN_OF_C
    return {"gates": np.array(gates), "edges": edges, "hidden": np.array(hidden)}


def _edges(gate: str, some: Sequence[Cells]) -> Float[np.ndarray, " edge"]:
    slots = some[0].activations
    activation = slots.hidden if gate == HIDDEN_OF_C else slots.of(gate)
    if np.isfinite(activation.range).all():
        return edges_of(activation, np.zeros(1))
    values = [cells.by_unit(cells.c if gate == HIDDEN_OF_C else getattr(cells, gate)).ravel() for cells in some]
    gathered = np.concatenate(values).astype(np.float64)
    return edges_of(activation, activation(gathered) if gate == HIDDEN_OF_C else gathered)


def _features(known: Known, sample: Sample) -> dict[str, np.ndarray]:
    """Names and means of the input features as they are read."""
    read = known.features(sample.cells.direction, as_read=True)
    if read is None:
        return {"feature_names": store_texts(()), "feature_centers": np.zeros(0)}
    return {"feature_names": store_texts(read.names), "feature_centers": read.values[:, sample.steps].mean(axis=1)}
