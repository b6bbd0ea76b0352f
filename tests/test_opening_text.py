"""Texts for models that know their symbols: characters, words, what is unknown, and layers in front of an LSTM."""

import json
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell.errors import InputError
from tallycell.loaders import LoadedModel, Place
from tallycell.opening import text_quantities

SYMBOLS = ("a", "b", " ", "?", "<unk>")
ROWS = np.random.default_rng(3).normal(size=(5, 2))
TEXT = "ab ba? abba"
CODES = [0, 1, 2, 1, 0, 3, 2, 0, 1, 1, 0]
WORDS = ("the", "cat", "sat", ".", "<unk>")
SENTENCES = "The cat sat. The dog\nsat.\n"


def lstm(features, hidden=3, seed=0, suffixes=("",)):
    draw = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (4 * hidden, features), "weight_hh_l0": (4 * hidden, hidden)}
    return tc.LSTMParameters(
        {f"{name}{suffix}": draw.normal(size=shape) for suffix in suffixes for name, shape in shapes.items()}
    )


def both_directions(features):
    return lstm(features, seed=5, suffixes=("", "_reverse"))


def embedded(stacks=None, places=None, vocabulary=SYMBOLS, rows=ROWS):
    return LoadedModel(
        stacks or {"lstm": lstm(2)}, Path("m"), places=places or {}, embedding=rows, vocabulary=vocabulary
    )


# ---- characters ------------------------------------------------------------------------------------------------------


def test_a_text_becomes_rows_of_the_embedding(tmp_path):
    given = tc.open_text(embedded(), TEXT)
    np.testing.assert_array_equal(given.x, ROWS[CODES])
    assert "".join(given.tokens) == TEXT
    for name, values in text_quantities(TEXT).items():
        np.testing.assert_array_equal(given.quantities[name], values)
    assert (given.name, given.about) == ("the text", "11 symbols, 0.0% of them unknown")
    assert (given.unknown_share, given.lstm, given.reverse, given.notes) == (0.0, None, False, ())
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    of_file = tc.open_text(embedded(), tmp_path / "a.txt")
    np.testing.assert_array_equal(of_file.x, given.x)
    assert repr(of_file) == "Input('a.txt': 11 symbols, 0.0% of them unknown)"


def test_a_line_ends_alike_in_a_file_and_in_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb")
    model = embedded(vocabulary=("a", "b", "\n", "?", "<unk>"))
    assert tc.open_text(model, tmp_path / "a.txt").tokens == tc.open_text(model, "a\r\nb").tokens == ["a", "\n", "b"]


def test_unknown_characters_are_read_as_such_or_left_out():
    given = tc.open_text(embedded(), "abXba")
    assert given.tokens == ["a", "b", "<unk>", "b", "a"]
    assert (given.unknown_share, given.about) == (0.2, "5 symbols, 20.0% of them unknown")
    without = embedded(vocabulary=SYMBOLS[:4], rows=ROWS[:4])
    given = tc.open_text(without, "abXba")
    assert given.tokens == list("abba")
    assert given.quantities["position in the line"].tolist() == [1, 2, 4, 5]
    assert given.unknown_share == pytest.approx(0.2)
    assert given.about == "4 symbols, 20.0% of the text are unknown to it and left out"
    with pytest.raises(
        InputError, match=r"40% of the text are characters that the model does not know; it knows ' \?ab'"
    ):
        tc.open_text(without, "aXbXb")


def test_a_recogniser_says_itself_what_it_does_not_know():
    net = tc.compile_machine(
        tc.parse("alphabet a b\ncounter n\nstate s:\n  on a n +1\n  on b n -1\naccept when n = 0\n")
    )
    given = tc.open_text(net, "aab")
    np.testing.assert_array_equal(given.x, net.inputs[net.encode("aab")])
    assert (given.about, given.unknown_share) == ("3 symbols, 0.0% of them unknown", 0.0)
    with pytest.raises(InputError, match=r"symbol 'X' at position 2 is not in the alphabet \('a', 'b'\)"):
        tc.open_text(net, "aaXb")
    with pytest.raises(InputError, match="is a recogniser, which has an alphabet; leave out the vocabulary"):
        tc.open_text(net, "ab", vocabulary=["a", "b"])


# ---- words -----------------------------------------------------------------------------------------------------------


