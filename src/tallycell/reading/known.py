"""What is known of the steps of a trace: symbols, amounts, known quantities, times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from tallycell.input import Input
from tallycell.names import SEQUENCE
from tallycell.reading.alignment import align_quantities, units_of
from tallycell.reading.cells import order_of_reading
from tallycell.reading.clock import Clock, clock_of
from tallycell.reading.triggers import Amounts, feature_amounts, quantity_amounts, read_tokens
from tallycell.trace.schema import whole


@dataclass(frozen=True, eq=False)
class Known:
    """A trace and what is known of what was read.

    Attributes
    ----------
    trace
        With all its dimensions; without x where nobody knows what a feature means.
    tokens
        One list a sequence; None where no symbols are read.
    quantities
        Known quantities (sequence, time), by name; NaN where nothing is known.
    units
        What they are measured in.
    step_seconds
        How long a step is, where the input says so.
    """

    trace: xr.Dataset
    tokens: list[list[str]] | None
    quantities: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    step_seconds: float | None

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence."""
        lengths: np.ndarray = self.trace["length"].to_numpy()
        return lengths

    def order(self, direction: str) -> tuple[np.ndarray, np.ndarray]:
        """Sequence and position of each step, as a direction reads."""
        return order_of_reading(self.trace, direction)

    def quantities_at(self, direction: str, names: Sequence[str]) -> np.ndarray:
        """Known quantities (step, quantity), as a direction reads; NaN where there is none of that name."""
        sequence, position = self.order(direction)
        nothing = np.full(len(sequence), np.nan)
        columns = [self.quantities[name][sequence, position] if name in self.quantities else nothing for name in names]
        return np.stack(columns, axis=1) if columns else np.zeros((len(sequence), 0))

    def amounts(self, direction: str, names: Sequence[str]) -> Amounts | None:
        """Quantities of some names as amounts."""
        values = self.quantities_at(direction, names)
        return quantity_amounts({name: values[:, k] for k, name in enumerate(names)}, self.units)

    def features(self, direction: str, *, as_read: bool = False) -> Amounts | None:
        """Input features as amounts; None where the trace holds none."""
        return feature_amounts(self.trace, *self.order(direction), as_read=as_read)

    def clock(self, direction: str) -> Clock:
        """When the steps happen."""
        clock = clock_of(self.trace, *self.order(direction))
        if clock.step_seconds is None and self.step_seconds is not None:
            clock = replace(clock, step_seconds=self.step_seconds)
        return clock


def read_known(trace: xr.Dataset, tokens: Any, quantities: Any, vocabulary: Sequence[str] | None) -> Known:
    """Bring together what is known, as :func:`~tallycell.reading.units.read_units` takes it."""
    step_seconds: float | None = None
    if isinstance(tokens, Input):
        step_seconds = tokens.step_seconds
        quantities = tokens.quantities if quantities is None else quantities
        if not tokens.legible:  # what a feature of it means nobody knows
            trace = trace.drop_vars("x", errors="ignore")
        tokens = tokens.tokens
    trace = whole(trace)
    if "length" in trace and not trace["length"].all():  # of a survey that could not read them
        trace = trace.isel({SEQUENCE: trace["length"].to_numpy() > 0})
    lengths = trace["length"].to_numpy() if "length" in trace else np.zeros(0, int)
    by_sequence = None if tokens is None else read_tokens(tokens, lengths, vocabulary)
    return Known(trace, by_sequence, align_quantities(quantities, trace), units_of(quantities), step_seconds)
