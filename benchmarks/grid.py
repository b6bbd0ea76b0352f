"""The cells that are measured: sizes of an LSTM whose input is as wide as it is, float32."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

LIMIT_S = 5.0  # of torch's time, beyond which a cell is left out


@dataclass(frozen=True, order=True)
class Cell:
    """One size: hidden units (and input features), sequences in the batch, time steps."""

    hidden: int
    batch: int
    time: int

    def __str__(self) -> str:
        return f"{self.hidden},{self.batch},{self.time}"

    @property
    def forward_flops(self) -> int:
        """Of the projections of a forward pass: those of the input and of h, a product and a sum a weight."""
        return 2 * (4 * self.hidden) * (2 * self.hidden) * self.batch * self.time

    @property
    def train_flops(self) -> int:
        """Of the projections of a forward and backward pass: each has a gradient to its input and to its weight."""
        return 3 * self.forward_flops


GRID = tuple(Cell(*sizes) for sizes in product((32, 128, 256, 512, 1024), (1, 8, 32, 128), (100, 1000)))
QUICK = (Cell(32, 1, 100), Cell(32, 32, 100), Cell(128, 8, 100), Cell(256, 32, 100))


def parse_cell(text: str) -> Cell:
    """Read a cell as it is written on the command line: hidden,batch,time."""
    try:
        cell = Cell(*map(int, text.split(",")))
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not hidden,batch,time, such as 32,8,100") from None
    if min(cell.hidden, cell.batch, cell.time) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} has a size below 1")
    return cell


def add_grid_arguments(parser: argparse.ArgumentParser, seconds: float) -> None:
    """Add the options that every benchmark over cells has."""
    parser.add_argument("--threads", type=int, default=1, help="1 (default): CPU time on one core; more: wall time")
    parser.add_argument("--cells", type=parse_cell, nargs="+", metavar="H,B,T", help="only these: hidden,batch,time")
    parser.add_argument("--quick", action="store_true", help=f"only {len(QUICK)} small cells")
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="spent on a cell, and at least 3 rounds (default: %(default)g)"
    )


def chosen_cells(arguments: argparse.Namespace, grid: Iterable[Cell] = GRID) -> list[Cell]:
    """Cells that the command line asks for."""
    return list(arguments.cells or (QUICK if arguments.quick else grid))


def split_by_time(cells: Iterable[Cell], seconds_of: dict[Cell, float]) -> tuple[list[Cell], list[Cell]]:
    """Cells to run, and those to leave out because torch is expected to take longer than :data:`LIMIT_S`."""
    short = [cell for cell in cells if seconds_of[cell] <= LIMIT_S]
    return short, [cell for cell in cells if seconds_of[cell] > LIMIT_S]
