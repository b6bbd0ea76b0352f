"""The scoreboard: rows trained and judged over many seeds, results kept in a file as they come, a page made of them.

Each line of the file of results is one row and one seed, as JSON; what is there already is not run again, unless the
row's settings have changed.
"""

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tallycell.errors import InputError
from tallycell.files import require_place, write_file
from tallycell.learning.results import Result, append_result, open_results, read_results
from tallycell.learning.rows import Row, rows
from tallycell.learning.scoring import Trained, score
from tallycell.learning.workers import run_in_processes
from tallycell.wording import one_line

SEEDS = 10
PROCESSES = 2

Trainer = Callable[[Row, int], Trained]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Task:
    """One seed of one row."""

    row: Row
    seed: int
    far: bool = False

    def __str__(self) -> str:
        return f"row {self.row.key}, seed {self.seed}"


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

    What ends this early, such as Ctrl-C, ends the processes at once; what came before is in the file.

    Parameters
    ----------
    wanted
        Which rows.
    results
        File of JSON lines; made, with its folder, if it is not there. A last line that was not finished when
        something stopped goes to a file beside, ``NAME.torn``, and that seed is run again.
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
        If a number makes no sense, or the file cannot be written.
    FormatError
        If the file holds something else; it is not changed then.
    TallycellError
        If a process ends before it is done, as where memory is short.
    """
    if seeds < 1 or processes < 0:
        raise InputError(
            f"seeds is {seeds} and processes {processes}; give at least 1 seed and no fewer than 0 processes"
        )
    _make_folder(results)
    known = open_results(results)
    require_place(results)
    tasks = [
        Task(row, seed, far) for row in wanted for seed in range(seeds) if not _found(known, row, seed)
    ]  # fmt: skip
    until = None if seconds is None else time.monotonic() + seconds
    done = 0
    with closing(_run(tasks, trainer or train_row, processes, until)) as coming:
        for result in coming:
            append_result(results, result)
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


def _run(tasks: Sequence[Task], trainer: Trainer, processes: int, until: float | None) -> Generator[Result, None, None]:
    def late() -> bool:
        return until is not None and time.monotonic() >= until

    if processes > 0:
        yield from run_in_processes(partial(_run_on_one_thread, trainer=trainer), tasks, processes, late=late)
        return
    for task in tasks:
        if late():
            return
        yield run_task(task, trainer)


def _run_on_one_thread(task: Task, trainer: Trainer) -> Result:
    os.environ["OMP_NUM_THREADS"] = os.environ["TALLYCELL_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    return run_task(task, trainer)


# ---- results and their page ------------------------------------------------------------------------------------------


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
        If there are no results of any row, or a file cannot be written.
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
    picture = require_page(results, page, plot=plot)
    text = page_of(there, None if picture is None else f"pictures/{picture.name}")
    if picture is not None:
        from tallycell.learning.board_plot import draw_board

        draw_board(there, picture)
    write_file(page, text.encode())


def require_page(results: Path, page: Path, *, plot: bool = True) -> Path | None:
    """Try whether the page and the plot beside it can be written, before the work that would be lost.

    Their folders are made.

    Parameters
    ----------
    results, page, plot
        As in :func:`make_page`.

    Returns
    -------
    Path, optional
        Where the plot is to stand, if there is to be one.

    Raises
    ------
    InputError
        If one of them cannot be written, or would take the place of the results.
    MissingExtraError
        If there is to be a plot and matplotlib is not installed.
    """
    from tallycell.plot.saving import require_picture

    picture = page.parent / "pictures" / "scoreboard.png" if plot else None
    wanted = [(page, require_place)] if picture is None else [(page, require_place), (picture, require_picture)]
    for file, require in wanted:
        _make_folder(file)
        if require(file) == results.resolve():
            raise InputError(f"cannot write {file}: the results are there; give the page another name")
    return picture


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or one_line(error)}") from None
