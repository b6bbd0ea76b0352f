"""Vocabularies: every form of file, what is none, and how a text is cut by each."""

import json

import numpy as np
import pytest

from tallycell.errors import FormatError, InputError
from tallycell.opening import Vocabulary, read_vocabulary
from tallycell.opening.vocabulary import as_vocabulary

WORDS = ("the", "cat", "sat", "n't", "U.S.", ".", ",", "<unk>")


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def cut(vocabulary, text):
    """What a text is cut into, and the characters of each."""
    found = vocabulary.cut(text)
    symbols = [None if code < 0 else vocabulary.symbols[code] for code in found.codes]
    return symbols, [text[begin:end] for begin, end in zip(found.begins, found.ends, strict=True)]


@pytest.mark.parametrize(("name", "content"), [
    ("v.txt", "the\ncat\n.\n<unk>\n"),
    ("v.txt", "the\r\ncat\r\n.\r\n<unk>"),
    ("v.json", ["the", "cat", ".", "<unk>"]),
    ("v.json", {"cat": 1, "the": 0, "<unk>": 3, ".": 2}),
    ("V.JSON", {"1": "cat", "0": "the", "3": "<unk>", "2": "."}),
])  # fmt: skip
def test_every_form_of_file_gives_the_same_symbols(tmp_path, name, content):
    vocabulary = read_vocabulary(written(tmp_path / name, content))
    assert (vocabulary.symbols, vocabulary.unknown) == (("the", "cat", ".", "<unk>"), "<unk>")
    assert vocabulary.numbered == isinstance(content, dict)


def test_an_empty_line_is_the_empty_symbol(tmp_path):
    assert read_vocabulary(written(tmp_path / "v.txt", "\nthe\n")).symbols == ("", "the")


@pytest.mark.parametrize(("content", "said"), [
    ({"a": 0, "b": 2}, "has 2 symbols and none of number 1; expected the numbers from 0 on"),
    ({"a": 0, "b": 0}, "gives a number to two symbols"),
    ({"0": "a", "00": "b"}, "gives a number to two symbols"),
    ({"a": "b"}, "maps 'a' to a symbol; expected a number"),
    ({"a": 1.5}, "maps neither symbols to whole numbers nor numbers to symbols"),
    ({"a": True}, "maps neither"),
    ({}, "is empty; expected a list of symbols, or a mapping"),
    ([], "has no symbols"),
    ([1, 2], "a symbol of a vocabulary is 1; expected texts"),
    (["a", "b", "a"], "the symbol 'a' stands in a vocabulary twice"),
    (3, "is a int"),
    ("[", "cannot be read as JSON"),
    ({"9" * 10_000: "a"}, "none of number 0"),
])  # fmt: skip
def test_what_is_no_vocabulary_is_refused_by_name(tmp_path, content, said):
    with pytest.raises(FormatError, match=said) as caught:
        read_vocabulary(written(tmp_path / "v.json", content))
    assert str(caught.value).count(str(tmp_path / "v.json")) == 1


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*; give the path of a vocabulary"):
        read_vocabulary(tmp_path / "none.txt")
    (tmp_path / "v.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="is not UTF-8 text"):
        read_vocabulary(tmp_path / "v.txt")
    with pytest.raises(InputError, match="the vocabulary gives a number to two symbols"):
        as_vocabulary({"a": 0, "b": 0})
    with pytest.raises(InputError, match="the unknown symbol 'x' is not in the vocabulary"):
        Vocabulary(("a",), unknown="x")


def test_words_are_whole_where_the_vocabulary_has_them_and_cut_at_marks_else():
    symbols, texts = cut(as_vocabulary(WORDS), "the cat, the U.S. dog's cat sat.")
    assert symbols == ["the", "cat", ",", "the", "U.S.", "<unk>", "<unk>", "<unk>", "cat", "sat", "."]
    assert texts == ["the", "cat", ",", "the", "U.S.", "dog", "'", "s", "cat", "sat", "."]


def test_a_text_is_lowered_only_where_no_word_has_an_upper_case_letter():
    assert not as_vocabulary(WORDS).lowers  # U.S.
    assert cut(as_vocabulary(("the", "cat", "[UNK]", "<PAD>")), "The CAT")[0] == ["the", "cat"]
    assert cut(as_vocabulary(("the", "Cat", "[UNK]")), "The Cat")[0] == ["[UNK]", "Cat"]


def test_a_line_ends_with_a_symbol_only_where_there_is_one():
    assert cut(as_vocabulary(("the", "cat")), "the\ncat\n")[0] == ["the", "cat"]
    assert cut(as_vocabulary(("the", "cat", "\n")), "the\n\ncat")[0] == ["the", "\n", "\n", "cat"]


def test_half_of_the_symbols_being_characters_makes_characters():
    assert cut(as_vocabulary(("a", "b", "<s>", "</s>")), "abc") == (["a", "b", None], ["a", "b", "c"])
    assert cut(as_vocabulary(("a", "<s>", "</s>")), "a a")[0] == ["a", "a"]


# ---- tokenizer.json: the library that wrote it is what answers -------------------------------------------------------


def tokenizer(model, **parts):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(model(tokenizers.models))
    for name, part in parts.items():
        setattr(made, name, part(tokenizers))
    return made


def of_words(**options):
    return tokenizer(
        lambda models: models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2, ".": 3}, **options),
        normalizer=lambda tokenizers: tokenizers.normalizers.Lowercase(),
        pre_tokenizer=lambda tokenizers: tokenizers.pre_tokenizers.Whitespace(),
    )


