"""The commands' pages: one file that works offline, and a server for a browser on this machine."""

import os
import sys
import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option, Typer

from tallycell.cli.inputs import BESIDE, SOURCES, Subject, open_input, require_files
from tallycell.cli.options import Feeding, Mattering, Opening, Source, with_groups
from tallycell.cli.terminal import Advance, progress
from tallycell.errors import InputError
from tallycell.memory import say_bytes
from tallycell.wording import listed, shown

if TYPE_CHECKING:
    import xarray as xr

    from tallycell.effect.effects import Effects
    from tallycell.reading import Reading
    from tallycell.view import Bundle
    from tallycell.view.holding import Holding

view_app = Typer()
TRACE_MARK = "zarr.json"


@dataclass(frozen=True)
class Serving:
    """How a page is served."""

    port: Annotated[
        int, Option("--port", metavar="N", min=0, max=65535, help="listen on this port; a free one if not given")
    ] = 0
    no_open: Annotated[bool, Option("--no-open", help="print the address and open no browser")] = False


@view_app.command(short_help="Look at a model or a trace in a browser on this machine.")
@with_groups
def view(
    *,
    what: Annotated[
        Path | None,
        Argument(
            metavar="[MODEL|TRACE|FOLDER]",
            help="a model file, a trace (a Zarr store), or a folder with one of them; the shipped model if not given",
        ),
    ] = None,
    source: Source,
    opening: Opening,
    feeding: Feeding,
    mattering: Mattering,
    serving: Serving,
) -> None:
    """Look at a model or a trace in a browser: its units, what each writes and holds, and where else it does so.

    The page is served to this machine only, until Ctrl-C. A model is read first, as tallycell read does; of a model a
    gate can be held, too. Whoever should look at it elsewhere is sent a file: tallycell read --html FILE.
    """
    from tallycell.view.server import Server, Site

    place = None if what is None else find_trace(what)
    with progress() as advance:
        if place is None:
            require_files(what, source)
            bundle, holding = _of_model(what, source, opening, feeding, mattering, advance)
        else:
            _refuse_with_trace(source, mattering)
            bundle, holding = _of_trace(place, advance), None
    with Server(Site(bundle, holding), serving.port) as server:
        typer.echo(f"{server.address}\nCtrl-C ends it.")
        sys.stdout.flush()
        if not serving.no_open and _has_screen():
            webbrowser.open(server.address)
        server.serve_forever()


def find_trace(path: Path) -> Path | None:
    """Give the trace at a path, or the only one in the folder there; None if it is something else.

    Raises
    ------
    InputError
        If a folder has several.
    """
    if not path.is_dir():
        return None
    if (path / TRACE_MARK).is_file():
        return path
    found = sorted(one.parent for one in path.glob(f"*/{TRACE_MARK}"))
    if len(found) > 1:
        raise InputError(f"{path} has several traces, {listed(one.name for one in found)}; give one of them")
    return found[0] if found else None


def _refuse_with_trace(source: Source, mattering: Mattering) -> None:
    given = [f"--{name}" for name in (*SOURCES, *BESIDE, "time") if getattr(source, name)]
    given += ["--target"] if mattering.target is not None else []
    if given:
        raise InputError(f"{given[0]} goes with a model, and a trace was given; leave it out, or give the model")


def _of_trace(path: Path, advance: Advance) -> "Bundle":
    from tallycell.reading import read_units
    from tallycell.trace import open_trace
    from tallycell.view import bundle_of

    advance("opening the trace", None)
    trace = open_trace(path)
    reading = read_units(trace, progress=lambda done, total: advance("reading units", (done, total)))
    return bundle_of(trace, reading, about=[f"{shown(path.name)}: a trace"])


def _of_model(
    model: Path | None, source: Source, opening: Opening, feeding: Feeding, mattering: Mattering, advance: Advance
) -> "tuple[Bundle, Holding]":  # fmt: skip
    from tallycell.effect.purposes import measure_purposes, with_purposes
    from tallycell.reading import read_units
    from tallycell.view.holding import Holding
    from tallycell.view.lives import Lives

    advance("opening the model", None)
    subject = open_input(model, source, opening, feeding)
    subject = shortened(subject)
    advance(f"recording the trace, {say_bytes(subject.bytes_to_read())} of memory", None)
    trace = subject.record()
    reading = read_units(
        trace, subject.given, model=subject.model, progress=lambda done, total: advance("reading units", (done, total))
    )  # fmt: skip
    effects = None
    if not mattering.no_effects:
        advance("holding units, to see what the outputs lose without them", None)
        effects = measure_purposes(subject.model, subject.given, targets=mattering.target)
    bundle = _bundle(subject, trace, reading if effects is None else with_purposes(reading, effects), effects)
    assert isinstance(bundle.units, Lives)  # they are made of a trace
    return bundle, Holding(subject.model, subject.given, bundle.units)


def write_html(
    subject: Subject, trace: "xr.Dataset | None", reading: "Reading", effects: "Effects | None", path: Path
) -> None:
    """Write a page of what was read; say on standard error how large it becomes, and what is in it, before.

    Parameters
    ----------
    subject, reading, effects
        What was read, and what it says.
    trace
        None of an input that was read block by block: then its first steps are recorded again, and shown.
    path
        Where to.
    """
    from tallycell.view import page_of

    if trace is None:
        subject = shortened(subject)
        trace = subject.record()
    page = page_of(_bundle(subject, trace, reading, effects))
    typer.echo(f"{shown(str(path))}: {page.said()}", err=True)
    page.write(path)


def shortened(subject: Subject) -> Subject:
    """Give a subject whose input is no longer than what is read as a whole; a note says what was left out."""
    from tallycell.reading.blocks import LONGEST_AT_ONCE
    from tallycell.reading.parts import first_steps, lengths_of

    if not subject.in_blocks:
        return subject
    given = first_steps(subject.given, LONGEST_AT_ONCE)
    shown_steps, every = (int(lengths_of(one).sum()) for one in (given, subject.given))
    note = f"this page shows the first {shown_steps:,} of {every:,} steps"
    return replace(subject, given=replace(given, notes=(*given.notes, note)))


def _bundle(subject: Subject, trace: "xr.Dataset", reading: "Reading", effects: "Effects | None") -> "Bundle":
    from tallycell.cli.report import describe
    from tallycell.view import bundle_of

    return bundle_of(
        trace, reading, subject.given, model=subject.model, effects=effects, about=describe(subject)
    )  # fmt: skip


def _has_screen() -> bool:
    """Whether a browser would be seen: without a screen some systems open one of text, in this very terminal."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
