"""Counter machines as values and as what runs: tables that fit, steps, views, outputs."""

import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallycell.errors import InputError, ParameterError
from tallycell.machine import Configuration, CounterMachine, parse, shipped_machine
from tallycell.machine.counter_machine import FAIL, place_of, values_at

DYCK = parse(
    "alphabet ( )\ncounter depth\non ( depth +1\non ) depth > 0 depth -1\notherwise fail\naccept when depth = 0"
)
# Counters that reset to other values, constants other than 0, outputs one at a time.
WINDOW = parse("""
alphabet up over
counters n m
says one of low middle high
on up    n < 3    n +2, m reset -1
on up    n >= 3   n reset, m +3
on over           n -1
tag middle when 0 <= n <= 3
tag high when n > 3
""")


def test_a_step_resets_or_keeps_and_then_adds() -> None:
    walked = [each.counters for each in WINDOW.walk(["up", "up", "up", "over"])]
    assert walked == [(0, 0), (2, -1), (4, -1), (0, 2), (-1, 2)]


def test_what_is_said_depends_on_state_and_view() -> None:
    said = [WINDOW.says(each) for each in WINDOW.walk(["up", "up", "up", "over"])]
    assert said == [("middle",), ("middle",), ("high",), ("middle",), ("low",)]


def test_fail_is_absorbing_and_says_nothing_or_the_first_output() -> None:
    failed = DYCK.run("())((")
    assert failed == Configuration(FAIL, (0,))
    assert DYCK.says(failed) == ()
    assert not DYCK.accepts("())(")
    assert WINDOW.says(Configuration(FAIL, (0, 0))) == ("low",)


def test_counters_are_unbounded() -> None:
    huge = Configuration(0, (2**80,))
    assert DYCK.advance(huge, "(").counters == (2**80 + 1,)
    assert DYCK.advance(huge, ")").counters == (2**80 - 1,)


def test_advancing_leaves_the_configuration_it_was_given() -> None:
    before = DYCK.start
    assert DYCK.advance(before, "(") == Configuration(0, (1,))
    assert before == Configuration(0, (0,))


@given(st.lists(st.integers(-9, 9), max_size=4, unique=True).map(sorted), st.integers(-12, 12))
def test_a_number_is_among_the_values_of_its_place(constants: list[int], value: int) -> None:
    least, greatest = values_at(place_of(value, constants), constants)
    assert least is None or least <= value
    assert greatest is None or value <= greatest


@given(st.lists(st.integers(-9, 9), max_size=4, unique=True).map(sorted))
def test_places_part_the_integers_in_ascending_order(constants: list[int]) -> None:
    places = [place_of(value, constants) for value in range(-12, 13)]
    assert places == sorted(places)
    nonempty = {
        p for p in range(2 * len(constants) + 1) for a, b in [values_at(p, constants)] if None in (a, b) or a <= b
    }
    assert set(places) == nonempty


def test_a_view_is_the_places_as_digits_the_first_counter_highest() -> None:
    assert WINDOW.radices == (5, 1)
    machine = shipped_machine("shuffle-2")
    assert [machine.view_of(counters) for counters in ((-1, -1), (0, 0), (7, 0), (0, 7), (7, 7))] == [0, 4, 7, 5, 8]
    assert all(machine.places_of(view) == divmod(view, 3) for view in range(9))


def test_largest_step_is_that_of_either_sign() -> None:
    assert [WINDOW.largest_step, DYCK.largest_step, shipped_machine("parity").largest_step] == [3, 1, 0]
    falling = replace(DYCK, step=np.where(DYCK.step < 0, -(2**63), DYCK.step))
    assert falling.largest_step == 2**63


def test_a_machine_is_equal_to_its_pickle_which_is_frozen_too() -> None:
    again = pickle.loads(pickle.dumps(WINDOW))
    assert again == WINDOW
    assert not again.step.flags.writeable


def test_machines_that_differ_in_one_entry_are_not_equal() -> None:
    output = DYCK.output.copy()
    output[0, 2, 0] = True
    assert replace(DYCK, output=output) != DYCK
    assert replace(DYCK, counters=("width",)) != DYCK
    assert replace(DYCK) == DYCK
    assert DYCK != "alphabet ( )"


