"""A few levels for many values: Lloyd's algorithm, and the nearest level."""

import math

import numpy as np
from jaxtyping import Float, Int

from tallycell.activations import Activation
from tallycell.kernels.cpu.compiling import compiled


def middle(activation: Activation) -> float:
    """Half-way between an activation's limits; 0.5 where one of them is not finite."""
    left, right = activation.left, activation.right
    if left is None or right is None or not (math.isfinite(left) and math.isfinite(right)):
        return 0.5
    return (left + right) / 2


def nearest_level(values: Float[np.ndarray, " step"], levels: Float[np.ndarray, " level"]) -> Int[np.ndarray, " step"]:
    """Index of the level nearest to each value; levels ascend."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.int64)


class Sorted:
    """Values in ascending order with cumulated weights, from which levels of any number follow in no time.

    Parameters
    ----------
    values
        In any order.
    weights
        How much each counts; 1 if None.
    """

    def __init__(self, values: Float[np.ndarray, " step"], weights: Float[np.ndarray, " step"] | None = None) -> None:
        if weights is None:
            self.values = np.sort(values)
            weight, moment = np.arange(1.0, len(values) + 1), np.cumsum(self.values)
        else:
            order = np.argsort(values)
            self.values, weights = values[order], weights[order]
            weight, moment = np.cumsum(weights), np.cumsum(weights * self.values)
        self._weight = np.concatenate([[0.0], weight])
        self._moment = np.concatenate([[0.0], moment])

    def quantile(self, share: Float[np.ndarray, " share"]) -> Float[np.ndarray, " share"]:
        """Quantiles of the values, weights left aside, as ``np.quantile`` has them."""
        place = share * (len(self.values) - 1)
        low = np.floor(place).astype(np.int64)
        a, b = self.values[low], self.values[np.minimum(low + 1, len(self.values) - 1)]
        part = place - low
        between: np.ndarray = np.where(part >= 0.5, b - (b - a) * (1 - part), a + (b - a) * part)
        return between

    def levels(self, count: int) -> Float[np.ndarray, " level"]:
        """Levels by Lloyd's algorithm, as :func:`lloyd_levels` gives them."""
        first = self.quantile((np.arange(count) + 0.5) / count)
        levels: np.ndarray = np.sort(_lloyd(self.values, self._weight, self._moment, first))
        return levels


def lloyd_levels(
    values: Float[np.ndarray, " step"], weights: Float[np.ndarray, " step"], count: int
) -> Float[np.ndarray, " level"]:
    """Levels that quantise values with little weighted squared error, ascending.

    Lloyd's algorithm in one dimension, on sorted values with cumulative sums, from the quantiles on. Source: S. Lloyd,
    "Least squares quantization in PCM", 1982.

    Examples
    --------
    >>> lloyd_levels(np.array([0.0, 0.1, 0.9, 1.0]), np.ones(4), 2)
    array([0.05, 0.95])
    """
    return Sorted(values, weights).levels(count)


@compiled
def _lloyd(ordered, weight, moment, levels):  # type: ignore[no-untyped-def]
    """Move each level to the mean of the values nearest to it until none moves, at most 100 times."""
    count = len(levels)
    for _ in range(100):
        moved = levels.copy()
        low = 0
        for k in range(count):
            high = len(ordered) if k == count - 1 else np.searchsorted(ordered, (levels[k + 1] + levels[k]) / 2)
            mass = weight[high] - weight[low]
            if mass > 0:
                moved[k] = (moment[high] - moment[low]) / mass
            low = high
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels
