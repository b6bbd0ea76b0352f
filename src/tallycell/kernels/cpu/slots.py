"""Which squashing function stands in which slot: a choice made by type, when the kernel is compiled.

A :class:`Slot` is passed to compiled functions as an argument without content. Its type names the activation, so that
each choice is compiled into the kernel, costs nothing when it runs, and has its own entry in the compile cache.
"""

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.core.errors import NumbaError
from numba.extending import NativeValue, models, overload, register_model, typeof_impl, unbox

import tallycell.kernels.cpu.numpy_on_vectors  # noqa: F401  teaches Numba the functions that activations use
from tallycell.activations import Activation
from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.kernels.cpu.squash import sigmoid, tanh
from tallycell.kernels.cpu.vector import host_format, vload, vstore

logger = logging.getLogger("tallycell")

_KNOWN: dict[str, Activation] = {}  # by the key of the slot: what to compile when Numba asks


@dataclass(frozen=True)
class Slot:
    """An activation as an argument of compiled functions.

    Attributes
    ----------
    key
        Its name, constants and a fingerprint of its code: a user who changes an activation gets a new kernel.
    """

    key: str


class SlotType(types.Type):
    """Numba's type of a :class:`Slot`."""

    def __init__(self, key: str) -> None:
        self.key_of_slot = key
        super().__init__(name=f"Slot({key})")


@typeof_impl.register(Slot)
def _typeof_slot(value: Slot, _: Any) -> SlotType:
    return SlotType(value.key)


register_model(SlotType)(models.OpaqueModel)


@unbox(SlotType)
def _unbox_slot(_type: SlotType, _object: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


def squash(slot, x):
    """Value of the slot's activation at a vector of pre-activations."""
    raise NotImplementedError("squash is compiled; it has no Python version")


def slope(slot, x, y):
    """Give the derivative of the slot's activation at x, where its value is y; x counts where y does not suffice."""
    raise NotImplementedError("slope is compiled; it has no Python version")


@overload(squash, jit_options={"forceinline": True})
def _choose_squash(slot, x):
    chosen = _KNOWN[slot.key_of_slot]
    value = {"sigmoid": sigmoid, "tanh": tanh}.get(chosen.name) or _compilable(chosen.value)
    return lambda slot, x: value(x)


@overload(slope, jit_options={"forceinline": True})
def _choose_slope(slot, x, y):
    derivative = _compilable(_KNOWN[slot.key_of_slot].derivative)
    return lambda slot, x, y: derivative(x, y)


def _compilable(function: Any) -> Any:
    """Make a function known to Numba; one of NumPy's own (``np.sin``) is called from a function of ours."""
    if isinstance(function, np.ufunc):
        return inlined(lambda x: function(x))
    return inlined(function)


def slot_of(activation: Activation) -> Slot:
    """Give the slot of an activation."""
    slot = Slot(f"{activation!r} {activation.fingerprint}")
    _KNOWN.setdefault(slot.key, activation)
    return slot


@compiled
def _probe(form, slot, numbers):
    """Compile both functions of a slot."""
    x = vload(form, numbers, 0)
    y = squash(slot, x)
    vstore(form, slope(slot, x, y), numbers, 0)


@cache
def _compiles(slot: Slot) -> bool:
    numbers = np.zeros(64)
    try:
        _probe(host_format("float64"), slot, numbers.ctypes.data)
    except NumbaError as error:
        logger.debug("%s does not compile for vectors: %s", slot.key, error)
        return False
    return True


def compiles(activation: Activation) -> bool:
    """Whether an activation compiles for vectors: tallycell's own do, a user's is tried once."""
    return getattr(activation.value, "__module__", None) == Activation.__module__ or _compiles(slot_of(activation))
