"""Reading: seconds and peak memory of a reading, of the command, and of recording alone, by the length of the input."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import tallycell as tc

HELP = "seconds and peak memory of read_units and of tallycell read on inputs of several lengths, beside recording"
SHIPPED = files("tallycell") / "shipped"
STEPS = (30_000, 300_000, 3_000_000)
AT_ONCE = 300_000  # steps: of more, a whole trace is neither recorded nor read at once, as it may not fit
UNITS = 256  # of a wider LSTM, which reads amounts; of 3 million steps it takes minutes, so that it reads fewer
CHILD = """
import json, resource, sys, time
from pathlib import Path
import tallycell as tc
from tallycell.reading.blocks import read_in_blocks
what, model, file = sys.argv[1:]
model, file = tc.load(model), Path(file)
open_it = tc.open_text if file.suffix == ".txt" else tc.open_table
given, small = open_it(model, file), open_it(model, file.with_stem("small"))
def run(given):
    if what == "blocks":
        return read_in_blocks(model, given, compare=False)
    trace = tc.record_trace(model, given, record=tc.Record(("i", "f", "g", "o", "c", "h")))
    return None if what == "record" else tc.read_units(trace, given)
run(small)  # loads what is compiled
wall, cpu = time.perf_counter(), time.process_time()
run(given)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"seconds": wall, "cpu": cpu, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
COMMAND = """
import json, resource, sys, time
wall, cpu = time.perf_counter(), time.process_time()
from tallycell.cli import main
_, model, file = sys.argv[1:]
sys.argv = ["tallycell", "read", model, "--text" if file.endswith(".txt") else "--array", file]
try:
    main()
except SystemExit as end:
    assert not end.code, end
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": wall, "cpu": cpu, "peak_mb": peak}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, metavar="N", help="lengths of the inputs")
    parser.add_argument("--cores", type=int, nargs="+", default=(1, 2), metavar="N", help="processors to run on")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each in a process of its own, so that peaks do not mix."""
    rows = []
    print(f"{'units':>5}{'steps':>12}  {'what':<10}{'cores':>6}{'seconds':>10}{'CPU s':>9}{'peak MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for units, steps, model, file in subjects(Path(folder), arguments.steps):
            for cores in arguments.cores:
                for what in ("record", "at once", "blocks", "command"):
                    if what in ("record", "at once") and steps > AT_ONCE:
                        continue
                    figures = measure(what, model, file, cores)
                    rows.append({"units": units, "steps": steps, "what": what, "cores": cores, **figures})
                    seconds, cpu, peak = (figures[name] for name in ("seconds", "cpu", "peak_mb"))
                    print(
                        f"{units:>5}{steps:>12,}  {what:<10}{cores:>6}{seconds:>10.2f}{cpu:>9.2f}{peak:>10,.0f}",
                        flush=True,
                    )
    found = answers(rows)
    print("\n".join(found))
    return {"answers": found, "rows": rows}


def subjects(folder: Path, lengths: list[int]) -> Iterator[tuple[int, int, Path, Path]]:
    """Give models and inputs: units, steps, and two files. A short input stands beside each, named ``small``."""
    sample = (SHIPPED / "sample.txt").read_text(encoding="utf-8")
    shipped = Path(str(SHIPPED / "stdlib_characters.safetensors"))
    for steps in lengths:
        file = folder / "long.txt"
        file.write_text((sample * (steps // len(sample) + 1))[:steps], encoding="utf-8")
        file.with_stem("small").write_text(sample[:3_000], encoding="utf-8")
        yield tc.load(shipped).lstm.hidden_size, steps, shipped, file
    draw, size = np.random.default_rng(0), UNITS**-0.5
    shapes = {"weight_ih_l0": (4 * UNITS, 4), "weight_hh_l0": (4 * UNITS, UNITS), "bias_ih_l0": 4 * UNITS}
    weights = {name: draw.uniform(-size, size, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["bias_ih_l0"][UNITS : 2 * UNITS] += 2  # it keeps
    wide = folder / "wide.safetensors"
    tc.save(tc.LSTMParameters(weights | {"bias_hh_l0": np.zeros(4 * UNITS, np.float32)}), wide)
    for steps in lengths:
        if steps <= AT_ONCE:
            file = folder / "long.npy"
            np.save(file, draw.normal(size=(steps, 4)).astype(np.float32))
            np.save(file.with_stem("small"), draw.normal(size=(3_000, 4)).astype(np.float32))
            yield UNITS, steps, wide, file


def measure(what: str, model: Path, file: Path, cores: int) -> dict[str, float]:
    """Run one of them on so many processors."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND if what == "command" else CHILD, what, str(model), str(file)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)},
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{what} of {file.name} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def answers(rows: list[dict[str, Any]]) -> list[str]:
    """Say what the figures come to."""
    return [
        f"{row['units']} units, {row['steps']:,} steps, one core: read_units in {row['seconds']:.1f} s"
        if row["what"] == "at once"
        else f"{row['units']} units, {row['steps']:,} steps, one core: in blocks in {row['seconds']:.1f} s, in "
        f"{row['peak_mb']:,.0f} MB"
        for row in rows
        if row["cores"] == 1 and row["what"] in ("at once", "blocks")
    ]
