"""The reading as a page in the terminal, as JSON and as CSV."""

import csv
import io
import math
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from tallycell.cli.inputs import Subject
from tallycell.cli.inspect_view import activations_of, options_of, size_of
from tallycell.effect.effects import Effects
from tallycell.effect.purposes import has_outputs, say_mattering
from tallycell.reading import Reading
from tallycell.reading.nothing_learned import NothingLearned
from tallycell.reading.page import UNICODE, glyphs_for, page_of, text_of
from tallycell.reading.triggers import Trigger
from tallycell.wording import shown


def print_reading(
    console: Console, subject: Subject, reading: Reading, effects: Effects | None = None, *, top: int
) -> None:
    """Print what the network is, which units matter, and its reading."""
    console.print(Text("What it is", style="bold"))
    for line in describe(subject):
        folded = wrap(f"  {line}", console.width, subsequent_indent="    ", break_on_hyphens=False)
        console.print("\n".join(folded), markup=False)
    console.print()
    glyphs = glyphs_for(console.encoding)
    first = say_mattering(effects, reading, top) if effects is not None else []
    if console.is_terminal and glyphs is UNICODE:
        console.print(page_of(reading, top, glyphs, first))
    else:  # without the blanks that tables have at the ends of lines
        console.print(Text(text_of(reading, console.width, top, glyphs, first)))


def describe(subject: Subject) -> list[str]:
    """Say in a few lines what the network is and what it read."""
    p, given = subject.parameters, subject.given
    named = shown(subject.model_name)
    if given.lstm is not None:
        named += f", {shown(given.lstm) if given.lstm else '(root)'}"
    lines = [f"{named}: {size_of(p)}", "; ".join([f"activations {activations_of(p)}", *options_of(p)])]
    if given.reverse:
        lines.append("it reads its sequence from the last step to the first, and so does this reading")
    if not has_outputs(subject.model, given):
        lines.append(
            "no linear layer behind this LSTM is known, so that what its units do to an output is not measured"
        )
    return [*lines, f"it read {shown(given.name)}: {given.about}", *given.notes]


def as_object(subject: Subject, reading: Reading, effects: Effects | None = None) -> dict[str, Any]:
    """Give what is printed, but for histograms, and all units."""
    return {
        "model": subject.model_name,
        "input": subject.given.name,
        "description": describe(subject),
        "unknown_share": subject.given.unknown_share,
        "saturation": _saturation(reading),
        "roles": reading.roles(),
        "median_r2": {name: _number(value) for name, value in reading.median_r2().items()},
        "readability": {str(allowed): _number(share) for allowed, share in reading.readability().items()},
        "nothing_learned": None if reading.nothing_learned is None else _plain(reading.nothing_learned),
        "quantities": dict(reading.pairs),
        "notes": list(reading.notes),
        "warning": reading.warning or None,
        "effects": None if effects is None else _effects(effects),
        "units": reading.to_rows(),
    }


def to_csv(reading: Reading) -> str:
    """One row a unit, with a header."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    columns = ("label", "layer", "direction", "unit", "role", "r2", "r2_error", "rung", "parameters", "memory")
    writer.writerow([*columns, "follows", "correlation", "reset", "increment", "decrement", "sentence"])
    for unit in reading.units:
        follows = (shown(unit.follows.quantity), f"{unit.follows.correlation:.4f}") if unit.follows else ("", "")
        triggers = (_say(unit.triggers.get(event, ())) for event in ("reset", "increment", "decrement"))
        writer.writerow([*(getattr(unit, name) for name in columns), *follows, *triggers, unit.sentence])
    return rows.getvalue()


def _say(triggers: tuple[Trigger, ...]) -> str:
    return ", ".join(f"{trigger.stimulus} {trigger.share:.0%}" for trigger in triggers)


def _saturation(reading: Reading) -> dict[str, dict[str, float]]:
    """Share of values at each limit, by gate."""
    if reading.saturation is None:
        return {}
    means = reading.saturation[["left", "right"]].mean(
        [dim for dim in reading.saturation["left"].dims if dim != "gate"]
    )
    return {
        gate: {side: round(float(means[side].sel(gate=gate)), 6) for side in ("left", "right")}
        for gate in means["gate"].to_numpy().tolist()
    }


def _effects(effects: Effects) -> dict[str, Any]:
    """Give what the outputs lose without each unit, those that lose most first."""
    found = sorted(map(effects.of, effects.labels), key=lambda one: -one.loss)
    return {
        "score": effects.score,
        "unit": effects.unit,
        "free": _number(effects.free),
        "steps": effects.steps,
        "targets": effects.targets,
        "notes": list(effects.notes),
        "units": [
            {
                "label": one.label,
                "kind": one.kind,
                **{name: _number(getattr(one, name)) for name in ("loss", "low", "high")},
                "raises": one.push.raises,
                "lowers": one.push.lowers,
                "both_ways": one.push.both_ways,
                "suffering": [asdict(worse) for worse in one.suffering],
            }
            for one in found
        ],
    }


def _plain(nothing: NothingLearned) -> dict[str, Any]:
    return asdict(nothing) | {"roles": dict(nothing.roles), "median_r2": _number(nothing.median_r2)}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
