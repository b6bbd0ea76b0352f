"""Other squashing functions than sigmoid and tanh: against our own time with those, and against the Python loop."""

import argparse
import operator

from benchmarks.grid import GRID, Cell, add_grid_arguments, chosen_cells
from benchmarks.machine import use_threads
from benchmarks.timing import Call, Target, clock_for, interleave, judge, verdict_line

HELP = "LSTM.traced with other activations, against ours with sigmoid and tanh and against the Python loop"
USUAL = "sigmoid/tanh"
LOOP = " loop"
SWAPPED = ("hard_sigmoid/hard_tanh", "sigmoid/relu", "own")
TARGETS = {"usual": Target(worst=1.05), "loop": Target(mean=1 / 3)}  # at least three times as fast as the loop
LONGEST = 128 * 512**2  # of batch x hidden², so that a cell of the grid takes seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_grid_arguments(parser, seconds=4.0)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Time each pair of activations; print and return rows and verdicts."""
    use_threads(arguments.threads)
    import torch

    grid = [cell for cell in GRID if cell.time == 100 and cell.batch * cell.hidden**2 <= LONGEST]
    rows = []
    for cell in chosen_cells(arguments, grid):
        calls = make_calls(cell)
        with torch.inference_mode():
            verify(cell, calls)
            loops = {name: calls.pop(name) for name in list(calls) if name.endswith(LOOP)}
            times = interleave(calls, clock_for(arguments.threads), arguments.seconds)
            times |= interleave(loops, clock_for(arguments.threads), arguments.seconds / 3)  # apart: see race
        new = [make_row(cell, arguments.threads, name, times) for name in SWAPPED]
        rows += new
        said = "  ".join(
            f"{row['activations']} {row['ratio']:.3f}, {row['loop_ms'] / row['ours_ms']:.1f} x the loop" for row in new
        )
        print(f"{cell!s:>13}  {USUAL} {new[0]['usual_ms']:.3f} ms  {said}", flush=True)
    answers, verdicts = [], {}
    for other, target in TARGETS.items():
        get_time = operator.itemgetter(f"{other}_ms")
        ratios = {f"{row['activations']} {cell_name(row)}": row["ours_ms"] / get_time(row) for row in rows}
        verdicts[other] = judge(ratios, target)
        what = {"usual": "ours / ours with sigmoid and tanh", "loop": "ours / the Python loop"}[other]
        answers.append(verdict_line(what, verdicts[other]))
        print(answers[-1])
    return {"threads": arguments.threads, "answers": answers, "verdicts": verdicts, "rows": rows}


def cell_name(row: dict[str, object]) -> str:
    """Cell of a row, as on the command line."""
    return f"{row['hidden']},{row['batch']},{row['time']}"


def make_row(cell: Cell, threads: int, name: str, seconds: dict[str, float]) -> dict[str, object]:
    """One row of the JSON; ``ratio`` is to our own time with sigmoid and tanh."""
    return {
        "hidden": cell.hidden,
        "batch": cell.batch,
        "time": cell.time,
        "threads": threads,
        "activations": name,
        "ours_ms": 1e3 * seconds[name],
        "usual_ms": 1e3 * seconds[USUAL],
        "loop_ms": 1e3 * seconds[name + LOOP],
        "ratio": seconds[name] / seconds[USUAL],
    }


def make_calls(cell: Cell) -> dict[str, Call]:
    """Give ours and the loop for each pair; each returns i f g o c h."""
    import torch

    from benchmarks.competitors import make_input, make_ours, make_torch_lstm, python_loop
    from benchmarks.own import torch_gate, torch_squash
    from tallycell.kernels.cpu.readiness import prepare
    from tallycell.parameters import Activations

    module, x = make_torch_lstm(cell), make_input(cell)
    ours = {
        USUAL: {},
        "hard_sigmoid/hard_tanh": {"gate": "hard_sigmoid", "cell": "hard_tanh", "hidden": "hard_tanh"},
        "sigmoid/relu": {"cell": "relu", "hidden": "relu"},
        "own": {"gate": "own_gate", "cell": "own_squash", "hidden": "own_squash"},
    }
    functions = {
        USUAL: (torch.sigmoid, torch.tanh),
        "hard_sigmoid/hard_tanh": (lambda x: (0.2 * x + 0.5).clamp(0, 1), torch.nn.functional.hardtanh),
        "sigmoid/relu": (torch.sigmoid, torch.relu),
        "own": (torch_gate, torch_squash),
    }

    def traced(name: str) -> Call:
        lstm = make_ours(module, **ours[name])
        # Compiled at once: the first seconds of a choice that is not yet, on the slower path, are not in question here.
        prepare(Activations(lstm.gate, lstm.cell, lstm.hidden), "float32")
        return lambda: lstm.traced(x)

    def loop(name: str) -> Call:
        gate, squash = functions[name]
        return lambda: python_loop(module, x, gate=gate, cell=squash, hidden=squash)

    return {name: traced(name) for name in ours} | {name + LOOP: loop(name) for name in SWAPPED}


def verify(cell: Cell, calls: dict[str, Call]) -> None:
    """Compare every gate and state with the loop's."""
    from benchmarks.competitors import require_same

    for name in SWAPPED:
        _, _, gates = calls[name]()
        for letter, known in zip(("i", "f", "g", "o", "c", "h"), calls[name + LOOP](), strict=True):
            require_same(f"{cell}, {name}: {letter}", getattr(gates, letter)[0][0], known)
