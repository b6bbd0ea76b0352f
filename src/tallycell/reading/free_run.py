"""The free run of a tally, compiled: the tally itself, its squared error, and its normal equations.

All three are loops over every step of every sequence, which NumPy cannot do at once: the keep level changes from step
to step. The compiled code lets other threads run, so that several cells are read side by side.
"""

import numpy as np

from tallycell.kernels.cpu.compiling import compiled


@compiled
def run_tally(write_codes, keep_codes, writes, keeps, start, c_0):  # type: ignore[no-untyped-def]
    """Give the tally after every step: ``tally' = keeps[keep code] * tally + writes[write code]``, from ``c_0``."""
    tally = np.empty(len(write_codes))
    for s in range(len(c_0)):
        value = c_0[s]
        for t in range(start[s], start[s + 1]):
            value = keeps[keep_codes[t]] * value + writes[write_codes[t]]
            tally[t] = value
    return tally


@compiled
def squared_error(write_codes, keep_codes, writes, keeps, start, c_0, target):  # type: ignore[no-untyped-def]
    """Sum over the steps of (target - tally)²."""
    total = 0.0
    for s in range(len(c_0)):
        value = c_0[s]
        for t in range(start[s], start[s + 1]):
            value = keeps[keep_codes[t]] * value + writes[write_codes[t]]
            total += (target[t] - value) ** 2
    return total


@compiled
def normal_equations(write_codes, keep_codes, writes, keeps, start, c_0, target):  # type: ignore[no-untyped-def]
    """Squared error, JᵀJ and Jᵀ(target - tally), J the derivative of tally + intercept by (writes, keeps, intercept).

    The derivatives run along with the tally: by a write level it is a tally of the steps at that level; by a keep level
    it is a tally of the values that were multiplied with it.
    """
    number_of_writes, number_of_keeps = len(writes), len(keeps)
    size = number_of_writes + number_of_keeps + 1
    slope, normal, moment = np.zeros(size), np.zeros((size, size)), np.zeros(size)
    total = 0.0
    for s in range(len(c_0)):
        value = c_0[s]
        slope[:] = 0.0
        slope[size - 1] = 1.0
        for t in range(start[s], start[s + 1]):
            keep = keeps[keep_codes[t]]
            for j in range(size - 1):
                slope[j] *= keep
            slope[write_codes[t]] += 1.0
            slope[number_of_writes + keep_codes[t]] += value
            value = keep * value + writes[write_codes[t]]
            error = target[t] - value
            total += error * error
            for j in range(size):
                moment[j] += slope[j] * error
                for k in range(j + 1):
                    normal[j, k] += slope[j] * slope[k]
    for j in range(size):
        for k in range(j):
            normal[k, j] = normal[j, k]
    return total, normal, moment
