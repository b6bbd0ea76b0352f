"""Which kernel runs a layer."""

import logging
import time

from tallycell.kernels import cpu, reference
from tallycell.kernels.interface import LayerInput, Steps
from tallycell.parameters import LayerParameters

logger = logging.getLogger("tallycell")

_told: set[str] = set()


def tell_once(reason: str) -> None:
    """Log, the first time, why the slower path is taken."""
    if reason not in _told:
        _told.add(reason)
        logger.info("%s: the slower path runs this LSTM", reason)


def lstm_forward(layer: LayerParameters, inputs: LayerInput, *, keep_pre: bool = False) -> Steps:
    """Run one layer in one direction on the vector kernel; what it leaves out, on the reference kernel.

    The reference kernel runs activations that do not compile for vectors; one line in the log ``tallycell`` says so the
    first time. It also runs unusual activations until compiling them pays
    (:mod:`~tallycell.kernels.cpu.readiness`).
    """
    reason = cpu.unsupported(layer)
    if reason is not None:
        tell_once(reason)
        return reference.lstm_forward(layer, inputs, keep_pre=keep_pre)
    form, slots = cpu.host_format(str(layer.weight_ih.dtype)), cpu.slots_of(layer.activations)
    if cpu.is_ready(form, slots):
        return cpu.lstm_forward(layer, inputs, keep_pre=keep_pre)
    start = time.perf_counter()
    steps = reference.lstm_forward(layer, inputs, keep_pre=keep_pre)
    cpu.note_time(form, slots, time.perf_counter() - start)
    return steps
