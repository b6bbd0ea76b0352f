"""What a unit did step by step, aligned under what it read: the liveliest stretch of the first sequence."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from rich.console import Console
from rich.text import Text

from tallycell.input import Input
from tallycell.names import DIRECTION, DIRECTIONS, FEATURE, LAYER, SEQUENCE, TIME, UNIT
from tallycell.reading import UnitReading, read_events
from tallycell.reading.alignment import align_quantities
from tallycell.reading.page import UNICODE, Glyphs, glyphs_for, plain
from tallycell.reading.showing import BLANKS, find_liveliest
from tallycell.trace.times import SECONDS, say_time, times_of
from tallycell.wording import shown

LINES = 6  # blocks in the window that is shown
ROWS = 24  # of words, one below the other
SHORTEST, LONGEST = 8, 24  # columns for the name of a row
WORD = 16  # columns for a word
UP, DOWN = "bold green", "bold magenta"
MARKS = {
    "forget": {"reset": ("R", "bold red"), "keep": ("·", "dim"), "leak": ("~", "yellow")},
    "write": {"increment": ("+", UP), "decrement": ("-", DOWN), "hold": ("·", "dim"), "partial": ("", "")},
    "expose": {"positive": ("+", UP), "negative": ("-", DOWN), "hidden": ("·", "dim"), "partial": ("~", "yellow")},
}
LEGEND = (
    "forget: R reset, ~ leak, · keep    write: + increment, - decrement, {up} {down} partial, · hold    "
    "expose: + - its sign, ~ partial, · hidden    cell: {low} lowest to {high} highest"
)
PARTIAL = {True: ("↑", "↓"), False: ("u", "d")}  # by whether the output has arrows

Mark = tuple[str, str]


@dataclass(frozen=True, eq=False)
class _Steps:
    """The steps of one unit in the first sequence: a mark for each event, and heights, by the name of the row."""

    events: dict[str, list[Mark]]
    heights: dict[str, list[str]]
    tokens: list[str] | None
    labels: list[str]


def print_ruler(console: Console, given: Input, trace: xr.Dataset, unit: UnitReading, *, rows: int) -> None:
    """Print the stretch in which the cell moves most, and what it follows with it.

    Parameters
    ----------
    console
        Where to.
    given, trace
        What was read, and its trace.
    unit
        Which unit.
    rows
        How many features and quantities to lay under its cell.
    """
    glyphs = glyphs_for(console.encoding)
    one = trace.sel({LAYER: [unit.layer], DIRECTION: [unit.direction], UNIT: [unit.unit]}).isel({SEQUENCE: [0]})
    one.attrs["activations"] = trace.attrs["activations"]
    size = int(one["length"][0])
    known = {name: values[0, :size] for name, values in align_quantities(given.quantities, trace).items()}
    steps = _steps_of(one, given, unit, glyphs, _beside(one, given, unit, known)[:rows])
    named = min(max(SHORTEST, *(len(name) + 2 for name in steps.heights)), LONGEST)
    words = steps.tokens is not None and any(len(token) > 1 for token in steps.tokens)
    width = 1 if words else max(20, console.width - named - 2)
    window = ROWS if words else width * LINES
    begin = find_liveliest(_values(one, "c"), window, known.get(unit.follows.quantity) if unit.follows else None)
    sequences = trace.sizes[SEQUENCE]
    where = f" of the first of {sequences} sequences" if sequences > 1 else ""
    order = ", read from the right" if unit.direction == DIRECTIONS[1] else ""
    last = min(begin + window, size) - 1
    console.print(Text(f"Steps {begin} to {last}{where}{order}", style="bold"))
    up, down = PARTIAL[glyphs is UNICODE]
    legend = LEGEND.format(up=up, down=down, low=glyphs.blocks[0], high=glyphs.blocks[-1])
    console.print(Text(plain(legend, glyphs), style="dim"))
    lines = (
        _words(steps, range(begin, last + 1), console.width) if words else _blocks(steps, begin, last + 1, width, named)
    )
    for line in lines:
        console.print(line)


def _blocks(steps: _Steps, begin: int, end: int, width: int, named: int) -> Iterator[Text]:
    """Lay symbols or numbers from left to right, block by block, each with what it begins with."""
    for start in range(begin, end, width):
        span = slice(start, min(start + width, end))
        yield Text(steps.labels[start], style="dim")
        if steps.tokens is not None:
            yield _row("text", [(symbol_at(steps.tokens, t), "bold") for t in range(*span.indices(end))], named)
        for name, marks in steps.events.items():
            yield _row(name, marks[span], named)
        for name, heights in steps.heights.items():
            yield _row(name, [(height, "cyan") for height in heights[span]], named)
        yield Text()


def _words(steps: _Steps, span: range, width: int) -> Iterator[Text]:
    """Lay words one below the other, the events of each beside it, and as many heights as there is room for."""
    assert steps.tokens is not None  # words are tokens
    columns = {name: max(len(name), SHORTEST) + 2 for name in (*steps.events, *steps.heights)}
    while WORD + 2 + sum(columns.values()) > width and len(columns) > len(steps.events) + 1:
        columns.popitem()
    yield Text(f"{'':<{WORD}}  " + "".join(f"{name:<{size}}" for name, size in columns.items()).rstrip(), style="dim")
    for t in span:
        marks = [
            steps.events[name][t] if name in steps.events else (steps.heights[name][t], "cyan") for name in columns
        ]
        word = shown(steps.tokens[t], WORD - 3)
        cells = [(f"{mark:<{size}}", style) for (mark, style), size in zip(marks, columns.values(), strict=True)]
        yield Text.assemble((f"{word:<{WORD}}  ", "bold"), *cells, no_wrap=True)


def _steps_of(
    one: xr.Dataset, given: Input, unit: UnitReading, glyphs: Glyphs, beside: list[tuple[str, np.ndarray]]
) -> _Steps:  # fmt: skip
    events = read_events(one).isel(layer=0, direction=0, sequence=0, unit=0)
    size, write = int(one["length"][0]), _values(one, "i") * _values(one, "g")
    up, down = PARTIAL[glyphs is UNICODE]
    by_name = {}
    for name, marks in MARKS.items():
        meanings = events[name].attrs["flag_meanings"].split()
        chosen = [marks[meanings[code]] for code in events[name].to_numpy()[:size]]
        if name == "write":
            partial = ((up, UP) if value > 0 else (down, DOWN) for value in write)
            chosen = [mark if mark[0] else other for mark, other in zip(chosen, partial, strict=True)]
        by_name[name] = [(plain(mark, glyphs), style) for mark, style in chosen]
    heights = {"cell": _height(_values(one, "c"), glyphs)}
    heights |= {shown(name, LONGEST - 5): _height(values, glyphs) for name, values in beside}
    tokens = given.tokens
    if tokens and not isinstance(tokens[0], str):
        tokens = tokens[0]
    return _Steps(by_name, heights, tokens, _labels(one, given, size))


def _beside(
    one: xr.Dataset, given: Input, unit: UnitReading, known: dict[str, np.ndarray]
) -> list[tuple[str, np.ndarray]]:  # fmt: skip
    """Quantities and features, what the unit follows first, then by how closely its movements go along with them."""
    c, found = _values(one, "c"), dict(known)
    if "x" in one and given.legible:
        x = one["x"].isel({SEQUENCE: 0}).transpose(FEATURE, TIME).to_numpy()[:, : len(c)]
        names = one[FEATURE].to_numpy().tolist()
        found |= {name if isinstance(name, str) else f"x[{name}]": row for name, row in zip(names, x, strict=True)}
    moved = np.diff(c, prepend=0)
    first = unit.follows.quantity if unit.follows else None

    def along(item: tuple[str, np.ndarray]) -> tuple[bool, float]:
        there = np.isfinite(item[1])
        varies = there.any() and np.std(item[1][there]) > 0 and np.std(moved[there]) > 0
        return item[0] != first, -abs(float(np.corrcoef(item[1][there], moved[there])[0, 1])) if varies else 0.0

    return sorted(found.items(), key=along)


def _labels(one: xr.Dataset, given: Input, size: int) -> list[str]:
    """Name each step: by its date, its seconds, or its number."""
    times = times_of(one)
    if times is not None:
        values = np.atleast_2d(times.to_numpy())[0, :size]
        if times.dtype.kind == "M":
            return [say_time(value) for value in values]
        return [f"{value * SECONDS[times.attrs['units']]:.2f} s" for value in values.tolist()]
    if given.step_seconds is not None:
        return [f"{t * given.step_seconds:.2f} s" for t in range(size)]
    return [f"step {t:,}" for t in range(size)]


def symbol_at(tokens: list[str] | None, t: int) -> str:
    """Give what stands above a step: its symbol, in one column, or the last digit of its number."""
    if tokens is None:
        return str(t % 10)
    token = tokens[t]
    return BLANKS.get(token, token if len(token) == 1 and token.isprintable() else "?")


def _values(one: xr.Dataset, name: str) -> np.ndarray:
    values: np.ndarray = one[name].isel(layer=0, direction=0, sequence=0, unit=0).to_numpy()[: int(one["length"][0])]
    return values


def _row(name: str, marks: list[Mark], named: int) -> Text:
    return Text.assemble((f"{name:<{named}}", "dim"), *marks, no_wrap=True)


def _height(values: np.ndarray, glyphs: Glyphs) -> list[str]:
    """Heights from the lowest to the highest value; a blank where nothing is known."""
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    scaled = (np.where(known, values, low) - low) / (high - low) if high > low else np.zeros(len(values))
    places = np.round(scaled * (len(glyphs.blocks) - 1)).astype(int)
    return [
        glyphs.blocks[place] if there else " " for place, there in zip(places.tolist(), known.tolist(), strict=True)
    ]
