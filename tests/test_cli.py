"""The command line, as a user meets it: what it prints, and one clear line with status 2 for bad input."""

import csv
import io
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell.cli import ruler, unit_view

SYMBOLS = "()x\n"
TEXT = "x(x(x)x)x\n((x))xx\n" * 30


def bracket_counter():
    """A recogniser whose only counter is bracket depth, reset at newlines; its second unit never moves."""
    big = 50.0
    i = np.array([[big, big, -big, -big], [-big] * 4])
    f = np.array([[big, big, big, -big], [big] * 4])
    g = np.array([[big, -big, 0, 0], [0] * 4])
    o = np.full((2, 4), big)
    return tc.Recogniser(
        alphabet=tuple(SYMBOLS), inputs=np.eye(4),
        parameters=tc.LSTMParameters({"weight_ih_l0": np.concatenate([i, f, g, o]), "weight_hh_l0": np.zeros((8, 2))}),
        readout_weight=np.zeros((4, 2)), readout_bias=np.zeros(4), outputs=tuple(SYMBOLS),
    )  # fmt: skip


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "brackets.safetensors"
    tc.save(bracket_counter(), path)
    return path


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "brackets.txt"
    path.write_text(TEXT, encoding="utf-8", newline="")
    return path


def test_reading_is_printed_in_its_order(run, model, text):
    status, out, _ = run("read", model, "--text", text)
    assert status == 0
    headings = [
        "What it is", "How binary its gates are: ", "The 2 units that a simple counter explains best", "Roles",
        "Readability",
    ]  # fmt: skip
    positions = [out.index(heading) for heading in headings]
    assert positions == sorted(positions)
    assert "LSTM of 2 units, 1 layer, one direction, 4 inputs, 48 weights (float64)" in out
    assert f"{len(TEXT):,} symbols, 0.0% of them unknown" in out
    assert "Counts up by 1 at '(' and down by 1 at ')'" in out
    assert re.search(r"counter +1 +50%.*\n +constant +1 +50%", out)
    assert "0.0  follows bracket depth (r = +1.00)" in out


def test_json_has_a_schema_version_and_all_units(run, model, text):
    status, out, _ = run("read", model, "--text", text, "--json")
    value = json.loads(out)
    assert status == 0
    assert value["schema_version"] == "2"
    assert value["unknown_share"] == 0
    assert [unit["role"] for unit in value["units"]] == ["counter", "constant"]
    assert value["units"][0]["r2"] > 0.999
    assert value["units"][1]["r2"] is None
    assert value["roles"]["counter"] == 1


def test_csv_has_one_row_a_unit(run, model, text):
    _, out, _ = run("read", model, "--text", text, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["label"] for row in rows] == ["0.0", "0.1"]
    assert rows[0]["follows"] == "bracket depth"
    assert "'('" in rows[0]["increment"]


def test_unit_in_depth_aligns_events_under_the_text(run, model, text):
    status, out, _ = run("read", model, "--text", text, "--unit", "0.0")
    assert status == 0
    lines = out.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("text"))
    assert lines[at - 1] == "step 0"
    named = next(k for k, mark in enumerate(lines[at + 1][6:], 6) if mark != " ")  # where the first column ends
    symbols, forget, write = (lines[at + k][named:] for k in range(3))
    assert any(line.startswith("bracket depth ") for line in lines[at:])  # what it follows lies under its cell
    assert symbols.startswith(TEXT.replace("\n", "⏎")[:50])
    for symbol, forgotten, written in zip(symbols, forget, write, strict=True):
        assert forgotten == ("R" if symbol == "⏎" else "·")
        assert written == {"(": "+", ")": "-"}.get(symbol, "·")


def test_top_limits_the_units(run, model, text):
    _, out, _ = run("read", model, "--text", text, "--top", "1")
    assert "The unit that a simple counter explains best" in out
    assert out.count("Constant: it never moves.") == 0


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "named.csv"])
def test_array_input(run, model, tmp_path, kind):
    path = tmp_path / f"input.{kind}"
    x = np.eye(4)[[SYMBOLS.index(symbol) for symbol in TEXT]]
    if kind == "npy":
        np.save(path, x)
    elif kind == "npz":
        np.savez(path, x=x, y=np.zeros(3))
    else:
        header = "open,close,other,newline" if kind == "named.csv" else ""
        np.savetxt(path, x, delimiter=",", header=header, comments="")
    status, out, _ = run("read", model, "--array", path)
    assert status == 0
    assert f"{len(TEXT)} x 4 (time, feature)" in out
    assert ("high open" if kind == "named.csv" else "high x[0]") in out


