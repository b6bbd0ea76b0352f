"""Taps: the real inputs, states and outputs of the LSTMs in somebody's ONNX model, as ONNX Runtime runs it.

The model is changed in memory only: what an LSTM reads and makes becomes an output of the graph, carried out of every
If around it; the other branch gives an empty array. The file stays as it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import InputError, MissingExtraError
from tallycell.loaders.onnx.graph import OnnxModel, Scope, operator_of
from tallycell.loaders.onnx.sites import Found, Site, open_lstms
from tallycell.parameters import LSTMParameters
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    from onnx import GraphProto

_FLOAT, _INT32 = 1, 6  # ONNX's numbers of dtypes
_FOLDER_OPTION = "session.model_external_initializers_file_folder_path"

Feeds = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Tapped:
    """What one LSTM read and made while its model ran.

    Attributes
    ----------
    x
        What it read, (time, sequence, feature), in the order in which it read it: for a node of direction ``reverse``
        each sequence is turned, and so is ``y``, so that the node's parameters give ``y`` for ``x``.
    h_0, c_0
        The states it started from, (direction, sequence, unit).
    y
        What the runtime made of it, (time, sequence, direction * unit).
    lengths
        Steps of each sequence; None if all are full.

    Examples
    --------
    >>> one = Tapped(np.zeros((5, 1, 3)), np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), np.zeros((5, 1, 2)))
    >>> [state.shape for state in one.state]
    [(1, 1, 2), (1, 1, 2)]
    """

    x: Float[np.ndarray, "time sequence feature"]
    h_0: Float[np.ndarray, "direction sequence unit"]
    c_0: Float[np.ndarray, "direction sequence unit"]
    y: Float[np.ndarray, "time sequence direction*unit"]
    lengths: Int[np.ndarray, " sequence"] | None = None

    @property
    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """h_0 and c_0, as :func:`tallycell.record_trace` takes them."""
        return self.h_0, self.c_0


@dataclass(frozen=True, eq=False)
class _Call:
    """One run of one site: x (time, sequence, feature), y (time, sequence, direction * unit), states by direction."""

    x: np.ndarray
    y: np.ndarray
    h_0: np.ndarray
    c_0: np.ndarray
    h_n: np.ndarray
    c_n: np.ndarray
    lengths: np.ndarray | None

    def goes_on(self, before: "_Call") -> bool:
        """Whether it starts from the states in which the one before ended, one direction, without lengths."""
        return (
            len(self.h_0) == 1
            and self.lengths is None
            and before.lengths is None
            and np.array_equal(self.h_0, before.h_n)
            and np.array_equal(self.c_0, before.c_n)
        )


def tap(
    path: str | PathLike[str],
    feeds: Feeds | Iterable[Feeds],
    *,
    lstm: str | None = None,
    carry: Mapping[str, str] | None = None,
) -> dict[str, Tapped]:
    """Run an ONNX model on real input, and give what each of its LSTMs read and made.

    Parameters
    ----------
    path
        The model's file, which is not changed.
    feeds
        The model's inputs by name, for one call; or any number of such, one call after the other.
    lstm
        Path of the only LSTM to tap, as :func:`tallycell.load` gives it; all if None.
    carry
        From the name of a state input to that of the output which feeds it in the next call. The first call takes it
        from its feeds.

    Returns
    -------
    dict
        By the path of the LSTM, in order of execution; without those in branches that no call took. Where an LSTM
        starts from the very states in which the call before left it, the calls follow each other in time; every other
        call is a further sequence, with ``lengths`` where they differ.

    Raises
    ------
    MissingExtraError
        If onnx or onnxruntime is not installed.
    FormatError
        If the file is damaged, or holds no LSTM that can be read.
    InputError
        If the model does not run on these feeds, has no such LSTM, or that runs inside a loop.

    Examples
    --------
    ::

        tapped = tc.tap("model.onnx", {"input": audio})["decoder/rnn/LSTM"]
        trace = tc.record_trace(model["decoder/rnn/LSTM"], tapped.x, tapped.state, lengths=tapped.lengths)
    """
    source = Path(path)
    model, _, found = open_lstms(source)
    chosen = _choose(found, lstm, source)
    _name_outputs_of_splits(model)
    wires = [_Wire(model, one, site, f"{k}_{j}") for k, one in enumerate(chosen.values())
             for j, site in enumerate(one.sites)]  # fmt: skip
    session = _session(model)
    calls: dict[int, list[_Call]] = {}
    for results in _run(session, [feeds] if isinstance(feeds, Mapping) else feeds, dict(carry or {}), source):
        for wire in wires:
            call = wire.call(results)
            if call is not None:
                calls.setdefault(id(wire.found), []).append(call)
    if not calls and lstm is None:
        raise InputError(f"no LSTM of {source} ran: feeds holds no call, or the calls are without steps")
    if not calls:
        raise InputError(f"the LSTM at {quoted(lstm)} did not run: it stands in a branch that these feeds do not take")
    return {name: _join(calls[id(one)]) for name, one in chosen.items() if id(one) in calls}


def _choose(found: dict[str, Found], lstm: str | None, source: Path) -> dict[str, Found]:
    """LSTMs to tap; what cannot be tapped is an error only if it was asked for."""
    readable = {name: one for name, one in found.items() if isinstance(one.parameters, LSTMParameters)}
    if lstm is not None and lstm not in readable:
        raise InputError(f"no LSTM at {quoted(lstm)} can be tapped; {source} has them at {listed(readable)}")
    wanted = {lstm: readable[lstm]} if lstm is not None else readable
    in_loops = {name for name, one in wanted.items() if any(_loop_around(site.scope) for site in one.sites)}
    if not wanted.keys() - in_loops:
        names = listed(in_loops)
        raise InputError(
            f"{source} has nothing to tap: the LSTMs {names} run inside a loop, and tap reaches into If only"
        )
    return {name: one for name, one in wanted.items() if name not in in_loops}


def _loop_around(scope: Scope | None) -> bool:
    while scope is not None and scope.holder is not None:
        if operator_of(scope.holder[0]) != "If":
            return True
        scope = scope.outer
    return False


class _Wire:
    """The outputs of the changed model that belong to one site."""

    def __init__(self, model: OnnxModel, found: Found, site: Site, label: str) -> None:
        assert isinstance(found.parameters, LSTMParameters)
        self.found, self.parameters, self.is_step = found, found.parameters, site.step is not None
        made = site.step or tuple(_output(site, k, label) for k in range(3))
        names = dict(zip(("y", "h_n", "c_n"), made, strict=True))
        names |= {"x": site.x, "h_0": site.h_0, "c_0": site.c_0, "lengths": site.lengths}
        self.outputs = {
            what: _carry_out(
                model, site.scope, name, f"tallycell_{label}_{what}", _INT32 if what == "lengths" else _FLOAT
            )
            for what, name in names.items()
            if name
        }

    def call(self, results: Mapping[str, np.ndarray]) -> _Call | None:
        """Tell what the site did in one run of the model; None if its branch was not taken."""
        got = {what: results[name] for what, name in self.outputs.items()}
        if not got["x"].size:
            return None
        if self.is_step:  # one step, (sequence, feature)
            for what in ("x", "y"):
                got[what] = got[what].reshape(1, -1, got[what].shape[-1])
            for what in ("h_0", "c_0", "h_n", "c_n"):
                got[what] = self._state(got[what], got["y"].shape, what)
        else:
            got["y"] = got["y"].transpose(0, 2, 1, 3).reshape(*got["y"].shape[::2], -1)
        zeros = np.zeros(
            (self.parameters.num_directions, got["x"].shape[1], self.parameters.hidden_size), got["x"].dtype
        )
        lengths = got.get("lengths")
        if self.found.place.reverse:
            got["x"], got["y"] = (_turned(got[what], lengths) for what in ("x", "y"))
        states = (got.get("h_0", zeros), got.get("c_0", zeros), got["h_n"], got["c_n"])
        return _Call(got["x"], got["y"], *states, lengths)

    def _state(self, state: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
        """Bring a state of a step to (1, sequence, unit); the graph may have given one for all sequences."""
        try:
            return np.broadcast_to(state, shape[1:]).reshape(shape)
        except ValueError:
            raise InputError(
                f"the LSTM at {quoted(self.found.name)} has {what} of shape {state.shape}; expected one that spreads "
                f"to {shape[1:]}"
            ) from None


def _output(site: Site, k: int, label: str) -> str:
    """Name of an output of an LSTM node, which gets one if it has none."""
    outputs = site.node.output
    while len(outputs) <= k:
        outputs.append("")
    if not outputs[k]:
        outputs[k] = f"tallycell_{label}_output_{k}"
    return str(outputs[k])


def _name_outputs_of_splits(model: OnnxModel) -> None:
    """Name what a Split leaves without a name, where ONNX Runtime would take the whole process down."""
    for number, (_, node) in enumerate(model.root.walk()):
        if operator_of(node) == "Split":
            for k, name in enumerate(node.output):
                node.output[k] = name or f"tallycell_split_{number}_{k}"


def _carry_out(model: OnnxModel, scope: Scope, name: str, wanted: str, dtype: int) -> str:
    """Make a value of any graph an output of the model, through every If around it; give that output's name."""
    from onnx import ValueInfoProto, helper

    inner = f"{wanted}_0"
    scope.graph.node.append(helper.make_node("Identity", [name], [inner]))
    depth = 0
    while scope.holder is not None and scope.outer is not None:
        holder, branch = scope.holder
        depth += 1
        for attribute in holder.attribute:
            if attribute.HasField("g"):
                taken = attribute.name == branch
                shown = inner if taken else f"{inner}_else"
                if not taken:
                    _append_empty(attribute.g, shown, dtype)
                attribute.g.output.append(ValueInfoProto(name=shown))
        inner = f"{wanted}_{depth}"
        holder.output.append(inner)
        scope = scope.outer
    model.proto.graph.output.append(ValueInfoProto(name=inner))
    return inner


