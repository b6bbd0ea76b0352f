"""Many sequences, some at a time: the reading of all at once, and never more recorded together than was asked for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tallycell as tc
from tallycell.errors import InputError
from tallycell.reading import batches, blocks
from tallycell.reading.batches import Batches, read_batches
from tallycell.reading.parts import first_steps, lengths_of
from test_reading_sums import parameters

LENGTHS = np.array([90, 150, 40, 150, 7, 120, 81, 150, 60])
DRAW = np.random.default_rng(5)
X = DRAW.normal(size=(150, 9, 3)).astype(np.float32)
SUMS = np.where(np.arange(150) < LENGTHS[:, np.newaxis], np.cumsum(X[..., 0], axis=0).T, np.nan)
GAPS = np.where(DRAW.random(SUMS.shape) < 0.3, np.nan, SUMS)
TOKENS = [["ab"[int(one > 0)] for one in X[:length, k, 0]] for k, length in enumerate(LENGTHS)]
DATES = np.datetime64("2001-01-01", "ns") + np.arange(150) * np.timedelta64(1, "D")


def made(kind):
    """An input of several sequences, of all that one may have."""
    quantities = {"sum": xr.DataArray(SUMS, dims=("sequence", "time"), attrs={"units": "mm"}), "gaps": GAPS}
    given = tc.Input(X, "x", "random", quantities=quantities, lengths=LENGTHS)
    if kind == "tokens":
        return replace(given, tokens=TOKENS)
    if kind == "dates":
        x = xr.DataArray(X, dims=("time", "sequence", "feature"), coords={"time": DATES, "sequence": list("abcdefghi")})
        quantities["sum"] = quantities["sum"].assign_coords(time=DATES)
        return replace(given, x=x)
    if kind == "states":
        state = tuple(DRAW.normal(size=(2, 9, 5)).astype(np.float32) for _ in range(2))
        return replace(given, state=state)
    return given


@pytest.mark.parametrize("kind", ["plain", "tokens", "dates", "states"])
def test_some_at_a_time_are_all_at_once(kind):
    model, given = parameters(), made(kind)
    calls = []
    found = read_batches(
        model, given, values=300 * 10, look=10_000, compare=False, progress=lambda *c: calls.append(c)
    )  # fmt: skip
    kept = ("i", "f", "g", "o", "c", *["x"] * (given.tokens is None))
    at_once = tc.read_units(tc.record_trace(model, given, record=tc.Record(kept)), given)
    assert calls[-1] == (LENGTHS.sum(), LENGTHS.sum())
    assert len(calls) > 3
    for one, other in zip(found.units, at_once.units, strict=True):
        assert [rung.r2 for rung in one.ladder] == pytest.approx([rung.r2 for rung in other.ladder], abs=1e-6)
        assert (one.r2_error, one.memory) == pytest.approx((other.r2_error, other.memory), rel=1e-5)
        assert (one.role, one.sentence) == (other.role, other.sentence)
    assert found.pairs == at_once.pairs
    assert found.clock.step_seconds == at_once.clock.step_seconds


def test_no_more_is_recorded_together_than_asked_for(monkeypatch):
    sizes = []

    def record(model, part, **options):
        sizes.append(np.prod(part.x.shape[:2]))
        return tc.record_trace(model, part, **options)

    monkeypatch.setattr(batches, "record_trace", record)
    read_batches(parameters(), made("plain"), values=40 * 10, look=200, compare=False)
    look, *others = sizes
    assert look <= 300  # two sequences, the shorter padded to the longer
    assert max(others) <= 150  # one sequence is longer than 40 steps
    assert len(others) == len(LENGTHS)


@pytest.mark.parametrize("at_once", [1, 160, 300, 310, 10_000])
def test_batches_hold_each_sequence_once_and_end_where_the_half_does(at_once):
    whole = Batches(parameters(), made("plain"), at_once)
    cuts = list(whole.cuts())
    assert np.concatenate(cuts).tolist() == list(range(9))
    assert any(cut[0] == whole.half == 5 for cut in cuts)
    assert all(len(cut) == 1 or len(cut) * LENGTHS[cut].max() <= at_once for cut in cuts)


@pytest.mark.parametrize(("steps", "each"), [(1, 1), (200, 1), (400, 2), (847, 4)])
def test_of_either_half_as_many_sequences_are_looked_at(steps, each):
    chosen = Batches(parameters(), made("plain"), 100).spread(steps)
    assert ((chosen < 5).sum(), (chosen >= 5).sum(), len(set(chosen.tolist()))) == (each, each, 2 * each)


def test_several_sequences_are_read_in_blocks_where_they_are_long(monkeypatch):
    model, given = parameters(), made("dates")
    assert not blocks.reads_in_blocks(model, given)
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", int(LENGTHS.sum()))
    assert not blocks.reads_in_blocks(model, given)
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", int(LENGTHS.sum()) - 1)
    assert blocks.reads_in_blocks(model, given)
    assert blocks.read_in_blocks(model, given).nothing_learned.units == 10
    wrong = xr.DataArray(SUMS, dims=("sequence", "time"), coords={"time": DATES + np.timedelta64(1, "D")})
    with pytest.raises(InputError, match="quantity 'sum' has no value at time 2001-01-01"):
        blocks.reads_in_blocks(model, replace(given, quantities={"sum": wrong}))


def test_the_first_steps_are_whole_sequences():
    given = first_steps(made("tokens"), 280)
    assert lengths_of(given).tolist() == [90, 150, 40]
    assert given.tokens == TOKENS[:3]
    np.testing.assert_array_equal(given.quantities["sum"], SUMS[:3])
    assert given.quantities["sum"].attrs == {"units": "mm"}
    assert lengths_of(first_steps(made("tokens"), 3)).tolist() == [90]


def test_the_command_reads_several_files_in_blocks(run, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", 150)
    monkeypatch.setattr(blocks, "BLOCK", 400)
    tc.save(parameters(both=False), tmp_path / "m.safetensors")
    names = []
    for k in range(4):
        names.append(tmp_path / f"{'abcd'[k]}.csv")
        frame = pd.DataFrame(X[:100, k], columns=["rain", "cold", "wind"], index=pd.Index(DATES[:100], name="date"))
        frame.to_csv(names[-1])
    page = tmp_path / "page.html"
    options = [one for name in names for one in ("--array", name)]
    status, out, err = run("read", tmp_path / "m.safetensors", *options, "--html", page)
    assert status == 0, err
    assert "100 x 4 x 3" in out
    assert "the first 100 of 400 steps" in page.read_text(encoding="utf-8")
