"""What a proof of counting computes with: intervals and moves against exact fractions, contracts against the kernel."""

import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallycell.errors import InputError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.machine.proving.contracts import Arithmetic
from tallycell.machine.proving.edge_loops import (
    PULLED,
    SNAPPED,
    EdgeInputs,
    EdgeMoves,
    FormatNumbers,
    move_edges,
    run_bounds,
)
from tallycell.machine.proving.edge_steps import EdgeSteps
from tallycell.machine.proving.intervals import Interval, point, product_with
from tallycell.machine.proving.proof import Prover, _between
from tallycell.parameters import LSTMParameters

numbers = st.one_of(
    st.floats(-1e60, 1e60),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-1074, 1e-200, 1 - 2.0**-53, 2.0**53, 1 + 2.0**-52]),
)
FLOAT32 = FormatNumbers(2.0**-24, 24, 2.0**-149)


@st.composite
def intervals(draw):
    low, high = sorted((draw(numbers), draw(numbers)))
    return Interval(np.array([low]), np.array([high]))


# Intervals


@given(intervals(), intervals())
@settings(max_examples=300, deadline=None)
def test_what_is_computed_from_the_ends_lies_within_and_the_bounds_are_the_next_numbers(a, b):
    results = {"+": (a + b, lambda x, y: x + y), "-": (a - b, lambda x, y: x - y), "*": (a * b, lambda x, y: x * y)}
    for found, exact in results.values():
        ends = [exact(Fraction(float(x)), Fraction(float(y))) for x in (a.lo[0], a.hi[0]) for y in (b.lo[0], b.hi[0])]
        low, high = Fraction(float(found.lo[0])), Fraction(float(found.hi[0]))
        assert low <= min(ends) <= max(ends) <= high
        if any(0 < abs(end) < Fraction(1e-250) for end in ends):
            continue  # there a product is taken for inexact
        assert np.nextafter(found.lo[0], np.inf) > min(ends) or low == min(ends)
        assert np.nextafter(found.hi[0], -np.inf) < max(ends) or high == max(ends)


def test_an_exact_operation_leaves_one_point():
    one, three = point(np.array([1.0])), point(np.array([3.0]))
    assert (one + three).is_point.all()
    assert (three * point(np.array([0.1]))).is_point.sum() == 0
    assert (one * point(np.array([0.1]))).is_point.all()


@pytest.mark.parametrize("seed", range(5))
def test_a_product_of_matrices_holds_the_exact_product_of_every_point(seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-12, 12, size=(3, 4))
    weights[rng.random((3, 4)) < 0.2] = 0
    low = rng.normal(size=(2, 4))
    values = Interval(low, low + rng.random((2, 4)) * rng.integers(0, 2, (2, 4)))
    start = point(rng.normal(size=(1, 3)))
    found = product_with(weights, values, start)
    for share in (0, 1, rng.random((2, 4))):
        chosen = np.minimum(values.lo + share * (values.hi - values.lo), values.hi)
        for batch, row in itertools.product(range(2), range(3)):
            exact = Fraction(float(start.lo[0, row]))
            exact += sum(
                Fraction(float(w)) * Fraction(float(v)) for w, v in zip(weights[row], chosen[batch], strict=True)
            )
            assert Fraction(float(found.lo[batch, row])) <= exact <= Fraction(float(found.hi[batch, row]))


# What an edge does to d, against arithmetic in float32 itself


def rounded(value):
    """Fraction to the nearest float32, ties to even: float64 first would round twice."""
    near = np.float32(float(value))
    candidates = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return min(candidates, key=lambda one: (abs(Fraction(float(one)) - value), int(one.view(np.uint32)) & 1))


def cells_after(f, c, i, g):
    """The cell after a step in float32, by every order of rounding that is allowed."""
    f, c, i, g = (Fraction(float(one)) for one in (f, c, i, g))
    kept, written = (Fraction(float(rounded(product))) for product in (f * c, i * g))
    return {rounded(kept + written), rounded(f * c + written), rounded(kept + i * g)}


