"""The weights of an LSTM, and how others lay them out.

:class:`LSTMParameters` holds one stack of layers under PyTorch's names. :class:`LayerParameters` is one layer in one
direction, where every gate stands behind its own projection, by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from tallycell.activations import Activation, activation
from tallycell.errors import ParameterError
from tallycell.html_table import html_table
from tallycell.names import DIRECTIONS, GATES, PARAMETER_KINDS, PEEPHOLE_GATES, Gate, parameter_name
from tallycell.wording import quoted

ForgetGate = Literal["own", "coupled", "none"]


@dataclass(frozen=True)
class Activations:
    """The squashing functions of the three slots.

    Attributes
    ----------
    gate
        Of i, f and o (ONNX's f).
    cell
        Of g (ONNX's g).
    hidden
        Of c on its way out (ONNX's h).
    """

    gate: Activation = field(default_factory=lambda: activation("sigmoid"))
    cell: Activation = field(default_factory=lambda: activation("tanh"))
    hidden: Activation = field(default_factory=lambda: activation("tanh"))

    def of(self, variable: str) -> Activation:
        """Activation that a gate has behind it; for ``"c"`` the one on its way out."""
        return {"g": self.cell, "c": self.hidden}.get(variable, self.gate)


@dataclass(frozen=True, eq=False)
class LayerParameters:
    """One layer in one direction.

    Attributes
    ----------
    weight_ih, weight_hh
        Rows of the four gates, one block below the other in the order i f g o: (4 unit, feature), (4 unit, hidden),
        where hidden is the size of h.
    bias_ih, bias_hh
        (4 unit,); None without biases.
    weight_hr
        Projection of h, (projection, unit), or None.
    weight_ch
        Peepholes in the order i f o, (3 unit,), or None. o looks at the new cell, i and f at the old one.
    activations, forget_gate, clip_pre, clip_cell
        As in :class:`LSTMParameters`.
    """

    weight_ih: Float[np.ndarray, "gates feature"]
    weight_hh: Float[np.ndarray, "gates hidden"]
    bias_ih: Float[np.ndarray, " gates"] | None = None
    bias_hh: Float[np.ndarray, " gates"] | None = None
    weight_hr: Float[np.ndarray, "projection unit"] | None = None
    weight_ch: Float[np.ndarray, " peepholes"] | None = None
    activations: Activations = field(default_factory=Activations)
    forget_gate: ForgetGate = "own"
    clip_pre: float | None = None
    clip_cell: float | None = None

    @property
    def hidden_size(self) -> int:
        """Number of units (cells)."""
        return len(self.weight_ih) // 4

    @property
    def output_size(self) -> int:
        """Size of h: the projection's where there is one."""
        return int(self.weight_hh.shape[1])

    @cached_property
    def total_bias(self) -> Float[np.ndarray, " gates"]:
        """Sum of the biases; zeros without any."""
        total = np.zeros(self.weight_ih.shape[0], self.weight_ih.dtype)
        for bias in (self.bias_ih, self.bias_hh):
            total = total if bias is None else total + bias
        return total

    def weight(self, gate: Gate) -> Float[np.ndarray, "unit feature+hidden"]:
        """Projection that a gate stands behind; it acts on x and the previous h, laid end to end."""
        rows = self._rows(gate)
        return np.concatenate([self.weight_ih[rows], self.weight_hh[rows]], axis=1)

    def bias(self, gate: Gate) -> Float[np.ndarray, " unit"]:
        """Bias of a gate's projection, the sum of PyTorch's two."""
        return self.total_bias[self._rows(gate)]

    def peephole(self, gate: Gate) -> Float[np.ndarray, " unit"]:
        """Weight of the cell in a gate's projection, unit by unit; zeros without peepholes, and for g."""
        self._rows(gate)
        if self.weight_ch is None or gate not in PEEPHOLE_GATES:
            return np.zeros(self.hidden_size, self.weight_ih.dtype)
        return np.split(self.weight_ch, 3)[PEEPHOLE_GATES.index(gate)]

    def _rows(self, gate: Gate) -> slice:
        if gate not in GATES:
            raise ParameterError(f"no gate is called {quoted(gate)}; the gates are i, f, g and o")
        if gate == "f" and self.forget_gate != "own":
            made = {"coupled": "f = 1 - i", "none": "f = 1"}[self.forget_gate]
            raise ParameterError(f"this LSTM has no forget gate of its own ({made}), hence no projection of f")
        start = GATES.index(gate) * self.hidden_size
        return slice(start, start + self.hidden_size)


def _frozen(array: np.ndarray) -> np.ndarray:
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, eq=False, repr=False)
class LSTMParameters:
    """Weights of one LSTM stack under PyTorch's names, and what its gates are.

    The LSTM is the superset of ``torch.nn.LSTM`` and ONNX ``LSTM``. Layers of different width are separate
    ``LSTMParameters``.

    Attributes
    ----------
    weights
        ``weight_ih_l{k}`` (4 unit, feature), ``weight_hh_l{k}`` (4 unit, hidden), and where the LSTM has them
        ``bias_ih_l{k}``, ``bias_hh_l{k}`` (4 unit,), ``weight_hr_l{k}`` (projection, unit), ``weight_ch_l{k}``
        (3 unit,) peepholes in the order i f o; each with the suffix ``_reverse`` for the second direction.
        Copied, read-only, all float32 or all float64.
    activations
        One :class:`Activations`, or one a direction.
    forget_gate
        ``"own"``; ``"coupled"`` for f = 1 - i (ONNX ``input_forget``); ``"none"`` for f = 1, the cell of 1997. The
        rows of f stay in the weights, unread, where it is not ``"own"``.
    clip_pre
        Bound on the absolute value of every pre-activation (ONNX ``clip``), or None.
    clip_cell
        Bound on the absolute value of c (TFLite ``cell_clip``), or None.

    Raises
    ------
    ParameterError
        If the weights do not make an LSTM, or are not finite.

    Examples
    --------
    >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    >>> parameters = LSTMParameters(weights)
    >>> parameters
    LSTMParameters(input_size=3, hidden_size=2, bias=False, dtype=float64)
    >>> parameters.layer(0).weight("f").shape
    (2, 5)
    """

    weights: Mapping[str, np.ndarray]
    activations: tuple[Activations, ...] | Activations = field(default_factory=Activations)
    forget_gate: ForgetGate = "own"
    clip_pre: float | None = None
    clip_cell: float | None = None

    def __post_init__(self) -> None:
        weights = {name: np.asarray(weight) for name, weight in self.weights.items()}
        _check_weights(weights)
        object.__setattr__(self, "weights", MappingProxyType({name: _frozen(w) for name, w in weights.items()}))
        slots = self.activations
        if isinstance(slots, Activations):
            object.__setattr__(self, "activations", (slots,) * self.num_directions)
        elif len(slots) != self.num_directions:
            raise ParameterError(
                f"got activations for {len(slots)} directions, the weights have {self.num_directions}; "
                "give one Activations, or one a direction"
            )
        if self.forget_gate not in get_args(ForgetGate):
            raise ParameterError(f"forget_gate is {quoted(self.forget_gate)}; it is one of 'own', 'coupled', 'none'")
        for name in ("clip_pre", "clip_cell"):
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise ParameterError(f"{name} is {bound}; give a positive bound, or None not to clip")
        object.__setattr__(self, "_layers", {})

    @property
    def input_size(self) -> int:
        """Number of features of x."""
        return int(self.weights["weight_ih_l0"].shape[1])

    @property
    def hidden_size(self) -> int:
        """Number of units (cells) of each layer and direction."""
        return len(self.weights["weight_ih_l0"]) // 4

    @property
    def proj_size(self) -> int:
        """Size of the projected h; 0 without projection, as in PyTorch."""
        return self.output_size if "weight_hr_l0" in self.weights else 0

    @property
    def output_size(self) -> int:
        """Size of h in one direction."""
        return int(self.weights["weight_hh_l0"].shape[1])

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return sum(name.startswith("weight_hh_l") and not name.endswith("_reverse") for name in self.weights)

    @property
    def num_directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def bidirectional(self) -> bool:
        """Whether there is a second direction, which reads from the right."""
        return "weight_hh_l0_reverse" in self.weights

    @property
    def bias(self) -> bool:
        """Whether there are biases."""
        return "bias_ih_l0" in self.weights

    @property
    def peepholes(self) -> bool:
        """Whether the gates look at the cell."""
        return "weight_ch_l0" in self.weights

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return self.weights["weight_ih_l0"].dtype

    def layer(self, layer: int, direction: int = 0) -> LayerParameters:
        """One layer in one direction (0 forward, 1 reverse); ParameterError if there is none.

        It is the same object at every call: kernels keep what they make of it, such as its weights in panels.
        """
        layers: dict[tuple[int, int], LayerParameters] = self._layers  # type: ignore[attr-defined]
        if (layer, direction) in layers:
            return layers[layer, direction]
        if not (0 <= layer < self.num_layers and 0 <= direction < self.num_directions):
            raise ParameterError(
                f"no layer {layer}, direction {direction}: this LSTM has {self.num_layers} layers and "
                f"{self.num_directions} directions, counted from 0"
            )
        found = {kind: self.weights.get(parameter_name(kind, layer, direction)) for kind in PARAMETER_KINDS}
        made = LayerParameters(
            **found,  # type: ignore[arg-type]
            activations=self.slots(direction),
            forget_gate=self.forget_gate,
            clip_pre=self.clip_pre,
            clip_cell=self.clip_cell,
        )
        return layers.setdefault((layer, direction), made)

    def slots(self, direction: int = 0) -> Activations:
        """Activations of a direction."""
        assert isinstance(self.activations, tuple)  # __post_init__ made it one
        return self.activations[direction]

    def astype(self, dtype: str | np.dtype) -> "LSTMParameters":
        """Return the same LSTM in another dtype, float32 or float64."""
        weights = {name: weight.astype(dtype) for name, weight in self.weights.items()}
        return LSTMParameters(weights, self.activations, self.forget_gate, self.clip_pre, self.clip_cell)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LSTMParameters):
            return NotImplemented
        return (
            (self.activations, self.forget_gate, self.clip_pre, self.clip_cell)
            == (other.activations, other.forget_gate, other.clip_pre, other.clip_cell)
            and self.weights.keys() == other.weights.keys()
            and self.dtype == other.dtype
            and all(np.array_equal(weight, other.weights[name]) for name, weight in self.weights.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy does not pickle.
        fields = (dict(self.weights), self.activations, self.forget_gate, self.clip_pre, self.clip_cell)
        return LSTMParameters, fields

    def __repr__(self) -> str:
        parts = [f"input_size={self.input_size}", f"hidden_size={self.hidden_size}"]
        parts += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        parts += [] if self.bias else ["bias=False"]
        parts += ["bidirectional=True"] if self.bidirectional else []
        parts += [f"proj_size={self.proj_size}"] if self.proj_size else []
        parts += ["peepholes=True"] if self.peepholes else []
        parts += [f"forget_gate={self.forget_gate!r}"] if self.forget_gate != "own" else []
        parts += [f"clip_pre={self.clip_pre:g}"] if self.clip_pre is not None else []
        parts += [f"clip_cell={self.clip_cell:g}"] if self.clip_cell is not None else []
        default = Activations()
        for k, slots in enumerate(self.activations if isinstance(self.activations, tuple) else ()):
            if slots != default:
                parts.append(f"{DIRECTIONS[k]}={slots.gate.name}/{slots.cell.name}/{slots.hidden.name}")
        return f"LSTMParameters({', '.join(parts)}, dtype={self.dtype})"

    def _repr_html_(self) -> str:
        """Give a table of sizes and settings, which notebooks show in place of the ``repr``."""
        slots = dict.fromkeys(self.slots(direction) for direction in range(self.num_directions))
        rows = {
            "inputs": f"{self.input_size:,}",
            "units": f"{self.hidden_size:,}",
            "layers": f"{self.num_layers:,}",
            "directions": " and ".join(DIRECTIONS[: self.num_directions]),
            "projected to": f"{self.proj_size:,}" if self.proj_size else "",
            "activations (gate/cell/hidden)": ", ".join(f"{s.gate.name}/{s.cell.name}/{s.hidden.name}" for s in slots),
            "forget gate": "" if self.forget_gate == "own" else self.forget_gate,
            "biases": "yes" if self.bias else "no",
            "peepholes": "yes" if self.peepholes else "",
            "pre-activations clipped at": "" if self.clip_pre is None else f"{self.clip_pre:g}",
            "cells clipped at": "" if self.clip_cell is None else f"{self.clip_cell:g}",
            "weights": f"{sum(weight.size for weight in self.weights.values()):,} ({self.dtype})",
        }
        return html_table("LSTMParameters", ((name, value) for name, value in rows.items() if value))


def _check_weights(weights: Mapping[str, np.ndarray]) -> None:
    """Refuse weights that do not make an LSTM, naming what came and what was expected."""
    first, recurrent = weights.get("weight_ih_l0"), weights.get("weight_hh_l0")
    if first is None or recurrent is None:
        raise ParameterError(
            f"got the weights {', '.join(sorted(weights)) or '(none)'}; an LSTM needs at least weight_ih_l0 and "
            "weight_hh_l0"
        )
    if first.ndim != 2 or recurrent.ndim != 2 or first.shape[0] % 4 or 0 in first.shape + recurrent.shape:
        raise ParameterError(
            f"weight_ih_l0 has shape {first.shape} and weight_hh_l0 {recurrent.shape}; expected (4 hidden_size, "
            "input_size) and (4 hidden_size, hidden_size or proj_size), none of them 0"
        )
    expected = _expected_shapes(weights)
    if missing := sorted(expected.keys() - weights.keys()):
        raise ParameterError(f"{', '.join(missing)} missing; the other weights call for them")
    if unknown := sorted(weights.keys() - expected.keys()):
        raise ParameterError(f"got {', '.join(unknown)}, expected only {', '.join(expected)}")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise ParameterError(f"{name} has shape {weights[name].shape}, expected {shape}")
    dtypes = {weight.dtype for weight in weights.values()}
    if len(dtypes) > 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        raise ParameterError(
            f"weights of dtype {', '.join(sorted(map(str, dtypes)))}; expected all float32 or all float64 (use astype)"
        )
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise ParameterError(f"{name} has values that are NaN or infinite; weights must be finite")


def _expected_shapes(weights: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights, told from those of the first layer and from which kinds and directions there are."""
    gates, features = weights["weight_ih_l0"].shape
    hidden, unit = weights["weight_hh_l0"].shape[1], gates // 4
    directions = 2 if any(name.endswith("_reverse") for name in weights) else 1
    numbers = [re.search(r"_l([0-9]{1,4})(_reverse)?$", name) for name in weights]
    layers = max((int(number[1]) + 1 for number in numbers if number), default=1)
    layers = min(layers, len(weights))  # a gap in the numbering shows as missing weights
    kinds = {name.rpartition("_l")[0] for name in weights}
    if hidden != unit:
        kinds.add("weight_hr")
    expected: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        for direction in range(directions):
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (gates, features if layer == 0 else directions * hidden),
                "weight_hh": (gates, hidden),
            }
            if "bias_ih" in kinds or "bias_hh" in kinds:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if "weight_hr" in kinds:
                shapes["weight_hr"] = (hidden, unit)
            if "weight_ch" in kinds:
                shapes["weight_ch"] = (3 * unit,)
            expected |= {parameter_name(kind, layer, direction): shape for kind, shape in shapes.items()}
    return expected
