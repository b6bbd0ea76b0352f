"""The pictures and the text of a value as its methods: what draws and writes them stands above it, loaded if asked."""

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


def view(name: str, *values: Any, **how: Any) -> Any:
    """Call a function of ``tallycell.view``, which makes pages.

    Examples
    --------
    >>> view("page_of", None)
    Traceback (most recent call last):
    AttributeError: 'NoneType' object has no attribute 'arrays'
    """
    return getattr(import_module("tallycell.view"), name)(*values, **how)


def write(machine: Any) -> str:
    r"""Call ``tallycell.machine.format_machine``.

    Examples
    --------
    >>> from tallycell import parse
    >>> print(write(parse("alphabet a\nstate s:\n  on a\n  accept")))
    alphabet a
    <BLANKLINE>
    state s:
      on a  hold
      accept
    """
    text: str = import_module("tallycell.machine").format_machine(machine)
    return text
