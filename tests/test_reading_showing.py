"""Which stretch of a unit is shown: one rule for the ruler and for the picture, however much each has room for."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import tallycell as tc
from tallycell.cli.ruler import print_ruler, symbol_at
from tallycell.input import Input
from tallycell.reading.showing import BLANKS, find_liveliest

SIZES = (8, 24, 25, 36, 60, 91, 92, 93, 150, 399)


def cells(count=60, steps=400):
    """Cells that stand still for the most part."""
    draw = np.random.default_rng(0)
    for _ in range(count):
        moves = draw.normal(size=steps) * (draw.random(steps) < draw.choice([0.05, 0.5]))
        yield np.cumsum(moves)


def stretch(c, size, beside=None):
    begin = find_liveliest(c, size, beside)
    return range(begin, begin + size)


def within(inner, outer):
    return outer.start <= inner.start and inner.stop <= outer.stop


@pytest.mark.parametrize("followed", [False, True])
def test_whoever_shows_more_shows_the_same_and_what_is_around_it(followed):
    draw = np.random.default_rng(1)
    for c in cells():
        beside = draw.normal(size=len(c)) if followed else None
        for size in SIZES:
            assert within(stretch(c, size, beside), range(len(c)))
            if size >= 92:
                assert within(stretch(c, 92, beside), stretch(c, size, beside))
            if size >= 24:
                assert within(stretch(c, 24, beside), stretch(c, size, beside))
            else:
                assert within(stretch(c, size, beside), stretch(c, 24, beside))


def moved(values):
    return pd.Series(np.abs(np.diff(values, prepend=values[0])) * (1 + np.abs(values)))


def test_the_stretch_is_the_one_that_rolling_sums_of_pandas_find():
    for c in cells():
        letters = moved(c).rolling(92).sum().to_numpy()
        assert letters[find_liveliest(c, 92) + 91] == pytest.approx(np.nanmax(letters))
        inside = moved(c).rolling(24).sum().to_numpy()[find_liveliest(c, 92) + 23 : find_liveliest(c, 92) + 92]
        assert inside[find_liveliest(c, 24) - find_liveliest(c, 92)] == pytest.approx(inside.max())


def test_where_a_quantity_stands_still_nothing_is_lively():
    c = np.tile([0.0, 1], 500)
    beside = np.where((np.arange(1000) > 700) & (np.arange(1000) < 760), np.arange(1000) % 2, np.nan)
    assert within(range(705, 755), stretch(c, 92, beside))
    assert find_liveliest(c, 92) < 10


@pytest.mark.parametrize("size", [5, 6, 1000])
def test_a_cell_that_is_shown_whole_is_shown_from_its_first_step(size):
    assert find_liveliest(np.arange(5.0), size) == 0


def test_a_cell_that_never_moves_is_shown_from_its_first_step():
    assert find_liveliest(np.zeros(1000), 92) == 0


# ---- the ruler and the picture ---------------------------------------------------------------------------------------

STILL, DEEP = "()" * 700, "(" * 12 + ")" * 12
TEXT = STILL + DEEP + "()" * 40 + STILL


def bracket_counter(tokens):
    """A trace of a cell that is as deep as the brackets; what was read, and the reading of it."""
    big = 100.0
    parameters = tc.LSTMParameters(
        {"weight_ih_l0": np.array([[0, 0], [0, 0], [big, -big], [0, 0]]), "weight_hh_l0": np.zeros((4, 1)),
         "bias_ih_l0": np.array([big, big, 0, big]), "bias_hh_l0": np.zeros(4)}
    )  # fmt: skip
    opens = np.array([token in ("(", "open") for token in tokens], dtype=float)
    x = np.stack([opens, 1 - opens], axis=1)
    trace = tc.record_trace(parameters, x)
    return trace, Input(x, "brackets", "brackets", tokens=list(tokens), quantities={"depth": np.cumsum(2 * opens - 1)})


def steps_of_both(trace, given):
    """The steps that the ruler prints, and those that the picture draws."""
    from tallycell.plot.life import live

    unit = tc.read_units(trace, given).units[0]
    out = io.StringIO()
    print_ruler(Console(file=out, width=80), given, trace, unit, rows=1)
    begin, last = map(int, re.match(r"Steps (\d+) to (\d+)", out.getvalue()).groups())
    drawn = live(trace, unit, given, None, 0).liveliest(None if unit.follows is None else unit.follows.quantity)
    return range(begin, last + 1), range(drawn.begin, drawn.end)


def test_of_letters_the_ruler_prints_what_is_drawn_and_what_is_around():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    printed, drawn = steps_of_both(*bracket_counter(TEXT))
    assert within(drawn, printed)
    assert within(range(1402, 1422), drawn)


def test_of_words_the_picture_draws_what_is_printed_and_what_is_around():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    printed, drawn = steps_of_both(*bracket_counter([{"(": "open"}.get(one, "shut") for one in TEXT]))
    assert within(printed, drawn)
    assert len(set(printed) & set(range(1400, 1424))) > 20


def test_a_letter_that_no_font_has_leaves_both_at_the_same_stretch():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    printed, drawn = steps_of_both(*bracket_counter("\x07" + TEXT[1:]))
    assert len(drawn) == 36
    assert within(drawn, printed)


def test_a_quantity_of_several_sequences_is_laid_under_the_first():
    trace, given = bracket_counter("()" * 50)
    x = np.stack([np.asarray(given.x)] * 2, axis=1)
    depth = np.stack([given.quantities["depth"], np.arange(100.0)])
    both = Input(x, "two", "two", tokens=[given.tokens] * 2, quantities={"depth": depth})
    trace = tc.record_trace(tc.LSTMParameters(
        {"weight_ih_l0": np.array([[0, 0], [0, 0], [9.0, -9], [0, 0]]), "weight_hh_l0": np.zeros((4, 1)),
         "bias_ih_l0": np.array([9.0, 9, 0, 9]), "bias_hh_l0": np.zeros(4)}), x)  # fmt: skip
    out = io.StringIO()
    print_ruler(Console(file=out, width=120), both, trace, tc.read_units(trace, both).units[0], rows=1)
    rows = {
        line.split()[0]: line.split()[1] for line in out.getvalue().splitlines() if line.startswith(("cell", "depth"))
    }
    assert set(rows) == {"cell", "depth"}
    assert rows["cell"] == rows["depth"]


@pytest.mark.parametrize("blank", list(BLANKS))
def test_a_blank_has_one_mark_wherever_it_is_shown(blank):
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    from tallycell.plot.life import mark_of

    assert symbol_at([blank], 0) == mark_of(blank) == {"\n": "⏎", "\t": "⇥"}[blank]
    assert symbol_at([" "], 0) == mark_of(" ") == " "
