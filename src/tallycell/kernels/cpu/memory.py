"""Memory that is recycled: touching a fresh large buffer for the first time costs more than the arithmetic.

A buffer goes back to the pool when nothing refers to it any more: no array, no view, no tensor made from one. What a
user holds is therefore never overwritten.
"""

import math
import os
import threading
from collections import deque

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SHARE_KEPT = 1 / 8  # of the machine's memory, which waits in the pool at the most
WORTH_KEEPING = 1 << 14  # bytes: smaller buffers come fast enough from the system


class _Lease:
    """Memory on loan: the array made from it refers to the lease, so that the lease ends with the last view."""

    __slots__ = ("__array_interface__", "_memory", "_pool")

    def __init__(self, pool: "Pool", memory: "_Memory", shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._pool, self._memory = pool, memory
        self.__array_interface__ = {"data": (memory.start, False), "shape": shape, "typestr": dtype.str, "version": 3}

    def __del__(self) -> None:
        self._pool.take_back(self._memory)


class _Memory:
    """Bytes, and where in them the first cache line starts."""

    __slots__ = ("bytes", "size", "start")

    def __init__(self, size: int) -> None:
        self.size = size
        self.bytes = np.empty(size + ALIGNMENT, np.uint8)
        address = self.bytes.ctypes.data
        self.start = address + -address % ALIGNMENT


class Pool:
    """Buffers that nobody uses, by size.

    Parameters
    ----------
    most_kept
        Bytes that wait at the most; those that have waited longest make room for others.
    """

    def __init__(self, most_kept: int) -> None:
        self._most_kept = most_kept
        self._free: dict[int, deque[_Memory]] = {}  # sizes in the order in which they were last given back
        self.waiting = 0  # bytes
        # Reentrant: a lease may end, through garbage collection, while its own thread holds the lock.
        self._lock = threading.RLock()

    def lend(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, int]:
        """Give an array that starts at a cache line, and its address; its content is not set."""
        rounded = _round_up(math.prod(shape) * dtype.itemsize)
        with self._lock:
            waiting = self._free.get(rounded)
            memory = waiting.pop() if waiting else None
            if memory is not None:
                self.waiting -= rounded
        memory = memory or _Memory(rounded)
        return np.asarray(_Lease(self, memory, shape, dtype)), memory.start

    def take_back(self, memory: _Memory) -> None:
        """Keep memory for the next that asks for as much."""
        if memory.size > self._most_kept:
            return
        with self._lock:
            waiting = self._free.pop(memory.size, None) or deque()
            waiting.append(memory)
            self._free[memory.size] = waiting
            self.waiting += memory.size
            while self.waiting > self._most_kept:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        size, waiting = next(iter(self._free.items()))
        if waiting:
            waiting.popleft()
            self.waiting -= size
        if not waiting:
            del self._free[size]

    def clear(self) -> None:
        """Give the waiting memory back to the system."""
        with self._lock:
            self._free.clear()
            self.waiting = 0


def _memory_of_machine() -> int:
    """Bytes; where the system does not tell, as many as a small machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 8 << 30


POOL = Pool(int(SHARE_KEPT * _memory_of_machine()))


def _round_up(size: int) -> int:
    """Round up to one of eight sizes between powers of two, so that nearly equal requests share buffers."""
    step = max(1 << max(size.bit_length() - 4, 0), ALIGNMENT)
    return -(-size // step) * step


def aligned(shape: tuple[int, ...], dtype: str | np.dtype) -> np.ndarray:
    """Allocate an array whose memory starts at a cache line; its content is not set."""
    return aligned_at(shape, dtype)[0]


def aligned_at(shape: tuple[int, ...], dtype: str | np.dtype) -> tuple[np.ndarray, int]:
    """Allocate as :func:`aligned`, and give the address too: asking an array takes longer than making it."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size >= WORTH_KEEPING:
        return POOL.lend(shape, dtype)
    room = np.empty(size + ALIGNMENT, np.uint8)
    address = room.ctypes.data
    start = -address % ALIGNMENT
    return np.ndarray(shape, dtype, room, start), address + start
