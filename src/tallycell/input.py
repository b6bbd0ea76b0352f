"""What an LSTM reads, with everything that is known of it: one noun for a text, a table and a sound."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Rows of a table by their numbers: what an LSTM reads of a text, without holding a row for every step.

    Wherever an array is wanted it is one; an index gives the array that it would give of one.

    Attributes
    ----------
    table
        One row a symbol.
    codes
        The number of the row at each step.

    Examples
    --------
    >>> rows = Rows(np.eye(3), np.array([2, 0, 0]))
    >>> rows
    Rows(3 x 3, float64)
    >>> rows[1:].tolist(), np.asarray(rows).shape
    ([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], (3, 3))
    """

    table: Float[np.ndarray, "symbol feature"]
    codes: Int[np.ndarray, " time"]

    def __repr__(self) -> str:
        return f"Rows({len(self):,} x {self.table.shape[1]}, {self.dtype})"

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the array that this stands for: (time, feature)."""
        return len(self), self.table.shape[1]

    @property
    def ndim(self) -> int:
        """How many dimensions that array has."""
        return 2

    @property
    def dtype(self) -> np.dtype:
        """Of its values."""
        return self.table.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that are held; the table, which many texts share, is not counted."""
        return self.codes.nbytes

    def __getitem__(self, key: Any) -> Any:
        steps, *rest = key if isinstance(key, tuple) else (key,)
        if steps is Ellipsis or steps is None:
            return np.asarray(self)[key]
        here = self.table[self.codes[steps]]
        return here[(slice(None),) * (here.ndim - 1) + tuple(rest)] if rest else here

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Rows are copied where they become an array")
        found: np.ndarray = self.table[self.codes]
        return found if dtype is None else found.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False, repr=False)
class Input:
    """What one LSTM reads, its labels, and where it came from.

    ``open_text``, ``open_table`` and ``open_audio`` make one; ``record_trace`` and ``read_units`` take it.

    Attributes
    ----------
    x
        What the LSTM reads, (time, feature) or (time, sequence, feature), already scaled, in the order in which the
        LSTM reads; of a text :class:`Rows`, of which ``np.asarray`` makes an array. The coordinates ``time``,
        ``sequence`` and ``feature`` of a DataArray are its labels: dates or seconds, names.
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

    x: "np.ndarray | Rows | xr.DataArray"
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
