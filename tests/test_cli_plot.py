"""``--plot``: each command draws what it says, into a file that is tried before anything long begins."""

import sys

import pytest

import tallycell as tc
from compiled_once import network_of

pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def counter(tmp_path):
    tc.save(network_of("anbn"), tmp_path / "anbn.safetensors")
    return tmp_path / "anbn.safetensors"


@pytest.mark.parametrize("arguments", [
    ("read",), ("read", "--no-effects"), ("read", "--unit", "0.0"), ("explain",), ("explain", "--json"),
])  # fmt: skip
def test_what_is_printed_is_drawn_too(run, tmp_path, counter, arguments):
    text = tmp_path / "s.txt"
    text.write_text("aaabbb" * 40, encoding="utf-8")
    command, *options = arguments
    call = (command, counter, "--text", text, *options)
    plain = run(*call)
    drawn = run(*call, "--plot", tmp_path / "p.png")
    assert plain == drawn
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)


def test_a_machine_is_drawn_beside_what_is_written(run, tmp_path):
    status, out, _ = run("export", "anbn", "--plot", tmp_path / "m.svg")
    assert (status, out) == run("export", "anbn")[:2]
    assert "<svg" in (tmp_path / "m.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("call", [("read",), ("explain",), ("export", "anbn")])
def test_an_ending_that_cannot_be_written_is_said_first(run, tmp_path, call):
    status, out, err = run(*call, "--plot", tmp_path / "p.gif")
    assert (status, out) == (2, "")
    assert "give a name that ends in .png, .svg or .pdf" in err


def test_without_matplotlib_the_extra_is_named_only_where_a_picture_is_wanted(run, tmp_path, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else found(name, *a))
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    status, _, err = run("export", "anbn", "--plot", tmp_path / "m.png")
    assert (status, "tallycell[plot]" in err) == (2, True)
    assert run("export", "anbn")[0] == 0
