"""Compiled networks decide as their machines, in our kernel and in torch.nn.LSTM."""

import itertools

import numpy as np
import pytest

from compiled_once import network_of
from machines import random_machine
from tallycell.errors import ParameterError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.machine import shipped_machine, shipped_machines
from tallycell.machine.compiling import compilation, rewriting
from tallycell.machine.compiling.codes import plan_of_code
from tallycell.machine.compiling.compilation import assemble_network, compile_machine
from tallycell.machine.compiling.control import after_one_state, one_unit_a_state
from tallycell.machine.compiling.separation import Rows, levels_of, separate
from tallycell.machine.compiling.situations import find_situations, program_of
from tallycell.machine.compiling.units import NotSeparableError, Table
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.notation.text import parse

torch = pytest.importorskip("torch")


def said_on_all(machine, length):
    """All strings of a length as numbers (string, time), and what the machine says after each of their steps."""
    symbols = len(machine.alphabet)
    strings = np.array(list(itertools.product(range(symbols), repeat=length)))
    at, said = [machine.start], []
    for t in range(length):
        at = [machine.advance(one, symbol) for one in at for symbol in machine.alphabet]
        of_step = np.array([[name in machine.says(one) for name in machine.outputs] for one in at])
        said.append(np.repeat(of_step, symbols ** (length - 1 - t), axis=0))
    return strings, np.stack(said)


def states_of(net, strings):
    shape = (1, strings, net.parameters.hidden_size)
    return tuple(
        np.broadcast_to(0 if one is None else one[:, None], shape).astype(net.parameters.dtype)
        for one in (net.h_0, net.c_0)
    )


def chosen(net, h):
    decided = net.decide(h)
    return decided if net.decision == "threshold" else decided[..., None] == np.arange(len(net.outputs))


def said_by_kernel(net, strings):
    (steps,) = run_stack(net.parameters, StackInput(net.inputs[strings.T], *states_of(net, len(strings))))
    return chosen(net, steps[0].h)


def said_by_torch(net, strings):
    p = net.parameters
    lstm = torch.nn.LSTM(p.input_size, p.hidden_size, dtype=getattr(torch, str(p.dtype)))
    lstm.load_state_dict({name: torch.tensor(np.array(weight)) for name, weight in p.weights.items()})
    with torch.no_grad():
        h, _ = lstm(torch.tensor(net.inputs[strings.T]), tuple(map(torch.tensor, states_of(net, len(strings)))))
    return chosen(net, h.numpy())


def longest(machine, strings=1100):
    """Length to which all strings are so few."""
    return max(1, int(np.log(strings) / np.log(max(len(machine.alphabet), 2))))


def assert_right(machine, net, length=None, *, in_torch=False):
    strings, said = said_on_all(machine, length or longest(machine))
    np.testing.assert_array_equal(said_by_kernel(net, strings), said)
    if in_torch:
        np.testing.assert_array_equal(said_by_torch(net, strings), said)
    start = chosen(net, states_of(net, 1)[0][0])[0]
    assert tuple(np.array(net.outputs)[start]) == machine.says(machine.start)


@pytest.fixture
def one_hot_only(monkeypatch):
    """Without the search for shorter codes, which finds smaller networks and no others."""
    monkeypatch.setattr(compilation, "_TRIES", 0)


UNITS = {
    "anbn": 3, "anb2n": 3, "anbmcnm": 3, "anbncn": 4, "dyck-1": 2, "dyck-1-depth-5": 3, "shuffle-2": 4, "majority": 1,
    "difference-below-5": 2, "comment-depth": 3, "parity": 1, "even-pairs": 2, "modulo-5": 1, "line-over-80": 12,
    **{f"tomita-{k}": units for k, units in zip(range(1, 8), (1, 2, 2, 2, 2, 4, 2), strict=True)},
}  # fmt: skip
SLOW = {"anbncn", "anbncndn", "cycle-navigation", "shuffle-6"}


@pytest.mark.parametrize("name", [name for name in shipped_machines() if name not in SLOW])
def test_shipped_machine_compiles_into_few_units_and_is_right_on_all_short_strings(name):
    machine, net = shipped_machine(name), network_of(name)
    assert (net.alphabet, net.outputs, net.decision) == (machine.alphabet, machine.outputs, machine.decision)
    assert net.parameters.hidden_size <= UNITS[name]
    assert_right(machine, net, in_torch=True)


