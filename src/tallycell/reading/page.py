"""A reading as a page of text, the same for ``print`` and for the command line, and as HTML for notebooks."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tallycell.html_table import html_grid, html_table
from tallycell.reading.clock import counted
from tallycell.reading.saturation import HIDDEN_OF_C, saturated_share
from tallycell.reading.sentences import say_followed
from tallycell.reading.triggers import Trigger
from tallycell.wording import shown

if TYPE_CHECKING:
    import xarray as xr

    from tallycell.reading.reading import Reading, UnitReading

WIDTH = 110  # columns, where nobody says how many there are
TOP = 10
GATE_NAMES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate", HIDDEN_OF_C: "what o shows"}


@dataclass(frozen=True)
class Glyphs:
    """Marks that an output can show: heights, bars, and what keeps events apart."""

    blocks: str
    bar: str
    events: dict[str, str]


UNICODE = Glyphs(
    "▁▂▃▄▅▆▇█", "█",
    {"increment": "↑", "decrement": "↓", "reset": "⟲", "set": "⚑", "clear": "⚐", "show": "◉", "hide": "○"},
)  # fmt: skip
ASCII = Glyphs(
    ".:-=+*%#", "#",
    {"increment": "up", "decrement": "down", "reset": "reset", "set": "set", "clear": "clear", "show": "show",
     "hide": "hide"},
)  # fmt: skip


def glyphs_for(encoding: str | None) -> Glyphs:
    """Choose marks that an encoding has.

    Examples
    --------
    >>> glyphs_for("utf-8").bar, glyphs_for("ascii").bar, glyphs_for("cp1252").events["reset"]
    ('█', '#', 'reset')
    """
    wanted = UNICODE.blocks + "".join(UNICODE.events.values())
    try:
        wanted.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def plain(text: str, glyphs: Glyphs) -> str:
    """Write a text without what an output cannot show.

    Examples
    --------
    >>> plain("R² ≥ 0.9", ASCII), plain("R² ≥ 0.9", UNICODE)
    ('R2 >= 0.9', 'R² ≥ 0.9')
    """
    return text if glyphs is UNICODE else text.translate({ord("²"): "2", ord("≥"): ">=", ord("·"): ".", ord("±"): "+-"})


def page_of(
    reading: "Reading", top: int = TOP, glyphs: Glyphs = UNICODE, first: Sequence[RenderableType] = ()
) -> RenderableType:
    """Lay out a reading: saturation, the units that read best, roles, what is followed, memory, readability.

    ``first`` is what else there is to say of the units, and stands above all but a warning.
    """
    if all(unit.role == "unknown" for unit in reading.units) and len({unit.sentence for unit in reading.units}) == 1:
        why = Text(f"  {reading.units[0].sentence}")
        return Group(_heading("What its units do"), why, "", *_saturation(reading, glyphs))
    sections = [
        _warning(reading),
        first,
        _saturation(reading, glyphs),
        _units(reading, top, glyphs),
        _roles(reading),
        _followed(reading, top),
        _memory(reading),
        _readability(reading, glyphs),
    ]
    parts = [part for section in sections if section for part in ("", *section)]
    return Group(*parts[1:])


def text_of(
    reading: "Reading", width: int = WIDTH, top: int = TOP, glyphs: Glyphs = UNICODE,
    first: Sequence[RenderableType] = (),
) -> str:  # fmt: skip
    """Give the page as text."""
    return plain(as_text(page_of(reading, top, glyphs, first), width), glyphs)


def as_text(page: RenderableType, width: int = WIDTH) -> str:
    """Give what is laid out for a terminal as text, without the blanks that tables have at the ends of lines."""
    written = io.StringIO()
    Console(file=written, width=width, highlight=False, force_terminal=False, markup=False).print(page)
    return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def table_of(*names: str, left: tuple[str, ...] = (), between: int = 2) -> Table:
    """Make a table without lines, its last column folded; columns are flush right but for those named."""
    table = Table(box=None, pad_edge=False, padding=(0, between))
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name != names[-1])
    return table


def _warning(reading: "Reading") -> list[RenderableType]:
    return [Text(f"Warning: {reading.warning}.", style="bold red")] if reading.warning else []


def _saturation(reading: "Reading", glyphs: Glyphs) -> list[RenderableType]:
    saturation = reading.saturation
    if saturation is None:
        return []
    overall = float(saturated_share(saturation).mean())
    nothing = reading.nothing_learned
    beside = "" if nothing is None else f" ({nothing.saturated:.0%} where nothing is learned)"
    table = table_of("", "left limit", "between", "right limit", " ", left=("", " "))
    for gate in saturation["gate"].to_numpy().tolist():
        here = saturation.sel(gate=gate)
        left, right = float(here["left"].mean()), float(here["right"].mean())
        shares = (f"{share:.0%}" for share in (left, max(0.0, 1 - left - right), right))
        name = _hidden_name(saturation) if gate == HIDDEN_OF_C else gate
        table.add_row(f"  {name:<8} {GATE_NAMES[gate]}", *shares, _histogram(here, glyphs))
    return [_heading(f"How binary its gates are: {overall:.0%} of their values are at a limit{beside}"), table]


def _hidden_name(saturation: "xr.Dataset") -> str:
    return str(saturation.attrs.get("hidden", HIDDEN_OF_C))


def _histogram(here: "xr.Dataset", glyphs: Glyphs) -> str:
    counts = here["histogram"].sum([dim for dim in here["histogram"].dims if dim != "bin"]).to_numpy()
    ends = here["edges"].to_numpy().reshape(-1, here.sizes["edge"])[0]
    return f"{ends[0]:g} {draw(counts, glyphs)} {ends[-1]:g}"


def draw(counts: np.ndarray, glyphs: Glyphs = UNICODE) -> str:
    """Draw a histogram in one line; a count above 0 is never drawn as nothing."""
    heights = np.ceil(counts / max(counts.max(), 1) * (len(glyphs.blocks) - 1)).astype(int)
    return "".join(glyphs.blocks[height] if height else " " for height in heights.tolist())


def _units(reading: "Reading", top: int, glyphs: Glyphs) -> list[RenderableType]:
    chosen = reading.best(top)
    many = "The unit" if len(chosen) == 1 else f"The {len(chosen)} units"
    table = table_of("  unit", "role", "R²", "numbers", "what it does", left=("role", "what it does"), between=1)
    for unit in chosen:
        said = Text(unit.sentence)
        if marks := say_triggers(unit, glyphs):
            said.append(f"\n{marks}", style="dim")
        table.add_row(unit.label, unit.role, say_r2(unit.r2, unit.r2_error), str(unit.parameters), said)
    marks = ", ".join(f"{glyphs.events[event]} {event}" for event in ("increment", "decrement", "reset"))
    notes = (
        "  R² ± its standard error: what a counter of so many fitted numbers explains, on steps not fitted on.",
        f"  {marks}, with the share of the steps with a stimulus at which it happens." if glyphs is UNICODE else "",
    )
    heading = _heading(f"{many} that a simple counter explains best (not the most important ones)")
    return [heading, table, *(Text(note, style="dim") for note in notes if note)]


def say_r2(r2: float, error: float = math.nan) -> str:
    """Say an R² in two digits, with its standard error where that is known; a dash where there is no R².

    Examples
    --------
    >>> say_r2(0.951), say_r2(0.951, 0.012), say_r2(0.951, 0.0002), say_r2(math.nan)
    ('0.95', '0.95 ± 0.01', '0.95 ± 0.00', '-')
    """
    said = "-" if math.isnan(r2) else f"{r2:.2f}"
    return said if math.isnan(error) else f"{said} ± {error:.2f}"


def say_triggers(unit: "UnitReading", glyphs: Glyphs = UNICODE) -> str:
    """Say what brings each event of a unit in one line, with the share of steps at which it does."""
    parts = [
        f"{glyphs.events[event]} {_share(triggers)}"
        for event, triggers in unit.triggers.items()
        if triggers and event not in ("show", "hide")  # which stand in the sentence
    ]
    return "   ".join(parts)


def _share(triggers: tuple[Trigger, ...]) -> str:
    return ", ".join(f"{trigger.stimulus} {trigger.share:.0%}" for trigger in triggers)


def _roles(reading: "Reading") -> list[RenderableType]:
    found, units = {role: count for role, count in reading.roles().items() if count}, len(reading.units)
    nothing = reading.nothing_learned
    if nothing is None:
        return [_heading("Roles"), "  " + ", ".join(f"{count} {role}" for role, count in found.items())]
    shares = {role: count / units for role, count in found.items()}
    no_sign = nothing.no_sign_of_learning(shares)
    table = table_of("  role", "units", "share", "nothing learned", " ", left=("  role", " "))
    for role, count in found.items():
        remark = "as common there: no sign of learning" if role in no_sign else ""
        table.add_row(f"  {role}", f"{count:,}", f"{shares[role]:.0%}", f"{nothing.roles[role]:.0%}", remark)
    r2 = [unit.r2 for unit in reading.units if not math.isnan(unit.r2)]
    median = say_r2(float(np.median(r2)) if r2 else math.nan)
    table.add_row("  median R²", "", median, say_r2(nothing.median_r2), "")
    how = (
        f"  Nothing learned: {nothing.draws} networks of its shape, each gate's weights shuffled, on the same input "
        f"({nothing.units:,} units of each)."
    )
    return [_heading("Roles"), table, Text(how, style="dim")]


def _followed(reading: "Reading", top: int) -> list[RenderableType]:
    notes = [Text(f"  {note}") for note in reading.notes]
    ranked = reading.followers()
    if not ranked:
        return [_heading("What is followed"), *notes] if notes else []
    leaders = {unit.label for unit in reading.leaders().values()}
    chosen = [unit for k, unit in enumerate(ranked) if k < top or unit.label in leaders]
    lines = [Text(f"  {unit.label:>6}  {say_followed(unit.follows, reading.clock)}") for unit in chosen]
    rest = [Text(f"  and {counted(len(ranked) - len(chosen), 'more unit')}")] if len(ranked) > len(chosen) else []
    if reading.nothing_learned is not None:
        best = reading.nothing_learned.follows
        named = {unit.follows.quantity for unit in ranked if unit.follows is not None}
        there = ", ".join(f"{shown(name)} {best[name]:.2f}" for name in reading.pairs if name in named & best.keys())
        notes.insert(
            0, Text(f"  Largest |r| where nothing is learned: {there or 'none is followed there'}.", style="dim")
        )
    return [_heading("What is followed best"), *lines, *rest, *notes]


def _memory(reading: "Reading") -> list[RenderableType]:
    """Say within how many steps cells forget: the median and the upper quartile."""
    memories = [unit.memory for unit in reading.units if unit.role not in ("constant", "unknown")]
    if not memories:
        return []
    half, most = np.quantile(memories, [0.5, 0.75], method="higher")
    said = "Half of the units never forget" if math.isinf(half) else (
        f"Half of the units forget within {reading.clock.say(half)}; a quarter "
        + ("never forget" if math.isinf(most) else f"remember longer than {reading.clock.say(most)}")
    )  # fmt: skip
    note = "  Forgotten: less than 1/e (37%) is left of what the cell held, resets included."
    return [_heading("How long it remembers"), Text(f"  {said}."), Text(note, style="dim")]


def _readability(reading: "Reading", glyphs: Glyphs) -> list[RenderableType]:
    heading = _heading("Readability: how much of the cells counters of few numbers explain")
    explained = reading.readability()
    if np.isnan(list(explained.values())).all():
        return [heading, Text("  No cell moves where a counter could be tested, so there is nothing to explain.")]
    table = table_of("  numbers", "its form", "median R²", "units explained (R² ≥ 0.9)", left=("its form",))
    table.columns[-1].justify = "left"
    for (form, median), (allowed, share) in zip(reading.median_r2().items(), explained.items(), strict=True):
        table.add_row(str(allowed), form, say_r2(median), f"{share:>4.0%} {glyphs.bar * round(20 * share)}")
    return [heading, table]


# ---- notebooks -------------------------------------------------------------------------------------------------------


def html_of(reading: "Reading", top: int = TOP) -> str:
    """Give a reading as HTML: its roles, and the units that read best; every name escaped."""
    roles = ", ".join(f"{count:,} {role}" for role, count in reading.roles().items() if count)
    rows = [
        (unit.label, unit.role, say_r2(unit.r2, unit.r2_error), str(unit.parameters), unit.sentence)
        for unit in reading.best(top)
    ]
    return html_grid(f"{len(reading.units):,} units: {roles}", ("unit", "role", "R²", "numbers", "what it does"), rows)


def unit_html(unit: "UnitReading") -> str:
    """Give the reading of a unit as HTML."""
    rows = [
        ("role", unit.role),
        ("R²", say_r2(unit.r2, unit.r2_error)),
        ("numbers of its counter", str(unit.parameters)),
    ]
    rows += [(event, _share(triggers)) for event, triggers in unit.triggers.items() if triggers]
    return html_table(f"Unit {unit.label}: {unit.sentence}", rows)
