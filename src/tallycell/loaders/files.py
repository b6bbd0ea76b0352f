"""Opening and writing files, with what can go wrong said in one line."""

import json
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


def read_json(path: Path, most: int) -> object:
    """Give what a JSON file holds.

    Parameters
    ----------
    path
        The file, in UTF-8, with or without a byte order mark.
    most
        Size in bytes beyond which it is not read: parsed, it takes some twenty times as much memory.

    Raises
    ------
    FormatError
        If it cannot be opened, is larger than that, or is not JSON.
    """
    first_bytes(path, 1)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise FormatError(f"{path} is larger than {most} bytes, the most that is read of such a JSON file")
        return json.loads(content)
    except (ValueError, RecursionError, MemoryError, OSError) as error:
        if isinstance(error, FormatError):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise FormatError(f"{path} cannot be read as JSON: {reason}") from None


def file_inside(folder: Path, name: object, source: Path) -> Path:
    """Give the path of a file that another file of a folder names; it may not lie outside that folder.

    Parameters
    ----------
    folder
        Where it must lie, there or below.
    name
        As the other file states it.
    source
        The other file, for the error.

    Raises
    ------
    FormatError
        If the name is no text, there is no such plain file, or it lies outside, be it through a link.
    """
    wanted = repr(name)[:200]
    if not isinstance(name, str) or not name or "\0" in name:
        raise FormatError(f"{source} names a file {wanted}; expected a file name")
    try:
        found = (folder / name).resolve()
        if not found.is_relative_to(folder.resolve()):
            raise FormatError(f"{source} names the file {wanted}, which lies outside its folder; that is not followed")
        is_file = found.is_file()
    except (OSError, RuntimeError):  # a name that is too long, a loop of links
        is_file = False
    if not is_file:
        raise FormatError(f"{source} names the file {wanted}, which is not there")
    return found


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


def one_line(error: BaseException, longest: int = 400) -> str:
    """Text of somebody else's error, in one line; only its beginning, as some libraries quote whole files."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[:longest]}..."
