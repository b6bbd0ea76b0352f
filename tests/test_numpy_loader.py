"""NumPy's files: names of torch and Keras, any byte order, bombs, and pickles that only trust opens."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from parity import run_lstm
from tallycell.errors import FormatError, ParameterError, TallycellError
from tallycell.loaders import load
from tallycell.parameters import LSTMParameters


def torch_named(prefix="", dtype=np.float32, seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    return {f"{prefix}{name}": rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def keras_named(prefix="", units=2, features=3, dtype=np.float32, end="") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(units)
    shapes = {"kernel": (features, 4 * units), "recurrent_kernel": (units, 4 * units), "bias": (4 * units,)}
    return {f"{prefix}{name}{end}": rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def error_of(path, kind=FormatError, **options) -> str:
    with pytest.raises(kind) as raised:
        load(path, **options)
    text = str(raised.value)
    assert len(text.splitlines()) == 1
    assert len(text) < 600
    assert str(path) in text
    return text


# --- names of torch


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("prefix", ["", "encoder.lstm.", "module.rnn."])
def test_torchs_names_are_read_under_any_prefix(tmp_path, save, prefix):
    save(tmp_path / "model.npz", **torch_named(prefix), other=np.ones(3), text="words")
    loaded = load(tmp_path / "model.npz")
    assert list(loaded) == [prefix.removesuffix(".")]
    assert loaded.lstm == LSTMParameters(torch_named())
    assert next(iter(loaded.places.values())).stored_as is None


def test_embedding_and_head_are_found_in_the_order_of_the_file(tmp_path):
    around = {"embedding.weight": np.ones((9, 3), np.float32), "out.weight": np.full((5, 2), 2, np.float32)}
    np.savez(tmp_path / "m.npz", **{"embedding.weight": around["embedding.weight"]}, **torch_named("rnn."),
             **{"out.weight": around["out.weight"]})  # fmt: skip
    loaded = load(tmp_path / "m.npz")
    np.testing.assert_array_equal(loaded.embedding, around["embedding.weight"])
    np.testing.assert_array_equal(loaded.head.weight, around["out.weight"])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_byte_order_and_memory_order_gives_the_same_weights(tmp_path, dtype, order):
    np.savez(tmp_path / "m.npz", **{name: np.asarray(x, dtype, order) for name, x in torch_named().items()})
    loaded = load(tmp_path / "m.npz")
    assert loaded.lstm == LSTMParameters({name: x.astype(f"f{dtype[-1]}") for name, x in torch_named().items()})
    assert loaded.places[""].stored_as is None


@pytest.mark.parametrize("named", [torch_named, keras_named])
def test_float16_is_widened_and_named(tmp_path, named):
    np.savez(tmp_path / "m.npz", **named(dtype=np.float16))
    np.savez(tmp_path / "wide.npz", **{name: x.astype(np.float32) for name, x in named(dtype=np.float16).items()})
    loaded = load(tmp_path / "m.npz")
    assert loaded.lstm == load(tmp_path / "wide.npz").lstm
    assert loaded.lstm.dtype == np.float32
    assert loaded.places[""].stored_as == "float16"


@pytest.mark.parametrize("named", [torch_named, keras_named])
def test_integers_are_refused_by_name_and_other_lstms_still_read(tmp_path, named):
    whole = {name: (10 * x).astype(np.int8) for name, x in named("a.").items()}
    np.savez(tmp_path / "m.npz", **whole, **named("b."))
    loaded = load(tmp_path / "m.npz")
    assert list(loaded) == ["b"]
    assert "is of dtype int8, expected float32" in loaded.refused["a"]
    np.savez(tmp_path / "m.npz", **whole)
    assert "LSTM at 'a': " in error_of(tmp_path / "m.npz")


# --- names of Keras


@pytest.mark.parametrize(
    ("prefix", "end", "path"),
    [
        ("", "", ""),
        ("lstm/", "", "lstm"),
        ("lstm_1/lstm_1/lstm_cell/", ":0", "lstm_1/lstm_1"),
        ("model.encoder.", "", "model.encoder"),
        ("lstm_", "", "lstm"),
    ],
)
def test_keras_names_are_read_in_keras_layout(tmp_path, prefix, end, path):
    """Against the equations written out: columns of a kernel are i f g o."""
    arrays = keras_named(prefix, end=end, dtype=np.float64)
    np.savez(tmp_path / "m.npz", **arrays, **{"dense/kernel": np.ones((2, 8)), "dense/bias": np.ones(8)})
    loaded = load(tmp_path / "m.npz")
    assert list(loaded) == [path]
    kernel, recurrent, bias = arrays.values()
    x = np.random.default_rng(3).normal(size=(4, 3))
    h = c = np.zeros(2)
    for step, got in zip(x, run_lstm(loaded.lstm, x), strict=True):
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        np.testing.assert_allclose(got, h, rtol=1e-12)


def test_two_directions_side_by_side_are_one_lstm_and_one_alone_is_its_own(tmp_path):
    backward = {name: -x for name, x in keras_named("bi/backward_lstm/lstm_cell/").items()}
    both = keras_named("bi/forward_lstm/lstm_cell/") | backward
    np.savez(tmp_path / "m.npz", **both, **keras_named("other/forward_lstm/"))
    loaded = load(tmp_path / "m.npz")
    assert list(loaded) == ["bi", "other/forward_lstm"]
    assert not loaded["other/forward_lstm"].bidirectional
    assert [place.operator for place in loaded.places.values()] == ["Bidirectional", "LSTM"]
    for suffix, direction in (("", "forward"), ("_reverse", "backward")):
        kernel = both[f"bi/{direction}_lstm/lstm_cell/kernel"]
        np.testing.assert_array_equal(loaded["bi"].weights[f"weight_ih_l0{suffix}"], kernel.T)


def test_a_gru_is_none_and_cudnns_bias_is_refused_by_name(tmp_path):
    gru = {"gru/kernel": np.ones((3, 6)), "gru/recurrent_kernel": np.ones((2, 6)), "gru/bias": np.ones(6)}
    np.savez(tmp_path / "m.npz", **gru)
    assert "holds no LSTM" in error_of(tmp_path / "m.npz")
    cudnn = keras_named("fast/") | {"fast/bias": np.ones(16, np.float32)}
    np.savez(tmp_path / "m.npz", **gru, **cudnn, **keras_named("lstm/"))
    loaded = load(tmp_path / "m.npz")
    assert list(loaded) == ["lstm"]
    assert loaded.refused["fast"].startswith("its bias has 8 rows a unit: CuDNNLSTM's layout; load the .h5 file")


def test_keras_weights_that_do_not_make_an_lstm_are_one_line(tmp_path):
    np.savez(tmp_path / "m.npz", **keras_named() | {"kernel": np.ones((3, 9), np.float32)})
    assert "LSTM at '': a weight has 9 rows, which 4 gates cannot share" in error_of(tmp_path / "m.npz", ParameterError)


# --- sizes


def npy_bytes(descr="<f4", shape="(8, 3)", data=b"", version=(1, 0)) -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + data


def write_npz(path, packing=zipfile.ZIP_STORED, **members: bytes):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (npy_bytes(shape="(1000000, 1000000)"), "of shape (1000000, 1000000) needs 4000000000000 bytes, th"),
        (npy_bytes(shape="(10**12,)"), "cannot be read as NumPy's"),
        (npy_bytes(shape="(-8, -3)", data=bytes(96)), "of shape (-8, -3) needs 96 bytes, the file has 96"),
        (npy_bytes(shape="(8, 3)", data=bytes(95)), "of shape (8, 3) needs 96 bytes, the file has 95"),
        (npy_bytes(descr="<U100000000", shape="(4,)"), "needs 1600000000 bytes, the file has 0"),
        (npy_bytes(descr="|O", shape="(8, 3)"), "'': weight_ih_l0 is of dtype object, expected float32"),
        (npy_bytes(version=(3, 0)), "is of npy version (3, 0), expected (1, 0) or (2, 0)"),
        (npy_bytes(version=(2, 0))[:-40], "cannot be read as NumPy's"),
        (npy_bytes(descr="(" * 5000), "cannot be read as NumPy's"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "cannot be read as NumPy's"),
        (b"no array", "cannot be read as NumPy's"),
        (b"", "cannot be read as NumPy's"),
    ],
)  # fmt: skip
def test_a_header_that_promises_what_is_not_there_is_one_line_and_takes_no_memory(tmp_path, member, text):
    weights = {"weight_hh_l0": npy_bytes(shape="(8, 2)", data=bytes(64)), "weight_ih_l0": member}
    path = write_npz(tmp_path / "m.npz", **weights)
    tracemalloc.start()
    try:
        assert text in error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    zeros = npy_bytes(shape=f"({2**20}, 25)", data=bytes(2**20 * 100))
    path = write_npz(tmp_path / "bomb.npz", zipfile.ZIP_DEFLATED, weight_ih_l0=zeros)
    del zeros
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        text = error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert "bytes unfolds to 104857" in text
    assert "at most 67108864 are taken" in text


def test_zeros_that_shrink_in_a_small_file_are_no_bomb(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", weight_ih_l0=np.zeros((4000, 900)), weight_hh_l0=np.zeros((4000, 1000)))
    assert load(tmp_path / "m.npz").lstm.hidden_size == 1000


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_packing_that_numpy_does_not_write_is_refused(tmp_path, packing):
    buffer = io.BytesIO()
    np.save(buffer, np.ones((8, 3)))
    path = write_npz(tmp_path / "m.npz", packing, weight_ih_l0=buffer.getvalue())
    assert "'weight_ih_l0.npy' is neither stored nor deflated; pack it that way again" in error_of(path)


def test_two_arrays_of_one_name_and_a_zip_with_a_password_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("weight_ih_l0.npy", npy_bytes(data=bytes(96)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("weight_ih_l0.npy", npy_bytes(data=bytes(96)))
    assert "holds two arrays of the name 'weight_ih_l0'" in error_of(tmp_path / "m.npz")
    path = write_npz(tmp_path / "m.npz", weight_ih_l0=npy_bytes(data=bytes(96)))
    content = bytearray(path.read_bytes())
    content[6] |= 1  # encrypted, says the member
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "is encrypted, password required" in error_of(path)


# --- pickles


class Evil:
    """A pickle of this makes a folder when it is opened."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_is_never_opened_unless_it_is_trusted(tmp_path):
    marker = tmp_path / "marker"
    np.save(tmp_path / "m.npy", np.array({"weight_ih_l0": Evil(marker)}), allow_pickle=True)
    text = error_of(tmp_path / "m.npy")
    assert "holds a pickle, and opening it would run code from the file; save the arrays with np.savez" in text
    assert "give trust_pickle=True (--trust-pickle) if you trust whoever wrote it" in text
    np.savez(tmp_path / "m.npz", weight_ih_l0=np.array([Evil(marker)], object), **torch_named("rnn."))
    assert list(load(tmp_path / "m.npz")) == ["rnn"]
    assert not marker.exists()
    error_of(tmp_path / "m.npy", trust_pickle=True)
    assert marker.exists()  # it would have


