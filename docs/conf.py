"""Sphinx configuration."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # percent.py, the reader of runnable pages

import tallycell

project = "tallycell"
author = "The tallycell founders"
copyright = author
version = release = tallycell.__version__

extensions = ["myst_parser", "percent", "sphinx.ext.autodoc", "numpydoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "conf.py", "percent.py", "make_lesson.py", "screenshots_of_the_page.py"]

html_theme = "furo"
html_title = "tallycell"
html_extra_path = ["lesson.html"]  # made by make_lesson.py

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # autodoc shows them
