"""What squashing functions do near their limits: the slope that is left to learn by, and what a gate leaks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.squashing_networks import squashing

NEAR, NEARER = 0.1, 0.01  # of a limit; the range is measured from 0, as in read_saturation
WIDE_OPEN = (5.0, 10.0)  # pre-activations of a forget gate
STEPS = 100
FARTHEST = 1e9  # where nothing is the limit below this, it never is

# By function: where it comes within d of its right limit, and its slope there.
Approach = Callable[[float], tuple[float, float]]
APPROACHES: dict[str, Approach | None] = {
    "sigmoid": lambda d: (math.log((1 - d) / d), d * (1 - d)),
    "hard_sigmoid": lambda d: ((0.5 - d) / 0.2, 0.2),
    "softsign_gate": lambda d: (1 / (2 * d) - 1, 2 * d**2),
    "tanh": lambda d: (math.atanh(1 - d), d * (2 - d)),
    "hard_tanh": lambda d: (1 - d, 1.0),
    "softsign": lambda d: (1 / d - 1, d**2),
    "relu": None,  # no limit on the right
    "sine": None,  # none at all
}
SLOPES_AT_0 = {
    "sigmoid": 1 / 4,
    "hard_sigmoid": 1 / 5,
    "softsign_gate": 1 / 2,
    "tanh": 1.0,
    "hard_tanh": 1.0,
    "softsign": 1.0,
    "relu": None,  # 0 on one side, 1 on the other
    "sine": 1.0,
}
GATES = ("sigmoid", "hard_sigmoid", "softsign_gate")


def rows_of_limits() -> list[dict[str, Any]]:
    """Give what is known of each function near its limits; None where it has none."""
    return [row_of(name, approach) for name, approach in APPROACHES.items()]


def row_of(name: str, approach: Approach | None) -> dict[str, Any]:
    """Give the same of one function."""
    near, nearer = (approach(d) if approach is not None else (None, None) for d in (NEAR, NEARER))
    row: dict[str, Any] = {"function": name, "slope_at_0": SLOPES_AT_0[name]}
    row |= {"x_at_0.1": near[0], "slope_at_0.1": near[1], "x_at_0.01": nearer[0], "slope_at_0.01": nearer[1]}
    row |= {"right_limit_from": limit_from(name, 1.0), "left_limit_from": limit_from(name, -1.0)}
    gate = squashing(name)
    for x in WIDE_OPEN:
        row[f"kept_at_{x:g}"] = float(gate(np.float64(x)) ** STEPS) if name in GATES else None
    return row


def limit_from(name: str, sign: float) -> float | None:
    """Give the least \\|x\\| from which float32 gives the limit itself; None if there is none, or none in reach."""
    function = squashing(name)
    limit = function.right if sign > 0 else function.left
    if limit is None or not math.isfinite(limit):
        return None

    def is_there(x: float) -> bool:
        return bool(function(np.float32(sign * x)) == limit)

    if not is_there(FARTHEST):
        return None
    low, high = 0.0, FARTHEST
    if is_there(low):
        return low
    while np.nextafter(np.float32(low), np.float32(high)) < np.float32(high):
        middle = (low + high) / 2
        low, high = (low, middle) if is_there(middle) else (middle, high)
    return high
