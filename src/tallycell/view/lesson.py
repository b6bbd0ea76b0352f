"""The lesson: one file in which a class sees how an LSTM counts, breaks it, and counts to where float32 ends."""

from tallycell.machine.shipped import shipped_machine
from tallycell.view.machine_header import machine_header
from tallycell.view.machine_page import empty_header
from tallycell.view.page import Page, page_of_header

TITLE = "How an LSTM counts"
LANGUAGE = "anbn"


def lesson_page() -> Page:
    """Make the page of the lesson: its screens, one cell to play with, and the machine that counts aⁿbⁿ.

    The LSTM in it is what that machine compiles to; nobody trained it.

    Examples
    --------
    >>> page = lesson_page()
    >>> page.html.count("<script"), page.size < 300_000
    (2, True)
    """
    machine = machine_header(shipped_machine(LANGUAGE))
    return page_of_header(empty_header(TITLE) | {"lesson": True, "machine": machine})
