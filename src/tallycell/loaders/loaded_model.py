"""What a file gave: its LSTMs by path, what surrounds them, and the recogniser where it holds one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from tallycell.activations import Activation, activation
from tallycell.errors import InputError
from tallycell.html_table import html_table
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.scaling import Scaling
from tallycell.wording import MOST_LISTED, listed, quoted, shown

_MOST_OF_A_NAME = 60  # characters that a repr shows
_AS_IT_IS = activation("identity")


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
    when
        Where not every run of the model reaches it, in which case it runs, in words: ``"if 'sr' equals 16000"``; None
        where it always runs or the format does not tell.
    """

    operator: str = "LSTM"
    stored_as: str | None = None
    reverse: bool = False
    merge: str | None = None
    reads: str | None = None
    state_inputs: tuple[str | None, str | None] = (None, None)
    when: str | None = None


@dataclass(frozen=True, eq=False)
class Head:
    """The linear layer that reads h: ``activation(weight @ shown(h) + bias)``.

    Attributes
    ----------
    weight, bias
        (output, hidden) and (output,).
    activation
        As the file names it; None for none, or where the file does not tell.
    shown
        What is made of each number of h before the layer reads it: ``relu`` in silero-vad.

    Examples
    --------
    >>> Head(np.ones((1, 2)), shown=activation("relu")).shown(np.array([0.5, -0.5]))
    array([0.5, 0. ])
    """

    weight: Float[np.ndarray, "output hidden"]
    bias: Float[np.ndarray, " output"] | None = None
    activation: str | None = None
    shown: Activation = _AS_IT_IS


