"""Squashing functions: value, derivative, range and limits, by name.

An LSTM puts one behind each projection. What a reading needs of it is where it saturates: its limits to the left and
to the right. Any function may take part as long as it says what they are.

Sources: the activations of the recurrent operators of ONNX (specification of ``LSTM``, with the default alpha and
beta of the ONNX operators of the same name; inside an LSTM, ONNX Runtime has 0 for those of Affine, ScaledTanh and
ThresholdedRelu), ``hard_sigmoid`` of Keras 2 (0.2 x + 0.5) and of Keras 3 (x / 6 + 0.5).
"""

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np

from tallycell.errors import ActivationError
from tallycell.wording import listed, quoted

Array = Any  # a floating-point array, or a scalar: value and derivative work element by element

SATURATION_SHARE = 0.1  # of the range, measured from 0: how near to its limit a saturated value lies


@dataclass(frozen=True, eq=False, repr=False)
class Activation:
    """A squashing function and what is known of it.

    Attributes
    ----------
    name
        Name in lower case, as in :func:`activation`.
    value
        ``value(x)``, element by element, on NumPy arrays, in the dtype of ``x``.
    derivative
        ``derivative(x, y)`` with ``y = value(x)``.
    range
        Infimum and supremum of the values; may be infinite.
    left, right
        Limits at minus and plus infinity: a finite number, an infinity, NaN where there is none (``sine``), or None
        where nobody has stated it; readings refuse the last.
    constants
        ``alpha`` and ``beta`` where the function has them.
    from_output
        Whether the derivative can be had from ``y`` alone; ``derivative`` then does not look at ``x``, which may be
        None.
    kinks
        Points where the derivative does not exist.

    Examples
    --------
    >>> tanh = activation("tanh")
    >>> tanh.range, tanh.left, tanh.right
    ((-1.0, 1.0), -1.0, 1.0)
    >>> tanh.saturated_right(np.array([0.89, 0.91]))
    array([False,  True])
    """

    name: str
    value: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array]
    range: tuple[float, float] = (-math.inf, math.inf)
    left: float | None = None
    right: float | None = None
    constants: Mapping[str, float] = field(default_factory=dict)
    from_output: bool = False
    kinks: tuple[float, ...] = ()

    def __call__(self, x: Array) -> Array:
        """Value at ``x``."""
        return self.value(x)

    def require_limits(self) -> None:
        """Refuse an activation whose limits nobody has stated.

        Raises
        ------
        ActivationError
            If ``left`` or ``right`` is None.
        """
        unstated = [side for side in ("left", "right") if getattr(self, side) is None]
        if unstated:
            raise ActivationError(
                f"activation {quoted(self.name)} does not state its {' and '.join(unstated)} limit, so nobody can say "
                "when it saturates; give left= and right= to register_activation (math.nan where there is no limit)"
            )

    def saturated_left(self, y: Array, share: float = SATURATION_SHARE) -> Array:
        """Whether values lie within ``share`` of the range from the left limit; nowhere if that is not finite."""
        return self._is_near(y, self.left, share)

    def saturated_right(self, y: Array, share: float = SATURATION_SHARE) -> Array:
        """Whether values lie within ``share`` of the range from the right limit; nowhere if that is not finite."""
        return self._is_near(y, self.right, share)

    def _is_near(self, y: Array, limit: float | None, share: float) -> Array:
        self.require_limits()
        if limit is None or not math.isfinite(limit):
            return np.zeros(np.shape(y), dtype=bool)
        # The range is measured from 0, where a gate does nothing: 1 for sigmoid and for tanh alike. An unbounded one
        # has no tenth; there the unit is that of an open gate, 1.
        size = max(map(abs, self.range))
        return np.abs(y - limit) < share * (size if math.isfinite(size) else 1.0)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the code of value and derivative, of the functions they call and the numbers they use."""
        content = repr([_content(self.value), _content(self.derivative)])
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        """Equal by name and constants: these are what a file can keep."""
        if not isinstance(other, Activation):
            return NotImplemented
        return self.name == other.name and dict(self.constants) == dict(other.constants)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.constants.items()))))

    def __repr__(self) -> str:
        return f"activation({', '.join([repr(self.name), *(f'{k}={v:g}' for k, v in self.constants.items())])})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The functions are closures; what travels to another process is the name.
        return _by_name, (self.name, dict(self.constants))


def _content(thing: Any, seen: frozenset[int] = frozenset()) -> object:
    """Tell what a function computes: its code, what it closes over, and what its code names in its module."""
    if isinstance(thing, CodeType):
        return thing.co_code, [_content(constant, seen) for constant in thing.co_consts], thing.co_names
    function = getattr(thing, "py_func", thing)  # of one compiled by Numba
    code = getattr(function, "__code__", None)
    if code is None or id(function) in seen:
        # A number, or a function that is not Python's, such as np.tanh; an address in a repr differs by process.
        return getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or repr(thing)
    seen |= {id(function)}
    closed_over = [_content(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    named = [_content(function.__globals__[name], seen) for name in code.co_names if name in function.__globals__]
    return _content(code, seen), closed_over, named


_FAMILIES: dict[str, Callable[..., Activation]] = {}


def _key(name: str) -> str:
    return name.lower().replace("_", "")


def _by_name(name: str, constants: Mapping[str, float]) -> Activation:
    return activation(name, **constants)


def activation_names() -> list[str]:
    """Names that :func:`activation` knows, sorted."""
    return sorted(family.__name__ for family in _FAMILIES.values())


def activation(name: "str | Activation", **constants: float) -> Activation:
    """Look an activation up by name.

    Parameters
    ----------
    name
        Case and underscores do not count: ``"HardSigmoid"`` is ``"hard_sigmoid"``. An Activation is passed through.
    **constants
        ``alpha`` and ``beta`` where the function has them; the defaults of ONNX otherwise.

    Raises
    ------
    ActivationError
        If the name is unknown or a constant is not one of the function's.

    Examples
    --------
    >>> activation("HardSigmoid")(np.array([-4.0, 0.0, 1.0]))
    array([0. , 0.5, 0.7])
    >>> activation("elu", alpha=0.5).range
    (-0.5, inf)
    """
    if isinstance(name, Activation):
        return name
    family = _FAMILIES.get(_key(name))
    if family is None:
        raise ActivationError(
            f"no activation is called {quoted(name)}; known are {', '.join(activation_names())}; "
            "register_activation adds your own"
        )
    try:
        inspect.signature(family).bind(**constants)
    except TypeError:
        known = ", ".join(inspect.signature(family).parameters) or "none"
        raise ActivationError(
            f"activation {quoted(name)} got the constants {listed(constants)}; those it has are: {known}"
        ) from None
    return family(**{key: float(value) for key, value in constants.items()})


def register_activation(
    name: str,
    value: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array],
    **known: Any,
) -> Activation:
    """Add an activation of your own, to be used by name from then on.

    Parameters
    ----------
    name
        Its name; one that is taken is refused.
    value
        ``value(x)``, element by element, written with NumPy.
    derivative
        ``derivative(x, y)`` with ``y = value(x)``.
    **known
        ``range=(low, high)``, ``left=`` and ``right=`` limits, ``from_output=``, ``kinks=``: see :class:`Activation`.
        Without both limits the LSTM runs, and readings refuse it.

    Returns
    -------
    Activation

    Raises
    ------
    ActivationError
        If the name is taken.

    Examples
    --------
    >>> half_wave = register_activation(
    ...     "half_wave", lambda x: np.sin(np.clip(x, -1.5, 1.5)), lambda x, y: np.cos(x) * (np.abs(x) < 1.5),
    ...     range=(-0.9975, 0.9975), left=-0.9975, right=0.9975, kinks=(-1.5, 1.5))
    >>> activation("half_wave") == half_wave
    True
    """
    if _key(name) in _FAMILIES:
        raise ActivationError(f"an activation called {quoted(name)} exists already; choose another name")
    made = Activation(name, value, derivative, **known)
    if made.range[0] > made.range[1]:
        raise ActivationError(f"activation {quoted(name)} has the range {made.range}; give (low, high)")

    def family() -> Activation:
        return made

    family.__name__ = name
    _FAMILIES[_key(name)] = family
    return made


def _built_in(family: Callable[..., Activation]) -> Callable[..., Activation]:
    _FAMILIES[_key(family.__name__)] = family
    return family


@_built_in
def sigmoid() -> Activation:
    """1 / (1 + exp(-x))."""

    def value(x: Array) -> Array:
        small = np.exp(-np.abs(x))  # of a negative number only: no overflow on either side
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))

    return Activation("sigmoid", value, lambda x, y: y * (1 - y), (0.0, 1.0), 0.0, 1.0, from_output=True)


@_built_in
def tanh() -> Activation:
    """Hyperbolic tangent."""
    return Activation("tanh", np.tanh, lambda x, y: 1 - y * y, (-1.0, 1.0), -1.0, 1.0, from_output=True)


@_built_in
def relu() -> Activation:
    """max(x, 0)."""
    return Activation(
        "relu", lambda x: np.maximum(x, 0), lambda x, y: np.where(y > 0, np.ones_like(y), np.zeros_like(y)),
        (0.0, math.inf), 0.0, math.inf, from_output=True, kinks=(0.0,),
    )  # fmt: skip


@_built_in
def affine(alpha: float = 1.0, beta: float = 0.0) -> Activation:
    """Alpha x + beta."""
    left, right = _line_limits(alpha, beta)
    return Activation(
        "affine", lambda x: alpha * x + beta, lambda x, y: np.full_like(y, alpha),
        (min(left, right), max(left, right)), left, right, {"alpha": alpha, "beta": beta}, from_output=True,
    )  # fmt: skip


def _line_limits(slope: float, constant: float = 0.0) -> tuple[float, float]:
    """Limits of slope x + constant."""
    if slope == 0:
        return constant, constant
    return math.copysign(math.inf, -slope), math.copysign(math.inf, slope)


@_built_in
def identity() -> Activation:
    """X itself."""
    return Activation(
        "identity", lambda x: x, lambda x, y: np.ones_like(y), left=-math.inf, right=math.inf, from_output=True
    )


@_built_in
def leaky_relu(alpha: float = 0.01) -> Activation:
    """X where x >= 0, else alpha x."""
    left = _line_limits(alpha)[0]
    return Activation(
        "leaky_relu", lambda x: np.where(x >= 0, x, alpha * x), lambda x, y: np.where(x >= 0, np.ones_like(y), alpha),
        (min(left, 0.0), math.inf), left, math.inf, {"alpha": alpha}, kinks=(0.0,),
    )  # fmt: skip


@_built_in
def thresholded_relu(alpha: float = 1.0) -> Activation:
    """X where x > alpha, else 0."""
    return Activation(
        "thresholded_relu", lambda x: np.where(x <= alpha, np.zeros_like(x), x),
        lambda x, y: np.where(x > alpha, np.ones_like(y), np.zeros_like(y)), (min(alpha, 0.0), math.inf), 0.0, math.inf,
        {"alpha": alpha}, kinks=(alpha,),
    )  # fmt: skip


@_built_in
def scaled_tanh(alpha: float = 1.0, beta: float = 1.0) -> Activation:
    """Alpha tanh(beta x)."""
    right = alpha * float(np.sign(beta))
    return Activation(
        "scaled_tanh", lambda x: alpha * np.tanh(beta * x),
        lambda x, y: beta * (alpha - y * y / alpha) if alpha else np.zeros_like(y),
        (-abs(right), abs(right)), -right, right, {"alpha": alpha, "beta": beta}, from_output=True,
    )  # fmt: skip


def _clipped_line(name: str, slope: float, constant: float, low: float, constants: Mapping[str, float]) -> Activation:
    """Slope x + constant, clipped to [low, 1]."""
    left, right = np.clip(_line_limits(slope, constant), low, 1.0).tolist()
    kinks = tuple(sorted(((low - constant) / slope, (1.0 - constant) / slope))) if slope else ()
    return Activation(
        name, lambda x: np.clip(slope * x + constant, low, 1.0),
        lambda x, y: slope * np.where((y > low) & (y < 1.0), np.ones_like(y), np.zeros_like(y)),
        (low, 1.0), left, right, constants, from_output=True, kinks=kinks,
    )  # fmt: skip


@_built_in
def hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Activation:
    """Alpha x + beta, clipped to [0, 1]; ONNX's, with ONNX's alpha and beta."""
    return _clipped_line("hard_sigmoid", alpha, beta, 0.0, {"alpha": alpha, "beta": beta})


@_built_in
def hard_sigmoid_keras2() -> Activation:
    """0.2 x + 0.5, clipped to [0, 1]: ``hard_sigmoid`` as Keras 2 means it."""
    return _clipped_line("hard_sigmoid_keras2", 0.2, 0.5, 0.0, {})


@_built_in
def hard_sigmoid_keras3() -> Activation:
    """X / 6 + 0.5, clipped to [0, 1]: ``hard_sigmoid`` as Keras 3 and ``torch.nn.Hardsigmoid`` mean it."""
    return _clipped_line("hard_sigmoid_keras3", 1 / 6, 0.5, 0.0, {})


@_built_in
def hard_tanh() -> Activation:
    """x, clipped to [-1, 1]."""
    return _clipped_line("hard_tanh", 1.0, 0.0, -1.0, {})


@_built_in
def elu(alpha: float = 1.0) -> Activation:
    """X where x >= 0, else alpha (exp(x) - 1)."""
    return Activation(
        "elu", lambda x: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x, y: np.where(x >= 0, np.ones_like(y), alpha * np.exp(np.minimum(x, 0))),
        (min(-alpha, 0.0), math.inf), -alpha, math.inf, {"alpha": alpha}, kinks=() if alpha == 1 else (0.0,),
    )  # fmt: skip


@_built_in
def softsign() -> Activation:
    """``x / (1 + |x|)``."""

    def value(x: Array) -> Array:
        # The limit is kept at infinity, where the quotient would be NaN.
        return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(np.where(np.isinf(x), np.zeros_like(x), x))))

    return Activation("softsign", value, lambda x, y: (1 - np.abs(y)) ** 2, (-1.0, 1.0), -1.0, 1.0, from_output=True)


@_built_in
def softplus() -> Activation:
    """log(1 + exp(x))."""
    return Activation(
        "softplus", lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), lambda x, y: -np.expm1(-y),
        (0.0, math.inf), 0.0, math.inf, from_output=True,
    )  # fmt: skip


@_built_in
def sine() -> Activation:
    """sin(x); it has no limits, so it is never saturated."""
    return Activation("sine", np.sin, lambda x, y: np.cos(x), (-1.0, 1.0), math.nan, math.nan)
