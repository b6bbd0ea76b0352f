"""The command that says what made an output."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from tallycell.cli.inputs import Subject, open_input, require_files
from tallycell.cli.options import AsJSON, Feeding, Opening, Source, with_groups
from tallycell.cli.terminal import console, print_json, progress

effect_app = Typer()


@dataclass(frozen=True)
class Asking:
    """Which output is explained, and how that is given out."""

    at: Annotated[
        int, Option("--at", metavar="STEP", help="explain this step, counted from 0; from the end below 0")
    ] = -1
    output: Annotated[
        str | None, Option("--output", metavar="NAME", help="explain this output, by name or number; else the largest")
    ] = None
    as_json: AsJSON = False
    plot: Annotated[
        Path | None,
        Option("--plot", metavar="FILE", help="draw the account into this file: .png, .svg or .pdf (extra plot)"),
    ] = None


@effect_app.command(short_help="Say which steps and which cells an output depends on.")
@with_groups
def explain(
    *,
    model: Annotated[
        Path | None, Argument(help="a model file with a linear layer behind its LSTM; the shipped model if not given")
    ] = None,
    source: Source,
    asking: Asking,
    opening: Opening,
    feeding: Feeding,
) -> None:
    """Say which steps and which cells an output depends on.

    First the steps without which it would be another: the network is run again, each time with zeros in the place of
    one step. Then the account: an exact sum over steps and cells, with the gates as they were.
    """
    from tallycell.cli import explain_view
    from tallycell.effect.account import explain_output
    from tallycell.effect.chosen import largest_output
    from tallycell.effect.counterfactual import counterfactual_steps
    from tallycell.plot import plot_account, require_picture, save_picture

    require_files(model, source)
    if asking.plot is not None:
        require_picture(asking.plot)
    with progress() as advance:
        advance("opening the model", None)
        subject = open_input(model, source, opening, feeding)
        advance("explaining the output", None)
        named = (
            largest_output(subject.model, subject.given, asking.at)
            if asking.output is None
            else _named(subject, asking.output)
        )
        account = explain_output(subject.model, subject.given, asking.at, named)
        steps = explain_view.steps_around(account)
        advance(f"running the network without each of {len(steps)} steps", None)
        changes = counterfactual_steps(subject.model, subject.given, asking.at, named, steps, without="zeros")
    tokens = subject.given.tokens
    one = tokens[0] if tokens and not isinstance(tokens[0], str) else tokens
    if asking.as_json:
        print_json(explain_view.as_object(account, changes))
    else:
        explain_view.print_account(console(), account, one, changes)
    if asking.plot is not None:
        save_picture(plot_account(account, one), asking.plot)


def _named(subject: Subject, output: str) -> int | str:
    """Tell a number from a name: it is a number where the model has no output of that name."""
    from tallycell.effect.outputs import read_readout

    names = read_readout(subject.model, subject.given.lstm).names or ()
    return int(output) if output.isdecimal() and output not in names else output
