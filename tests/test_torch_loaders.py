"""PyTorch's own files and live modules: the weights to the last bit, and one clear line for everything else."""

import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tallycell
from loader_cases import cut, flipped, line_of, load_or_line, random_weights, with_prefix, write_torch
from parity import record_parity, run_lstm
from tallycell.errors import FormatError, InputError, MissingExtraError, ParameterError
from tallycell.loaders import load
from tallycell.loaders.torch.state_dict import load_state_dict
from tallycell.parameters import LSTMParameters

torch = pytest.importorskip("torch")
nn = torch.nn


def parameters_of(state: dict) -> LSTMParameters:
    """What a module's state_dict says, LSTMCell's names included."""
    layered = {name if "_l" in name else f"{name}_l0": x.float().numpy() for name, x in state.items()}
    return LSTMParameters(layered)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    write_torch(with_prefix("lstm."), folder / "zip.pt")
    state = {name: torch.from_numpy(x) for name, x in random_weights().items()}
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- state_dicts


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


def test_a_file_of_no_tensors_says_so(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "model.pt")
    assert "holds no LSTM (weight_ih_l0 and so on); its tensors are (none)" in line_of(
        lambda: load(tmp_path / "model.pt")
    )


@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_an_lstm_of_one_layer_and_its_place_says_so(tmp_path, bias):
    cells = nn.ModuleDict({"a": nn.LSTMCell(3, 2, bias=bias), "gru": nn.GRUCell(3, 2), "rnn": nn.RNNCell(3, 2)})
    torch.save(cells.state_dict(), tmp_path / "model.pt")
    model = load(tmp_path / "model.pt")
    assert dict(model) == {"a": parameters_of(cells["a"].state_dict())}
    assert model.places["a"].operator == "LSTMCell"
    torch.save(cells["gru"].state_dict(), tmp_path / "gru.pt")
    assert line_of(lambda: load(tmp_path / "gru.pt"), FormatError).endswith(
        "'weight_hh', 'weight_ih'; GRUs and RNNs at '': GRU"
    )


def test_an_lstm_and_a_cell_at_one_path_are_refused(tmp_path):
    torch.save(nn.LSTM(3, 2).state_dict() | nn.LSTMCell(3, 2).state_dict(), tmp_path / "model.pt")
    text = line_of(lambda: load(tmp_path / "model.pt"), FormatError)
    assert "holds weights of both an LSTM and an LSTMCell at ''" in text


def test_an_lstm_that_cannot_be_read_is_refused_by_name_and_the_others_are_read(tmp_path):
    state = nn.ModuleDict({"good": nn.LSTM(3, 2), "bad": nn.LSTM(3, 2), "whole": nn.LSTMCell(3, 2)}).state_dict()
    state["bad.weight_hh_l0"] = torch.full((8, 2), torch.nan)
    state["whole.weight_ih"] = torch.ones(8, 3, dtype=torch.int8)
    torch.save(state, tmp_path / "model.pt")
    model = load(tmp_path / "model.pt")
    assert list(model) == ["good"]
    assert model.refused == {
        "bad": "weight_hh_l0 has values that are NaN or infinite; weights must be finite",
        "whole": "weight_ih_l0 is of dtype int8, expected float32, float64, float16, bfloat16; convert the model "
        "first, with model.float()",
    }
    assert "the LSTM at 'bad' of" in line_of(lambda: model["bad"], InputError)
    del state["good.weight_ih_l0"]
    torch.save(state, tmp_path / "model.pt")
    assert "LSTM at 'good': got the weights bias_hh_l0" in line_of(lambda: load(tmp_path / "model.pt"), ParameterError)


def test_halves_beside_float32_are_widened_and_named(tmp_path):
    state = nn.LSTM(3, 2).state_dict()
    state["weight_hh_l0"] = state["weight_hh_l0"].half()
    torch.save(state, tmp_path / "model.pt")
    model = load(tmp_path / "model.pt")
    assert (model.lstm, model.places[""].stored_as) == (parameters_of(state), "float16")


# --- embedding and head


class Tagger(nn.Module):
    def __init__(self, symbols=9, features=3, units=4, tags=5, **arguments):
        super().__init__()
        self.symbols = nn.Embedding(symbols, features)
        self.lstm = nn.LSTM(features, units, batch_first=True, **arguments)
        self.head = nn.Linear(units * (2 if arguments.get("bidirectional") else 1), tags)

    def forward(self, x):
        return self.head(self.lstm(self.symbols(x))[0])


