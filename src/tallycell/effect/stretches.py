"""Which steps of an input are measured: all of a short one, of a long one stretches spread evenly over it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from tallycell.errors import InputError
from tallycell.wording import quoted


@dataclass(frozen=True)
class Sampling:
    """How much of an input is measured, and how its noise is judged.

    Attributes
    ----------
    steps
        Steps to measure on, at most. Of a longer input, stretches of ``stretch`` steps are taken, spread evenly.
    stretch, lead
        Steps of a stretch, and how many steps before it a unit is held already, so that what follows from the hold is
        there when measuring begins. A stretch starts from the states of the free run.
    block
        Steps of a block for the interval; the square root of the steps measured on if None.
    draws
        How often the blocks are drawn anew.
    seed
        Of these draws.

    Raises
    ------
    InputError
        If a number is none, or is too small.

    Examples
    --------
    >>> Sampling(steps=1000)
    Sampling(steps=1000, stretch=500, lead=100, block=None, draws=1000, seed=0)
    """

    steps: int = 4000
    stretch: int = 500
    lead: int = 100
    block: int | None = None
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"steps": 1, "stretch": 1, "lead": 0, "block": 1, "draws": 100, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is None and name == "block":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < bound:
                raise InputError(
                    f"{name} of a sampling is {quoted(value)}; expected a whole number of at least {bound}"
                )


@dataclass(frozen=True)
class Stretch:
    """Some steps of a sequence that are measured, and the steps around them on which units are held already.

    Attributes
    ----------
    sequence
        Its number.
    first, begin, end, last
        Held from ``first`` to ``last``, measured from ``begin`` to ``end``; the second of each pair is not included.
    """

    sequence: int
    first: int
    begin: int
    end: int
    last: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Steps before, in and after what is measured: stretches of one shape run side by side."""
        return self.begin - self.first, self.end - self.begin, self.last - self.end

    def __len__(self) -> int:
        """Give the number of steps that are measured."""
        return self.end - self.begin


def choose_stretches(lengths: Int[np.ndarray, " sequence"], sampling: Sampling, *, both: bool) -> tuple[Stretch, ...]:
    """Choose what is measured.

    Parameters
    ----------
    lengths
        Steps of each sequence.
    sampling
        How much.
    both
        Whether the LSTM reads in both directions, so that units are held behind a stretch too.

    Examples
    --------
    >>> [(one.first, one.begin, one.end) for one in choose_stretches(np.array([9000]), Sampling(1000), both=False)]
    [(0, 0, 500), (8400, 8500, 9000)]
    """
    if lengths.sum() <= sampling.steps:
        return tuple(Stretch(k, 0, 0, int(steps), int(steps)) for k, steps in enumerate(lengths))
    every = [
        (k, begin, min(begin + sampling.stretch, steps))
        for k, steps in enumerate(lengths.tolist())
        for begin in range(0, max(steps - sampling.stretch, 0) + 1, sampling.stretch)
    ]
    sizes = [end - begin for _, begin, end in every]
    count = max(1, min(len(every), round(sampling.steps * len(every) / sum(sizes))))
    chosen = np.unique(np.linspace(0, len(every) - 1, count).round().astype(int)) if count > 1 else [len(every) // 2]
    found = []
    for k, begin, end in (every[number] for number in chosen):
        last = min(int(lengths[k]), end + sampling.lead) if both else end
        found.append(Stretch(k, max(0, begin - sampling.lead), begin, end, last))
    return tuple(found)
