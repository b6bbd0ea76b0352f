"""The command line: parse, call, print. Exit status 0, or 2 with one line for bad input."""

import io
import sys

from tallycell.errors import TallycellError


def main() -> None:
    """Run the command line."""
    from tallycell.cli.commands import app

    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot say ▁ or ² gets a question mark, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except TallycellError as error:
        _refuse(str(error))
    except OSError as error:
        # Such as an output folder that is not there; the operating system's text names the file.
        _refuse(str(error))
    except MemoryError:
        _refuse("the input is too large for this machine's memory; read a part of it")


def _refuse(text: str) -> None:
    print("tallycell:", " ".join(text.split()), file=sys.stderr)  # noqa: T201
    sys.exit(2)