def assert_around(model, embedding, head):
    assert (model.embedding is None) == (embedding is None)
    assert (model.head is None) == (head is None)
    if embedding is not None:
        np.testing.assert_array_equal(model.embedding, embedding.weight.detach().float().numpy())
    if head is not None:
        np.testing.assert_array_equal(model.head.weight, head.weight.detach().float().numpy())
        assert (model.head.bias is None) == (head.bias is None)
        if head.bias is not None:
            np.testing.assert_array_equal(model.head.bias, head.bias.detach().float().numpy())


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_embedding_and_head_are_found(tmp_path, live, bidirectional):
    tagger = Tagger(bidirectional=bidirectional).half()
    torch.save(tagger.state_dict(), tmp_path / "model.pt")
    assert_around(load(tagger if live else tmp_path / "model.pt"), tagger.symbols, tagger.head)


def modules(*parts) -> nn.Module:
    """Modules whose names say nothing."""
    return nn.Sequential(*parts)


L = nn.LSTM(4, 4)
E, H, F = nn.Embedding(9, 4), nn.Linear(4, 5), nn.Linear(4, 4)
SQUARE = nn.Embedding(4, 4)


@pytest.mark.parametrize(
    ("model", "embedding", "head"),
    [
        (modules(E, L, H), E, H),
        (modules(L, H), None, H),
        (modules(E, L), E, None),
        (modules(nn.Linear(4, 4, bias=False), L, H), None, H),  # square, and not called an embedding
        (modules(nn.Linear(4, 4), L, F), None, F),  # a linear layer in front is none behind
        (modules(E, nn.Embedding(8, 4), L, H, nn.Linear(4, 6)), None, None),  # two of each
        (modules(E, L, nn.Linear(8, 5), nn.LSTM(5, 8), H), E, None),  # behind the last
        (nn.ModuleDict({"a": nn.Embedding(9, 4), "emb": E, "l": L}), E, None),  # the name says it
        (nn.ModuleDict({"emb": SQUARE, "l": L, "embed_out": nn.Embedding(7, 4)}), SQUARE, None),
        (modules(L, nn.Linear(4, 2, bias=False)), None, "2.weight"),
    ],
)  # fmt: skip
def test_where_names_and_sizes_leave_a_doubt_nothing_is_guessed(tmp_path, model, embedding, head):
    head = model[1] if isinstance(head, str) else head
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert_around(load(tmp_path / "model.pt"), embedding, head)


def test_a_bias_of_another_size_makes_no_head(tmp_path):
    state = {**nn.LSTM(3, 4).state_dict(), "head.weight": torch.ones(5, 4), "head.bias": torch.ones(3)}
    torch.save(state, tmp_path / "model.pt")
    assert load(tmp_path / "model.pt").head is None


def test_live_modules_are_told_by_class_where_names_and_sizes_would_not(tmp_path):
    model = modules(nn.Embedding(9, 4), nn.LSTM(4, 4), nn.Linear(4, 5), nn.Bilinear(4, 4, 1), nn.Embedding(4, 4))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert_around(load(tmp_path / "model.pt"), model[0], None)  # two matrices behind fit
    assert_around(load(model), model[0], model[2])


# --- pickles


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_a_state_dict_cut_short_is_one_line(tmp_path, small_files, name):
    path = tmp_path / "cut.pt"
    for part in cut(small_files[name], 150):
        path.write_bytes(part)
        line_of(lambda: load(path), FormatError)


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
        "it would run code from the file; expected torch.save(model.state_dict(), path). If you trust whoever wrote "
        "it: trust_pickle=True, or --trust-pickle"
    )


