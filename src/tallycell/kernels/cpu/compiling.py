"""Compiled once, kept for later processes.

Numba keeps compiled code beside the source, or in a folder of the user where that is read-only, and compiles anew when
the source of the function changes. It does not see what the function calls; so the name under which the code is kept
holds a fingerprint of everything that goes into a kernel.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

from numba import njit, typeof
from numba.core.caching import FunctionCache, NullCache

from tallycell.wording import one_line

logger = logging.getLogger("tallycell")

Compilable = Callable[..., Any]


class _Cache:
    """Numba's cache of one function, on which nothing depends; the log says once of a folder what is wrong with it.

    What cannot be read (it was cut short) is compiled and kept anew. What cannot be written (a full disk, a folder that
    is read-only) is not kept, and every run pays for it.
    """

    _told: ClassVar[set[str]] = set()

    def __init__(self, function: Compilable) -> None:
        try:
            self._files: Any = FunctionCache(function)  # type: ignore[no-untyped-call]
        except (RuntimeError, OSError) as error:  # there is no folder that Numba may write
            self._files = NullCache()
            self._tell_not_kept("in any folder", error)

    @property
    def cache_path(self) -> str | None:
        return cast("str | None", self._files.cache_path)

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return self._files.load_overload(signature, target)
        except Exception as error:  # what unpickling a damaged file raises is anything
            self._tell(f"compiled code in {self.cache_path} cannot be read ({_said(error)}): it is compiled anew")
            with suppress(Exception):  # where it cannot be written either, save_overload says so
                self._files.flush()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        try:
            self._files.save_overload(signature, code)
        except Exception as error:
            self._tell_not_kept(f"in {self.cache_path}", error)

    def flush(self) -> None:
        self._files.flush()

    def _tell_not_kept(self, where: str, error: Exception) -> None:
        self._tell(
            f"compiled code cannot be kept {where} ({_said(error)}): every run compiles anew, which takes seconds. "
            "Make room there, or set NUMBA_CACHE_DIR to a folder that can be written"
        )

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning("tallycell: %s", text)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


@cache
def fingerprint() -> str:
    """Hash of the sources that kernels are compiled from."""
    room = Path(__file__).parent
    sources = [*sorted(room.glob("*.py")), room.parents[1] / "activations.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def compiled(function: Compilable) -> Compilable:
    """Compile a function when it is first called, and keep the code; it lets other threads run."""
    function.__qualname__ = f"{function.__qualname__}_{fingerprint()}"
    dispatcher: Any = njit(nogil=True)(function)
    dispatcher._cache = _Cache(function)
    return cast(Compilable, dispatcher)


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
