"""The commands on learning to count: train a network, run the scoreboard."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option, Typer, echo

from tallycell.cli.inspect_view import count
from tallycell.cli.machine_files import require_network_place
from tallycell.cli.options import AsJSON, with_groups
from tallycell.cli.terminal import columns, fold, print_json, progress
from tallycell.errors import InputError, MissingExtraError
from tallycell.wording import shown

if TYPE_CHECKING:
    from tallycell.learning.languages import Language
    from tallycell.learning.settings import Settings
    from tallycell.learning.training import Trained
    from tallycell.machine.proving.horizon import Horizon

learning_app = Typer()

NOT_HARDENED = "is not written, as no machine read from the network is right on all of the training strings"


@dataclass(frozen=True)
class Training:
    """What is trained, and for how long."""

    hidden: Annotated[
        int | None,
        Option(
            "--hidden",
            metavar="N",
            min=1,
            help="train networks of N units; if not given, of as many as the scoreboard takes for the language",
        ),
    ] = None
    seed: Annotated[
        int,
        Option(
            "--seed",
            metavar="N",
            min=0,
            help="draw weights, strings and noise by this seed; the same seed gives the same networks",
        ),
    ] = 0
    networks: Annotated[
        int | None,
        Option(
            "--networks",
            metavar="N",
            min=1,
            help="give up after N networks, which are trained eight at a time; 64 if not given",
        ),
    ] = None
    steps: Annotated[
        int | None,
        Option(
            "--steps",
            metavar="N",
            min=1,
            help="train for N steps; if not given, for as many as the scoreboard takes for this language",
        ),
    ] = None
    hardened: Annotated[
        Path | None,
        Option(
            "--hardened",
            metavar="FILE",
            help="write the hardened network to this file as well: its gates are exactly 0 or 1, so that it counts "
            "without error",
        ),
    ] = None


@dataclass(frozen=True)
class Running:
    """Which rows are run, and for how long."""

    slow: Annotated[bool, Option("--all", help="run the slower rows as well")] = False
    seeds: Annotated[int, Option("--seeds", metavar="N", min=1, help="train each row with the seeds 0 to N - 1")] = 10
    processes: Annotated[
        int, Option("--processes", metavar="N", min=0, help="train N seeds at the same time, each on one thread")
    ] = 2
    minutes: Annotated[
        float | None,
        Option(
            "--minutes", metavar="N", min=0, help="begin no new seed after N minutes; call the command again to go on"
        ),
    ] = None
    far: Annotated[
        bool,
        Option(
            "--far",
            help="search to n = 2^24, beyond the row's aim, where hardened networks (gates exactly 0 or 1) fail",
        ),
    ] = False
    only_page: Annotated[
        bool, Option("--only-page", help="train nothing, and write the page of the results that are there")
    ] = False
    plot: Annotated[
        bool, Option("--plot/--no-plot", help="draw where networks first fail; this needs the extra plot")
    ] = True


@learning_app.command(short_help="Train an LSTM to count.")
@with_groups
def train(
    language: Annotated[
        str,
        Argument(
            metavar="LANGUAGE",
            help="name the language to learn, such as anbn or dyck-1 (tallycell languages lists them), or a file: the "
            "counter machine that says what is right after each symbol, in tallycell's notation",
        ),
    ],
    *,
    output: Annotated[
        Path, Option("--output", "-o", metavar="FILE", help="write the network to this .safetensors file")
    ],
    training: Training,
    as_json: AsJSON = False,
) -> None:
    """Train LSTMs on short strings of a language until one, its gates set to 0 or 1, is right on all.

    If the command is stopped, call it again and it goes on where it was. If no network is right, the best one is
    written and the exit status is 1. With --hardened the horizon is printed too: the length of strings up to which the
    hardened network provably decides as the counter machine read from it.
    """
    from tallycell.learning.languages import language as language_of

    for file in (output, training.hardened):
        if file is not None:
            require_network_place(file)
    if training.hardened is not None and training.hardened.resolve() == output.resolve():
        raise InputError(f"{output} cannot be both the network and the hardened one; give --hardened another name")
    of = language_of(language)
    _require_torch()
    from tallycell.learning import training as recipe
    from tallycell.learning.checkpoint import delete_checkpoint
    from tallycell.loaders import save

    checkpoint = output.with_name(f"{output.name}.training")
    hidden, settings = _usual(of.name)
    if training.steps is not None:
        settings = replace(settings, steps=training.steps)
    with progress() as advance:

        def show(now: recipe.Progress) -> None:
            advance(f"training, loss {now.loss:.4f}, {now.runs} networks before", (now.step, now.steps))

        trained = recipe.train(
            of, hidden=training.hidden or hidden, seed=training.seed, settings=settings,
            budget=training.networks or recipe.BUDGET, on_progress=show, checkpoint=checkpoint,
        )  # fmt: skip
        save(trained.network, output)
        if training.hardened is not None and trained.hardened is not None:
            save(trained.hardened.net, training.hardened)
        delete_checkpoint(checkpoint)  # not before: where nothing can be saved, training goes on from it
        advance("proving", None)
        horizon = None if training.hardened is None else _horizon(of, trained)
    found = _report(of.name, trained)
    if as_json:
        print_json(found | _networks(output, training.hardened, trained, horizon))
    else:
        sys.stdout.write(fold(f"{output} holds {_said(trained, found)}") + "\n")
        if training.hardened is not None:
            exactly = f"holds the hardened network (its gates are exactly 0 or 1)\n{horizon}"
            sys.stdout.write(fold(f"{training.hardened} {NOT_HARDENED if horizon is None else exactly}") + "\n")
    if not trained.exact_in_training and trained.hardened is None:
        raise Exit(1)


@learning_app.command("languages", short_help="List the languages that can be learned.")
def languages_(*, as_json: AsJSON = False) -> None:
    """List the languages that tallycell train can learn: name, symbols, what a network says, and what it is.

    A language of your own is a file in the notation of machines: tallycell train my.machine.
    """
    from tallycell.learning.languages import language, languages

    found = [language(name) for name in languages()]
    if as_json:
        fields = ("name", "title", "alphabet", "outputs", "decision")
        listed = [{field: getattr(one, field) for field in fields} for one in found]
        print_json({"languages": listed})
        return
    rows = [("name", "symbols", "says", "what it is")]
    for one in found:
        says = "what may follow" if one.legal else " ".join(map(shown, one.outputs))
        rows.append((one.name, "".join(map(shown, one.alphabet)), says, one.title))
    sys.stdout.write(columns(rows) + "\n")


@learning_app.command(short_help="Measure how well LSTMs learn to count.")
@with_groups
def scoreboard(
    rows: Annotated[
        list[str] | None,
        Argument(metavar="ROW...", help="name the rows to run, such as 1 or 5b; all but the slower ones if not given"),
    ] = None,
    *,
    results: Annotated[
        Path,
        Option(
            "--results",
            metavar="FILE",
            help="keep the results in this file, one a line; what is in it is not run again",
        ),
    ] = Path("docs/scoreboard.jsonl"),
    page: Annotated[Path, Option("--page", metavar="FILE", help="write the page to this Markdown file")] = Path(
        "docs/scoreboard.md"
    ),
    running: Running,
) -> None:
    """Train the rows of the scoreboard (a language and a size each) with several seeds, and write a page of results.

    Each network is judged as it was trained, snapped (its gates set to 0 or 1), and hardened (compiled anew from the
    counter machine read from it). If the command is stopped, call it again and it goes on; only the seeds that were
    being trained begin anew.
    """
    from tallycell.learning import rows as table

    wanted = table.rows(tuple(rows or ()), slow=running.slow)
    if not running.only_page:
        _require_torch()
    from tallycell.learning.scoreboard import make_page, require_page, run_rows

    left = 0
    if not running.only_page:
        require_page(results, page, plot=running.plot)
        with progress() as advance:
            advance("training", None)
            left = run_rows(
                wanted, results, seeds=running.seeds, processes=running.processes, far=running.far,
                seconds=None if running.minutes is None else 60 * running.minutes,
                progress=lambda row, done, total: advance(f"training, last of row {row}", (done, total)),
            )  # fmt: skip
    make_page(results, page, plot=running.plot)
    still = f"; {left} seeds are still to be run: call the command again" if left else ""
    echo(f"{page} shows the results of {results}{still}")


def _require_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise MissingExtraError("torch", "torch")
    import torch

    torch.set_num_threads(1)  # small networks: more threads are slower, and the seed would not determine the result


def _usual(name: str) -> "tuple[int, Settings]":
    """Units and settings that the scoreboard has for a language, of its row of the most units."""
    from tallycell.learning.rows import ROWS
    from tallycell.learning.settings import SETTINGS

    row = max((row for row in ROWS if row.language_name == name), key=lambda row: row.hidden, default=None)
    return (8, SETTINGS) if row is None else (row.hidden, row.recipe)


def _horizon(of: "Language", trained: "Trained") -> "Horizon | None":
    """Prove how far the hardened network is its machine; None if there is none."""
    from tallycell.machine.proving.horizon import counting_horizon

    if trained.hardened is None:
        return None
    return counting_horizon(trained.hardened.extraction.machine, trained.hardened.net, inputs=of.allowed)


def _report(language: str, trained: "Trained") -> dict[str, Any]:
    return {
        "language": language,
        "networks": trained.runs,
        "seconds": round(trained.seconds, 1),
        "loss": trained.loss,
        "snapped_wrong": float(trained.snapped_errors[trained.chosen]),
    }


def _networks(
    output: Path, hardened: Path | None, trained: "Trained", horizon: "Horizon | None"
) -> dict[str, Any]:  # fmt: skip
    """Give the networks that were written, as other commands do, and how far the hardened one is proved."""
    from tallycell.cli.network_view import horizon_as_object, network_as_object

    exact = None
    if hardened is not None and trained.hardened is not None:
        exact = network_as_object(hardened, trained.hardened.net)
    return {
        "network": network_as_object(output, trained.network),
        "hardened": exact,
        "horizon": None if horizon is None else horizon_as_object(horizon),
    }


def _said(trained: "Trained", found: dict[str, Any]) -> str:
    wrong = found["snapped_wrong"]
    how = "right on all" if wrong == 0 else f"wrong on {wrong:.2%}"
    language, networks = found["language"], found["networks"]
    size = count(trained.network.parameters.hidden_size, "unit")
    return (
        f"an LSTM of {size} for {language}, the best of {networks} trained in {found['seconds']} s; its loss is "
        f"{found['loss']:.4f} nats a symbol; snapped (its gates set to 0 or 1), it is {how} of the training strings"
    )
