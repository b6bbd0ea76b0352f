"""One LSTM of a model that runs: its calls become sequences, and the sequences a trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tallycell.errors import InputError, TallycellError
from tallycell.kernels.hold import Hold
from tallycell.loaders.torch.objects import module_parameters
from tallycell.names import FEATURE, LAYER, PARAMETER_KINDS, SEQUENCE, STEP, TIME, parameter_name
from tallycell.parameters import LSTMParameters
from tallycell.trace.calls import Call, drops_inside, random_state, read_call
from tallycell.trace.held_forward import HeldCall, held_in
from tallycell.trace.held_pieces import HeldPiece, are_alike, held_piece, holds_of, joined
from tallycell.trace.record import attrs_of_run, record_trace
from tallycell.wording import one_line

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(eq=False)
class _Strand:
    """One sequence of one module, which later calls may continue.

    Attributes
    ----------
    version
        Number of the weights it ran with.
    call, row
        Where it began.
    h_0, c_0
        (layer * direction, size).
    x, output
        Pieces, each (time, feature) and (time, output).
    kept
        Pieces, each one array a layer but the last.
    tolerance
        Of the least exact call.
    held
        What was held in each piece, by layer, direction and letter: (time, unit), NaN where a unit was free.
    """

    version: int
    call: int
    row: int
    h_0: np.ndarray
    c_0: np.ndarray
    x: list[np.ndarray] = field(default_factory=list)
    output: list[np.ndarray] = field(default_factory=list)
    kept: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    tolerance: float = 0.0
    held: list[HeldPiece] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Steps of the sequence."""
        return sum(map(len, self.x))

    def all_held(self) -> HeldPiece:
        """Join what was held in each piece."""
        return joined(self.held, [len(piece) for piece in self.x])

    def add(self, call: Call, row: int, held: HeldCall | None) -> None:
        steps = slice(call.lengths[row])
        self.x.append(call.x[steps, row])
        self.output.append(call.output[steps, row])
        self.kept.append(tuple(mask[steps, row] for mask in call.kept))
        self.tolerance = max(self.tolerance, call.tolerance)
        self.held.append(held_piece(held, row, call.lengths[row]))


