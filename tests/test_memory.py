"""Memory is asked before it is taken: what may be used, what is needed, and one line where that is too little."""

import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tallycell import memory
from tallycell.errors import InputError
from tallycell.loaders import load
from tallycell.opening import read_table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are read from Linux' files")
MIB = 2**20
MEASURE = Path(__file__).parents[1] / "benchmarks" / "memory.py"


def control_groups(folder: Path, files: dict[str, str], process: str) -> list[int]:
    """What control groups with these files leave to a process in them."""
    for name, content in files.items():
        path = folder / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "cgroup").write_text(process)
    return list(memory._left_of_groups(folder / "mounted", folder / "cgroup"))


def test_a_control_group_leaves_its_limit_less_what_is_used_and_not_only_cached(tmp_path):
    files = {
        "memory.max": f"{900 * MIB}\n",
        "memory.current": f"{100 * MIB}\n",
        "a/memory.max": f"{500 * MIB}\n",
        "a/memory.current": f"{90 * MIB}\n",
        "a/memory.stat": f"anon 1\ninactive_file {30 * MIB}\nactive_file 7\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": f"{80 * MIB}\n",
    }
    assert control_groups(tmp_path, files, "0::/a/b\n") == [440 * MIB, 800 * MIB]


def test_control_groups_of_the_first_version_are_read_as_well(tmp_path):
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",  # none
        "memory/memory.usage_in_bytes": f"{300 * MIB}\n",
        "memory/a/memory.limit_in_bytes": f"{200 * MIB}\n",
        "memory/a/memory.usage_in_bytes": f"{150 * MIB}\n",
        "memory/a/memory.stat": f"total_inactive_file {20 * MIB}\n",
    }
    lines = "12:pids:/a\n5:cpu,memory:/a\n1:name=systemd:/\n"
    assert control_groups(tmp_path, files, lines) == [70 * MIB]


def test_a_group_that_cannot_be_seen_limits_nothing(tmp_path):
    assert control_groups(tmp_path, {}, "0::/../elsewhere\n") == []


def test_the_least_of_all_limits_is_what_may_be_used(monkeypatch):
    monkeypatch.setattr(memory, "_left_of_groups", lambda: iter([5 * MIB]))
    assert memory.available_memory() == 5 * MIB
    with pytest.raises(InputError, match=r"it needs about 6\.3 MB of memory, and this process may use 5\.2 MB; read a"):
        memory.require_memory(6 * MIB, "it")
    memory.require_memory(5 * MIB, "it")
    monkeypatch.setattr(memory, "_left_of_groups", lambda: iter([-MIB]))
    assert memory.available_memory() == 0


def test_a_limit_on_addresses_counts():
    code = (
        "import resource; from tallycell.memory import available_memory\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2 * 2**30}, resource.RLIM_INFINITY)); print(available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**30 < int(done.stdout) < 2 * 2**30


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("shape", [(2, 2, 24, 5, 1, 10_000, "float32"), (1, 1, 16, 100, 50, 400, "float64")])
def test_what_is_said_to_be_needed_is_not_less_than_what_is_taken(shape, reading):
    command = [sys.executable, str(MEASURE), json.dumps(shape), str(int(reading))]
    said, taken = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 0 < taken <= said


@pytest.fixture
def lstm(tmp_path):
    return save_lstm(tmp_path, [""])


def save_lstm(folder, directions):
    import tallycell as tc

    shapes = {"weight_ih_l0": (256, 4), "weight_hh_l0": (256, 64)}
    weights = {name + suffix: np.zeros(shape) for name, shape in shapes.items() for suffix in directions}
    tc.save(tc.LSTMParameters(weights), folder / "model.safetensors")
    return folder / "model.safetensors"


def limited(*command: object, gib: float = 3) -> subprocess.CompletedProcess[str]:
    """The command line in a process that may use so many GiB of addresses."""
    return subprocess.run(
        [sys.executable, "-m", "tallycell", *map(str, command)], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30), resource.RLIM_INFINITY)),
    )  # fmt: skip


