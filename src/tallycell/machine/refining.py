"""How far the size of a cell shows: where a gate tells tanh(1) from tanh(2), signs are too coarse."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from tallycell.machine.snapping import SnappedNetwork
from tallycell.machine.walk import Walk

LARGEST_REACH = 18  # tanh(18) and tanh(19) differ in float64; in float32 no gate tells tanh(9) from tanh(10)
_SHARE = 0.5  # of the largest doubt about a gate: cells that cause so much of it are looked at more closely


def refine(snapped: SnappedNetwork, walk: Walk) -> SnappedNetwork | None:
    """Tell larger sizes apart where a gate, or the readout, may depend on them; None if none does.

    A cell at its reach or beyond exposes something between tanh(reach) and 1. Where a gate could be open at one end
    and closed at the other, the cells that decide it get a reach greater by one.
    """
    assert snapped.reach is not None
    doubt = np.zeros(snapped.cells, bool)
    for layer in range(snapped.layers):
        doubt |= _doubtful(snapped, walk, layer)
    doubt |= _doubtful_readout(snapped, walk)
    doubt &= snapped.reach < LARGEST_REACH
    return replace(snapped, reach=snapped.reach + doubt) if doubt.any() else None


def _exposed(
    snapped: SnappedNetwork, walk: Walk, layer: int, situations: np.ndarray
) -> Float[np.ndarray, "row hidden"]:
    """Give h of a layer in situations."""
    of_layer = snapped.cells_of(layer)
    h = snapped.exposed(layer, walk.level[situations][:, of_layer], walk.expose[situations][:, of_layer])
    return np.where((situations == 0)[:, None], snapped.initial_h()[layer], h)


def _slack(snapped: SnappedNetwork, walk: Walk, situations: np.ndarray, layer: int) -> Float[np.ndarray, "row unit"]:
    """How much less than its limit each cell of a layer may expose, with its sign; 0 where it is known."""
    assert snapped.reach is not None
    of_layer = snapped.cells_of(layer)
    level, expose = walk.level[situations][:, of_layer], walk.expose[situations][:, of_layer]
    reach = snapped.reach[of_layer]
    hidden = snapped.net.parameters.slots().hidden
    assert hidden.left is not None
    assert hidden.right is not None
    least_up, least_down = hidden(reach.astype(float)) - hidden.right, hidden(-reach.astype(float)) - hidden.left
    slack = np.where(level >= reach, least_up, np.where(level <= -reach, least_down, 0.0))
    # At the start h is given.
    return np.where(expose & (situations > 0)[:, None], slack, 0.0)


def _doubtful(snapped: SnappedNetwork, walk: Walk, layer: int) -> Bool[np.ndarray, " cell"]:
    """Tell which cells may decide a gate of a layer by their size."""
    weights, units = snapped.weights[layer], snapped.units
    h = _exposed(snapped, walk, layer, walk.source)
    below = snapped.net.inputs.astype(float)[walk.symbol] if layer == 0 else None
    x = _exposed(snapped, walk, layer - 1, walk.target) if below is None else below
    pre = snapped.pre_activations(layer, x, h)
    columns = [(_slack(snapped, walk, walk.source, layer), _through(snapped, layer, weights.weight_hh), layer)]
    if layer:
        slack = _slack(snapped, walk, walk.target, layer - 1)
        columns.append((slack, _through(snapped, layer - 1, weights.weight_ih), layer - 1))
    of_layer = snapped.cells_of(layer)
    moves = snapped.moves(layer, x, h)
    matters = np.stack(
        [
            np.ones_like(moves.keep),
            walk.level[walk.source][:, of_layer] != 0,
            moves.step != 0,
            walk.level[walk.target][:, of_layer] != 0,
        ],
        axis=1,
    )
    doubt = np.zeros(snapped.cells, bool)
    for gate in range(4):
        for unit in range(units):
            rows = matters[:, gate, unit]
            parts = [(slack[rows] * weight[gate * units + unit], where) for slack, weight, where in columns]
            doubt |= _deciding(snapped, pre[rows, gate, unit], parts)
    return doubt


def _doubtful_readout(snapped: SnappedNetwork, walk: Walk) -> Bool[np.ndarray, " cell"]:
    net, top = snapped.net, snapped.layers - 1
    situations = np.arange(len(walk.level))
    weight = _through(snapped, top, net.readout_weight.astype(float))
    logits = _exposed(snapped, walk, top, situations) @ net.readout_weight.astype(float).T + net.readout_bias
    slack = _slack(snapped, walk, situations, top)
    doubt = np.zeros(snapped.cells, bool)
    if net.decision == "threshold":
        for output in range(len(net.outputs)):
            doubt |= _deciding(snapped, logits[:, output], [(slack * weight[output], top)])
        return doubt
    winner = logits.argmax(axis=1)
    for output in range(len(net.outputs)):
        rows = winner != output
        lead = logits[rows, winner[rows]] - logits[rows, output]
        doubt |= _deciding(snapped, lead, [(slack[rows] * (weight[winner[rows]] - weight[output]), top)])
    return doubt


def _through(snapped: SnappedNetwork, layer: int, weight: np.ndarray) -> np.ndarray:
    """Weights on what the units of a layer expose, through its projection."""
    projection = snapped.weights[layer].weight_hr
    return weight if projection is None else weight @ projection


def _deciding(
    snapped: SnappedNetwork, value: np.ndarray, parts: list[tuple[np.ndarray, int]]
) -> Bool[np.ndarray, " cell"]:
    """Cells whose size may change the sign of a value, given what each may add to it."""
    against = [np.maximum(-part * np.sign(value)[:, None], 0.0) for part, _ in parts]
    flips = sum(one.sum(axis=1) for one in against) >= np.abs(value)
    doubt = np.zeros(snapped.cells, bool)
    if not flips.any():
        return doubt
    most = np.maximum.reduce([one[flips].max(axis=1) for one in against])
    for one, (_, layer) in zip(against, parts, strict=True):
        doubt[snapped.cells_of(layer)] |= ((one[flips] >= _SHARE * most[:, None]) & (one[flips] > 0)).any(axis=0)
    return doubt
