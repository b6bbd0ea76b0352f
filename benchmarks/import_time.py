"""How long ``import tallycell`` takes in a fresh process, and its first use, beside a Python that imports nothing."""

import argparse
import statistics
import subprocess
import sys
import time

HELP = "wall time of 'import tallycell' in a fresh process"
TARGET_S = 0.6
CODES = {
    "import tallycell": "import tallycell",
    "and use it": "import tallycell; tallycell.LSTMParameters",  # names are loaded when they are first used
    "nothing": "pass",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--runs", type=int, default=5, help="processes of each kind (default: 5)")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Time the kinds of process in turn; print and return medians and all runs, in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in CODES}
    for code in CODES.values():
        wall_time(code)  # writes the bytecode and warms the disk
    for _ in range(arguments.runs):
        for name, code in CODES.items():
            seconds[name].append(wall_time(code))
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    for name, median in medians.items():
        target = f", target under {TARGET_S} s" if name == "import tallycell" else ""
        print(f"{name:16}  {median:.3f} s  (median of {arguments.runs}{target})")
    rows = [{"process": name, "median_s": median} for name, median in medians.items()]
    median = medians["import tallycell"]
    verdict = "PASS" if median < TARGET_S else "SHORT OF IT"
    answers = [f"import tallycell: {median:.2f} s (target < {TARGET_S} s): {verdict}"]
    return {"target_s": TARGET_S, "answers": answers, "rows": rows, "median_s": medians, "runs_s": seconds}


def wall_time(code: str) -> float:
    """Seconds that a fresh Python takes to run the code, start and end included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start
