"""A page of a counter machine alone, without a trace."""

from typing import Any

import tallycell
from tallycell.machine.counter_machine import CounterMachine
from tallycell.recogniser import Recogniser
from tallycell.view.bundle import FORMAT, VERSION
from tallycell.view.machine_header import machine_header
from tallycell.view.page import Page, page_of_header
from tallycell.wording import shown


def machine_page(machine: CounterMachine, network: Recogniser | None = None, title: str = "A counter machine") -> Page:
    """Make a page of a machine alone: its program, its diagram, and the cells of an LSTM that does the same.

    Parameters
    ----------
    machine, network
        As :func:`~tallycell.view.machine_header.machine_header` takes them.
    title
        What it is.

    Examples
    --------
    >>> from tallycell.machine import shipped_machine
    >>> "climbing" in machine_page(shipped_machine("anbn")).html
    True
    """
    return page_of_header(empty_header(title) | {"machine": machine_header(machine, network)})


def empty_header(title: str) -> dict[str, Any]:
    """Give the header of a page without a trace."""
    return {
        "format": FORMAT, "version": VERSION, "tallycell_version": tallycell.__version__, "about": [shown(title)],
        "lives": [], "sequences": [], "units": [], "kept": [], "arrays": [], "series": [], "symbols": None,
        "time": None, "head": None,
    }  # fmt: skip
