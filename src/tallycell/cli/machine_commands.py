"""The commands on counter machines: list, run and export them, and go between them and LSTMs."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer

from tallycell.cli.machine_files import (
    cut_strings,
    language_of,
    open_machine,
    read_sample,
    require_network_place,
    write_text,
    written_strings,
)
from tallycell.cli.machine_options import (
    Anyway,
    AsWell,
    Checking,
    Hardening,
    Machine,
    Meant,
    Model,
    ModelOutput,
    Network,
    OptionalOutput,
    Prove,
    Separator,
)
from tallycell.cli.options import AsJSON, Opening, with_groups
from tallycell.cli.terminal import fold, print_json, progress
from tallycell.errors import InputError
from tallycell.files import require_place

if TYPE_CHECKING:
    from tallycell.machine.extracting.allowed import Inputs
    from tallycell.machine.hardening import Hardened
    from tallycell.machine.proving.horizon import Horizon

machine_app = Typer()


class DType(StrEnum):
    """What weights are written as."""

    float32 = "float32"
    float64 = "float64"


class Form(StrEnum):
    """What a machine can be written as."""

    text = "text"
    json = "json"
    dot = "dot"
    c = "c"
    python = "python"


@machine_app.command(short_help="List the counter machines that are shipped.")
def machines(*, as_json: AsJSON = False) -> None:
    """List the counter machines that come with tallycell. The command `tallycell export NAME` prints one."""
    from tallycell.cli import machine_list

    if as_json:
        print_json(machine_list.as_object())
    else:
        sys.stdout.write(machine_list.to_text() + "\n")


@machine_app.command(short_help="Run a counter machine over strings.")
def run(
    machine: Machine,
    strings: Annotated[
        list[str] | None,
        Argument(
            metavar="STRING...",
            help="give the strings that it reads; - takes one from each line of standard input",
            show_default=False,
        ),
    ] = None,
    *,
    steps: Annotated[bool, Option("--steps", help="show what happens at each symbol")] = False,
    separator: Separator = None,
    other: Annotated[
        str | None, Option("--other", metavar="SYMBOL", help="read every other character as this symbol")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Run a counter machine over strings, and print what it says after each, its state, and its counters.

    It says accept or reject if it decides; "legal" and the symbols that may come next, if it tells; and its tags. In
    the state "fail" it rejects whatever follows. Counters are exact for strings of any length.
    """
    from tallycell.cli import machine_runs

    if not strings:
        raise InputError("got no string to run; give strings, or - to read one from each line of standard input")
    found = open_machine(machine)
    given = cut_strings(written_strings(strings), found.alphabet, separator=separator, other=other)
    with progress() as advance:
        last = machine_runs.run_strings(found, given, advance)
    if as_json:
        print_json(machine_runs.as_object(found, given, last, steps=steps))
    elif steps:
        sys.stdout.write("\n\n".join(machine_runs.steps_to_text(found, given)) + "\n")
    else:
        sys.stdout.write(machine_runs.to_text(found, given, last) + "\n")


@machine_app.command(short_help="Write a counter machine as C, Python, JSON, DOT or text.")
def export(
    machine: Machine,
    *,
    to: Annotated[Form, Option("--to", help="choose the language to write it in")] = Form.text,
    output: OptionalOutput = None,
    name: Annotated[
        str | None,
        Option("--name", metavar="TEXT", help="begin every name in C with this, or call the graph in DOT so"),
    ] = None,
    plot: Annotated[
        Path | None,
        Option("--plot", metavar="FILE", help="draw its states into this file: .png, .svg or .pdf (extra plot)"),
    ] = None,
) -> None:
    """Write a counter machine as text, JSON, DOT (for Graphviz), C99 or Python, or draw it.

    The C and Python code needs nothing else to run. Text is the notation that docs/notation.md explains.
    """
    from tallycell.machine.notation.interchange import to_dot, to_json
    from tallycell.machine.notation.text import format_machine
    from tallycell.machine.running.export import to_c, to_python
    from tallycell.plot import plot_machine, require_picture, save_picture

    if output is not None:
        require_place(output)
    if plot is not None:
        require_picture(plot)
    if name is not None and to not in (Form.c, Form.dot):
        raise InputError(f"got --name with --to {to}; only c and dot hold a name, leave it out")
    found = open_machine(machine)
    if to is Form.c:
        text = to_c(found) if name is None else to_c(found, prefix=name)
    elif to is Form.dot:
        text = to_dot(found) if name is None else to_dot(found, name)
    else:
        text = {Form.text: format_machine, Form.json: to_json, Form.python: to_python}[to](found)
    write_text(output, text)
    if plot is not None:
        save_picture(plot_machine(found), plot)


@machine_app.command(short_help="Read a counter machine from a network.")
@with_groups
def extract(
    model: Model, *, output: AsWell = None, meant: Meant, network: Network, opening: Opening, anyway: Anyway = False,
    as_json: AsJSON = False,
) -> None:  # fmt: skip
    """Read a counter machine from a network and print it as a program.

    The first five lines say whether it decides as the network does, on which strings, on how many of them, what stops
    the network from counting exactly, and what to try. Comments below the program say how it was read and which cell
    each counter is.

    The exit status is 1 if it is not exact; its program is then written only with --anyway.
    """
    from tallycell.cli import extraction_view
    from tallycell.machine.extracting.extraction import extract_machine
    from tallycell.machine.notation.interchange import to_json

    if output is not None:
        require_place(output)
    net = network.open(model, opening, meant.inputs, meant.separator)
    inputs = meant.read(net)
    with progress() as advance:
        advance("reading the machine", None)
        extraction = extract_machine(net, inputs)
    if output is not None and (extraction.exact or anyway):
        as_file = output.suffix == ".json"
        whole = to_json(extraction.machine) if as_file else extraction_view.to_text(extraction, anyway=True, whole=True)
        write_text(output, whole)
    if as_json:
        print_json(extraction_view.as_object(extraction, anyway=anyway))
    else:
        write_text(None, extraction_view.to_text(extraction, anyway=anyway))
    if not extraction.exact:
        raise Exit(1)


