"""The rows of the scoreboard: what is learned, with how many units, what is measured, what is published.

A row sets its language (the published protocol), hidden size and steps; the recipe and all its other settings are the
same for every row.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from tallycell.errors import InputError
from tallycell.learning.languages import Language, language
from tallycell.learning.languages.language import Codes
from tallycell.learning.settings import SETTINGS, Settings

MOST_STEPS = 1_000_000  # symbols of the strings of one length together
Strings = Callable[[Language, np.random.Generator, int], list[Codes]]


@dataclass(frozen=True)
class Reach:
    """The first failure in n is measured; a seed passes if there is none up to ``target``."""

    target: int

    @property
    def text(self) -> str:
        """What is aimed at."""
        return f"no failure to n = {self.target:,}"


@dataclass(frozen=True)
class AtLengths:
    """Shares of strings that are right at every symbol are measured; a seed passes if all are, at the target lengths.

    Attributes
    ----------
    target
        Lengths at which a seed passes.
    along
        Lengths that are measured besides.
    strings
        Gives the strings of a length.
    """

    target: tuple[int, ...]
    along: tuple[int, ...]
    strings: Strings

    @property
    def lengths(self) -> tuple[int, ...]:
        """All lengths, in ascending order."""
        return tuple(sorted({*self.along, *self.target}))

    @property
    def text(self) -> str:
        """What is aimed at."""
        return f"every string right at {' and '.join(f'{length:,}' for length in self.target)} symbols"


@dataclass(frozen=True)
class Mark:
    """A published result in a plot: at a length (or n), a share between 0 and 1, and what it is.

    ``of_symbols`` says that the share is one of symbols, which is easier to have than one of whole strings.
    """

    at: float
    share: float
    label: str
    of_symbols: bool = False


@dataclass(frozen=True)
class Row:
    """One row of the scoreboard.

    Attributes
    ----------
    key
        Number of the row, with a letter where there are several kinds of it.
    language_name
        What is learned, and from which strings.
    hidden
        Number of units.
    measure
        What is measured and when a seed passes.
    published
        What others report, in words, with the source.
    marks
        The same in a plot.
    steps
        Steps of training; None for as many as the recipe takes.
    slow
        Whether it is run only when asked for.
    """

    key: str
    language_name: str
    hidden: int
    measure: Reach | AtLengths
    published: str
    marks: tuple[Mark, ...] = ()
    steps: int | None = None
    slow: bool = False

    @property
    def language(self) -> Language:
        """What is learned."""
        return language(self.language_name)

    @property
    def recipe(self) -> Settings:
        """Numbers of the recipe, with the steps of this row."""
        return SETTINGS if self.steps is None else replace(SETTINGS, steps=self.steps)

    @property
    def settings(self) -> dict[str, object]:
        """What the network was trained with: results of other settings are not this row's own."""
        return {"language": self.language_name, "hidden": self.hidden, **asdict(self.recipe)}


# ---- strings to test with --------------------------------------------------------------------------------------------


