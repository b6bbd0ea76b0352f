"""Vocabularies: the symbol of each row of an embedding, and how a text is cut into them.

One is a file with a symbol a line, in the order of their numbers; a list in JSON; a mapping in JSON, from symbol to
number or from number to symbol; or the ``tokenizer.json`` of Hugging Face's library ``tokenizers``, which cuts the text
itself.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from tallycell.errors import FormatError, InputError, MissingExtraError
from tallycell.files import read_json, read_text, require_file
from tallycell.memory import require_memory
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = ("<unknown>", "<unk>", "<UNK>", "[UNK]", "UNK", "unk")  # how vocabularies call what they do not have
MOST_LEFT_OUT = 0.25  # share of a text that may be left out
UNFOLDS = 40  # times its bytes, at most, that a vocabulary takes while it is parsed
WHAT = "a vocabulary"
_NAMES_OF_A_TOKENIZER = {"model", "version"}  # keys of every tokenizer.json
_SPECIAL = re.compile(r"[<\[{].*[>\]}]", re.S)  # <s>, [PAD]: no word of the text
_STANDING_ALONE = re.compile(r"\n|\S+")
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class Cut:
    """A text, cut into symbols.

    Attributes
    ----------
    codes
        Number of each symbol; -1 for what the vocabulary does not know and has no symbol for.
    begins, ends
        Position in the text of the first character of each, and behind its last.
    lost
        Share of the text that no symbol stands for and that is not even counted among them.
    """

    codes: Int[np.ndarray, " time"]
    begins: Int[np.ndarray, " time"]
    ends: Int[np.ndarray, " time"]
    lost: float = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary:
    """The symbols that a model knows, in the order of the rows of its embedding.

    Attributes
    ----------
    symbols
        Each once.
    unknown
        The one that stands for all others; None if there is none.
    numbered
        Whether the numbers are written down, so that the embedding may have rows beyond them.
    tokenizer
        What cuts a text, of the library ``tokenizers``; None if the symbols themselves say how.

    Raises
    ------
    InputError
        If there is no symbol, one is no text or stands twice, or the unknown one is none of them.

    Examples
    --------
    >>> Vocabulary(("the", "cat", "."))
    Vocabulary(3 words: 'the', 'cat', '.')
    """

    symbols: tuple[str, ...]
    unknown: str | None = None
    numbered: bool = False
    tokenizer: "Tokenizer | None" = None

    def __post_init__(self) -> None:
        if not self.symbols:
            raise InputError("a vocabulary has no symbols; give at least one")
        if strange := [symbol for symbol in self.symbols if not isinstance(symbol, str)]:
            raise InputError(f"a symbol of a vocabulary is {quoted(strange[0])}; expected texts")
        if len(self._index) < len(self.symbols):
            twice = next(symbol for k, symbol in enumerate(self.symbols) if self._index[symbol] != k)
            raise InputError(f"the symbol {quoted(twice)} stands in a vocabulary twice; expected each once")
        if self.unknown is not None and self.unknown not in self._index:
            raise InputError(f"the unknown symbol {quoted(self.unknown)} is not in the vocabulary")

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        kind = "characters" if self.of_characters else "words" if self.tokenizer is None else "tokens"
        return f"Vocabulary({len(self):,} {kind}: {listed(self.symbols)})"

    @property
    def of_characters(self) -> bool:
        """Whether it is one of characters: at least half of its symbols are one, and no tokenizer cuts."""
        return self.tokenizer is None and 2 * sum(len(symbol) == 1 for symbol in self.symbols) >= len(self)

    @cached_property
    def lowers(self) -> bool:
        """Whether words of a text are lowered: none of its own, but for such as ``<UNK>``, has an upper-case letter."""
        words = (symbol for symbol in self.symbols if symbol != self.unknown and not _SPECIAL.fullmatch(symbol))
        return self.tokenizer is None and not self.of_characters and all(word == word.lower() for word in words)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {symbol: code for code, symbol in enumerate(self.symbols)}

    def cut(self, text: str) -> Cut:
        r"""Cut a text into symbols: characters, words and marks, or as the tokenizer does.

        What stands between blanks is one word if the vocabulary has it, else it is cut at its punctuation marks, which
        are words of their own; so is a new line, if the vocabulary has it.

        Raises
        ------
        InputError
            If the tokenizer refuses the text.

        Examples
        --------
        >>> words = Vocabulary(("the", "cat", "sat", ".", "<unk>"), unknown="<unk>")
        >>> [words.symbols[code] for code in words.cut("The cat\nspoke.").codes]
        ['the', 'cat', '<unk>', '.']
        >>> Vocabulary(("a", "b")).cut("abc").codes.tolist()
        [0, 1, -1]
        """
        if self.tokenizer is not None:
            return _cut_by(self.tokenizer, text)
        other = -1 if self.unknown is None else self._index[self.unknown]
        if self.of_characters:
            at = np.arange(len(text) + 1)
            codes = np.fromiter((self._index.get(one, other) for one in text), np.int64, len(text))
            return Cut(codes, at[:-1], at[1:])
        found = [(self._index.get(word, other), begin, end) for word, begin, end in self._words(text)]
        return Cut(*np.array(found, dtype=np.int64).reshape(-1, 3).T)

    def _words(self, text: str) -> Iterable[tuple[str, int, int]]:
        for alone in _STANDING_ALONE.finditer(text):
            whole = self._written(alone.group())
            if whole in self._index:
                yield whole, *alone.span()
            else:
                for part in _WORD_OR_MARK.finditer(text, *alone.span()):
                    yield self._written(part.group()), *part.span()

    def _written(self, word: str) -> str:
        return word.lower() if self.lowers else word


def _cut_by(tokenizer: "Tokenizer", text: str) -> Cut:
    try:
        encoded = tokenizer.encode(text, add_special_tokens=False)
    except BaseException as error:  # it lacks a word and has no symbol for it; a pattern of its gives up
        _raise_unless_of_rust(error)
        raise InputError(f"the tokenizer refuses the text: {one_line(error)}") from None
    spans = np.array(encoded.offsets, dtype=np.int64).reshape(-1, 2)
    written = np.array([not character.isspace() for character in text], dtype=bool)
    covered = np.zeros(len(text) + 1, dtype=np.int64)
    np.add.at(covered, spans[:, 0], 1)
    np.add.at(covered, spans[:, 1], -1)
    lost = written & (np.cumsum(covered)[:-1] == 0)
    # A token of no character, such as a mark that a word begins, ends where the one before it does.
    ends = np.maximum.accumulate(np.maximum(spans[:, 1], 1)) if len(spans) else spans[:, 1]
    return Cut(np.array(encoded.ids, dtype=np.int64), spans[:, 0], ends, float(lost.sum() / max(written.sum(), 1)))


def _raise_unless_of_rust(error: BaseException) -> None:
    """Raise what ends a program; a panic of Rust is no ``Exception`` either, and is an error like all others."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def as_vocabulary(given: "Vocabulary | str | PathLike[str] | Sequence[str] | Mapping[Any, Any]") -> Vocabulary:
    """Give a vocabulary: of a file, of a list of symbols, of a mapping between symbols and numbers, or as it is.

    Raises
    ------
    InputError, FormatError
        If it is none.

    Examples
    --------
    >>> as_vocabulary({"b": 1, "a": 0})
    Vocabulary(2 characters: 'a', 'b')
    """
    if isinstance(given, Vocabulary):
        return given
    if isinstance(given, str | PathLike):
        return read_vocabulary(Path(given))
    try:
        return _of_object(given)
    except FormatError as error:
        raise InputError(f"the vocabulary {error}") from None


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary from a file, whatever form of those above it has.

    Parameters
    ----------
    path
        JSON if it begins with ``{`` or ``[`` and ends in ``.json``, else a symbol a line. An empty line is the empty
        symbol, as it stands for padding; the last line may end or not.

    Raises
    ------
    InputError
        If there is no such file, or memory for it.
    FormatError
        If it is no vocabulary, or its numbers are not 0, 1, 2 and so on, each once.
    MissingExtraError
        If it is a ``tokenizer.json`` and the library ``tokenizers`` is not installed.
    """
    size = require_file(path, InputError, WHAT).st_size
    require_memory(UNFOLDS * size, f"reading the vocabulary {path}")
    try:
        if path.suffix.lower() == ".json":
            held = read_json(path, size + 1)
            return _of_tokenizer(path) if _is_tokenizer(held) else _of_object(held)
        lines = read_text(path, FormatError, WHAT).replace("\r\n", "\n").removesuffix("\n").split("\n")
        return _with_unknown(tuple(lines))
    except MissingExtraError:
        raise
    except (FormatError, InputError) as error:
        said = str(error)
        raise FormatError(said if str(path) in said else f"{path}: {said}") from None


def _is_tokenizer(held: object) -> bool:
    return isinstance(held, dict) and held.keys() >= _NAMES_OF_A_TOKENIZER and isinstance(held["model"], dict)


def _of_object(held: object) -> Vocabulary:
    """Tell a list and a mapping."""
    if isinstance(held, list | tuple):
        return _with_unknown(tuple(held))
    if not isinstance(held, Mapping) or not held:
        kind = "is empty" if isinstance(held, Mapping) else f"is a {type(held).__name__}"
        raise FormatError(f"{kind}; expected a list of symbols, or a mapping between symbols and numbers")
    if all(isinstance(value, int) and not isinstance(value, bool) for value in held.values()):
        by_number = {value: key for key, value in held.items()}
    elif all(isinstance(value, str) for value in held.values()):
        by_number = {_number(key): value for key, value in held.items()}
    else:
        raise FormatError("maps neither symbols to whole numbers nor numbers to symbols; expected one of the two")
    return _with_unknown(_in_order(by_number, len(held)), numbered=True)


def _number(key: object) -> int:
    try:
        return int(str(key)) if len(str(key)) < 20 else -1
    except ValueError:
        raise FormatError(f"maps {quoted(key)} to a symbol; expected a number, from 0 on") from None


def _in_order(by_number: Mapping[int, Any], count: int) -> tuple[Any, ...]:
    if len(by_number) < count:
        raise FormatError("gives a number to two symbols; expected each number once")
    if missing := [number for number in range(count) if number not in by_number]:
        raise FormatError(f"has {count:,} symbols and none of number {missing[0]}; expected the numbers from 0 on")
    return tuple(by_number[number] for number in range(count))


def _with_unknown(symbols: tuple[Any, ...], *, numbered: bool = False) -> Vocabulary:
    return Vocabulary(symbols, next((one for one in UNKNOWN if one in symbols), None), numbered)


def _of_tokenizer(path: Path) -> Vocabulary:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "text") from None

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:
        _raise_unless_of_rust(error)
        raise FormatError(f"{path} is not a tokenizer that the library tokenizers reads: {one_line(error)}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    numbers = tokenizer.get_vocab(with_added_tokens=True)
    symbols = _in_order({number: symbol for symbol, number in numbers.items()}, len(numbers))
    own = getattr(tokenizer.model, "unk_token", None)
    unknown = own if own in numbers else next((one for one in UNKNOWN if one in numbers), None)
    return Vocabulary(symbols, unknown, numbered=True, tokenizer=tokenizer)
