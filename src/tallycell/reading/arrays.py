"""Values that are arrays only, so that they can be written, sent and added by the names of their fields."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Self

import numpy as np

from tallycell.errors import FormatError
from tallycell.wording import listed


class ArrayFields:
    """A frozen dataclass whose fields are arrays."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Make a value of what :meth:`to_arrays` gave.

        Raises
        ------
        FormatError
            If an array is missing.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        if missing := [name for name in names if name not in arrays]:
            raise FormatError(
                f"the arrays lack {listed(missing)}, so they are not those of {cls.__name__}; give what to_arrays gave"
            )
        return cls(**{name: np.asarray(arrays[name]) for name in names})


def store_texts(texts: Sequence[str]) -> np.ndarray:
    r"""Make an array of texts. Each gets a mark behind it, since NumPy leaves out a 0 that a text ends with.

    Examples
    --------
    >>> read_texts(store_texts(["a", "", "b\0"]))
    ('a', '', 'b\x00')
    """
    return np.array([f"{text}." for text in texts]) if len(texts) else np.zeros(0, "U1")


def read_texts(stored: np.ndarray) -> tuple[str, ...]:
    """Undo :func:`store_texts`."""
    return tuple(text[:-1] for text in stored.tolist())