def test_header_that_numpy_comments_out_names_the_features(run, model, tmp_path):
    x = np.eye(4)[[SYMBOLS.index(symbol) for symbol in TEXT]]
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="open,close,other,newline")
    assert "high open" in run("read", model, "--array", tmp_path / "x.csv")[1]


def test_network_that_never_moves_is_read_to_the_end(run, tmp_path):
    weights = {"weight_ih_l0": np.zeros((4, 4)), "weight_hh_l0": np.zeros((4, 1))}
    tc.save(tc.LSTMParameters(weights), tmp_path / "zero.safetensors")
    np.save(tmp_path / "x.npy", np.ones((300, 4)))
    status, out, err = run("read", tmp_path / "zero.safetensors", "--array", tmp_path / "x.npy")
    assert (status, err) == (0, "")
    assert "LSTM of 1 unit, 1 layer" in out
    assert "Constant: it never moves." in out
    assert out.splitlines()[-1] == "  No cell moves where a counter could be tested, so there is nothing to explain."
    assert "nan" not in out


def test_byte_order_mark_is_no_symbol(run, model, tmp_path):
    (tmp_path / "marked.txt").write_text(TEXT, encoding="utf-8-sig", newline="")
    status, out, _ = run("read", model, "--text", tmp_path / "marked.txt")
    assert status == 0
    assert f"{len(TEXT):,} symbols" in out


def test_unit_view_says_which_sequence_it_shows_and_from_where_it_is_read(run, tmp_path):
    draw = np.random.default_rng(0)
    weights = {
        f"{kind}_l0{suffix}": draw.normal(size=(8, size))
        for kind, size in (("weight_ih", 4), ("weight_hh", 2)) for suffix in ("", "_reverse")
    }  # fmt: skip
    tc.save(tc.LSTMParameters(weights), tmp_path / "both.safetensors")
    np.save(tmp_path / "x.npy", draw.normal(size=(50, 3, 4)))
    _, out, _ = run("read", tmp_path / "both.safetensors", "--array", tmp_path / "x.npy", "--unit", "0.1r")
    assert "\nSteps 0 to 49 of the first of 3 sequences, read from the right\n" in out


def test_ladder_shows_small_levels_and_no_minus_zero():
    assert unit_view.say_levels((-4e-6, -1e-12, 0.0, 3e-6)) == "-4e-06, 0, 0, 3e-06"
    assert unit_view.say_levels((-1.0, -2e-5, 0.5, 250.0)) == "-1, 0, 0.5, 250"


def test_control_characters_do_not_break_the_rows():
    tokens = ["\r", "\n", "<unknown>"]
    assert [ruler.symbol_at(tokens, t) for t in range(3)] == ["?", "⏎", "?"]


def test_help_says_each_command_in_a_whole_sentence(run):
    status, out, _ = run("--help")
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "read Say what each unit of an LSTM counts." in lines
    assert "inspect Print what a model file holds." in lines
    assert "print the version" in out


def test_trace_is_written_and_opens_again(run, model, text, tmp_path):
    pytest.importorskip("zarr")
    status, out, _ = run("trace", model, text, "-o", tmp_path / "trace.zarr")
    assert status == 0
    assert "2 unit" in out
    trace = tc.open_trace(tmp_path / "trace.zarr")
    codes = [SYMBOLS.index(symbol) for symbol in TEXT]
    expected = tc.record_trace(bracket_counter(), np.eye(4)[codes])
    np.testing.assert_array_equal(trace["c"].to_numpy(), expected["c"].to_numpy())


class Trap:
    """A pickle that would leave a mark if it were opened."""

    def __reduce__(self):
        return Path.touch, (Path("opened"),)


