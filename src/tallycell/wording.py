"""Words that come from elsewhere, fit for one line of ours: names in files, values, messages of libraries.

Whoever writes a file chooses its names. On a terminal a name may hold what clears the screen, turns the direction of
the text or begins a new line; so what does not print is shown as an escape, and what is long only by its beginning.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

MOST_QUOTED = 200  # characters of a value that a line quotes
MOST_LISTED = 8  # names that a line lists


def visible(text: str) -> str:
    r"""Show a text in one line: what does not print (control characters, marks of direction) as an escape.

    What was shown once is shown the same again.

    Examples
    --------
    >>> visible("(a)"), visible("a\n"), visible("\x1b[2J"), visible("\u202eabc")
    ('(a)', 'a\\n', '\\x1b[2J', '\\u202eabc')
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shown(text: str, most: int = MOST_QUOTED) -> str:
    r"""Show a name without quotes: of a long one only the beginning, the empty one in quotes.

    Examples
    --------
    >>> shown("rnn"), shown("a\tb"), shown("x" * 1000, 8), shown("")
    ('rnn', 'a\\tb', 'xxxxxxxx...', '""')
    """
    return f"{visible(text[:most])}..." if len(text) > most else visible(text) or '""'


def quoted(value: object, most: int = MOST_QUOTED) -> str:
    """Quote a value in one line: its ``repr``, of a long one only the beginning; of what has none, the kind.

    Examples
    --------
    >>> quoted("rnn"), quoted(3), quoted("x" * 1000, 12)
    ("'rnn'", '3', "'xxxxxxxx...")
    """
    if isinstance(value, str | bytes):
        value = value[:most]  # the rest is cut all the same, and may be long; the quotes make it too long now
    try:
        text = visible(repr(value))
    except (RecursionError, ValueError):  # nested too deeply; a whole number of more digits than Python writes
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Iterable[object], most: int = MOST_LISTED) -> str:
    """Quote the first of some names, and say how many more there are.

    Examples
    --------
    >>> listed(["a", "b"]), listed([]), listed(range(20), 3)
    ("'a', 'b'", '(none)', '0, 1, 2 and 17 more')
    """
    all_names = list(names)
    rest = len(all_names) - most
    shown = ", ".join(quoted(name) for name in all_names[:most])
    return f"{shown} and {rest:,} more" if rest > 0 else shown or "(none)"


def reasons(why: Mapping[str, object], most: int = MOST_LISTED) -> str:
    """Say of the first of some names why something is so, and how many more there are.

    Examples
    --------
    >>> reasons({"rnn": "its weights are packed"}), reasons({"a": 1, "b": 2, "c": 3}, 1)
    ("'rnn': its weights are packed", "'a': 1; and 2 more")
    """
    rest = len(why) - most
    said = "; ".join(f"{quoted(name)}: {reason}" for name, reason in islice(why.items(), most))
    return f"{said}; and {rest:,} more" if rest > 0 else said


def one_line(error: BaseException, most: int = 2 * MOST_QUOTED) -> str:
    r"""Give somebody else's error in one line; only its beginning, as some libraries quote whole files.

    Examples
    --------
    >>> one_line(ValueError("bad\n  value")), one_line(KeyError())
    ('bad value', 'KeyError')
    """
    start = str(error)[: 10 * most]  # where blanks are folded, a line is made of more
    words = (word if len(word) <= MOST_QUOTED else f"{word[:MOST_QUOTED]}..." for word in start.split())
    text = visible(" ".join(words)) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}..."
