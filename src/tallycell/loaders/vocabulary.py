"""Vocabularies that lie in a file beside its weights: which symbol each row of an embedding stands for.

No format of its own: programs put one into whatever they save, under a few names that everybody uses (``char2id``,
``vocab``, ``itos``, ``word_index``).
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from tallycell.errors import FormatError
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.loaders.telling import told
from tallycell.wording import listed, quoted, reasons

PADDING = "<pad>"
_SYMBOL, _NUMBER = "(?:char(?:acter)?|word|token|tok|symbol|letter|s|c|w|t)s?", "(?:id|idx|ix|index|int|num|n|i)s?"
_NAME = re.compile(
    f"{_SYMBOL}(?:2|to){_NUMBER}|{_NUMBER}(?:2|to){_SYMBOL}|(?:word|char|token)index|index(?:word|char|token)|"
    "vocab|vocabulary|alphabet|charset|chars|characters|symbols|letters"
)
_LONGEST_NAME = 40  # characters
_DEEPEST, _MOST_ENTRIES = 3, 10_000  # of the mappings of a file that are looked through
_MOST_JSON = 2**24  # characters


def is_vocabulary_name(name: str) -> bool:
    """Whether a name is one under which programs keep a vocabulary; capitals and separators do not matter.

    Examples
    --------
    >>> [is_vocabulary_name(name) for name in ("char2id", "ix_to_char", "stoi", "wordIndex", "vocab", "embedding")]
    [True, True, True, True, True, False]
    """
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(re.sub(r"[\W_]+", "", name).lower()) is not None


def read_symbols(stated: object, rows: int) -> tuple[str, ...]:
    """Give the symbols of a vocabulary in the order of their numbers.

    Parameters
    ----------
    stated
        A list of symbols in order; a mapping from symbol to number or from number to symbol, each number from 0 on
        once; a JSON text of either; or a text whose characters are the symbols. Keras' ``Tokenizer`` numbers from 1
        and leaves 0 to padding: where that fits, ``"<pad>"`` stands in front.
    rows
        How many symbols there must be.

    Raises
    ------
    FormatError
        If it is none of these, or names other than so many symbols; the text is the end of a sentence.

    Examples
    --------
    >>> read_symbols({"b": 1, "a": 0}, 2), read_symbols({"1": "a", "2": "b"}, 3), read_symbols("ab", 2)
    (('a', 'b'), ('<pad>', 'a', 'b'), ('a', 'b'))
    >>> read_symbols(["a", "b"], 3)
    Traceback (most recent call last):
    tallycell.errors.FormatError: it names 2 symbols, expected 3
    """
    stated = _parsed(stated)
    if not isinstance(stated, str | list | tuple | Mapping):
        raise FormatError(f"it is {told(stated)}, expected a list of symbols or a mapping from symbol to number")
    symbols: tuple[Any, ...] = _in_order(stated, rows) if isinstance(stated, Mapping) else tuple(stated)
    if other := [one for one in symbols if not isinstance(one, str)]:
        raise FormatError(f"it has {told(other[0])} among its symbols, expected texts")
    if len(symbols) != rows:
        raise FormatError(f"it names {len(symbols)} symbols, expected {rows}")
    if len(set(symbols)) != rows:
        raise FormatError(f"it names {quoted(Counter(symbols).most_common(1)[0][0])} twice")
    return symbols


def with_vocabulary(model: LoadedModel, stated: object) -> LoadedModel:
    """Give a model with the vocabulary that its file has beside the weights.

    Parameters
    ----------
    model
        As read so far; one that has a vocabulary is given back as it is.
    stated
        What else the file holds, as plain data: mappings, lists, texts, numbers. Anything else in it is passed over.

    Returns
    -------
    LoadedModel
        With the vocabulary that names each row of the embedding (without one, each output of the head). One that does
        not fit, or several that fit and differ, are not used; then a note says why.
    """
    found = dict(_candidates(stated, _DEEPEST))
    if model.vocabulary is not None or not found:
        return model
    rows = _rows(model)
    if rows is None and all(isinstance(value, str) for value in found.values()):
        return model
    if rows is None:
        note = f"its {listed(found)} is not used: the file has no embedding and no head of which it could name the rows"
        return replace(model, notes=(*model.notes, note))
    fitting: dict[str, tuple[str, ...]] = {}
    why = {}
    for name, value in found.items():
        try:
            fitting[name] = read_symbols(value, rows)
        except FormatError as error:
            if not isinstance(value, str):  # the name of a file, say
                why[name] = str(error)
    different = set(fitting.values())
    if len(different) == 1:
        return replace(model, vocabulary=different.pop())
    if not different and not why:
        return model
    if different:
        note = f"its vocabularies {listed(fitting)} fit equally well and differ, so none is used"
    else:
        note = f"it has a vocabulary that is not used, for what it would name has {rows} rows: {reasons(why)}"
    return replace(model, notes=(*model.notes, note))


def named_rows(
    symbols: tuple[str, ...] | None, embedding: np.ndarray | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Give the symbols that a layer of the model has, unless the embedding has another number of rows; then say so.

    Examples
    --------
    >>> named_rows(("a", "b"), np.ones((2, 3)))
    (('a', 'b'), ())
    >>> named_rows(("a", "b"), np.ones((3, 3)))
    (None, ('its vocabulary of 2 symbols is not used: the embedding has 3 rows',))
    """
    if symbols is None or embedding is None or len(symbols) == len(embedding):
        return symbols, ()
    return None, (f"its vocabulary of {len(symbols)} symbols is not used: the embedding has {len(embedding)} rows",)


