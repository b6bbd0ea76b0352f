"""The commands on learning to count, as a user meets them."""

import json
import os
import subprocess
import sys

import pytest

import learning_fakes as fakes
import tallycell as tc
from tallycell.learning.rows import rows
from tallycell.learning.scoring import passes
from tallycell.machine.checking.network_runner import NetworkRunner

pytest.importorskip("torch")

from tallycell.learning.training import _Training

# ---- train -----------------------------------------------------------------------------------------------------------


def test_train_writes_a_network_that_opens_and_runs(run, tmp_path):
    file = tmp_path / "parity.safetensors"
    status, out, err = run("train", "parity", "-o", file, "--hidden", 3, "--steps", 20, "--networks", 1, "--json")
    said = json.loads(out)
    assert err == ""
    assert (said["language"], said["network"]["file"], said["network"]["hidden_size"]) == ("parity", str(file), 3)
    assert said["hardened"] is said["horizon"] is None
    assert said["networks"] >= 1
    assert status == (0 if said["snapped_wrong"] == 0 else 1)
    net = tc.load(file).recogniser
    assert (net.alphabet, net.outputs, net.parameters.hidden_size) == (("a", "b"), ("accept",), 3)
    assert NetworkRunner(net).run(net.encode("abba")[None])[0].shape == (1, 4, 1)
    assert list(tmp_path.iterdir()) == [file]  # the checkpoint is gone


def test_train_writes_the_hardened_network_too_and_says_how_far_it_is_proved(run, tmp_path):
    trained, exact = tmp_path / "a.safetensors", tmp_path / "exact.safetensors"
    status, out, err = run("train", "dyck-1", "-o", trained, "--hidden", 1, "--hardened", exact)
    assert (status, err) == (0, "")
    assert "snapped (its gates set to 0 or 1), it is right on all of the training strings" in " ".join(out.split())
    words = " ".join(out.split())
    assert f"{exact} holds the hardened network (its gates are exactly 0 or 1) horizon: " in words
    assert "on strings of up to 16,678,912 symbols (float32)" in words
    net = tc.load(exact).recogniser
    for string, may_end in (("(" * 3000 + ")" * 3000, True), ("(" * 3000 + ")" * 2999, False)):
        decided = NetworkRunner(net).run(net.encode(string)[None])[0]
        assert decided[0, -1, net.outputs.index("accept")] == may_end


def test_train_says_that_there_is_nothing_to_harden(run, tmp_path):
    exact = tmp_path / "exact.safetensors"
    arguments = ("train", "dyck-1", "-o", tmp_path / "a.safetensors", "--steps", 2, "--networks", 1, "--hidden", 1)
    status, out, _ = run(*arguments, "--hardened", exact)
    assert status == 1
    assert f"{exact} is not written, as no machine read from the network is right on all" in " ".join(out.split())
    assert not exact.exists()


