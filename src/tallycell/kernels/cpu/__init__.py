"""The kernel for CPUs: the reference's signature, on SIMD vectors that Numba compiles.

``vector`` is the vector type, ``squash`` and ``numpy_on_vectors`` the functions on it, ``slots`` the choice of
activations, ``tile`` the matrix product in registers, ``forward`` and ``backward`` the compiled passes, ``extras`` what
few LSTMs have, ``packing``, ``memory`` and ``threads`` what feeds them, ``passes`` the passes with their arrays,
``layer`` the kernel's signature, ``one_step`` the same for streaming, ``readiness`` when compiling pays.
"""

from tallycell.kernels.cpu.layer import lstm_backward, lstm_forward, unsupported
from tallycell.kernels.cpu.one_step import OneStep
from tallycell.kernels.cpu.readiness import is_ready, note_time, prepare, slots_of
from tallycell.kernels.cpu.vector import host_format

__all__ = [
    "OneStep",
    "host_format",
    "is_ready",
    "lstm_backward",
    "lstm_forward",
    "note_time",
    "prepare",
    "slots_of",
    "unsupported",
]
