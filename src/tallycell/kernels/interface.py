"""What goes into a kernel and what comes out of it.

Every kernel has two functions::

    lstm_forward(layer: LayerParameters, inputs: LayerInput, *, keep_pre: bool = False) -> Steps
    lstm_backward(layer: LayerParameters, inputs: LayerInput, steps: Steps, gradient: StepsGradient) -> LayerGradients

Arrays are (time, sequence, unit), contiguous, in the dtype of the weights. ``time`` is the input's step also in the
reverse direction: there c[t] is the state after step t has been read from the right.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

Steps3D = Float[np.ndarray, "time sequence unit"]
HeldValues = Mapping[str, Float[np.ndarray, "time unit"] | Float[np.ndarray, "time sequence unit"]]


@dataclass(frozen=True, eq=False)
class LayerInput:
    """What one layer reads in one direction.

    Attributes
    ----------
    x
        (time, sequence, feature). What stands beyond a sequence's length is never read.
    h_0, c_0
        Initial states, (sequence, hidden) and (sequence, unit).
    lengths
        Steps of each sequence, 1 to time; None if all are full.
    reverse
        Whether the sequence is read from its last step to its first.
    held
        By the letter of a gate or state, the values it is held at, (time, unit) or (time, sequence, unit); NaN where
        it is free. Those that do not differ may be a broadcast view.
    """

    x: Float[np.ndarray, "time sequence feature"]
    h_0: Float[np.ndarray, "sequence hidden"]
    c_0: Float[np.ndarray, "sequence unit"]
    lengths: Int[np.ndarray, " sequence"] | None = None
    reverse: bool = False
    held: HeldValues = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Steps:
    """What all steps of one layer and direction leave behind.

    Attributes
    ----------
    i, f, g, o, c, h
        Gates after their activation and states, (time, sequence, unit); NaN beyond a sequence's length.
    h_n, c_n
        States after each sequence's last step (in the reverse direction: after its first).
    i_pre, f_pre, g_pre, o_pre
        Pre-activations as the activations saw them (clipped), or None if not kept.
    """

    i: Steps3D
    f: Steps3D
    g: Steps3D
    o: Steps3D
    c: Steps3D
    h: Float[np.ndarray, "time sequence hidden"]
    h_n: Float[np.ndarray, "sequence hidden"]
    c_n: Float[np.ndarray, "sequence unit"]
    i_pre: Steps3D | None = None
    f_pre: Steps3D | None = None
    g_pre: Steps3D | None = None
    o_pre: Steps3D | None = None


@dataclass(frozen=True, eq=False)
class StepsGradient:
    """Gradients of a loss to what a forward pass returned; None means zero. Shapes as in :class:`Steps`."""

    i: Steps3D | None = None
    f: Steps3D | None = None
    g: Steps3D | None = None
    o: Steps3D | None = None
    c: Steps3D | None = None
    h: Float[np.ndarray, "time sequence hidden"] | None = None
    h_n: Float[np.ndarray, "sequence hidden"] | None = None
    c_n: Float[np.ndarray, "sequence unit"] | None = None


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """Gradients to what a layer read and to its weights; ``bias`` is that of ``bias_ih`` and of ``bias_hh`` alike."""

    x: Float[np.ndarray, "time sequence feature"]
    h_0: Float[np.ndarray, "sequence hidden"]
    c_0: Float[np.ndarray, "sequence unit"]
    weight_ih: Float[np.ndarray, "gates feature"]
    weight_hh: Float[np.ndarray, "gates hidden"]
    bias: Float[np.ndarray, " gates"]
    weight_hr: Float[np.ndarray, "projection unit"] | None
    weight_ch: Float[np.ndarray, " peepholes"] | None
