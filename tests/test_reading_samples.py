"""What a reading says of long inputs and of drifting ones: a fit on a part of the steps, and no spurious following."""

import numpy as np
import pytest

import tallycell as tc
from reading_cells import make_cell, of
from tallycell.reading import cells
from tallycell.reading.cells import spread_stretches
from tallycell.reading.first_pass import fit_with_pairs
from tallycell.reading.following import find_followed, movement_sums, pair_sums
from tallycell.reading.known import read_known


def random_cell(steps, seed=0, lengths=None, c_0=0.0):
    draw = np.random.default_rng(seed)
    i, g = draw.uniform(size=steps), np.tanh(draw.normal(size=steps))
    start = np.concatenate([[0], np.cumsum([steps] if lengths is None else lengths)])
    return make_cell(i, draw.uniform(0.2, 1, steps), g, start=start, c_0=np.full(len(start) - 1, c_0))


def fitting_part(cell):
    return cell.take(*spread_stretches(cell.start, 0, cells.middle_step(np.diff(cell.start))))


def test_all_of_the_first_half_is_fitted_on_where_it_is_short():
    one = random_cell(1_001)
    part = fitting_part(one)
    np.testing.assert_array_equal(of(part, "c"), of(one, "c")[:500])
    assert part.start.tolist() == [0, 500]
    several = random_cell(60, lengths=[10, 20, 25, 5], c_0=0.25)
    part = fitting_part(several)
    np.testing.assert_array_equal(of(part, "f"), of(several, "f")[:30])
    assert part.start.tolist() == [0, 10, 30]
    assert of(part, "c_0").tolist() == [0.25, 0.25]


def test_of_a_long_half_whole_stretches_are_fitted_on(monkeypatch):
    monkeypatch.setattr(cells, "MOST_FITTED", 300)
    monkeypatch.setattr(cells, "STRETCH", 50)
    one = random_cell(4_000)
    c, part = of(one, "c"), fitting_part(one)
    i, f, g, taken = (of(part, name) for name in "ifgc")
    assert len(taken) == 300
    first = [int(np.flatnonzero(c == value)[0]) for value in taken[part.start[:-1]]]
    assert first[0] == 0
    assert first[-1] == 1_950  # the last stretch of the half
    assert max(np.diff(first)) <= 2 * 2_000 / 6  # spread evenly
    for begin, (a, b) in zip(first, zip(part.start[:-1], part.start[1:], strict=True), strict=True):
        np.testing.assert_array_equal(f[a:b], of(one, "f")[begin : begin + 50])
    # Each starts from the cell as it was before, so that it is a whole run of its own.
    np.testing.assert_array_equal(of(part, "c_0"), [0.0 if begin == 0 else c[begin - 1] for begin in first])
    np.testing.assert_allclose(taken[0::50], f[0::50] * of(part, "c_0") + (i * g)[0::50], atol=1e-15)


def test_sequences_that_are_short_are_taken_whole_or_not_at_all(monkeypatch):
    monkeypatch.setattr(cells, "MOST_FITTED", 100)
    part = fitting_part(random_cell(1_000, lengths=[20] * 50))
    assert np.diff(part.start).tolist() == [20] * 5


def read_random(steps=40_000):
    draw = np.random.default_rng(0)
    weights = {
        "weight_ih_l0": draw.normal(size=(8, 1)),
        "weight_hh_l0": np.zeros((8, 2)),
        "bias_ih_l0": np.repeat([0.0, 2, 0, 0], 2),
    }
    weights |= {"bias_hh_l0": np.zeros(8)}
    x = draw.normal(size=(steps, 1))
    return tc.read_units(tc.record_trace(tc.LSTMParameters(weights), x), quantities={"x": x[:, 0]})


