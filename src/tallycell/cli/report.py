"""The reading as a page in the terminal, as JSON and as CSV."""

import csv
import io
import json
import math
from collections import Counter
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

import tallycell
from tallycell.cli.inputs import Subject
from tallycell.cli.inspect_view import activations_of, count, options_of, size_of
from tallycell.reading import Reading, UnitReading, saturated_share
from tallycell.reading.roles import LOSSLESS, say_number
from tallycell.reading.triggers import Trigger
from tallycell.wording import shown

JSON_SCHEMA_VERSION = "1"
BLOCKS = "▁▂▃▄▅▆▇█"
ARROWS = {"increment": "↑", "decrement": "↓", "reset": "⟲"}
GATE_NAMES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"}


def print_reading(console: Console, subject: Subject, saturation: xr.Dataset, reading: Reading, *, top: int) -> None:
    """Print what the network is, how binary its gates are, its units, roles and readability."""
    console.print(Text("What it is", style="bold"))
    for line in describe(subject):
        console.print(f"  {line}", markup=False)
    console.print()
    _print_saturation(console, saturation)
    console.print()
    _print_units(console, reading, top)
    console.print()
    _print_summary(console, reading)
    _print_memory(console, reading, subject.step_seconds)
    _print_readability(console, reading)


def describe(subject: Subject) -> list[str]:
    """Say in a few lines what the network is and what it read."""
    p = subject.parameters
    named = shown(subject.model_name)
    if subject.path is not None:
        named += f", {shown(subject.path) if subject.path else '(root)'}"
    lines = [f"{named}: {size_of(p)}", "; ".join([f"activations {activations_of(p)}", *options_of(p)])]
    if subject.reverse:
        lines.append("it reads its sequence from the last step to the first, and so does this reading")
    if subject.heard is not None:
        what = subject.heard
    elif subject.tokens is not None:
        share = subject.unknown_share or 0.0
        unknown = "of the text are unknown to it and left out" if subject.left_out else "of them unknown"
        what = f"{count(len(subject.tokens), 'symbol')}, {share:.1%} {unknown}"
    else:
        dims = "time, sequence, feature" if subject.x.ndim == 3 else "time, feature"
        what = f"{' x '.join(map(str, subject.x.shape))} ({dims})"
    return [*lines, f"it read {shown(subject.input_name)}: {what}"]


