"""What a network of the same shape that learned nothing gives on the same input.

An LSTM that nobody trained counts too: with a forget bias of 3, white noise makes slow stores of nearly all of its
cells. So a reading is compared with the same LSTM, each gate's weights shuffled within their matrix: sizes, biases and
the values of the weights stay, what they were learned to do together is gone.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from tallycell.input import Input
from tallycell.names import GATES, TIME
from tallycell.parameters import LSTMParameters
from tallycell.reading.following import Follows
from tallycell.reading.known import Known
from tallycell.reading.roles import ROLES
from tallycell.reading.saturation import read_saturation, saturated_share
from tallycell.trace import Record, record_trace
from tallycell.trace.inputs import read_model

DRAWS = 3  # shuffled networks
MOST_UNITS = 32  # of each layer and direction read in a draw, evenly spread
MOST_STEPS = 10_000  # of one sequence that they read: roles and R² are compared by what many units have
AS_COMMON = 0.8  # of the share without learning: a role that is hardly more common than that is no sign of it


@dataclass(frozen=True)
class NothingLearned:
    """What shuffled networks give, as means over the draws.

    Attributes
    ----------
    saturated
        Share of gate values that are saturated.
    roles
        Share of the units that have each role.
    median_r2
        Median R² of the tallies that are quoted; NaN where none could be tested.
    follows
        By known quantity, the largest correlation, without its sign, of a unit that follows it.
    draws, units
        How many networks, and how many units were read in each.
    """

    saturated: float
    roles: Mapping[str, float]
    median_r2: float
    follows: Mapping[str, float]
    draws: int
    units: int

    def no_sign_of_learning(self, shares: Mapping[str, float]) -> tuple[str, ...]:
        """Roles that are as common without learning as here, by their shares here: they are no sign of it.

        Examples
        --------
        >>> nothing = NothingLearned(0.3, {"counter": 0.5, "flag": 0.0}, 0.9, {}, 3, 64)
        >>> nothing.no_sign_of_learning({"counter": 0.5, "flag": 0.1})
        ('counter',)
        """
        purposeful = [role for role in ROLES if role not in ("mixed", "constant", "unknown")]
        return tuple(role for role in purposeful if 0 < shares.get(role, 0) * AS_COMMON <= self.roles.get(role, 0))


def shuffled(parameters: LSTMParameters, seed: int) -> LSTMParameters:
    """Shuffle each gate's weights within their matrix; biases, peepholes and projections stay.

    Examples
    --------
    >>> weights = {"weight_ih_l0": np.arange(24.0).reshape(8, 3), "weight_hh_l0": np.zeros((8, 2))}
    >>> mixed = shuffled(LSTMParameters(weights), 0).weights["weight_ih_l0"]
    >>> [sorted(gate.ravel().tolist()) == gate_before.ravel().tolist()
    ...  for gate, gate_before in zip(np.split(mixed, 4), np.split(weights["weight_ih_l0"], 4))]
    [True, True, True, True]
    """
    draw = np.random.default_rng(seed)
    weights = {
        name: np.concatenate([draw.permuted(gate.ravel()).reshape(gate.shape) for gate in np.split(matrix, 4)])
        if name.startswith(("weight_ih", "weight_hh"))
        else matrix
        for name, matrix in parameters.weights.items()
    }
    return LSTMParameters(
        weights, parameters.activations, parameters.forget_gate, parameters.clip_pre, parameters.clip_cell
    )  # fmt: skip


def cut_short(given: Any, known: Known) -> tuple[Any, Known]:
    """Cut an input of one long sequence, and what is known of it, to the steps that shuffled networks read."""
    if len(known.lengths) != 1 or int(known.lengths[0]) <= MOST_STEPS:
        return given, known
    first = slice(0, MOST_STEPS)
    quantities = {name: values[:, first] for name, values in known.quantities.items()}
    known = replace(known, tokens=known.tokens and [known.tokens[0][first]], quantities=quantities)
    x = given.x if isinstance(given, Input) else given  # the x of a trace
    x = x.isel({TIME: first}) if isinstance(x, xr.DataArray) else x[first]
    if not isinstance(given, Input):
        return x, known
    lengths = None if given.lengths is None else np.minimum(given.lengths, MOST_STEPS)
    return replace(given, x=x, lengths=lengths), known


def read_nothing_learned(
    model: object,
    given: Any,
    read_roles: Callable[[xr.Dataset], list[tuple[str, float, Follows | None]]],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NothingLearned:
    """Read three shuffled networks on what a model read.

    Parameters
    ----------
    model, given
        As :func:`~tallycell.trace.record_trace` takes them.
    read_roles
        Role and R² of each unit of a trace, and what it follows.
    seed
        Of the shuffling.
    progress
        Called with the draws done and all draws.
    """
    parameters = read_model(model, getattr(given, "lstm", None)).parameters
    chosen = np.unique(np.linspace(0, parameters.hidden_size - 1, MOST_UNITS).round().astype(int)).tolist()
    saturated: list[float] = []
    found: list[tuple[str, float, Follows | None]] = []
    for k in range(DRAWS):
        trace = record_trace(shuffled(parameters, seed + k), given, record=Record((*GATES, "c"), units=chosen))
        saturated.append(float(saturated_share(read_saturation(trace)).mean()))
        found += read_roles(trace)
        if progress is not None:
            progress(k + 1, DRAWS)
    counts = Counter(role for role, _, _ in found)
    r2 = [value for _, value, _ in found if np.isfinite(value)]
    along: dict[str, float] = {}
    for *_, follows in found:
        if follows is not None:
            along[follows.quantity] = max(along.get(follows.quantity, 0.0), abs(follows.correlation))
    return NothingLearned(
        float(np.mean(saturated)), {role: counts[role] / len(found) for role in ROLES},
        float(np.median(r2)) if r2 else float("nan"), along, DRAWS, len(found) // DRAWS,
    )  # fmt: skip
