"""Where commands write: the place is tried before anything long begins, and nothing but a regular file is replaced."""

import os
import sys

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and devices are POSIX's")


@pytest.fixture
def inputs(tmp_path):

    tc.save(network_of("parity"), tmp_path / "net.safetensors")
    np.save(tmp_path / "x.npy", np.ones((5, 2), np.float32))
    return tmp_path


# The command with {} for its output, and what takes long in it, which is not to be reached.
WRITERS = {
    "export": (("export", "anbn", "-o", "{}"), "tallycell.machine.notation.text.format_machine"),
    "compile": (("compile", "anbn", "-o", "{}.safetensors"), "tallycell.machine.compiling.compilation.compile_machine"),
    "extract": (("extract", "net.safetensors", "-o", "{}"), "tallycell.machine.extracting.extraction.extract_machine"),
    "harden": (
        ("harden", "net.safetensors", "-o", "{}.safetensors"),
        "tallycell.machine.extracting.extraction.extract_with_walk",
    ),
    "trace": (("trace", "net.safetensors", "x.npy", "-o", "{}"), "tallycell.trace.record_to_store"),
}


def make_place(folder, kind, name):
    """Something at a place that takes no file."""
    path = folder / name
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "device":
            path.symlink_to(os.devnull)
        case "no folder":
            return folder / "no" / name
        case "no file of anybody":
            return f"/proc/self/{name}"
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["FIFO", "device", "no folder", "no file of anybody"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_place_that_takes_no_file_is_refused_before_anything_long(inputs, monkeypatch, run, writer, kind):
    if writer == "trace" and kind == "no folder":
        pytest.skip("the folders of a trace are made")
    monkeypatch.chdir(inputs)
    arguments, long = WRITERS[writer]
    monkeypatch.setattr(long, lambda *_, **__: pytest.fail("it began"))
    place = make_place(inputs, kind, arguments[-1].format("out"))
    before = place.lstat() if kind in ("FIFO", "device") else None  # of the link itself
    status, _, err = run(*arguments[:-1], place)
    assert status == 2
    assert err.count("\n") == 1
    assert str(place) in err
    assert before is None or (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_an_output_through_a_link_goes_where_it_leads(inputs, run):
    (inputs / "elsewhere").mkdir()
    (inputs / "out.tc").symlink_to("elsewhere/machine.tc")
    assert run("export", "anbn", "-o", inputs / "out.tc")[0] == 0
    assert (inputs / "out.tc").is_symlink()
    assert "alphabet a b" in (inputs / "elsewhere" / "machine.tc").read_text()


# ---- what is opened --------------------------------------------------------------------------------------------------

READERS = {
    "a model": ("inspect", "{}"),
    "a manifest": ("inspect", "raw"),
    "a text": ("read", "net.safetensors", "--text", "{}"),
    "an array": ("read", "net.safetensors", "--array", "{}"),
    "arrays": ("read", "net.safetensors", "--array", "{}"),
    "a table": ("read", "net.safetensors", "--array", "{}"),
    "a sound": ("read", "net.safetensors", "--audio", "{}"),
    "a machine": ("run", "{}", "ab"),
    "strings": ("extract", "net.safetensors", "--inputs", "{}"),
    "a network": ("check", "anbn", "{}"),
}
PLACES = {"a manifest": "raw/manifest.json", "an array": "x.npy.npy", "arrays": "x.npz", "a table": "x.csv"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("target", [None, os.devnull, "/dev/zero"], ids=["FIFO", "null", "zero"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_at_once(inputs, monkeypatch, run, reader, target):
    monkeypatch.chdir(inputs)
    (inputs / "raw").mkdir()
    place = inputs / PLACES.get(reader, "given")
    if target is None:
        os.mkfifo(place)
    else:
        place.symlink_to(target)
    status, _, err = run(*(argument.format(place) for argument in READERS[reader]))
    assert status == 2
    assert err.count("\n") == 1
    kind = "a FIFO (named pipe)" if target is None else "a device"
    assert f"{place.name} is {kind}, and only regular files are opened" in err
