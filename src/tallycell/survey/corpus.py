"""The files of a corpus: found, looked at once while the plan is made, and read in pieces by whoever computes.

A text is one sequence a file, cut into pieces of a fixed number of bytes: a file is what ``tallycell read`` takes for
one text, and a cell may count across the ends of its lines. Where a piece begins is found without reading what stands
before it, so that any piece of any file costs the same. Tables are cut by steps. Each piece begins from the initial
state.
"""

import codecs
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tallycell.errors import InputError, TallycellError
from tallycell.files import require_file
from tallycell.input import Input, Rows
from tallycell.loaders import LoadedModel, load
from tallycell.names import SEQUENCE, TIME
from tallycell.opening import TABLES, TextReader, open_table, read_vocabulary, text_reader
from tallycell.opening.choosing import choose_lstm
from tallycell.survey.identity import symbols_of, weights_of
from tallycell.survey.plan import CorpusFile, Opened, Plan
from tallycell.wording import listed, shown

TEXT, TABLE = "text", "table"
AT_ONCE = 1 << 20  # bytes of a file that are hashed at once
SAMPLE = 1 << 16  # characters of a text that must be in the model's symbols
FURTHEST = 1_000  # bytes behind its place at which a cut between words is looked for
ZARR = ".zarr"
_BLANK = b" \t\r\n\v\f"
_CONTINUES = range(0x80, 0xC0)  # bytes inside a character of UTF-8

Stamp = tuple[tuple[str, int, int], ...]


class UnreadableError(InputError):
    """A sequence holds what cannot be read, wherever and however often it is tried."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One sequence of a plan.

    Attributes
    ----------
    given
        What the LSTM reads; None if nothing of it is known to the model.
    symbols, unknown
        Symbols that a text was cut into, and those that the model does not know.
    """

    given: Input | None
    symbols: int = 0
    unknown: int = 0


@dataclass(frozen=True, eq=False)
class Corpus:
    """A model and how a corpus is opened for it.

    Attributes
    ----------
    opened
        How.
    model, path
        The model, and which of its LSTMs reads.
    reader
        What makes inputs of texts; None where the corpus is tables.
    """

    opened: Opened
    model: LoadedModel
    path: str
    reader: TextReader | None
    _kept: dict[Stamp, Input] = field(default_factory=dict, init=False, repr=False)

    @property
    def identity(self) -> tuple[str, str]:
        """Hashes of the model and of its symbols; no symbols where none are read."""
        return weights_of(self.model), "" if self.reader is None else symbols_of(self.reader.symbols)

    @property
    def leaves_out(self) -> bool:
        """Whether symbols that the model does not know are left out, as it has none that stands for them."""
        return self.reader is not None and self.reader.symbols.unknown is None and self.model.recogniser is None

    def examine(self, path: Path) -> CorpusFile:
        """Look at a file once, all of it: whether it can be read, how long it is, and its hash.

        Raises
        ------
        InputError, FormatError
            If it cannot be read; the text names it.
        """
        if self.reader is not None:
            size, digest = _hash_text(path, self.reader)
            return CorpusFile(str(path), TEXT, size, digest, 1, size)
        try:
            x = self._table(path).x
            size, digest = _hash_files(path)
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from None
        if not np.isfinite(np.asarray(x)).all():
            raise InputError(f"{path} has values that are NaN or infinite; an LSTM reads a number at every step")
        if x.shape[-1] != (wanted := self.model[self.path].input_size):
            raise InputError(f"{path} has {x.shape[-1]} features, the LSTM reads {wanted}")
        return CorpusFile(str(path), TABLE, size, digest, x.shape[1] if x.ndim == 3 else 1, len(x))

    def piece(self, plan: Plan, sequence: int) -> Piece:
        """Read one sequence of a plan.

        Raises
        ------
        UnreadableError
            If what it holds cannot be read; the text names file and place.
        InputError, FormatError
            If the file cannot be opened or has changed since the plan was made, or there is no memory for it.
        """
        file, column, first = plan.place_of(sequence)
        path = Path(file.path)
        try:
            if file.kind == TEXT:
                assert self.reader is not None  # the corpus of the plan was opened in the same way
                return _read_text(file, first, first + plan.steps, self.reader)
            whole = self._table(path)
            if len(whole.x) != file.steps:
                raise InputError(f"{path} has {len(whole.x):,} steps, {file.steps:,} when the plan was made")
            return Piece(_cut_table(whole, column, slice(first, first + plan.steps)))
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from None
        except TallycellError as error:
            kind = UnreadableError if isinstance(error, UnreadableError) else InputError
            raise kind(f"{named(file, column, first)}: {error}") from None

    def _table(self, path: Path) -> Input:
        """Open a table. The last one is kept, as the pieces of a table are read one after the other."""
        stamp = stamp_of(path)
        table = self._kept.get(stamp)
        if table is None:
            table = open_table(
                self.model, path, time=self.opened.time, scaling=self.opened.scaling, lstm=self.opened.lstm
            )  # fmt: skip
            self._kept.clear()
            self._kept[stamp] = table
        return table


