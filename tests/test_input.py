"""Rows of a table stand for the array that they make."""

import numpy as np
import pytest

import tallycell as tc
from tallycell.input import Rows

TABLE = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
CODES = np.array([4, 0, 0, 2, 1, 3, 3], np.uint8)
ROWS, ARRAY = Rows(TABLE, CODES), TABLE[CODES]


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(2, 5), slice(None, None, -1), np.array([3, 1]), ARRAY[:, 0] > 0, (slice(1, 4), 2), (2, 1),
     (3, slice(1)), (slice(None), [0, 2]), (..., 1), None, (None, 0)],
    ids=str,
)  # fmt: skip
def test_an_index_gives_what_it_gives_of_the_array(key):
    np.testing.assert_array_equal(ROWS[key], ARRAY[key])
    assert ROWS[key].shape == ARRAY[key].shape


def test_it_is_an_array_where_one_is_wanted():
    assert (ROWS.shape, ROWS.ndim, ROWS.dtype, len(ROWS)) == (ARRAY.shape, ARRAY.ndim, ARRAY.dtype, len(ARRAY))
    np.testing.assert_array_equal(np.asarray(ROWS), ARRAY)
    assert np.asarray(ROWS, np.float64).dtype == np.float64
    assert ROWS.nbytes == 7
    with pytest.raises(ValueError, match="copied where they become an array"):
        np.asarray(ROWS, copy=False)
    with pytest.raises(IndexError):
        ROWS[7]


def test_a_text_of_any_length_holds_a_byte_a_symbol_of_what_is_read():
    symbols = "abcde"
    model = tc.Recogniser(
        tuple(symbols), TABLE, tc.LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}),
        np.ones((1, 2)), np.zeros(1), ("yes",), "threshold",
    )  # fmt: skip
    given = tc.open_text(model, symbols * 40)
    assert given.x.nbytes == 200
    np.testing.assert_array_equal(given.x, np.tile(TABLE, (40, 1)))
    assert tc.record_trace(model, given).equals(tc.record_trace(model, np.asarray(given.x)))
