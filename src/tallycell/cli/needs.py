"""How much memory recording and reading take, so that it is asked for before they begin.

What is counted are arrays of all steps: the trace, what the kernel fills besides it in one layer, copies that the
reading makes. The numbers of such arrays are counted in the code that makes them and checked against what is used in
fact: ``python -m benchmarks memory`` prints both. What is said is never less than what is used, and about twice that.
"""

from tallycell.kernels.cpu.threads import number_of_threads
from tallycell.names import SEQUENCE, TIME
from tallycell.parameters import LSTMParameters
from tallycell.reading.lanes import AT_ONCE, in_double
from tallycell.reading.nothing_learned import MOST_UNITS
from tallycell.trace.store import fit_in_chunk

RECORDED = 6  # i f g o c h of every layer and direction
OF_A_LAYER = 8  # besides, while a layer runs: its gates and states once more and its input, as the kernel has them
PADDED_TO = 16  # units: what the kernel works on at once
PACKED = 5  # i f g o c once more, of every layer and direction, as units stand side by side in registers
OF_A_SLICE = 14 * 8  # bytes a step and unit that a worker reads: what it writes, its codes, hidden(c), sorted values
STIMULUS = 4 * 8  # bytes a step and feature: its value, whether it is high or low, copies
STEP = 15 * 8  # bytes a step: its symbol, its place, known quantities
LIBRARIES = 300_000_000  # what is imported and compiled on the way


def bytes_to_record(parameters: LSTMParameters, steps: int, features: int) -> int:
    """Bytes that a trace of all gates and states takes while it is recorded.

    Parameters
    ----------
    parameters
        Of the LSTM.
    steps
        Of all sequences together.
    features
        Of the input, which is copied.

    Examples
    --------
    >>> import numpy as np
    >>> small = LSTMParameters({"weight_ih_l0": np.ones((64, 3)), "weight_hh_l0": np.zeros((64, 16))})
    >>> bytes_to_record(small, 1_000_000, 3) - bytes_to_record(small, 0, 3)
    1840000000
    """
    itemsize = parameters.dtype.itemsize
    of_a_layer = -(-parameters.hidden_size // PADDED_TO) * PADDED_TO * parameters.num_directions
    arrays = (RECORDED * parameters.num_layers + OF_A_LAYER) * of_a_layer + 2 * features
    return LIBRARIES + steps * arrays * itemsize


def bytes_to_store(parameters: LSTMParameters, sequences: int, time: int, features: int) -> int:
    """Bytes that recording into a store takes, block by block: a block, and the input, which is all there.

    Read from both ends, a sequence is a block.
    """
    itemsize = parameters.dtype.itemsize
    units = parameters.num_layers * parameters.num_directions * parameters.hidden_size
    block = fit_in_chunk(sequences, time, max(units, features) * itemsize)
    steps = block[SEQUENCE] * (time if parameters.bidirectional else block[TIME])
    return bytes_to_record(parameters, steps, features) + 3 * sequences * time * features * itemsize


def bytes_to_read(parameters: LSTMParameters, steps: int, features: int) -> int:
    """Bytes that recording takes, and reading every unit after it, as :func:`bytes_to_record` takes its parameters."""
    itemsize, workers = parameters.dtype.itemsize, number_of_threads()
    units = parameters.num_layers * parameters.num_directions * parameters.hidden_size
    lanes = in_double().lanes  # a worker reads no fewer units together, and all workers no more than there are
    together = min(workers * max(AT_ONCE / max(steps, 1), lanes), -(-parameters.hidden_size // lanes) * lanes)
    a_step = PACKED * units * itemsize + together * OF_A_SLICE + features * STIMULUS + STEP
    return (
        bytes_to_record(parameters, steps, features)
        + int(steps * a_step)
        + _bytes_of_nothing_learned(parameters, steps)
    )


def bytes_in_blocks(parameters: LSTMParameters, steps: int, features: int, at_once: int, held: int) -> int:
    """Bytes that reading takes block by block: what is looked at together, and the input, which is all there.

    Parameters
    ----------
    parameters, steps, features
        As :func:`bytes_to_record` takes them.
    at_once
        Steps that are held together.
    held
        Bytes of the input.
    """
    return bytes_to_read(parameters, min(steps, at_once), features) + 2 * held + steps * STEP


def _bytes_of_nothing_learned(parameters: LSTMParameters, steps: int) -> int:
    """Bytes that recording some units of a shuffled network takes besides the trace that is read."""
    kept = 5 * min(MOST_UNITS, parameters.hidden_size) * parameters.num_layers * parameters.num_directions
    of_a_layer = -(-parameters.hidden_size // PADDED_TO) * PADDED_TO * parameters.num_directions
    return steps * (OF_A_LAYER * of_a_layer + kept) * parameters.dtype.itemsize