def _rows(model: LoadedModel) -> int | None:
    if model.embedding is not None:
        return len(model.embedding)
    return None if model.head is None else len(model.head.weight)


def _candidates(stated: object, depth: int) -> Iterator[tuple[str, object]]:
    """Give what may be a vocabulary, with its name; what is inside a mapping that is none too."""
    if not isinstance(stated, Mapping):
        return
    for name, value in islice(stated.items(), _MOST_ENTRIES):
        is_named = isinstance(name, str) and is_vocabulary_name(name)
        if is_named and _looks_like_one(parsed := _parsed(value)):
            yield name, parsed
        elif depth > 1:
            yield from _candidates(value, depth - 1)


def _looks_like_one(value: object) -> bool:
    """Whether a value may be a vocabulary; what is merely called like one, a size or the name of a file, may not."""
    if isinstance(value, Mapping):
        first = next(iter(value.values()), None)
        return type(first) in (int, str)
    return isinstance(value, str) or (isinstance(value, list | tuple) and bool(value) and isinstance(value[0], str))


def _parsed(value: object) -> object:
    """Give what a JSON text of a list or mapping holds; anything else as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "[") or len(value) > _MOST_JSON:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _in_order(stated: Mapping[Any, Any], rows: int) -> tuple[Any, ...]:
    """Give the symbols of a mapping by their numbers."""
    if all(type(number) is int for number in stated.values()):
        by_number = {number: symbol for symbol, number in stated.items()}
    else:
        by_number = {_as_number(key): symbol for key, symbol in stated.items()}
    count = len(stated)
    first = 0 if 0 in by_number or not count else 1
    if by_number.keys() != set(range(first, first + count)):
        raise FormatError(f"it numbers its {count} symbols with gaps or twice, expected each of 0, 1, 2 ... once")
    symbols = tuple(by_number[number] for number in range(first, first + count))
    if first and (count + 1 != rows or PADDING in symbols):
        raise FormatError(f"it numbers its {count} symbols from 1, expected each of 0, 1, 2 ... once")
    return (PADDING, *symbols) if first else symbols


def _as_number(key: object) -> object:
    return int(key) if isinstance(key, str) and re.fullmatch("[0-9]{1,9}", key) else key
