"""Opening and writing files: what is no regular file is never opened, what stood at a place is never lost half-way.

A FIFO would wait for ever and a device never end, so both are refused before anything opens them. Whoever writes does
so beside the place: what stood there is whole until the new file is, and stays if it never is.
"""

import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tallycell.errors import FormatError, InputError
from tallycell.wording import one_line, quoted

_KINDS = {
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_TRIED = b"\0" * 4096  # a full disk takes a file's name and refuses its first block

# ---- opening ---------------------------------------------------------------------------------------------------------


def require_file(
    path: Path, error: type[FormatError | InputError] = FormatError, what: str = "a model file"
) -> os.stat_result:
    """Refuse a path that is no regular file, without opening it; links are followed.

    Parameters
    ----------
    path
        What is about to be opened.
    error
        What to raise.
    what
        What is expected, for the text.

    Raises
    ------
    FormatError, InputError
        If nothing is there, or a directory, a FIFO, a device or a socket.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise error(f"there is no file {path}; give the path of {what}") from None
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as reason:  # ValueError: a NUL in the name; RuntimeError: a loop of links
        raise error(f"{path} cannot be opened: {_said(reason)}") from None
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{path} is a directory; give the file inside it")
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise error(f"{path} is {kind}, and only regular files are opened; copy what it gives into a file")
    return found


def first_bytes(path: Path, count: int) -> bytes:
    """Give the first bytes of a model file.

    Raises
    ------
    FormatError
        If there is no such file, it is no regular one or empty, or it cannot be opened.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(count)
    except OSError as error:
        raise FormatError(f"{path} cannot be opened: {_said(error)}") from None
    if not start:
        raise FormatError(f"{path} is empty; expected a model file")
    return start


def read_text(path: Path, error: type[FormatError | InputError], what: str) -> str:
    """Give the text of a file in UTF-8, without a byte order mark, which some editors begin it with.

    Parameters
    ----------
    path
        The file.
    error
        What to raise.
    what
        What is expected, for the text.

    Raises
    ------
    FormatError, InputError
        If it is no regular file, cannot be opened, or is not UTF-8.
    """
    require_file(path, error, what)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8 text (byte {reason.start}); expected {what}") from None
    except OSError as reason:
        raise error(f"{path} cannot be opened: {_said(reason)}") from None


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
        If the name is no text, there is no such regular file, or it lies outside, be it through a link.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise FormatError(f"{source} names a file {quoted(name)}; expected a file name")
    try:
        found = (folder / name).resolve()
        is_inside, is_file = found.is_relative_to(folder.resolve()), found.is_file()
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a loop of links, half a character
        is_inside, is_file = True, False
    if not is_inside:
        raise FormatError(
            f"{source} names the file {quoted(name)}, which lies outside its folder; that is not followed"
        )
    if not is_file:
        raise FormatError(f"{source} names the file {quoted(name)}, which is not there")
    return found


# ---- writing ---------------------------------------------------------------------------------------------------------


def require_place(path: Path) -> Path:
    """Try whether a file can be written, before the work that would be lost.

    Parameters
    ----------
    path
        Where it is to stand. Links are followed: what is written is what they lead to.

    Returns
    -------
    Path
        Where it will stand in fact.

    Raises
    ------
    InputError
        If its folder is not there, takes no file or is full; if a folder, a device, a FIFO or a file that may not be
        written stands at the place.
    """
    target = _target_of(path)
    if os.path.isdir(target):
        raise InputError(f"cannot write {path}: it is a folder; give the name of a file")
    if os.path.lexists(target) and not os.path.isfile(target):
        kind = _KINDS.get(stat.S_IFMT(target.stat().st_mode), "no regular file")
        raise InputError(f"cannot write {path}: it is {kind}; give the name of a file")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise InputError(f"cannot write {path}: it is write-protected; choose another name, or allow it")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    require_folder(target.parent, path)
    return target


def require_folder(folder: Path, path: Path) -> None:
    """Try whether a folder takes a file, by writing one.

    Raises
    ------
    InputError
        If it takes none; the text names the path that was to be written.
    """
    tried = _beside(folder)
    with _errors_name(path):
        try:
            with tried.open("xb") as file:
                file.write(_TRIED)
                _flush(file.fileno())
        finally:
            tried.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file or leave what was there.

    Raises
    ------
    InputError
        If the file cannot be written: see :func:`require_place`.
    """
    require_place(path)
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new path beside a place; the file or folder that was made there takes the place at the end, flushed.

    What stood at the place keeps its mode, and is whole until the new one is. If anything goes wrong it stays.

    Parameters
    ----------
    path
        The place, which :func:`require_place` found good; links are followed.

    Raises
    ------
    InputError
        If the operating system refuses; the text names the place.
    """
    target = _target_of(path)
    part = _beside(target.parent)
    try:
        with _errors_name(path):
            yield part
            _flush_all(part)
            if target.exists():
                _keep_owner(target, part)
            _swap(part, target)
            _flush_folder(target.parent)
    finally:
        _remove(part)


def _target_of(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL in the name
        raise InputError(f"cannot write {path}: {_said(error)}") from None


def _beside(folder: Path) -> Path:
    return folder / f".tallycell-{uuid.uuid4().hex}.part"


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {_said(error)}") from None


def _said(error: BaseException) -> str:
    """Give the operating system's words alone: its text has the name of the file beside, which may be another."""
    return (error.strerror if isinstance(error, OSError) else None) or one_line(error)


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)


def _flush_all(part: Path) -> None:
    files = (file for file in part.rglob("*") if file.is_file()) if part.is_dir() else (part,)
    for file in files:
        with file.open("rb+") as written:
            _flush(written.fileno())


def _flush_folder(folder: Path) -> None:
    """Have the new name on disk as well, where folders can be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _flush(descriptor)
        finally:
            os.close(descriptor)


def _keep_owner(old: Path, new: Path) -> None:
    known = old.stat()
    with suppress(OSError, AttributeError):  # only root may give a file away, and Windows has no owners
        os.chown(new, known.st_uid, known.st_gid)
    new.chmod(stat.S_IMODE(known.st_mode))


def _swap(part: Path, target: Path) -> None:
    """Put what is new in the place. A folder that is not empty cannot be replaced in one step: it is set aside."""
    if not target.is_dir():
        os.replace(part, target)
        return
    former = _beside(target.parent)
    target.rename(former)
    try:
        part.rename(target)
    except BaseException:
        former.rename(target)
        raise
    _remove(former)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)
