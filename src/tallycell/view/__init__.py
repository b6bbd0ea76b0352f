"""See it: a reading with its trace as one page, in a file, from a server on this machine, or in a notebook."""

from tallycell.view.bundle import Bundle, bundle_of, with_machine
from tallycell.view.lesson import lesson_page
from tallycell.view.machine_page import machine_page
from tallycell.view.page import Frame, Page, frame_of, page_of, write_page

__all__ = [
    "Bundle",
    "Frame",
    "Page",
    "bundle_of",
    "frame_of",
    "lesson_page",
    "machine_page",
    "page_of",
    "with_machine",
    "write_page",
]
