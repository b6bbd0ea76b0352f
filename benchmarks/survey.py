"""A survey: steps a second with a plain loop and with workers, memory of a worker, and where its time goes."""

import argparse
import json
import pickle
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from itertools import cycle, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallycell.survey import Opened, Plan

HELP = "a survey of a corpus with the shipped model: steps a second by workers, memory, where the time goes"
EFFICIENCY = 0.85  # of two workers beside one, by wall clock: the target, on an idle machine
MOST_OF_A_FILE = 1_000_000
WAYS = (0, 1, 2)  # workers; 0 is a plain loop
SMALL = 200_000  # characters on which blocks of 64 and of one sequence are compared
ALONE = 8  # sequences that are recorded by themselves as well


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--characters", type=int, nargs="+", default=[1_000_000], metavar="N", help="sizes of the corpus"
    )
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="texts to read (default: the standard library)")
    parser.add_argument("--task", type=int, default=250_000, metavar="N", help="steps of a task (default: %(default)s)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each size each way, in a process of its own; then what a plan and one block take, part by part."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for characters in arguments.characters:
            corpus = make_corpus(Path(scratch, str(characters)), characters, arguments.corpus)
            for workers in WAYS:
                rows.append(measure(corpus, Path(scratch, f"out-{characters}-{workers}"), workers, arguments.task))
                print(say(rows[-1]))
        parts = in_parts(corpus)
        differences = by_composition(make_corpus(Path(scratch, "small"), SMALL, arguments.corpus), Path(scratch))
    answers = [*answers_of(rows), *say_parts(parts), say_differences(differences)]
    print("\n" + "\n".join(answers))
    return {"answers": answers, "rows": rows, "parts": parts, "differences": differences}


def make_corpus(folder: Path, characters: int, source: Path | None) -> Path:
    """Write texts of so many characters; what there is is repeated."""
    folder.mkdir()
    root = source or Path(sysconfig.get_path("stdlib"))
    kept = [path for path in sorted(root.rglob("*" if source else "*.py")) if path.is_file() and text_of(path)]
    if not kept:
        raise SystemExit(f"{root} holds no text; give a folder of texts")
    left = characters
    for number, path in enumerate(cycle(kept)):
        if not left:
            break
        text = text_of(path)[:left]
        (folder / f"{number:06d}.txt").write_text(text)
        left -= len(text)
    return folder


def text_of(path: Path) -> str:
    return path.read_bytes()[:MOST_OF_A_FILE].decode("ascii", "ignore")


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
        "memory_MB": resource.getrusage(whose).ru_maxrss / 1024,
    }  # fmt: skip
    print(json.dumps(figures))


def in_parts(corpus: Path) -> dict[str, float]:
    """Seconds of CPU time of the parts of a plan, of pass 1 and of one block; bytes of what is kept and sent."""
    from tallycell.survey import survey_plan
    from tallycell.survey.blocks import record_sequences
    from tallycell.survey.store import SUMS, Store
    from tallycell.survey.tasks import Order, open_for
    from tallycell.survey.units import Units

    parts: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = call()
        parts[name] = time.process_time() - began
        return result

    with shipped() as model, tempfile.TemporaryDirectory() as folder:
        plan = survey_plan(model, [corpus], Units())
        opened = open_for(plan)
        timed("look", lambda: [opened.examine(Path(file.path)) for file in plan.files])
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
        return parts | {
            "steps of a block": counted.steps,
            "bytes of the corpus": sum(file.size for file in plan.files),
            "bytes of the plan a file": _longer(plan) / len(plan.files),
            "bytes of a task": (store.folder / SUMS / "000000.npz").stat().st_size,
            "bytes of a task at most": sum(values.nbytes for values in sums.values()),
            "bytes of an order": len(pickle.dumps(Order(folder, plan.fingerprint, 0, Units()))),
        }


