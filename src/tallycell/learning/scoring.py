"""One trained network judged for its row: as it is, snapped, hardened, and to what length it is proved."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tallycell.errors import TallycellError
from tallycell.learning.judging import decider_of, share_right
from tallycell.learning.languages import Language, Sample
from tallycell.learning.rows import Reach, Row
from tallycell.learning.selection import harden_on, strings_of
from tallycell.machine.checking.language_search import search_first_failure
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.allowed import Inputs
from tallycell.machine.extracting.extraction import extract_machine
from tallycell.machine.hardening import Hardened, harden
from tallycell.machine.proving.horizon import counting_horizon
from tallycell.recogniser import Recogniser

COLUMNS = ("trained", "snapped", "hardened")
WITHIN = 0.01  # of 0 or 1: what counts as saturated in row 11
FAR = 2**24  # where float32 stops counting
READ_WITH = 7  # seed of the strings that are tested with
GATES = ("i", "f", "o")
NOT_LEARNED = "snapped, it is wrong on training strings"  # what it has learned instead would be read in vain
NOT_HARDENED = "hardened, it is wrong on training strings"


@dataclass(frozen=True)
class Trained:
    """What training gave for one seed.

    Attributes
    ----------
    net
        The network.
    runs
        How often training was begun; more than 1 if it was restarted.
    seconds
        Of all runs.
    loss
        Of training, of the run that was kept, in nats a symbol.
    first
        The network of the first run; None if that is the one.
    learned, first_learned
        Whether the network, and that of the first run, snapped, are right on nearly all training strings. One that is
        not does not pass, and no machine is read from it.
    judged
        Training strings: machines are read on strings like these. None for all inputs that the language allows.
    checked
        More of them, on which hardened networks are to be right; None for no others.
    hardened
        The network hardened, if training did so.
    """

    net: Recogniser
    runs: int
    seconds: float
    loss: float
    first: Recogniser | None = None
    learned: bool = True
    first_learned: bool = True
    judged: Sample | None = None
    checked: Sample | None = None
    hardened: Hardened | None = None


def score(row: Row, trained: Trained, *, far: bool = False) -> dict[str, Any]:
    """Judge what was trained; give what goes into the file of results.

    Parameters
    ----------
    row
        What it was trained for.
    trained
        The network and what it took.
    far
        Whether the hardened network's first failure is searched to 2^24 instead of the row's target.
    """
    begin = time.perf_counter()
    about = {"runs": trained.runs, "seconds": round(trained.seconds, 2), "loss": trained.loss}
    columns = _columns(row, trained, far)
    first = columns["hardened"] if trained.first is None else _first(row, trained, trained.first)
    result = {**about, **columns, "first_passes": passes(row, first)}
    result["judging_seconds"] = round(time.perf_counter() - begin, 2)
    return result


def _columns(row: Row, trained: Trained, far: bool) -> dict[str, Any]:
    """Measure the network, its machine, the network made of that; and how far the proof goes."""
    language, net = row.language, trained.net
    result: dict[str, Any] = {"trained": measured(row, net), "saturated": {"trained": saturated(net, language)}}
    if not trained.learned:
        missing = {"missing": NOT_LEARNED}
        return result | {"snapped": missing, "hardened": missing, "horizon": missing}
    try:
        hardened = _hardened(row, trained)
    except TallycellError as reason:
        missing = {"missing": str(reason)}
        result |= {"snapped": _snapped(row, trained), "hardened": missing, "horizon": missing}
    else:
        machine = hardened.extraction.machine
        horizon = counting_horizon(machine, hardened.net, inputs=language.allowed)
        result |= {
            "snapped": measured(row, machine),
            "hardened": measured(row, hardened.net, far=far),
            "horizon": {"symbols": horizon.symbols, "dtype": horizon.dtype, "breaks": horizon.first_to_break},
            "units": hardened.net.parameters.hidden_size,
            "machine": str(machine),
        }
        result["saturated"]["hardened"] = saturated(hardened.net, language)
    return result


def _hardened(row: Row, trained: Trained) -> Hardened:
    """Harden for what was learned from: what a network does on other strings nobody taught it."""
    if trained.hardened is not None:
        return trained.hardened
    return harden(trained.net, _inputs(row, trained), anyway=True)


def _inputs(row: Row, trained: Trained) -> Inputs:
    return row.language.allowed if trained.judged is None else strings_of(trained.judged, trained.net.alphabet)


def _snapped(row: Row, trained: Trained) -> dict[str, Any]:
    """Measure the machine of a network that could not be hardened."""
    try:
        return measured(row, extract_machine(trained.net, _inputs(row, trained)).machine)
    except TallycellError as reason:
        return {"missing": str(reason)}


def _first(row: Row, trained: Trained, net: Recogniser) -> dict[str, Any]:
    """Measure the network of the first run hardened, and nothing else."""
    if not trained.first_learned:
        return {"missing": NOT_LEARNED}
    if trained.judged is not None:
        hardened = harden_on(net, trained.judged, trained.checked)
        return {"missing": NOT_HARDENED} if hardened is None else measured(row, hardened.net)
    try:
        return measured(row, harden(net, row.language.allowed, anyway=True).net)
    except TallycellError as reason:
        return {"missing": str(reason)}


def measured(row: Row, subject: Recogniser | CounterMachine, *, far: bool = False) -> dict[str, Any]:
    """Measure what the row measures."""
    decider, language = decider_of(subject, row.language), row.language
    if isinstance(row.measure, Reach):
        farthest = FAR if far else row.measure.target
        found = search_first_failure(decider, language.truth, language.blocks_of, farthest)
        return {"first_failure": found.n, "kind": found.kind, "searched": found.searched}
    rng = np.random.default_rng(READ_WITH)
    shares = []
    for length in row.measure.lengths:
        one = share_right(decider, language, row.measure.strings(language, rng, length))
        shares.append({"length": length, "strings": one.strings, "right": one.right, "symbols": one.symbols})
    return {"lengths": shares}


def passes(row: Row, found: dict[str, Any]) -> bool:
    """Whether what was measured of one column is what the row aims at."""
    if "missing" in found:
        return False
    if isinstance(row.measure, Reach):
        return found["first_failure"] is None or found["first_failure"] > row.measure.target
    return all(one["right"] == one["strings"] for one in found["lengths"] if one["length"] in row.measure.target)


# ---- gates at their limits -------------------------------------------------------------------------------------------


def saturated(net: Recogniser, language: Language) -> dict[str, float]:
    """Give the share of the values of i, f and o within 0.01 of 0 or 1, on strings as they are learned.

    Units without any weights, which hardening leaves where it needs fewer, are left out.
    """
    gates = _gates(net, language)
    return {name: float(((values < WITHIN) | (values > 1 - WITHIN)).mean()) for name, values in gates.items()}


def _gates(net: Recogniser, language: Language) -> dict[str, Float[np.ndarray, "step unit"]]:
    from tallycell.trace import record_trace

    sample = language.draw(np.random.default_rng(READ_WITH), 100)
    trace = record_trace(net, net.inputs[sample.codes.T], lengths=sample.lengths)
    used = _used(net)
    found = {}
    for name in GATES:
        values = trace[name].transpose("layer", "direction", "unit", "sequence", "time").to_numpy()[used]
        found[name] = values[..., np.arange(sample.codes.shape[1]) < sample.lengths[:, np.newaxis]].reshape(-1)
    return found


def _used(net: Recogniser) -> Bool[np.ndarray, "layer direction unit"]:
    """Whether a unit has any weight: else nothing that it does depends on anything."""
    p = net.parameters
    used = np.zeros((p.num_layers, p.num_directions, p.hidden_size), bool)
    for layer in range(p.num_layers):
        for direction in range(p.num_directions):
            one = p.layer(layer, direction)
            weights = np.concatenate([one.weight_ih, one.weight_hh, one.total_bias[:, np.newaxis]], axis=1)
            used[layer, direction] = weights.any(1).reshape(-1, p.hidden_size).any(0)
    return used
