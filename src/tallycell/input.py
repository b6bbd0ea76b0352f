"""What an LSTM reads, with everything that is known of it: one noun for a text, a table and a sound."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False, repr=False)
class Input:
    """What one LSTM reads, its labels, and where it came from.

    ``open_text``, ``open_table`` and ``open_audio`` make one; ``record_trace`` and ``read_units`` take it.

    Attributes
    ----------
    x
        What the LSTM reads, (time, feature) or (time, sequence, feature), already scaled, in the order in which the
        LSTM reads. The coordinates ``time``, ``sequence`` and ``feature`` of a DataArray are its labels: dates or
        seconds, names.
    name
        What to call it: the file it came from.
    about
        What it is, in words: "2,713 symbols, 1.2% of them unknown".
    tokens
        The symbol of each step, one list a sequence or the list of the only sequence; None where none are read.
    quantities
        Known quantities at each step, as ``read_units`` takes them; their attribute ``units`` is used in sentences.
    lengths, state
        Steps of each sequence and initial states, as ``record_trace`` takes them.
    lstm
        Path of the LSTM that reads it; None if the model has only one.
    reverse
        Whether everything was turned round because that LSTM reads from the last step to the first.
    step_seconds
        How long a step is, in seconds; None where that is not known.
    unknown_share
        Share of what was cut from a text that the model does not know: read as its unknown symbol, or left out where
        it has none; None where no text is read.
    legible
        Whether a feature of x means something by itself. What a model makes of a sound before its LSTM does not: a
        cell is then told by the quantities.
    notes
        What was done to it, or is missing, one sentence each: "scaled as in training, by ...".
    """

    x: "np.ndarray | xr.DataArray"
    name: str
    about: str
    tokens: list[Any] | None = None
    quantities: "Mapping[str, Any] | xr.Dataset" = field(default_factory=dict)
    lengths: np.ndarray | None = None
    state: tuple[np.ndarray, np.ndarray] | None = None
    lstm: str | None = None
    reverse: bool = False
    step_seconds: float | None = None
    unknown_share: float | None = None
    legible: bool = True
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Input({self.name!r}: {self.about})"
