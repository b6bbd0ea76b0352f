"""Compiled once, kept for later processes.

Numba keeps compiled code beside the source, or in a folder of the user where that is read-only, and compiles anew when
the source of the function changes. It does not see what the function calls; so the name under which the code is kept
holds a fingerprint of everything that goes into a kernel.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from numba import njit, typeof

Compilable = Callable[..., Any]


@cache
def fingerprint() -> str:
    """Hash of the sources that kernels are compiled from."""
    room = Path(__file__).parent
    sources = [*sorted(room.glob("*.py")), room.parents[1] / "activations.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def compiled(function: Compilable) -> Compilable:
    """Compile a function when it is first called, and keep the code; it lets other threads run."""
    function.__qualname__ = f"{function.__qualname__}_{fingerprint()}"
    return cast(Compilable, njit(nogil=True, cache=True)(function))


def inlined(function: Compilable) -> Compilable:
    """Compile a function into those that call it: by LLVM, as Numba's own inlining takes seconds."""
    return cast(Compilable, njit(forceinline=True)(function))


def shared(function: Compilable) -> Compilable:
    """Compile a large function once for all that call it; unless told, Numba inlines it where the caller is inlined."""
    return cast(Compilable, njit(forceinline=False)(function))


def entry_point(function: Compilable, *arguments: Any) -> Compilable:
    """Give the compiled code for arguments of these types, to be called directly.

    Numba looks at the types of all arguments at each call, which takes 20 microseconds: as long as a small network.
    """
    dispatcher: Any = function
    type_of = cast(Compilable, typeof)
    signature = tuple(type_of(argument) for argument in arguments)
    if signature not in dispatcher.overloads:
        dispatcher.compile(signature)
    return cast(Compilable, dispatcher.overloads[signature].entry_point)
