"""What a traced run gives besides its output."""

from dataclasses import dataclass

from torch import Tensor

ByLayer = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, eq=False)
class Gates:
    """Gates after their activation, and states, of every step, on the autograd graph.

    Each is a tuple by layer of a tuple by direction: ``gates.f[layer][direction]``, laid out as the output is: (time,
    sequence, unit), with ``batch_first`` (sequence, time, unit), unbatched (time, unit). ``time`` is the input's step
    also in the reverse direction. Of a packed sequence, what stands beyond a sequence's length is NaN.

    Attributes
    ----------
    i, f, g, o
        Input gate, forget gate, candidate, output gate: within their activation's range, dimensionless.
    c
        Cell state, dimensionless.
    h
        Hidden state; the projected one where there is a projection.
    """

    i: ByLayer
    f: ByLayer
    g: ByLayer
    o: ByLayer
    c: ByLayer
    h: ByLayer
