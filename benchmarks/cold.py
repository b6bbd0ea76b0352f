"""The first trace in a fresh process, import included, without torch: right after the install, and later."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.grid import Cell

HELP = "first record_trace in a fresh process: with an empty compile cache, and later"
CELL = Cell(64, 4, 50)
TARGETS_S = {"right after the install": 6.0, "later": 1.0}
CODE = """
import sys
import numpy as np
import tallycell
given = dict(np.load(sys.argv[1]))
x = given.pop("x")
trace = tallycell.record_trace(tallycell.LSTMParameters(given), x)
h = trace.h.isel(layer=0, direction=0).transpose("time", "sequence", "unit").values
assert "torch" not in sys.modules, "torch was imported"
np.save(sys.argv[2], h)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--runs", type=int, default=3, help="processes of each kind (default: 3)")
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH",
        help="interpreter of an environment with tallycell alone: xarray loads what else is installed, such as dask",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Start processes with an empty compile cache and with a filled one; print and return their times."""
    import numpy as np

    from benchmarks.competitors import make_input, make_torch_lstm, require_same

    module, x = make_torch_lstm(CELL), make_input(CELL)
    expected = module(x)[0].detach()
    arrays = {name: weight.detach().numpy() for name, weight in module.named_parameters()} | {"x": x.numpy()}
    seconds: dict[str, list[dict[str, float]]] = {kind: [] for kind in TARGETS_S}
    compiled = 0
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            given, found, cache = (Path(folder, name) for name in ("given.npz", "h.npy", "cache"))
            np.savez(given, **arrays)
            for kind in TARGETS_S:
                seconds[kind].append(time_process(arguments.python, given, found, cache))
                require_same(f"h of a process {kind}", np.load(found), expected)
            compiled = len(list(cache.rglob("*.nbc")))
    return summarise(seconds, compiled)


def time_process(python: str, given: Path, found: Path, cache: Path) -> dict[str, float]:
    """Wall and CPU time of a process that traces what is given, with Numba's compile cache in that folder."""
    before, start = os.times(), time.perf_counter()
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    subprocess.run([python, "-c", CODE, str(given), str(found)], check=True, env=environment)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": time.perf_counter() - start, "cpu": processor}


def summarise(seconds: dict[str, list[dict[str, float]]], compiled: int) -> dict[str, object]:
    """Medians against the targets."""
    rows, answers = [], []
    for kind, runs in seconds.items():
        wall, processor = (statistics.median(run[clock] for run in runs) for clock in ("wall", "cpu"))
        rows.append({"process": kind, "wall_s": wall, "cpu_s": processor, "target_s": TARGETS_S[kind]})
        verdict = "PASS" if wall < TARGETS_S[kind] else "SHORT OF IT"
        answers.append(f"{kind}: {wall:.2f} s (CPU {processor:.2f} s; target < {TARGETS_S[kind]:.1f} s): {verdict}")
    answers.append(f"{compiled} functions in the compile cache" if compiled else "nothing was compiled into the cache")
    print("\n".join(answers))
    return {"answers": answers, "compiled": compiled, "rows": rows, "runs_s": seconds}
