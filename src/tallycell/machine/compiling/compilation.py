"""Counter machine -> LSTM: a network that decides as the machine does, for as long as the dtype counts.

Every gate, and the readout, is a linear separation over the finite table of situations it must tell apart, so that the
weights can be made large enough for the gates to saturate exactly. What a plane cannot tell apart is made separable by
rewriting the machine (:mod:`tallycell.machine.compiling.rewriting`) or by more units
(:mod:`tallycell.machine.compiling.control`).
"""

from collections.abc import Iterator

import numpy as np

from tallycell.errors import ParameterError
from tallycell.machine.comparing.minimise import minimise
from tallycell.machine.compiling.codes import MOST_STATES, codes, plan_of_code
from tallycell.machine.compiling.control import one_unit_a_state
from tallycell.machine.compiling.rewriting import delay_counter, divide_counter, part_counter, track_places
from tallycell.machine.compiling.situations import Program, Situations, find_situations, program_of
from tallycell.machine.compiling.units import NotSeparableError, Plan, Table
from tallycell.machine.counter_machine import CounterMachine
from tallycell.names import GATES
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

LAST_TOLD = 7  # the last k of which tanh(k - 1) and tanh(k) are told apart
_SMALL = 2000  # rows up to which several ways are compared
_TRIES = 50  # codes of each length that are tried for one way to hold the machine,
_MOST_EFFORT = 50_000  # and rows that all these codes together may be tried on


def compile_machine(machine: CounterMachine, dtype: str = "float32") -> Recogniser:
    """Build an LSTM that decides as a counter machine does.

    One layer, sigmoid and tanh, an input vector of zeros and a one for each symbol: its parameters open in
    ``torch.nn.LSTM``. It is right as long as no counter's value passes 2^24 (float64: 2^53). Machines with at most two
    counters are never refused, up to ``MOST_UNITS`` units.

    Parameters
    ----------
    machine
        The machine; it is minimised first.
    dtype
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    Recogniser
        With the machine's alphabet, outputs and decision. Where ``h_0`` and ``c_0`` are not None the network must
        start there. In fail it says what the machine says in fail.

    Raises
    ------
    ParameterError
        If the dtype is another; if no plan is found: the text names the gate that cannot be separated.

    Examples
    --------
    >>> machine = CounterMachine(
    ...     ("(", ")"), ("start",), ("depth",), ((0,),),
    ...     next_state=np.zeros((1, 2, 3), int), reset=np.zeros((1, 2, 3, 1), bool),
    ...     step=np.array([[[[1]] * 3, [[-1]] * 3]]),
    ...     outputs=("accept",), output=np.array([[[False], [False], [True]]]),
    ... )
    >>> compile_machine(machine)
    Recogniser(2 symbols, LSTMParameters(input_size=2, hidden_size=1, dtype=float32), 1 outputs, decision='threshold')
    """
    if dtype not in ("float32", "float64"):
        raise ParameterError(f"dtype is {dtype!r}; a network is compiled to 'float32' or 'float64'")
    smaller = minimise(machine)
    best, kept = _one_hot_plan(smaller, dtype)
    best = best or _general_plan(smaller, dtype)
    return assemble_network(_shorter_plan(kept, machine, dtype, len(best.units)) or best, machine, dtype)


def _one_hot_plan(machine: CounterMachine, dtype: str) -> tuple[Plan | None, list[Situations]]:
    """Smallest plan whose control is one-hot, and the situations that are few enough to look for shorter codes."""
    best: Plan | None = None
    kept: list[Situations] = []
    for program in _direct_programs(machine):
        found = find_situations(program)
        if any(_same(found, other) for other in kept):
            continue
        try:
            plan = one_unit_a_state(found, machine.outputs, machine.decision, dtype=dtype)
        except NotSeparableError:
            plan = None
        if plan is not None and (best is None or len(plan.units) < len(best.units)):
            best = plan
        if len(found.corners[0]) * program.symbols <= _SMALL:
            kept.append(found)
        elif best is not None:
            break  # the ways that follow are no smaller
    return best, kept


def _shorter_plan(kept: list[Situations], machine: CounterMachine, dtype: str, below: int) -> Plan | None:
    """Plan of fewer than ``below`` units whose control is a code, the shortest first; None if no code tried is one."""
    effort = 0
    for size in range(below):
        for found in kept:
            parts = size - found.values.shape[1]
            if not 0 <= parts < len(found.states) <= min(3**parts, MOST_STATES):
                continue
            for code in codes(len(found.states), parts)[:_TRIES]:
                plan = plan_of_code(Table(found, code, dtype), machine.outputs, machine.decision)
                effort += len(found.corners[0]) * len(machine.alphabet)
                if plan is not None or effort > _MOST_EFFORT:
                    return plan
    return None


