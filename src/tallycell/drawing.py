"""The pictures of a value as its methods: the room that draws stands above all values, and is loaded when asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(name: str, *values: Any, **how: Any) -> "Figure":
    r"""Call ``tallycell.plot.plot_NAME``.

    Examples
    --------
    >>> from tallycell import parse
    >>> type(draw("machine", parse("alphabet a\nstate s:\n  on a\n  accept"))).__name__
    'Figure'
    """
    figure: Figure = getattr(import_module("tallycell.plot"), f"plot_{name}")(*values, **how)
    return figure
