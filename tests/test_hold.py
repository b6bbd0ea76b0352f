"""Holding gates and states at a value: what a hold reaches, and what it cannot name."""

import math

import numpy as np
import pytest

from tallycell.errors import InputError
from tallycell.kernels.hold import Hold, held_values
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.parameters import LSTMParameters

RNG = np.random.default_rng(9)
WEIGHTS = {
    f"{kind}_l{layer}": RNG.normal(size=shape)
    for layer, width in ((0, 3), (1, 2))
    for kind, shape in (("weight_ih", (16, width)), ("weight_hh", (16, 2)), ("weight_hr", (2, 4)))
}
PARAMETERS = LSTMParameters(WEIGHTS)  # two layers of four units, projected to two
X = RNG.normal(size=(5, 2, 3))


def test_a_hold_reaches_its_layer_units_and_steps_and_no_other():
    free = list(run_stack(PARAMETERS, StackInput(X)))
    hold = Hold("f", 1.0, layer=1, units=[3, 0], steps=slice(2, 4))
    held = list(run_stack(PARAMETERS, StackInput(X), holds=[hold]))
    np.testing.assert_array_equal(held[0][0].h, free[0][0].h)
    np.testing.assert_array_equal(held[1][0].f[:2], free[1][0].f[:2])
    assert (held[1][0].f[2:4][..., [0, 3]] == 1).all()
    assert not np.isclose(held[1][0].f[2:4][..., [1, 2]], 1).any()
    assert not np.array_equal(held[1][0].c[2:], free[1][0].c[2:])


def test_negative_units_and_steps_count_from_the_end():
    found = held_values([Hold("c", 2.0, units=[-1], steps=[-2])], PARAMETERS, 0, 0, 5, 1)["c"]
    assert np.argwhere(~np.isnan(found)).tolist() == [[3, 3]]


def test_h_has_the_size_of_the_projection():
    assert held_values([Hold("h", 0.0)], PARAMETERS, 0, 0, 5, 1)["h"].shape == (5, 2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Hold("x", 1.0), "cannot hold 'x'; what can be held is i, f, g, o, c, h"),
        (lambda: Hold("f", math.nan), "cannot hold f at nan; give a finite number"),
        (
            lambda: Hold("f", 1.0, direction="backward"),
            "in direction 'backward'; directions are forward and reverse",
        ),
    ],
)
def test_a_hold_that_nothing_could_obey_is_refused(make, text):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize(
    ("hold", "text"),
    [
        (Hold("f", 1.0, layer=2), "names layer 2; the LSTM has 2, counted from 0"),
        (Hold("f", 1.0, direction="reverse"), "names the reverse direction; the LSTM reads forward only"),
        (Hold("f", 1.0, units=[4]), "a hold names unit 4; there are 4, counted from 0"),
        (Hold("h", 1.0, units=[2]), "a hold names unit 2; there are 2, counted from 0"),
        (Hold("f", 1.0, steps=[-6]), "a hold names step -6; there are 5, counted from 0"),
    ],
)
def test_a_hold_on_what_is_not_there_is_refused(hold, text):
    with pytest.raises(InputError, match=text):
        list(run_stack(PARAMETERS, StackInput(X), holds=[hold]))
