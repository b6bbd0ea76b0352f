"""A unit along its steps, in letters or as a picture: which stretch stands for it, and marks for what has none."""

import numpy as np
from jaxtyping import Float

BLANKS = {"\n": "⏎", "\t": "⇥"}
LIVELY = (92, 24)  # steps that have to be seen, in letters and in words: whoever shows fewer shows some of the former


def find_liveliest(
    c: Float[np.ndarray, " step"], size: int, beside: Float[np.ndarray, " step"] | None = None
) -> int:  # fmt: skip
    """Find the stretch in whose middle a cell moves most, and a quantity with it if one is given.

    The middle has 92 steps; of fewer, the liveliest 24 of these. So whoever shows more of a unit shows the same, and
    what is around it.

    Parameters
    ----------
    c
        The cell. What moves far from 0 counts more.
    size
        Steps of the stretch.
    beside
        What the cell follows; NaN where nothing is known.

    Returns
    -------
    int
        Its first step.

    Examples
    --------
    >>> cell = np.repeat([0.0, 5, 0, 5, 0], [500, 40, 10, 40, 500])
    >>> find_liveliest(cell, 92), find_liveliest(cell, 192), find_liveliest(cell, 2000)
    (499, 449, 0)
    """
    begin, end = 0, len(c)
    for steps in LIVELY:
        if steps < end - begin:
            moved = _moved_within(c, steps)
            if beside is not None:
                moved = np.minimum(moved, _moved_within(np.nan_to_num(beside), steps))
            begin += int(np.argmax(moved[begin : end - steps + 1]))
            end = begin + steps
        if steps <= size:
            break
    return max(min((begin + end - size) // 2, len(c) - size), 0)


def _moved_within(values: Float[np.ndarray, " step"], size: int) -> Float[np.ndarray, " begin"]:
    """How much values move within each stretch of a size, as a share of the largest; far from 0 counts more."""
    moved = np.abs(np.diff(values, prepend=values[:1])) * (1 + np.abs(values))
    total = np.concatenate([[0.0], np.cumsum(moved)])
    within: np.ndarray = total[size:] - total[: len(total) - size]
    return within / (float(within.max()) or 1.0)
