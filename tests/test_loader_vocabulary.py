"""Vocabularies inside files: found under the names that programs use, used only where they name every row."""

import json

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

import tallycell
from loader_cases import random_weights
from tallycell.errors import FormatError
from tallycell.loaders import LoadedModel, load
from tallycell.loaders.vocabulary import is_vocabulary_name, named_rows, read_symbols, with_vocabulary

SYMBOLS = ("<unk>", "a", "b", "\n", "é")
IDS = {symbol: k for k, symbol in enumerate(SYMBOLS)}
# As programs write one; the embedding has five rows.
WRITTEN = {
    "char2id": IDS,
    "stoi": dict(reversed(IDS.items())),
    "itos": list(SYMBOLS),
    "vocab": SYMBOLS,
    "id2char": {k: symbol for symbol, k in IDS.items()},
    "index_word": {str(k): symbol for symbol, k in IDS.items()},
}
FIVE = np.arange(15, dtype=np.float32).reshape(5, 3)


def arrays(**more):
    named = {f"rnn.{name}": x for name, x in random_weights().items() if "weight_ch" not in name}
    return {"embedding.weight": FIVE} | named | more


# ---- names and values


@pytest.mark.parametrize(
    "name",
    ["char2id", "char2idx", "char_to_ix", "CharToIndex", "c2i", "i2c", "id2char", "idx2char", "ix_to_char", "int2char",
     "word2idx", "word_index", "index_word", "token2id", "tok2id", "stoi", "itos", "vocab", "Vocabulary", "chars",
     "alphabet", "symbol2id"],
)  # fmt: skip
def test_a_name_of_a_vocabulary_is_known(name):
    assert is_vocabulary_name(name)


@pytest.mark.parametrize("name", ["", "id", "char", "vocab_size", "n_vocab", "embedding", "index", "labels", "tag2id",
                                  "vocab.weight", "x" * 10_000])  # fmt: skip
def test_a_name_of_something_else_is_not(name):
    assert not is_vocabulary_name(name)


@pytest.mark.parametrize("stated", [*WRITTEN.values(), *map(json.dumps, (IDS, SYMBOLS)), "".join("uab\né")])
def test_each_way_to_write_one_gives_the_symbols_in_order(stated):
    expected = ("u", *SYMBOLS[1:]) if stated == "uab\né" else SYMBOLS
    assert read_symbols(stated, 5) == expected


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (SYMBOLS[:4], "it names 4 symbols, expected 5"),
        ((*SYMBOLS, "z"), "it names 6 symbols, expected 5"),
        (("a", "b", "c", "d", "a"), "it names 'a' twice"),
        (("a", "b", "c", "d", 0), "it has 0 among its symbols, expected texts"),
        ({"a": 0, "b": 1, "c": 2, "d": 3, "e": 5}, "it numbers its 5 symbols with gaps or twice"),
        ({"a": 0, "b": 1, "c": 2, "d": 3, "e": 3}, "it numbers its 5 symbols with gaps or twice"),
        ({"a": -1, "b": 0, "c": 1, "d": 2, "e": 3}, "it numbers its 5 symbols with gaps or twice"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "it numbers its 5 symbols from 1, expected each of 0, 1, 2"),
        ({"a": 1, "b": 2, "c": 3}, "it numbers its 3 symbols from 1"),
        ({"<pad>": 1, "b": 2, "c": 3, "d": 4}, "it numbers its 4 symbols from 1"),
        ({"a": 0.0, "b": 1, "c": 2, "d": 3, "e": 4}, "it numbers its 5 symbols with gaps or twice"),
        ({"a": True, "b": 0, "c": 2, "d": 3, "e": 4}, "it numbers its 5 symbols with gaps or twice"),
        ({0: "a", 1: "b", 2: ["c"], 3: "d", 4: "e"}, "it has a list among its symbols, expected texts"),
        (5, "it is 5, expected a list of symbols or a mapping from symbol to number"),
        ({}, "it names 0 symbols, expected 5"),
    ],
)
def test_one_that_does_not_fit_is_not_read(stated, reason):
    with pytest.raises(FormatError) as raised:
        read_symbols(stated, 5)
    assert str(raised.value).startswith(reason)


def test_where_numbers_begin_at_1_row_0_is_padding():
    assert read_symbols({"a": 1, "b": 2}, 3) == ("<pad>", "a", "b")


# ---- which of them is used


def a_model(**more):
    parameters = tallycell.LSTMParameters(random_weights())
    return LoadedModel({"rnn": parameters}, "m", **{"embedding": FIVE} | more)


def test_one_that_is_known_already_stays():
    model = a_model(vocabulary=("v", "w", "x", "y", "z"))
    assert with_vocabulary(model, {"vocab": SYMBOLS}) is model


