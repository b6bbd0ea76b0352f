"""One call of an LSTM module, of torch or of ours: all its layers and directions; or the one step of a cell."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from tallycell.errors import InputError
from tallycell.lstm.operations import Held, LayerTensors, run_layer
from tallycell.lstm.runner import COMPUTED_IN, Runner
from tallycell.lstm.sequences import Sequences, States

# By layer and direction, by letter; NaN where a unit is free, one sequence where all are held at the same.
HeldValues = Mapping[tuple[int, int], Mapping[str, Float[np.ndarray, "time sequence unit"]]]


def run_stack(
    lstm: nn.LSTM, given: Any, hx: Any, keep: Collection[str] = (), held: HeldValues | None = None
) -> tuple[Tensor | PackedSequence, States, dict[str, list[tuple[Tensor, ...]]]]:
    """Run an LSTM on its input.

    Parameters
    ----------
    lstm
        An LSTM of torch or of ours.
    given, hx
        What it reads, and its initial states; see :meth:`tallycell.LSTM.forward`.
    keep
        Variables (``"i"`` to ``"h"``) to give besides the output.
    held
        What is held, its sequences in the order of the input.

    Returns
    -------
    output, (h_n, c_n), kept
        As of ``torch.nn.LSTM``; and by variable, layer and direction what was kept, laid out as the output.

    Raises
    ------
    InputError
        If the input has no steps, or is neither tensor nor ``PackedSequence``, or the states do not fit it.
    RuntimeError, ValueError
        As of ``torch.nn.LSTM``, if the input's features or dtype do not fit the weights.

    Examples
    --------
    >>> output, _, kept = run_stack(nn.LSTM(2, 3), torch.zeros(4, 1, 2), None, "f", {(0, 0): {"f": np.ones((4, 1, 3))}})
    >>> output.shape, kept["f"][0][0].mean().item()
    (torch.Size([4, 1, 3]), 1.0)
    """
    sequences = Sequences.read(given, lstm.batch_first)
    _check(lstm, sequences.data)
    directions = 2 if lstm.bidirectional else 1
    sizes = (lstm.proj_size or lstm.hidden_size, lstm.hidden_size)
    states = sequences.read_states(hx, sizes, lstm.num_layers * directions)
    runner = Runner(lstm, sequences)
    on_graph = _as_tensors(held or {}, sequences, runner.computes_in)
    x, last, layers = sequences.data.to(runner.computes_in), [], []
    for layer in range(lstm.num_layers):
        ran = []
        for direction in range(directions):
            k = layer * directions + direction
            state = None if states is None else (states[0][k], states[1][k])
            there = on_graph.get((layer, direction))
            ran.append(runner.run(x, state, layer, direction=direction, keep=keep, held=there))
        last += ran
        layers.append([steps.values for steps in ran])
        x = ran[0].values["h"]
        if len(ran) == 2:
            x = torch.cat([x, ran[1].values["h"]], dim=-1)
        if lstm.training and lstm.dropout and layer < lstm.num_layers - 1:
            x = functional.dropout(x, lstm.dropout)
    h_n, c_n = torch.stack([steps.h_n for steps in last]), torch.stack([steps.c_n for steps in last])
    if x.dtype != sequences.data.dtype:  # a half precision, which was computed in float32
        x, h_n, c_n = (values.to(sequences.data.dtype) for values in (x, h_n, c_n))
        layers = [[{k: v.to(x.dtype) for k, v in values.items()} for values in layer] for layer in layers]
    kept = {name: [tuple([sequences.lay_out(values[name]) for values in layer]) for layer in layers] for name in keep}
    states = (sequences.lay_out_states(h_n), sequences.lay_out_states(c_n))
    return sequences.lay_out_output(x), states, kept


def run_cell(cell: nn.LSTMCell, given: Any, hx: Any, held: Mapping[str, np.ndarray]) -> States:
    """Run the one step of a cell.

    Parameters
    ----------
    cell
        A cell of torch.
    given, hx
        What it reads, (sequence, feature) or (feature,), and the states before: the pair (h, c), each (sequence, unit)
        or (unit,), or None for zeros.
    held
        What is held, by letter: (1, sequence, unit), or one sequence where all are held at the same.

    Returns
    -------
    h, c
        As of ``torch.nn.LSTMCell``.

    Raises
    ------
    InputError
        If input or states do not fit the cell.

    Examples
    --------
    >>> h, c = run_cell(nn.LSTMCell(2, 3), torch.zeros(5, 2), None, {"c": np.ones((1, 1, 3))})
    >>> h.shape, c.mean().item()
    (torch.Size([5, 3]), 1.0)
    """
    dtype, device = cell.weight_ih.dtype, cell.weight_ih.device
    x, states = read_cell(cell, given, hx)
    computed = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    bias = cell.bias_ih.to(computed) + cell.bias_hh.to(computed) if cell.bias else None
    ih, hh = cell.weight_ih.to(computed), cell.weight_hh.to(computed)
    layer = LayerTensors(ih, hh, bias, None, None, torch.sigmoid, torch.tanh, torch.tanh, "own", None, None)
    zeros = x.new_zeros(len(x), cell.hidden_size, dtype=computed)
    before = (zeros, zeros) if states is None else (states[0].to(computed), states[1].to(computed))
    tensors = {letter: torch.tensor(values, dtype=computed, device=device) for letter, values in held.items()}
    with torch.autocast(device.type, enabled=False):
        _, ends = run_layer(layer, x.to(computed), [len(x)], state=before, reverse=False, held=tensors)
    h, c = (end.to(dtype) if given.dim() == 2 else end.to(dtype).squeeze(0) for end in ends)
    return h, c


def _check(lstm: nn.LSTM, x: Tensor) -> None:
    """Refuse an input that does not fit the weights, in torch's words."""
    if x.shape[-1] != lstm.input_size or x.dtype != lstm.weight_ih_l0.dtype:
        lstm._update_flat_weights()  # torch's check looks at the dtype of these
        lstm.check_input(x.flatten(0, -2), torch.tensor([1]))
    if x.dtype not in COMPUTED_IN:
        raise InputError(
            f"got an input of dtype {x.dtype}; an LSTM computes in {', '.join(map(str, COMPUTED_IN))}: convert "
            "the input and the weights to one of them"
        )


