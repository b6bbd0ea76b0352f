"""Work for several threads: sequences are divided, each thread running its own through all steps; or units are.

The compiled passes let go of Python's lock, so plain Python threads do. A pool belongs to one process: after a fork the
child starts its own when it first needs one.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from tallycell.errors import InputError

WORTH_DIVIDING = 4e6  # multiplications: less is done before another thread has started

_pools: dict[int, ThreadPoolExecutor] = {}  # by their number of threads
_taken = threading.Lock()


def number_of_threads() -> int:
    """Threads to use: ``TALLYCELL_NUM_THREADS``, or as many as torch is set to, or the processors one may use.

    Raises
    ------
    InputError
        If ``TALLYCELL_NUM_THREADS`` is not a positive number.
    """
    wished = os.environ.get("TALLYCELL_NUM_THREADS")
    if wished:
        if not wished.isdigit() or int(wished) == 0:
            raise InputError(f"TALLYCELL_NUM_THREADS is {wished!r}; give a positive number of threads, or unset it")
        return int(wished)
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def divide(run: Callable[[int, int, int], None], pieces: int, multiplications: float) -> None:
    """Call ``run(first, last, threads)`` on parts of the pieces, side by side where that is worth it.

    All parts run at the same time, so that they may wait for each other. Where another call has the threads already,
    this one runs alone: two that shared them could wait for each other for ever, and would not be faster.
    """
    threads = min(number_of_threads(), pieces) if multiplications >= WORTH_DIVIDING else 1
    if threads == 1 or not _taken.acquire(blocking=False):
        run(0, pieces, 1)
        return
    try:
        _run_together(run, [pieces * k // threads for k in range(threads + 1)])
    finally:
        _taken.release()


def _run_together(run: Callable[[int, int, int], None], edges: list[int]) -> None:
    threads = len(edges) - 1
    others = [_pool(threads - 1).submit(run, first, last, threads) for first, last in pairwise(edges[1:])]
    try:
        run(edges[0], edges[1], threads)
    finally:
        for other in others:
            other.result()


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="tallycell")
    return _pools[threads]


def _start_anew() -> None:
    """In a child process: it inherits the pools without their threads, and the lock as it happened to be."""
    global _taken
    _pools.clear()
    _taken = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
