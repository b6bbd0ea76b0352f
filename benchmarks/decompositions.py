"""Two ways to divide an output among the steps that were read, gates included, for comparison with the account.

``contextual_decomposition`` (Murdoch, Liu and Yu 2018) runs the network with every number in two parts, what comes of
one step and what does not; a squashed sum is divided by what each part adds to it, averaged over the orders in which
they come. ``between_two_runs`` carries the difference between two runs back to the inputs: through a squashing function
by its secant, through a product by the mean of both factors (DeepLIFT, Shrikumar et al. 2017, with the Shapley value
of a product of two, Lundberg and Lee 2017). Both sum to what they divide, exactly.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from tallycell.parameters import LayerParameters, LSTMParameters

NEAR = 1e-7  # of a difference: below it a secant has no digits left, and the derivative takes its place

Squash = Callable[[Any], Any]


def contextual_decomposition(
    parameters: LSTMParameters, x: Float[np.ndarray, "time feature"], row: np.ndarray, step: int
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """Give, of ``row @ h`` at a step, what comes of each step and what does not, (time,) each."""
    import torch

    parameters = parameters.astype(np.float64)  # before the two biases of a layer are added
    given, each = torch.tensor(x, dtype=torch.float64), torch.eye(len(x), dtype=torch.float64)[..., None]
    wanted, other = each * given[:, None], (1 - each) * given[:, None]  # (time, step that is asked for, feature)
    with torch.no_grad():
        for number in range(parameters.num_layers):
            halves = []
            for direction in range(parameters.num_directions):
                turned = [one.flip(0) if direction else one for one in (wanted, other, each)]
                parts = _decompose_layer(parameters.layer(number, direction), *turned)
                halves.append([one.flip(0) if direction else one for one in parts])
            wanted, other = (torch.cat(one, dim=-1) for one in zip(*halves, strict=True))
    return wanted[step].numpy() @ row, other[step].numpy() @ row


def _decompose_layer(layer: LayerParameters, wanted: Any, other: Any, asked: Any) -> tuple[Any, Any]:
    """Run one layer in one direction in two parts, tensors (time, step, unit) each."""
    import torch

    W, R, bias = (torch.tensor(np.array(one)) for one in (layer.weight_ih.T, layer.weight_hh.T, layer.total_bias))
    c, d, h, k = torch.zeros(4, wanted.shape[1], layer.hidden_size, dtype=torch.float64)  # of the step, and of the rest
    kept: tuple[list[Any], list[Any]] = [], []
    for x, y, here in zip(wanted @ W, other @ W, asked, strict=True):
        split = ((x + h @ R).chunk(4, -1), (y + k @ R).chunk(4, -1), bias.chunk(4))
        i, f, g, o = zip(*split, strict=True)
        (a, b, e), (p, q, r) = _divide(*i, torch.sigmoid), _divide(*f, torch.sigmoid)
        u, v, w = _divide(*g, torch.tanh)
        always = e * w
        d = (p + q + r) * d + q * c + b * (u + v + w) + (a + e) * v + (1 - here) * always
        c = (p + r) * c + a * (u + w) + e * u + here * always
        shown, both = torch.sigmoid(sum(o)), torch.tanh(c + d)
        alone, rest = torch.tanh(c), torch.tanh(d)
        h, k = shown * (alone + both - rest) / 2, shown * (rest + both - alone) / 2
        kept[0].append(h)
        kept[1].append(k)
    return torch.stack(kept[0]), torch.stack(kept[1])


def _divide(a: Any, b: Any, bias: Any, squash: Squash) -> tuple[Any, Any, Any]:
    """Divide the squashed sum of two parts and a bias, which comes first, among them."""
    both, first, second, none = squash(a + b + bias), squash(a + bias), squash(b + bias), squash(bias)
    return (first - none + both - second) / 2, (second - none + both - first) / 2, none


@dataclass(frozen=True, eq=False)
class _Steps:
    """One layer in one direction over a sequence: all that a step reads and makes, (time, ...) each."""

    pre: np.ndarray  # (time, gate, unit)
    gates: np.ndarray
    before: np.ndarray  # c before each step
    c: np.ndarray
    h: np.ndarray


def between_two_runs(
    parameters: LSTMParameters, x: np.ndarray, baseline: np.ndarray, row: np.ndarray, step: int, *, gates: bool = True
) -> Float[np.ndarray, " time"]:
    """Give what each step does to ``row @ h`` at a step, less what it is where every input is the baseline's.

    Entries sum to the difference of the two runs: a step may act through any gate. Without ``gates`` it acts through
    the candidate alone, and they do not.
    """
    parameters = parameters.astype(np.float64)
    runs = [list(_run(parameters, one)) for one in (x, baseline)]
    asked = np.zeros((len(x), len(row)))
    asked[step] = row
    for number in range(parameters.num_layers - 1, -1, -1):
        below: np.ndarray | float = 0.0
        for direction, part in enumerate(np.split(asked, parameters.num_directions, axis=1)):
            order = slice(None, None, -1 if direction else 1)
            one, other = (run[number][direction] for run in runs)
            below = below + _carry_back(parameters.layer(number, direction), part[order], (one, other), gates)[order]
        asked = np.asarray(below)
    entries: np.ndarray = (asked * (x - baseline)).sum(-1)
    return entries


def _run(parameters: LSTMParameters, x: np.ndarray) -> Iterator[list[_Steps]]:
    for number in range(parameters.num_layers):
        halves = []
        for direction in range(parameters.num_directions):
            order = slice(None, None, -1 if direction else 1)
            halves.append(_run_layer(parameters.layer(number, direction), x[order]))
        yield halves
        x = np.concatenate([one.h[:: -1 if k else 1] for k, one in enumerate(halves)], axis=-1)


def _run_layer(layer: LayerParameters, x: np.ndarray) -> _Steps:
    c, h = np.zeros(layer.hidden_size), np.zeros(layer.hidden_size)
    kept = []
    for projected in x @ layer.weight_ih.T + layer.total_bias:
        pre = (projected + layer.weight_hh @ h).reshape(4, -1)
        gates = np.stack([expit(pre[0]), expit(pre[1]), np.tanh(pre[2]), expit(pre[3])])
        before, c = c, gates[1] * c + gates[0] * gates[2]
        h = gates[3] * np.tanh(c)
        kept.append((pre, gates, before, c, h))
    return _Steps(*map(np.stack, zip(*kept, strict=True)))


def _carry_back(layer: LayerParameters, asked: np.ndarray, runs: tuple[_Steps, _Steps], gates: bool) -> np.ndarray:
    """Give by what the difference of each input is multiplied, from that of each h; (time, feature)."""
    one, other = runs
    mean = (one.gates + other.gates) / 2
    slope = np.stack([_secant(expit if k != 2 else np.tanh, one.pre[:, k], other.pre[:, k]) for k in range(4)], axis=1)
    if not gates:
        slope[:, [0, 1, 3]] = 0
    of_c = _secant(np.tanh, one.c, other.c)
    shown, before = (np.tanh(one.c) + np.tanh(other.c)) / 2, (one.before + other.before) / 2
    on_c, on_h = np.zeros(layer.hidden_size), np.zeros(layer.hidden_size)
    on_x = np.zeros((len(asked), layer.weight_ih.shape[1]))
    for t in range(len(asked) - 1, -1, -1):
        i, f, g, o = mean[t]
        on_h = on_h + asked[t]
        on_c = on_c + on_h * o * of_c[t]
        on_pre = np.concatenate([on_c * g, on_c * before[t], on_c * i, on_h * shown[t]]) * slope[t].ravel()
        on_x[t], on_h, on_c = on_pre @ layer.weight_ih, on_pre @ layer.weight_hh, on_c * f
    return on_x


def _secant(squash: Squash, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    middle = squash((a + b) / 2)
    flat = 1 - middle**2 if squash is np.tanh else middle * (1 - middle)
    slope: np.ndarray = np.divide(squash(a) - squash(b), a - b, out=flat, where=np.abs(a - b) > NEAR)
    return slope
