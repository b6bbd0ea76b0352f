"""What tests of loaders share: weights to write, errors to read, and ways to damage a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tallycell.activations import activation
from tallycell.errors import TallycellError
from tallycell.loaders import LoadedModel, load
from tallycell.parameters import Activations, LSTMParameters
from tallycell.recogniser import Recogniser


def random_weights(*, layers=1, suffixes=("",), hidden=2, features=3, dtype=np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(layers)
    weights = {}
    for layer in range(layers):
        for suffix in suffixes:
            width = features if layer == 0 else len(suffixes) * hidden
            weights[f"weight_ih_l{layer}{suffix}"] = rng.normal(size=(4 * hidden, width)).astype(dtype)
            weights[f"weight_hh_l{layer}{suffix}"] = rng.normal(size=(4 * hidden, hidden)).astype(dtype)
            weights[f"weight_ch_l{layer}{suffix}"] = rng.normal(size=3 * hidden).astype(dtype)
    return weights


def everything(dtype=np.float32) -> LSTMParameters:
    """Every setting away from its default; constants whose decimals a careless writer would round."""
    return LSTMParameters(
        random_weights(layers=2, suffixes=("", "_reverse"), dtype=dtype),
        (
            Activations(activation("hard_sigmoid", alpha=1 / 3, beta=0.1 + 0.2), activation("sine")),
            Activations(hidden=activation("elu", alpha=np.nextafter(1, 2))),
        ),
        "coupled",
        clip_pre=1e-3 + 1e-17,
        clip_cell=np.pi,
    )


def a_recogniser(**changes) -> Recogniser:
    rng = np.random.default_rng(0)
    parts = {
        "alphabet": ("(", ")", "\n", "é", "\ud800", '"', "<unknown>"),
        "inputs": rng.normal(size=(7, 3)),
        "parameters": LSTMParameters(random_weights(dtype=np.float64), forget_gate="none"),
        "readout_weight": rng.normal(size=(2, 2)).T,  # not contiguous
        "readout_bias": rng.normal(size=2),
        "outputs": ("no", "yes"),
        "decision": "threshold",
        "h_0": rng.normal(size=(1, 2)),
        "unknown": "<unknown>",
    }
    return Recogniser(**parts | changes)


def line_of(action, error=TallycellError) -> str:
    """Text of the error that an action ends in; it must be one line."""
    with pytest.raises(error) as raised:
        action()
    text = str(raised.value)
    assert text
    assert len(text.splitlines()) == 1
    return text


def write_torch(tensors, path):
    import torch

    torch.save({name: torch.from_numpy(np.array(x)) for name, x in tensors.items()}, path)


def with_prefix(prefix: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": x for name, x in random_weights().items()} | more


def load_or_line(path: Path) -> LoadedModel | str:
    try:
        return load(path)
    except TallycellError as error:
        return str(error)


def flipped(content: bytes, times: int) -> Iterator[bytes]:
    """The file with one to three bits turned, so many times."""
    rng = np.random.default_rng(1)
    for _ in range(times):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(8)
        yield bytes(damaged)


def cut(content: bytes, times: int) -> Iterator[bytes]:
    """The file cut short, in so many places."""
    for length in range(0, len(content) - 1, max(1, len(content) // times)):
        yield content[:length]