def test_a_tokenizer_cuts_the_text_itself(tmp_path):
    made = of_words(unk_token="[UNK]")
    made.enable_truncation(2)
    made.enable_padding(length=9)
    made.save(str(tmp_path / "tokenizer.json"))
    vocabulary = read_vocabulary(tmp_path / "tokenizer.json")
    made.no_truncation()
    made.no_padding()
    text = "The  cat spoke. The cat."
    expected = made.encode(text, add_special_tokens=False)
    assert cut(vocabulary, text) == (expected.tokens, [text[begin:end] for begin, end in expected.offsets])
    assert (vocabulary.unknown, vocabulary.numbered, len(vocabulary)) == ("[UNK]", True, 4)
    assert not vocabulary.lowers  # its normalizer does


def test_pieces_of_words_end_where_their_characters_do(tmp_path):
    pytest.importorskip("tokenizers")
    made = tokenizer(
        lambda models: models.BPE({"Ġ": 0, "a": 1, "b": 2, "ab": 3, "é": 4}, [("a", "b")]),
        pre_tokenizer=lambda tokenizers: tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True),
    )
    made.save(str(tmp_path / "tokenizer.json"))
    found = read_vocabulary(tmp_path / "tokenizer.json").cut("ab ab xyz")
    assert [found.codes.tolist(), found.ends.tolist()] == [[0, 3, 0, 3, 0], [1, 2, 3, 5, 6]]
    assert found.lost == pytest.approx(3 / 7)  # of the characters that are not blank


def test_a_tokenizer_that_refuses_or_gives_up_is_one_error(tmp_path):
    made = of_words(unk_token="<none>")
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="the tokenizer refuses the text: WordLevel error: Missing"):
        read_vocabulary(tmp_path / "tokenizer.json").cut("dog")
    held = json.loads((tmp_path / "tokenizer.json").read_text())
    slow = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    written(tmp_path / "tokenizer.json", held | {"pre_tokenizer": slow})
    with pytest.raises(InputError, match="the tokenizer refuses the text: Onig"):
        read_vocabulary(tmp_path / "tokenizer.json").cut("a" * 5_000 + "b")
    with pytest.raises(FormatError, match="is not a tokenizer that the library tokenizers reads"):
        read_vocabulary(written(tmp_path / "tokenizer.json", {"model": {"type": "none"}, "version": "1.0"}))


def test_a_tokenizer_may_not_skip_numbers(tmp_path):
    made = tokenizer(lambda models: models.WordLevel({"a": 0, "b": 5}, unk_token="a"))
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(FormatError, match=r"tokenizer\.json: has 2 symbols and none of number 1"):
        read_vocabulary(tmp_path / "tokenizer.json")


def test_codes_of_characters_are_those_of_their_places():
    draw = np.random.default_rng(0)
    text = "".join(draw.choice(list("abcé\n"), 500))
    found = as_vocabulary(("b", "a", "\n", "c")).cut(text)
    assert found.codes.tolist() == ["ba\nc".find(one) for one in text]
    assert found.begins.tolist() == list(range(500))
