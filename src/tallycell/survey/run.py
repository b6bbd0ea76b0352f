"""A survey from its plan to its total: levels, then every task without a receipt, then all sums in plan order."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tallycell.errors import FormatError, InputError
from tallycell.survey.blocks import Arrays, Counted, Measure, record_sequences
from tallycell.survey.corpus import Corpus, find_files, open_corpus
from tallycell.survey.identity import kernel_here, one_thread, prepare_kernel, symbols_of, weights_of
from tallycell.survey.local import one_by_one
from tallycell.survey.plan import BLOCK, STEPS, TASK, CorpusFile, Opened, Plan
from tallycell.survey.store import FITTED, LEVELS, Receipt, Store
from tallycell.survey.tasks import Order, name_of, require_same
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
    keep_going: bool = False, progress: Callable[[int, int], None] | None = None,
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
    keep_going
        Whether files that cannot be read are passed over.
    progress
        Called with the files looked at and all.

    Raises
    ------
    InputError, FormatError
        If the model or a file cannot be read, or there are not two sequences.
    """
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
    symbols = "" if looked_at.reader is None else symbols_of(looked_at.reader.symbols)
    return Plan(
        opened, weights_of(looked_at.model), symbols, kernel_here(), measure.name, tuple(files), tuple(passed_over),
        sizes.block, sizes.steps, sizes.task,
    )  # fmt: skip


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
        If the folder is another survey's or in use, there is no room, or something cannot be read or written.
    """
    store = Store(Path(folder).absolute())
    with store.locked():
        store.begin(plan)
        before = _stamps(plan)
        _fit(store, plan, measure, keep_going)
        size = sum(values.nbytes for values in store.load(FITTED, plan)[1].values())  # packed they are fewer
        standing = _Standings(plan, [store.receipt(name_of(task), plan) is not None for task in range(plan.tasks)])
        to_write = store.require_room(len(standing.left), size)
        orders = [
            Order(str(store.folder), plan.fingerprint, task, measure, keep_going=keep_going) for task in standing.left
        ]
        report = progress or (lambda _: None)
        report(standing.now(to_write))
        for receipt in do(orders) if orders else ():
            standing.note(int(receipt.work))
            report(standing.now(len(standing.left) * size))
        if changed := [path for path, stamp in _stamps(plan).items() if before[path] != stamp]:
            raise InputError(f"{shown(changed[0])} was changed while it was surveyed; begin again in a new folder")
        return _total(store, plan, measure)


class _Standings:
    """Which tasks are done, and since when."""

    def __init__(self, plan: Plan, done: Sequence[bool]) -> None:
        self._plan, self._began = plan, time.monotonic()
        self._of_steps = sum(map(plan.steps_of, range(plan.tasks)))
        self.left = [task for task, is_done in enumerate(done) if not is_done]
        self._steps = self._before = self._of_steps - sum(map(plan.steps_of, self.left))

    def note(self, task: int) -> None:
        self.left.remove(task)
        self._steps += self._plan.steps_of(task)

    def now(self, to_write: int) -> Standing:
        seconds = time.monotonic() - self._began
        rate = (self._steps - self._before) / seconds if self._steps > self._before and seconds else 0.0
        tasks = self._plan.tasks
        return Standing(tasks - len(self.left), tasks, self._steps, self._of_steps, rate, to_write)


def _fit(store: Store, plan: Plan, measure: Measure, keep_going: bool) -> None:
    """Fit levels and sum over what they are fitted on, unless that is done."""
    if store.receipt(LEVELS, plan) is not None and store.receipt(FITTED, plan) is not None:
        return
    corpus: Corpus = open_corpus(plan.opened, plan.files[0].kind)
    require_same(plan, corpus)
    prepare_kernel(corpus.model, corpus.path)
    with one_thread():
        sequences = plan.fitted.tolist()
        recorded, counted = record_sequences(plan, corpus, sequences, width=len(sequences), keep_going=keep_going)
        if recorded is None:
            raise InputError("none of the sequences that levels are fitted on can be read; give another corpus")
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


def _stamps(plan: Plan) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file, to see whether anyone wrote it meanwhile."""
    found = {}
    for file in plan.files:
        try:
            known = os.stat(file.path)
            found[file.path] = (known.st_size, known.st_mtime_ns)
        except OSError as error:
            raise InputError(f"{shown(file.path)} cannot be opened: {error.strerror}") from None
    return found
