"""The terminal: where output goes, how it is laid out, and what is shown while one waits."""

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment

import tallycell
from tallycell.wording import shown, visible

PLAIN_WIDTH = 110  # columns where the output is no terminal and COLUMNS does not say how many
SHOWN_CHARACTERS = 40
JSON_SCHEMA_VERSION = "2"  # of all that commands print as JSON: a key that means something else makes it another

Advance = Callable[[str, tuple[int, int] | None], None]


class PlainConsole(Console):
    """A console on which no text can do more than be read: what does not print in it is shown as an escape.

    Whoever lays out a name from a file escapes it first, so that widths are right; this holds where somebody forgot.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render, and escape what is rendered, but for what rich itself sends to the terminal."""
        for text, style, control in super().render(renderable, options):
            lines = text if control else "\n".join(map(visible, text.split("\n")))
            yield Segment(lines, style, control)


def console() -> Console:
    """Give the console that a page is printed to."""
    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdigit() and int(asked) else PLAIN_WIDTH
    return PlainConsole(highlight=False, width=None if sys.stdout.isatty() else width)


@contextmanager
def progress() -> Iterator[Advance]:
    """Show what is going on, on standard error, where somebody looks at it.

    What is given takes what is being done, and how much of it: (done, total), or None where that is not known.
    """
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("")

        def advance(doing: str, done: tuple[int, int] | None) -> None:
            completed, total = done or (0, None)
            bar.update(task, description=doing, completed=completed, total=total)

        yield advance


def json_text(value: Mapping[str, object]) -> str:
    r"""Write what a command has to say for another program: one object, which says first by what it is written.

    Letters are as they are where standard output can hold them all; what does not print is an escape. A number that is
    NaN or infinite is null.

    Examples
    --------
    >>> text = json_text({"symbol": "é", "state": "\u202e\x9b", "loss": float("nan")})
    >>> print("\n".join(text.splitlines()[3:]))
     "symbol": "é",
     "state": "\u202e\u009b",
     "loss": null
    }
    >>> list(json.loads(text))
    ['schema_version', 'tallycell_version', 'symbol', 'state', 'loss']
    """
    head = {"schema_version": JSON_SCHEMA_VERSION, "tallycell_version": tallycell.__version__}
    letters = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(head | _plain(value), ensure_ascii=not letters, indent=1, allow_nan=False)
    # Outside of its texts JSON is ASCII: what does not print, but for the ends of lines, stands inside a text.
    return re.sub(r"[^\n -~]", lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(value: Mapping[str, object]) -> None:
    """Print what a command has to say for another program; see :func:`json_text`."""
    sys.stdout.write(json_text(value) + "\n")


def shortened(text: str) -> str:
    """Show only both ends of a long text.

    Examples
    --------
    >>> shortened("ab" * 1000)
    'abababababababab...abababababababab'
    """
    if len(text) <= SHOWN_CHARACTERS:
        return shown(text)
    end = SHOWN_CHARACTERS * 2 // 5
    return f"{visible(text[:end])}...{visible(text[-end:])}"


def fold(text: str) -> str:
    """Break long lines between words, and go on further in than they began.

    Examples
    --------
    >>> print(fold("  " + "word " * 30))
      word word word word word word word word word word word word word word word word word word word word word
        word word word word word word word word word
    """
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        folded = wrap(line, PLAIN_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        lines += folded or [""]
    return "\n".join(lines)


def columns(rows: Sequence[Sequence[str]]) -> str:
    r"""Lay rows out in columns, two blanks apart; the last column is not padded.

    Examples
    --------
    >>> print(columns([("a", "bb", "c"), ("aaa", "b", "")]))
    a    bb  c
    aaa  b
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
