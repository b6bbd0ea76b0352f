"""What was extracted from a network: a program that can be run as it is printed, and as JSON."""

import json
from dataclasses import asdict
from typing import Any

from tallycell.cli.terminal import fold
from tallycell.machine.extracting.extraction import Extraction
from tallycell.machine.extracting.saying import program_lines
from tallycell.machine.notation.interchange import to_json as machine_to_json
from tallycell.machine.notation.text import format_machine

NOT_WRITTEN = "nothing is written, as the hardened network would not do what the network does; --anyway writes it"
MOST_LINES = 60  # of the program of a machine that does not fit


def to_text(extraction: Extraction, *, anyway: bool = False, whole: bool = False) -> str:
    """Write the answer, the program, and all that is known of it: all but the program as comments of the notation.

    What is printed is itself a program, so that its evidence goes where the program goes.

    Parameters
    ----------
    extraction
        What was extracted.
    anyway
        Whether the program of a machine that is not the network's is written too; else its place says that it is not.
    whole
        Whether such a program is written to its end.
    """
    return "\n".join(
        [_comments("\n".join(extraction.answer)), "", *_program(extraction, anyway, whole), "",
         _comments(extraction.details), ""]
    )  # fmt: skip


def _program(extraction: Extraction, anyway: bool, whole: bool) -> list[str]:
    if extraction.exact or (anyway and whole):
        return format_machine(extraction.machine).rstrip().split("\n")
    if not anyway:
        return ["# The program of a machine that does not fit is left out; --anyway prints it."]
    lines = program_lines(extraction.machine, MOST_LINES, "-o FILE writes all")
    return [*lines[:-1], f"# {lines[-1].strip()}"] if lines[-1].startswith("  ...") else lines


def _comments(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in fold(text).splitlines())


def as_object(extraction: Extraction, *, anyway: bool = False) -> dict[str, Any]:
    """Give the machine, as JSON and as a program, and all that is known of it; null for one that is not written."""
    written = extraction.exact or anyway
    return {
        "exact": extraction.exact,
        "answer": list(extraction.answer),
        "text": extraction.text,
        "start": extraction.start,
        "program": format_machine(extraction.machine) if written else None,
        "machine": json.loads(machine_to_json(extraction.machine)) if written else None,
        "fidelity": asdict(extraction.fidelity),
        "breaks": [asdict(one) for one in extraction.breaks],
        "evidence": [asdict(one) for one in extraction.evidence],
    }


def refusal(extraction: Extraction) -> str:
    """Say in the five lines why a network is not hardened."""
    return fold("\n".join([*extraction.answer, NOT_WRITTEN]))


def refusal_as_object(extraction: Extraction) -> dict[str, Any]:
    """Give the same for another program: there is no network."""
    return {"extraction": as_object(extraction), "same_units": None, "network": None, "horizon": None}
