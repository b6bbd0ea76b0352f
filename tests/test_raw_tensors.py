"""Raw tensors with a manifest: TensorFlow's order, the forget bias that has to be told, and damaged folders."""

import json
import os

import numpy as np
import pytest

from parity import record_parity, run_lstm
from tallycell.errors import FormatError, InputError, ParameterError
from tallycell.loaders import load

MULTI = "rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell"


def write(folder, tensors, **changes):
    """A folder of tensors; ``changes`` replace entries of the manifest (None: left out)."""
    manifest = {}
    for k, (name, array) in enumerate(tensors.items()):
        np.asarray(array, np.float32).tofile(folder / f"tensor_{k}")
        manifest[name] = {"filename": f"tensor_{k}", "shape": list(np.shape(array))}
    manifest = {name: entry for name, entry in (manifest | changes).items() if entry is not None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def cell(path, features, units, seed=0, kinds=("weights", "biases")):
    rng = np.random.default_rng(seed)
    shapes = {kinds[0]: (features + units, 4 * units), kinds[1]: (4 * units,)}
    return {f"{path}/{kind}": rng.normal(size=shape).astype(np.float32) for kind, shape in shapes.items()}


def error_of(folder, kind=FormatError, forget_bias=1.0) -> str:
    with pytest.raises(kind) as raised:
        load(folder, forget_bias=forget_bias)
    text = str(raised.value)
    assert len(text.splitlines()) == 1
    assert len(text) < 600
    assert str(folder) in text
    return text


# --- what is read


@pytest.mark.parametrize("kinds", [("weights", "biases"), ("kernel", "bias")])
@pytest.mark.parametrize("forget_bias", [0.0, 1.0, -0.5])
def test_a_cell_is_read_as_tensorflow_computes_it(tmp_path, kinds, forget_bias):
    """Against BasicLSTMCell's equations written out: i, j, f, o; sigmoid(f + forget_bias)."""
    tensors = cell("a/lstm_cell", 2, 3, kinds=kinds)
    loaded = load(write(tmp_path, tensors), forget_bias=forget_bias)
    assert list(loaded) == ["a/lstm_cell"]
    assert loaded.places["a/lstm_cell"].operator == "BasicLSTMCell"
    weights, bias = (x.astype(np.float64) for x in tensors.values())
    x = np.array([[0.3, 1.0], [-1.2, 0.1], [2.0, -2.0]])
    h = c = np.zeros(3)
    for step, got in zip(x, run_lstm(loaded.lstm.astype(np.float64), x), strict=True):
        i, j, f, o = np.split(np.concatenate([step, h]) @ weights + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f + forget_bias, o))
        c = c * f + i * np.tanh(j)
        h = np.tanh(c) * o
        np.testing.assert_allclose(got, h, rtol=1e-6)  # the forget bias was added in float32


def test_cells_that_feed_each_other_are_one_stack_in_the_order_of_their_numbers(tmp_path):
    cells = {k: cell(MULTI.format(k), 5 if k == 0 else 3, 3, seed=k) for k in (10, 1, 0)}
    loaded = load(write(tmp_path, cells[10] | cells[1] | cells[0]), forget_bias=1)
    assert list(loaded) == ["rnnlm/multi_rnn_cell"]
    assert (loaded.lstm.num_layers, loaded.lstm.input_size) == (3, 5)
    last = cells[10][f"{MULTI.format(10)}/weights"]
    np.testing.assert_array_equal(loaded.lstm.weights["weight_hh_l2"][:3], last[3:, :3].T)


@pytest.mark.parametrize(("features", "units"), [(3, 4), (2, 3)])
def test_cells_of_other_width_or_that_do_not_chain_stay_apart(tmp_path, features, units):
    cells = cell(MULTI.format(0), 5, 3) | cell(MULTI.format(1), features, units)
    loaded = load(write(tmp_path, cells), forget_bias=1)
    assert list(loaded) == [MULTI.format(0), MULTI.format(1)]


def test_the_backward_cell_of_a_bidirectional_network_reads_in_reverse(tmp_path):
    loaded = load(write(tmp_path, cell("rnn/fw/lstm_cell", 2, 3) | cell("rnn/bw/lstm_cell", 2, 3)), forget_bias=1)
    assert [loaded.places[path].reverse for path in ("rnn/fw/lstm_cell", "rnn/bw/lstm_cell")] == [False, True]


