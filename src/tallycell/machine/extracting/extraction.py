"""From a recogniser to a counter machine, with how well it fits and what breaks it.

1. Snap the gates to their limits and walk the situations that signs do not exclude (:mod:`~.snapping`, :mod:`~.walk`).
2. Where a gate may depend on the size of a cell, tell sizes apart (:mod:`~.refining`).
3. Where the network does not count in ones, measure steps and gates on strings (:mod:`~.recording`).
4. Make the machine: choose counters, join what behaves alike (:mod:`~.cells_to_counters`), or what nothing seen tells
   apart (:mod:`~.folding`), drop and merge, name it.
5. Compare it with the network on strings, and say what breaks it (:mod:`~.fidelity`, :mod:`~.breaks`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from tallycell.machine.comparing.reachability import TooManySituations
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.allowed import AllowedInputs, Inputs, allowed_inputs
from tallycell.machine.extracting.breaks import Break, find_breaks
from tallycell.machine.extracting.cells_to_counters import Tabulated, smaller, tabulate
from tallycell.machine.extracting.fidelity import Fidelity, measure_fidelity
from tallycell.machine.extracting.naming import name_parts
from tallycell.machine.extracting.recording import (
    Recorded,
    Units,
    count_in_units,
    deviations,
    measure_units,
    record_strings,
)
from tallycell.machine.extracting.refining import refine
from tallycell.machine.extracting.relations import Relations, seen_relations
from tallycell.machine.extracting.snapping import SnappedNetwork
from tallycell.machine.extracting.strings import SAMPLED, share_for, strings_of_machine, usual_strings
from tallycell.machine.extracting.walk import BrokenRelationError, Walk, walk_seen, walk_situations
from tallycell.machine.notation.printing import format_machine
from tallycell.recogniser import Recogniser

MOST_WALKED = 10_000  # situations
MOST_LINES, MOST_BREAKS = 100, 12  # that are printed
MOST_LINES_OF_A_GUESS = 30  # of a machine that does not fit
MOST_TOLD_APART = 3  # sizes to which measured cells are told apart
MOST_AT_FIRST = 6  # sizes told apart in the first walk, where with fewer there are too many situations


@dataclass(frozen=True)
class CounterEvidence:
    """How well one cell counts.

    Attributes
    ----------
    counter
        The machine's name for it.
    layer, unit
        Which cell.
    size
        What one count is in the cell.
    deviation
        The largest difference between a step on the strings and a whole number of counts, in counts.
    """

    counter: str
    layer: int
    unit: int
    size: float
    deviation: float

    def __str__(self) -> str:
        return (
            f"{self.counter} is the cell of layer {self.layer} unit {self.unit}; one count is {self.size:.4g} of it, "
            f"and its steps are whole counts to within {self.deviation:.2g}"
        )


@dataclass(frozen=True)
class Extraction:
    """A counter machine read from a network, and how far it can be relied upon.

    Attributes
    ----------
    machine
        The machine that fits best of those tried.
    fidelity
        On what share of which strings it decides as the network.
    breaks
        What stops the network from being a counter machine; the worst first.
    evidence
        For each counter, the cell it is and how well that counts.
    text
        How the machine was found.
    """

    machine: CounterMachine
    fidelity: Fidelity
    breaks: tuple[Break, ...]
    evidence: tuple[CounterEvidence, ...]
    text: str

    @property
    def exact(self) -> bool:
        """Whether machine and network were seen to agree on all strings of ``fidelity.text``; no claim about others."""
        return self.fidelity.exact

    def __str__(self) -> str:
        program = format_machine(self.machine).rstrip().split("\n")
        most = MOST_LINES if self.exact else MOST_LINES_OF_A_GUESS
        return "\n".join([*_first(program, most, "print(extraction.machine)"), "", self.report])

    @property
    def report(self) -> str:
        """All that is known of the machine, in words: how it was found, how well it fits, what breaks the network."""
        parts = []
        if not self.exact:
            parts.append(
                "No counter machine was found that decides as the network does; this is the best of those tried."
            )
        parts += [f"How it was read: {self.text}.", f"Machine and network agree on {self.fidelity}."]
        if self.evidence:
            parts += ["What each counter is:", *(f"  {one}" for one in self.evidence)]
        if self.breaks:
            parts.append(
                "What is not at its limits, though it makes no difference here:" if self.exact else "What breaks it:"
            )
            parts += _first([f"  {one}" for one in self.breaks], MOST_BREAKS, "extraction.breaks")
        return "\n".join(parts)


def _first(lines: list[str], most: int, more: str) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  ... {len(lines) - most:,} more: {more}"]


def extract_machine(net: Recogniser, inputs: Inputs = None) -> Extraction:
    """Read a counter machine from a network.

    Several readings are tried, from the plainest to the most careful, until one decides as the network does on all
    strings; else the best of them is returned, with its fidelity and with what breaks the network.

    Parameters
    ----------
    net
        The network; any number of layers, one direction.
    inputs
        Which inputs the network is meant to read: None for all strings; a counter machine without counters, which
        fails where an input is not allowed; or a sample of strings. On other inputs the machine fails.

    Returns
    -------
    Extraction
        ``print`` shows the program and all that is known of it.

    Raises
    ------
    ParameterError
        If the network reads in both directions, has peepholes, or its activations have no limits.
    InputError
        If the inputs do not fit the network.

    Examples
    --------
    One unit that counts up on ``(`` and down on ``)``, and says whether it stands at 0:

    >>> from tallycell.parameters import LSTMParameters
    >>> weights = {"weight_ih_l0": np.array([[50, 50], [50, 50], [50, -50], [50, 50.0]]),
    ...            "weight_hh_l0": np.zeros((4, 1))}
    >>> net = Recogniser(("(", ")"), np.eye(2), LSTMParameters(weights), [[1.0]], [-0.5], ("open",), "threshold")
    >>> extraction = extract_machine(net)
    >>> extraction.exact, extraction.machine.counters, extraction.machine.says(extraction.machine.run("(()"))
    (True, ('depth',), ('open',))
    """
    return extract_with_walk(net, inputs)[0]


def extract_with_walk(net: Recogniser, inputs: Inputs = None) -> tuple[Extraction, Walk | None]:
    """Extract, and give the situations of the snapped network; None unless they are all, and the machine was exact."""
    snapped = SnappedNetwork(net)
    allowed = allowed_inputs(net, inputs)
    recorded = record_strings(net, usual_strings(len(net.alphabet), allowed, share=share_for(snapped.cells)))
    search = _Search(net, allowed, recorded)
    for reading in _snapped_readings(snapped, allowed, recorded):
        search.consider(reading)
    if not search.best.exact:
        for reading in _measured_readings(search.recorded):
            if not search.consider(reading):
                break  # to look more closely does not help either
    best = search.best
    whole = best.exact and best.reading.certain
    return _describe(net, best, search.recorded), best.reading.walk if whole else None


@dataclass(frozen=True, eq=False)
class _Reading:
    """Situations of a network read in one way.

    ``units`` are those its cells count in, None for ones; ``certain`` is whether no gate depends on sizes that are not
    told apart.
    """

    walk: Walk
    units: Units | None
    text: str
    certain: bool = False


@dataclass(frozen=True, eq=False)
class _Candidate:
    reading: _Reading
    tabulated: Tabulated
    fidelity: Fidelity

    @property
    def exact(self) -> bool:
        return self.fidelity.exact

    @property
    def score(self) -> tuple[float, float, bool]:
        return self.fidelity.of_strings, self.fidelity.of_steps, self.reading.certain


class _Search:
    """The best reading so far, and the strings on which it is compared."""

    def __init__(self, net: Recogniser, allowed: AllowedInputs, recorded: Recorded) -> None:
        self.net, self.allowed, self.recorded = net, allowed, recorded
        self._best: _Candidate | None = None

    @property
    def best(self) -> _Candidate:
        assert self._best is not None
        return self._best

    def consider(self, reading: _Reading) -> bool:
        """Make the machine of a reading and keep it if it is better; once one is exact, only if it is more certain."""
        if self._best is not None and self._best.exact and (self._best.reading.certain or not reading.certain):
            return False
        tabulated = tabulate(reading.walk, self.net)
        if self._best is None and self.allowed.sample is None:
            # Long strings that a first machine can read reach where random ones do not.
            sampled = int(share_for(self.recorded.c.shape[-1]) * SAMPLED / 2)
            more = strings_of_machine(tabulated.machine, self.allowed.automaton, sampled)
            self.recorded = record_strings(self.net, self.recorded.strings + more)
        candidate = _Candidate(reading, tabulated, measure_fidelity(tabulated.machine, self.recorded))
        better = self._best is None or candidate.score > self._best.score
        if better:
            self._best = candidate
        return better


def _snapped_readings(snapped: SnappedNetwork, allowed: AllowedInputs, recorded: Recorded) -> Iterator[_Reading]:
    """Read a network with its gates at their limits: by signs, then with sizes told apart if gates depend on them."""
    run = snapped.run_batch(recorded.strings.codes, recorded.strings.lengths)
    limits, signs = "all gates are set to their limits", np.ones(snapped.cells, np.int64)
    if allowed.sample is not None:
        yield _Reading(
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
    yield _Reading(
        walk_seen(run, signs), None, f"{limits}, and the situations are followed that the strings below come to"
    )


def _decides_alike(snapped: SnappedNetwork, recorded: Recorded) -> bool:
    """Whether a snapped network decides as the network does, on all strings."""
    run = snapped.run_batch(recorded.strings.codes, recorded.strings.lengths)
    return bool((run.decided == recorded.decided)[1:][recorded.strings.taken].all())


def _refined_readings(snapped: SnappedNetwork, allowed: AllowedInputs, recorded: Recorded) -> Iterator[_Reading]:
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
            yield _Reading(walk, None, text, certain=finer is None)
        told = True


def _measured_readings(recorded: Recorded) -> Iterator[_Reading]:
    """Read a network by what it was seen to do, its cells in their own units."""
    units = measure_units(recorded)
    run = count_in_units(recorded, units)
    for size in range(1, MOST_TOLD_APART + 1):
        text = (
            "gates and steps are taken as they were on the strings below, and the size of a cell is told apart up to "
            f"{size}"
        )
        yield _Reading(walk_seen(run, np.full(run.keep.shape[-1], size)), units, text)


def _walk(snapped: SnappedNetwork, allowed: AllowedInputs, relations: Relations) -> Walk:
    """Walk, without the relations that a step does not keep."""
    while True:
        try:
            return walk_situations(snapped, allowed.automaton, relations, most=MOST_WALKED)
        except BrokenRelationError as broken:
            relations = relations.without(broken.which)


def _ones(recorded: Recorded) -> Units:
    ones = np.ones(recorded.c.shape[-1])
    return Units(ones, deviations((recorded.i * recorded.g)[recorded.strings.taken], ones))


def _describe(net: Recogniser, best: _Candidate, recorded: Recorded) -> Extraction:
    """Name the parts of the best machine, and gather what is known of it."""
    tabulated = smaller(best.tabulated)
    machine = name_parts(tabulated.machine)
    units = best.reading.units
    if units is None:
        units = _ones(recorded)
    evidence = tuple(
        CounterEvidence(
            name, *divmod(cell, net.parameters.hidden_size), float(units.size[cell]), float(units.deviation[cell])
        )
        for name, cell in zip(machine.counters, tabulated.cells, strict=True)
    )
    text = best.reading.text
    if tabulated.folded:
        text += "; what no string did is filled in as the smallest machine has it"
    if tabulated.undetermined:
        text += (
            f"; {tabulated.undetermined:,} outcomes do not follow from the counters; each is taken as it was most often"
        )
    return Extraction(machine, best.fidelity, find_breaks(recorded, units), evidence, text)