def _same(found: Situations, other: Situations) -> bool:
    names = ("state", "values", "next_state", "reset", "step", "said")
    return all(np.array_equal(getattr(found, name), getattr(other, name)) for name in names)


def _unit_steps(program: Program, machine: CounterMachine, spare: int) -> Program:
    """Divide counters whose steps are larger than 1, or whose thresholds are out of reach with ``spare`` to go."""
    largest = np.abs(machine.step).max((0, 1, 2), initial=0)
    steps = dict(zip(machine.counters, largest.tolist(), strict=True))
    for j, name in enumerate(program.counters):
        farthest = max(max(t, 1 - t) for t in program.thresholds[j])
        divisor = max(1, steps[name], -(-farthest // (LAST_TOLD - spare)))
        if divisor > 1:
            program = divide_counter(program, j, divisor)
    return program


def _direct_programs(machine: CounterMachine) -> Iterator[Program]:
    """Ways to hold the machine in which counters take each step at once."""
    can_fail = bool((machine.next_state < 0).any())
    for policy in ("habit", "stop", "reset", "hold") if can_fail else ("hold",):
        yield _unit_steps(program_of(machine, policy), machine, 0)
    near, nearer, nearest = (
        _unit_steps(program_of(machine, "habit" if can_fail else "hold"), machine, spare) for spare in range(3)
    )
    for j in range(len(near.counters)):
        yield part_counter(near, j)
        yield track_places(nearer, [j])
        yield delay_counter(nearer, j)
        yield track_places(delay_counter(nearest, j), [j])


def _general_plan(machine: CounterMachine, dtype: str) -> Plan:
    """Plan that knows the places of all counters in the control; counters that must wait a step do."""
    # Two steps for delaying and tracking, and one because the weights that overrule other states cost precision.
    program = _unit_steps(program_of(machine), machine, 3)
    delayed: set[int] = set()
    while True:
        rewritten = program
        for j in delayed:
            rewritten = delay_counter(rewritten, j)
        rewritten = track_places(rewritten, range(len(program.counters)))
        try:
            return one_unit_a_state(find_situations(rewritten), machine.outputs, machine.decision, dtype=dtype)
        except NotSeparableError as refused:
            if refused.counter is None or refused.counter in delayed:
                what = f"gate {refused.gate}" if refused.gate else "readout"
                raise ParameterError(
                    f"the {what} of {refused.unit} has no linear separation of its situations; machines with at most "
                    "two counters always have one, up to 2,000 units: use fewer counters, states or constants"
                ) from None
            delayed.add(refused.counter)


def assemble_network(plan: Plan, machine: CounterMachine, dtype: str) -> Recogniser:
    """Lay the planes of a plan out as PyTorch's weights, with the alphabet and outputs of the machine."""
    units, symbols = plan.units, len(machine.alphabet)
    size = max(len(units), 1)  # where nothing is to be remembered, one unit without weights: an LSTM has no fewer
    feature = np.array([unit.feature for unit in units], np.int64)
    weight_ih = np.zeros((4, size, symbols))
    weight_hh = np.zeros((4, size, size))
    bias = np.zeros((4, size))
    readout = np.zeros((len(plan.readout), size), dtype)
    for k, plane in enumerate(plan.readout):
        readout[k, : len(units)] = plane.on_features[feature]
    for u, unit in enumerate(units):
        for k, gate in enumerate(GATES):
            plane = unit.gates[gate]
            weight_hh[k, u] = plane.on_features[feature]
            if np.ptp(plane.on_symbols) == 0:
                bias[k, u] = plane.on_symbols[0]
            else:
                weight_ih[k, u] = plane.on_symbols
    flat = size * 4
    weights = {
        "weight_ih_l0": weight_ih.reshape(flat, symbols).astype(dtype),
        "weight_hh_l0": weight_hh.reshape(flat, size).astype(dtype),
        "bias_ih_l0": bias.reshape(flat).astype(dtype),
        "bias_hh_l0": np.zeros(flat, dtype),
    }
    start = np.array([[unit.start for unit in units] or [0]], dtype)
    return Recogniser(
        alphabet=machine.alphabet,
        inputs=np.eye(symbols, dtype=dtype),
        parameters=LSTMParameters(weights),
        readout_weight=readout,
        readout_bias=np.array([plane.on_symbols[0] for plane in plan.readout], dtype),
        outputs=machine.outputs,
        decision=machine.decision,
        h_0=np.tanh(start) if start.any() else None,
        c_0=start if start.any() else None,
    )
