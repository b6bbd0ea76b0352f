"""Write the last answers into the README, from the JSON files of the benchmarks."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HELP = "write kept answers as Markdown, into benchmarks/README.md unless --markdown"
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- answers: begin -->", "<!-- answers: end -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what --json has written, in this order")
    parser.add_argument("--markdown", action="store_true", help="print it and touch no file")
    parser.add_argument("--readme", type=Path, default=README, help="another page with the two marks in it")


def run(arguments: argparse.Namespace) -> None:
    """Print the answers, or write them between the marks."""
    answers = "\n\n".join(section(json.loads(file.read_text(encoding="utf-8"))) for file in arguments.files)
    if arguments.markdown:
        print(answers)
        return
    page = arguments.readme.read_text(encoding="utf-8")
    arguments.readme.write_text(replace_answers(page, answers), encoding="utf-8")
    print(f"wrote {len(arguments.files)} answer(s) into {arguments.readme}")


def replace_answers(page: str, answers: str) -> str:
    """Put the answers between the two marks of a page."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"the page has no {BEGIN} followed by {END}; put both where the answers belong")
    return f"{before}{BEGIN}\n\n{answers}\n\n{END}{after}"


def section(kept: Mapping[str, Any]) -> str:
    """One benchmark: where and when, the answers, the table."""
    figures, machine = kept["figures"], kept["machine"]
    threads = f" --threads {figures['threads']}" if "threads" in figures else ""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    head = f"### `python -m benchmarks {kept['benchmark']}{threads}`"
    where = f"{kept['date'][:10]}, {machine['processor']}, {machine['cores']} cores, {versions}."
    said = "\n".join(f"- {line}" for line in figures["answers"])
    return "\n\n".join([head, where, said, table(figures["rows"])])


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table, a dash where a row has no such figure."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    lines += [[written(row.get(name)) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(value: object) -> str:
    """A figure with three digits."""
    if value is None:
        return "-"
    return f"{value:#.3g}".rstrip(".") if isinstance(value, float) else str(value)
