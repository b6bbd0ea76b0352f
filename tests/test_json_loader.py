"""JSON of real-time audio tools: torch's names and Keras' layers, and every file that is not as it should be."""

import json

import numpy as np
import pytest

from parity import record_parity, run_lstm
from tallycell import files
from tallycell.errors import FormatError, ParameterError
from tallycell.loaders import json_file, load
from tallycell.parameters import LSTMParameters

torch = pytest.importorskip("torch")


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def error_of(path, content, kind=FormatError) -> str:
    with pytest.raises(kind) as raised:
        load(write(path, content))
    text = str(raised.value)
    assert len(text.splitlines()) == 1
    assert len(text) < 600
    assert str(path) in text
    return text


def lists(module) -> dict[str, list]:
    return {name: x.tolist() for name, x in module.state_dict().items()}


class AudioModel(torch.nn.Module):
    """The shape of GuitarML's models."""

    def __init__(self, hidden=3):
        super().__init__()
        self.rec = torch.nn.LSTM(1, hidden)
        self.lin = torch.nn.Linear(hidden, 1)


def keras_lstm(hidden=2, features=1, seed=0, **changes):
    rng = np.random.default_rng(seed)
    shapes = [(features, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)]
    weights = [rng.normal(size=shape).astype(np.float32).tolist() for shape in shapes]
    return {"type": "lstm", "activation": "tanh", "shape": [None, None, hidden], "weights": weights} | changes


DENSE = {"type": "dense", "activation": "", "shape": [None, None, 1], "weights": [[[0.5], [-2.0]], [0.25]]}


def keras_layers(*layers):
    return {"in_shape": [None, None, 1], "layers": list(layers)}


# --- what is read


def test_torchs_names_under_state_dict_are_read_with_the_linear_layer_behind(tmp_path):
    model = AudioModel()
    data = {"model": "SimpleRNN", "unit_type": "LSTM", "input_size": 1, "hidden_size": 3, "skip": 1}
    loaded = load(write(tmp_path / "amp.json", {"model_data": data, "state_dict": lists(model)}))
    assert list(loaded) == ["rec"]
    assert loaded.lstm == LSTMParameters({name: x.numpy() for name, x in model.rec.state_dict().items()})
    np.testing.assert_array_equal(loaded.head.weight, model.lin.weight.detach())
    np.testing.assert_array_equal(loaded.head.bias, model.lin.bias.detach())
    assert loaded.head.activation is None


def test_torchs_names_at_the_root_behind_a_byte_order_mark_are_read(tmp_path):
    model = AudioModel()
    path = tmp_path / "model.anything"
    path.write_bytes(b"\xef\xbb\xbf \n" + json.dumps(lists(model)).encode())
    assert load(path)["rec"].hidden_size == 3


def test_json_whose_ninth_byte_is_a_brace_is_no_safetensors(tmp_path):
    path = write(tmp_path / "model", '{"lstm":{}}')
    with pytest.raises(FormatError, match="holds no LSTM"):
        load(path)


def test_a_head_is_told_only_where_one_linear_layer_ends_the_file(tmp_path):
    state = lists(AudioModel())
    two = state | {"other.weight": [[1.0] * 3], "other.bias": [0.0]}
    wide = {name: x for name, x in state.items() if "lin" not in name} | {"lin.weight": [[1.0] * 4]}
    before = {"lin.weight": state["lin.weight"]} | {name: x for name, x in state.items() if "rec" in name}
    assert load(write(tmp_path / "a.json", state)).head is not None
    for content in (two, wide, before):
        assert load(write(tmp_path / "b.json", content)).head is None


def test_keras_layers_are_read_in_keras_layout(tmp_path):
    """Against the equations written out: columns of a kernel are i f g o, unit by unit."""
    layer = keras_lstm()
    loaded = load(write(tmp_path / "model.json", keras_layers({"type": "prelu"}, layer, DENSE)))
    assert list(loaded) == ["layers.1"]
    kernel, recurrent, bias = (np.array(x) for x in layer["weights"])
    x = np.array([[0.3], [-1.2], [2.0]])
    h = c = np.zeros(2)
    for step, got in zip(x, run_lstm(loaded.lstm.astype(np.float64), x), strict=True):
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        np.testing.assert_allclose(got, h, rtol=1e-12)
    np.testing.assert_array_equal(loaded.head.weight, [[0.5, -2.0]])
    np.testing.assert_array_equal(loaded.head.bias, [0.25])


def test_layers_in_a_row_keep_their_order_and_no_head_stands_where_the_last_layer_reads_no_lstm(tmp_path):
    layers = [keras_lstm(), keras_lstm(3, 2), DENSE | {"weights": [[[1.0]] * 3, [0.0]]}, DENSE]
    loaded = load(write(tmp_path / "model.json", keras_layers(*layers)))
    assert list(loaded) == ["layers.0", "layers.1"]
    assert [p.input_size for p in loaded.values()] == [1, 2]
    assert loaded.head is None


def test_a_dense_layers_activation_is_kept_and_a_missing_bias_is_none(tmp_path):
    dense = DENSE | {"activation": "relu", "type": "time-distributed-dense", "weights": DENSE["weights"][:1]}
    layer = keras_lstm()
    loaded = load(write(tmp_path / "model.json", keras_layers(layer | {"weights": layer["weights"][:2]}, dense)))
    assert (loaded.head.activation, loaded.head.bias) == ("relu", None)
    assert not loaded.lstm.bias