def test_what_is_no_state_dict_is_refused(tmp_path):
    for content, kind in (([torch.ones(1)], "list"), (torch.ones(2), "Tensor")):
        torch.save(content, tmp_path / "model.pt")
        text = line_of(lambda: load(tmp_path / "model.pt"), FormatError)
        assert f"holds a {kind}, expected a state_dict: save model.state_dict()" in text
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "not torch's")
    assert "has no entry 'data.pkl'" in line_of(lambda: load(tmp_path / "other.zip"), FormatError)


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


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_a_flipped_bit_of_a_state_dict_gives_an_lstm_or_one_line(tmp_path, small_files, name):
    path, refused = tmp_path / "flipped.pt", 0
    for damaged in flipped(small_files[name], 400):
        path.write_bytes(damaged)
        model = load_or_line(path)
        refused += isinstance(model, str)
        assert not isinstance(model, str) or len(model.splitlines()) == 1
    assert refused > 40


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_a_storage_that_promises_what_is_not_there_is_refused_before_torch_sees_it(tmp_path, monkeypatch, name):
    state = {"weight_ih_l0": torch.ones(8, 3), "weight_hh_l0": torch.ones(8, 2)}
    torch.save(state, tmp_path / "good.pt", _use_new_zipfile_serialization=name == "zip.pt")
    ours, huge = b"K\x18", b"\x8a\x06\x00\x00\x00\x00\x00\x01"  # 24 numbers, 2^40
    if name == "legacy.pt":
        content = (tmp_path / "good.pt").read_bytes()
        assert content.count(ours) == 1
        (tmp_path / name).write_bytes(content.replace(ours, huge))
    else:
        with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / name, "w") as bad:
            for entry in good.namelist():
                bad.writestr(entry, good.read(entry).replace(ours, huge))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch was asked"))
    assert "should h" in line_of(lambda: load(tmp_path / name), FormatError)


def test_a_zip_that_unfolds_to_a_thousand_times_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(3):
            archive.writestr(f"bomb/data/{k}", bytes(2**25))
    assert "unfolds to" in line_of(lambda: load(tmp_path / "bomb.pt"), FormatError)


def test_a_trusted_pickle_may_hold_a_whole_module(tmp_path):
    tagger = Tagger()
    for name, content in (("plain", tagger), ("nested", {"epoch": 3, "model": tagger})):
        torch.save(content, tmp_path / f"{name}.pt")
        line_of(lambda: load(tmp_path / f"{name}.pt"), FormatError)  # noqa: B023
        model = load(tmp_path / f"{name}.pt", trust_pickle=True)
        assert dict(model) == {"lstm": parameters_of(tagger.lstm.state_dict())}
        assert model.source == tmp_path / f"{name}.pt"
        assert_around(model, tagger.symbols, tagger.head)


def test_a_trusted_pickle_of_arrays_needs_no_torch(tmp_path):
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(with_prefix("encoder.") | {"encoder.epoch": 3}))
    text = line_of(lambda: load(path), FormatError)
    assert "holds more than weights" in text
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom tallycell.loaders import load\n"
        f"print(load({str(path)!r}, trust_pickle=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("LoadedModel({'encoder': LSTMParameters(input_size=3, hidden_size=2")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x80\x02cno.such.module\nThing\n.", "it needs what is not installed here: No module named 'no'"),
        (b"\x80\x02}q", "cannot be opened as a pickle: "),
        (pickle.dumps([1]), "holds a list, expected a state_dict"),
        (b"PK\x03\x04 and nothing", "is a damaged zip"),
    ],
)
def test_a_trusted_pickle_that_is_broken_is_one_line(tmp_path, content, text):
    (tmp_path / "x.pt").write_bytes(content)
    assert text in line_of(lambda: load(tmp_path / "x.pt", trust_pickle=True), FormatError)


