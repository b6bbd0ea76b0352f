"""Small tables in HTML, for what notebooks show of a value; every text in them is escaped."""

from collections.abc import Iterable
from html import escape

from tallycell.wording import shown

LONGEST = 2000  # characters of a cell: a sentence that names a few things is shorter


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    r"""Give a table of two columns, what and how much, as ``_repr_html_`` of a value wants it.

    Examples
    --------
    >>> print(html_table("Model", [("layers", "2"), ("<b>", "\x1b")]))
    <table>
    <caption>Model</caption>
    <tr><th scope="row">layers</th><td>2</td></tr>
    <tr><th scope="row">&lt;b&gt;</th><td>\x1b</td></tr>
    </table>
    """
    lines = (f'<tr><th scope="row">{_cell(name)}</th><td>{_cell(value)}</td></tr>' for name, value in rows)
    return _table(title, lines)


def html_grid(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Give a table with a head over each column.

    Examples
    --------
    >>> print(html_grid("Units", ("unit", "role"), [("0.27", "counter")]))
    <table>
    <caption>Units</caption>
    <tr><th>unit</th><th>role</th></tr>
    <tr><td>0.27</td><td>counter</td></tr>
    </table>
    """
    head = "".join(f"<th>{_cell(one)}</th>" for one in heads)
    lines = ("".join(f"<td>{_cell(one)}</td>" for one in row) for row in rows)
    return _table(title, (f"<tr>{cells}</tr>" for cells in (head, *lines)))


def _table(title: str, lines: Iterable[str]) -> str:
    return "\n".join(["<table>", f"<caption>{_cell(title)}</caption>", *lines, "</table>"])


def _cell(text: str) -> str:
    """Escape a text; of a very long one only the beginning is shown, what does not print as an escape."""
    return escape(shown(text, LONGEST)) if text else ""