def _as_tensors(held: HeldValues, sequences: Sequences, dtype: torch.dtype) -> dict[tuple[int, int], Held]:
    """Bring held values to the device and into the order of packing; those that differ by sequence with it."""
    order = None if sequences.source is None else sequences.source.sorted_indices

    def tensor(values: np.ndarray) -> Tensor:
        by_sequence = torch.tensor(values, dtype=dtype, device=sequences.data.device)
        return by_sequence if order is None or len(values[0]) == 1 else by_sequence.index_select(1, order)

    return {at: {letter: tensor(values) for letter, values in given.items()} for at, given in held.items()}


def read_cell(cell: nn.LSTMCell, given: Any, hx: Any) -> tuple[Tensor, States | None]:
    """Bring what a cell reads to (sequence, feature), its states to (sequence, unit).

    Raises
    ------
    InputError
        If they do not fit the cell.
    """
    if not isinstance(given, Tensor) or given.dim() not in (1, 2) or given.shape[-1] != cell.input_size:
        got = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"type {type(given).__name__}"
        raise InputError(
            f"got an input of {got}; an LSTMCell reads (sequence, {cell.input_size}) or ({cell.input_size},)"
        )
    autocast = torch.is_autocast_enabled(given.device.type)
    if given.dtype != cell.weight_ih.dtype and not autocast:
        raise InputError(f"got an input of dtype {given.dtype}, the weights are {cell.weight_ih.dtype}; convert one")
    shape = (*given.shape[:-1], cell.hidden_size)
    if hx is None:
        return given.reshape(-1, cell.input_size), None
    if not isinstance(hx, tuple | list) or len(hx) != 2:
        raise InputError(f"hx is a {type(hx).__name__}; expected the pair (h, c)")
    for name, state in zip("hc", hx, strict=True):
        if not isinstance(state, Tensor) or tuple(state.shape) != shape:
            got = f"the shape {tuple(state.shape)}" if isinstance(state, Tensor) else f"type {type(state).__name__}"
            raise InputError(f"{name} has {got}; expected a tensor of shape {shape}, as the input has")
    h, c = (state.reshape(-1, cell.hidden_size) for state in hx)
    return given.reshape(-1, cell.input_size), (h, c)
