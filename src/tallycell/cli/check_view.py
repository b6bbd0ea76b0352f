"""What is known of a machine beside a network, for another program."""

from dataclasses import asdict
from typing import Any

from tallycell.cli.network_view import horizon_as_object
from tallycell.machine.checking.check import Check


def as_object(check: Check) -> dict[str, Any]:
    """Give all that is known, and the two figures of it that matter most first."""
    return {
        "agree": check.agree,
        "first_difference": check.first_difference,
        **asdict(check),
        "horizon": horizon_as_object(check.horizon),
        "until_fail": None if check.until_fail is None else horizon_as_object(check.until_fail),
    }
