"""The command that reads a whole corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tallycell.cli.inputs import require_files
from tallycell.cli.options import Opening, Source, with_groups
from tallycell.cli.terminal import console, progress
from tallycell.survey.plan import BLOCK, STEPS, Opened

survey_app = typer.Typer()


@dataclass(frozen=True)
class Working:
    """Who does the work, and in which pieces."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, help="start N processes here; if not given, this one works alone"
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="give the work to this dask scheduler, tcp://HOST:PORT"),
    ] = None
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="pass over what cannot be read, and list it with the reading")
    ] = False
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="NAMES", help="keep the values of these at every step as well, such as c,f (Zarr stores)"
        ),
    ] = None
    steps: Annotated[
        int,
        typer.Option("--steps", metavar="N", min=1, help="cut longer sequences at so many steps (of a text, bytes)"),
    ] = STEPS
    block: Annotated[
        int,
        typer.Option("--block", metavar="N", min=1, help="record so many sequences together: fewer take less memory"),
    ] = BLOCK


@dataclass(frozen=True)
class Corpus:
    """How a corpus is opened."""

    lstm: Annotated[
        str | None,
        typer.Option("--lstm", metavar="PATH", help="read the LSTM at this path of the model; inspect lists the paths"),
    ] = None
    vocab: Annotated[
        Path | None, typer.Option("--vocab", metavar="FILE", help="take the symbols of the embedding from this file")
    ] = None
    scale: Annotated[
        Path | None,
        typer.Option("--scale", metavar="FILE", help="scale tables by the mean and std of each column in this file"),
    ] = None
    time: Annotated[
        str | None, typer.Option("--time", metavar="COLUMN", help="take the time of tables from this column")
    ] = None

    def for_model(self, model: Path, opening: Opening) -> Opened:
        """Say the same to everyone who computes."""
        return Opened(
            str(model), self.lstm, vocabulary=None if self.vocab is None else str(self.vocab),
            scaling=None if self.scale is None else str(self.scale), time=self.time, forget_bias=opening.forget_bias,
            trust_pickle=opening.trust_pickle, trust_code=opening.trust_code,
        )  # fmt: skip


@survey_app.command(short_help="Say what each unit counts over a corpus of any size; ended, it goes on.")
@with_groups
def survey(
    model: Annotated[Path, typer.Argument(help="name a model file of any format that tallycell reads")],
    corpus: Annotated[
        list[Path], typer.Argument(metavar="CORPUS...", help="name texts or tables, or folders of them; one kind only")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="keep sums and the reading in this folder")],
    working: Working,
    opened_as: Corpus,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="how many units to show")] = 10,
    opening: Opening,
) -> None:  # fmt: skip
    """Say what each unit of an LSTM counts over a whole corpus, in blocks that add up.

    Ended at any time, the same command goes on with what is left. Its result is the same to the last bit, whatever was
    killed and whoever did the work.
    """
    from tallycell.cli import report, survey_view
    from tallycell.survey import Cluster, Sizes, run_survey, survey_plan
    from tallycell.survey.local import one_by_one
    from tallycell.survey.run import require_out
    from tallycell.survey.units import Units, read_total

    require_files(model, Source(vocab=opened_as.vocab, scale=opened_as.scale))
    alone = working.workers is None and working.scheduler is None
    do = one_by_one if alone else Cluster(working.workers, working.scheduler, told=_tell)
    require_out(out, corpus)
    opened = opened_as.for_model(model, opening)
    with progress() as advance:
        plan = survey_plan(
            opened, corpus, Units(), sizes=Sizes(working.block, working.steps),
            keep=() if working.keep is None else tuple(working.keep.split(",")), keep_going=working.keep_going,
            progress=lambda done, total: advance("looking at the corpus", (done, total)),
        )  # fmt: skip
        _tell(survey_view.say_plan(plan))
        advance("fitting levels", None)
        watch = survey_view.Watch(out, _tell, advance)
        total = run_survey(plan, out, Units(), do=do, keep_going=working.keep_going, progress=watch)
        advance("reading units", None)
        reading = read_total(total)
    subject = survey_view.subject_of(total)
    survey_view.keep_reading(out, subject, reading, total)
    typer.echo()
    report.print_reading(console(), subject, reading, None, top=top)


def _tell(text: str) -> None:
    """Say at once what somebody who waits, or reads the log of a job, should know."""
    print(text, flush=True)  # noqa: T201