def test_an_lstm_with_an_activation_that_the_tools_do_not_compute_is_refused_by_name(tmp_path):
    layers = [keras_lstm(activation="relu"), keras_lstm(2, 2, activation="")]
    loaded = load(write(tmp_path / "model.json", keras_layers(*layers)))
    assert list(loaded) == ["layers.1"]
    assert loaded.refused["layers.0"].startswith("its activation is 'relu', where the tools that write such files")
    text = error_of(tmp_path / "model.json", keras_layers(layers[0]))
    assert "holds no LSTM that can be read; its layers are 'lstm'; 'layers.0': its activation is 'relu'" in text


# --- what is refused


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ("[1, 2]", FormatError, "holds a JSON list, expected an object with state_dict or layers"),
        ("{", FormatError, "cannot be read as JSON: Expecting property name"),
        ("[" * 100_000, FormatError, "cannot be read as JSON: it is nested too deeply"),
        ('{"a":' * 100_000, FormatError, "cannot be read as JSON: it is nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", FormatError, "cannot be read as JSON: Exceeds the limit"),
        ("{}", FormatError, "holds no LSTM"),
        ({"state_dict": [1]}, FormatError, "state_dict is a JSON list, expected an object of tensors by name"),
        (lists(torch.nn.GRU(1, 2)), FormatError, "GRUs and RNNs at '': GRU"),
        ({"weight_ih_l0": [[1], [1, 2]], "weight_hh_l0": [[1]]}, FormatError, "'weight_ih_l0' is not an even array of"),
        ({"weight_ih_l0": [["1"]], "weight_hh_l0": [[1]]}, FormatError, "'weight_ih_l0' is not an even array of numb"),
        ({"weight_ih_l0": [[10**400]], "weight_hh_l0": [[1]]}, FormatError, "'weight_ih_l0' is not an even array of"),
        ({"weight_ih_l0": [[1e39]] * 4, "weight_hh_l0": [[1]] * 4}, ParameterError, "values that are NaN or infinite"),
        ({"weight_ih_l0": [[np.nan]] * 4, "weight_hh_l0": [[1]] * 4}, ParameterError, "values that are NaN or infin"),
        ({"weight_ih_l0": 3, "weight_hh_l0": 4}, ParameterError, "weight_ih_l0 has shape () and weight_hh_l0 ()"),
        (keras_layers(3), FormatError, "layers.0 is a JSON int, expected an object with type, weights"),
        (keras_layers({"type": ["lstm"]}), FormatError, "its layers are 'a list'"),
        (keras_layers(*[{"type": "gru"}] * 9), FormatError, "holds no LSTM that can be read; its layers are 'gru', "),
        (keras_layers(), FormatError, "its layers are (none)"),
        (keras_layers(keras_lstm(weights=None)), FormatError, "layers.0 has no list of weights"),
        (keras_layers(keras_lstm(weights=[[[1], [1, 2]], 1, 1])), FormatError, "layers.0.weights.0 is not an even"),
        (keras_layers(keras_lstm(weights=[[1]])), FormatError, "has 1 weights, expected kernel, recurrent kernel and"),
        (keras_layers(keras_lstm(weights=[1, 2, 3])), ParameterError, "a weight has 1 rows, which 4 gates cannot"),
        (keras_layers(keras_lstm(weights=[[[1] * 8], [[1] * 8], [1] * 8])), ParameterError, "LSTM at 'layers.0': weig"),
        (keras_layers(keras_lstm(3), DENSE), FormatError, "layers.1 has weights of shape (2, 1), (1,), expect"),
        (keras_layers(keras_lstm(), DENSE | {"weights": [[[1], [1]], [1, 2]]}), FormatError, "has a bias of shape (2,"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_it_should_be_is_one_line(tmp_path, content, kind, text):
    assert text in error_of(tmp_path / "bad.json", content, kind)


def test_a_file_beyond_the_bound_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "_MOST_BYTES", 100)
    monkeypatch.setattr(files.json, "loads", lambda _: pytest.fail("parsed"))
    text = error_of(tmp_path / "large.json", "{" + " " * 101)
    assert "is larger than 100 bytes, the most that is read of such a JSON file" in text


def test_text_that_is_not_utf8_is_one_line(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes(b'{"caf\xe9": 1}')
    with pytest.raises(FormatError, match="cannot be read as JSON: 'utf-8' codec"):
        load(path)


# --- golden


@pytest.mark.parametrize("name", ["lstm", "lstm_1d", "lstm_torch"])
def test_golden_rtneural_models_give_the_reference_output(third_party, name):
    folder = third_party / "models" / "rtneural"
    loaded = load(folder / f"{name}.json")
    x, y = (np.loadtxt(folder / f"{name}_{side}_python.csv", dtype=np.float32)[:, None] for side in "xy")
    h = x
    if name == "lstm":  # a dense layer stands in front
        front = json.loads((folder / "lstm.json").read_text())["layers"][0]
        assert (front["type"], front["activation"]) == ("time-distributed-dense", "tanh")
        h = np.tanh(x @ np.float32(front["weights"][0]) + np.float32(front["weights"][1]))
    for parameters in loaded.values():
        h = run_lstm(parameters, h)
    difference = np.abs(h @ loaded.head.weight.T + loaded.head.bias - y).max()
    record_parity(f"RTNeural {name}.json (output of its dense layer)", "JSON", "Keras, PyTorch", difference)
    assert difference < 1e-5  # float32 in another order
