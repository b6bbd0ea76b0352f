"""One time step a call, for streaming: everything is laid out once, and a call only copies in and out."""

import numpy as np
from jaxtyping import Float

from tallycell.kernels.cpu.extras import extras_of
from tallycell.kernels.cpu.memory import aligned
from tallycell.kernels.cpu.packing import packed_weights
from tallycell.kernels.cpu.passes import forward_arguments, forward_code, new_buffers
from tallycell.kernels.cpu.readiness import slots_of
from tallycell.kernels.cpu.vector import host_format
from tallycell.parameters import LayerParameters


class OneStep:
    """One layer, ready to take single time steps of some sequences; for one thread at a time."""

    def __init__(self, layer: LayerParameters, sequences: int) -> None:
        units = layer.hidden_size
        self._form, self._slots = host_format(str(layer.weight_ih.dtype)), slots_of(layer.activations)
        self._weights = packed_weights(layer, self._form)
        self._x = aligned((1, sequences, layer.weight_ih.shape[1]), self._form.dtype)
        self._buffers = new_buffers(self._form, 1, sequences, units, width=self._weights.width)
        self._buffers.c[...] = 0
        self._buffers.h[...] = 0
        self._here = self._x[0]
        self._h_before, self._h_after = (state[..., : layer.output_size] for state in self._buffers.h)
        self._c_before, self._c_after = (state[..., :units] for state in self._buffers.c)
        self._extras = extras_of(layer, self._form, self._weights, {}, sequences)
        self._beside = self._extras and self._extras.arguments
        self._code = forward_code(self._form, self._slots, extras=self._extras is not None)
        self._arguments = forward_arguments(self._form, self._weights, self._x, self._buffers, reverse=False)

    def __call__(
        self, x: Float[np.ndarray, "sequence feature"], h: Float[np.ndarray, "sequence hidden"],
        c: Float[np.ndarray, "sequence unit"],
    ) -> None:  # fmt: skip
        """Take a step in place: h and c are written over."""
        self._here[...] = x
        self._h_before[...] = h
        self._c_before[...] = c
        self._code(self._form, self._slots, self._arguments, self._beside)
        h[...] = self._h_after
        c[...] = self._c_after
