"""Mistakes in the notation are named; any text at all is a machine or such a mistake."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_machines import DYCK
from tallycell.errors import TallycellError
from tallycell.machine import parse, shipped_machines, shipped_program
from tallycell.machine.notation.remarks import remarks_on
from tallycell.machine.notation.tokens import KEYWORDS

PAGE = Path(__file__).parent.parent / "docs" / "notation.md"

MISTAKES = [
    ("counter n", "line 1, column 1: expected a line such as 'alphabet ( )' before all others, got counter"),
    ("", "line 1, column 1: expected a line such as 'alphabet ( )' before all others, got no such line"),
    (
        "alphabet",
        'line 1, column 9: expected a symbol (a name with blanks or marks stands in quotes, such as "<"), '
        "got the end of the line",
    ),
    (
        "alphabet ( < )",
        'line 1, column 12: expected a symbol (a name with blanks or marks stands in quotes, such as "<"), got <',
    ),
    ("alphabet a a", "line 1, column 12: expected a symbol that is not declared yet, got a"),
    ('alphabet "a', 'line 1, column 10: expected a closing quote on the same line, got "a'),
    (
        'alphabet "\\q"',
        'line 1, column 10: expected a text in quotes with escapes as in JSON, such as "\\n" or "\\u00e9", got "\\q"',
    ),
    ('alphabet "\\ud800"', "line 1, column 10: expected a text in quotes with escapes as in JSON"),
    ('alphabet ""', 'line 1, column 10: expected a text in quotes with escapes as in JSON, such as "\\n" or'),
    ("alphabet a +1a", "line 1, column 12: expected a blank after an integer, got +1a"),
    ("alphabet a\nalphabet b", "line 2, column 1: expected one line 'alphabet ...' only, got alphabet"),
    (
        "alphabet a\n  onn a",
        "line 2, column 3: expected a line that begins with one of alphabet, counter, counters, "
        "says, state, on, accept, legal, tag, otherwise, got onn",
    ),
    ('alphabet a\n"on" a', "line 2, column 1: expected a line that begins with"),
    (
        "alphabet a\ncounter 5",
        "line 2, column 9: expected a counter's name, in quotes if it is an integer or a word of the notation, got 5",
    ),
    ("alphabet a\ncounter when", "a counter's name, in quotes if it is an integer or a word of the notation, got when"),
    ("alphabet a\ncounter n compared 5", "line 2, column 20: expected 'with', got 5"),
    ("alphabet a\ncounter n compared with m", "line 2, column 25: expected an integer, got m"),
    ("alphabet a\ncounter n\ncounter n", "line 3, column 9: expected a counter that is not declared yet, got n"),
    ("alphabet a\nsays of x", "line 2, column 6: expected 'one' or 'any', got of"),
    ("alphabet a\nsays one of x\nsays one of x", "line 3, column 1: expected one line 'says ...' only, got says"),
    (
        "alphabet a\nsays any of x\naccept\non a",
        "line 2, column 1: expected all that is said, accept included, got fewer",
    ),
    (
        "alphabet a\nstate fail:",
        "line 2, column 7: expected a state's name other than fail, which every machine has, got fail",
    ),
    ("alphabet a\nstate one:\nstate one:", "line 3, column 7: expected a state that is not declared yet, got one"),
    ("alphabet a\nstate one: two", "line 2, column 12: expected the end of the line, got two"),
    ("alphabet a\non b", "line 2, column 4: expected a symbol of the alphabet, or 'any', got b"),
    ("alphabet a\non a ->", "line 2, column 8: expected a state's name after '->', got the end of the line"),
    ("alphabet a\non a -> there\naccept", "line 2, column 9: expected one of the states start, got there"),
    (
        "alphabet a\ncounter n\non a m +1",
        "line 3, column 6: counter m is not declared; declare it in a line 'counter m' before the rules",
    ),
    (
        "alphabet a\ncounter n\non a m",
        "line 3, column 6: expected a symbol of the alphabet, a guard such as 'when n "
        "> 0', a counter's move such as 'n +1' or 'n reset', '-> STATE', 'hold' or 'fail', got m",
    ),
    (
        "alphabet a\ncounter depth\non a dept > 0 depth +1",
        "line 3, column 6: counter dept is not declared; did you mean depth? Else declare it in a line 'counter dept'",
    ),
    (
        "alphabet # a",
        'line 1, column 10: expected a symbol (a name with blanks or marks stands in quotes, such as "<"), got the end '
        'of the line, as # begins a comment here (as a symbol it is written "#")',
    ),
    (
        "alphabet a\non # hold",
        "line 2, column 4: expected a symbol of the alphabet, or 'any', got the end of the line, as #",
    ),
    (
        "alphabet a\naccept when n = 0",
        "line 2, column 13: counter n is not declared; declare it in a line 'counter n' before the rules",
    ),
    (
        "alphabet a\ncounter n\non a n",
        "line 3, column 7: expected a step with its sign such as +1, or 'reset', got the end of the line",
    ),
    (
        "alphabet a\ncounter n\non a n 1",
        "line 3, column 8: expected a step with its sign such as +1, or 'reset', got 1",
    ),
    ("alphabet a\ncounter n\non a n +1 n +1", "line 3, column 11: expected each counter once, got n"),
    ("alphabet a\ncounter n\non a n > 0 fail n +1", "line 3, column 17: expected the end of the line, got n"),
    (
        "alphabet a\ncounter n\non a n +1 -> fail",
        "line 3, column 14: expected a state other than fail, as counters still move on this line, got fail",
    ),
    ("alphabet a\ncounter n\non a n +9223372036854775808", "line 3, column 8: expected a step of at most 64 bits, got"),
    ("alphabet a\ncounter n\non a n < " + "9" * 4001, "expected an integer of at most 4000 digits"),
    (
        "alphabet a\ncounter n\non a when n",
        "line 3, column 12: expected one of < <= = != >= >, got the end of the line",
    ),
    ("alphabet a\ncounter n\non a when n = m", "line 3, column 15: expected an integer, got m"),
    (
        "alphabet a\ncounters n m\non a when n = m",
        "line 3, column 15: expected an integer (a machine compares no two "
        "counters; let one count their difference), got m",
    ),
    ("alphabet a\ncounters n m\non a when k > 0", "line 3, column 11: counter k is not declared; declare it in"),
    (
        "alphabet a\non a when k > 0",
        "line 2, column 11: counter k is not declared; declare it in a line 'counter k' before the rules",
    ),
    ("alphabet a\ncounter n\non a when 0 < 1", "line 3, column 15: expected a counter (n), got 1"),
    ("alphabet a\ncounter n\non a 0 < n < 5 < 6", "line 3, column 16: expected a counter's move such as"),
    (
        "alphabet a\ncounter n\non a n > 0 and n < 0\naccept",
        "line 3, column 1: expected a guard that can hold, got one that never does",
    ),
    (
        "alphabet a\ncounter n compared with 0\non a n < 5\naccept",
        "line 3, column 10: expected one of the constants (0,) of the line 'counter n ...', got 5",
    ),
    ("alphabet a\naccept on a", "line 2, column 8: expected the end of the line, got on"),
    ("alphabet a\nlegal b when", "line 2, column 7: expected a symbol of the alphabet, got b"),
    (
        "alphabet a\ntag when",
        "line 2, column 5: expected a tag's name (a name with blanks or marks stands in quotes, such "
        'as "<"), got when',
    ),
    ("alphabet a\notherwise a", "line 2, column 11: expected 'fail', got a"),
    (
        "alphabet a\non a",
        "line 1, column 1: expected a line that says something, such as 'accept when n = 0', got none",
    ),
    (
        "alphabet a b\ncounter n\naccept\non a b n +1\n\non b n > 3 n +2",
        "line 6, column 1: expected a rule that agrees with line 4 for b when n > 3, got another",
    ),
    (
        "alphabet a\naccept\non a -> s\nstate s:\non a fail",
        "line 5, column 1: expected a rule that agrees with line 3 for a in state s, got another",
    ),
    (
        "alphabet a\ncounter n\nsays one of x y z\non a n +1\ntag y\ntag z when n > 5",
        "line 6, column 1: expected one output at a time, and line 5 says another there, got a second",
    ),
    (
        "alphabet a b\ncounter n\naccept\nstate s:\non a n +1 -> s\nstate t:\non a -> t",
        "line 4, column 1: expected a rule for b in state s, got none; add one, or a line 'otherwise fail'",
    ),
    (
        "alphabet a b\ncounters n m\non a n +1\non b n <= 5 and m = 0\naccept",
        "line 4, column 1: expected a rule for b when n > 5 and m = 0, got none; add one, or a line 'otherwise fail'",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(TallycellError, match=re.escape(expected)):
        parse(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"alphabet a", r"the text of a machine is b'alphabet a'; expected a str, so decode it: text.decode()"),
        (None, "the text of a machine is None; expected a str"),
        (5, "the text of a machine is 5; expected a str"),
    ],
)
def test_what_is_no_text_is_refused(given, expected):
    with pytest.raises(TallycellError, match=re.escape(expected)):
        parse(given)


ODD = """alphabet a b
counter n
otherwise fail
state low:
  on a  n < 3   n +1
  on a  n = 3   hold
  on b  n > 3   n reset
  legal a when n < 4
  accept when n < 0