class Watched:
    """One LSTM of a model, and what it has done so far.

    Parameters
    ----------
    module
        A ``torch.nn.LSTM`` or ``torch.nn.LSTMCell``; its hooks call :meth:`before` and :meth:`after`.

    Attributes
    ----------
    calls
        How often it was called.
    """

    def __init__(self, module: "nn.Module") -> None:
        self.module = module
        self.calls = 0
        self._strands: list[_Strand] = []
        self._ends: dict[tuple[int, bool, bytes], list[_Strand]] = {}
        self._weights: list[torch.Tensor] = []
        self._versions: list[LSTMParameters] = []
        self._holds: list[Hold] = []
        self._random: torch.Tensor | None = None
        self._error: TallycellError | None = None
        self._trace: xr.Dataset | None = None

    def before(self, module: "nn.Module", _: Any) -> None:
        """Keep what the random numbers are before the call."""
        self._random = random_state(module)

    def after(self, module: "nn.Module", arguments: Any, by_name: Any, returned: Any) -> None:
        """Copy what the call read and returned; what goes wrong is said when the trace is asked for."""
        self.calls += 1
        self._trace = None
        if self._error is not None:
            return
        try:
            if drops_inside(module) and self._random is None:
                raise InputError(
                    "it is in train mode, and what its dropout between layers dropped cannot be seen on this device; "
                    "call model.eval(), or run it on the CPU"
                )
            self._note_weights()
            held = held_in(module)
            self._note(read_call(module, (arguments, by_name), returned, self._random), held)
        except TallycellError as error:
            self._error = error
        except Exception as error:  # the model's own run goes on, whatever is odd about it
            self._error = InputError(f"what it read or returned cannot be copied: {one_line(error)}")

    def trace(self) -> xr.Dataset:
        """Recompute all that was seen, once.

        Raises
        ------
        TallycellError
            If a call could not be traced, or h is not what the module gave.
        """
        if self._error is not None:
            raise self._error
        if self._trace is None:
            if not self._strands:
                raise InputError("it was called with no sequences")
            groups: dict[tuple[int, bool], list[_Strand]] = {}
            for strand in self._strands:
                groups.setdefault((strand.version, bool(strand.kept[0])), []).append(strand)
            traces = [_trace_of_all(self._versions[version], strands) for (version, _), strands in groups.items()]
            trace = traces[0] if len(traces) == 1 else _side_by_side(traces)
            if self._holds:  # as they were asked for, where the traces have the values
                trace = trace.assign_attrs(attrs_of_run(self._versions[0], tuple(self._holds)))
            self._trace = trace
        return self._trace

    def _note_weights(self) -> None:
        """Copy the weights where they are not those of the call before."""
        now = [*self.module.parameters(), *self.module.buffers()]
        if len(now) == len(self._weights) and all(map(_is_same, now, self._weights)):
            return
        self._weights = [weight.detach().clone() for weight in now]
        self._versions.append(module_parameters(self.module)[0])

    def _note(self, call: Call, held: HeldCall | None) -> None:
        """Add each row of a call to the sequence that it continues, or begin one."""
        if held is not None:
            self._holds += [hold for hold in held.holds if hold not in self._holds]
        initial = call.initial or tuple(np.zeros_like(state) for state in call.last)
        version, going = len(self._versions) - 1, []
        for row in range(len(call.lengths)):
            h_0, c_0 = (state[:, row] for state in initial)
            waiting = self._ends.get((version, bool(call.kept), _key(h_0, c_0)))
            # Zeros say nothing of where they came from, but where all is held at 0, zeros come out of every call.
            if waiting and (h_0.any() or c_0.any() or (held is not None and held.goes_on)):
                strand = next((one for one in waiting if one.row == row), waiting[0])
                waiting.remove(strand)
            else:
                strand = _Strand(version, self.calls - 1, row, h_0, c_0)
                self._strands.append(strand)
            strand.add(call, row, held)
            going.append(strand)
        if self._versions[version].bidirectional:
            return  # its second direction began at the end, so nothing can continue it
        for row, strand in enumerate(going):
            key = version, bool(call.kept), _key(*(state[:, row] for state in call.last))
            self._ends.setdefault(key, []).append(strand)


def _is_same(now: "torch.Tensor", before: "torch.Tensor") -> bool:
    import torch

    return now.device == before.device and now.dtype == before.dtype and torch.equal(now, before)


def _key(h: np.ndarray, c: np.ndarray) -> bytes:
    return h.tobytes() + c.tobytes()


def _trace_of_all(parameters: LSTMParameters, strands: Sequence[_Strand]) -> xr.Dataset:
    """Record sequences that ran with the same weights: those of one length together, where other values were held."""
    if are_alike([strand.all_held() for strand in strands]):
        return _trace_of(parameters, strands)
    by_length: dict[int, list[int]] = {}
    for number, strand in enumerate(strands):
        by_length.setdefault(strand.length, []).append(number)
    traces = [_trace_of(parameters, [strands[number] for number in some]) for some in by_length.values()]
    if len(traces) == 1:
        return traces[0]
    order = np.argsort([number for some in by_length.values() for number in some])
    whole = _side_by_side(traces)
    return whole.isel({SEQUENCE: order}).assign_coords({SEQUENCE: whole[SEQUENCE].values})


