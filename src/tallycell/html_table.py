"""Small tables in HTML, for what notebooks show of a value; every text in them is escaped."""

from collections.abc import Iterable
from html import escape

from tallycell.wording import shown


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    r"""Give a table of two columns, as ``_repr_html_`` of a value wants it.

    Parameters
    ----------
    title
        What it is of.
    rows
        What and how much. Of a long text only the beginning is shown; what does not print, as an escape.

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
    return "\n".join(["<table>", f"<caption>{_cell(title)}</caption>", *lines, "</table>"])


def _cell(text: str) -> str:
    return escape(shown(text))
