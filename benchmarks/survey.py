"""A survey: steps a second with a plain loop and with workers, memory of a worker, and where its time goes."""

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import Any

HELP = "a survey of a corpus with the shipped model: steps a second by workers, memory, where the time goes"
EFFICIENCY = 0.85  # of two workers beside one, by wall clock: the target, on an idle machine
MOST_OF_A_FILE = 1_000_000
WAYS = (0, 1, 2)  # workers; 0 is a plain loop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--characters", type=int, nargs="+", default=[1_000_000], metavar="N", help="sizes of the corpus"
    )
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="texts to read (default: the standard library)")
    parser.add_argument("--task", type=int, default=250_000, metavar="N", help="steps of a task (default: %(default)s)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each size each way, in a process of its own; then one block, part by part."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for characters in arguments.characters:
            corpus = make_corpus(Path(scratch, str(characters)), characters, arguments.corpus)
            for workers in WAYS:
                rows.append(measure(corpus, Path(scratch, f"out-{characters}-{workers}"), workers, arguments.task))
                print(say(rows[-1]))
        parts = in_parts(corpus)
    answers = [*answers_of(rows), say_parts(parts)]
    print("\n" + "\n".join(answers))
    return {"answers": answers, "rows": rows, "parts": parts}


def make_corpus(folder: Path, characters: int, source: Path | None) -> Path:
    """Write texts of so many characters; what there is is repeated."""
    folder.mkdir()
    root = source or Path(sysconfig.get_path("stdlib"))
    kept = [path for path in sorted(root.rglob("*" if source else "*.py")) if path.is_file() and path.stat().st_size]
    left, number = characters, 0
    while left:
        for path in kept:
            text = path.read_bytes().decode("ascii", "ignore")[: min(left, MOST_OF_A_FILE)]
            (folder / f"{number:06d}.txt").write_text(text)
            left, number = left - len(text), number + 1
            if not left:
                break
    return folder


def measure(corpus: Path, out: Path, workers: int, task: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.survey", str(corpus), str(out), str(workers), str(task)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


def child() -> None:
    """Survey once; print the seconds of all tasks but the first of each worker, which compile, and the memory."""
    import resource

    from tallycell.survey import Cluster, Opened, Sizes, Standing, run_survey, survey_plan
    from tallycell.survey.local import one_by_one
    from tallycell.survey.units import Units

    corpus, out, workers, task = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    seen: list[tuple[float, int]] = []

    def note(standing: Standing) -> None:
        seen.append((time.perf_counter(), standing.steps))

    with as_file(files("tallycell") / "shipped" / "stdlib_characters.safetensors") as model:
        plan = survey_plan(Opened(str(model)), [corpus], Units(), sizes=Sizes(task=task))
        do = Cluster(workers=workers) if workers else one_by_one
        began = time.perf_counter()
        run_survey(plan, out, Units(), do=do, progress=note)
        seconds = time.perf_counter() - began
    first = min(max(1, workers), len(seen) - 2)
    (start, before), (end, after) = seen[first], seen[-1]
    whose = resource.RUSAGE_CHILDREN if workers else resource.RUSAGE_SELF
    figures = {
        "way": f"{workers} worker{'s' if workers > 1 else ''}" if workers else "plain loop", "workers": workers,
        "steps": after, "steps_a_second": (after - before) / (end - start), "seconds": seconds,
        "memory_MB": resource.getrusage(whose).ru_maxrss / 1000,
    }  # fmt: skip
    print(json.dumps(figures))


def in_parts(corpus: Path) -> dict[str, float]:
    """Seconds of CPU time of the parts of one block, and of the first pass."""
    from tallycell.survey import Opened, survey_plan
    from tallycell.survey.blocks import record_sequences
    from tallycell.survey.corpus import open_corpus
    from tallycell.survey.identity import one_thread
    from tallycell.survey.store import Store
    from tallycell.survey.units import Units

    parts: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = call()
        parts[name] = time.process_time() - began
        return result

    with (
        as_file(files("tallycell") / "shipped" / "stdlib_characters.safetensors") as model,
        one_thread(),
        tempfile.TemporaryDirectory() as folder,
    ):
        plan = survey_plan(Opened(str(model)), [corpus], Units())
        opened = open_corpus(plan.opened, "text")
        fitted, block = plan.fitted.tolist(), plan.block_of(0).tolist()
        recorded, _ = record_sequences(plan, opened, fitted, width=len(fitted))
        levels = timed("pass 1", lambda: Units().fit(recorded))
        for _ in range(2):  # the first time compiles
            recorded, counted = timed("record", lambda: record_sequences(plan, opened, block, width=plan.block))
            sums = timed("pass 2", partial(Units().sum, recorded, levels, tested=True))
        timed("open", lambda: [opened.piece(plan, sequence) for sequence in block])
        parts["record"] -= parts["open"]
        store = Store(Path(folder))
        store.begin(plan)
        timed("write", lambda: store.keep("000000", plan, sums, counted))
        parts["steps of a block"] = counted.steps
    return parts


def say(row: dict[str, Any]) -> str:
    return (
        f"{row['steps']:>12,} steps, {row['way']:<10}  {row['steps_a_second']:>9,.0f} steps a second, "
        f"{row['memory_MB']:>6,.0f} MB"
    )


def answers_of(rows: list[dict[str, Any]]) -> list[str]:
    """How much two workers bring beside one, and whether memory grows."""
    answers = []
    for one, two in pairwise(rows):
        if (one["workers"], two["workers"]) == (1, 2):
            share = two["steps_a_second"] / one["steps_a_second"] / 2
            answers.append(f"{one['steps']:,} steps: efficiency of two workers {share:.2f} (target >= {EFFICIENCY})")
    largest = max(row["memory_MB"] for row in rows)
    return [*answers, f"a worker takes at most {largest:,.0f} MB"]


def say_parts(parts: dict[str, float]) -> str:
    steps = parts["steps of a block"]
    shares = ", ".join(f"{name} {1e6 * parts[name] / steps:.1f}" for name in ("open", "record", "pass 2"))
    return (
        f"microseconds a step on one core: {shares}; once a task: write {parts['write']:.2f} s; once a survey: pass 1 "
        f"{parts['pass 1']:.1f} s"
    )


if __name__ == "__main__":
    child()
