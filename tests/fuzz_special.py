"""What is no regular file, in the places of files: a FIFO would wait for ever, a device never end."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import fuzz_checks as checks
from fuzz_kinds import Kind

MOST_SECONDS = 1.0  # to refuse one; libraries are imported by then
MOST_GROWN = 50  # MiB: what is made ready before


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, chdir(path.parent):  # a socket's path may have some hundred characters
        made.bind(path.name)


def make_link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def make_link_to(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A link to what something makes beside it."""

    def make_both(path: Path) -> None:
        target = path.with_name(f"target{path.suffix}")
        make(target)
        path.symlink_to(target.name)

    return make_both


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": make_socket,
    "a link to a FIFO": make_link_to(os.mkfifo),
    "a link to a folder": make_link_to(Path.mkdir),
    "a link to a socket": make_link_to(make_socket),
    "a link to /dev/null": make_link("/dev/null"),
    "a link to /dev/zero": make_link("/dev/zero"),
    "a link to nothing": make_link("nothing"),
    "a loop of links": lambda path: path.symlink_to(path.name),
}
DEVICES = ("/dev/null", "/dev/zero")  # themselves, where the name does not matter
NOTHING_IS_FINE = ("checkpoint",)  # a link to nothing is no file, and none need be there


def special_files(kind: Kind, sound: Path) -> Iterator[tuple[str, Path, bool]]:
    """Make each special file in each place of a kind.

    Yields
    ------
    what
        In words.
    path
        What is to be opened.
    refused
        Whether it has to be.
    """
    for place in ("", *kind.parts):
        for what, make in SPECIAL.items():
            folder = sound.parent / f"{place.replace('/', '-')} {what}".replace("/", "-").strip()
            folder.mkdir()
            opened = folder / kind.file
            if place:
                copy_all_but(sound, opened, place)
            make(opened / place)
            name = place or kind.file
            yield f"{what} as {name}", opened, not (what == "a link to nothing" and name in NOTHING_IS_FINE)
    for device in DEVICES:
        yield device, Path(device), True


def copy_all_but(source: Path, target: Path, left_out: str) -> None:
    """Copy a folder without one of its files."""
    for file in source.rglob("*"):
        place = file.relative_to(source)
        if file.is_file() and str(place) != left_out:
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            (target / place).write_bytes(file.read_bytes())


def open_special(kind: Kind, path: Path, *, refused: bool) -> None:
    """Open a special file: it is refused in one clean line, at once, and takes no memory."""
    from tallycell.errors import TallycellError

    before, began = checks.taken(), time.perf_counter()
    try:
        with checks.no_warnings():
            checks.check_printed(kind.open(path))
    except TallycellError as error:
        checks.check_error(str(error))
    else:
        assert not refused, "it was opened"
    seconds, grown = time.perf_counter() - began, checks.most_taken() - before
    assert seconds < MOST_SECONDS, f"it took {seconds:.1f} s"
    assert grown < MOST_GROWN, f"memory grew by {grown:.0f} MiB"
