"""What is known of a machine beside a network, as JSON."""

from dataclasses import asdict

from tallycell.cli.network_view import horizon_as_object
from tallycell.cli.terminal import json_text
from tallycell.machine.checking.check import Check

JSON_SCHEMA_VERSION = "1"


def to_json(check: Check) -> str:
    """Write a check for another program; ``schema_version`` says how."""
    value = {
        "schema_version": JSON_SCHEMA_VERSION,
        "agree": check.agree,
        "first_difference": check.first_difference,
        **asdict(check),
        "horizon": horizon_as_object(check.horizon),
        "until_fail": None if check.until_fail is None else horizon_as_object(check.until_fail),
    }
    return json_text(value, indent=1)
