"""How good a trained network is, told from strings of its training alone: snapped, and hardened."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tallycell.errors import TallycellError
from tallycell.learning.languages import Sample
from tallycell.machine.checking.network_runner import NetworkRunner
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.extraction import extract_with_walk
from tallycell.machine.extracting.fidelity import machine_decisions
from tallycell.machine.extracting.snapping import SnappedNetwork
from tallycell.machine.extracting.strings import Strings
from tallycell.machine.hardening import Hardened, compile_extraction
from tallycell.recogniser import Recogniser

RUN_AT_ONCE = 250  # strings


@dataclass(frozen=True)
class Judgement:
    """What a network, snapped, does on strings of its training.

    Attributes
    ----------
    errors
        Share of the strings on which it makes a wrong decision; only what is determined counts.
    situations
        How many different h there are: few if what it does is simple.
    """

    errors: float
    situations: int


def judge_snapped(net: Recogniser, sample: Sample) -> Judgement:
    """Judge a network, snapped, on a sample.

    Examples
    --------
    >>> from tallycell.learning.languages import language
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> dyck = language("dyck-1")
    >>> judge_snapped(compile_machine(dyck.machine), dyck.draw(np.random.default_rng(0), 50))
    Judgement(errors=0.0, situations=2)
    """
    snapped = SnappedNetwork(net)
    run = snapped.run_batch(sample.codes.T.astype(np.int64), sample.lengths)
    right = _is_right(run.decided[1:].transpose(1, 0, 2), sample)
    exposed = (np.sign(run.count) * run.expose)[1:].transpose(1, 0, 2)
    within = np.arange(sample.codes.shape[1]) < sample.lengths[:, np.newaxis]
    return Judgement(float((~right).mean()), len(np.unique(exposed[within], axis=0)))


def harden_on(net: Recogniser, sample: Sample, checked: Sample | None = None) -> Hardened | None:
    """Harden a network for strings like those of a sample; None if it cannot be, or is then wrong on one of them.

    What a network does after a string that it could not learn from is nothing that it learned, and is not read: there
    the hardened network does as the smallest machine that fits the sample, or fails. Where that guess is wrong on other
    strings, the machine is read once more, from these too.

    Parameters
    ----------
    net
        The network.
    sample
        Strings that its machine is read from.
    checked
        Strings on which it is to be right as well; None for no others.

    Examples
    --------
    >>> from tallycell.learning.languages import language
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> dyck = language("dyck-1")
    >>> net = compile_machine(dyck.machine)
    >>> hardened = harden_on(net, dyck.draw(np.random.default_rng(0), 50))
    >>> hardened.extraction.machine.accepts("(())"), hardened.extraction.machine.accepts("(()")
    (True, False)
    """
    checked = sample if checked is None else checked
    read = np.zeros(len(checked.lengths), bool)  # which of them the machine is read from, too
    try:
        while True:
            inputs = [*strings_of(sample, net.alphabet), *strings_of(checked.of(np.flatnonzero(read)), net.alphabet)]
            extraction, walk = extract_with_walk(net, inputs)
            wrong = ~_machine_is_right(extraction.machine, net, checked)
            if (wrong & read).any() or not _machine_is_right(extraction.machine, net, sample).all():
                return None  # no other reading of the same strings is to be had
            if not wrong.any():
                break
            read |= wrong
        hardened = compile_extraction(net, extraction, walk, inputs)
    except TallycellError:
        return None
    right = _network_is_right(hardened.net, net, sample) and _network_is_right(hardened.net, net, checked)
    return hardened if right else None


def strings_of(sample: Sample, alphabet: Sequence[str]) -> list[list[str]]:
    """Give the strings of a sample, as symbols."""
    return [
        [alphabet[code] for code in codes[:length]] for codes, length in zip(sample.codes, sample.lengths, strict=True)
    ]


def _machine_is_right(machine: CounterMachine, like: Recogniser, sample: Sample) -> Bool[np.ndarray, " sequence"]:
    strings = Strings(sample.codes.T.astype(np.int64), sample.lengths, "training")
    decided = machine_decisions(machine, strings)[1:].transpose(1, 0, 2)
    return _is_right(decided[..., [machine.outputs.index(output) for output in like.outputs]], sample)


def _network_is_right(net: Recogniser, like: Recogniser, sample: Sample) -> bool:
    """Whether a network is right on all strings, run over a few at a time: large ones take much memory."""
    order, runner = [net.outputs.index(output) for output in like.outputs], NetworkRunner(net)
    for begin in range(0, len(sample.lengths), RUN_AT_ONCE):
        part = sample.of(np.arange(begin, min(begin + RUN_AT_ONCE, len(sample.lengths))))
        if not _is_right(runner.run(part.codes)[0][..., order], part).all():
            return False
    return True


def _is_right(decided: Bool[np.ndarray, "sequence time output"], sample: Sample) -> Bool[np.ndarray, " sequence"]:
    wrong = (decided != (sample.targets > 0.5)).any(-1) & sample.mask & sample.determined
    right: np.ndarray = ~wrong.any(1)
    return right
