"""Words that whoever writes a file may choose to do harm with, and the names that seeds are written with."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LETTER = "q"  # stands in no other word of the seeds, so that a run of it shows how much of LONG is quoted
LONG = LETTER * 100_000
HALF_A_CHARACTER = "\ud800"  # an escape of JSON can say it, UTF-8 cannot
NASTY = {
    "clear the screen": "\x1b[2J",
    "title of the window": "\x1b]0;owned\x07",
    "bell": "\x07",
    "backspace": "\b\b\b",
    "colour in one byte": "\x9b31m",
    "delete": "\x7f",
    "right to left": "\u202e",
    "isolate": "\u2066",
    "line": "\nerror: all is well",
    "return": "\rerror",
    "another line": "\u2028",
    "NUL": "\0",
    "markup": "[/bold]",
    "invisible": "\u200b",
    "long": LONG,
    "rather long": LETTER * 900,  # which nobody need refuse
}
MOST_OF_A_FILE_NAME = 50  # characters


class Names:
    """The words of a seed: as its format has them, or spoilt with one of ``NASTY``.

    Parameters
    ----------
    rng
        Says with what and where; None for words as they are.
    """

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        self.rng, self.nasty, self.share, self.place = rng, "", 0.0, 0.0
        if rng is not None:
            self.nasty = pick(rng, list(NASTY.values()))
            self.share = pick(rng, (0.0, 0.0, 0.1, 0.3))
            self.place = pick(rng, (0.0, 0.5, 1.0))  # begins, middle, end

    def free(self, name: str) -> str:
        """Give a name that anybody may choose, everywhere in the file the same."""
        if not self.nasty:
            return name
        at = int(self.place * len(name))
        return f"{name[:at]}{self.nasty}{name[at:]}"

    def known(self, word: str) -> str:
        """Give a word that has a meaning to who reads it: most often as it is."""
        return self.free(word) if self.rng is not None and self.rng.random() < self.share else word

    def without(self, character: str, most: int = len(LONG)) -> "Names":
        """For a format in which no name holds a character, or more than so many."""
        self.nasty = self.nasty.replace(character, "")[:most]
        return self

    def in_json(self) -> "Names":
        """For a format of escapes, which can say what is no character."""
        if self.rng is not None and self.rng.random() < 0.1:
            self.nasty = HALF_A_CHARACTER
        return self

    def of_file(self, name: str) -> str:
        """Give a name that a file system takes."""
        return (
            Names.free(self.without("\0").without("/", MOST_OF_A_FILE_NAME), name).encode("utf-8", "replace").decode()
        )


def spoil_words(value: Any, spoil: Callable[[str], str]) -> Any:
    """Spoil the texts of what JSON can say, keys too."""
    if isinstance(value, dict):
        return {spoil(key): spoil_words(one, spoil) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [spoil_words(one, spoil) for one in value]
    return spoil(value) if isinstance(value, str) else value


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """Draw one of several."""
    return choices[rng.integers(len(choices))]
