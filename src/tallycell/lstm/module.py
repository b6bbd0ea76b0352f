"""A stand-in for ``torch.nn.LSTM`` whose gates can be seen, with tallycell's superset of options."""

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tallycell.activations import Activation, activation
from tallycell.errors import ActivationError, InputError, ParameterError
from tallycell.kernels.hold import Hold, read_holds
from tallycell.lstm.activations import Choice, named_activation
from tallycell.lstm.gates import Gates
from tallycell.lstm.held import held_in_call
from tallycell.lstm.options import DEFAULTS, SLOTS, AbstractLSTM
from tallycell.lstm.sequences import States
from tallycell.lstm.stack import run_stack
from tallycell.names import PARAMETER_KINDS, STEP_VARIABLES, parameter_name
from tallycell.parameters import Activations, ForgetGate, LSTMParameters

Slot = str | Activation | nn.Module
Module = TypeVar("Module", bound=nn.LSTM)

_ONE_UNIT = {"weight_ih_l0": np.zeros((4, 1)), "weight_hh_l0": np.zeros((4, 1))}


class LSTM(AbstractLSTM):
    """A stand-in for ``torch.nn.LSTM`` that shows every gate.

    Arguments, defaults, initialisation, attributes, state_dict and what ``forward`` returns are those of
    ``torch.nn.LSTM``; what follows comes besides, by keyword.

    Parameters
    ----------
    *args, **kwargs
        As of ``torch.nn.LSTM``: input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, proj_size=0, device=None, dtype=None.
    gate, cell, hidden
        Activation of i, f and o; of g; of c on its way out. Each a name, an
        :class:`~tallycell.activations.Activation` or a ``torch.nn.Module``; or a pair of them, one a direction.
    forget_gate
        ``"own"``; ``"coupled"`` for f = 1 - i; ``"none"`` for f = 1.
    peepholes
        Whether the gates look at the cell: parameters ``weight_ch_l{k}``, (3 hidden_size,), in the order i f o.
    clip_pre, clip_cell
        Bounds on the absolute value of every pre-activation and of c, or None.

    Notes
    -----
    On the CPU a kernel of vector instructions runs it, in float32 or float64; bfloat16, float16 and autocast are
    computed in float32 and what is returned is rounded. Slower torch operations run what the kernel leaves out: other
    devices, forget gates that are not their own, peepholes, projections, bounds, a ``torch.nn.Module`` in a slot, a
    user's activation that does not compile, a layer in which something is held, second derivatives, and whatever
    follows single operations (functorch, forward-mode derivatives, tracing, export to ONNX). A line in the log
    ``tallycell`` says so where it is a matter of the LSTM or the device. Activations other than the usual ones run on
    the kernel once compiling them pays.

    ``torch.export`` sees one opaque operation for each layer and direction; so does ``torch.compile`` where
    ``torch._dynamo.config.allow_rnn`` is set, without which torch leaves every kind of LSTM out of its graphs.

    Raises
    ------
    ActivationError
        If an activation is unknown.
    ParameterError
        If ``forget_gate`` is unknown or a bound is not positive.

    Examples
    --------
    >>> lstm = LSTM(3, 5, batch_first=True, gate="hard_sigmoid")
    >>> lstm
    LSTM(3, 5, batch_first=True, gate=activation('hard_sigmoid', alpha=0.2, beta=0.5))
    >>> output, (h_n, c_n), gates = lstm.traced(torch.randn(2, 7, 3))
    >>> gates.f[0][0].shape
    torch.Size([2, 7, 5])
    """

    def __init__(
        self,
        *args: Any,
        gate: Slot | tuple[Slot, ...] = "sigmoid",
        cell: Slot | tuple[Slot, ...] = "tanh",
        hidden: Slot | tuple[Slot, ...] = "tanh",
        forget_gate: ForgetGate = "own",
        peepholes: bool = False,
        clip_pre: float | None = None,
        clip_cell: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # LSTMParameters knows which options there are, and refuses others.
        LSTMParameters(_ONE_UNIT, forget_gate=forget_gate, clip_pre=clip_pre, clip_cell=clip_cell)
        self.forget_gate, self.peepholes, self.clip_pre, self.clip_cell = forget_gate, peepholes, clip_pre, clip_cell
        for slot, given in zip(SLOTS, (gate, cell, hidden), strict=True):
            self.set_activation(slot, given)
        like = next(self.parameters())
        if peepholes:
            for layer in range(self.num_layers):
                for direction in range(self._directions):
                    weight = nn.Parameter(torch.empty(3 * self.hidden_size, device=like.device, dtype=like.dtype))
                    nn.init.uniform_(weight, -self._bound, self._bound)
                    # Not among torch's flat weights: those go to its own kernel, which knows no peepholes.
                    self.register_parameter(parameter_name("weight_ch", layer, direction), weight)

    def set_activation(self, slot: str, given: Slot | tuple[Slot, ...]) -> None:
        """Put another squashing function into a slot, from the next call on.

        Parameters
        ----------
        slot
            ``"gate"``, ``"cell"`` or ``"hidden"``.
        given
            As when the LSTM is made: a name, an Activation or a ``torch.nn.Module``; or a pair, one a direction.

        Raises
        ------
        ParameterError
            If there is no such slot, or a tuple of another length than the directions.
        ActivationError
            If the activation is unknown.

        Examples
        --------
        >>> lstm = LSTM(3, 5)
        >>> lstm.set_activation("gate", "hard_sigmoid")
        >>> lstm
        LSTM(3, 5, gate=activation('hard_sigmoid', alpha=0.2, beta=0.5))
        """
        if slot not in SLOTS:
            raise ParameterError(f"there is no slot {slot!r}; those of an LSTM are {', '.join(SLOTS)}")
        choices = given if isinstance(given, tuple) else (given,) * self._directions
        if len(choices) != self._directions:
            raise ParameterError(
                f"{slot} got activations for {len(choices)} directions, this LSTM has {self._directions}; give one, or "
                "a tuple of one a direction"
            )
        for choice in choices:
            if not isinstance(choice, Slot):
                raise ActivationError(f"{slot} is {choice!r}; give a name, an Activation or a torch.nn.Module")
        forward, *reverse = (choice if isinstance(choice, nn.Module) else activation(choice) for choice in choices)
        for name in (slot, f"{slot}_reverse"):  # a module and what is none lie in different places
            if hasattr(self, name):
                delattr(self, name)
        setattr(self, slot, forward)
        if reverse and reverse[0] != forward:  # an attribute of its own only where it has another activation
            setattr(self, f"{slot}_reverse", reverse[0])

    @property
    def _bound(self) -> float:
        return float(self.hidden_size**-0.5)

    def reset_parameters(self) -> None:
        """Draw all weights anew, as torch does; a module that stands in a slot keeps its own."""
        for weight in self.parameters(recurse=False):
            nn.init.uniform_(weight, -self._bound, self._bound)

    def extra_repr(self) -> str:
        """Arguments that are not the default."""
        parts = [super().extra_repr()]
        for direction in range(self._directions):
            for slot in SLOTS:
                name = f"{slot}_reverse" if direction else slot
                choice = getattr(self, name, None)
                if isinstance(choice, Activation) and (direction or choice.name != DEFAULTS[slot]):
                    parts.append(f"{name}={choice!r}")  # a module is printed by torch
        options = {"forget_gate": "own", "peepholes": False, "clip_pre": None, "clip_cell": None}
        parts += [f"{name}={getattr(self, name)!r}" for name, usual in options.items() if getattr(self, name) != usual]
        return ", ".join(parts)

    def forward(self, input: Any, hx: States | None = None) -> tuple[Any, States]:
        """Run over whole sequences.

        Parameters
        ----------
        input
            (time, sequence, feature), with ``batch_first`` (sequence, time, feature), unbatched (time, feature), or a
            ``PackedSequence``.
        hx
            Initial states: h_0 (layer * direction, sequence, hidden) and c_0 (layer * direction, sequence, unit),
            without sequence if unbatched; zeros if not given.

        Returns
        -------
        output, (h_n, c_n)
            As of ``torch.nn.LSTM``.

        Raises
        ------
        InputError
            If the input has no steps, or is neither tensor nor ``PackedSequence``, or the states do not fit it.
        RuntimeError, ValueError
            As of ``torch.nn.LSTM``, if the input's features or dtype do not fit the weights.
        """
        output, states, _ = run_stack(self, input, hx)
        return output, states

    def traced(
        self, x: Tensor | PackedSequence, hx: States | None = None, *, hold: Hold | Iterable[Hold] = ()
    ) -> tuple[Any, States, Gates]:
        """Run over whole sequences and keep every gate of every step, on the autograd graph.

        Parameters
        ----------
        x, hx
            As of :meth:`forward`.
        hold
            Gates or states to hold at a value, during steps of this input; they take part in all that follows. What is
            held is a constant: no gradient goes through it to what it stands for. ``"mean"`` is that of the same
            call in which nothing is held. A layer in which something is held runs as torch operations.

        Returns
        -------
        output, (h_n, c_n), gates
            What :meth:`forward` returns, and the :class:`Gates`.

        Raises
        ------
        InputError
            As of :meth:`forward`; or if a hold names what is not there, or does not fit the input.

        Examples
        --------
        >>> _, _, gates = LSTM(2, 3).traced(torch.zeros(4, 1, 2))
        >>> gates.i[0][0].mean().backward()
        >>> _, (_, c), _ = LSTM(2, 3).traced(torch.zeros(4, 1, 2), hold=Hold("c", 0.5, units=[1]))
        >>> c[0, 0, 1].item()
        0.5
        """
        held = held_in_call(self, x, hx, read_holds(hold))
        output, states, kept = run_stack(self, x, hx, STEP_VARIABLES, held)
        return output, states, Gates(**{name: tuple(layers) for name, layers in kept.items()})

    @classmethod
    def from_torch(cls, module: nn.LSTM) -> "LSTM":
        """Make the same LSTM as a module of torch; the weights are copied.

        Raises
        ------
        InputError
            If the module is not a ``torch.nn.LSTM``.

        Examples
        --------
        >>> LSTM.from_torch(nn.LSTM(3, 5, num_layers=2))
        LSTM(3, 5, num_layers=2)
        """
        if isinstance(module, LSTM):
            return copy.deepcopy(module)
        if not isinstance(module, nn.LSTM):
            raise InputError(f"got a {type(module).__name__}; from_torch takes a torch.nn.LSTM")
        return _copy_weights(module, cls(**_torch_arguments(module)))

    def to_torch(self) -> nn.LSTM:
        """Make the same LSTM as ``torch.nn.LSTM``; the weights are copied.

        Raises
        ------
        ParameterError
            If there is anything that ``torch.nn.LSTM`` cannot express; the text names all of it.
        """
        beyond = [
            f"{slot}={choice!r}"
            for direction in range(self._directions)
            for slot in SLOTS
            if not _is_default(slot, choice := self._slot(slot, direction))
        ]
        beyond += [f"forget_gate={self.forget_gate!r}"] if self.forget_gate != "own" else []
        beyond += ["peepholes"] if self.peepholes else []
        beyond += [
            f"{name}={bound}" for name in ("clip_pre", "clip_cell") if (bound := getattr(self, name)) is not None
        ]
        if beyond:
            raise ParameterError(
                f"torch.nn.LSTM cannot express {', '.join(dict.fromkeys(beyond))}; it has sigmoid, tanh and tanh, a "
                "forget gate of its own, no peepholes and no clipping"
            )
        return _copy_weights(self, nn.LSTM(**_torch_arguments(self)))

    @classmethod
    def from_parameters(cls, parameters: LSTMParameters, *, batch_first: bool = False, dropout: float = 0.0) -> "LSTM":
        """Make a module of an LSTM's parameters, which are copied.

        Raises
        ------
        ParameterError
            If the projection is not smaller than the number of units, which torch calls for.

        Examples
        --------
        >>> parameters = LSTM(3, 5, forget_gate="coupled").to_parameters()
        >>> LSTM.from_parameters(parameters, batch_first=True)
        LSTM(3, 5, batch_first=True, forget_gate='coupled')
        """
        p = parameters
        if p.proj_size >= p.hidden_size:
            raise ParameterError(
                f"a projection of {p.hidden_size} units to {p.proj_size}; a torch module calls for fewer than units"
            )
        directions = [p.slots(direction) for direction in range(p.num_directions)]
        made = cls(
            p.input_size, p.hidden_size, p.num_layers, p.bias, batch_first, dropout, p.bidirectional, p.proj_size,
            dtype=torch.from_numpy(np.zeros(0, p.dtype)).dtype,
            **{slot: tuple(getattr(slots, slot) for slots in directions) for slot in SLOTS},
            forget_gate=p.forget_gate, peepholes=p.peepholes, clip_pre=p.clip_pre, clip_cell=p.clip_cell,
        )  # fmt: skip
        made.load_state_dict({name: torch.tensor(weight) for name, weight in p.weights.items()})
        return made

    def to_parameters(self) -> LSTMParameters:
        """Give the parameters, detached and on the CPU, for all that needs no torch.

        Raises
        ------
        ParameterError
            If the weights are neither float32 nor float64.
        ActivationError
            If a slot holds a module that is none of tallycell's activations.
        """
        if self.weight_ih_l0.dtype not in (torch.float32, torch.float64):
            raise ParameterError(
                f"weights of dtype {self.weight_ih_l0.dtype}; LSTMParameters takes float32 or float64: call "
                ".float() or .double() first"
            )
        names = [
            parameter_name(kind, layer, direction)
            for layer in range(self.num_layers)
            for direction in range(self._directions)
            for kind in PARAMETER_KINDS
        ]
        return LSTMParameters(
            {name: getattr(self, name).detach().cpu().numpy() for name in names if hasattr(self, name)},
            tuple(
                Activations(*(named_activation(self._slot(slot, direction)) for slot in SLOTS))
                for direction in range(self._directions)
            ),
            self.forget_gate,
            self.clip_pre,
            self.clip_cell,
        )


def _is_default(slot: str, choice: Choice) -> bool:
    try:
        return named_activation(choice).name == DEFAULTS[slot]
    except ActivationError:
        return False


def _torch_arguments(module: nn.LSTM) -> dict[str, Any]:
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size")
    weight = module.weight_ih_l0
    return {name: getattr(module, name) for name in names} | {"device": weight.device, "dtype": weight.dtype}


def _copy_weights(source: nn.LSTM, target: Module) -> Module:
    """Copy weights, what is frozen, and the mode; attributes of the source, so that parametrised weights count too."""
    for name, weight in target.named_parameters():
        found: Tensor = getattr(source, name)
        weight.requires_grad_(found.requires_grad).data.copy_(found.detach())
    return target.train(source.training)