def bad_inputs(folder):
    """What goes wrong, by name: the arguments, and a part of the line that is printed."""
    model, text = folder / "brackets.safetensors", folder / "brackets.txt"
    whole = model.read_bytes()
    made = {
        "truncated.safetensors": whole[: len(whole) // 2],
        "pickle.pt": pickle.dumps(Trap()),
        "empty.txt": b"",
        "one.txt": b"(",
        "binary.txt": b"\xff\xfe\x00",
        "greek.txt": "(λ)".encode(),
        "words.csv": b"a,b,c,d\n1,2,3,monday\n",
        "header.csv": b"a,b,c,d\n",
        "broken.npy": b"not an array",
        "broken.npz": b"PK not a zip",
        "pickle.npy": b"\x93NUMPY" + pickle.dumps(Trap()),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    np.save(folder / "narrow.npy", np.zeros((5, 3)))
    np.save(folder / "nothing.npy", np.zeros((0, 4)))
    np.save(folder / "nan.npy", np.full((5, 4), np.nan))
    np.save(folder / "infinite.npy", np.full((5, 4), np.inf))
    np.save(folder / "complex.npy", np.zeros((5, 4), complex))
    np.save(folder / "words.npy", np.full((5, 4), "a"))
    np.savez(folder / "several.npz", a=np.zeros((5, 4)), b=np.zeros(2))
    weights = {"weight_ih_l0": np.ones((4, 4)), "weight_hh_l0": np.ones((4, 1))}
    tc.save(tc.LSTMParameters(weights), folder / "bare.safetensors")
    array = ("read", model, "--array")
    return {
        "no such model": (("read", folder / "none.safetensors", "--text", text), "none.safetensors"),
        "a folder": (("read", folder, "--text", text), str(folder)),
        "truncated model": (("read", folder / "truncated.safetensors", "--text", text), "truncated.safetensors"),
        "pickled model": (("read", folder / "pickle.pt", "--text", text), "pickle.pt"),
        "text as a model": (("read", text, "--text", text), "is of no format that tallycell reads"),
        "no input": (
            ("read", folder / "bare.safetensors"),
            "needs something to read: give --text FILE or --array FILE",
        ),
        "two inputs": (("read", model, "--text", text, "--array", text), "got both --text and --array"),
        "array without model": (("read", "--array", folder / "nan.npy"), "--array needs a model"),
        "two formats": (("read", model, "--text", text, "--json", "--csv"), "got more than one of --json"),
        "no such text": (("read", model, "--text", folder / "none.txt"), "there is no file"),
        "empty text": (("read", model, "--text", folder / "empty.txt"), "empty.txt is empty"),
        "binary text": (("read", model, "--text", folder / "binary.txt"), "is not UTF-8 text (byte 0)"),
        "foreign symbol": (("read", model, "--text", folder / "greek.txt"), "symbol 'λ' at position 1"),
        "no alphabet": (("read", folder / "bare.safetensors", "--text", text), "has no alphabet"),
        "no such unit": (("read", model, "--text", text, "--unit", "3.7"), "no unit '3.7'; give LAYER.UNIT"),
        "wrong width": ((*array, folder / "narrow.npy"), "3 features"),
        "no steps": ((*array, folder / "nothing.npy"), "empty"),
        "NaN": ((*array, folder / "nan.npy"), "x is nan"),
        "infinite": ((*array, folder / "infinite.npy"), "x is inf"),
        "complex": ((*array, folder / "complex.npy"), "complex"),
        "strings": ((*array, folder / "words.npy"), "<U1"),
        "words in a table": ((*array, folder / "words.csv"), "column 'd'"),
        "only a header": ((*array, folder / "header.csv"), "x is empty: 0 steps"),
        "one step": (("read", model, "--text", folder / "one.txt"), "the trace has 1 step; a tally is fitted on"),
        "broken npy": (
            (*array, folder / "broken.npy"),
            "broken.npy cannot be read as NumPy's: it does not begin as a .npy does",
        ),
        "pickled npy": (
            (*array, folder / "pickle.npy"),
            "pickle.npy is of npy version (128, 4), expected",
        ),
        "broken npz": ((*array, folder / "broken.npz"), "broken.npz cannot be read as NumPy's: File is not a zip file"),
        "several arrays": ((*array, folder / "several.npz"), "holds the arrays 'a', 'b'; name the input x"),
        "other suffix": ((*array, text), "expected a name ending in .npy, .npz, .csv"),
        "trace of nothing": (
            ("trace", model, folder / "none.npy", "-o", folder / "t.zarr"),
            "none.npy; give the path of an array",
        ),
    }


CASES = (
    "no such model", "a folder", "truncated model", "pickled model", "text as a model", "no input", "two inputs",
    "array without model", "two formats", "no such text", "empty text", "binary text", "foreign symbol", "no alphabet",
    "no such unit", "wrong width", "no steps", "NaN", "infinite", "complex", "strings", "words in a table",
    "only a header", "one step", "broken npy", "pickled npy", "broken npz", "several arrays", "other suffix",
    "trace of nothing",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_line_and_status_2(run, model, text, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    cases = bad_inputs(tmp_path)
    assert cases.keys() == set(CASES)
    arguments, expected = cases[case]
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("tallycell: ")
    assert err.count("\n") == 1
    assert expected in err
    assert not (tmp_path / "opened").exists()


def test_command_runs_as_a_program(model, text, tmp_path):
    command = [sys.executable, "-m", "tallycell"]
    good = subprocess.run(
        [*command, "read", model, "--text", text, "--csv"], capture_output=True, text=True, check=True
    )
    assert good.stdout.startswith("label,layer,direction,unit,role,r2")
    bad = subprocess.run(
        [*command, "read", tmp_path / "none.pt", "--text", text], capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"tallycell {tc.__version__}\n"
