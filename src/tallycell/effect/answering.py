"""From holds to losses: every case is run, scored step by step, and set against the free run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float

from tallycell.effect.effects import Suffering
from tallycell.effect.holding import Case, FreeRun, Ran, run_held, run_in_pieces
from tallycell.effect.intervals import interval, sums_to_draw
from tallycell.effect.outputs import Readout
from tallycell.effect.pushing import Pushes
from tallycell.effect.scores import Family, Score, predict
from tallycell.effect.stretches import Sampling, Stretch
from tallycell.effect.targets import Targets
from tallycell.memory import require_memory

SLICE = 8 << 20  # numbers that are predicted at once
ROUNDINGS = 64  # a loss of fewer roundings is none: the free run was added up in another order
OFTEN = 20  # steps with a class as the target, from which it is said that it suffers
SURE = 3.0  # standard errors by which it must
MOST_SUFFERING = 3


@dataclass(frozen=True, eq=False)
class Question:
    """What is measured: whose outputs, against what, where.

    Attributes
    ----------
    readout, family
        The outputs, and what kind they are of.
    free
        The run in which nothing is held.
    targets
        What the outputs should be.
    score
        How good they are.
    stretches
        Where that is measured, those of one shape side by side.
    sampling
        How blocks are drawn.
    scale
        Center and spread that make of a prediction what the targets are counted in.
    whole
        Whether the score is a function of whole stretches.
    """

    readout: Readout
    family: Family
    free: FreeRun
    targets: Targets
    score: Score
    stretches: tuple[Stretch, ...]
    sampling: Sampling
    scale: tuple[float, float] = (0.0, 1.0)
    whole: bool = False

    @property
    def steps(self) -> int:
        """Steps that are measured."""
        return sum(map(len, self.stretches))

    def groups(self) -> Iterator[tuple[int, tuple[Stretch, ...]]]:
        """Give the stretches that run side by side, and the number of the first measured step of each group."""
        begin = 0
        for _, group in groupby(self.stretches, lambda one: one.shape):
            stretches = tuple(group)
            yield begin, stretches
            begin += sum(map(len, stretches))

    def predicted(self, h: Float[np.ndarray, "direction *batch hidden"]) -> Float[np.ndarray, "*batch output"]:
        """Make predictions of h by direction."""
        found = predict(self.family, self.readout, self.readout.logits(h))
        if self.targets.output is not None:
            found = found[..., [self.targets.output]]
        center, spread = self.scale
        return found if self.scale == (0.0, 1.0) else found * spread + center

    def target(self, stretches: Sequence[Stretch]) -> Float[np.ndarray, "time stretch target"]:
        """Give the targets on stretches of one length; zeros where there are none."""
        values = self.targets.values
        if values is None:
            return np.zeros((len(stretches[0]), len(stretches), 1))
        return np.stack([values[one.sequence, one.begin : one.end] for one in stretches], axis=1)

    def terms(
        self, stretches: Sequence[Stretch], steps: slice, h: Float[np.ndarray, "direction time stretch case hidden"]
    ) -> Float[np.ndarray, "case term step"]:
        """Give what each of some steps adds to the sums of a score; the stretches end to end."""
        free, target = self.free.measured(stretches)[:, steps], self.target(stretches)[steps]
        width = h.shape[3] * len(self.readout)
        found = []
        for of_stretches, of_steps in _portions(len(target), len(stretches), width, whole=self.whole):
            held = self.predicted(h[:, of_steps, of_stretches])
            alone = self.predicted(free[:, of_steps, of_stretches])
            found.append(
                self.score.terms(_in_line(held), _in_line(alone), _in_line(target[of_steps, of_stretches]))
            )  # fmt: skip
        return np.concatenate(found, axis=1).transpose(2, 0, 1)

    def loss(self, held: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Give what is lost, from sums of terms."""
        lost: np.ndarray = self.score.worse * (self.score.total(held) - self.score.total(free))
        return lost


@dataclass(frozen=True, eq=False)
class Losses:
    """What each case loses under one kind of hold, with the ends of its interval, and the bits lost by class."""

    loss: Float[np.ndarray, " case"]
    low: Float[np.ndarray, " case"]
    high: Float[np.ndarray, " case"]
    suffering: tuple[tuple[Suffering, ...], ...]


def free_terms(question: Question) -> Float[np.ndarray, "term step"]:
    """Give what each step of the free run adds to the sums of the score."""
    found = []
    for _, stretches in question.groups():
        h = question.free.measured(stretches)
        found.append(question.terms(stretches, slice(None), h[:, :, :, np.newaxis])[0])
    return np.concatenate(found, axis=-1)


