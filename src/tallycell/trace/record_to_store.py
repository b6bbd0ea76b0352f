"""Record into a store, block by block, so that memory is set by the block and not by the input.

The store's shape is written first, then each block of whole Zarr chunks, once. All of it happens beside its place: what
stands there is a whole trace or what stood there before.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tallycell.files import replacing
from tallycell.input import Input
from tallycell.kernels.stack import StackInput
from tallycell.names import SEQUENCE, TIME
from tallycell.parameters import LSTMParameters
from tallycell.trace.inputs import LabelledInput, read_input, read_model, read_state
from tallycell.trace.record import Choice, Record, assemble, attrs_of_run, choose, given_to, run_chosen
from tallycell.trace.schema import dims_of
from tallycell.trace.store import chunk_sizes, require_trace_place, write_shape


@dataclass(frozen=True, eq=False)
class _Recording:
    """What is recorded, and from which states each sequence starts."""

    parameters: LSTMParameters
    source: LabelledInput
    choice: Choice
    h_0: np.ndarray
    c_0: np.ndarray

    def shape(self) -> xr.Dataset:
        """Give the trace, with nothing behind what is still to be recorded."""
        import dask.array

        p, names = self.parameters, [name for name in self.choice.variables if name != "x"]
        time, sequences, _ = self.source.x.shape
        by_layer = (p.num_layers, p.num_directions, sequences, time)
        kept = {name: dask.array.zeros((*by_layer, self.choice.numbers_of(name).size), dtype=p.dtype, chunks=-1)
                for name in names}  # fmt: skip
        kept |= given_to(p, self.choice, self.source, self.h_0, self.c_0)
        return assemble(p, self.choice, self.source, kept, attrs_of_run(p, ()))

    def blocks(self, sequences: int, steps: int) -> Iterator[tuple[dict[str, slice], dict[str, np.ndarray]]]:
        """Record some sequences or, where one is longer than a block, some of its steps at a time."""
        time, count, _ = self.source.x.shape
        for first in range(0, count, sequences):
            some = slice(first, min(first + sequences, count))
            state = (self.h_0[:, some], self.c_0[:, some])
            # Read from both ends, a sequence needs its last step before its first.
            at_once = time if self.parameters.bidirectional else steps
            for begin in range(0, time, at_once):
                span = slice(begin, min(begin + at_once, time))
                values, state = self._run(some, span, state)
                yield {SEQUENCE: some, TIME: span}, values

    def _run(
        self, some: slice, span: slice, state: tuple[np.ndarray, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        x = self.source.x[span, some]
        lengths = np.clip(self.source.lengths[some] - span.start, 0, len(x))
        choice = replace(self.choice, steps=np.arange(len(x)))
        if not lengths.any():
            by_layer = (self.parameters.num_layers, self.parameters.num_directions, x.shape[1], len(x))
            names = [name for name in choice.variables if name != "x"]
            return {name: np.full((*by_layer, choice.numbers_of(name).size), np.nan) for name in names}, state
        to_mind = None if (lengths == len(x)).all() else lengths
        return run_chosen(self.parameters, StackInput(x, *state, to_mind), choice, first=some.start)


def record_to_store(
    model: object,
    given: Input,
    path: str | os.PathLike[str],
    *,
    variables: Sequence[str] = Record().variables,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run an LSTM on an input and write its gates and states to a Zarr store as it goes.

    What is written agrees with :func:`~tallycell.trace.record.record_trace` to rounding: the last bits of a state
    depend on how many sequences run side by side.

    Parameters
    ----------
    model
        As :func:`~tallycell.trace.record.record_trace` takes it.
    given
        What it reads.
    path
        As :func:`~tallycell.trace.store.save_trace` takes it. What stands there is replaced when all is written.
    variables
        What to keep, as in :class:`~tallycell.trace.record.Record`.
    progress
        Called with the steps done and all steps, those of all sequences together.

    Raises
    ------
    InputError
        As :func:`~tallycell.trace.record.record_trace`; if the disk is full.
    FormatError, MissingExtraError
        As :func:`~tallycell.trace.store.save_trace`.

    Examples
    --------
    >>> import tempfile
    >>> from tallycell import LSTMParameters, open_trace, record_trace
    >>> parameters = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> given = Input(np.zeros((5, 3)), "zeros", "5 steps")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record_to_store(parameters, given, f"{folder}/trace.zarr")
    ...     open_trace(f"{folder}/trace.zarr").identical(record_trace(parameters, given))
    True
    """
    import zarr

    require_trace_place(path)
    traced = read_model(model, given.lstm)
    source = read_input(given.x, traced, batch_first=False, lengths=given.lengths)
    time, sequences, _ = source.x.shape
    h_0, c_0 = read_state(given.state, traced, sequences, source.batched)
    choice = choose(Record(variables), traced.parameters, time)
    recording = _Recording(traced.parameters, source, choice, h_0, c_0)
    shape = recording.shape()
    chunks = chunk_sizes(shape)
    with replacing(Path(path)) as fresh, zarr.config.set({"array.write_empty_chunks": True}):
        write_shape(shape, fresh, chunks)
        arrays: dict[str, Any] = {}
        for where, values in recording.blocks(chunks[SEQUENCE], chunks[TIME]):
            arrays = arrays or {name: zarr.open_array(fresh / name) for name in values}
            for name, array in arrays.items():
                place = tuple(where.get(dim, slice(None)) for dim in dims_of(name, choice.projection is not None))
                array[place] = values[name]
            if progress is not None:
                some, span = where[SEQUENCE], where[TIME]
                progress(some.start * time + (some.stop - some.start) * span.stop, sequences * time)
