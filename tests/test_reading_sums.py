"""Sums of pieces add up to the sum of the whole, and what is read from them is what is read at once."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import tallycell as tc
from reading_cells import halves, of
from tallycell.errors import FormatError
from tallycell.reading import blocks
from tallycell.reading import cells as reading_cells
from tallycell.reading.adding import Carry
from tallycell.reading.cells import iterate_cells
from tallycell.reading.fitting import FittedLevels, explain_cells
from tallycell.reading.judging import r2_of
from tallycell.reading.known import read_known
from tallycell.reading.levels import Levels, fit_levels
from tallycell.reading.sums import ALL_AMOUNTS, ALL_COUNTS, COUNTS, UnitSums, sum_block, sum_piece
from tallycell.reading.tally import RUNGS
from tallycell.reading.units import read_sums

LENGTHS = np.array([300, 120, 240, 1, 180, 200, 260, 90])


def parameters(units=5, features=3, seed=0, both=True):
    draw = np.random.default_rng(seed)
    weights = {}
    for suffix in ("", "_reverse")[: 1 + both]:
        weights[f"weight_ih_l0{suffix}"] = draw.normal(size=(4 * units, features)).astype(np.float32)
        weights[f"weight_hh_l0{suffix}"] = (draw.normal(size=(4 * units, units)) / 2).astype(np.float32)
        bias = draw.normal(size=4 * units)
        bias[units : 2 * units] += 2
        weights[f"bias_ih_l0{suffix}"] = bias.astype(np.float32)
        weights[f"bias_hh_l0{suffix}"] = np.zeros(4 * units, np.float32)
    return tc.LSTMParameters(weights)


@pytest.fixture(scope="module")
def whole():
    """A trace of sequences of all lengths, read both ways, and two known quantities, one of them with gaps."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(len(LENGTHS), max(LENGTHS), 3)).astype(np.float32)
    trace = tc.record_trace(parameters(), x, batch_first=True, lengths=LENGTHS)
    gaps = np.where(draw.random(x.shape[:2]) < 0.3, np.nan, x[..., 1])
    return trace, {"sum": np.cumsum(x[..., 0], axis=1), "gaps": gaps}


def piece(whole, which):
    trace, quantities = whole
    return trace.isel(sequence=which), {name: values[which] for name, values in quantities.items()}


def sums_of(whole, levels, which, tested):
    trace, quantities = piece(whole, which)
    return sum_block(trace, levels, quantities=quantities, tested=tested)


def check_equal(one, other, rtol=1e-12):
    for name, values in one.to_arrays().items():
        theirs = other.to_arrays()[name]
        if values.dtype.kind in "iu":
            np.testing.assert_array_equal(values, theirs, err_msg=name)
        else:
            scale = np.abs(values).max() if values.size else 1.0
            np.testing.assert_allclose(values, theirs, rtol=rtol, atol=rtol * max(scale, 1), err_msg=name)


@pytest.mark.parametrize("cuts", [[4], [1, 4, 6], [1, 2, 3, 4, 5, 6, 7]], ids=str)
def test_sums_of_pieces_add_up_to_those_of_the_whole(whole, cuts):
    trace, quantities = whole
    levels = fit_levels(trace, quantities=quantities)
    at_once = sum_block(trace, levels, quantities=quantities)
    parts = [
        sums_of(whole, levels, part, part[0] >= 4) for part in map(list, np.split(np.arange(len(LENGTHS)), cuts))
    ]  # fmt: skip
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    check_equal(total, at_once)
    backwards = parts[-1]
    for part in parts[-2::-1]:
        backwards = backwards + part
    check_equal(backwards, at_once)


