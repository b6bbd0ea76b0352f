"""When compiling pays.

The usual activations are compiled when they are first used. Any other choice costs seconds of compiling, which a short
run never earns back: it runs on the slower path, until that has been busy with it for about as long as compiling takes.
"""

from tallycell.activations import activation
from tallycell.kernels.cpu.passes import Slots
from tallycell.kernels.cpu.slots import slot_of
from tallycell.kernels.cpu.vector import Format, host_format
from tallycell.parameters import Activations

COMPILING_TAKES = 3.0  # seconds, about

_seconds_spent: dict[tuple[Format, Slots], float] = {}


def slots_of(activations: Activations) -> Slots:
    """Give the slots of a layer's activations."""
    return slot_of(activations.gate), slot_of(activations.cell), slot_of(activations.hidden)


_USUAL = (slot_of(activation("sigmoid")), slot_of(activation("tanh")), slot_of(activation("tanh")))


def is_ready(form: Format, slots: Slots) -> bool:
    """Whether the vector kernel is to run a choice of activations."""
    return slots == _USUAL or _seconds_spent.get((form, slots), 0.0) >= COMPILING_TAKES


def note_time(form: Format, slots: Slots, seconds: float) -> None:
    """Note how long the slower path was busy with a choice of activations."""
    _seconds_spent[form, slots] = _seconds_spent.get((form, slots), 0.0) + seconds


def prepare(activations: Activations, dtype: str) -> None:
    """Have a choice of activations compiled when it is next used, whatever has been spent on it."""
    note_time(host_format(dtype), slots_of(activations), COMPILING_TAKES)
