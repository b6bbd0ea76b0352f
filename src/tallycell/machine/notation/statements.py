"""From the text of a machine to its statements: what each line says, before anything is put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple, Never, TypeVar

from tallycell.errors import FormatError
from tallycell.machine.counter_machine import FAIL_NAME, Decision
from tallycell.machine.notation.tokens import COMPARISONS, MIRRORED, Token, integer_of, tokenise
from tallycell.wording import shown

_Value = TypeVar("_Value")


class Comparison(NamedTuple):
    """A counter against an integer; the token of the integer says where it was written."""

    counter: str
    comparison: str
    constant: int
    token: Token


Guard = tuple[tuple[Comparison, ...], ...]  # any of these, each all of those


class Move(NamedTuple):
    """What happens to a counter: whether it is set to 0 first, and what is then added."""

    reset: bool
    step: int


@dataclass(frozen=True)
class Rule:
    """``on SYMBOL... GUARD ACTIONS``; ``fails`` or else to ``target``, None to stay."""

    token: Token
    state: str | None
    symbols: tuple[str, ...]
    guard: Guard
    moves: dict[str, Move]
    target: Token | None
    fails: bool


@dataclass(frozen=True)
class Saying:
    """``accept``, ``legal`` or ``tag``: what is said, where."""

    token: Token
    state: str | None
    outputs: tuple[str, ...]
    guard: Guard


@dataclass
class Program:
    """All statements of a text; a state None stands for every state."""

    alphabet: dict[str, Token] = field(default_factory=dict)
    counters: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    states: dict[str, Token] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    sayings: list[Saying] = field(default_factory=list)
    otherwise_fail: bool = False
    says: tuple[Decision, tuple[str, ...], Token] | None = None


def read_program(text: str) -> Program:
    """Read every line.

    Raises
    ------
    FormatError
        If a line is no statement; it names line, column and what was expected.
    """
    program = Program()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        tokens = tokenise(line, number)
        if tokens[0].kind != "end":
            _Line(program, tokens).read()
    if not program.alphabet:
        raise FormatError(
            "line 1, column 1: expected a line such as 'alphabet ( )' before all others, got no such line"
        )
    return program


class _Line:
    """One line, read from left to right into a program."""

    def __init__(self, program: Program, tokens: Sequence[Token]) -> None:
        self.program = program
        self.tokens = tokens
        self.place = 0

    def read(self) -> None:
        statements = {
            "alphabet": self._alphabet,
            "counter": self._counters,
            "counters": self._counters,
            "says": self._says,
            "state": self._state,
            "on": self._rule,
            "accept": self._saying,
            "legal": self._saying,
            "tag": self._saying,
            "otherwise": self._otherwise,
        }
        first = self.take()
        if first.kind != "word" or first.text not in statements:
            first.refuse(f"a line that begins with one of {', '.join(statements)}")
        if not self.program.alphabet and first.text != "alphabet":
            first.refuse("a line such as 'alphabet ( )' before all others")
        statements[first.text]()
        if self.ahead().kind != "end":
            self.ahead().refuse("the end of the line")

    # ---- moving along ------------------------------------------------------------------------------------------------

    def ahead(self, by: int = 0) -> Token:
        return self.tokens[min(self.place + by, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.ahead()
        self.place += 1
        return token

    def skip(self, mark: str) -> None:
        if self.ahead().kind == "mark" and self.ahead().text == mark:
            self.place += 1

    def expect(self, *keywords: str) -> Token:
        if not self.ahead().is_keyword(*keywords):
            self.ahead().refuse(" or ".join(f"'{keyword}'" for keyword in keywords))
        return self.take()

    def names(self, what: str, *stops: str) -> list[Token]:
        """One name or more, up to a keyword that stops them or what is no name."""
        found: list[Token] = []
        while self.ahead().is_name and not self.ahead().is_keyword(*stops):
            found.append(self.take())
            self.skip(",")
        if not found or self.ahead().kind == "mark":
            self.ahead().refuse(f'{what} (a name with blanks or marks stands in quotes, such as "<")')
        return found

    # ---- declarations ------------------------------------------------------------------------------------------------

    def _alphabet(self) -> None:
        if self.program.alphabet:
            self.tokens[0].refuse("one line 'alphabet ...' only")
        for token in self.names("a symbol"):
            _declare(self.program.alphabet, token, token, "symbol")

    def _counters(self) -> None:
        names = self.names("a counter's name", "compared")
        constants = None
        if self.ahead().is_keyword("compared"):
            self.place += 1
            self.expect("with")
            constants = tuple(sorted({integer_of(token) for token in self.names("an integer")}))
        for token in names:
            if not token.names_counter:
                token.refuse("a counter's name, in quotes if it is an integer or a word of the notation")
            _declare(self.program.counters, token, constants, "counter")

    def _says(self) -> None:
        if self.program.says is not None:
            self.tokens[0].refuse("one line 'says ...' only")
        one = self.expect("one", "any").text == "one"
        self.expect("of")
        outputs: dict[str, Token] = {}
        for token in self.names("what is said"):
            _declare(outputs, token, token, "output")
        self.program.says = ("argmax" if one else "threshold"), tuple(outputs), self.tokens[0]

    def _state(self) -> None:
        token = self.take()
        if not token.is_name or token.value == FAIL_NAME:
            token.refuse("a state's name other than fail, which every machine has")
        self.skip(":")
        _declare(self.program.states, token, token, "state")

    def _otherwise(self) -> None:
        self.expect("fail")
        self.program.otherwise_fail = True

    def _here(self) -> str | None:
        return next(reversed(self.program.states), None)

    # ---- rules and outputs -------------------------------------------------------------------------------------------

    def _rule(self) -> None:
        symbols = self._symbols()
        guard: Guard = ((),)
        if self.ahead().is_keyword("when") or self._at_comparison():
            guard = self._guard()
        moves: dict[str, Move] = {}
        target, fails = None, False
        while self.ahead().kind != "end":
            token = self.take()
            if token.kind == "mark" and token.text == "->" and target is None and not fails:
                target = self.take()
                if not target.is_name:
                    target.refuse("a state's name after '->'")
                fails = target.value == FAIL_NAME
                if fails and moves:
                    target.refuse("a state other than fail, as counters still move on this line")
            elif token.is_keyword("fail") and not moves and target is None and not fails:
                fails = True
            elif token.names_counter and token.value in self.program.counters and not fails:
                if token.value in moves:
                    token.refuse("each counter once")
                moves[token.value] = self._move()
            elif not (token.is_keyword("hold") and not fails):
                self._refuse_action(token, guarded=guard != ((),), fails=fails)
            self.skip(",")
        here = self._here()
        self.program.rules.append(Rule(self.tokens[0], here, symbols, guard, {} if fails else moves, target, fails))

    def _refuse_action(self, token: Token, *, guarded: bool, fails: bool) -> Never:
        """Say what a rule may do.

        Raises
        ------
        FormatError
            Always.
        """
        if not fails and token.names_counter and self._is_about_counter():
            self._refuse_undeclared(token)
        actions = "the end of the line" if fails else self._actions()
        token.refuse(actions if guarded else f"a symbol of the alphabet, a guard such as 'when n > 0', {actions}")

    def _actions(self) -> str:
        name = next(iter(self.program.counters), "n")
        return f"a counter's move such as '{shown(name)} +1' or '{shown(name)} reset', '-> STATE', 'hold' or 'fail'"

    def _symbols(self) -> tuple[str, ...]:
        if self.ahead().is_keyword("any"):
            self.place += 1
            return tuple(self.program.alphabet)
        found: list[str] = []
        while self.ahead().is_name and self.ahead().value in self.program.alphabet:
            if found and (self._at_comparison() or self._at_move() or self.ahead().is_keyword("fail", "hold", "when")):
                break
            found.append(self.take().value)
            self.skip(",")
        if not found:
            self.ahead().refuse("a symbol of the alphabet, or 'any'")
        return tuple(found)

    def _at_comparison(self) -> bool:
        """Whether a counter or an integer stands here and a comparison behind it."""
        token, sign = self.ahead(), self.ahead(1)
        is_operand = token.kind == "integer" or (token.names_counter and token.value in self.program.counters)
        return is_operand and sign.kind == "mark" and sign.text in COMPARISONS

    def _at_move(self) -> bool:
        """Whether a counter stands here and what happens to it behind; ``n -5 < n`` is a symbol and a guard."""
        token, move, then = (self.ahead(by) for by in range(3))
        if not (token.names_counter and token.value in self.program.counters):
            return False
        is_step = move.kind == "integer" and move.text[0] in "+-" and then.text not in COMPARISONS
        return is_step or move.is_keyword("reset")

    def _is_about_counter(self) -> bool:
        """Whether what comes next compares or moves what stood before."""
        ahead = self.ahead()
        is_compared = ahead.kind == "mark" and ahead.text in COMPARISONS
        return is_compared or ahead.is_keyword("reset") or (ahead.kind == "integer" and ahead.text[0] in "+-")

    def _refuse_undeclared(self, token: Token) -> Never:
        """Say that there is no such counter, and which it may be.

        Raises
        ------
        FormatError
            Always.
        """
        near = get_close_matches(token.value, self.program.counters, n=1)
        hint = f"did you mean {shown(near[0])}? Else " if near else ""
        raise FormatError(
            f"line {token.line}, column {token.column}: counter {shown(token.value)} is not declared; {hint}declare it "
            f"in a line 'counter {shown(token.text)}' before the rules"
        )

    def _move(self) -> Move:
        reset = self.ahead().is_keyword("reset")
        self.place += reset
        token = self.ahead()
        if token.kind != "integer" or token.text[0] not in "+-":
            if not reset:
                token.refuse("a step with its sign such as +1, or 'reset'")
            return Move(True, 0)
        step = integer_of(token)
        if not -(2**63) <= step < 2**63:
            token.refuse("a step of at most 64 bits")
        self.place += 1
        return Move(reset, step)

    def _saying(self) -> None:
        kind = self.tokens[0].text
        names = [self.tokens[0]]
        if kind != "accept":
            names = self.names("a symbol of the alphabet" if kind == "legal" else "a tag's name", "when")
        for token in names:
            if kind == "legal" and token.value not in self.program.alphabet:
                token.refuse("a symbol of the alphabet")
        guard = self._guard() if self.ahead().is_keyword("when") else ((),)
        outputs = tuple(token.value for token in names)
        self.program.sayings.append(Saying(self.tokens[0], self._here(), outputs, guard))

    # ---- guards ------------------------------------------------------------------------------------------------------

    def _guard(self) -> Guard:
        if self.ahead().is_keyword("when"):
            self.place += 1
        either = [self._all_of()]
        while self.ahead().is_keyword("or"):
            self.place += 1
            either.append(self._all_of())
        return tuple(either)

    def _all_of(self) -> tuple[Comparison, ...]:
        found = self._comparisons()
        while self.ahead().is_keyword("and"):
            self.place += 1
            found += self._comparisons()
        return tuple(found)

    def _comparisons(self) -> list[Comparison]:
        """``n > 0``, ``0 < n`` or ``0 < n < 5``."""
        first = self.take()
        if first.kind != "integer":
            counter = self._counter(first).value
            return [self._compared(counter)]
        sign, counter = self._sign(), self._counter(self.take()).value
        found = [Comparison(counter, MIRRORED[sign], integer_of(first), first)]
        if self.ahead().kind == "mark" and self.ahead().text in COMPARISONS:
            found.append(self._compared(counter))
        return found

    def _compared(self, counter: str) -> Comparison:
        sign, token = self._sign(), self.take()
        if token.names_counter and token.value in self.program.counters:
            token.refuse("an integer (a machine compares no two counters; let one count their difference)")
        return Comparison(counter, sign, integer_of(token), token)

    def _counter(self, token: Token) -> Token:
        if not token.names_counter or token.value not in self.program.counters:
            if token.names_counter:
                self._refuse_undeclared(token)
            declared = ", ".join(self.program.counters) or "there is none: declare it in a line 'counter NAME'"
            token.refuse(f"a counter ({shown(declared)})")
        return token

    def _sign(self) -> str:
        if self.ahead().kind != "mark" or self.ahead().text not in COMPARISONS:
            self.ahead().refuse(f"one of {' '.join(COMPARISONS)}")
        return self.take().text


def _declare(names: dict[str, _Value], token: Token, value: _Value, what: str) -> None:
    if token.value in names:
        token.refuse(f"a {what} that is not declared yet")
    names[token.value] = value
