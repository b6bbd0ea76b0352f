"""Ours against torch.nn.LSTM over the grid; what ``forward`` and ``train`` have in common."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.floor import Limits
from benchmarks.grid import Cell, add_grid_arguments, chosen_cells, split_by_time
from benchmarks.machine import use_threads
from benchmarks.timing import Call, Target, clock_for, interleave, judge, verdict_line

REFERENCE = Cell(256, 32, 100)  # at which torch's rate is measured
ASIDE_S = 0.1  # of torch's time, up to which ONNX Runtime and the Python loop run too


@dataclass(frozen=True)
class Race:
    """What is raced for.

    Attributes
    ----------
    name
        Of the benchmark.
    target
        Limits of ours / torch.
    flops, floor
        Of a cell: of its projections; seconds that nobody can go below.
    enter
        ``enter(cell, threads, aside)`` verifies, and gives the calls to time: ``"ours"``, ``"torch"`` and, if
        ``aside``, those that run beside them for comparison.
    gradients
        Whether gradients are asked for; if not, torch is under inference_mode.
    """

    name: str
    target: Target
    flops: Callable[[Cell], int]
    floor: Callable[[Cell, Limits], float]
    enter: Callable[[Cell, int, bool], dict[str, Call]]
    gradients: bool


def run_race(arguments: argparse.Namespace, race: Race) -> dict[str, object]:
    """Run it over the cells that the command line asks for; print as it goes, and give rows and verdict."""
    use_threads(arguments.threads)
    import torch

    from benchmarks.probes import say_limits

    def time_calls(calls: dict[str, Call], seconds: float) -> dict[str, float]:
        with torch.inference_mode(not race.gradients):
            return interleave(calls, clock_for(arguments.threads), seconds)

    limits = say_limits(arguments.threads)
    asked = chosen_cells(arguments)
    cells, left_out, expected = asked, [], {}
    if not arguments.cells:  # those are run whatever they take
        torch_call = {"torch": race.enter(REFERENCE, arguments.threads, False)["torch"]}
        rate = race.flops(REFERENCE) / time_calls(torch_call, 0.5)["torch"]
        expected = {cell: race.flops(cell) / rate for cell in asked}
        cells, left_out = split_by_time(asked, expected)
    for cell in left_out:
        print(f"left out: {cell}, where torch would take about {expected[cell]:.0f} s")
    rows = []
    for cell in cells:
        calls = race.enter(cell, arguments.threads, expected.get(cell, 0.0) <= ASIDE_S)
        racers = {name: calls.pop(name) for name in ("ours", "torch")}
        if arguments.itself:
            racers["ours"] = racers["torch"]
        times = time_calls(racers, arguments.seconds)
        # Apart: the loop leaves the heap in a state that makes small cells of others up to twice as slow, by chance.
        times |= time_calls(calls, arguments.seconds / 3)
        rows.append(make_row(cell, arguments.threads, times, race.floor(cell, limits)))
        print(row_line(rows[-1]), flush=True)
    return {
        "threads": arguments.threads,
        "peak_gflops": limits.peak / 1e9,
        "left_out": [str(cell) for cell in left_out],
        **answer(f"{race.name}, {'torch.nn.LSTM' if arguments.itself else 'ours'}", race.target, rows),
    }


def make_row(cell: Cell, threads: int, seconds: dict[str, float], floor: float) -> dict[str, float]:
    """One row of the JSON: times in ms, ours to torch, ours to the floor."""
    sizes = {"hidden": cell.hidden, "batch": cell.batch, "time": cell.time, "threads": threads}
    ratios = {"ratio": seconds["ours"] / seconds["torch"], "floor_ratio": seconds["ours"] / floor}
    times = {f"{name}_ms": 1e3 * time for name, time in seconds.items()}
    return sizes | {name: times.pop(name) for name in ("ours_ms", "torch_ms")} | ratios | times


def row_line(row: dict[str, float]) -> str:
    """One row as it is printed on the way."""
    others = "".join(f"  {name.removesuffix('_ms')} {row[name]:.3g} ms" for name in list(row)[8:])
    return (
        f"{row['hidden']:5.0f},{row['batch']:.0f},{row['time']:.0f}".ljust(16)
        + f"ours {row['ours_ms']:9.3f} ms  torch {row['torch_ms']:9.3f} ms  ratio {row['ratio']:.3f}  "
        + f"{row['floor_ratio']:.2f} x floor{others}"
    )


def add_race_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a race."""
    add_grid_arguments(parser, seconds=3.0)
    parser.add_argument(
        "--itself", action="store_true", help="time torch in our place too: how far from 1 is what cannot be told apart"
    )


def answer(who: str, target: Target, rows: Iterable[dict[str, float]]) -> dict[str, object]:
    """Judge the rows, say it, and give what is kept."""
    rows = list(rows)
    ratios = {f"{row['hidden']},{row['batch']},{row['time']}": row["ratio"] for row in rows}
    verdict = judge(ratios, target)
    line = verdict_line(f"{who} / torch.nn.LSTM", verdict)
    print(line)
    return {"answers": [line], "verdicts": {"ratio": verdict}, "rows": rows}
