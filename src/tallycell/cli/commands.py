"""The commands and their options."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import tallycell
from tallycell.cli.effect_commands import effect_app
from tallycell.cli.help import Commands
from tallycell.cli.inputs import KEPT, Subject, open_input, require_files, source_of
from tallycell.cli.learning_commands import learning_app
from tallycell.cli.machine_commands import machine_app
from tallycell.cli.options import AsJSON, Feeding, Mattering, Opening, Showing, Source, with_groups
from tallycell.cli.survey_commands import survey_app
from tallycell.cli.terminal import console, print_json, progress
from tallycell.cli.view_commands import view_app, write_html
from tallycell.errors import InputError
from tallycell.files import require_place
from tallycell.memory import say_bytes
from tallycell.wording import shown

app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Read an LSTM by what it is for: memory that counts. Each command has its own help: tallycell COMMAND --help.",
)  # fmt: skip

MODEL_HELP = "name a model file of any format that tallycell reads, or a folder of raw tensors"
Model = Annotated[Path, typer.Argument(help=MODEL_HELP)]
OptionalModel = Annotated[
    Path | None,
    typer.Argument(help=f"{MODEL_HELP}; if not given, the model and the text are read that come with tallycell"),
]


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
    *, model: OptionalModel = None, source: Source, opening: Opening, feeding: Feeding, mattering: Mattering,
    showing: Showing,
) -> None:  # fmt: skip
    """Say what each unit of an LSTM counts, and what for: what moves its cell, and what the outputs lose without it.

    Each cell is compared with a tally: a counter that a few fitted numbers describe. Give the model something to read,
    with --text, --array or --audio; only a recogniser, which knows its alphabet, can read strings of its own.
    """
    from tallycell.plot import require_picture

    require_files(model, source)
    if sum((showing.as_json, showing.as_csv, showing.unit is not None)) > 1:
        raise InputError("got more than one of --json, --csv and --unit; choose one")
    if mattering.target is not None and mattering.no_effects:
        raise InputError("--target says by what effects are judged, and --no-effects leaves them out; give one of them")
    if showing.plot is not None:
        require_picture(showing.plot)
    if showing.html is not None:
        if showing.unit is not None:
            raise InputError("--html shows all units, and --unit one of them; give one of the two")
        require_place(showing.html)
    with progress() as advance:
        advance("opening the model", None)
        subject = open_input(model, source, opening, feeding)
    if showing.unit is not None:
        _read_one(subject, mattering, showing, showing.unit)
    else:
        _read_all(subject, mattering, showing)


def _read_one(subject: Subject, mattering: Mattering, showing: Showing, label: str) -> None:
    """Read one unit, and print all that is known of it."""
    from tallycell.cli import unit_view
    from tallycell.effect.purposes import measure_purposes, with_purpose
    from tallycell.plot import plot_unit, save_picture
    from tallycell.reading import read_units
    from tallycell.reading.units import select_unit

    with progress() as advance:
        needed = subject.bytes_to_read()
        advance(f"recording the trace, {say_bytes(needed)} of memory", None)
        one = select_unit(subject.record(), label)
        unit, effects = read_units(one, subject.given).units[0], None
        if not mattering.no_effects:
            advance("holding the unit, to see what the outputs lose without it", None)
            effects = measure_purposes(subject.model, subject.given, targets=mattering.target, units=[label])
    unit = unit if effects is None else with_purpose(unit, effects)
    unit_view.print_unit(console(), subject, one, unit, effects, rows=showing.rows)
    if showing.plot is not None:
        save_picture(plot_unit(one, unit, subject.given), showing.plot)


def _read_all(subject: Subject, mattering: Mattering, showing: Showing) -> None:
    """Read every unit, and print the reading."""
    from tallycell.cli import report
    from tallycell.effect.purposes import measure_purposes, with_purposes
    from tallycell.plot import plot_effects, plot_saturation, save_picture
    from tallycell.reading import read_units
    from tallycell.reading.blocks import LONGEST_AT_ONCE, read_in_blocks

    effects, trace = None, None
    with progress() as advance:
        needed = subject.bytes_to_read(in_blocks=subject.in_blocks)
        advance(f"recording the trace, {say_bytes(needed)} of memory", None)
        if subject.in_blocks:
            reading = read_in_blocks(
                subject.model, subject.given, progress=lambda done, total: advance("reading steps", (done, total))
            )  # fmt: skip
        else:
            trace = subject.record()
            reading = read_units(
                trace, subject.given, model=subject.model,
                progress=lambda done, total: advance("reading units", (done, total)),
            )  # fmt: skip
        if not mattering.no_effects:
            advance("holding units, to see what the outputs lose without them", None)
            most = LONGEST_AT_ONCE if subject.in_blocks else None
            effects = measure_purposes(subject.model, subject.given, targets=mattering.target, most=most)
    reading = reading if effects is None else with_purposes(reading, effects)
    if showing.as_json:
        print_json(report.as_object(subject, reading, effects))
    elif showing.as_csv:
        sys.stdout.write(report.to_csv(reading))
    else:
        report.print_reading(console(), subject, reading, effects, top=showing.top)
    if showing.plot is not None:
        save_picture(plot_saturation(reading) if effects is None else plot_effects(effects), showing.plot)
    if showing.html is not None:
        write_html(subject, trace, reading, effects, showing.html)


@app.command(short_help="Record every gate and state of every step into a Zarr store.")
@with_groups
def trace(
    model: Model,
    what: Annotated[
        Path | None,
        typer.Argument(
            metavar="INPUT", help="read this file: a table, an array or a WAV, as its suffix tells; else a text"
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STORE", help="write the trace to this Zarr store")],
    source: Source,
    opening: Opening,
    feeding: Feeding,
) -> None:
    """Record every gate and every state of an LSTM at every step, and write them to a Zarr store."""
    from tallycell.trace import open_trace, record_to_store
    from tallycell.trace.store import require_trace_place

    source = source if what is None else source_of(what, source)
    require_files(model, source)
    if source.quantities is not None:
        raise InputError("--quantities is for tallycell read, since a trace holds none; leave it out")
    require_trace_place(output)
    with progress() as advance:
        advance("opening the model", None)
        subject = open_input(model, source, opening, feeding)
        doing = f"recording into {output}, {say_bytes(subject.bytes_to_store())} of memory"
        variables = KEPT + ("x",) * (subject.given.tokens is None)
        record_to_store(
            subject.model, subject.given, output, variables=variables,
            progress=lambda done, steps: advance(doing, (done, steps)),
        )  # fmt: skip
    recorded = open_trace(output)
    sizes = ", ".join(f"{size} {name}" for name, size in recorded.sizes.items())
    typer.echo(f"{shown(str(output))}: {', '.join(map(str, recorded.data_vars))} over {sizes}")


@app.command(short_help="Print what a model file holds.")
@with_groups
def inspect(
    model: Model,
    *,
    as_json: AsJSON = False,
    opening: Opening,
) -> None:
    """Print what a model file holds: the path and size of each LSTM, what surrounds it, what cannot be read and why."""
    from tallycell.cli import inspect_view
    from tallycell.loaders.formats import recognise

    loaded = opening.load(model)
    if as_json:
        print_json(inspect_view.as_object(loaded, recognise(model)))
    else:
        inspect_view.print_model(console(), loaded, recognise(model))


for more in (view_app, survey_app, effect_app, machine_app, learning_app):
    app.add_typer(more)  # without a name its commands stand beside the others
