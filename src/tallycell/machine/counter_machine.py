"""A counter machine: finite control, integer counters, what a step may ask of them and what it does to them.

Deterministic and real-time: each symbol is one step. A step sees the state, the symbol and, of each counter, where it
stands among a few constants (with the constant 0: its sign). It goes to the next state and, for each counter, resets or
keeps it and then adds an integer. ``fail`` is built in: absorbing, and nothing is accepted or legal there.

Fischer, Meyer & Rosenberg (1968), "Counter machines and counter languages"; for LSTMs Merrill (2019), "Sequential
neural networks as automata".
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Int

from tallycell.drawing import draw, write
from tallycell.errors import InputError, ParameterError
from tallycell.html_table import html_table
from tallycell.wording import listed, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAIL = -1  # the state from which nothing leads away
FAIL_NAME = "fail"
MOST_SHOWN = 40  # names of a kind, in HTML
MOST_SITUATIONS = 10_000_000  # states times symbols times views times counters: a table, not a computation

Decision = Literal["argmax", "threshold"]


class Configuration(NamedTuple):
    """Where a machine stands: the index of its state (``FAIL`` for fail) and its counters, of any size."""

    state: int
    counters: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class CounterMachine:
    """A deterministic real-time counter machine.

    Attributes
    ----------
    alphabet
        The symbols, each a string, usually one character.
    states
        Names; the first is the start, with all counters 0.
    counters
        Names.
    constants
        For each counter, in ascending order, what it is compared with: ``(0,)`` for its sign, ``()`` if no step and
        no output depends on it.
    next_state
        (state, symbol, view): index of the next state, ``FAIL`` (-1) for fail. A view says where all counters stand
        among their constants, see :meth:`view_of`.
    reset
        (state, symbol, view, counter): whether the counter is set to 0 first.
    step
        (state, symbol, view, counter): what is then added to it.
    outputs
        What the machine can say after each step: tags, ``accept``, or the symbols that may follow.
    output
        (state, view, output): whether it says it, there, after the step.
    decision
        ``"argmax"``: exactly one output at a time, in fail the first; ``"threshold"``: any number of them, in fail
        none. As of :class:`~tallycell.recogniser.Recogniser`.

    Raises
    ------
    ParameterError
        If the parts do not fit together.

    Examples
    --------
    The language of balanced parentheses; the three views are depth below, at and above 0:

    >>> machine = CounterMachine(
    ...     ("(", ")"), ("start",), ("depth",), ((0,),),
    ...     next_state=np.array([[[0, 0, 0], [FAIL, FAIL, 0]]]),
    ...     reset=np.zeros((1, 2, 3, 1), bool), step=np.array([[[[1]] * 3, [[-1]] * 3]]),
    ...     outputs=("accept",), output=np.array([[[False], [True], [False]]]),
    ... )
    >>> machine.run("(())").counters, machine.accepts("(())"), machine.accepts("())(")
    ((0,), True, False)
    """

    alphabet: tuple[str, ...]
    states: tuple[str, ...]
    counters: tuple[str, ...]
    constants: tuple[tuple[int, ...], ...]
    next_state: Int[np.ndarray, "state symbol view"]
    reset: Bool[np.ndarray, "state symbol view counter"]
    step: Int[np.ndarray, "state symbol view counter"]
    outputs: tuple[str, ...]
    output: Bool[np.ndarray, "state view output"]
    decision: Decision = "threshold"

    def __post_init__(self) -> None:
        for name in ("alphabet", "states", "counters", "outputs"):
            object.__setattr__(self, name, self._names(name))
        constants = tuple(tuple(int(k) for k in of_one) for of_one in self.constants)
        object.__setattr__(self, "constants", constants)
        if len(constants) != len(self.counters) or any(list(ks) != sorted(set(ks)) for ks in constants):
            raise ParameterError(
                f"constants are {quoted(constants)}; give one tuple in ascending order for each of the counters "
                f"{quoted(self.counters)}"
            )
        if self.decision not in get_args(Decision):
            raise ParameterError(f"decision is {quoted(self.decision)}; it is 'argmax' or 'threshold'")
        shape = (len(self.states), len(self.alphabet), self.views)
        if math.prod(shape) * max(len(self.counters), 1) > MOST_SITUATIONS:
            raise ParameterError(
                f"{shape[0]} states, {shape[1]} symbols and {shape[2]} views of {len(self.counters)} counters make a "
                f"table of more than {MOST_SITUATIONS:,} entries; use fewer constants or counters"
            )
        self._set_array("next_state", np.int64, shape)
        self._set_array("reset", np.bool_, (*shape, len(self.counters)))
        self._set_array("step", np.int64, (*shape, len(self.counters)))
        self._set_array("output", np.bool_, (shape[0], shape[2], len(self.outputs)))
        if self.next_state.size and not (self.next_state.min() >= FAIL and self.next_state.max() < len(self.states)):
            raise ParameterError(f"a next state is outside -1 (fail) to {len(self.states) - 1}")
        if self.decision == "argmax" and not (self.output.sum(-1) == 1).all():
            raise ParameterError("decision 'argmax' needs exactly one output in every state and view")
        # What a step that fails does to the counters cannot be seen: one way to write it.
        for array in (self.reset, self.step):
            array.setflags(write=True)
            array[self.next_state == FAIL] = 0
            array.setflags(write=False)

    def _names(self, name: str) -> tuple[str, ...]:
        found = tuple(getattr(self, name))
        if not all(isinstance(one, str) and one for one in found) or len(set(found)) < len(found):
            raise ParameterError(f"the {name} of a machine must be distinct texts; got {quoted(found)}")
        if any("\ud800" <= character <= "\udfff" for one in found for character in one):
            raise ParameterError(f"the {name} of a machine must be texts that a file can hold; got {quoted(found)}")
        if not found and name != "counters":
            raise ParameterError(f"a machine needs at least one of its {name}")
        if name == "states" and FAIL_NAME in found:
            raise ParameterError("a state is called 'fail', which every machine has already; give it another name")
        return found

    def _set_array(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        given = np.asarray(getattr(self, name))
        if given.shape != shape:
            raise ParameterError(f"{name} of the machine has shape {given.shape}, expected {shape}")
        array: np.ndarray = given.astype(dtype)
        if not np.array_equal(array, given):
            raise ParameterError(f"{name} of the machine holds {given.dtype} values that are no {np.dtype(dtype)}")
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    # ---- what a step sees --------------------------------------------------------------------------------------------

    @property
    def radices(self) -> tuple[int, ...]:
        """For each counter, the number of places it can stand at: 2 for each constant, and 1."""
        return tuple(2 * len(constants) + 1 for constants in self.constants)

    @property
    def views(self) -> int:
        """Number of views: the product of the radices."""
        return math.prod(self.radices)

    def view_of(self, counters: Sequence[int]) -> int:
        """Index of the view that counters give: their places as digits, the first counter's highest.

        The place of a counter among constants k_0 < k_1 < ... is 0 below k_0, 1 at k_0, 2 between k_0 and k_1, and so
        on; with the constant 0 alone: 0 negative, 1 zero, 2 positive.
        """
        view = 0
        for value, constants, radix in zip(counters, self.constants, self.radices, strict=True):
            view = view * radix + place_of(value, constants)
        return view

    def places_of(self, view: int) -> tuple[int, ...]:
        """Place of each counter in a view: undoes the digits of :meth:`view_of`."""
        places = []
        for radix in reversed(self.radices):
            view, place = divmod(view, radix)
            places.append(place)
        return tuple(reversed(places))

    @property
    def largest_step(self) -> int:
        """Largest absolute value of a step; 0 without counters."""
        return max(int(self.step.max(initial=0)), -int(self.step.min(initial=0)))

    # ---- running -----------------------------------------------------------------------------------------------------

    @property
    def start(self) -> Configuration:
        """Configuration before the first symbol."""
        return Configuration(0, (0,) * len(self.counters))

    def advance(self, configuration: Configuration, symbol: str) -> Configuration:
        """Take one step; integers are unbounded.

        Raises
        ------
        InputError
            If the symbol is not in the alphabet.
        """
        code = self.encode((symbol,))[0]
        state, counters = configuration
        if state == FAIL:
            return configuration
        at = (state, code, self.view_of(counters))
        if self.next_state[at] == FAIL:
            return Configuration(FAIL, (0,) * len(counters))
        moved = [
            (0 if reset else value) + step
            for value, reset, step in zip(counters, self.reset[at].tolist(), self.step[at].tolist(), strict=True)
        ]
        return Configuration(int(self.next_state[at]), tuple(moved))

    def walk(self, symbols: Sequence[str]) -> Iterator[Configuration]:
        """Give the start and then the configuration after each symbol."""
        configuration = self.start
        yield configuration
        for symbol in symbols:
            configuration = self.advance(configuration, symbol)
            yield configuration

    def run(self, symbols: Sequence[str]) -> Configuration:
        """Give the configuration after all symbols.

        Raises
        ------
        InputError
            If a symbol is not in the alphabet.
        """
        *_, last = self.walk(symbols)
        return last

    def says(self, configuration: Configuration) -> tuple[str, ...]:
        """Give the outputs in a configuration."""
        if configuration.state == FAIL:
            return self.outputs[:1] if self.decision == "argmax" else ()
        chosen = self.output[configuration.state, self.view_of(configuration.counters)]
        return tuple(name for name, there in zip(self.outputs, chosen, strict=True) if there)

    def accepts(self, symbols: Sequence[str]) -> bool:
        """Whether the machine says ``accept`` after all symbols.

        Raises
        ------
        InputError
            If it has no such output, or a symbol is not in the alphabet.
        """
        if "accept" not in self.outputs:
            raise InputError(f"this machine says {listed(self.outputs)}, never 'accept'; look at says(run(...))")
        return "accept" in self.says(self.run(symbols))

    def encode(self, symbols: Sequence[str]) -> list[int]:
        """Index of each symbol in the alphabet.

        Raises
        ------
        InputError
            If one is not in it.
        """
        index = {symbol: k for k, symbol in enumerate(self.alphabet)}
        for place, symbol in enumerate(symbols):
            if symbol not in index:
                raise InputError(
                    f"symbol {quoted(symbol)} at position {place} is not in the alphabet {quoted(self.alphabet)}"
                )
        return [index[symbol] for symbol in symbols]

    # ---- as a value --------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Equal in every name and every entry; two machines that only behave alike may differ."""
        if not isinstance(other, CounterMachine):
            return NotImplemented
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        # A pickled array comes back writeable; made anew it is not.
        return CounterMachine, tuple(getattr(self, one.name) for one in fields(self))

    def __str__(self) -> str:
        """Write the machine in the notation of :mod:`tallycell.machine.notation.text`."""
        return write(self)

    def __repr__(self) -> str:
        return (
            f"CounterMachine({len(self.alphabet)} symbols, {len(self.states)} states, counters "
            f"{', '.join(self.counters) or '(none)'}, outputs {', '.join(self.outputs)})"
        )

    def plot(self, **how: Any) -> "Figure":
        """Draw it as a diagram of states: see :func:`tallycell.plot.plot_machine`."""
        return draw("machine", self, **how)

    def _repr_html_(self) -> str:
        parts = {"symbols": self.alphabet, "states": self.states, "counters": self.counters, "outputs": self.outputs}
        rows = ((f"{len(names)} {what}", ", ".join(names[:MOST_SHOWN])) for what, names in parts.items())
        return html_table("Counter machine", rows)


def place_of(value: int, constants: Sequence[int]) -> int:
    """Place of a number among constants in ascending order; see :meth:`CounterMachine.view_of`.

    Examples
    --------
    >>> [place_of(value, (0, 3)) for value in (-1, 0, 2, 3, 9)]
    [0, 1, 2, 3, 4]
    """
    index = bisect_left(constants, value)
    return 2 * index + (index < len(constants) and constants[index] == value)


def values_at(place: int, constants: Sequence[int]) -> tuple[int | None, int | None]:
    """Least and greatest number at a place among constants; None where there is none.

    Two constants in a row leave no number between them: least is then above greatest.

    Examples
    --------
    >>> [values_at(place, (0, 3)) for place in range(5)]
    [(None, -1), (0, 0), (1, 2), (3, 3), (4, None)]
    """
    index, at_constant = divmod(place, 2)
    if at_constant:
        return constants[index], constants[index]
    least = constants[index - 1] + 1 if index > 0 else None
    greatest = constants[index] - 1 if index < len(constants) else None
    return least, greatest
