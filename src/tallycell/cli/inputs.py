"""What a command is asked to read: a model, and something for it to read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tallycell.cli.arrays import ARRAY_READERS, read_array
from tallycell.cli.options import Feeding, Opening, Source
from tallycell.errors import InputError
from tallycell.files import read_text, require_file
from tallycell.loaders import LoadedModel
from tallycell.memory import require_memory
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import listed

if TYPE_CHECKING:
    import xarray as xr

SHIPPED = files("tallycell") / "shipped"
SHIPPED_MODEL, SHIPPED_TEXT = "stdlib_characters.safetensors", "sample.txt"


@dataclass(frozen=True, eq=False)
class Subject:
    """A model together with its input, ready to be recorded.

    Attributes
    ----------
    model
        What runs.
    x
        Its input, an array or a DataArray, in the order in which the LSTM reads it.
    model_name, input_name
        How to call them.
    tokens
        The symbol of each step, or None where none are read.
    quantities
        Known quantities of the text or the sound.
    unknown_share
        Share of symbols outside the alphabet, or None where none are read.
    left_out
        Whether those were left out, because the model has no symbol that stands for them.
    heard, step_seconds
        What was heard, in words, and how long a step of it is; None where it is no sound.
    path
        Which LSTM of the model this is, or None if it has only one.
    reverse
        Whether x, tokens and quantities were turned round because the LSTM reads from the last step.
    state, lengths
        Initial states and steps of each sequence, as :func:`~tallycell.trace.record_trace` takes them.
    """

    model: LSTMParameters | Recogniser
    x: "np.ndarray | xr.DataArray"
    model_name: str
    input_name: str
    tokens: list[str] | None = None
    quantities: Mapping[str, np.ndarray] = field(default_factory=dict)
    unknown_share: float | None = None
    left_out: bool = False
    heard: str | None = None
    step_seconds: float | None = None
    path: str | None = None
    reverse: bool = False
    state: tuple[np.ndarray, np.ndarray] | None = None
    lengths: np.ndarray | None = None

    @property
    def parameters(self) -> LSTMParameters:
        """The LSTM itself."""
        return self.model.parameters if isinstance(self.model, Recogniser) else self.model

    def bytes_needed(self, *, to_read: bool) -> int:
        """Bytes of memory that recording takes, and reading every unit after it where that is wanted.

        Raises
        ------
        InputError
            If this process may not use so many.
        """
        from tallycell.cli.needs import bytes_to_read, bytes_to_record

        *steps, features = self.x.shape
        count = bytes_to_read if to_read else bytes_to_record
        needed = count(self.parameters, math.prod(steps), features)
        doing = "reading" if to_read else "recording"
        require_memory(needed, f"{doing} {math.prod(steps):,} steps of {self.parameters.hidden_size:,} units")
        return needed

    def record(self, *, keep_x: bool | None = None) -> "xr.Dataset":
        """Run the model on the input.

        Parameters
        ----------
        keep_x
            Whether the trace keeps x; by default only where it is what triggers are told by, which is for arrays.
        """
        from tallycell.trace import Record, record_trace

        named = self.tokens is not None or self.heard is not None
        variables = Record().variables if (not named if keep_x is None else keep_x) else ("i", "f", "g", "o", "c", "h")
        return record_trace(self.model, self.x, self.state, lengths=self.lengths, record=Record(variables))

    def placed(self, loaded: LoadedModel, path: str) -> "Subject":
        """Say which LSTM of a file this is, and turn everything round where it reads from the last step."""
        named = replace(self, path=path if len(loaded) + len(loaded.refused) > 1 else None)
        if not loaded.places[path].reverse:
            return named
        return replace(
            named,
            x=self.x[::-1],
            tokens=None if self.tokens is None else self.tokens[::-1],
            quantities={name: values[::-1] for name, values in self.quantities.items()},
            reverse=True,
        )


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
        If model and input do not fit together.
    """
    source, opening, feeding = source or Source(), opening or Opening(), feeding or Feeding()
    given = [name for name in ("text", "array", "audio") if getattr(source, name) is not None]
    if len(given) > 1:
        raise InputError(f"got both --{given[0]} and --{given[1]}; give one of them")
    if model is None:
        if given and given[0] != "text":
            raise InputError(f"--{given[0]} needs a model: tallycell read MODEL --{given[0]} FILE")
        with as_file(SHIPPED / SHIPPED_MODEL) as path:
            return open_text(opening.load(path), source.text, "the shipped character model", feeding)
    if not given:
        raise InputError(f"{model} needs something to read: give --text FILE or --array FILE or --audio FILE")
    loaded = opening.load(model)
    if source.text is not None:
        return open_text(loaded, source.text, model.name, feeding)
    if source.array is not None:
        return open_array(loaded, source.array, model.name, feeding)
    from tallycell.cli.audio import open_audio

    assert source.audio is not None  # one of the three is given
    return open_audio(loaded, source.audio, model.name, feeding)


