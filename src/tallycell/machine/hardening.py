"""A network that counts about right made one that counts exactly: extract its machine, compile that.

The compiled network replaces the network unit by unit where it can: the same sizes, each counter in the cell that it
was read from, units that are not needed any more idle.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import ParameterError
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.machine.compiling.rebuilding import rebuild_units
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.extracting.allowed import Inputs, allowed_inputs
from tallycell.machine.extracting.extraction import Extraction, extract_with_walk
from tallycell.machine.extracting.fidelity import measure_fidelity
from tallycell.machine.extracting.recording import record_strings
from tallycell.machine.extracting.strings import usual_strings
from tallycell.machine.extracting.walk import Walk
from tallycell.names import GATES
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser


@dataclass(frozen=True)
class Hardened:
    """A network that does what another nearly did.

    Attributes
    ----------
    net
        The network; of the sizes of the old one if ``same_units``.
    extraction
        The machine that it is made from, how well the old network fitted that, and what broke it.
    same_units
        Whether the new network has as many units as the old one, each of those that count in its old place.
    """

    net: Recogniser
    extraction: Extraction
    same_units: bool


def harden(net: Recogniser, inputs: Inputs = None, *, anyway: bool = False) -> Hardened:
    """Extract the counter machine of a network and compile it, on the same units where possible.

    Symbols become one-hot inputs.

    Parameters
    ----------
    net, inputs
        As of :func:`~tallycell.machine.extracting.extraction.extract_machine`.
    anyway
        Whether to compile the machine that fits best where none decides as the network does. What the network meant is
        then a guess from what it does; look at ``extraction`` before you rely on it.

    Raises
    ------
    ParameterError
        If the network cannot be read, no machine decides as it does, or no network is found for its machine.
    InputError
        If the inputs do not fit the network.

    Examples
    --------
    A counter of brackets that forgets a little each step, so little that no string of 61 symbols shows it:

    >>> weights = {"weight_ih_l0": np.array([[50, 50], [9, 9], [50, -50], [50, 50.0]]),
    ...            "weight_hh_l0": np.zeros((4, 1))}
    >>> net = Recogniser(("(", ")"), np.eye(2), LSTMParameters(weights), [[1.0]], [-0.5], ("open",), "threshold")
    >>> hardened = harden(net)
    >>> print(hardened.extraction.machine)
    alphabet ( )
    counter depth
    on (  depth +1
    on )  depth -1
    tag open when depth > 0
    >>> hardened.net.parameters.hidden_size, hardened.same_units
    (1, True)
    """
    extraction, walk = extract_with_walk(net, inputs)
    if not extraction.exact and not anyway:
        raise ParameterError(
            "the network is not hardened, as no counter machine was found that decides as it does: "
            f"{extraction.fidelity.counts} agree; {extraction.worst}; try {extraction.advice}, or "
            "harden(net, anyway=True)"
        )
    return compile_extraction(net, extraction, walk, inputs)


def compile_extraction(net: Recogniser, extraction: Extraction, walk: Walk | None, inputs: Inputs = None) -> Hardened:
    """Compile what was extracted from a network, on the same units where possible.

    Parameters
    ----------
    net, inputs
        As of :func:`harden`.
    extraction, walk
        What :func:`~tallycell.machine.extracting.extraction.extract_with_walk` gave of them.

    Raises
    ------
    ParameterError
        If no network is found for the machine.
    """
    old, dtype = net.parameters, str(net.parameters.dtype)
    compiled = compile_machine(extraction.machine, dtype)
    same_units = old.num_layers == 1 and compiled.parameters.hidden_size <= old.hidden_size
    if same_units:
        compiled = _placed(compiled, _places(net, compiled, inputs), old.hidden_size)
    elif old.num_layers == 1 and walk is not None:
        rebuilt = rebuild_units(walk, extraction.machine, dtype)
        if rebuilt is not None and _decides_as(extraction.machine, rebuilt, inputs):
            compiled, same_units = rebuilt, True
    return Hardened(replace(compiled, unknown=net.unknown), extraction, same_units)


def _decides_as(machine: CounterMachine, net: Recogniser, inputs: Inputs) -> bool:
    """Whether a network was seen to decide as a machine on the usual strings."""
    strings = usual_strings(len(net.alphabet), allowed_inputs(net, inputs))
    return measure_fidelity(machine, record_strings(net, strings)).exact


def _places(net: Recogniser, compiled: Recogniser, inputs: Inputs) -> Int[np.ndarray, " unit"]:
    """Give each compiled unit the old unit whose cell moves most like its own."""
    from scipy.optimize import linear_sum_assignment

    strings = usual_strings(len(net.alphabet), allowed_inputs(net, inputs))
    there = np.concatenate([np.ones((1, len(strings.lengths)), bool), strings.taken])
    ours, theirs = (_standardised(record_strings(one, strings).c[there]) for one in (compiled, net))
    likeness = np.abs(ours.T @ theirs)
    places: Int[np.ndarray, " unit"] = linear_sum_assignment(likeness, maximize=True)[1]
    return places


def _standardised(cells: Float[np.ndarray, "step unit"]) -> Float[np.ndarray, "step unit"]:
    """Each cell with mean 0 and length 1; 0 if it never moves."""
    centred = cells - cells.mean(0)
    length = np.sqrt((centred**2).sum(0))
    moves = length > 1e-9 * np.sqrt(len(cells))
    standardised: Float[np.ndarray, "step unit"] = np.where(moves, centred / np.where(moves, length, 1.0), 0.0)
    return standardised


def _placed(net: Recogniser, places: Int[np.ndarray, " unit"], units: int) -> Recogniser:
    """Move the units of a network of one layer to places among more; the others have no weights and stay at 0."""
    old, dtype = net.parameters, net.parameters.dtype
    rows = (np.arange(len(GATES))[:, None] * units + places).reshape(-1)
    gates = len(GATES) * units
    weight_ih = np.zeros((gates, old.input_size), dtype)
    weight_hh = np.zeros((gates, units), dtype)
    readout = np.zeros((len(net.outputs), units), dtype)
    weight_ih[rows] = old.weights["weight_ih_l0"]
    weight_hh[np.ix_(rows, places)] = old.weights["weight_hh_l0"]
    readout[:, places] = net.readout_weight
    weights = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh}
    for name in ("bias_ih_l0", "bias_hh_l0"):
        weights[name] = np.zeros(gates, dtype)
        weights[name][rows] = old.weights[name]
    return replace(
        net,
        parameters=LSTMParameters(weights),
        readout_weight=readout,
        h_0=_placed_state(net.h_0, places, units),
        c_0=_placed_state(net.c_0, places, units),
    )


def _placed_state(
    state: Float[np.ndarray, "1 old"] | None, places: Int[np.ndarray, " old"], units: int
) -> Float[np.ndarray, "1 unit"] | None:
    if state is None:
        return None
    placed = np.zeros((1, units), state.dtype)
    placed[:, places] = state
    return placed