def test_reading_is_the_two_passes(whole):
    trace, quantities = whole
    levels = fit_levels(trace, quantities=quantities)
    parts = [sums_of(whole, levels, part, part[0] >= 4) for part in ([4, 5], [0, 1, 2, 3], [6, 7])]
    reading = read_sums(levels, parts[0] + parts[1] + parts[2])
    at_once = tc.read_units(trace, quantities=quantities)
    assert [unit.sentence for unit in reading.units] == [unit.sentence for unit in at_once.units]
    for one, other in zip(reading.units, at_once.units, strict=True):
        assert (one.r2, one.r2_error) == (pytest.approx(other.r2, rel=1e-9), pytest.approx(other.r2_error, rel=1e-6))
        for event, some in one.triggers.items():
            assert [(t.stimulus, t.share, t.count) for t in some] == [
                (t.stimulus, t.share, t.count) for t in other.triggers[event]
            ]
    assert reading.pairs == at_once.pairs


def test_levels_and_sums_come_back_from_their_arrays(whole, tmp_path):
    trace, quantities = whole
    levels = fit_levels(trace, quantities=quantities)
    sums = sum_block(trace, levels, quantities=quantities)
    for value in (levels, sums):
        np.savez(tmp_path / "arrays.npz", **value.to_arrays())
        with np.load(tmp_path / "arrays.npz", allow_pickle=False) as kept:
            back = type(value).from_arrays(kept)
        for name, array in value.to_arrays().items():
            np.testing.assert_array_equal(back.to_arrays()[name], array)
    assert read_sums(Levels.from_arrays(levels.to_arrays()), sums).units == read_sums(levels, sums).units
    fewer = sums.to_arrays()
    del fewer["seen"]
    with pytest.raises(FormatError, match="lack 'seen', so they are not those of UnitSums"):
        UnitSums.from_arrays(fewer)


def test_quoted_r2_is_that_of_the_errors_step_by_step(whole):
    trace, quantities = whole
    reading = tc.read_units(trace, quantities=quantities)
    units = iter(reading.units)
    for some in iterate_cells(trace):
        quoted = halves(some)[1]
        c = some.by_unit(some.c).astype(float)
        readings = [next(units) for _ in some.units]
        for k, rung in enumerate(RUNGS):
            fitted = [one.ladder[k] for one in readings]
            levels = FittedLevels(
                np.array([one.write_levels for one in fitted]), np.array([one.keep_levels for one in fitted]),
                np.array([one.intercept for one in fitted]),
            )  # fmt: skip
            error = (c - explain_cells(some, rung, levels))[quoted]
            np.testing.assert_allclose(
                [one.r2 for one in fitted], 1 - error.var(axis=0) / c[quoted].var(axis=0), atol=1e-9
            )


def test_behaviour_is_that_of_a_plain_count(whole):
    """Counts, means and moments of the compiled loop beside the same in NumPy."""
    trace, quantities = whole
    levels = fit_levels(trace, quantities=quantities)
    sums = sum_block(trace, levels, quantities=quantities)
    forward = next(iterate_cells(trace))
    for unit in range(len(forward.units)):
        c, f, i, g, before = (forward.of_unit(getattr(forward, name), unit) for name in ("c", "f", "i", "g", "before"))
        write, mark = i * g, levels.marks[unit]
        counts = dict(zip(COUNTS, sums.counted[unit, -1].tolist(), strict=True))
        counts |= dict(zip(ALL_COUNTS, sums.counted_in_all[unit].tolist(), strict=True))
        amounts = dict(zip(ALL_AMOUNTS, sums.moved_in_all[unit].tolist(), strict=True))
        assert counts["reset"] == (f < 0.5).sum()
        assert counts["up 6"] == (write > levels.ladder()[6].writes[unit].max() / 2).sum()
        assert counts["down 0 reset"] == ((write < levels.ladder()[0].writes[unit].min() / 2) & (f < 0.5)).sum()
        assert amounts["|write|"] == pytest.approx(np.abs(write).sum())
        assert amounts["lost squared"] == pytest.approx((((1 - f) * before) ** 2).sum())
        held = np.abs(before - mark[1])
        assert amounts["forgotten"] == pytest.approx(held @ np.minimum(-np.log(np.clip(f, 1e-12, 1)), 1))
        high = (mark[2] + mark[3]) / 2
        assert counts["to high"] == ((before <= high) & (c > high)).sum()
        assert (sums.lowest[unit], sums.highest[unit]) == (c.min(), c.max())


