"""A whole small network that decides about symbols: alphabet, LSTM, linear readout, decision rule."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Literal, get_args

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
                raise ParameterError(
                    f"the {name} of a recogniser must be distinct symbols, at least one; got {quoted(found)}"
                )
        if self.decision not in get_args(Decision):
            raise ParameterError(f"decision is {quoted(self.decision)}; it is 'argmax' or 'threshold'")
        if self.unknown is not None and self.unknown not in self.alphabet:
            raise ParameterError(f"the unknown symbol {quoted(self.unknown)} is not in the alphabet")

    @classmethod
    def from_torch(
        cls,
        module: Any,
        *,
        alphabet: Iterable[str],
        outputs: Iterable[str],
        decision: str = "argmax",
        strings: Iterable[Sequence[str]] | None = None,
        unknown: str | None = None,
    ) -> "Recogniser":
        """Make the recogniser of a trained module of torch: layers, one ``torch.nn.LSTM``, linear layers.

        The parts are found by running the module on strings, and must give what it gives to within 1e-5; else the layer
        that does something else is named. What stands in front of the LSTM (an embedding, linear layers) is folded into
        what it reads at each symbol, several linear layers behind it into one. The log ``tallycell`` says what was.

        Parameters
        ----------
        module
            The module. Its forward takes symbol numbers, (batch, time), or one-hot vectors, (batch, time, symbol), or
            either with the first two axes exchanged; it is run in eval mode.
        alphabet
            The symbols, in the order of their numbers.
        outputs
            What the outputs of its last layer stand for, in their order.
        decision
            ``"argmax"``: the largest; ``"threshold"``: every one above 0 (``"sigmoid above P"`` for another
            probability); ``"softmax above P"``: every one whose probability is above P, for which planes are fitted,
            exactly or but for a few of the decisions on the strings, which the log states; ``"classes"``: as
            ``"argmax"``, and of a single output that tells two classes apart the second where it is above 0.
        strings
            Strings that the module is meant to read, on which planes are fitted; None for short and drawn ones.
        unknown
            The symbol that stands for every symbol outside the alphabet.

        Raises
        ------
        InputError
            If the module cannot be run, is no such network, or what is said of it does not fit.

        Examples
        --------
        >>> import torch
        >>> class Tagger(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embedding, self.lstm = torch.nn.Embedding(2, 3), torch.nn.LSTM(3, 4, batch_first=True)
        ...         self.out = torch.nn.Linear(4, 2)
        ...     def forward(self, numbers):
        ...         return self.out(self.lstm(self.embedding(numbers))[0])
        >>> Recogniser.from_torch(Tagger(), alphabet="ab", outputs=("no", "yes"))
        Recogniser(2 symbols, LSTMParameters(input_size=3, hidden_size=4, dtype=float32), 2 outputs, decision='argmax')
        """
        return _made_of("torch", module, alphabet, outputs, decision, strings, unknown)

    @classmethod
    def from_loaded(
        cls,
        model: Any,
        *,
        alphabet: Iterable[str] | None = None,
        outputs: Iterable[str],
        decision: str = "argmax",
        strings: Iterable[Sequence[str]] | None = None,
        unknown: str | None = None,
        lstm: str | None = None,
    ) -> "Recogniser":
        """Make the recogniser of a model file, from what :func:`tallycell.load` gave.

        Parameters
        ----------
        model
            The loaded model: an LSTM, the embedding or linear layer in front of it, the linear layer behind it. A file
            does not say what the code of a model does between them: of a module, :meth:`from_torch` finds that out.
        alphabet
            The symbols, in the order of the embedding's rows; None for the vocabulary of the file.
        outputs, decision, strings, unknown
            As of :meth:`from_torch`.
        lstm
            Path of the LSTM, where there are several.

        Raises
        ------
        InputError
            If the model has no linear layer behind the LSTM, or what is said of it does not fit.

        Examples
        --------
        >>> import dataclasses, pathlib
        >>> from tallycell.loaders import Head, LoadedModel
        >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.zeros((8, 2))})
        >>> model = LoadedModel({"": lstm}, pathlib.Path("model.npz"), head=Head(np.ones((1, 2))))
        >>> Recogniser.from_loaded(model, alphabet="ab", outputs=["yes"], decision="threshold").outputs
        ('yes',)
        """
        if alphabet is None:
            alphabet = getattr(model, "vocabulary", None) or ()
        return _made_of("loaded", model, alphabet, outputs, decision, strings, unknown, lstm=lstm)

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


def _made_of(what: str, model: object, *said: object, **more: object) -> Recogniser:
    """Call ``tallycell.loaders.deciding.made_of_WHAT``: that room stands above, and is loaded when it is asked for."""
    made: Recogniser = getattr(import_module("tallycell.loaders.deciding"), f"made_of_{what}")(model, *said, **more)
    return made


def _same_state(ours: np.ndarray | None, theirs: np.ndarray | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return np.array_equal(ours, theirs)
