"""Work for several threads: the sequences of a batch are divided, each thread runs its own through all steps.

The compiled passes let go of Python's lock, so plain Python threads do. A pool belongs to one process: after a fork the
child starts its own when it first needs one.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from tallycell.errors import InputError

WORTH_DIVIDING = 4e6  # multiplications: less is done before another thread has started

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


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


def divide_rows(run: Callable[[int, int], None], rows: int, multiplications: float) -> None:
    """Call ``run(first, last)`` on parts of the rows, side by side where that is worth it."""
    threads = min(number_of_threads(), rows) if multiplications >= WORTH_DIVIDING else 1
    if threads == 1:
        run(0, rows)
        return
    edges = [rows * k // threads for k in range(threads + 1)]
    pool = _pool(threads - 1)
    others = [pool.submit(run, first, last) for first, last in pairwise(edges[1:])]
    try:
        run(edges[0], edges[1])
    finally:
        for other in others:
            other.result()


def _pool(threads: int) -> ThreadPoolExecutor:
    # A child process inherits the table, but not the threads: its process number makes it start its own.
    key = (os.getpid(), threads)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="tallycell")
    return _pools[key]
