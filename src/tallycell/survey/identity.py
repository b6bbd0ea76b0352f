"""What a result depends on besides the corpus: weights, versions, compiled code, the processor, the threads."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tallycell.activations import Activation
from tallycell.errors import InputError
from tallycell.kernels import cpu
from tallycell.loaders import LoadedModel
from tallycell.opening import Vocabulary

THREADS = "TALLYCELL_NUM_THREADS"
_turn = threading.RLock()  # the number of threads is the process's, so only one thread of it may set it


def weights_of(model: LoadedModel) -> str:
    """Hash everything of a model that a reading depends on, wherever its file lies.

    Returns
    -------
    str
        SHA-256 of the LSTMs, the embedding, the alphabet, the scaling and the initial states.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tallycell.parameters import LSTMParameters
    >>> one, other = ({"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.full((4, 1), k)} for k in (0.0, 1.0))
    >>> one, other = (LoadedModel({"": LSTMParameters(weights)}, Path("m.pt")) for weights in (one, other))
    >>> weights_of(one) == weights_of(one), weights_of(one) == weights_of(other)
    (True, False)
    """
    parts = (dict(model.stacks), dict(model.places), model.embedding, model.recogniser, model.features, model.scaling)
    return _hashed((parts, model.vocabulary, model.step))


def symbols_of(symbols: Vocabulary) -> str:
    """Hash a vocabulary and how it cuts: its symbols, and its tokenizer where it has one."""
    rules = None if symbols.tokenizer is None else symbols.tokenizer.to_str()
    return _hashed((symbols.symbols, symbols.unknown, rules))


@cache
def kernel_here() -> str:
    """Say what the bits of a result depend on in this process: the code, the libraries, the processor.

    Two processes that say the same compute the same bits. A processor with other instructions rounds otherwise, so it
    counts.

    Examples
    --------
    >>> kernel_here().startswith("kernel ")
    True
    """
    import llvmlite.binding as llvm
    import numba

    import tallycell
    from tallycell.kernels.cpu.compiling import fingerprint

    lanes = cpu.host_format("float32").lanes
    code = f"kernel {fingerprint()}, reading {sources_of(Path(tallycell.__file__).with_name('reading'))}"
    versions = f"tallycell {tallycell.__version__}, numpy {np.__version__}, numba {numba.__version__}"
    return f"{code}, {versions}, processor {llvm.get_host_cpu_name()} with {lanes} lanes"


def sources_of(folder: Path) -> str:
    """Hash the modules of a folder, by name."""
    return _hashed({source.name: source.read_bytes() for source in folder.glob("*.py")})[:12]


def require_kernel(wanted: str) -> None:
    """Refuse to compute where the bits would be others than the plan's.

    Raises
    ------
    InputError
        If this process has another kernel, other libraries or another processor.
    """
    if (here := kernel_here()) != wanted:
        raise InputError(
            f"this process has {here}; the plan was made with {wanted}: results would differ in their last bits. Use "
            "machines of one kind with the same versions, or begin in a new folder"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: with more, sums are added in another order, and bits differ.

    Other threads of the process that ask for the same wait for their turn.
    """
    from threadpoolctl import threadpool_limits

    with _turn, threadpool_limits(1):
        before = os.environ.get(THREADS)
        os.environ[THREADS] = "1"
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(THREADS, None)
            else:
                os.environ[THREADS] = before


def prepare_kernel(model: LoadedModel, path: str) -> None:
    """Have an LSTM run on the compiled kernel from its first step on, where it would switch to it after seconds."""
    slots = model[path].activations
    for one in slots if isinstance(slots, tuple) else (slots,):
        cpu.prepare(one, str(model[path].dtype))


def _hashed(value: object) -> str:
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: object) -> None:
    """Add a value to a hash, with its kind and size, so that no two values are the same bytes."""
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        known = {one.name: getattr(value, one.name) for one in fields(value)}
        if isinstance(value, Activation) and not _is_ours(value):
            known |= {"value": value.fingerprint, "derivative": value.fingerprint}
        _feed(digest, known)
    elif isinstance(value, list | tuple):
        digest.update(f"sequence {len(value)};".encode())
        for one in value:
            _feed(digest, one)
    elif hasattr(value, "items"):
        named = sorted((str(key), one) for key, one in value.items())
        digest.update(f"mapping {len(named)};".encode())
        for key, one in named:
            _feed(digest, key)
            _feed(digest, one)
    elif callable(value):
        _feed(digest, getattr(value, "__qualname__", type(value).__qualname__))
    else:
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)};".encode() + text)


def _is_ours(one: Activation) -> bool:
    """Whether both functions are those of tallycell and NumPy, which the kernel's hash and their versions tell."""
    modules = (str(getattr(function, "__module__", "")) for function in (one.value, one.derivative))
    return all(module.partition(".")[0] in ("tallycell", "numpy") for module in modules)
