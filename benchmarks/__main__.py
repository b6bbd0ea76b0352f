"""Run one benchmark: ``python -m benchmarks NAME [--json FILE]``."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    activations,
    api,
    cold,
    compilation,
    counting,
    effects,
    extraction,
    faithfulness,
    forward,
    horizon,
    import_time,
    machine_speed,
    memory,
    read,
    report,
    roles,
    squashing,
    stream,
    survey,
    train,
    view,
)
from benchmarks.machine import describe_machine

BENCHMARKS = {
    "import": import_time,
    "forward": forward,
    "train": train,
    "stream": stream,
    "activations": activations,
    "api": api,
    "cold": cold,
    "machine": machine_speed,
    "horizon": horizon,
    "counting": counting,
    "compile": compilation,
    "extract": extraction,
    "memory": memory,
    "read": read,
    "roles": roles,
    "squashing": squashing,
    "effects": effects,
    "faithfulness": faithfulness,
    "survey": survey,
    "view": view,
}


def main() -> None:
    """Parse the command line, run the benchmark, keep its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tallycell.")
    commands = parser.add_subparsers(dest="name", required=True)
    for name, benchmark in BENCHMARKS.items():
        command = commands.add_parser(name, help=benchmark.HELP)
        command.add_argument("--json", type=Path, metavar="FILE", help="keep the figures, with the machine's name")
        benchmark.add_arguments(command)
    report.add_arguments(commands.add_parser("report", help=report.HELP))
    arguments = parser.parse_args()
    if arguments.name == "report":
        report.run(arguments)
        return

    about = describe_machine()
    print(f"{about['processor']}, {about['cores']} cores, Python {about['python']}")
    figures = BENCHMARKS[arguments.name].run(arguments)
    if arguments.json:
        kept = {"benchmark": arguments.name, "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about}
        arguments.json.write_text(json.dumps(kept | {"figures": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