def open_corpus(opened: Opened, kind: str) -> Corpus:
    """Open the model, and look up its symbols where it reads texts.

    Raises
    ------
    InputError, FormatError
        If the model cannot be opened, has no symbols to read a text by, or several LSTMs and none is chosen.
    """
    model = load(
        Path(opened.model), trust_pickle=opened.trust_pickle, trust_code=opened.trust_code,
        forget_bias=opened.forget_bias,
    )  # fmt: skip
    path = choose_lstm(model, opened.lstm)
    if kind == TABLE:
        return Corpus(opened, model, path, None)
    vocabulary = None if opened.vocabulary is None else read_vocabulary(Path(opened.vocabulary))
    return Corpus(opened, model, path, text_reader(model, lstm=path, vocabulary=vocabulary))


def find_files(given: Sequence[Path]) -> tuple[str, list[Path]]:
    """List the files of a corpus: those given, and all in the folders given, in the order of their paths.

    Parameters
    ----------
    given
        Files and folders; a folder whose name ends in ``.zarr`` is one table. Hidden files of a folder are left out.

    Returns
    -------
    kind, files
        ``"text"`` or ``"table"``, by suffix; absolute paths.

    Raises
    ------
    InputError
        If one is not there, is given twice, or texts and tables are mixed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("b.txt", "a.py", ".hidden"):
    ...         _ = Path(folder, name).write_text("x")
    ...     kind, files = find_files([Path(folder)])
    >>> kind, [file.name for file in files]
    ('text', ['a.py', 'b.txt'])
    """
    files: list[Path] = []
    for one in given:
        path = Path(os.path.abspath(one))
        if path.is_dir() and path.suffix.lower() != ZARR:
            inside = sorted(_files_in(path))
            if not inside:
                raise InputError(f"the folder {one} holds no file; give another")
            files += inside
        else:
            if not path.is_dir():
                require_file(path, InputError, "a file or folder of the corpus")
            files.append(path)
    if not files:
        raise InputError("there is no corpus; give files or folders of texts, or of tables")
    if twice := [str(path) for path, times in Counter(files).items() if times > 1]:
        raise InputError(f"the corpus has {listed(twice)} twice; give each file once")
    tables = [path for path in files if path.suffix.lower() in TABLES]
    if tables and len(tables) < len(files):
        other = next(path for path in files if path.suffix.lower() not in TABLES)
        raise InputError(f"the corpus mixes tables and texts, such as {tables[0]} and {other}; give one kind")
    return (TABLE if tables else TEXT), files


def named(file: CorpusFile, column: int, first: int) -> str:
    """Say where a sequence comes from."""
    if file.kind == TEXT:
        return f"{shown(file.path)} from byte {first:,}"
    side = f", sequence {column}" if file.sequences > 1 else ""
    return f"{shown(file.path)}{side} from step {first:,}"


def _files_in(folder: Path) -> Iterator[Path]:
    for above, folders, names in os.walk(folder):
        stores = [name for name in folders if name.lower().endswith(ZARR)]
        folders[:] = [name for name in folders if name not in stores and not name.startswith(".")]
        yield from (Path(above, name) for name in (*stores, *names) if not name.startswith("."))


