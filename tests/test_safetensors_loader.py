"""safetensors: bit for bit what was kept, PyTorch's names here and in a state_dict, and damaged files in one line."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tallycell.activations
from loader_cases import (
    a_recogniser,
    cut,
    everything,
    flipped,
    line_of,
    load_or_line,
    random_weights,
    with_prefix,
    write_torch,
)
from tallycell.activations import Activation, register_activation
from tallycell.errors import ActivationError, FormatError, InputError, ParameterError
from tallycell.loaders import load, save
from tallycell.parameters import Activations, LSTMParameters

torch = pytest.importorskip("torch")


# --- tallycell's own files


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_come_back_bit_for_bit(tmp_path, dtype):
    path = tmp_path / "lstm.safetensors"
    save(everything(dtype), path)
    model = load(path)
    assert model.lstm == everything(dtype)
    assert model.lstm.dtype == dtype
    assert model.recogniser is None
    assert (list(model), model.source) == ([""], path)
    for name, weight in everything(dtype).weights.items():
        assert model.lstm.weights[name].tobytes() == weight.tobytes()


@pytest.mark.parametrize("changes", [{}, {"h_0": None, "c_0": np.ones((1, 2)), "unknown": None, "decision": "argmax"}])
def test_a_recogniser_comes_back_bit_for_bit(tmp_path, changes):
    path = tmp_path / "net.safetensors"
    save(a_recogniser(**changes), path)
    model = load(path)
    assert model.recogniser == a_recogniser(**changes)
    assert model.lstm is model.recogniser.parameters
    assert list(model) == ["lstm"]


def test_weights_that_are_not_contiguous_come_back_bit_for_bit(tmp_path):
    weights = {name: np.asfortranarray(weight) for name, weight in random_weights().items()}
    save(LSTMParameters(weights), tmp_path / "fortran.safetensors")
    assert load(tmp_path / "fortran.safetensors").lstm == LSTMParameters(random_weights())


def test_minus_zero_and_denormal_weights_keep_their_bits(tmp_path):
    weights = random_weights()
    weights["weight_hh_l0"][0] = [-0.0, 1e-45]
    save(LSTMParameters(weights), tmp_path / "zero.safetensors")
    assert (
        load(tmp_path / "zero.safetensors").lstm.weights["weight_hh_l0"].tobytes() == weights["weight_hh_l0"].tobytes()
    )


def test_torch_opens_the_weights_that_tallycell_wrote(tmp_path):
    weights = {name: weight for name, weight in random_weights().items() if "weight_ch" not in name}
    save(LSTMParameters(weights), tmp_path / "lstm.safetensors")
    lstm = torch.nn.LSTM(3, 2, bias=False)
    opened = safetensors.numpy.load_file(tmp_path / "lstm.safetensors")
    lstm.load_state_dict({name: torch.from_numpy(x) for name, x in opened.items()})


@pytest.fixture
def own_activation():
    """An activation of one's own, registered for one test."""
    return register_activation("Cube_Root", np.cbrt, lambda x, y: 1 / (3 * y * y))


def test_an_own_activation_comes_back_where_it_is_registered(tmp_path, own_activation, monkeypatch):
    path = tmp_path / "own.safetensors"
    parameters = LSTMParameters(random_weights(), Activations(cell=own_activation))
    save(parameters, path)
    assert load(path).lstm == parameters
    monkeypatch.setattr(tallycell.activations, "_FAMILIES", {})
    text = line_of(lambda: load(path), ActivationError)
    assert text.startswith(f"{path}: no activation is called ")
    assert text.endswith("register_activation adds your own")


