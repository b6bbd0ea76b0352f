"""Initial states from a file: h_0 and c_0 in an npz."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError, InputError
from tallycell.files import require_file
from tallycell.loaders.npy import open_npz
from tallycell.wording import listed, quoted

_PAIRS = (("h_0", "c_0"), ("h0", "c0"), ("h", "c"))


def read_state(path: Path) -> "tuple[Float[np.ndarray, 'layers ...'], Float[np.ndarray, 'layers ...']]":
    """Read the initial states of an LSTM, as ``record_trace`` takes them.

    Parameters
    ----------
    path
        An npz that holds ``h_0`` and ``c_0`` (or ``h0`` and ``c0``, or ``h`` and ``c``), each
        (layer * direction, unit) or (layer * direction, sequence, unit).

    Returns
    -------
    h_0, c_0
        As they stand in the file; ``h_0`` is narrower where the LSTM has a projection.

    Raises
    ------
    InputError
        If there is no such file, or the arrays are others: other names, shapes, or values that are not finite numbers.
    FormatError
        If it is no npz, damaged, or holds pickles.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/state.npz", h_0=np.zeros((1, 3)), c_0=np.ones((1, 3)))
    ...     read_state(Path(folder) / "state.npz")
    (array([[0., 0., 0.]]), array([[1., 1., 1.]]))
    """
    require_file(path, InputError, "an npz with h_0 and c_0")
    with open_npz(path) as arrays:
        pair = next((pair for pair in _PAIRS if set(pair) <= set(arrays)), None)
        if pair is None:
            raise InputError(f"{path} holds the arrays {listed(arrays)}; expected the states h_0 and c_0")
        for name in pair:
            if arrays[name].dtype == "object":
                raise FormatError(f"{path}: {quoted(name)} is a pickle, which is not opened; save an array of numbers")
        h_0, c_0 = (arrays[name].read() for name in pair)
    for name, state in zip(pair, (h_0, c_0), strict=True):
        if state.dtype.kind not in "fiu" or not np.isfinite(state).all():
            raise InputError(f"{path}: {quoted(name)} has values that are not finite numbers; save floats")
        if state.ndim not in (2, 3):
            raise InputError(
                f"{path}: {quoted(name)} has shape {state.shape}; expected (layer * direction, unit) or "
                "(layer * direction, sequence, unit)"
            )
    if h_0.shape[:-1] != c_0.shape[:-1]:
        raise InputError(
            f"{path}: {quoted(pair[0])} has shape {h_0.shape}, {quoted(pair[1])} {c_0.shape}; expected states of the "
            "same layers and sequences"
        )
    return h_0, c_0
