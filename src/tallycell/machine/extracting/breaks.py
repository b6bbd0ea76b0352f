"""What stops a network from being a counter machine: which gate of which cell, in which situation, by how much."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tallycell.machine.extracting.recording import Recorded, Units, count_in_units
from tallycell.machine.extracting.snapping import CountedRun
from tallycell.names import Gate
from tallycell.wording import quoted

OPEN_SHARE = 0.1  # a gate this far from both of its limits is neither open nor closed
LOST = 0.25  # of a unit, over the longest string: what leaks and steps that are not whole may take of a cell


@dataclass(frozen=True)
class Break:
    """One gate of one cell that does what no counter machine does.

    Attributes
    ----------
    layer, unit
        Which cell.
    gate
        Which gate: "f" for a leak, "o" for what is half exposed, "i" or "g" for a step that is no whole number.
    symbol
        On which symbol.
    situation
        What the cells of all layers exposed before, cell by cell: "+", "-", "0", and "." for hidden.
    value
        The gate there, on average.
    amount
        How much is wrong, largest over the strings: for "f" what one step loses of the cell, for "i" and "g" how far
        the step is from a whole number, both in units of the cell; for "o" how far the gate is from its limit.
    text
        In words.
    """

    layer: int
    unit: int
    gate: Gate
    symbol: str
    situation: str
    value: float
    amount: float
    text: str

    def __str__(self) -> str:
        return self.text


def find_breaks(recorded: Recorded, units: Units) -> tuple[Break, ...]:
    """Look for gates that are neither open nor closed where it matters, leaks, and steps that are no whole number.

    What is little in one step counts if it comes to ``LOST`` when every step of the longest string does it. Each gate
    of each cell is named once, in the situation where it is worst; the worst come first.
    """
    run = count_in_units(recorded, units)
    if not run.keep.size:
        return ()
    situations = _situations(run)
    found = [
        worst
        for faults in _faults(recorded, units, run)
        for cell in range(run.keep.shape[-1])
        if (worst := _worst(recorded, situations, faults, cell)) is not None
    ]
    return tuple(sorted(found, key=lambda one: -one.amount))


@dataclass(frozen=True, eq=False)
class _Faults:
    """How much is wrong with one gate at every step, and from how much on it counts."""

    gate: Gate
    amount: Float[np.ndarray, "time sequence cell"]
    least: float


def _faults(recorded: Recorded, units: Units, run: CountedRun) -> Iterator[_Faults]:
    taken = recorded.strings.taken[..., None]
    before = np.abs(recorded.c[:-1]) / units.size
    # What a step loses: a whole cell leaks if f is less than 1, and a reset leaves something if it is more than 0.
    lost = np.abs(recorded.f - run.keep) * before
    holds = before > 1 - LOST  # an empty cell cannot leak
    half_open = np.minimum(recorded.f, 1 - recorded.f) > OPEN_SHARE
    least = LOST / longest(recorded)
    yield _Faults("f", np.where(taken & holds & ((lost > least) | half_open), lost, 0.0), 0.0)
    writes = recorded.i * recorded.g / units.size
    off = np.where(taken, np.abs(writes - np.rint(writes)), 0.0)
    # Of the two that make the step, the one further from its limit is to blame.
    blame_i = np.minimum(recorded.i, 1 - recorded.i) >= 1 - np.abs(recorded.g)
    yield _Faults("i", np.where(blame_i, off, 0.0), least)
    yield _Faults("g", np.where(blame_i, 0.0, off), least)
    partly = np.minimum(recorded.o, 1 - recorded.o)
    yield _Faults("o", np.where(taken & (run.count[1:] != 0), partly, 0.0), OPEN_SHARE)


def longest(recorded: Recorded) -> int:
    """Symbols of the longest string."""
    return int(recorded.strings.lengths.max(initial=1))


def _situations(run: CountedRun) -> np.ndarray:
    """Tell what every cell exposed before each step: -1, 0, 1, and 2 for hidden."""
    situations: np.ndarray = np.where(run.expose, np.sign(run.count), 2)[:-1]
    situations[0] = np.sign(run.count[0])
    return situations


def _worst(recorded: Recorded, situations: np.ndarray, faults: _Faults, cell: int) -> Break | None:
    amounts = faults.amount[..., cell]
    at = np.unravel_index(int(amounts.argmax()), amounts.shape)
    if not amounts[at] > faults.least:
        return None
    same: Bool[np.ndarray, "time sequence"] = (situations == situations[at]).all(axis=-1)
    same &= recorded.strings.taken & (recorded.strings.codes == recorded.strings.codes[at])
    value = float(getattr(recorded, faults.gate)[same][:, cell].mean())
    symbol = recorded.net.alphabet[int(recorded.strings.codes[at])]
    situation = "".join("-0+."[int(sign) + 1] for sign in situations[at])
    layer, unit = divmod(cell, recorded.net.parameters.hidden_size)
    amount = float(amounts[at])
    text = (
        f"layer {layer} unit {unit}: {_blame(faults.gate, value, amount, longest(recorded))}; seen at {quoted(symbol)} "
        f"after the cells had shown {situation}, at {int(same.sum()):,} steps"
    )
    return Break(layer, unit, faults.gate, symbol, situation, value, amount, text)


def _blame(gate: Gate, value: float, amount: float, steps: int) -> str:
    stands = _not_rounded(value)
    match gate:
        case "f" if value > 0.5:
            lost = f"{1 - value:.2%}" if value < 0.9999 else f"{1 - value:.1g}"
            return f"f is {stands}, not 1: it forgets {lost} of its cell each step, up to {amount:.2g} counts"
        case "f":
            return f"f is {stands}, not 0: a reset leaves {value:.2%} of the cell, up to {amount:.2g} counts"
        case "o":
            return f"o is {stands}, neither 0 nor 1: the cell is shown in part"
        case _:
            text = f"{gate} is {stands}: the step is up to {amount:.2g} away from a whole number of counts"
            return text if amount > LOST else f"{text}, which in {steps} such steps is {amount * steps:.2g}"


def _not_rounded(value: float) -> str:
    """Write a gate in three digits, in more where those would say that it is exactly 1 or 0.

    Examples
    --------
    >>> _not_rounded(0.8321), _not_rounded(0.99988), _not_rounded(-0.9999999), _not_rounded(1.0)
    ('0.832', '0.9999', '-0.9999999', '1')
    """
    digits = next((k for k in range(3, 17) if abs(float(f"{value:.{k}g}")) != 1), 3)
    return f"{value:.{digits}g}" if abs(value) < 1 else f"{value:.3g}"