def test_error_of_r2_is_that_of_the_jackknife():
    """The error over stretches beside leaving each of them out once."""
    draw = np.random.default_rng(0)
    c, noise = draw.normal(size=(40, 50)) * 3, draw.normal(size=(40, 50)) * draw.uniform(0.5, 2, (40, 1))
    z = np.stack([(noise**2).sum(1), noise.sum(1), (c**2).sum(1), c.sum(1), np.full(40, 50.0)], axis=1)
    r2, error = r2_of(z.sum(axis=0), z.T @ z, 40)
    assert r2 == pytest.approx(1 - noise.var() / c.var())
    left_out = [r2_of(z.sum(axis=0) - one, np.zeros((5, 5)), 1)[0] for one in z]
    # Both are the first term of one series, which differ in the next: 1 in the 40 stretches.
    assert error == pytest.approx(np.sqrt(39 * np.var(left_out)), rel=0.05)
    assert np.isnan(r2_of(z[0], np.outer(z[0], z[0]), 1)[1])


def test_a_role_that_the_error_does_not_decide_is_called_so(whole):
    trace, quantities = whole
    levels = fit_levels(trace, quantities=quantities)
    sums = sum_block(trace, levels, quantities=quantities)
    sure = read_sums(levels, sums)
    wide = sums.to_arrays() | {"products": sums.products * 1e6}
    unsure = read_sums(levels, UnitSums.from_arrays(wide))
    assert any(unit.undecided for unit in unsure.units)
    for unit, before in zip(unsure.units, sure.units, strict=True):
        assert (unit.role, unit.r2) == (before.role, before.r2)
        said = f"{unit.role} or {unit.undecided} is not decided (R² {unit.r2:.2f} ± {unit.r2_error:.2f})"
        assert (said in unit.sentence) == (unit.undecided is not None)


def test_first_pass_looks_at_a_bounded_part(monkeypatch, whole):
    """What is held fixed comes from a part; what is quoted comes from all steps."""
    trace, quantities = whole
    at_once = tc.read_units(trace, quantities=quantities)
    monkeypatch.setattr(reading_cells, "MOST_FITTED", 300)
    monkeypatch.setattr(reading_cells, "STRETCH", 50)
    part = tc.read_units(trace, quantities=quantities)
    for one, other in zip(part.units, at_once.units, strict=True):
        assert one.ladder[-1].write_levels != other.ladder[-1].write_levels
        assert one.exposure == other.exposure
        # Where the cell rests is a mean of 300 steps here: it errs by about 1 in 17 of what the cell holds.
        assert one.memory == pytest.approx(other.memory, rel=0.2)
    assert part.pairs == at_once.pairs


