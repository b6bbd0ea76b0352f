"""Options that commands share, in groups: a command takes a group as one argument, and the user sees its flags."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from tallycell.loaders import LoadedModel, load

AsJSON = Annotated[bool, Option("--json", help="print the result as JSON")]


@dataclass(frozen=True)
class Opening:
    """How a model file may be opened, and what it does not say itself."""

    trust_pickle: Annotated[
        bool,
        Option(
            "--trust-pickle",
            help="open a pickle that holds more than weights; whoever wrote it can then run code on this machine",
        ),
    ] = False
    trust_code: Annotated[
        bool,
        Option(
            "--trust-code",
            help="let torch open TorchScript and exported programs, which can then run code on this machine",
        ),
    ] = False
    forget_bias: Annotated[
        float | None,
        Option(
            "--forget-bias",
            metavar="NUMBER",
            help="TensorFlow only: the forget bias that the program adds (the file does not store it), 0 or 1",
        ),
    ] = None

    def load(self, path: Path) -> LoadedModel:
        """Open a model file this way."""
        return load(
            path, trust_pickle=self.trust_pickle, trust_code=self.trust_code, forget_bias=self.forget_bias
        )  # fmt: skip


@dataclass(frozen=True)
class Feeding:
    """Which LSTM of a model reads, and how sound is cut for it."""

    lstm: Annotated[
        str | None,
        Option("--lstm", metavar="PATH", help="read the LSTM at this path of the model; inspect lists the paths"),
    ] = None
    rate: Annotated[
        int | None, Option("--rate", metavar="N", min=1, help="how many samples a second the model was made for")
    ] = None
    chunk: Annotated[
        int | None, Option("--chunk", metavar="N", min=1, help="how many new samples to give in each call of the model")
    ] = None
    context: Annotated[
        int | None,
        Option(
            "--context",
            metavar="N",
            min=0,
            help="how many samples of the previous chunk to repeat at the start of each call",
        ),
    ] = None


@dataclass(frozen=True)
class Source:
    """What there is to read, and what is known of it."""

    text: Annotated[
        Path | None, Option("--text", metavar="FILE", help="read this text (UTF-8) with a model that has an embedding")
    ] = None
    array: Annotated[
        list[Path] | None,
        Option(
            "--array",
            metavar="FILE",
            help="read this table or array (csv, parquet, npy, npz, NetCDF, Zarr); repeat it for each further sequence",
        ),
    ] = None
    audio: Annotated[
        Path | None, Option("--audio", metavar="FILE", help="read this sound (WAV) through the model's own front end")
    ] = None
    time: Annotated[
        str | None,
        Option(
            "--time", metavar="COLUMN", help="take the time from this column; if not given, from the first with dates"
        ),
    ] = None
    quantities: Annotated[
        Path | None,
        Option("--quantities", metavar="FILE", help="compare the cells with each column of this table, step by step"),
    ] = None
    vocab: Annotated[
        Path | None,
        Option(
            "--vocab",
            metavar="FILE",
            help="take the symbols of the embedding from this file: one a line, a list or mapping in JSON, or a "
            "tokenizer.json",
        ),
    ] = None
    scale: Annotated[
        Path | None,
        Option(
            "--scale",
            metavar="FILE",
            help="scale the array by the mean and std of each column in this JSON or YAML file",
        ),
    ] = None
    state: Annotated[
        Path | None, Option("--state", metavar="FILE", help="start from the states h_0 and c_0 in this npz file")
    ] = None


@dataclass(frozen=True)
class Showing:
    """How a reading is given out."""

    as_json: AsJSON = False
    as_csv: Annotated[bool, Option("--csv", help="print one row for each unit as CSV")] = False
    unit: Annotated[
        str | None, Option("--unit", metavar="L.U", help="show one unit in depth: layer and unit, such as 0.27")
    ] = None
    rows: Annotated[
        int,
        Option(
            "--rows", metavar="N", min=0, help="with --unit: how many features and quantities to lay under the cell"
        ),
    ] = 3
    top: Annotated[int, Option("--top", metavar="N", min=1, help="how many units to show")] = 10
    plot: Annotated[
        Path | None,
        Option(
            "--plot",
            metavar="FILE",
            help="draw the units that matter most (with --no-effects, how binary the gates are; with --unit, its life) "
            "into this file: .png, .svg or .pdf (extra plot)",
        ),
    ] = None
    html: Annotated[
        Path | None,
        Option("--html", metavar="FILE", help="write a page of all units into this file, which works offline"),
    ] = None


@dataclass(frozen=True)
class Mattering:
    """Whether it is measured what the outputs lose without each unit, and by what they are judged."""

    target: Annotated[
        str | None,
        Option(
            "--target",
            metavar="NAME",
            help="judge the output against this one of the --quantities; if not given, a language model by the next "
            "symbol, others by how far their outputs move",
        ),
    ] = None
    no_effects: Annotated[
        bool, Option("--no-effects", help="leave out what the outputs lose without each unit, which takes seconds")
    ] = False


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: typer is shown the fields of each in place of the group."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    annotations = {one.name: one.annotation for one in parameters}
    groups = {name: group for name, group in annotations.items() if isinstance(group, type) and is_dataclass(group)}
    shown = [one for one in parameters if one.name not in groups]
    for group in groups.values():
        for field in fields(group):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            shown.append(
                inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
            )

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    del run.__wrapped__  # typer would look through to the groups
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    return run
