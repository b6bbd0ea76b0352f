"""What the caller of ``record_trace`` gives, brought to one form: a model, an input, states, lengths.

Everything that does not fit is refused here, by name, before anything runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tallycell.errors import InputError
from tallycell.loaders import LoadedModel
from tallycell.names import DIRECTION, FEATURE, LAYER, PROJECTION, SEQUENCE, STEP, TIME, UNIT
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.trace.schema import ALWAYS, RECORDED

_NAMED_DIMS = (TIME, SEQUENCE, FEATURE)
_TAKEN = {*RECORDED, *ALWAYS, LAYER, DIRECTION, UNIT, PROJECTION, STEP}  # names a trace has for itself


@dataclass(frozen=True, eq=False)
class TracedModel:
    """The LSTM behind what the caller calls a model.

    Attributes
    ----------
    parameters
        Its weights.
    h_0, c_0
        Its own initial states, (layer * direction, hidden) and (layer * direction, unit); None where they are zeros.
    batch_first
        Its own order of dimensions; a recogniser and bare parameters have torch's default.
    """

    parameters: LSTMParameters
    h_0: Float[np.ndarray, "layers hidden"] | None = None
    c_0: Float[np.ndarray, "layers unit"] | None = None
    batch_first: bool = False


@dataclass(frozen=True, eq=False)
class LabelledInput:
    """An input as the kernels want it, and the labels it came with.

    Attributes
    ----------
    x
        (time, sequence, feature), in the dtype of the weights; anything may stand beyond a sequence's length.
    lengths
        Steps of each sequence.
    batched
        Whether the caller gave a sequence dimension.
    labels
        Coordinates by name: of sequence, time and feature, and whatever else an xarray input carried.
    attrs
        Attributes of an xarray input, such as its units.
    """

    x: Float[np.ndarray, "time sequence feature"]
    lengths: Int[np.ndarray, " sequence"]
    batched: bool
    labels: dict[Any, xr.Variable | xr.DataArray]
    attrs: dict[Any, Any] = field(default_factory=dict)


def read_model(model: object, path: str | None = None) -> TracedModel:
    """Find the LSTM in a model.

    Parameters
    ----------
    model
        ``LSTMParameters``, a ``Recogniser``, a ``LoadedModel``, a ``torch.nn.LSTM`` or a ``tallycell.LSTM``.
    path
        Which LSTM of a ``LoadedModel``; None for its only one.

    Raises
    ------
    InputError
        If it is none of these, or a ``LoadedModel`` has several and none is chosen, or none there.
    ParameterError
        If the weights of the module do not make an LSTM of float32 or float64.
    """
    # A module can only have come from a library that is loaded already; nothing heavy is imported to find out.
    ours, torch = sys.modules.get("tallycell.lstm"), sys.modules.get("torch")
    if isinstance(model, LoadedModel):
        chosen = model.lstm if path is None else model[path]
        model = model.recogniser or chosen
    if isinstance(model, LSTMParameters):
        return TracedModel(model)
    if isinstance(model, Recogniser):
        return TracedModel(model.parameters, model.h_0, model.c_0)
    if ours is not None and isinstance(model, ours.LSTM):
        return TracedModel(model.to_parameters(), batch_first=model.batch_first)
    if torch is not None and isinstance(model, torch.nn.LSTM):
        weights = {name: as_array(weight, f"weight {name}") for name, weight in model.state_dict().items()}
        return TracedModel(LSTMParameters(weights), batch_first=model.batch_first)
    raise InputError(
        f"cannot record a {type(model).__name__}; expected LSTMParameters, a Recogniser, what tallycell.load gives, a "
        "torch.nn.LSTM or a tallycell.LSTM (of a larger module, give the LSTM inside)"
    )


def as_array(value: object, what: str) -> np.ndarray:
    """NumPy array of anything array-like, torch tensors included (detached, on the CPU).

    Raises
    ------
    InputError
        If it does not make an array of real numbers.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            raise InputError(f"{what} has dtype bfloat16, which NumPy does not have; give float32 (.float())")
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} of type {type(value).__name__} does not make an array ({error}); give sequences of different "
            "length padded, with lengths="
        ) from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} has dtype {array.dtype}; expected floats or integers")
    return array


def read_input(x: object, model: TracedModel, batch_first: bool, lengths: object = None) -> LabelledInput:
    """Bring an input to (time, sequence, feature), with lengths and labels.

    Parameters
    ----------
    x
        Array (time, feature) or (time, sequence, feature); (sequence, time, feature) with ``batch_first``. A
        ``DataArray`` goes by the names of its dimensions instead.
    model
        Where the input goes.
    batch_first
        See ``x``.
    lengths
        Steps of each sequence, 1 to time; all full if None.

    Raises
    ------
    InputError
        If the input does not fit, or has NaN or infinite values inside its lengths.
    """
    if isinstance(x, xr.DataArray):
        named = _by_name(x)
        values, batched = as_array(named.data, "x"), SEQUENCE in x.dims
        labels, attrs = dict(named.coords), dict(x.attrs)
    else:
        values, batched = _by_position(as_array(x, "x"), batch_first)
        labels, attrs = {}, {}
    order = "" if isinstance(x, xr.DataArray) else _order_hint(batch_first)
    time, sequences, features = values.shape
    if not values.size:
        raise InputError(
            f"x is empty: {time} steps, {sequences} sequences, {features} features; give at least one each"
        )
    expected = model.parameters.input_size
    if features != expected:
        raise InputError(f"x has {features} features, the LSTM reads {expected}{order}")
    steps = _read_lengths(lengths, time, sequences, order)
    values = _convert(values, model.parameters.dtype)
    _check_finite(values, steps)
    numbered = {dim: xr.Variable(dim, np.arange(size)) for dim, size in zip(_NAMED_DIMS, values.shape, strict=True)}
    labels = numbered | labels | {STEP: xr.Variable(TIME, np.arange(time))}
    return LabelledInput(values, steps, batched, labels, attrs)