@pytest.mark.parametrize("units", [1, 3, 4, 63, 100])
def test_units_side_by_side_do_not_touch_one_another(units):
    """A unit is read the same beside others and alone."""
    x = np.random.default_rng(2).normal(size=(400, 3)).astype(np.float32)
    trace = tc.record_trace(parameters(units, both=False), x)
    together = tc.read_units(trace).units
    for k in {0, units // 2, units - 1}:
        (alone,) = tc.read_units(trace.isel(unit=[k])).units
        assert alone == together[k]


def test_cells_are_those_of_the_trace(whole):
    trace, _ = whole
    forward, reverse = iterate_cells(trace)
    c = trace["c"].isel(layer=0, unit=1).to_numpy()
    np.testing.assert_array_equal(forward.of_unit(forward.c, 1)[: LENGTHS[0]], c[0, 0, : LENGTHS[0]])
    np.testing.assert_array_equal(reverse.of_unit(reverse.c, 1)[: LENGTHS[0]], c[1, 0, : LENGTHS[0]][::-1])
    assert forward.steps == LENGTHS.sum()
    before = of(forward, "before")
    assert before[forward.start[:-1]].tolist() == [0.0] * len(LENGTHS)


def one_sequence(steps=4_000, seed=3):
    x = np.random.default_rng(seed).normal(size=(steps, 3)).astype(np.float32)
    return parameters(both=False), x, {"sum": np.cumsum(x[:, 0]) / 10, "noise": x[:, 1]}


@pytest.mark.parametrize("cuts", [[2_000], [500, 1_000, 2_000, 3_000], [10, 20, 30, 2_000, 2_010, 3_990]], ids=str)
def test_a_sequence_in_pieces_is_the_whole(cuts):
    """Tallies, the leak, comparisons and movements go on from piece to piece."""
    model, x, quantities = one_sequence()
    trace = tc.record_trace(model, x, record=tc.Record(("i", "f", "g", "o", "c")))
    levels = replace(fit_levels(trace, quantities=quantities), stretch=np.array(10))
    at_once = sum_block(trace, levels, quantities=quantities)
    total, carry = None, None
    for begin, end in pairwise([0, *cuts, len(x)]):
        some = trace.isel(time=slice(begin, end))
        steps = np.arange(end - begin)
        some = some.assign_coords(time=steps, step=("time", steps)).assign(length=("sequence", [end - begin]))
        if begin:
            before = trace["c"].isel(time=begin - 1, drop=True)
            some = some.assign(c_0=before.transpose(*trace["c_0"].dims))
        known = read_known(some, None, {name: values[begin:end] for name, values in quantities.items()}, None)
        if begin == 2_000:
            carry = replace(carry, in_half=np.array(0))
        sums, carry = sum_piece(known, levels, carry, tested=begin >= 2_000)
        carry = Carry.from_arrays(carry.to_arrays())
        total = sums if total is None else total + sums
    check_equal(total, at_once, rtol=1e-10)


@pytest.mark.parametrize("tokens", [True, False], ids=["symbols", "features"])
def test_reading_in_blocks_is_reading_at_once(monkeypatch, tokens):
    model, x, quantities = one_sequence()
    symbols = ["".join("abc"[k] for k in x.argmax(axis=1))] if tokens else None
    given = tc.Input(x, "x", "random", tokens=list(symbols[0]) if tokens else None, quantities=quantities)
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", 100)
    monkeypatch.setattr(blocks, "BLOCK", 5 * 300)
    assert blocks.reads_in_blocks(model, given)
    calls = []
    reading = blocks.read_in_blocks(model, given, progress=lambda *call: calls.append(call))
    trace = tc.record_trace(model, given)
    at_once = tc.read_units(trace.drop_vars("x") if tokens else trace, given)
    assert calls[-1] == (8_000, 8_000)
    for one, other in zip(reading.units, at_once.units, strict=True):
        assert one.role == other.role
        assert one.sentence == other.sentence
        # Bits of a state depend on how many steps are recorded at once.
        assert [rung.r2 for rung in one.ladder] == pytest.approx([rung.r2 for rung in other.ladder], abs=1e-4)
        assert (one.r2_error, one.memory) == pytest.approx((other.r2_error, other.memory), rel=1e-3)
        assert [t.stimulus for t in one.triggers["reset"]] == [t.stimulus for t in other.triggers["reset"]]
    assert reading.pairs == at_once.pairs


def test_what_cannot_be_read_in_pieces_is_read_at_once(monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", 100)
    model, x, quantities = one_sequence(200)
    given = tc.Input(x, "x", "random", quantities=quantities)
    assert blocks.reads_in_blocks(model, given)
    gaps = {"sum": np.where(np.arange(200) == 7, np.nan, 1.0)}
    assert not blocks.reads_in_blocks(parameters(), given)
    assert not blocks.reads_in_blocks(model, replace(given, quantities=gaps))
    assert not blocks.reads_in_blocks(model, replace(given, reverse=True))
    assert not blocks.reads_in_blocks(model, replace(given, x=x[:100], quantities={}))
    assert not blocks.reads_in_blocks(model, replace(given, x=x[:, np.newaxis], quantities={}))
