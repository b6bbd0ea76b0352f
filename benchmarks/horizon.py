"""How far below the first difference the proved horizon is: compiled machines with noise on their weights."""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import use_threads

HELP = "the proved horizon of spoiled networks beside the first difference that is found"
MACHINES = (
    "anbn",
    "anbncn",
    "anb2n",
    "anbmcnm",
    "dyck-1",
    "shuffle-2",
    "majority",
    "difference-below-5",
    "comment-depth",
    "dyck-1-depth-5",
)
NOISES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
LONGEST = 10_000_000  # symbols; networks without a difference in so many are left out
BUDGET = 60_000_000  # symbols of all strings of one search
WITHIN = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--machines", nargs="+", default=MACHINES, metavar="NAME", help="shipped machines")
    parser.add_argument("--longest", type=int, default=LONGEST, help="symbols to which a difference is searched")
    parser.add_argument(
        "--fuzz", type=int, metavar="N", help="instead, look for a proof that does not hold: N networks that are drawn"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first network that is drawn; the others follow")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    use_threads(1)
    if arguments.fuzz is not None:
        return fuzz(arguments.seed, arguments.fuzz)
    rows, answers = [], []
    for kind, soften in (("compiled, with noise", False), ("softened, with noise", True)):
        print(f"{kind}: {'soft' if soften else 'noise'}, seed = number in the list")
        of_kind = [
            measure(name, noise, seed, soften=soften, longest=arguments.longest)
            for name in arguments.machines
            for seed, noise in enumerate(NOISES)
        ]
        rows += of_kind
        answers += judge(kind, of_kind, arguments.longest)
    for line in answers:
        print(line)
    return {"threads": 1, "longest": arguments.longest, "answers": answers, "rows": rows}


def fuzz(seed: int, count: int) -> dict[str, object]:
    """Attack proofs of networks that are drawn, of seeds from the first on, as the tests do of a few hundred."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # what is drawn, and run, is the tests' own
    from fuzz_proofs import attack_all

    kinds, wrong = attack_all(seed, count)
    for kind, of_kind in sorted(kinds.items()):
        print(f"  {kind}: {of_kind:,} of {count:,} networks")
    answers = [
        f"WRONG: seed {of} ({result.how}) is proved to {result.proved:,} symbols and differs after {result.first:,}"
        for of, result in wrong
    ]
    answers.append(f"proofs that do not hold: {len(wrong):,} of {count:,}: {'WRONG' if wrong else 'PASS'}")
    for line in answers:
        print(line)
    return {"threads": 1, "seed": seed, "networks": count, "answers": answers, "kinds": dict(kinds)}


def measure(name: str, noise: float, seed: int, *, soften: bool, longest: int) -> dict[str, object]:
    """One network: its horizon, and where a difference is found."""
    from benchmarks.spoiled import first_difference, spoil
    from tallycell.machine.checking.side_by_side import SideBySide
    from tallycell.machine.compiling.compilation import compile_machine
    from tallycell.machine.proving.horizon import counting_horizon
    from tallycell.machine.shipped import shipped_machine

    machine = shipped_machine(name)
    net = spoil(compile_machine(machine, "float32"), noise, seed, soften=soften)
    begin = time.perf_counter()
    horizon = counting_horizon(machine, net)
    took = time.perf_counter() - begin
    # What is proved needs no search.
    found = None
    if horizon.symbols < longest:
        found = first_difference(SideBySide(machine, net), longest=longest, budget=6 * longest)
    symbols = None if found is None else found.symbols
    row = {
        "network": f"{name} {'soft' if soften else 'noise'} {noise:g}",
        "horizon": horizon.symbols,
        "first_difference": symbols,
        "ratio": symbols / horizon.symbols if symbols and horizon.symbols else None,
        "predicted": horizon.predicted_first_difference,
        "proof_s": took,
        "first_to_break": horizon.first_to_break,
    }
    seen = f"{symbols:,}" if symbols else f"none to {longest:,}{', proved' if found is None else ', searched'}"
    ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
    print(
        f"  {row['network']:30} horizon {horizon.symbols:>12,}  first difference {seen:28} ratio {ratio:>6}", flush=True
    )
    return row


def judge(kind: str, rows: Sequence[dict[str, object]], longest: int) -> list[str]:
    """Whether every horizon is below the first difference, and how far in the median."""
    seen = [row for row in rows if row["first_difference"]]
    out = [row["network"] for row in rows if not row["first_difference"]]
    lines = []
    if seen:
        wrong = [row["network"] for row in seen if row["horizon"] >= row["first_difference"]]
        below = "PASS" if not wrong else f"WRONG: {', '.join(wrong)}"
        lines.append(f"{kind}: horizon below the first difference in {len(seen) - len(wrong)} of {len(seen)}: {below}")
        # A horizon of 0 is infinitely far.
        ratios = [row["ratio"] or float("inf") for row in seen]
        median = statistics.median(ratios)
        passed = "PASS" if median <= WITHIN else "SHORT OF IT"
        lines.append(
            f"{kind}: first difference / horizon: median {median:.2f} (target <= {WITHIN:g}): {passed}; "
            f"best {min(ratios):.2f}, worst {max(ratios):.2f}"
        )
    if out:
        lines.append(f"{kind}: left out, no difference in {longest:,} symbols: {', '.join(out)}")
    return lines