def _append_empty(graph: "GraphProto", name: str, dtype: int) -> None:
    from onnx import helper

    empty = helper.make_tensor(f"{name}_value", dtype, [0], [])
    graph.node.append(helper.make_node("Constant", [], [name], value=empty))


def _session(model: OnnxModel) -> Any:
    """Session of ONNX Runtime on the changed model; external data is read from the model's own folder."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it refuses is raised as well
    options.add_session_config_entry(_FOLDER_OPTION, str(model.path.parent.resolve()))
    try:
        return onnxruntime.InferenceSession(
            model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the runtime has its own classes for what it refuses
        raise InputError(f"ONNX Runtime does not take {model.path}: {one_line(error)}") from None


def _run(
    session: Any, feeds: Iterable[Feeds], carry: dict[str, str], source: Path
) -> Iterator[Mapping[str, np.ndarray]]:
    """All outputs of each call by name; the states are carried from call to call."""
    inputs = [one.name for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    own = [name for name in outputs if not name.startswith("tallycell_")]
    for state, made in carry.items():
        if state not in inputs or made not in own:
            raise InputError(
                f"cannot carry {quoted(made)} over to {quoted(state)}: {source} has the inputs {listed(inputs)} "
                f"and the outputs {listed(own)}"
            )
    carried: dict[str, np.ndarray] = {}
    for one in feeds:
        given = {name: np.asarray(value) for name, value in one.items()} | carried
        try:
            results = dict(zip(outputs, session.run(None, given), strict=True))
        except Exception as error:  # the runtime has its own classes for what it refuses
            raise InputError(f"ONNX Runtime cannot run {source} on these feeds: {one_line(error)}") from None
        carried = {state: results[made] for state, made in carry.items()}
        yield results


def _turned(sequences: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Each sequence from its last step to its first; what stands beyond its length stays."""
    if lengths is None:
        return sequences[::-1]
    turned = sequences.copy()
    for k, steps in enumerate(lengths):
        turned[:steps, k] = sequences[:steps, k][::-1]
    return turned


