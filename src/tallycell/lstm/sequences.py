"""How sequences lie: into the order in which layers read them, and back as the input lay."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tallycell.errors import InputError

States = tuple[Tensor, Tensor]


class Order(NamedTuple):
    """Where the steps of packed sequences stand when all are run side by side to the longest end.

    In the reverse direction each sequence is turned within its length, so that its last step comes first.

    Attributes
    ----------
    places
        For each row of the packed input, its place among (time * sequence) rows.
    ends
        For each sequence, the place of the last step that is run.
    size
        Steps of the longest sequence, and the number of sequences.
    """

    places: Int[Tensor, " row"]
    ends: Int[Tensor, " sequence"]
    size: tuple[int, int]

    @classmethod
    def of(cls, batch_sizes: Int[Tensor, " time"], *, reverse: bool) -> "Order":
        """Order the steps of a packed sequence.

        Examples
        --------
        >>> Order.of(torch.tensor([2, 1, 1]), reverse=True)  # lengths 3 and 1
        Order(places=tensor([4, 1, 2, 0]), ends=tensor([4, 1]), size=(3, 2))
        """
        time, sequences = len(batch_sizes), int(batch_sizes[0])
        sequence = torch.arange(sequences)
        lengths = (batch_sizes[:, None] > sequence).sum(0)
        step, of_row = torch.nonzero(batch_sizes[:, None] > sequence).unbind(1)
        run = lengths[of_row] - 1 - step if reverse else step
        return cls(run * sequences + of_row, (lengths - 1) * sequences + sequence, (time, sequences))

    def spread(self, rows: Float[Tensor, "row unit"]) -> Float[Tensor, "time sequence unit"]:
        """Bring packed rows to their places, with zeros beyond the lengths."""
        time, sequences = self.size
        spread = rows.new_zeros(time * sequences, rows.shape[1]).index_copy(0, self.places, rows)
        return spread.view(time, sequences, rows.shape[1])

    def gather(self, values: Float[Tensor, "time sequence unit"]) -> Float[Tensor, "row unit"]:
        """Undo :meth:`spread`."""
        return values.flatten(0, 1).index_select(0, self.places)

    def last(self, values: Float[Tensor, "time sequence unit"]) -> Float[Tensor, "sequence unit"]:
        """Take what stands at each sequence's end."""
        return values.flatten(0, 1).index_select(0, self.ends)


@dataclass(frozen=True, eq=False)
class Sequences:
    """An input as layers read it, and what it takes to lay results out as the input lay.

    Attributes
    ----------
    data
        (time, sequence, feature); of a packed sequence (row, feature), as torch packs it: sorted by length, longest
        first, all rows of step 0, then all of step 1, and so on.
    source
        The input where it was a ``PackedSequence``, else None.
    is_batched
        False for a single sequence, (time, feature).
    batch_first
        Whether results are (sequence, time, unit) rather than (time, sequence, unit).
    """

    data: Float[Tensor, "*row feature"]
    source: PackedSequence | None
    is_batched: bool
    batch_first: bool

    @classmethod
    def read(cls, given: Any, batch_first: bool) -> "Sequences":
        """Bring an input into the order in which layers read it.

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
            return cls(_autocast(given.data), given, True, batch_first)
        if not isinstance(given, Tensor) or given.dim() not in (2, 3):
            got = f"{given.dim()}D instead" if isinstance(given, Tensor) else f"a {type(given).__name__}"
            raise InputError(f"LSTM: expected input to be a 2D or 3D tensor or a PackedSequence, got {got}")
        is_batched = given.dim() == 3
        x = given if is_batched else given.unsqueeze(1)
        if is_batched and batch_first:
            x = x.transpose(0, 1)
        if x.shape[0] == 0:
            raise InputError(f"got an input of shape {tuple(given.shape)}, which has no steps; give at least one")
        return cls(_autocast(x), None, is_batched, batch_first)

    @property
    def batch_sizes(self) -> list[int]:
        """How many sequences have each step."""
        if self.source is not None:
            sizes: list[int] = self.source.batch_sizes.tolist()
            return sizes
        time, sequences, _ = self.data.shape
        return [sequences] * time

    def order(self, *, reverse: bool) -> Order | None:
        """Order of a packed sequence's steps; None if all sequences have every step."""
        return None if self.source is None else Order.of(self.source.batch_sizes, reverse=reverse)

    def read_states(self, hx: Any, sizes: tuple[int, int], layers: int) -> States | None:
        """Bring initial states into the order of the data; None stands for zeros.

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
        if hx is None:
            return None
        if not isinstance(hx, tuple | list) or len(hx) != 2:
            raise InputError(f"hx is a {type(hx).__name__}; expected the pair (h_0, c_0)")
        h_0, c_0 = (_autocast(state) for state in hx)
        number = self.data.shape[1] if self.source is None else int(self.source.batch_sizes[0])
        sequences = (number,) if self.is_batched else ()
        for k, (state, size) in enumerate(zip((h_0, c_0), sizes, strict=True)):
            shape = (layers, *sequences, size)
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

    def lay_out(self, values: Float[Tensor, "*row unit"]) -> Tensor:
        """All steps, in the order of the data, as a tensor laid out as the input lay; NaN beyond a packed length."""
        if self.source is not None:
            packed = self.source._replace(data=values)
            return pad_packed_sequence(packed, self.batch_first, padding_value=float("nan"))[0]
        if not self.is_batched:
            return values.squeeze(1)
        return values.transpose(0, 1) if self.batch_first else values

    def lay_out_output(self, values: Float[Tensor, "*row unit"]) -> Tensor | PackedSequence:
        """All steps as the input was: a packed sequence for a packed sequence."""
        return self.lay_out(values) if self.source is None else self.source._replace(data=values)


def _autocast(x: Tensor) -> Tensor:
    """Under autocast, what torch casts the arguments of its LSTM to; else the tensor itself."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return x
    return x if x.dtype == torch.float64 else x.to(torch.get_autocast_dtype(device))
