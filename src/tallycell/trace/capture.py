"""Record every LSTM inside a model of torch while the model runs, and change nothing about it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import xarray as xr

from tallycell.errors import InputError, TallycellError
from tallycell.loaders.torch.objects import is_module, lstm_modules
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
def capture(model: "nn.Module") -> Iterator[Captured]:
    """Record every ``torch.nn.LSTM``, ``torch.nn.LSTMCell`` and ``tallycell.LSTM`` inside a model while it runs.

    The model computes what it computes without: inputs, states and outputs are copied, and the gates recomputed
    afterwards by tallycell's own kernel, in float32 or float64, with the weights as they were at the call. The h that
    comes out is held against the module's own.

    Parameters
    ----------
    model
        Any module of torch, an LSTM itself too; in eval or train mode, on any device.

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
        If the model is no module or holds no LSTM; later, when a trace is asked for whose module was not called, or
        gave other values than its equations: a subclass or a parallel stream that does something else.

    Notes
    -----
    Dropout between the layers of a stack in train mode is drawn a second time from the same random numbers, so that
    what is traced is what the layers read; this is possible on the CPU only, and an error elsewhere. A trace then keeps
    h as the layer gave it, before dropout.

    What does not go through a module's call is not seen: ``module.forward(x)``, ``torch.jit`` and compiled graphs.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 3), torch.nn.LSTM(3, 5, batch_first=True))
    >>> with capture(model) as traces:
    ...     output, _ = model(torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]))
    >>> dict(traces["1"].f.sizes)
    {'layer': 1, 'direction': 1, 'sequence': 2, 'time': 4, 'unit': 5}
    """
    if not is_module(model):
        raise InputError(f"cannot capture a {type(model).__name__}; expected a torch.nn.Module")
    watched = {path: Watched(module) for path, module in lstm_modules(model).items()}
    if not watched:
        raise InputError(f"the {type(model).__name__} holds no torch.nn.LSTM and no torch.nn.LSTMCell to capture")
    with ExitStack() as hooks:
        for one in watched.values():
            # Last of those before the call and first of those after it: what others change counts, or does not yet.
            before = one.module.register_forward_pre_hook(one.before)
            after = one.module.register_forward_hook(one.after, prepend=True, with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield Captured(watched)
