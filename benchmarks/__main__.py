"""Run one benchmark: ``python -m benchmarks NAME [--json FILE]``."""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import import_time

BENCHMARKS = {"import": import_time}
LIBRARIES = ("tallycell", "numpy", "numba", "xarray", "torch", "onnxruntime")


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


def machine() -> dict[str, object]:
    """What a figure depends on besides the code."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in LIBRARIES},
    }


def main() -> None:
    """Parse the command line, run the benchmark, keep its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tallycell.")
    commands = parser.add_subparsers(dest="name", required=True)
    for name, benchmark in BENCHMARKS.items():
        command = commands.add_parser(name, help=benchmark.HELP)
        command.add_argument("--json", type=Path, metavar="FILE", help="keep the figures, with the machine's name")
        benchmark.add_arguments(command)
    arguments = parser.parse_args()

    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, Python {about['python']}")
    figures = BENCHMARKS[arguments.name].run(arguments)
    if arguments.json:
        kept = {"benchmark": arguments.name, "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about}
        arguments.json.write_text(json.dumps(kept | {"figures": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
