"""The method ``plot`` of a value is the function of the room that draws."""

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_of
from tallycell import plot
from tallycell.machine import shipped_machine

pytest.importorskip("matplotlib", reason="needs the extra plot")
MODEL = network_of("anbn")
GIVEN = "aaabbb" * 40


@pytest.fixture(scope="module")
def values():
    x = np.stack([MODEL.inputs[MODEL.alphabet.index(s)] for s in GIVEN])
    trace = tc.record_trace(MODEL, x)
    reading = tc.read_units(trace, tokens=GIVEN)
    return {
        "reading": (reading.plot(), plot.plot_saturation(reading)),
        "unit": (reading.units[0].plot(trace), plot.plot_unit(trace, reading.units[0])),
        "account": (tc.explain_output(MODEL, x, -1, 0).plot(), plot.plot_account(tc.explain_output(MODEL, x, -1, 0))),
        "effects": (tc.measure_effects(MODEL, x).plot(), plot.plot_effects(tc.measure_effects(MODEL, x))),
        "machine": (shipped_machine("anbn").plot(), plot.plot_machine(shipped_machine("anbn"))),
    }


@pytest.mark.parametrize("name", ["reading", "unit", "account", "effects", "machine"])
def test_the_method_draws_what_the_function_draws(values, name):
    import io

    drawn = []
    for figure in values[name]:
        written = io.BytesIO()
        figure.savefig(written, format="png", metadata={"Software": None})
        drawn.append(written.getvalue())
    assert drawn[0] == drawn[1]
