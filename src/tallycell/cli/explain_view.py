"""An output explained in the terminal: the steps it depends on, what was read coloured by them, and the account.

Steps are ranked by the counterfactual and not by the account, which does not see what a step did through a gate: on a
tagger, and on machines whose dependence is known, it is hardly better than chance (``benchmarks faithfulness``).
"""

from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.text import Text

from tallycell.cli.ruler import symbol_at
from tallycell.effect.account import Account
from tallycell.names import TIME
from tallycell.reading.triggers import say_symbol
from tallycell.wording import shown

TOP = 5  # steps that are named
BEFORE = 400  # steps up to the one that is explained, at most, that are left out one by one and laid out
AROUND = 50  # the same to either side where an output depends on what comes later too: each costs a run of the whole
STRONG, WEAK = 0.5, 0.1  # of the largest part of a step: from here on two signs (bold), one; less has none
RAISES, LOWERS = "green", "magenta"


def print_account(console: Console, account: Account, tokens: list[str] | None, changes: xr.DataArray) -> None:
    """Print the steps that an output depends on, all steps under what was read, and the account.

    Parameters
    ----------
    console
        Where to.
    account
        What is explained.
    tokens
        The symbol of each step, or None where none are read.
    changes
        Change of the output without each of :func:`steps_around`, (time,), as ``counterfactual_steps`` gives it.
    """
    console.print(f"{account.name} at step {account.step} is {account.output:.4g} before the activation.", markup=False)
    console.print()
    steps, change = changes["step"].to_numpy().tolist(), changes.to_numpy()
    span = f"steps {steps[0]} to {steps[-1]}"
    console.print(Text(f"Of {span} it depends on, most first (the network run again, with zeros in the place of each):",
                       style="bold"))  # fmt: skip
    found = [k for k in np.argsort(-np.abs(change), kind="stable")[:TOP].tolist() if change[k]]
    for k in found:
        read = "" if tokens is None else f", {say_symbol(tokens[steps[k]])}"
        console.print(f"  {f'step {steps[k]}{read}':<24} {change[k]:+.4g} without it", markup=False)
    if not found:
        console.print("  none: without any one of them it is the same")
    console.print()
    console.print(Text(f"{span.capitalize()}: + raises it, - lowers it, doubled where it matters most", style="bold"))
    parts = np.concatenate([np.zeros(steps[0]), -change])
    if tokens is not None and any(len(token) > 1 for token in tokens):
        _print_words(console, tokens, parts, steps[0])
    else:
        _print_rows(console, tokens, parts, steps[0])
    console.print()
    console.print(Text("The account: an exact sum, with the gates as they were", style="bold"))
    console.print(str(account), markup=False)


def steps_around(account: Account) -> range:
    """Give the steps that are left out one by one: those read last and, where the end is read too, those behind."""
    last = account.entries.sizes[TIME]
    if last == account.step + 1:
        return range(max(0, last - BEFORE), last)
    return range(max(0, account.step - AROUND), min(last, account.step + 1 + AROUND))


def strength(parts: np.ndarray) -> list[str]:
    """Give a mark for the part of each step: ``++ + `` and nothing, ``-`` where it lowers the output.

    Examples
    --------
    >>> strength(np.array([1.0, -0.6, 0.2, -0.05]))
    ['++', '--', '+', '']
    """
    largest = float(np.abs(parts).max()) or 1.0
    share = np.abs(parts) / largest
    counts = np.where(share >= STRONG, 2, np.where(share >= WEAK, 1, 0))
    return [("+" if part > 0 else "-") * count for part, count in zip(parts.tolist(), counts.tolist(), strict=True)]


def _style(mark: str) -> str:
    colour = {"+": RAISES, "-": LOWERS}.get(mark[:1], "dim")
    return f"bold {colour}" if len(mark) == 2 else colour


def _print_rows(console: Console, tokens: list[str] | None, parts: np.ndarray, begin: int) -> None:
    """Lay symbols of one column from left to right; below each its sign, twice where it matters most."""
    marks, width = strength(parts), max(20, console.width - 2)
    for start in range(begin, len(parts), width):
        span = range(start, min(start + width, len(parts)))
        console.print(Text.assemble(*((symbol_at(tokens, t), _style(marks[t])) for t in span), no_wrap=True))
        for line in range(2):
            row = "".join(marks[t][line : line + 1] or " " for t in span).rstrip()
            console.print(Text(row, style="dim", no_wrap=True))


def _print_words(console: Console, tokens: list[str], parts: np.ndarray, begin: int) -> None:
    """Write words one after the other, each with its sign behind it."""
    marks = strength(parts)
    words = (
        (f"{shown(tokens[t], 40)}{f'({marks[t]})' if marks[t] else ''} ", _style(marks[t]))
        for t in range(begin, len(parts))
    )
    console.print(Text.assemble(*words))


def as_object(account: Account, changes: xr.DataArray) -> dict[str, Any]:
    """Give the account by step and by unit."""
    units = account.by_unit()
    cells = units.stack(cell=units.dims)
    return {
        "output": account.name,
        "step": account.step,
        "value": account.output,
        "bias": account.bias,
        "initial": float(account.initial.sum()),
        "by_step": account.by_step().to_numpy().tolist(),
        "by_unit": [
            {"layer": int(layer), "direction": str(direction), "unit": int(unit), "part": float(part)}
            for (layer, direction, unit), part in zip(cells["cell"].to_numpy(), cells.to_numpy(), strict=True)
        ],
        "without_step": dict(
            zip(map(str, changes["step"].to_numpy().tolist()), changes.to_numpy().tolist(), strict=True)
        ),
    }
