"""What lives from one step to the next: h and c of all layers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from tallycell.errors import FormatError, InputError, MissingExtraError, ParameterError
from tallycell.files import first_bytes, write_file
from tallycell.parameters import LayerParameters, LSTMParameters
from tallycell.wording import one_line

VERSION = 1
_KEY, _FORMAT = "tallycell", "lstm_state"


@dataclass(frozen=True, eq=False, repr=False)
class LSTMState:
    """The state of an LSTM that reads forward: h and c of every layer and sequence.

    Frozen: a step makes a new one, so that an old one may be kept, saved or returned to.

    Attributes
    ----------
    h
        Hidden state, dimensionless, in torch's shape of ``h_n``; (layer, hidden) is taken as one sequence.
    c
        Cell state, likewise. Both are copied, read-only, and both float32 or both float64.

    Raises
    ------
    InputError
        If h and c do not fit together, or have NaN or infinite values.

    Examples
    --------
    >>> state = LSTMState(np.ones((1, 2, 3)), np.ones((1, 2, 3)))
    >>> state
    LSTMState(layers=1, sequences=2, h of 3, c of 3, float64)
    >>> state.reset(sequences=[1]).c[0]
    array([[1., 1., 1.],
           [0., 0., 0.]])
    """

    h: Float[np.ndarray, "layer sequence hidden"]
    c: Float[np.ndarray, "layer sequence unit"]

    def __post_init__(self) -> None:
        for name in ("h", "c"):
            given = np.asarray(getattr(self, name))
            if given.dtype not in (np.float32, np.float64):
                raise InputError(f"{name} of the state has dtype {given.dtype}; expected float32 or float64")
            given = given[:, None] if given.ndim == 2 else given
            if given.ndim != 3 or given.size == 0:
                raise InputError(f"{name} of the state has shape {given.shape}; expected (layer, sequence, unit)")
            if not np.isfinite(given).all():
                raise InputError(f"{name} of the state has NaN or infinite values; start anew with LSTMState.zeros")
            object.__setattr__(self, name, _read_only(np.array(given, order="C")))
        if self.h.shape[:2] != self.c.shape[:2] or self.h.dtype != self.c.dtype:
            raise InputError(
                f"h has shape {self.h.shape} and dtype {self.h.dtype}, c {self.c.shape} and {self.c.dtype}; expected "
                "the same layers, sequences and dtype"
            )

    @classmethod
    def zeros(cls, parameters: LSTMParameters, sequences: int = 1) -> "LSTMState":
        """Make the state in which an LSTM starts.

        Raises
        ------
        ParameterError
            If the LSTM is bidirectional.
        InputError
            If ``sequences`` is not at least 1.

        Examples
        --------
        >>> ones = {"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.ones((8, 2))}
        >>> LSTMState.zeros(LSTMParameters(ones), sequences=3).h.shape
        (1, 3, 2)
        """
        require_one_direction(parameters)
        if isinstance(sequences, bool) or not isinstance(sequences, int | np.integer) or sequences < 1:
            raise InputError(f"sequences is {sequences!r}; expected a whole number, at least 1")
        h, c = (
            np.zeros((parameters.num_layers, sequences, size), parameters.dtype)
            for size in (parameters.output_size, parameters.hidden_size)
        )
        return owned_state(h, c)

    @classmethod
    def from_torch(cls, states: Any) -> "LSTMState":
        """Copy torch's ``(h_n, c_n)``, with or without a sequence dimension.

        Raises
        ------
        InputError
            If they do not make a state; a bidirectional one is refused by the step, which knows the LSTM.
        """
        if not isinstance(states, tuple | list) or len(states) != 2:
            raise InputError(f"cannot read a state from a {type(states).__name__}; expected the tensors (h_n, c_n)")
        try:
            h, c = (one.detach().cpu().numpy() for one in states)
        except (AttributeError, TypeError) as error:
            raise InputError(f"cannot read a state ({one_line(error)}); expected the tensors (h_n, c_n)") from None
        return cls(h, c)

    def to_torch(self) -> tuple[Any, Any]:
        """Copy to tensors ``(h_n, c_n)``, as ``torch.nn.LSTM`` takes them.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        """
        try:
            import torch
        except ModuleNotFoundError as missing:
            raise MissingExtraError("torch", "torch") from missing
        return torch.from_numpy(self.h.copy()), torch.from_numpy(self.c.copy())

    @property
    def sequences(self) -> int:
        """Number of sequences that run side by side."""
        return int(self.h.shape[1])

    def reset(self, sequences: Sequence[int] | None = None) -> "LSTMState":
        """Give the state with zeros in some sequences, in all if not said which; the others go on.

        Raises
        ------
        InputError
            If there is no such sequence.
        """
        rows = sequence_numbers(sequences, self.sequences)
        h, c = self.h.copy(), self.c.copy()
        h[:, rows], c[:, rows] = 0, 0
        return owned_state(h, c)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state to a safetensors file, bit for bit; whole, or not at all.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        words = {_KEY: json.dumps({"version": VERSION, "format": _FORMAT})}
        write_file(Path(path), to_bytes({"h": self.h, "c": self.c}, words))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "LSTMState":
        """Read a state that :meth:`save` wrote. Whether it fits an LSTM is checked when one uses it.

        Raises
        ------
        FormatError
            If the file is missing, damaged, or does not hold a state.
        """
        path = Path(path)
        first_bytes(path, 1)
        try:
            with safe_open(path, framework="numpy") as file:
                words = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
            raise FormatError(f"{path} cannot be read as a state: {one_line(error)}") from None
        if not isinstance(words, dict) or words.get("format") != _FORMAT or arrays.keys() != {"h", "c"}:
            raise FormatError(f"{path} does not hold the state of an LSTM; expected a file that LSTMState.save wrote")
        if words.get("version") != VERSION:
            raise FormatError(
                f"{path} is of version {words.get('version')}; this tallycell reads version {VERSION}: install a "
                "newer one"
            )
        try:
            return cls(**arrays)
        except InputError as error:
            raise FormatError(f"{path}: {error}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LSTMState):
            return NotImplemented
        return self.h.dtype == other.h.dtype and np.array_equal(self.h, other.h) and np.array_equal(self.c, other.c)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        # A pickled array comes back writeable; made anew it is not.
        return LSTMState, (self.h, self.c)

    def __repr__(self) -> str:
        layers, sequences, hidden = self.h.shape
        return (
            f"LSTMState(layers={layers}, sequences={sequences}, h of {hidden}, c of {self.c.shape[2]}, {self.h.dtype})"
        )


def owned_state(
    h: Float[np.ndarray, "layer sequence hidden"], c: Float[np.ndarray, "layer sequence unit"]
) -> LSTMState:
    """Make a state of arrays that nobody else holds and that are known to be right: no copy, no check."""
    state = LSTMState.__new__(LSTMState)
    object.__setattr__(state, "h", _read_only(h))
    object.__setattr__(state, "c", _read_only(c))
    return state


def require_one_direction(parameters: object) -> None:
    """Refuse what cannot be streamed.

    Raises
    ------
    InputError
        If it is not ``LSTMParameters``.
    ParameterError
        If the LSTM is bidirectional.
    """
    if not isinstance(parameters, LSTMParameters):
        raise InputError(
            f"cannot stream a {type(parameters).__name__}; expected LSTMParameters: recogniser.parameters, "
            "tallycell.LSTM's to_parameters(), or tallycell.load(path).lstm"
        )
    if parameters.bidirectional:
        raise ParameterError(
            "a bidirectional LSTM cannot be streamed: its second direction starts at the end of the sequence; use "
            "record_trace on whole sequences, or an LSTM of one direction"
        )


def require_state(state: object, layers: Sequence[LayerParameters]) -> LSTMState:
    """Give the state if it is one of an LSTM with these layers.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(state, LSTMState):
        raise InputError(
            f"the state is a {type(state).__name__}; expected an LSTMState: LSTMState.zeros(parameters) at the start, "
            "then what the last step returned (LSTMState.from_torch reads torch's (h_n, c_n))"
        )
    (count, _, hidden), units, dtype = state.h.shape, state.c.shape[2], state.h.dtype
    first = layers[0]
    expected = (len(layers), first.output_size, first.hidden_size, first.weight_ih.dtype)
    if (count, hidden, units, dtype) != expected:
        raise InputError(
            f"got {state!r}; this LSTM has layers={expected[0]}, h of {expected[1]}, c of {expected[2]}, "
            f"{expected[3]}: the state is another network's"
        )
    return state


def sequence_numbers(chosen: Sequence[int] | None, sequences: int) -> np.ndarray:
    """Numbers of the chosen sequences, all if None; negative ones count from the end.

    Raises
    ------
    InputError
        If there is no such sequence.
    """
    if chosen is None:
        return np.arange(sequences)
    try:
        numbers = np.asarray(chosen if np.size(chosen) else np.arange(0))
    except ValueError:  # lists of different length
        numbers = np.empty(0, dtype=object)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(f"cannot reset sequences={chosen!r}; give a list of their numbers, or nothing for all")
    if (outside := (numbers < -sequences) | (numbers >= sequences)).any():
        raise InputError(f"cannot reset sequence {numbers[outside][0]}; there are {sequences}, counted from 0")
    return numbers


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
