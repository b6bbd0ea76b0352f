"""Models with an embedding and a vocabulary around their LSTMs: from a text to what an LSTM of theirs reads."""

import re
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import InputError
from tallycell.loaders import LoadedModel, Place
from tallycell.parameters import LSTMParameters
from tallycell.wording import quoted

UNKNOWN = ("<unknown>", "<unk>", "<UNK>", "[UNK]", "UNK", "unk")  # how vocabularies call what they do not have
MOST_LEFT_OUT = 0.25  # share of a text that may be left out


def symbols_of(
    loaded: LoadedModel, model_name: str
) -> tuple[tuple[str, ...], Float[np.ndarray, "symbol feature"], str | None]:
    """Symbols of a model, what its first LSTM reads for each, and the one that stands for all others, or None.

    Raises
    ------
    InputError
        If the file has no embedding or does not name its symbols, or they are words.
    """
    if loaded.embedding is None:
        raise InputError(f"{model_name} has no alphabet, so it cannot read a text; give its input with --array")
    symbols = loaded.vocabulary
    if symbols is None or len(symbols) != len(loaded.embedding):
        found = "does not name the symbols" if symbols is None else f"names {len(symbols)} symbols"
        raise InputError(
            f"{model_name} has an embedding of {len(loaded.embedding)} symbols and {found}; give the rows of the "
            "embedding that your text would read, with --array"
        )
    if 2 * sum(len(symbol) == 1 for symbol in symbols) < len(symbols):
        raise InputError(
            f"the symbols of {model_name} are not characters ({quoted(symbols[-1])} is one); give the rows of its "
            "embedding that your text would read, with --array"
        )
    return symbols, loaded.embedding, next((one for one in UNKNOWN if one in symbols), None)


def encode(text: str, symbols: tuple[str, ...], unknown: str | None) -> Int[np.ndarray, " time"]:
    """Index of each character among the symbols; -1 for one that is none of them, unless one stands for all others.

    Raises
    ------
    InputError
        If more than a quarter of the characters would be -1: it is a text for another model.
    """
    index = {symbol: code for code, symbol in enumerate(symbols)}
    other = -1 if unknown is None else index[unknown]
    codes = np.array([index.get(character, other) for character in text], dtype=np.int64)
    share = float(np.mean(codes < 0))
    if share > MOST_LEFT_OUT:
        known = "".join(sorted(symbol for symbol in symbols if len(symbol) == 1))
        raise InputError(
            f"{share:.0%} of the text are characters that the model does not know; it knows {quoted(known)}"
        )
    return codes


def run_up_to(
    loaded: LoadedModel, path: str, x: Float[np.ndarray, "time feature"]
) -> Float[np.ndarray, "time feature"]:
    """Run the layers in front of an LSTM on the input of the first, where they are layers of one stack.

    Raises
    ------
    InputError
        If the embedding is not what the first one reads, or one does not read what the one before gives out.
    """
    paths = list(loaded)
    first = loaded[paths[0]]
    if first.input_size != x.shape[1]:
        raise InputError(
            f"the embedding gives {x.shape[1]} numbers a symbol, the LSTM at {quoted(paths[0])} reads "
            f"{first.input_size}; something stands between, so give the input of the LSTM with --array"
        )
    for before, after in pairwise(paths[: paths.index(path) + 1]):
        if reason := _why_not_chained(loaded, before, after):
            raise InputError(
                f"what the LSTM at {quoted(after)} reads is not known to be the output of the one at {quoted(before)} "
                f"({reason}); give its input with --array"
            )
        x = _output(loaded[before], loaded.places[before], x)
    return x


def _why_not_chained(loaded: LoadedModel, before: str, after: str) -> str:
    """Reason for which one LSTM is not taken for the layer behind another; empty if it is."""
    if _without_number(before) != _without_number(after):
        return "their names differ in more than a number"
    if loaded.places[before].reverse or loaded.places[after].reverse:
        return "one of them reads from the last step"
    given = _output_size(loaded[before], loaded.places[before])
    if given != loaded[after].input_size:
        return f"the one gives {given} numbers, the other reads {loaded[after].input_size}"
    return ""


def _without_number(path: str) -> str:
    return re.sub(r"[_.]?\d+", "", path)


def _output_size(parameters: LSTMParameters, place: Place) -> int:
    return parameters.output_size * (1 if place.merge in ("sum", "mul", "ave") else parameters.num_directions)


def _output(
    parameters: LSTMParameters, place: Place, x: Float[np.ndarray, "time feature"]
) -> Float[np.ndarray, "time feature"]:
    """Give h of the last layer, its directions joined as the place says."""
    from tallycell.trace import Record, record_trace

    h = record_trace(parameters, x, record=Record("h"))["h"].isel(layer=-1, sequence=0)
    directions = h.transpose("direction", "time", ...).to_numpy()
    joined: dict[str | None, np.ndarray] = {
        "sum": directions.sum(0),
        "mul": directions.prod(0),
        "ave": directions.mean(0),
    }
    return joined.get(place.merge, np.concatenate(directions, axis=-1))
