"""How good a trained network is, told from strings of its training alone: snapped, and hardened."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tallycell.errors import TallycellError
from tallycell.learning.languages import Sample
from tallycell.machine.extracting.recording import record_strings
from tallycell.machine.extracting.snapping import SnappedNetwork
from tallycell.machine.extracting.strings import Strings
from tallycell.machine.hardening import Hardened, harden
from tallycell.recogniser import Recogniser


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


def harden_on(net: Recogniser, sample: Sample) -> Hardened | None:
    """Harden a network for strings like those of a sample; None if it cannot be, or is then wrong on one of them.

    What a network does after a string that it could not learn from is nothing that it learned, and is not read: there
    the hardened network does as the smallest machine that fits the sample, or fails.

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
    strings = Strings(sample.codes.T.astype(np.int64), sample.lengths, "training")
    try:
        hardened = harden(net, strings_of(sample, net.alphabet))
    except TallycellError:
        return None
    decided = record_strings(hardened.net, strings).decided[1:].transpose(1, 0, 2)
    order = [hardened.net.outputs.index(output) for output in net.outputs]
    return hardened if _is_right(decided[..., order], sample).all() else None


def strings_of(sample: Sample, alphabet: Sequence[str]) -> list[list[str]]:
    """Give the strings of a sample, as symbols."""
    return [
        [alphabet[code] for code in codes[:length]] for codes, length in zip(sample.codes, sample.lengths, strict=True)
    ]


def _is_right(decided: Bool[np.ndarray, "sequence time output"], sample: Sample) -> Bool[np.ndarray, " sequence"]:
    wrong = (decided != (sample.targets > 0.5)).any(-1) & sample.mask & sample.determined
    right: np.ndarray = ~wrong.any(1)
    return right
