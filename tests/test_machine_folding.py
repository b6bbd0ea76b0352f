"""Situations known in part, joined to the smallest machine: copies of states are one again, and what counts counts."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from tallycell.learning.languages import language
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.machine.extracting.extraction import extract_machine
from tallycell.machine.extracting.folding import fold
from tallycell.machine.extracting.walk import Walk
from tallycell.parameters import LSTMParameters

PLACES, COPIES = 5, 4


def _walk(edges, said):
    """Walk of situations that count nothing, of edges (source, symbol, target) with their votes and what is said."""
    source, symbol, target = np.array(list(edges)).T
    none = np.zeros((len(said), 1), int)
    return Walk(
        np.ones(1, int), none, none.astype(bool), np.arange(len(said)), np.eye(max(said) + 1, dtype=bool)[said],
        source, symbol, target, np.array(list(edges.values())), np.ones((len(source), 1), bool),
        np.zeros((len(source), 1), int), np.zeros(1, int), seen=True,
    )  # fmt: skip


def _circle(rng, steps):
    """Places of a circle of five, each in some copies that say and do the same; a walk that goes to any of them."""
    edges, here = {}, 0
    for symbol in rng.integers(3, size=steps):
        place = (here // COPIES + symbol - 1) % PLACES
        there = place * COPIES + int(rng.integers(COPIES))
        edges[here, int(symbol), there] = edges.get((here, int(symbol), there), 0) + 1
        here = there
    return edges, np.arange(PLACES * COPIES) // COPIES


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_state_are_one_again(seed):
    edges, place = _circle(np.random.default_rng(seed), 400)
    assert len(edges) < PLACES * COPIES * 3 * COPIES  # not all that can follow was seen
    block = fold(_walk(edges, place)).block
    for one, other in product(range(len(place)), repeat=2):
        assert (block[one] == block[other]) == (place[one] == place[other])


def test_states_are_told_apart_by_what_follows_after_some_symbols():
    # Says 1 after every third symbol; of the first three situations nothing else is said.
    said = [0, 0, 0, 1, 0, 0, 1]
    block = fold(_walk({(k, 0, k + 1): 1 for k in range(6)}, said)).block
    assert len(set(block.tolist())) == 4
    assert block[1] == block[4]
    assert block[3] == block[6]


def test_rare_steps_that_contradict_are_left_out_and_many_are_not():
    edges, place = _circle(np.random.default_rng(0), 40_000)
    wrong = (0, 0, 3 * COPIES)
    block = fold(_walk({wrong: 30, **edges}, place)).block
    assert len(set(block.tolist())) == PLACES
    assert fold(_walk({wrong: 60, **edges}, place)) is None


def test_what_has_to_be_counted_is_not_folded():
    # Of a number of a, one b leads back to none or not: which, the situation does not tell.
    assert fold(_walk({(0, 0, 1): 9, (1, 0, 1): 9, (1, 1, 1): 4, (1, 1, 0): 5}, [0, 1])) is None


def test_a_step_that_moves_a_cell_now_so_now_otherwise_is_not_folded():
    walk = _walk({(0, 0, 1): 9, (0, 0, 2): 9}, [0, 1, 2])
    walk = replace(walk, level=np.array([[0], [1], [-1]]))
    assert fold(walk) is not None  # the cell tells what follows
    assert fold(replace(walk, step=np.array([[1], [-1]]))) is None  # but not what will have moved it


def _samples(of, strings, size):
    return [of.text(codes) for codes in of.of_length(np.random.default_rng(0), strings, size)]


def test_a_circle_is_read_without_counters_from_few_strings():
    of = language("cycle-navigation")
    extraction = extract_machine(_in_many_situations(of.machine), _samples(of, 40, 20))
    assert extraction.exact
    assert extraction.text.endswith("what no string did is filled in as the smallest machine has it")
    assert extraction.machine.counters == ()
    assert len(extraction.machine.states) <= PLACES + 1  # the start says what it says without having been judged


def _in_many_situations(machine):
    """Compile a machine, with two more units that go up and down for nothing, so that situations are many."""
    net = compile_machine(machine)
    units = net.parameters.hidden_size
    weights = {}
    for name, weight in net.parameters.weights.items():
        blocks = weight.reshape(4, units, *weight.shape[1:])
        more = np.zeros((4, 2, *weight.shape[1:]), weight.dtype)
        if name == "weight_hh_l0":
            blocks, more = (
                np.concatenate([one, np.zeros((4, one.shape[1], 2), one.dtype)], axis=2) for one in (blocks, more)
            )
        if name == "weight_ih_l0":
            more[[0, 1, 3]] = 50
            more[2] = [[50, -50, 50], [-50, -50, 50]]
        weights[name] = np.concatenate([blocks, more], axis=1).reshape(4 * (units + 2), *blocks.shape[2:])
    states = {
        name: None if state is None else np.concatenate([state, np.zeros((1, 2), state.dtype)], axis=1)
        for name, state in (("h_0", net.h_0), ("c_0", net.c_0))
    }
    readout = np.concatenate([net.readout_weight, np.zeros((len(net.outputs), 2), net.readout_weight.dtype)], axis=1)
    return replace(net, parameters=LSTMParameters(weights), readout_weight=readout, **states)


@pytest.mark.parametrize(("name", "counters"), [("dyck-1", 1), ("shuffle-2", 2), ("anbncn", 2)])
def test_what_is_read_from_strings_counts_far_beyond_them(name, counters):
    of = language(name)
    sample = of.draw(np.random.default_rng(0), 200)
    strings = [of.text(codes[:length]) for codes, length in zip(sample.codes, sample.lengths, strict=True)]
    machine = extract_machine(compile_machine(of.machine), strings).machine
    assert len(machine.counters) == counters
    far = {"dyck-1": ["(" * 500 + ")" * 500], "shuffle-2": ["([" * 500 + ")" * 500 + "]" * 500]}
    for text in far.get(name, ["a" * 500 + "b" * 500 + "c" * 500]):
        assert machine.accepts(text)
        assert not machine.accepts(text[:-1])
        assert not machine.accepts(text + text[-1])
        assert not machine.accepts(text[1:])