def one_edge(*, weights, keep, step, n, d, f, written):
    """An edge of one cell; weights before and after, counters with the constant last."""
    array = np.array
    return EdgeInputs(
        source=array([0]),
        target=array([1]),
        weights=array(weights, float)[:, np.newaxis],
        spacing=array([np.gcd.reduce((np.abs(array(weights)) * 1024).astype(int).ravel()) / 1024 or 1.0]),
        keep=array([[*keep, True]]),
        step=array([[*step, 0.0]]),
        before_low=array([[*(low for low, _ in n), 1.0]]),
        before_high=array([[*(high for _, high in n), 1.0]]),
        d_low=array([[d[0]], [0.0]]),
        d_high=array([[d[1]], [0.0]]),
        f_low=array([[f[0]]]),
        f_high=array([[f[1]]]),
        written_low=array([[written[0]]]),
        written_high=array([[written[1]]]),
    )


def moved(inputs, like=None):
    empty = [np.zeros((1, 1)) for _ in range(4)]
    kept = (np.zeros((1, 1), np.int64), np.zeros((1, 1)), np.zeros((1, 1), np.int64))
    kind, grid, choice = kept if like is None else (like.kind, like.grid, like.choice)
    moves = EdgeMoves(empty[0], empty[1], kind, grid, choice, empty[2], empty[3])
    move_edges(inputs, FLOAT32, moves, like is None)
    return moves


def around(value):
    """Smallest interval of float64 around a fraction."""
    low = high = float(value)
    if Fraction(low) > value:
        low = np.nextafter(low, -np.inf)
    if Fraction(high) < value:
        high = np.nextafter(high, np.inf)
    return low, high


GATES = [1.0, 1.0, 1.0, 0.0, 1 - 2.0**-24, 1 - 2.0**-20, 0.5, 1e-3, 1e-30]


@pytest.mark.parametrize("seed", range(400))
def test_the_cell_after_a_step_in_float32_lies_where_the_edge_says(seed):
    rng = np.random.default_rng(seed)
    weights = rng.choice([0.0, 1.0, -1.0, 2.0, 0.98, 1 + 2.0**-20], size=(2, 3))
    weights[:, 2] = rng.choice([0.0, 1.0, -0.5], size=2)
    if rng.random() < 0.7:
        weights[1] = weights[0]
    largest = 10 ** rng.integers(1, 9)
    n = rng.integers(-largest, largest + 1, size=2)
    keep, step = rng.random(2) < 0.8, rng.integers(-1, 2, size=2)
    off = rng.choice([0.0, 0.0, 1e-12, 1e-9, 1e-3, 0.3]) * rng.normal()
    held = sum(Fraction(float(w)) * int(k) for w, k in zip(weights[0], (*n, 1), strict=True))
    c = rounded(held + Fraction(float(off)))
    f, i = (np.float32(rng.choice(GATES)) for _ in range(2))
    g = np.float32(rng.choice(GATES) * rng.choice([-1, 1]))
    d = Fraction(float(c)) - held
    written = Fraction(float(i)) * Fraction(float(g))
    spread = rng.choice([0.0, 0.0, 1e-6])
    inputs = one_edge(
        weights=weights,
        keep=keep,
        step=step,
        n=[(k - rng.integers(0, 3), k + rng.integers(0, 3)) for k in n],
        d=(around(d)[0] - spread, around(d)[1] + spread),
        f=(f, f),
        written=around(written),
    )
    moves = moved(inputs)
    n_after = [int(k) * int(kept) + int(s) for k, kept, s in zip(n, keep, step, strict=True)]
    held_after = sum(Fraction(float(w)) * k for w, k in zip(weights[1], (*n_after, 1), strict=True))
    low, high = (np.array([[np.inf], [np.inf]]), np.array([[-np.inf], [-np.inf]]))
    low[0], high[0] = inputs.d_low[0], inputs.d_high[0]
    run_bounds((inputs.source, inputs.target, inputs.f_low, inputs.f_high), moves, low, high, 1)
    for after in cells_after(f, c, i, g):
        d_after = Fraction(float(after)) - held_after
        assert Fraction(float(low[1, 0])) <= d_after <= Fraction(float(high[1, 0]))
        assert Fraction(float(moves.c_low[0, 0])) <= Fraction(float(after)) <= Fraction(float(moves.c_high[0, 0]))


