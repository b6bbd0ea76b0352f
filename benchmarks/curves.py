"""Deletion and insertion: how a decision changes as the steps that a method calls important are taken out or put in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from benchmarks.attributions import Decision, Method
from benchmarks.subjects import Subject

POINTS = 20  # of a curve: each number of steps at first, then ever fewer of them
FEW = 5  # steps that ``tallycell explain`` names
MEASURES = ("deletion", "insertion", "five out")
HIGHER_IS_BETTER = {"deletion": True, "insertion": False, "five out": True}
SURE = 2.0  # standard errors of the paired difference, beyond which a method is worse than the best


@dataclass(frozen=True, eq=False)
class Compared:
    """What each method reached on each decision of a model.

    Attributes
    ----------
    subject
        The model.
    areas
        By method and measure: one number a decision.
    """

    subject: Subject
    areas: Mapping[str, Mapping[str, Float[np.ndarray, " decision"]]]

    def mean(self, method: str, measure: str) -> float:
        return float(self.areas[method][measure].mean())

    def error(self, method: str, measure: str) -> float:
        """Standard error of the mean."""
        return standard_error(self.areas[method][measure])

    def order(self, measure: str) -> list[str]:
        """Methods, the best first."""
        return sorted(self.areas, key=lambda one: self.mean(one, measure), reverse=HIGHER_IS_BETTER[measure])

    def as_good(self, measure: str) -> list[str]:
        """The best method, and those that cannot be told from it on these decisions."""
        best, *others = self.order(measure)
        return [best, *(one for one in others if not self.worse(one, best, measure))]

    def worse(self, method: str, other: str, measure: str) -> bool:
        """Whether a method is worse than another by more than chance, decision by decision."""
        less = self.areas[other][measure] - self.areas[method][measure]
        less = less if HIGHER_IS_BETTER[measure] else -less
        return bool(less.mean() > SURE * standard_error(less))


def standard_error(values: Float[np.ndarray, " decision"]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def compare(subject: Subject, chosen: Mapping[str, Method]) -> Compared:
    """Explain each decision by each method, and take the steps out and put them in."""
    found: dict[str, dict[str, list[float]]] = {name: {one: [] for one in MEASURES} for name in chosen}
    for number, decision in enumerate(subject.decisions):
        ties = np.random.default_rng(number).permutation(len(decision.x))
        for name, method in chosen.items():
            for measure, area in areas(decision, method(decision), ties).items():
                found[name][measure].append(area)
    arrays = {name: {one: np.array(values) for one, values in by.items()} for name, by in found.items()}
    return Compared(subject, arrays)


def areas(decision: Decision, scores: Float[np.ndarray, " time"], ties: Int[np.ndarray, " time"]) -> dict[str, float]:
    """Give the mean change over the curves, and the change without the first few steps.

    Of a class, steps that speak for it come first; of a number, those with the largest scores, up or down. A change is
    what the measure has lost; of a number, by how much it differs.
    """
    number = decision.network.kind == "number"
    order = ranked(np.abs(scores) if number else scores, ties)
    counts = counts_of(len(order))
    out = changed(decision, (order[:count] for count in counts))
    put = changed(decision, (order[count:] for count in counts))
    if number:
        out, put = np.abs(out), np.abs(put)
    shares = counts / len(order)
    return {
        "deletion": float(np.trapezoid(out, shares)),
        "insertion": float(np.trapezoid(put, shares)),
        "five out": float(out[list(counts).index(min(FEW, len(order)))]),
    }


def ranked(scores: Float[np.ndarray, " time"], ties: Int[np.ndarray, " time"]) -> Int[np.ndarray, " time"]:
    """Give the steps, the largest score first; which of equal ones comes first is drawn."""
    return np.lexsort((ties, -scores))


def counts_of(steps: int) -> Int[np.ndarray, " point"]:
    """How many steps are taken out: none, all, and ever fewer points between."""
    spaced = np.geomspace(1, steps, POINTS).round().astype(int)
    return np.unique([0, *spaced, min(FEW, steps)])


def changed(decision: Decision, taken: Iterable[np.ndarray]) -> Float[np.ndarray, " point"]:
    """Give what the decision loses where some steps are zeros, for each such choice of steps."""
    import torch

    x = [decision.x]
    for some in taken:
        x.append(decision.x.copy())
        x[-1][some] = 0
    with torch.no_grad():
        measured = decision.measure(torch.tensor(np.stack(x))).numpy()
    return measured[0] - measured[1:]


def against(compared: Sequence[Compared], ours: str, theirs: str) -> str:
    """Say where one method is worse than another, and where better, by more than chance."""
    places = [(one, measure) for one in compared for measure in MEASURES]
    worse, better = (
        [f"{one.subject.name} {measure}" for one, measure in places if one.worse(*pair, measure)]
        for pair in ((ours, theirs), (theirs, ours))
    )
    said = [f"{word} at {', '.join(where)}" for word, where in (("worse", worse), ("better", better)) if where]
    return f"{ours} beside {theirs}: {'; '.join(said) or 'not to be told apart'}"


def verdicts(compared: Sequence[Compared]) -> list[str]:
    """Say who wins where, and where the account stands."""
    said = []
    for one in compared:
        for measure in MEASURES:
            order, good = one.order(measure), one.as_good(measure)
            equals = f"; not to be told from it: {', '.join(good[1:])}" if good[1:] else ""
            best = f"{one.mean(good[0], measure):.3g} {one.subject.unit}"
            account = f"{order.index('account') + 1} of {len(order)}, {one.mean('account', measure):.3g}"
            said.append(f"{one.subject.name}, {measure}: {good[0]} ({best}){equals}; the account is {account}")
    return said