def test_a_machine_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        DYCK.states = ("other",)  # type: ignore[misc]
    for table in (DYCK.next_state, DYCK.reset, DYCK.step, DYCK.output):
        with pytest.raises(ValueError, match="read-only"):
            table[...] = 0


def test_a_machine_keeps_its_own_copy_of_the_tables() -> None:
    step = DYCK.step.copy()
    machine = replace(DYCK, step=step)
    step[...] = 7
    assert machine == DYCK


def test_what_a_failing_step_does_to_counters_is_written_in_one_way() -> None:
    step = np.where(DYCK.next_state[..., None] == FAIL, 5, DYCK.step)
    assert not np.array_equal(step, DYCK.step)
    assert replace(DYCK, step=step) == DYCK


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"alphabet": ("(", "(")}, "alphabet of a machine must be distinct texts"),
        ({"alphabet": ("(", 1)}, "alphabet of a machine must be distinct texts"),
        ({"alphabet": ([], [])}, "alphabet of a machine must be distinct texts"),
        ({"counters": ("",)}, "counters of a machine must be distinct texts"),
        ({"counters": ("\ud800",)}, "texts that a file can hold"),
        ({"outputs": ()}, "at least one of its outputs"),
        ({"states": ("fail",)}, "a state is called 'fail'"),
        ({"constants": ((0, 0),)}, "in ascending order"),
        ({"constants": ((1, 0),)}, "in ascending order"),
        ({"constants": ((0,), (0,))}, "one tuple in ascending order for each of the counters"),
        ({"constants": ((0, 1),)}, r"next_state of the machine has shape \(1, 2, 3\), expected \(1, 2, 5\)"),
        ({"constants": (tuple(range(6_000_000)),)}, "more than 10,000,000 entries"),
        ({"next_state": np.full((1, 2, 3), 1)}, r"a next state is outside -1 \(fail\) to 0"),
        ({"next_state": np.full((1, 2, 3), -2)}, r"a next state is outside -1 \(fail\) to 0"),
        ({"step": np.full((1, 2, 3, 1), 0.5)}, "holds float64 values that are no int64"),
        ({"step": np.full((1, 2, 3, 1), 2**63, np.uint64)}, "holds uint64 values that are no int64"),
        ({"reset": np.full((1, 2, 3, 1), 2)}, "holds int64 values that are no bool"),
        ({"decision": "most"}, "it is 'argmax' or 'threshold'"),
        ({"decision": "argmax"}, "exactly one output in every state and view"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        replace(DYCK, **changes)  # type: ignore[arg-type]


def test_a_symbol_outside_the_alphabet_is_an_error_that_says_where() -> None:
    with pytest.raises(InputError, match=r"symbol 'x' at position 2 is not in the alphabet \('\(', '\)'\)"):
        DYCK.encode("()x")
    with pytest.raises(InputError, match="symbol 'x' at position 0"):
        DYCK.run("(x")


def test_accepts_needs_a_machine_that_says_accept() -> None:
    with pytest.raises(InputError, match="this machine says 'low', 'middle', 'high', never 'accept'"):
        WINDOW.accepts(["up"])


def test_a_machine_prints_as_its_program_and_shows_its_size() -> None:
    assert parse(str(DYCK)) == DYCK
    assert repr(WINDOW) == "CounterMachine(2 symbols, 1 states, counters n, m, outputs low, middle, high)"
    assert repr(shipped_machine("tomita-2")).endswith("counters (none), outputs accept)")


def test_a_machine_without_counters_has_one_view() -> None:
    machine = CounterMachine(
        ("a",), ("only",), (), (),
        next_state=np.zeros((1, 1, 1), int), reset=np.zeros((1, 1, 1, 0), bool), step=np.zeros((1, 1, 1, 0), int),
        outputs=("accept",), output=np.ones((1, 1, 1), bool),
    )  # fmt: skip
    assert (machine.views, machine.view_of(()), machine.places_of(0)) == (1, 0, ())
    assert machine.run("aaa") == Configuration(0, ())