def test_both_directions_of_the_same_mapping_are_one():
    both = {"char2id": IDS, "id2char": WRITTEN["id2char"]}
    assert with_vocabulary(a_model(), both).vocabulary == SYMBOLS


def test_two_that_differ_are_both_left_and_it_is_said():
    model = with_vocabulary(a_model(), {"char2id": IDS, "word2id": dict(zip("vwxyz", range(5), strict=True))})
    assert model.vocabulary is None
    assert model.notes == ("its vocabularies 'char2id', 'word2id' fit equally well and differ, so none is used",)


def test_the_one_that_fits_is_used_though_another_does_not():
    model = with_vocabulary(a_model(), {"word2id": {"x": 0}, "char2id": IDS})
    assert (model.vocabulary, model.notes) == (SYMBOLS, ())


def test_one_that_does_not_fit_is_left_and_the_note_says_why():
    model = with_vocabulary(a_model(), {"vocab": SYMBOLS[:4]})
    assert model.vocabulary is None
    assert model.notes == (
        "it has a vocabulary that is not used, for what it would name has 5 rows: 'vocab': it names 4 symbols, "
        "expected 5",
    )


def test_without_an_embedding_it_names_the_outputs_of_the_head():
    head = tallycell.loaders.Head(np.ones((5, 2)))
    assert with_vocabulary(a_model(embedding=None, head=head), {"vocab": SYMBOLS}).vocabulary == SYMBOLS
    neither = with_vocabulary(a_model(embedding=None), {"vocab": SYMBOLS})
    assert neither.vocabulary is None
    assert "'vocab' is not used: the file has no embedding and no head" in neither.notes[0]


@pytest.mark.parametrize("stated", [{"vocab": "vocab.txt"}, {"vocab": 5}, {"chars": [1, 2]}, {"vocab": {}}, [1], None,
                                    {"vocab": None}, {"vocab": {"a": [1]}}])  # fmt: skip
def test_what_is_only_called_like_one_is_passed_over_in_silence(stated):
    for model in (a_model(), a_model(embedding=None)):
        assert with_vocabulary(model, stated) is model


def test_characters_in_one_text_are_symbols_where_they_fit():
    assert with_vocabulary(a_model(), {"chars": "hello"}).vocabulary is None
    assert with_vocabulary(a_model(), {"chars": "helo "}).vocabulary == tuple("helo ")


def test_mappings_are_looked_through_and_no_deeper_than_three():
    assert with_vocabulary(a_model(), {"args": {"data": {"stoi": IDS}}}).vocabulary == SYMBOLS
    assert with_vocabulary(a_model(), {"vocab": {"itos": list(SYMBOLS), "stoi": IDS}}).vocabulary == SYMBOLS
    assert with_vocabulary(a_model(), {"a": {"b": {"c": {"stoi": IDS}}}}).vocabulary is None
    circle: dict[str, object] = {}
    circle["again"] = circle
    assert with_vocabulary(a_model(), circle).vocabulary is None


def test_words_that_are_names_of_vocabularies_are_words():
    words = {"vocab": 0, "chars": 1, "itos": 2, "stoi": 3, "word": 4}
    assert with_vocabulary(a_model(), {"word2id": words}).vocabulary == tuple(words)


# ---- in files


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("legacy", [False, True])
def test_torch_checkpoints(tmp_path, name, legacy):
    torch = pytest.importorskip("torch")
    state = {key: torch.from_numpy(x) for key, x in arrays().items()}
    torch.save({"model": state, name: WRITTEN[name], "epoch": 3}, tmp_path / "m.pt",
               _use_new_zipfile_serialization=not legacy)  # fmt: skip
    model = load(tmp_path / "m.pt")
    assert (model.vocabulary, model.notes) == (SYMBOLS, ())
    np.testing.assert_array_equal(model.embedding, FIVE)


def test_torch_checkpoint_whose_vocabulary_is_of_another_model(tmp_path):
    torch = pytest.importorskip("torch")
    state = {key: torch.from_numpy(x) for key, x in arrays().items()}
    torch.save({"model": state, "vocab": list(SYMBOLS[1:])}, tmp_path / "m.pt")
    model = load(tmp_path / "m.pt")
    assert model.vocabulary is None
    assert "'vocab': it names 4 symbols, expected 5" in model.notes[0]


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "id2char"])
def test_metadata_of_safetensors(tmp_path, name):
    save_file(arrays(), tmp_path / "m.safetensors", {name: json.dumps(WRITTEN[name]), "format": "pt"})
    assert load(tmp_path / "m.safetensors").vocabulary == SYMBOLS