def _longer(plan: "Plan") -> int:
    """Bytes that as many files more would make a plan longer."""
    return len(replace(plan, files=plan.files * 2).to_json()) - len(plan.to_json())


def by_composition(corpus: Path, scratch: Path) -> dict[str, float]:
    """How far states and R² differ where sequences are recorded one by one; and the largest state."""
    import numpy as np

    from tallycell.reading.levels import Levels
    from tallycell.reading.sums import UnitSums
    from tallycell.reading.units import read_sums
    from tallycell.survey import Sizes, run_survey, survey_plan
    from tallycell.survey.blocks import record_sequences
    from tallycell.survey.tasks import open_for
    from tallycell.survey.units import Units

    r2 = []
    with shipped() as model:
        for block in (1, 64):
            plan = survey_plan(model, [corpus], Units(), sizes=Sizes(block=block))
            total = run_survey(plan, scratch / f"block-{block}", Units())
            sums = UnitSums.from_arrays(Units().add(total.fitted, total.tested))
            r2.append(np.array([unit.r2 for unit in read_sums(Levels.from_arrays(total.levels), sums).units]))
        opened, some = open_for(plan), plan.block_of(0)[:ALONE].tolist()

        def states(sequences: list[int], width: int) -> np.ndarray:
            recorded, _ = record_sequences(plan, opened, sequences, width=width)
            assert recorded is not None
            return recorded.trace[["c", "h"]].to_dataarray().transpose("sequence", "time", ...).to_numpy()

        together = states(some, plan.block)
        alone = [states([one], 1)[0] for one in some]
    between = [np.nanmax(np.abs(theirs[: len(own)] - own)) for theirs, own in zip(together, alone, strict=True)]
    return {
        "state": float(max(between)), "largest": float(np.nanmax(np.abs(together))),
        "r2": float(np.nanmax(np.abs(r2[0] - r2[1]))),
    }  # fmt: skip


@contextmanager
def shipped() -> "Iterator[Opened]":
    """The shipped model, as a survey opens it, with one thread."""
    from tallycell.survey import Opened
    from tallycell.survey.identity import one_thread

    with as_file(files("tallycell") / "shipped" / "stdlib_characters.safetensors") as model, one_thread():
        yield Opened(str(model))


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
    of_workers = [row for row in rows if row["workers"]]
    answers.append(f"a worker takes at most {max(row['memory_MB'] for row in of_workers):,.0f} MB")
    for workers in WAYS[1:]:
        first, *_, last = sorted((row for row in of_workers if row["workers"] == workers), key=itemgetter("steps")) * 2
        if last["steps"] > first["steps"]:
            growth = last["memory_MB"] / first["memory_MB"]
            many = last["steps"] / first["steps"]
            answers.append(f"{last['way']}: {many:,.0f} times the steps take {growth:.2f} times the memory")
    return answers


def say_parts(parts: dict[str, float]) -> list[str]:
    steps = parts["steps of a block"]
    shares = ", ".join(f"{name} {1e6 * parts[name] / steps:.1f}" for name in ("open", "record", "pass 2"))
    return [
        f"microseconds a step on one core: {shares}; once a task: write {parts['write']:.2f} s; once a survey: pass 1 "
        f"{parts['pass 1']:.1f} s",
        f"{parts['bytes of the corpus'] / parts['look'] / 1e6:,.0f} MB of files are looked at a second; the plan has "
        f"{parts['bytes of the plan a file']:,.0f} bytes a file",
        f"sums of a task: {parts['bytes of a task'] / 1e6:.1f} MB, {parts['bytes of a task at most'] / 1e6:.1f} MB at "
        f"most; its order: {parts['bytes of an order']:,.0f} bytes",
    ]


def say_differences(differences: dict[str, float]) -> str:
    return (
        f"recorded one by one, states (at most {differences['largest']:.0f}) are up to {differences['state']:.1e} from "
        f"those in a block of 64, and R² up to {differences['r2']:.1e}"
    )


if __name__ == "__main__":
    child()
