"""A survey in words: what is going to be done, how far it is, what it found, what it left out."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tallycell.cli import report
from tallycell.cli.inputs import Subject
from tallycell.cli.terminal import PLAIN_WIDTH, Advance, json_text
from tallycell.files import write_file
from tallycell.input import Input
from tallycell.memory import say_bytes
from tallycell.reading import Reading
from tallycell.reading.page import UNICODE, text_of
from tallycell.survey import Plan, Standing, Total
from tallycell.survey.corpus import TEXT
from tallycell.survey.tasks import open_for
from tallycell.wording import MOST_LISTED, shown

READING, DATA = "reading.txt", "reading.json"


def say_plan(plan: Plan) -> str:
    """Say what there is to do."""
    unit = "bytes" if plan.kind == TEXT else "steps"
    count = len(plan.files)
    return (
        f"{count:,} {plan.kind}{'' if count == 1 else 's'}, {int(plan.lengths.sum()):,} {unit} in "
        f"{len(plan.lengths):,} sequences; {plan.tasks:,} tasks of {plan.block} sequences a block"
    )


def say_time(seconds: float) -> str:
    """Say a duration as one waits for it.

    Examples
    --------
    >>> say_time(7), say_time(200), say_time(8000)
    ('7 s', '3 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def say_standing(standing: Standing) -> str:
    """Say how far a survey is.

    Examples
    --------
    >>> say_standing(Standing(3, 20, 15_000_000, 100_000_000, 20_000.0, 0))
    '3 of 20 tasks, 20,000 steps a second, 71 min left'
    """
    said = f"{standing.done:,} of {standing.tasks:,} tasks"
    if standing.seconds_left is None:
        return said
    return f"{said}, {standing.rate:,.0f} steps a second, {say_time(standing.seconds_left)} left"


class Watch:
    """What shows how far a survey is, and says first how much it writes."""

    def __init__(self, folder: Path, tell: Callable[[str], None], advance: Advance) -> None:
        self._folder, self._tell, self._advance, self._began = folder, tell, advance, False

    def __call__(self, standing: Standing) -> None:
        """Show how far it is."""
        if not self._began:
            self._began = True
            done = f"{standing.done:,} tasks are done; " if standing.done else ""
            size = f"the sums take at most {say_bytes(standing.to_write)} more of {shown(str(self._folder))}"
            self._tell(done + size)
        self._advance(say_standing(standing), (standing.steps, standing.of_steps))


def subject_of(total: Total) -> Subject:
    """Give the model and what it read, as the page of a reading has them."""
    plan, counted = total.plan, total.counted
    corpus = open_for(plan)
    unknown = None if corpus.reader is None else counted.unknown / max(counted.symbols, 1)
    steps = f"{counted.steps:,} steps in {counted.sequences:,} sequences of at most {plan.steps:,}"
    if unknown is not None:
        steps += f", {unknown:.1%} of {'the text are unknown and left out' if corpus.leaves_out else 'them unknown'}"
    notes = (
        f"levels were fitted on {int(total.fitted['steps'].sum()):,} of the steps, and all others tested",
        *_say_left_out("file", "passed over", plan.passed_over),
        *_say_left_out("sequence", "left out", counted.left_out),
    )
    first, count = shown(Path(plan.files[0].path).name), len(plan.files)
    name = first if count == 1 else f"{first} and {count - 1:,} more"
    given = Input(
        np.zeros((1, corpus.model[corpus.path].input_size)), name, steps, tokens=None if corpus.reader is None else [],
        lstm=plan.opened.lstm, reverse=corpus.model.places[corpus.path].reverse,
        unknown_share=unknown, notes=notes,
    )  # fmt: skip
    return Subject(corpus.model, Path(plan.opened.model).name, given)


def _say_left_out(what: str, done: str, cases: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    if not cases:
        return ()
    head = f"{len(cases):,} {what}{' was' if len(cases) == 1 else 's were'} {done}; {DATA} lists why"
    return (f"{head}: {', '.join(shown(place) for place, _ in cases[:MOST_LISTED])}",)


def keep_reading(folder: Path, subject: Subject, reading: Reading, total: Total) -> None:
    """Write the reading beside the sums, as a page and for other programs."""
    survey = {**asdict(total.counted), "passed_over": total.plan.passed_over, "plan": total.plan.fingerprint}
    write_file(folder / DATA, (json_text({**report.as_object(subject, reading), "survey": survey}) + "\n").encode())
    page = "\n".join([*report.describe(subject), "", text_of(reading, PLAIN_WIDTH, len(reading.units), UNICODE)])
    write_file(folder / READING, (page + "\n").encode())
