"""Runnable pages: a Python file in the percent format becomes a page, each cell followed by what it prints.

``# %% [markdown]`` opens a cell of comments, read as Markdown; ``# %%`` opens a cell of code, which is run. A page
whose code raises does not build.
"""

import contextlib
import io
import re
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)


def to_markdown(source: str) -> str:
    """Run a percent file; give its prose, its code and its output as one Markdown page."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    parts = []
    _, *cells = CELL.split(source)  # what stands before the first cell is no cell
    for kind, body in zip(cells[::2], cells[1::2], strict=True):
        if kind.strip() == "[markdown]":
            parts.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE))
            continue
        code = body.strip()
        parts.append(f"```python\n{code}\n```\n")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "<cell>", "exec"), namespace)
        if printed.getvalue():
            parts.append(f"```text\n{printed.getvalue().rstrip()}\n```\n")
    return "\n".join(parts)


class PercentParser(MystParser):
    """Reads a percent file as the Markdown that it makes."""

    supported = ("percent",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Run the file and parse the page."""
        super().parse(to_markdown(inputstring), document)


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx read .py files among the pages."""
    app.add_source_suffix(".py", "percent")
    app.add_source_parser(PercentParser)
    return {"parallel_read_safe": True}
