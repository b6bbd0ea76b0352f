"""Files in and out: bit for bit what was kept, and one clear line for every file that is not what it should be."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tallycell.activations
from tallycell.activations import Activation, activation, register_activation
from tallycell.errors import (
    ActivationError,
    FormatError,
    InputError,
    MissingExtraError,
    ParameterError,
    TallycellError,
)
from tallycell.loaders import LoadedModel, load, save
from tallycell.loaders.safetensors_file import load_safetensors
from tallycell.loaders.torch_state_dict import load_state_dict
from tallycell.parameters import Activations, LSTMParameters
from tallycell.recogniser import Recogniser

torch = pytest.importorskip("torch")


def random_weights(*, layers=1, suffixes=("",), hidden=2, features=3, dtype=np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(layers)
    weights = {}
    for layer in range(layers):
        for suffix in suffixes:
            width = features if layer == 0 else len(suffixes) * hidden
            weights[f"weight_ih_l{layer}{suffix}"] = rng.normal(size=(4 * hidden, width)).astype(dtype)
            weights[f"weight_hh_l{layer}{suffix}"] = rng.normal(size=(4 * hidden, hidden)).astype(dtype)
            weights[f"weight_ch_l{layer}{suffix}"] = rng.normal(size=3 * hidden).astype(dtype)
    return weights


def everything(dtype=np.float32) -> LSTMParameters:
    """Every setting away from its default; constants whose decimals a careless writer would round."""
    return LSTMParameters(
        random_weights(layers=2, suffixes=("", "_reverse"), dtype=dtype),
        (
            Activations(activation("hard_sigmoid", alpha=1 / 3, beta=0.1 + 0.2), activation("sine")),
            Activations(hidden=activation("elu", alpha=np.nextafter(1, 2))),
        ),
        "coupled",
        clip_pre=1e-3 + 1e-17,
        clip_cell=np.pi,
    )


def a_recogniser(**changes) -> Recogniser:
    rng = np.random.default_rng(0)
    parts = {
        "alphabet": ("(", ")", "\n", "é", "\ud800", '"', "<unknown>"),
        "inputs": rng.normal(size=(7, 3)),
        "parameters": LSTMParameters(random_weights(dtype=np.float64), forget_gate="none"),
        "readout_weight": rng.normal(size=(2, 2)).T,  # not contiguous
        "readout_bias": rng.normal(size=2),
        "outputs": ("no", "yes"),
        "decision": "threshold",
        "h_0": rng.normal(size=(1, 2)),
        "unknown": "<unknown>",
    }
    return Recogniser(**parts | changes)


def line_of(action, error=TallycellError) -> str:
    """Text of the error that an action ends in; it must be one line."""
    with pytest.raises(error) as raised:
        action()
    text = str(raised.value)
    assert text
    assert len(text.splitlines()) == 1
    return text


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
        (everything(), "missing/x.safetensors", "x.safetensors: No such file or directory"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, model, name, text):
    assert text in line_of(lambda: save(model, tmp_path / name), InputError)
    assert not list(tmp_path.iterdir())


# --- what a file gave


class TestLoadedModel:
    one = LSTMParameters(random_weights())
    model = LoadedModel({"encoder.lstm": one, "decoder.lstm": everything()}, Path("model.pt"))

    def test_it_is_a_mapping_from_path_to_parameters(self):
        assert dict(self.model) == {"encoder.lstm": self.one, "decoder.lstm": everything()}
        assert self.model["encoder.lstm"] is self.one
        assert "decoder.lstm" in self.model
        assert "lstm" not in self.model
        assert self.model.get("lstm") is None
        assert self.model.get("encoder.lstm") is self.one
        assert len(self.model) == 2

    def test_it_cannot_be_changed(self):
        with pytest.raises(TypeError):
            self.model.stacks["x"] = self.one
        with pytest.raises(AttributeError):
            self.model.source = Path("other")

    def test_the_only_lstm_is_an_error_where_there_are_two(self):
        text = line_of(lambda: self.model.lstm, InputError)
        assert text == "model.pt holds 2 LSTMs, at 'encoder.lstm', 'decoder.lstm'; choose one: model[path]"

    def test_a_path_that_is_not_there_is_answered_with_those_that_are(self):
        text = line_of(lambda: self.model["lstm"], InputError)
        assert text == "no LSTM at 'lstm'; model.pt has them at 'encoder.lstm', 'decoder.lstm'"

    def test_pickle_gives_it_back(self):
        twin = pickle.loads(pickle.dumps(self.model))
        assert twin == self.model
        assert twin.source == self.model.source

    def test_repr_tells_paths_and_source(self):
        assert repr(LoadedModel({"": self.one}, Path("a.pt"), a_recogniser())).startswith("LoadedModel({'': LSTMParam")
        assert "source='model.pt'" in repr(self.model)


# --- PyTorch's names, in both formats


def write_torch(tensors, path):
    torch.save({name: torch.from_numpy(np.array(x)) for name, x in tensors.items()}, path)


FORMATS = pytest.mark.parametrize("write", [write_torch, safetensors.numpy.save_file])


def with_prefix(prefix: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": x for name, x in random_weights().items()} | more


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


@pytest.mark.parametrize("arguments", [{}, {"num_layers": 3, "bidirectional": True, "proj_size": 2}, {"bias": False}])
def test_a_state_dict_of_torch_gives_the_module_that_wrote_it(tmp_path, arguments):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LSTM(4, 5, **arguments))
    torch.save(module.state_dict(), tmp_path / "model.pt")
    parameters = load(tmp_path / "model.pt")["1"]
    assert parameters == LSTMParameters({name: x.numpy() for name, x in module[1].state_dict().items()})


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model_state", "model"])
@pytest.mark.parametrize("new_zip", [True, False])
def test_a_checkpoint_holds_the_state_dict_inside(tmp_path, key, new_zip):
    module = torch.nn.LSTM(3, 2)
    optimiser = torch.optim.Adam(module.parameters())
    checkpoint = {"epoch": 3, "optimizer": optimiser.state_dict(), key: module.state_dict(), "loss": torch.ones(1)}
    torch.save(checkpoint, tmp_path / "model.pt", _use_new_zipfile_serialization=new_zip)
    assert load(tmp_path / "model.pt").lstm.weights.keys() == module.state_dict().keys()


def test_weights_that_require_a_gradient_or_are_transposed_are_read(tmp_path):
    weights = {name: torch.from_numpy(x) for name, x in random_weights().items()}
    weights["weight_ih_l0"] = torch.nn.Parameter(weights["weight_ih_l0"])
    weights["weight_hh_l0"] = weights["weight_hh_l0"].T.contiguous().T
    torch.save(weights, tmp_path / "model.pt")
    assert load(tmp_path / "model.pt").lstm == LSTMParameters(random_weights())


@FORMATS
@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_a_dtype_that_is_not_taken_is_named(tmp_path, write, dtype):
    write({name: x.astype(dtype) for name, x in with_prefix("lstm.").items()}, tmp_path / "model.bin")
    text = line_of(lambda: load(tmp_path / "model.bin"), FormatError)
    named = dtype if write is write_torch else {"float16": "F16", "int32": "I32"}[dtype]
    assert f"is of dtype {named}, expected " in text
    assert "convert the model first" in text


def test_bfloat16_is_named_in_both_formats(tmp_path):
    lstm = torch.nn.LSTM(3, 2).to(torch.bfloat16)
    torch.save(lstm.state_dict(), tmp_path / "model.pt")
    assert "weight_ih_l0 is of dtype bfloat16" in line_of(lambda: load(tmp_path / "model.pt"), FormatError)
    save_torch_file = pytest.importorskip("safetensors.torch").save_file
    save_torch_file(lstm.state_dict(), tmp_path / "model.safetensors")
    assert "is of dtype BF16" in line_of(lambda: load(tmp_path / "model.safetensors"), FormatError)


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
    assert line_of(lambda: load(tmp_path / "gru.bin"), FormatError).endswith("'r.weight_ih_l0'; GRU at 'r'")


def test_a_file_of_no_tensors_says_so(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "model.pt")
    assert "holds no LSTM (weight_ih_l0 and so on); its tensors are (none)" in line_of(
        lambda: load(tmp_path / "model.pt")
    )


# --- files that are not what they should be


def test_missing_empty_and_other_files_are_one_line(tmp_path):
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.pt").write_text("weight_ih_l0: 1, 2, 3")
    (tmp_path / "short").write_bytes(b"x")
    assert line_of(lambda: load(tmp_path / "no.pt"), FormatError).startswith("there is no file ")
    assert "is a directory; give the file inside it" in line_of(lambda: load(tmp_path), FormatError)
    assert "is empty; expected a model file" in line_of(lambda: load(tmp_path / "empty.safetensors"), FormatError)
    for name in ("text.pt", "short"):
        text = line_of(lambda: load(tmp_path / name), FormatError)  # noqa: B023
        assert "is of no format that tallycell reads; those are safetensors, and a state_dict" in text
    assert "cannot be opened" in line_of(lambda: load("a\0b"), FormatError)
    for read in (load_safetensors, load_state_dict):
        for name in ("no.pt", "", "empty.safetensors", "text.pt", "short"):
            line_of(lambda: read(tmp_path / name), FormatError)  # noqa: B023


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
    write_torch(with_prefix("lstm."), folder / "zip.pt")
    state = {name: torch.from_numpy(x) for name, x in random_weights().items()}
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["recogniser.safetensors", "parameters.safetensors", "foreign.safetensors"])
def test_a_safetensors_file_cut_short_anywhere_is_one_line(tmp_path, small_files, name):
    content, path = small_files[name], tmp_path / "cut.safetensors"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        line_of(lambda: load(path), FormatError)
    path.write_bytes(content)
    assert len(load(path)) == 1


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_a_state_dict_cut_short_is_one_line(tmp_path, small_files, name):
    content, path = small_files[name], tmp_path / "cut.pt"
    for length in range(0, len(content) - 1, max(1, len(content) // 150)):
        path.write_bytes(content[:length])
        line_of(lambda: load(path), FormatError)


@pytest.mark.parametrize(
    "name", ["recogniser.safetensors", "parameters.safetensors", "foreign.safetensors", "zip.pt", "legacy.pt"]
)
def test_a_flipped_bit_gives_an_lstm_or_one_line(tmp_path, small_files, name):
    content, path = small_files[name], tmp_path / "flipped"
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        flipped = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            flipped[at] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        model = load_or_line(path)
        if isinstance(model, str):
            assert len(model.splitlines()) == 1
            refused += 1
        else:
            assert all(np.isfinite(w).all() for stack in model.values() for w in stack.weights.values())
    assert refused > 40  # many hits are in the description and are noticed; a changed digit of a weight is not


def load_or_line(path: Path) -> LoadedModel | str:
    try:
        return load(path)
    except TallycellError as error:
        return str(error)


class Evil:
    """A pickle of this makes a file when it is opened carelessly."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_is_refused_and_never_executed(tmp_path):
    marker = tmp_path / "marker"
    plain = pickle.dumps({"lstm.weight_ih_l0": Evil(marker)})
    (tmp_path / "plain.pkl").write_bytes(plain)
    (tmp_path / "protocol0.pt").write_bytes(pickle.dumps({"lstm.weight_ih_l0": Evil(marker)}, protocol=0))
    torch.save({"state_dict": Evil(marker)}, tmp_path / "zip.pt")
    torch.save({"state_dict": Evil(marker)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    for name in ("plain.pkl", "protocol0.pt", "zip.pt", "legacy.pt"):
        text = line_of(lambda: load(tmp_path / name), FormatError)  # noqa: B023
        assert len(text) < 400
        line_of(lambda: load_state_dict(tmp_path / name), FormatError)  # noqa: B023
        assert not marker.exists()
    assert "opening it would run code" in line_of(lambda: load(tmp_path / "zip.pt"), FormatError)
    pickle.loads(plain)
    assert marker.exists()  # it would have


def test_a_whole_module_is_refused_with_the_reason(tmp_path):
    torch.save(torch.nn.LSTM(3, 2), tmp_path / "module.pt")
    text = line_of(lambda: load(tmp_path / "module.pt"), FormatError)
    assert text == (
        f"{tmp_path / 'module.pt'} is a pickle that holds more than weights (torch.nn.modules.rnn.LSTM), and opening "
        "it would run code from the file; expected torch.save(model.state_dict(), path)"
    )


def test_a_torchscript_archive_is_refused_with_the_reason(tmp_path):
    parts = {"constants.pkl": b"\x80\x02).", "data.pkl": b"\x80\x02}.", "version": b"3\n", "code/__torch__.py": b""}
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name, content in parts.items():
            archive.writestr(f"script/{name}", content)
    text = line_of(lambda: load(tmp_path / "script.pt"), FormatError)
    assert "is a TorchScript archive, which runs code when opened; save its state_dict() instead" in text


def test_what_is_no_state_dict_is_refused(tmp_path):
    for content, kind in (([torch.ones(1)], "list"), (torch.ones(2), "Tensor")):
        torch.save(content, tmp_path / "model.pt")
        text = line_of(lambda: load(tmp_path / "model.pt"), FormatError)
        assert f"holds a {kind}, expected a state_dict: save model.state_dict()" in text
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "not torch's")
    assert "cannot be read as a state_dict of torch" in line_of(lambda: load(tmp_path / "other.zip"), FormatError)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(1).expand(10**6, 10**6),
        torch.ones(8, 3).to_sparse(),
        torch.ones(8, 3, device="meta"),
    ],
    ids=["expanded to 10^12", "sparse", "meta"],
)
def test_a_tensor_without_values_of_its_own_is_refused(tmp_path, tensor):
    weights = {name: torch.from_numpy(x) for name, x in random_weights().items()} | {"weight_ih_l0": tensor}
    torch.save(weights, tmp_path / "model.pt")
    text = line_of(lambda: load(tmp_path / "model.pt"), FormatError)
    assert "weight_ih_l0 is not a plain dense tensor with values of its own" in text


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
        (described(lstm=LSTM | {"activations": [SLOTS | {"cell": ["elu", {"gamma": 1}]}]}), "got the constants gamma"),
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


# --- what is loaded when


def test_the_loaders_do_not_load_torch(tmp_path):
    save(a_recogniser(), tmp_path / "net.safetensors")
    code = (
        "import sys, tallycell.loaders as loaders\n"
        f"assert loaders.load({str(tmp_path / 'net.safetensors')!r}).recogniser\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'h5py', 'zarr', 'xarray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_torch_a_state_dict_is_answered_with_the_extra_to_install(tmp_path, small_files, monkeypatch):
    (tmp_path / "model.pt").write_bytes(small_files["zip.pt"])
    monkeypatch.setitem(sys.modules, "torch", None)
    text = line_of(lambda: load(tmp_path / "model.pt"), MissingExtraError)
    assert text == "this needs the package 'torch', which is not installed: pip install 'tallycell[torch]'"
