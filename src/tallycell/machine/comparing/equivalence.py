"""Whether two machines say the same after every string: proved, searched, or different with a string that shows it.

The proof runs both machines side by side. It keeps, for each pair of states and each view of all counters, every linear
equation that always holds between the counters of both
(:func:`~tallycell.machine.comparing.reachability.reach`): so a counter of one may be that of the other renamed, with
the other sign, shifted, kept as the difference of two parts, or kept as a part of itself and a remainder in the
control, and each so in its own situations. If both say the same in every situation that this does not exclude, they
say the same after every string.

It is sound, not complete: from two counters on, equivalence is undecidable.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Literal

from tallycell.errors import InputError
from tallycell.machine.comparing.cosets import Coset, join
from tallycell.machine.comparing.pair_search import search_difference
from tallycell.machine.comparing.reachability import Places, Situation, TooManySituations, reach, view_at
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.wording import shown

LENGTH = 12
PAIRS = 10_000_000
FIRST_LENGTH = 6  # searched before a proof is tried: most machines that differ do so soon
MARGINS = (0, 1, 2)

Verdict = Literal["proved", "searched", "different"]


@dataclass(frozen=True)
class Equivalence:
    """What is known of two machines.

    Attributes
    ----------
    verdict
        ``"proved"``: they say the same after every string of any length. ``"searched"``: no proof was found, and they
        say the same after every string of at most ``length`` symbols; nothing is claimed of longer ones.
        ``"different"``: they say different things after ``witness``.
    length
        For ``"searched"``, to what length in symbols all strings were compared; for ``"different"``, the length of the
        witness; for ``"proved"``, None.
    pairs
        How many different pairs of configurations the search met; 0 where it was not needed.
    witness
        A shortest string after which they say different things, as symbols.
    said
        What the first and the second machine say after the witness.
    matching
        For ``"proved"``, how the counters of one are made of the other's, one equation each, where one equation holds
        in all situations; counters without one are matched situation by situation, or not at all.

    Examples
    --------
    >>> print(Equivalence("different", length=2, pairs=9, witness=("a", "b"), said=(("accept",), ())))
    different: after 'a' 'b' the first says accept, the second nothing
    """

    verdict: Verdict
    length: int | None = None
    pairs: int = 0
    witness: tuple[str, ...] | None = None
    said: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    matching: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.verdict == "proved":
            matched = f", with {'; '.join(self.matching)}" if self.matching else ""
            return f"proved: they say the same after every string{matched}"
        if self.witness is None or self.said is None:
            return f"searched: they say the same after every string of at most {self.length} symbols, not proved beyond"
        after = shown(" ".join(map(repr, self.witness))) if self.witness else "the empty string"
        first, second = (shown(", ".join(names) or "nothing") for names in self.said)
        return f"different: after {after} the first says {first}, the second {second}"


def compare_machines(
    first: CounterMachine, second: CounterMachine, *, length: int = LENGTH, pairs: int = PAIRS
) -> Equivalence:
    """Find out whether two machines say the same after every string, the empty string included.

    Outputs are compared by name. A short search comes first, then the proof, then the whole search: breadth-first over
    the pairs of configurations that are reached together, so that the witness is a shortest. Where that search comes
    to an end because no new pair is left, it is a proof as well.

    Parameters
    ----------
    first, second
        Over the same symbols and outputs, in any order.
    length
        To which strings are searched, in symbols.
    pairs
        After so many different pairs of configurations the search ends; the length that it has then finished counts.

    Returns
    -------
    Equivalence
        Verdict and evidence.

    Raises
    ------
    InputError
        If the alphabets or the outputs differ.

    Examples
    --------
    >>> import numpy as np
    >>> def machine(name, sign):
    ...     return CounterMachine(
    ...         ("a", "b"), ("start",), (name,), ((0,),), next_state=np.zeros((1, 2, 3), int),
    ...         reset=np.zeros((1, 2, 3, 1), bool), step=np.array([[[[sign]] * 3, [[-sign]] * 3]]),
    ...         outputs=("accept",), output=np.array([[[False], [True], [False]]]),
    ...     )
    >>> print(compare_machines(machine("more_a", 1), machine("more_b", -1)))
    proved: they say the same after every string, with more_b = -more_a
    """
    for name, ours, theirs in (
        ("alphabet", first.alphabet, second.alphabet),
        ("outputs", first.outputs, second.outputs),
    ):
        if set(ours) != set(theirs):
            msg = (
                f"the first machine has the {name} {shown(', '.join(ours))}, the second "
                f"{shown(', '.join(theirs))}; "
                f"only machines over the same can be compared: rename or leave out what differs"
            )
            raise InputError(msg)
    found = search_difference(first, second, length=min(length, FIRST_LENGTH), pairs=pairs)
    if found.witness is None and not found.exhausted:
        proof = prove_equivalent(first, second)
        if proof is not None:
            return proof
        found = search_difference(first, second, length=length, pairs=pairs)
    if found.witness is not None:
        said = tuple(tuple(sorted(one.says(one.run(found.witness)))) for one in (first, second))
        return Equivalence("different", len(found.witness), found.pairs, found.witness, said=(said[0], said[1]))
    if found.exhausted:
        return Equivalence("proved", pairs=found.pairs)
    return Equivalence("searched", found.length, found.pairs)


def prove_equivalent(first: CounterMachine, second: CounterMachine) -> Equivalence | None:
    """Give the proof that two machines say the same after every string; None if this way does not show it."""
    counters = len(first.counters)
    said: tuple[dict[tuple[int, Places], frozenset[str]], ...] = ({}, {})

    def says(number: int, state: int, places: Places) -> frozenset[str]:
        machine = (first, second)[number]
        if (state, places) not in said[number]:
            said[number][state, places] = _said(machine, state, places)
        return said[number][state, places]

    def agree(situation: Situation) -> bool:
        (state, other), places = situation
        return says(0, state, places[:counters]) == says(1, other, places[counters:])

    for margin in MARGINS:
        try:
            found = reach((first, second), margin=margin, allowed=agree)
        except TooManySituations:
            return None
        if all(map(agree, found)):
            alive = [values for (states, _), values in found.items() if FAIL not in states]
            return Equivalence("proved", matching=_matching(first, second, reduce(join, alive)) if alive else ())
    return None


def _said(machine: CounterMachine, state: int, places: Places) -> frozenset[str]:
    if state == FAIL:
        return frozenset(machine.outputs[:1] if machine.decision == "argmax" else ())
    chosen = machine.output[state, view_at(places, machine.radices)]
    return frozenset(name for name, there in zip(machine.outputs, chosen, strict=True) if there)


def _matching(first: CounterMachine, second: CounterMachine, values: Coset) -> tuple[str, ...]:
    """Write each counter of the second as a sum of the first's, and what is left of the first's the other way round."""
    columns = list(zip(*values.rows, strict=True)) or [()] * len(values.point)
    sides = range(len(first.counters)), range(len(first.counters), len(values.point))
    names = *first.counters, *second.counters
    equations, used = [], set()
    for whole, parts in ((sides[1], sides[0]), (sides[0], sides[1])):
        for counter in whole:
            if counter in used or (factors := _factors(columns[counter], [columns[part] for part in parts])) is None:
                continue
            taken = [(factor, part) for factor, part in zip(factors, parts, strict=True) if factor]
            used |= {counter, *(part for _, part in taken)} if len(taken) == 1 else {counter}
            shift = values.point[counter] - sum((factor * values.point[part] for factor, part in taken), Fraction(0))
            equations.append(f"{names[counter]} = {_sum([(factor, names[part]) for factor, part in taken], shift)}")
    return tuple(equations)


def _factors(column: tuple[int, ...], parts: list[tuple[int, ...]]) -> list[Fraction] | None:
    """Factors with which parts sum to a column; None if there are none. Parts that are not needed have factor 0."""
    rows = [[Fraction(value) for value in row] for row in zip(*parts, column, strict=True)]
    pivots: list[tuple[int, list[Fraction]]] = []
    for part in range(len(parts)):
        lead = next((row for row in rows if row[part]), None)
        if lead is None:
            continue
        rows = [row for row in rows if row is not lead]
        lead = [value / lead[part] for value in lead]
        rows = [[a - row[part] * b for a, b in zip(row, lead, strict=True)] for row in rows]
        pivots = [(at, [a - row[part] * b for a, b in zip(row, lead, strict=True)]) for at, row in pivots]
        pivots.append((part, lead))
    if any(row[-1] for row in rows):
        return None
    factors = [Fraction(0)] * len(parts)
    for part, row in pivots:
        factors[part] = row[-1]
    return factors


def _sum(terms: list[tuple[Fraction, str]], shift: Fraction) -> str:
    parts = []
    for factor, name in terms:
        size = "" if abs(factor) == 1 else f"{abs(factor)} "
        parts.append(f"{'-' if factor < 0 else '+'} {size}{name}")
    if shift or not parts:
        parts.append(f"{'-' if shift < 0 else '+'} {abs(shift)}")
    text = " ".join(parts)
    return text[2:] if text.startswith("+") else "-" + text[2:]
