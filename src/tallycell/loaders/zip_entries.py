"""Entries of zip archives, unfolded against the bytes that really come.

No format of its own: archives of torch, Keras and NumPy are zips. What a directory promises of an entry is the entry's
own word, so it is read piece by piece and never for more than was promised.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path

from tallycell.errors import FormatError
from tallycell.loaders.tensors import check_unfolding
from tallycell.wording import one_line, quoted

_PIECE = 2**20
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unfold whole blocks, of any size, at once


def check_entries(entries: Iterable[zipfile.ZipInfo], size: int, source: Path) -> None:
    """Refuse an archive that promises far more bytes than it has, or is packed as none of these formats is.

    Parameters
    ----------
    entries
        Those that may be read.
    size
        Of the archive in bytes.
    source
        The archive, for the error.

    Raises
    ------
    FormatError
        If that is so.
    """
    found = list(entries)
    for info in found:
        if info.compress_type not in _PACKINGS:
            raise FormatError(
                f"{source}: its entry {quoted(info.filename)} is neither stored nor deflated; pack it that way again"
            )
    check_unfolding(sum(info.file_size for info in found), size, source)


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Path) -> bytes:
    """Read an entry that :func:`check_entries` let pass.

    Raises
    ------
    FormatError
        If it is damaged, or unfolds to another number of bytes than the directory says.
    """
    pieces: list[bytes] = []
    try:
        with archive.open(info) as member:
            while piece := member.read(_PIECE):
                pieces.append(piece)
    except Exception as error:  # a damaged zip makes zipfile and zlib raise almost anything
        raise FormatError(f"{source}: its entry {quoted(info.filename)} is damaged: {one_line(error)}") from None
    content = b"".join(pieces)
    if len(content) != info.file_size:
        raise FormatError(
            f"{source}: its entry {quoted(info.filename)} has {len(content)} bytes, its directory says {info.file_size}"
        )
    return content
