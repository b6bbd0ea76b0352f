"""How far compiled networks count: errors on strings of a million symbols, and the first n at which a^n b^n fails."""

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.machine import use_threads
from tallycell.machine.counter_machine import CounterMachine
from tallycell.recogniser import Recogniser

HELP = "errors of compiled float32 networks at 10^6 symbols, and the first failure of a^n b^n, also in torch"
LENGTH = 1_000_000
FORMAT = 2**24  # whole numbers to here are exact in float32
CHUNK = 1 << 16
STRINGS = 3  # of loops, for each machine; strings with a symbol changed come to each

Take = Callable[[np.ndarray, tuple | None], tuple[np.ndarray, tuple]]  # codes and state to decisions and state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="shipped machines; all of them if not given")
    parser.add_argument("--length", type=int, default=LENGTH, help="symbols of the long strings")
    parser.add_argument("--largest", type=int, default=FORMAT, help="n of a^n b^n around which all n are tried")
    parser.add_argument("--no-torch", action="store_true", help="our kernel alone")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    use_threads(1)
    from tallycell.machine.shipped import shipped_machines

    rows = [count_errors(name, arguments.length) for name in arguments.machines or shipped_machines()]
    wrong = [row["machine"] for row in rows if row["errors"]]
    verdict = "PASS" if not wrong else f"SHORT OF IT, {', '.join(wrong)}"
    right = f"{len(rows) - len(wrong)} of {len(rows)}"
    few = f"zero errors at {arguments.length:,} symbols, strings with one changed included: {right} machines"
    answers = [f"{few}: {verdict}"]
    for kernel in ("tallycell",) if arguments.no_torch else ("tallycell", "torch"):
        found = count_to_the_end(kernel, arguments.largest)
        rows.append(found)
        right, wrong = (listed(found[name]) for name in ("members_right", "members_wrong"))
        near = listed([found["first_near_miss"]] if found["first_near_miss"] else [])
        said = f"members right at n = {right}; wrong at {wrong}; smallest n whose near miss fails: {near}"
        answers.append(f"a^n b^n in {kernel}: {said}")
    short = [row["machine"] for row in rows if "float64_horizon" in row and row["float64_horizon"] <= 10**9]
    answers.append(f"float64 horizon above 10^9, proved: {'PASS' if not short else 'not for ' + ', '.join(short)}")
    for line in answers:
        print(line)
    return {"threads": 1, "answers": answers, "rows": rows}


def listed(numbers: list[int]) -> str:
    return ", ".join(f"{n:,}" for n in numbers) or "none"


def count_errors(name: str, length: int) -> dict[str, object]:
    """Steps on which the compiled float32 network errs, over strings of so many symbols, and with one changed."""
    from tallycell.machine.checking.sampling import changed_strings
    from tallycell.machine.checking.side_by_side import SideBySide
    from tallycell.machine.compiling.compilation import compile_machine
    from tallycell.machine.proving.horizon import counting_horizon
    from tallycell.machine.shipped import shipped_machine

    machine, rng = shipped_machine(name), np.random.default_rng(0)
    both = SideBySide(machine, compile_machine(machine, "float32"))
    drawn = [*climbing(machine, length, rng), rng.integers(0, len(machine.alphabet), length).astype(np.int32)]
    strings = [*drawn, *changed_strings(drawn, len(machine.alphabet), rng)]
    begin = time.perf_counter()
    errors = int(both.differing_steps(strings)[0].sum())
    took = time.perf_counter() - begin
    horizon = counting_horizon(machine, compile_machine(machine, "float64")).symbols
    what = f"{len(strings)} strings, {errors} wrong steps ({took:.1f} s); float64 horizon {horizon:,}"
    print(f"  {name:20} {what}", flush=True)
    return {
        "machine": name,
        "units": both.net.parameters.hidden_size,
        "strings": len(strings),
        "longest": max(map(len, strings)),
        "errors": errors,
        "float64_horizon": horizon,
    }


