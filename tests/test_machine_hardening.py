"""A network that counts about right, made exact on its own units."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_for, network_of
from tallycell.errors import ParameterError
from tallycell.machine import shipped_machine
from tallycell.machine.compiling.rebuilding import _corners, rebuild_units
from tallycell.machine.extracting.extraction import extract_with_walk
from tallycell.machine.extracting.recording import record_strings
from tallycell.machine.extracting.strings import Strings

pytestmark = pytest.mark.usefixtures("hardening_compiles_once")


def scattered(net, places, units, noise=0.0):
    """The network with its units at other places among more, which stay at 0; weights off by a relative noise."""
    draw = np.random.default_rng(0)
    weights = {}
    for name, weight in net.parameters.weights.items():
        by_gate = weight.reshape(4, len(places), *weight.shape[1:])
        wider = np.zeros((4, units, *weight.shape[1:]), weight.dtype)
        wider[:, places] = by_gate * (1 + noise * draw.normal(size=by_gate.shape))
        if name.startswith("weight_hh"):
            columns = np.zeros((4, units, units), weight.dtype)
            columns[:, :, places] = wider
            wider = columns
        weights[name] = wider.reshape(4 * units, *wider.shape[2:])
    readout = np.zeros((len(net.outputs), units))
    readout[:, places] = net.readout_weight
    states = {}
    for name in ("h_0", "c_0"):
        if getattr(net, name) is not None:
            states[name] = np.zeros((1, units))
            states[name][:, places] = getattr(net, name)
    return replace(net, parameters=tc.LSTMParameters(weights), readout_weight=readout, **states)


@pytest.mark.parametrize("name", ["anbn", "anb2n"])
def test_hardened_network_counts_in_the_cells_of_the_old(name):
    machine, exact = shipped_machine(name), network_of(name)
    places = np.array([4, 1, 2, 5][: exact.parameters.hidden_size])
    old = scattered(exact, places, units=6, noise=3e-3)
    hardened = tc.harden(old)
    assert hardened.same_units
    assert {key: weight.shape for key, weight in hardened.net.parameters.weights.items()} == {
        key: weight.shape for key, weight in old.parameters.weights.items()
    }
    assert hardened.net.parameters.dtype == np.float32
    extractions = hardened.extraction, tc.extract_machine(hardened.net)
    cells = [[one.unit for one in extraction.evidence] for extraction in extractions]
    assert cells[0] == cells[1]
    assert cells[0][0] in places
    before, after = (tc.counting_horizon(machine, net).symbols for net in (old, hardened.net))
    assert before <= after
    assert after > 8 * 10**6


def leaky_counter():
    weights = {"weight_ih_l0": [[50, 50], [3, 3], [50, -50], [50, 50.0]], "weight_hh_l0": np.zeros((4, 1))}
    lstm = tc.LSTMParameters({name: np.array(weight) for name, weight in weights.items()})
    return tc.Recogniser(("a", "b"), np.eye(2), lstm, [[1.0]], [-0.5], ("above",), "threshold")


def test_network_that_does_not_fit_the_old_units_has_its_own(monkeypatch):
    def compile_wider(machine, dtype):
        return scattered(tc.compile_machine(machine, dtype), np.array([2]), units=3)

    net = leaky_counter()
    assert tc.harden(net, anyway=True).same_units
    monkeypatch.setattr("tallycell.machine.hardening.compile_machine", compile_wider)
    wider = tc.harden(net, anyway=True)
    assert (wider.same_units, wider.net.parameters.hidden_size) == (False, 3)
    assert tc.counting_horizon(wider.extraction.machine, wider.net).symbols > 10**9


def test_initial_states_go_to_the_places_of_their_units(monkeypatch):
    def compile_with_start(machine, dtype):
        return replace(tc.compile_machine(machine, dtype), h_0=np.tanh([[1.0]]), c_0=np.array([[1.0]]))

    monkeypatch.setattr("tallycell.machine.hardening.compile_machine", compile_with_start)
    hardened = tc.harden(scattered(leaky_counter(), np.array([2]), units=3), anyway=True).net
    np.testing.assert_array_equal(hardened.c_0, [[0, 0, 1]])
    np.testing.assert_array_equal(hardened.h_0, [[0, 0, np.tanh(1.0)]])


def test_a_network_that_is_not_its_machine_is_not_hardened_unless_told():
    net = leaky_counter()
    with pytest.raises(ParameterError) as refused:
        tc.harden(net)
    said = str(refused.value)
    assert said.startswith("the network is not hardened, as no counter machine was found that decides as it does: 1,3")
    assert "layer 0 unit 0: f is 0.953, not 1: it forgets 4.74% of its cell each step; try what it should" in said
    assert said.endswith("or harden(net, anyway=True)")
    short = ["".join(one) for one in ("a", "ab", "aabb", "aaabbb", "abab", "b", "ba")]
    assert tc.harden(net, short).extraction.exact  # the near miss: where it is meant to read these alone, it is exact


def test_symbol_for_all_others_is_kept():
    net = replace(network_of("dyck-1"), unknown="(")
    hardened = tc.harden(net).net
    assert hardened.unknown == "("
    assert hardened.encode("x").tolist() == net.encode("x").tolist()


def test_hardened_network_of_two_layers_has_one():
    below = network_of("dyck-1", "float64")
    units = below.parameters.hidden_size
    weights = dict(below.parameters.weights)
    # The second layer shows each h of the first for one step: g = tanh(50 h), kept by nothing.
    passing = np.concatenate([np.zeros((2 * units, units)), 50 * np.eye(units), np.zeros((units, units))])
    weights |= {
        "weight_ih_l1": passing, "weight_hh_l1": np.zeros((4 * units, units)),
        "bias_ih_l1": np.repeat([50.0, -50.0, 0.0, 50.0], units), "bias_hh_l1": np.zeros(4 * units),
    }  # fmt: skip
    states = {
        name: None if (one := getattr(below, name)) is None else np.concatenate([one, np.zeros_like(one)])
        for name in ("h_0", "c_0")
    }
    deep = replace(below, parameters=tc.LSTMParameters(weights), **states)
    hardened = tc.harden(deep)
    assert hardened.net.parameters.num_layers == 1
    assert not hardened.same_units
    assert tc.counting_horizon(hardened.extraction.machine, hardened.net).symbols > 10**9


@pytest.mark.parametrize("name", ["comment-depth", "modulo-5"])
def test_network_whose_machine_alone_needs_more_units_keeps_its_own(name):
    """Three units of nested comments, read as a program and compiled anew, would be seven."""
    exact = network_of(name)
    units = exact.parameters.hidden_size
    old = scattered(exact, np.arange(units), units, noise=3e-3)
    hardened = tc.harden(old)
    assert network_for(hardened.extraction.machine).parameters.hidden_size > units
    assert (hardened.same_units, hardened.net.parameters.hidden_size) == (True, units)
    checked = tc.check_machine(hardened.extraction.machine, hardened.net, length=6, samples=50, longest=2_000)
    assert checked.agree
    assert tc.counting_horizon(hardened.extraction.machine, hardened.net).symbols >= 2**24


@cache
def walk_of(name):
    extraction, walk = extract_with_walk(network_of(name))
    assert walk is not None
    return extraction.machine, walk


def test_rebuilt_gates_are_at_their_limits_and_count_near_misses_right():
    machine, walk = walk_of("comment-depth")
    net = rebuild_units(walk, machine, "float32")
    for string in ("/*" * 9 + "*/" * 9, "/*" * 9 + "*/" * 8, "/*" * 9 + "*/" * 10, "/*/*x*/" + "/" * 3 + "*/"):
        codes = net.encode(string)
        recorded = record_strings(net, Strings.of([codes], ""))
        expected = [machine.says(at) for at in machine.walk(string)]
        said = [tuple(np.array(net.outputs)[row]) for row in recorded.decided[:, 0]]
        assert said == expected
        assert np.abs(recorded.c - np.rint(recorded.c)).max() < 1e-30
        assert (np.minimum(recorded.i, 1 - recorded.i) < 1e-30).all()


def test_a_walk_that_asks_one_gate_for_two_things_is_not_rebuilt():
    """The near miss: one step more or less in one situation, which no plane tells from the others."""
    machine, walk = walk_of("majority")
    assert rebuild_units(walk, machine, "float32") is not None
    step = walk.step.copy()
    alike = (walk.symbol == 0) & (walk.level[walk.source, 0] == 0)
    step[alike] = -step[alike]
    assert rebuild_units(replace(walk, step=step), machine, "float32") is None


def test_a_large_count_is_exposed_as_anything_from_where_sizes_are_told_apart_to_1():
    _, walk = walk_of("majority")
    situation, features = _corners(walk)
    above = walk.level[situation, 0] == walk.bound[0]
    np.testing.assert_allclose(np.sort(features[above, 0]), [np.tanh(walk.bound[0]), 1.0])


def test_whether_what_is_0_is_exposed_does_not_matter():
    machine, walk = walk_of("comment-depth")
    shown = walk.expose & (walk.level != 0)
    for expose in (shown, shown | (walk.level == 0)):
        assert rebuild_units(replace(walk, expose=expose), machine, "float32") is not None
    draw = np.random.default_rng(0)
    at_random = np.where(walk.level == 0, draw.random(walk.level.shape) < 0.5, walk.expose)
    assert rebuild_units(replace(walk, expose=at_random), machine, "float32") is not None


def test_a_rebuilt_network_that_decides_otherwise_is_not_used(monkeypatch):
    old = network_of("comment-depth")

    def rebuild_wrongly(*arguments):
        net = rebuild_units(*arguments)
        return replace(net, readout_weight=-net.readout_weight)

    monkeypatch.setattr("tallycell.machine.hardening.rebuild_units", rebuild_wrongly)
    hardened = tc.harden(old)
    assert not hardened.same_units
    assert tc.check_machine(hardened.extraction.machine, hardened.net, length=5, samples=20, longest=1_000).agree


def test_with_too_many_corners_nothing_is_rebuilt(monkeypatch):
    machine, walk = walk_of("majority")
    monkeypatch.setattr("tallycell.machine.compiling.rebuilding.MOST_CORNERS", 2)
    assert rebuild_units(walk, machine, "float32") is None


def test_a_network_that_is_not_exact_gives_no_walk_to_rebuild():
    assert extract_with_walk(leaky_counter())[1] is None
