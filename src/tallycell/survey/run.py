"""A survey from its plan to its total: levels, then every task without a receipt, then all sums in plan order."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tallycell.errors import FormatError, InputError
from tallycell.files import require_folder
from tallycell.survey.blocks import Arrays, Counted, Measure, record_sequences
from tallycell.survey.corpus import Stamp, find_files, open_corpus, stamp_of
from tallycell.survey.identity import kernel_here, one_thread
from tallycell.survey.keeping import begin_traces, bytes_of_traces
from tallycell.survey.local import one_by_one
from tallycell.survey.plan import BLOCK, STEPS, TASK, CorpusFile, Opened, Plan
from tallycell.survey.store import FITTED, LEVELS, SMALLEST, Receipt, Store
from tallycell.survey.tasks import Order, name_of, open_for, require_measure
from tallycell.trace.store import require_zarr
from tallycell.wording import shown

Do = Callable[[Sequence[Order]], Iterator[Receipt]]


@dataclass(frozen=True)
class Sizes:
    """How a corpus is divided: the sequences of a block, the steps of a sequence, and of a task, about."""

    block: int = BLOCK
    steps: int = STEPS
    task: int = TASK


@dataclass(frozen=True)
class Standing:
    """How far a survey is.

    Attributes
    ----------
    done, tasks
        Tasks with a receipt, and all.
    steps, of_steps
        Steps of the tasks that are done, and of all; of texts their bytes.
    rate
        Steps a second since this run began; 0 before its first task is done.
    to_write
        Bytes of sums that are still to be written, at most.
    """

    done: int
    tasks: int
    steps: int
    of_steps: int
    rate: float
    to_write: int

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at this rate; None before there is one."""
        return (self.of_steps - self.steps) / self.rate if self.rate else None


@dataclass(frozen=True, eq=False)
class Total:
    """What a survey found.

    Attributes
    ----------
    plan
        What was surveyed.
    levels
        As the measure fitted them.
    fitted, tested
        The sums over the sequences that levels were fitted on, and over all others.
    counted
        What was read, in all.
    """

    plan: Plan
    levels: Arrays
    fitted: Arrays
    tested: Arrays
    counted: Counted


def survey_plan(
    opened: Opened, corpus: Sequence[str | os.PathLike[str]], measure: Measure, *, sizes: Sizes | None = None,
    keep: Sequence[str] = (), keep_going: bool = False, progress: Callable[[int, int], None] | None = None,
) -> Plan:  # fmt: skip
    """Look at a model and every file of a corpus, and fix what is computed.

    Parameters
    ----------
    opened
        How they are opened; its files by any path.
    corpus
        Files and folders: texts, or tables.
    measure
        What will be summed.
    sizes
        Of the pieces; another block gives other last bits, another length of sequences another reading.
    keep
        Gates and states whose values at every step are kept as well, as Zarr stores: any of ``i f g o c h``.
    keep_going
        Whether files that cannot be read are passed over.
    progress
        Called with the files looked at and all.

    Raises
    ------
    InputError, FormatError
        If the model or a file cannot be read, there are not two sequences, or something else is to be kept.
    MissingExtraError
        If traces are to be kept and zarr or dask is not installed.
    """
    if keep:
        require_zarr()
    kind, paths = find_files([Path(one) for one in corpus])
    named = {name: getattr(opened, name) for name in ("model", "vocabulary", "scaling")}
    opened = replace(opened, **{name: path and os.path.abspath(path) for name, path in named.items()})
    looked_at = open_corpus(opened, kind)
    files: list[CorpusFile] = []
    passed_over: list[tuple[str, str]] = []
    for number, path in enumerate(paths):
        try:
            files.append(looked_at.examine(path))
        except (InputError, FormatError) as error:
            if not keep_going:
                raise type(error)(f"{error}; --keep-going passes over what cannot be read") from None
            passed_over.append((str(path), str(error)))
        if progress is not None:
            progress(number + 1, len(paths))
    if not files:
        raise InputError(f"no file of the corpus can be read, the first because {passed_over[0][1]}")
    sizes = sizes or Sizes()
    return Plan(
        opened, *looked_at.identity, kernel_here(), measure.name, tuple(files), tuple(passed_over),
        sizes.block, sizes.steps, sizes.task, tuple(keep),
    )  # fmt: skip


def require_out(folder: str | os.PathLike[str], corpus: Sequence[str | os.PathLike[str]]) -> None:
    """Try whether results can be kept in a folder, before the time that looking at a corpus takes.

    Raises
    ------
    InputError
        If the folder is in use, takes no file, or lies inside the corpus, of which its files would be a part.
    """
    store = Store(Path(os.path.abspath(folder)))
    for one in map(Path, corpus):
        if one.is_dir() and store.folder.is_relative_to(os.path.abspath(one)):
            raise InputError(f"{folder} lies inside the corpus {one}; give a folder beside it")
    if os.path.exists(store.folder):  # Path.exists raises where a name is too long
        with store.locked():
            require_folder(store.folder, store.folder)
    else:
        require_folder(next(above for above in store.folder.parents if os.path.exists(above)), store.folder)


