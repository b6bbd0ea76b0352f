"""Read block by block: what is known of the steps goes by its labels, and the first pass looks at a bounded part."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from tallycell.errors import InputError
from tallycell.reading import blocks, cells
from tallycell.reading.levels import MOST_STRETCHES, fit_levels, stretch_of
from test_reading_sums import one_sequence

DAYS = np.datetime64("2001-01-01", "ns") + np.arange(2_000) * np.timedelta64(1, "D")


@pytest.fixture(autouse=True)
def _short_is_long(monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_AT_ONCE", 100)
    monkeypatch.setattr(blocks, "BLOCK", 5 * 300)


def given_with(quantity, **fields):
    model, x, _ = one_sequence(2_000)
    return model, tc.Input(x, "x", "random", quantities={"sum": quantity}, **fields)


QUANTITY = np.cumsum(one_sequence(2_000)[1][:, 0])


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        (np.r_[QUANTITY, np.zeros(50)], r"quantity 'sum' has shape \(2050,\), expected \(sequence, time\) = \(1, 2000"),
        (QUANTITY[:1500], r"quantity 'sum' has shape \(1500,\), expected"),
        (xr.DataArray(QUANTITY, coords={"time": DAYS}), "quantity 'sum' has no value at time 0, which the input has"),
        (xr.DataArray(QUANTITY, coords={"time": np.arange(2_000) + 7}), "has no value at time 0, .* begins at 7"),
    ],
    ids=["too long", "too short", "dates", "shifted"],
)
def test_what_is_refused_at_once_is_refused_in_blocks(quantity, said):
    model, given = given_with(quantity)
    with pytest.raises(InputError, match=said):
        tc.read_units(tc.record_trace(model, given), given)
    with pytest.raises(InputError, match=said):
        blocks.reads_in_blocks(model, given)
    with pytest.raises(InputError, match=said):
        blocks.read_in_blocks(model, given)


def test_a_quantity_with_its_sequence_and_tokens_in_a_list_of_lists_are_read_in_blocks_too():
    plain = given_with(QUANTITY, tokens=["ab"[k] for k in (QUANTITY > 0).astype(int)])
    nested = given_with(QUANTITY[np.newaxis], tokens=[plain[1].tokens])
    readings = []
    for model, given in (plain, nested):
        assert blocks.reads_in_blocks(model, given)
        readings.append(blocks.read_in_blocks(model, given, compare=False))
    assert readings[0].units == readings[1].units


def test_an_input_with_lengths_is_read_at_once():
    model, given = given_with(QUANTITY)
    assert not blocks.reads_in_blocks(model, replace(given, lengths=np.array([1_900])))


@pytest.mark.parametrize("quoted", [1, 9, 320, 321, 1_000, 30_000, 159_999, 160_000])
def test_r2_is_quoted_on_at_most_32_stretches(quoted):
    assert -(-quoted // stretch_of(quoted)) <= MOST_STRETCHES


def test_longer_stretches_are_not_made():
    assert [stretch_of(steps) for steps in (1, 320, 321, 160_001, 10**9)] == [10, 10, 11, 5_000, 5_000]


@pytest.mark.parametrize("tokens", [True, False], ids=["symbols", "features"])
def test_first_pass_in_blocks_looks_at_the_part_that_it_looks_at_at_once(monkeypatch, tokens):
    """Stretches that begin and end within pieces, the last of them shorter."""
    monkeypatch.setattr(cells, "MOST_FITTED", 600)
    monkeypatch.setattr(cells, "STRETCH", 170)
    model, x, quantities = one_sequence()
    symbols = ["abc"[k] for k in x.argmax(axis=1)] if tokens else None
    given = tc.Input(x, "x", "random", tokens=symbols, quantities=quantities)
    found = []
    monkeypatch.setattr(blocks, "_fit", lambda *of, fit=blocks._fit: found.append(fit(*of)) or found[-1])
    reading = blocks.read_in_blocks(model, given, compare=False)
    trace = tc.record_trace(model, given)
    trace = trace.drop_vars("x") if tokens else trace
    levels = fit_levels(trace, given)
    assert int(found[0].stretch) == int(levels.stretch) == 63  # 2,000 steps in 32 stretches
    # Bits of a state depend on how many steps are recorded at once.
    np.testing.assert_allclose(found[0].values, levels.values, atol=1e-3)
    np.testing.assert_allclose(found[0].marks, levels.marks, atol=1e-3)
    for one, other in zip(reading.units, tc.read_units(trace, given).units, strict=True):
        assert one.role == other.role
        assert [rung.r2 for rung in one.ladder] == pytest.approx([rung.r2 for rung in other.ladder], abs=1e-4)
        assert (one.r2_error, one.memory) == pytest.approx((other.r2_error, other.memory), rel=1e-3)
