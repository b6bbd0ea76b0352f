"""Effects: every unit of the shipped model held in one batch, beside one hold at a time and beside a loop in torch."""

import argparse
import os
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from typing import Any

import numpy as np

import tallycell as tc
from benchmarks.timing import clock_for, interleave
from tallycell.effect.effects import Effects
from tallycell.effect.measuring import measure_effects
from tallycell.effect.stretches import Sampling

HELP = "effects of all 160 units of the shipped model: in one batch, one hold at a time, and in a loop over torch"
CLOSING = ")]}"
BRACKETS = "0.27"  # the unit whose hold is shown on closing brackets
TIMES_FASTER = 10  # than the loop over torch: the target
HELD_TO_FREE = 1.2  # time of record_trace with a hold to that without one: the limit
SAMPLE = 1500  # steps of the slow ways that are timed; the time of all is so many times more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, metavar="N", help="measure on so many steps (default: the whole text)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the three ways on one core, and print what is found."""
    os.environ["TALLYCELL_NUM_THREADS"] = "1"
    shipped = files("tallycell") / "shipped"
    with as_file(shipped / "stdlib_characters.safetensors") as path:
        model = tc.load(path)
    given = tc.open_text(model, (shipped / "sample.txt").read_text(encoding="utf-8"))
    steps = min(arguments.steps or len(given.tokens), len(given.tokens))
    sampling = Sampling(steps=steps)
    warm_up(model, given)

    effects, batch = timed(lambda: measure_effects(model, given, kinds=["zero"], sampling=sampling))
    units, per_unit = model.lstm.hidden_size, effects.steps / SAMPLE
    _, alone = timed(lambda: one_hold_at_a_time(model, given))
    _, torch = timed(lambda: loop_over_torch(model, given))
    seconds = {"one batch": batch, "one hold at a time": alone * units * per_unit, "torch": torch * units * per_unit}
    answers = [
        f"{units} units held at 0, {effects.steps:,} characters, scored, with intervals: {batch:.1f} s on one core",
        f"one hold at a time (record_trace, not scored): {seconds['one hold at a time']:.0f} s, "
        f"{seconds['one hold at a time'] / batch:.0f} times as long (from {SAMPLE:,} steps of one unit)",
        f"torch.nn.LSTMCell with a hook, not scored: {seconds['torch']:.0f} s, {seconds['torch'] / batch:.0f} times as "
        f"long (from {SAMPLE:,} steps of one unit; target >= {TIMES_FASTER})",
        *held_to_free(model, given),
        brackets(model, given, sampling),
    ]
    print("\n".join(answers))
    print(f"\n{effects}\n")
    for one in effects.most(10):
        print(f"{one.label:>6}  {one.sentence()}")
    return {"answers": answers, "rows": rows(effects), "seconds": seconds, "threads": 1}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Call, and give the seconds of CPU time as well: others on the machine do not count."""
    clock = clock_for(1)
    began = clock()
    return call(), clock() - began


def warm_up(model: Any, given: tc.Input) -> None:
    """Run each way once, so that nothing is compiled or loaded while time is taken."""
    began = time.perf_counter()
    measure_effects(model, given, kinds=["zero"], units=["0.0"], sampling=Sampling(steps=100, stretch=100))
    one_hold_at_a_time(model, given, 50)
    loop_over_torch(model, given, 50)
    print(f"warmed up in {time.perf_counter() - began:.1f} s")


def one_hold_at_a_time(model: Any, given: tc.Input, steps: int = SAMPLE) -> None:
    tc.record_trace(model.lstm, given.x[:steps], record=tc.Record("h"), hold=tc.Hold("c", 0.0, units=[27]))


def loop_over_torch(model: Any, given: tc.Input, steps: int = SAMPLE) -> None:
    """Hold a cell as it is done in torch: a cell step by step, and a hook that writes over its states."""
    import torch

    torch.set_num_threads(1)
    weights = {name.removesuffix("_l0"): torch.tensor(value) for name, value in model.lstm.weights.items()}
    cell = torch.nn.LSTMCell(model.lstm.input_size, model.lstm.hidden_size)
    cell.load_state_dict(weights)

    def hold(_module: Any, _inputs: Any, states: Any) -> Any:
        h, c = states
        h[:, 27] = c[:, 27] = 0
        return h, c

    cell.register_forward_hook(hold)
    x, kept = torch.tensor(np.asarray(given.x)[:steps]), []
    state = (torch.zeros(1, model.lstm.hidden_size), torch.zeros(1, model.lstm.hidden_size))
    with torch.no_grad():
        for row in x:
            state = cell(row[None], state)
            kept.append(state[0])


def held_to_free(model: Any, given: tc.Input) -> list[str]:
    """Time record_trace with a hold and without one, of one sequence and of 64."""
    found = []
    x = np.asarray(given.x)
    for sequences, steps in ((1, SAMPLE), (64, SAMPLE // 5)):
        cut = x[: sequences * steps].reshape(sequences, steps, -1).swapaxes(0, 1)
        calls = {
            name: lambda cut=cut, hold=hold: tc.record_trace(model.lstm, cut, hold=hold)
            for name, hold in (("free", ()), ("held", tc.Hold("c", 0.0, units=[27])))
        }
        seconds = interleave(calls, clock_for(1), seconds=5)
        found.append(
            f"record_trace of {sequences} x {steps:,} steps held: {seconds['held'] / seconds['free']:.2f} of the "
            f"time without one, {seconds['free'] * 1e3:.1f} ms (target <= {HELD_TO_FREE})"
        )
    return found


def brackets(model: Any, given: tc.Input, sampling: Sampling) -> str:
    """Say what becomes of closing brackets where one unit is held at 0."""
    following = [*given.tokens[1:], ""]
    targets = np.array([float(model.recogniser.outputs.index(s)) if s in CLOSING and s else np.nan for s in following])
    bits, chance = (
        measure_effects(model, given, score, targets=targets, kinds=["zero"], units=[BRACKETS], sampling=sampling)
        for score in ("bits", "probability")
    )
    lost, less = bits.of(BRACKETS), chance.of(BRACKETS)
    return (
        f"unit {BRACKETS} held at 0: a closing bracket takes {bits.free + lost.loss:.2f} bits instead of "
        f"{bits.free:.2f} (+{lost.loss:.2f}, 95 % interval {lost.low:.2f} to {lost.high:.2f}); its probability where "
        f"it stands falls from {chance.free:.0%} to {chance.free - less.loss:.0%}"
    )


def rows(effects: Effects) -> list[dict[str, Any]]:
    return [
        {
            "unit": one.label,
            effects.unit: one.loss,
            "low": one.low,
            "high": one.high,
            "raises": " ".join(map(repr, one.push.raises)),
            "lowers": " ".join(map(repr, one.push.lowers)),
        }
        for one in effects.most(10)
    ]
