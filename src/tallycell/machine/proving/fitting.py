"""How much of each counter each cell holds, in each situation: the guess that a proof of counting starts from.

In a situation where a counter can be any number, a cell is a weight times the counter and something bounded. The weight
is the same wherever the cell is kept while the counter is: it is chosen so that the cell drifts least from it, around
every loop of the situations at once (a linear program, whose potentials are the bounded parts).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from tallycell.machine.proving.coupling import Coupling
from tallycell.machine.proving.shadow import Shadow

KEPT = 0.5  # a forget gate above it keeps the cell
MOST_ROWS = 4000  # of a linear program
EXACT = 1e-12  # a weight so near to a multiple of 1/GRID is that multiple
GRID = 1024.0
IN_FAIL = 1e-3  # what drift in fail counts for: nobody sees the cell there


def fit_weights(coupling: Coupling) -> Float[np.ndarray, "node cell counter"]:
    """Give the weight of each counter in each cell; 0 where a counter is bounded or the cell does not follow it."""
    nodes, counters = coupling.least.shape
    cells = coupling.gates.shape[2]
    weights = np.zeros((nodes, cells, counters))
    for cell in range(cells) if counters else ():
        component = np.stack([_components(coupling, cell, counter) for counter in range(counters)], -1)
        if (component >= 0).any():
            weights[:, cell] = _least_drift(coupling, cell, component)
    near = np.rint(weights * GRID) / GRID
    return np.where(np.abs(weights - near) <= EXACT, near, weights)


def follow_in_fail(coupling: Coupling, weights: Float[np.ndarray, "node cell counter"]) -> Shadow:
    """Give the shadow whose counters go in ``fail`` as the network's cells were seen to go there.

    Each counter follows the cell that holds it alone, with the largest weight.
    """
    shadow = coupling.shadow
    reset, step = shadow.reset.copy(), shadow.step.copy()
    failing = np.flatnonzero(coupling.failed[coupling.target] & ~np.isnan(coupling.gates).any((1, 2)))
    at = (coupling.state[coupling.source], coupling.symbol, coupling.view[coupling.source])
    for k in range(weights.shape[2]):
        alone = (np.delete(weights, k, axis=2) == 0).all(-1)
        size = np.where(alone & ~coupling.failed[:, np.newaxis], np.abs(weights[..., k]), 0.0)
        node, cell = np.unravel_index(size.argmax(), size.shape)
        if size[node, cell] == 0:
            continue
        written = coupling.gates[:, 0, cell] * coupling.gates[:, 2, cell]
        moved = np.rint(coupling.modulus[k] * written / weights[node, cell, k])
        cleared = coupling.gates[:, 1, cell] <= KEPT
        for edge in failing[~coupling.failed[coupling.source[failing]]].tolist():
            row = tuple(int(one[edge]) for one in at)
            reset[row][k], step[row][k] = cleared[edge], moved[edge]
        for symbol in range(reset.shape[1]):
            inside = failing[coupling.failed[coupling.source[failing]] & (coupling.symbol[failing] == symbol)]
            if len(inside):
                found, counts = np.unique(np.stack([cleared[inside], moved[inside]]), axis=1, return_counts=True)
                reset[-1, symbol, :, k], step[-1, symbol, :, k] = found[:, counts.argmax()]
    return replace(shadow, reset=reset, step=step)


def _components(coupling: Coupling, cell: int, counter: int) -> np.ndarray:
    """Give the number of the component of each node, in which one weight holds; -1 where the weight is 0."""
    unbounded = coupling.unbounded[:, counter]
    inside = unbounded[coupling.source] & unbounded[coupling.target] & coupling.keep[:, counter]
    inside &= np.isinf(coupling.from_least[:, counter]) | np.isinf(coupling.from_greatest[:, counter])
    kept = ~(coupling.gates[:, 1, cell] <= KEPT)
    parent = np.arange(len(unbounded))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = int(parent[node])
        return node

    if coupling.failed[coupling.target[inside & ~kept]].any():  # what is lost in fail says nothing of elsewhere
        inside &= coupling.failed[coupling.source] == coupling.failed[coupling.target]
    for edge in np.flatnonzero(inside & kept).tolist():
        parent[root(int(coupling.source[edge]))] = root(int(coupling.target[edge]))
    refreshed = {root(int(node)) for node in coupling.target[inside & ~kept]}
    roots = [root(node) for node in range(len(parent))]
    return np.array([r if there and r not in refreshed else -1 for r, there in zip(roots, unbounded, strict=True)])


def _least_drift(coupling: Coupling, cell: int, component: np.ndarray) -> Float[np.ndarray, "node counter"]:
    """Weights of one cell that leave it the least drift."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_matrix

    edges = _chosen_edges(coupling, cell, component)
    names = sorted({(k, int(r)) for k in range(component.shape[1]) for r in component[:, k] if r >= 0})
    column = {name: k for k, name in enumerate(names)}
    nodes = {int(n): k + len(names) for k, n in enumerate(np.unique([coupling.source[edges], coupling.target[edges]]))}
    variables = len(names) + len(nodes) + 4  # the last four: drift upward and downward, a step; and in fail
    entries: list[tuple[int, int, float]] = []
    bounds = []
    for row, edge in enumerate(edges.tolist()):
        source, target = int(coupling.source[edge]), int(coupling.target[edge])
        moved = coupling.gates[edge, 0, cell] * coupling.gates[edge, 2, cell]
        terms = {nodes[source]: 1.0}
        terms[nodes[target]] = terms.get(nodes[target], 0.0) - 1.0
        for k in range(component.shape[1]):
            if component[target, k] >= 0 and coupling.keep[edge, k]:
                terms[column[k, int(component[target, k])]] = -float(coupling.step[edge, k])
        last = variables - 2 if coupling.failed[target] else variables - 4
        for sign, drift in ((1.0, last), (-1.0, last + 1)):
            entries += [(2 * row + (sign < 0), at, sign * value) for at, value in terms.items()]
            entries.append((2 * row + (sign < 0), drift, -1.0))
            bounds.append(-sign * moved)
    if not entries:
        return np.zeros(component.shape)
    rows, columns, values = zip(*entries, strict=True)
    matrix = coo_matrix((values, (rows, columns)), shape=(len(bounds), variables))
    cost = np.zeros(variables)
    cost[-4:] = 1.0, 1.0, IN_FAIL, IN_FAIL
    limits = [(None, None)] * (variables - 4) + [(0, None)] * 4
    solved = linprog(cost, A_ub=matrix.tocsr(), b_ub=np.array(bounds), bounds=limits)
    found = np.zeros(component.shape)
    if solved.status == 0:
        for (k, r), at in column.items():
            found[component[:, k] == r, k] = solved.x[at]
    return found


def _chosen_edges(coupling: Coupling, cell: int, component: np.ndarray) -> np.ndarray:
    """Edges that keep the cell between situations where the same counters are unbounded; few counters first."""
    follows = component >= 0
    same = (coupling.unbounded[coupling.source] == coupling.unbounded[coupling.target]).all(-1)
    kept = coupling.gates[:, 1, cell] > KEPT
    edges = np.flatnonzero(same & kept & follows[coupling.source].any(-1))
    order = np.argsort(coupling.unbounded[coupling.source[edges]].sum(-1), kind="stable")
    return edges[order[: MOST_ROWS // 2]]
