"""One unit in depth: its counters, what moves it, and its events aligned under what it read."""

import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tallycell.cli.inputs import Subject
from tallycell.cli.ruler import print_ruler
from tallycell.effect.effects import Effects
from tallycell.effect.purposes import say_holds
from tallycell.reading import UnitReading
from tallycell.reading.clock import say_number
from tallycell.reading.page import glyphs_for, plain, say_r2


def print_unit(
    console: Console, subject: Subject, trace: xr.Dataset, unit: UnitReading, effects: Effects | None, *, rows: int
) -> None:
    """Print everything that is known of one unit."""
    console.print(Text(f"Unit {unit.label}: {unit.sentence}", style="bold"))
    if unit.exposure is not None:
        e = unit.exposure
        shares = (
            f"a sign at {e.sign:.0%} of the steps, nothing at {e.nothing:.0%}, something between at {e.between:.0%}"
        )
        console.print(Text(f"Its output is {shares}."))
    if effects is not None:
        console.print()
        console.print(say_holds(effects, unit.label))
    console.print()
    _print_ladder(console, unit)
    console.print()
    _print_triggers(console, unit)
    console.print()
    print_ruler(console, subject.given, trace, unit, rows=rows)


def _print_ladder(console: Console, unit: UnitReading) -> None:
    """Print the counters that were fitted to the cell, the simplest first; the one that is quoted is bold."""
    glyphs = glyphs_for(console.encoding)
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("  counter (tally)")
    table.add_column("numbers", justify="right")
    table.add_column(plain("R²", glyphs), justify="right")
    table.add_column("a step adds")
    table.add_column("and keeps")
    for rung in unit.ladder:
        levels = (say_levels(rung.write_levels), say_levels(rung.keep_levels))
        row = (f"  {rung.name}", str(rung.parameters), plain(say_r2(rung.r2, rung.r2_error), glyphs), *levels)
        table.add_row(*row, style="bold" if rung.name == unit.rung else "")
    console.print(table)


def say_levels(levels: tuple[float, ...]) -> str:
    """Say levels in two digits; what is less than a thousandth of the largest is 0."""
    smallest = 1e-3 * max(map(abs, levels))
    return ", ".join(say_number(level) if abs(level) > smallest else "0" for level in levels)


def _print_triggers(console: Console, unit: UnitReading) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("  event", "at", "happens", "of all steps", "times seen", "mean moved"):
        table.add_column(name, justify="left" if name in ("  event", "at") else "right")
    events = glyphs_for(console.encoding).events
    for event, triggers in unit.triggers.items():
        mark = "" if events[event].isalpha() else f"{events[event]} "
        for t in triggers:
            numbers = (f"{t.share:.0%}", f"{t.chance:.0%}", f"{t.count:,}", f"{t.mean:+.2f}")
            table.add_row(f"  {mark}{event}", t.stimulus, *numbers)
    if table.row_count:
        console.print(table)
        console.print(
            Text("  mean moved: f of a reset, o of show and hide, else what is added to the cell", style="dim")
        )
    else:
        console.print("  nothing that it reads brings its events above chance")
