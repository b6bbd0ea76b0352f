"""What a proof about an LSTM assumes of the arithmetic that runs it: rounding, and how good its activations are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.machine.proving.intervals import Interval

LIBRARY_ERROR = 16 * 2.0**-53  # relative, of NumPy's exp and tanh and what is done with them here

KERNELS = ("tallycell", "torch")


@dataclass(frozen=True)
class Arithmetic:
    """Arithmetic that runs an LSTM.

    Attributes
    ----------
    dtype
        ``"float32"`` or ``"float64"``.
    sigmoid_error, tanh_error
        Largest error in units in the last place.
    sigmoid_one, tanh_one
        From where on they are exactly 1 (tanh: and -1 below its negative).
    sigmoid_zero, sigmoid_tiny
        Below the first, the sigmoid is between 0 and the second.
    assumptions
        What is assumed, in words, and how it is known.

    Examples
    --------
    >>> Arithmetic.of_kernel("float32").bits
    24
    """

    dtype: str
    sigmoid_error: float
    tanh_error: float
    sigmoid_one: float
    tanh_one: float
    sigmoid_zero: float
    sigmoid_tiny: float
    assumptions: tuple[str, ...]

    @classmethod
    def of_kernel(cls, dtype: str, kernel: str = "tallycell") -> "Arithmetic":
        """Arithmetic of our kernel, as ``kernels/cpu/squash`` promises it, or of torch's, as measured here.

        Raises
        ------
        InputError
            If there is no such kernel.
        """
        if kernel not in KERNELS:
            raise InputError(f"no kernel is called {kernel!r}; the arithmetic is known of {' and '.join(KERNELS)}")
        return _of_torch(dtype) if kernel == "torch" else _of_tallycell(dtype)

    @property
    def bits(self) -> int:
        """Digits of the number format: whole numbers up to 2**bits are exact."""
        return 24 if self.dtype == "float32" else 53

    @property
    def unit(self) -> float:
        """Largest relative error of one rounding."""
        return 2.0**-self.bits

    @property
    def smallest(self) -> float:
        """Distance between the smallest numbers: what one rounding may lose near zero."""
        return 2.0**-149 if self.dtype == "float32" else 2.0**-1074

    def sigmoid(self, x: Interval) -> Interval:
        """All values that the sigmoid may return on an interval."""
        low = np.where(x.lo >= 0, self._below_one(_complement(x.lo), self.sigmoid_error), self._less(_exact(x.lo)))
        low = np.where(x.lo >= self.sigmoid_one, 1.0, np.maximum(np.where(x.lo < self.sigmoid_zero, 0.0, low), 0.0))
        high = _exact(x.hi) * (1 + 2 * self.sigmoid_error * self.unit + LIBRARY_ERROR)
        high = np.minimum(np.where(x.hi < self.sigmoid_zero, self.sigmoid_tiny, high), 1.0)
        return Interval(low, high)

    def tanh(self, x: Interval) -> Interval:
        """All values that tanh may return on an interval."""
        return Interval(-self._tanh_above(-x.lo), self._tanh_above(x.hi))

    def _tanh_above(self, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Upper bound of tanh on all numbers up to x."""
        size = np.abs(x)
        near = np.tanh(size)
        error = 2 * self.tanh_error * self.unit + LIBRARY_ERROR
        # Among the numbers next to 0 an error in units of the last place is no relative one.
        least = np.where(size > 0, self.tanh_error * self.smallest, 0.0)
        over = np.minimum(near * (1 + error) + least, 1.0)
        # For x < 0 the bound comes from a lower one of the size.
        far = self._below_one(2 * _complement(2 * size), self.tanh_error)
        under = np.where(size >= 0.6, far, np.maximum(near * (1 - error) - least, 0.0))
        under = np.where(size >= self.tanh_one, 1.0, under)
        bound: np.ndarray = np.where(x >= 0, over, -under)
        return bound

    def _below_one(self, gap: Float[np.ndarray, "..."], error: float) -> Float[np.ndarray, "..."]:
        """Lower bound of a value of at least a half, ``gap`` below 1: numbers there are ``unit`` apart."""
        return 1.0 - (gap * (1 + LIBRARY_ERROR) + error * self.unit + 2.0**-52)

    def _less(self, value: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return value * (1 - 2 * self.sigmoid_error * self.unit - LIBRARY_ERROR)


def _exact(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Sigmoid, good to LIBRARY_ERROR."""
    small = np.exp(-np.abs(x))
    value: np.ndarray = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return value


def _complement(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """1 - sigmoid(x), good to LIBRARY_ERROR."""
    return _exact(-x)


ROUNDING = "arithmetic is IEEE 754, rounded to nearest, with sums in any order, with or without fused multiply-add"


def _of_tallycell(dtype: str) -> Arithmetic:
    # 1 + exp(-x) is rounded to 1 from ln 2^24 = 16.64 on in float32, 36.74 in float64; 1 - 2 / (exp(2 x) + 1) from
    # 9.01 and 19.06 on.
    if dtype == "float32":
        known = "sigmoid is within 3 ulp (units in the last place) and exactly 1 from 16.7 on, tanh within 2 ulp and"
        known += " exactly 1 or -1 from 9.02 on: the contract of tallycell's kernel, tested on every float32"
        return Arithmetic(dtype, 3, 2, 16.7, 9.02, -87.3, 1.3e-38, (ROUNDING, known))
    known = (
        "sigmoid and tanh are within 3 ulp (units in the last place), sigmoid exactly 1 from 36.8 on and tanh exactly"
    )
    known += (
        " 1 or -1 from 19.1 on: the contract of tallycell's kernel; the ulp were measured on 220,000 values, the limits"
    )
    known += " follow from rounding"
    return Arithmetic(dtype, 3, 3, 36.8, 19.1, -708.0, 1e-307, (ROUNDING, known))


SWEPT = 1_000_000  # values on each side of zero


@cache
def _of_torch(dtype: str) -> Arithmetic:
    """Measure torch's sigmoid and tanh, on values close together over all magnitudes that a gate can tell apart."""
    import torch

    ours = _of_tallycell(dtype)
    one, tanh_one, zero, tiny = ours.sigmoid_one, ours.tanh_one, ours.sigmoid_zero, 2 * ours.sigmoid_tiny
    parts = (np.linspace(0, 2 * one, SWEPT), np.geomspace(1e-30, 1.0, SWEPT // 4))
    sizes = np.concatenate([*parts, np.linspace(2 * one, -1.3 * zero, SWEPT // 4)]).astype(dtype)
    x = np.concatenate([-sizes, sizes])
    functions: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], np.ndarray]] = {
        "sigmoid": (torch.sigmoid, _long_sigmoid(x)),
        "tanh": (torch.tanh, np.tanh(x.astype(np.longdouble))),
    }
    worst = {}
    for name, (function, exact) in functions.items():
        found = function(torch.from_numpy(x)).numpy()
        spacing = np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)
        normal = slice(None) if name == "tanh" else x >= zero
        worst[name] = float(np.max((np.abs(found.astype(np.longdouble) - exact) / spacing)[normal]))
        limit, least = {"sigmoid": (one, 0), "tanh": (tanh_one, -1)}[name]
        low = found[x <= -limit] == -1 if name == "tanh" else found[x < zero] <= tiny
        if not ((found[x >= limit] == 1).all() and low.all() and (found >= least).all() and (found <= 1).all()):
            raise InputError(f"torch's {name} does not reach its limits at {limit}: nothing can be said of its kernel")
    sigmoid_error, tanh_error = np.ceil(worst["sigmoid"] + 0.5), np.ceil(worst["tanh"] + 0.5)
    known = (
        f"torch's sigmoid is within {sigmoid_error:g} and tanh within {tanh_error:g} ulp (units in the last place), and"
        f" exactly 1 from {one:g} and {tanh_one:g} on: measured, not proved, on {len(x):,} values (worst seen"
        f" {worst['sigmoid']:.2f} and {worst['tanh']:.2f}); and that its LSTM uses them so"
    )
    return Arithmetic(dtype, sigmoid_error, tanh_error, one, tanh_one, zero, tiny, (ROUNDING, known))


def _long_sigmoid(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.longdouble)
    small = np.exp(-np.abs(wide))
    value: np.ndarray = np.where(wide >= 0, 1, small) / (1 + small)
    return value
