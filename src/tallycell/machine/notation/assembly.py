"""From the statements of a text to the tables of a machine, with every doubt an error."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from tallycell.errors import FormatError
from tallycell.machine.counter_machine import FAIL, MOST_SITUATIONS, CounterMachine, Decision
from tallycell.machine.notation.boxes import guard_text, outer, places_where
from tallycell.machine.notation.sign_abstraction import reachable_views
from tallycell.machine.notation.statements import Comparison, Guard, Program, Rule, Saying
from tallycell.machine.notation.tokens import Token, written
from tallycell.wording import quoted, shown

ONLY_STATE = "start"  # the state of a machine that names none


def assemble(program: Program) -> CounterMachine:
    """Make the machine that the statements describe.

    Raises
    ------
    FormatError
        If rules disagree, name what is not there, or leave open what happens in a situation that may be reached.
    ParameterError
        If the tables would be larger than a machine's may be.
    """
    return _Assembly(program).machine()


def views_of(guard: Guard, counters: Sequence[str], constants: Sequence[tuple[int, ...]]) -> Bool[np.ndarray, " view"]:
    """Tell in which views of the counters a guard holds."""
    of_counter = dict(zip(counters, constants, strict=True))
    views = np.zeros(tuple(2 * len(of_one) + 1 for of_one in constants), bool)
    for all_of in guard:
        views |= _views_of(all_of, of_counter)
    return views.reshape(-1)


def _views_of(all_of: Iterable[Comparison], constants: Mapping[str, tuple[int, ...]]) -> Bool[np.ndarray, "*place"]:
    places = {name: np.ones(2 * len(of_one) + 1, bool) for name, of_one in constants.items()}
    for one in all_of:
        places[one.counter] &= places_where(one.comparison, one.constant, constants[one.counter])
    return outer(tuple(places.values()))


class _Assembly:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.states = tuple(program.states) or (ONLY_STATE,)
        self.symbols = {symbol: index for index, symbol in enumerate(program.alphabet)}
        self.constants = self._constants()
        self.radices = tuple(2 * len(constants) + 1 for constants in self.constants.values())
        self.shape = (len(self.states), len(self.symbols), math.prod(self.radices))

    def machine(self) -> CounterMachine:
        if math.prod(self.shape) * max(len(self.constants), 1) > MOST_SITUATIONS:
            raise FormatError(
                f"line 1, column 1: expected at most {MOST_SITUATIONS:,} entries in the table of situations, got "
                f"{self.shape[0]} states, {self.shape[1]} symbols and {self.shape[2]:.3g} views of "
                f"{len(self.constants)} counters"
            )
        outputs, output, decision = self._outputs()
        next_state = np.full(self.shape, FAIL)
        reset = np.zeros((*self.shape, len(self.constants)), bool)
        step = np.zeros(reset.shape, np.int64)
        covered = self._rules(next_state, reset, step)
        machine = CounterMachine(
            alphabet=tuple(self.symbols),
            states=self.states,
            counters=tuple(self.constants),
            constants=tuple(self.constants.values()),
            next_state=next_state,
            reset=reset,
            step=step,
            outputs=outputs,
            output=output,
            decision=decision,
        )
        self._check_coverage(machine, covered)
        return machine

    # ---- constants and guards ----------------------------------------------------------------------------------------

    def _constants(self) -> dict[str, tuple[int, ...]]:
        """Of each counter the constants declared, or else those that the guards compare it with."""
        seen: dict[str, set[int]] = {name: set() for name in self.program.counters}
        guards = [rule.guard for rule in self.program.rules] + [saying.guard for saying in self.program.sayings]
        for guard in guards:
            for one in itertools.chain.from_iterable(guard):
                seen[one.counter].add(one.constant)
                declared = self.program.counters[one.counter]
                if declared is not None and one.constant not in declared:
                    one.token.refuse(
                        f"one of the constants {quoted(declared)} of the line 'counter {shown(written(one.counter))} "
                        "...'"
                    )
        return {
            name: tuple(sorted(seen[name])) if declared is None else declared
            for name, declared in self.program.counters.items()
        }

    def _views(self, guard: Guard, token: Token) -> Bool[np.ndarray, " view"]:
        views = views_of(guard, tuple(self.constants), tuple(self.constants.values()))
        if not views.any():
            raise FormatError(
                f"line {token.line}, column {token.column}: expected a guard that can hold, got one that never does"
            )
        return views

    def _scope(self, statement: Rule | Saying) -> list[int]:
        return [*range(len(self.states))] if statement.state is None else [self.states.index(statement.state)]

    # ---- rules -------------------------------------------------------------------------------------------------------

    def _rules(
        self, next_state: np.ndarray, reset: np.ndarray, step: np.ndarray
    ) -> Bool[np.ndarray, "state symbol view"]:
        """Write every rule into the tables; return which situations one covers."""
        author = np.zeros(self.shape, np.int32)  # line of the rule that wrote the entry, 0: none yet
        for rule in self.program.rules:
            views = np.flatnonzero(self._views(rule.guard, rule.token))
            codes = sorted({self.symbols[symbol] for symbol in rule.symbols})
            moves = [rule.moves.get(name, (False, 0)) for name in self.constants]
            resets, steps = [move[0] for move in moves], [move[1] for move in moves]
            for state in self._scope(rule):
                target = self._target(rule, state)
                at = np.ix_(np.array([state]), np.array(codes), views)
                same = (next_state[at] == target) & (reset[at] == resets).all(-1) & (step[at] == steps).all(-1)
                clashes = (author[at] > 0) & ~same
                if clashes.any():
                    _, symbol, view = (int(index[0]) for index in clashes.nonzero())
                    situation = self._situation(state, codes[symbol], int(views[view]))
                    before = author[state, codes[symbol], views[view]]
                    rule.token.refuse(f"a rule that agrees with line {before} {situation}", got="another")
                next_state[at], reset[at], step[at], author[at] = target, resets, steps, rule.token.line
        return author > 0

    def _target(self, rule: Rule, state: int) -> int:
        if rule.fails:
            return FAIL
        if rule.target is None:
            return state
        if rule.target.value not in self.states:
            rule.target.refuse(f"one of the states {shown(', '.join(map(written, self.states)))}")
        return self.states.index(rule.target.value)

    def _check_coverage(self, machine: CounterMachine, covered: Bool[np.ndarray, "state symbol view"]) -> None:
        if self.program.otherwise_fail:
            return
        uncovered = reachable_views(machine)[:, None, :] & ~covered
        if not uncovered.any():
            return
        state, symbol, view = (int(index[0]) for index in uncovered.nonzero())
        token = next(iter([*self.program.states.values()][state : state + 1]), None)
        line = token.line if token else max((rule.token.line for rule in self.program.rules), default=1)
        raise FormatError(
            f"line {line}, column 1: expected a rule {self._situation(state, symbol, view)}, got none; add one, or a "
            "line 'otherwise fail'"
        )

    def _situation(self, state: int, symbol: int, view: int) -> str:
        text = f"for {shown(written(tuple(self.symbols)[symbol]))}"
        if self.program.states:
            text += f" in state {shown(written(self.states[state]))}"
        box = tuple((int(place),) for place in np.unravel_index(view, self.radices)) if self.radices else ()
        guard = guard_text(box, tuple(self.constants), tuple(self.constants.values()))
        return f"{text} when {shown(guard)}" if guard else text

    # ---- outputs -----------------------------------------------------------------------------------------------------

    def _outputs(self) -> tuple[tuple[str, ...], Bool[np.ndarray, "state view output"], Decision]:
        said = dict.fromkeys(name for saying in self.program.sayings for name in saying.outputs)
        decision: Decision = "threshold"
        outputs = tuple(said)
        if self.program.says is not None:
            decision, outputs, token = self.program.says
            if missing := [name for name in said if name not in outputs]:
                token.refuse(f"all that is said, {shown(', '.join(missing))} included", got="fewer")
        if not outputs:
            raise FormatError(
                "line 1, column 1: expected a line that says something, such as 'accept when n = 0', got none"
            )
        output = np.zeros((self.shape[0], self.shape[2], len(outputs)), bool)
        author = np.zeros(output.shape[:2], np.int32)
        for saying in self.program.sayings:
            views = np.flatnonzero(self._views(saying.guard, saying.token))
            for state, name in itertools.product(self._scope(saying), saying.outputs):
                at = np.ix_(np.array([state]), views)
                column = output[..., outputs.index(name)]
                clashes = (author[at] > 0) & ~column[at] if decision == "argmax" else np.zeros(1)
                if clashes.any():
                    before = author[state, views[clashes.nonzero()[1][0]]]
                    saying.token.refuse(f"one output at a time, and line {before} says another there", got="a second")
                column[at], author[at] = True, saying.token.line
        if decision == "argmax":
            output[..., 0] |= author == 0
        return outputs, output, decision
