"""Memory that is recycled: touching a fresh large buffer for the first time costs more than the arithmetic.

A buffer goes back to the pool when nothing refers to it any more: no array, no view, no tensor made from one. What a
user holds is therefore never overwritten.
"""

import threading
import weakref

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
MOST_KEPT = 1 << 30  # bytes that wait in the pool at the most
WORTH_KEEPING = 1 << 14  # bytes: smaller buffers come fast enough from the system


class _Lease:
    """Memory on loan: the array made from it refers to the lease, so that the lease ends with the last view."""

    def __init__(self, memory: np.ndarray) -> None:
        start = -memory.ctypes.data % ALIGNMENT
        self.__array_interface__ = {
            "data": (memory.ctypes.data + start, False),
            "shape": (len(memory) - ALIGNMENT,),
            "typestr": "|u1",
            "version": 3,
        }


class Pool:
    """Buffers that nobody uses, by size."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}
        self._kept = 0
        # Reentrant: a lease may end, through garbage collection, while its own thread holds the lock.
        self._lock = threading.RLock()

    def lend(self, size: int) -> np.ndarray:
        """Give bytes that start at a cache line; their content is not set."""
        rounded = _round_up(size)
        with self._lock:
            waiting = self._free.get(rounded)
            memory = waiting.pop() if waiting else None
            if memory is not None:
                self._kept -= rounded
        if memory is None:
            memory = np.empty(rounded + ALIGNMENT, np.uint8)
        lease = _Lease(memory)
        weakref.finalize(lease, self._take_back, memory, rounded).atexit = False
        return np.asarray(lease)[:size]

    def _take_back(self, memory: np.ndarray, rounded: int) -> None:
        with self._lock:
            if self._kept + rounded <= MOST_KEPT:
                self._free.setdefault(rounded, []).append(memory)
                self._kept += rounded

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
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size >= WORTH_KEEPING:
        memory = POOL.lend(size)
    else:
        room = np.empty(size + ALIGNMENT, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        memory = room[start : start + size]
    return memory.view(dtype).reshape(shape)
