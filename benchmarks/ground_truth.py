"""Ground truth: in a compiled counter machine it is known which past symbols a decision depends on.

A step is a true one if some other symbol in its place, the rest as it was, changes what the machine says of the output
at the end. That is found by running the machine on all such strings, never the network.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.attributions import Decision, Method, Network
from benchmarks.curves import ranked
from tallycell.machine.checking.sampling import changed_strings
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.machine.counter_machine import FAIL, CounterMachine
from tallycell.machine.running.runner import Runner
from tallycell.machine.shipped import shipped_machine

SHORTEST, LONGEST = 4, 100  # symbols of a string
DRAWN = 240  # strings, before a symbol of each is changed
KEPT = (0.0, 0.5, 0.9, 0.99)  # chances of a symbol to be the last again: counters go far up, and lines grow long
BLIND = 1e-3  # of the largest score: a true step with less is not seen


@dataclass(frozen=True, eq=False)
class Question:
    """A string, an output, and the steps on which it depends whether the machine says it at the end."""

    decision: Decision
    true: Bool[np.ndarray, " time"]


@dataclass(frozen=True, eq=False)
class Found:
    """How well the methods find the true steps of a machine.

    Attributes
    ----------
    machine
        Its name.
    questions
        How many were asked, and the mean share of true steps.
    share
        Of true steps, which is what chance finds.
    scores
        By method: precision among as many steps as there are true ones (which is then the recall), average precision,
        and the share of the true steps that have a score at all.
    """

    machine: str
    questions: int
    share: float
    scores: Mapping[str, tuple[float, float, float]]


def true_steps(runner: Runner, codes: Int[np.ndarray, " time"], output: int) -> Bool[np.ndarray, " time"]:
    """Find the steps where another symbol changes whether the machine says an output after the string.

    Parameters
    ----------
    runner
        Of the machine.
    codes
        The string.
    output
        Number among the outputs of the machine.
    """
    symbols, time = len(runner.machine.alphabet), len(codes)
    others = np.repeat(codes[np.newaxis], time * (symbols - 1), axis=0)
    at = np.repeat(np.arange(time), symbols - 1)
    others[np.arange(len(at)), at] = (codes[at] + np.tile(np.arange(1, symbols), time)) % symbols
    said = runner.sayings[runner.run(others).says, output] != runner.sayings[runner.run(codes).says, output]
    return said.reshape(time, symbols - 1).any(1)


def ask(name: str, count: int, seed: int) -> list[Question]:
    """Draw strings of a shipped machine, and outputs of which some past symbols matter and some do not."""
    machine, rng = shipped_machine(name), np.random.default_rng(seed)
    net, runner = compile_machine(machine, "float64"), Runner(machine)
    kind = "softmax" if net.decision == "argmax" else "sigmoid"
    network = Network(net.parameters, net.readout_weight, net.readout_bias, kind)
    asked = []
    for codes in _strings(machine, rng):
        said = runner.sayings[runner.run(codes).says]
        output = int(np.argmax(said)) if kind == "softmax" else int(rng.integers(len(machine.outputs)))
        true = true_steps(runner, codes, output)
        if true.any() and not true.all():
            number = net.outputs.index(machine.outputs[output])
            letters = [net.alphabet.index(machine.alphabet[code]) for code in codes]
            asked.append(Question(Decision(network, net.inputs[letters], len(codes) - 1, number), true))
        if len(asked) == count:
            break
    return asked


def _strings(machine: CounterMachine, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Give strings on which the machine lives for long, each with a symbol changed behind it."""
    for length, keep in zip(rng.integers(SHORTEST, LONGEST, DRAWN).tolist(), cycle(KEPT), strict=False):
        one = live(machine, length, keep, rng)
        for string in (one, *changed_strings([one], len(machine.alphabet), rng)):
            if len(string) >= SHORTEST:
                yield string


def live(machine: CounterMachine, length: int, keep: float, rng: np.random.Generator) -> Int[np.ndarray, " time"]:
    """Draw a string on which the machine does not fail while it need not: with a chance, a symbol is the last again."""
    codes: list[int] = []
    at = machine.start
    while len(codes) < length:
        after = [machine.advance(at, symbol) for symbol in machine.alphabet]
        legal = [code for code, there in enumerate(after) if there.state != FAIL]
        if not legal:
            break
        again = bool(codes) and codes[-1] in legal and rng.random() < keep
        codes.append(codes[-1] if again else int(rng.choice(legal)))
        at = after[codes[-1]]
    return np.array(codes)


def find(name: str, chosen: Mapping[str, Method], count: int, seed: int) -> Found | None:
    """Compare the methods on one machine; None if on every string that was drawn all symbols count, or none."""
    asked = ask(name, count, seed)
    if not asked:
        return None
    ties = [np.random.default_rng([seed, k]).permutation(len(one.true)) for k, one in enumerate(asked)]
    scores = {}
    for method_name, method in chosen.items():
        each = [judge(method(one.decision), one.true, order) for one, order in zip(asked, ties, strict=True)]
        scores[method_name] = tuple(np.mean(each, axis=0).tolist())
    return Found(name, len(asked), float(np.mean([one.true.mean() for one in asked])), scores)


def judge(
    scores: Float[np.ndarray, " time"], true: Bool[np.ndarray, " time"], ties: Int[np.ndarray, " time"]
) -> tuple[float, float, float]:
    """Give precision among the first k of k true steps, average precision, and the share of them that is seen."""
    size = np.abs(scores)
    hits = true[ranked(size, ties)]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    seen = size[true] > BLIND * size.max()
    return float(precision[true.sum() - 1]), float(precision[hits].mean()), float(seen.mean())
