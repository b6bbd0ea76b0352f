"""What a reading says of long inputs and of drifting ones: a fit on a part of the steps, and no spurious following."""

from itertools import pairwise

import numpy as np
import pytest

import tallycell as tc
from tallycell.parameters import Activations
from tallycell.reading import cells
from tallycell.reading.cells import Cell
from tallycell.reading.following import find_followed
from tallycell.reading.tally import climb


def cell(i, f, g, lengths=None, c_0=0.0):
    """A cell that does what its gates say."""
    lengths = [len(i)] if lengths is None else lengths
    start = np.concatenate([[0], np.cumsum(lengths)])
    c = np.empty(len(i))
    for begin, end in pairwise(start.tolist()):
        value = c_0
        for t in range(begin, end):
            value = f[t] * value + i[t] * g[t]
            c[t] = value
    return Cell(0, "forward", 0, i, f, g, c, start, np.full(len(lengths), c_0), Activations())


def random_cell(steps, seed=0, **options):
    draw = np.random.default_rng(seed)
    i, g = draw.uniform(size=steps), np.tanh(draw.normal(size=steps))
    return cell(i, draw.uniform(0.2, 1, steps), g, **options)


def test_all_of_the_first_half_is_fitted_on_where_it_is_short():
    one = random_cell(1_001)
    part = one.fitting_part()
    np.testing.assert_array_equal(part.c, one.c[:500])
    assert part.start.tolist() == [0, 500]
    several = random_cell(60, lengths=[10, 20, 25, 5], c_0=0.25)
    part = several.fitting_part()
    np.testing.assert_array_equal(part.f, several.f[:30])
    assert part.start.tolist() == [0, 10, 30]
    assert part.c_0.tolist() == [0.25, 0.25]


def test_of_a_long_half_whole_stretches_are_fitted_on(monkeypatch):
    monkeypatch.setattr(cells, "MOST_FITTED", 300)
    monkeypatch.setattr(cells, "STRETCH", 50)
    one = random_cell(4_000)
    part = one.fitting_part()
    assert len(part.c) == 300
    first = [int(np.flatnonzero(one.c == value)[0]) for value in part.c[part.start[:-1]]]
    assert first[0] == 0
    assert first[-1] == 1_950  # the last stretch of the half
    assert max(np.diff(first)) <= 2 * 2_000 / 6  # spread evenly
    for begin, (a, b) in zip(first, zip(part.start[:-1], part.start[1:], strict=True), strict=True):
        np.testing.assert_array_equal(part.f[a:b], one.f[begin : begin + 50])
    # Each starts from the cell as it was before, so that it is a whole run of its own.
    np.testing.assert_array_equal(part.c_0, [0.0 if begin == 0 else one.c[begin - 1] for begin in first])
    np.testing.assert_allclose(part.c[0::50], part.f[0::50] * part.c_0 + (part.i * part.g)[0::50], atol=1e-15)


def test_sequences_that_are_short_are_taken_whole_or_not_at_all(monkeypatch):
    monkeypatch.setattr(cells, "MOST_FITTED", 100)
    part = random_cell(1_000, lengths=[20] * 50).fitting_part()
    assert np.diff(part.start).tolist() == [20] * 5


def test_tally_fitted_on_a_part_is_quoted_on_all_of_the_second_half(monkeypatch):
    one = random_cell(40_000)
    whole = climb(one)
    monkeypatch.setattr(cells, "MOST_FITTED", 4_000)
    monkeypatch.setattr(cells, "STRETCH", 400)
    part = climb(one)
    assert len(part[-1].write_codes) == 40_000
    for a, b in zip(whole, part, strict=True):
        # A tenth of the steps: the levels err by three times as much, which costs R² less than a point.
        assert b.r2 == pytest.approx(a.r2, abs=0.01)
    assert any(not np.array_equal(a.write_levels, b.write_levels) for a, b in zip(whole, part, strict=True))


def walk(draw, steps):
    return np.cumsum(draw.normal(size=steps))


def following(c, quantities):
    one = Cell(0, "forward", 0, c, c, c, c, np.array([0, len(c)]), np.zeros(1), Activations())
    return find_followed(one, quantities)


@pytest.mark.parametrize("steps", [160, 1_000])
def test_a_random_walk_follows_no_other(steps):
    draw = np.random.default_rng(0)
    found = [following(walk(draw, steps), {str(k): walk(draw, steps) for k in range(6)}) for _ in range(300)]
    # Correlation alone passes some 120 of 300; the measured rate is one in a hundred.
    assert sum(one is not None for one in found) <= 9


