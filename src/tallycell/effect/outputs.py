"""What a model says: the outputs of the linear layer that reads h, step by step, by their names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.activations import Activation
from tallycell.activations import activation as activation_called
from tallycell.effect.layer_account import secant
from tallycell.errors import InputError
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.memory import require_memory
from tallycell.names import DIRECTION, LAYER, PROJECTION, SEQUENCE, STEP, TIME, UNIT
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.trace.inputs import as_array
from tallycell.trace.schema import upgraded
from tallycell.wording import listed, quoted

OUTPUT = "output"
_MERGED = ("sum", "ave", "mul")  # the ways of Keras to make one h of two directions; else they lie side by side
_AS_IT_IS = activation_called("identity")
_OF_DECISION = {"argmax": "softmax", "threshold": "sigmoid"}


@dataclass(frozen=True, eq=False)
class Readout:
    """The linear layer behind an LSTM: ``weight @ shown(h) + bias``, with h of the last layer.

    Attributes
    ----------
    lstm
        Path of the LSTM in its model; ``""`` where that has no paths.
    parameters
        The LSTM.
    weight, bias
        (output, hidden) and (output,); without a bias, zeros. Hidden is the width of what it reads: both directions
        side by side, or what ``merge`` makes of them.
    names
        What the outputs stand for; None if the model does not tell.
    activation
        What is behind it, in the words of the file; None for nothing, or where the file does not tell.
    merge
        How two directions become one h: ``"sum"``, ``"ave"`` or ``"mul"``; else they lie side by side.
    shown
        What is made of each number of that h before it is weighed; mostly it is taken as it is.
    """

    lstm: str
    parameters: LSTMParameters
    weight: Float[np.ndarray, "output hidden"]
    bias: Float[np.ndarray, " output"]
    names: tuple[str, ...] | None = None
    activation: str | None = None
    merge: str | None = None
    shown: Activation = _AS_IT_IS

    def __len__(self) -> int:
        """Give the number of outputs."""
        return len(self.weight)

    def logits(self, h: Float[np.ndarray, "direction *batch hidden"]) -> Float[np.ndarray, "*batch output"]:
        """Give the outputs before the activation, of h of the last layer by direction."""
        return self.logits_of_read(self.joined(h))

    def joined(self, h: Float[np.ndarray, "direction *batch hidden"]) -> Float[np.ndarray, "*batch hidden"]:
        """Give the h that is shown to the layer, of h by direction."""
        read: np.ndarray
        match self.merge:
            case "sum":
                read = h.sum(0)
            case "ave":
                read = h.mean(0)
            case "mul":
                read = h.prod(0)
            case _:
                read = np.concatenate(list(h), axis=-1)
        return read

    def logits_of_read(self, read: Float[np.ndarray, "*batch hidden"]) -> Float[np.ndarray, "*batch output"]:
        """Give the outputs before the activation, of the h that is shown to the layer: the directions joined."""
        logits: np.ndarray = self.weighed(self.shown(read)) + self.bias
        return logits

    def weighed(self, shown: Float[np.ndarray, "*batch hidden"]) -> Float[np.ndarray, "*batch output"]:
        """Give what the outputs have of what is shown to the layer: linear, without the bias."""
        rows = shown.reshape(-1, shown.shape[-1])  # one product, where NumPy would make many small ones
        with np.errstate(invalid="ignore"):  # NaN beyond a sequence's length stays NaN
            weighed: np.ndarray = (rows @ self.weight.T).reshape(*shown.shape[:-1], -1)
        return weighed

    def require_input_for(self, path: str | None) -> None:
        """Refuse an input that was opened for another LSTM than the one whose h is read.

        Raises
        ------
        InputError
            If the path is another; None says that the model has only one.
        """
        if path not in (None, self.lstm):
            raise InputError(
                f"the input is for the LSTM at {quoted(path)}, and outputs are read from the one at "
                f"{quoted(self.lstm)}; open it with lstm={self.lstm!r}"
            )

    def number(self, output: object) -> int:
        """Give the number of an output, counted from 0, by its number (below 0 from the end) or its name.

        Raises
        ------
        InputError
            If there is none, or several have the name.
        """
        if isinstance(output, int | np.integer) and not isinstance(output, bool):
            if not -len(self) <= output < len(self):
                raise InputError(f"no output {output}; the model has {len(self):,}, counted from 0")
            return int(output) % len(self)
        if not isinstance(output, str):
            raise InputError(f"output is {quoted(output)}; expected the name of an output, or its number")
        if self.names is None:
            raise InputError(
                f"no output is called {quoted(output)}: the model does not name its {len(self):,} outputs; give a "
                "number, counted from 0"
            )
        found = [k for k, name in enumerate(self.names) if name == output]
        if len(found) != 1:
            said = f"outputs {listed(found)} are all" if found else "no output is"
            raise InputError(
                f"{said} called {quoted(output)}; the model has {listed(self.names)}; give the name of one, or its "
                "number, counted from 0"
            )
        return found[0]

    def label(self, number: int) -> str:
        """Name of an output in quotes, or its number: fit for a sentence."""
        return f"output {number}" if self.names is None else quoted(self.names[number])

    def at_zero(self, number: int) -> float:
        """Give an output of an h that is 0: the bias, and what is shown of 0."""
        return float(self.logits_of_read(np.zeros(self.weight.shape[1]))[number])

    def coefficients(
        self, number: int, h: Float[np.ndarray, "direction hidden"]
    ) -> Float[np.ndarray, "direction hidden"]:
        """Give by what each h is multiplied to make an output, beside what an h of 0 makes: by direction.

        These are the weights. Where a function stands before the layer, the weight of an h times the slope of its
        secant: ``weight * (shown(h) - shown(0)) / h``. So what a unit gives to the output is exact, and what is in
        that h has its share in proportion. Where Keras multiplies the directions, each has half of their product: its
        weight is half of the other's h.
        """
        joined = self.joined(h)
        slope, _ = secant(self.shown, joined, self.shown(joined))
        weight = np.array(self.weight[number], np.float64) * slope
        match self.merge:
            case "sum":
                return np.stack([weight] * len(h))
            case "ave":
                return np.stack([weight / len(h)] * len(h))
            case "mul":
                return np.asarray(weight * h[::-1] / 2)
            case _:
                return np.reshape(weight, (len(h), -1))


def read_readout(model: object, lstm: str | None = None) -> Readout:
    """Find the linear layer that reads the last LSTM of a model.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, or a recogniser.
    lstm
        Path of the LSTM, where branches of the model have their own, each with its layer; None where there is one.

    Raises
    ------
    InputError
        If it is neither, has no such layer, or the layer does not read what the LSTM gives.

    Examples
    --------
    >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> network = Recogniser(("a", "b", "c"), np.eye(3), lstm, np.ones((1, 2)), np.zeros(1), ("yes",), "threshold")
    >>> readout = read_readout(network)
    >>> readout.number("yes"), readout.activation
    (0, 'sigmoid')
    """
    if isinstance(model, LoadedModel):
        found = (
            _of_loaded(model, lstm) if model.recogniser is None else _of_recogniser(model.recogniser, next(iter(model)))
        )
    elif isinstance(model, Recogniser):
        found = _of_recogniser(model, "")
    else:
        raise InputError(
            f"a {type(model).__name__} has no outputs that tallycell knows of; give a Recogniser, or what "
            "tallycell.load gives of a whole model (of a module of torch: tallycell.load(module))"
        )
    found.require_input_for(lstm)
    return found


def _of_recogniser(network: Recogniser, path: str) -> Readout:
    return Readout(
        path, network.parameters, network.readout_weight, network.readout_bias, network.outputs,
        _OF_DECISION[network.decision],
    )  # fmt: skip


def _of_loaded(model: LoadedModel, lstm: str | None) -> Readout:
    path = list(model)[-1] if model.head is not None else lstm
    if path is None and len(model.heads) == 1:
        path = next(iter(model.heads))
    if path is None and model.heads:
        raise InputError(
            f"{model.source} has outputs behind several LSTMs, of which each run takes one, at "
            f"{listed(model.heads)}; say which with lstm, or give the input as tallycell.open_audio makes it"
        )
    head = None if path is None else model.head_of(path)
    if head is None or path is None:
        at = "the last LSTM" if path is None else f"the LSTM at {quoted(path)}"
        raise InputError(
            f"{model.source} has no outputs that tallycell knows of: no linear layer that reads {at} was "
            "found, or several were; give yours: dataclasses.replace(model, head=Head(weight, bias))"
        )
    parameters, merge, weight = model.stacks[path], model.places[path].merge, np.asarray(head.weight)
    directions = 1 if merge in _MERGED else parameters.num_directions
    if weight.ndim != 2 or not len(weight) or weight.shape[1] != parameters.output_size * directions:
        raise InputError(
            f"the head of {model.source} has a weight of shape {weight.shape}, and the LSTM at {quoted(path)} gives "
            f"{parameters.output_size * directions} numbers a step; expected (outputs, "
            f"{parameters.output_size * directions}): something stands between, or the head reads another LSTM"
        )
    bias = np.zeros(len(weight), weight.dtype) if head.bias is None else np.asarray(head.bias)
    if bias.shape != weight.shape[:1]:
        raise InputError(f"the head of {model.source} has a bias of shape {bias.shape}, expected {weight.shape[:1]}")
    names = model.vocabulary if model.vocabulary is not None and len(model.vocabulary) == len(weight) else None
    merged = merge if merge in _MERGED else None
    return Readout(path, parameters, weight, bias, names, head.activation, merged, head.shown)


def outputs(model: object, trace: Any, *, activation: bool | str = False, lstm: str | None = None) -> xr.DataArray:
    """Give what a model says at each step, from a trace of its LSTM.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, with a head, or a recogniser.
    trace
        A trace of its last LSTM, with h of all units of the last layer; or that h alone, as a ``DataArray`` with the
        dimensions of a trace. An array or tensor is what the head reads, (time, hidden) or (sequence, time, hidden):
        both directions joined, before what is shown of it.
    activation
        False for the outputs as the linear layer gives them; True for what the model's own activation makes of them:
        that of the head, for a recogniser softmax (``"argmax"``) or sigmoid (``"threshold"``). Or the name of one:
        ``"softmax"``, ``"log_softmax"``, or as :func:`tallycell.activation` knows it.
    lstm
        Path of the LSTM whose trace it is, where branches of a model have their own (ONNX).

    Returns
    -------
    xarray.DataArray
        (sequence, time, output), in the dtype of h, dimensionless; NaN beyond a sequence's length. The coordinate
        ``output`` has the names of the outputs, or their numbers where the model does not name them: those of a
        vocabulary, if it has as many symbols as the head has outputs.

    Raises
    ------
    InputError
        If the model has no head, the head does not read such an h, or no activation is known where one is asked for.
    ActivationError
        If the activation is unknown.

    Notes
    -----
    The head is read at every step, on h of that step. Where a bidirectional model reads the two directions at their
    ends instead, the last step of the one and the first of the other, these are not its outputs.

    Examples
    --------
    >>> from tallycell import record_trace
    >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> network = Recogniser(("a", "b", "c"), np.eye(3), lstm, np.ones((1, 2)), np.zeros(1), ("yes",), "threshold")
    >>> said = outputs(network, record_trace(network, np.zeros((4, 3))))
    >>> dict(said.sizes), said.output.values.tolist()
    ({'sequence': 1, 'time': 4, 'output': 1}, ['yes'])
    """
    readout = read_readout(model, lstm)
    squash = _squashing(readout, activation)
    labels: dict[str, Any]
    if isinstance(trace, xr.Dataset | xr.DataArray):
        h = _h_by_name(trace, readout)
        labels = {str(name): one for name, one in h.isel({DIRECTION: 0, h.dims[-1]: 0}, drop=True).coords.items()}
        _ask_memory(readout, h.sizes[SEQUENCE] * h.sizes[TIME])
        logits = readout.logits(h.to_numpy())
    else:
        read = _read_by_position(trace, readout)
        labels = {SEQUENCE: np.arange(len(read)), TIME: np.arange(read.shape[1])}
        labels[STEP] = (TIME, np.arange(read.shape[1]))
        _ask_memory(readout, len(read) * read.shape[1])
        logits = readout.logits_of_read(read)
    said = xr.DataArray(squash(logits), dims=(SEQUENCE, TIME, OUTPUT), coords=labels, name="outputs")
    numbers = np.arange(len(readout))
    return said.assign_coords({OUTPUT: numbers if readout.names is None else list(readout.names)})


def _ask_memory(readout: Readout, steps: int) -> None:
    needed = 2 * steps * len(readout) * readout.weight.dtype.itemsize  # the product, and the sum or its activation
    require_memory(needed, f"making {len(readout):,} outputs at {steps:,} steps")


def _squashing(readout: Readout, wanted: bool | str) -> Any:
    """Give the function from logits to outputs that was asked for."""
    if wanted is False:
        return lambda logits: logits
    name = readout.activation if wanted is True else wanted
    if not isinstance(name, str):
        raise InputError(
            "the model names no activation behind its outputs; leave activation=True out, or name one: "
            "activation='softmax'"
            if name is None
            else f"activation is {quoted(name)}; expected True, False or the name of one"
        )
    from scipy import special

    key = name.lower().replace("_", "")
    if key == "softmax":
        return lambda logits: special.softmax(logits, axis=-1)
    if key == "logsoftmax":
        return lambda logits: special.log_softmax(logits, axis=-1)
    if key == "hardsigmoid" and wanted is True:
        raise InputError(
            "the head has a hard_sigmoid, which is another function in Keras 2, Keras 3 and ONNX; name yours: "
            "activation='hard_sigmoid_keras3'"
        )
    return activation_called("sigmoid" if key == "logistic" else name)


def _h_by_name(trace: xr.Dataset | xr.DataArray, readout: Readout) -> xr.DataArray:
    """H of the last layer, (direction, sequence, time, hidden), from a trace or its h."""
    if isinstance(trace, xr.Dataset):
        if "h" not in trace:
            raise InputError(f"the trace holds {listed(trace.data_vars)} and no h, which outputs are made of; record h")
        h = upgraded(trace)["h"]
    else:
        h = trace
    p = readout.parameters
    last = PROJECTION if p.proj_size else UNIT
    if missing := [dim for dim in (TIME, last) if dim not in h.dims]:
        raise InputError(
            f"h has dimensions ({', '.join(map(str, h.dims))}) and no {' and no '.join(missing)}; expected those of a "
            f"trace: layer, direction, sequence, time, {last}"
        )
    h = h.expand_dims([dim for dim in (LAYER, DIRECTION, SEQUENCE) if dim not in h.dims])
    if unknown := [str(dim) for dim in h.dims if dim not in (LAYER, DIRECTION, SEQUENCE, TIME, last)]:
        raise InputError(f"h has the dimension {', '.join(unknown)}, which a trace does not have; choose one of it")
    if LAYER in h.coords and p.num_layers - 1 not in h[LAYER].values:
        raise InputError(
            f"the trace has layers {listed(h[LAYER].values.tolist())}, and outputs are read from layer "
            f"{p.num_layers - 1}, the last; record or select that"
        )
    h = h.sel({LAYER: p.num_layers - 1}) if LAYER in h.coords else h.isel({LAYER: -1})
    h = h.drop_vars(LAYER, errors="ignore").transpose(DIRECTION, SEQUENCE, TIME, last)
    found, expected = (h.sizes[DIRECTION], h.sizes[last]), (p.num_directions, p.output_size)
    in_order = last not in h.coords or np.array_equal(h[last].values, np.arange(expected[1]))
    if found != expected or not in_order:
        raise InputError(
            f"the trace has h of {found[0]} directions and {found[1]} {last}s; expected {expected[0]} and all "
            f"{expected[1]}, in order: record all of them, of this model"
        )
    return h


def _read_by_position(given: object, readout: Readout) -> Float[np.ndarray, "sequence time hidden"]:
    read = as_array(given, "h")
    width = readout.weight.shape[1]
    if read.ndim not in (2, 3) or read.shape[-1] != width:
        raise InputError(
            f"h has shape {read.shape}; expected (time, {width}) or (sequence, time, {width}), what the head reads"
        )
    return read if read.ndim == 3 else read[np.newaxis]
