"""One time step a call, from a kept state: live audio, sensors."""

import argparse

from benchmarks.floor import forward_floor
from benchmarks.grid import Cell
from benchmarks.machine import use_threads
from benchmarks.timing import Call, Target, clock_for, interleave, judge, verdict_line

HELP = "one step a call, against torch.nn.LSTMCell and a session of ONNX Runtime"
HIDDEN = (64, 128, 256, 512)
TARGETS = {"torch": Target(worst=0.5), "onnxruntime": Target(worst=1.0)}
STEPS = 20  # that are verified


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--threads", type=int, default=1, help="1 (default): CPU time on one core; more: wall time")
    parser.add_argument("--hidden", type=int, nargs="+", default=HIDDEN, metavar="H", help="only these sizes")
    parser.add_argument("--seconds", type=float, default=3.0, help="spent on a size (default: %(default)g)")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Time single steps, print and return rows and verdicts."""
    use_threads(arguments.threads)
    import torch

    from benchmarks.probes import say_limits

    limits, rows = say_limits(arguments.threads), []
    for hidden in arguments.hidden:
        cell = Cell(hidden, 1, 1)
        with torch.inference_mode():
            verify(cell, make_calls(cell, arguments.threads))
            times = interleave(make_calls(cell, arguments.threads), clock_for(arguments.threads), arguments.seconds)
        rows.append(make_row(cell, arguments.threads, times, forward_floor(cell, limits)))
        print(
            f"hidden {hidden:4}" + "".join(f"  {name} {1e6 * time:.1f} µs" for name, time in times.items()), flush=True
        )
    answers, verdicts = [], {}
    for ours in ("step", "stream"):
        for other, target in TARGETS.items():
            ratios = {str(row["hidden"]): row[f"{ours}_ms"] / row[f"{other}_ms"] for row in rows}
            verdicts[f"{ours}/{other}"] = judge(ratios, target)
            answers.append(verdict_line(f"{ours} / {other}", verdicts[f"{ours}/{other}"]))
            print(answers[-1])
    return {"threads": arguments.threads, "answers": answers, "verdicts": verdicts, "rows": rows}


def make_row(cell: Cell, threads: int, seconds: dict[str, float], floor: float) -> dict[str, float]:
    """One row of the JSON; ``ours`` is the function :func:`tallycell.streaming.step`."""
    times = {f"{name}_ms": 1e3 * time for name, time in seconds.items()}
    return {
        "hidden": cell.hidden,
        "batch": 1,
        "time": 1,
        "threads": threads,
        "ours_ms": times["step_ms"],
        "torch_ms": times["torch_ms"],
        "ratio": seconds["step"] / seconds["torch"],
        "floor_ratio": seconds["step"] / floor,
        **times,
    }


def make_calls(cell: Cell, threads: int) -> dict[str, Call]:
    """Give calls that each take one step and return h; all start from zeros and read the same input."""
    import numpy as np
    import torch

    from benchmarks import competitors
    from tallycell.streaming import LSTMState, Stream, step

    module = competitors.make_torch_lstm(cell)
    x = competitors.make_input(cell)[0]
    parameters = competitors.make_parameters(module)
    torch_cell = torch.nn.LSTMCell(cell.hidden, cell.hidden)
    torch_cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in module.state_dict().items()})
    session = competitors.make_session(module, threads, states=True)
    numbers = x.numpy()
    state = LSTMState.zeros(parameters)
    kept = (torch.zeros(1, cell.hidden), torch.zeros(1, cell.hidden))
    h_0 = c_0 = np.zeros((1, 1, cell.hidden), np.float32)
    listening = Stream(parameters)

    def take_step() -> object:
        nonlocal state
        h, state = step(parameters, numbers, state)
        return h

    def take_torch_step() -> object:
        nonlocal kept
        kept = torch_cell(x, kept)
        return kept[0]

    def take_session_step() -> object:
        nonlocal h_0, c_0
        h_0, c_0 = session.run(None, {"X": numbers[None], "h_0": h_0, "c_0": c_0})
        return h_0

    return {
        "step": take_step,
        "stream": lambda: listening(numbers),
        "torch": take_torch_step,
        "onnxruntime": take_session_step,
    }


def verify(cell: Cell, calls: dict[str, Call]) -> None:
    """Compare h with that of torch at each of the first steps."""
    from benchmarks.competitors import require_same

    for number in range(STEPS):
        found = {name: call() for name, call in calls.items()}
        for name in calls:
            h = found[name][0] if name == "onnxruntime" else found[name]
            require_same(f"hidden {cell.hidden}, step {number}: h of {name}", h, found["torch"])
