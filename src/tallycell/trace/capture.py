"""Record every LSTM inside a model of torch while the model runs: as it is, or with gates and states held."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import xarray as xr

from tallycell.errors import InputError, TallycellError
from tallycell.kernels.hold import Hold, read_holds
from tallycell.loaders.torch.objects import is_module, lstm_modules
from tallycell.trace.held_forward import holding, require_holdable
from tallycell.trace.watched import Watched
from tallycell.wording import listed, quoted

if TYPE_CHECKING:
    from torch import nn


class Captured(Mapping[str, xr.Dataset]):
    """The traces of a model's LSTMs, a mapping from the path of the module (``""`` at the root), as far as it ran.

    A trace is computed when it is first asked for, from copies of what the module read.
    """

    def __init__(self, watched: Mapping[str, Watched]) -> None:
        self._watched = watched

    def __getitem__(self, path: str) -> xr.Dataset:
        if path not in self._watched:
            raise InputError(f"no LSTM at {quoted(path)}; the model has them at {listed(self._watched)}")
        if not self._watched[path].calls:
            raise InputError(f"the LSTM at {quoted(path)} was not called; run the model inside the with block")
        try:
            return self._watched[path].trace()
        except TallycellError as error:
            raise type(error)(f"LSTM at {quoted(path)}: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return (path for path, watched in self._watched.items() if watched.calls)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, path: object) -> bool:
        return path in set(self)

    def __repr__(self) -> str:
        calls = (f"{quoted(path)}: {watched.calls} calls" for path, watched in self._watched.items())
        return f"Captured({', '.join(calls)})"


@contextmanager
def capture(
    model: "nn.Module", *, hold: Hold | Iterable[Hold] | Mapping[str, Hold | Iterable[Hold]] = ()
) -> Iterator[Captured]:
    """Record every ``torch.nn.LSTM``, ``torch.nn.LSTMCell`` and ``tallycell.LSTM`` inside a model while it runs.

    With nothing held the model computes what it computes without: inputs, states and outputs are copied, and the gates
    recomputed afterwards by tallycell's own kernel, in float32 or float64, with the weights as they were at the call.
    The h that comes out is held against the module's own.

    Parameters
    ----------
    model
        Any module of torch, an LSTM itself too; in eval or train mode, on any device.
    hold
        Gates or states to hold at a value while the block is open. They take part in the model's own forward, in all
        that follows from it, and in gradients: what is held is a constant, so no gradient goes through it to what it
        stands for. Where the model has several LSTMs, a mapping from the path of each to its holds.

        In an LSTM, the steps of a hold are those of the input of each call. A call of an LSTMCell is one step: step k
        is the k-th call of a sequence, counted from 0, row by row; a call whose state came out of an earlier call in
        this block goes on counting. Sequences are the rows of a call. ``"mean"`` is that of the same call of an LSTM
        in which nothing is held; a cell, or an LSTM that is called for single steps, knows no mean.

    Yields
    ------
    Captured
        A mapping from the path of a module that was called to its trace, as :func:`~tallycell.record_trace` makes it.
        It can be read inside the block and after it.

        A call whose state is bit for bit one that came out of an earlier call, row by row, continues that sequence:
        calls of an LSTMCell become the steps of one. Any other call begins new sequences, as do zeros, a bidirectional
        LSTM, and weights that have changed. The coordinates ``call`` and ``row`` of each sequence say where it began.

    Raises
    ------
    InputError
        If the model is no module or holds no LSTM; if a hold names what is not there; when the model runs, if a hold
        does not fit its input; later, when a trace is asked for whose module was not called, or gave other values than
        its equations: a subclass or a parallel stream that does something else.

    Notes
    -----
    Dropout between the layers of a stack in train mode is drawn a second time from the same random numbers, so that
    what is traced is what the layers read; this is possible on the CPU only, and an error elsewhere. A trace then keeps
    h as the layer gave it, before dropout.

    What does not go through a module's call is not seen: ``module.forward(x)``, ``torch.jit`` and compiled graphs.

    A module in which something is held runs tallycell's operations in place of torch's, so that what is free agrees
    with torch to rounding. Its forward is put back when the block ends, however it ends. Blocks may stand inside each
    other: holds add up, and where two hold the same, the inner one does. Backward passes that run parts of the model
    again (checkpointing) belong inside the block.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 3), torch.nn.LSTM(3, 5, batch_first=True))
    >>> with capture(model) as traces:
    ...     output, _ = model(torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]))
    >>> dict(traces["1"].f.sizes)
    {'layer': 1, 'direction': 1, 'sequence': 2, 'time': 4, 'unit': 5}
    >>> with capture(model, hold=Hold("c", 0.5, units=[3])) as traces:
    ...     _, (_, c) = model(torch.tensor([[1, 2, 3, 4]]))
    >>> c[0, 0, 3].item(), traces["1"].c.sel(unit=3).values.ravel()
    (0.5, array([0.5, 0.5, 0.5, 0.5], dtype=float32))
    """
    if not is_module(model):
        raise InputError(f"cannot capture a {type(model).__name__}; expected a torch.nn.Module")
    watched = {path: Watched(module) for path, module in lstm_modules(model).items()}
    if not watched:
        raise InputError(f"the {type(model).__name__} holds no torch.nn.LSTM and no torch.nn.LSTMCell to capture")
    wished = _holds_by_path(hold, list(watched))
    for path, holds in wished.items():
        try:
            require_holdable(watched[path].module, holds)
        except InputError as error:
            raise InputError(f"LSTM at {quoted(path)}: {error}") from None
    with ExitStack() as block:
        for path, holds in wished.items():
            block.enter_context(holding(watched[path].module, path, holds))
        for one in watched.values():
            # Last of those before the call and first of those after it: what others change counts, or does not yet.
            before = one.module.register_forward_pre_hook(one.before)
            after = one.module.register_forward_hook(one.after, prepend=True, with_kwargs=True)
            block.callback(before.remove)
            block.callback(after.remove)
        yield Captured(watched)


def _holds_by_path(hold: Any, paths: Sequence[str]) -> dict[str, tuple[Hold, ...]]:
    """Give the holds of each LSTM in which something is held."""
    if isinstance(hold, Mapping):
        if unknown := [path for path in hold if path not in paths]:
            raise InputError(f"hold names an LSTM at {quoted(unknown[0])}; the model has them at {listed(paths)}")
        by_path = {path: read_holds(some) for path, some in hold.items()}
        return {path: holds for path, holds in by_path.items() if holds}
    holds = read_holds(hold)
    if holds and len(paths) > 1:
        raise InputError(
            f"the model has LSTMs at {listed(paths)}; say which one the holds are for, as in "
            f"hold={{{quoted(paths[0])}: holds}}"
        )
    return {paths[0]: holds} if holds else {}
