"""Draw the unit of the shipped model that counts brackets: its gates, its cell and the tally that explains it.

python examples/draw_bracket_counter.py FILE.png        # needs the extra `plot`
"""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import tallycell as tc
from tallycell.cli.inputs import open_input
from tallycell.reading.cells import iterate_cells
from tallycell.reading.fitting import FittedLevels, explain_cells
from tallycell.reading.tally import RUNGS
from tallycell.reading.units import select_unit

STEPS = 96
SHOWN = {"\n": "⏎", " ": ""}


def liveliest(depth: np.ndarray) -> int:
    """Line start from which the bracket depth varies most within the window."""
    total = np.concatenate([[0], np.cumsum(np.abs(np.diff(depth, prepend=0)) * (1 + depth))])
    return int(np.argmax(total[STEPS:] - total[:-STEPS]))


def main(target: str) -> None:
    mpl.use("Agg")
    subject = open_input()
    given, trace = subject.given, subject.record()
    unit = tc.read_units(trace, given.tokens, given.quantities).leaders()["bracket depth"]
    (cells,) = iterate_cells(select_unit(trace, unit.label))
    write, f, c = (cells.of_unit(values, 0) for values in (cells.write, cells.f, cells.c))
    place = [rung.name for rung in RUNGS].index(unit.rung)
    fitted = unit.ladder[place]
    levels = FittedLevels(
        *(np.array([numbers]) for numbers in (fitted.write_levels, fitted.keep_levels, fitted.intercept))
    )
    explained = explain_cells(cells, RUNGS[place], levels)[:, 0]
    depth = given.quantities["bracket depth"]
    begin = liveliest(depth)
    span = slice(begin, begin + STEPS)
    steps = np.arange(STEPS)

    figure, (gates, state) = plt.subplots(
        2, 1, figsize=(15, 6.2), sharex=True, height_ratios=(1, 1.6), layout="constrained"
    )
    figure.suptitle(f"Unit {unit.label} of the shipped character model.  {unit.sentence}", fontsize=11)
    written = write[span]
    gates.bar(steps, written, color=np.where(written > 0, "#2a7f3f", "#a3307a"), width=0.8, label="written, i·g")
    gates.step(steps, f[span], where="mid", color="#c77700", linewidth=1.2, label="kept, f")
    gates.axhline(0, color="black", linewidth=0.6)
    gates.set_ylabel("gates (dimensionless)")
    gates.legend(loc="lower right", ncols=2, fontsize=9)
    gates.set_ylim(-1.25, 1.15)
    gates.tick_params(axis="x", length=0)
    state.step(steps, depth[span], where="mid", color="#bbbbbb", linewidth=5, label="bracket depth in the text (count)")
    state.plot(steps, c[span], color="#1f4e9c", linewidth=2, label="cell state c")
    state.plot(steps, explained[span], "--", color="#d03030", linewidth=1.4,
               label=f"tally of {unit.parameters} numbers (R² = {unit.r2:.2f})")  # fmt: skip
    state.set_ylabel("cell, tally, depth")
    state.legend(loc="upper right", fontsize=9)
    state.set_xticks(steps, [SHOWN.get(token, token) for token in given.tokens[span]], family="monospace", fontsize=9)
    state.tick_params(axis="x", length=0)
    state.set_xlim(-1, STEPS)
    state.set_xlabel(f"text read, one character a step (steps {begin} to {begin + STEPS - 1} of the sample)")
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
