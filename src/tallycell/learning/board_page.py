"""The page of the scoreboard, in Markdown: published beside ours."""

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from tallycell.learning.rows import ROWS, AtLengths, Reach, Row
from tallycell.learning.scoring import COLUMNS, GATES, passes
from tallycell.machine.proving.horizon import FARTHEST

Result = dict[str, Any]
Rows = Sequence[tuple[Row, Sequence[Result]]]

_HEAD = """\
# Scoreboard: LSTMs that learn to count

This page is made by `tallycell scoreboard` of its file of results; nothing in it is typed by hand. What is measured
and how: [learning to count](learning.md).

A string is right only if the decision after every symbol is. *First failure* is the smallest n found at which a
member is decided wrongly at any symbol, or a near miss (one symbol more or fewer in a block) is accepted:
**searched**, every n to 64, then in steps of a factor 4 and bisected. Shares of strings are **sampled**, as many as
each row says. *Trained* is the float32 LSTM as training left it, *snapped* the counter machine extracted from it,
*hardened* the standard LSTM compiled from that machine. *Horizon* is the number of symbols to which the hardened LSTM
is **proved** to decide as its machine does; it says nothing of how the machine was learned. A machine is read from what
the network did on training strings, as small as that allows, so it can be right where the network itself is wrong: the
columns *snapped* and *hardened* are then better than *trained*, and part of that is the reading's. Hardening may take
more units than were trained: both are said. How the recipe's settings were found, and what that means for these
results, is told in [learning to count](learning.md#how-the-settings-were-found-and-what-that-means). Figures are the
smallest, the median and the largest over all seeds; none is left out. "none" is a seed without a machine: why, is
said below.
"""


def page_of(there: Rows, picture: str | None) -> str:
    """Write the page.

    Parameters
    ----------
    there
        Rows, and the results of each by seed.
    picture
        The plot, as the page refers to it; None if there is none.
    """
    parts = [_HEAD, _overview(there), _time(there), _without_results(there)]
    if picture is not None:
        parts.append(f"![First failures of each language: published, trained and hardened]({picture})\n")
    parts += ["## Row by row\n", *(_section(row, results) for row, results in there), _gates(there)]
    return "\n".join(parts)


# ---- all rows in one table -------------------------------------------------------------------------------------------


