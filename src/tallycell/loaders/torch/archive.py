"""The zip archives that torch writes, read without torch; no format of its own.

All entries stand in one folder, whose name depends on the file's. Storages are entries of raw bytes; what is made of
them is in pickles, as ``('storage', type, key, device, number of elements)``.
"""

import zipfile
from collections.abc import Iterable
from functools import cached_property
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Literal

from tallycell.errors import FormatError
from tallycell.files import first_bytes
from tallycell.loaders.telling import told
from tallycell.loaders.torch.inert_pickle import Name, Reference, read_pickle
from tallycell.loaders.zip_entries import check_entries, read_entry
from tallycell.wording import one_line, quoted

_STORAGES = {
    "Float": ("float32", 4), "Double": ("float64", 8), "Half": ("float16", 2), "BFloat16": ("bfloat16", 2),
    "Long": ("int64", 8), "Int": ("int32", 4), "Short": ("int16", 2), "Char": ("int8", 1), "Byte": ("uint8", 1),
    "Bool": ("bool", 1), "ComplexFloat": ("complex64", 8), "ComplexDouble": ("complex128", 16),
    "QInt8": ("qint8", 1), "QUInt8": ("quint8", 1), "QInt32": ("qint32", 4), "Untyped": ("untyped", 1),
}  # fmt: skip
_WORDS, _LONGEST_WORD = ("version", "byteorder", ".format_version", "archive_format", "archive_version"), 1000


class TorchArchive:
    """A zip archive of torch, open for reading; a context manager.

    Parameters
    ----------
    path
        The file, or the archive that it stands in.
    content
        The file itself, where it stands in another archive.

    Raises
    ------
    FormatError
        If it is no zip, is damaged, or promises far more bytes than it has.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        first_bytes(path, 1)
        size = path.stat().st_size if content is None else len(content)
        self.path = path
        self._last = ("", b"")  # several tensors in a row may lie in one entry
        try:
            self._zip = zipfile.ZipFile(path if content is None else BytesIO(content))
        except Exception as error:  # a damaged zip makes zipfile raise almost anything
            raise FormatError(f"{path} is a damaged zip: {one_line(error)}") from None
        self._entries = {info.filename.partition("/")[2] or info.filename: info for info in self._zip.infolist()}
        try:
            check_entries(self._zip.infolist(), size, path)
            self._check_words()
        except FormatError:
            self._zip.close()
            raise

    def _check_words(self) -> None:
        """Refuse entries of one word that are long: torch takes several times as much memory, or quotes all of it."""
        for name in _WORDS:
            if self.size(name) > _LONGEST_WORD:
                raise FormatError(f"{self.path}: its entry {name!r} has {self.size(name)} bytes; expected one word")

    def __enter__(self) -> "TorchArchive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """Names of the entries inside the one folder."""
        return list(self._entries)

    @cached_property
    def byte_order(self) -> Literal["<", ">"]:
        """``"<"`` or ``">"``, as NumPy spells it; little where the archive does not say."""
        stated = self.read("byteorder").strip() if "byteorder" in self else b"little"
        if stated not in (b"little", b"big"):
            raise FormatError(f"{self.path}: its byte order is {quoted(stated)}, expected little or big")
        return "<" if stated == b"little" else ">"

    def size(self, name: str) -> int:
        """Bytes of an entry; -1 if there is none."""
        return self._entries[name].file_size if name in self._entries else -1

    def read(self, name: str) -> bytes:
        """Read an entry.

        Raises
        ------
        FormatError
            If there is none, or it is damaged.
        """
        if name not in self._entries:
            raise FormatError(f"{self.path} has no entry {quoted(name)}; the archive is damaged or not whole")
        if name != self._last[0]:
            self._last = name, read_entry(self._zip, self._entries[name], self.path)
        return self._last[1]

    def read_pickle(self, name: str) -> tuple[object, list[Reference]]:
        """Read an entry as plain data; see :func:`~tallycell.loaders.torch.inert_pickle.read_pickle`."""
        return read_pickle(BytesIO(self.read(name)), f"{self.path}: its entry {quoted(name)}")


def read_storage(reference: Reference, name: str) -> tuple[str, str, int]:
    """Tell the dtype, key and number of bytes of a storage.

    Raises
    ------
    FormatError
        If the reference is not to a storage; the name is for the error.

    Examples
    --------
    >>> read_storage(Reference(("storage", Name("torch HalfStorage"), "0", "cpu", 24)), "model.pt")
    ('float16', '0', 48)
    """
    stated = reference.key
    if isinstance(stated, tuple) and len(stated) >= 5 and stated[0] == "storage":
        _, kind, key, _, count = stated[:5]
        known = _STORAGES.get(kind.text.split(" ")[-1].removesuffix("Storage")) if isinstance(kind, Name) else None
        if known is not None and isinstance(key, str) and type(count) is int and count >= 0:
            return known[0], key, count * known[1]
    parts = ", ".join(map(told, stated[:5])) if isinstance(stated, tuple) else told(stated)
    raise FormatError(f"{name} refers to ({parts}), expected a storage")


def check_storages(archive: TorchArchive, references: Iterable[Reference]) -> None:
    """Refuse an archive whose storages have other sizes than its pickle says, before anybody trusts the pickle.

    Raises
    ------
    FormatError
        The first that is found.
    """
    for reference in references:
        _, key, promised = read_storage(reference, str(archive.path))
        present = archive.size(f"data/{key}")
        if promised != present:
            raise FormatError(
                f"{archive.path}: storage {quoted(key)} should have {quoted(promised)} bytes, the file has "
                f"{max(present, 0)}; it is damaged"
            )