def drawn(of: Language, rng: np.random.Generator, length: int) -> list[Codes]:
    """Draw up to 100 strings of a length."""
    return of.of_length(rng, max(min(100, MOST_STEPS // length), 1), length)


def deep_brackets(of: Language, rng: np.random.Generator, length: int) -> list[Codes]:
    """Give nested and zig-zag strings of brackets of a length that is a multiple of 4, and 20 drawn ones.

    Nested is ``(((...)))``, as deep as half the length. Zig-zag is either peaks of one depth side by side, or a climb
    by two up and one down and a straight way back.

    Examples
    --------
    >>> from tallycell.learning.languages import language
    >>> strings = deep_brackets(language("dyck-1"), np.random.default_rng(0), 8)
    >>> [language("dyck-1").text(codes) for codes in strings[:4]]
    ['(((())))', '(())(())', '()()()()', '(()(()))']
    """
    half = length // 2
    peaks = sorted({depth for depth in (half, 1, 2, 5, 10, 25, 50, 100, 250, half // 2) if half % depth == 0})
    found = [np.tile(np.repeat(np.array([0, 1], np.uint8), depth), half // depth) for depth in reversed(peaks)]
    climb = np.tile(np.array([0, 0, 1], np.uint8), length // 4)
    found.append(np.concatenate([climb, np.ones(length - len(climb), np.uint8)]))
    return [*found, *of.of_length(rng, 20, length)]


# ---- the table -------------------------------------------------------------------------------------------------------

_LAN_2024 = "Lan, Chemla and Katzir 2024, arXiv 2402.10013; measured on their results file"
_SUZGUN = "Suzgun, Belinkov and Shieber 2019, SCiL; measured on their shipped results"
_MERRILL = "Merrill et al. 2020, repository rr-experiments; read"
_EL_NAGGAR = (
    '"reliable long sequence generalization seems not practically achievable through backpropagation with current '
    'techniques" (El-Naggar, Madhyastha and Weyde 2022, arXiv 2211.16429; read)'
)
_UNCHECKED = "recalled, not checked against the source"
_ANBN = f"best first failure of 3,360 networks 80; unregularised median 28.5 (1,000 strings) ({_LAN_2024})"
_ANBN_MARKS = (Mark(80, 1 / 3360, "best of 3,360 (Lan et al. 2024)"), Mark(28.5, 0.5, "median (Lan et al. 2024)"))
_UNIFORM = f"10 trials: mean 145.9, median 139.5, range 83 to 244 ({_SUZGUN})"
_UNIFORM_MARKS = (Mark(139.5, 0.5, "median (Suzgun et al. 2019)"), Mark(244, 0.1, "best of 10 (Suzgun et al. 2019)"))
_SHORT = f"mean 19.9, median 1 ({_SUZGUN})"
_SHORT_MARKS = (Mark(1, 0.5, "median (Suzgun et al. 2019)"),)
_TO_10 = (
    '"values of n up to 1000 and more" with a Kalman filter (Gers, Perez-Ortiz, Eck and Schmidhuber 2002, abstract; '
    "read); a plain copy trained by gradient descent: 18 to 29, median 24 (schmidhuber-problems; read)"
)
_TO_10_MARKS = (
    Mark(1000, 1.0, "Kalman filter (Gers et al. 2002)"),
    Mark(24, 0.5, "gradient descent, median of a copy"),
)
_BELOW_5 = f"89.47 % of symbols at 2,048, a constant tag 84.73 % ({_MERRILL})"
_BELOW_5_MARKS = (Mark(2048, 0.8947, "Merrill et al. 2020", True),)
_RUNS = f"88.64 % of symbols at 2,048, a constant tag 76.37 % ({_MERRILL})"
_ALONG = (64, 128, 256, 512, 1024)
_TAGS = AtLengths((2048,), _ALONG, drawn)
_BRACKETS = AtLengths((1000, 2000), (52, 100, 200, 500), deep_brackets)
_SHUFFLE = AtLengths((1000,), (52, 76, 100, 200, 500), drawn)
_SHUFFLE_SAID = f"about 100 % at 52 to 100 (Suzgun et al. 2019, W19-3905; {_UNCHECKED})"
_REGULAR = AtLengths((500, 10_000), (41, 100, 200, 1000, 2000, 5000), drawn)
_REGULAR_SAID = f"100 % at 41 to 500 (Deletang et al. 2023; {_UNCHECKED})"

ROWS = (
    Row("1", "anbn-sampled", 3, Reach(10**6), _ANBN, _ANBN_MARKS),
    Row("1b", "anbn", 3, Reach(10**6), f"as row 1, which learns from the symbol drawn: {_ANBN}", _ANBN_MARKS),
    Row("2", "anbncn", 3, Reach(10**5), _UNIFORM, _UNIFORM_MARKS),
    Row("3", "anbncn-short", 3, Reach(10**5), _SHORT, _SHORT_MARKS),
    Row("4", "anbncn-10", 6, Reach(10**5), _TO_10, _TO_10_MARKS),
    Row("5", "dyck-1", 1, _BRACKETS, _EL_NAGGAR),
    Row("5b", "dyck-1", 2, _BRACKETS, _EL_NAGGAR),
    Row("6", "difference-below-5", 10, _TAGS, _BELOW_5, _BELOW_5_MARKS, steps=8000),
    Row("6w", "difference-below-5", 16, _TAGS, f"with 10 units: {_BELOW_5}", _BELOW_5_MARKS, steps=6000, slow=True),
    Row("7", "anbn-prefix", 10, _TAGS, f"of nearly this task (row 7b): {_RUNS}"),
    Row("7b", "anbn-runs", 10, _TAGS, _RUNS, (Mark(2048, 0.8864, "Merrill et al. 2020", True),), steps=3000),
    Row("8", "shuffle-2", 4, _SHUFFLE, _SHUFFLE_SAID),
    Row("8b", "shuffle-4", 8, _SHUFFLE, _SHUFFLE_SAID, steps=4000),
    Row("8c", "shuffle-6", 12, _SHUFFLE, _SHUFFLE_SAID, steps=6000, slow=True),
    Row(
        "9", "anbncndn-sampled", 8, Reach(10**4),
        "best LSTM .693, MDL-trained network 99.9 % of symbols (Lan et al. 2022, TACL, repository mdlrnn; read)",
    ),
    Row("10a", "parity", 4, _REGULAR, _REGULAR_SAID),
    Row("10b", "even-pairs", 4, _REGULAR, _REGULAR_SAID),
    Row("10c", "cycle-navigation", 12, _REGULAR, _REGULAR_SAID, steps=6000),
    Row("10d", "modular-arithmetic", 24, _REGULAR, _REGULAR_SAID, slow=True),
)  # fmt: skip


def rows(keys: tuple[str, ...] = (), *, slow: bool = False) -> tuple[Row, ...]:
    """Give rows by their keys; without keys, those that are not slow, or all.

    A number without its letter stands for all rows of that number.

    Raises
    ------
    InputError
        If there is no such row.

    Examples
    --------
    >>> [row.key for row in rows(("1", "5b"))]
    ['1', '1b', '5b']
    """
    if not keys:
        return tuple(row for row in ROWS if slow or not row.slow)
    for key in keys:
        if not any(_is_of(row, key) for row in ROWS):
            raise InputError(f"there is no row {key!r}; there are {', '.join(row.key for row in ROWS)}")
    return tuple(row for row in ROWS if any(_is_of(row, key) for key in keys))


def _is_of(row: Row, key: str) -> bool:
    return row.key == key or row.key.rstrip("abcdefghijklmnopqrstuvwxyz") == key
