"""Sphinx configuration."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # percent.py, the reader of runnable pages

import tallycell
from tallycell.view.lesson import lesson_page

project = "tallycell"
author = "The tallycell founders"
copyright = author
version = release = tallycell.__version__

extensions = ["myst_parser", "percent", "sphinx.ext.autodoc", "numpydoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "conf.py", "percent.py", "make_lesson.py", "screenshots_of_the_page.py"]

html_theme = "furo"
html_title = "tallycell"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # autodoc shows them


def write_lesson(app, error) -> None:
    """Write the lesson beside the pages: one file, made of the page's own programs."""
    if error is None and app.builder.format == "html":
        lesson_page().write(Path(app.outdir) / "lesson.html")


def setup(app) -> None:
    """Have it written when the pages are."""
    app.connect("build-finished", write_lesson)
