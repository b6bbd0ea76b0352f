"""The languages that can be learned, and one's own from a file, as a user meets them."""

import json

import pytest

import tallycell as tc
from tallycell.learning.languages import language, languages

MORE_A = "alphabet a b\ncounter n\non a  n +1\non b  n -1\naccept when n > 0\n"


def test_all_languages_are_listed(run):
    status, out, err = run("languages")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(languages())
    assert ["dyck-1", "()", "what", "may", "follow", "balanced", "brackets"] in [
        line.split() for line in out.splitlines()
    ]
    listed = json.loads(run("languages", "--json")[1])["languages"]
    assert [one["name"] for one in listed] == list(languages())
    assert listed[0]["outputs"] == ["a", "b", "accept"]


def test_a_machine_in_a_file_is_learned(run, tmp_path):
    pytest.importorskip("torch")
    program, file = tmp_path / "more_a.machine", tmp_path / "net.safetensors"
    program.write_text(MORE_A)
    status, out, err = run("train", program, "-o", file, "--hidden", 2, "--steps", 20, "--networks", 1, "--json")
    assert (status in (0, 1), err) == (True, "")
    assert json.loads(out)["language"] == "more_a"
    net = tc.load(file).recogniser
    assert (net.alphabet, net.outputs, net.decision) == (("a", "b"), ("accept",), "threshold")


def test_a_machine_in_json_is_the_same_language(run, tmp_path):
    text, other = tmp_path / "more_a.machine", tmp_path / "more_a.json"
    text.write_text(MORE_A)
    assert run("export", text, "--to", "json", "-o", other)[0] == 0
    assert language(str(text)).program == language(str(other)).program


def test_what_is_no_language_is_one_line_and_status_2(run, tmp_path):
    program = tmp_path / "odd.machine"
    program.write_text("alphabet a\non a hold\naccept when n > 0\n")
    status, out, err = run("train", program, "-o", tmp_path / "net.safetensors")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "odd.machine: line 3, column 13: counter n is not declared; declare it in a line 'counter n'" in err
    status, _, err = run("train", "dick-1", "-o", tmp_path / "net.safetensors")
    assert status == 2
    assert "'dick-1' is neither a language nor a file; did you mean dyck-1?" in err
