"""Holds in a call of an LSTM module: the values that they give to each layer and direction."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from tallycell.kernels.hold import Hold, Sized, at_means, check_holds, held_values
from tallycell.lstm.sequences import Sequences
from tallycell.lstm.stack import HeldValues, run_stack
from tallycell.names import DIRECTIONS


class _Sizes(NamedTuple):
    """What a hold asks of an LSTM; to copy its weights for that at each call would be dear."""

    num_layers: int
    num_directions: int
    hidden_size: int
    output_size: int
    dtype: np.dtype = np.dtype(np.float64)


def held_at(
    module: nn.LSTM | nn.LSTMCell, holds: Iterable[Hold], time: int, sequences: int
) -> dict[tuple[int, int], dict[str, Float[np.ndarray, "time sequence unit"]]]:
    """Values that holds give to a module's layers and directions, where it reads so many steps and sequences.

    Parameters
    ----------
    module
        Any LSTM or LSTMCell of torch.
    holds
        None of them at the mean.
    time, sequences
        Steps of the longest sequence, and the number of sequences.

    Returns
    -------
    dict
        By layer and direction, by letter: NaN where a unit is free; one sequence where all have the same.

    Raises
    ------
    InputError
        If a hold names what is not there, or has not one value for each step, sequence and unit of its own.

    Examples
    --------
    >>> held_at(nn.LSTMCell(1, 2), [Hold("f", 1.0, units=[1])], 1, 5)
    {(0, 0): {'f': array([[[nan,  1.]]])}}
    """
    holds, sizes, found = tuple(holds), _sizes_of(module), {}
    for at in sorted({(hold.layer, DIRECTIONS.index(hold.direction)) for hold in holds}):
        by_letter = held_values(holds, sizes, *at, time, sequences)
        found[at] = {letter: v if v.ndim == 3 else v[:, np.newaxis] for letter, v in by_letter.items()}
    return found


def held_in_call(lstm: nn.LSTM, given: Any, hx: Any, holds: Iterable[Hold]) -> HeldValues:
    """Values that holds give to one call of an LSTM; the mean is that of the same call with nothing held.

    Parameters
    ----------
    lstm
        An LSTM of torch or of tallycell.
    given, hx
        What it is about to read, and its initial states; see :meth:`tallycell.LSTM.forward`.
    holds
        Their steps count within the call.

    Raises
    ------
    InputError
        As of :func:`held_at`.

    Examples
    --------
    >>> held_in_call(nn.LSTM(1, 2), torch.zeros(3, 1, 1), None, [Hold("c", 0.5, units=[0], steps=[1])])[0, 0]["c"][:, 0]
    array([[nan, nan],
           [0.5, nan],
           [nan, nan]])
    """
    holds = tuple(holds)
    if not holds:
        return {}
    sizes = Sequences.read(given, lstm.batch_first).batch_sizes
    time, sequences = len(sizes), sizes[0]
    at_mean = [hold for hold in holds if isinstance(hold.value, str)]
    if at_mean:
        check_holds(at_mean, _sizes_of(lstm), time, sequences)
        ready = iter(_at_their_means(lstm, given, hx, at_mean))
        holds = tuple(next(ready) if isinstance(hold.value, str) else hold for hold in holds)
    return held_at(lstm, holds, time, sequences)


def _at_their_means(lstm: nn.LSTM, given: Any, hx: Any, holds: Iterable[Hold]) -> Iterator[Hold]:
    """Put the means over all that is read in a free run into holds; dropout falls in it as it will in the held one."""
    device = lstm.weight_ih_l0.device
    devices = [] if device.type == "cpu" else [device]
    with torch.no_grad(), torch.random.fork_rng(devices, enabled=lstm.training, device_type=device.type):
        _, _, kept = run_stack(lstm, given, hx, {hold.gate for hold in holds})
    for hold in holds:
        values = kept[hold.gate][hold.layer][DIRECTIONS.index(hold.direction)].flatten(0, -2)
        yield at_means(hold, values.double().nanmean(0).cpu().numpy())  # NaN stands beyond the end of a packed sequence


def _sizes_of(module: nn.LSTM | nn.LSTMCell) -> Sized:
    if isinstance(module, nn.LSTM):
        directions, size = 2 if module.bidirectional else 1, module.hidden_size
        return _Sizes(module.num_layers, directions, size, module.proj_size or size)
    return _Sizes(1, 1, module.hidden_size, module.hidden_size)