def read_state(
    state: Sequence[object] | None, model: TracedModel, sequences: int, batched: bool
) -> tuple[Float[np.ndarray, "layers sequence hidden"], Float[np.ndarray, "layers sequence unit"]]:
    """Bring initial states to torch's shapes, whole: the caller's, or the model's own, or zeros.

    Raises
    ------
    InputError
        If a state has another shape than torch would take, or has NaN or infinite values.
    """
    p = model.parameters
    layers = p.num_layers * p.num_directions
    sizes = {"h_0": p.output_size, "c_0": p.hidden_size}
    if state is None:
        own = {"h_0": model.h_0, "c_0": model.c_0}
        given = {name: np.zeros((layers, size), p.dtype) if own[name] is None else own[name]
                 for name, size in sizes.items()}  # fmt: skip
        batched = False
    elif isinstance(state, tuple | list) and len(state) == 2:
        given = {name: as_array(value, name) for name, value in zip(sizes, state, strict=True)}
    else:
        raise InputError(f"state is a {type(state).__name__}; expected a pair (h_0, c_0), or None for zeros")
    whole = []
    for name, size in sizes.items():
        value = np.asarray(given[name])
        expected = (layers, sequences, size) if batched else (layers, size)
        if value.shape != expected:
            words = "(layer * direction, sequence, size)" if batched else "(layer * direction, size)"
            raise InputError(f"{name} has shape {value.shape}, expected {expected}, which is {words}")
        value = _convert(value, p.dtype)
        if not np.isfinite(value).all():
            raise InputError(f"{name} has values that are NaN or infinite; initial states must be finite")
        whole.append(value if batched else np.repeat(value[:, np.newaxis], sequences, axis=1))
    return whole[0], whole[1]


def _order_hint(batch_first: bool) -> str:
    read, other = ("sequence, time", "time, sequence") if batch_first else ("time, sequence", "sequence, time")
    return f"; x was read as ({read}, feature), with batch_first={not batch_first} it is ({other}, feature)"


def _by_position(x: np.ndarray, batch_first: bool) -> tuple[np.ndarray, bool]:
    if x.ndim == 2:
        return x[:, np.newaxis], False
    if x.ndim != 3:
        whole = "(sequence, time, feature)" if batch_first else "(time, sequence, feature)"
        raise InputError(f"x has shape {x.shape}; expected (time, feature) or {whole}")
    return (x.swapaxes(0, 1) if batch_first else x), True


def _by_name(x: xr.DataArray) -> xr.DataArray:
    if unknown := [str(dim) for dim in x.dims if dim not in _NAMED_DIMS]:
        raise InputError(
            f"x has the dimension {', '.join(unknown)}; expected time and feature, and sequence if there are several: "
            "rename it"
        )
    if missing := [dim for dim in (TIME, FEATURE) if dim not in x.dims]:
        raise InputError(
            f"x has dimensions ({', '.join(map(str, x.dims))}) and no {' and no '.join(missing)}: rename one"
        )
    if STEP in x.coords and x[STEP].dims == (TIME,) and x[STEP].dtype.kind in "iu":
        x = x.drop_vars(STEP)  # of a trace; the steps of this input are counted anew
    if taken := sorted(str(name) for name in x.coords if name in _TAKEN):
        raise InputError(
            f"x has a coordinate {', '.join(taken)}, a name that the trace has for itself; rename or drop it"
        )
    return (x if SEQUENCE in x.dims else x.expand_dims(SEQUENCE)).transpose(*_NAMED_DIMS)


def _read_lengths(lengths: object, time: int, sequences: int, order: str) -> Int[np.ndarray, " sequence"]:
    if lengths is None:
        return np.full(sequences, time, dtype=np.int64)
    steps = as_array(lengths, "lengths")
    if steps.dtype.kind not in "iu":
        raise InputError(f"lengths have dtype {steps.dtype}; expected integers")
    if steps.shape not in ((sequences,), () if sequences == 1 else (sequences,)):
        raise InputError(f"lengths have shape {steps.shape}, expected one for each of {sequences} sequences{order}")
    steps = steps.reshape(sequences).astype(np.int64)
    if (wrong := np.flatnonzero((steps < 1) | (steps > time))).size:
        raise InputError(f"lengths[{wrong[0]}] is {steps[wrong[0]]}; expected 1 to {time}, the steps of x")
    return steps


def _convert(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Copy to the dtype of the weights; what is too large for it becomes infinite, and is then refused."""
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def _check_finite(x: np.ndarray, lengths: np.ndarray) -> None:
    read = np.arange(x.shape[0])[:, np.newaxis] < lengths
    wrong = ~np.isfinite(x) & read[..., np.newaxis]
    if wrong.any():
        t, sequence, feature = (int(k[0]) for k in np.nonzero(wrong))
        raise InputError(
            f"x is {x[t, sequence, feature]} (as {x.dtype}) at time {t}, sequence {sequence}, feature {feature}; "
            "inputs must be finite inside the lengths"
        )
