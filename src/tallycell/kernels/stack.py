"""All layers and directions of an LSTM, one after the other, on a kernel."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tallycell.kernels.choice import lstm_forward
from tallycell.kernels.hold import Hold, at_means, check_holds, held_values
from tallycell.kernels.interface import LayerInput, Steps
from tallycell.names import DIRECTIONS
from tallycell.parameters import LSTMParameters


@dataclass(frozen=True, eq=False)
class StackInput:
    """What a whole LSTM reads.

    Attributes
    ----------
    x
        (time, sequence, feature), in the dtype of the weights.
    h_0, c_0
        Initial states in PyTorch's shape, (layer * direction, sequence, hidden) and (layer * direction, sequence,
        unit); zeros if None.
    lengths
        Steps of each sequence; None if all are full.
    """

    x: Float[np.ndarray, "time sequence feature"]
    h_0: Float[np.ndarray, "layers sequence hidden"] | None = None
    c_0: Float[np.ndarray, "layers sequence unit"] | None = None
    lengths: Int[np.ndarray, " sequence"] | None = None


def run_stack(
    parameters: LSTMParameters, inputs: StackInput, *, holds: Iterable[Hold] = (), keep_pre: bool = False
) -> Iterator[tuple[Steps, ...]]:
    """Run an LSTM; yield the steps of each layer as they are done, one :class:`Steps` a direction.

    Examples
    --------
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> (layer,) = run_stack(LSTMParameters(ones), StackInput(np.zeros((5, 1, 1))))
    >>> layer[0].f[:, 0, 0]
    array([0.5, 0.5, 0.5, 0.5, 0.5])
    """
    holds = tuple(holds)
    time, sequences, _ = inputs.x.shape
    zeros_h = np.zeros((sequences, parameters.output_size), parameters.dtype)
    zeros_c = np.zeros((sequences, parameters.hidden_size), parameters.dtype)
    x = inputs.x
    for layer in range(parameters.num_layers):
        directions = []
        for direction in range(parameters.num_directions):
            k = layer * parameters.num_directions + direction
            read = LayerInput(
                x,
                zeros_h if inputs.h_0 is None else inputs.h_0[k],
                zeros_c if inputs.c_0 is None else inputs.c_0[k],
                inputs.lengths,
                reverse=direction == 1,
                held=held_values(holds, parameters, layer, direction, time, sequences),
            )
            directions.append(lstm_forward(parameters.layer(layer, direction), read, keep_pre=keep_pre))
        yield tuple(directions)
        x = np.concatenate([steps.h for steps in directions], axis=-1)


def with_means(holds: Iterable[Hold], parameters: LSTMParameters, inputs: StackInput) -> tuple[Hold, ...]:
    """Put into each hold at the mean what its units are on average in a run in which nothing is held.

    Raises
    ------
    InputError
        If a hold, at the mean or not, does not fit the LSTM or its input: before anything runs.
    """
    holds = tuple(holds)
    check_holds(holds, parameters, *inputs.x.shape[:2])
    if not any(isinstance(hold.value, str) for hold in holds):
        return holds
    ready = dict(enumerate(holds))
    for layer, directions in enumerate(run_stack(parameters, inputs)):
        for number, hold in enumerate(holds):
            if isinstance(hold.value, str) and hold.layer == layer:
                values = getattr(directions[DIRECTIONS.index(hold.direction)], hold.gate)
                ready[number] = at_means(hold, np.asarray(np.nanmean(values, axis=(0, 1), dtype=np.float64)))
    return tuple(ready.values())
