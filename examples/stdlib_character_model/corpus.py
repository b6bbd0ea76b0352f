"""The corpus of the shipped character model: the standard library of CPython 3.11, split by module.

Run as a script it prints the file list (`files.csv`): split, SHA-256, characters, path.
"""

import csv
import hashlib
import sys
import sysconfig
from pathlib import Path

FILE_LIST = Path(__file__).with_name("files.csv")
# Tests, third-party packages and generated tables are not prose that a person writes and reads.
LEFT_OUT = ("site-packages", "test", "tests", "idle_test", "encodings", "pydoc_data", "lib2to3", "__pycache__")
HELD_OUT_SHARE = 10  # one module in ten is held out


def standard_library() -> Path:
    """Folder of the running interpreter's standard library; it must be CPython 3.11."""
    if sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython":
        raise SystemExit(f"the corpus is the library of CPython 3.11, this is {sys.version}; run it with CPython 3.11")
    return Path(sysconfig.get_path("stdlib"))


def split_of(path: str) -> str:
    """Held out or training, by a hash of the name: stable, and blind to what the module holds."""
    return "held_out" if int(hashlib.sha256(path.encode()).hexdigest(), 16) % HELD_OUT_SHARE == 0 else "training"


def is_left_out(path: str) -> bool:
    """Whether a module is no part of the corpus: by its folders, or because it describes one build of Python."""
    parts = path.split("/")
    folders = parts[:-1]
    return (
        any(part in LEFT_OUT for part in parts)
        or any(folder.startswith("config-") for folder in folders)
        or path.startswith("_sysconfigdata")
    )


def list_files(root: Path) -> list[dict[str, str]]:
    """Every module of the corpus with its split, hash and size."""
    rows = []
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root).as_posix()
        if is_left_out(path):
            continue
        data = file.read_bytes()
        rows.append(
            {
                "split": split_of(path),
                "sha256": hashlib.sha256(data).hexdigest(),
                "characters": str(len(data.decode("utf-8", "replace"))),
                "path": path,
            }
        )
    return rows


def read_corpus(split: str) -> list[str]:
    """Text of each module of a split, in the order of the list; a module that differs from its hash is an error."""
    root = standard_library()
    texts = []
    with FILE_LIST.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] != split:
                continue
            data = (root / row["path"]).read_bytes()
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise SystemExit(f"{row['path']} is not the file that the model was trained on; use CPython 3.11.7")
            texts.append(data.decode("utf-8", "replace"))
    return texts


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, ["split", "sha256", "characters", "path"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(list_files(standard_library()))