def test_an_activation_that_no_name_leads_to_is_not_written(tmp_path):
    loose = Activation("loose", np.tanh, lambda x, y: 1 - y * y)
    parameters = LSTMParameters(random_weights(), Activations(cell=loose))
    text = line_of(lambda: save(parameters, tmp_path / "x.safetensors"), ActivationError)
    assert text == (
        "activation('loose') is not registered, and a file can keep only its name; "
        "add it with register_activation first"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_failed_write_loses_nothing_and_leaves_nothing(tmp_path, monkeypatch, fails):
    path = tmp_path / "lstm.safetensors"
    save(everything(), path)
    before = path.read_bytes()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync" if fails == "write" else "replace", no_space)
    text = line_of(lambda: save(a_recogniser(), path), InputError)
    assert text == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_by_the_next(tmp_path):
    path = tmp_path / "lstm.safetensors"
    save(a_recogniser(), path)
    save(everything(), path)
    assert load(path).lstm == everything()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("model", "name", "text"),
    [
        (everything(), "lstm.pt", "what is written is safetensors, so let the name end in .safetensors"),
        ({"weight_ih_l0": 1}, "x.safetensors", "cannot save a dict; expected LSTMParameters or a Recogniser"),
        (everything(), "missing/x.safetensors", "missing; make it first"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, model, name, text):
    assert text in line_of(lambda: save(model, tmp_path / name), InputError)
    assert not list(tmp_path.iterdir())


# --- PyTorch's names, in both formats


FORMATS = pytest.mark.parametrize("write", [write_torch, safetensors.numpy.save_file])


@FORMATS
@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", ""),
        ("lstm.", "lstm"),
        ("encoder.layers.0.rnn.", "encoder.layers.0.rnn"),
        ("module.", ""),
        ("module.encoder.", "encoder"),
        ("_orig_mod.", ""),
        ("_orig_mod.module.encoder.", "encoder"),
        ("module._orig_mod.encoder.", "encoder"),
        ("encoder._orig_mod.lstm.", "encoder.lstm"),
        ("encoder.module.lstm.", "encoder.module.lstm"),
    ],
)
def test_lstms_are_found_under_any_prefix(tmp_path, write, prefix, path):
    write(with_prefix(prefix), tmp_path / "model.bin")
    model = load(tmp_path / "model.bin")
    assert dict(model) == {path: LSTMParameters(random_weights())}
    assert model.recogniser is None


@FORMATS
def test_module_is_kept_where_not_everything_stands_under_it(tmp_path, write):
    write(with_prefix("module.") | with_prefix(""), tmp_path / "model.bin")
    assert set(load(tmp_path / "model.bin")) == {"module", ""}


@FORMATS
def test_several_lstms_come_apart_and_all_else_is_left_out(tmp_path, write):
    gru = torch.nn.GRU(4, 8).state_dict()
    rnn = torch.nn.RNN(4, 8, bidirectional=True).state_dict()
    tensors = with_prefix("a.") | {f"b.{name}": x for name, x in everything(np.float64).weights.items()}
    tensors |= {f"gru.{name}": x.numpy() for name, x in gru.items()}
    tensors |= {f"rnn.{name}": x.numpy() for name, x in rnn.items()}
    tensors["embedding.weight"] = np.ones((3, 3), np.float16)  # a dtype that is nobody's business
    write(tensors, tmp_path / "model.bin")
    model = load(tmp_path / "model.bin")
    assert set(model) == {"a", "b"}
    assert model["a"] == LSTMParameters(random_weights())
    assert model["b"] == LSTMParameters(everything(np.float64).weights)


@FORMATS
def test_a_dtype_that_is_not_taken_is_named(tmp_path, write):
    write({name: x.astype("int32") for name, x in with_prefix("lstm.").items()}, tmp_path / "model.bin")
    text = line_of(lambda: load(tmp_path / "model.bin"), FormatError)
    assert "is of dtype int32, expected float32, float64, float16, bfloat16; convert the model first" in text


@FORMATS
def test_float16_is_widened_and_said(tmp_path, write):
    narrow = {name: x.astype(np.float16) for name, x in with_prefix("lstm.").items()}
    write(narrow, tmp_path / "model.bin")
    model = load(tmp_path / "model.bin")
    assert model.places["lstm"].stored_as == "float16"
    assert model.lstm == LSTMParameters({name[5:]: x.astype(np.float32) for name, x in narrow.items()})


def test_bfloat16_is_widened_and_said_in_both_formats(tmp_path):
    lstm = torch.nn.LSTM(3, 2).to(torch.bfloat16)
    torch.save(lstm.state_dict(), tmp_path / "model.pt")
    pytest.importorskip("safetensors.torch").save_file(lstm.state_dict(), tmp_path / "model.safetensors")
    wide = LSTMParameters({name: x.float().numpy() for name, x in lstm.state_dict().items()})
    for name in ("model.pt", "model.safetensors"):
        model = load(tmp_path / name)
        assert (model.lstm, model.places[""].stored_as) == (wide, "bfloat16")