# ---- texts -----------------------------------------------------------------------------------------------------------


def _hash_text(path: Path, reader: TextReader) -> tuple[int, str]:
    """Hash a text, and refuse what is no text or one for another model, as its beginning tells."""
    require_file(path, InputError, "a text")
    digest, decoder, size, start = hashlib.sha256(), codecs.getincrementaldecoder("utf-8-sig")(), 0, ""
    try:
        with path.open("rb") as file:
            while part := file.read(AT_ONCE):
                text = decoder.decode(part)
                start = start or _as_written(text)[:SAMPLE]
                digest.update(part)
                size += len(part)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (near byte {size + error.start:,}); expected a text") from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from None
    if start:
        try:
            reader.cut(start)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return size, digest.hexdigest()


def _read_text(file: CorpusFile, first: int, last: int, reader: TextReader) -> Piece:
    symbols = reader.symbols
    whole_words = not symbols.of_characters
    with open(file.path, "rb") as opened:
        if os.fstat(opened.fileno()).st_size != file.size:
            raise InputError(f"it has changed since the plan was made: it had {file.size:,} bytes")
        begin, end = (_cut_near(opened, place, file.size, whole_words) for place in (first, last))
        opened.seek(begin)
        content = opened.read(end - begin)
    try:
        text = _as_written(content.decode("utf-8-sig" if begin == 0 else "utf-8"))
    except UnicodeDecodeError:
        raise InputError("it has changed since the plan was made: it is no longer UTF-8 text") from None
    if not text:  # the piece lies within one character or word
        return Piece(None)
    try:
        cut = reader.cut(text, foreign=True)
        given = reader.read(text, cut, Path(file.path).name) if (cut.codes >= 0).any() else None
    except InputError as error:
        raise UnreadableError(str(error)) from None
    unknown = -1 if symbols.unknown is None else symbols.symbols.index(symbols.unknown)
    return Piece(given, cut.codes.size, int(((cut.codes < 0) | (cut.codes == unknown)).sum()))


def _as_written(text: str) -> str:
    return text.replace("\r\n", "\n")


def _cut_near(file: BinaryIO, place: int, size: int, whole_words: bool) -> int:
    """Give the first byte from a place on where a text may be cut: between characters, or behind a blank."""
    if place <= 0 or place >= size:
        return max(0, min(place, size))
    file.seek(place - 1)
    near = file.read(FURTHEST)
    if whole_words:
        found = next((k for k in range(len(near)) if near[k] in _BLANK and near[k : k + 2] != b"\r\n"), None)
        if found is not None:
            return place + found
        if place - 1 + len(near) >= size:
            return size
    k = 1
    while k < len(near) and (near[k] in _CONTINUES or near[k - 1 : k + 1] == b"\r\n"):
        k += 1
    return place - 1 + k


# ---- tables ----------------------------------------------------------------------------------------------------------


def _cut_table(whole: Input, column: int, steps: slice) -> Input:
    x = whole.x
    if isinstance(x, np.ndarray | Rows):
        return replace(whole, x=x[steps, column] if x.ndim == 3 else x[steps])
    one = x.isel({SEQUENCE: column}, drop=True) if SEQUENCE in x.dims else x
    return replace(whole, x=one.isel({TIME: steps}))


def stamp_of(path: Path) -> Stamp:
    """Name, size and time of change of a file, or of all files of a folder, to see whether anyone wrote it meanwhile.

    Raises
    ------
    OSError
        If it is not there.
    """
    return tuple((str(one), (known := one.stat()).st_size, known.st_mtime_ns) for one in _all_of(path))


def _all_of(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _hash_files(path: Path) -> tuple[int, str]:
    """Hash a file, or all files of a folder by their names in it."""
    digest, size = hashlib.sha256(), 0
    for one in _all_of(path):
        if one is not path:
            digest.update(os.fsencode(f"{one.relative_to(path)}\0{one.stat().st_size}\0"))
        with one.open("rb") as file:
            while part := file.read(AT_ONCE):
                digest.update(part)
                size += len(part)
    return size, digest.hexdigest()
