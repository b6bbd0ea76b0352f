"""Reading: seconds and peak memory of a reading, of the command, and of recording alone, by the length of the input."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

HELP = "seconds and peak memory of read_units and of tallycell read on texts of several lengths, beside recording"
SHIPPED = files("tallycell") / "shipped"
STEPS = (30_000, 300_000, 3_000_000)
AT_ONCE = 300_000  # steps: more are read by the command only, since a whole trace would not fit
CHILD = """
import json, os, resource, sys, time
import tallycell as tc
from tallycell.reading.blocks import read_in_blocks
what, model, text = sys.argv[1:]
model = tc.load(model)
given = tc.open_text(model, open(text).read())
def run():
    if what == "blocks":
        return read_in_blocks(model, given, compare=False)
    trace = tc.record_trace(model, given, record=tc.Record(("i", "f", "g", "o", "c", "h")))
    return None if what == "record" else tc.read_units(trace, given)
small = tc.open_text(model, open(text).read(3000))
tc.read_units(tc.record_trace(model, small).drop_vars("x"), small)  # loads what is compiled
wall, cpu = time.perf_counter(), time.process_time()
run()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"seconds": wall, "cpu": cpu, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
COMMAND = """
import json, resource, sys, time
from tallycell.cli import main
wall, cpu = time.perf_counter(), time.process_time()
sys.argv = ["tallycell", "read", sys.argv[1], "--text", sys.argv[2], "--csv"]
try:
    main()
except SystemExit as end:
    assert not end.code, end
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": wall, "cpu": cpu, "peak_mb": peak}), file=sys.stderr)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, metavar="N", help="lengths of the texts")
    parser.add_argument("--cores", type=int, nargs="+", default=(1, 2), metavar="N", help="processors to run on")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each in a process of its own, so that peaks do not mix."""
    sample = (SHIPPED / "sample.txt").read_text(encoding="utf-8")
    rows = []
    print(f"{'what':<10}{'steps':>12}{'cores':>7}{'seconds':>10}{'CPU s':>9}{'peak MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for steps in arguments.steps:
            text = Path(folder) / "text.txt"
            text.write_text((sample * (steps // len(sample) + 1))[:steps], encoding="utf-8")
            for cores in arguments.cores:
                for what in ("record", "at once", "blocks", "command"):
                    if what in ("record", "at once") and steps > AT_ONCE:
                        continue
                    figures = measure(what, text, cores)
                    rows.append({"what": what, "steps": steps, "cores": cores, **figures})
                    seconds, cpu, peak = (figures[name] for name in ("seconds", "cpu", "peak_mb"))
                    print(f"{what:<10}{steps:>12,}{cores:>7}{seconds:>10.2f}{cpu:>9.2f}{peak:>10,.0f}", flush=True)
    return {"answers": answers(rows), "rows": rows}


def measure(what: str, text: Path, cores: int) -> dict[str, float]:
    """Run one of them on so many processors."""
    model = str(SHIPPED / "stdlib_characters.safetensors")
    code = [COMMAND, model, str(text)] if what == "command" else [CHILD, what, model, str(text)]
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        [sys.executable, "-c", *code], capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)},
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )  # fmt: skip
    said = done.stderr if what == "command" else done.stdout
    figures: dict[str, float] = json.loads(said.strip().splitlines()[-1])
    return figures


def answers(rows: list[dict[str, Any]]) -> list[str]:
    """Say what the figures come to."""
    found = []
    for row in rows:
        if row["what"] == "blocks" and row["cores"] == 1:
            found.append(
                f"{row['steps']:,} steps are read in {row['seconds']:.1f} s on one core, in {row['peak_mb']:,.0f} MB"
            )
    return found
