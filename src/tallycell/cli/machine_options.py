"""What the commands on counter machines are told: a machine, a model, which inputs it is meant to read, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tallycell.cli.machine_files import Asked, open_machine, open_recogniser, read_sample
from tallycell.cli.options import Opening
from tallycell.errors import InputError
from tallycell.recogniser import Recogniser

if TYPE_CHECKING:
    from tallycell.machine.extracting.allowed import Inputs

MACHINE_HELP = "name a shipped machine, or a file: a program in tallycell's notation, or JSON (.json)"
Machine = Annotated[str, Argument(metavar="MACHINE", help=MACHINE_HELP)]
MODEL_HELP = (
    "name a recogniser (an LSTM with its alphabet and the rule by which it decides), as tallycell compile, harden and "
    "train write it or as JSON; or any model file, with --alphabet, --outputs and --decision"
)
Model = Annotated[Path, Argument(metavar="MODEL", help=MODEL_HELP)]
ModelOutput = Annotated[
    Path, Option("--output", "-o", metavar="FILE", help="write the network to this .safetensors file")
]
Prove = Annotated[
    bool,
    Option(
        "--prove/--no-prove",
        help="prove the horizon: the length of strings up to which the network decides as the machine; this takes "
        "seconds, with several counters minutes",
    ),
]
Separator = Annotated[
    str | None,
    Option(
        "--separator", metavar="TEXT",
        help="split strings into symbols at this text; if not given, at blanks where a symbol has several characters",
    ),
]  # fmt: skip

OptionalOutput = Annotated[
    Path | None, Option("--output", "-o", metavar="FILE", help="write to this file instead of printing")
]

AsWell = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        help="write it to this file as well: as text, or as JSON if the name ends in .json",
    ),
]

Anyway = Annotated[
    bool,
    Option("--anyway", help="write the machine, or the network made of it, even if it is not what the network does"),
]


@dataclass(frozen=True)
class Meant:
    """Which inputs a network is meant to read."""

    inputs: Annotated[
        Path | None,
        Option(
            "--inputs",
            metavar="FILE",
            help="read only what it does on the strings of this file, one a line; - takes them from standard input",
        ),
    ] = None
    allowed: Annotated[
        str | None,
        Option(
            "--allowed",
            metavar="MACHINE",
            help="read only what it does on strings on which this machine (one without counters) does not fail",
        ),
    ] = None
    separator: Separator = None

    def read(self, net: Recogniser) -> "Inputs":
        """Give them as :func:`~tallycell.machine.extracting.extraction.extract_machine` takes them."""
        if self.inputs is not None and self.allowed is not None:
            raise InputError("got both --inputs and --allowed; give one of them")
        if self.inputs is not None:
            return read_sample(self.inputs, net, self.separator)
        return None if self.allowed is None else open_machine(self.allowed)


@dataclass(frozen=True)
class Hardening:
    """What is done with a network that is hardened."""

    prove: Prove = True
    anyway: Anyway = False


@dataclass(frozen=True)
class Network:
    """What a model file does not say itself: its symbols, its outputs, and how it decides."""

    alphabet: Annotated[
        str | None,
        Option(
            "--alphabet",
            metavar="SYMBOLS",
            help="name the symbols that the model reads, in the order of their numbers, with blanks between them where "
            "they are longer than a character; if not given, the vocabulary in the file",
        ),
    ] = None
    outputs: Annotated[
        str | None,
        Option("--outputs", metavar="NAMES", help="name what the model says, in order, with blanks between the names"),
    ] = None
    decision: Annotated[
        str | None,
        Option(
            "--decision",
            metavar="RULE",
            help="say how it decides: argmax, threshold, 'sigmoid above P', 'softmax above P' or classes",
        ),
    ] = None
    lstm: Annotated[
        str | None,
        Option("--lstm", metavar="PATH", help="take the LSTM at this path of the model; inspect lists the paths"),
    ] = None

    def open(
        self, path: Path, opening: Opening, strings: Path | None = None, separator: str | None = None
    ) -> Recogniser:
        """Open a model file as a recogniser; ``strings`` are what it is meant to read."""
        asked = Asked(self.alphabet, self.outputs, self.decision, self.lstm)
        return open_recogniser(path, opening, asked, strings=strings, separator=separator)


@dataclass(frozen=True)
class Checking:
    """What a network and a machine are compared on."""

    length: Annotated[
        int,
        Option(
            "--length",
            metavar="N",
            min=1,
            help="compare all strings of up to N symbols; of fewer where there are more than two million",
        ),
    ] = 10
    samples: Annotated[
        int, Option("--samples", metavar="N", min=1, help="draw N strings from each of two distributions")
    ] = 1000
    longest: Annotated[
        int, Option("--longest", metavar="N", min=1, help="search for a difference in strings of up to N symbols")
    ] = 1_000_000
    strings: Annotated[
        Path | None,
        Option(
            "--strings",
            metavar="FILE",
            help="compare on the strings of this file too, one a line; - takes them from standard input",
        ),
    ] = None
    language: Annotated[
        str | None,
        Option(
            "--language",
            metavar="PATTERN",
            help="search the first n at which the network fails on a language written like 'a^n b^2n', and that at "
            "which it differs from the machine",
        ),
    ] = None
