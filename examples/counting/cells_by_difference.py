"""How a network tells whether |#a - #b| < 5: what its cells hold at each difference, its gates snapped to 0 and 1.

    tallycell train difference-below-5 --hidden 10 --steps 8000 -o network.safetensors
    python examples/counting/cells_by_difference.py network.safetensors

A line for each cell, by d = #a - #b, on 1,000 strings of 64 symbols: its value where that is always the same, else its
sign, "." for 0, and "?" where the sign depends on more than d; last its weight in the output.
Below, where each cell counts: the longest range in which it is d or -d and a constant.
"""

import sys

import numpy as np

import tallycell as tc
from tallycell.learning.languages import language
from tallycell.machine.extracting.snapping import SnappedNetwork

FARTHEST = 9


def cells_and_difference(net: tc.Recogniser, strings: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Cells of the snapped network, (step, cell), and #a - #b, (step,), after each symbol of strings to learn from."""
    sample = language("difference-below-5").draw(np.random.default_rng(0), strings)
    run = SnappedNetwork(net).run_batch(sample.codes.T.astype(np.int64), sample.lengths)
    difference = np.cumsum(np.array([1, -1])[sample.codes.T], axis=0)  # of the language's alphabet, a and b
    return run.count[1:].reshape(-1, run.count.shape[-1]), difference.reshape(-1)


def said(values: np.ndarray) -> str:
    """The values of a cell at one difference, in a few letters."""
    if (values == values[0]).all():
        return "." if values[0] == 0 else f"{values[0]:+d}"
    signs = np.unique(np.sign(values))
    return "?" if len(signs) > 1 else {-1: "-", 0: ".", 1: "+"}[int(signs[0])]


def counted(cell: np.ndarray, difference: np.ndarray) -> str:
    """Where a cell is the difference and a constant: the longest such range of differences, of at least four."""
    best = ""
    longest = 3
    for sign in (1, -1):
        rest = cell - sign * difference
        for begin in range(-FARTHEST, FARTHEST + 1):
            for end in range(begin + longest, FARTHEST + 1):
                there = (difference >= begin) & (difference <= end)
                if not there.any() or np.ptp(rest[there]) > 0:
                    break
                longest, constant = end - begin, int(rest[there][0])
                best = f"{'d' if sign > 0 else '-d'} {constant:+d} from {begin} to {end}"
    return best


def main() -> None:
    net = tc.load(sys.argv[1]).recogniser
    if net is None or net.alphabet != ("a", "b"):
        sys.exit(f"{sys.argv[1]} holds no network that reads a and b; train one as the head of this file says")
    cells, difference = cells_and_difference(net)
    differences = range(-FARTHEST, FARTHEST + 1)
    print("difference", *(f"{d:+4d}" for d in differences), " output")
    for k, (cell, weight) in enumerate(zip(cells.T, net.readout_weight[0], strict=True)):
        print(f"cell {k:5d}", *(f"{said(cell[difference == d]):>4}" for d in differences), f"{weight:+7.1f}")
    for k, cell in enumerate(cells.T):
        if text := counted(cell, difference):
            print(f"cell {k} is {text}")


if __name__ == "__main__":
    main()