def run_survey(
    plan: Plan, folder: str | os.PathLike[str], measure: Measure, *, do: Do = one_by_one, keep_going: bool = False,
    progress: Callable[[Standing], None] | None = None,
) -> Total:  # fmt: skip
    """Do what of a plan is not done yet, and add everything up.

    Killed at any time and called again with the same arguments, it goes on; its result is the same to the last bit.

    Parameters
    ----------
    plan
        As :func:`survey_plan` gave it.
    folder
        Where results are kept. It takes no other plan.
    measure
        What is summed.
    do
        Who does the tasks: :func:`~tallycell.survey.local.one_by_one`, or a cluster.
    keep_going
        Whether a sequence that cannot be read is left out and listed.
    progress
        Called before the first task, and after each.

    Raises
    ------
    InputError, FormatError
        If the folder is another survey's or in use, there is no room, or something cannot be read or written; if the
        measure is not the plan's.
    """
    require_measure(plan, measure)
    store = Store(Path(folder).absolute())
    with store.locked():
        store.begin(plan)
        before = _stamps(plan)
        _fit(store, plan, measure, keep_going)
        size = sum(values.nbytes for values in store.load(FITTED, plan)[1].values())  # packed they are fewer
        done = [store.receipt(name_of(task), plan) is not None for task in range(plan.tasks)]
        standing = _Standings(plan, done, size + 2 * SMALLEST)
        store.require_room(len(standing.left), standing.now().to_write)
        orders = [
            Order(str(store.folder), plan.fingerprint, task, measure, keep_going=keep_going) for task in standing.left
        ]
        report = progress or (lambda _: None)
        report(standing.now())
        for receipt in do(orders) if orders else ():
            standing.note(int(receipt.work))
            report(standing.now())
        if changed := [path for path, stamp in _stamps(plan).items() if before[path] != stamp]:
            raise InputError(f"{shown(changed[0])} was changed while it was surveyed; begin again in a new folder")
        return _total(store, plan, measure)


class _Standings:
    """Which tasks are done, and since when; each of the others writes so many bytes."""

    def __init__(self, plan: Plan, done: Sequence[bool], size: int) -> None:
        self._plan, self._began, self._size = plan, time.monotonic(), size
        self._of_steps = sum(map(plan.steps_of, range(plan.tasks)))
        self.left = [task for task, is_done in enumerate(done) if not is_done]
        self._steps = self._before = self._of_steps - sum(map(plan.steps_of, self.left))

    def note(self, task: int) -> None:
        self.left.remove(task)
        self._steps += self._plan.steps_of(task)

    def now(self) -> Standing:
        seconds = time.monotonic() - self._began
        rate = (self._steps - self._before) / seconds if self._steps > self._before and seconds else 0.0
        tasks = self._plan.tasks
        return Standing(tasks - len(self.left), tasks, self._steps, self._of_steps, rate, len(self.left) * self._size)


def _fit(store: Store, plan: Plan, measure: Measure, keep_going: bool) -> None:
    """Fit levels and sum over what they are fitted on, unless that is done."""
    if store.receipt(LEVELS, plan) is not None and store.receipt(FITTED, plan) is not None:
        return
    corpus = open_for(plan)
    with one_thread():
        sequences = plan.fitted.tolist()
        recorded, counted = record_sequences(plan, corpus, sequences, width=len(sequences), keep_going=keep_going)
        if recorded is None:
            raise InputError("none of the sequences that levels are fitted on can be read; give another corpus")
        if plan.keep:
            store.require_room(plan.tasks, bytes_of_traces(plan, recorded.trace))
            begin_traces(plan, store.folder, recorded.trace)
        levels = measure.fit(recorded)
        store.keep(LEVELS, plan, levels, Counted())
        store.keep(FITTED, plan, measure.sum(recorded, levels, tested=False), counted)


def _total(store: Store, plan: Plan, measure: Measure) -> Total:
    receipt, fitted = store.load(FITTED, plan)
    counted, tested = receipt.counted, None
    for task in range(plan.tasks):
        receipt, sums = store.load(name_of(task), plan)
        counted += receipt.counted
        if sums:
            tested = sums if tested is None else dict(measure.add(tested, sums))
    if tested is None:
        raise InputError("no sequence of the corpus could be read but those that levels are fitted on")
    return Total(plan, store.load(LEVELS, plan)[1], fitted, tested, counted)


def _stamps(plan: Plan) -> dict[str, Stamp]:
    found = {}
    for file in plan.files:
        try:
            found[file.path] = stamp_of(Path(file.path))
        except OSError as error:
            raise InputError(f"{shown(file.path)} cannot be opened: {error.strerror}") from None
    return found
