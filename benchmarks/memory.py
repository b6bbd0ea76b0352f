"""Memory: what ``read`` and ``trace`` say they need before they begin, beside what they take in fact."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HELP = "what reading and recording say they need of memory, beside what they take"
# layers, directions, units, features, sequences, steps of each, dtype
SHAPES = (
    (1, 1, 256, 50, 1, 20_000, "float32"),
    (2, 2, 64, 5, 1, 20_000, "float32"),
    (1, 1, 32, 5, 50, 2_000, "float64"),
    (1, 1, 16, 5, 1, 200_000, "float32"),
    (1, 1, 1, 1, 1, 300_000, "float32"),
    (1, 1, 64, 300, 64, 300, "float32"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", type=int, help="only this one, by its place in the list")


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Each shape in a process of its own, once recorded and once read as well."""
    print(f"{'layers x directions x units, features':<40}{'steps':>9}  {'':<7}{'said':>9}{'taken':>9}{'ratio':>7}")
    chosen = SHAPES if arguments.shape is None else SHAPES[arguments.shape : arguments.shape + 1]
    figures = [measure(shape, reading=reading) for shape in chosen for reading in (False, True)]
    for one in figures:
        layers, directions, units, features, sequences, steps, dtype = one["shape"]
        what = f"{layers} x {directions} x {units}, {features}, {dtype}"
        command, ratio = "read" if one["reading"] else "trace", one["said"] / one["taken"]
        print(
            f"{what:<40}{sequences * steps:>9,}  {command:<7}{one['said'] / 1e6:>6,.0f} MB{one['taken'] / 1e6:>6,.0f} "
            f"MB{ratio:>7.2f}"
        )
    return figures


def measure(shape: tuple[Any, ...], *, reading: bool) -> dict[str, Any]:
    """What one shape says and takes, in a new process."""
    command = [sys.executable, str(Path(__file__)), json.dumps(shape), str(int(reading))]
    said, taken = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"shape": shape, "reading": reading, "said": said, "taken": taken}


def say_and_take(shape: tuple[Any, ...], *, reading: bool) -> tuple[int, int]:
    """Bytes said and bytes that this process grew by, at its largest."""
    import numpy as np

    from tallycell.cli.needs import bytes_to_read, bytes_to_store
    from tallycell.input import Input
    from tallycell.parameters import LSTMParameters
    from tallycell.reading import read_units
    from tallycell.trace import record_to_store, record_trace

    layers, directions, units, features, sequences, steps, dtype = shape
    rng = np.random.default_rng(0)
    weights = {}
    for layer in range(layers):
        for suffix in ("", "_reverse")[:directions]:
            width = directions * units if layer else features
            weights[f"weight_ih_l{layer}{suffix}"] = rng.normal(size=(4 * units, width)).astype(dtype)
            weights[f"weight_hh_l{layer}{suffix}"] = rng.normal(size=(4 * units, units)).astype(dtype)
    parameters = LSTMParameters(weights)
    x = rng.normal(size=(steps, sequences, features)).astype(dtype)
    before = memory("VmRSS")
    if reading:
        read_units(record_trace(parameters, x), quantities={"noise": rng.normal(size=(sequences, steps))})
        return bytes_to_read(parameters, steps * sequences, features), memory("VmHWM") - before
    with tempfile.TemporaryDirectory() as folder:
        record_to_store(parameters, Input(x, "noise", "noise"), Path(folder, "trace.zarr"))
    return bytes_to_store(parameters, sequences, steps, features), memory("VmHWM") - before


def memory(field: str) -> int:
    """Bytes of this process by the kernel's count: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(say_and_take(tuple(json.loads(sys.argv[1])), reading=sys.argv[2] == "1")) + "\n")