def test_words_are_measured_at_their_last_character():
    given = tc.open_text(embedded(), SENTENCES, vocabulary=WORDS)
    assert given.tokens == ["the", "cat", "sat", ".", "the", "<unk>", "sat", "."]
    np.testing.assert_array_equal(given.x, ROWS[[0, 1, 2, 3, 0, 4, 2, 3]])
    assert given.quantities["position in the sentence"].tolist() == [1, 2, 3, 4, 1, 2, 3, 4]
    line = text_quantities(SENTENCES)["position in the line"]
    np.testing.assert_array_equal(given.quantities["position in the line"], line[[2, 6, 10, 11, 15, 19, 23, 24]])
    assert given.about == "8 words and marks, 12.5% of them unknown"
    assert given.notes == ("the text was lowered: no symbol of the vocabulary has an upper-case letter",)


def test_unknown_words_are_left_out_where_no_symbol_stands_for_them():
    model = embedded(rows=ROWS[:4])
    given = tc.open_text(model, SENTENCES, vocabulary=WORDS[:4])
    assert given.tokens == ["the", "cat", "sat", ".", "the", "sat", "."]
    assert given.quantities["position in the sentence"].tolist() == [1, 2, 3, 4, 1, 2, 3]
    assert given.about == "7 words and marks, 12.5% of the text are unknown to it and left out"
    with pytest.raises(InputError, match="50% of the text are words that the model does not know; it knows 'the', "):
        tc.open_text(model, "the dog", vocabulary=WORDS[:4])
    with pytest.raises(InputError, match="the text holds nothing that the vocabulary cuts out of it"):
        tc.open_text(model, " \n ", vocabulary=WORDS[:4])


def test_a_tokenizer_feeds_the_embedding(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2, ".": 3}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    given = tc.open_text(embedded(), "The cat spoke.", vocabulary=tmp_path / "tokenizer.json")  # a row to spare
    encoded = made.encode("The cat spoke.")
    assert given.tokens == encoded.tokens
    np.testing.assert_array_equal(given.x, ROWS[encoded.ids])
    assert given.about == "4 tokens, 25.0% of them unknown"
    assert given.quantities["position in the line"].tolist() == [3, 7, 13, 14]


def test_a_tokenizer_that_drops_most_of_a_text_is_refused(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, [])).save(str(tmp_path / "tokenizer.json"))
    given = tc.open_text(embedded(), "abXabab", vocabulary=tmp_path / "tokenizer.json")
    assert given.unknown_share == pytest.approx(1 / 7)
    with pytest.raises(InputError, match="67% of the text are words that the model does not know"):
        tc.open_text(embedded(), "abXXXX", vocabulary=tmp_path / "tokenizer.json")


def test_a_vocabulary_of_another_size_is_refused_with_both(tmp_path):
    for words in (WORDS[:4], (*WORDS, "more")):
        with pytest.raises(InputError, match=rf"the vocabulary has {len(words)} symbols, the embedding of m 5 rows"):
            tc.open_text(embedded(), "the cat", vocabulary=words)
    numbered = {word: k for k, word in enumerate(WORDS[:4])}
    assert tc.open_text(embedded(), "the cat", vocabulary=numbered).tokens == ["the", "cat"]
    (tmp_path / "v.json").write_text(json.dumps(numbered | {"more": 4, "most": 5}))
    with pytest.raises(InputError, match=r"the vocabulary has 6 symbols, the embedding of m 5 rows; expected as many$"):
        tc.open_text(embedded(), "the cat", vocabulary=tmp_path / "v.json")


# ---- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "merge", "joined"), [
    (lstm(2), None, lambda h: h[0]),
    (both_directions(2), None, lambda h: np.concatenate(h, axis=-1)),
    (both_directions(2), "sum", lambda h: h[0] + h[1]),
    (both_directions(2), "mul", lambda h: h[0] * h[1]),
    (both_directions(2), "ave", lambda h: (h[0] + h[1]) / 2),
])  # fmt: skip
def test_a_later_layer_reads_what_the_layers_before_give_out(first, merge, joined):
    h = tc.record_trace(first, ROWS[CODES])["h"].isel(layer=0, sequence=0)
    expected = joined(h.transpose("direction", "time", "unit").to_numpy())
    model = embedded({"rnn_1": first, "rnn_2": lstm(expected.shape[1])}, {"rnn_1": Place(merge=merge)})
    given = tc.open_text(model, TEXT, lstm="rnn_2")
    np.testing.assert_allclose(given.x, expected, atol=1e-15)
    assert given.lstm == "rnn_2"
    trace = tc.record_trace(model, given)
    np.testing.assert_array_equal(trace["c"], tc.record_trace(model["rnn_2"], given.x)["c"])


