"""Runnable pages: a Python file in the percent format becomes a page, each cell followed by what it prints.

``# %% [markdown]`` opens a cell of comments, read as Markdown; ``# %%`` opens a cell of code, which is run. A page
whose code raises does not build. One that lacks what it needs, such as data, says so with ``raise SystemExit("skipped:
REASON")``: it builds with a note in place of the output, and what stands behind is shown but not run.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)
SKIPPED = "skipped: "


def to_markdown(source: str, path: str = "<page>", *, run: bool = True) -> str:
    """Run a percent file, unless it is only to be shown; give its prose, its code and its output as one page."""
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(Path(path).absolute())}
    parts = []
    skipped = not run
    _, *cells = CELL.split(source)  # what stands before the first cell is no cell
    for kind, body in zip(cells[::2], cells[1::2], strict=True):
        if kind.strip() == "[markdown]":
            parts.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE))
            continue
        code = body.strip()
        parts.append(f"```python\n{code}\n```\n")
        if skipped:
            continue
        printed, reason = run_cell(code, namespace)
        skipped = reason is not None
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```\n")
        if skipped:
            parts.append(f"```{{note}}\nNot run here: {reason}\n```\n")
    return "\n".join(parts)


def run_cell(code: str, namespace: dict[str, Any]) -> tuple[str, str | None]:
    """Run a cell; give what it printed, and why it skips the rest of the page, None if it does not."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(code, "<cell>", "exec"), namespace)
        except SystemExit as stop:
            if not str(stop).startswith(SKIPPED):
                raise RuntimeError(f"the page ends itself: {stop}") from stop  # else the whole build would end
            return printed.getvalue(), str(stop).removeprefix(SKIPPED)
    return printed.getvalue(), None


class PercentParser(MystParser):
    """Reads a percent file as the Markdown that it makes."""

    supported = ("percent",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Run the file and parse the page."""
        run = bool(document.settings.env.config.percent_run)
        super().parse(to_markdown(inputstring, document["source"], run=run), document)


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx read .py files among the pages."""
    app.add_source_suffix(".py", "percent")
    app.add_source_parser(PercentParser)
    app.add_config_value("percent_run", True, "env")  # -D percent_run=0 builds the pages without running them
    return {"parallel_read_safe": True}
