"""What activations are for: the classical pair beside six others, each with a forget gate and without.

Three languages, ten seeds each, one recipe for all, with and without the noise and slope that press gates to their
limits; the shipped character model's recipe at small size; and the slopes that are left near the limits.
"""

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from benchmarks.machine import use_threads

HELP = "what activations are for: success, first failure, saturation, bits a character, slope at the limits"
SEEDS, STEPS, CHARACTER_SEEDS = 10, 600, 2
QUICK_SEEDS, QUICK_STEPS = 2, 3
QUICK_SIZE = {"characters": 2500, "epochs": 1, "held_out": 2, "hidden": 8}
CHOICES = (
    ("sigmoid", "tanh", "tanh"),
    ("hard_sigmoid", "hard_tanh", "hard_tanh"),
    ("sigmoid", "relu", "tanh"),
    ("sigmoid", "tanh", "relu"),
    ("sigmoid", "relu", "relu"),
    ("softsign_gate", "softsign", "softsign"),
    ("sigmoid", "sine", "tanh"),
)  # of the gates, of what is written, of the cell on its way out
NOT_FOUND, NOT_LEARNED = "∞", "–"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--quick", action="store_true", help="two seeds, 3 steps, 2,500 characters: that it runs")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw success and first failures, as .png or .svg")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="show what --json kept, and train nothing")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Train, judge, print; draw where asked."""
    use_threads(1)
    if arguments.picture is not None:
        from tallycell.plot.saving import require_picture

        require_picture(arguments.picture)
    if arguments.kept is not None:
        figures: dict[str, Any] = json.loads(arguments.kept.read_text(encoding="utf-8"))["figures"]
    else:
        figures = measure(quick=arguments.quick)
    print("\n\n".join(tables(figures)))
    if arguments.picture is not None:
        from benchmarks.squashing_picture import draw

        draw(figures["rows"], arguments.picture)
    return figures


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure(*, quick: bool) -> dict[str, Any]:
    """Train and judge all networks; one line is printed for each choice as it comes."""
    from benchmarks.squashing_limits import rows_of_limits
    from benchmarks.squashing_networks import Choice
    from tallycell.kernels.cpu.readiness import prepare

    if not quick:  # a few steps do not pay for compiling
        for names in CHOICES:
            prepare(Choice(*names).activations, "float32")
    rows = [*measure_languages(quick=quick), *measure_characters(quick=quick)]
    return {"threads": 1, "answers": answers_of(rows), "rows": rows, "limits": rows_of_limits()}


def measure_languages(*, quick: bool) -> list[dict[str, Any]]:
    """Give a row for each language, recipe, choice of functions and forget gate."""
    from benchmarks import squashing_networks as networks

    seeds, steps = (range(QUICK_SEEDS), QUICK_STEPS) if quick else (range(SEEDS), STEPS)
    rows = []
    for row in networks.ROWS:
        batches = networks.strings_to_learn(row.language, steps)
        judged = networks.strings_to_judge(row.language)
        for recipe in (networks.Recipe(steps), networks.Recipe(steps, pressed=True)):
            for names in CHOICES:
                choice = networks.Choice(*names)
                nets = networks.SideBySide(row.language, row.hidden, choice, seeds)
                networks.train_side_by_side(nets, batches, recipe)
                found = networks.judge(row, nets, judged, recipe.last_slope)
                for forget, mine in ((True, found[: len(seeds)]), (False, found[len(seeds) :])):
                    about = {"task": row.language_name, "pressed": recipe.pressed, "functions": choice.name}
                    rows.append(about | {"forget_gate": forget} | together(mine))
                    print(line_of(rows[-1]), flush=True)
    return rows


def measure_characters(*, quick: bool) -> list[dict[str, Any]]:
    """Give a row for each choice of functions and forget gate."""
    from benchmarks import squashing_characters as characters
    from benchmarks.squashing_networks import Choice

    size = characters.Size(**QUICK_SIZE) if quick else characters.Size()
    text = characters.open_text(size)
    rows = []
    for names in CHOICES:
        choice = Choice(*names)
        for forget in (True, False):
            seeds = range(1 if quick else CHARACTER_SEEDS)
            found = [characters.run_characters(text, choice, size, seed, forget=forget) for seed in seeds]
            about = {"task": "characters", "pressed": False, "functions": choice.name, "forget_gate": forget}
            rows.append(about | together(found))
            print(line_of(rows[-1]), flush=True)
    return rows


def together(found: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Give what was found of all seeds, by what it is."""
    return {name: [one[name] for one in found] for name in found[0]}


# ---- showing ---------------------------------------------------------------------------------------------------------


