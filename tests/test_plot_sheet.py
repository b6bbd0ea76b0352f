"""What holds of every picture: nothing is cut off or too small, names are plain text, colour is never alone."""

import io
import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba

import tallycell as tc
from plotted import HOSTILE, PICTURES, ROWS, TEXT, account, counting, effects, picture, texts
from tallycell.plot import (
    LanguageRow,
    Published,
    Span,
    plot_account,
    plot_effects,
    plot_lengths,
    plot_machine,
    plot_unit,
)  # fmt: skip
from tallycell.plot.lengths import LOOKS
from tallycell.plot.sheet import BLUE, FAINT, PAPER, VERMILION, folded, plain, sheet

NAMES = list(PICTURES)


def drawn(figure, **how):
    """The picture as an array of dots (row, column, colour), at 900 pixels."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, **how)
    file.seek(0)
    from matplotlib.image import imread

    return imread(file)


def luminance(colour):
    """Relative luminance, as WCAG 2.1 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_900_pixels_wide_on_an_opaque_ground(name):
    dots = drawn(picture(name))
    assert dots.shape[1] == 900
    assert dots.shape[2] == 3 or dots[..., 3].min() == 1.0  # the same on a light page and on a dark one
    assert dots[0, 0, :3].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off(name):
    figure = picture(name)
    drawn(figure)
    whole, renderer = figure.bbox, figure._get_renderer()
    for text in texts(figure):
        box = text.get_window_extent(renderer)
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= whole.x1 + 0.5 and box.y1 <= whole.y1 + 0.5
        assert inside, (text.get_text(), box)
    dots = drawn(figure)
    for edge in (dots[0], dots[-1], dots[:, 0], dots[:, -1]):
        assert edge[..., :3].min() == 1.0  # nothing runs over the edge of the sheet


@pytest.mark.parametrize("name", NAMES)
def test_letters_are_large_and_dark_enough(name):
    for text in texts(picture(name)):
        assert text.get_fontsize() >= 8, text.get_text()
        assert contrast(text.get_color(), PAPER) >= 4.5, text.get_text()


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("machine")])
def test_axes_say_what_they_measure(name):
    for axes in picture(name).axes:
        if axes.axison and axes.yaxis.get_visible():
            measures = [label.get_text() for label in axes.get_yticklabels() if label.get_visible()]
            words = any(any(letter.isalpha() for letter in one) for one in measures)
            neighbour = axes.get_subplotspec() is not None and not axes.get_subplotspec().is_first_col()
            assert axes.get_ylabel() or words or not measures or neighbour, name


def test_lines_that_lie_on_each_other_differ_without_colour():
    from plotted import lines

    figure = picture("unit")
    looks = {gid: lines(figure, gid)[0] for gid in ("cell", "tally", "quantity")}
    styles = [(one.get_linestyle(), one.get_linewidth()) for one in looks.values()]
    assert len(set(styles)) == 3
    assert looks["tally"].is_dashed()


def test_colours_that_stand_for_kinds_differ_in_grey_or_have_marks():
    assert len({look["marker"] for look in LOOKS.values()}) == 3
    greys = [luminance(colour) for colour in (BLUE, VERMILION, FAINT)]
    assert min(abs(a - b) for k, a in enumerate(greys) for b in greys[k + 1 :]) > 0.05


# ---- names -----------------------------------------------------------------------------------------------------------


def hostile_pictures():
    trace, reading, _ = counting()
    names = [HOSTILE[k % len(HOSTILE)] for k in range(len(TEXT))]
    depth = np.cumsum([1.0 if one == "(" else -1 for one in TEXT])
    distinct = tuple(f"{name}{k}" for k, name in enumerate(HOSTILE))
    size = len(HOSTILE)
    for name in (HOSTILE[0], HOSTILE[4]):
        unit = replace(reading.units[0], sentence=f"Counts {' '.join([name, *HOSTILE])}.")
        spans = Span(0, 20, name, {3: name})
        yield plot_unit(trace, unit, names, {name: depth}, spans=spans, beside=[name])
        yield plot_account(replace(account(), name=name), names[:90])
    yield plot_lengths([LanguageRow(name, (3.0,), (3.0,), 9, (2.0,), (Published(5, name),)) for name in HOSTILE])
    yield plot_effects(effects(distinct, HOSTILE[0], distinct[:2]))
    yield plot_effects(effects(distinct, HOSTILE[4], distinct[3:5]))
    machine = tc.CounterMachine(
        distinct, distinct, (), (), np.tile(np.arange(size)[:, np.newaxis], (size, 1, 1)),
        np.zeros((size, size, 1, 0), bool), np.zeros((size, size, 1, 0), int), distinct, np.ones((size, 1, size), bool),
    )  # fmt: skip
    yield plot_machine(machine, graphviz=False)
    yield plot_machine(machine)


def test_hostile_names_are_written_as_the_letters_they_are_made_of():
    for figure in hostile_pictures():
        drawn(figure)
        whole, renderer = figure.bbox, figure._get_renderer()
        for text in texts(figure):
            assert text.get_text().replace("\n", "").isprintable()
            assert "$" not in text.get_text() or not text.get_parse_math()
            assert len(text.get_text()) <= 700
            box = text.get_window_extent(renderer)
            assert box.x1 - box.x0 <= whole.width, text.get_text()


def test_a_dollar_is_a_dollar(tmp_path):
    with sheet(1.0) as figure:
        figure.text(0.1, 0.5, "$x$")
    with sheet(1.0) as longer:
        longer.text(0.1, 0.5, "x")
    widths = [one.texts[0].get_window_extent(one._get_renderer()).width for one in (figure, longer)]
    assert widths[0] > 2 * widths[1]


def test_plain_text_is_cut_and_escaped():
    assert plain("ab") == "ab"
    assert plain("") == '""'
    assert plain("\x1b" * 100, 20) == "\\x1b" * 5 + "…"
    assert plain("a" * 10_000) == "a" * 40 + "…"
    assert plain("\U0010fffd" + "b") == "\\U0010fffdb"  # no font has it
    assert folded("word " * 1000, 20, 2).count("\n") == 1


# ---- what surrounds it -----------------------------------------------------------------------------------------------


def test_the_style_of_a_program_neither_changes_a_picture_nor_is_changed():
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "font.size": 30, "text.usetex": True}):
        before = dict(mpl.rcParams)
        dots = drawn(plot_lengths(ROWS))
        assert dict(mpl.rcParams) == before
    np.testing.assert_array_equal(dots, drawn(plot_lengths(ROWS)))


def test_an_error_while_drawing_leaves_the_style_alone():
    before = dict(mpl.rcParams)
    with pytest.raises(ValueError, match="stop"), sheet(1.0):
        raise ValueError("stop")
    assert dict(mpl.rcParams) == before


def test_neither_matplotlib_nor_pyplot_comes_with_the_room():
    code = (
        "import sys, tallycell.plot\nassert 'matplotlib' not in sys.modules\n"
        "from tallycell.plot import LanguageRow, plot_lengths\nplot_lengths([LanguageRow('a', (1.0,), (2.0,), 9)])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(tc.errors.MissingExtraError, match=r"pip install 'tallycell\[plot\]'"):
        plot_lengths(ROWS)


def test_the_ground_is_white():
    for name in NAMES:
        assert to_rgba(picture(name).get_facecolor()) == to_rgba(PAPER)
