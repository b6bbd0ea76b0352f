"""Memory that is recycled: touching a fresh large buffer for the first time costs more than the arithmetic.

A buffer goes back to the pool when nothing refers to it any more: no array, no view, no tensor made from one. What a
user holds is therefore never overwritten.
"""

import math
import threading

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
MOST_KEPT = 1 << 30  # bytes that wait in the pool at the most
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
    """Buffers that nobody uses, by size."""

    def __init__(self) -> None:
        self._free: dict[int, list[_Memory]] = {}
        self._kept = 0
        # Reentrant: a lease may end, through garbage collection, while its own thread holds the lock.
        self._lock = threading.RLock()

    def lend(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Give an array that starts at a cache line; its content is not set."""
        rounded = _round_up(math.prod(shape) * dtype.itemsize)
        with self._lock:
            waiting = self._free.get(rounded)
            memory = waiting.pop() if waiting else None
            if memory is not None:
                self._kept -= rounded
        return np.asarray(_Lease(self, memory or _Memory(rounded), shape, dtype))

    def take_back(self, memory: _Memory) -> None:
        """Keep memory for the next that asks for as much."""
        with self._lock:
            if self._kept + memory.size <= MOST_KEPT:
                self._free.setdefault(memory.size, []).append(memory)
                self._kept += memory.size

    def clear(self) -> None:
        """Give the waiting memory back to the system."""
        with self._lock:
            self._free.clear()
            self._kept = 0


POOL = Pool()


def _round_up(size: int) -> int:
    """Round up to one of eight sizes between powers of two, so that nearly equal requests share buffers."""
    step = max(1 << max(size.bit_length() - 4, 0), ALIGNMENT)
    return -(-size // step) * step


def aligned(shape: tuple[int, ...], dtype: str | np.dtype) -> np.ndarray:
    """Allocate an array whose memory starts at a cache line; its content is not set."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size >= WORTH_KEEPING:
        return POOL.lend(shape, dtype)
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)
