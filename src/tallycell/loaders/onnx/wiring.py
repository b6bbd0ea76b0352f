"""The wires that tap and hold LSTMs of somebody's ONNX model, in a model that is changed in memory only.

What an LSTM reads and makes becomes an output of the graph, carried out of every If around it; the other branch gives
an empty array. Where it is to be held, what it makes passes a switch: either its own, or what the caller gives.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.errors import InputError, MissingExtraError
from tallycell.loaders.onnx.calls import Call
from tallycell.loaders.onnx.graph import OnnxModel, Scope, operator_of
from tallycell.loaders.onnx.sites import Found, Site
from tallycell.parameters import LSTMParameters
from tallycell.wording import listed, one_line, quoted

if TYPE_CHECKING:
    from onnx import GraphProto

_FLOAT, _INT32, _BOOL, _DOUBLE = 1, 6, 9, 11  # ONNX's numbers of dtypes
_FOLDER_OPTION = "session.model_external_initializers_file_folder_path"
_OURS = "tallycell_"  # how the names of what is added begin

Feeds = Mapping[str, Any]
Results = Mapping[str, np.ndarray]


def choose(found: Mapping[str, Found], names: Iterable[str] | None, source: Path) -> dict[str, Found]:
    """Give the LSTMs to wire by path, all if None; what cannot be wired is an error only if it was asked for.

    Raises
    ------
    InputError
        If one that is asked for is not there or cannot be read, or all that are left run inside a loop.
    """
    readable = {name: one for name, one in found.items() if isinstance(one.parameters, LSTMParameters)}
    for name in names or ():
        if name not in readable:
            raise InputError(f"no LSTM at {quoted(name)} can be reached; {source} has them at {listed(readable)}")
    wanted = readable if names is None else {name: readable[name] for name in names}
    in_loops = {name for name, one in wanted.items() if any(_loop_around(site.scope) for site in one.sites)}
    if not wanted.keys() - in_loops:
        raise InputError(
            f"{source} has nothing to reach: the LSTMs {listed(in_loops)} run inside a loop, and only branches (If) "
            "are followed"
        )
    return {name: one for name, one in wanted.items() if name not in in_loops}


def _loop_around(scope: Scope | None) -> bool:
    while scope is not None and scope.holder is not None:
        if operator_of(scope.holder[0]) != "If":
            return True
        scope = scope.outer
    return False


class Wire:
    """The outputs and inputs of the changed model that belong to one site.

    Parameters
    ----------
    model
        Which is changed.
    found, site
        The LSTM, and one place where it runs.
    label
        Which no other wire has.
    switched
        Whether what the site makes can be given instead.
    """

    def __init__(self, model: OnnxModel, found: Found, site: Site, label: str, *, switched: bool = False) -> None:
        assert isinstance(found.parameters, LSTMParameters)
        self.found, self.parameters, self.is_step = found, found.parameters, site.step is not None
        made = site.step or tuple(_output(site, k, label) for k in range(3))
        self._made = dict(zip(("y", "h_n", "c_n"), made, strict=True))
        self._switches = {name: _switch(model, site.scope, name, self.parameters) for name in dict.fromkeys(made)
                          if switched}  # fmt: skip
        names = self._made | {"x": site.x, "h_0": site.h_0, "c_0": site.c_0, "lengths": site.lengths}
        self.outputs = {
            what: _carry_out(model, site.scope, name, f"{_OURS}{label}_{what}", _INT32 if what == "lengths" else _FLOAT)
            for what, name in names.items()
            if name
        }

    def call(self, results: Results) -> Call | None:
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
        return Call(got["x"], got["y"], *states, lengths)

    def instead(self, call: Call, results: Results) -> dict[str, np.ndarray]:
        """Give what the model is fed so that the site makes what a call says; the results tell the shapes."""
        y = call.y
        if self.found.place.reverse:
            y = _turned(y, call.lengths)
        if not self.is_step:
            y = y.reshape(*y.shape[:2], self.parameters.num_directions, -1).transpose(0, 2, 1, 3)
        fed: dict[str, np.ndarray] = {}
        for what, value in (("y", y), ("h_n", call.h_n), ("c_n", call.c_n)):
            name = self._switches[self._made[what]]
            fed[_turn(name)] = np.array(True)
            fed[name] = value.reshape(results[self.outputs[what]].shape).astype(self.parameters.dtype)
        return fed

    def its_own(self) -> dict[str, np.ndarray]:
        """Give what the model is fed so that the site makes its own."""
        fed: dict[str, np.ndarray] = {}
        for name in self._switches.values():
            fed |= {_turn(name): np.array(False), name: np.zeros((), self.parameters.dtype)}
        return fed

    def _state(self, state: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
        """Bring a state of a step to (1, sequence, unit); the graph may have given one for all sequences."""
        try:
            return np.broadcast_to(state, shape[1:]).reshape(shape)
        except ValueError:
            raise InputError(
                f"the LSTM at {quoted(self.found.name)} has {what} of shape {state.shape}; expected one that spreads "
                f"to {shape[1:]}"
            ) from None


def wires_of(model: OnnxModel, chosen: Mapping[str, Found], *, switched: bool = False) -> list[Wire]:
    """Wire every site of some LSTMs, in order of execution."""
    _name_outputs_of_splits(model)
    return [
        Wire(model, one, site, f"{k}_{j}", switched=switched)
        for k, one in enumerate(chosen.values())
        for j, site in enumerate(one.sites)
    ]


def _output(site: Site, k: int, label: str) -> str:
    """Name of an output of an LSTM node, which gets one if it has none."""
    outputs = site.node.output
    while len(outputs) <= k:
        outputs.append("")
    if not outputs[k]:
        outputs[k] = f"{_OURS}{label}_output_{k}"
    return str(outputs[k])


def _name_outputs_of_splits(model: OnnxModel) -> None:
    """Name what a Split leaves without a name, where ONNX Runtime would take the whole process down."""
    for number, (_, node) in enumerate(model.root.walk()):
        if operator_of(node) == "Split":
            for k, name in enumerate(node.output):
                node.output[k] = name or f"{_OURS}split_{number}_{k}"


def _turn(switch: str) -> str:
    """Name of the input that says whether a switch is turned to what is given."""
    return f"{switch}_turned"


def _switch(model: OnnxModel, scope: Scope, name: str, parameters: LSTMParameters) -> str:
    """Put a switch behind the node that makes a value; give the name of the input that is taken where it is turned.

    Inputs of the model are seen in every graph that its nodes hold.
    """
    from onnx import helper

    number = sum(one.name.startswith(_OURS) for one in model.proto.graph.input)
    given, own = f"{_OURS}given_{number}", f"{_OURS}own_{number}"
    dtype = _DOUBLE if parameters.dtype == np.float64 else _FLOAT
    for wanted, of in ((given, dtype), (_turn(given), _BOOL)):
        model.proto.graph.input.append(helper.make_tensor_value_info(wanted, of, None))
    nodes = scope.graph.node
    at = next(k for k, node in enumerate(nodes) if name in node.output)
    for k, made in enumerate(nodes[at].output):
        if made == name:
            nodes[at].output[k] = own
    nodes.insert(at + 1, helper.make_node("Where", [_turn(given), given, own], [name]))
    return given


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


class Session:
    """The changed model in ONNX Runtime; external data is read from the model's own folder.

    Raises
    ------
    MissingExtraError
        If onnxruntime is not installed.
    InputError
        If the runtime does not take the model.
    """

    def __init__(self, model: OnnxModel) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "onnx") from None
        self.source = model.path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it refuses is raised as well
        options.add_session_config_entry(_FOLDER_OPTION, str(model.path.parent.resolve()))
        try:
            self._session = onnxruntime.InferenceSession(
                model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime has its own classes for what it refuses
            raise InputError(f"ONNX Runtime does not take {model.path}: {one_line(error)}") from None

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's own inputs."""
        return tuple(one.name for one in self._session.get_inputs() if not one.name.startswith(_OURS))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's own outputs."""
        return tuple(name for name in self._every if not name.startswith(_OURS))

    @cached_property
    def _every(self) -> list[str]:
        return [one.name for one in self._session.get_outputs()]

    def run(self, given: Feeds) -> Results:
        """Give all outputs by name.

        Raises
        ------
        InputError
            If the runtime cannot run on what is given.
        """
        try:
            return dict(zip(self._every, self._session.run(None, given), strict=True))
        except Exception as error:  # the runtime has its own classes for what it refuses
            raise InputError(f"ONNX Runtime cannot run {self.source} on these feeds: {one_line(error)}") from None

    def calls(
        self, feeds: Iterable[Feeds], carry: Mapping[str, str], run: Callable[[dict[str, Any]], Results] | None = None
    ) -> Iterator[Results]:
        """Give all outputs of each call by name; the states are carried from call to call.

        Parameters
        ----------
        feeds
            Inputs by name, a call at a time.
        carry
            From the name of a state input to that of the output which feeds it in the next call.
        run
            What runs one call; the model as it is, if None.

        Raises
        ------
        InputError
            If there is no such input or output, or the runtime cannot run.
        """
        for state, made in carry.items():
            if state not in self.inputs or made not in self.outputs:
                raise InputError(
                    f"cannot carry {quoted(made)} over to {quoted(state)}: {self.source} has the inputs "
                    f"{listed(self.inputs)} and the outputs {listed(self.outputs)}"
                )
        carried: dict[str, np.ndarray] = {}
        for one in feeds:
            given = {name: np.asarray(value) for name, value in one.items()} | carried
            results = self.run(given) if run is None else run(given)
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


def calls_of(
    session: Session, wires: Sequence[Wire], feeds: Iterable[Feeds], carry: Mapping[str, str]
) -> dict[int, list[Call]]:
    """Run the model as it is; give the calls of each LSTM, by the identity of what was found."""
    switches = its_own(wires)
    calls: dict[int, list[Call]] = {}
    for results in session.calls(feeds, carry, lambda given: session.run(given | switches)):
        for wire in wires:
            if (call := wire.call(results)) is not None:
                calls.setdefault(id(wire.found), []).append(call)
    return calls


def its_own(wires: Iterable[Wire]) -> dict[str, np.ndarray]:
    """Give what wires feed to leave the model as it is."""
    return {name: value for wire in wires for name, value in wire.its_own().items()}
