"""What a command is asked to read: a model, and something for it to read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tallycell.errors import FormatError, InputError
from tallycell.loaders import LoadedModel, load
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

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
        Its input, an array or a DataArray.
    model_name, input_name
        How to call them.
    tokens
        The symbol of each step, or None for an array.
    quantities
        Known quantities of the text.
    unknown_share
        Share of symbols outside the alphabet, or None for an array.
    """

    model: LSTMParameters | Recogniser
    x: "np.ndarray | xr.DataArray"
    model_name: str
    input_name: str
    tokens: list[str] | None = None
    quantities: Mapping[str, np.ndarray] = field(default_factory=dict)
    unknown_share: float | None = None

    @property
    def parameters(self) -> LSTMParameters:
        """The LSTM itself."""
        return self.model.parameters if isinstance(self.model, Recogniser) else self.model

    def record(self) -> "xr.Dataset":
        """Run the model on the input; the trace keeps x only where it is what triggers are told by."""
        from tallycell.trace import Record, record_trace

        variables = ("i", "f", "g", "o", "c", "h") if self.tokens is not None else Record().variables
        return record_trace(self.model, self.x, record=Record(variables))


def open_input(model: Path | None, text: Path | None, array: Path | None) -> Subject:
    """Put together what ``tallycell read`` was asked for.

    Raises
    ------
    InputError
        If model and input do not fit together.
    """
    if text is not None and array is not None:
        raise InputError("got both --text and --array; give one of them")
    if array is not None:
        if model is None:
            raise InputError("--array needs a model: tallycell read MODEL --array FILE")
        return open_array(model, array)
    if text is None and model is not None:
        raise InputError(f"{model} needs something to read: give --text FILE or --array FILE")
    return open_text(model, text)


def open_text(model: Path | None, text: Path | None) -> Subject:
    """Open a recogniser and a text; the shipped ones where None is given.

    Raises
    ------
    InputError
        If the model has no alphabet, or the text cannot be read.
    """
    loaded, model_name = _open_model(model)
    if loaded.recogniser is None:
        raise InputError(f"{model_name} has no alphabet, so it cannot read a text; give its input with --array")
    written = (SHIPPED / SHIPPED_TEXT).read_text(encoding="utf-8") if text is None else _read_text(text)
    return _text_subject(loaded.recogniser, written, model_name, "the shipped sample" if text is None else text.name)


def _text_subject(recogniser: Recogniser, text: str, model_name: str, input_name: str) -> Subject:
    from tallycell.reading import text_quantities

    codes = recogniser.encode(text)
    tokens = [recogniser.alphabet[code] for code in codes.tolist()]
    unknown = float(np.mean([token == recogniser.unknown for token in tokens]))
    return Subject(recogniser, recogniser.inputs[codes], model_name, input_name, tokens, text_quantities(text), unknown)


def open_array(model: Path, array: Path) -> Subject:
    """Open an LSTM and an array of its inputs.

    Raises
    ------
    InputError
        If the array cannot be read.
    """
    loaded, model_name = _open_model(model)
    readers: dict[str, Callable[[Path], np.ndarray | xr.DataArray]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".csv": _read_csv,
    }
    if array.suffix not in readers:
        raise InputError(f"{array} is no array that can be read; expected a name ending in {', '.join(readers)}")
    _require_file(array)
    return Subject(loaded.recogniser or loaded.lstm, readers[array.suffix](array), model_name, array.name)


def _open_model(model: Path | None) -> tuple[LoadedModel, str]:
    if model is not None:
        return load(model), model.name
    with as_file(SHIPPED / SHIPPED_MODEL) as path:
        return load(path), "the shipped character model"


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is not there, or is no file; check the path")


def _read_text(path: Path) -> str:
    _require_file(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); convert it first") from None
    if not text:
        raise InputError(f"{path} is empty; give a text with at least one character")
    return text.replace("\r\n", "\n")


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path} is not a NumPy array file without pickles: {error}") from None
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{path} holds several arrays; give it the suffix .npz")
    return array


def _read_npz(path: Path) -> np.ndarray:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            name = "x" if "x" in names else names[0] if len(names) == 1 else None
            if name is None:
                raise InputError(f"{path} holds the arrays {', '.join(names) or '(none)'}; name the input x")
            array: np.ndarray = archive[name]
            return array
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise FormatError(f"{path} is not an archive of NumPy arrays without pickles: {error}") from None


def _read_csv(path: Path) -> "xr.DataArray":
    """One row a step, one column a feature; a first row that is no numbers names the features."""
    import pandas as pd
    import xarray as xr

    try:
        first = pd.read_csv(path, header=None, nrows=1, skipinitialspace=True)
        named = first.dtypes.map(lambda dtype: dtype.kind not in "iuf").any()
        table = pd.read_csv(path, header=0 if named else None, skipinitialspace=True)
        table = table if len(table) else table.astype(np.float64)  # so that it is refused as empty, not as words
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise FormatError(f"{path} is not a table of comma-separated values: {error}") from None
    if words := [str(name) for name, dtype in table.dtypes.items() if dtype.kind not in "iufb"]:
        raise InputError(f"column {words[0]!r} of {path} holds something that is no number; leave it out or convert it")
    names = {"feature": [str(name).lstrip("# ") for name in table.columns]} if named else {}  # NumPy writes "# a,b"
    return xr.DataArray(table.to_numpy(dtype=np.float64), dims=("time", "feature"), coords=names)
