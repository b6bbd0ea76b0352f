"""What is held fixed and what is added up fit together: bins by direction, values that are none, a bounded part."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from hand_set import SYMBOLS, network, random_text
from tallycell.activations import activation
from tallycell.parameters import Activations
from tallycell.reading import cells, first_pass, nothing_learned, sums
from tallycell.reading import levels as levels_room
from tallycell.reading.cells import iterate_cells
from tallycell.reading.counting import MARKS, add_values
from tallycell.reading.levels import fit_levels
from tallycell.reading.pairs import PairSearch
from tallycell.reading.saturation import near_limits, read_saturation
from tallycell.reading.sums import sum_block
from tallycell.reading.triggers import COMMON
from test_reading_sums import one_sequence, parameters


def test_each_direction_is_counted_in_its_own_bins():
    """Bins over the values of hidden(c), which is c itself here, as far as it goes in either direction."""
    both = parameters(units=3)
    weights = {name: values * (3 if "reverse" in name else 1) for name, values in both.weights.items()}
    both = tc.LSTMParameters(weights, Activations(hidden=activation("identity")))
    trace = tc.record_trace(both, np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    counted, expected = tc.read_units(trace).saturation, read_saturation(trace)
    edges = expected["edges"].sel(gate="hidden(c)").to_numpy()
    assert abs(edges[0, -1] - edges[1, -1]) > 0.1
    for name in ("left", "right", "histogram", "edges"):
        same = expected[name].transpose(*counted[name].dims)
        # A mean of shares, and bins between values in single precision.
        np.testing.assert_allclose(counted[name].to_numpy(), same.to_numpy(), rtol=1e-6, err_msg=name)


def add_in_python(values, edges, near):
    counts = [np.histogram(row[~np.isnan(row)].clip(edges[0], edges[-1]), edges)[0] for row in values.T]
    sides = [[np.sum(np.abs(row - limit) < near[2]) for limit in near[:2]] for row in values.T]
    return np.array(counts).T, np.array(sides).T


@pytest.mark.parametrize("limit", [(-1.0, 1.0), (np.nan, np.nan)], ids=["limits", "none"])
def test_a_value_that_is_no_number_is_in_no_bin_and_near_no_limit(limit):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(500, 4))
    values[::7, 1], values[3, 2], values[4, 2] = np.nan, np.inf, -np.inf
    edges = np.linspace(-1, 1, 21)
    counts, sides = np.zeros((1, 20, 4), np.int64), np.zeros((1, 2, 4), np.int64)
    arguments = values[np.newaxis], edges, (*limit, 0.1), counts, sides
    add_values.py_func(*arguments)  # in Python a place that is none raises; compiled it would write anywhere
    counts[:], sides[:] = 0, 0
    add_values(*arguments)
    expected = add_in_python(values, edges, (*limit, 0.1))
    np.testing.assert_array_equal(counts[0], expected[0])
    np.testing.assert_array_equal(sides[0], expected[1])


@pytest.mark.parametrize("name", ["f", "o", "c"])
def test_a_trace_with_a_value_that_is_no_number_is_read(name):
    trace = tc.record_trace(parameters(both=False), np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32))
    values = trace[name].to_numpy().copy()
    values[..., 100, 2] = np.nan
    damaged = trace.assign({name: trace[name].copy(data=values)})
    reading = tc.read_units(damaged)
    others = [0, 1, 3, 4]
    whole = tc.read_units(trace)
    assert [reading.units[k] for k in others] == [whole.units[k] for k in others]
    counted = reading.saturation["histogram"].sel(gate=name if name != "c" else "hidden(c)", unit=2)
    assert int(counted.sum()) == 399


def test_a_quantity_with_an_infinite_value_is_compared_at_all_other_steps():
    x = np.random.default_rng(2).normal(size=(1_000, 3)).astype(np.float32)
    trace = tc.record_trace(parameters(both=False), x)
    c = trace["c"].to_numpy()[0, 0, 0, :, 0].astype(float)
    unknown, infinite = c.copy(), c.copy()
    unknown[50], infinite[50] = np.nan, np.inf
    found = [tc.read_units(trace, quantities={"itself": values}) for values in (unknown, infinite)]
    assert found[0].units[0].follows.correlation == pytest.approx(1)
    assert found[1].units == found[0].units
    assert found[1].pairs == {"itself": 999}


def test_pairs_are_judged_by_the_part_that_they_are_looked_for_in(monkeypatch):
    """A symbol that is sure to bring an event needs no second condition, whatever share of the steps was looked at."""
    searched = []
    monkeypatch.setattr(PairSearch, "find", lambda _, event, amount: searched.append(event.mean()))
    text = random_text(steps=8_000)
    x = np.array([[symbol == s for s in SYMBOLS] for symbol in text], dtype=float)
    trace = tc.record_trace(network([{"(": (1, 1), ")": (-1, 1), "\n": (0, 0)}]), x).drop_vars("x")
    shares = []
    find = first_pass.find_single
    monkeypatch.setattr(first_pass, "find_single", lambda *of: shares.append(find(*of)) or shares[-1])
    for most in (8_000, 1_000):
        monkeypatch.setattr(cells, "MOST_FITTED", most)
        monkeypatch.setattr(cells, "STRETCH", 250)
        fit_levels(trace, text)
    for single in shares:
        assert single["increment"][0].share == 1.0
    assert not [share for share in searched if 0 < share < COMMON]  # of what always or never happens nothing is said


def test_sums_of_the_part_that_was_looked_at_are_those_of_its_steps(monkeypatch):
    monkeypatch.setattr(cells, "MOST_FITTED", 500)
    monkeypatch.setattr(cells, "STRETCH", 100)
    kept = []
    gather = first_pass.gather
    monkeypatch.setattr(first_pass, "gather", lambda *of: kept.append(gather(*of)) or kept[-1])
    x = np.random.default_rng(3).normal(size=(2_000, 3)).astype(np.float32)
    trace = tc.record_trace(parameters(both=False), x)
    levels = fit_levels(trace, quantities={"first": x[:, 0]})
    (sums,) = kept
    assert sums.steps.tolist() == [500, 500]
    assert int(sums.seen[-1]) == 1_000
    assert int(sums.stretches) == 20  # 5 sequences of 100 steps, each cut at 32, 64 and 96
    assert int(sum_block(trace, levels, quantities={"first": x[:, 0]}).seen[-1]) == 2_000
    np.testing.assert_array_equal(sums.moments[:, 0, -1], 500)


def test_marks_are_those_of_plain_sums_and_medians():
    """Where a cell rests and what its leak keeps, its usual write, its two values and its steps."""
    both = parameters(units=5, seed=4)
    lengths = [150, 1, 149]
    x = np.random.default_rng(5).normal(size=(3, 150, 3)).astype(np.float32)
    trace = tc.record_trace(both, x, batch_first=True, lengths=lengths)
    levels = fit_levels(trace)
    for first, some in zip((0, 5), iterate_cells(trace), strict=True):
        for unit in range(5):
            c, f, write, before = (some.of_unit(getattr(some, name), unit) for name in ("c", "f", "write", "before"))
            mark = dict(zip(MARKS, levels.marks[first + unit].tolist(), strict=True))
            assert mark["mean"] == pytest.approx(c.mean())
            assert mark["rest"] == pytest.approx(np.average(c, weights=1 - f))
            assert mark["usual"] == np.median(write[f >= 0.5])
            held = np.abs(before - mark["rest"])[f >= 0.5]
            assert mark["leak keeps"] == pytest.approx(np.exp(np.average(np.log(f[f >= 0.5]), weights=held)))
            near = np.abs(c[:, np.newaxis] - [mark["low"], mark["high"]]).argmin(axis=1)
            assert [mark["low"], mark["high"]] == pytest.approx([c[near == k].mean() for k in range(2)])
            for name, sign in (("step up", 1), ("step down", -1)):
                taken = sign * write > abs(mark[name]) / 2
                assert mark[name] == pytest.approx(write[taken].mean())


@pytest.mark.parametrize("given", ["input", "features first", "trace"])
def test_networks_that_learned_nothing_read_the_first_steps_of_a_long_input(monkeypatch, given):
    model, x, quantities = one_sequence(900)
    tokens = ["abc"[k] for k in x.argmax(axis=1)]

    def read(steps):
        known = {name: values[:steps] for name, values in quantities.items()}
        if given == "trace":
            return tc.read_units(tc.record_trace(model, x[:steps]), tokens[:steps], known, model=model)
        read = xr.DataArray(x[:steps].T, dims=("feature", "time")) if given == "features first" else x[:steps]
        one = tc.Input(read, "x", "random", tokens=tokens[:steps], quantities=known)
        return tc.read_units(tc.record_trace(model, one), one, model=model)

    whole, first = read(900).nothing_learned, read(400).nothing_learned
    monkeypatch.setattr(nothing_learned, "MOST_STEPS", 400)
    assert read(900).nothing_learned == first != whole


def test_levels_of_some_units_are_theirs_in_both_directions():
    trace = tc.record_trace(parameters(units=3), np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    levels = fit_levels(trace)
    levels = replace(levels, edges=levels.edges + np.arange(2)[:, np.newaxis])
    reverse = levels.units(np.array([3, 5]))
    assert reverse.direction.tolist() == ["reverse", "reverse"]
    np.testing.assert_array_equal(reverse.edges_of(0, "reverse"), levels.edges_of(0, "reverse"))
    np.testing.assert_array_equal(levels.units(np.array([1, 4])).edges, levels.edges)


def test_limits_without_numbers_are_near_nothing():
    assert all(np.isnan(near_limits(activation("identity"))[:2]))


@pytest.mark.parametrize("threads", [1, 3])
def test_units_are_divided_among_as_many_threads_as_may_be_used(monkeypatch, threads):
    asked = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers):
            asked.append(workers)
            super().__init__(workers)

    for module in (levels_room, sums, first_pass):
        monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", str(threads))
    trace = tc.record_trace(parameters(both=False), np.ones((300, 3), np.float32))
    tc.read_units(trace)
    assert set(asked) == {threads}
