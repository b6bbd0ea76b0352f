"""One task: some blocks of the plan summed, the sums written. Whoever has the folder can do any task, even twice."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tallycell.errors import InputError
from tallycell.survey.blocks import Arrays, Counted, Measure, survey_block
from tallycell.survey.corpus import Corpus, open_corpus
from tallycell.survey.identity import one_thread, prepare_kernel, require_kernel
from tallycell.survey.keeping import keep_block
from tallycell.survey.plan import Plan
from tallycell.survey.store import LEVELS, Receipt, Store
from tallycell.wording import quoted


@dataclass(frozen=True)
class Order:
    """What is asked of a worker; it finds everything else in the folder.

    Attributes
    ----------
    folder
        Of the survey.
    plan
        Fingerprint of the plan that must lie there.
    task
        Which.
    measure
        What is summed.
    keep_going
        Whether what cannot be read is left out and listed.
    """

    folder: str
    plan: str
    task: int
    measure: Measure
    keep_going: bool = False


def fill(order: Order) -> Receipt:
    """Do a task and write its sums; where that is done already, give its receipt.

    Raises
    ------
    InputError, FormatError
        If a sequence cannot be read, the sums cannot be written, or this process would compute other sums.
    """
    store = Store(Path(order.folder))
    plan, corpus, levels = _surroundings(order.folder, order.plan)
    require_measure(plan, order.measure)
    work = name_of(order.task)
    if (done := store.receipt(work, plan)) is not None:
        return done
    total: Arrays | None = None
    counted = Counted()
    with one_thread():
        for number in plan.blocks_of(order.task):
            block = survey_block(plan, corpus, number, levels, order.measure, keep_going=order.keep_going)
            counted += block.counted
            if plan.keep:
                keep_block(plan, store.folder, number, block.recorded)
            if block.arrays is not None:
                total = block.arrays if total is None else order.measure.add(total, block.arrays)
    return store.keep(work, plan, {} if total is None else total, counted)


def name_of(task: int) -> str:
    """Name a task as its files are named."""
    return f"{task:06d}"


def require_measure(plan: Plan, measure: Measure) -> None:
    """Refuse to sum anything else than the plan says.

    Raises
    ------
    InputError
        If the measure has another name.
    """
    if measure.name != plan.measure:
        raise InputError(
            f"the plan sums {quoted(plan.measure)}, this process {quoted(measure.name)}: use the versions that the "
            "plan was made with, or begin in a new folder"
        )


@lru_cache(maxsize=1)
def open_for(plan: Plan) -> Corpus:
    """Open the model of a plan and how its corpus is read, once a process; its LSTM runs on the compiled kernel.

    Raises
    ------
    InputError, FormatError
        If the model cannot be opened or is not the plan's, or this process computes other bits.
    """
    require_kernel(plan.kernel)
    corpus = open_corpus(plan.opened, plan.kind)
    if corpus.identity != (plan.weights, plan.symbols):
        raise InputError(
            f"{plan.opened.model} is not the model that the plan was made with: its weights or symbols are others"
        )
    prepare_kernel(corpus.model, corpus.path)
    return corpus


@lru_cache(maxsize=1)
def _surroundings(folder: str, fingerprint: str) -> tuple[Plan, Corpus, Arrays]:
    """Open what all tasks of a survey have in common, once a process."""
    store = Store(Path(folder))
    plan = store.plan()
    if plan.fingerprint != fingerprint:
        raise InputError(f"{folder} holds another plan than the one that this task is of; begin in a new folder")
    corpus = open_for(plan)
    return plan, corpus, store.load(LEVELS, plan)[1]
