"""All languages. To add one, write it into the tuple below.

Protocols: Lan, Chemla and Katzir (2024) for ``anbn-sampled``; Suzgun, Belinkov and Shieber (2019) for a^n b^n c^n and
the brackets; Merrill et al. (2020) for ``difference-below-5`` and the two prefixes of a^n b^n; Lan et al. (2022) for
a^n b^n c^n d^n; Deletang et al. (2023) for the tasks whose answer counts after the last symbol only; Tomita (1982);
Shi, Knight and Yuret (2016) for ``copy``.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy as np

from tallycell.errors import InputError
from tallycell.learning.languages import programs
from tallycell.learning.languages.language import Codes, Language
from tallycell.learning.languages.own import language_of_machine
from tallycell.learning.languages.strings import (
    always,
    any_string,
    beta_binomial,
    brackets,
    geometric,
    in_blocks,
    mostly_alive,
    sums,
    then_anything,
    uniform,
)
from tallycell.machine.notation.file import read_machine
from tallycell.wording import quoted


def _equal(symbols: str, n: int) -> Sequence[tuple[str, int]]:
    return [(symbol, n) for symbol in symbols]


def _anb2n(n: int) -> Sequence[tuple[str, int]]:
    return [("a", n), ("b", 2 * n)]


def _anbmcnm(n: int, m: int) -> Sequence[tuple[str, int]]:
    return [("a", n), ("b", m), ("c", n + m)]


def _draw_anbmcnm(rng: np.random.Generator, longest: int) -> Codes:
    n, m = rng.integers(1, longest + 1, size=2)
    return in_blocks("abc", lambda _: _anbmcnm(int(n), int(m)))(rng, 1)


def _copied(n: int) -> Sequence[tuple[str, int]]:
    return [("a", n), (".", 1), ("o", n)]


def _draw_copy(rng: np.random.Generator, n: int) -> Codes:
    letters = rng.integers(2, size=n, dtype=np.uint8)
    return np.concatenate([letters, [np.uint8(2)], np.full(n, 3, np.uint8)]).astype(np.uint8)


def _blocks_language(name: str, title: str, symbols: str) -> Language:
    """Give a^n b^n ... of some symbols, n as in the first published protocol, legal symbols as targets."""
    blocks = partial(_equal, symbols)
    return Language(
        name, title, name, in_blocks(symbols, blocks), geometric(0.3), legal=True, blocks=blocks,
        allowed_program=programs.in_order(symbols),
    )  # fmt: skip


def _tomita(number: int, title: str) -> Language:
    name = f"tomita-{number}"
    return Language(name, f"Tomita {number}: {title}", name, mostly_alive(name, wrong=0.05), uniform(1, 40))


def _shuffle(kinds: int, program: str) -> Language:
    return Language(
        f"shuffle-{kinds}", f"{kinds} kinds of brackets, each balanced by itself", program, brackets(kinds),
        uniform(2, 50, 2), legal=True,
    )  # fmt: skip


_anbn = replace(_blocks_language("anbn", "a^n b^n", "ab"), fixed=1000)
_anbncn = _blocks_language("anbncn", "a^n b^n c^n", "abc")
_anbncndn = replace(_blocks_language("anbncndn", "a^n b^n c^n d^n", "abcd"), fixed=500)
_below_5 = Language("difference-below-5", "|#a - #b| < 5", "difference-below-5", any_string(2), always(64))
_first_anbn = then_anything(lambda n: np.repeat(np.array([0, 1], np.uint8), n), 2)

_ALL = (
    replace(_anbn, name="anbn-sampled", title="a^n b^n, the next symbol as it was drawn", sampled=True),
    _anbn,
    replace(_anbncn, sizes=uniform(1, 50)),
    replace(_anbncn, name="anbncn-short", title="a^n b^n c^n, short ones favoured", sizes=beta_binomial(1, 50, 1, 5)),
    replace(_anbncn, name="anbncn-10", title="a^n b^n c^n, n to 10", sizes=uniform(1, 10)),
    replace(_anbncndn, name="anbncndn-sampled", title="a^n b^n c^n d^n, the next symbol as it was drawn", sampled=True),
    _anbncndn,
    Language(
        "anbmcnm", "a^n b^m c^(n+m)", "anbmcnm", _draw_anbmcnm, always(20), legal=True,
        blocks=lambda n: _anbmcnm(n, n), allowed_program=programs.in_order("abc"),
    ),
    Language(
        "anb2n", "a^n b^2n", "anb2n", in_blocks("ab", _anb2n), uniform(1, 30), legal=True, blocks=_anb2n,
        allowed_program=programs.in_order("ab"),
    ),
    Language(
        "copy", "letters, an end, as many copies", programs.COPY, _draw_copy, uniform(1, 40), legal=True,
        blocks=_copied, allowed_program=programs.LETTERS_THEN_COPIES,
    ),
    Language("dyck-1", "balanced brackets", "dyck-1", brackets(1), uniform(2, 50, 2), legal=True),
    _shuffle(2, "shuffle-2"),
    _shuffle(4, programs.shuffle("()[]{}aA")),
    _shuffle(6, "shuffle-6"),
    _below_5,
    replace(_below_5, name="majority", title="more a than b", program="majority"),
    replace(
        _below_5, name="anbn-prefix", title="begins with some a^n b^n", program=programs.ANBN_THEN_ANYTHING,
        make=_first_anbn,
    ),
    replace(
        _below_5, name="anbn-runs", title="first runs of a and b as long", program=programs.EQUAL_FIRST_RUNS,
        make=_first_anbn,
    ),
    Language("parity", "an even number of b", "parity", any_string(2), uniform(1, 40), only_last=True),
    Language("even-pairs", "last symbol as the first", "even-pairs", any_string(2), uniform(1, 40), only_last=True),
    Language(
        "cycle-navigation", "place on a circle of five", "cycle-navigation", any_string(3), uniform(1, 40),
        only_last=True,
    ),
    Language(
        "modular-arithmetic", "sums and products modulo 5", programs.modular_arithmetic(5), sums, uniform(1, 39, 2),
        only_last=True, unasked="?",
    ),
    _tomita(1, "1*"),
    _tomita(2, "(10)*"),
    _tomita(3, "no odd run of 1 before an odd run of 0"),
    _tomita(4, "no 000"),
    _tomita(5, "even numbers of 0 and of 1"),
    _tomita(6, "#0 - #1 a multiple of 3"),
    _tomita(7, "0*1*0*1*"),
)  # fmt: skip

_BY_NAME = {one.name: one for one in _ALL}


def languages() -> tuple[str, ...]:
    """Give the names of all languages.

    Examples
    --------
    >>> "dyck-1" in languages()
    True
    """
    return tuple(_BY_NAME)


def language(name: str) -> Language:
    """Give a language by its name, or the one of a file that holds its machine.

    Parameters
    ----------
    name
        One of :func:`languages`; or the path of a machine, in the notation or in JSON, which says what is right after
        each symbol (:func:`~tallycell.learning.languages.own.language_of_machine`).

    Raises
    ------
    InputError
        If there is neither, or the machine makes no language.
    FormatError
        If the file holds no machine.

    Examples
    --------
    >>> language("anb2n").title
    'a^n b^2n'
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    path = Path(name)
    if not os.path.isfile(path):
        near = get_close_matches(name, _BY_NAME, n=1)
        raise InputError(
            f"{quoted(name)} is neither a language nor a file; {f'did you mean {near[0]}? ' if near else ''}there are "
            f"{', '.join(_BY_NAME)} (tallycell languages), or give a file in the notation of machines"
        )
    machine, _ = read_machine(path)
    return language_of_machine(machine, path.stem)
