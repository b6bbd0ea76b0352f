"""Networks read as counter machines: trained ones, and two that are none, with what breaks them."""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import use_threads

HELP = "trained networks, leaky and unequal ones read as counter machines: fidelity, what breaks them, seconds"
TRAINED = Path(__file__).parent.parent / "tests" / "data" / "counting"
MEMBERS = 20  # n of the longest member that a network was trained on
SMALL_UNITS, SMALL_SECONDS = 16, 2.0
Case = tuple[str, Callable[[], Any], list[str] | None]  # name, how the network is made, the inputs it is meant to read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--texts", action="store_true", help="print what is known of each machine, too")
    parser.add_argument(
        "--no-machines",
        action="store_true",
        help="instead, extract and harden ten trained networks of 6 to 64 units that are no counter machines, in 4 GiB",
    )


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Extract, time, print and return rows and verdicts."""
    use_threads(1)
    if arguments.no_machines:
        from benchmarks import no_machines

        answers, verdicts, rows = no_machines.run()
        print("\n".join(answers))
        return {"threads": 1, "answers": answers, "verdicts": verdicts, "rows": rows}
    rows = []
    for number, (name, make, inputs) in enumerate(cases()):
        net = make()
        if number == 0:
            extract(net, inputs)  # what is loaded once is nobody's time
        seconds, extraction = extract(net, inputs)
        rows.append(row_of(name, net, extraction, seconds))
        print(line_of(rows[-1]), flush=True)
        if arguments.texts:
            print(f"{extraction.report}\n", flush=True)
    answers, verdicts = judge(rows)
    print("\n".join(answers))
    return {"threads": 1, "answers": answers, "verdicts": verdicts, "rows": rows}


def cases() -> Iterator[Case]:
    """Networks and their inputs: trained ones on members and on all strings, a leaky one, one of unequal steps."""
    for name in ("anbn", "anbn-plain", "anbncn", "dyck-1", "dyck-2"):
        net = load(name)
        if name.startswith("anbn"):
            letters = net.alphabet
            members = ["".join(letter * n for letter in letters) for n in range(1, MEMBERS + 1)]
            yield f"{name}, trained, on members to n = {MEMBERS}", lambda net=net: net, members
        yield f"{name}, trained, on all strings", lambda net=net: net, None
    yield "brackets, f = 0.9", lambda: brackets(down=-1.0, kept=0.9), None
    yield "brackets, up 1, down 0.98", lambda: brackets(down=-0.98, kept=1.0), None


def load(name: str) -> Any:
    """Load a trained network."""
    import tallycell

    return tallycell.load(TRAINED / f"{name}.safetensors").recogniser


def brackets(*, down: float, kept: float) -> Any:
    """Make a network of one unit that counts brackets: up 1, down by a step, keeping a share of its cell."""
    import numpy as np

    import tallycell

    f = 50.0 if kept == 1 else math.log(kept / (1 - kept))
    g = -50.0 if down == -1 else math.atanh(down)
    gates = np.array([[50, 50], [f, f], [50, g], [50, 50.0]])  # i, f, g, o before their activations, by symbol
    lstm = tallycell.LSTMParameters({"weight_ih_l0": gates, "weight_hh_l0": np.zeros((4, 1))})
    weight, bias = [[20.0]], [-20 * math.tanh(0.5)]
    return tallycell.Recogniser(("(", ")"), np.eye(2), lstm, weight, bias, ("open",), "threshold")


def extract(net: Any, inputs: list[str] | None) -> tuple[float, Any]:
    """Extract once; in CPU seconds."""
    import tallycell

    start = time.process_time()
    extraction = tallycell.extract_machine(net, inputs)
    return time.process_time() - start, extraction


def row_of(name: str, net: Any, extraction: Any, seconds: float) -> dict[str, object]:
    """What is known of one network."""
    return {
        "network": name,
        "units": net.parameters.hidden_size * net.parameters.num_layers,
        "states": len(extraction.machine.states),
        "counters": len(extraction.machine.counters),
        "strings": extraction.fidelity.strings,
        "of strings": extraction.fidelity.of_strings,
        "of steps": extraction.fidelity.of_steps,
        "breaks": len(extraction.breaks),
        "worst": extraction.breaks[0].text if extraction.breaks else None,
        "seconds": seconds,
    }


def line_of(row: dict[str, Any]) -> str:
    """One network in a line."""
    return (
        f"{row['network']:40} {row['units']:2} units -> {row['states']:4} states, {row['counters']} counters; "
        f"{row['of strings']:.2%} of {row['strings']:,} strings, {row['of steps']:.2%} of their steps; "
        f"{row['breaks']} breaks; {row['seconds']:.2f} s" + (f"\n    worst: {row['worst']}" if row["worst"] else "")
    )


def judge(rows: list[dict[str, Any]]) -> tuple[list[str], dict[str, dict[str, object]]]:
    """Lines and verdicts: extraction in time, and something named wherever a network is no counter machine."""
    small = [row for row in rows if row["units"] <= SMALL_UNITS]
    slowest = max(small, key=lambda row: row["seconds"])
    slow = [row["network"] for row in small if row["seconds"] >= SMALL_SECONDS]
    unexplained = [row["network"] for row in rows if row["of strings"] < 1 and not row["breaks"]]
    answers = [
        f"slowest extraction of at most {SMALL_UNITS} units: {slowest['seconds']:.2f} s, {slowest['network']} "
        f"(target < {SMALL_SECONDS:g} s): {'SHORT OF IT' if slow else 'PASS'}"
        + (f"; above it: {'; '.join(slow)}" if slow else ""),
        "every network that is no counter machine has a break named: "
        + (f"SHORT OF IT, not {'; '.join(unexplained)}" if unexplained else "PASS"),
    ]
    return answers, {
        "slowest extraction": {"found": slowest["seconds"], "target": SMALL_SECONDS, "passed": not slow},
        "breaks named": {"found": len(unexplained), "target": 0, "passed": not unexplained},
    }
