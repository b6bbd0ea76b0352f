"""Words of the notation: how a line of it is cut into tokens, and how a name is written so that it is read back."""

import json
import re
from typing import Literal, NamedTuple, Never

from tallycell.errors import FormatError
from tallycell.wording import shown

Kind = Literal["word", "string", "integer", "mark", "end"]

MIRRORED = {"<": ">", "<=": ">=", "=": "=", "!=": "!=", ">=": "<=", ">": "<"}  # 0 < n is n > 0
COMPARISONS = tuple(MIRRORED)
_OPENING = ("accept", "alphabet", "counter", "counters", "legal", "on", "otherwise", "says", "state", "tag")
KEYWORDS = frozenset({*_OPENING, "and", "any", "compared", "fail", "hold", "or", "reset", "when"})
MOST_DIGITS = 4000  # Python refuses to read 4,301
END_OR_COMMENT = {
    "": "the end of the line",
    "#": 'the end of the line, as # begins a comment here (as a symbol it is written "#")',
}

_DELIMITER = r"""->|!=|[+-][0-9]|[\s"\#<>=,:]"""  # where a word ends
_TOKEN = re.compile(
    rf"""
      (?P<blank>   \s+ | \#.* )
    | (?P<string>  "(?:[^"\\]|\\.)*" )
    | (?P<mark>    -> | <= | >= | != | [<>=,:] )
    | (?P<integer> [+-]?[0-9]+ (?={_DELIMITER}|$) )
    | (?P<word>    (?:(?!{_DELIMITER}).)+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One word, text in quotes, integer or mark of a line, and where it stands (both from 1).

    The end of a line has the value ``"#"`` where a comment begins there.
    """

    kind: Kind
    text: str
    value: str
    line: int
    column: int

    @property
    def is_name(self) -> bool:
        """Whether it can name something: all but marks, and the end of a line."""
        return self.kind not in ("mark", "end")

    @property
    def names_counter(self) -> bool:
        """Whether it can name a counter: no bare integer or word of the notation, which would be read as that."""
        return self.is_name and self.kind != "integer" and not self.is_keyword(*KEYWORDS)

    def is_keyword(self, *keywords: str) -> bool:
        """Whether it is one of these words, not in quotes."""
        return self.kind == "word" and self.text in keywords

    def refuse(self, expected: str, got: str | None = None) -> Never:
        """Raise the error that something else stands here; ``got`` says what, by itself the token.

        Raises
        ------
        FormatError
            Always.
        """
        if got is None:
            got = END_OR_COMMENT[self.value] if self.kind == "end" else shown(self.text)
        raise FormatError(f"line {self.line}, column {self.column}: expected {expected}, got {got}")


def tokenise(line: str, number: int) -> list[Token]:
    """Cut a line into tokens, blanks and comments left out, and end it with one of the kind ``end``.

    Raises
    ------
    FormatError
        If a text in quotes is not closed or escapes what it cannot, or a sign and digits run into something else.

    Examples
    --------
    >>> [token.text for token in tokenise('on ")" depth>0  depth-1  # closes', 1)]
    ['on', '")"', 'depth', '>', '0', 'depth', '-1', '']
    """
    tokens: list[Token] = []
    place, end, comment = 0, len(line) + 1, ""
    while place < len(line):
        match = _TOKEN.match(line, place)
        if match is None:
            _refuse_character(line, number, place)
        kind, text = match.lastgroup, match.group()
        if kind != "blank":
            value = _unquoted(text, number, place + 1) if kind == "string" else text
            tokens.append(Token(kind, text, value, number, place + 1))  # type: ignore[arg-type]  # a group of _TOKEN
        elif text.startswith("#"):
            end, comment = place + 1, "#"
        place = match.end()
    return [*tokens, Token("end", "", comment, number, end)]


def written(name: str, *, identifier: bool = False) -> str:
    """Write a name as the notation reads it: bare where that is one word, otherwise in quotes.

    Parameters
    ----------
    name
        The name.
    identifier
        Whether it also must not look like an integer, as with counters.

    Examples
    --------
    >>> [written(name) for name in ("(", "two words", "when", "0", "-1", "#")]
    ['(', '"two words"', '"when"', '0', '"-1"', '"#"']
    >>> written("0", identifier=True)
    '"0"'
    """
    if name.isprintable() and name not in KEYWORDS:
        match = _TOKEN.fullmatch(name)
        if match and (match.lastgroup == "word" or (name.isascii() and name.isdigit() and not identifier)):
            return name
    return json.dumps(name, ensure_ascii=not name.isprintable())


def integer_of(token: Token) -> int:
    """Value of an integer.

    Raises
    ------
    FormatError
        If the token is none, or one of more than 4,000 digits.
    """
    if token.kind != "integer":
        token.refuse("an integer")
    if len(token.text) > MOST_DIGITS:
        token.refuse(f"an integer of at most {MOST_DIGITS} digits")
    return int(token.text)


def _unquoted(text: str, line: int, column: int) -> str:
    try:
        value = json.loads(text)
        value.encode()  # half of a surrogate pair is no character
        if not value:
            raise ValueError
    except ValueError:
        raise FormatError(
            f'line {line}, column {column}: expected a text in quotes with escapes as in JSON, such as "\\n" or '
            f'"\\u00e9", got {shown(text)}'
        ) from None
    return str(value)


def _refuse_character(line: str, number: int, place: int) -> Never:
    if line[place] == '"':
        raise FormatError(
            f"line {number}, column {place + 1}: expected a closing quote on the same line, got {shown(line[place:])}"
        )
    raise FormatError(
        f"line {number}, column {place + 1}: expected a blank after an integer, got {shown(line[place:].split()[0])}; "
        f"write a name that begins with a sign and a digit in quotes"
    )
