"""Counter machines in files: a program in the notation, or JSON."""

from pathlib import Path

from tallycell.errors import FormatError
from tallycell.files import read_text, require_file
from tallycell.machine.counter_machine import CounterMachine
from tallycell.machine.notation.interchange import from_json
from tallycell.machine.notation.remarks import remarks_on
from tallycell.machine.notation.text import parse

LARGEST = 100_000_000  # bytes; more is no program
_EXPECTED = "a counter machine in the notation or in JSON. From a model, tallycell extract makes one"


def read_machine(path: Path) -> tuple[CounterMachine, tuple[str, ...]]:
    r"""Read the machine of a file, JSON if its name ends in ``.json``; and what is odd about its program.

    Raises
    ------
    InputError
        If there is no such file.
    FormatError
        If it holds no machine.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "more_a.machine"
    ...     _ = path.write_text("alphabet a b\ncounter n\non a  n +1\non b  n -1\naccept when n > 0")
    ...     machine, remarks = read_machine(path)
    >>> machine.accepts("aab"), remarks
    (True, ())
    """
    if require_file(path, what="a counter machine").st_size > LARGEST:
        raise FormatError(f"{path} is larger than {LARGEST:,} bytes; expected the text of a counter machine")
    text = read_text(path, FormatError, _EXPECTED)
    try:
        if path.suffix == ".json":
            return from_json(text), ()
        machine = parse(text)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    return machine, remarks_on(text, machine)
