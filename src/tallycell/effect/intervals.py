"""How much of an effect may be noise: an interval from blocks of steps, or whole sequences, drawn anew.

Steps that follow each other are alike, so that single steps may not be drawn: where there are few sequences, blocks of
neighbouring steps are. Held and free run are drawn together, so that what is hard in both does not count.

Sources: Efron 1979 (the bootstrap), Künsch 1989 (moving blocks).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from tallycell.effect.stretches import Sampling, Stretch

ENOUGH_SEQUENCES = 20  # from which sequences are drawn, not blocks of steps
LEAST_DRAWN = 6  # blocks or sequences: of fewer no interval is made
LEVELS = (0.025, 0.975)


def sums_to_draw(
    terms: Float[np.ndarray, "*case term step"], stretches: Sequence[Stretch], block: int | None
) -> tuple[Float[np.ndarray, "piece *case term"], int]:
    """Sum what is measured over every piece that may be drawn, and say how many are drawn together.

    Parameters
    ----------
    terms
        What each measured step adds to the sums that a score is made of, the stretches laid end to end.
    stretches
        Where the steps come from. Of 20 sequences or more each is a piece, of fewer every block of neighbouring steps.
    block
        Steps of a block; the square root of all steps if None.

    Examples
    --------
    >>> sums, count = sums_to_draw(np.ones((1, 100)), [Stretch(0, 0, 0, 100, 100)], None)
    >>> sums.shape, count, sums[0]
    ((91, 1), 10, array([10.]))
    """
    ends = np.cumsum([len(one) for one in stretches])
    sequences = [one.sequence for one in stretches]
    parts = [terms[..., end - len(one) : end] for one, end in zip(stretches, ends, strict=True)]
    if len(set(sequences)) >= ENOUGH_SEQUENCES:
        by_sequence: dict[int, np.ndarray] = {}
        for number, part in zip(sequences, parts, strict=True):
            by_sequence[number] = by_sequence.get(number, 0) + part.sum(-1)
        return np.stack(list(by_sequence.values())), len(by_sequence)
    size = block or max(1, math.isqrt(int(ends[-1])))
    sums = []
    for part in parts:
        total = np.concatenate([np.zeros_like(part[..., :1]), np.cumsum(part, axis=-1)], axis=-1)
        width = min(size, part.shape[-1])
        sums.append(total[..., width:] - total[..., : total.shape[-1] - width])
    drawn = max(1, round(int(ends[-1]) / min(size, max(len(one) for one in stretches))))
    return np.moveaxis(np.concatenate(sums, axis=-1), -1, 0), drawn


def interval(
    held: Float[np.ndarray, "piece case term"],
    free: Float[np.ndarray, "piece term"],
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
    drawn: int,
    sampling: Sampling,
) -> tuple[Float[np.ndarray, " case"], Float[np.ndarray, " case"]]:
    """Give the ends of the 95 % interval of what each case loses; NaN where there is too little to draw.

    Parameters
    ----------
    held, free
        Sums over each piece, of :func:`sums_to_draw`.
    loss
        What is lost, from the sums of the held cases and of the free run: (case, term) and (term,) to (case,).
    drawn
        Pieces of one draw.
    sampling
        Draws and seed.
    """
    cases = held.shape[1]
    if drawn < LEAST_DRAWN:
        return np.full(cases, np.nan), np.full(cases, np.nan)
    random = np.random.default_rng(sampling.seed)
    losses = np.empty((sampling.draws, cases))
    for k in range(sampling.draws):
        pieces = random.integers(len(held), size=drawn)
        losses[k] = loss(held[pieces].sum(0), free[pieces].sum(0))
    low, high = np.quantile(losses, LEVELS, axis=0)
    return low, high