@FORMATS
@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"lstm.weight_hh_l0": np.full((8, 2), np.nan, "f4")}, ParameterError, "weight_hh_l0 has values that are NaN"),
        ({"lstm.weight_ih_l0": np.full((8, 3), np.inf, "f4")}, ParameterError, "weight_ih_l0 has values that are NaN"),
        ({"lstm.weight_hh_l0": np.ones((8, 3), "f4")}, ParameterError, "weight_hr_l0 missing"),
        ({"lstm.weight_ch_l0": np.ones(5, "f4")}, ParameterError, r"weight_ch_l0 has shape (5,), expected (6,)"),
        ({"lstm.weight_hh_l1": np.ones((8, 2), "f4")}, ParameterError, "weight_ih_l1 missing"),
        ({"lstm.bias_ih_l0": np.ones(8, "f8")}, ParameterError, "bias_hh_l0 missing"),
        ({"lstm._orig_mod.weight_hh_l0": np.ones((8, 2), "f4")}, FormatError, "of the LSTM at 'lstm' twice"),
    ],
)  # fmt: skip
def test_weights_that_make_no_lstm_are_refused_with_file_and_path(tmp_path, write, changes, error, text):
    path = tmp_path / "model.bin"
    write(with_prefix("lstm.") | changes, path)
    line = line_of(lambda: load(path), error)
    assert str(path) in line
    assert "'lstm'" in line
    assert text in line


@FORMATS
def test_a_file_without_an_lstm_says_what_tensors_there_are(tmp_path, write):
    write({f"layer{k}.weight": np.ones(1) for k in range(11)}, tmp_path / "model.bin")
    text = line_of(lambda: load(tmp_path / "model.bin"), FormatError)
    assert "holds no LSTM (weight_ih_l0 and so on); its tensors are 'layer0.weight', " in text
    assert text.endswith(" and 3 more")
    write({f"r.{name}": x.numpy() for name, x in torch.nn.GRU(4, 8).state_dict().items()}, tmp_path / "gru.bin")
    assert line_of(lambda: load(tmp_path / "gru.bin"), FormatError).endswith(
        "'r.weight_ih_l0'; GRUs and RNNs at 'r': GRU"
    )


# --- damaged files


