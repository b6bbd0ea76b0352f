"""A text for a model that knows its symbols: characters, words, or what a tokenizer cuts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.files import read_text, require_file
from tallycell.input import Input, Rows
from tallycell.loaders import LoadedModel
from tallycell.memory import require_memory
from tallycell.opening.choosing import as_loaded, choose_lstm, in_order_of, state_of
from tallycell.opening.stack import run_up_to
from tallycell.opening.text_quantities import text_quantities, word_quantities
from tallycell.opening.vocabulary import MOST_LEFT_OUT, UNKNOWN, Cut, Vocabulary, as_vocabulary
from tallycell.recogniser import Recogniser
from tallycell.wording import listed, quoted

CHARACTER = 100  # bytes a character while its symbols are looked up
A_TEXT = "the text"


def open_text(
    model: LoadedModel | Recogniser,
    text: str | PathLike[str],
    *,
    lstm: str | None = None,
    vocabulary: Vocabulary | PathLike[str] | Sequence[str] | Mapping[Any, Any] | None = None,
    state: Any = None,
) -> Input:
    r"""Give what an LSTM reads when its model is given a text.

    A recogniser has an alphabet. Others have an embedding and a vocabulary, their own or a given one: the first LSTM
    reads the rows of the embedding, and a later layer of the same stack what the layers before give out.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, or a recogniser.
    text
        The text itself as a ``str``, or a ``pathlib.Path`` of a file in UTF-8. A line ends with one ``\n`` in either.
    lstm
        Path of the LSTM, where the model has several.
    vocabulary
        The symbols in the order of the rows of the embedding, where the model does not name them: a file, a list, or a
        mapping, as :func:`~tallycell.opening.read_vocabulary` takes them.
    state
        (h_0, c_0), or an npz file of both; zeros if None, or a recogniser's own.

    Returns
    -------
    Input
        With the symbols as tokens, and known quantities of the text at the last character of each.

    Raises
    ------
    InputError
        If the model does not know its symbols, the vocabulary is not of its embedding, or more than a quarter of the
        text is nothing that it knows.

    Examples
    --------
    >>> import tallycell as tc
    >>> lstm = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.zeros((8, 2))})
    >>> model = LoadedModel({"lstm": lstm}, Path("tagger.pt"), embedding=np.eye(4, 2))
    >>> given = open_text(model, "The cat, the dog", vocabulary=["the", "cat", ",", "<unk>"])
    >>> given
    Input('the text': 5 words and marks, 20.0% of them unknown)
    >>> given.tokens
    ['the', 'cat', ',', 'the', '<unk>']
    """
    loaded = as_loaded(model)
    path = choose_lstm(loaded, lstm)
    written, name = (text, A_TEXT) if isinstance(text, str) else (_read_text(Path(text)), Path(text).name)
    written = written.replace("\r\n", "\n")
    if not written:
        raise InputError(f"{name if isinstance(text, str) else text} is empty; give a text with at least one character")
    reader = text_reader(loaded, lstm=path, vocabulary=vocabulary)
    return reader.read(written, reader.cut(written), name, state)


@dataclass(frozen=True, eq=False)
class TextReader:
    """What makes an input of any text for one LSTM: the symbols of its model, looked up once for many texts.

    Attributes
    ----------
    loaded, path
        The model, and which of its LSTMs reads.
    symbols
        What the model knows.
    rows
        What the first LSTM reads for each symbol.
    """

    loaded: LoadedModel
    path: str
    symbols: Vocabulary
    rows: Float[np.ndarray, "symbol feature"]

    def cut(self, text: str, *, foreign: bool = False) -> Cut:
        """Cut a text into symbols.

        Parameters
        ----------
        text
            With one line feed at the end of a line.
        foreign
            Whether any share of it may be unknown, or all of it: for a piece of a text that is known as a whole.

        Raises
        ------
        InputError
            If a recogniser does not know a symbol, or more than a quarter of the text is nothing that the model knows.
        """
        cut = self.symbols.cut(text)
        if self.loaded.recogniser is not None:
            _refuse_unknown(cut, self.loaded.recogniser, text)
        elif not foreign:
            _refuse_foreign(cut, self.symbols)
        return cut

    def read(self, text: str, cut: Cut, name: str, state: Any = None) -> Input:
        """Give what the LSTM reads of a text that was cut; at least one symbol of it must be known.

        Parameters
        ----------
        text, cut
            The text and what :meth:`cut` made of it.
        name
            What to call it.
        state
            As :func:`open_text` takes it.
        """
        is_recogniser = self.loaded.recogniser is not None
        known = cut.codes >= 0
        codes, ends = cut.codes[known], cut.ends[known]
        share, about = _say(cut, self.symbols, leaves_out=self.symbols.unknown is None and not is_recogniser)
        read = Rows(self.rows, codes.astype(np.min_scalar_type(len(self.rows))))
        given = Input(
            read if is_recogniser else run_up_to(self.loaded, self.path, read),
            name,
            about,
            tokens=[self.symbols.symbols[code] for code in codes.tolist()],
            quantities=_measure(text, ends, self.symbols),
            state=state_of(state),
            unknown_share=share,
            notes=_notes(self.symbols, text),
        )
        return in_order_of(self.loaded, self.path, given)


def text_reader(model: LoadedModel | Recogniser, *, lstm: str | None = None, vocabulary: Any = None) -> TextReader:
    """Look up the symbols of a model once, for many texts; the parameters are those of :func:`open_text`.

    Raises
    ------
    InputError
        If the model does not know its symbols, or the vocabulary is not of its embedding.

    Examples
    --------
    >>> import tallycell as tc
    >>> lstm = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.zeros((8, 2))})
    >>> model = LoadedModel({"lstm": lstm}, Path("tagger.pt"), embedding=np.eye(2, 2))
    >>> reader = text_reader(model, vocabulary=["cat", "dog"])
    >>> reader.read("a dog", reader.cut("a dog", foreign=True), "one").tokens
    ['dog']
    """
    loaded = as_loaded(model)
    path = choose_lstm(loaded, lstm)
    if loaded.recogniser is not None:
        return TextReader(loaded, path, *_alphabet_of(loaded.recogniser, vocabulary))
    return TextReader(loaded, path, *_symbols_of(loaded, vocabulary))


def _read_text(path: Path) -> str:
    """Read a text, if there is memory for it and its symbols."""
    size = require_file(path, InputError, "a text").st_size
    require_memory(CHARACTER * size, f"reading the {size:,} bytes of {path}")
    return read_text(path, InputError, "a text")


def _alphabet_of(recogniser: Recogniser, vocabulary: object) -> tuple[Vocabulary, Float[np.ndarray, "symbol feature"]]:
    if vocabulary is not None:
        raise InputError("the model is a recogniser, which has an alphabet; leave out the vocabulary")
    return Vocabulary(recogniser.alphabet, recogniser.unknown), recogniser.inputs


def _symbols_of(model: LoadedModel, vocabulary: Any) -> tuple[Vocabulary, Float[np.ndarray, "symbol feature"]]:
    """Symbols of a model, and what its first LSTM reads for each."""
    name, embedding = model.source.name, model.embedding
    if embedding is None:
        raise InputError(
            f"{name} has no alphabet and no embedding, so it cannot read a text; give its input as an array (--array)"
        )
    if vocabulary is None:
        symbols = model.vocabulary
        if symbols is None or len(symbols) != len(embedding):
            found = "does not name the symbols" if symbols is None else f"names {len(symbols):,} symbols"
            raise InputError(
                f"{name} has an embedding of {len(embedding):,} symbols and {found}; give them with vocabulary "
                "(--vocab FILE)"
            )
        return Vocabulary(symbols, next((one for one in UNKNOWN if one in symbols), None)), embedding
    given = as_vocabulary(vocabulary)
    if len(given) > len(embedding) or (len(given) < len(embedding) and not given.numbered):
        hint = "" if len(given) > len(embedding) else ", unless its symbols are numbered (a mapping in JSON)"
        raise InputError(
            f"the vocabulary has {len(given):,} symbols, the embedding of {name} {len(embedding):,} rows; expected as "
            f"many{hint}"
        )
    return given, embedding


def _refuse_unknown(cut: Cut, recogniser: Recogniser, text: str) -> None:
    """Refuse anything that is not in the alphabet of a recogniser, which says of itself what it knows."""
    if (unknown := np.flatnonzero(cut.codes < 0)).size:
        begin, end = cut.begins[unknown[0]], cut.ends[unknown[0]]
        raise InputError(
            f"symbol {quoted(text[begin:end])} at position {begin} is not in the alphabet {quoted(recogniser.alphabet)}"
        )
    if not cut.codes.size:
        raise InputError(f"the text holds none of the symbols {quoted(recogniser.alphabet)}; give another text")


def _refuse_foreign(cut: Cut, symbols: Vocabulary) -> None:
    """Refuse a text for another model: more than a quarter is nothing that it knows."""
    unknown = cut.codes < 0
    share = max(float(unknown.mean()) if unknown.size else 0.0, cut.lost)
    if share > MOST_LEFT_OUT:
        what = "characters" if symbols.of_characters else "words"
        known = "".join(sorted(one for one in symbols.symbols if len(one) == 1))
        knows = quoted(known) if symbols.of_characters else listed(symbols.symbols)
        raise InputError(f"{share:.0%} of the text are {what} that the model does not know; it knows {knows}")
    if not unknown.size:
        raise InputError("the text holds nothing that the vocabulary cuts out of it; give another text")


def _say(cut: Cut, symbols: Vocabulary, *, leaves_out: bool) -> tuple[float, str]:
    """Share of what the model does not know, and in words what it reads."""
    known = cut.codes[cut.codes >= 0]
    kind = "symbol" if symbols.of_characters else "word" if symbols.tokenizer is None else "token"
    what = f"{known.size:,} {kind}{'' if known.size == 1 else 's'}{' and marks' if kind == 'word' else ''}"
    if leaves_out:
        share = max(1 - known.size / cut.codes.size, cut.lost)
        return share, f"{what}, {share:.1%} of the text are unknown to it and left out"
    unknown = -1 if symbols.unknown is None else symbols.symbols.index(symbols.unknown)
    share = float(np.mean(known == unknown))
    return share, f"{what}, {share:.1%} of them unknown"


def _measure(text: str, ends: np.ndarray, symbols: Vocabulary) -> dict[str, np.ndarray]:
    """Measure a text at the last character of each symbol; where those are words, the place in the sentence as well."""
    quantities = {name: values[ends - 1] for name, values in text_quantities(text).items()}
    return quantities if symbols.of_characters else quantities | word_quantities(text, ends)


def _notes(symbols: Vocabulary, text: str) -> tuple[str, ...]:
    lowered = symbols.lowers and text != text.lower()
    return ("the text was lowered: no symbol of the vocabulary has an upper-case letter",) if lowered else ()
