"""Memory is asked before it is taken: how much this process may still use, and a refusal where that is too little.

A process that takes more than its container has is killed without a word; one that asks first can say what it needs.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tallycell.errors import InputError

_UNLIMITED = 1 << 60  # kernels write a limit that is none as some number beyond it, or as the word "max"


def available_memory() -> int | None:
    """Give the bytes that this process may still take; None where the system does not tell.

    The least of what is free on the machine (``MemAvailable``), of what the process' control groups leave (version 1
    and 2, from its own to the root; pages that only cache files do not count as used), and of its limit on addresses
    (``RLIMIT_AS``). See ``man 5 proc`` and the kernel's ``cgroup-v2.rst``.

    Examples
    --------
    >>> free = available_memory()
    >>> free is None or free > 0
    True
    """
    left = [*_free_on_machine(), *_left_of_groups(), *_left_of_addresses()]
    return max(0, min(left)) if left else None


def require_memory(needed: int, what: str) -> None:
    """Refuse what would need more memory than this process may use, before any of it is taken.

    Parameters
    ----------
    needed
        Bytes.
    what
        What needs them and how it could need fewer, for the text: ``"reading 5 steps needs"``.

    Raises
    ------
    InputError
        If they are not there.

    Examples
    --------
    >>> require_memory(1 << 20, "a small trace")
    >>> require_memory(1 << 60, "recording 10^15 steps")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tallycell.errors.InputError: recording 10^15 steps needs about 1,152,921,505 GB of memory, ... read a part of it
    """
    free = available_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{what} needs about {say_bytes(needed)} of memory, and this process may use {say_bytes(free)}; read a "
            "part of it"
        )


def say_bytes(count: int) -> str:
    """Say a number of bytes.

    Examples
    --------
    >>> say_bytes(300), say_bytes(2_500_000), say_bytes(1_230_000_000)
    ('300 bytes', '2.5 MB', '1.2 GB')
    """
    for size, unit in ((10**9, "GB"), (10**6, "MB")):
        if count >= size:
            return f"{count / size:,.0f} {unit}" if count >= 100 * size else f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def _free_on_machine() -> Iterator[int]:
    for line in _lines_of(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _left_of_addresses() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows has none
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        for line in _lines_of(Path("/proc/self/statm")):
            yield limit - int(line.split()[0]) * resource.getpagesize()


def _left_of_groups(mounted: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    for line in _lines_of(process):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            folder, limit, used, cached = mounted, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            folder = mounted / "memory"
            limit, used, cached = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        own = folder / path.strip("/")
        for group in (own, *own.parents):
            yield from _left_of_group(group, limit, used, cached)
            if group == folder:
                break


def _left_of_group(group: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    numbers = [int(line) for name in (limit, used) for line in _lines_of(group / name)[:1] if line.strip().isdigit()]
    if len(numbers) < 2 or numbers[0] >= _UNLIMITED:  # a group without a limit says "max", or a huge number
        return
    cache = [int(line.split()[1]) for line in _lines_of(group / "memory.stat") if line.split()[:1] == [cached]]
    yield numbers[0] - numbers[1] + sum(cache)


def _lines_of(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().splitlines()
    return []
