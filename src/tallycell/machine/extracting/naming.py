"""Names for what a machine has: counters by what moves them, states by what leads there."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.notation.tokens import KEYWORDS

_WORDS = {
    "(": "open", ")": "close", "[": "open_square", "]": "close_square", "{": "open_curly", "}": "close_curly",
    "<": "less", ">": "greater", "+": "plus", "-": "minus", "*": "star", "/": "slash", ".": "dot", ",": "comma",
    ":": "colon", ";": "semicolon", "#": "hash", "$": "dollar", "=": "equals", "!": "bang", "?": "question",
    " ": "space", "\n": "newline", "\t": "tab", '"': "quote", "'": "apostrophe", "\\": "backslash",
}  # fmt: skip
_DEPTHS = {
    ("open", "close"): "depth",
    ("open_square", "close_square"): "square_depth",
    ("open_curly", "close_curly"): "curly_depth",
    ("less", "greater"): "angle_depth",
}
_MOST_SYMBOLS = 3  # in one name


def name_parts(machine: CounterMachine) -> CounterMachine:
    """Name counters and states by what they do, and turn each counter so that what comes first counts up.

    Examples
    --------
    >>> machine = CounterMachine(
    ...     ("(", ")"), ("s",), ("c",), ((0,),), next_state=np.zeros((1, 2, 3), int),
    ...     reset=np.zeros((1, 2, 3, 1), bool), step=np.array([[[[-1]] * 3, [[1]] * 3]]),
    ...     outputs=("accept",), output=np.array([[[False], [True], [False]]]),
    ... )
    >>> named = name_parts(machine)
    >>> named.states, named.counters, named.step[0, 0].ravel().tolist()
    (('start',), ('depth',), [1, 1, 1])
    """
    words = [_word(symbol, number) for number, symbol in enumerate(machine.alphabet)]
    usual = [usual_steps(machine, counter) for counter in range(len(machine.counters))]
    for counter, steps in enumerate(usual):
        if next((step for step in steps if step), 0) < 0:
            machine = _turned(machine, counter)
            usual[counter] = [-step for step in steps]
    counters = tuple(_distinct(_counter_name(steps, words) for steps in usual))
    states = tuple(_distinct(_state_names(machine, words)))
    return replace(machine, states=states, counters=counters)


def usual_steps(machine: CounterMachine, counter: int) -> list[int]:
    """Step that each symbol usually makes where it makes one."""
    usual = []
    for symbol in range(len(machine.alphabet)):
        steps = machine.step[:, symbol, :, counter][machine.next_state[:, symbol] != FAIL]
        moving = Counter(steps[steps != 0].tolist())
        usual.append(moving.most_common(1)[0][0] if moving else 0)
    return usual


def _turned(machine: CounterMachine, counter: int) -> CounterMachine:
    """Count the other way round."""
    constants = list(machine.constants)
    constants[counter] = tuple(-value for value in reversed(constants[counter]))
    order = np.flip(np.arange(machine.views).reshape(machine.radices), axis=counter).ravel()
    step = machine.step[:, :, order].copy()
    step[..., counter] *= -1
    return replace(
        machine,
        constants=tuple(constants),
        next_state=machine.next_state[:, :, order],
        reset=machine.reset[:, :, order],
        step=step,
        output=machine.output[:, order],
    )


def _counter_name(steps: list[int], words: list[str]) -> str:
    up = [_times(step, word) for step, word in zip(steps, words, strict=True) if step > 0]
    down = [_times(step, word) for step, word in zip(steps, words, strict=True) if step < 0]
    if len(up) == len(down) == 1 and (up[0], down[0]) in _DEPTHS:
        return _DEPTHS[up[0], down[0]]
    if not up or len(up) + len(down) > _MOST_SYMBOLS:
        return "count"
    return f"{'_plus_'.join(up)}_minus_{'_minus_'.join(down)}" if down else f"count_{'_'.join(up)}"


def _times(step: int, word: str) -> str:
    return word if abs(step) == 1 else f"{word}_times_{abs(step)}"


def _state_names(machine: CounterMachine, words: list[str]) -> Iterator[str]:
    from_state, symbol, _ = np.nonzero(machine.next_state != FAIL)
    to_state = machine.next_state[machine.next_state != FAIL]
    stays = from_state == to_state
    for state in range(len(machine.states)):
        others = sorted(set(symbol[(to_state == state) & ~stays].tolist()))
        staying = set(symbol[(to_state == state) & stays].tolist())
        if state == 0:
            yield "start"
        elif not others or len(others) > _MOST_SYMBOLS:
            yield "other"
        else:
            yield f"{'in' if staying.issuperset(others) else 'after'}_{'_or_'.join(words[k] for k in others)}"


def _word(symbol: str, number: int) -> str:
    if symbol in _WORDS:
        return _WORDS[symbol]
    return symbol if re.fullmatch(r"\w+", symbol, re.ASCII) else f"symbol_{number + 1}"


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """Give names that come again a number."""
    found: dict[str, int] = {}
    for name in names:
        times = found.get(name, 0) + 1
        free = name if times == 1 and name not in KEYWORDS else f"{name}_{times}"
        while free in found:
            times += 1
            free = f"{name}_{times}"
        found[name] = times
        found.setdefault(free, 1)
        yield free
