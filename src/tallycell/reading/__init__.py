"""What the units of a traced LSTM do: saturation, events, tallies, roles, triggers, sentences."""

from tallycell.reading.events import read_events
from tallycell.reading.reading import Reading, UnitReading
from tallycell.reading.saturation import read_saturation, saturated_share
from tallycell.reading.units import read_units

__all__ = [
    "Reading",
    "UnitReading",
    "read_events",
    "read_saturation",
    "read_units",
    "saturated_share",
]
