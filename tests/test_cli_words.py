"""The words of the command line: examples run as they stand, words are explained, and ASCII is enough to say them."""

import io
import shlex
import sys

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_of
from tallycell.cli import main
from tallycell.cli.help import EXAMPLES, GROUPS
from tallycell.machine import shipped_machine

COMMANDS = [name for names in GROUPS.values() for name in names]
SHIPPED = EXAMPLES["read"][0]  # which takes long, and which the tests of the page README.md run
EVERY = [(name, example) for name, examples in EXAMPLES.items() for example in examples if example != SHIPPED]


def brackets(forget):
    """One unit that counts up on ``(`` and down on ``)``; with a pre-activation of 3 its forget gate leaks."""
    gates = np.array([[50, 50], [forget, forget], [50, -50], [50, 50.0]])
    lstm = tc.LSTMParameters({"weight_ih_l0": gates, "weight_hh_l0": np.zeros((4, 1))})
    return tc.Recogniser(("(", ")"), np.eye(2), lstm, [[1.0]], [-0.5], ("open",), "threshold")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the examples name beside shipped machines, but for the detector."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.txt").write_text(str(shipped_machine("anbn")))
    (tmp_path / "strings.txt").write_text("ab\naabb\naab\nba\n")
    network = network_of("anbn")
    for name in ("network", "mine"):
        tc.save(network, tmp_path / f"{name}.safetensors")
    tc.save(brackets(forget=9.0), tmp_path / "trained.safetensors")
    return tmp_path


# ---- examples --------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(folder):
    """A model of two features with its table and a quantity, and a tagger with its text and vocabulary."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    days = np.arange(np.datetime64("2001-01-01"), np.datetime64("2002-01-01"))
    draw = np.random.default_rng(0)
    for name, columns in (("basin", "rain,temperature"), ("snow", "snow")):
        rows = draw.normal(size=(len(days), columns.count(",") + 1)).round(3).tolist()
        lines = [f"{day},{','.join(map(str, row))}" for day, row in zip(days, rows, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join([f"date,{columns}", *lines]) + "\n")
    torch.save(torch.nn.LSTM(2, 3).state_dict(), folder / "model.pt")
    tagger = torch.nn.ModuleDict(
        {"embedding": torch.nn.Embedding(5, 2), "lstm": torch.nn.LSTM(2, 3), "tag": torch.nn.Linear(3, 3)}
    )
    torch.save(tagger.state_dict(), folder / "tagger.pt")
    (folder / "vocab.txt").write_text("the\ncat\nsat\n.\n<unk>\n")
    (folder / "reviews.txt").write_text("the cat sat . the dog sat .\n" * 40)


@pytest.fixture
def detector(folder, pypi_model):
    """A real detector, and two seconds of noise that comes and goes."""
    pytest.importorskip("onnxruntime")
    wavfile = pytest.importorskip("scipy.io.wavfile")
    model = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad.onnx"
    (folder / "detector.onnx").write_bytes(model.read_bytes())
    samples = np.random.default_rng(0).normal(size=32_000) * np.repeat([0.2, 0.01] * 5, 3_200)
    wavfile.write(folder / "speech.wav", 16_000, samples.astype(np.float32))


@pytest.mark.parametrize(("command", "example"), EVERY, ids=[example for _, example in EVERY])
def test_each_example_runs_as_it_stands(run, request, folder, monkeypatch, command, example):
    program, *arguments = shlex.split(example, comments=True)
    assert (program, arguments[0]) in {("tallycell", command), ("tallycell", "export")}
    for name, fixture in (("detector", "detector"), ("model.pt", "models"), ("tagger", "models")):
        if name in example:
            request.getfixturevalue(fixture)
    if command == "trace":
        pytest.importorskip("zarr")
    if command == "train":  # which takes half a minute
        pytest.importorskip("torch")
        arguments += ["--steps", "2", "--networks", "1", "--hidden", "1"]
    if command == "view":  # which serves until it is interrupted; the tests of README.md measure such effects
        arguments += ["--no-effects"]
        monkeypatch.setattr("tallycell.view.server.Server.serve_forever", lambda _: None)
        monkeypatch.setattr("webbrowser.open", lambda _: True)
    if command == "scoreboard":  # which takes minutes
        monkeypatch.setattr("tallycell.learning.scoreboard.run_rows", lambda rows, *_, **__: 0 * len(rows))
        monkeypatch.setattr("tallycell.learning.scoreboard.make_page", lambda *_, **__: None)
    before = {path.name for path in folder.iterdir()}
    status, out, err = run(*arguments)
    assert (status, err) == (1 if command == "train" else 0, "")
    if "-o" in arguments and command != "train":
        written = arguments[arguments.index("-o") + 1]
        assert (folder / written).exists()
        assert {path.name for path in folder.iterdir()} == before | {written}
    else:
        assert out


def test_every_command_has_an_example_and_says_where_its_page_is(run):
    for command in COMMANDS:
        status, out, _ = run(command, "--help")
        examples = out[out.index("  Examples:\n") :].splitlines()
        assert status == 0
        assert tuple(line.removeprefix("    ") for line in examples[1:-1]) == EXAMPLES[command]
        assert examples[-1].startswith("  More: docs/")


# ---- private words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("read", "a tally: a counter that a few fitted numbers describe"),
        ("compile", "its horizon: the length of strings up to which the network provably decides as the machine"),
        ("check", "the horizon: the length of strings up to which the network provably decides as the machine"),
        ("harden", "Harden a network: replace it by one whose gates are exactly 0 or 1"),
        ("extract", "a recogniser (an LSTM with its alphabet and the rule by which it decides)"),
        ("scoreboard", "snapped (its gates set to 0 or 1)"),
        ("run", "read every other character as this symbol"),
    ],
)
def test_a_word_of_our_own_is_explained_where_it_first_stands(run, command, said):
    assert said in " ".join(run(command, "--help")[1].split())


def test_the_horizon_is_explained_where_it_is_printed(run, folder):
    out = run("compile", "parity", "-o", "parity.safetensors")[1]
    assert "\nhorizon: the network provably decides as the machine on strings of any length (float32)\n" in out
    assert "\n  it is proved for 2 situations: states of machine and network, seen together\n" in out


# ---- ASCII -----------------------------------------------------------------------------------------------------------


def run_in_ascii(monkeypatch, *arguments):
    """Give what a command prints on a stream of ASCII alone."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "argv", ["tallycell", *arguments])
        with pytest.raises(SystemExit):
            main()
        stream.flush()
        return stream.buffer.getvalue().decode("ascii")


