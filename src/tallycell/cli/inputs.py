"""What a command is asked to read: a model, and something for it to read."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from tallycell.cli.needs import bytes_in_blocks, bytes_to_read, bytes_to_store
from tallycell.cli.options import Feeding, Opening, Source
from tallycell.errors import InputError
from tallycell.files import require_file
from tallycell.input import Input
from tallycell.loaders import LoadedModel
from tallycell.memory import require_memory
from tallycell.opening import TABLES, open_audio, open_table, open_text
from tallycell.parameters import LSTMParameters

if TYPE_CHECKING:
    import xarray as xr

KEPT = ("i", "f", "g", "o", "c", "h")  # of each step; x besides, where what was read has no other name
SHIPPED = files("tallycell") / "shipped"
SHIPPED_MODEL, SHIPPED_TEXT = "stdlib_characters.safetensors", "sample.txt"
SOURCES = {"text": "a text", "array": "an array or a table", "audio": "a WAV file"}
BESIDE = {
    "vocab": "a vocabulary", "scale": "a scaling", "state": "initial states", "quantities": "quantities",
}  # fmt: skip
GOES_WITH = {"vocab": "text", "time": "array", "scale": "array", "quantities": "array"}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model together with its input, ready to be recorded.

    Attributes
    ----------
    model
        What was opened.
    model_name
        How to call it.
    given
        What its LSTM reads.
    """

    model: LoadedModel
    model_name: str
    given: Input

    @property
    def parameters(self) -> LSTMParameters:
        """The LSTM that reads."""
        return self.model.lstm if self.given.lstm is None else self.model[self.given.lstm]

    @cached_property
    def in_blocks(self) -> bool:
        """Whether the input is long, and can be read block by block."""
        from tallycell.reading.blocks import reads_in_blocks

        return reads_in_blocks(self.parameters, self.given)

    def bytes_to_read(self, *, in_blocks: bool = False) -> int:
        """Bytes of memory that recording and reading every unit take.

        Raises
        ------
        InputError
            If this process may not use so many.
        """
        sizes = self.parameters, self._steps, self.given.x.shape[-1]
        if not in_blocks:
            return self._require("reading", bytes_to_read(*sizes))
        from tallycell.reading.blocks import steps_at_once

        at_once = steps_at_once(self.parameters, self.given)
        return self._require("reading", bytes_in_blocks(*sizes, at_once, self.given.x.nbytes))

    def bytes_to_store(self) -> int:
        """Bytes of memory that recording into a store takes.

        Raises
        ------
        InputError
            If this process may not use so many.
        """
        time, *sequences, features = self.given.x.shape
        return self._require("recording", bytes_to_store(self.parameters, math.prod(sequences), time, features))

    @property
    def _steps(self) -> int:
        return math.prod(self.given.x.shape[:-1])

    def _require(self, doing: str, needed: int) -> int:
        require_memory(needed, f"{doing} {self._steps:,} steps of {self.parameters.hidden_size:,} units")
        return needed

    def record(self) -> "xr.Dataset":
        """Run the model on the input. The trace keeps x only where it is what triggers are told by: for tables."""
        from tallycell.trace import Record, record_trace

        keep_x = self.given.tokens is None and self.given.legible
        return record_trace(self.model, self.given, record=Record(KEPT + ("x",) * keep_x))


def require_files(model: Path | None, source: Source) -> None:
    """Refuse a call that names a file which is not there, before anything else is said of it.

    Raises
    ------
    InputError
        If a file is not there, or is none that can be opened; a folder is left to whoever opens it.
    """
    named = [] if model is None else [(model, "a model file, or of a folder that holds one")]
    for path, what in (*named, *_named_by(source)):
        if not os.path.isdir(path):
            require_file(path, InputError, what)


def _named_by(source: Source) -> Iterator[tuple[Path, str]]:
    for name, what in (SOURCES | BESIDE).items():
        value = getattr(source, name)
        for path in value if isinstance(value, list) else [value]:
            if path is not None:
                yield path, what


def open_input(
    model: Path | None = None,
    source: Source | None = None,
    opening: Opening | None = None,
    feeding: Feeding | None = None,
) -> Subject:
    """Put together what ``tallycell read`` was asked for; the shipped model and text where nothing is.

    Raises
    ------
    InputError
        If a file is not there, or model and input do not fit together.
    """
    source, opening, feeding = source or Source(), opening or Opening(), feeding or Feeding()
    require_files(model, source)
    kind = _kind_of(source, model)
    if model is None:
        assert kind is not None  # it is text
        with as_file(SHIPPED / SHIPPED_MODEL) as path:
            loaded = opening.load(path)
        return Subject(loaded, "the shipped character model", _open(loaded, kind, source, feeding))
    loaded = opening.load(model)
    given = _own_strings(loaded, model) if kind is None else _open(loaded, kind, source, feeding)
    return Subject(loaded, model.name, given)


def _own_strings(loaded: LoadedModel, model: Path) -> Input:
    """Give a recogniser, which knows its alphabet, strings of its own machine."""
    if loaded.recogniser is None:
        raise InputError(f"{model} needs something to read: give --text FILE or --array FILE or --audio FILE")
    from tallycell.machine.checking.own_strings import own_strings

    return own_strings(loaded.recogniser)


def _kind_of(source: Source, model: Path | None) -> str | None:
    """Tell which of text, array and audio is given, if one is; refuse what does not go with it."""
    given = [name for name in SOURCES if getattr(source, name)]
    if len(given) > 1:
        raise InputError(f"got both --{given[0]} and --{given[1]}; give one of them")
    kind = given[0] if given else "text" if model is None else None
    if model is None and kind != "text":
        raise InputError(f"--{kind} needs a model: tallycell read MODEL --{kind} FILE")
    for option, wanted in GOES_WITH.items():
        if getattr(source, option) is not None and kind != wanted:
            raise InputError(f"--{option} goes with --{wanted}, and there is none; leave it out")
    return kind


def _open(model: LoadedModel, kind: str, source: Source, feeding: Feeding) -> Input:
    if kind == "text":
        given = _open_text(model, source, feeding)
    elif kind == "array":
        given = open_table(
            model, *(source.array or ()), time=source.time, quantities=source.quantities, scaling=source.scale,
            state=source.state, lstm=feeding.lstm,
        )  # fmt: skip
    else:
        assert source.audio is not None  # it is what was given
        given = open_audio(
            model, source.audio, lstm=feeding.lstm, rate=feeding.rate, chunk=feeding.chunk, context=feeding.context,
            state=source.state,
        )  # fmt: skip
    return given


def _open_text(model: LoadedModel, source: Source, feeding: Feeding) -> Input:
    if source.text is not None:
        return open_text(model, source.text, lstm=feeding.lstm, vocabulary=source.vocab, state=source.state)
    with as_file(SHIPPED / SHIPPED_TEXT) as path:
        given = open_text(model, path, lstm=feeding.lstm, state=source.state)
    return replace(given, name="the shipped sample")


def source_of(path: Path, source: Source) -> Source:
    """Tell by its suffix what a file is for a model: an array, a sound, else a text.

    Raises
    ------
    InputError
        If another one is given beside it.
    """
    if given := [name for name in SOURCES if getattr(source, name)]:
        raise InputError(f"got both {path} and --{given[0]}; give one of them")
    if path.suffix.lower() in TABLES:
        return replace(source, array=[path])
    return replace(source, audio=path) if path.suffix.lower() == ".wav" else replace(source, text=path)
