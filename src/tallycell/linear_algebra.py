"""Linear algebra on one thread, where threads of ours divide the work: two kinds of threads wait for each other."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_inside = 0
_give_back: Callable[[], Any] | None = None


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let NumPy multiply matrices on the thread that asks for it.

    The products of a reading are many and small. Divided by the library they take more than twice the time, and more
    than that where other programs run. Calls may overlap: the library has its threads back when the last has left.

    Examples
    --------
    >>> with on_one_thread():
    ...     pass
    """
    global _inside, _give_back
    with _lock:
        if not _inside:
            _give_back = _limit()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _give_back is not None:
                _give_back()


def _limit() -> Callable[[], Any]:
    """Set the limit; give what undoes it.

    Both are done by a thread of its own: threadpoolctl heeds only the thread that came first, as long as it lives, and
    whoever leaves last may be on another.
    """
    keeper = ThreadPoolExecutor(1)
    limiter = keeper.submit(_controller().limit, limits=1, user_api="blas").result()

    def give_back() -> None:
        keeper.submit(limiter.restore_original_limits).result()
        keeper.shutdown()

    return give_back


@cache
def _controller() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
