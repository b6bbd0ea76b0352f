"""What a proof about an LSTM assumes of the arithmetic that runs it: rounding, and how good its activations are."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.machine.proving.intervals import Interval
from tallycell.machine.proving.measuring import measure_torch
from tallycell.wording import quoted, shown

LIBRARY_ERROR = 16 * 2.0**-53  # relative, of NumPy's exp and tanh and what is done with them here

KERNELS = ("tallycell", "torch")
DTYPES = ("float32", "float64")


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
            If there is no such kernel, or nothing is known of the number format.
        """
        if dtype not in DTYPES:
            raise InputError(f"nothing is known of arithmetic in {shown(dtype)}; proofs are of {' and '.join(DTYPES)}")
        if kernel not in KERNELS:
            raise InputError(
                f"no kernel is called {quoted(kernel)}; the arithmetic is known of {' and '.join(KERNELS)}"
            )
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


ROUNDING = (
    "arithmetic is IEEE 754, rounded to nearest, with numbers next to zero kept, with sums in any order, with or"
    " without fused multiply-add"
)


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


@cache
def _of_torch(dtype: str) -> Arithmetic:
    found = measure_torch(dtype)
    # What was not tried may be worse by as much as rounding.
    sigmoid_error, tanh_error = np.ceil(found.sigmoid_error + 0.5), np.ceil(found.tanh_error + 0.5)
    tiny = 2.0 * float(_exact(np.array(found.sigmoid_zero)))
    known = (
        f"inside torch.nn.LSTM the sigmoid is within {sigmoid_error:g} and tanh within {tanh_error:g} ulp (units in the"
        f" last place), exactly 1 from {found.sigmoid_one:g} and {found.tanh_one:g} on: measured, not proved, on this"
        f" machine's processor, on {found.values:,} values of each gate (worst seen {found.sigmoid_error:.2f} and"
        f" {found.tanh_error:.2f}); another processor may run other functions"
    )
    one, tanh_one = found.sigmoid_one, found.tanh_one
    return Arithmetic(
        dtype, float(sigmoid_error), float(tanh_error), one, tanh_one, found.sigmoid_zero, tiny, (ROUNDING, known)
    )
