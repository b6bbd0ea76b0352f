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
from tallycell.cli.inputs import open_array, open_input, open_text
from tallycell.errors import InputError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Read an LSTM by its purpose: differentiable memory that counts.",
)  # fmt: skip

PLAIN_WIDTH = 110  # columns where the output is no terminal

MODEL_HELP = "safetensors, or a torch state_dict"
Model = Annotated[Path | None, typer.Argument(help=f"{MODEL_HELP}; the shipped model if not given")]
Text = Annotated[Path | None, typer.Option("--text", help="text to read, UTF-8; needs a model with an alphabet")]
Array = Annotated[Path | None, typer.Option("--array", help="input as npy, npz or csv: (time, feature)")]


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
def read(
    model: Model = None,
    text: Text = None,
    array: Array = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the whole reading as JSON")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print one row a unit as CSV")] = False,
    unit: Annotated[str | None, typer.Option("--unit", metavar="L.U", help="one unit in depth, such as 0.27")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="how many units to show")] = 10,
) -> None:
    """Say what each unit of an LSTM counts; with no model named, of the model and text that are shipped."""
    from tallycell.cli import report, unit_view
    from tallycell.reading import read_saturation, read_units

    if sum((as_json, as_csv, unit is not None)) > 1:
        raise InputError("got more than one of --json, --csv and --unit; choose one")
    subject = open_input(model, text, array)
    with _progress() as advance:
        advance("recording the trace", None)
        trace = subject.record()
        advance("reading saturation", None)
        saturation = read_saturation(trace)
        reading = read_units(
            trace, subject.tokens, subject.quantities,
            progress=lambda done, total: advance("reading units", (done, total)),
        )  # fmt: skip
    if as_json:
        sys.stdout.write(report.to_json(subject, saturation, reading) + "\n")
    elif as_csv:
        sys.stdout.write(report.to_csv(reading))
    elif unit is not None:
        unit_view.print_unit(_console(), subject, trace, reading.unit(unit))
    else:
        report.print_reading(_console(), subject, saturation, reading, top=top)


@app.command()
def trace(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="npy, npz or csv (time, feature); else a text")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Zarr store to write")],
) -> None:
    """Record every gate and state of every step into a Zarr store."""
    from tallycell.trace import save_trace

    subject = open_array(model, source) if source.suffix in (".npy", ".npz", ".csv") else open_text(model, source)
    with _progress() as advance:
        advance("recording the trace", None)
        recorded = subject.record()
        advance(f"writing {output}", None)
        save_trace(recorded, output)
    sizes = ", ".join(f"{size} {name}" for name, size in recorded.sizes.items())
    typer.echo(f"{output}: {', '.join(map(str, recorded.data_vars))} over {sizes}")


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
