"""The page's own programs: small modules of JavaScript, served as they are, or joined into one script for one file."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from tallycell.errors import FormatError

STATIC = files("tallycell") / "view" / "static"
ENTRY = "main.js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class) )", re.MULTILINE)
_NAME = re.compile(r"^(?:export )?(?:async )?(?:const|let|function\*?|class) ([A-Za-z_$][\w$]*)", re.MULTILINE)


@cache
def read_static(name: str) -> str:
    """Give the text of one of the page's files."""
    return (STATIC / name).read_text(encoding="utf-8")


def static_names() -> tuple[str, ...]:
    """Give the names of the page's files, sorted."""
    return tuple(sorted(Path(one.name).name for one in STATIC.iterdir() if one.name.endswith((".js", ".css"))))


def modules_in_order(entry: str = ENTRY) -> tuple[str, ...]:
    """Give the modules that one needs, each behind those that it imports, itself the last.

    Raises
    ------
    FormatError
        If modules import each other in a circle: joined, one of them would come too early.

    Examples
    --------
    >>> modules_in_order()[-1]
    'main.js'
    """
    done: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise FormatError(f"modules import each other in a circle: {' -> '.join((*above, name))}")
        if name not in done:
            for needed in _IMPORT.findall(read_static(name)):
                visit(needed, (*above, name))
            done.append(name)

    visit(entry, ())
    return tuple(done)


def names_of(name: str) -> tuple[str, ...]:
    """Give the names that stand at the top of a module; joined, no two modules may have the same."""
    return tuple(_NAME.findall(read_static(name)))


@cache
def joined(entry: str = ENTRY) -> str:
    """Give a module and all that it needs as one script, without imports and exports."""
    parts = [_EXPORT.sub("", _IMPORT.sub("", read_static(name))).strip() for name in modules_in_order(entry)]
    return '(() => {\n"use strict";\n' + "\n\n".join(parts) + "\n})();\n"
