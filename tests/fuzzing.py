"""Damaged files of every kind that tallycell reads, opened in child processes: each gives a result or one clean line.

::

    python tests/fuzzing.py --minutes 10
    python tests/fuzzing.py --kinds ONNX --seed 5 --first 120 --count 1

The first goes through all kinds in turn, from a seed of the clock, and prints a table; the second opens again what has
gone wrong. Exit status 1 if any file gave something else; those are kept.

Which kinds there are stands in ``fuzz_kinds``, how they are damaged in ``fuzz_damage`` and ``fuzz_words``, what must
hold in ``fuzz_checks``, and what a child process does in ``fuzz_child``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fuzz_child import Failure, Outcome, Task, keep
from fuzz_kinds import KINDS, LIBRARIES, is_installed

ROUND = 200  # files of a kind, before the next kind has its turn
SECONDS_OF_A_KIND = 15.0  # in a round
MOST_OF_A_REPORT = 3000  # characters of what a process said when it died
COLUMNS = "{:<20} {:>8} {:>8} {:>12} {:>14} {:>15} {:>17}"


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Open damaged files of every kind, and say what came of it.")
    parser.add_argument("--minutes", type=float, help="go on for so long, through all kinds in turn")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="only these")
    parser.add_argument("--seed", type=int, help="of the damage; else the clock")
    parser.add_argument("--first", type=int, default=0, help="number of the first file of each kind")
    parser.add_argument("--count", type=int, default=ROUND, help="files of each kind")
    parser.add_argument("--folder", help="where what fails is kept; else a new one")
    asked = parser.parse_args()
    seed = int(time.time()) if asked.seed is None else asked.seed
    folder = Path(tempfile.mkdtemp(prefix="fuzz-") if asked.folder is None else asked.folder)
    sys.stdout.write(f"seed {seed}; what fails is kept in {folder}\n")
    names = [name for name in asked.kinds or KINDS if is_installed(KINDS[name].library)]
    if asked.minutes is None:
        numbers = range(asked.first, asked.first + asked.count)
        outcomes = run_round(dict.fromkeys(names, numbers), seed, folder)
    else:
        outcomes = run_rounds(names, seed, folder, 60 * asked.minutes)
    for outcome in outcomes.values():
        sys.stdout.writelines(f"\n{failure}\n" for failure in outcome.failures)
    sys.stdout.write(f"\n{table(outcomes)}\n")
    sys.exit(any(outcome.failures for outcome in outcomes.values()))


def run_rounds(names: Sequence[str], seed: int, folder: Path, seconds: float) -> dict[str, Outcome]:
    """Go through all kinds in turn, each round with another seed, for about so long."""
    outcomes = {name: Outcome(name) for name in names}
    until, share = time.monotonic() + seconds, min(SECONDS_OF_A_KIND, seconds / len(names))
    while time.monotonic() < until:
        for library in LIBRARIES:
            if time.monotonic() < until:
                own = [name for name in names if KINDS[name].library == library]
                for name, found in run_round(numbers_of(own, ROUND), seed, folder, share).items():
                    outcomes[name].add(found)
        seed += 1
    return outcomes


def numbers_of(names: Sequence[str], count: int) -> dict[str, range]:
    """Say which files of each kind are opened: fewer where they take longer."""
    return {name: range(max(1, int(KINDS[name].share * count))) for name in names}


def run_round(numbers: dict[str, range], seed: int, folder: Path, seconds: float = 1e9) -> dict[str, Outcome]:
    """Open the files of some numbers of each kind; kinds that need the same library in the same process."""
    outcomes = {name: Outcome(name) for name in numbers}
    for library in LIBRARIES:
        own = {name: (which.start, which.stop) for name, which in numbers.items() if KINDS[name].library == library}
        tasks = [Task(own, seed, str(folder), seconds)] if own else []
        while tasks:
            found, left = run_child(tasks.pop())
            tasks += left
            for outcome in found:
                outcomes[outcome.kind].add(outcome)
    return outcomes


def run_child(task: Task) -> tuple[list[Outcome], list[Task]]:
    """Run a task in a process of its own.

    Returns
    -------
    outcomes
        Of the kinds that are done. Where the process died, that is a failure of the file that it was at.
    left
        What is to be done behind that file.
    """
    with tempfile.TemporaryDirectory() as working:
        command = [sys.executable, Path(__file__).with_name("fuzz_child.py"), task.to_json(), working]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        outcomes = [Outcome.from_json(line) for line in done.stdout.splitlines()]
        if done.returncode == 0:
            if done.stderr:
                said = f"or a kind before it: standard error: {done.stderr[:MOST_OF_A_REPORT]}"
                outcomes[-1].failures.append(Failure(outcomes[-1].kind, task.seed, None, said))
            return outcomes, []
        now = Path(working, "now")
        if not now.exists():
            raise RuntimeError(f"the fuzzer itself fails: {done.stderr[-MOST_OF_A_REPORT:]}")
        at = json.loads(now.read_text())
        died = Outcome.from_json(at["outcome"])
        said = f"{at['file']}: ended with {done.returncode}: {done.stderr[-MOST_OF_A_REPORT:]}"
        kept = keep(Path(at["file"]), task, died.kind, at["number"])
    died.failures.append(Failure(died.kind, task.seed, at["number"], said, kept))
    return [*outcomes, died], behind(task, died.kind, at["number"])


def behind(task: Task, name: str, number: int | None) -> list[Task]:
    """Say what is left of a task behind a file of a kind, or behind its special files if the number is None."""
    kinds = list(task.numbers)
    first, stop = task.numbers[name]
    first = first if number is None else number + 1
    rest = {kind: task.numbers[kind] for kind in kinds[kinds.index(name) + 1 :]}
    same = [replace(task, numbers={name: (first, stop)}, special=False)] if first < stop else []
    return same + ([replace(task, numbers=rest)] if rest else [])


def table(outcomes: dict[str, Outcome]) -> str:
    """Lay out what came of each kind."""
    lines = [COLUMNS.format("kind", "files", "results", "clean lines", "anything else", "slowest, s", "grown by, MiB")]
    for kind, one in outcomes.items():
        figures = (one.files, one.results, one.clean_lines, len(one.failures), f"{one.slowest:.2f}", f"{one.grown:.0f}")
        lines.append(COLUMNS.format(kind, *figures))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
