"""What ends a proof of counting, in words: the unit and the gate, and where a difference may first be seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tallycell.machine.proving.coupling import Coupling
from tallycell.machine.proving.proof import Growth, Outcome, Prover
from tallycell.wording import quoted, shown

SETTLED = 240  # symbols after which rates of growth are steady, and over which they are measured
OF_FORMAT = 0.25  # of the whole numbers of the format: who gets there is ended by the format
UNLIKELY = 100  # times the horizon: drift that takes so long is not what ended the proof
WORST = 0.5  # of the largest leak or mismatch: of those from there on the one whose gate is farthest from its limit


def explain(prover: Prover, symbols: int, proved: Outcome, broken: Outcome) -> tuple[str, int | None]:
    """Say what ends the proof after so many symbols, and predict the first difference.

    Parameters
    ----------
    prover
        What proved it.
    symbols
        The horizon.
    proved, broken
        The outcomes at the horizon and just beyond it.

    Returns
    -------
    tuple
        A text; the predicted first difference in symbols, None where there is none.
    """
    if broken.proved:
        return "nothing, as no cell drifts", None
    arithmetic = prover.steps.arithmetic
    alive = ~prover.coupling.failed
    start, boxes = prover.start.d, proved.boxes.d
    size = np.maximum(start.lo - boxes.lo, boxes.hi - start.hi)[alive].max(0)
    if symbols * prover.speed.max(initial=1) >= OF_FORMAT * 2.0**arithmetic.bits:
        text = f"the number format: {arithmetic.dtype} counts in steps of 1 exactly up to {2**arithmetic.bits:,}"
        return text, 2 * symbols + 2
    if size.max(initial=0) <= 0:
        return uncertain_decision(prover, broken), None
    _, growth = prover.follow(proved.boxes, symbols)
    cell = _to_blame(prover, symbols, proved, size)
    leaks = _leaks(prover, growth, cell)
    drift = _drift(prover, growth, cell, leaks)
    predicted = _when(prover, float(size[cell]), drift, leaks)
    if predicted > UNLIKELY * (symbols + 1) and broken.node >= 0:
        return uncertain_decision(prover, broken), None
    if leaks.loss_within(prover, symbols) > drift * symbols / 2:
        text = _leak_text(prover.coupling, growth, cell, leaks)
    else:
        text = _step_text(prover, growth, cell, drift)
    return text, max(predicted, symbols + 1)


def uncertain_decision(prover: Prover, broken: Outcome) -> str:
    """Say which decision is not certain."""
    if broken.node < 0:
        return "the boxes around the network's states grow without end"
    output = prover.steps.net.outputs[broken.output]
    return f"output {quoted(output)} is not certain in {situation_text(prover.coupling, broken.node)}"


def situation_text(coupling: Coupling, node: int) -> str:
    """Put a situation in words, such as ``state start with depth > 8``."""
    machine = coupling.shadow.machine
    text = f"state {shown((*machine.states, 'fail')[int(coupling.state[node])])}"
    parts = []
    for name, least, greatest in zip(machine.counters, coupling.least[node], coupling.greatest[node], strict=True):
        sign = "<" if np.isinf(least) else ">" if np.isinf(greatest) else "="
        value = greatest + 1 if np.isinf(least) else least - 1 if np.isinf(greatest) else least
        parts.append(f"{shown(name)} {sign} {int(value)}")
    return f"{text} with {', '.join(parts)}" if parts else text


def _to_blame(prover: Prover, symbols: int, proved: Outcome, size: np.ndarray) -> int:
    """Give the cell without whose drift the proof would go further; if there is none, the one that drifts most."""
    order = np.argsort(-size)
    beyond = max(symbols + 1, int(symbols * 1.1))
    for cell in order[:8].tolist():
        if size[cell] > 0 and prover.prove(beyond, proved.boxes, still=cell).proved:
            return int(cell)
    return int(order[0])


def _counting_edges(coupling: Coupling, growth: Growth, cell: int) -> Bool[np.ndarray, " edge"]:
    """Edges between situations where the same counters are large, on which the cell is kept."""
    alive = ~coupling.failed[coupling.source] & ~coupling.failed[coupling.target]
    inside = alive & coupling.unbounded[coupling.source].any(-1) & (growth.gates.f.lo[:, cell] > 0.5)
    counting: np.ndarray = inside & (coupling.unbounded[coupling.source] == coupling.unbounded[coupling.target]).all(-1)
    return counting if counting.any() else alive


@dataclass(frozen=True, eq=False)
class _Leaks:
    """What one step loses of a cell, as a share of it: while it grows, while it shrinks and while it holds.

    ``edges`` are where that is most; ``fastest`` is how much the cell grows or shrinks in a step.
    """

    shares: Float[np.ndarray, " way"]
    edges: tuple[int, ...]
    fastest: Float[np.ndarray, " way"]

    def loss_within(self, prover: Prover, symbols: int) -> float:
        """Most that a string of so many symbols loses that takes the cell as far as it holds it and back again."""
        rising, falling, holding = self.shares
        up, down, _ = self.fastest
        if up <= 0 or down <= 0:
            return 0.0
        share = np.linspace(0, 1, 65)  # of the way up and down, the rest is spent at the top
        top = share * symbols / (1 / up + 1 / down)
        lost = (rising / up + falling / down) * top**2 / 2 + holding * top * (1 - share) * symbols
        return float(lost.max())


def _leaks(prover: Prover, growth: Growth, cell: int) -> _Leaks:
    coupling, f = prover.coupling, growth.gates.f
    weights = prover.steps.weights[coupling.target, cell, :-1]
    moved = (weights * coupling.step).sum(-1)
    sign = np.sign((weights * np.where(np.isinf(coupling.from_greatest), 1.0, -1.0) * coupling.keep).sum(-1))
    outward = np.sign(moved * sign)
    lost = np.where(_counting_edges(coupling, growth, cell), 1 - (f.lo[:, cell] + f.hi[:, cell]) / 2, 0.0)
    shares, edges, fastest = [], [], []
    for way in (1, -1, 0):
        of_way = np.where(outward == way, lost, 0.0)
        edges.append(int(of_way.argmax()))
        shares.append(max(float(of_way.max()), 0.0))
        fastest.append(float(np.abs(moved[outward == way]).max(initial=0.0)))
    return _Leaks(np.array(shares), tuple(edges), np.array(fastest))


def _drift(prover: Prover, growth: Growth, cell: int, leaks: _Leaks) -> float:
    """How far the cell drifts in a symbol while counters are small, beside what it leaks there."""
    settled = prover.after(prover.start.d, growth.gates.f, growth.slow, SETTLED)
    later = prover.after(settled, growth.gates.f, growth.slow, SETTLED)
    alive = ~prover.coupling.failed
    grown = np.maximum(settled.lo - later.lo, later.hi - settled.hi)[alive, cell].max() / SETTLED
    least = np.minimum(np.abs(prover.coupling.from_least), np.abs(prover.coupling.from_greatest)).max(initial=0)
    return max(float(grown - leaks.shares.max() * least), 0.0)


def _when(prover: Prover, size: float, drift: float, leaks: _Leaks) -> int:
    """Symbols after which drift and leaks together reach a size."""
    low, high = 1, 2**62
    while high > low + 1:
        middle = (low + high) // 2
        reached = drift * middle + leaks.loss_within(prover, middle) >= size
        low, high = (low, middle) if reached else (middle, high)
    return high


def _leak_text(coupling: Coupling, growth: Growth, cell: int, leaks: _Leaks) -> str:
    f, edge = growth.gates.f, leaks.edges[int(leaks.shares.argmax())]
    symbol = coupling.shadow.machine.alphabet[int(coupling.symbol[edge])]
    where = situation_text(coupling, int(coupling.source[edge]))
    lost = 1 - (f.lo[edge, cell] + f.hi[edge, cell]) / 2
    return f"unit {cell} leaks: its forget gate f loses {lost:.2g} of the cell at {quoted(symbol)} in {where}"


def _step_text(prover: Prover, growth: Growth, cell: int, drift: float) -> str:
    coupling, (i, _, g) = prover.coupling, growth.gates
    weights = prover.steps.weights[coupling.target, cell, :-1]
    wanted = (weights * coupling.step).sum(-1)
    found = ((i.lo + i.hi) * (g.lo + g.hi) / 4)[:, cell]
    off = np.where(_counting_edges(coupling, growth, cell), np.abs(found - wanted), 0.0)
    # How far gates are from their limits: both where the step should be whole, the nearer to 0 where it should be 0.
    open_i, open_g = (i.lo + i.hi)[:, cell] / 2, np.abs(g.lo + g.hi)[:, cell] / 2
    holds = np.abs(wanted) < 0.5
    gaps = np.where(holds, [np.minimum(open_i, open_g), 0 * open_g], [1 - open_i, 1 - open_g])
    worst = np.where(off >= WORST * off.max(), gaps.max(0), -1.0)
    edge = int(worst.argmax())
    gate = ("input gate i", "candidate g")[int(gaps[:, edge].argmax())]
    symbol = coupling.shadow.machine.alphabet[int(coupling.symbol[edge])]
    where = situation_text(coupling, int(coupling.source[edge]))
    return (
        f"unit {cell} steps unequally: by its {gate} it moves by {found[edge]:.9g} instead of {wanted[edge]:.9g} at "
        f"{quoted(symbol)} in {where}, and drifts by up to {drift:.2g} a symbol"
    )