@pytest.mark.parametrize("command", ["read", "trace"])
def test_what_does_not_fit_is_said_in_one_line_before_it_begins(tmp_path, command):
    np.save(tmp_path / "x.npy", np.zeros((1_000_000, 4), np.float32))
    # One unit is read from a whole trace; all are read block by block. What is read from both ends is traced at once.
    lstm = save_lstm(tmp_path, [""] if command == "read" else ["", "_reverse"])
    read, trace = ("--array", tmp_path / "x.npy", "--unit", "0.0"), (tmp_path / "x.npy", "-o", tmp_path / "t.zarr")
    source = read if command == "read" else trace
    done = limited(command, lstm, *source)
    doing = {"read": "reading", "trace": "recording"}[command]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tallycell: {doing} 1,000,000 steps of 64 units needs about ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "t.zarr").exists()


def test_what_fits_is_read_under_a_limit(lstm, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    done = limited("read", lstm, "--array", tmp_path / "x.npy", gib=8)
    assert (done.returncode, done.stderr) == (0, "")


# ---- archives and tables ---------------------------------------------------------------------------------------------


def lie_about_size(path: Path, name: str, content: bytes, stated: int) -> None:
    """A zip whose one entry unfolds to more than its directory says."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.infolist()[0].file_size = stated
    assert zipfile.ZipFile(path).infolist()[0].file_size == stated


PEAK = """
import resource, sys, tracemalloc
from pathlib import Path
from tallycell.opening import read_table
from tallycell.loaders import load
import torch
for reader, file in zip(sys.argv[1::2], sys.argv[2::2]):
    read = {"load": load, "array": read_table}[reader]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(Path(file))
    except ValueError as error:
        print(error)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_an_archive_is_unfolded_to_no_more_than_its_directory_says(tmp_path):
    """One process reads them all: the most that it has had grows with the first that takes more."""
    bombs = {
        "bomb.pt": ("load", "a/data.pkl"), "weights.npz": ("load", "weight_ih_l0.npy"),
        "table.npz": ("array", "x.npy"), "bomb.keras": ("load", "config.json"),
    }  # fmt: skip
    words = []
    for file, (reader, entry) in bombs.items():
        lie_about_size(tmp_path / file, entry, bytes(2**28), stated=1000)
        words += [reader, str(tmp_path / file)]
    with zipfile.ZipFile(tmp_path / "bomb.keras", "a") as archive:
        archive.writestr("model.weights.h5", b"")
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 2 * len(bombs)
    for file, text, grown in zip(bombs, said[::2], said[1::2], strict=True):
        assert file in text
        assert int(grown) < 100, file  # MiB, where it unfolded to 256


def test_an_input_that_promises_more_than_it_has_takes_no_memory(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4)}".ljust(117) + "\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(ValueError, match=r"shape \(1000000000000, 4\) needs 16000000000000 bytes, the file has 0"):
        read_table(tmp_path / "x.npy")


@pytest.mark.timeout(30)
def test_a_table_of_a_million_columns_is_refused_in_seconds(tmp_path):
    row = ",".join(["1"] * 10**6)
    (tmp_path / "wide.csv").write_text(f"{row}\n{row}\n")
    with pytest.raises(InputError, match=r"has 1,000,000 columns; expected one a feature, at most 10,000: are rows"):
        read_table(tmp_path / "wide.csv")


def test_a_table_beyond_the_memory_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("1,2\n" * 1000)
    monkeypatch.setattr(memory, "available_memory", lambda: 50_000)
    with pytest.raises(InputError, match=r"reading the table .*x\.csv needs about 56,000 bytes of memory"):
        read_table(tmp_path / "x.csv")


def test_a_text_beyond_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch, capsys):
    from tallycell.cli.inputs import open_input
    from tallycell.cli.options import Source

    (tmp_path / "a.txt").write_text("a" * 10_000)
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    with pytest.raises(InputError, match=r"reading the 10,000 bytes of .*a\.txt needs about"):
        open_input(source=Source(text=tmp_path / "a.txt"))


def test_a_model_from_a_file_of_zeros_that_is_what_it_says_is_still_read(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", weight_ih_l0=np.zeros((4000, 100)), weight_hh_l0=np.zeros((4000, 1000)))
    assert load(tmp_path / "m.npz").lstm.hidden_size == 1000
