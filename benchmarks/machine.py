"""The machine a figure comes from, and how many of its cores a benchmark may use."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("tallycell", "numpy", "numba", "xarray", "torch", "onnxruntime", "captum")
THREAD_VARIABLES = ("TALLYCELL_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def describe_machine() -> dict[str, object]:
    """What a figure depends on besides the code."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in LIBRARIES},
    }


def processor() -> str:
    """Model of the processor, as the machine gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def installed(name: str) -> str | None:
    """Version of a library, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def use_threads(threads: int) -> None:
    """Have every library of this process use so many threads, and one core if that is one.

    The libraries read the variables when they are loaded, so this comes before the first import of NumPy.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(threads)
