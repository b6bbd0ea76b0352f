"""What was extracted from a network: a program that can be run as it is printed, and as JSON."""

import json
from dataclasses import asdict
from typing import Any

from tallycell.cli.terminal import fold, json_text
from tallycell.machine.extracting.extraction import Extraction
from tallycell.machine.notation.interchange import to_json as machine_to_json
from tallycell.machine.notation.text import format_machine

JSON_SCHEMA_VERSION = "1"


def to_text(extraction: Extraction) -> str:
    """Write the program, and below it, as comments of the notation, all that is known of it.

    What is printed is itself a program, so that its evidence goes where the program goes.
    """
    program = format_machine(extraction.machine).rstrip()
    comments = "\n".join(f"# {line}".rstrip() for line in fold(extraction.report).splitlines())
    return f"{program}\n\n{comments}\n"


def as_object(extraction: Extraction) -> dict[str, Any]:
    """Give the machine, as JSON and as a program, and all that is known of it."""
    return {
        "exact": extraction.exact,
        "text": extraction.text,
        "program": format_machine(extraction.machine),
        "machine": json.loads(machine_to_json(extraction.machine)),
        "fidelity": asdict(extraction.fidelity),
        "breaks": [asdict(one) for one in extraction.breaks],
        "evidence": [asdict(one) for one in extraction.evidence],
    }


def to_json(extraction: Extraction) -> str:
    """Write the extraction for another program; ``schema_version`` says how."""
    return json_text({"schema_version": JSON_SCHEMA_VERSION, **as_object(extraction)})
