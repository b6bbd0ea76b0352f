"""A recogniser from what a file gave: its LSTM, the layers around it, and what the caller says of them."""

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.loaders.deciding.parts import Parts, Said, put_together
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import listed, quoted


def recogniser_from_loaded(
    model: LoadedModel, said: Said, lstm: str | None = None
) -> tuple[Recogniser, tuple[str, ...]]:
    """Put a recogniser together from a loaded model; see :meth:`tallycell.Recogniser.from_loaded`.

    Raises
    ------
    InputError
        If the model has several LSTMs and none is chosen, no linear layer behind it, or does not fit what is said.
    """
    if not isinstance(model, LoadedModel):
        raise InputError(
            f"got a {type(model).__name__}; expected what tallycell.load gives (of a module: Recogniser.from_torch)"
        )
    parameters = model.lstm if lstm is None else model[lstm]
    path = next(iter(model)) if lstm is None else lstm
    if model.places[path].reverse:
        raise InputError(
            f"the LSTM of {model.source} reads its sequence from the last step to the first; a recogniser does not"
        )
    head = _head(model, path, parameters)
    bias = np.zeros(len(head.weight)) if head.bias is None else head.bias
    inputs, notes = _inputs(model, path, said)
    return put_together(Parts(parameters, inputs, head.weight, bias, notes=notes), said)


def _head(model: LoadedModel, path: str, parameters: LSTMParameters) -> Head:
    head = model.head_of(path)
    width = parameters.output_size * parameters.num_directions
    if head is None:
        raise InputError(
            f"{model.source} has no linear layer behind its LSTM that tallycell knows of, or several; give the module "
            "(Recogniser.from_torch), or yours: dataclasses.replace(model, head=Head(weight, bias))"
        )
    if head.shown.name != "identity":
        raise InputError(
            f"{quoted(head.shown.name)} stands between the LSTM of {model.source} and its linear layer; a recogniser "
            "has a linear layer there and nothing else"
        )
    if head.weight.ndim != 2 or head.weight.shape[1] != width:
        raise InputError(
            f"the linear layer of {model.source} reads {head.weight.shape[-1]} numbers, and its LSTM gives {width}; "
            "something stands between"
        )
    return head


def _inputs(model: LoadedModel, path: str, said: Said) -> tuple[Float[np.ndarray, "symbol feature"], tuple[str, ...]]:
    """Give what the LSTM reads at each symbol; a linear layer in front of it is folded in."""
    if path != next(iter(model)):
        return _rows(None, model[path].input_size, model, said), ()
    front = model.front
    if front is None:
        return _rows(model.embedding, model[path].input_size, model, said), ()
    if front.weight is None:
        raise InputError(
            f"{model.source} has several layers in front of its LSTM, {listed(front.names)}; give the module, whose "
            "parts are found by running it: Recogniser.from_torch"
        )
    rows = _rows(front.embedding, front.weight.shape[1], model, said).astype(float) @ front.weight.T.astype(float)
    note = f"{listed(front.names)} (Linear) in front of the LSTM is folded into what it reads at each symbol"
    return rows if front.bias is None else rows + front.bias, (note,)


def _rows(table: np.ndarray | None, width: int, model: LoadedModel, said: Said) -> Float[np.ndarray, "symbol width"]:
    """Give the row of each symbol: of an embedding, or, if there is none, one-hot vectors."""
    alphabet, where = said.alphabet, model.source
    if table is None and width != len(alphabet):
        raise InputError(
            f"the LSTM of {where} reads vectors of {width:,} numbers, the alphabet has {len(alphabet):,} symbols, "
            f"{listed(alphabet)}, and no embedding is in front of it that tallycell knows of; name as many symbols as "
            "it reads numbers, or give the module: Recogniser.from_torch"
        )
    if table is not None and len(table) != len(alphabet):
        raise InputError(
            f"the embedding of {where} has {len(table):,} rows, and the alphabet {len(alphabet):,} symbols, "
            f"{listed(alphabet)}; name the symbol of each row, in their order"
        )
    return np.eye(width) if table is None else table