FEW = ("--samples", "20", "--longest", "2000", "--length", "6")
PRINTED = [
    *(pytest.param((command, "--help"), id=f"{command} --help") for command in COMMANDS),
    *(pytest.param(tuple(shlex.split(line)), id=line) for line in (
        "machines", "machines --json", "run anbn aabb aab", "run comment-depth '/* a ?' --other x --steps",
        *(f"export anbn --to {form}" for form in ("text", "json", "dot", "c", "python")),
        "inspect network.safetensors", "extract network.safetensors", "extract trained.safetensors",
        "compile anbn -o new.safetensors", "compile anbn -o new.safetensors --dtype float64",
        f"check anbn network.safetensors --language 'a^n b^n' {' '.join(FEW)}",
        f"check brackets.txt trained.safetensors {' '.join(FEW)}", "harden trained.safetensors -o new.safetensors",
    )),
]  # fmt: skip


@pytest.mark.parametrize("arguments", PRINTED)
def test_an_output_needs_ascii_alone(run, folder, monkeypatch, arguments):
    """No question mark stands for what the encoding lacks: there are as many as where it lacks nothing."""
    program = "alphabet ( )\ncounter depth\non (  depth +1\non )  depth -1\ntag open when depth > 0\n"
    (folder / "brackets.txt").write_text(program)
    _, whole, err = run(*arguments)
    assert whole, err
    assert run_in_ascii(monkeypatch, *arguments).count("?") == whole.count("?")


def test_training_needs_ascii_alone(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    few = ("--steps", "2", "--networks", "1", "--hidden", "1")
    out = run_in_ascii(monkeypatch, "train", "dyck-1", "-o", "a.safetensors", "--hardened", "b.safetensors", *few)
    assert out.startswith("a.safetensors holds an LSTM of 1 unit for dyck-1, ")
    assert "?" not in out
