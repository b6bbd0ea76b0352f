"""The scoreboard: rows trained and judged over many seeds, results kept in a file as they come, a page made of them.

Each line of the file of results is one row and one seed, as JSON; what is there already is not run again, unless the
row's settings have changed.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tallycell.errors import FormatError, InputError
from tallycell.learning.rows import Row, rows
from tallycell.learning.scoring import Trained, score

SEEDS = 10
PROCESSES = 2

Result = dict[str, Any]
Trainer = Callable[[Row, int], Trained]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Task:
    """One seed of one row."""

    row: Row
    seed: int
    far: bool = False


def run_rows(  # noqa: PLR0913  what to run, how, and for how long
    wanted: Sequence[Row],
    results: Path,
    *,
    trainer: Trainer | None = None,
    seeds: int = SEEDS,
    processes: int = PROCESSES,
    seconds: float | None = None,
    far: bool = False,
    progress: Progress | None = None,
) -> int:
    """Train and judge what is not in the file of results yet, and append it there as it comes.

    Parameters
    ----------
    wanted
        Which rows.
    results
        File of JSON lines; made if it is not there.
    trainer
        Trains one seed of a row; with processes it must be a function of a module. None for :func:`train_row`.
    seeds
        Seeds 0, 1, ... of each row.
    processes
        How many train at the same time, on one thread each; 0 for this process.
    seconds
        Nothing new is begun after so long; None for no limit. What has begun is finished.
    far
        Whether the first failures of hardened networks are searched to 2^24.
    progress
        Is told the row, and how many of how many seeds are done.

    Returns
    -------
    int
        How many seeds are still to be run.

    Raises
    ------
    InputError
        If a number makes no sense.
    FormatError
        If the file holds something else.
    """
    if seeds < 1 or processes < 0:
        raise InputError(
            f"seeds is {seeds} and processes {processes}; give at least 1 seed and no fewer than 0 processes"
        )
    known = read_results(results)
    tasks = [
        Task(row, seed, far) for row in wanted for seed in range(seeds) if not _found(known, row, seed)
    ]  # fmt: skip
    until = None if seconds is None else time.monotonic() + seconds
    results.parent.mkdir(parents=True, exist_ok=True)
    _cut_unfinished_line(results)
    done = 0
    for result in _run(tasks, trainer or train_row, processes, until):
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        done += 1
        if progress is not None:
            progress(result["row"], done, len(tasks))
    return len(tasks) - done


def run_task(task: Task, trainer: Trainer) -> Result:
    """Train and judge one seed of one row."""
    about = {"row": task.row.key, "seed": task.seed, "settings": task.row.settings}
    return {**about, **score(task.row, trainer(task.row, task.seed), far=task.far)}


def train_row(row: Row, seed: int) -> Trained:
    """Train one seed of a row by the recipe, with its settings, which are the same for all rows but for the steps."""
    from tallycell.learning.training import train

    found = train(row.language, hidden=row.hidden, seed=seed, settings=row.recipe)
    return Trained(
        found.network,
        found.runs,
        found.seconds,
        found.loss,
        first=None if found.chosen == 0 else found.first,
        learned=bool(found.snapped_errors[found.chosen] <= row.recipe.nearly),
        first_learned=bool(found.snapped_errors[0] <= row.recipe.nearly),
        judged=found.judged,
        checked=found.checked,
        hardened=found.hardened,
    )


def _run(tasks: list[Task], trainer: Trainer, processes: int, until: float | None) -> Iterator[Result]:
    if processes == 0:
        for task in tasks:
            if _late(until):
                return
            yield run_task(task, trainer)
        return
    # A forked child of a process that has used torch's threads may wait for ever: each is a new one.
    with ProcessPoolExecutor(processes, get_context("spawn"), _use_one_thread) as pool:
        waiting: set[Future[Result]] = set()
        left = list(reversed(tasks))
        while True:
            while left and len(waiting) < processes and not _late(until):
                waiting.add(pool.submit(run_task, left.pop(), trainer))
            if not waiting:
                return
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()


def _late(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until


def _use_one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = os.environ["TALLYCELL_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


# ---- the file of results ---------------------------------------------------------------------------------------------


def read_results(path: Path) -> list[Result]:
    """Read all results; none if there is no file.

    A last line that was not finished when something stopped is left out.

    Raises
    ------
    FormatError
        If a line is no result.
    """
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    lines = text.splitlines()
    found: list[Result] = []
    for number, line in enumerate(lines, 1):
        try:
            result = json.loads(line)
            found.append({**result, "row": str(result["row"]), "seed": int(result["seed"])})
        except (ValueError, KeyError, TypeError) as wrong:
            if number == len(lines) and not text.endswith("\n"):
                break
            raise FormatError(
                f"line {number} of {path} is no result of the scoreboard; give another file, or take the line out"
            ) from wrong
    return found


def _cut_unfinished_line(path: Path) -> None:
    text = path.read_bytes() if path.exists() else b""
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def results_of(row: Row, results: Iterable[Result]) -> list[Result]:
    """Give the results of a row with its settings, by seed; of several of one seed the last."""
    by_seed = {one["seed"]: one for one in results if one["row"] == row.key and one.get("settings") == row.settings}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _found(results: Iterable[Result], row: Row, seed: int) -> bool:
    return any(one["seed"] == seed for one in results_of(row, results))


def make_page(results: Path, page: Path, *, plot: bool = True) -> None:
    """Write the page, and the plot beside it, of a file of results.

    Parameters
    ----------
    results
        File of JSON lines.
    page
        Markdown file to write; the plot becomes ``pictures/scoreboard.png`` beside it.
    plot
        Whether to draw, which needs matplotlib.

    Raises
    ------
    InputError
        If there are no results of any row.
    FormatError
        If the file holds something else.
    MissingExtraError
        If matplotlib is not installed.
    """
    from tallycell.learning.board_page import page_of

    found = read_results(results)
    there = [(row, of_row) for row in rows(slow=True) if (of_row := results_of(row, found))]
    if not there:
        raise InputError(f"{results} holds no results of the rows as they are set now; run tallycell scoreboard first")
    picture = None
    if plot:
        from tallycell.learning.board_plot import draw_board

        picture = page.parent / "pictures" / "scoreboard.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_board(there, picture)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of(there, None if picture is None else f"pictures/{picture.name}"), "utf-8")
