"""Names in files are data: what a command prints of them is printable, one line stays one, and long ones are cut."""

import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

import tallycell as tc
from tallycell.cli import terminal
from tallycell.errors import FormatError
from tallycell.loaders.torch.archive import TorchArchive
from tallycell.machine.notation.interchange import to_json
from tallycell.machine.notation.text import parse

NASTY = "\x1b[2J\x9b31m\u202eevil\nfake line\x07" + "q" * 5000


@pytest.fixture
def run(run):
    """Run the command line in this process; give its exit status and everything that it printed, looked through."""

    def call(*arguments):
        status, out, err = run(*arguments)
        for line in f"{out}\n{err}".split("\n"):
            assert line.isprintable(), ascii(line)
            assert "q" * 201 not in line or "--json" in arguments
            assert not line.startswith("fake line")
        return status, out + err

    return call


def weights(features=3):
    shapes = {"weight_ih_l0": (8, features), "weight_hh_l0": (8, 2)}
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({f"{NASTY}.{name}": array for name, array in weights().items()}, path)
    return path


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_inspect_shows_a_name_as_escapes(run, model, options):
    status, printed = run("inspect", model, *options)
    assert status == 0
    assert "\\u202eevil" in printed
    if options:
        assert json.loads(printed)["lstms"][0]["path"] == NASTY


def test_a_reading_shows_the_names_of_model_columns_and_symbols_as_escapes(run, model, tmp_path):
    rng = np.random.default_rng(0)
    head = ",".join(f'"{name}{NASTY}"' for name in "abc")
    rows = "\n".join(",".join(f"{value:.3f}" for value in row) for row in rng.normal(size=(400, 3)))
    (tmp_path / "x.csv").write_text(f"{head}\n{rows}\n")
    for options in ((), ("--csv",), ("--unit", "0.1")):
        status, printed = run("read", model, "--array", tmp_path / "x.csv", *options)
        assert status == 0
        assert "high " in printed  # a feature triggers something
    status, printed = run("read", model, "--array", tmp_path / "x.csv", "--json")
    assert status == 0
    assert json.loads(printed)["units"]


def test_an_unknown_lstm_and_several_are_listed_in_one_short_line(run, tmp_path):
    tensors = {f"{NASTY}{k}.{name}": array for k in range(100) for name, array in weights().items()}
    save_file(tensors, tmp_path / "many.safetensors")
    for options in ((), ("--lstm", "none")):
        status, printed = run("read", tmp_path / "many.safetensors", "--text", __file__, *options)
        assert status == 2
        assert len(printed.splitlines()) == 1
        assert len(printed) < 3000
    status, printed = run("inspect", tmp_path / "many.safetensors")
    assert status == 0


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_inspect_of_many_lstms_is_short_unless_all_are_asked_for(run, tmp_path, options):
    tensors = {f"l{k}.{name}": array for k in range(150) for name, array in weights().items()}
    save_file(tensors, tmp_path / "many.safetensors")
    status, printed = run("inspect", tmp_path / "many.safetensors", *options)
    assert status == 0
    if options:
        assert len(json.loads(printed)["lstms"]) == 150
    else:
        assert "and 50 more LSTMs; --json gives all" in printed
        assert len(printed.splitlines()) < 210


def test_a_long_entry_of_an_archive_gives_a_short_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/byteorder", NASTY[:900])
    with TorchArchive(tmp_path / "m.pt") as archive, pytest.raises(FormatError) as refused:
        _ = archive.byte_order
    assert "its byte order is b'\\x1b[2J" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("entry", ["byteorder", "version"])
def test_an_entry_of_one_word_that_is_long_is_refused_before_torch_reads_it(tmp_path, entry):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr(f"m/{entry}", b"q" * 1001)
    with pytest.raises(FormatError, match=rf"its entry '{entry}' has 1001 bytes; expected one word"):
        tc.load(tmp_path / "m.pt")


MACHINE = json.dumps(NASTY[:400])[1:-1]  # a name in C has at most 4,095 bytes


@pytest.fixture(params=["m.tc", "m.json"])
def machine(request, tmp_path):
    """A machine whose symbols, states, counters and outputs all have such names."""
    text = (
        f'alphabet "a{MACHINE}" b\ncounter "n{MACHINE}"\nstate "s{MACHINE}":\n  on "a{MACHINE}"  "n{MACHINE}" +1\n'
        f'  on b  "n{MACHINE}" -1\n  tag "o{MACHINE}" when "n{MACHINE}" > 0\n'
    )
    path = tmp_path / request.param
    path.write_text(text if path.suffix == ".tc" else to_json(parse(text)), encoding="utf-8")
    return path


def test_machines_show_their_names_as_escapes(run, machine, tmp_path):
    for options in ((), ("--steps",), ("--json",)):
        assert run("run", machine, "b b", *options)[0] == 0
    for form in ("text", "json", "dot", "c", "python"):
        assert run("export", machine, "--to", form, "-o", tmp_path / "out")[0] == 0
        assert all(line.isprintable() for line in (tmp_path / "out").read_text("utf-8").split("\n"))


def test_a_mistake_in_a_machine_is_one_short_line(run, tmp_path):
    for text in (f'alphabet "{"q" * 5000}', f"alphabet a\non a {'q' * 5000} +1", f"{'q' * 5000}", "x" + NASTY):
        (tmp_path / "m.tc").write_text(text, encoding="utf-8")
        status, printed = run("run", tmp_path / "m.tc", "a")
        assert status == 2
        assert len(printed) < 1000


def test_a_symbol_that_a_text_has_and_a_model_lacks_is_an_escape(run, tmp_path):
    (tmp_path / "a.txt").write_text("a\x1b[2Jb" * 10, encoding="utf-8")
    net = tc.Recogniser(
        alphabet=("a", "b"), inputs=np.eye(2, 3), parameters=tc.LSTMParameters(weights()),
        readout_weight=np.zeros((2, 2)), readout_bias=np.zeros(2), outputs=("no", "yes"),
    )  # fmt: skip
    tc.save(net, tmp_path / "net.safetensors")
    status, printed = run("read", tmp_path / "net.safetensors", "--text", tmp_path / "a.txt")
    assert status == 2
    assert "symbol '\\x1b' at position 1" in printed


def test_a_console_shows_escapes_where_somebody_forgot(capsys):
    terminal.console().print("a\x1b[2Jb\u202e\nc", markup=False)
    assert capsys.readouterr().out == "a\\x1b[2Jb\\u202e\nc\n"


@pytest.mark.parametrize(("columns", "width"), [(None, 110), ("60", 60), ("none", 110), ("0", 110)])
def test_a_pipe_is_as_wide_as_columns_says(monkeypatch, columns, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert terminal.console().width == width


@pytest.mark.parametrize("command", [(), ("read",), ("scoreboard",)])
def test_h_asks_for_help(run, command):
    assert run(*command, "-h") == run(*command, "--help")