@pytest.mark.parametrize("name", ["anbncn", "anbncndn", "cycle-navigation"])
def test_larger_shipped_machine_is_right_on_all_short_strings(name, one_hot_only):
    machine = shipped_machine(name)
    assert_right(machine, compile_machine(machine), in_torch=True)


@pytest.mark.parametrize("name", ["anbn", "dyck-1", "tomita-3", "modulo-5"])
def test_float64_is_right_too(name):
    machine, net = shipped_machine(name), network_of(name, "float64")
    assert net.parameters.dtype == np.float64
    assert_right(machine, net, in_torch=True)


@pytest.mark.parametrize("name", ["anbn", "anb2n", "comment-depth", "tomita-3"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_gate_that_matters_is_at_its_limit(name, dtype):
    net = network_of(name, dtype)
    strings, _ = said_on_all(shipped_machine(name), 6)
    (layer,) = run_stack(net.parameters, StackInput(net.inputs[strings.T], *states_of(net, len(strings))))
    i, f, g, o, c = (getattr(layer[0], gate) for gate in "ifgoc")
    least = 1e-37
    assert ((i < least) | (i == 1)).all()
    assert (o == 1).all()
    assert (np.abs(g)[i == 1] == 1).all()
    before = np.concatenate([states_of(net, len(strings))[1], c[:-1]])
    assert ((f < least) | (f == 1))[np.abs(before) > least].all()
    assert np.abs(c - np.rint(c)).max() < least


def members_and_near_misses(n):
    """a^n b^n, one b fewer, one more, and an a among the b."""
    a, b = np.zeros(n, int), np.ones(n, int)
    broken = np.concatenate([a, b])
    broken[n + n // 2] = 0
    return [np.concatenate([a, b]), np.concatenate([a, b[1:]]), np.concatenate([a, b, [1]]), broken]


def last_said(net, codes, chunk=100_000):
    """What the network says after a long string, its states carried from chunk to chunk."""
    h, c = states_of(net, 1)
    for first in range(0, len(codes), chunk):
        x = net.inputs[codes[first : first + chunk]][:, None]
        (layer,) = run_stack(net.parameters, StackInput(x, h, c))
        h, c = layer[0].h[-1:], layer[0].c[-1:]
    return set(np.array(net.outputs)[chosen(net, h[0, 0])])


def test_million_symbols_and_their_near_misses_are_told_apart():
    net = network_of("anbn")
    n = 500_000
    ends = [last_said(net, codes) for codes in members_and_near_misses(n)]
    assert ends == [{"accept"}, {"b"}, set(), set()]


SYMBOL_ONLY = {"minimal": True, "step_by_symbol_only": True}


@pytest.mark.parametrize("seed", range(24))
def test_machine_whose_steps_depend_on_the_symbol_is_never_refused(seed, one_hot_only):
    machine = random_machine(seed, **SYMBOL_ONLY)
    assert_right(machine, compile_machine(machine))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [{}, {"largest_step": 3}, {"largest_constant": 3}, {"decision": "argmax"}])
def test_machine_with_other_steps_and_constants_is_right_too(seed, kind, one_hot_only):
    machine = random_machine(seed, max_states=3, max_counters=1, minimal=True, **kind)
    assert_right(machine, compile_machine(machine))


@pytest.mark.parametrize("policy", ["hold", "habit", "stop", "reset"])
@pytest.mark.parametrize("seed", range(6))
def test_rewritten_program_says_the_same(seed, policy):
    """Run rules on true integers: each rewriting keeps the outputs on all strings."""
    machine = random_machine(seed, max_counters=1, min_counters=1, largest_constant=1)
    program = program_of(machine, policy)
    if not program.counters:
        pytest.skip("no output or step depends on the counter")
    delayed = rewriting.delay_counter(program, 0)
    ways = [
        rewriting.divide_counter(program, 0, 3), delayed, rewriting.track_places(program, [0]),
        rewriting.track_places(delayed, [0]), rewriting.part_counter(program, 0),
    ]  # fmt: skip
    for way in ways:
        for string in itertools.product(range(len(machine.alphabet)), repeat=4):
            state, values, configuration = way.start, (0,) * len(way.counters), machine.start
            for symbol in string:
                state, actions = way.rule(state, symbol, values)
                values = tuple(action.on(value) for action, value in zip(actions, values, strict=True))
                configuration = machine.advance(configuration, machine.alphabet[symbol])
                expected = machine.says(configuration)
                assert tuple(np.array(machine.outputs)[list(way.says(state, values))]) == expected


def two_way_zero_test():
    return CounterMachine(
        ("a", "b"), ("start",), ("n",), ((0,),),
        next_state=np.zeros((1, 2, 3), int), reset=np.zeros((1, 2, 3, 1), bool),
        step=np.array([[[[1]] * 3, [[-1]] * 3]]), outputs=("accept",), output=np.array([[[False], [True], [False]]]),
    )  # fmt: skip


def test_zero_of_a_two_way_counter_is_told_by_its_two_parts():
    """One counter cannot: 0 lies between. Its positive and negative part can, in two units."""
    with pytest.raises(NotSeparableError) as refused:
        one_unit_a_state(find_situations(program_of(two_way_zero_test())), ("accept",), "threshold", dtype="float32")
    assert refused.value.unit == "output 'accept'"
    net = compile_machine(two_way_zero_test())
    assert net.parameters.hidden_size == 2
    assert_right(two_way_zero_test(), net)


@pytest.mark.parametrize("constant", [6, 7, 30])
def test_constant_out_of_reach_of_tanh_lives_in_the_control(constant, one_hot_only):
    thresholds = ((constant,),)
    machine = CounterMachine(
        ("a", "b"), ("start",), ("n",), thresholds,
        next_state=np.zeros((1, 2, 3), int), reset=np.zeros((1, 2, 3, 1), bool),
        step=np.array([[[[1]] * 3, [[-1]] * 3]]), outputs=("accept",), output=np.array([[[False], [True], [False]]]),
    )  # fmt: skip
    net = compile_machine(machine)
    strings = np.concatenate([np.zeros((3, constant + 2), int), np.ones((3, constant + 2), int)], axis=1)
    expected = []
    for string in strings:
        (*said,) = ("accept" in machine.says(one) for one in machine.walk([machine.alphabet[k] for k in string]))
        expected.append(said[1:])
    got = said_by_kernel(net, strings)[..., 0].T
    np.testing.assert_array_equal(got, expected)
    assert got.sum() == 6  # up through the constant and down through it


def test_tanh_of_neighbours_is_told_apart_as_far_as_float32_allows():
    def tells(k):
        rows = Rows(np.tanh([[k], [k + 1.0], [40.0]]), np.zeros(3, int), 1, "float32")
        return separate(rows, np.array([-1, 1, 1]), levels_of("i", "float32")) is not None

    assert [tells(k) for k in (1, 4, 6, 9)] == [True, True, True, False]


def test_other_dtype_is_refused():
    with pytest.raises(ParameterError, match="dtype is 'float16'; a network is compiled to 'float32' or 'float64'"):
        compile_machine(shipped_machine("parity"), "float16")


def test_refusal_names_the_gate(monkeypatch):
    def refuse(*_, **__):
        raise NotSeparableError("state 3", "i")

    monkeypatch.setattr(compilation, "one_unit_a_state", refuse)
    with pytest.raises(ParameterError, match="the gate i of state 3 has no linear separation of its situations"):
        compile_machine(shipped_machine("anbn"))


def test_fail_says_what_the_machine_says_in_fail():
    machine = shipped_machine("anbn")
    codes = np.array([[0, 1, 0, 1, 1]])
    assert machine.run("aba").state == FAIL
    assert not said_by_kernel(network_of("anbn"), codes)[2:].any()


@pytest.mark.parametrize("said", ["accept", "tag even when n > -1"])
def test_machine_that_has_nothing_to_remember_has_one_unit(said):
    machine = parse(f"alphabet a b\ncounter n\non a b hold\n{said}\n")
    net = compile_machine(machine)
    assert net.parameters.hidden_size == 1
    assert_right(machine, net, in_torch=True)


def parity_from_one():
    """A way to hold parity in one unit that is on at the start."""
    found = find_situations(program_of(shipped_machine("parity")))
    machine = shipped_machine("parity")
    return plan_of_code(Table(found, np.array([[1], [0]]), "float32"), machine.outputs, machine.decision)


def test_network_whose_code_is_on_at_the_start_says_where_it_starts():
    machine = shipped_machine("parity")
    net = assemble_network(parity_from_one(), machine, "float32")
    np.testing.assert_array_equal(net.c_0, [[1.0]])
    np.testing.assert_allclose(net.h_0, [[np.tanh(1.0)]], rtol=1e-6)
    assert_right(machine, net, in_torch=True)


def tracked_and_delayed(dtype="float32"):
    """A machine whose two counters move by state and symbol, with all that the last resort does to it."""
    program = program_of(random_machine(4, minimal=True))
    for counter in range(len(program.counters)):
        program = rewriting.delay_counter(program, counter)
    found = find_situations(rewriting.track_places(program, range(len(program.counters))))
    return Table(found, np.eye(len(found.states), dtype=np.int64)[:, 1:], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_last_resort_fires_on_its_own_steps_and_on_no_others(dtype):
    """Its own rows are above, and all others below, by more than rounding can move them: in the whole table."""
    table = tracked_and_delayed(dtype)
    found, (above, below) = table.situations, levels_of("i", dtype)
    tried = 0
    for before in range(0, len(found.states), 7):
        for symbol in range(found.program.symbols):
            here = (found.state == before)[:, None] & (np.arange(found.program.symbols) == symbol)
            for after in np.unique(found.next_state[here]):
                steps = here & (found.next_state == after)
                plane = after_one_state(table, before, symbol, steps)
                value, error = plane(table.steps_read), plane.error(table.steps_read)
                own = table.corner_wise(steps.astype(int)) > 0
                assert (value - error)[own].min() >= above * (1 - 1e-9)
                assert (value + error)[~own].max() <= -below * (1 - 1e-9)
                tried += before > 0
    assert tried > 20


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gate_that_depends_on_the_state_needs_no_linear_program(seed, dtype, monkeypatch):
    """Any function of the state is a plane over one-hot codes, as long as symbols do not ask different things of it."""
    for room in ("units", "separation"):
        monkeypatch.setattr(f"tallycell.machine.compiling.{room}.largest_margin", None)
    table = tracked_and_delayed(dtype)
    rng = np.random.default_rng(seed)
    of_state = rng.integers(-1, 2, len(table.code))
    for symbols in ([0], list(range(table.situations.program.symbols))):
        of_symbol = np.full((len(table.code), table.situations.program.symbols), -1)
        of_symbol[:, symbols] = of_state[:, None]
        plane = table.plane(of_symbol[table.situations.state], "i")
        wanted = table.corner_wise(of_symbol[table.situations.state])
        value, error = plane(table.steps_read), plane.error(table.steps_read)
        above, below = levels_of("i", dtype)
        assert (value - error)[wanted > 0].min(initial=np.inf) >= above * (1 - 1e-9)
        assert (value + error)[wanted < 0].max(initial=-np.inf) <= -below * (1 - 1e-9)


def test_states_that_symbols_ask_different_things_of_are_left_to_the_linear_program(monkeypatch):
    asked = []

    def ask(*arguments):
        asked.append(arguments)

    monkeypatch.setattr("tallycell.machine.compiling.units.largest_margin", ask)
    table = tracked_and_delayed()
    monkeypatch.setattr("tallycell.machine.compiling.units._LARGEST_PROGRAM", table.steps_read.features.size - 1)
    wanted = np.ones((len(table.situations.state), table.situations.program.symbols), int)
    wanted[table.situations.state % 2 == 0, 0] = -1
    wanted[table.situations.state % 2 == 1, 1] = -1
    assert table.plane(wanted, "i") is None
    assert asked


def test_tables_that_would_take_minutes_get_no_linear_program(monkeypatch):
    table = tracked_and_delayed()
    assert table.is_small
    monkeypatch.setattr("tallycell.machine.compiling.units._LARGEST_EFFORT", table.steps_read.features.size)
    assert not table.is_small


def test_plane_leaves_room_for_rounding():
    """A margin that rounding eats into is made up by larger weights, until every row is beyond its level."""
    rows = Rows(np.tanh([[6.0], [7.0], [40.0]]), np.zeros(3, int), 1, "float32")
    wanted, (above, below) = np.array([-1, 1, 1]), levels_of("i", "float32")
    plane = separate(rows, wanted, (above, below))
    beyond = wanted * plane(rows) - plane.error(rows)
    assert plane.error(rows).max() > 1  # else there would be nothing to leave room for
    assert (beyond >= np.where(wanted > 0, above, below) * (1 - 1e-9)).all()


def test_a_table_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr("tallycell.machine.compiling.units.MOST_READ", 100)
    with pytest.raises(
        ParameterError, match=r"read from \d+ situations of \d+ units, more than 100 numbers; use fewer"
    ):
        compile_machine(shipped_machine("shuffle-2"))
