"""What all tests share: fresh memory that shows, examples that repeat, third-party data where there is any."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Small matrices on few cores: threads cost more than they bring. It counts only before a library starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

import tallycell.activations

ROOT = Path(__file__).parent.parent

hypothesis.settings.register_profile("tallycell", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("tallycell")


def _filled_with_nan(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def made(*args: Any, **kwargs: Any) -> np.ndarray:
        array = make(*args, **kwargs)
        if np.issubdtype(array.dtype, np.inexact):
            array.fill(np.nan)
        return array

    return made


@pytest.fixture(scope="session", autouse=True)
def _fresh_memory_is_nan() -> Iterator[None]:
    """Memory that nobody wrote is NaN, so that reading it does not pass by luck."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", _filled_with_nan(np.empty))
        patch.setattr(np, "empty_like", _filled_with_nan(np.empty_like))
        yield


@pytest.fixture(autouse=True)
def _own_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations that a test registers end with it."""
    monkeypatch.setattr(tallycell.activations, "_FAMILIES", dict(tallycell.activations._FAMILIES))


@pytest.fixture(scope="session")
def third_party() -> Path:
    """Folder of third-party models and data, which are not part of the project; the test is skipped without it."""
    folder = Path(os.environ.get("TALLYCELL_TEST_DATA", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no third-party data at {folder}; set TALLYCELL_TEST_DATA to its folder")
    return folder
