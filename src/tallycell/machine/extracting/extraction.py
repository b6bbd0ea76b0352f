"""From a recogniser to a counter machine, with how well it fits and what breaks it.

1. Snap the gates to their limits and walk the situations that signs do not exclude (:mod:`~.snapping`, :mod:`~.walk`).
2. Where a gate may depend on the size of a cell, tell sizes apart (:mod:`~.refining`).
3. Where the network does not count in ones, measure steps and gates on strings (:mod:`~.recording`).
4. Make the machine: choose counters, join what behaves alike (:mod:`~.cells_to_counters`), or what nothing seen tells
   apart (:mod:`~.folding`), drop and merge, name it. Where counters of whole strings say it in less, or no cell counts,
   try those (:mod:`~.recounting`).
5. Compare it with the network on strings, and say what breaks it (:mod:`~.fidelity`, :mod:`~.breaks`).
"""

from dataclasses import dataclass

import numpy as np

from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.allowed import AllowedInputs, Inputs, allowed_inputs
from tallycell.machine.extracting.breaks import Break, find_breaks
from tallycell.machine.extracting.cells_to_counters import (
    Tabulated,
    counting_one_more,
    recounted,
    smaller,
    tabulate,
)
from tallycell.machine.extracting.fidelity import Fidelity, measure_fidelity
from tallycell.machine.extracting.naming import name_parts
from tallycell.machine.extracting.readings import Reading, measured_readings, snapped_readings, whole_reading
from tallycell.machine.extracting.recording import Recorded, Units, deviations, record_strings
from tallycell.machine.extracting.recounting import differences, held_by, held_by_inputs, steps_of_machine
from tallycell.machine.extracting.saying import advice_for, answer_of, details_of, program_lines, start_of, worst_of
from tallycell.machine.extracting.snapping import SnappedNetwork
from tallycell.machine.extracting.strings import SAMPLED, share_for, strings_of_machine, usual_strings
from tallycell.machine.extracting.walk import Walk
from tallycell.recogniser import Recogniser

FEWEST_STATES, MOST_STATES = 5, 300  # of a machine that may hold in states what a counter would say
SAVED = 3  # states, counters and constants that counting must spare
LEAST = 3  # that a machine that counts has of them
MOST_DECIDED = 20  # of those, of a machine that is made from decisions alone: a larger one may be learned by heart
RECOUNTED, LONGEST_RECOUNTED = 100, 400  # strings on which counting them whole must do as well, and their length
MOST_LINES = 100  # of a program that are printed


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
    start
        What network and machine say before the first symbol, in words.
    advice
        What to try next, in words.
    """

    machine: CounterMachine
    fidelity: Fidelity
    breaks: tuple[Break, ...]
    evidence: tuple[CounterEvidence, ...]
    text: str
    start: str
    advice: str

    @property
    def exact(self) -> bool:
        """Whether machine and network were seen to agree on all strings of ``fidelity.text``; no claim about others."""
        return self.fidelity.exact

    @property
    def answer(self) -> tuple[str, ...]:
        """Five lines: exact or not, on which strings, how many agree, what breaks the network, what to try."""
        return answer_of(self)

    @property
    def worst(self) -> str:
        """What breaks the network most, in words."""
        return worst_of(self)

    @property
    def report(self) -> str:
        """All that is known of the machine but the machine, in words: the answer, and how it was come by."""
        return "\n".join([*self.answer, "", self.details])

    @property
    def details(self) -> str:
        """How the machine was read, on what it was compared, what its counters are, and all that breaks the network."""
        return details_of(self)

    def __str__(self) -> str:
        """Give the answer, the program if it is the network's, and the details."""
        program = program_lines(self.machine, MOST_LINES, "print(extraction.machine)") if self.exact else []
        left_out = [] if self.exact else ["The program of the machine is left out: print(extraction.machine)"]
        return "\n".join([*self.answer, "", *program, *left_out, "", self.details])


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
        ``print`` shows the answer in five lines, the program if it is exact, and all that is known of it.

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
    for reading in snapped_readings(snapped, allowed, recorded):
        search.consider(reading)
    if not search.best.exact:
        for reading in measured_readings(search.recorded):
            if not search.consider(reading):
                break  # to look a little more closely does not help either
        whole = None if search.best.exact else whole_reading(search.recorded)
        if whole is not None:
            search.consider(whole)
    if not search.best.exact:
        search.count_decisions()
    search.count_what_states_hold()
    search.count_whole_strings()
    best = search.best
    complete = best.exact and best.reading.certain
    return _describe(net, best, search.recorded, allowed), best.reading.walk if complete else None


