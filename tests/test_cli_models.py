"""Models of every kind on the command line: what is inside them, which LSTM is read, and what a text is for them."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tallycell as tc
from tallycell.cli.inspect_view import as_object, print_model
from tallycell.cli.terminal import json_text
from tallycell.loaders import Front, Head, LoadedModel, Place


def lstm(features, hidden=3, seed=0, **options):
    draw = np.random.default_rng(seed)
    weights = {"weight_ih_l0": draw.normal(size=(4 * hidden, features)),
               "weight_hh_l0": draw.normal(size=(4 * hidden, hidden))}  # fmt: skip
    return tc.LSTMParameters(weights, **options)


def both_directions(features, hidden=3):
    draw = np.random.default_rng(5)
    shapes = {"weight_ih_l0": (4 * hidden, features), "weight_hh_l0": (4 * hidden, hidden)}
    return tc.LSTMParameters(
        {f"{name}{suffix}": draw.normal(size=shape) for name, shape in shapes.items() for suffix in ("", "_reverse")}
    )


@pytest.fixture
def two(tmp_path):
    """A file with two LSTMs, of different width."""
    stacks = {"decoder.rnn": lstm(4, 5), "encoder.rnn": lstm(2)}
    save_file(
        {f"{path}.{name}": weight for path, one in stacks.items() for name, weight in one.weights.items()},
        tmp_path / "two.safetensors",
    )
    return tmp_path / "two.safetensors"


@pytest.fixture
def array(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(60, 4)))
    return tmp_path / "x.npy"


def test_several_lstms_and_none_chosen_lists_them_and_tells_the_option(run, two, array):
    status, out, err = run("read", two, "--array", array)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "holds 2 LSTMs, at 'decoder.rnn', 'encoder.rnn'; choose one with lstm (--lstm PATH)" in err


def test_the_chosen_lstm_is_read_and_named(run, two, array):
    status, out, _ = run("read", two, "--array", array, "--lstm", "decoder.rnn")
    assert status == 0
    assert "two.safetensors, decoder.rnn: LSTM of 5 units" in out
    status, _, err = run("read", two, "--array", array, "--lstm", "decoder")
    assert status == 2
    assert "no LSTM at 'decoder'" in err


def test_trace_takes_the_same_options(run, two, array, tmp_path):
    pytest.importorskip("zarr")
    status, _, _ = run("trace", two, array, "-o", tmp_path / "t.zarr", "--lstm", "decoder.rnn")
    assert status == 0
    expected = tc.record_trace(tc.load(two)["decoder.rnn"], np.load(array))
    np.testing.assert_array_equal(tc.open_trace(tmp_path / "t.zarr")["c"].to_numpy(), expected["c"].to_numpy())


def test_options_of_trust_reach_the_loader(run, tmp_path, array, monkeypatch):
    seen = {}

    def load(path, **options):
        seen.update(options)
        return LoadedModel({"": lstm(4)}, path)

    monkeypatch.setattr("tallycell.cli.options.load", load)
    status, _, err = run("read", array, "--array", array, "--trust-pickle", "--trust-code", "--forget-bias", "0.5")
    assert (status, err) == (0, "")
    assert seen == {"trust_pickle": True, "trust_code": True, "forget_bias": 0.5}
    run("inspect", array)
    assert seen == {"trust_pickle": False, "trust_code": False, "forget_bias": None}


# ---- inspect ---------------------------------------------------------------------------------------------------------


def rich_model():
    """One of everything that a tree can show."""
    peepholes = {**lstm(2).weights, "weight_ch_l0": np.ones(9)}
    stacks = {
        "": both_directions(2),
        "odd": tc.LSTMParameters(
            peepholes, tc.Activations(gate=tc.activation("hard_sigmoid")), "coupled", clip_pre=3.0, clip_cell=50.0
        ),
    }
    places = {
        "": Place("Bidirectional", merge="sum"),
        "odd": Place("DynamicQuantizeLSTM", "int8", reverse=True, reads="/encoder/out", state_inputs=("h", None)),
    }
    return LoadedModel(
        stacks, Path("rich.onnx"), places=places, refused={"third": "its layer norm is not read"},
        embedding=np.ones((30, 2)), vocabulary=tuple(map(chr, range(97, 127))),
        head=Head(np.ones((5, 3)), activation="softmax"), front=Front(("one", "other")),
    )  # fmt: skip


def test_tree_says_everything_and_is_plain_where_nobody_looks(capsys):
    from tallycell.cli.terminal import console

    print_model(console(), rich_model(), "ONNX")
    out = " ".join(capsys.readouterr().out.split())
    assert "\x1b" not in out
    for part in (
        "rich.onnx: ONNX, 2 LSTMs",
        "(root) LSTM of 3 units, 1 layer, both directions, 2 inputs, 120 weights (float64)",
        "its operator in the file is Bidirectional", "its directions are joined by sum",
        "it has no biases",
        "its activations (gate/cell/hidden) are hard_sigmoid/tanh/tanh", "it has peepholes",
        "its forget gate is coupled to the input gate, f = 1 - i", "its pre-activations are clipped at 3",
        "its cells are clipped at 50",
        "its weights are stored as int8", "it reads its sequence from the last step to the first",
        "it reads /encoder/out",
        "h_0 comes from the input h", "third refused: its layer norm is not read",
        "embedding: it gives 30 symbols 2 features each", "vocabulary: 30 symbols, 'a' 'b'",
        "front: 'one', 'other' (one of these) gives what the LSTM reads",
        "head: it takes 3 to 5 outputs, softmax",
    ):  # fmt: skip
        assert part in out, part


def test_inspection_as_json_has_the_same(run, two):
    value = json.loads(json_text(as_object(rich_model(), "ONNX")))
    assert value["schema_version"] == "2"
    odd = value["lstms"][1]
    assert (odd["path"], odd["operator"], odd["stored_as"], odd["reverse"]) == (
        "odd",
        "DynamicQuantizeLSTM",
        "int8",
        True,
    )
    assert odd["activations"] == {"forward": {"gate": "hard_sigmoid", "cell": "tanh", "hidden": "tanh"}}
    assert (odd["forget_gate"], odd["clip_cell"], odd["state_inputs"]) == ("coupled", 50.0, ["h", None])
    assert set(value["lstms"][0]["activations"]) == {"forward", "reverse"}
    assert value["refused"] == {"third": "its layer norm is not read"}
    assert value["head"] == {"weight": [5, 3], "activation": "softmax"}
    assert value["front"] == ["one", "other"]
    status, out, _ = run("inspect", two, "--json")
    assert status == 0
    assert [one["path"] for one in json.loads(out)["lstms"]] == ["decoder.rnn", "encoder.rnn"]


def test_shipped_model_is_inspected_as_a_recogniser(run):
    from tallycell.cli.inputs import SHIPPED, SHIPPED_MODEL

    status, out, _ = run("inspect", SHIPPED / SHIPPED_MODEL)
    assert status == 0
    assert "stdlib_characters.safetensors: safetensors, 1 LSTM\n" in out
    assert "recogniser (an LSTM that decides): it reads 97 symbols, '<unknown>' '\\n' ' '" in out


def test_what_cannot_be_inspected_is_one_line_and_status_2(run, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    for path in (tmp_path / "none.onnx", tmp_path / "broken.safetensors"):
        status, out, err = run("inspect", path)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert str(path) in err
