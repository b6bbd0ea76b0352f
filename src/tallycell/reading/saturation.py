"""How binary the gates of a trace are: shares at their limits, and histograms."""

import math
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tallycell.activations import SATURATION_SHARE, Activation
from tallycell.errors import TraceError
from tallycell.names import DIRECTION, GATES, LAYER, SEQUENCE, STEP, TIME, UNIT
from tallycell.trace.schema import activations_of, whole

if TYPE_CHECKING:
    from tallycell.reading.levels import Levels
    from tallycell.reading.sums import UnitSums

BINS = 20
HIDDEN_OF_C = "hidden(c)"  # what the output gate shows or hides: tanh(c), mostly


def read_saturation(trace: xr.Dataset, share: float = SATURATION_SHARE) -> xr.Dataset:
    """Share of gate values at their limits, by layer, direction and unit.

    Parameters
    ----------
    trace
        With at least one of the gates i, f, g, o; with c, what the output gate shows or hides is read as they are.
    share
        Of the range: how near to its finite limit a saturated value lies. For sigmoid and tanh the default means below
        0.1 and above 0.9, and beyond -0.9 and 0.9.

    Returns
    -------
    xarray.Dataset
        ``left`` and ``right``: share of steps saturated on that side (gate, layer, direction, unit), of the gates and,
        where the trace holds c, of ``hidden(c)``, which is tanh(c) where that is the activation; ``histogram``:
        number of steps in each of 20 bins (gate, layer, direction, unit, bin); ``edges``: (gate, direction, edge) of
        the bins, over the gate's range, or over its values where that is infinite. Padding is not counted.

    Raises
    ------
    TraceError
        If the trace has no gate.
    ActivationError
        If an activation does not state its limits.

    Examples
    --------
    >>> import tallycell as tc
    >>> weights = {"weight_ih_l0": np.full((4, 1), 9.0), "weight_hh_l0": np.zeros((4, 1))}
    >>> trace = tc.record_trace(tc.LSTMParameters(weights), np.array([[1.0], [-1.0], [0.0]]))
    >>> read_saturation(trace)["right"].sel(gate="f").item()
    0.3333333333333333
    """
    trace = whole(trace)
    gates = [gate for gate in GATES if gate in trace]
    if not gates:
        raise TraceError("the trace holds no gate; record at least one of i, f, g and o to read saturation")
    rows = [*gates, *([HIDDEN_OF_C] if "c" in trace else [])]
    read = xr.concat([_read_row(trace, row, share) for row in rows], dim=xr.Variable("gate", rows))
    names = {activations_of(trace, d).hidden.name for d in range(trace.sizes[DIRECTION])}
    return read.assign_attrs(hidden=f"{names.pop()}(c)" if len(names) == 1 else HIDDEN_OF_C)


def saturated_share(saturation: xr.Dataset) -> xr.DataArray:
    """Share of values saturated on either side, by gate, over all layers, directions and units."""
    gates = [gate for gate in saturation["gate"].to_numpy().tolist() if gate != HIDDEN_OF_C]
    both: xr.DataArray = (saturation["left"] + saturation["right"]).sel(gate=gates)
    return both.mean([name for name in both.dims if name != "gate"])


def saturation_of(levels: "Levels", sums: "UnitSums") -> xr.Dataset:
    """Give from sums what :func:`read_saturation` gives."""
    layers, directions = (list(dict.fromkeys(values.tolist())) for values in (levels.layer, levels.direction))
    units = list(dict.fromkeys(levels.unit.tolist()))
    sizes = (len(directions), len(layers), len(units))  # the order of the units in sums

    def by_unit(values: np.ndarray) -> np.ndarray:
        placed = values.reshape(*sizes, *values.shape[1:])
        return np.moveaxis(placed, [3, 1, 0, 2], [0, 1, 2, 3])

    dims = ("gate", LAYER, DIRECTION, UNIT)
    shares = by_unit(sums.near / max(int(sums.steps.sum()), 1))
    coords = {"gate": levels.gates.tolist(), LAYER: layers, DIRECTION: directions, UNIT: units}
    return xr.Dataset(
        {
            "left": (dims, shares[..., 0]), "right": (dims, shares[..., 1]),
            "histogram": ((*dims, "bin"), by_unit(sums.histogram)),
            "edges": (("gate", DIRECTION, "edge"), levels.edges),
        },
        coords, attrs={"hidden": levels.hidden.item()},
    )  # fmt: skip


def near_limits(activation: Activation, share: float = SATURATION_SHARE) -> tuple[float, float, float]:
    """Left limit, right limit, and how near to them is at them; NaN for a limit that is not finite."""
    limits = [
        math.nan if side is None or not math.isfinite(side) else side for side in (activation.left, activation.right)
    ]
    size = max(map(abs, activation.range))
    return limits[0], limits[1], share * (size if math.isfinite(size) else 1.0)


def edges_of(activation: Activation, values: np.ndarray) -> np.ndarray:
    """Edges of the bins of a histogram: over the range, or over the values where that is infinite."""
    low, high = activation.range
    if not np.isfinite([low, high]).all():
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return np.linspace(low, high, BINS + 1)


def _read_row(trace: xr.Dataset, row: str, share: float) -> xr.Dataset:
    by_direction = []
    for d in range(trace.sizes[DIRECTION]):
        slots = activations_of(trace, d)
        activation = slots.hidden if row == HIDDEN_OF_C else slots.of(row)
        source = trace["c" if row == HIDDEN_OF_C else row].isel({DIRECTION: d})
        if row == HIDDEN_OF_C:
            activation.require_limits()
            source = source.copy(data=activation(source.to_numpy()))
        values = source.drop_vars(STEP).stack({STEP: (SEQUENCE, TIME)}).transpose(..., STEP)
        steps = values.notnull().sum(STEP)
        sides = {
            side: xr.apply_ufunc(near, values, kwargs={"share": share}).sum(STEP) / steps  # NaN is near nothing
            for side, near in (("left", activation.saturated_left), ("right", activation.saturated_right))
        }
        edges = edges_of(activation, values.to_numpy())
        histogram = xr.apply_ufunc(
            _histogram, values, input_core_dims=[[STEP]], output_core_dims=[["bin"]], kwargs={"edges": edges}
        )
        by_direction.append(xr.Dataset({**sides, "histogram": histogram, "edges": ("edge", edges)}))
    return xr.concat(by_direction, dim=trace[DIRECTION])


def _histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count by bin along the last axis; NaN is in none. A value that rounding puts beyond an edge counts at it."""
    rows = values.reshape(-1, values.shape[-1])
    counts = np.empty((len(rows), BINS), dtype=np.int64)
    for k, row in enumerate(rows):  # row by row: the codes of a whole trace would be larger than the trace
        inside = np.clip(row[~np.isnan(row)], edges[0], edges[-1])
        code = np.minimum(np.searchsorted(edges, inside, side="right") - 1, BINS - 1)
        counts[k] = np.bincount(code, minlength=BINS)
    return counts.reshape(*values.shape[:-1], BINS)
