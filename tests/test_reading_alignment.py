"""Known quantities go by their labels: another series is refused, a gap is left out and counted, and said."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tallycell as tc
from tallycell.errors import InputError
from tallycell.reading.alignment import align_quantities
from tallycell.reading.following import FEWEST_PAIRS

STEPS = 600
DAYS = pd.date_range("2001-01-01", periods=STEPS, name="time")
BIG = 50.0


def store() -> tc.LSTMParameters:
    """One cell that adds up what it is given, and loses a thirtieth a day: a store."""
    f = -np.log(1 / 0.97 - 1)
    weights = {"weight_ih_l0": np.array([[0], [0], [1.0], [0]]), "weight_hh_l0": np.zeros((4, 1))}
    biases = {"bias_ih_l0": np.array([BIG, f, 0.0, BIG]), "bias_hh_l0": np.zeros(4)}
    return tc.LSTMParameters(weights | biases)


def rain() -> np.ndarray:
    """Wet and dry spells in turn, so that the store fills and empties slowly."""
    rng = np.random.default_rng(0)
    return 0.3 * (np.sin(np.arange(STEPS) / 15) > 0.2) * rng.uniform(0.5, 1.5, STEPS)


@pytest.fixture(scope="module")
def trace():
    x = xr.DataArray(rain()[:, np.newaxis], dims=("time", "feature"), coords={"time": DAYS, "feature": ["rain"]})
    return tc.record_trace(store(), x)


@pytest.fixture(scope="module")
def snow(trace):
    """A quantity that the cell follows, by date."""
    return trace.c.isel(layer=0, direction=0, sequence=0, unit=0).drop_vars(
        ["layer", "direction", "sequence", "unit", "step"]
    )


def follows(trace, quantity):
    return tc.read_units(trace, quantities={"snow": quantity}).units[0].follows


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_a_series_of_the_inputs_dates_is_followed(trace, snow):
    series = snow.to_series()
    same = [snow, series, series.to_numpy(), xr.DataArray(snow.to_numpy(), dims="time"), series.reset_index(drop=True)]
    same.append(snow.expand_dims(sequence=[0]))
    for one in same:
        assert follows(trace, one).correlation == pytest.approx(1)
    for whole in (pd.DataFrame({"snow": series}), xr.Dataset({"snow": snow})):
        reading = tc.read_units(trace, quantities=whole)
        assert reading.units[0].follows.quantity == "snow"
        assert reading.pairs == {"snow": STEPS}
        assert reading.notes == ()


WRONG = {
    "shifted": (
        lambda snow: snow.assign_coords(time=snow.time + np.timedelta64(100, "D")),
        "quantity 'snow' has no value at time 2001-01-01, which the input has; its time begins at 2001-04-11: give it",
    ),
    "by one hour": (
        lambda snow: snow.assign_coords(time=snow.time + np.timedelta64(1, "h")),
        "no value at time 2001-01-01, which the input has; its time begins at 2001-01-01T01:00:00",
    ),
    "shuffled": (
        lambda snow: snow.isel(time=np.random.default_rng(1).permutation(STEPS)),
        "quantity 'snow' has the labels of the input in another order: entry 0 of its time is 20",
    ),
    "reversed": (
        lambda snow: snow[::-1],
        "in another order: entry 0 of its time is 2002-08-23, of the input's 2001-01-01; sort it as the input",
    ),
    "cut short": (lambda snow: snow[:-1], "no value at time 2002-08-23, which the input has; its time begins at 2001"),
    "with a hole": (lambda snow: snow.drop_isel(time=7), "no value at time 2001-01-08, which the input has"),
    "longer": (
        lambda snow: snow.pad(time=(0, 1)).assign_coords(time=pd.date_range("2001-01-01", periods=STEPS + 1)),
        "quantity 'snow' has a value at time 2002-08-24, which the input lacks",
    ),
    "numbered": (lambda snow: snow.assign_coords(time=np.arange(STEPS)), "no value at time 2001-01-01"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("as_series", [False, True])
def test_another_series_is_refused_by_the_first_label_that_differs(trace, snow, kind, as_series):
    change, text = WRONG[kind]
    quantity = change(snow).to_series() if as_series else change(snow)
    if as_series and kind == "numbered":
        quantity = quantity.set_axis(np.arange(STEPS))  # numbers that somebody gave, and no position
    with pytest.raises(InputError) as refused:
        tc.read_units(trace, quantities={"snow": quantity})
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (np.zeros(STEPS - 1), r"quantity 'snow' has shape \(599,\), expected \(sequence, time\) = \(1, 600\)"),
        (xr.DataArray(np.zeros(STEPS - 1), dims="time"), "has 599 entries along time and no labels, the trace has 600"),
        (xr.DataArray(np.zeros(3), dims="day"), "has the dimension 'day'; expected time, and sequence"),
        (xr.DataArray(np.zeros(1), dims="sequence"), "has no dimension time; rename its own"),
        (["much"] * STEPS, "does not make an array of numbers"),
    ],
)
def test_a_quantity_of_another_form_is_refused(trace, quantity, text):
    with pytest.raises(InputError, match=text):
        tc.read_units(trace, quantities={"snow": quantity})


def test_quantities_that_are_no_mapping_are_refused(trace):
    with pytest.raises(InputError, match="quantities is a list; expected a mapping from name to values, a DataFrame"):
        tc.read_units(trace, quantities=[np.zeros(STEPS)])


# ---- gaps ------------------------------------------------------------------------------------------------------------


def test_a_gap_is_left_out_pair_by_pair_and_counted(trace, snow):
    gappy = snow.copy()
    gappy[50:150] = np.nan
    gappy[400::3] = np.nan
    reading = tc.read_units(trace, quantities={"snow": gappy})
    pairs = int(np.isfinite(gappy).sum())
    assert reading.units[0].follows.correlation == pytest.approx(1)
    assert reading.pairs == {"snow": pairs}
    assert reading.notes == (f"snow has a value at {pairs} of 600 steps",)


def test_the_correlation_over_a_gap_is_that_of_the_pairs(trace, snow):
    rng = np.random.default_rng(2)
    noisy = snow + 0.4 * float(snow.std()) * rng.normal(size=STEPS)
    noisy[310::7] = np.nan
    second = slice(STEPS // 2, None)
    c, known = snow.to_numpy()[second], noisy.to_numpy()[second]
    there = np.isfinite(known)
    expected = np.corrcoef(c[there], known[there])[0, 1]
    assert follows(trace, noisy).correlation == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "begin", "apart"),
    [(0, 0, 1), (FEWEST_PAIRS - 1, 280, 1), (41, 280, 1), (60, 0, 10), (250, 0, 1)],
    ids=["none", "few", "enough", "far apart", "in one half"],
)
def test_too_few_values_are_said_and_compared_with_nothing(trace, snow, values, begin, apart):
    few = snow.where(np.isin(np.arange(STEPS), begin + np.arange(values) * apart))
    reading = tc.read_units(trace, quantities={"few": few, "snow": snow})
    assert reading.pairs == {"few": values, "snow": STEPS}
    assert reading.units[0].follows.quantity == "snow" or values in (41, 60)  # then "few" is the same there
    expected = {
        0: "few has no value at any step, too few to compare units with it",
        29: "few has a value at 29 of 600 steps, too few to compare units with it",
        41: "few has a value at 41 of 600 steps",
        60: "few has a value at 60 of 600 steps",  # as of snow courses: each is more than 8 steps behind the last
        250: "few has a value at 250 of 600 steps, too few to compare units with it",  # nothing to test it on
    }
    assert reading.notes == (expected[values],)


def test_a_short_trace_says_once_that_it_is_too_short_to_compare(trace, snow):
    part = tc.record_trace(store(), trace.x.isel(time=slice(0, 20)))
    reading = tc.read_units(part, quantities={"a": snow[:20], "b": snow[:20]})
    assert reading.units[0].follows is None
    assert reading.notes == ("20 steps are too few to compare units with known quantities",)


def test_a_gap_in_one_quantity_hides_no_other(trace, snow):
    gappy = snow.copy()
    gappy[::2] = np.nan
    reading = tc.read_units(trace.drop_vars(["x", "feature"]), quantities={"gappy": gappy, "snow": snow})
    assert reading.leaders()
    assert any("high" in trigger.stimulus for trigger in reading.units[0].triggers["increment"])


# ---- sequences -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two():
    """Two basins over the same days, the second with twice the rain."""
    x = xr.DataArray(
        np.stack([rain(), 2 * rain()[::-1]], axis=1)[..., np.newaxis], dims=("time", "sequence", "feature"),
        coords={"time": DAYS, "sequence": ["Marsh Creek", "Johns Creek"], "feature": ["rain"]},
    )  # fmt: skip
    return tc.record_trace(store(), x)


def stores_of(two):
    return two.c.isel(layer=0, direction=0, unit=0).drop_vars(["layer", "direction", "unit", "step"])


def test_one_sequence_can_be_chosen_and_read(two):
    own = stores_of(two).sel(sequence="Marsh Creek")
    chosen = two.sel(sequence="Marsh Creek")
    reading = tc.read_units(chosen, quantities={"snow": own.drop_attrs()})
    alone = tc.read_units(two.sel(sequence=["Marsh Creek"]), quantities={"snow": own.to_numpy()})
    assert reading == alone
    assert reading.units[0].follows.correlation == pytest.approx(1)
    xr.testing.assert_equal(tc.read_saturation(chosen), tc.read_saturation(two.sel(sequence=["Marsh Creek"])))
    assert tc.read_events(chosen).sizes["sequence"] == 1


def test_a_quantity_of_another_sequence_is_refused(two):
    own = stores_of(two).sel(sequence="Johns Creek")
    with pytest.raises(InputError, match="no value at sequence 'Marsh Creek', which the input has"):
        tc.read_units(two.sel(sequence="Marsh Creek"), quantities={"snow": own})
    with pytest.raises(InputError, match="has the labels of the input in another order: entry 0 of its sequence"):
        align_quantities({"snow": stores_of(two).isel(sequence=[1, 0])}, two)


def test_dimensions_go_by_name_and_one_series_may_hold_for_all_sequences(two):
    both = stores_of(two)
    expected = both.transpose("sequence", "time").to_numpy()
    frame = both.to_series()
    assert set(frame.index.names) == {"sequence", "time"}
    for form in (both, both.transpose("time", "sequence"), frame):
        np.testing.assert_array_equal(align_quantities({"snow": form}, two)["snow"], expected)
    one = both.isel(sequence=0, drop=True)
    np.testing.assert_array_equal(align_quantities({"snow": one}, two)["snow"], expected[[0, 0]])


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_padded_tokens_go_with_the_lengths_and_numbers_with_a_vocabulary():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    codes, lengths = rng.integers(0, 3, (2, 300)), [300, 180]
    trace = tc.record_trace(store(), codes.T[..., np.newaxis] / 9.0, lengths=lengths)
    words = ["not", "good", "."]
    expected = tc.read_units(trace, [[words[k] for k in row[:n]] for row, n in zip(codes, lengths, strict=True)])
    codes[1, 180:] = 77  # padding
    for tokens in (codes, torch.tensor(codes), xr.DataArray(codes.T, dims=("time", "sequence"))):
        assert tc.read_units(trace, tokens, vocabulary=words) == expected
    as_words = np.array([*words, *[""] * 75])[codes]
    assert tc.read_units(trace, as_words) == expected
    with pytest.raises(InputError, match=r"tokens are numbers such as \d; give vocabulary=, the symbol of each"):
        tc.read_units(trace, codes)
    with pytest.raises(InputError, match="token 2 is none of the vocabulary's, which has 2 symbols from 0"):
        tc.read_units(trace, codes, vocabulary=words[:2])
    with pytest.raises(InputError, match=r"got tokens of shape \(2, 200\), the trace has 2 sequences of up to 300"):
        tc.read_units(trace, codes[:, :200], vocabulary=words)
