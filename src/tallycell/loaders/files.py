"""Opening and writing files, with what can go wrong said in one line."""

import os
import uuid
from pathlib import Path

from tallycell.errors import FormatError, InputError


def first_bytes(path: Path, count: int) -> bytes:
    """Give the first bytes of a file.

    Raises
    ------
    FormatError
        If there is no such file, it is a directory or empty, or it cannot be opened.
    """
    if path.is_dir():
        raise FormatError(f"{path} is a directory; give the file inside it")
    try:
        with path.open("rb") as file:
            start = file.read(count)
    except FileNotFoundError:
        raise FormatError(f"there is no file {path}; give the path of a model file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FormatError(f"{path} cannot be opened: {one_line(error)}") from None
    if not start:
        raise FormatError(f"{path} is empty; expected a model file")
    return start


def write_in_place(path: Path, content: bytes) -> None:
    """Write a whole file or leave what was there: to a temporary sibling first, then renamed into place.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or one_line(error)}") from None
    finally:
        part.unlink(missing_ok=True)


def one_line(error: BaseException) -> str:
    """Text of somebody else's error, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