def test_train_gives_the_same_by_seed(run, tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        run("train", "even-pairs", "-o", file, "--hidden", 2, "--steps", 5, "--networks", 1, "--seed", seed)
    first, again, other = (tc.load(file).recogniser for file in files)
    assert first == again
    assert first != other


def test_train_says_when_no_network_is_right(run, tmp_path):
    status, out, _ = run(
        "train", "dyck-1", "-o", tmp_path / "a.safetensors", "--steps", 2, "--networks", 1, "--hidden", 1
    )
    assert status == 1
    assert "an LSTM of 1 unit for dyck-1, the best of 8 trained in" in " ".join(out.split())
    assert "it is wrong on" in out


def test_train_takes_as_many_units_as_the_scoreboard_has(run, tmp_path):
    _, out, _ = run("train", "dyck-1", "-o", tmp_path / "a.safetensors", "--steps", 1, "--networks", 1)
    assert "an LSTM of 2 units for dyck-1" in " ".join(out.split())
    _, out, _ = run("train", "tomita-1", "-o", tmp_path / "a.safetensors", "--steps", 1, "--networks", 1)
    assert "an LSTM of 8 units for tomita-1" in " ".join(out.split())


def test_train_refuses_before_it_works(run, tmp_path):
    status, _, err = run("train", "anban", "-o", tmp_path / "a.safetensors")
    assert (status, err[:51]) == (2, "tallycell: 'anban' is neither a language nor a file")
    status, _, err = run("train", "anbn", "-o", tmp_path / "a.onnx")
    assert status == 2
    assert "so let the name end in .safetensors" in err


def test_train_refuses_places_where_it_cannot_write_before_it_works(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.training._Training", None)
    arguments = ("train", "dyck-1", "-o", tmp_path / "a.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    for hardened, said in (
        ("a.safetensors", "cannot be both the network and the hardened one; give --hardened another name"),
        ("folder.safetensors", "folder.safetensors: it is a folder; give the name of a file"),
        ("no/b.safetensors", "make it first"),
    ):
        status, _, err = run(*arguments, "--hardened", tmp_path / hardened)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


def test_train_refuses_a_checkpoint_that_is_none_in_one_line(run, tmp_path):
    for name, make in (("a", getattr(os, "mkfifo", os.mkdir)), ("b", lambda path: path.write_text("{}"))):
        make(tmp_path / f"{name}.safetensors.training")
        status, _, err = run("train", "dyck-1", "-o", tmp_path / f"{name}.safetensors", "--steps", 2)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{name}.safetensors.training is no checkpoint of a training (" in err
        assert err.endswith("; delete it to begin anew\n")


FULL = """
import resource, sys
import tallycell.loaders
from tallycell.learning import training

training.SECONDS_BETWEEN_CHECKPOINTS = 0.0
left, save = int(sys.argv.pop(1)), tallycell.loaders.save

def fill(net, path):
    global left
    if left == 0:  # from now on no file may be longer than that, as where the disk is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    left -= 1
    save(net, path)

tallycell.loaders.save = fill
from tallycell.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of the size of files")
@pytest.mark.parametrize("saved", [0, 1])  # the network cannot be saved, or the hardened one
def test_train_goes_on_from_its_checkpoint_if_its_networks_could_not_be_saved(run, tmp_path, monkeypatch, saved):
    def arguments(folder):
        files = [folder / "a.safetensors", "--hardened", folder / "exact.safetensors"]
        return ["train", "tomita-1", "--hidden", 2, "--networks", 8, "--steps", 50, "-o", *files]

    files = [tmp_path / name for name in ("a.safetensors", "exact.safetensors", "a.safetensors.training")]
    command = [sys.executable, "-c", FULL, str(saved), *map(str, arguments(tmp_path))]
    full = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (2, f"tallycell: cannot write {files[saved]}: File too large\n")
    assert [file.exists() for file in files] == [saved == 1, False, True]

    steps, take_step = [], _Training.take_step
    monkeypatch.setattr(_Training, "take_step", lambda self: steps.append(self.step) or take_step(self))
    status, _, err = run(*arguments(tmp_path))
    assert (status, err, steps) == (0, "", [])  # the checkpoint was of the last step
    assert [file.exists() for file in files] == [True, True, False]
    whole = tmp_path / "whole"
    whole.mkdir()
    run(*arguments(whole))
    assert [(whole / file.name).read_bytes() for file in files[:2]] == [file.read_bytes() for file in files[:2]]
    assert len(steps) == 50


# ---- scoreboard ------------------------------------------------------------------------------------------------------


def test_scoreboard_runs_rows_and_writes_the_page(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoreboard.train_row", fakes.train_now_and_then)
    results, page = tmp_path / "r.jsonl", tmp_path / "pages/board.md"
    where = ("--results", results, "--page", page, "--processes", 0)
    status, out, err = run("scoreboard", "10a", *where, "--seeds", 2)
    assert (status, err) == (0, "")
    assert out == f"{page} shows the results of {results}\n"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(one["row"], one["seed"]) for one in lines] == [("10a", 0), ("10a", 1)]
    (row,) = rows(("10a",))
    assert all(passes(row, one["hardened"]) for one in lines)
    assert "| 10a | an even number of b | 4 |" in page.read_text()
    assert (tmp_path / "pages/pictures/scoreboard.png").is_file()


def test_scoreboard_says_what_is_left_when_time_is_up(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoreboard.train_row", fakes.train_exact)
    where = ("--results", tmp_path / "r.jsonl", "--page", tmp_path / "board.md", "--processes", 0, "--no-plot")
    run("scoreboard", "10b", *where, "--seeds", 1)
    status, out, _ = run("scoreboard", "10b", *where, "--seeds", 4, "--minutes", 0)
    assert status == 0
    assert out.endswith("; 3 seeds are still to be run: call the command again\n")
    assert "1 of 1" in (tmp_path / "board.md").read_text()


def test_scoreboard_makes_the_page_alone(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoreboard.train_row", fakes.train_exact)
    where = ("--results", tmp_path / "r.jsonl", "--page", tmp_path / "board.md")
    run("scoreboard", "10b", *where, "--seeds", 1, "--processes", 0, "--no-plot")
    (tmp_path / "board.md").unlink()
    before = (tmp_path / "r.jsonl").read_bytes()
    status, _, _ = run("scoreboard", *where, "--only-page", "--no-plot")
    assert (status, (tmp_path / "board.md").is_file()) == (0, True)
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_scoreboard_refuses_what_it_does_not_know(run, tmp_path):
    status, _, err = run("scoreboard", "12", "--page", tmp_path / "a.md")
    assert (status, err[:43]) == (2, "tallycell: there is no row '12'; there are ")
    status, _, err = run("scoreboard", "--only-page", "--results", tmp_path / "none", "--page", tmp_path / "a.md")
    assert status == 2
    assert "holds no results of the rows as they are set now; run tallycell scoreboard first" in err


def never(row, seed):
    raise AssertionError


def test_scoreboard_refuses_places_where_it_cannot_write_before_it_trains(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoreboard.train_row", never)
    for name in ("file", "folder/scoreboard.png", "picture/pictures/scoreboard.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "picture/pictures/scoreboard.png").mkdir()
    good = tmp_path / "r.jsonl"
    for results, page, said in (
        (tmp_path / "file/r.jsonl", "page.md", "cannot write {results}: "),
        (tmp_path / "folder", "page.md", "{results} is a directory; give the file inside it"),
        (good, "file/page.md", "cannot write {page}: "),
        (good, "folder", "cannot write {page}: it is a folder; give the name of a file"),
        (good, "picture/page.md", "/picture/pictures/scoreboard.png: it is a folder; give the name of a file"),
        (good, "r.jsonl", "cannot write {page}: the results are there; give the page another name"),
    ):
        where = ("--results", results, "--page", tmp_path / page, "--processes", 0)
        status, _, err = run("scoreboard", "10b", *where)
        assert (status, err.count("\n")) == (2, 1)
        assert said.format(results=results, page=tmp_path / page) in err
    assert not good.exists()


def test_scoreboard_says_before_it_trains_that_it_cannot_draw(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoreboard.train_row", never)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else object())
    where = ("--results", tmp_path / "r.jsonl", "--page", tmp_path / "page.md", "--processes", 0)
    status, _, err = run("scoreboard", "10b", *where)
    assert (status, err.count("\n")) == (2, 1)
    assert "needs the package 'matplotlib'" in err


def test_scoreboard_leaves_a_file_alone_that_is_none_of_its_own(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tallycell.learning.scoreboard.train_row", never)
    notes = tmp_path / "notes.txt"
    where = ("--results", notes, "--page", tmp_path / "page.md", "--processes", 0)
    for content in (b"notes, all in one line", b'{"row": "1"}', b"\xff\xfe", b"{"):
        notes.write_bytes(content)
        status, _, err = run("scoreboard", "10b", *where)
        assert (status, err.count("\n")) == (2, 1)
        assert str(notes) in err
        assert notes.read_bytes() == content