@dataclass(frozen=True, eq=False)
class _Candidate:
    reading: Reading
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

    def consider(self, reading: Reading) -> bool:
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

    def count_what_states_hold(self) -> None:
        """Count one cell more where the machine then is much smaller and as good: a threshold is one comparison."""
        best = self.best
        if not best.exact or not FEWEST_STATES <= len(best.tabulated.machine.states) <= MOST_STATES:
            return
        least = _size(smaller(best.tabulated).machine)
        for tabulated in counting_one_more(best.reading.walk, self.net, best.tabulated):
            size = _size(smaller(tabulated).machine)
            if size + SAVED > least:
                continue
            candidate = _Candidate(best.reading, tabulated, measure_fidelity(tabulated.machine, self.recorded))
            if candidate.exact:
                self._best, least = candidate, size

    def count_whole_strings(self) -> None:
        """Count over whole strings what cells count in pieces, or states, if that is much smaller and as good."""
        best = self.best
        old = smaller(best.tabulated).machine
        if not best.exact or _size(old) < LEAST + SAVED:
            return
        steps = [*dict.fromkeys([*steps_of_machine(old), *differences(len(old.alphabet))])]
        for tabulated in recounted(self.recorded, held_by(old, self.recorded.strings), steps):
            if _size(smaller(tabulated).machine) + SAVED > _size(old):
                continue
            candidate = _Candidate(best.reading, tabulated, measure_fidelity(tabulated.machine, self.recorded))
            if candidate.exact and self._as_good_on_longer(tabulated.machine, old):
                self._best = candidate
                return

    def _as_good_on_longer(self, new: CounterMachine, old: CounterMachine) -> bool:
        """Whether a machine that was made from strings is, on longer ones, no worse than the one it replaces."""
        if self.allowed.sample is not None:  # beyond a sample nobody knows what is right
            return True
        longer = strings_of_machine(old, self.allowed.automaton, RECOUNTED, longest=LONGEST_RECOUNTED)
        recorded = record_strings(self.net, longer)
        return measure_fidelity(new, recorded).steps_alike >= measure_fidelity(old, recorded).steps_alike

    def count_decisions(self) -> None:
        """Where no cells make a counter: look for a small machine of counters of whole strings that decides alike."""
        beside = held_by_inputs(self.allowed.automaton, self.recorded.strings)
        for tabulated in recounted(self.recorded, beside, differences(len(self.net.alphabet))):
            reading = Reading(self.best.reading.walk, None, "only what it decides on the strings below is looked at")
            candidate = _Candidate(reading, tabulated, measure_fidelity(tabulated.machine, self.recorded))
            if candidate.exact and _size(smaller(tabulated).machine) <= MOST_DECIDED:
                self._best = candidate
                return


def _size(machine: CounterMachine) -> int:
    """Give what there is to read of a machine: its states, counters and constants."""
    return len(machine.states) + len(machine.counters) + sum(map(len, machine.constants))


def _ones(recorded: Recorded) -> Units:
    ones = np.ones(recorded.c.shape[-1])
    return Units(ones, deviations((recorded.i * recorded.g)[recorded.strings.taken], ones))


def _describe(net: Recogniser, best: _Candidate, recorded: Recorded, allowed: AllowedInputs) -> Extraction:
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
        if cell is not None
    )
    text = best.reading.text
    if None in tabulated.cells:
        text += (
            "; its counters run over whole strings, which no single cell does. So it follows from the strings and not "
            "from the gates"
        )
    if tabulated.folded:
        text += "; what no string did is filled in as the smallest machine has it"
    if tabulated.undetermined:
        text += (
            f"; {tabulated.undetermined:,} outcomes do not follow from the counters; each is taken as it was most often"
        )
    said = tuple(name for name, there in zip(net.outputs, recorded.decided[0, 0], strict=True) if there)
    return Extraction(
        machine, best.fidelity, find_breaks(recorded, units), evidence, text, start_of(machine, said),
        advice_for(allowed, exact=best.exact),
    )  # fmt: skip