def test_a_quantised_lstm_is_refused_by_name(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it old
        model = torch.ao.quantization.quantize_dynamic(modules(nn.LSTM(3, 4)), {nn.LSTM})
        torch.save(model.state_dict(), tmp_path / "model.pt")
        torch.jit.script(model).save(tmp_path / "model.ts")
    reason = "LSTM at '0': torch quantised it"
    assert reason in line_of(lambda: load(model), FormatError)
    assert reason in line_of(lambda: load(tmp_path / "model.pt", trust_pickle=True), FormatError)
    assert reason in line_of(lambda: load(tmp_path / "model.ts"), FormatError)


def test_without_torch_a_state_dict_is_answered_with_the_extra_to_install(tmp_path, small_files, monkeypatch):
    (tmp_path / "model.pt").write_bytes(small_files["zip.pt"])
    monkeypatch.setitem(sys.modules, "torch", None)
    text = line_of(lambda: load(tmp_path / "model.pt"), MissingExtraError)
    assert text == "this needs the package 'torch', which is not installed: pip install 'tallycell[torch]'"


# --- live modules


def test_every_lstm_of_a_live_module_is_read_by_its_path():
    model = nn.ModuleDict({
        "stack": nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
        "cells": nn.ModuleList([nn.LSTMCell(3, 2), nn.GRUCell(3, 2), nn.LSTMCell(2, 2, bias=False)]),
        "ours": tallycell.LSTM(3, 2, gate="hard_sigmoid", peepholes=True, forget_gate="coupled"),
        "narrow": nn.LSTM(3, 2).half(),
        "ours_narrow": tallycell.LSTM(3, 2).bfloat16(),
        "wide": nn.LSTM(3, 2).double(),
    })  # fmt: skip
    model["again"] = model["stack"]
    loaded = load(model)
    assert list(loaded) == ["stack", "cells.0", "cells.2", "ours", "narrow", "ours_narrow", "wide"]
    for path in ("stack", "cells.0", "cells.2", "narrow", "ours_narrow"):
        assert loaded[path] == parameters_of(model.get_submodule(path).state_dict())
    assert loaded["ours"] == model["ours"].to_parameters()
    assert loaded["wide"].dtype == np.float64
    assert [place.stored_as for place in loaded.places.values()] == [None] * 4 + ["float16", "bfloat16", None]
    assert [place.operator for place in loaded.places.values()] == ["LSTM"] + ["LSTMCell"] * 2 + ["LSTM"] * 4


def test_weights_that_are_computed_are_those_that_the_module_runs_with():
    lstm = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 2), "weight_hh_l0")
    with torch.no_grad():
        lstm.parametrizations.weight_hh_l0.original0 *= 2
    np.testing.assert_array_equal(load(lstm).lstm.weights["weight_hh_l0"], lstm.weight_hh_l0.detach().numpy())
    x = torch.randn(6, 1, 3)
    np.testing.assert_allclose(run_lstm(load(lstm).lstm, x[:, 0]), lstm(x)[0][:, 0].detach(), atol=1e-6)


def test_what_holds_no_lstm_or_is_no_module_is_refused():
    assert line_of(lambda: load(nn.Linear(2, 2)), FormatError) == (
        "<Linear> holds no torch.nn.LSTM and no torch.nn.LSTMCell"
    )
    assert "got a int; expected the path of a model file, or a torch.nn.Module" in line_of(lambda: load(3), InputError)
    with torch.device("meta"):
        unborn = modules(nn.LSTM(3, 2))
    assert "LSTM at '0': weight_ih_l0 is not a plain dense tensor" in line_of(lambda: load(unborn), FormatError)


# --- other people's models


def golden(third_party, name):
    arrays = np.load(third_party / "golden" / f"{name}.npz")
    return arrays["x"], arrays["y"]


@pytest.mark.models
@pytest.mark.parametrize(
    ("package", "version", "file", "name", "around", "runtime"),
    [
        ("uzmorph-nn", "0.1.0", "uzmorph_nn/data/morph_bilstm.pth", "uzmorph_nn", (49, 64, 746, 128), "state_dict"),
        ("g2pM", "0.1.2.5", "g2pM/np_ckpt.pkl", "g2pM", (5398, 64, 32, 64), "pickle of arrays"),
    ],
)
def test_published_models_give_what_torch_gives(pypi_model, third_party, package, version, file, name, around, runtime):
    path = pypi_model(package, version) / file
    if name == "g2pM":
        assert "numpy.core.multiarray._reconstruct" in line_of(lambda: load(path), FormatError)
    model = load(path, trust_pickle=name == "g2pM")
    x, y = golden(third_party, name)
    difference = float(np.abs(run_lstm(model.lstm, x) - y).max())
    record_parity(f"{package} {version}", runtime, "torch.nn.LSTM", difference)
    assert difference < 1e-5  # float32, summed in another order
    assert model.embedding.shape + model.head.weight.shape == around


@pytest.mark.models
def test_silero_vad_as_safetensors_loads_and_is_another_training(pypi_model):
    data = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data"
    model = load(data / "silero_vad_16k.safetensors")
    assert (list(model), model.places["lstm_cell"].operator) == (["lstm_cell"], "LSTMCell")
    other = load(data / "silero_vad.jit")["_model.decoder.rnn"]
    assert other.weights["weight_ih_l0"].shape == model.lstm.weights["weight_ih_l0"].shape
    assert np.abs(other.weights["weight_ih_l0"] - model.lstm.weights["weight_ih_l0"]).max() > 0.1
