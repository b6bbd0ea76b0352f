"""The trace: every gate and state of every step, as an ``xarray.Dataset`` with a written schema.

``schema`` says what a trace is, ``inputs`` reads what the caller gives, ``record`` makes a trace, ``capture`` and
``calls`` make those of a model of torch while it runs, ``of_arrays`` makes one of the arrays of another kind of cell.
``store`` keeps them on disk, ``record_to_store`` writes them there block by block. Whoever reads a trace knows nothing
of where it came from.
"""

from tallycell.kernels.hold import Hold
from tallycell.trace.capture import Captured, capture
from tallycell.trace.of_arrays import trace_of
from tallycell.trace.record import Record, record_trace
from tallycell.trace.record_to_store import record_to_store
from tallycell.trace.schema import SCHEMA_VERSION, activations_of, validate_trace
from tallycell.trace.store import open_trace, save_trace

__all__ = [
    "SCHEMA_VERSION",
    "Captured",
    "Hold",
    "Record",
    "activations_of",
    "capture",
    "open_trace",
    "record_to_store",
    "record_trace",
    "save_trace",
    "trace_of",
    "validate_trace",
]
