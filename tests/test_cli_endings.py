"""Commands that are interrupted, asked to end, or whose output goes nowhere: no traceback, nothing half-written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors are POSIX's")

RUN = "from tallycell.cli import main; main()"
# Sends a signal to itself when a library is first looked for.
AT_IMPORT = f"""
import os, sys
class Sender:
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))
sys.meta_path.insert(0, Sender)
which, number = sys.argv[1:3]
del sys.argv[1:3]
sys.argv[1:1] = [which, number]
{RUN}
"""
# Sends a signal to itself while a trace is written.
WHILE_WRITING = """
import os, sys, xarray
number = int(sys.argv.pop(1))
written = xarray.Dataset.to_zarr
def to_zarr(self, store, **options):
    written(self, store, **options)
    os.kill(os.getpid(), number)
    sum(range(10**6))  # the signal is handled between two instructions of Python
xarray.Dataset.to_zarr = to_zarr
from tallycell.cli import main
main()
"""


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("library", ["typer", "rich", "numpy", "tallycell.cli.options", "tallycell.recogniser"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_ends_without_a_traceback(library, number):
    done = python(AT_IMPORT, library, int(number))
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


@pytest.fixture
def model(tmp_path):
    weights = {"weight_ih_l0": np.ones((8, 4)), "weight_hh_l0": np.zeros((8, 2))}
    tc.save(tc.LSTMParameters(weights), tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", np.ones((20, 4)))
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_trace_is_written_leaves_the_former_trace(model, tmp_path, number):
    store = tmp_path / "run.zarr"
    tc.save_trace(tc.record_trace(tc.load(model).lstm, np.zeros((5, 4))), store)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = python(WHILE_WRITING, int(number), "trace", model, tmp_path / "x.npy", "-o", store)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert tc.open_trace(store).sizes["time"] == 5


@pytest.mark.parametrize("command", [("machines",), ("run", "anbn", "ab"), ("inspect",), ("export", "anbn")])
def test_a_closed_output_is_no_traceback_and_gives_no_number_to_a_file(model, command):
    arguments = [*command, model] if command == ("inspect",) else command
    code = f"import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-c', {RUN!r}, *sys.argv[1:]])"
    done = python(code, *arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_written_while_the_output_is_closed_is_whole(tmp_path):
    code = f"import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-c', {RUN!r}, *sys.argv[1:]])"
    done = python(code, "compile", "anbn", "--no-prove", "-o", tmp_path / "a.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert tc.load(tmp_path / "a.safetensors").recogniser is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["machines", "--help", "--version"])
def test_an_output_that_is_full_is_one_line(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tallycell", command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        2, "tallycell: cannot write to standard output: No space left on device\n"
    )  # fmt: skip


def test_an_output_that_nobody_reads_any_more_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tallycell", "machines"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


# ---- compiled code that is kept --------------------------------------------------------------------------------------

COMPILE = """
from tallycell.kernels.cpu.compiling import compiled

@compiled
def add(a, b):
    return a + b

print(add(1, 2))
"""


@pytest.fixture
def compiling(tmp_path):
    """Runs a script that compiles one function and keeps the code in a folder of its own."""
    script = tmp_path / "script.py"
    script.write_text(COMPILE)
    kept = tmp_path / "kept"

    def run(**options):
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, check=False,
            env=os.environ | {"NUMBA_CACHE_DIR": str(kept)}, **options,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "3\n")
        return done.stderr, [path for path in kept.rglob("*.nb?") if path.is_file()]

    return run


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_kept_code_that_was_cut_short_is_told_and_compiled_anew(compiling, suffix):
    said, kept = compiling()
    assert said == ""
    cut = next(path for path in kept if path.suffix == suffix)
    cut.write_bytes(cut.read_bytes()[:20])
    said, _ = compiling()
    assert said.startswith(f"tallycell: compiled code in {cut.parent} cannot be read (")
    assert said.endswith("): it is compiled anew\n")
    assert compiling()[0] == ""  # it was kept again


def test_code_that_cannot_be_kept_is_told_with_its_folder(compiling):
    import resource

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

    said, kept = compiling(preexec_fn=fill)
    assert kept == []
    assert (
        "File too large): every run compiles anew, which takes seconds. Make room there, or set NUMBA_CACHE_DIR" in said
    )
    assert "/kept/" in said
    assert said.count("\n") == 1