def lose(question: Question, cases: Sequence[Case], kind: str, pushes: Pushes | None) -> Losses:
    """Hold each case, and give what it loses.

    Parameters
    ----------
    question
        What is measured.
    cases
        What is held together, in order of the lowest layer of each.
    kind
        How.
    pushes
        Where it is added what the cases push, if they are not shown; else None.
    """
    free = free_terms(question)
    needed = 3 * len(cases) * free.size * free.itemsize
    require_memory(needed, f"scoring {len(cases):,} holds at {question.steps:,} steps needs")
    held = np.empty((len(cases), *free.shape))
    for begin, stretches in question.groups():
        steps = len(stretches[0])
        for ran in _runs(question, stretches, cases, kind):
            some = stretches[ran.stretches]
            terms = question.terms(some, ran.steps, ran.h)
            for k, part in enumerate(np.split(terms, len(some), axis=-1)):
                first = begin + (ran.stretches.start + k) * steps
                held[ran.cases, :, first + ran.steps.start : first + ran.steps.stop] = part
            if pushes is not None:
                pushes.add(question.free, some, ran)
    loss = question.loss(held.sum(-1), free.sum(-1))
    drawn, count = sums_to_draw(np.concatenate([held, free[np.newaxis]]), question.stretches, question.sampling.block)
    low, high = interval(drawn[:, :-1], drawn[:, -1], question.loss, count, question.sampling)
    none = np.abs(loss) <= _rounding(question, free)
    loss, low, high = (np.where(none, np.where(np.isnan(end), end, 0.0), end) for end in (loss, low, high))
    return Losses(loss, low, high, _suffering(question, held, free))


def _runs(question: Question, stretches: Sequence[Stretch], cases: Sequence[Case], kind: str) -> Iterator[Ran]:
    """Run the cases; where the score is a function of whole stretches, give no less at once."""
    if not question.whole:
        yield from run_in_pieces(question.free, stretches, cases, kind)
        return
    for of_stretches, of_cases, h in run_held(question.free, stretches, cases, kind):
        yield Ran(of_stretches, of_cases, slice(0, h.shape[1]), h)


def _portions(steps: int, stretches: int, width: int, *, whole: bool) -> Iterator[tuple[slice, slice]]:
    """Cut stretches into portions that are not too large, in the order of stretches end to end."""
    if steps * stretches * width <= SLICE and not whole:
        yield slice(0, stretches), slice(0, steps)
        return
    size = steps if whole else max(1, SLICE // width)
    for k in range(stretches):
        for begin in range(0, steps, size):
            yield slice(k, k + 1), slice(begin, begin + size)


def _in_line(values: Float[np.ndarray, "time stretch ..."]) -> Float[np.ndarray, "step ..."]:
    """Lay stretches end to end."""
    return np.moveaxis(values, 1, 0).reshape(-1, *values.shape[2:])


def _rounding(question: Question, free: np.ndarray) -> float:
    """Give a loss that the order of adding up may make."""
    scale = max(1.0, float(np.nan_to_num(np.abs(question.score.total(free.sum(-1))))))
    if question.family == "numbers" and question.score.name in ("mse", "divergence"):
        sizes = [np.nanmean(np.square(question.predicted(question.free.measured(s)))) for _, s in question.groups()]
        scale = float(np.mean(sizes))
    return ROUNDINGS * float(np.finfo(question.free.h.dtype).eps) * scale


def _suffering(question: Question, held: np.ndarray, free: np.ndarray) -> tuple[tuple[Suffering, ...], ...]:
    """Find the classes that are worse in each case: often enough a target, and by more than their error."""
    names = question.readout.names
    if question.score.name != "bits" or question.family != "classes" or names is None:
        return ((),) * len(held)
    target = np.concatenate([_in_line(question.target(s))[:, 0] for _, s in question.groups()])
    known = ~np.isnan(target)
    classes, lost = target[known].astype(int), (held - free)[:, 1, known]
    counts = np.bincount(classes, minlength=len(names))
    often = np.flatnonzero(counts >= OFTEN)
    found = []
    for row in lost:
        mean = np.bincount(classes, row, len(names))[often] / counts[often]
        spread = np.bincount(classes, row**2, len(names))[often] / counts[often] - mean**2
        error = np.sqrt(np.maximum(spread, 0) / counts[often])
        order = [k for k in np.argsort(-mean).tolist() if mean[k] > SURE * error[k]][:MOST_SUFFERING]
        found.append(tuple(Suffering(names[often[k]], float(mean[k]), int(counts[often[k]])) for k in order))
    return tuple(found)


def in_blocks(score: Callable[..., float], steps: int, *, targets: bool) -> Callable[..., np.ndarray]:
    """Make terms of a function of blocks of steps: its value stands at the first step of each block."""

    def terms(held: np.ndarray, _free: np.ndarray, target: np.ndarray) -> np.ndarray:
        found = np.zeros((2, len(held), held.shape[1]))
        for begin in range(0, max(len(held) - steps, 0) + 1, steps):
            given = (target[begin : begin + steps],) if targets else ()
            for case in range(held.shape[1]):
                found[:, begin, case] = 1.0, float(score(held[begin : begin + steps, case], *given))
        return found

    return terms
