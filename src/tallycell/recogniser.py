"""A whole small network that decides about symbols: alphabet, LSTM, linear readout, decision rule."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import InputError, ParameterError
from tallycell.parameters import LSTMParameters
from tallycell.wording import quoted

Decision = Literal["argmax", "threshold"]


@dataclass(frozen=True, eq=False, repr=False)
class Recogniser:
    """An LSTM with an alphabet in front and a linear readout behind; it needs no torch.

    Attributes
    ----------
    alphabet
        The symbols, each a string, usually one character.
    inputs
        One input vector a symbol, (symbol, feature).
    parameters
        The LSTM.
    readout_weight, readout_bias
        Logits = readout_weight @ h + readout_bias, with h of the last layer, both directions laid end to end:
        (output, hidden) and (output,).
    outputs
        What each logit stands for.
    decision
        ``"argmax"``: the output of the largest logit; ``"threshold"``: every output whose logit is above 0.
    h_0, c_0
        Initial states, (layer * direction, hidden) and (layer * direction, unit); zeros if None.
    unknown
        The symbol that stands for every symbol outside the alphabet, or None if such a symbol is an error.

    Raises
    ------
    ParameterError
        If the parts do not fit together.
    """

    alphabet: tuple[str, ...]
    inputs: Float[np.ndarray, "symbol feature"]
    parameters: LSTMParameters
    readout_weight: Float[np.ndarray, "output hidden"]
    readout_bias: Float[np.ndarray, " output"]
    outputs: tuple[str, ...]
    decision: Decision = "argmax"
    h_0: Float[np.ndarray, "layers hidden"] | None = None
    c_0: Float[np.ndarray, "layers unit"] | None = None
    unknown: str | None = None

    def __post_init__(self) -> None:
        p = self.parameters
        states = p.num_layers * p.num_directions
        symbols, outputs = len(self.alphabet), len(self.outputs)
        expected: dict[str, tuple[int, ...]] = {
            "inputs": (symbols, p.input_size),
            "readout_weight": (outputs, p.output_size * p.num_directions),
            "readout_bias": (outputs,),
            "h_0": (states, p.output_size),
            "c_0": (states, p.hidden_size),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is None and name in ("h_0", "c_0"):
                continue
            array = np.array(array, dtype=p.dtype)
            if array.shape != shape:
                raise ParameterError(f"{name} of the recogniser has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ParameterError(f"{name} of the recogniser has values that are NaN or infinite")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        for name in ("alphabet", "outputs"):
            found = tuple(getattr(self, name))
            object.__setattr__(self, name, found)
            if len(set(found)) < len(found) or not found:
                raise ParameterError(f"the {name} of a recogniser must be distinct symbols, at least one; got {found}")
        if self.decision not in get_args(Decision):
            raise ParameterError(f"decision is {quoted(self.decision)}; it is 'argmax' or 'threshold'")
        if self.unknown is not None and self.unknown not in self.alphabet:
            raise ParameterError(f"the unknown symbol {quoted(self.unknown)} is not in the alphabet")

    def encode(self, symbols: Sequence[str]) -> Int[np.ndarray, " time"]:
        """Index of each symbol in the alphabet; symbols outside become ``unknown``.

        Raises
        ------
        InputError
            If a symbol is outside the alphabet and there is no ``unknown``.
        """
        index = {symbol: k for k, symbol in enumerate(self.alphabet)}
        other = None if self.unknown is None else index[self.unknown]
        codes = [index.get(symbol, other) for symbol in symbols]
        if None in codes:
            symbol = symbols[codes.index(None)]
            raise InputError(
                f"symbol {quoted(symbol)} at position {codes.index(None)} is not in the alphabet "
                f"{quoted(self.alphabet)}"
            )
        return np.array(codes, dtype=np.int64)

    def decide(self, h: Float[np.ndarray, "*batch hidden"]) -> np.ndarray:
        """Decision on each h of the last layer.

        Returns
        -------
        ndarray
            For ``"argmax"`` the index of the output, ``(*batch,)``; for ``"threshold"`` whether each output is chosen,
            ``(*batch, output)``.
        """
        logits = self.logits(h)
        return logits.argmax(-1) if self.decision == "argmax" else logits > 0

    def logits(self, h: Float[np.ndarray, "*batch hidden"]) -> Float[np.ndarray, "*batch output"]:
        """Readout of each h of the last layer, dimensionless."""
        logits: np.ndarray = h @ self.readout_weight.T + self.readout_bias
        return logits

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recogniser):
            return NotImplemented
        names = ("alphabet", "outputs", "decision", "unknown", "parameters")
        return all(getattr(self, name) == getattr(other, name) for name in names) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("inputs", "readout_weight", "readout_bias")
        ) and all(_same_state(getattr(self, name), getattr(other, name)) for name in ("h_0", "c_0"))  # fmt: skip

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        # A pickled array comes back writeable; made anew it is not.
        return Recogniser, tuple(getattr(self, one.name) for one in fields(self))

    def __repr__(self) -> str:
        return (
            f"Recogniser({len(self.alphabet)} symbols, {self.parameters!r}, {len(self.outputs)} outputs, "
            f"decision={self.decision!r})"
        )


def _same_state(ours: np.ndarray | None, theirs: np.ndarray | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return np.array_equal(ours, theirs)
