"""What a file gave: its LSTMs by path, what surrounds them, and the recogniser where it holds one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import MOST_LISTED, listed, quoted


@dataclass(frozen=True)
class Place:
    """What a file says of one LSTM besides its parameters.

    Attributes
    ----------
    operator
        What the format calls it: ``"LSTM"``, ``"DynamicQuantizeLSTM"``, ``"Bidirectional"``.
    stored_as
        The dtype of its weights in the file, where that is not the dtype of the parameters: ``"float16"``, ``"int8"``.
    reverse
        Whether it reads its sequence from the last step to the first.
    merge
        How a bidirectional layer of Keras joins its directions: ``"concat"``, ``"sum"``, ``"mul"`` or ``"ave"``; None
        where the directions are laid side by side or there is one.
    reads
        Name, in the model's graph, of what it reads; None if the format has no graph.
    state_inputs
        Names of the model's own inputs from which h_0 and c_0 come; None where they do not.
    """

    operator: str = "LSTM"
    stored_as: str | None = None
    reverse: bool = False
    merge: str | None = None
    reads: str | None = None
    state_inputs: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True, eq=False)
class Head:
    """The linear layer that reads h: ``activation(weight @ h + bias)``.

    Attributes
    ----------
    weight, bias
        (output, hidden) and (output,).
    activation
        As the file names it; None for none, or where the file does not tell.
    """

    weight: Float[np.ndarray, "output hidden"]
    bias: Float[np.ndarray, " output"] | None = None
    activation: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel(Mapping[str, LSTMParameters]):
    """The LSTMs of a file, a mapping from the path of their module (``""`` at the root) to their parameters.

    Attributes
    ----------
    stacks
        The mapping itself, in order of execution where the format tells, else in the order of the file; read-only.
    source
        The file.
    recogniser
        The network around the only LSTM, or None if the file does not hold one.
    places
        By path, what the file says of the LSTM besides its parameters.
    refused
        By path, why an LSTM of the file is not among the stacks.
    embedding
        One row a symbol, (symbol, feature), of the layer in front of the first LSTM; None if the file has none.
    vocabulary
        The symbols of the embedding or of the head, in order; None if the file does not tell.
    head
        The linear layer behind the last LSTM; None if the file has none.

    Examples
    --------
    >>> import numpy as np
    >>> parameters = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> model = LoadedModel({"encoder.lstm": parameters}, Path("model.pt"))
    >>> list(model)
    ['encoder.lstm']
    >>> model.lstm is model["encoder.lstm"]
    True
    >>> model.places["encoder.lstm"].operator
    'LSTM'
    """

    stacks: Mapping[str, LSTMParameters]
    source: Path
    recogniser: Recogniser | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    embedding: Float[np.ndarray, "symbol feature"] | None = None
    vocabulary: tuple[str, ...] | None = None
    head: Head | None = None

    def __post_init__(self) -> None:
        places = {path: self.places.get(path, Place()) for path in self.stacks}
        for name, mapping in (("stacks", self.stacks), ("places", places), ("refused", self.refused)):
            object.__setattr__(self, name, MappingProxyType(dict(mapping)))

    @property
    def lstm(self) -> LSTMParameters:
        """The only LSTM.

        Raises
        ------
        InputError
            If there are several; the text lists their paths.
        """
        if len(self.stacks) != 1:
            paths = listed(self.stacks)
            raise InputError(f"{self.source} holds {len(self.stacks)} LSTMs, at {paths}; choose one: model[path]")
        return next(iter(self.stacks.values()))

    def __getitem__(self, path: str) -> LSTMParameters:
        if path in self.refused:
            raise InputError(f"the LSTM at {quoted(path)} of {self.source} cannot be read: {self.refused[path]}")
        if path not in self.stacks:
            raise InputError(f"no LSTM at {quoted(path)}; {self.source} has them at {listed(self.stacks)}")
        return self.stacks[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stacks)

    def __len__(self) -> int:
        return len(self.stacks)

    def __contains__(self, path: object) -> bool:
        return path in self.stacks

    def get(self, path: str, default: Any = None) -> Any:
        """LSTM at a path, or the default if there is none."""
        return self.stacks.get(path, default)

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy does not pickle.
        values = (getattr(self, one.name) for one in fields(self))
        return LoadedModel, tuple(dict(value) if isinstance(value, Mapping) else value for value in values)

    def __repr__(self) -> str:
        stacks = (f"{quoted(path)}: {parameters!r}" for path, parameters in self.stacks.items())
        refused = (f"{quoted(path)} refused: {reason}" for path, reason in self.refused.items())
        parts = [f"{{{', '.join(_first(stacks, len(self.stacks), 'more'))}}}"]
        parts += [] if self.recogniser is None else [f"recogniser={self.recogniser!r}"]
        parts += [*_first(refused, len(self.refused), "more refused"), f"source={str(self.source)!r}"]
        return f"LoadedModel({', '.join(parts)})"


def _first(texts: Iterator[str], count: int, others: str) -> list[str]:
    """Give the first of some texts, and how many others there are."""
    rest = count - MOST_LISTED
    return [*islice(texts, MOST_LISTED), *([f"and {rest:,} {others}"] if rest > 0 else [])]