def source_of(path: Path) -> Source:
    """Tell by its suffix what a file is for a model: an array, a sound, else a text."""
    if path.suffix in ARRAY_READERS:
        return Source(array=path)
    return Source(audio=path) if path.suffix.lower() == ".wav" else Source(text=path)


def choose_lstm(loaded: LoadedModel, wanted: str | None) -> str:
    """Path of the LSTM that was asked for, or of the only one.

    Raises
    ------
    InputError
        If there are several and none was asked for, or there is none at the path.
    """
    if wanted is not None:
        loaded[wanted]  # refuses a path that is not there, or says why it cannot be read
        return wanted
    if len(loaded) == 1:
        return next(iter(loaded))
    paths = listed(loaded)
    raise InputError(f"{loaded.source} holds {len(loaded)} LSTMs, at {paths}; choose one with --lstm PATH")


def open_array(loaded: LoadedModel, array: Path, model_name: str, feeding: Feeding) -> Subject:
    """Put an LSTM and an array of its inputs together.

    Raises
    ------
    InputError, FormatError
        If the array cannot be read, or the LSTM cannot be chosen.
    """
    path = choose_lstm(loaded, feeding.lstm)
    return Subject(loaded.recogniser or loaded[path], read_array(array), model_name, array.name).placed(loaded, path)


def open_text(loaded: LoadedModel, text: Path | None, model_name: str, feeding: Feeding) -> Subject:
    """Put a model that knows its symbols and a text together; the shipped text if None.

    Raises
    ------
    InputError
        If the model does not know its symbols, or the text cannot be read.
    """
    path = choose_lstm(loaded, feeding.lstm)
    rows = loaded.embedding if loaded.recogniser is None else loaded.recogniser.inputs
    written = (SHIPPED / SHIPPED_TEXT).read_text(encoding="utf-8") if text is None else _read_text(text, rows)
    input_name = "the shipped sample" if text is None else text.name
    from tallycell.reading import text_quantities

    quantities = text_quantities(written)
    if loaded.recogniser is not None:
        one = loaded.recogniser
        codes = one.encode(written)
        tokens = [one.alphabet[code] for code in codes.tolist()]
        share = float(np.mean([token == one.unknown for token in tokens]))
        return Subject(one, one.inputs[codes], model_name, input_name, tokens, quantities, share).placed(loaded, path)
    from tallycell.cli.symbols import encode, run_up_to, symbols_of

    symbols, rows, unknown = symbols_of(loaded, model_name)
    codes = encode(written, symbols, unknown)
    known = codes >= 0
    tokens = [symbols[code] for code in codes[known].tolist()]
    return Subject(
        loaded[path], run_up_to(loaded, path, rows[codes[known]]), model_name, input_name, tokens,
        {name: values[known] for name, values in quantities.items()},
        unknown_share=float(np.mean([token == unknown for token in tokens])) if unknown else 1 - float(known.mean()),
        left_out=unknown is None,
    ).placed(loaded, path)  # fmt: skip


def _read_text(path: Path, rows: np.ndarray | None) -> str:
    """Read a text, if there is memory for it and for the row that the model reads of each of its characters."""
    from tallycell.cli.needs import CHARACTER

    size = require_file(path, InputError, "a text").st_size
    a_character = CHARACTER + (0 if rows is None else rows[0].nbytes)
    require_memory(a_character * size, f"reading the {size:,} bytes of {path}")
    text = read_text(path, InputError, "a text")
    if not text:
        raise InputError(f"{path} is empty; give a text with at least one character")
    return text.replace("\r\n", "\n")
