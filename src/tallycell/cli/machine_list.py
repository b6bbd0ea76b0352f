"""The counter machines that are shipped, as a table and as JSON."""

from typing import Any

from tallycell.cli.terminal import columns
from tallycell.machine.shipped import shipped_machine, shipped_machines, shipped_program
from tallycell.wording import shown


def description_of(name: str) -> str:
    """Give the comment with which a shipped program begins.

    Examples
    --------
    >>> description_of("majority")
    'More a than b.'
    """
    return shipped_program(name).partition("\n")[0].removeprefix("#").strip()


def to_text() -> str:
    """Lay out one line a machine: its name, its size and what it does."""
    rows = [("name", "states", "counters", "symbols", "what it does")]
    for name in shipped_machines():
        machine = shipped_machine(name)
        symbols = "".join(map(shown, machine.alphabet))
        rows.append((name, str(len(machine.states)), str(len(machine.counters)), symbols, description_of(name)))
    return columns(rows)


def as_object() -> dict[str, Any]:
    """Give one object a machine."""
    found = []
    for name in shipped_machines():
        machine = shipped_machine(name)
        fields = {"alphabet": machine.alphabet, "states": machine.states, "counters": machine.counters,
                  "outputs": machine.outputs, "decision": machine.decision}  # fmt: skip
        found.append({"name": name, "description": description_of(name), **fields})
    return {"machines": found}
