"""Measure what the processor can do: multiply-adds in registers, reading and writing memory.

The loops are written in LLVM vectors through Numba, so that nothing but the hardware limits them.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from benchmarks.floor import Limits
from benchmarks.timing import clock_for

_FEATURES = llvm.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx") else 4
CHAINS = 12  # independent ones: more than latency times units of any processor of today, fewer than its registers
BLOCK = CHAINS * LANES * 4  # bytes that one turn of a loop reads or writes
VECTOR = ir.VectorType(ir.FloatType(), LANES)
READ_SIZES = tuple(2**k for k in (14, 16, 18, 20, 22, 24, 26))
WRITE_SIZES = tuple(2**k for k in (16, 18, 20, 22, 24, 26, 28))
SAMPLE_BYTES = 2**26
TRIES = 5
QUIET_SHARE = 0.8  # of the peak that as many idle cores would reach


def measure_limits(threads: int) -> Limits:
    """Measure the limits of so many cores at once: the best of a few tries each."""
    read = {size: _rate(_read, size, threads) for size in READ_SIZES}
    write = {size: max(_rate(loop, size, threads) for loop in (_write, _write_past_cache)) for size in WRITE_SIZES}
    return Limits(measure_peak(threads), read, write)


def measure_peak(threads: int) -> float:
    """Measure multiplications and additions a second, in registers, of so many cores at once."""
    turns = 2_000_000
    seconds = _best(functools.partial(_multiply_add, turns, np.float32(0.5)), threads)
    return threads * turns * CHAINS * LANES * 2 / seconds


def say_limits(threads: int) -> Limits:
    """Measure the limits, print them, and warn where wall times would not be ours alone."""
    limits = measure_limits(threads)
    fastest, slowest = (pick(limits.read.values()) / 1e9 for pick in (max, min))
    print(
        f"{threads} thread(s), {'CPU' if threads == 1 else 'wall'} time; measured peak {limits.peak / 1e9:.0f} "
        f"GFLOP/s, memory read at {fastest:.0f} to {slowest:.0f} GB/s"
    )
    share = limits.peak / (threads * measure_peak(1))
    if share < QUIET_SHARE:
        print(
            f"WARNING: {threads} threads reach {share:.0%} of {threads} times the peak of one; something else runs on "
            "these cores, and wall times are not to be trusted"
        )
    return limits


def _rate(loop: Callable[[int, int, int], Any], size: int, threads: int) -> float:
    """Bytes a second of a loop over memory of that size, of which each thread has its part."""
    blocks = max(1, size // threads // BLOCK)
    turns = max(1, SAMPLE_BYTES // (blocks * BLOCK))
    memory = np.zeros(threads * blocks * BLOCK + 64, np.uint8)
    start = -(-memory.ctypes.data // 64) * 64
    places = iter([start + k * blocks * BLOCK for k in range(threads)] * (TRIES + 1))
    return threads * turns * blocks * BLOCK / _best(lambda: loop(next(places), blocks, turns), threads)


def _best(run: Callable[[], Any], threads: int) -> float:
    """Shortest time of a few, of all threads running the same at once."""
    clock, times = clock_for(threads), []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(TRIES + 1):  # the first one compiles
            start = clock()
            for job in [pool.submit(run) for _ in range(threads)]:
                job.result()
            times.append(clock() - start)
    return min(times[1:])


def _splat(builder: Any, scalar: Any) -> Any:
    empty = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _chains(builder: Any, start: Any) -> list[Any]:
    """Variables that LLVM keeps in registers."""
    chains = [cgutils.alloca_once(builder, VECTOR) for _ in range(CHAINS)]
    for chain in chains:
        builder.store(start, chain)
    return chains


def _sum(builder: Any, chains: list[Any]) -> Any:
    total = functools.reduce(builder.fadd, [builder.load(chain) for chain in chains])
    return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))


def _places(builder: Any, address: Any, block: Any) -> list[Any]:
    """Pointers to the vectors of one block."""
    base = builder.inttoptr(address, VECTOR.as_pointer())
    first = builder.mul(block, ir.Constant(block.type, CHAINS))
    return [builder.gep(base, [builder.add(first, ir.Constant(block.type, k))]) for k in range(CHAINS)]


@intrinsic
def _multiply_add_loop(typing: Any, turns: Any, factor: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = f"llvm.fma.v{LANES}f32"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name)
        factor = _splat(builder, arguments[1])
        chains = _chains(builder, factor)
        with cgutils.for_range(builder, arguments[0]):
            for chain in chains:
                builder.store(builder.call(fma, [builder.load(chain), factor, factor]), chain)
        return _sum(builder, chains)

    return types.float32(types.int64, types.float32), generate


@intrinsic
def _read_loop(typing: Any, address: Any, blocks: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        chains = _chains(builder, ir.Constant(VECTOR, [0.0] * LANES))
        with cgutils.for_range(builder, arguments[1]) as loop:
            for chain, place in zip(chains, _places(builder, arguments[0], loop.index), strict=True):
                builder.store(builder.fadd(builder.load(chain), builder.load(place)), chain)
        return _sum(builder, chains)

    return types.float32(types.int64, types.int64), generate


def _make_write_loop(*, past_cache: bool) -> Any:
    @intrinsic
    def write_loop(typing: Any, address: Any, blocks: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = _splat(builder, arguments[2])
            with cgutils.for_range(builder, arguments[1]) as loop:
                for place in _places(builder, arguments[0], loop.index):
                    store = builder.store(value, place)
                    if past_cache:
                        hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                        store.set_metadata("nontemporal", hint)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.float32), generate

    return write_loop


_write_loop = _make_write_loop(past_cache=False)
_write_past_cache_loop = _make_write_loop(past_cache=True)


@numba.njit(nogil=True)
def _multiply_add(turns, factor):
    return _multiply_add_loop(turns, factor)


@numba.njit(nogil=True)
def _read(address, blocks, turns):
    total = np.float32(0)
    for _ in range(turns):
        total += _read_loop(address, blocks)
    return total


@numba.njit(nogil=True)
def _write(address, blocks, turns):
    for turn in range(turns):
        _write_loop(address, blocks, np.float32(turn))


@numba.njit(nogil=True)
def _write_past_cache(address, blocks, turns):
    for turn in range(turns):
        _write_past_cache_loop(address, blocks, np.float32(turn))