def _trace_of(parameters: LSTMParameters, strands: Sequence[_Strand]) -> xr.Dataset:
    """Record sequences that ran with the same weights, and hold h against what the module gave."""
    x = _padded([np.concatenate(strand.x) for strand in strands])
    kept = [
        _padded([np.concatenate([piece[k] for piece in strand.kept]) for strand in strands])
        for k in range(len(strands[0].kept[0]))
    ]
    lengths, holds = [strand.length for strand in strands], holds_of([strand.all_held() for strand in strands])
    labels = {"call": (SEQUENCE, [one.call for one in strands]), "row": (SEQUENCE, [one.row for one in strands])}
    named = partial(xr.DataArray, dims=(SEQUENCE, TIME, FEATURE), coords=labels)
    h_0, c_0 = (np.stack([getattr(one, name) for one in strands], axis=1) for name in ("h_0", "c_0"))
    if not kept:
        trace = record_trace(parameters, named(x), (h_0, c_0), lengths=lengths, hold=holds)
    else:
        layers: list[xr.Dataset] = []
        for k in range(parameters.num_layers):
            own = slice(k * parameters.num_directions, (k + 1) * parameters.num_directions)
            here = [replace(hold, layer=0) for hold in holds if hold.layer == k]
            one = record_trace(_one_layer(parameters, k), named(x), (h_0[own], c_0[own]), lengths=lengths, hold=here)
            layers.append(one.assign_coords({LAYER: [k]}))
            x = _output(one) * kept[k] if k < len(kept) else x
        trace = _on_each_other(layers)
    _check(trace, strands)
    return trace


def _padded(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Lay sequences beside each other, (sequence, time, ...), NaN beyond each one's end."""
    whole = np.full((len(pieces), max(map(len, pieces)), pieces[0].shape[-1]), np.nan, pieces[0].dtype)
    for row, piece in enumerate(pieces):
        whole[row, : len(piece)] = piece
    return whole


def _output(trace: xr.Dataset) -> np.ndarray:
    """Give h of the last layer, directions side by side, (sequence, time, output)."""
    h = trace.h.values[-1]  # direction, sequence, time, unit
    return np.concatenate(list(h), axis=-1)


def _one_layer(parameters: LSTMParameters, layer: int) -> LSTMParameters:
    suffixes = ("", "_reverse") if parameters.bidirectional else ("",)
    found = {f"{kind}{suffix}": f"{name}{suffix}" for kind, name in _names(layer) for suffix in suffixes}
    weights = {first: parameters.weights[name] for first, name in found.items() if name in parameters.weights}
    p = parameters
    return LSTMParameters(weights, p.activations, p.forget_gate, p.clip_pre, p.clip_cell)


def _names(layer: int) -> list[tuple[str, str]]:
    """Names in the first layer and in this one."""
    return [(parameter_name(kind, 0, 0), parameter_name(kind, layer, 0)) for kind in PARAMETER_KINDS]


def _on_each_other(layers: Sequence[xr.Dataset]) -> xr.Dataset:
    """Make one trace of those of single layers; x is that of the first."""
    by_layer = [one.drop_vars(["x", "length", FEATURE]) for one in layers]
    trace = _concat(by_layer, LAYER)
    return trace.assign({name: layers[0][name] for name in ("x", "length")})


def _side_by_side(traces: Sequence[xr.Dataset]) -> xr.Dataset:
    """Make one trace of several with different weights; sequences are numbered anew, shorter ones end in NaN."""
    time = max(trace.sizes[TIME] for trace in traces)
    steps = np.arange(time)
    longest = [trace.reindex({TIME: steps}).assign_coords({STEP: (TIME, steps)}) for trace in traces]
    whole = _concat(longest, SEQUENCE)
    return whole.assign_coords({SEQUENCE: np.arange(whole.sizes[SEQUENCE])})


def _concat(traces: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    return xr.concat(
        traces, dim, data_vars="minimal", coords="minimal", compat="override", join="exact", combine_attrs="override"
    )


def _check(trace: xr.Dataset, strands: Sequence[_Strand]) -> None:
    theirs = _padded([np.concatenate(strand.output) for strand in strands])
    beyond = trace[STEP].values >= trace["length"].values[:, np.newaxis]
    differences = np.where(beyond[..., np.newaxis], 0, np.abs(_output(trace) - theirs)).max(axis=(1, 2))
    allowed = np.array([strand.tolerance for strand in strands])
    # Not "larger than": what the module gave may be NaN.
    if not (differences <= allowed).all():
        k = int(np.flatnonzero(~(differences <= allowed))[0])
        raise InputError(
            f"it gave other values than its equations: h differs by {differences[k]:.2g} in the sequence that began at "
            f"call {strands[k].call}, row {strands[k].row}, where {allowed[k]:g} is allowed; a trace would not show "
            "what it does"
        )