def test_a_sum_beside_the_grid_is_rounded_onto_it_except_at_zero():
    alike = {"keep": [True], "step": [1], "f": (1.0, 1.0), "written": (1.0, 1.0), "d": (1e-9, 1e-9)}
    far = moved(one_edge(weights=[[1.0, 0], [1.0, 0]], n=[(9, 100)], **alike))
    assert (far.kind[0, 0], far.grid[0, 0]) == (SNAPPED, 0)
    across = moved(one_edge(weights=[[1.0, 0], [1.0, 0]], n=[(-9, 100)], **alike))
    assert across.kind[0, 0] == PULLED  # onto the grid where it is not 0, beside it where it is
    beyond = moved(one_edge(weights=[[1.0, 0], [1.0, 0]], n=[(9, 2**25)], **alike))
    assert beyond.kind[0, 0] not in (SNAPPED, PULLED)


@pytest.mark.parametrize("seed", range(200))
def test_moves_between_two_distances_lie_within_the_chord(seed):
    """The proof adds up growth along the chord between near and far counters: it must be above the curve."""
    rng = np.random.default_rng(seed)
    f = np.sort(1 - rng.choice([0.0, 0.0, 1e-7, 1e-4, 1e-2], size=2))
    written = rng.choice([0.98, 1.0, -1.0, 0.0, 1e-12, 1 - 1e-7]) + np.array([0.0, rng.choice([0.0, 1e-6])])
    weight, d = rng.choice([1.0, 0.99, 2.0]), np.sort(rng.normal(size=2) * rng.choice([0, 0, 1e-9, 1e-3, 0.1]))
    largest = 10.0 ** rng.integers(2, 12)

    def at(farthest, like=None):
        n = [(9, max(9.0, farthest))]
        of_edge = {"weights": [[weight, 0], [weight, 0]], "keep": [True], "step": [rng_step], "n": n, "d": d}
        return moved(one_edge(**of_edge, f=f, written=written), like)

    rng_step = rng.integers(-1, 2)
    fast = at(largest)
    slow = at(0.0, fast)
    for share in (1e-6, 0.01, 0.3, 0.5, 0.9):
        exact = at(share * largest)
        low = slow.moved_low + share * (fast.moved_low - slow.moved_low)
        high = slow.moved_high + share * (fast.moved_high - slow.moved_high)
        slack = 1e-15 * (1 + np.abs(fast.moved_low) + np.abs(fast.moved_high))
        if exact.kind[0, 0] == fast.kind[0, 0]:
            chosen = at(share * largest, fast)
            assert (low <= chosen.moved_low + slack).all()
            assert (chosen.moved_high <= high + slack).all()


@pytest.mark.parametrize("seed", range(5))
def test_pre_activations_hold_sums_in_float32_in_any_order(seed):
    rng = np.random.default_rng(seed)
    weight = (rng.normal(size=(4, 9)) * 10.0 ** rng.integers(-3, 4, size=(4, 9))).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    layer = LSTMParameters(
        {"weight_ih_l0": weight[:, :8], "weight_hh_l0": weight[:, 8:], "bias_ih_l0": bias, "bias_hh_l0": bias[::-1]}
    ).layer(0)
    read = rng.normal(size=9).astype(np.float32)
    steps = EdgeSteps(None, None, Arithmetic.of_kernel("float32"), np.zeros((1, 1, 1)))
    bounds = steps._pre(layer, *(point(part[np.newaxis].astype(np.float64)) for part in (read[:8], read[8:])))
    for _ in range(50):
        for gate, bound in enumerate(bounds):
            terms = np.append(weight[gate] * read, [bias[gate], bias[3 - gate]]).astype(np.float32)
            total = np.float32(0)
            for term in rng.permutation(terms):
                total += term
            assert bound.lo[0, 0] <= total <= bound.hi[0, 0]


@pytest.mark.parametrize("decision", ["threshold", "argmax"])
def test_a_decision_is_certain_only_beyond_the_rounding_of_the_readout(decision):
    """What is left of 3e7 - 3e7 + 1 in float32 is 0 or 1 or 2, by the order of the sum."""
    prover = Prover.__new__(Prover)
    for left, certain in ((1.0, False), (100.0, True)):
        weight = np.array([[3e7, -3e7, left], [0, 0, 0]], np.float32)
        parameters = SimpleNamespace(output_size=3)
        net = SimpleNamespace(
            readout_weight=weight, readout_bias=np.zeros(2), parameters=parameters, decision=decision, outputs="xy"
        )
        prover.steps = SimpleNamespace(net=net, arithmetic=Arithmetic.of_kernel("float32"))
        prover.says = np.array([[True, False]])
        boxes = SimpleNamespace(h=point(np.ones((1, 3))))
        assert prover._certain(boxes).tolist() == [[certain, True] if decision == "threshold" else [True, certain]]