def test_tally_fitted_on_a_part_is_quoted_on_all_of_the_second_half(monkeypatch):
    whole = read_random()
    monkeypatch.setattr(cells, "MOST_FITTED", 4_000)
    monkeypatch.setattr(cells, "STRETCH", 400)
    part = read_random()
    for a, b in zip(whole.units, part.units, strict=True):
        # A tenth of the steps: the levels err by three times as much, which costs R² less than a point.
        both = [(one.r2, other.r2) for one, other in zip(a.ladder, b.ladder, strict=True) if one.r2 > 0.5]
        assert len(both) >= 3
        assert [one for one, _ in both] == pytest.approx([other for _, other in both], abs=0.01)
        assert a.ladder[-1].write_levels != b.ladder[-1].write_levels
        # Where the cell rests is a mean of 4,000 steps: memory, which is measured from there, errs by 1 in 60.
        assert (a.memory, a.exposure) == (pytest.approx(b.memory, rel=0.05), b.exposure)


def walk(draw, steps):
    return np.cumsum(draw.normal(size=steps))


def following(c, quantities, start=None):
    start = np.array([0, len(c)]) if start is None else start
    middle = cells.middle_step(np.diff(start))
    values = np.stack(list(quantities.values()), axis=1)
    halves = [
        pair_sums(c[:, np.newaxis], values, part.tolist())[0] for part in (start.clip(0, middle), start.clip(middle))
    ]
    along = movement_sums(c[:, np.newaxis], values, start.tolist())[0]
    return find_followed(list(quantities), [""] * len(quantities), np.stack(halves), along)


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
    assert following(c, {"q": levels + noise[1]}, start) is None


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


def memory_of(f, write):
    """Memory, and the memory without resets, of a cell that is given by its gates."""
    trace = tc.record_trace(
        tc.LSTMParameters({"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}), np.ones((len(f), 1))
    )
    cell = make_cell(np.ones(len(f)), f, write)
    for name in "ifgc":
        trace[name] = trace[name].copy(data=of(cell, name).reshape(trace[name].shape))
    known = read_known(trace, None, None, None)
    _, (_, (judged,)) = fit_with_pairs(known)
    behaviour = judged.behaviour
    return behaviour.memory, behaviour.time_constant


def test_memory_is_what_theory_says_of_simple_cells():
    """The steps in which what is held is forgotten to 1/e, on average; what is not there cannot be forgotten."""
    draw = np.random.default_rng(0)
    write = draw.choice([-1.0, 0.0, 1.0], 4000)
    on = np.ones(4000)
    assert memory_of(0.7 * on, write)[0] == pytest.approx(-1 / np.log(0.7))
    assert memory_of(on, write)[0] == np.inf
    resets = np.where(np.arange(4000) % 40 == 39, 0.0, 1.0)
    assert memory_of(resets, on)[0] == pytest.approx(20, rel=0.05)  # it counts to 40, and carries 20 on average
    assert memory_of(0 * on, write)[0] == pytest.approx(1)
    # A store of the winter that is emptied in spring, and written without end while it keeps nothing in summer.
    winter = np.arange(4000) % 365 < 120
    memory, unreset = memory_of(np.where(winter, 0.99, 0.3), np.where(winter, draw.random(4000) < 0.3, -0.35))
    assert 20 < memory < 60  # about a third of the winter; the summer, when it stands at rest, does not count
    assert unreset == pytest.approx(-1 / np.log(0.99), rel=1e-6)


def test_a_lag_that_was_chance_on_the_first_half_is_not_quoted():
    """The cell is 5 steps late on the first half, and not late on the second."""
    draw = np.random.default_rng(0)
    level = np.convolve(draw.normal(size=2012), np.ones(8) / 8, "valid")
    found = following(np.concatenate([level[:1000], level[1005:]]), {"level": level[5:]})
    assert (found.lag, found.correlation) == (0, pytest.approx(1))
    fast = draw.normal(size=2005)
    smooth = np.convolve(fast, np.ones(3) / 3, "same")
    found = following(smooth[:2000], {"near": smooth[1:2001], "noise": draw.normal(size=2000)})
    assert (found.quantity, found.lag) == ("near", 1)
    assert found.correlation == pytest.approx(1)
