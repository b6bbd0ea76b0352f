"""HDF5 as Keras writes it, read with h5py: every size is checked before h5py may take memory for it.

An HDF5 file can point elsewhere (links, external storage, virtual datasets) and promise anything (sparse chunks,
compression). What is read here is plain numbers that stand in the file itself.
"""

import math
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError, MissingExtraError, TallycellError
from tallycell.loaders.tensors import check_size, check_unfolding, widen, widen_bfloat16
from tallycell.wording import one_line, quoted

if TYPE_CHECKING:
    import h5py

_MOST_OBJECTS = 250_000  # groups and datasets of one file
_MOST_DEPTH = 32
_MOST_LOOKED_AT = 2_000_000  # attributes of one name, once for each number of texts in them
_ENTRY = 24  # bytes at least that a chunk takes in the file besides its content
_FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}  # and their bytes
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}  # those of HDF5 itself that keep every bit


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array of the file, checked and not yet read.

    Attributes
    ----------
    shape, dtype
        As the file states them; ``dtype`` by NumPy's name, or ``"bfloat16"``.
    """

    shape: tuple[int, ...]
    dtype: str
    _dataset: "h5py.h5d.DatasetID"
    _name: str
    _file_size: int

    def read(self) -> Float[np.ndarray, "..."]:
        """Give its values as float32 or float64.

        Raises
        ------
        FormatError
            If it is damaged, not all in the file, or of a dtype that is no float.
        """
        import h5py

        with errors_of_h5py(self._name):
            self._check()
            stored = np.zeros(self.shape, self._dataset.dtype)
            if stored.size:  # in the type that the file has, which takes less time than to ask for another
                self._dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, stored, self._dataset.get_type())
            return widen_bfloat16(stored.view(np.uint16)) if self.dtype == "bfloat16" else widen(stored)

    def _check(self) -> None:
        if self.dtype not in _FLOATS:
            raise FormatError(f"{self._name} is of dtype {self.dtype}; expected floats")
        identity = self._dataset
        created, itemsize = identity.get_create_plist(), identity.dtype.itemsize
        layout, size = created.get_layout(), math.prod(self.shape) * itemsize
        if created.get_external_count() or layout not in (0, 1, 2):  # compact, contiguous, chunked
            raise FormatError(f"{self._name} has its values in another file; only files that hold their own are read")
        check_unfolding(size, self._file_size, self._name)
        if layout == 2:
            self._check_chunks(created, itemsize)
            return
        check_size(self.shape, itemsize, identity.get_storage_size(), self._name)
        offset = identity.get_offset() if layout == 1 else 0
        if size and (offset is None or offset + size > self._file_size):
            raise FormatError(f"{self._name} lies beyond the end of the file, which is cut short")

    def _check_chunks(self, created: Any, itemsize: int) -> None:
        """Look at every chunk as it is stored, so that none unfolds to more than it should."""
        filters = [created.get_filter(k)[0] for k in range(created.get_nfilters())]
        if unknown := set(filters) - _FILTERS.keys():
            raise FormatError(f"{self._name} is packed by the HDF5 filters {sorted(unknown)}; known are {_FILTERS}")
        chunk = created.get_chunk()
        chunk_size = math.prod(chunk) * itemsize
        check_unfolding(chunk_size, self._file_size, self._name)
        expected = math.prod(-(-length // step) for length, step in zip(self.shape, chunk, strict=True))
        identity = self._dataset
        if expected * _ENTRY > self._file_size or identity.get_num_chunks() != expected:
            raise FormatError(f"{self._name} is not all in the file: of its {expected} chunks some are missing")
        infos: list[Any] = []
        identity.chunk_iter(infos.append)
        for info in infos:
            if info.byte_offset is None or info.size > self._file_size - info.byte_offset:
                raise FormatError(f"{self._name} lies beyond the end of the file, which is cut short")
            if filters[-1:] in ([], [2]) or info.filter_mask:
                if info.size != chunk_size:
                    raise FormatError(f"{self._name} has a chunk of {info.size} bytes, expected {chunk_size}")
            elif 1 in filters:
                _, packed = identity.read_direct_chunk(info.chunk_offset)
                packed = packed[: len(packed) - (4 if filters[-1] == 3 else 0)]  # without its checksum
                # A checksum taken before packing adds four bytes to what is packed.
                if len(zlib.decompressobj().decompress(packed, chunk_size + 5)) > chunk_size + 4:
                    raise FormatError(f"{self._name} has a chunk that unfolds to more than its {chunk_size} bytes")


class Hdf5File:
    """An open file of Keras: its arrays by path, and its texts.

    Attributes
    ----------
    arrays
        From the path of each dataset, in the file's order, to what it holds.
    groups
        Paths of the groups.
    """

    def __init__(self, file: "h5py.File", source: Path, content: bytes | mmap.mmap) -> None:
        self._file, self._source, self._content = file, source, content
        self._seen: set[int] = set()  # groups by where they stand: one may hold itself
        self.groups: set[str] = set()
        self._objects = 0
        self._places: dict[str, dict[bytes, list[int]]] = {}
        self._lengths: dict[tuple[str, int], int] = {}
        self._looked_at = 0
        self.arrays = dict(self._walk(file["/"].id, "", 0))
        floats = [one for one in self.arrays.values() if one.dtype in _FLOATS]
        check_unfolding(sum(math.prod(one.shape) * _FLOATS[one.dtype] for one in floats), len(content), source)

    def _walk(self, group: "h5py.h5g.GroupID", path: str, depth: int) -> Iterator[tuple[str, StoredArray]]:
        """Go through a group by HDF5's own numbers: h5py's objects around them take most of the time for many."""
        import h5py

        address = h5py.h5o.get_info(group).addr
        if address in self._seen or depth > _MOST_DEPTH:
            return
        self._seen.add(address)
        self.groups.add(path.removesuffix("/"))
        for stored_name in group:
            name = stored_name.decode("utf-8", "surrogateescape")
            self._objects += 1
            if self._objects > _MOST_OBJECTS:
                raise FormatError(f"{self._source} holds more than {_MOST_OBJECTS} objects; expected a model of Keras")
            if group.links.get_info(stored_name).type != h5py.h5l.TYPE_HARD:
                raise FormatError(
                    f"{self._source}: {quoted(path + name)} is a link to elsewhere, which is not followed"
                )
            item = h5py.h5o.open(group, stored_name)
            if isinstance(item, h5py.h5g.GroupID):
                yield from self._walk(item, f"{path}{name}/", depth + 1)
            elif isinstance(item, h5py.h5d.DatasetID) and (shape := item.shape) is not None:
                yield path + name, self._array(path + name, item, shape)

    def _array(self, path: str, dataset: "h5py.h5d.DatasetID", shape: tuple[int, ...]) -> StoredArray:
        dtype = dataset.dtype
        is_bfloat16 = dtype.kind == "V" and dtype.itemsize == 2 and self.text(path, "dtype") == "bfloat16"
        name = "bfloat16" if is_bfloat16 else dtype.newbyteorder("=").name
        return StoredArray(shape, name, dataset, f"{self._source}: {quoted(path)}", len(self._content))

    def text(self, path: str, attribute: str) -> str | None:
        """Give a text that stands beside a group or dataset; None if there is none."""
        found = self.texts(path, attribute)
        return found[0] if found else None

    def texts(self, path: str, attribute: str) -> list[str]:
        """Give a list of texts that stands beside a group or dataset, in one attribute or, as Keras splits it, several.

        Raises
        ------
        FormatError
            If it is damaged, or states more text than the file can hold.
        """
        with errors_of_h5py(f"{self._source}: the attributes of {quoted(path or '/')}"):
            attributes = self._file[path or "/"].attrs
            names = [attribute, *(f"{attribute}{k}" for k in range(len(attributes)))]
            found = (self._texts_of(attributes, name, attribute) for name in names if name in attributes)
            return [text for texts in found for text in texts]

    def _texts_of(self, attributes: "h5py.AttributeManager", name: str, stem: str) -> list[str]:
        import h5py

        identity = attributes.get_id(name)
        space, kind = identity.get_space(), identity.get_type()
        if not isinstance(kind, h5py.h5t.TypeStringID) or space.get_simple_extent_type() == h5py.h5s.NULL:
            return []  # Keras writes an empty list of names as numbers
        count = space.get_simple_extent_npoints()
        size = count * kind.get_size()
        if kind.is_variable_str():
            if (name, count) not in self._lengths:  # many objects have an attribute of this name
                self._lengths[name, count] = self._stated_length(name, stem, count)
            size = self._lengths[name, count]
        check_unfolding(size, len(self._content), f"{self._source}: the attribute {quoted(name)}")
        values = np.asarray(attributes[name], dtype=object).ravel()
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]

    def _stated_length(self, name: str, stem: str, count: int) -> int:
        """Give the length of texts of variable length: HDF5 takes the memory before it looks whether they are there.

        Which of the attributes of this name and count is meant is not known, so it is the longest.

        An attribute is one message: version, flags, sizes of name, type and shape, those three (in steps of 8 in
        version 1), and for each text four bytes of length, the address of its heap, and four bytes of its number there.
        """
        address = int(self._file.id.get_create_plist().get_sizes()[0])
        word = name.encode() + b"\0"
        lengths: list[int] = []
        places = self._places_of(stem).get(word, [])
        self._looked_at += len(places)
        if self._looked_at > _MOST_LOOKED_AT:
            raise FormatError(f"{self._source} has the attribute {quoted(name)} in too many places and sizes")
        for place in places:
            for version, header in ((1, 8), (2, 8), (3, 9)):
                at = place - header
                if at < 0 or self._content[at] != version:
                    continue
                sizes = struct.unpack_from("<HHH", self._content, at + 2)
                step = 8 if version == 1 else 1
                start = place + sum(-(-size // step) * step for size in sizes)
                if sizes[0] == len(word) and start + count * (address + 8) <= len(self._content):
                    stated = struct.unpack_from("<" + f"I{address + 4}x" * count, self._content, start)
                    lengths.append(sum(stated))
        if not lengths:
            raise FormatError(f"{self._source}: the attribute {quoted(name)} is damaged")
        return max(lengths)

    def _places_of(self, stem: str) -> dict[bytes, list[int]]:
        """Where the words of a stem and a number stand in the file, which is looked through once for each stem."""
        if stem not in self._places:
            found = self._places.setdefault(stem, {})
            for one in re.finditer(re.escape(stem.encode()) + rb"[0-9]*\0", self._content):
                found.setdefault(one[0], []).append(one.start())
        return self._places[stem]


@contextmanager
def open_hdf5(content: Path | bytes, source: Path) -> Iterator[Hdf5File]:
    """Open an HDF5 file of Keras.

    Parameters
    ----------
    content
        The file, or what it holds.
    source
        The file for errors, or the one that it came in.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    FormatError
        If it is damaged, or points to other files.
    """
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("h5py", "keras") from None
    with ExitStack() as opened:
        with errors_of_h5py(str(source)):
            if isinstance(content, Path):
                on_disk = opened.enter_context(content.open("rb"))
                stored: bytes | mmap.mmap = opened.enter_context(
                    mmap.mmap(on_disk.fileno(), 0, access=mmap.ACCESS_READ)
                )
            else:
                stored = content
            _check_heaps(stored, source)
            place = content if isinstance(content, Path) else BytesIO(content)
            file = Hdf5File(opened.enter_context(h5py.File(place, "r", locking=False)), source, stored)
        yield file


def _check_heaps(content: bytes | mmap.mmap, source: Path) -> None:
    """Walk through each heap of texts before HDF5 does, which never returns from one with an empty gap.

    A heap begins with its mark, version and size; in it are objects of 16 bytes (number, references, size) and what
    they hold, in steps of 8. Number 0 is a gap, whose size counts those 16 bytes.
    """
    for found in re.finditer(rb"GCOL\x01\0\0\0", content):
        at = found.start() + 16
        end = at - 16 + struct.unpack_from("<Q", content, at - 8)[0] if at <= len(content) else math.inf
        while at + 16 <= end <= len(content):
            number, size = struct.unpack_from("<H6xQ", content, at)
            step = 16 + -(-size // 8) * 8 if number else size
            at = at + step if step >= 16 else len(content) + 1
        if not at <= end <= len(content):
            raise FormatError(f"{source} cannot be read as HDF5: the heap at byte {found.start()} is damaged")


@contextmanager
def errors_of_h5py(name: str) -> Iterator[None]:
    """Turn what h5py and zlib raise on a damaged file, which is almost anything, into FormatError."""
    try:
        yield
    except (TallycellError, AssertionError):
        raise
    except (MemoryError, Exception) as error:
        raise FormatError(f"{name} cannot be read as HDF5: {one_line(error)}") from None
