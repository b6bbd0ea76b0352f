"""The horizon: up to how many symbols a network is proved to decide as a counter machine does.

The proof is one of interval arithmetic over the situations of machine and network together, with all rounding
included (:mod:`tallycell.machine.proving.proof`). What it proves is the arithmetic's, never the extraction's or the
training's: it takes any machine and any network, and says 0 where it cannot follow the one beside the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tallycell.machine.checking.matching import matched
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.extracting.allowed import automaton_of
from tallycell.machine.proving.contracts import Arithmetic
from tallycell.machine.proving.coupling import Fineness, NotCoupledError, couple
from tallycell.machine.proving.edge_steps import EdgeSteps
from tallycell.machine.proving.explanation import explain, uncertain_decision
from tallycell.machine.proving.fitting import fit_weights, follow_in_fail
from tallycell.machine.proving.limits import too_large
from tallycell.machine.proving.proof import Outcome, Prover
from tallycell.machine.proving.shadow import IN_FAIL, InFail, Restricted, restrict, shadow_of, until_fail
from tallycell.recogniser import Recogniser

FARTHEST = 2**62  # symbols; nobody reads more
ENOUGH_OF_FORMAT = 0.9  # of the whole numbers of the format: no closer look proves more
MANY = 4  # counters from which situations are so many that the fewest are tried first
ENOUGH = 1000  # symbols from which no other way to treat fail is tried
ALLOWED, ON_WHICH_IT_HAS_NOT_FAILED = " that are allowed", " on which the machine has not failed"
WITHIN = 1.01  # the horizon is found to this factor


@dataclass(frozen=True)
class Horizon:
    """How far a network is proved to decide as a machine does.

    Attributes
    ----------
    symbols
        After each of the first ``symbols`` symbols of every allowed input the decisions are the same: proved. 0 if
        nothing is proved; 2^62 stands for no end.
    dtype
        Of the arithmetic.
    first_to_break
        The unit and the gate whose leak or step mismatch ends the proof, or why there is none.
    predicted_first_difference
        Where the decisions might first differ, in symbols: an estimate, never proved; None where there is none.
    assumptions
        What the proof assumes.
    situations
        Number of situations of machine and network that it looks at.
    inputs
        Which strings it holds for, as words behind "strings"; empty if for all.
    """

    symbols: int
    dtype: str
    first_to_break: str
    predicted_first_difference: int | None
    assumptions: tuple[str, ...]
    situations: int
    inputs: str = ""

    def __str__(self) -> str:
        if self.symbols == 0:
            return f"horizon: no length is proved: {self.first_to_break}"
        strings = f"strings of up to {self.symbols:,} symbol{'' if self.symbols == 1 else 's'}"
        if self.symbols == FARTHEST:
            strings = "strings of any length"
        strings += self.inputs
        said = f"horizon: the network provably decides as the machine on {strings} ({self.dtype})"
        said += f"\n  what ends the proof: {self.first_to_break}"
        if self.predicted_first_difference is not None:
            said += f"\n  a first difference is expected at about {self.predicted_first_difference:,} symbols"
            said += " (an estimate, not proved)"
        said += f"\n  it is proved for {self.situations:,} situations: states of machine and network, seen together"
        return "\n  it assumes that ".join([said, *self.assumptions])


def counting_horizon(
    machine: CounterMachine,
    net: Recogniser,
    *,
    inputs: CounterMachine | None = None,
    symbols: Sequence[str] | None = None,
    kernel: str = "tallycell",
) -> Horizon:
    """Prove to how many symbols a network decides as a machine does, after every symbol of every allowed input.

    Parameters
    ----------
    machine
        The machine. Its alphabet is that of the inputs.
    net
        A network of any weights, compiled or trained; one direction, any number of layers, sigmoid and tanh.
    inputs
        Which inputs are allowed: a machine without counters that fails on all others; or ``machine`` itself, so that an
        input ends where it fails, and nothing is asked of the network there; None for all strings.
    symbols
        Symbols that occur; None for all of the machine's alphabet.
    kernel
        Whose arithmetic: ``"tallycell"``, whose activations keep a contract, or ``"torch"``, whose activations are
        measured here on some millions of values.

    Raises
    ------
    InputError
        If machine and network have not the same outputs or decision rule, or the network does not know a symbol; or if
        ``inputs`` is another machine with counters, or has another alphabet.

    Examples
    --------
    >>> from tallycell.machine.compiling.compilation import compile_machine
    >>> from tallycell.machine.shipped import shipped_machine
    >>> machine = shipped_machine("dyck-1")
    >>> counting_horizon(machine, compile_machine(machine, "float64")).symbols > 10**9
    True
    """
    letters, outputs = matched(machine, net, symbols)
    dtype = str(net.parameters.dtype)
    if (reason := _not_covered(net) or too_large(net, letters)) is not None:
        return Horizon(0, dtype, reason, None, (), 0)
    arithmetic = Arithmetic.of_kernel(dtype, kernel)
    ends = inputs is not None and inputs == machine
    restricted = until_fail(machine) if ends else restrict(machine, automaton_of(machine.alphabet, inputs))
    fails = (machine.next_state == FAIL).any() and not ends
    ways: tuple[InFail | None, ...] = (None, *IN_FAIL) if fails else IN_FAIL[:1]
    best = Horizon(0, dtype, "", None, arithmetic.assumptions, 0)
    for fineness in _finenesses(len(machine.counters)):
        found: list[tuple[InFail | None, Horizon]] = []
        for in_fail in ways:
            found.append((in_fail, _horizon(restricted, net, arithmetic, (letters, outputs), Way(in_fail, fineness))))
            if found[-1][1].symbols >= ENOUGH:
                break
        farthest = max((one for _, one in found), key=lambda one: one.symbols)
        best = farthest if farthest.symbols > best.symbols or not best.first_to_break else best
        by_format = best.symbols * max(machine.largest_step, 1) >= ENOUGH_OF_FORMAT * 2.0**arithmetic.bits
        refused = all(one.situations == 0 for _, one in found)
        if by_format or refused == (len(machine.counters) > 1):
            break
        # Who proves far less than another is not tried more closely; a few symbols are no proof worth mentioning.
        least = farthest.symbols / 2 if farthest.symbols >= ENOUGH else 0
        ways = tuple(in_fail for in_fail, one in found if one.symbols >= least)
    return replace(best, inputs=ON_WHICH_IT_HAS_NOT_FAILED if ends else ALLOWED if inputs is not None else "")


class Way(NamedTuple):
    """A way to put machine and network together: what counters do in fail (None: as cells do), what is told apart."""

    in_fail: InFail | None
    fineness: Fineness


def _finenesses(counters: int) -> tuple[Fineness, ...]:
    """Give what is tried in turn: of one counter as much as there is room for; of several, more while there is."""
    if counters <= 1:
        return Fineness(8, 4), Fineness(4, 4), Fineness(0, 4)
    if counters < MANY:
        return Fineness(1, 4), Fineness(3, 4), Fineness(8, 4)
    return Fineness(0, 1, (1,), at_once=1), Fineness(0, 2, (1,), at_once=2)


def _not_covered(net: Recogniser) -> str | None:
    """Say what of a network the proof does not cover; None if nothing."""
    p = net.parameters
    slots = p.slots(0)
    rare = {
        "a second direction": p.bidirectional,
        "peepholes": p.peepholes,
        "a projection": p.proj_size > 0,
        "a coupled or missing forget gate": p.forget_gate != "own",
        "clipping": p.clip_pre is not None or p.clip_cell is not None,
        "other activations than sigmoid and tanh": (slots.gate.name, slots.cell.name, slots.hidden.name)
        != ("sigmoid", "tanh", "tanh"),
    }
    found = next((name for name, there in rare.items() if there), None)
    return None if found is None else f"the network has {found}, which the proof does not cover"


def _horizon(
    restricted: Restricted, net: Recogniser, arithmetic: Arithmetic, matching: tuple[np.ndarray, np.ndarray], way: Way
) -> Horizon:
    """Horizon of one way."""
    letters, outputs = matching
    try:
        coupling = couple(shadow_of(restricted, way.in_fail or "hold"), net, letters, way.fineness)
        weights = fit_weights(coupling)
        if way.in_fail is None:
            coupling = couple(follow_in_fail(coupling, weights), net, letters, way.fineness)
            weights = fit_weights(coupling)
    except NotCoupledError as refused:
        return Horizon(0, arithmetic.dtype, str(refused), None, arithmetic.assumptions, 0)
    prover = Prover(EdgeSteps.around_samples(net, coupling, arithmetic, weights), outputs)
    symbols, proved, broken = _longest(prover)
    nodes = len(coupling.state)
    if symbols == 0:
        return Horizon(0, arithmetic.dtype, uncertain_decision(prover, broken), None, arithmetic.assumptions, nodes)
    text, predicted = explain(prover, symbols, proved, broken)
    return Horizon(symbols, arithmetic.dtype, text, predicted, arithmetic.assumptions, nodes)


def _longest(prover: Prover) -> tuple[int, Outcome, Outcome]:
    """Find the most symbols that can be proved, what was proved and what was not.

    What holds for some symbols holds for fewer, so a failed attempt only costs length.
    """
    broken = prover.prove(FARTHEST)
    if broken.proved:
        return FARTHEST, broken, broken
    proved = prover.prove(1)
    if not proved.proved:
        return 0, proved, proved
    low, high = 1, FARTHEST
    while high > low + 1 and high > low * WITHIN:
        # First between powers of two, then between numbers.
        middle = 2 ** ((low.bit_length() + high.bit_length() - 1) // 2) if high > 4 * low else (low + high) // 2
        outcome = prover.prove(middle, proved.boxes)
        if outcome.proved:
            low, proved = middle, outcome
        else:
            high, broken = middle, outcome
    return low, proved, broken
