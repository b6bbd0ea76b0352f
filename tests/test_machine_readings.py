"""What the reading of units says of compiled networks: each counter, flag and timer named for what it is."""

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_for, network_of
from tallycell.machine import shipped_machine, shipped_machines
from tallycell.machine.compiling import compilation
from tallycell.machine.extracting.allowed import allowed_inputs
from tallycell.machine.extracting.recording import record_strings
from tallycell.machine.extracting.strings import strings_of_machine
from tallycell.machine.notation.text import parse
from tallycell.reading.roles import FEWEST_MOVEMENTS

TIMED = """
alphabet x "\\n"
counter length
on x     length +1
on "\\n"  length reset
tag over when length > 3
"""
SET_AND_CLEARED = """
alphabet a b c
state low:
  on a   -> middle
  on b   hold
  on c   -> high
  tag x
state middle:
  on a c hold
  on b   -> low
  tag y
state high:
  on a   -> low
  on b   -> middle
  on c   hold
says any of x y
"""
SLOW = ("anbncn", "anbncndn", "cycle-navigation")


def strings_for(machine, net):
    """Strings that keep the machine from failing as long as may be, with their near misses."""
    return strings_of_machine(machine, allowed_inputs(net, None).automaton)


def read(machine, net, strings):
    trace = tc.record_trace(net, net.inputs[strings.codes], lengths=strings.lengths)
    columns = zip(strings.codes.T, strings.lengths, strict=True)
    tokens = [[machine.alphabet[code] for code in string[:length]] for string, length in columns]
    return tc.read_units(trace, tokens=tokens).units


def purposes(net, strings):
    """What each unit is, by its gates and cell rounded to integers: no tally, no fit.

    A unit that keeps what it holds and moves it counts, as a timer if it nearly always moves; one that holds no more
    than two values is a flag, and one that keeps nothing has no memory of its own. One that hardly moves is not known.
    """
    recorded, taken = record_strings(net, strings), strings.taken
    before, after = np.rint(recorded.c[:-1][taken]), np.rint(recorded.c[1:][taken])
    keep, step = recorded.f[taken] > 0.5, np.rint((recorded.i * recorded.g)[taken])
    for unit in range(net.parameters.hidden_size):
        if len(np.unique(after[:, unit])) == 1:
            yield "constant"
        elif max((step[:, unit] != 0).sum(), (~keep[:, unit] & (before[:, unit] != 0)).sum()) < FEWEST_MOVEMENTS:
            yield "unknown"
        elif not (keep[:, unit] & (before[:, unit] != 0)).any():
            yield "memoryless"
        elif len(np.unique(after[:, unit])) == 2:
            yield "flag"
        else:
            moving = np.sign(step[keep[:, unit], unit])
            yield "timer" if max((moving > 0).mean(), (moving < 0).mean()) >= 0.8 else "counter"


def assert_named(machine, net):
    strings = strings_for(machine, net)
    units = read(machine, net, strings)
    assert [unit.role for unit in units] == list(purposes(net, strings))
    assert all(unit.r2 > 0.999 for unit in units if unit.role not in ("constant", "unknown"))
    return units


@pytest.mark.parametrize("name", shipped_machines())
def test_units_of_a_shipped_machine_are_named_for_what_they_are(name, monkeypatch):
    if name in SLOW:  # the search for shorter codes takes seconds; without it the control is one-hot
        monkeypatch.setattr(compilation, "_TRIES", 0)
    machine = shipped_machine(name)
    units = assert_named(machine, tc.compile_machine(machine) if name in SLOW else network_of(name))
    counting = [unit for unit in units if unit.role in ("counter", "timer")]
    assert len(counting) >= len(machine.counters)  # a counter may be kept as its two parts


def test_the_counter_of_brackets_is_said_to_count_them():
    units = assert_named(shipped_machine("dyck-1"), network_of("dyck-1"))
    assert units[0].sentence == "Counts up by 1 at '(' and down by 1 at ')'; never forgets; always shown."


def test_a_counter_that_nearly_always_moves_is_a_timer():
    (unit,) = assert_named(parse(TIMED), network_for(parse(TIMED)))
    assert unit.role == "timer"
    assert unit.sentence.startswith("Times: it goes up by 1 at 'x'; reset at newline; forgets within ")


def test_three_states_are_flags_or_shown_at_each_step_and_nothing_counts():
    machine = parse(SET_AND_CLEARED)
    assert {unit.role for unit in assert_named(machine, network_for(machine))} <= {"flag", "memoryless"}


def test_a_leaky_counter_is_not_named_as_if_it_were_exact():
    """The near miss: the same network with f = 0.8."""
    machine = shipped_machine("majority")
    net = network_of("majority")
    weights = {name: np.array(weight) for name, weight in net.parameters.weights.items()}
    units = net.parameters.hidden_size
    for name in weights:
        weights[name][units : 2 * units] = 0
    weights["bias_ih_l0"][units : 2 * units] = np.log(0.8 / 0.2)
    strings = strings_for(machine, net)
    leaky = tc.Recogniser(
        net.alphabet, net.inputs, tc.LSTMParameters(weights), net.readout_weight, net.readout_bias, net.outputs,
        net.decision,
    )  # fmt: skip
    (unit,) = read(machine, leaky, strings)
    assert unit.role == "leaky integrator"
    assert unit.r2_by_rung["binary tally"] < 0.999
