"""Quantities of a text that a cell may follow: what a person would look for first.

They are small whole numbers, which float32 holds exactly: of a long text they are most of what is held in memory.
"""

import numpy as np
from jaxtyping import Float, Int

OPENING, CLOSING = "([{", ")]}"
QUOTES = "\"'"
SENTENCE_ENDS = ".!?"


def text_quantities(text: str) -> dict[str, Float[np.ndarray, " time"]]:
    """Measure a text after each of its characters.

    Strings and comments are told as Python writes them: a string stands between quotes, single or triple, and one in
    single quotes ends with its line; a comment runs from ``#`` to the end of its line. In a text that is not a
    program these two mean little; the others still hold.

    Returns
    -------
    dict
        By name, (time,): ``position in the line``, ``indentation`` of the line so far, ``position in the word`` (in
        characters), ``bracket depth`` outside strings and comments (a count), ``being inside a string`` and
        ``being inside a comment`` (1 or 0; the quotes and the ``#`` belong to them).

    Examples
    --------
    >>> text_quantities("f(a[0])")["bracket depth"]
    array([0., 1., 1., 2., 2., 1., 0.], dtype=float32)
    >>> text_quantities("x='#'#")["being inside a string"]
    array([0., 0., 1., 1., 1., 0.], dtype=float32)
    """
    line, indentation, word = _positions(text)
    string, comment = _strings_and_comments(text)
    depth, depths = 0, np.zeros(len(text), np.float32)
    for t, character in enumerate(text):
        if not string[t] and not comment[t]:
            depth = max(depth + (character in OPENING) - (character in CLOSING), 0)
        depths[t] = depth
    return {
        "position in the line": line,
        "indentation": indentation,
        "position in the word": word,
        "bracket depth": depths,
        "being inside a string": string,
        "being inside a comment": comment,
    }


def word_quantities(text: str, ends: Int[np.ndarray, " word"]) -> dict[str, Float[np.ndarray, " word"]]:
    """Measure a text after each of its words: the place of the word in its sentence.

    Parameters
    ----------
    text
        As it stands.
    ends
        Position behind each word or mark; a sentence ends behind one whose last character is ``.``, ``!`` or ``?``.

    Returns
    -------
    dict
        ``position in the sentence``, (word,), in words and marks, from 1.

    Examples
    --------
    >>> word_quantities("It is. So?", np.array([2, 5, 6, 9, 10]))["position in the sentence"]
    array([1., 2., 3., 1., 2.], dtype=float32)
    """
    position, positions = 0, np.zeros(len(ends), np.float32)
    for t, end in enumerate(ends.tolist()):
        position += 1
        positions[t] = position
        if text[end - 1] in SENTENCE_ENDS:
            position = 0
    return {"position in the sentence": positions}


def _positions(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position in the line, indentation and position in the word, after each character."""
    line, indentation, word = np.zeros((3, len(text)), np.float32)
    column = indent = letters = 0
    for t, character in enumerate(text):
        if character == "\n":
            column = indent = letters = 0
        else:
            indent += character == " " and indent == column
            column += 1
            letters = letters + 1 if character.isalnum() or character == "_" else 0
        line[t], indentation[t], word[t] = column, indent, letters
    return line, indentation, word


def _strings_and_comments(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each character stands in a string, quotes included, and in a comment, ``#`` included."""
    string, comment = np.zeros((2, len(text)), np.float32)
    t = 0
    while t < len(text):
        if text[t] == "#":
            end = _find(text, "\n", t)
            comment[t:end] = 1
        elif text[t] in QUOTES:
            end = _end_of_string(text, t)
            string[t:end] = 1
        else:
            end = t + 1
        t = end
    return string, comment


def _end_of_string(text: str, begin: int) -> int:
    """Position behind a string that begins here."""
    quote = text[begin] * 3 if text.startswith(text[begin] * 3, begin) else text[begin]
    t = begin + len(quote)
    while t < len(text):
        if text.startswith(quote, t):
            return t + len(quote)
        if len(quote) == 1 and text[t] == "\n":
            return t
        t += 2 if text[t] == "\\" else 1
    return len(text)


def _find(text: str, wanted: str, begin: int) -> int:
    found = text.find(wanted, begin)
    return len(text) if found < 0 else found