@machine_app.command(short_help="Replace a network by one whose gates are exactly 0 or 1.")
@with_groups
def harden(
    model: Model, *, output: ModelOutput, meant: Meant, network: Network, opening: Opening, hardening: Hardening,
    as_json: AsJSON = False,
) -> None:  # fmt: skip
    """Harden a network: replace it by one whose gates are exactly 0 or 1, so that it counts without error.

    The counter machine is read from the network (as extract does) and compiled (as compile does); where possible, each
    counter stays in its unit.

    If the machine does not decide as the network does, nothing is written and the exit status is 1; with --anyway the
    machine that fits best is compiled, and nothing is proved of it.
    """
    from tallycell.cli import extraction_view, network_view
    from tallycell.loaders import save
    from tallycell.machine.extracting.extraction import extract_with_walk
    from tallycell.machine.hardening import compile_extraction

    require_network_place(output)
    net = network.open(model, opening, meant.inputs, meant.separator)
    inputs = meant.read(net)
    with progress() as advance:
        advance("reading the machine", None)
        extraction, walk = extract_with_walk(net, inputs)
        if not extraction.exact and not hardening.anyway:
            if as_json:
                print_json(extraction_view.refusal_as_object(extraction))
            else:
                write_text(None, extraction_view.refusal(extraction))
            raise Exit(1)
        advance("compiling", None)
        hardened = compile_extraction(net, extraction, walk, inputs)
        save(hardened.net, output)
        advance("proving", None)
        horizon = _horizon_of(hardened, inputs) if hardening.prove and extraction.exact else None
    if as_json:
        found = {"extraction": extraction_view.as_object(extraction, anyway=True), "same_units": hardened.same_units}
        print_json(found | network_view.as_object(output, hardened.net, horizon))
    else:
        units = "it uses the units of the old network" if hardened.same_units else "it uses units of its own"
        after = network_view.to_text(output, hardened.net, horizon, units)
        unproved = "" if extraction.exact else f"\n{network_view.NOT_THE_NETWORK}"
        write_text(None, f"{extraction_view.to_text(extraction, anyway=True)}\n{after}{unproved}")


def _horizon_of(hardened: "Hardened", inputs: "Inputs") -> "Horizon":
    """Prove how far a hardened network is its machine: on all strings, or those of an automaton."""
    from tallycell.machine.counter_machine import CounterMachine
    from tallycell.machine.proving.horizon import counting_horizon

    allowed = inputs if isinstance(inputs, CounterMachine) else None
    return counting_horizon(hardened.extraction.machine, hardened.net, inputs=allowed)


@machine_app.command("compile", short_help="Make an LSTM that decides as a counter machine does.")
def compile_(
    machine: Machine,
    *,
    output: ModelOutput,
    dtype: Annotated[DType, Option("--dtype", help="choose the number format of the weights")] = DType.float32,
    prove: Prove = True,
    as_json: AsJSON = False,
) -> None:
    """Make an LSTM that decides as a counter machine does, and write it to a file.

    The command prints how large it is, and its horizon: the length of strings up to which the network provably decides
    as the machine.
    """
    from tallycell.cli import network_view
    from tallycell.loaders import save
    from tallycell.machine.compiling.compilation import compile_machine
    from tallycell.machine.proving.horizon import counting_horizon

    require_network_place(output)
    found = open_machine(machine)
    with progress() as advance:
        advance("compiling", None)
        net = compile_machine(found, dtype.value)
        save(net, output)
        advance("proving", None)
        horizon = counting_horizon(found, net) if prove else None
    if as_json:
        print_json(network_view.as_object(output, net, horizon))
    else:
        write_text(None, network_view.to_text(output, net, horizon))


@machine_app.command(short_help="Compare what a network and a counter machine decide.")
@with_groups
def check(
    machine: Machine, model: Model, *, checking: Checking, network: Network, opening: Opening,
    separator: Separator = None, as_json: AsJSON = False,
) -> None:  # fmt: skip
    """Compare what a counter machine and a network decide after each symbol of many strings.

    Each line of the result begins with how it is known: exhaustive (all short strings), sampled (drawn strings),
    counted (drawn strings with one symbol changed; and your own), searched (long strings), or proved (the horizon: the
    length of strings up to which the network provably decides as the machine).

    The exit status is 1 if a difference was seen.
    """
    from tallycell.cli import check_view
    from tallycell.machine.checking.check import check_machine

    found, net = open_machine(machine), network.open(model, opening, checking.strings, separator)
    own = None if checking.strings is None else read_sample(checking.strings, net, separator)
    language = None if checking.language is None else language_of(checking.language, found.alphabet)
    with progress() as advance:
        advance("checking", None)
        checked = check_machine(
            found, net, strings=own, language=language, length=checking.length, samples=checking.samples,
            longest=checking.longest,
        )  # fmt: skip
    if as_json:
        print_json(check_view.as_object(checked))
    else:
        write_text(None, fold(str(checked)))
    if not checked.agree:
        raise Exit(1)
