"""What commands print for other programs: one object, written in one way, which says first by what it is written."""

import ast
import io
import json
import sys
from pathlib import Path

import pytest

import tallycell as tc
from compiled_once import network_of
from tallycell.cli import terminal

COMMANDS = {
    "machines": ("machines",),
    "languages": ("languages",),
    "run": ("run", "anbn", "aabb", "--steps"),
    "inspect": ("inspect", "MODEL"),
    "read": ("read", "MODEL", "--text", "TEXT", "--no-effects"),
    "explain": ("explain", "MODEL", "--text", "TEXT"),
    "extract": ("extract", "MODEL"),
    "compile": ("compile", "parity", "-o", "NEW"),
    "check": (
        "check",
        "anbn",
        "MODEL",
        "--samples",
        "10",
        "--length",
        "2",
        "--longest",
        "100",
        "--language",
        "a^n b^n",
    ),
    "harden": ("harden", "MODEL", "-o", "NEW", "--no-prove"),
    "train": ("train", "parity", "-o", "NEW", "--hidden", "2", "--steps", "2", "--networks", "1"),
}


@pytest.fixture
def call(run, tmp_path):
    files = {"MODEL": tmp_path / "anbn.safetensors", "TEXT": tmp_path / "s.txt", "NEW": tmp_path / "new.safetensors"}
    tc.save(network_of("anbn"), files["MODEL"])
    files["TEXT"].write_text("aabb" * 30, encoding="utf-8")
    return lambda name: run(*(files.get(argument, argument) for argument in COMMANDS[name]), "--json")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_one_object_that_begins_with_its_version(call, name):
    if name == "train":
        pytest.importorskip("torch")
    out = call(name)
    value = json.loads(out)
    assert list(value)[:2] == ["schema_version", "tallycell_version"]
    assert (value["schema_version"], value["tallycell_version"]) == ("2", tc.__version__)
    assert out == terminal.json_text({key: value[key] for key in list(value)[2:]}) + "\n"


def test_each_command_that_takes_json_is_tested_above(run):
    """Which takes it is told by its help."""
    lines = run("--help")[1].splitlines()
    named = {line.split()[0] for line in lines if line.startswith("  ") and line.split()}
    known = [name for name in named if name.isalpha() and "--json" in run(name, "--help")[1]]
    assert set(known) == set(COMMANDS)


def test_json_is_written_in_one_place():
    """Nothing in the command line writes JSON beside it."""
    for path in Path(terminal.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        writes = [one for one in calls if isinstance(one.func, ast.Attribute) and one.func.attr in ("dumps", "dump")]
        assert not writes or path.name == "terminal.py", path.name


def test_training_says_of_its_networks_what_compiling_says(run, tmp_path):
    pytest.importorskip("torch")
    trained, exact, made = (tmp_path / f"{name}.safetensors" for name in ("trained", "exact", "made"))
    out = run("train", "parity", "-o", trained, "--hidden", 4, "--hardened", exact, "--json")[1]
    found, compiled = json.loads(out), json.loads(run("compile", "parity", "-o", made, "--json")[1])
    assert [found[name]["file"] for name in ("network", "hardened")] == [str(trained), str(exact)]
    assert found["network"].keys() == found["hardened"].keys() == compiled["network"].keys()
    assert found["horizon"].keys() == compiled["horizon"].keys()
    assert found["horizon"]["symbols"] is compiled["horizon"]["symbols"] is None  # without end


def test_what_standard_output_cannot_hold_is_an_escape(monkeypatch):
    for encoding, written in (("utf-8", '"é"'), ("ascii", '"\\u00e9"'), ("latin-1", '"\\u00e9"')):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        text = terminal.json_text({"symbol": "é", "emoji": "😀", "mark": "\u202e", "half": "\ud800"})
        text.encode(encoding)
        assert written in text
        assert json.loads(text)["emoji"] == "😀"
        assert "\\u202e" in text
        assert "\\ud800" in text


def test_numbers_that_are_none_are_null():
    text = terminal.json_text({"of": {"one": [1.5, float("inf"), (float("nan"), 2)]}, "whole": 10**30, "true": True})
    assert json.loads(text)["of"] == {"one": [1.5, None, [None, 2]]}
    assert json.loads(text)["whole"] == 10**30
    assert json.loads(text)["true"] is True