@dataclass(frozen=True, eq=False)
class Front:
    """The linear layer whose output an LSTM reads: ``weight @ x + bias``.

    Attributes
    ----------
    names
        The path of its module; of several, where it is not known which of them it is.
    weight, bias
        (feature, width) and (feature,); of several layers None.
    embedding
        One row a symbol, (symbol, width), of the embedding that the layer reads; None if it reads something else.
    """

    names: tuple[str, ...]
    weight: Float[np.ndarray, "feature width"] | None = None
    bias: Float[np.ndarray, " feature"] | None = None
    embedding: Float[np.ndarray, "symbol width"] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel(Mapping[str, LSTMParameters]):
    """The LSTMs of a file, a mapping from the path of their module (``""`` at the root) to their parameters.

    Attributes
    ----------
    stacks
        The mapping itself, in order of execution where ``in_order``, else in the order of the file; read-only.
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
        The linear layer behind the last LSTM; None if the file has none, or several of which each run takes one.
    features
        Names of what the first LSTM reads, in the order of its input vector; None if the file does not tell.
    static
        Those of the features that do not change with time.
    scaling
        How raw values were scaled for the features (and targets) in training; None if the file does not tell.
    step
        Length of a time step as pandas writes it: ``"1h"``, ``"1D"``; None if the file does not tell.
    in_order
        Whether the stacks stand in the order in which they run.
    notes
        What of the file was not used and why, one sentence each.
    heads
        By path of the LSTM, the linear layer behind it, where each branch of the model has its own.
    front
        The linear layer in front of the first LSTM; None if there is none or the format does not tell.

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
    features: tuple[str, ...] | None = None
    static: tuple[str, ...] = ()
    scaling: Scaling | None = None
    step: str | None = None
    in_order: bool = False
    notes: tuple[str, ...] = ()
    heads: Mapping[str, Head] = field(default_factory=dict)
    front: Front | None = None

    def __post_init__(self) -> None:
        places = {path: self.places.get(path, Place()) for path in self.stacks}
        read_only = {"stacks": self.stacks, "places": places, "refused": self.refused, "heads": self.heads}
        for name, mapping in read_only.items():
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
            raise InputError(
                f"{self.source} holds {len(self.stacks)} LSTMs, at {self.paths_in_words()}; choose one: model[path]"
            )
        return next(iter(self.stacks.values()))

    def head_of(self, path: str) -> Head | None:
        """Linear layer behind the LSTM at a path; None if there is none, or it is not known.

        Examples
        --------
        >>> import numpy as np
        >>> one = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
        >>> model = LoadedModel({"a": one, "b": one}, Path("m.onnx"), head=Head(np.ones((1, 2))))
        >>> model.head_of("a"), model.head_of("b") is model.head
        (None, True)
        """
        is_last = self.head is not None and path == list(self.stacks)[-1]
        return self.head if is_last else self.heads.get(path)

    def paths_in_words(self) -> str:
        """Quote the paths of the LSTMs, with the case in which each runs: for an error that asks to choose one.

        Examples
        --------
        >>> import numpy as np
        >>> one = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
        >>> places = {"a": Place(when="if 'sr' equals 16000")}
        >>> LoadedModel({"a": one, "b": one}, Path("m.onnx"), places=places).paths_in_words()
        "'a' (if 'sr' equals 16000), 'b'"
        """
        said = (quoted(path) + (f" ({shown(place.when)})" if place.when else "") for path, place in self.places.items())
        return ", ".join(_first(said, len(self.places), "more"))

    def order_in_words(self) -> tuple[str, ...]:
        """Say in which order several LSTMs run, those that run in the same case together; nothing if it is not known.

        Examples
        --------
        >>> import numpy as np
        >>> one = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
        >>> LoadedModel({"a": one, "b": one}, Path("m.onnx"), in_order=True).order_in_words()
        ("first 'a', then 'b'",)
        """
        cases: dict[str | None, list[str]] = {}
        for path, place in self.places.items() if self.in_order else ():
            cases.setdefault(place.when, []).append(path)
        said = {
            when: ", then ".join(_first(map(quoted, paths), len(paths), "more"))
            for when, paths in cases.items()
            if len(paths) > 1
        }
        return tuple(f"{f'{shown(when)}: ' if when else ''}first {paths}" for when, paths in said.items())

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
        stacks = (f"{quoted(path, _MOST_OF_A_NAME)}: {parameters!r}" for path, parameters in self.stacks.items())
        refused = (
            f"{quoted(path, _MOST_OF_A_NAME)} refused: {shown(reason, _MOST_OF_A_NAME)}"
            for path, reason in self.refused.items()
        )
        parts = [f"{{{', '.join(_first(stacks, len(self.stacks), 'more'))}}}"]
        parts += [] if self.recogniser is None else [f"recogniser={self.recogniser!r}"]
        parts += [*_first(refused, len(self.refused), "more refused"), f"source={str(self.source)!r}"]
        return f"LoadedModel({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Give a table of what the file holds, which notebooks show in place of the ``repr``."""
        return html_table(f"{self.source.name}: {len(self)} LSTM{'' if len(self) == 1 else 's'}", self._rows())

    def _rows(self) -> Iterator[tuple[str, str]]:
        for path, parameters in islice(self.stacks.items(), MOST_LISTED):
            when = self.places[path].when
            yield path or "(root)", f"{parameters!r}{f', {when}' if when else ''}"
        for path, reason in islice(self.refused.items(), MOST_LISTED):
            yield path or "(root)", f"refused: {reason}"
        rest = max(len(self) - MOST_LISTED, 0) + max(len(self.refused) - MOST_LISTED, 0)
        if rest:
            yield "and", f"{rest:,} more"
        yield from (("order", text) for text in self.order_in_words()[:MOST_LISTED])
        if self.embedding is not None:
            yield "embedding", f"{len(self.embedding):,} symbols, {self.embedding.shape[1]:,} features each"
        if self.vocabulary is not None:
            yield "vocabulary", f"{len(self.vocabulary):,} symbols: {listed(self.vocabulary)}"
        if self.head is not None:
            yield "head", f"{len(self.head.weight):,} outputs"
        for path, head in islice(self.heads.items(), MOST_LISTED):
            yield f"head of {path or '(root)'}", f"{len(head.weight):,} outputs"
        if self.features is not None:
            yield "features", listed(self.features)
        if self.step is not None:
            yield "step", self.step
        yield from (("note", note) for note in self.notes[:MOST_LISTED])


def _first(texts: Iterator[str], count: int, others: str) -> list[str]:
    """Give the first of some texts, and how many others there are."""
    rest = count - MOST_LISTED
    return [*islice(texts, MOST_LISTED), *([f"and {rest:,} {others}"] if rest > 0 else [])]
