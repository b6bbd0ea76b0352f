"""What a file gave: its LSTMs by path, and the recogniser around them where it holds one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tallycell.errors import InputError
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel(Mapping[str, LSTMParameters]):
    """The LSTMs of a file, a mapping from the path of their module (``""`` at the root) to their parameters.

    Attributes
    ----------
    stacks
        The mapping itself, in the order of the file; read-only.
    source
        The file.
    recogniser
        The network around the only LSTM, or None if the file does not hold one.

    Examples
    --------
    >>> import numpy as np
    >>> parameters = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> model = LoadedModel({"encoder.lstm": parameters}, Path("model.pt"))
    >>> list(model)
    ['encoder.lstm']
    >>> model.lstm is model["encoder.lstm"]
    True
    """

    stacks: Mapping[str, LSTMParameters]
    source: Path
    recogniser: Recogniser | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stacks", MappingProxyType(dict(self.stacks)))

    @property
    def lstm(self) -> LSTMParameters:
        """The only LSTM.

        Raises
        ------
        InputError
            If there are several; the text lists their paths.
        """
        if len(self.stacks) != 1:
            paths = ", ".join(map(repr, self.stacks)) or "(none)"
            raise InputError(f"{self.source} holds {len(self.stacks)} LSTMs, at {paths}; choose one: model[path]")
        return next(iter(self.stacks.values()))

    def __getitem__(self, path: str) -> LSTMParameters:
        if path not in self.stacks:
            raise InputError(f"no LSTM at {path!r}; {self.source} has them at {', '.join(map(repr, self.stacks))}")
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
        return LoadedModel, (dict(self.stacks), self.source, self.recogniser)

    def __repr__(self) -> str:
        parts = [f"{path!r}: {parameters!r}" for path, parameters in self.stacks.items()]
        around = "" if self.recogniser is None else f", recogniser={self.recogniser!r}"
        return f"LoadedModel({{{', '.join(parts)}}}{around}, source={str(self.source)!r})"