def test_embedding_vocabulary_and_head_are_filled(tmp_path):
    around = {
        "embedding": np.arange(8.0).reshape(4, 2),
        "rnnlm/softmax_w": np.arange(12.0).reshape(3, 4),
        "rnnlm/softmax_b": np.arange(4.0),
        "Variable": np.float32(3),
    }
    folder = write(tmp_path, around | cell("lstm_cell", 2, 3))
    (folder / "vocab.json").write_text(json.dumps({"b": 1, "a": 0, " ": 3, "\n": 2}))
    loaded = load(folder, forget_bias=1)
    np.testing.assert_array_equal(loaded.embedding, around["embedding"])
    np.testing.assert_array_equal(loaded.head.weight, around["rnnlm/softmax_w"].T)
    np.testing.assert_array_equal(loaded.head.bias, around["rnnlm/softmax_b"])
    assert loaded.head.activation == "softmax"
    assert loaded.vocabulary == ("a", "b", "\n", " ")


def test_what_is_not_there_or_does_not_fit_stays_empty(tmp_path):
    around = {"embedding": np.zeros((4, 7)), "softmax_w": np.zeros((3, 4)), "softmax_b": np.zeros(5)}
    loaded = load(write(tmp_path, around | cell("lstm_cell", 2, 3)), forget_bias=1)
    assert (loaded.embedding, loaded.head, loaded.vocabulary) == (None, None, None)


@pytest.mark.parametrize(("name", "what"), [("w_f_diag", "peepholes"), ("projection/kernel", "a projection")])
def test_peepholes_and_projections_are_refused_by_name(tmp_path, name, what):
    peephole = cell("a/lstm_cell", 2, 3) | {f"a/lstm_cell/{name}": np.zeros(3)}
    assert f"'a/lstm_cell': it has {what}, which" in error_of(write(tmp_path, peephole))
    loaded = load(write(tmp_path, peephole | cell("b/lstm_cell", 2, 3)), forget_bias=1)
    assert list(loaded) == ["b/lstm_cell"]
    assert loaded.refused == {"a/lstm_cell": f"it has {what}, which are not read from this format"}


# --- what is asked for, and what is refused


@pytest.mark.parametrize("forget_bias", [None, np.nan, np.inf])
def test_the_forget_bias_has_to_be_told(tmp_path, forget_bias):
    folder = write(tmp_path, cell("lstm_cell", 2, 3))
    text = error_of(folder, InputError, forget_bias)
    assert text == (
        f"{folder} does not say which forget bias its program adds, got {forget_bias}: give forget_bias=1 "
        "(TensorFlow's default) or 0; on the command line, --forget-bias 1"
    )


def test_a_folder_without_a_manifest_or_without_an_lstm_is_named(tmp_path):
    assert "is a folder without a manifest.json; give a model file, a folder with one, or a run folder of" in error_of(
        tmp_path
    )
    assert "holds no LSTM cell (lstm_cell/kernel and so on); its tensors are 'a/gru_cell/weights'" in error_of(
        write(tmp_path, cell("a/gru_cell", 2, 3))
    )
    (tmp_path / "manifest.json").write_text("[]")
    assert "manifest.json holds a JSON list, expected an object of tensors by name" in error_of(tmp_path)
    (tmp_path / "manifest.json").write_text("[" * 10**5)
    assert "cannot be read as JSON: it is nested too deeply" in error_of(tmp_path)


