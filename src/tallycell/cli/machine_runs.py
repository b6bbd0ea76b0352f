"""What a machine makes of strings: run, as a page in the terminal and as JSON."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.cli.machine_files import GivenString
from tallycell.cli.terminal import Advance, columns, shortened
from tallycell.machine.counter_machine import FAIL, FAIL_NAME, Configuration, CounterMachine
from tallycell.wording import shown

if TYPE_CHECKING:
    from tallycell.machine.running.runner import Runner

ACCEPT = "accept"
MOST_PLAIN_SYMBOLS = 100_000  # a second of steps in Python; the runner is compiled once, in some seconds
SYMBOLS_AT_ONCE = 1_000_000  # between two signs of progress


def run_strings(machine: CounterMachine, strings: Sequence[GivenString], advance: Advance) -> list[Configuration]:
    """Give the configuration after each string; many symbols by the compiled runner.

    Raises
    ------
    InputError
        If a symbol is not in the alphabet, or a counter leaves int64 in the compiled runner.
    """
    total = sum(len(one.symbols) for one in strings)
    if total <= MOST_PLAIN_SYMBOLS:
        return [machine.run(one.symbols) for one in strings]
    from tallycell.machine.running.runner import Runner

    runner, found, done = Runner(machine), [], 0
    for batch in _batches(strings):
        advance("running", (done, total))
        found += _run_batch(runner, batch)
        done += sum(len(one.symbols) for one in batch)
    return found


def _batches(strings: Sequence[GivenString]) -> Iterator[list[GivenString]]:
    """Strings in order, as many at once as have about a million symbols."""
    rest = iter(strings)
    for first in rest:
        batch, symbols = [first], len(first.symbols)
        while symbols < SYMBOLS_AT_ONCE and (following := next(rest, None)) is not None:
            batch.append(following)
            symbols += len(following.symbols)
        yield batch


def _run_batch(runner: "Runner", batch: Sequence[GivenString]) -> list[Configuration]:
    codes: list[np.ndarray] = [
        runner.encode(one.symbols)
        if isinstance(one.symbols, str)
        else np.array(runner.machine.encode(one.symbols), np.int64)
        for one in batch
    ]
    run = runner.run(codes)
    return [Configuration(*one) for one in zip(run.state.tolist(), map(tuple, run.counters.tolist()), strict=True)]


def say(machine: CounterMachine, configuration: Configuration) -> str:
    r"""Say what a machine says in a configuration: accept or reject if it decides, its tags, what is legal next.

    Examples
    --------
    >>> from tallycell.machine.shipped import shipped_machine
    >>> machine = shipped_machine("dyck-1")
    >>> [say(machine, machine.run(string)) for string in ("()", "(", ")")]
    ['accept, legal (', 'reject, legal ( )', 'reject']
    """
    said = machine.says(configuration)
    # As in the notation: where several things can be said at once, a symbol among them is one that may follow.
    legal = [name for name in said if name in machine.alphabet and machine.decision == "threshold"]
    parts = [shown(name) for name in said if name not in (*legal, ACCEPT)]
    if ACCEPT in machine.outputs:
        parts.insert(0, ACCEPT if ACCEPT in said else "reject")
    if legal:
        parts.append(f"legal {' '.join(map(shown, legal))}")
    return ", ".join(parts) or "nothing"


def state_name(machine: CounterMachine, configuration: Configuration) -> str:
    """Name of the state, or ``fail``."""
    return FAIL_NAME if configuration.state == FAIL else machine.states[configuration.state]


def say_counters(machine: CounterMachine, configuration: Configuration) -> str:
    """Say where the counters stand, nothing in fail."""
    if configuration.state == FAIL:
        return ""
    pairs = zip(machine.counters, configuration.counters, strict=True)
    return ", ".join(f"{shown(name)} = {value:,}" for name, value in pairs)


def to_text(
    machine: CounterMachine, strings: Sequence[GivenString], found: Sequence[Configuration]
) -> str:  # fmt: skip
    """Lay out one line a string: what the machine says of it, and where it stands in the end."""
    header = ("string", "length", "says", "state", "counters")
    rows = [
        (shortened(one.written), f"{len(one.symbols):,}", say(machine, last), shown(state_name(machine, last)),
         say_counters(machine, last))
        for one, last in zip(strings, found, strict=True)
    ]  # fmt: skip
    return columns([header, *rows])


def steps_to_text(machine: CounterMachine, strings: Sequence[GivenString]) -> Iterator[str]:
    """Lay out each step of each string: the symbol read, what is said after it, state and counters."""
    for one in strings:
        walk = machine.walk(one.symbols)
        rows = [_step_row(machine, 0, "", next(walk))]
        rows += [
            _step_row(machine, time, shown(symbol), here)
            for time, (symbol, here) in enumerate(zip(one.symbols, walk, strict=True), start=1)
        ]
        yield f"{shortened(one.written)}\n" + columns([("step", "symbol", "says", "state", "counters"), *rows])


def _step_row(machine: CounterMachine, time: int, symbol: str, here: Configuration) -> tuple[str, ...]:
    return str(time), symbol, say(machine, here), shown(state_name(machine, here)), say_counters(machine, here)


def as_object(
    machine: CounterMachine, strings: Sequence[GivenString], found: Sequence[Configuration], *, steps: bool
) -> dict[str, Any]:  # fmt: skip
    """Give one object a string, with its steps where they are asked for."""
    runs = []
    for one, last in zip(strings, found, strict=True):
        run = {"string": one.written, "length": len(one.symbols), **_place_as_object(machine, last)}
        if steps:
            run["steps"] = [
                {"symbol": symbol, **_place_as_object(machine, here)}
                for symbol, here in zip(one.symbols, islice(machine.walk(one.symbols), 1, None), strict=True)
            ]
        runs.append(run)
    return {"strings": runs}


def _place_as_object(machine: CounterMachine, here: Configuration) -> dict[str, Any]:
    failed = here.state == FAIL
    said = machine.says(here)
    value = {
        "state": state_name(machine, here),
        "counters": None if failed else dict(zip(machine.counters, here.counters, strict=True)),
        "says": list(said),
    }
    return value | ({"accepted": ACCEPT in said} if ACCEPT in machine.outputs else {})
