"""What the commands on counter machines are given: a machine, a recogniser, strings, and a file to write."""

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tallycell.cli.options import Opening
from tallycell.cli.terminal import shortened
from tallycell.errors import InputError
from tallycell.files import read_text, require_place, write_file
from tallycell.recogniser import Recogniser
from tallycell.wording import listed, quoted, shown

if TYPE_CHECKING:
    from tallycell.machine.checking.blocks import Blocks
    from tallycell.machine.counter_machine import CounterMachine

STANDARD_INPUT = "-"
MOST_SYMBOLS = 32  # of an alphabet that an error lists


class GivenString(NamedTuple):
    """A string as it was written, and the symbols that it is read as."""

    written: str
    symbols: Sequence[str]


def open_machine(name: str) -> "CounterMachine":
    """Read a machine: a file in the notation, one in JSON (``.json``), or a machine that is shipped, by its name.

    A file comes first, so that nobody's own program is hidden by a shipped one.

    Raises
    ------
    InputError
        If there is neither a file nor a shipped machine of that name.
    FormatError
        If the file is no machine.
    """
    path = Path(name)
    if os.path.exists(path) and not path.is_dir():
        from tallycell.machine.notation.file import read_machine

        machine, remarks = read_machine(path)
        for remark in remarks:
            sys.stderr.write(f"tallycell: {shown(str(path))}, {remark}\n")
        return machine
    from tallycell.machine.shipped import shipped_machine, shipped_machines

    shipped = shipped_machines()
    if name in shipped:
        return shipped_machine(name)
    near = get_close_matches(name, shipped, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"{shown(name)} is neither a file nor a shipped machine; {hint}tallycell machines lists those that are shipped"
    )


class Asked(NamedTuple):
    """What is said of a model file on the command line: as of ``Recogniser.from_loaded``; None where nothing is."""

    alphabet: str | None = None
    outputs: str | None = None
    decision: str | None = None
    lstm: str | None = None


NOTHING_ASKED = Asked()


def open_recogniser(
    path: Path, opening: Opening | None = None, asked: Asked = NOTHING_ASKED, *,
    strings: Path | None = None, separator: str | None = None,
) -> Recogniser:  # fmt: skip
    """Read a recogniser, or make one of a model file and what is said of it; what was folded is told on standard error.

    Parameters
    ----------
    path
        The file.
    opening
        How it may be opened.
    asked
        What the file does not say itself.
    strings, separator
        Strings that the model is meant to read, one a line of a file, and what stands between their symbols.

    Raises
    ------
    InputError
        If the file holds an LSTM but no recogniser, and too little is said of it; or it holds one, and more is said.
    FormatError
        If it cannot be read.
    """
    loaded = (opening or Opening()).load(path)
    if loaded.recogniser is not None:
        if asked != NOTHING_ASKED:
            raise InputError(
                f"{path} holds a recogniser, which has its alphabet, outputs and decision; leave out --alphabet, "
                "--outputs, --decision and --lstm"
            )
        return loaded.recogniser
    if asked.outputs is None or asked.decision is None or (asked.alphabet is None and loaded.vocabulary is None):
        raise InputError(
            f"{path} holds an LSTM without alphabet and decision; say what it reads and what it says, such as "
            "--alphabet 'a b' --outputs 'a b accept' --decision 'softmax above 0.1' (in Python: "
            "tallycell.Recogniser.from_torch of the module, from_loaded of the file), or give a recogniser"
        )
    from tallycell.loaders.deciding.loaded import recogniser_from_loaded
    from tallycell.loaders.deciding.parts import Said

    alphabet = loaded.vocabulary if asked.alphabet is None else names_in(asked.alphabet, apart=False)
    sample = None
    if strings is not None and str(strings) != STANDARD_INPUT:
        lines = _lines_of(read_text(strings, InputError, "a text of one string a line"))
        sample = [one.symbols for one in cut_strings(lines, alphabet or (), separator=separator)]
    said = Said.of(alphabet or (), names_in(asked.outputs, apart=True), asked.decision, sample)
    made, notes = recogniser_from_loaded(loaded, said, asked.lstm)
    for note in notes:
        sys.stderr.write(f"tallycell: {shown(note)}\n")
    return made


def names_in(text: str, *, apart: bool) -> tuple[str, ...]:
    """Cut names at blanks; if there are none, at commas; else at every character, unless they stand ``apart`` always.

    Examples
    --------
    >>> names_in("ab", apart=False), names_in("push pop", apart=False), names_in("a,b,accept", apart=True)
    (('a', 'b'), ('push', 'pop'), ('a', 'b', 'accept'))
    """
    names = tuple(text.split()) if len(text.split()) > 1 else tuple(text.strip().split(","))
    return names if apart or len(names) > 1 else tuple(text.strip())


def written_strings(given: Sequence[str]) -> list[str]:
    """Give the strings of a command line, where ``-`` stands for the lines of standard input.

    Raises
    ------
    InputError
        If standard input is not UTF-8.
    """
    return [line for one in given for line in (_standard_input() if one == STANDARD_INPUT else [one])]