KERNEL = "lstm_cell/kernel"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (None, "holds no LSTM cell"),
        (3, "'lstm_cell/kernel' has no shape; expected an object with filename and shape"),
        ({"filename": "tensor_0"}, "'lstm_cell/kernel' has no shape"),
        ({"filename": "tensor_0", "shape": [5, 12.0]}, "'lstm_cell/kernel' has no shape"),
        ({"filename": "tensor_0", "shape": [5, 12], "dtype": "uint8"}, "'lstm_cell/kernel' is of dtype 'uint8', expec"),
        ({"filename": "tensor_0", "shape": [10**6, 10**6]}, "of shape (1000000, 1000000) needs 4000000000000 bytes, t"),
        ({"filename": "tensor_0", "shape": [-5, -12]}, "has the shape (-5, -12); expected no negative size"),
        ({"filename": "tensor_0", "shape": [5, 11]}, "of shape (5, 11) needs 220 bytes, the file has 240"),
        ({"shape": [5, 12]}, "names None as a file; expected a file name"),
        ({"filename": ["x"], "shape": [5, 12]}, "names a list as a file; expected a file name"),
        ({"filename": "a\0b", "shape": [5, 12]}, "names a file 'a\\x00b'; expected a file name"),
        ({"filename": "x" * 5000, "shape": [5, 12]}, "which is not there"),
        ({"filename": "missing", "shape": [5, 12]}, "names the file 'missing', which is not there"),
        ({"filename": ".", "shape": [5, 12]}, "names the file '.', which is not there"),
        ({"filename": "../secret", "shape": [5, 12]}, "names the file '../secret', which lies outside its folder"),
        ({"filename": "/etc/passwd", "shape": [5, 12]}, "names the file '/etc/passwd', which lies outside its folder"),
        ({"filename": "link", "shape": [5, 12]}, "names the file 'link', which lies outside its folder"),
        ({"filename": "loop", "shape": [5, 12]}, "names the file 'loop', which is not there"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_as_it_should_be_is_one_line(tmp_path, entry, text):
    folder = tmp_path / "model"
    folder.mkdir()
    np.zeros((5, 12), np.float32).tofile(tmp_path / "secret")
    os.symlink(tmp_path / "secret", folder / "link")
    os.symlink(folder / "loop", folder / "loop")
    tensors = cell("lstm_cell", 2, 3, kinds=("kernel", "bias"))
    assert text in error_of(write(folder, tensors, **{KERNEL: entry}))


@pytest.mark.parametrize(
    ("tensors", "kind", "text"),
    [
        ({KERNEL: np.zeros((5, 12))}, FormatError, "'lstm_cell/kernel' stands without 'lstm_cell/bias'"),
        ({KERNEL: np.zeros((5, 12)), "lstm_cell/bias": np.zeros(8)}, ParameterError, "has shape (5, 12) and its bias"),
        ({KERNEL: np.zeros((3, 12)), "lstm_cell/bias": np.zeros(12)}, ParameterError, "has shape (3, 12) and its bias"),
        ({KERNEL: np.zeros(12), "lstm_cell/bias": np.zeros(12)}, ParameterError, "has shape (12,) and its bias (12,)"),
        ({KERNEL: np.zeros((5, 0)), "lstm_cell/bias": np.zeros(0)}, ParameterError, "has shape (5, 0) and its bias"),
        ({KERNEL: np.zeros((5, 9)), "lstm_cell/bias": np.zeros(9)}, ParameterError, "has shape (5, 9) and its bias"),
        ({KERNEL: np.full((5, 12), np.nan), "lstm_cell/bias": np.zeros(12)}, ParameterError, "LSTM at 'lstm_cell'"),
    ],
)  # fmt: skip
def test_weights_that_do_not_make_a_cell_are_one_line(tmp_path, tensors, kind, text):
    assert text in error_of(write(tmp_path, tensors), kind)


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [
        (["a", "b"], "is not a vocabulary; expected an object from symbol to index"),
        ({"a": "0"}, "is not a vocabulary"),
        ({"a": 0, "b": 0}, "numbers its 2 symbols with gaps or twice; expected each of 0, 1, 2 ..."),
        ({"a": 0, "b": 10**12}, "numbers its 2 symbols with gaps or twice"),
    ],
)
def test_a_vocabulary_that_is_none_is_one_line(tmp_path, vocabulary, text):
    folder = write(tmp_path, cell("lstm_cell", 2, 3))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    assert text in error_of(folder)


# --- golden


def test_golden_ml5_shakespeare_gives_the_states_of_tensorflow_js(third_party, golden):
    expected = golden("ml5_shakespeare")
    loaded = load(third_party / "models" / "ml5-shakespeare", forget_bias=1)
    lstm = loaded.lstm
    np.testing.assert_array_equal(loaded.embedding[expected["ids"]], expected["x"])
    assert "".join(loaded.vocabulary[k] for k in expected["ids"][:20]) == " hast spoken words?\n"
    assert loaded.head.weight.shape == (65, 128)
    difference = np.abs(run_lstm(lstm, expected["x"]) - expected["y"]).max()
    record_parity("ml5 character model, Shakespeare", "raw tensors", "TensorFlow.js 4.22", difference)
    assert difference < 1e-5  # float32 in another order
    wrong = load(third_party / "models" / "ml5-shakespeare", forget_bias=0).lstm
    assert np.abs(run_lstm(wrong, expected["x"]) - expected["y"]).max() > 0.1  # why it has to be told
