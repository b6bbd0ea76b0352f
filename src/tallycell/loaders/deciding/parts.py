"""A recogniser put together from an LSTM, what it reads at each symbol, and the linear layer that reads it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import InputError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.loaders.deciding.decisions import Rule, linear_readout, rule_of
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.wording import quoted

MOST_SHORT, DRAWN, LONGEST = 500, 200, 60  # strings on which a rule is fitted, where none are given


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a model.

    Attributes
    ----------
    parameters
        Its LSTM.
    inputs
        What the LSTM reads at each symbol, (symbol, feature).
    weight, bias
        The linear layer that reads h of the last layer.
    h_0, c_0
        Initial states, (layer * direction, hidden); None for zeros.
    notes
        What was folded into the parts, one sentence each.
    """

    parameters: LSTMParameters
    inputs: Float[np.ndarray, "symbol feature"]
    weight: Float[np.ndarray, "output hidden"]
    bias: Float[np.ndarray, " output"]
    h_0: Float[np.ndarray, "layers hidden"] | None = None
    c_0: Float[np.ndarray, "layers unit"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Said:
    """What a caller says of a model: its symbols, outputs and rule, and strings that it is meant to read."""

    alphabet: tuple[str, ...]
    outputs: tuple[str, ...]
    rule: Rule
    strings: tuple[Sequence[str], ...] | None = None
    unknown: str | None = None

    @classmethod
    def of(
        cls, alphabet: Iterable[str], outputs: Iterable[str], decision: str,
        strings: Iterable[Sequence[str]] | None = None, unknown: str | None = None,
    ) -> "Said":  # fmt: skip
        """Check what is said.

        Raises
        ------
        InputError
            If names are no texts, come twice, or there are none; or the decision is none.
        """
        rule = rule_of(decision)
        for what, names in (("alphabet", tuple(alphabet)), ("outputs", tuple(outputs))):
            if not names or not all(isinstance(one, str) for one in names) or len(set(names)) < len(names):
                raise InputError(f"{what} is {quoted(names)}; expected distinct texts, at least one")
        return cls(tuple(alphabet), tuple(outputs), rule, None if strings is None else tuple(strings), unknown)


def put_together(parts: Parts, said: Said) -> tuple[Recogniser, tuple[str, ...]]:
    """Make the recogniser, and say what is to be known of it.

    Raises
    ------
    InputError
        If the parts do not fit what is said, or the rule has no linear one that is near it.
    """
    outputs = tuple(f"_{k}" for k in range(len(parts.weight)))
    open_ended = Recogniser(
        said.alphabet, parts.inputs, parts.parameters, parts.weight, parts.bias, outputs, "argmax", parts.h_0,
        parts.c_0, said.unknown,
    )  # fmt: skip
    h = h_on_strings(open_ended, said.strings) if said.rule.kind == "softmax" else np.zeros((0, parts.weight.shape[1]))
    readout = linear_readout(said.rule, open_ended.readout_weight, open_ended.readout_bias, said.outputs, h)
    made = replace(
        open_ended, readout_weight=readout.weight, readout_bias=readout.bias, outputs=said.outputs,
        decision=readout.decision,
    )  # fmt: skip
    return made, parts.notes + readout.notes


def h_on_strings(net: Recogniser, strings: Sequence[Sequence[str]] | None = None) -> Float[np.ndarray, "sample hidden"]:
    """Give what the readout reads after each symbol of strings; of usual strings if none are given."""
    codes = _usual_codes(len(net.alphabet)) if strings is None else [net.encode(one) for one in strings]
    if not any(map(len, codes)):
        raise InputError("strings holds no strings; give some that the model is meant to read, or None for usual ones")
    lengths = np.array(list(map(len, codes)))
    padded = np.zeros((int(lengths.max()), len(codes)), np.int64)
    for column, one in enumerate(codes):
        padded[: len(one), column] = one
    h = run_codes(net, padded, lengths)
    return h[np.arange(len(padded))[:, None] < lengths]


def run_codes(
    net: Recogniser, codes: Int[np.ndarray, "time sequence"], lengths: Int[np.ndarray, " sequence"] | None = None
) -> Float[np.ndarray, "time sequence hidden"]:
    """Run strings of symbol numbers on the kernel; h of the last layer, both directions side by side."""
    p, batch = net.parameters, codes.shape[1]
    states = p.num_layers * p.num_directions
    h_0 = np.zeros((states, p.output_size)) if net.h_0 is None else net.h_0
    c_0 = np.zeros((states, p.hidden_size)) if net.c_0 is None else net.c_0
    h, c = (np.repeat(one[:, None], batch, axis=1).astype(p.dtype) for one in (h_0, c_0))
    *_, last = run_stack(p, StackInput(net.inputs[codes], h, c, lengths))
    return np.concatenate([direction.h for direction in last], axis=-1)


def _usual_codes(symbols: int) -> list[Int[np.ndarray, " time"]]:
    """All short strings, and some of a few runs of symbols."""
    length = max((k for k in range(1, 11) if symbols**k <= MOST_SHORT), default=1)
    rng = np.random.default_rng(0)
    codes = [np.array(one) for one in product(range(symbols), repeat=length)]
    for _ in range(DRAWN):
        runs = int(rng.integers(1, 2 * symbols + 2))
        sizes = np.full(runs, rng.integers(1, 1 + LONGEST // runs))
        order = rng.permutation(symbols) if rng.random() < 0.5 else rng.integers(0, symbols, runs)
        codes.append(np.repeat(np.resize(order, runs), sizes))
    return codes