def _join(calls: list[_Call]) -> Tapped:
    """Join calls: those that go on follow each other in time; the others are further sequences."""
    runs: list[list[_Call]] = []
    for call in calls:
        if runs and call.goes_on(runs[-1][-1]):
            runs[-1].append(call)
        else:
            runs.append([call])
    xs, ys = ([np.concatenate([getattr(call, what) for call in run]) for run in runs] for what in ("x", "y"))
    h_0, c_0 = (np.concatenate([getattr(run[0], what) for run in runs], axis=1) for what in ("h_0", "c_0"))
    lengths = np.concatenate(
        [
            np.full(x.shape[1], len(x)) if run[0].lengths is None else run[0].lengths
            for x, run in zip(xs, runs, strict=True)
        ]
    )
    time = max(map(len, xs))
    is_full = all(run[0].lengths is None for run in runs) and (lengths == time).all()
    return Tapped(_side_by_side(xs, time), h_0, c_0, _side_by_side(ys, time), None if is_full else lengths)


def _side_by_side(arrays: list[np.ndarray], time: int) -> np.ndarray:
    """Sequences of different lengths beside each other, zero beyond their end."""
    padded = [np.pad(one, ((0, time - len(one)), (0, 0), (0, 0))) for one in arrays]
    return padded[0] if len(padded) == 1 else np.concatenate(padded, axis=1)
