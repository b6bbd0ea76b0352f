"""Compiled machines that are spoiled on purpose, and the strongest search for the first string that shows it."""

from dataclasses import dataclass, replace

import numpy as np

from tallycell.machine.checking.exhaustive import check_all
from tallycell.machine.checking.sampling import Distribution, changed_strings, worthy
from tallycell.machine.checking.search import search_difference
from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.recogniser import Recogniser

SATURATED = 20.0  # pre-activation of a compiled gate in float32
MOST_STRINGS = 300_000
DRAWN = 3000


def spoil(net: Recogniser, noise: float, seed: int, *, soften: bool = False) -> Recogniser:
    """Multiply each weight by 1 plus relative Gaussian noise.

    Softened, the weights of the LSTM are made so much smaller before that a gate is about as far from its limit as the
    noise is large.
    """
    rng = np.random.default_rng(seed)
    share = -np.log(noise) / SATURATED if soften else 1.0

    def change(weights: np.ndarray, share: float = 1.0) -> np.ndarray:
        return (weights * share * (1 + noise * rng.normal(size=weights.shape))).astype(weights.dtype)

    weights = {name: change(weight, share) for name, weight in net.parameters.weights.items()}
    return replace(
        net,
        parameters=replace(net.parameters, weights=weights),
        readout_weight=change(net.readout_weight),
        readout_bias=change(net.readout_bias),
    )


@dataclass(frozen=True)
class Found:
    """The shortest string on which machine and network were seen to differ: its length (None: nowhere), and how."""

    symbols: int | None
    how: str


def first_difference(both: SideBySide, *, longest: int, budget: int) -> Found:
    """Search among all short strings, strings drawn, those with a symbol changed, and loops in all combinations."""
    letters = len(both.machine.alphabet)
    length = int(np.log(MOST_STRINGS) / np.log(letters))
    found = [Found(len(check_all(both, length).first_difference or ()), f"exhaustive to {length}")]
    rng = np.random.default_rng(0)
    for symbols in ("legal", "uniform"):
        drawn = Distribution("geometric", 60, symbols).draw(both.machine, DRAWN, rng)
        changed = changed_strings([drawn[k] for k in worthy(both.machine, drawn)], letters, rng)
        for strings, how in ((drawn, "drawn"), (changed, "a symbol changed")):
            first = both.differing_steps(strings)[1]
            found.append(Found(int(first[first > 0].min(initial=longest + 1)) if (first > 0).any() else 0, how))
    searched = search_difference(both, longest=longest, budget=budget)
    found.append(Found(searched.symbols or 0, searched.text))
    seen = [one for one in found if one.symbols]
    return min(seen, key=lambda one: one.symbols) if seen else Found(None, "")
