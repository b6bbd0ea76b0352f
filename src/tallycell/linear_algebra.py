"""Linear algebra on one thread, where threads of ours divide the work: two kinds of threads wait for each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let NumPy multiply matrices on the thread that asks for it.

    The products of a reading are many and small. Divided by the library they take more than twice the time, and more
    than that where other programs run.

    Examples
    --------
    >>> with on_one_thread():
    ...     pass
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
