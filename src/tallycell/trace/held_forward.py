"""A live LSTM with gates or states held: what stands in for its forward while a capture with holds is open."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError, TallycellError
from tallycell.kernels.hold import Hold
from tallycell.trace.cell_steps import CellSteps, check_cell_hold, hold_at_step
from tallycell.wording import quoted

if TYPE_CHECKING:
    from torch import nn

_LOCK = threading.Lock()  # over putting in and taking out

Held = Mapping[tuple[int, int], Mapping[str, Float[np.ndarray, "time sequence unit"]]]


class HeldCall(NamedTuple):
    """What was held in a call.

    Attributes
    ----------
    values
        By layer and direction, by letter: (time, sequence, unit), NaN where a unit was free; one sequence where all
        had the same.
    holds
        What asked for it.
    goes_on
        Whether the states it began with are the very tensors that an earlier call gave.
    """

    values: Held
    holds: tuple[Hold, ...]
    goes_on: bool


@dataclass(eq=False)
class _Block:
    """One open capture: what it holds in a module, and the steps that a cell has made since it was opened."""

    holds: tuple[Hold, ...]
    steps: CellSteps = field(default_factory=CellSteps)


class HeldForward:
    """Stands in an LSTM for its forward, and runs it with what the open captures hold.

    Parameters
    ----------
    module
        A ``torch.nn.LSTM``, ``torch.nn.LSTMCell`` or ``tallycell.LSTM``.
    path
        Where it stands in the model, for errors.
    """

    def __init__(self, module: "nn.Module", path: str) -> None:
        from torch.utils.weak import WeakTensorKeyDictionary

        self.blocks: list[_Block] = []
        self.thread = threading.get_ident()
        self._module: Any = module
        self._path = path
        self._last = threading.local()
        self._given: Any = WeakTensorKeyDictionary()  # h of earlier calls

    @property
    def last(self) -> HeldCall:
        """What was held in the last call of this thread."""
        call: HeldCall = self._last.call
        return call

    def __call__(self, input: Any, hx: Any = None) -> Any:
        """Run the module once, as its own forward would with nothing held."""
        from torch import nn

        holds = tuple(chain.from_iterable(block.holds for block in self.blocks))
        try:
            _refuse_graphs()
            is_cell = isinstance(self._module, nn.LSTMCell)
            returned, values = (self._run_cell if is_cell else self._run_stack)(input, hx, holds)
        except TallycellError as error:
            raise type(error)(f"LSTM at {quoted(self._path)}: {error}") from None
        goes_on = hx is not None and hx[0] in self._given
        self._given[returned[0] if is_cell else returned[1][0]] = True
        self._last.call = HeldCall(values, holds, goes_on)
        return returned

    def _run_stack(self, input: Any, hx: Any, holds: tuple[Hold, ...]) -> tuple[Any, Held]:
        from tallycell.lstm.held import held_in_call
        from tallycell.lstm.sequences import Sequences
        from tallycell.lstm.stack import run_stack

        at_mean = [hold.gate for hold in holds if isinstance(hold.value, str)]
        if at_mean and len(Sequences.read(input, self._module.batch_first).batch_sizes) == 1:
            raise InputError(  # each step of a loop would be held at what it is
                f"a hold of {at_mean[0]} asks for the mean, and the call has one step; give the number, taken from a "
                "trace of whole sequences in which nothing is held"
            )
        values = held_in_call(self._module, input, hx, holds)
        output, states, _ = run_stack(self._module, input, hx, (), values)
        return (output, states), values

    def _run_cell(self, input: Any, hx: Any, _: tuple[Hold, ...]) -> tuple[Any, Held]:
        from tallycell.lstm.stack import read_cell, run_cell

        x, states = read_cell(self._module, input, hx)
        blocks = list(self.blocks)
        steps = [block.steps.of(hx if states is None else tuple(hx), len(x)) for block in blocks]
        values = self._held_in_step(blocks, np.stack(steps))
        returned = run_cell(self._module, input, hx, values.get((0, 0), {}))
        for block, of_block in zip(blocks, steps, strict=True):
            block.steps.note(returned, of_block)
        return returned, values

    def _held_in_step(self, blocks: Sequence[_Block], steps: np.ndarray) -> Held:
        """Values held in one step of a cell; its sequences may have come to different steps, (block, sequence)."""
        from tallycell.lstm.held import held_at

        sequences = steps.shape[1]
        different, which = np.unique(steps, axis=1, return_inverse=True)
        found: dict[str, np.ndarray] = {}
        for number, column in enumerate(different.T):
            each = [hold_at_step(hold, int(k)) for block, k in zip(blocks, column, strict=True) for hold in block.holds]
            there = held_at(self._module, [hold for hold in each if hold is not None], 1, sequences)
            if different.shape[1] == 1:
                return there
            rows = which.reshape(-1) == number
            for letter, values in there.get((0, 0), {}).items():
                whole = found.setdefault(letter, np.full((1, sequences, values.shape[-1]), np.nan))
                whole[:, rows] = np.broadcast_to(values, whole.shape)[:, rows]
        return {(0, 0): found} if found else {}

    def __reduce__(self) -> Any:
        # A copy of the model is not in the block, so nothing is held in it.
        return _own_forward, (self._module,)


def _own_forward(module: "nn.Module") -> MethodType:
    return MethodType(type(module).forward, module)


def _refuse_graphs() -> None:
    """Refuse to be written into a graph, which would hold for ever, or silently not at all."""
    import torch

    if (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    ):
        raise InputError(
            "a hold cannot enter a graph that torch traces, compiles or exports, nor functorch's transforms; run the "
            "model itself inside the with block"
        )


def held_in(module: "nn.Module") -> HeldCall | None:
    """Give what was held in the call that a module has just made; None where nothing holds."""
    forward = module.__dict__.get("forward")
    return forward.last if isinstance(forward, HeldForward) else None


def require_holdable(module: "nn.Module", holds: Sequence[Hold]) -> None:
    """Refuse what cannot be held in a module, before it runs.

    Raises
    ------
    InputError
        If the module's forward is not torch's or ours, or a hold names a layer, direction or unit that is not there,
        or asks a cell for what only whole sequences have.

    Examples
    --------
    >>> import torch
    >>> require_holdable(torch.nn.LSTM(3, 5), [Hold("f", 1.0, units=[7])])
    Traceback (most recent call last):
    tallycell.errors.InputError: a hold names unit 7; there are 5, counted from 0
    """
    from torch import nn

    from tallycell.lstm import LSTM
    from tallycell.lstm.held import held_at

    assert isinstance(module, nn.LSTM | nn.LSTMCell)
    standing = module.__dict__.get("forward")
    plain = type(module).forward in (nn.LSTM.forward, nn.LSTMCell.forward, LSTM.forward)
    is_own = getattr(standing, "__func__", None) is type(module).forward  # of a copy that was made inside a block
    if not plain or not (standing is None or is_own or isinstance(standing, HeldForward)):
        raise InputError(
            f"a {type(module).__name__} with a forward of its own, which a hold cannot enter; it can enter those of "
            "torch.nn.LSTM, torch.nn.LSTMCell and tallycell.LSTM"
        )
    for hold in holds:
        if isinstance(module, nn.LSTMCell):
            check_cell_hold(hold)
        held_at(module, [replace(hold, value=0.0, steps=slice(None))], 1, 1)


@contextmanager
def holding(module: "nn.Module", path: str, holds: tuple[Hold, ...]) -> Iterator[None]:
    """Hold in a module what its forward computes, while the block is open; blocks inside add to it, and come last.

    Raises
    ------
    InputError
        If another thread holds in the same module: each would have what the other holds.
    """
    block = _Block(holds)
    with _LOCK:
        forward = module.__dict__.get("forward")
        if not isinstance(forward, HeldForward):
            forward = module.__dict__["forward"] = HeldForward(module, path)
        elif forward.thread != threading.get_ident():
            raise InputError(
                f"the LSTM at {quoted(path)} is held by a capture in another thread; give each thread a copy of the "
                "model, or let one wait for the other"
            )
        forward.blocks.append(block)
    try:
        yield
    finally:
        with _LOCK:
            forward.blocks.remove(block)
            if not forward.blocks and module.__dict__.get("forward") is forward:
                del module.__dict__["forward"]
