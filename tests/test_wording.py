"""What comes from elsewhere is shown in one printable line of bounded length."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallycell.errors import FormatError, MissingExtraError
from tallycell.wording import MOST_QUOTED, listed, one_line, quoted, reasons, shown, visible

CLEARS, TURNS = "\x1b[2J", "\u202e"  # clears a terminal; turns what follows from right to left


@given(st.text())
def test_what_is_visible_prints_and_is_shown_the_same_again(text):
    once = visible(text)
    assert once.isprintable()
    assert visible(once) == once
    if text.isprintable():
        assert once == text


@pytest.mark.parametrize(
    "text", [CLEARS, TURNS, "\x9b2J", "\x07", "a\nb", "a\r\nb", "\u2028", "\ud800", "\x00", "\u2066"]
)
def test_control_characters_marks_of_direction_and_newlines_are_escapes(text):
    assert visible(text).isprintable()
    assert "\\" in visible(text)


@pytest.mark.parametrize("value", ["q" * 5000, b"q" * 5000, ["q" * 5000], {"q" * 5000: 1}, "\x1b" * 5000, range(10**9)])
def test_a_quoted_value_has_at_most_200_characters(value):
    assert len(quoted(value)) <= MOST_QUOTED == 200
    assert quoted(value).isprintable()
    assert len(quoted("a" * 198)) == 200  # with its quotes; nothing is cut
    assert quoted("a" * 198).endswith("a'")


def test_a_value_that_cannot_be_written_out_is_quoted_by_its_kind():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert quoted(deep) == "a value of type list"
    assert quoted(10**5000) == "a value of type int"


def test_long_names_and_many_names_are_cut():
    assert shown("q" * 5000) == "q" * 200 + "..."
    assert len(listed("q" * 5000 for _ in range(20_000))) < 9 * 220
    assert listed(map(str, range(20_000))).endswith("'7' and 19,992 more")
    assert reasons({str(k): "packed" for k in range(9)}).endswith("'7': packed; and 1 more")


def test_an_error_of_a_library_is_one_bounded_line():
    said = one_line(ValueError("bad\n\n  " + CLEARS + "x" * 10_000))
    assert said.startswith("bad \\x1b[2Jx")
    assert said.endswith("x...")
    assert said.count("x") <= 201  # of a value that it quotes
    assert len(one_line(ValueError("word " * 10_000))) == 403


def test_every_error_of_ours_prints_in_one_line():
    error = FormatError(f"{CLEARS}.pt holds {TURNS}\nnothing")
    assert str(error) == "\\x1b[2J.pt holds \\u202e\\nnothing"


def test_errors_come_back_from_another_process():
    for error in (FormatError("a\nb"), MissingExtraError("torch", "torch")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