def _overview(there: Rows) -> str:
    lines = [
        "| row | language | units, trained | units, hardened | aim | trained | snapped | hardened | "
        "seeds that pass (hardened) | first runs that pass | runs | training, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row, results in there:
        passed = [passes(row, one["hardened"]) for one in results]
        first = sum(one["first_passes"] for one in results)
        cells = [
            row.key, row.language.title, str(row.hidden), _hardened_units(results), row.measure.text,
            *(_short(row, [one[column] for one in results]) for column in COLUMNS),
            f"{sum(passed)} of {len(results)}", f"{first} of {len(results)}",
            str(sum(one["runs"] for one in results)), f"{sum(one['seconds'] for one in results):,.0f}",
        ]  # fmt: skip
        lines.append(_line(cells))
    return "\n".join([*lines, ""])


def _time(there: Rows) -> str:
    """Say how long it took: the rows that are run by default, and the slower ones."""
    lines = []
    for rows, which in ((_where(there, slow=False), "are run by default"), (_where(there, slow=True), "are slower")):
        training = sum(one["seconds"] for one in rows) / 60
        judging = sum(one["judging_seconds"] for one in rows) / 60
        if rows:
            lines.append(
                f"The rows that {which}: {training:,.0f} minutes of training, and {judging:,.0f} to read, harden, "
                "prove and judge, on one core each."
            )
    return " ".join(lines) + "\n"


def _where(there: Rows, *, slow: bool) -> list[Result]:
    return [one for row, results in there if row.slow is slow for one in results]


def _without_results(there: Rows) -> str:
    missing = [row.key for row in ROWS if row.key not in {one.key for one, _ in there}]
    told = "[learning to count](learning.md#where-rows-fall-short)"
    return f"Rows without results: {', '.join(missing)}; what is known of them: {told}.\n" if missing else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _short(row: Row, found: Sequence[Result]) -> str:
    """Smallest, median and largest of what a row measures of one column."""
    if isinstance(row.measure, Reach):
        firsts = sorted(first_failure(one) for one in found)
        return " / ".join(_failure(value, found) for value in (firsts[0], _low_median(firsts), firsts[-1]))
    length = max(row.measure.target)
    shares = [share_of_strings(one, length) for one in found]
    return f"{_percent(min(shares))} / {_percent(median(shares))} / {_percent(max(shares))} at {length:,}"


def _low_median(ordered: Sequence[float]) -> float:
    """Give the median; of two in the middle the smaller, as what is beyond the search has no mean."""
    return ordered[(len(ordered) - 1) // 2]


def first_failure(found: Result) -> float:
    """Give the first failure as a number: infinite if none was found, 0 if there is no machine."""
    if "missing" in found:
        return 0.0
    return float("inf") if found["first_failure"] is None else float(found["first_failure"])


def _failure(value: float, found: Sequence[Result]) -> str:
    if value == float("inf"):
        searched = min(one["searched"] for one in found if "missing" not in one and one["first_failure"] is None)
        return f"> {searched:,}"
    return "none" if value == 0 else f"{value:,.0f}"


def share_of_strings(found: Result, length: int) -> float:
    """Share of strings that are right at a length; 0 if there is no machine."""
    if "missing" in found:
        return 0.0
    return next(float(one["right"] / one["strings"]) for one in found["lengths"] if one["length"] == length)


def _percent(share: float) -> str:
    """Write a share; never 100 % if anything was wrong.

    Examples
    --------
    >>> _percent(1.0), _percent(0.99999), _percent(0.5)
    ('100 %', '99.99 %', '50 %')
    """
    if share < 1 and round(100 * share, 2) == 100:
        return "99.99 %"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"


# ---- one row ---------------------------------------------------------------------------------------------------------


def _section(row: Row, results: Sequence[Result]) -> str:
    lines = [
        f"### Row {row.key}: {row.language.title} (`{row.language_name}`, {_units(row)})\n",
        f"Published: {row.published}.\n",
        f"Aim, of the hardened network of every seed: {row.measure.text}.\n",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---|---|---|---|",
    ]
    lines += _by_length(row, results) if isinstance(row.measure, AtLengths) else _by_seed(results)
    passed = [
        f"{column} {sum(passes(row, one[column]) for one in results)} of {len(results)}" for column in COLUMNS
    ]  # fmt: skip
    lines += ["", f"Seeds that pass: {', '.join(passed)}. {_effort(results)}\n", f"{_horizons(results)}\n"]
    lines += [f"{text}\n" for text in _missing(results)]
    return "\n".join(lines)


def _by_seed(results: Sequence[Result]) -> list[str]:
    return [
        _line([f"first failure, seed {one['seed']}", *(_of_one(one[column]) for column in COLUMNS)]) for one in results
    ]


def _units(row: Row) -> str:
    return "1 unit" if row.hidden == 1 else f"{row.hidden} units"


def _of_one(found: Result) -> str:
    said = _failure(first_failure(found), [found])
    return said if found.get("kind") is None else f"{said} ({found['kind']})"


def _by_length(row: Row, results: Sequence[Result]) -> list[str]:
    assert isinstance(row.measure, AtLengths)
    lines = []
    for length in row.measure.lengths:
        cells = []
        for column in COLUMNS:
            shares = [share_of_strings(one[column], length) for one in results]
            cells.append(" / ".join(_percent(value) for value in (min(shares), median(shares), max(shares))))
        strings = next(
            (share["strings"] for one in results for share in one["trained"]["lengths"] if share["length"] == length), 0
        )
        lines.append(_line([f"strings right at {length:,} ({strings:,} a seed)", *cells]))
    length, cells = max(row.measure.target), []
    for column in COLUMNS:
        there = [one[column] for one in results if "missing" not in one[column]]
        shares = [next(s["symbols"] for s in one["lengths"] if s["length"] == length) for one in there]
        cells.append(
            " / ".join(_percent(value) for value in (min(shares), median(shares), max(shares))) if shares else "none"
        )
    return [*lines, _line([f"symbols right at {length:,}", *cells])]


def _effort(results: Sequence[Result]) -> str:
    seconds = [one["seconds"] for one in results]
    return (
        f"{sum(one['runs'] for one in results)} runs of training for {len(results)} seeds; {mean(seconds):,.1f} s a "
        f"seed, {sum(seconds):,.0f} s of all, and {sum(one['judging_seconds'] for one in results):,.0f} s to read, "
        "harden, prove and judge."
    )


def _horizons(results: Sequence[Result]) -> str:
    found = sorted(one["horizon"]["symbols"] for one in results if "missing" not in one["horizon"])
    if not found:
        return "Horizon: there is no hardened network."
    values = " / ".join(
        "without end" if value >= FARTHEST else f"{value:,}" for value in (found[0], _low_median(found), found[-1])
    )
    dtypes = {one["horizon"]["dtype"] for one in results if "missing" not in one["horizon"]}
    return f"Horizon of the hardened networks, symbols, proved in {' and '.join(sorted(dtypes))}: {values}."


def _hardened_units(results: Sequence[Result]) -> str:
    """Smallest, median and largest number of units that hardening took."""
    found = sorted(one["units"] for one in results if "units" in one)
    return f"{found[0]} / {_low_median(found)} / {found[-1]}" if found else "none"


def _missing(results: Sequence[Result]) -> list[str]:
    return [
        f"Seed {one['seed']} has no machine: {one['hardened']['missing']}."
        for one in results
        if "missing" in one["hardened"]
    ]


# ---- gates at their limits -------------------------------------------------------------------------------------------


def _gates(there: Rows) -> str:
    lines = [
        "## Row 11: gates at their limits\n",
        "Share of gate values within 0.01 of 0 or 1, on strings as they are learned, of networks that pass their row "
        "in that column: smallest / median / largest. Published: i .80, f .59, o .76 of a network for a^n b^n (Weiss, "
        "Goldberg and Yahav 2018, shipped network; measured). Aim: at least .999.\n",
        "| row | network | networks | " + " | ".join(GATES) + " |",
        "|---|---|---|" + "---|" * len(GATES),
    ]
    for row, results in there:
        for column in ("trained", "hardened"):
            shares = [one["saturated"][column] for one in results if passes(row, one[column])]
            if shares:
                cells = [_three([share[gate] for share in shares]) for gate in GATES]
                lines.append(_line([row.key, column, str(len(shares)), *cells]))
    return "\n".join([*lines, ""])


def _three(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.4f}" for value in (min(values), median(values), max(values)))
