"""Gather a corpus of a given size from the text files of a Debian system: documentation, headers, scripts, data.

    python examples/debian_corpus/gather.py corpus --characters 100000000
    tallycell survey MODEL corpus --out survey --workers 2

Each file of the system is looked at in the order of its path: what is UTF-8 and mostly printable ASCII is a text,
``.gz`` unpacked. Texts are written one behind the other into files of a million characters or more;
``FOLDER-files.csv`` lists what is in each. The corpus is the same wherever the same packages are installed.
"""

import argparse
import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("/usr/share/doc", "/usr/share/common-licenses", "/usr/include", "/usr/lib", "/usr/share", "/etc")
A_FILE = 1_000_000  # characters of one file of the corpus
LARGEST = 5_000_000  # bytes of one file of the system: what is larger is a table
LEAST_ASCII = 0.95  # share of its characters that a text must have in printable ASCII
PRINTABLE = {*range(32, 127), 9, 10, 13}


def texts(folders: tuple[str, ...] = FOLDERS) -> Iterator[tuple[Path, str]]:
    """Every text of some folders by path, each content once."""
    seen: set[bytes] = set()
    for folder in map(Path, folders):
        for path in sorted(folder.rglob("*")):
            text = read(path)
            if text is None:
                continue
            digest = hashlib.sha256(text.encode()).digest()
            if digest not in seen:
                seen.add(digest)
                yield path, text


def read(path: Path) -> str | None:
    """The text of a file; None if it is none."""
    try:
        if path.is_symlink() or not path.is_file() or not 0 < path.stat().st_size <= LARGEST:
            return None
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8").replace("\r\n", "\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        return None
    printable = sum(map(content.count, (bytes([code]) for code in PRINTABLE)))
    return text if text and printable >= LEAST_ASCII * len(content) else None


def main() -> None:
    """Write the corpus and the list of what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="write the corpus here")
    parser.add_argument("--characters", type=int, default=100_000_000, help="how many (default: 100 million)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    listed: list[tuple[str, str, int]] = []
    left, waiting, size, number = arguments.characters, [], 0, 0
    for path, text in texts():
        text = text[:left]
        waiting.append(text)
        size, left = size + len(text), left - len(text)
        listed.append((f"{number:05d}.txt", str(path), len(text)))
        if size >= A_FILE or not left:
            (arguments.folder / f"{number:05d}.txt").write_text("".join(waiting), encoding="utf-8")
            waiting, size, number = [], 0, number + 1
        if not left:
            break
    if waiting:
        (arguments.folder / f"{number:05d}.txt").write_text("".join(waiting), encoding="utf-8")
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
