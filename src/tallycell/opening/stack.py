"""LSTMs in a stack: what one reads is what the ones before it give out."""

import re
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.input import Rows
from tallycell.loaders import LoadedModel, Place
from tallycell.parameters import LSTMParameters
from tallycell.wording import quoted

INSTEAD = "give the input of the LSTM as an array (--array)"


def run_up_to(loaded: LoadedModel, path: str, x: Rows) -> Rows | Float[np.ndarray, "time feature"]:
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
            f"{first.input_size}; something stands between, so {INSTEAD}"
        )
    read: Rows | np.ndarray = x
    for before, after in pairwise(paths[: paths.index(path) + 1]):
        if reason := _why_not_chained(loaded, before, after):
            raise InputError(
                f"what the LSTM at {quoted(after)} reads is not known to be the output of the one at {quoted(before)} "
                f"({reason}); {INSTEAD}"
            )
        read = _output(loaded[before], loaded.places[before], np.asarray(read))
    return read


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
