"""A barrier for threads inside compiled code: nobody goes on before all have come.

It counts arrivals and never resets: the n-th time round it waits for n arrivals of each thread. All its threads must be
running; :mod:`~tallycell.kernels.cpu.threads` sees to that.
"""

import os
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from tallycell.kernels.cpu.compiling import inlined
from tallycell.kernels.cpu.vector import INT64, pointer

SPINS = 10_000  # looks, some microseconds, after which the processor is offered to others


@intrinsic
def _arrive(typing: Any, counter: Any) -> Any:
    """Add one, visibly to all, after everything that was stored before."""

    def generate(c: Any, builder: Any, _s: Any, a: Any) -> Any:
        builder.atomic_rmw("add", pointer(builder, a[0], INT64), INT64(1), "seq_cst")
        return c.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def _arrivals(typing: Any, counter: Any) -> Any:
    """Read the counter anew, before everything that is loaded after."""

    def generate(_c: Any, builder: Any, _s: Any, a: Any) -> Any:
        return builder.load_atomic(pointer(builder, a[0], INT64), "acquire", 8)

    return types.int64(types.int64), generate


if os.name == "posix":
    _give_way = types.ExternalFunction("sched_yield", types.intc())
else:

    @inlined
    def _give_way():
        return 0


@inlined
def wait_for(counter, arrivals):
    """Arrive at the counter, an address, and wait until so many have."""
    _arrive(counter)
    looks = 0
    while _arrivals(counter) < arrivals:
        looks += 1
        if looks == SPINS:
            _give_way()
            looks = 0
