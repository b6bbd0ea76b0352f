"""What a result depends on besides the corpus: the weights, the compiled code, the processor, the threads."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from tallycell.errors import InputError
from tallycell.kernels import cpu
from tallycell.loaders import LoadedModel
from tallycell.opening import Vocabulary

THREADS = "TALLYCELL_NUM_THREADS"


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
    """Say what the bits of a result depend on in this process: the compiled kernel, the libraries, the processor.

    Two processes that say the same compute the same bits. A processor with other instructions rounds otherwise, by
    about 1e-6 in a state, so it counts.

    Examples
    --------
    >>> kernel_here().startswith("kernel ")
    True
    """
    import llvmlite.binding as llvm
    import numba

    from tallycell.kernels.cpu.compiling import fingerprint

    lanes = cpu.host_format("float32").lanes
    libraries = f"numpy {np.__version__}, numba {numba.__version__}"
    return f"kernel {fingerprint()}, {libraries}, processor {llvm.get_host_cpu_name()} with {lanes} lanes"


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
    """Compute with one thread: with more, sums are added in another order, and bits differ."""
    from threadpoolctl import threadpool_limits

    before = os.environ.get(THREADS)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        os.environ[THREADS] = "1"
        try:
            yield
        finally:
            os.environ.pop(THREADS)
            if before is not None:
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
        _feed(digest, {one.name: getattr(value, one.name) for one in fields(value)})
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