state high:
  on a  n > 9   hold
"""


def test_states_and_guards_that_nothing_reaches_are_said_and_no_mistake():
    found = remarks_on(ODD, parse(ODD))
    assert found == (
        "line 7: nothing reaches this guard",
        "line 9: nothing reaches this guard",
        "line 10: nothing leads to the state high",
    )
    assert remarks_on(ODD.replace("hold", "n +1 -> high", 1), parse(ODD.replace("hold", "n +1 -> high", 1))) == (
        "line 7: nothing reaches this guard",
        "line 9: nothing reaches this guard",
        "line 11: nothing reaches this guard",
    )


@pytest.mark.parametrize("name", shipped_machines())
def test_nothing_odd_is_said_of_shipped_programs(name):
    text = shipped_program(name)
    assert remarks_on(text, parse(text)) == ()


_PIECES = [*"abnmst01<=>:,", "+1", "-2", "<=", "!=", "->", '"', "\\", "with", "one", "of", "9" * 20, "\x00", "\u2028"]
_LINES = ["\n", "\n", "\n", "# x", '"a b"', "alphabet a b\n", "counter n\n", "on a ", "on any n > 0 ", "state s:\n"]
words = st.sampled_from([*KEYWORDS, *_PIECES, *_LINES, "accept when n = 0\n", "otherwise fail\n"])


def _is_machine_or_error(text: str) -> None:
    try:
        machine = parse(text)
    except TallycellError:  # what any other text may be
        return
    assert parse(str(machine)) == machine


@settings(max_examples=400)
@given(
    st.lists(words, max_size=40).map(" ".join) | st.text(max_size=60) | st.text(max_size=40).map("alphabet a\n".__add__)
)
def test_any_text_is_a_machine_or_an_error_of_ours(text: str) -> None:
    _is_machine_or_error(text)


@settings(max_examples=200)
@given(st.data())
def test_a_changed_program_is_a_machine_or_an_error_of_ours(data: st.DataObject) -> None:
    text = data.draw(
        st.sampled_from([DYCK, *re.findall(r"```text\n(alphabet .*?)```", PAGE.read_text("utf-8"), re.DOTALL)])
    )
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    changed = text[:first] + data.draw(words | st.text(max_size=3)) + text[data.draw(st.sampled_from([first, last])) :]
    _is_machine_or_error(changed)


@pytest.mark.parametrize(
    "text",
    [
        "alphabet " + " ".join(f"a{k}" for k in range(5000)) + "\non any hold\naccept",
        "alphabet a\ncounter n compared with " + " ".join(map(str, range(1000))) + "\non a n +1\naccept",
        "alphabet a\n" + "accept\n" * 5000 + "on a hold\n" * 5000,
        "alphabet a\n" + "\n".join(f"state s{k}:\non a -> s{(k + 1) % 1000}\naccept" for k in range(1000)),
        "alphabet a\ncounters " + " ".join(f"n{k}" for k in range(100)) + "\non a " + "n0 > 0 and " * 2000,
        "alphabet " + '"' * 20_000,
        "alphabet a\non a n < " + "1" * 100_000,
    ],
    ids=["symbols", "constants", "lines", "states", "counters", "quotes", "digits"],
)
def test_a_large_text_takes_no_more_than_seconds(text: str) -> None:
    begun = time.perf_counter()
    _is_machine_or_error(text)
    assert time.perf_counter() - begun < 10
