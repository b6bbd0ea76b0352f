"""Tallies against cells whose tally is known, and against least squares done by NumPy."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import tallycell as tc
from reading_cells import climb, halves, make_cell, of, one_cell, quoted_rung
from tallycell.activations import activation
from tallycell.parameters import Activations
from tallycell.reading.fitting import binary_codes_of, explain_cells, value_codes_of
from tallycell.reading.quantise import Sorted
from tallycell.reading.tally import RUNGS, time_constant_of


def random_gates(seed, steps=400, *, keep=1.0, reset=0.0, up=1.0, down=-1.0):
    """Saturated gates: writes up or down now and then, a reset once in twenty steps."""
    draw = np.random.default_rng(seed)
    f = np.where(draw.random(steps) < 0.05, reset, keep)
    i = (draw.random(steps) < 0.5).astype(float)
    return i, f, np.where(draw.random(steps) < 0.5, up, down)


def by_name(tallies):
    return {tally.rung.name: tally for tally in tallies}


def test_what_step_and_intercept_explain_alike_is_the_steps():
    """A cell that keeps nothing and writes about -1 at every step: a step of -0.5 would be wrong."""
    i, g = np.ones(400), np.where(np.random.default_rng(0).random(400) < 0.5, -0.9, -1.0)
    tally = climb(make_cell(i, np.zeros(400), g))[0]
    assert tally.write_levels[0] == pytest.approx(-0.95, abs=0.01)
    assert tally.intercept == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("gates", "rung"),
    [
        ({}, "binary tally"),
        ({"up": 0.5, "down": -0.5}, "binary tally"),
        ({"up": 1.0, "down": -0.25}, "two steps"),
        ({"up": 1.0, "down": -0.25, "keep": 0.8}, "leaky tally"),
        ({"up": 1.0, "down": -0.25, "keep": 0.95, "reset": 0.45}, "partial reset"),
    ],
)
def test_each_rung_explains_exactly_the_cell_it_was_made_for(gates, rung):
    cell = make_cell(*random_gates(1, **gates))
    fitted = by_name(climb(cell))
    assert fitted[rung].r2 > 1 - 1e-9
    np.testing.assert_allclose(fitted[rung].explain(cell), of(cell, "c"), atol=1e-4)
    # The rungs below lack the number that this cell needs.
    for lower in RUNGS[: [r.name for r in RUNGS].index(rung)]:
        assert fitted[lower.name].r2 < 0.999
    up, down = gates.get("up", 1.0), gates.get("down", -1.0)
    np.testing.assert_allclose(fitted[rung].write_levels, [down, 0, up], atol=1e-4)
    np.testing.assert_allclose(fitted[rung].keep_levels, [gates.get("reset", 0), gates.get("keep", 1)], atol=1e-4)


def test_levels_rung_finds_the_levels_of_a_cell_that_has_no_binary_gates():
    draw = np.random.default_rng(5)
    f = draw.choice([0.1, 0.6, 0.95], 800)
    write = draw.choice([-0.8, -0.2, 0.3, 0.9], 800)
    fitted = by_name(climb(make_cell(np.abs(write), f, np.sign(write))))["4 writes, 3 keeps"]
    assert fitted.r2 > 1 - 1e-9
    np.testing.assert_allclose(fitted.write_levels, [-0.8, -0.2, 0.3, 0.9], atol=1e-4)
    np.testing.assert_allclose(fitted.keep_levels, [0.1, 0.6, 0.95], atol=1e-4)


def test_a_rung_never_fits_worse_than_the_one_below_on_the_steps_it_is_fitted_on():
    draw = np.random.default_rng(3)
    cell = make_cell(draw.random(600), draw.random(600), np.tanh(draw.normal(size=600)))
    fit = halves(cell)[0]
    errors = [float(np.mean((of(cell, "c") - tally.explain(cell))[fit] ** 2)) for tally in climb(cell)[:4]]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(errors))


def test_binary_rungs_are_least_squares_on_the_tallies():
    """The two linear rungs against numpy.linalg.lstsq on tallies that a plain loop counts."""
    draw = np.random.default_rng(8)
    cell = make_cell(draw.random(500), draw.random(500), np.tanh(draw.normal(size=500)))
    codes = binary_codes_of(cell)
    writes, keeps = cell.of_unit(codes.written, 0) + 1, cell.of_unit(codes.kept, 0)
    up, down = np.zeros((2, 500))
    for t in range(500):
        up[t] = (up[t - 1] if t and keeps[t] else 0) + (writes[t] == 2)
        down[t] = (down[t - 1] if t and keeps[t] else 0) + (writes[t] == 0)
    fit, quoted = halves(cell)
    c = of(cell, "c")
    fitted = by_name(climb(cell))
    for name, columns in (("binary tally", [up - down]), ("two steps", [up, down])):
        design = np.stack([*columns, np.ones(500)], axis=1)
        solution = np.linalg.lstsq(design[fit], c[fit], rcond=None)[0]
        error = (c - design @ solution)[quoted]
        assert fitted[name].r2 == pytest.approx(1 - error.var() / c[quoted].var(), abs=1e-6)


@pytest.mark.parametrize("rung", [RUNGS[0], RUNGS[-1]], ids=lambda rung: rung.name)
def test_compiled_derivatives_agree_with_finite_differences(rung):
    draw = np.random.default_rng(4)
    gates = draw.random(131), draw.random(131), np.tanh(draw.normal(size=131))  # more steps than are taken at once
    cell = make_cell(*gates, c_0=[0.5, -1.0], start=[0, 25, 131])
    codes = (binary_codes_of if rung is RUNGS[0] else value_codes_of)(cell)
    fitted = climb(cell)[RUNGS.index(rung)].fitted
    levels = np.concatenate([fitted.writes[0], fitted.keeps[0], fitted.intercept]) + 0.01

    def at(levels):
        writes, keeps, intercept = np.split(levels[np.newaxis], [rung.writes, -1], axis=1)
        return replace(fitted, writes=writes, keeps=keeps, intercept=intercept[:, 0])

    # The codes stay as they are: what is differentiated is the free run at fixed codes.
    edges = codes.edges or tuple((one[:, 1:] + one[:, :-1]) / 2 for one in (at(levels).writes, at(levels).keeps))
    codes = replace(codes, edges=edges)

    def error_of(levels):
        return codes.squared_errors(at(levels), np.array([True]))[0]

    products = codes.normal_equations(at(levels), np.array([True]))[0]
    size = len(levels)
    assert products[size, size] == pytest.approx(error_of(levels))
    slope = [(error_of(levels + step) - error_of(levels - step)) / 2e-5 for step in 1e-5 * np.eye(size)]
    np.testing.assert_allclose(products[size, :size], -0.5 * np.array(slope), rtol=1e-5, atol=1e-5)
    if rung is RUNGS[0]:  # the derivatives themselves, by the tallies of single levels
        moved = [explain_cells(cell, rung, at(levels + step))[:, 0] for step in (1e-6 * np.eye(size))]
        jacobian = (np.stack(moved, axis=1) - explain_cells(cell, rung, at(levels))) / 1e-6
        np.testing.assert_allclose(
            np.tril(products[:size, :size]), np.tril(jacobian.T @ jacobian), rtol=1e-4, atol=1e-4
        )


def test_tally_sees_the_initial_cell_and_starts_each_sequence_anew():
    i, f, g = random_gates(2, 300)
    cell = make_cell(i, f, g, c_0=[5.0, -3.0, 2.0], start=[0, 100, 200, 300])
    assert climb(cell)[0].r2 > 1 - 1e-9
    blind = one_cell(i, f, g, of(cell, "c"), start=cell.start)
    assert climb(blind)[0].r2 < 0.99


def test_r2_is_quoted_on_steps_that_were_not_fitted():
    """The second half follows another law: the fit cannot know it, and the quoted R² shows it."""
    i, f, g = random_gates(6, 400)
    honest = make_cell(i, f, g)
    other = make_cell(i, f, np.concatenate([g[:200], -0.2 * np.abs(g[200:])]))
    other = one_cell(
        *(of(other, name) for name in "ifg"), np.concatenate([of(other, "c")[:200], of(other, "c")[200:][::-1]])
    )
    assert climb(honest)[0].r2 > 1 - 1e-9
    assert climb(other)[0].r2 < 0.5


def test_the_first_half_of_the_sequences_is_fitted_where_there_are_several():
    cell = make_cell(*random_gates(7, 90), start=[0, 20, 50, 90])
    assert halves(cell) == (slice(0, 50), slice(50, None))
    assert halves(make_cell(*random_gates(7, 90))) == (slice(0, 45), slice(45, None))


def test_constant_cell_has_no_r2_and_is_told():
    cell = make_cell(np.zeros(50), np.ones(50), np.ones(50), c_0=[2.0])
    assert all(np.isnan(tally.r2) for tally in climb(cell))
    assert quoted_rung(climb(cell)).rung.name == "binary tally"


def test_quoted_rung_is_the_lowest_that_is_good_enough_or_near_the_best():
    tallies = climb(make_cell(*random_gates(1, up=1.0, down=-0.25)))
    quoted = quoted_rung(tallies)
    assert quoted.r2 >= 0.9 or quoted.r2 >= max(tally.r2 for tally in tallies) - 0.02
    below = tallies[: tallies.index(quoted)]
    assert all(tally.r2 < 0.9 and tally.r2 < max(t.r2 for t in tallies) - 0.02 for tally in below)


def test_rung_near_the_best_is_quoted_where_none_is_good_enough():
    tallies = climb(make_cell(*random_gates(1)))

    def quoted(*r2):
        return quoted_rung([replace(tally, r2=value) for tally, value in zip(tallies, r2, strict=True)]).rung.name

    assert quoted(0.1, 0.2, 0.5, 0.68, 0.6, 0.7, 0.65) == "partial reset"  # 0.02 below the best
    assert quoted(0.1, 0.2, 0.5, 0.67, 0.6, 0.7, 0.65) == "4 writes, 3 keeps"
    assert quoted(0.1, 0.2, 0.91, 0.92, 0.99, 1.0, 1.0) == "leaky tally"  # good enough
    assert quoted(-0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3) == "6 writes, 5 keeps"


def test_cell_that_hardly_moves_has_no_r2_even_where_its_second_half_moves_more():
    c = np.zeros(100)
    c[50:] = 4e-5 * np.tile([1, -1], 25)
    cell = one_cell(np.zeros(100), np.ones(100), np.ones(100), c)
    assert np.var(c) < 1e-9 < np.var(c[50:])
    assert all(np.isnan(tally.r2) for tally in climb(cell))


def test_near_misses_are_told_apart():
    """A cell that misses one of its resets is no longer explained exactly by the tally of its gates."""
    i, f, g = random_gates(9)
    cell = make_cell(i, f, g)
    missed = f.copy()
    missed[np.flatnonzero(f == 0)[-1]] = 1.0
    near = one_cell(i, missed, g, of(cell, "c"))
    assert climb(cell)[0].r2 > 1 - 1e-9
    assert climb(near)[0].r2 < 1 - 1e-6


def test_lloyd_levels_against_an_exhaustive_search():
    values = np.random.default_rng(0).normal(size=12)
    weights = np.random.default_rng(1).random(12)
    ordered = np.argsort(values)

    def cost(cuts):
        groups = np.split(ordered, cuts)
        means = [np.average(values[group], weights=weights[group]) for group in groups]
        return sum((weights[g] * (values[g] - m) ** 2).sum() for g, m in zip(groups, means, strict=True))

    best = min(cost([a, b]) for a in range(1, 11) for b in range(a + 1, 12))
    levels = Sorted(values, weights).levels(3)
    found = (weights * ((values[:, np.newaxis] - levels) ** 2).min(axis=1)).sum()
    # Lloyd's algorithm ends in a local optimum: never below the best, and here not far above.
    assert best - 1e-12 <= found <= 1.5 * best
    assert np.all(np.diff(levels) >= 0)


def test_time_constant_is_that_of_the_highest_keep_level():
    leaky = make_cell(*random_gates(1, 4000, keep=0.8, up=1.0, down=-0.25))
    tally = by_name(climb(leaky))["leaky tally"]
    assert time_constant_of(tally.keep_levels) == pytest.approx(-1 / np.log(0.8), rel=1e-3)
    f = np.ones(4000)
    f[::40] = 0
    reset = make_cell(np.ones(4000), f, np.ones(4000))
    tally = climb(reset)[0]
    assert np.isinf(time_constant_of(tally.keep_levels))


def test_reverse_direction_is_tallied_as_it_reads():
    draw = np.random.default_rng(0)
    big = 100.0
    weights = {"weight_ih_l0": [[0, 0], [0, -2 * big], [big, 0], [0, 0]], "weight_hh_l0": np.zeros((4, 1))}
    weights |= {"bias_ih_l0": [big, big, 0, big], "bias_hh_l0": np.zeros(4)}
    weights = {name: np.asarray(weight, dtype=float) for name, weight in weights.items()}
    weights |= {f"{name}_reverse": weight for name, weight in weights.items()}
    x = np.stack([draw.choice([-1.0, 1.0], (140, 3)), (draw.random((140, 3)) < 0.1)], axis=-1)
    trace = tc.record_trace(tc.LSTMParameters(weights), x, lengths=[140, 61, 110])
    reading = tc.read_units(trace)
    assert [unit.direction for unit in reading.units] == ["forward", "reverse"]
    for unit in reading.units:
        assert unit.rung == "binary tally"
        assert unit.r2 > 1 - 1e-9
    # Read the wrong way round, the same gates explain nothing.
    turned = trace.copy()
    turned["direction"] = ["reverse", "forward"]
    assert max(unit.r2 for unit in tc.read_units(turned).units) < 0.5


def test_gates_with_other_limits_are_split_in_their_middle():
    hard = Activations(activation("hard_sigmoid"), activation("hard_tanh"), activation("identity"))
    cell = make_cell(*random_gates(3), activations=hard)
    assert climb(cell)[0].r2 > 1 - 1e-9
