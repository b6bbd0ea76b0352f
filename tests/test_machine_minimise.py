"""minimise says the same as the machine it was given, with less; and what it stands on: cosets and reachability."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_shapes import SHAPES, split_by_sign
from machines import an_output_depends_on_a_counter, random_machine, random_machines
from tallycell.machine.comparing import reachability
from tallycell.machine.comparing.cosets import Coset, coset, join, move, restrict, tighten
from tallycell.machine.comparing.joining import with_bisimilar_joined, with_compatible_joined
from tallycell.machine.comparing.minimise import minimise, with_fail
from tallycell.machine.comparing.partial_machine import PartialMachine
from tallycell.machine.comparing.reachability import Situation, reach, reachable_situations, view_at
from tallycell.machine.counter_machine import FAIL, CounterMachine


def said_to(
    machine: CounterMachine, length: int, alphabet: tuple[str, ...] | None = None
) -> list[list[tuple[str, ...]]]:
    """What a machine says after every string up to a length, in their order."""
    level, said = [machine.start], []
    for _ in range(length + 1):
        said.append([machine.says(at) for at in level])
        level = [machine.advance(at, symbol) for at in level for symbol in alphabet or machine.alphabet]
    return said


def size(machine: CounterMachine) -> tuple[int, int, int]:
    return len(machine.states), len(machine.counters), sum(map(len, machine.constants))


# ---- minimise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(4))
def test_a_minimised_machine_says_the_same_after_every_string_to_length_8(part: int) -> None:
    for seed in range(part, 240, 4):
        machine = random_machine(
            seed, max_symbols=2, largest_constant=seed % 3, largest_step=1 + seed % 2, step_by_symbol_only=seed % 5 == 0
        )
        small = minimise(machine)
        assert said_to(small, 8) == said_to(machine, 8), seed
        assert (small.alphabet, small.outputs, small.decision) == (machine.alphabet, machine.outputs, machine.decision)
        assert len(small.states) <= len(machine.states)
        assert len(small.counters) <= len(machine.counters)


@settings(max_examples=50)
@given(random_machines(max_states=6, largest_step=2, largest_constant=2))
def test_minimising_twice_is_minimising_once(machine: CounterMachine) -> None:
    small = minimise(machine)
    assert minimise(small) == small
    assert said_to(small, 5) == said_to(machine, 5)


@pytest.mark.parametrize("shape", ["renamed_and_turned", "split_by_sign", "shifted", "in_parts"])
def test_other_shapes_of_a_machine_minimise_to_its_number_of_states(shape: str) -> None:
    for seed in range(8):
        machine = random_machine(seed, min_counters=1, minimal=True, max_states=3)
        small = minimise(SHAPES[shape](machine))
        assert said_to(small, 6, machine.alphabet) == said_to(machine, 6), seed
        # The start may have to stand by itself where counters are one higher only after it.
        assert len(small.states) <= len(machine.states) + (shape == "shifted"), seed


def test_states_split_by_signs_are_joined_again_into_the_same_tables() -> None:
    for seed in range(8):
        machine = random_machine(seed, min_counters=1, minimal=True, largest_step=2)
        again = minimise(split_by_sign(machine))
        named = replace(again, states=machine.states, counters=machine.counters)
        assert named == machine, seed


def depth(**changes: object) -> CounterMachine:
    """Balanced parentheses; a negative depth cannot be."""
    whole = CounterMachine(
        ("(", ")"),
        ("start",),
        ("depth",),
        ((0,),),
        next_state=np.array([[[0, 0, 0], [FAIL, FAIL, 0]]]),
        reset=np.zeros((1, 2, 3, 1), bool),
        step=np.array([[[[1]] * 3, [[-1]] * 3]]),
        outputs=("accept",),
        output=np.array([[[False], [True], [False]]]),
    )
    return replace(whole, **changes)


def test_what_cannot_be_reached_does_what_its_neighbour_does() -> None:
    odd = depth(next_state=np.array([[[FAIL, 0, 0], [0, FAIL, 0]]]), output=np.array([[[False], [True], [False]]]))
    small = minimise(odd)
    assert small.next_state.tolist() == [[[0, 0, 0], [FAIL, FAIL, 0]]]
    assert small.output[0, :, 0].tolist() == [True, True, False]


def test_a_constant_that_nothing_tests_is_dropped() -> None:
    fine = CounterMachine(
        ("(", ")"),
        ("start",),
        ("depth",),
        ((0, 4, 7),),
        next_state=np.array([[[0] * 7, [FAIL, FAIL, 0, 0, 0, 0, 0]]]),
        reset=np.zeros((1, 2, 7, 1), bool),
        step=np.array([[[[1]] * 7, [[-1]] * 7]]),
        outputs=("accept",),
        output=np.array([[[False], [True], [False], [False], [False], [True], [False]]]),
    )
    assert minimise(fine).constants == ((0, 7),)
    assert minimise(replace(fine, output=np.arange(7)[None, :, None] == 1)).constants == ((0,),)


def test_counters_that_move_oppositely_are_merged_with_the_constants_of_both() -> None:
    views = list(product(range(3), range(3)))  # up among (0,), down among (-2,)
    up_and_down = CounterMachine(
        ("a", "b"),
        ("start",),
        ("up", "down"),
        ((0,), (-2,)),
        next_state=np.zeros((1, 2, 9), int),
        reset=np.zeros((1, 2, 9, 2), bool),
        step=np.array([[[[1, -1]] * 9, [[-1, 1]] * 9]]),
        outputs=("zero", "two"),
        output=np.array([[[up == 1, down == 1] for up, down in views]]),
    )
    small = minimise(up_and_down)
    assert (small.counters, small.constants) == (("up",), ((0, 2),))
    assert said_to(small, 6) == said_to(up_and_down, 6)
    reset = np.zeros((1, 2, 9, 2), bool)
    reset[:, 1, :, 0] = True  # now only one is set back: no longer opposite
    assert minimise(replace(up_and_down, reset=reset)).counters == ("up", "down")


def test_a_counter_that_only_moves_itself_is_dropped() -> None:
    views = list(product(range(3), range(3)))
    machine = CounterMachine(
        ("(", ")"),
        ("start",),
        ("depth", "idle"),
        ((0,), (0,)),
        next_state=np.array([[[0] * 9, [0 if x == 2 else FAIL for x, _ in views]]]),
        reset=np.zeros((1, 2, 9, 2), bool),
        step=np.array([[[[1, 1 if y < 2 else -1] for _, y in views], [[-1, -y] for _, y in views]]]),
        outputs=("accept",),
        output=np.array([[[x == 1] for x, _ in views]]),
    )
    assert minimise(machine).counters == ("depth",)
    assert minimise(machine).step.tolist() == minimise(depth()).step.tolist()


def test_a_state_from_which_nothing_is_said_becomes_fail() -> None:
    sink = CounterMachine(
        ("a", "b"),
        ("start", "sink", "under"),
        ("n",),
        ((0,),),
        next_state=np.array([[[0] * 3, [1] * 3], [[2] * 3, [1] * 3], [[1] * 3, [2] * 3]]),
        reset=np.zeros((3, 2, 3, 1), bool),
        step=np.ones((3, 2, 3, 1), int),
        outputs=("accept",),
        output=np.array([[[True]] * 3, [[False]] * 3, [[False]] * 3]),
    )
    small = minimise(sink)
    assert (small.states, small.counters) == (("start",), ())
    assert small.next_state.tolist() == [[[0], [FAIL]]]
    says_no = replace(
        sink, outputs=("no", "yes"), output=np.stack([~sink.output, sink.output], -1)[:, :, 0], decision="argmax"
    )
    assert minimise(says_no).next_state.tolist() == [[[0], [FAIL]]]  # fail says the first
    never_first = replace(says_no, output=says_no.output[..., ::-1])
    assert minimise(never_first).states == ("start", "sink")


def test_a_state_that_says_nothing_before_it_fails_becomes_fail() -> None:
    says = CounterMachine(
        ("a", "b"),
        ("start", "ending", "speaking"),
        (),
        (),
        next_state=np.array([[1, 2], [1, FAIL], [2, 0]])[..., None],
        reset=np.zeros((3, 2, 1, 0), bool),
        step=np.zeros((3, 2, 1, 0), int),
        outputs=("here", "there"),
        output=np.array([[1, 0], [0, 0], [0, 1]], bool)[:, None],
    )
    small = minimise(says)
    assert small.states == ("start", "speaking")
    assert small.next_state[..., 0].tolist() == [[FAIL, 1], [1, 0]]
    assert said_to(small, 6) == said_to(says, 6)


def test_whatever_a_state_does_where_nothing_matters_it_may_become_fail() -> None:
    """Of the sink, only n = 0 matters: that it speaks below, and leads back above, nobody sees."""
    to = np.array([[[0] * 3, [1] * 3], [[1, 1, 0], [1, 1, 1]]])
    machine = CounterMachine(
        ("a", "b"),
        ("start", "sink"),
        ("n",),
        ((0,),),
        next_state=to,
        reset=np.zeros((2, 2, 3, 1), bool),
        step=np.zeros((2, 2, 3, 1), int),
        outputs=("accept",),
        output=np.array([[[True]] * 3, [[True], [False], [False]]]),
    )
    only_0 = np.array([[False, True, False]] * 2)
    small = with_fail(PartialMachine(machine, only_0, np.zeros((2, 1), bool))).machine
    assert small.states == ("start",)
    assert small.next_state[0, :, 1].tolist() == [0, FAIL]
    assert said_to(small, 6) == said_to(machine, 6)
    everywhere = PartialMachine(machine, np.ones((2, 3), bool), np.zeros((2, 1), bool))
    assert with_fail(everywhere).machine.states == ("start", "sink")  # a near miss: there they are seen


def two_roads(*, resets: bool) -> CounterMachine:
    """In states one and two, a makes n 1 or 2; the state after, wait, keeps or resets n; the last, told, tests it."""
    step = np.zeros((4, 3, 3, 1), int)
    step[0, 0], step[1, 0], step[2, 2] = 1, 2, -2
    reset = np.zeros((4, 3, 3, 1), bool)
    reset[:2, 0] = True
    if resets:
        reset[2], step[2, 0], step[2, 1] = True, 1, 2  # c: less than 1
    to = [[2] * 3, [0] * 3, [1] * 3]
    return CounterMachine(
        ("a", "b", "c"),
        ("one", "two", "wait", "told"),
        ("n",),
        ((1,),),
        next_state=np.array([to, to, [[3] * 3] * 3, [[0] * 3, [0] * 3, [1] * 3]]),
        reset=reset,
        step=step,
        outputs=("road", "wait", "told", "n is 1"),
        output=np.array([[[1, 0, 0, 0]] * 3] * 2 + [[[0, 1, 0, 0]] * 3, [[0, 0, 1, one] for one in (0, 1, 0)]], bool),
    )


def test_states_that_only_put_other_numbers_into_a_counter_are_joined_if_it_is_reset_before_any_test() -> None:
    kept = minimise(two_roads(resets=False))
    assert len(kept.states) == 4
    assert said_to(kept, 6) == said_to(two_roads(resets=False), 6)
    reset = minimise(two_roads(resets=True))
    assert (reset.states, reset.counters) == (("one", "wait", "told"), ("n",))
    assert said_to(reset, 6) == said_to(two_roads(resets=True), 6)


def roads_to_joined_states(*, first_live: bool) -> PartialMachine:
    """Two states that differ in a step towards two others, which are alike but for n being live in one of them."""
    step = np.zeros((5, 2, 1, 1), int)
    step[1, 0], step[2, 0] = 1, 2
    machine = CounterMachine(
        ("a", "b"),
        ("start", "one", "two", "after_one", "after_two"),
        ("n",),
        ((),),
        next_state=np.array([[1, 2], [3, 0], [4, 0], [0, 0], [0, 0]])[..., None],
        reset=np.zeros((5, 2, 1, 1), bool),
        step=step,
        outputs=("start", "after"),
        output=np.array([[1, 0], [0, 0], [0, 0], [0, 1], [0, 1]], bool)[:, None],
    )
    live = np.array([False, False, False, first_live, not first_live])[:, None]
    return PartialMachine(machine, np.ones((5, 1), bool), live)


@pytest.mark.parametrize("first_live", [True, False])
def test_of_joined_states_the_step_that_matters_is_kept(first_live: bool) -> None:
    partial = roads_to_joined_states(first_live=first_live)
    assert len(with_bisimilar_joined(partial).machine.states) == 5  # live in one, not in the other: not the same
    joined = with_compatible_joined(partial)
    assert joined.machine.states == ("start", "one", "after_one")
    assert joined.machine.step[1, 0, 0, 0] == (1 if first_live else 2)
    assert joined.live.tolist() == [[False], [False], [True]]


def test_states_are_numbered_as_they_are_first_reached() -> None:
    for seed in range(40):
        machine = minimise(random_machine(seed, max_states=6))
        seen = [0]
        for state in seen:
            seen += [one for one in dict.fromkeys(machine.next_state[state].ravel().tolist()) if one not in {*seen, -1}]
        assert seen == list(range(len(machine.states)))


def test_with_too_many_situations_to_look_at_all_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "MOST_REACHED", 1)
    monkeypatch.setattr(reachability, "MOST_WITH_MARGIN", 1)
    assert reachable_situations(depth()).all()
    assert minimise(depth()) == depth()


def test_random_minimal_machines_are_what_they_promise() -> None:
    for seed in range(40):
        machine = random_machine(seed, minimal=True, step_by_symbol_only=seed % 2 == 0)
        assert len(machine.states) > 1
        assert an_output_depends_on_a_counter(machine)
        assert minimise(machine) == machine
        if seed % 2 == 0:
            goes_on = machine.next_state != FAIL
            for symbol in range(len(machine.alphabet)):
                moves = [table[:, symbol][goes_on[:, symbol]] for table in (machine.reset, machine.step)]
                assert all((of_one == of_one[:1]).all() for of_one in moves), seed


# ---- reachability ----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(random_machines(largest_step=2, largest_constant=2), random_machines())
def test_every_situation_that_is_met_was_found_and_holds_what_was_said(
    first: CounterMachine, second: CounterMachine
) -> None:
    machines = (first, second) if first.alphabet == second.alphabet else (first,)
    found = reach(machines)
    level = {tuple(machine.start for machine in machines)}
    for _ in range(6):
        for at in level:
            counters = sum((one.counters if one.state != FAIL else (0,) * len(one.counters) for one in at), ())
            places = sum((m.places_of(m.view_of(one.counters)) for m, one in zip(machines, at, strict=True)), ())
            values = found[Situation(tuple(one.state for one in at), places)]
            assert join(values, coset(counters)) is values
        level = {
            tuple(machine.advance(one, symbol) for machine, one in zip(machines, at, strict=True))
            for at in level
            for symbol in first.alphabet
        }


def test_counters_that_move_together_exclude_what_signs_alone_would_not() -> None:
    """Each sign alone lets a counter come back to 0 while the other stays above."""
    views = list(product(range(3), range(3)))
    both = CounterMachine(
        ("(", ")"),
        ("start",),
        ("one", "other"),
        ((0,), (0,)),
        next_state=np.array([[[0] * 9, [0 if x == 2 else FAIL for x, _ in views]]]),
        reset=np.zeros((1, 2, 9, 2), bool),
        step=np.array([[[[1, 2]] * 9, [[-1, -2]] * 9]]),
        outputs=("accept",),
        output=np.array([[[x == 1] for x, _ in views]]),
    )
    met = reachable_situations(both)[0]
    assert [views[k] for k in np.flatnonzero(met)] == [(1, 1), (2, 2)]
    assert minimise(both).counters == ("one",)


def test_a_view_is_the_index_of_its_places() -> None:
    machine = depth()
    assert [view_at(machine.places_of(view), machine.radices) for view in range(3)] == [0, 1, 2]
    assert view_at((1, 2, 0), (3, 5, 3)) == 21


# ---- cosets ----------------------------------------------------------------------------------------------------------

vectors = st.lists(st.integers(-4, 4), min_size=3, max_size=3).map(tuple)
cosets = st.builds(coset, vectors, st.lists(vectors, max_size=2))


def members(given: Coset, most: int = 3) -> set[tuple[int, ...]]:
    """Some points of a set: its point plus each row up to so many times, either way."""
    found = set()
    for times in product(range(-most, most + 1), repeat=len(given.rows)):
        sums = zip(given.point, *given.rows, strict=True)
        found.add(tuple(p + sum(t * r for t, r in zip(times, rs, strict=True)) for p, *rs in sums))
    return found


def holds(given: Coset, point: tuple[int, ...]) -> bool:
    return join(given, coset(point)) is given


@given(vectors, st.lists(vectors, max_size=3), st.lists(st.integers(-3, 3), min_size=3, max_size=3))
def test_a_set_has_one_form_whatever_it_is_made_from(
    point: tuple[int, ...], rows: list[tuple[int, ...]], times: list[int]
) -> None:
    made = coset(point, rows)
    shifted = point
    for factor, row in zip(times, rows, strict=False):
        shifted = tuple(a + factor * b for a, b in zip(shifted, row, strict=True))
    mixed = [rows[0], *(tuple(a + b for a, b in zip(row, rows[0], strict=True)) for row in rows[1:])] if rows else []
    assert coset(shifted, reversed(mixed)) == made
    assert holds(made, shifted)


@given(cosets, cosets)
def test_a_join_holds_both_and_every_sum_of_what_they_hold(one: Coset, other: Coset) -> None:
    both = join(one, other)
    assert all(holds(both, point) for point in members(one, 1) | members(other, 1))
    # Smallest: with any of its rows left out, or doubled, one of the two is no longer held.
    for k, row in enumerate(both.rows):
        for instead in ([], [tuple(2 * value for value in row)]):
            less = coset(both.point, [*both.rows[:k], *instead, *both.rows[k + 1 :]])
            assert less == both or not all(
                holds(less, point) for each in (one, other) for point in (each.point, *_steps(each))
            )


def _steps(given: Coset) -> list[tuple[int, ...]]:
    return [tuple(a + b for a, b in zip(given.point, row, strict=True)) for row in given.rows]


@given(cosets, st.lists(st.booleans(), min_size=3, max_size=3), vectors)
def test_a_move_takes_every_point_along(given: Coset, resets: list[bool], steps: tuple[int, ...]) -> None:
    moved = move(given, resets, steps)
    for point in members(given, 1):
        gone = zip(point, resets, steps, strict=True)
        assert holds(moved, tuple((0 if reset else value) + step for value, reset, step in gone))


@given(cosets, st.integers(0, 2), st.integers(-6, 6))
def test_a_restriction_keeps_exactly_the_points_with_that_value(given: Coset, place: int, value: int) -> None:
    part = restrict(given, place, value)
    for point in members(given):
        assert (part is not None and holds(part, point)) == (point[place] == value)
    assert part is None or all(point[place] == value and holds(given, point) for point in members(part, 1))


@given(cosets, st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 6)), min_size=3, max_size=3))
def test_tightened_bounds_lose_no_point(given: Coset, sizes: list[tuple[int, int]]) -> None:
    bounds = [(low, low + more) for low, more in sizes]
    found = tighten(given, bounds)
    inside = [p for p in members(given, 6) if all(a <= v <= b for v, (a, b) in zip(p, bounds, strict=True))]
    assert found is not None or not inside
    for point in inside:
        assert all(low <= value <= high for value, (low, high) in zip(point, found or [], strict=True))