def test_moves_at_a_share_of_the_way_are_on_the_chord_or_outside():
    zeros = np.zeros((1, 3), np.int64)
    slow, fast = (
        EdgeMoves(np.array([low]), np.array([high]), zeros, 0.0 * zeros, zeros, zeros, zeros)
        for low, high in (([-1.0, 0.1, 0.0], [1.0, 0.1, 0.0]), ([-3.0, 0.1, -1e-9], [7.0, 0.1, 1e9]))
    )
    half = _between(slow, fast, 0.5)
    assert (half.moved_low <= [-2, 0.1, -5e-10]).all()
    assert (half.moved_high >= [4, 0.1, 5e8]).all()
    np.testing.assert_allclose(half.moved_high, [[4, 0.1, 5e8]], rtol=1e-8)
    assert half.moved_low[0, 1] == half.moved_high[0, 1] == 0.1  # what does not depend on counters stays exact


# Activations: what the kernel returns lies where its contract says


def kernel_gates(x):
    """Sigmoid and tanh of each number, by the kernel that runs networks."""
    weights = {"weight_ih_l0": np.ones((4, 1), x.dtype), "weight_hh_l0": np.zeros((4, 1), x.dtype)}
    ((steps,),) = run_stack(LSTMParameters(weights), StackInput(x[np.newaxis, :, np.newaxis]))
    return steps.i[0, :, 0].astype(np.float64), steps.g[0, :, 0].astype(np.float64)


def samples(dtype):
    arithmetic = Arithmetic.of_kernel(dtype)
    rng = np.random.default_rng(0)
    near = [np.linspace(k - 0.7, k + 0.7, 40_001) for k in (0, 9.02, 16.7, 19.1, 36.8, 87.3, 708, 0.6, 0.625)]
    x = np.concatenate([*near, np.geomspace(1e-300, 1, 10_000), rng.normal(size=200_000) * 12, [0.0, 1e4, 1e30]])
    return np.concatenate([x, -x]).astype(dtype), arithmetic


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernel_keeps_the_contract(dtype):
    x, arithmetic = samples(dtype)
    boxes = point(x.astype(np.float64))
    for found, bounds in zip(kernel_gates(x), (arithmetic.sigmoid(boxes), arithmetic.tanh(boxes)), strict=True):
        assert (bounds.lo <= found).all()
        assert (found <= bounds.hi).all()
    sigmoid, tanh = arithmetic.sigmoid(boxes), arithmetic.tanh(boxes)
    assert (sigmoid.is_point == (x >= arithmetic.sigmoid_one)).all()
    assert (tanh.is_point == ((np.abs(x) >= arithmetic.tanh_one) | (x == 0))).all()
    assert ((sigmoid.hi - sigmoid.lo)[x > -10] < 30 * arithmetic.unit).all()


def test_every_float32_between_the_limits_and_a_little_farther_is_saturated():
    """Farther out it follows, as both functions rise on every float32 (``test_cpu_squash``)."""

    def floats(low, high):
        ends = [int(np.float32(end).view(np.int32)) for end in (low, high)]
        return np.arange(*ends, dtype=np.int32).view(np.float32)

    assert (kernel_gates(floats(16.7, 18))[0] == 1).all()
    assert (kernel_gates(floats(9.02, 9.1))[1] == 1).all()
    assert (kernel_gates(-floats(9.02, 9.1))[1] == -1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_interval_of_inputs_gives_an_interval_around_all_outputs(dtype):
    x, arithmetic = samples(dtype)
    x = np.sort(x).astype(np.float64)
    wide = Interval(x[:-50], x[50:])
    for of in (arithmetic.sigmoid, arithmetic.tanh):
        ends, whole = of(point(x)), of(wide)
        for offset in (0, 25, 50):
            inside = slice(offset, len(x) - 50 + offset)
            assert (whole.lo <= ends.lo[inside] + 1e-15).all()
            assert (whole.hi >= ends.hi[inside] - 1e-15).all()


def test_an_unknown_kernel_is_refused():
    with pytest.raises(InputError, match=r"no kernel is called 'mine'; the arithmetic is known of tallycell and torch"):
        Arithmetic.of_kernel("float32", "mine")