def test_a_trusted_dict_of_arrays_is_read(tmp_path):
    big_endian = {name: x.astype(">f4") for name, x in torch_named("rnn.").items()}
    np.save(tmp_path / "m.npy", np.array(big_endian | {"epoch": 3, 7: np.ones(2)}), allow_pickle=True)
    assert load(tmp_path / "m.npy", trust_pickle=True)["rnn"] == LSTMParameters(torch_named())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (np.ones((8, 3)), "holds one array of shape (8, 3) without a name, expected an .npz"),
        (np.array([{}, {}]), "holds an array of (2,) objects, expected one dict of arrays"),
        (np.array({1, 2}, object), "holds a pickled set, expected a dict of arrays by name"),
        (np.array({"a": np.ones(3)}), "holds no LSTM"),
    ],
)
def test_what_a_trusted_npy_holds_else_is_named(tmp_path, content, text):
    np.save(tmp_path / "m.npy", content, allow_pickle=True)
    assert text in error_of(tmp_path / "m.npy", trust_pickle=True)


def test_a_damaged_pickle_is_one_line_even_where_it_is_trusted(tmp_path):
    (tmp_path / "m.npy").write_bytes(npy_bytes("|O", "()", pickle.dumps({"a": 1})[:-3]))
    assert "cannot be unpickled: " in error_of(tmp_path / "m.npy", trust_pickle=True)


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_an_archive_cut_short_is_one_line(tmp_path, at):
    np.savez(tmp_path / "whole.npz", **torch_named())
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: 1 + len(content) * at // 100])
    error_of(tmp_path / "cut.npz", TallycellError)
