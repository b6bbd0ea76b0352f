"""What an LSTM module has besides weights: options as attributes, which may be set at any time."""

from typing import NamedTuple

from torch import nn

from tallycell.activations import activation
from tallycell.lstm.activations import Choice
from tallycell.parameters import ForgetGate

SLOTS = ("gate", "cell", "hidden")
DEFAULTS = {"gate": "sigmoid", "cell": "tanh", "hidden": "tanh"}
# A module in a slot lies elsewhere: the kernel runs none, so one may be as another.
_ATTRIBUTES = (
    "gate", "cell", "hidden", "gate_reverse", "cell_reverse", "hidden_reverse", "forget_gate", "peepholes", "clip_pre",
    "clip_cell", "bidirectional", "proj_size",
)  # fmt: skip


class Options(NamedTuple):
    """What an LSTM has besides weights; ``slots`` holds the choices for gate, cell and hidden, by direction."""

    slots: tuple[tuple[Choice, Choice, Choice], ...]
    forget_gate: ForgetGate
    peepholes: bool
    projection: bool
    clip_pre: float | None
    clip_cell: float | None


class AbstractLSTM(nn.LSTM):
    """An LSTM of torch with options besides torch's.

    Attributes
    ----------
    gate, cell, hidden
        The choice in each slot; ``gate_reverse`` and the like are there only where that direction has another.
    forget_gate, peepholes, clip_pre, clip_cell
        As of :class:`tallycell.LSTM`.
    """

    forget_gate: ForgetGate
    peepholes: bool
    clip_pre: float | None
    clip_cell: float | None
    _kernel = True  # False, on a class or an instance, runs the torch operations: to look for a fault in the kernel

    def _slot(self, slot: str, direction: int) -> Choice:
        reverse: Choice | None = getattr(self, f"{slot}_reverse", None) if direction else None
        choice: Choice = getattr(self, slot) if reverse is None else reverse
        return choice

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1


def options_of(lstm: nn.LSTM) -> Options:
    """Give the options of an LSTM of ours, or those that every one of torch has.

    Examples
    --------
    >>> options_of(nn.LSTM(2, 3, bidirectional=True)).slots[1][0].name
    'sigmoid'
    """
    if not isinstance(lstm, AbstractLSTM):
        slots: tuple[Choice, Choice, Choice] = (activation("sigmoid"), activation("tanh"), activation("tanh"))
        return Options((slots,) * (2 if lstm.bidirectional else 1), "own", False, bool(lstm.proj_size), None, None)
    choices = (tuple(lstm._slot(slot, direction) for slot in SLOTS) for direction in range(lstm._directions))
    return Options(
        tuple(choices),  # type: ignore[arg-type]
        lstm.forget_gate,
        lstm.peepholes,
        bool(lstm.proj_size),
        lstm.clip_pre,
        lstm.clip_cell,
    )


def attributes_of(lstm: nn.LSTM) -> tuple[object, ...]:
    """Give what the options are made of, as it is: while each is the same object, so are the options."""
    return tuple(map(lstm.__dict__.get, _ATTRIBUTES))


def may_run_on_kernel(lstm: nn.LSTM) -> bool:
    """Whether nobody has asked for torch operations."""
    return not isinstance(lstm, AbstractLSTM) or lstm._kernel