def test_arrays_of_texts_in_npz(tmp_path):
    np.savez(tmp_path / "m.npz", **arrays(), vocab=np.array(SYMBOLS))
    assert load(tmp_path / "m.npz").vocabulary == SYMBOLS
    np.savez(tmp_path / "m.npz", **arrays(), stoi=json.dumps(IDS))
    assert load(tmp_path / "m.npz").vocabulary == SYMBOLS
    np.savez(tmp_path / "m.npz", **arrays(), vocab=np.array([SYMBOLS, SYMBOLS]))
    assert load(tmp_path / "m.npz").vocabulary is None


def test_an_array_of_objects_in_npz_stays_closed(tmp_path):
    np.savez(tmp_path / "m.npz", **arrays(), vocab=np.array(SYMBOLS, object))
    assert load(tmp_path / "m.npz").vocabulary is None


def test_json(tmp_path):
    state = {name: x.tolist() for name, x in arrays().items()}
    (tmp_path / "m.json").write_text(json.dumps({"state_dict": state, "char2id": IDS}))
    assert load(tmp_path / "m.json").vocabulary == SYMBOLS
    (tmp_path / "m.json").write_text(json.dumps(state | {"vocab": list(SYMBOLS)}))
    assert load(tmp_path / "m.json").vocabulary == SYMBOLS
    layers = [
        {
            "type": "lstm",
            "activation": "tanh",
            "weights": [np.ones((3, 8)).tolist(), np.ones((2, 8)).tolist(), [0] * 8],
        },
        {"type": "dense", "activation": "", "weights": [np.ones((2, 5)).tolist(), [0] * 5]},
    ]
    (tmp_path / "m.json").write_text(json.dumps({"layers": layers, "itos": list(SYMBOLS)}))
    assert load(tmp_path / "m.json").vocabulary == SYMBOLS


def test_metadata_of_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx_models import FEATURES, graph_of, lstm_node, model_of, operator_weights, torch_weights, value, write

    table = np.ones((5, FEATURES), np.float32)
    nodes = [onnx.helper.make_node("Gather", ["table", "ids"], ["x"]), lstm_node()]
    weights = operator_weights(torch_weights()) | {"table": table}
    model = model_of(graph_of(nodes, [value("ids", "time", "sequence", dtype=7)], weights=weights))
    model.metadata_props.add(key="char2id", value=json.dumps(IDS))
    loaded = load(write(tmp_path, model))
    assert loaded.embedding.shape == table.shape
    assert loaded.vocabulary == SYMBOLS


@pytest.mark.parametrize("rows", [3, 4])
def test_words_of_a_layer_of_keras_have_to_fit_its_embedding(tmp_path, rows):
    entries = [
        {"class_name": "StringLookup", "config": {"name": "words", "vocabulary": ["a", "b"]}},
        {"class_name": "Embedding", "config": {"name": "embedding"}},
        {"class_name": "LSTM", "config": {"name": "lstm", "units": 2}},
    ]
    config = {"class_name": "Sequential", "config": {"name": "model", "layers": entries}}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = "2.4.0", json.dumps(config)
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"embedding", b"lstm"]
        root["embedding/embedding/embeddings:0"] = np.ones((rows, 3), np.float32)
        for name, shape in {"kernel": (3, 8), "recurrent_kernel": (2, 8), "bias": (8,)}.items():
            root[f"lstm/lstm/{name}:0"] = np.ones(shape, np.float32)
    model = load(tmp_path / "m.h5")
    assert model.embedding.shape == (rows, 3)
    assert model.vocabulary == (("[UNK]", "a", "b") if rows == 3 else None)
    assert model.notes == (() if rows == 3 else ("its vocabulary of 3 symbols is not used: the embedding has 4 rows",))


def test_rows_without_names_and_names_without_rows_are_no_contradiction():
    assert named_rows(None, FIVE) == (None, ())
    assert named_rows(SYMBOLS, None) == (SYMBOLS, ())


def test_inspect_shows_vocabulary_and_note(tmp_path, run):
    save_file(arrays(), tmp_path / "m.safetensors", {"itos": json.dumps(SYMBOLS)})
    assert "vocabulary: 5 symbols, '<unk>' 'a' 'b'" in run("inspect", tmp_path / "m.safetensors")[1]
    save_file(arrays(), tmp_path / "m.safetensors", {"itos": json.dumps(SYMBOLS[1:])})
    _, out, _ = run("inspect", tmp_path / "m.safetensors")
    assert "note: it has a vocabulary that is not used" in " ".join(out.split())
    told = json.loads(run("inspect", tmp_path / "m.safetensors", "--json")[1])
    assert told["vocabulary"] is None
    assert "it names 4 symbols, expected 5" in told["notes"][0]
