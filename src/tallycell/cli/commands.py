"""The commands and their options."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import tallycell
from tallycell.cli.inputs import open_input, source_of
from tallycell.cli.options import Feeding, Opening, Showing, Source, with_groups
from tallycell.errors import InputError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Read an LSTM by its purpose: differentiable memory that counts.",
)  # fmt: skip

PLAIN_WIDTH = 110  # columns where the output is no terminal

MODEL_HELP = "a file of any format that tallycell reads, or a folder of raw tensors"
Model = Annotated[Path, typer.Argument(help=MODEL_HELP)]
OptionalModel = Annotated[Path | None, typer.Argument(help=f"{MODEL_HELP}; the shipped model if not given")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tallycell {tallycell.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command(short_help="Say what each unit of an LSTM counts.")
@with_groups
def read(
    *, model: OptionalModel = None, source: Source, opening: Opening, feeding: Feeding, showing: Showing
) -> None:  # fmt: skip
    """Say what each unit of an LSTM counts; with no model named, of the model and text that are shipped."""
    from tallycell.cli import report, unit_view
    from tallycell.reading import read_saturation, read_units

    if sum((showing.as_json, showing.as_csv, showing.unit is not None)) > 1:
        raise InputError("got more than one of --json, --csv and --unit; choose one")
    with _progress() as advance:
        advance("opening the model", None)
        subject = open_input(model, source, opening, feeding)
        advance("recording the trace", None)
        trace = subject.record()
        advance("reading saturation", None)
        saturation = read_saturation(trace)
        reading = read_units(
            trace, subject.tokens, subject.quantities,
            progress=lambda done, total: advance("reading units", (done, total)),
        )  # fmt: skip
    if showing.as_json:
        sys.stdout.write(report.to_json(subject, saturation, reading) + "\n")
    elif showing.as_csv:
        sys.stdout.write(report.to_csv(reading))
    elif showing.unit is not None:
        unit_view.print_unit(_console(), subject, trace, reading.unit(showing.unit))
    else:
        report.print_reading(_console(), subject, saturation, reading, top=showing.top)


@app.command()
@with_groups
def trace(
    model: Model,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="npy, npz or csv (time, feature); wav; else a text")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Zarr store to write")],
    opening: Opening,
    feeding: Feeding,
) -> None:
    """Record every gate and state of every step into a Zarr store."""
    from tallycell.trace import save_trace

    with _progress() as advance:
        advance("opening the model", None)
        subject = open_input(model, source_of(source), opening, feeding)
        advance("recording the trace", None)
        recorded = subject.record(keep_x=subject.tokens is None)
        advance(f"writing {output}", None)
        save_trace(recorded, output)
    sizes = ", ".join(f"{size} {name}" for name, size in recorded.sizes.items())
    typer.echo(f"{output}: {', '.join(map(str, recorded.data_vars))} over {sizes}")


@app.command(short_help="Print what a model file holds.")
@with_groups
def inspect(
    model: Model,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
    opening: Opening,
) -> None:
    """Print what a model file holds: its LSTMs by path, what surrounds them, and what cannot be read and why."""
    from tallycell.cli import inspect_view
    from tallycell.loaders.formats import recognise

    loaded = opening.load(model)
    if as_json:
        sys.stdout.write(inspect_view.to_json(loaded, recognise(model)) + "\n")
    else:
        inspect_view.print_model(_console(), loaded, recognise(model))


def _console() -> Console:
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PLAIN_WIDTH)


@contextmanager
def _progress() -> Iterator[Callable[[str, tuple[int, int] | None], None]]:
    """Show what is going on, on standard error, where somebody looks at it."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("")

        def advance(doing: str, done: tuple[int, int] | None) -> None:
            completed, total = done or (0, None)
            bar.update(task, description=doing, completed=completed, total=total)

        yield advance