@pytest.mark.parametrize("steps", [160, 1_000])
def test_a_walk_is_followed_through_noise_and_by_its_opposite(steps):
    draw = np.random.default_rng(1)
    for sign in (1, -1):
        found = []
        for _ in range(50):
            leader = walk(draw, steps)
            found.append(following(sign * leader + draw.normal(size=steps), {"it": leader, "other": walk(draw, steps)}))
        right = [one for one in found if one is not None and one.quantity == "it" and sign * one.correlation > 0.5]
        assert len(right) >= 45  # in the others another walk is nearer, or the walk hardly moves


def test_a_sign_that_changes_between_the_halves_is_no_following():
    draw = np.random.default_rng(2)
    quantity = draw.normal(size=2_000)
    c = np.concatenate([0.5 * quantity[:1_000], -2 * quantity[1_000:]])
    assert following(c, {"q": quantity}) is None
    assert following(np.abs(c) * np.sign(quantity), {"q": quantity}).quantity == "q"


def test_movements_do_not_reach_from_one_sequence_into_the_next():
    """Within each sequence the cell stands; that it stands higher where the quantity does is not seen to move."""
    levels = np.repeat(np.arange(40.0), 50)
    noise = np.random.default_rng(3).normal(size=(2, 2_000)) * 1e-3
    start = np.arange(0, 2_001, 50)
    c = levels + noise[0]
    one = Cell(0, "forward", 0, c, c, c, c, start, np.zeros(40), Activations())
    assert find_followed(one, {"q": levels + noise[1]}) is None


def test_quantities_are_the_triggers_where_the_trace_keeps_no_input():
    big = 100.0
    weights = {"weight_ih_l0": np.array([[0.0], [0], [big], [0]]), "weight_hh_l0": np.zeros((4, 1)),
               "bias_ih_l0": np.array([big, -big, 0, big]), "bias_hh_l0": np.zeros(4)}  # fmt: skip
    x = np.random.default_rng(4).normal(size=(500, 1))
    variables = ("i", "f", "g", "o", "c", "h")
    trace = tc.record_trace(tc.LSTMParameters(weights), x, record=tc.Record(variables))
    (unit,) = tc.read_units(trace, quantities={"wind": x[:, 0]}).units
    assert [one.stimulus for one in unit.triggers["increment"]] == ["high wind"]
    assert [one.stimulus for one in unit.triggers["decrement"]] == ["low wind"]
    with_input = tc.read_units(tc.record_trace(tc.LSTMParameters(weights), x), quantities={"wind": x[:, 0]})
    assert [one.stimulus for one in with_input.units[0].triggers["increment"]] == ["high x[0]"]


def test_memory_is_what_theory_says_of_simple_cells():
    """The steps in which what is held is forgotten to 1/e, on average; what is not there cannot be forgotten."""
    draw = np.random.default_rng(0)
    write = draw.choice([-1.0, 0.0, 1.0], 4000)
    on = np.ones(4000)
    assert cell(on, 0.7 * on, write).memory() == pytest.approx(-1 / np.log(0.7))
    assert cell(on, on, write).memory() == np.inf
    resets = np.where(np.arange(4000) % 40 == 39, 0.0, 1.0)
    assert cell(on, resets, on).memory() == pytest.approx(20, rel=0.05)  # it counts to 40, and carries 20 on average
    assert cell(on, 0 * on, write).memory() == pytest.approx(1)
    # A store of the winter that is emptied in spring, and written without end while it keeps nothing in summer.
    winter = np.arange(4000) % 365 < 120
    snow = cell(on, np.where(winter, 0.99, 0.3), np.where(winter, draw.random(4000) < 0.3, -0.35))
    assert 20 < snow.memory() < 60  # about a third of the winter; the summer, when it stands at rest, does not count
    assert snow.time_constant(snow.f > 0.5) == pytest.approx(-1 / np.log(0.99), rel=1e-6)


def test_a_lag_that_was_chance_on_the_first_half_is_not_quoted():
    """The cell is 5 steps late on the first half, and not late on the second."""
    draw = np.random.default_rng(0)
    level = np.convolve(draw.normal(size=2012), np.ones(8) / 8, "valid")
    ones = np.ones(2000)
    late = np.concatenate([level[:1000], level[1005:]])
    one = Cell(0, "forward", 0, ones, ones, ones, late, np.array([0, 2000]), np.zeros(1), Activations())
    found = find_followed(one, {"level": level[5:]})
    assert (found.lag, found.correlation) == (0, pytest.approx(1))
    fast = draw.normal(size=2005)
    smooth = np.convolve(fast, np.ones(3) / 3, "same")
    behind = Cell(0, "forward", 0, ones, ones, ones, smooth[:2000], np.array([0, 2000]), np.zeros(1), Activations())
    found = find_followed(behind, {"near": smooth[1:2001], "noise": draw.normal(size=2000)})
    assert (found.quantity, found.lag) == ("near", 1)
    assert found.correlation == pytest.approx(1)
