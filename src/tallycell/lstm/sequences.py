"""How sequences lie: into the order of packing, in which a layer reads them, and back as the input lay."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tallycell.errors import InputError

States = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Sequences:
    """An input in the order of packing, and what it takes to lay results out as the input lay.

    Attributes
    ----------
    data
        All rows of step 0, then all of step 1, and so on.
    batch_sizes
        How many sequences have each step.
    source
        The input where it was a ``PackedSequence``, else None.
    is_batched
        False for a single sequence, (time, feature).
    batch_first
        Whether results are (sequence, time, unit) rather than (time, sequence, unit).
    """

    data: Float[Tensor, "row feature"]
    batch_sizes: list[int]
    source: PackedSequence | None
    is_batched: bool
    batch_first: bool

    @classmethod
    def read(cls, given: Any, batch_first: bool) -> "Sequences":
        """Bring an input into the order of packing.

        Raises
        ------
        InputError
            If it is not a tensor of two or three dimensions or a ``PackedSequence``, or has no steps.

        Examples
        --------
        >>> Sequences.read(torch.zeros(4, 2, 3), batch_first=False).batch_sizes
        [2, 2, 2, 2]
        """
        if isinstance(given, PackedSequence):
            return cls(_autocast(given.data), given.batch_sizes.tolist(), given, True, batch_first)
        if not isinstance(given, Tensor) or given.dim() not in (2, 3):
            got = f"{given.dim()}D instead" if isinstance(given, Tensor) else f"a {type(given).__name__}"
            raise InputError(f"LSTM: expected input to be a 2D or 3D tensor or a PackedSequence, got {got}")
        is_batched = given.dim() == 3
        x = given if is_batched else given.unsqueeze(1)
        if is_batched and batch_first:
            x = x.transpose(0, 1)
        time, sequences, features = x.shape
        if time == 0:
            raise InputError(f"got an input of shape {tuple(given.shape)}, which has no steps; give at least one")
        return cls(_autocast(x.reshape(time * sequences, features)), [sequences] * time, None, is_batched, batch_first)

    def read_states(self, hx: Any, sizes: tuple[int, int], layers: int) -> States:
        """Bring initial states into the order of packing; zeros if ``hx`` is None.

        Parameters
        ----------
        hx
            h_0 and c_0 as the user gave them.
        sizes
            Of h and of c.
        layers
            Number of layers times directions.

        Raises
        ------
        InputError
            If the states do not fit the input.
        """
        sequences = (self.batch_sizes[0],) if self.is_batched else ()
        shapes = [(layers, *sequences, size) for size in sizes]
        if hx is None:
            h_0, c_0 = (self.data.new_zeros(shape) for shape in shapes)
        elif not isinstance(hx, tuple | list) or len(hx) != 2:
            raise InputError(f"hx is a {type(hx).__name__}; expected the pair (h_0, c_0)")
        else:
            h_0, c_0 = (_autocast(state) for state in hx)
        for k, (state, shape) in enumerate(zip((h_0, c_0), shapes, strict=True)):
            if tuple(state.shape) != shape:
                kind = "a batched" if self.is_batched else "an unbatched"
                raise InputError(f"Expected hidden[{k}] size {shape} for {kind} input, got {tuple(state.shape)}")
            if state.dtype != self.data.dtype:
                raise InputError(f"hidden[{k}] is {state.dtype}, the input {self.data.dtype}; give both in one dtype")
        if not self.is_batched:
            return h_0.unsqueeze(1), c_0.unsqueeze(1)
        if self.source is None or self.source.sorted_indices is None:
            return h_0, c_0
        return h_0.index_select(1, self.source.sorted_indices), c_0.index_select(1, self.source.sorted_indices)

    def lay_out_states(self, state: Float[Tensor, "layers sequence unit"]) -> Tensor:
        """Last states in the order of the input's sequences."""
        if not self.is_batched:
            return state.squeeze(1)
        if self.source is None or self.source.unsorted_indices is None:
            return state
        return state.index_select(1, self.source.unsorted_indices)

    def lay_out(self, values: Float[Tensor, "row unit"]) -> Tensor:
        """All steps as a tensor, laid out as the input lay; NaN beyond a packed sequence's length."""
        if self.source is not None:
            packed = self.source._replace(data=values)
            return pad_packed_sequence(packed, self.batch_first, padding_value=float("nan"))[0]
        laid = values.view(len(self.batch_sizes), self.batch_sizes[0], values.shape[-1])
        if not self.is_batched:
            return laid.squeeze(1)
        return laid.transpose(0, 1) if self.batch_first else laid

    def lay_out_output(self, values: Float[Tensor, "row unit"]) -> Tensor | PackedSequence:
        """All steps as the input was: a packed sequence for a packed sequence."""
        return self.lay_out(values) if self.source is None else self.source._replace(data=values)


def _autocast(x: Tensor) -> Tensor:
    """Under autocast, what torch casts the arguments of its LSTM to; else the tensor itself."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return x
    return x if x.dtype == torch.float64 else x.to(torch.get_autocast_dtype(device))