def line_of(row: dict[str, Any]) -> str:
    """One row in one line."""
    cell = "own forget gate" if row["forget_gate"] else "no forget gate"
    head = f"{row['task']}{', noise and slope' if row['pressed'] else ''}: {row['functions']}, {cell}"
    if row["task"] == "characters":
        return f"{head}: {', '.join(map(shown_bits, row['bits']))} bits a character"
    return f"{head}: {sum(row['learned'])} of {len(row['learned'])}, first failures {failures_of(row)}"


def failures_of(row: dict[str, Any]) -> str:
    """First failures of all seeds, in their order."""
    said = zip(row["learned"], row["first_failure"], strict=True)
    return " ".join(NOT_LEARNED if not learned else NOT_FOUND if n is None else str(n) for learned, n in said)


def shown_bits(bits: float | None) -> str:
    """Bits a character; a model whose loss was no number any more has none."""
    return "lost" if bits is None else f"{bits:.2f}"


def mean_of(values: list[float | None]) -> float | None:
    """Mean of those that there are."""
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def percent(values: list[float | None]) -> str:
    """Mean share in percent."""
    mean = mean_of(values)
    return "-" if mean is None else f"{100 * mean:.0f}"


def tables(figures: dict[str, Any]) -> list[str]:
    """All figures as Markdown: a table a language, that of the character models, that of the limits."""
    rows = figures["rows"]
    tasks = list(dict.fromkeys(row["task"] for row in rows if row["task"] != "characters"))
    found = [f"{task}\n\n{language_table([row for row in rows if row['task'] == task])}" for task in tasks]
    found.append(f"characters\n\n{character_table([row for row in rows if row['task'] == 'characters'])}")
    found.append(f"near the limits\n\n{limits_table(figures['limits'])}")
    return [*found, "\n".join(figures["answers"])]


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """Lines as a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def language_table(rows: list[dict[str, Any]]) -> str:
    """Success, first failures and shares at the limits of one language, both recipes side by side."""
    head = ["functions", "f", "learned", "first failure of each seed", "near a limit, %", "at it, %"]
    head += ["pressed: learned", "first failure of each seed", "near, %", "at it, %"]
    lines = []
    for plain in (row for row in rows if not row["pressed"]):
        key = plain["functions"], plain["forget_gate"]
        pressed = next(row for row in rows if row["pressed"] and (row["functions"], row["forget_gate"]) == key)
        line = [plain["functions"], "own" if plain["forget_gate"] else "none"]
        for row in (plain, pressed):
            line += [str(sum(row["learned"])), failures_of(row), percent(row["saturated"]), percent(row["at_limit"])]
        lines.append(line)
    return markdown(head, lines)


def character_table(rows: list[dict[str, Any]]) -> str:
    """Bits a character of each seed, shares at the limits, and how large cells get."""
    head = ["functions", "f", "bits a character, each seed", "near a limit, %", "at it, %", "largest cell"]
    lines = []
    for row in rows:
        cell = mean_of(row["largest_cell"])
        bits = " ".join(map(shown_bits, row["bits"]))
        shares = [percent(row["saturated"]), percent(row["at_limit"])]
        largest = "-" if cell is None else f"{cell:.3g}"
        lines.append([row["functions"], "own" if row["forget_gate"] else "none", bits, *shares, largest])
    return markdown(head, lines)


def limits_table(rows: list[dict[str, Any]]) -> str:
    """Where each function comes near its limits, with what slope, and what a gate keeps in 100 steps."""
    head = [name.replace("_", " ") for name in rows[0]]
    lines = [
        ["-" if one is None else one if isinstance(one, str) else f"{one:.3g}" for one in row.values()] for row in rows
    ]
    return markdown(head, lines)


def answers_of(rows: list[dict[str, Any]]) -> list[str]:
    """How many networks of each choice learned all that was asked, by forget gate and recipe, and the best bits."""
    said = []
    for names in dict.fromkeys(row["functions"] for row in rows):
        parts = []
        for forget in (True, False):
            for pressed in (False, True):
                mine = [r for r in rows if (r["functions"], r["forget_gate"], r["pressed"]) == (names, forget, pressed)]
                learned = [one for row in mine for one in row.get("learned", [])]
                cell, how = "own" if forget else "no", "pressed" if pressed else "plain"
                parts.append(f"{cell} forget gate, {how} {sum(learned)} of {len(learned)}")
        bits = [one for r in rows if r["functions"] == names for one in r.get("bits", []) if one is not None]
        said.append(f"{names}: {'; '.join(parts)}; least bits a character {min(bits, default=math.nan):.2f}")
    return said
