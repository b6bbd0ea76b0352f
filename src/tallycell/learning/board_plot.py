"""The picture of the scoreboard: first failures of each row, published, trained and hardened, in one panel."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tallycell.learning.rows import AtLengths, Mark, Reach, Row
from tallycell.plot.lengths import LanguageRow, Published, plot_lengths
from tallycell.plot.saving import save_picture

NONE_SURE = 1.0  # share of a published result that failed nowhere


def draw_board(there: Sequence[tuple[Row, Sequence[dict[str, Any]]]], path: Path) -> None:
    """Draw all rows into a picture.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    InputError
        If the picture cannot be written.
    """
    save_picture(plot_lengths([language_row(row, results) for row, results in there]), path)


def language_row(row: Row, results: Sequence[dict[str, Any]]) -> LanguageRow:
    """Say in symbols what a row measured of every seed: where each network first failed, and what is proved."""
    units = "1 unit" if row.hidden == 1 else f"{row.hidden} units"
    trained, hardened = (tuple(_first_failure(row, one[name]) for one in results) for name in ("trained", "hardened"))
    searched = symbols_of(row, row.measure.target) if isinstance(row.measure, Reach) else max(row.measure.lengths)
    proved = tuple(float(one["horizon"].get("symbols", 0)) for one in results)
    published = tuple(_published(row, mark) for mark in row.marks)
    return LanguageRow(f"{row.key}  {row.language.title}, {units}", trained, hardened, searched, proved, published)


def symbols_of(row: Row, n: int) -> int:
    """Count the symbols of the member n of a row's language.

    Examples
    --------
    >>> from tallycell.learning.rows import rows
    >>> symbols_of(rows(("2",))[0], 1000)
    3000
    """
    one, two = (len(row.language.member(size)) for size in (1, 2))
    return one + (n - 1) * (two - one)


def _first_failure(row: Row, found: dict[str, Any]) -> float:
    """Give the shortest length at which something was wrong; infinite if nothing was, 0 without a machine."""
    if "missing" in found:
        return 0.0
    if isinstance(row.measure, AtLengths):
        wrong = [one["length"] for one in found["lengths"] if one["right"] < one["strings"]]
        return float(min(wrong, default=math.inf))
    return math.inf if found["first_failure"] is None else float(symbols_of(row, found["first_failure"]))


def _published(row: Row, mark: Mark) -> Published:
    if isinstance(row.measure, Reach):
        return Published(symbols_of(row, 1) * mark.at, f"n = {mark.at:g}, {mark.label}", mark.share == NONE_SURE)
    share = f"{100 * mark.share:.3g} % of {'symbols' if mark.of_symbols else 'strings'}"
    return Published(mark.at, f"{share} right, {mark.label}", mark.share == NONE_SURE)
