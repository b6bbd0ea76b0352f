"""One unit in depth: its ladder, its triggers, and its events aligned under what it read."""

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tallycell.cli.inputs import Subject
from tallycell.cli.report import ARROWS, BLOCKS, say_r2
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, SEQUENCE, UNIT
from tallycell.reading import UnitReading, read_events
from tallycell.reading.roles import LOSSLESS, say_number

LINES = 6  # of text, in the window that is shown
UP, DOWN = "bold green", "bold magenta"
MARKS = {
    "forget": {"reset": ("R", "bold red"), "keep": ("·", "dim"), "leak": ("~", "yellow")},
    "write": {"increment": ("+", UP), "decrement": ("-", DOWN), "hold": ("·", "dim"), "partial": ("", "")},
    "expose": {"positive": ("+", UP), "negative": ("-", DOWN), "hidden": ("·", "dim"), "partial": ("~", "yellow")},
}
LEGEND = (
    "forget: R reset, ~ leak, · keep    write: + increment, - decrement, ↑ ↓ partial, · hold    "
    "expose: + - its sign, ~ partial, · hidden    cell: ▁ lowest to █ highest"
)
SHOWN_AS = {"\n": "⏎", "\t": "⇥"}


def print_unit(console: Console, subject: Subject, trace: xr.Dataset, unit: UnitReading) -> None:
    """Print everything that is known of one unit."""
    console.print(Text(f"Unit {unit.label}: {unit.sentence}", style="bold"))
    console.print()
    _print_ladder(console, unit)
    console.print()
    _print_triggers(console, unit)
    console.print()
    _print_events(console, subject, trace, unit)


def _print_ladder(console: Console, unit: UnitReading) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("  rung")
    table.add_column("numbers", justify="right")
    table.add_column("R²", justify="right")
    table.add_column("a step adds")
    table.add_column("and keeps")
    table.add_column("time constant", justify="right")
    for rung in unit.ladder:
        steps = "" if rung.time_constant > LOSSLESS else f"{rung.time_constant:.1f} steps"
        levels = (say_levels(rung.write_levels), say_levels(rung.keep_levels))
        row = (f"  {rung.name}", str(rung.parameters), say_r2(rung.r2), *levels, steps)
        table.add_row(*row, style="bold" if rung.name == unit.rung else "")
    console.print(table)


def say_levels(levels: tuple[float, ...]) -> str:
    """Say levels in two digits; what is less than a thousandth of the largest is 0."""
    smallest = 1e-3 * max(map(abs, levels))
    return ", ".join(say_number(level) if abs(level) > smallest else "0" for level in levels)


def _print_triggers(console: Console, unit: UnitReading) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("  event", "at", "happens", "by chance", "times seen", "mean f or i·g"):
        table.add_column(name, justify="left" if name in ("  event", "at") else "right")
    for event, triggers in unit.triggers.items():
        for t in triggers:
            numbers = (f"{t.share:.0%}", f"{t.chance:.0%}", f"{t.count:,}", f"{t.mean:+.2f}")
            table.add_row(f"  {ARROWS[event]} {event}", t.stimulus, *numbers)
    if table.row_count:
        console.print(table)
    else:
        console.print("  nothing triggers it above chance")


def _print_events(console: Console, subject: Subject, trace: xr.Dataset, unit: UnitReading) -> None:
    """Print the liveliest window of the first sequence, the events of each step under its symbol."""
    one = trace.sel({LAYER: [unit.layer], DIRECTION: [unit.direction], UNIT: [unit.unit]})
    one.attrs["activations"] = trace.attrs["activations"]
    events = read_events(one).isel(layer=0, direction=0, sequence=0, unit=0)
    steps = int(trace["length"][0])
    c = one["c"].isel(layer=0, direction=0, sequence=0, unit=0).to_numpy()[:steps]
    write = (one["i"] * one["g"]).isel(layer=0, direction=0, sequence=0, unit=0).to_numpy()[:steps]
    width = max(20, console.width - 10)
    begin = _liveliest(np.abs(np.diff(c, prepend=0)), width * LINES)
    sequences = trace.sizes[SEQUENCE]
    where = f" of the first of {sequences} sequences" if sequences > 1 else ""
    order = ", read from the right" if unit.direction == DIRECTIONS[1] else ""
    console.print(Text(f"Steps {begin} to {min(begin + width * LINES, steps) - 1}{where}{order}", style="bold"))
    console.print(Text(LEGEND, style="dim"))
    height = _height(c)
    for start in range(begin, min(begin + width * LINES, steps), width):
        span = range(start, min(start + width, steps))
        console.print(_row("text" if subject.tokens else "step", [(symbol_at(subject, t), "bold") for t in span]))
        for name, marks in MARKS.items():
            names = events[name].attrs["flag_meanings"].split()
            codes = events[name].to_numpy()
            shown = [marks[names[codes[t]]] for t in span]
            if name == "write":
                shown = [mark if mark[0] else _partial_write(write[t]) for mark, t in zip(shown, span, strict=True)]
            console.print(_row(name, shown))
        console.print(_row("cell", [(height[t], "cyan") for t in span]))
        console.print()


def _partial_write(write: float) -> tuple[str, str]:
    return ("↑", UP) if write > 0 else ("↓", DOWN)


def symbol_at(subject: Subject, t: int) -> str:
    """Give what stands above a step: its symbol, in one column, or the last digit of its number."""
    if subject.tokens is None:
        return str(t % 10)
    token = subject.tokens[t]
    return SHOWN_AS.get(token, token if len(token) == 1 and token.isprintable() else "?")


def _row(name: str, marks: list[tuple[str, str]]) -> Text:
    return Text.assemble((f"{name:<8}", "dim"), *marks, no_wrap=True)


def _liveliest(movement: np.ndarray, window: int) -> int:
    """First step of the window in which the cell moves most."""
    if len(movement) <= window:
        return 0
    total = np.concatenate([[0.0], np.cumsum(movement)])
    return int(np.argmax(total[window:] - total[:-window]))


def _height(c: np.ndarray) -> list[str]:
    low, high = float(c.min()), float(c.max())
    scaled = (c - low) / (high - low) if high > low else np.zeros_like(c)
    return [BLOCKS[int(value)] for value in np.round(scaled * (len(BLOCKS) - 1))]