def climbing(machine: CounterMachine, length: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Strings that take counters as far up as so many symbols can and back again, and a little farther.

    Each repeats one loop of the machine for as long as another takes to undo it; which are drawn.
    """
    from tallycell.machine.checking.search import loop_strings

    pairs = list(loop_strings(machine))
    chosen = rng.permutation(len(pairs))[:STRINGS]
    return [pairs[k].codes(pairs[k].times_for(length))[:length].astype(np.int32) for k in chosen]


def count_to_the_end(kernel: str, largest: int) -> dict[str, object]:
    """Members and near misses of a^n b^n around ``largest``, and at smaller powers of two.

    One run over a^(largest + 1) leaves the states after a^n; the runs over b from there, side by side, are all members
    and all strings with more or fewer b.
    """
    from tallycell.machine.compiling.compilation import compile_machine
    from tallycell.machine.running.runner import Runner
    from tallycell.machine.shipped import shipped_machine

    machine = shipped_machine("anbn")
    net, runner = compile_machine(machine, "float32"), Runner(machine)
    take = ours(net) if kernel == "tallycell" else torchs(net)
    stops = sorted({1 << k for k in range(4, largest.bit_length())} | {largest - 1, largest, largest + 1})
    begin, at, state, states = time.perf_counter(), 0, None, []
    for stop in stops:
        while at < stop:
            steps = min(CHUNK, stop - at)
            _, state = take(np.zeros((1, steps), np.uint8), state)
            at += steps
        states.append(state)
    state = tuple(np.concatenate(parts, axis=1) for parts in zip(*states, strict=True))
    run = runner.run([np.zeros(stop, np.uint8) for stop in stops])
    first_wrong, order = np.zeros(len(stops), np.int64), [machine.outputs.index(output) for output in net.outputs]
    for done in range(0, largest + 3, CHUNK):
        codes = np.ones((len(stops), min(CHUNK, largest + 3 - done)), np.uint8)
        chosen, state = take(codes, state)
        run = runner.run(codes, after=run, keep_says=True)
        wrong = (chosen != runner.sayings[run.each_says][..., order]).any(-1)
        new = (first_wrong == 0) & wrong.any(1)
        first_wrong[new] = done + 1 + wrong[new].argmax(1)
    # a^n b^m is a member at m = n and a near miss of n - 1, n and n + 1 around it.
    right = [n for n, m in zip(stops, first_wrong.tolist(), strict=True) if m == 0 or m > n]
    near = [min(n, m) for n, m in zip(stops, first_wrong.tolist(), strict=True) if m]
    print(f"  a^n b^n in {kernel}: {time.perf_counter() - begin:.0f} s", flush=True)
    return {
        "machine": f"anbn in {kernel}",
        "members_right": right[-3:],
        "members_wrong": [n for n in stops if n not in right],
        "first_near_miss": min(near, default=None),
    }


def ours(net: Recogniser) -> Take:
    from tallycell.machine.checking.network_runner import NetworkRunner, NetworkState

    runner = NetworkRunner(net)

    def take(codes: np.ndarray, state: tuple | None) -> tuple[np.ndarray, tuple]:
        chosen, after = runner.run(codes, None if state is None else NetworkState(*state))
        return chosen, (after.h, after.c)

    return take


def torchs(net: Recogniser) -> Take:
    """The same weights in torch.nn.LSTM, in chunks, with the state carried on."""
    import torch

    p = net.parameters
    lstm = torch.nn.LSTM(p.input_size, p.hidden_size, num_layers=p.num_layers)
    lstm.load_state_dict({name: torch.from_numpy(np.array(weight)) for name, weight in p.weights.items()})
    inputs = torch.from_numpy(np.array(net.inputs))
    start = [
        np.zeros((p.num_layers, p.hidden_size), p.dtype) if given is None else given for given in (net.h_0, net.c_0)
    ]

    def take(codes: np.ndarray, state: tuple | None) -> tuple[np.ndarray, tuple]:
        if state is None:
            state = tuple(np.repeat(np.array(given)[:, np.newaxis], len(codes), axis=1) for given in start)
        with torch.inference_mode():
            x = inputs[torch.from_numpy(codes.T.astype(np.int64))]
            h, after = lstm(x, tuple(torch.from_numpy(one) for one in state))
            chosen = net.decide(h.numpy()).swapaxes(0, 1)
        return chosen, tuple(one.numpy() for one in after)

    return take
