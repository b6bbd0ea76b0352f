"""Raw traces of a survey, where they are asked for: Zarr stores whose shape is written first, a block a chunk."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.files import replacing
from tallycell.names import SEQUENCE, STEP, TIME
from tallycell.survey.blocks import Recorded
from tallycell.survey.corpus import named
from tallycell.survey.plan import Plan
from tallycell.trace import save_trace
from tallycell.trace.schema import ALWAYS
from tallycell.trace.store import write_shape

FITTED_TRACE, TESTED_TRACE = "fitted.zarr", "tested.zarr"


def begin_traces(plan: Plan, folder: Path, trace: xr.Dataset) -> None:
    """Write the trace of the sequences that levels are fitted on, and the shape of that of all others.

    Parameters
    ----------
    plan
        Says what is kept.
    folder
        Of the survey.
    trace
        Of the fitted sequences that could be read.

    Raises
    ------
    InputError, MissingExtraError
        If it cannot be written.
    """
    names = [*plan.keep, *ALWAYS]
    kept = trace[names].drop_vars([name for name in trace.coords if name not in trace.dims and name != STEP])
    save_trace(kept, folder / FITTED_TRACE)
    with replacing(folder / TESTED_TRACE) as fresh:
        write_shape(_shape(plan, kept), fresh, {SEQUENCE: plan.block})


def keep_block(plan: Plan, folder: Path, number: int, recorded: Recorded | None) -> None:
    """Write the trace of one block: one chunk of each variable, whole, and by nobody else.

    Parameters
    ----------
    plan, folder
        As of :func:`begin_traces`.
    number
        Which of the plan's blocks.
    recorded
        Those of its sequences that could be read, None if none could; the others have the length 0.

    Raises
    ------
    InputError
        If the store is gone or cannot be written.
    """
    import zarr

    first, size = number * plan.block, len(plan.block_of(number))
    with zarr.config.set({"array.write_empty_chunks": True}):
        for name in (*plan.keep, *ALWAYS):
            try:
                array: Any = zarr.open_array(folder / TESTED_TRACE / name, mode="r+")
                dims = array.metadata.dimension_names
                block = np.full([size if dim == SEQUENCE else n for dim, n in zip(dims, array.shape, strict=True)],
                                np.nan if name in plan.keep else 0, array.dtype)  # fmt: skip
                if recorded is not None:
                    values = recorded.trace[name].transpose(*dims)
                    there: dict[Any, Any] = {SEQUENCE: list(recorded.rows), TIME: slice(recorded.trace.sizes[TIME])}
                    block[tuple(there.get(dim, slice(None)) for dim in dims)] = values.to_numpy()
                whole = slice(first, first + size)
                array[tuple(whole if dim == SEQUENCE else slice(None) for dim in dims)] = block
            except (OSError, ValueError, KeyError) as error:
                raise InputError(
                    f"the trace of block {number} cannot be written to {folder / TESTED_TRACE}: {error}; if the store "
                    "was removed, begin again in a new folder"
                ) from None


def bytes_of_traces(plan: Plan, trace: xr.Dataset) -> int:
    """Count the bytes that the traces take at most; packed they are fewer."""
    of_a_step = sum(trace[name].nbytes for name in plan.keep) / (trace.sizes[SEQUENCE] * trace.sizes[TIME])
    return int(of_a_step * len(plan.lengths) * int(plan.lengths.max()))


def _shape(plan: Plan, kept: xr.Dataset) -> xr.Dataset:
    """Say what the trace of the tested sequences will be, with nothing in it."""
    import dask.array

    sizes: dict[Any, int] = {SEQUENCE: len(plan.tested), TIME: int(plan.lengths.max())}
    variables = {}
    for name, variable in kept.data_vars.items():
        shape = [sizes.get(dim, size) for dim, size in variable.sizes.items()]
        chunks = [plan.block if dim == SEQUENCE else -1 for dim in variable.dims]
        nothing = dask.array.zeros(shape, dtype=variable.dtype, chunks=chunks)
        variables[name] = (variable.dims, nothing, variable.attrs)
    labels: dict[Any, Any] = {dim: kept[dim] for dim in kept.dims if dim not in sizes}
    labels |= {SEQUENCE: [named(*plan.place_of(sequence)) for sequence in plan.tested.tolist()]}
    steps = np.arange(sizes[TIME])
    return xr.Dataset(variables, coords=labels | {TIME: steps, STEP: (TIME, steps)}, attrs=kept.attrs)
