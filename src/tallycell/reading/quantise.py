"""A few levels for many values: Lloyd's algorithm."""

import math

import numpy as np
from jaxtyping import Float

from tallycell.activations import Activation
from tallycell.kernels.cpu.compiling import compiled


def middle(activation: Activation) -> float:
    """Half-way between an activation's limits; 0.5 where one of them is not finite."""
    left, right = activation.left, activation.right
    if left is None or right is None or not (math.isfinite(left) and math.isfinite(right)):
        return 0.5
    return (left + right) / 2


class Sorted:
    """Values in ascending order with cumulated weights, from which levels of any number follow in no time.

    Parameters
    ----------
    values
        In any order.
    weights
        How much each counts.
    """

    def __init__(self, values: Float[np.ndarray, " step"], weights: Float[np.ndarray, " step"]) -> None:
        order = np.argsort(values)
        weights = weights[order]
        self.values = values[order]
        self._weight, self._moment = _cumulated(weights), _cumulated(weights * self.values)

    @classmethod
    def ascending(cls, values: Float[np.ndarray, " step"]) -> "Sorted":
        """Take values that ascend already, each of which counts 1."""
        made = cls.__new__(cls)
        made.values, made._weight, made._moment = values, np.arange(len(values) + 1.0), _cumulated(values)
        return made

    def quantile(self, share: Float[np.ndarray, " share"]) -> Float[np.ndarray, " share"]:
        """Quantiles of the values, weights left aside, as ``np.quantile`` has them."""
        place = share * (len(self.values) - 1)
        low = np.floor(place).astype(np.int64)
        a, b = self.values[low], self.values[np.minimum(low + 1, len(self.values) - 1)]
        part = place - low
        between: np.ndarray = np.where(part >= 0.5, b - (b - a) * (1 - part), a + (b - a) * part)
        return between

    def levels(self, count: int) -> Float[np.ndarray, " level"]:
        """Levels that quantise the values with little weighted squared error, ascending.

        Lloyd's algorithm in one dimension, on cumulative sums, from the quantiles on. Source: S. Lloyd, "Least squares
        quantization in PCM", 1982.

        Examples
        --------
        >>> Sorted(np.array([0.0, 1.0, 0.1, 0.9]), np.ones(4)).levels(2)
        array([0.05, 0.95])
        """
        first = self.quantile((np.arange(count) + 0.5) / count)
        levels: np.ndarray = np.sort(_lloyd(self.values, self._weight, self._moment, first))
        return levels


def _cumulated(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step+1"]:
    """Sum the values before each."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums


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
