"""Calls of an LSTM in an ONNX model: what each read and made, and how those that follow each other are joined."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Call:
    """One run of one site: x (time, sequence, feature), y (time, sequence, direction * unit), states by direction.

    For a node of direction ``reverse`` each sequence of x and y is turned, so that it stands in the order of reading.
    """

    x: np.ndarray
    y: np.ndarray
    h_0: np.ndarray
    c_0: np.ndarray
    h_n: np.ndarray
    c_n: np.ndarray
    lengths: np.ndarray | None

    def goes_on(self, before: "Call") -> bool:
        """Whether it starts from the states in which the one before ended, one direction, without lengths."""
        return (
            len(self.h_0) == 1
            and self.lengths is None
            and before.lengths is None
            and np.array_equal(self.h_0, before.h_n)
            and np.array_equal(self.c_0, before.c_n)
        )


@dataclass(frozen=True, eq=False)
class Tapped:
    """What one LSTM read and made while its model ran.

    Attributes
    ----------
    x
        What it read, (time, sequence, feature), in the order in which it read it: for a node of direction ``reverse``
        each sequence is turned, and so is ``y``, so that the node's parameters give ``y`` for ``x``.
    h_0, c_0
        The states it started from, (direction, sequence, unit).
    y
        What the runtime made of it, (time, sequence, direction * unit).
    lengths
        Steps of each sequence; None if all are full.

    Examples
    --------
    >>> one = Tapped(np.zeros((5, 1, 3)), np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), np.zeros((5, 1, 2)))
    >>> [state.shape for state in one.state]
    [(1, 1, 2), (1, 1, 2)]
    """

    x: Float[np.ndarray, "time sequence feature"]
    h_0: Float[np.ndarray, "direction sequence unit"]
    c_0: Float[np.ndarray, "direction sequence unit"]
    y: Float[np.ndarray, "time sequence direction*unit"]
    lengths: Int[np.ndarray, " sequence"] | None = None

    @property
    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """h_0 and c_0, as :func:`tallycell.record_trace` takes them."""
        return self.h_0, self.c_0


def chains(calls: list[Call]) -> list[list[Call]]:
    """Part calls into those that follow each other in time."""
    found: list[list[Call]] = []
    for call in calls:
        if found and call.goes_on(found[-1][-1]):
            found[-1].append(call)
        else:
            found.append([call])
    return found


def join(runs: list[list[Call]]) -> Tapped:
    """Join calls: those of a chain follow each other in time; chains are further sequences."""
    xs, ys = ([np.concatenate([getattr(call, what) for call in run]) for run in runs] for what in ("x", "y"))
    h_0, c_0 = (np.concatenate([getattr(run[0], what) for run in runs], axis=1) for what in ("h_0", "c_0"))
    lengths = np.concatenate(
        [
            np.full(x.shape[1], len(x)) if run[0].lengths is None else run[0].lengths
            for x, run in zip(xs, runs, strict=True)
        ]
    )
    time = max(map(len, xs))
    is_full = all(run[0].lengths is None for run in runs) and (lengths == time).all()
    return Tapped(_side_by_side(xs, time), h_0, c_0, _side_by_side(ys, time), None if is_full else lengths)


def _side_by_side(arrays: list[np.ndarray], time: int) -> np.ndarray:
    """Sequences of different lengths beside each other, zero beyond their end."""
    padded = [np.pad(one, ((0, time - len(one)), (0, 0), (0, 0))) for one in arrays]
    return padded[0] if len(padded) == 1 else np.concatenate(padded, axis=1)
