"""The command that says what made an output."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from tallycell.cli.inputs import Subject, open_input, require_files
from tallycell.cli.options import Feeding, Opening, Source, with_groups
from tallycell.cli.terminal import console, progress

effect_app = Typer()
CHECKED = 5  # steps that are left out one by one: those with the largest parts


@effect_app.command(short_help="Say which past steps and which cells made one output.")
@with_groups
def explain(
    *,
    model: Annotated[
        Path | None, Argument(help="a model file with a linear layer behind its LSTM; the shipped model if not given")
    ] = None,
    source: Source,
    at: Annotated[
        int, Option("--at", metavar="STEP", help="explain this step, counted from 0; from the end below 0")
    ] = -1,
    output: Annotated[
        str | None, Option("--output", metavar="NAME", help="explain this output, by name or number; else the largest")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="print it as JSON")] = False,
    opening: Opening,
    feeding: Feeding,
) -> None:  # fmt: skip
    """Say which past steps and which cells made one output, as a sum that is exact given the gates.

    Beside it stands what becomes of the output without the steps that matter most: there the network is run again.
    """
    from tallycell.cli import explain_view
    from tallycell.effect.account import explain_output
    from tallycell.effect.chosen import largest_output
    from tallycell.effect.counterfactual import counterfactual_steps

    require_files(model, source)
    with progress() as advance:
        advance("opening the model", None)
        subject = open_input(model, source, opening, feeding)
        advance("explaining the output", None)
        named = largest_output(subject.model, subject.given, at) if output is None else _named(subject, output)
        account = explain_output(subject.model, subject.given, at, named)
        advance("running the network without some steps", None)
        steps = sorted(account.top_steps(CHECKED)["step"].to_numpy().tolist())
        changes = counterfactual_steps(subject.model, subject.given, at, named, steps)
    if as_json:
        sys.stdout.write(explain_view.to_json(account, changes) + "\n")
        return
    tokens = subject.given.tokens
    one = tokens[0] if tokens and not isinstance(tokens[0], str) else tokens
    explain_view.print_account(console(), account, one, changes)


def _named(subject: Subject, output: str) -> int | str:
    """Tell a number from a name: it is a number where the model has no output of that name."""
    from tallycell.effect.outputs import read_readout

    names = read_readout(subject.model, subject.given.lstm).names or ()
    return int(output) if output.isdecimal() and output not in names else output
