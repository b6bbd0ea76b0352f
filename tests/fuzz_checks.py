"""What must hold of every text that tallycell shows, and of the memory that it takes."""

import json
import re
import resource
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from fuzz_words import LETTER

MOST_OF_A_LINE = 3000  # characters of an error
MOST_QUOTED = 200  # characters of a value from a file
MOST_GROWN = 300  # MiB: what a file may unfold to at least (64 MiB), some copies of it, and the libraries' own
MOST_MEMORY = 4 << 30  # of address space, beyond what the libraries take
_TOO_LONG = re.compile(f"{LETTER}{{{MOST_QUOTED + 1}}}")
_FOLD = re.compile(r"\n[\s│├└─]*")  # where a page breaks a word


class Printed(NamedTuple):
    """What commands print about a file.

    Attributes
    ----------
    pages
        For people: a long word is cut.
    listings
        To be used again, as a machine in the notation is: words are whole.
    data
        JSON.
    """

    pages: Sequence[str] = ()
    listings: Sequence[str] = ()
    data: Sequence[str] = ()


def check_error(text: str) -> None:
    """Check that an error is one clean line."""
    assert text, "an error without a text"
    assert text.isprintable(), f"an error that does not print: {_around_what_does_not_print(text)}"
    assert len(text) < MOST_OF_A_LINE, f"an error of {len(text)} characters: {_start_of(text)}"
    assert not _TOO_LONG.search(text), f"an error quotes more than {MOST_QUOTED} characters: {_start_of(text)}"


def check_printed(printed: Printed) -> None:
    """Check what commands print."""
    for text in (*printed.pages, *printed.listings, *printed.data):
        for line in text.split("\n"):
            assert line.isprintable(), f"a line that does not print: {_around_what_does_not_print(line)}"
    for text in printed.pages:
        assert not _TOO_LONG.search(_FOLD.sub("", text)), f"a page shows more than {MOST_QUOTED} characters of a word"
    for text in printed.data:
        json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} in what should be JSON")


def _start_of(text: str) -> str:
    return f"{text[:300]!a}..."


def _around_what_does_not_print(text: str) -> str:
    at = next(k for k, one in enumerate(text) if not one.isprintable())
    return ascii(text[max(0, at - 100) : at + 100])


@contextmanager
def no_warnings() -> Iterator[None]:
    """Check that nobody warns: that would be printed too."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    assert not said, f"a warning: {said[0].message!s:.300}"


# ---- memory ----------------------------------------------------------------------------------------------------------


def limit_memory() -> None:
    """Let no load take more than some gigabytes of address space, so that a mistake ends here and not in swap."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))


def taken() -> float:
    """MiB that this process takes now, where that is told; and begin to watch for the most from here."""
    watch = Path("/proc/self/clear_refs")
    if watch.exists():
        watch.write_text("5")  # Linux: the most so far is what there is now
    return most_taken()


def most_taken() -> float:
    """MiB that this process has taken at most since it was watched; since it began where that cannot be told."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*([0-9]+)", status.read_text())[1]) / 1024
    a_mib = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / a_mib
