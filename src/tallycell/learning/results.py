"""The file of results: one row and one seed a line, as JSON.

What is no result of ours is refused by its line, and the file stays as it is. Whoever reads a result from here need not
look whether it is whole.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallycell.errors import FormatError, InputError
from tallycell.files import read_text, require_file, write_file
from tallycell.learning.rows import AtLengths, Row, rows
from tallycell.learning.scoring import COLUMNS, GATES
from tallycell.wording import one_line, quoted

Result = dict[str, Any]

LARGEST = 2**64  # of a number: more is none of ours, and may be too large to reckon with
# How each of our lines begins, piece by piece: what is written as it is, then what stands there.
_SEED = '", "seed": '
_BEGINNING = (('{"row": "', r'[^"\\]*'), (_SEED, r"\d*"), (', "settings": {', ".*"))


def read_results(path: Path) -> list[Result]:
    """Read all results; none if there is no file.

    A last line that was not finished when something stopped is left out.

    Raises
    ------
    FormatError
        If the file cannot be read, or a line is no result.
    """
    return _read(path).results


def open_results(path: Path) -> list[Result]:
    """Read all results, and have the file end with a whole line, so that others can be appended.

    A line that was not finished goes to the end of a file beside, ``NAME.torn``.

    Raises
    ------
    FormatError
        If the file cannot be read, or a line is no result; it is not changed then.
    InputError
        If a file cannot be written.
    """
    found = _read(path)
    if found.torn:
        aside = path.with_name(f"{path.name}.torn")
        before = b""
        if os.path.exists(aside):
            require_file(aside, InputError, "lines that were not finished")
            before = aside.read_bytes()
        write_file(aside, before + found.torn.encode() + b"\n")
    if found.torn or found.unended:
        write_file(path, found.whole.encode())
    return found.results


def append_result(path: Path, result: Result) -> None:
    """Append a result, and have it on disk.

    Raises
    ------
    InputError
        If the operating system refuses.
    """
    try:
        with path.open("ab") as file:
            file.write(json.dumps(result).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or one_line(error)}") from None


# ---- lines -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Content:
    results: list[Result]
    whole: str = ""  # the text of all results, each line ended
    torn: str = ""  # a last line that was not finished
    unended: bool = False  # whether the last result's line was not ended


def _read(path: Path) -> _Content:
    if not os.path.exists(path):
        return _Content([])
    *lines, last = read_text(path, FormatError, "results of tallycell scoreboard").split("\n")
    torn = last if _is_torn(last, among_ours=bool(lines)) else ""
    unended = bool(last and not torn)
    if unended:
        lines.append(last)
    return _Content(
        [_result(line, number, path) for number, line in enumerate(lines, 1)],
        "".join(f"{line}\n" for line in lines), torn, unended,
    )  # fmt: skip


def _is_torn(line: str, *, among_ours: bool) -> bool:
    """Whether a line without an end is the beginning of one of ours; alone in its file it has to show more of it."""
    try:
        json.JSONDecoder().raw_decode(line)
    except RecursionError:
        return False
    except ValueError:
        return bool(line) and _begins_as_ours(line) and (among_ours or _SEED in line)
    return False


def _begins_as_ours(line: str) -> bool:
    """Whether a line is as ours as far as it goes.

    Examples
    --------
    >>> [_begins_as_ours(line) for line in ('{"ro', '{"row": "1b", "se', '{"row": 1', '{"row": "1", "seed": 0}')]
    [True, True, False, False]
    """
    for written, free in _BEGINNING:
        if not line.startswith(written):
            return written.startswith(line)
        line = re.sub(f"^{free}", "", line.removeprefix(written), count=1)
    return not line


def _result(line: str, number: int, path: Path) -> Result:
    try:
        result = json.loads(line)
        _check_result(result)
        json.dumps(result, ensure_ascii=False).encode()  # half a character, written as an escape, has no UTF-8
    except (ValueError, RecursionError) as wrong:
        reason = "it is no JSON" if isinstance(wrong, json.JSONDecodeError | RecursionError) else one_line(wrong)
        raise FormatError(
            f"line {number} of {path} is no result of the scoreboard; give another file, or take the line out: {reason}"
        ) from None
    return dict(result)


# ---- what a result is ------------------------------------------------------------------------------------------------

Kind = tuple[str, Callable[[Any], bool]]  # in words, and whether a value is one

_TEXT: Kind = ("text", lambda x: isinstance(x, str))
_OBJECT: Kind = ("an object", lambda x: isinstance(x, dict))
_LIST: Kind = ("a list", lambda x: isinstance(x, list))
_YES_OR_NO: Kind = ("true or false", lambda x: isinstance(x, bool))
_ANY_NUMBER: Kind = ("a number", lambda x: type(x) in (int, float))
_AMOUNT: Kind = ("a number from 0 on", lambda x: type(x) in (int, float) and 0 <= x < LARGEST)
_SHARE: Kind = ("a number between 0 and 1", lambda x: type(x) in (int, float) and 0 <= x <= 1)
_WHOLE: Kind = ("a whole number from 0 on", lambda x: type(x) is int and 0 <= x < LARGEST)
_COUNT: Kind = ("a whole number from 1 on", lambda x: type(x) is int and 0 < x < LARGEST)
_FAILURE: Kind = ("a whole number from 1 on, or null", lambda x: x is None or _COUNT[1](x))
_FAILURE_KIND: Kind = ("text or null", lambda x: x is None or isinstance(x, str))

_RESULT = {
    "row": _TEXT, "seed": _WHOLE, "settings": _OBJECT, "runs": _WHOLE, "seconds": _AMOUNT, "loss": _ANY_NUMBER,
    **dict.fromkeys(COLUMNS, _OBJECT), "saturated": _OBJECT, "horizon": _OBJECT, "first_passes": _YES_OR_NO,
    "judging_seconds": _AMOUNT,
}  # fmt: skip
_MISSING = {"missing": _TEXT}
_REACH = {"first_failure": _FAILURE, "kind": _FAILURE_KIND, "searched": _WHOLE}
_LENGTHS = {"lengths": _LIST}
_AT_LENGTH = {"length": _COUNT, "strings": _COUNT, "right": _WHOLE, "symbols": _SHARE}
_HORIZON = {"symbols": _WHOLE, "dtype": _TEXT}
_SATURATED = dict.fromkeys(GATES, _SHARE)


def _check_result(result: Any) -> None:
    """Raise a ValueError, with the reason, if it is no result; one that the page shows has to have what it shows.

    A result of a row or of settings that are no longer in the table need not have what that row measures today.
    """
    _check("the result", result, _RESULT)
    row = _row_of(result)
    for column in COLUMNS:
        _check_column(column, result[column], row)
        if column != "snapped" and "missing" not in result[column]:  # a machine has no gates
            _check("'saturated'", result["saturated"], {column: _OBJECT})
            _check(f"'saturated' of {column!r}", result["saturated"][column], _SATURATED)
    _check("'horizon'", result["horizon"], _MISSING if "missing" in result["horizon"] else _HORIZON)
    if "units" in result:
        _check("the result", result, {"units": _WHOLE})


def _check_column(name: str, found: dict[str, Any], row: Row | None) -> None:
    where = repr(name)
    if "missing" in found and name != "trained":  # a network there always is
        _check(where, found, _MISSING)
        return
    by_length = "lengths" in found if row is None else isinstance(row.measure, AtLengths)
    _check(where, found, _LENGTHS if by_length else _REACH)
    for one in found["lengths"] if by_length else ():
        _check(f"a length of {where}", one, _AT_LENGTH)
        if one["right"] > one["strings"]:
            raise ValueError(f"{where} has {one['right']} strings right of {one['strings']}")
    if row is not None and isinstance(row.measure, AtLengths):
        _check_lengths(where, [one["length"] for one in found["lengths"]], row.measure.lengths)


def _check_lengths(where: str, found: Sequence[int], measured: Sequence[int]) -> None:
    for length in measured:
        if length not in found:
            raise ValueError(f"{where} has no length {length}, at which the row is measured")


def _check(where: str, given: Any, wanted: Mapping[str, Kind]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {quoted(given)}, expected an object")
    for name, (words, is_one) in wanted.items():
        if name not in given:
            raise ValueError(f"{where} has no {name!r}, expected {words}")
        if not is_one(given[name]):
            raise ValueError(f"{name!r} of {where} is {quoted(given[name])}, expected {words}")


def _row_of(result: Result) -> Row | None:
    """Give the row of the table whose result it is, as it is set now."""
    return next(
        (row for row in rows(slow=True) if row.key == result["row"] and row.settings == result["settings"]), None
    )