def cut_strings(
    written: Sequence[str], alphabet: Sequence[str], *, separator: str | None = None, other: str | None = None
) -> list[GivenString]:
    """Cut strings into symbols.

    Parameters
    ----------
    written
        The strings.
    alphabet
        The symbols that they are made of.
    separator
        What stands between two symbols; ``""`` for nothing. None: nothing where each symbol is one character,
        otherwise blanks.
    other
        The symbol as which those outside the alphabet are read; None refuses them.

    Raises
    ------
    InputError
        If a symbol is not in the alphabet.
    """
    known = set(alphabet)
    if other is not None and other not in known:
        raise InputError(
            f"{quoted(other)}, given with --other, is not in the alphabet {listed(alphabet, MOST_SYMBOLS)}"
        )
    apart = separator
    if apart is None:
        apart = "" if all(len(symbol) == 1 for symbol in known) else " "
    strings = [GivenString(line, _cut(line, apart)) for line in written]
    for number, one in enumerate(strings):
        if known.issuperset(one.symbols):
            continue
        if other is None:
            place, symbol = next((k, symbol) for k, symbol in enumerate(one.symbols) if symbol not in known)
            how = f"; symbols are read with {quoted(apart)} between them (--separator)" if apart else ""
            raise InputError(
                f"symbol {quoted(symbol)} at position {place} of {shortened(one.written)} is not in the alphabet "
                f"{listed(alphabet, MOST_SYMBOLS)}{how}"
            )
        symbols = [symbol if symbol in known else other for symbol in one.symbols]
        strings[number] = GivenString(one.written, symbols)
    return strings


def read_sample(path: Path, net: Recogniser, separator: str | None = None) -> list[Sequence[str]]:
    """Read the strings that a network is meant to read, one from each line of a file; ``-`` is standard input.

    Raises
    ------
    InputError
        If the file is not there, is no text, or holds a symbol that the network does not know.
    """
    if str(path) == STANDARD_INPUT:
        lines = _standard_input()
    else:
        lines = _lines_of(read_text(path, InputError, "a text of one string a line"))
    return [one.symbols for one in cut_strings(lines, net.alphabet, separator=separator, other=net.unknown)]


def language_of(pattern: str, alphabet: Sequence[str]) -> "Blocks":
    """Give the member of a language for each n, in blocks, from a pattern such as ``a^n b^2n``.

    Examples
    --------
    >>> language_of("a^n b^2n", "ab")(2)
    [(('a',), 2), (('b',), 4)]
    >>> language_of("(ab)^n c^n", "abc")(2)
    [(('a', 'b'), 2), (('c',), 2)]

    Raises
    ------
    InputError
        If the pattern is none, or has a symbol that is not in the alphabet.
    """
    parts = [re.fullmatch(r"(.+)\^([0-9]*)n", term) for term in pattern.split()]
    if not parts or None in parts:
        raise InputError(
            f"language {quoted(pattern)} is no pattern; give symbols with powers of n, such as 'a^n b^2n', '(ab)^n c^n'"
        )
    powers = [(_word(part[1], alphabet), int(part[2] or 1)) for part in parts if part is not None]
    for symbol in (symbol for word, _ in powers for symbol in word):
        if symbol not in alphabet:
            raise InputError(
                f"symbol {quoted(symbol)} of the language is not in the alphabet {listed(alphabet, MOST_SYMBOLS)}"
            )
    return lambda n: [(word, times * n) for word, times in powers]


def _word(written: str, alphabet: Sequence[str]) -> tuple[str, ...]:
    """Give the symbols of one term: itself, or those in brackets."""
    inside = re.fullmatch(r"\((.+)\)", written)
    return (written,) if written in alphabet or inside is None else tuple(inside[1])


def _cut(written: str, separator: str) -> Sequence[str]:
    if not separator:
        return written
    # Blanks are forgiving: any number of them, at the ends too.
    return written.split() if separator.isspace() else written.split(separator) if written else []


def _standard_input() -> list[str]:
    try:
        return _lines_of(sys.stdin.buffer.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 text (byte {error.start}); convert it first") from None


def _lines_of(text: str) -> list[str]:
    """Lines of a text; a newline ends a line, so that the last one is not followed by an empty one."""
    return text.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n").split("\n") if text else []


def require_network_place(path: Path) -> None:
    """Refuse a place where no network can be written, before the work that would be lost.

    Raises
    ------
    InputError
        If its name does not end in ``.safetensors``, or no file can be written there.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"cannot write {path}: what is written is safetensors, so let the name end in .safetensors")
    require_place(path)


def write_text(path: Path | None, text: str) -> None:
    """Write a text that ends with a newline to a file, whole or not at all, or to standard output if None."""
    text = text.rstrip("\n") + "\n"
    if path is None:
        sys.stdout.write(text)
    else:
        write_file(path, text.encode())