def test_layers_that_are_not_one_stack_are_refused_with_the_reason():
    cases = {
        "their names differ in more than a number": embedded({"encoder": lstm(2), "rnn_2": lstm(3)}),
        "the one gives 3 numbers, the other reads 4": embedded({"rnn_1": lstm(2), "rnn_2": lstm(4)}),
        "one of them reads from the last step": embedded(
            {"rnn_1": lstm(2), "rnn_2": lstm(3)}, {"rnn_1": Place(reverse=True)}
        ),
    }
    for reason, model in cases.items():
        with pytest.raises(InputError, match=reason):
            tc.open_text(model, TEXT, lstm="rnn_2")


def test_texts_that_a_model_cannot_read_are_refused(tmp_path):
    cases = {
        "the embedding gives 2 numbers a symbol, the LSTM at 'lstm' reads 7": embedded({"lstm": lstm(7)}),
        r"does not name the symbols; give them with vocabulary \(--vocab FILE\)": embedded(vocabulary=None),
        "an embedding of 5 symbols and names 4 symbols": embedded(vocabulary=SYMBOLS[:4]),
        "has no alphabet and no embedding": LoadedModel({"lstm": lstm(2)}, Path("m")),
        r"m holds 2 LSTMs, at 'a', 'b'; choose one with lstm \(--lstm PATH\)": embedded({"a": lstm(2), "b": lstm(2)}),
        "got a str for a model; expected what tallycell.load gives": "m.pt",
    }
    for reason, model in cases.items():
        with pytest.raises(InputError, match=reason):
            tc.open_text(model, TEXT)
    with pytest.raises(InputError, match="no LSTM at 'x'"):
        tc.open_text(embedded(), TEXT, lstm="x")
    with pytest.raises(InputError, match="the text is empty; give a text with at least one character"):
        tc.open_text(embedded(), "")
    with pytest.raises(InputError, match=r"there is no file .*a\.txt; give the path of a text"):
        tc.open_text(embedded(), tmp_path / "a.txt")


def test_an_lstm_that_reads_from_the_last_step_is_given_everything_turned_round():
    given = tc.open_text(embedded(places={"lstm": Place(reverse=True)}), TEXT)
    assert "".join(given.tokens) == TEXT[::-1]
    assert given.quantities["position in the line"].tolist() == list(range(11, 0, -1))
    np.testing.assert_array_equal(given.x, ROWS[CODES[::-1]])
    assert given.reverse


# ---- what is opened is what is recorded and read ---------------------------------------------------------------------


def test_a_trace_takes_an_input_with_its_states():
    state = (np.full((1, 3), 0.5), np.full((1, 3), -2.0))
    given = tc.open_text(embedded(), TEXT, state=state)
    trace = tc.record_trace(embedded(), given)
    np.testing.assert_array_equal(trace["c"], tc.record_trace(lstm(2), ROWS[CODES], state)["c"])
    assert not np.array_equal(trace["c"], tc.record_trace(lstm(2), ROWS[CODES])["c"])
    for beside in ({"state": state}, {"lengths": [3]}, {"batch_first": True}):
        with pytest.raises(InputError, match=f"x is an Input, which has its states .* leave out {next(iter(beside))}"):
            tc.record_trace(embedded(), given, **beside)


def test_a_model_with_several_lstms_runs_the_one_that_the_input_was_made_for():
    model = embedded({"rnn_1": lstm(2), "rnn_2": lstm(3)})
    given = tc.open_text(model, TEXT, lstm="rnn_2")
    assert tc.record_trace(model, given)["x"].sizes["feature"] == 3
    with pytest.raises(InputError, match=r"holds 2 LSTMs, at 'rnn_1', 'rnn_2'; choose one: model\[path\]"):
        tc.record_trace(model, given.x)


def test_initial_states_of_a_file_are_those_of_a_pair(tmp_path):
    h_0, c_0 = np.full((1, 3), 0.5), np.full((1, 3), -2.0)
    np.savez(tmp_path / "s.npz", h_0=h_0, c_0=c_0)
    of_file, of_pair = (tc.open_text(embedded(), TEXT, state=one) for one in (tmp_path / "s.npz", (h_0, c_0)))
    for ours, theirs in zip(of_file.state, of_pair.state, strict=True):
        np.testing.assert_array_equal(ours, theirs)