def safetensors_bytes(header: dict, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 4) + b"{nul",
        safetensors_bytes({"weight_ih_l0": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}),
        safetensors_bytes({"weight_ih_l0": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}, b"0000"),
        safetensors_bytes({"weight_ih_l0": {"dtype": "F32", "shape": [2**63, 2], "data_offsets": [0, 0]}}),
        safetensors_bytes({"weight_ih_l0": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"0000"),
        safetensors_bytes({"weight_ih_l0": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"0000"),
        safetensors_bytes({"weight_ih_l0": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"0000"),
        safetensors_bytes({"weight_ih_l0": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"00000000"),
        safetensors_bytes({"weight_ih_l0": []}),
        safetensors_bytes({}),
    ],
)
def test_headers_that_promise_what_is_not_there_are_one_line(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    line_of(lambda: load(path), FormatError)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    save(a_recogniser(), folder / "recogniser.safetensors")
    save(everything(), folder / "parameters.safetensors")
    safetensors.numpy.save_file(with_prefix("lstm."), folder / "foreign.safetensors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["recogniser.safetensors", "parameters.safetensors", "foreign.safetensors"])
def test_a_safetensors_file_cut_short_is_one_line(tmp_path, small_files, name):
    path = tmp_path / "cut.safetensors"
    for part in cut(small_files[name], 300):
        path.write_bytes(part)
        line_of(lambda: load(path), FormatError)
    path.write_bytes(small_files[name])
    assert len(load(path)) == 1


@pytest.mark.parametrize("name", ["recogniser.safetensors", "parameters.safetensors", "foreign.safetensors"])
def test_a_flipped_bit_gives_an_lstm_or_one_line(tmp_path, small_files, name):
    path = tmp_path / "flipped"
    refused = 0
    for damaged in flipped(small_files[name], 400):
        path.write_bytes(damaged)
        model = load_or_line(path)
        if isinstance(model, str):
            assert len(model.splitlines()) == 1
            refused += 1
        else:
            assert all(np.isfinite(w).all() for stack in model.values() for w in stack.weights.values())
    assert refused > 40  # many hits are in the description and are noticed; a changed digit of a weight is not


def write_own(path: Path, description, *, drop: str = "", **tensors: np.ndarray) -> None:
    """A file that claims to be tallycell's, with a description of one's choice (text, or a value for JSON)."""
    text = description if isinstance(description, str) else json.dumps(description)
    arrays = {name: x for name, x in (random_weights() | tensors).items() if name != drop}
    safetensors.numpy.save_file(arrays, path, {"tallycell": text})


TANH = ["tanh", {}]
SLOTS = {"gate": ["sigmoid", {}], "cell": TANH, "hidden": TANH}
LSTM = {"activations": [SLOTS], "forget_gate": "own", "clip_pre": None, "clip_cell": 2}


def described(**changes):
    return {"version": 1, "format": "lstm_parameters", "lstm": LSTM} | changes


def test_the_written_form_is_what_the_documentation_says(tmp_path):
    write_own(tmp_path / "by_hand.safetensors", described())
    assert load(tmp_path / "by_hand.safetensors").lstm == LSTMParameters(random_weights(), clip_cell=2)


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("{", "what it says of its LSTM is not JSON"),
        ("[" * 100_000, "what it says of its LSTM is not JSON"),
        ([], "expected an object, got []"),
        (described(version=2), "is of version 2; this tallycell reads version 1: install a newer one"),
        (described(version="1"), "expected version to be a whole number, got '1'"),
        (described(version=True), "expected version to be a whole number, got True"),
        (described(format="gru"), "expected format to be 'lstm_parameters' or 'recogniser', got 'gru'"),
        (described(format=["recogniser"]), "expected format to be"),
        (described(lstm=3), "expected an object in lstm, got 3"),
        (described(lstm={}), "expected activations to be one or two objects in lstm, got 'nothing'"),
        (described(lstm=LSTM | {"activations": []}), "expected activations to be one or two objects in lstm, got []"),
        (described(lstm=LSTM | {"activations": [{}]}), "expected gate to be a name with its constants"),
        (described(lstm=LSTM | {"activations": [SLOTS | {"cell": ["elu", {"alpha": "1"}]}]}), "expected cell to be a"),
        (described(lstm=LSTM | {"activations": [SLOTS | {"cell": ["elu", {"gamma": 1}]}]}), "the constants 'gamma'"),
        (described(lstm=LSTM | {"activations": [SLOTS | {"cell": ["swish", {}]}]}), "no activation is called 'swish'"),
        (described(lstm=LSTM | {"activations": [SLOTS, SLOTS]}), "got activations for 2 directions"),
        (described(lstm=LSTM | {"forget_gate": ["own"]}), "expected forget_gate to be a text in lstm, got ['own']"),
        (described(lstm=LSTM | {"forget_gate": "own2"}), "forget_gate is 'own2'"),
        (described(lstm=LSTM | {"clip_pre": "3"}), "expected clip_pre to be a number or null in lstm, got '3'"),
        (described(lstm=LSTM | {"clip_pre": True}), "expected clip_pre to be a number or null in lstm, got True"),
        (described(lstm=LSTM | {"clip_cell": -1}), "clip_cell is -1; give a positive bound"),
        (described(format="recogniser"), "tensor 'weight_ch_l0' is none of a recogniser's"),
    ],
)  # fmt: skip
def test_a_description_that_is_not_as_it_should_be_is_one_line(tmp_path, description, text):
    path = tmp_path / "own.safetensors"
    write_own(path, description)
    line = line_of(lambda: load(path))
    assert text in line
    assert str(path) in line
    assert len(line) < 500


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"alphabet": "()"}, "expected alphabet to be a list of texts, got '()'"),
        ({"alphabet": ["(", 1]}, "expected alphabet to be a list of texts, got ['(', 1]"),
        ({"outputs": None}, "expected outputs to be a list of texts, got None"),
        ({"decision": ["argmax"]}, "expected decision to be a text, got ['argmax']"),
        ({"decision": "vote"}, "decision is 'vote'; it is 'argmax' or 'threshold'"),
        ({"unknown": 3}, "expected unknown to be a text or null, got 3"),
        ({"unknown": "z"}, "the unknown symbol 'z' is not in the alphabet"),
        ({"alphabet": ["a"]}, "inputs of the recogniser has shape"),
    ],
)
def test_a_recogniser_that_is_not_as_it_should_be_is_one_line(tmp_path, words, text):
    path = tmp_path / "net.safetensors"
    save(a_recogniser(), path)
    with safetensors.safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["tallycell"])
    tensors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(tensors, path, {"tallycell": json.dumps(description | words)})
    assert text in line_of(lambda: load(path))


def test_a_recogniser_without_one_of_its_tensors_is_one_line(tmp_path):
    path = tmp_path / "net.safetensors"
    save(a_recogniser(), path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    tensors.pop("readout_bias")
    safetensors.numpy.save_file(tensors, path, metadata)
    assert "tensor 'readout_bias' of the recogniser is missing" in line_of(lambda: load(path), FormatError)
