"""The call that people make: record_trace, from arrays to a labelled dataset; no target."""

import argparse
import functools

from benchmarks.grid import Cell, add_grid_arguments, chosen_cells
from benchmarks.machine import use_threads
from benchmarks.race import make_row, row_line
from benchmarks.timing import Target, clock_for, interleave, judge, verdict_line

HELP = "record_trace, from arrays to a labelled dataset, beside torch.nn.LSTM"
CELLS = (Cell(32, 1, 1000), Cell(32, 32, 100), Cell(128, 8, 1000), Cell(256, 32, 100), Cell(512, 8, 100))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_grid_arguments(parser, seconds=3.0)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Time record_trace; print and return the rows."""
    use_threads(arguments.threads)
    import torch

    import tallycell
    from benchmarks.competitors import make_input, make_parameters, make_torch_lstm, require_same
    from benchmarks.floor import forward_floor
    from benchmarks.probes import say_limits

    limits, rows = say_limits(arguments.threads), []
    for cell in chosen_cells(arguments, CELLS):
        module, x = make_torch_lstm(cell), make_input(cell)
        calls = {
            "ours": functools.partial(tallycell.record_trace, make_parameters(module), x.numpy()),
            "torch": functools.partial(module, x),
        }
        with torch.inference_mode():
            h = calls["ours"]().h.isel(layer=0, direction=0).transpose("time", "sequence", "unit")
            require_same(f"{cell}: h", h.values, calls["torch"]()[0])
            times = interleave(calls, clock_for(arguments.threads), arguments.seconds)
        rows.append(make_row(cell, arguments.threads, times, forward_floor(cell, limits)))
        print(row_line(rows[-1]), flush=True)
    verdict = judge({f"{row['hidden']},{row['batch']},{row['time']}": row["ratio"] for row in rows}, Target())
    answers = [verdict_line("record_trace / torch.nn.LSTM", verdict)]
    print(answers[0])
    return {"threads": arguments.threads, "answers": answers, "verdicts": {"ratio": verdict}, "rows": rows}
