"""Pictures: one function for each question, from the values that other rooms make to a matplotlib Figure.

None of them knows of pyplot or changes what a program has set for its own pictures.
"""

from tallycell.plot.account import plot_account
from tallycell.plot.effects import plot_effects
from tallycell.plot.lengths import LanguageRow, Published, plot_lengths
from tallycell.plot.machine import plot_machine
from tallycell.plot.saturation import plot_saturation
from tallycell.plot.saving import require_picture, save_picture
from tallycell.plot.unit import Span, plot_unit

__all__ = [
    "LanguageRow",
    "Published",
    "Span",
    "plot_account",
    "plot_effects",
    "plot_lengths",
    "plot_machine",
    "plot_saturation",
    "plot_unit",
    "require_picture",
    "save_picture",
]
