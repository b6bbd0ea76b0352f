"""Gather a corpus of a given size from the text files of a Debian system: documentation, headers, Perl, Python.

    python examples/debian_corpus/gather.py corpus --characters 100000000
    tallycell survey MODEL corpus --out survey --workers 2

Only folders that packages fill are looked into: no settings, nothing of a user. A file that is UTF-8 and mostly
printable ASCII is a text, ``.gz`` unpacked, each content once. Files are taken in the order of the hashes of their
paths, so a part of them is a sample of all; they are written one behind the other into files of a million characters
or more. ``FOLDER-files.csv`` lists what is in each. The corpus is the same wherever the same packages are installed.
"""

import argparse
import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("doc", "common-licenses", "dict", "perl", "perl5", "tcltk", "vim")  # of /usr/share
PLACES = (*(f"/usr/share/{name}" for name in FOLDERS), "/usr/include", "/usr/lib/python3")
A_FILE = 1_000_000  # characters of one file of the corpus
LARGEST = 1_000_000  # characters of one file of the system: what is larger is a table or a log
LEAST_ASCII = 0.95  # share of its characters that a text must have in printable ASCII
PRINTABLE = {*range(32, 127), 9, 10, 13}


def texts(places: tuple[str, ...] = PLACES) -> Iterator[tuple[Path, str]]:
    """Every text below some folders by the hash of its path, each content once."""
    seen: set[bytes] = set()
    for path in sorted((path for place in places for path in Path(place).rglob("*")), key=hash_of):
        text = read(path)
        if text is None:
            continue
        digest = hash_of(text)
        if digest not in seen:
            seen.add(digest)
            yield path, text


def hash_of(value: object) -> bytes:
    return hashlib.sha256(str(value).encode("utf-8", "surrogateescape")).digest()


def read(path: Path) -> str | None:
    """The text of a file; None if it is none."""
    try:
        if path.is_symlink() or not path.is_file() or not 0 < path.stat().st_size <= LARGEST:
            return None
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8").replace("\r\n", "\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        return None
    printable = sum(map(content.count, (bytes([code]) for code in PRINTABLE)))
    is_text = text and len(content) <= LARGEST and b"\0" not in content
    return text if is_text and printable >= LEAST_ASCII * len(content) else None


def main() -> None:
    """Write the corpus and the list of what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="write the corpus here")
    parser.add_argument("--characters", type=int, default=100_000_000, help="how many (default: 100 million)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    listed: list[tuple[str, str, int]] = []
    left, waiting, number = arguments.characters, [], 0

    def write() -> None:
        (arguments.folder / f"{number:05d}.txt").write_text("".join(waiting), encoding="utf-8")

    for path, text in texts():
        waiting.append(text[:left])
        left -= len(waiting[-1])
        listed.append((f"{number:05d}.txt", str(path), len(waiting[-1])))
        if not left:
            break
        if sum(map(len, waiting)) >= A_FILE:
            write()
            waiting, number = [], number + 1
    if waiting:
        write()
    with arguments.folder.with_name(f"{arguments.folder.name}-files.csv").open(
        "w", newline="", encoding="utf-8"
    ) as file:
        csv.writer(file).writerows([("file", "path", "characters"), *listed])
    total = arguments.characters - left
    print(f"{total:,} characters of {len(listed):,} files in {number + bool(waiting):,} texts")
    if left:
        print(f"this system has no more: {left:,} are missing")


if __name__ == "__main__":
    main()