def _print_saturation(console: Console, saturation: xr.Dataset) -> None:
    overall = float(saturated_share(saturation).mean())
    console.print(Text(f"How binary its gates are: {overall:.0%} of gate values are saturated", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("", "left limit", "between", "right limit", " "):
        table.add_column(name, justify="right" if name.strip() else "left")
    for gate in saturation["gate"].to_numpy().tolist():
        here = saturation.sel(gate=gate)
        left, right = float(here["left"].mean()), float(here["right"].mean())
        counts = here["histogram"].sum([dim for dim in here["histogram"].dims if dim != "bin"]).to_numpy()
        ends = here["edges"].to_numpy().reshape(-1, here.sizes["edge"])[0]
        picture = f"{ends[0]:g} {draw(counts)} {ends[-1]:g}"
        shares = (f"{share:.0%}" for share in (left, 1 - left - right, right))
        table.add_row(f"  {gate}  {GATE_NAMES[gate]}", *shares, picture)
    console.print(table)


def draw(counts: np.ndarray) -> str:
    """Draw a histogram in one line; a count above 0 is never drawn as nothing."""
    heights = np.ceil(counts / max(counts.max(), 1) * (len(BLOCKS) - 1)).astype(int)
    return "".join(BLOCKS[height] if height else " " for height in heights.tolist())


def _print_units(console: Console, reading: Reading, top: int) -> None:
    chosen = reading.best(top)
    heading = "The unit that reads best" if len(chosen) == 1 else f"The {len(chosen)} units that read best"
    console.print(Text(heading, style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=True)
    for name in ("  unit", "role", "R²", "rung"):
        table.add_column(name, justify="right" if name in ("  unit", "R²") else "left", no_wrap=True)
    table.add_column("what it does")
    for unit in chosen:
        said = Text(unit.sentence)
        if marks := say_triggers(unit):
            said.append(f"\n{marks}", style="dim")
        table.add_row(unit.label, unit.role, say_r2(unit.r2), unit.rung, said)
    console.print(table)


def say_r2(r2: float) -> str:
    """Say an R² in two digits, or a dash where there is none."""
    return "-" if math.isnan(r2) else f"{r2:.2f}"


def say_triggers(unit: UnitReading) -> str:
    """Triggers of a unit in one line: what resets it and what moves it, with the share of steps at which it does."""
    parts = [f"{ARROWS[event]} {_say(triggers)}" for event, triggers in unit.triggers.items() if triggers]
    return "   ".join(parts)


def _say(triggers: tuple[Trigger, ...]) -> str:
    return ", ".join(f"{trigger.stimulus} {trigger.share:.0%}" for trigger in triggers)


def _print_summary(console: Console, reading: Reading) -> None:
    console.print(Text("Roles", style="bold"))
    console.print("  " + ", ".join(f"{count} {role}" for role, count in reading.roles().items() if count))
    if leaders := reading.leaders():
        console.print(Text("\nWhat is followed best", style="bold"))
        followed = Counter(unit.follows.quantity for unit in reading.units if unit.follows is not None)
        for quantity, unit in leaders.items():
            assert unit.follows is not None  # leaders have one
            among = f"best of {followed[quantity]} units" if followed[quantity] > 1 else "the only unit"
            correlation = f"r = {unit.follows.correlation:+.2f}"
            console.print(f"  {shown(quantity):<22} unit {unit.label:<6} {correlation}, {among}", markup=False)
    for note in reading.notes:
        console.print(f"  {note}", markup=False)


def _print_memory(console: Console, reading: Reading, step_seconds: float | None) -> None:
    """Print how long the cells remember: the median and the upper quartile of their time constants."""
    times = [unit.time_constant for unit in reading.units if unit.role != "constant"]
    if not times:
        return
    half, most = np.quantile(times, [0.5, 0.75], method="lower")
    console.print(Text("\nHow long it remembers", style="bold"))
    median, upper = _say_time(half, step_seconds), _say_time(most, step_seconds)
    console.print(f"  time constants, resets left out: median {median}, a quarter above {upper}")


def _say_time(steps: float, step_seconds: float | None) -> str:
    if steps > LOSSLESS:
        return f"{LOSSLESS:,.0f} steps"
    seconds = "" if step_seconds is None else f" ({say_number(steps * step_seconds)} s)"
    return f"{say_number(steps)} steps{seconds}"


def _print_readability(console: Console, reading: Reading) -> None:
    console.print(Text("\nReadability: how much of the cells the tallies explain", style="bold"))
    explained = reading.readability()
    if np.isnan(list(explained.values())).all():
        console.print("  no cell moves where a tally could be tested, so there is nothing to explain")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("  rung", "numbers", "median R²", "units explained (R² ≥ 0.9)"):
        table.add_column(name, justify="right" if name in ("numbers", "median R²") else "left")
    for (rung, median), (allowed, share) in zip(reading.median_r2().items(), explained.items(), strict=True):
        bar = "█" * round(20 * share)
        table.add_row(f"  {rung}", str(allowed), say_r2(median), f"{share:>4.0%} {bar}")
    console.print(table)


def to_json(subject: Subject, saturation: xr.Dataset, reading: Reading) -> str:
    """Give what is printed, but for histograms, and all units, for another program; ``schema_version`` says how."""
    means = saturation[["left", "right"]].mean([dim for dim in saturation["left"].dims if dim != "gate"])
    value: dict[str, Any] = {
        "schema_version": JSON_SCHEMA_VERSION,
        "tallycell_version": tallycell.__version__,
        "model": subject.model_name,
        "input": subject.input_name,
        "description": describe(subject),
        "unknown_share": subject.unknown_share,
        "saturation": {
            gate: {side: round(float(means[side].sel(gate=gate)), 6) for side in ("left", "right")}
            for gate in saturation["gate"].to_numpy().tolist()
        },
        "roles": reading.roles(),
        "median_r2": {name: _number(value) for name, value in reading.median_r2().items()},
        "readability": {str(allowed): _number(share) for allowed, share in reading.readability().items()},
        "quantities": dict(reading.pairs),
        "notes": list(reading.notes),
        "units": reading.to_rows(),
    }
    return json.dumps(value, indent=1, allow_nan=False)


def to_csv(reading: Reading) -> str:
    """One row a unit, with a header."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    columns = ("label", "layer", "direction", "unit", "role", "r2", "rung", "parameters", "time_constant", "memory")
    writer.writerow([*columns, "follows", "correlation", "reset", "increment", "decrement", "sentence"])
    for unit in reading.units:
        follows = (shown(unit.follows.quantity), f"{unit.follows.correlation:.4f}") if unit.follows else ("", "")
        triggers = (_say(unit.triggers[event]) for event in ("reset", "increment", "decrement"))
        writer.writerow([*(getattr(unit, name) for name in columns), *follows, *triggers, unit.sentence])
    return rows.getvalue()


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
